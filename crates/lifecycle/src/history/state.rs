//! What the history knows at one moment, behind one lock.

use super::Segment;
use super::files::HistoryFile;
use super::journal::{self, Run};
use super::options::{Health, HistoryOptions, Trouble};
use crate::QueryRecord;
use crate::disk::Disk;
use crate::lines::LineFile;
use chrono::{DateTime, Utc};
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// A row that is in no Parquet file yet.
pub(super) struct Row {
    pub(super) record: Arc<QueryRecord>,
    /// Its size in the journal.
    pub(super) bytes: u64,
    /// Whether it must still be counted as archived, because it is not in the journal.
    pub(super) is_uncounted: bool,
}

pub(super) struct State {
    options: HistoryOptions,
    /// The files that readers are shown, oldest first.
    pub(super) files: Vec<Arc<HistoryFile>>,
    /// Segments that get no more rows and are in no file yet, oldest first.
    sealed: VecDeque<Segment>,
    /// The segment that gets the next row.
    open: Segment,
    /// Its file; none when it could not be made yet.
    journal: Option<LineFile>,
    /// Whether the last row could not be written there.
    journal_fails: bool,
    /// Segments of which every row was dropped.
    pub(super) dropped_segments: Vec<u64>,
    /// The segments up to this one are being written into a file.
    writing_up_to: u64,
    pending_rows: usize,
    pending_bytes: u64,
    /// Since when a row waits.
    waiting_since: Option<Instant>,
    pub(super) run: Run,
    /// Nothing is tried before.
    retry_at: Option<Instant>,
    pub(super) closing: bool,
    appended: u64,
    dropped: u64,
    failures: u64,
    last_trouble: Option<Trouble>,
    last_flush: Option<DateTime<Utc>>,
}

/// Rows to be written into one file.
pub(super) struct Batch {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) rows: Vec<Arc<QueryRecord>>,
}

impl State {
    pub(super) fn new(first_segment: u64, options: HistoryOptions) -> Self {
        State {
            options,
            files: Vec::new(),
            sealed: VecDeque::new(),
            open: Segment {
                number: first_segment,
                rows: VecDeque::new(),
            },
            journal: None,
            journal_fails: false,
            dropped_segments: Vec::new(),
            writing_up_to: 0,
            pending_rows: 0,
            pending_bytes: 0,
            waiting_since: None,
            run: Run::default(),
            retry_at: None,
            closing: false,
            appended: 0,
            dropped: 0,
            failures: 0,
            last_trouble: None,
            last_flush: None,
        }
    }

    /// Takes up the rows of a segment of the run before.
    pub(super) fn take_up(&mut self, number: u64, records: Vec<QueryRecord>) {
        let rows: VecDeque<Row> = records
            .into_iter()
            .map(|record| Row {
                bytes: journal::to_line(&record, 0).len() as u64,
                record: Arc::new(record),
                is_uncounted: false,
            })
            .collect();
        self.pending_rows += rows.len();
        self.pending_bytes += rows.iter().map(|row| row.bytes).sum::<u64>();
        self.waiting_since = Some(Instant::now());
        self.sealed.push_back(Segment { number, rows });
    }

    /// A line was written that says how many were registered.
    pub(super) fn journal_has(&mut self, registered: u64) {
        self.run.registered = self.run.registered.max(registered);
        if std::mem::take(&mut self.journal_fails) {
            tracing::warn!("the journal of the query history is written again");
        }
    }

    /// A row could not be written into the journal.
    pub(super) fn journal_lacks(&mut self, error: &io::Error) {
        self.trouble(error);
        if !std::mem::replace(&mut self.journal_fails, true) {
            tracing::error!(
                "the journal of the query history cannot be written; until it can, a crash loses \
                 what is in no Parquet file yet: {error}"
            );
        }
    }

    /// Writes into the journal how many were registered, if it does not know yet. It is not told
    /// when that fails: the next row brings it.
    pub(super) fn note_registered(&mut self, disk: &Disk, folder: &Path, registered: u64) {
        if registered <= self.run.registered {
            return;
        }
        let line = journal::to_note(registered);
        let written = self.journal_of(disk, folder).and_then(|j| j.append(&line));
        if written.is_ok() {
            self.journal_has(registered);
        }
    }

    /// The file of the open segment.
    pub(super) fn journal_of(&mut self, disk: &Disk, folder: &Path) -> io::Result<&mut LineFile> {
        if self.journal.is_none() {
            self.journal = Some(journal::begin(disk, folder, self.open.number, &self.run)?);
        }
        Ok(self.journal.as_mut().expect("it was begun just now"))
    }

    /// Adds a row, and drops old ones where too many wait. Returns whether the thread must know.
    /// [`State::appended`] is the row's number from then on.
    pub(super) fn add(&mut self, row: Row) -> bool {
        if !row.is_uncounted {
            self.run.archived.insert(row.record.serial);
        }
        self.appended += 1;
        self.pending_rows += 1;
        self.pending_bytes += row.bytes;
        self.open.rows.push_back(row);
        self.drop_oldest();
        let is_first = self.waiting_since.is_none();
        self.waiting_since.get_or_insert_with(Instant::now);
        is_first || self.is_full()
    }

