//! The durable history of queries: Parquet files under a folder, any Parquet reader's to read.
//!
//! A row goes three places, one after the other:
//!
//! 1. [`History::append`] keeps it in memory and appends it to the journal. A reader sees it from here on,
//!    and `kill -9` does not lose it.
//! 2. After some rows, bytes or seconds a thread writes all waiting rows into a new Parquet file and
//!    forgets them, in one step as readers see it.
//! 3. The thread merges small files of a day into larger ones, and removes what is older than the
//!    retention allows.
//!
//! [`History::snapshot`] gives the files and the rows that are in none, each row once. A file that it
//! names stays until the snapshot is dropped, also when it has been merged or is too old.
//!
//! When a file cannot be written, rows stay in memory up to a bound, the thread tries again, and
//! [`History::health`] says what is wrong. The loss of power, unlike the loss of the process, can take
//! the rows that are in no Parquet file yet.

mod files;
mod journal;
mod maintenance;
mod options;
mod registered;
mod serials;
mod state;
#[cfg(test)]
mod tests;

pub use files::HistoryFile;
pub use options::{Health, HistoryOptions, Opened, Retention, Trouble};

use crate::disk::Disk;
use crate::{Query, QueryRecord};
use maintenance::Worker;
use parking_lot::Mutex;
use registered::Registered;
use state::{Row, State};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

/// The durable history. Threads share it. A folder must have one at a time: the server's lock on its
/// data directory sees to it.
pub struct History {
    shared: Arc<Shared>,
    opened: Opened,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Files and rows that together are the history at one moment.
///
/// The files stay as long as this lives, so keep it until they have been read.
pub struct Snapshot {
    /// The Parquet files, oldest first.
    pub files: Vec<Arc<HistoryFile>>,
    /// The rows that are in no file yet, oldest first.
    pub pending: Vec<Arc<QueryRecord>>,
    /// How many rows had come.
    appended: u64,
}

impl Snapshot {
    /// Whether the row of `query` is among them, or would be if the retention allowed.
    pub fn has(&self, query: &Query) -> bool {
        query.row_number().is_some_and(|row| row <= self.appended)
    }

    /// Where the files are, oldest first.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.files
            .iter()
            .map(|file| file.path().to_path_buf())
            .collect()
    }
}

/// What the callers and the thread share.
struct Shared {
    folder: PathBuf,
    options: HistoryOptions,
    disk: Disk,
    /// Held for a line of the journal, never while a Parquet file is written.
    state: Mutex<State>,
    /// What the thread has to tell the journal, and how it is woken.
    registered: Registered,
    /// Flushing, merging and removing take turns. Taken before `state`.
    worker: Mutex<Worker>,
}

impl History {
    /// Opens the history in `folder`, or begins it, and takes up what a crash has left: rows of the
    /// journal are rows again, and half-written files are removed. [`History::opened`] tells what was
    /// found.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made or listed. A disk that is full is not an error here.
    pub fn open(folder: &Path, options: HistoryOptions) -> io::Result<Self> {
        let history = History::open_on(&Disk::default(), folder, options)?;
        let shared = Arc::clone(&history.shared);
        let thread = std::thread::Builder::new()
            .name("forebay-history".to_owned())
            .spawn(move || shared.run())?;
        let worker = thread.thread().clone();
        history.shared.registered.watched_by(worker);
        *history.thread.lock() = Some(thread);
        Ok(history)
    }

    /// As [`History::open`], without a thread: nothing is flushed but by [`History::flush`].
    fn open_on(disk: &Disk, folder: &Path, options: HistoryOptions) -> io::Result<Self> {
        disk.create_folder(folder)?;
        let found = files::find(disk, folder)?;
        let mut opened = Opened {
            damaged: found.damaged.len() as u64,
            ..Opened::default()
        };
        let flushed = found
            .files
            .iter()
            .map(|file| file.name().last)
            .max()
            .unwrap_or(0);
        let (done, waiting): (Vec<u64>, Vec<u64>) = found
            .segments
            .iter()
            .partition(|number| **number <= flushed);

        let mut state = State::new(found.last_number + 1, options.clone());
        state.files = found.files.into_iter().map(Arc::new).collect();
        let mut worker = Worker::default();
        worker.removed = found.merged.into_iter().map(Arc::new).collect();
        worker.finished_segments.extend(done);
        for number in waiting {
            let replay = journal::replay(&journal::segment_path(folder, number))?;
            opened.recovered += replay.rows.len() as u64;
            opened.broken += replay.broken;
            if let Some(run) = replay.run {
                // The newest segment knows most of the last run.
                opened.lost = run.missing();
            }
            if replay.rows.is_empty() {
                worker.finished_segments.push(number);
            } else {
                state.take_up(number, replay.rows);
            }
        }
        let shared = Shared {
            folder: folder.to_path_buf(),
            options,
            disk: disk.clone(),
            state: Mutex::new(state),
            registered: Registered::default(),
            worker: Mutex::new(worker),
        };
        shared.begin_run();
        Ok(History {
            shared: Arc::new(shared),
            opened,
            thread: Mutex::new(None),
        })
    }

    /// What was found when the history was opened.
    pub fn opened(&self) -> Opened {
        self.opened
    }

    /// Says that queries up to this serial number have been registered. So the next start can tell of
    /// queries that were never archived, also of the last ones.
    ///
    /// It takes two atomic operations. The history's thread tells the journal, a few milliseconds
    /// later.
    pub fn note_registered(&self, serial: u64) {
        self.shared.registered.note(serial);
    }

    /// Adds a row. It costs a line of the journal, never a Parquet file.
    ///
    /// It cannot fail: without a disk the row waits in memory, and [`History::health`] tells.
    pub fn append(&self, record: Arc<QueryRecord>) {
        self.shared.append(record, |_| {});
    }

    /// Adds the row of `query`. From here on [`Snapshot::has`] tells of it.
    pub(crate) fn append_of(&self, query: &Query, record: Arc<QueryRecord>) {
        // Under the lock that snapshots take: whoever has the row in his snapshot sees the number.
        self.shared
            .append(record, |number| query.set_row_number(number));
    }

    /// Writes what waits into a Parquet file, now and on this thread.
    ///
    /// # Errors
    ///
    /// Names the file and the reason. The rows go on waiting.
    pub fn flush(&self) -> io::Result<()> {
        self.shared.work(maintenance::Work::Flush)
    }

    /// The Parquet files and the rows that are in none of them: each row of the history once.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.shared.state.lock();
        Snapshot {
            files: state.files.clone(),
            pending: state.pending().map(|row| Arc::clone(&row.record)).collect(),
            appended: state.appended(),
        }
    }

    /// The Parquet files, oldest first. For reading them take a [`History::snapshot`].
    pub fn files(&self) -> Vec<Arc<HistoryFile>> {
        self.shared.state.lock().files.clone()
    }

    /// The rows that are in no file yet, oldest first.
    pub fn pending(&self) -> Vec<Arc<QueryRecord>> {
        self.snapshot().pending
    }

    /// How the history is.
    pub fn health(&self) -> Health {
        self.shared.state.lock().health()
    }

    /// Stops the thread and writes what waits. Rows that come later are in the journal only, and taken up
    /// at the next start.
    ///
    /// # Errors
    ///
    /// Those of [`History::flush`]. The rows are taken up from the journal at the next start then.
    pub fn close(&self) -> io::Result<()> {
        let thread = self.thread.lock().take();
        self.shared.state.lock().closing = true;
        self.shared.registered.wake();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the thread of the query history panicked");
        }
        self.shared.write_registered();
        self.shared.work(maintenance::Work::Close)
    }
}

impl Drop for History {
    fn drop(&mut self) {
        if self.thread.lock().is_some()
            && let Err(error) = self.close()
        {
            tracing::error!("the query history: {error}");
        }
    }
}

impl Shared {
    fn append(&self, record: Arc<QueryRecord>, appended: impl FnOnce(u64)) {
        let registered = record.serial.max(self.registered.largest());
        // Outside the lock: this is most of the work.
        let line = journal::to_line(&record, registered);
        let mut state = self.state.lock();
        let journaled = match state.journal_of(&self.disk, &self.folder) {
            Ok(journal) => journal.append(&line),
            Err(error) => Err(error),
        };
        match &journaled {
            Ok(()) => state.journal_has(registered),
            Err(error) => state.journal_lacks(error),
        }
        let must_wake = state.add(Row {
            bytes: line.len() as u64,
            is_uncounted: journaled.is_err(),
            record,
        });
        appended(state.appended());
        drop(state);
        if must_wake {
            self.registered.wake();
        }
    }

    /// Begins the journal of this run.
    fn begin_run(&self) {
        let mut state = self.state.lock();
        if let Err(error) = state.journal_of(&self.disk, &self.folder).map(drop) {
            state.trouble(&error);
        }
    }
}

/// Rows of one segment of the journal.
#[derive(Default)]
struct Segment {
    number: u64,
    rows: VecDeque<Row>,
}