    /// Whether so much waits that it should be written.
    pub(super) fn is_full(&self) -> bool {
        self.pending_rows >= self.options.flush_rows
            || self.pending_bytes >= self.options.flush_bytes
    }

    fn drop_oldest(&mut self) {
        while self.pending_rows > self.options.max_pending_rows
            || self.pending_bytes > self.options.max_pending_bytes
        {
            let writing_up_to = self.writing_up_to;
            let mut segments = self.sealed.iter_mut().chain([&mut self.open]);
            // What is being written is as good as safe.
            let oldest = segments
                .find(|segment| segment.number > writing_up_to && !segment.rows.is_empty())
                .and_then(|segment| segment.rows.pop_front());
            let Some(row) = oldest else { break };
            self.pending_rows -= 1;
            self.pending_bytes -= row.bytes;
            self.dropped += 1;
        }
        // The journal must not keep what memory must not.
        let writing_up_to = self.writing_up_to;
        while let Some(segment) = self
            .sealed
            .pop_front_if(|segment| segment.number > writing_up_to && segment.rows.is_empty())
        {
            self.dropped_segments.push(segment.number);
        }
    }

    /// Closes the open segment, if it has rows, and begins the next one.
    fn seal(&mut self, disk: &Disk, folder: &Path) {
        if self.open.rows.is_empty() {
            return;
        }
        let next = Segment {
            number: self.open.number + 1,
            rows: VecDeque::new(),
        };
        self.sealed
            .push_back(std::mem::replace(&mut self.open, next));
        self.journal = None;
        if let Err(error) = self.journal_of(disk, folder).map(drop) {
            self.trouble(&error);
        }
    }

    /// Everything that waits, to be written; [`State::written`] or [`State::not_written`] must follow.
    pub(super) fn take_batch(&mut self, disk: &Disk, folder: &Path) -> Option<Batch> {
        self.seal(disk, folder);
        let batch = Batch {
            first: self.sealed.front()?.number,
            last: self.sealed.back()?.number,
            rows: self.pending().map(|row| Arc::clone(&row.record)).collect(),
        };
        self.writing_up_to = batch.last;
        Some(batch)
    }

    /// The rows of `batch` are in `file` now: in one step the file is there and the rows are not.
    /// Returns the segments that are no longer needed.
    pub(super) fn written(&mut self, batch: &Batch, file: HistoryFile) -> Vec<u64> {
        self.files.push(Arc::new(file));
        let mut finished = Vec::new();
        while let Some(segment) = self
            .sealed
            .pop_front_if(|segment| segment.number <= batch.last)
        {
            for row in &segment.rows {
                self.pending_rows -= 1;
                self.pending_bytes -= row.bytes;
                if row.is_uncounted {
                    self.run.archived.insert(row.record.serial);
                }
            }
            finished.push(segment.number);
        }
        self.writing_up_to = 0;
        self.waiting_since = (self.pending_rows > 0).then(Instant::now);
        self.retry_at = None;
        self.last_flush = Some(Utc::now());
        finished
    }

    /// The rows of the batch go on waiting.
    pub(super) fn not_written(&mut self) {
        self.writing_up_to = 0;
        self.drop_oldest();
        self.retry_at = Some(Instant::now() + self.options.retry_interval);
    }

    /// When the thread has to write what waits; none while nothing does.
    pub(super) fn flush_due(&self) -> Option<Instant> {
        let since = self.waiting_since?;
        let due = if self.is_full() {
            since
        } else {
            since + self.options.flush_interval
        };
        Some(self.retry_at.map_or(due, |retry_at| due.max(retry_at)))
    }

    /// Notes that something went wrong.
    pub(super) fn trouble(&mut self, error: &io::Error) {
        self.failures += 1;
        self.last_trouble = Some(Trouble {
            time: Utc::now(),
            error: error.to_string(),
        });
    }

    /// Gives up the open segment when nothing waits, and returns its number.
    pub(super) fn end_segment(&mut self) -> Option<u64> {
        let is_needless = self.pending_rows == 0 && self.journal.take().is_some();
        is_needless.then(|| {
            self.open.number += 1;
            self.open.number - 1
        })
    }

    /// How many rows have come since the start.
    pub(super) fn appended(&self) -> u64 {
        self.appended
    }

    /// The rows that are in no file, oldest first.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Row> {
        self.sealed
            .iter()
            .chain([&self.open])
            .flat_map(|segment| &segment.rows)
    }

    pub(super) fn health(&self) -> Health {
        Health {
            appended: self.appended,
            pending_rows: self.pending_rows as u64,
            pending_bytes: self.pending_bytes,
            dropped: self.dropped,
            files: self.files.len() as u64,
            file_rows: self.files.iter().map(|file| file.rows()).sum(),
            file_bytes: self.files.iter().map(|file| file.bytes()).sum(),
            failures: self.failures,
            last_trouble: self.last_trouble.clone(),
            last_flush: self.last_flush,
        }
    }
}
