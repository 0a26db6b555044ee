//! What the thread of the history does: flush, merge, remove.

use super::Shared;
use super::files::{self, HistoryFile, Name};
use super::journal::segment_path;
use super::options::{HistoryOptions, Retention};
use super::registered::NOTE_AFTER;
use super::state::Batch;
use chrono::{Days, NaiveDate, Utc};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often files are looked after while no query ends.
const TIDY_INTERVAL: Duration = Duration::from_secs(60);

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Write what waits, then look after the files.
    Flush,
    /// The same for the last time: a journal that is no longer needed goes too.
    Close,
}

/// What the turn of flushing, merging and removing leaves for the next one.
#[derive(Default)]
pub(super) struct Worker {
    /// Segments whose rows are in a file, or dropped.
    pub(super) finished_segments: Vec<u64>,
    /// Files that no new reader is shown; they are removed when the last one lets go of them.
    pub(super) removed: Vec<Arc<HistoryFile>>,
    /// Whether a name in the folder may not be on the disk yet.
    must_sync: bool,
}

impl Shared {
    /// The thread of the history.
    pub(super) fn run(&self) {
        let mut next_tidy = Instant::now();
        let mut note_due = None;
        loop {
            if self.registered.is_told() {
                note_due.get_or_insert_with(|| Instant::now() + NOTE_AFTER);
            }
            let (is_closing, flush_due) = {
                let state = self.state.lock();
                (state.closing, state.flush_due())
            };
            if is_closing {
                return;
            }
            let now = Instant::now();
            let work_due = flush_due.map_or(next_tidy, |due| due.min(next_tidy));
            if note_due.is_some_and(|due| due <= now) {
                self.write_registered();
                note_due = None;
            } else if work_due <= now {
                if let Err(error) = self.work(Work::Flush) {
                    tracing::warn!("the query history: {error}");
                }
                next_tidy = Instant::now() + TIDY_INTERVAL;
            } else {
                // Whoever wakes it before it sleeps has it not sleep at all.
                let due = note_due.map_or(work_due, |due| due.min(work_due));
                std::thread::park_timeout(due - now);
            }
        }
    }

    /// Tells the journal which queries were registered.
    pub(super) fn write_registered(&self) {
        let serial = self.registered.take();
        let mut state = self.state.lock();
        state.note_registered(&self.disk, &self.folder, serial);
    }

    /// Does the work. Of several errors the first one is returned; all are counted.
    pub(super) fn work(&self, work: Work) -> io::Result<()> {
        let mut worker = self.worker.lock();
        // Room is made even when nothing can be written: that may be the reason.
        let steps: [fn(&Shared, &mut Worker) -> io::Result<()>; 5] = [
            Shared::flush,
            Shared::remove_segments,
            Shared::merge,
            Shared::retain,
            Shared::end_journal,
        ];
        let count = if work == Work::Close {
            steps.len()
        } else {
            steps.len() - 1
        };
        let mut outcome = Ok(());
        for error in steps[..count]
            .iter()
            .filter_map(|step| step(self, &mut worker).err())
        {
            self.state.lock().trouble(&error);
            outcome = outcome.and(Err(error));
        }
        outcome
    }

    fn flush(&self, worker: &mut Worker) -> io::Result<()> {
        let Some(batch) = self.state.lock().take_batch(&self.disk, &self.folder) else {
            return Ok(());
        };
        let name = Name {
            day: newest_day(&batch),
            first: batch.first,
            last: batch.last,
        };
        match files::write(&self.disk, &self.folder, name, &batch.rows) {
            Ok(file) => {
                let finished = self.state.lock().written(&batch, file);
                worker.finished_segments.extend(finished);
                worker.must_sync = true;
                Ok(())
            }
            Err(error) => {
                self.state.lock().not_written();
                Err(error)
            }
        }
    }

    /// Removes the segments that are not needed any more.
    fn remove_segments(&self, worker: &mut Worker) -> io::Result<()> {
        self.sync_names(worker)?;
        worker
            .finished_segments
            .append(&mut self.state.lock().dropped_segments);
        while let Some(number) = worker.finished_segments.last() {
            self.disk.remove(&segment_path(&self.folder, *number))?;
            worker.finished_segments.pop();
        }
        Ok(())
    }

    /// Waits until the names of new files are on the disk. Before that nothing may go that they replace.
    fn sync_names(&self, worker: &mut Worker) -> io::Result<()> {
        if worker.must_sync {
            self.disk.sync_folder(&self.folder)?;
            worker.must_sync = false;
        }
        Ok(())
    }

    /// Merges small files, one group after another.
    fn merge(&self, worker: &mut Worker) -> io::Result<()> {
        let today = Utc::now().date_naive();
        loop {
            let files = self.state.lock().files.clone();
            let Some(group) = group_to_merge(&files, today, &self.options) else {
                return Ok(());
            };
            let group = &files[group];
            let name = Name {
                day: group[0].name().day,
                first: group[0].name().first,
                last: group[group.len() - 1].name().last,
            };
            let merged = files::merge(&self.disk, &self.folder, name, group)?;
            worker.removed.extend(self.replace(group, merged));
            worker.must_sync = true;
            self.sync_names(worker)?;
        }
    }

    /// Shows readers `merged` in the place of `group`, in one step; returns the group.
    fn replace(&self, group: &[Arc<HistoryFile>], merged: HistoryFile) -> Vec<Arc<HistoryFile>> {
        let mut state = self.state.lock();
        let start = state
            .files
            .iter()
            .position(|file| Arc::ptr_eq(file, &group[0]))
            .expect("only this turn takes files away");
        let range = start..start + group.len();
        state.files.splice(range, [Arc::new(merged)]).collect()
    }

    /// Removes the files that the retention does not allow, and those that were merged.
    fn retain(&self, worker: &mut Worker) -> io::Result<()> {
        // Nothing goes before the names of what replaces it are on the disk.
        if worker.must_sync {
            return Ok(());
        }
        // A file tells that its segments are done with, so they go before it.
        if worker.finished_segments.is_empty() {
            let mut state = self.state.lock();
            let today = Utc::now().date_naive();
            let expired = expired(&state.files, &self.options.retention, today);
            worker.removed.extend(state.files.drain(..expired));
        }
        self.remove_files(worker)
    }

    /// Removes the files that no reader has any more.
    fn remove_files(&self, worker: &mut Worker) -> io::Result<()> {
        // Nobody gets hold of one of these any more, so that the counts only fall.
        let removed = std::mem::take(&mut worker.removed);
        let mut kept: Vec<Arc<HistoryFile>> = Vec::new();
        let mut outcome = Ok(());
        for file in removed {
            // After a crash a merged file hides those that it was made of: it must go after them.
            let hides = kept.iter().any(|other| file.name().covers(&other.name()));
            if hides || Arc::strong_count(&file) > 1 || outcome.is_err() {
                kept.push(file);
            } else if let Err(error) = self.disk.remove(file.path()) {
                kept.push(file);
                outcome = Err(error);
            }
        }
        worker.removed = kept;
        outcome
    }

    /// After a clean end there is no journal; only when queries are missing, one that tells how many.
    fn end_journal(&self, _: &mut Worker) -> io::Result<()> {
        let mut state = self.state.lock();
        let registered = self.registered.largest();
        state.run.registered = state.run.registered.max(registered);
        let Some(number) = state.end_segment() else {
            return Ok(());
        };
        if state.run.missing() > 0 {
            state.journal_of(&self.disk, &self.folder)?;
        }
        self.disk.remove(&segment_path(&self.folder, number))
    }
}

/// The day of the newest of the rows.
fn newest_day(batch: &Batch) -> NaiveDate {
    let times = batch
        .rows
        .iter()
        .map(|row| row.end_time.unwrap_or(row.start_time));
    times.max().unwrap_or_else(Utc::now).date_naive()
}

/// How many files, from the oldest on, the retention does not allow.
fn expired(files: &[Arc<HistoryFile>], retention: &Retention, today: NaiveDate) -> usize {
    let oldest_day = retention
        .days
        .and_then(|days| today.checked_sub_days(Days::new(days.into())));
    let mut bytes: u64 = files.iter().map(|file| file.bytes()).sum();
    let mut expired = 0;
    for file in files {
        let is_old = oldest_day.is_some_and(|oldest| file.day() < oldest);
        let is_last = expired + 1 == files.len();
        let is_too_much = !is_last && retention.bytes.is_some_and(|bound| bytes > bound);
        if !is_old && !is_too_much {
            break;
        }
        bytes -= file.bytes();
        expired += 1;
    }
    expired
}

/// Neighbouring files of one day that are worth merging, as a range of places.
///
/// Of today: enough of them, and none larger than all others together, so that a row is written again
/// only when its file at least doubles. Of a day that is over: all, as far as the size allows.
fn group_to_merge(
    files: &[Arc<HistoryFile>],
    today: NaiveDate,
    options: &HistoryOptions,
) -> Option<Range<usize>> {
    (0..files.len()).find_map(|start| {
        let day = files[start].day();
        let (mut end, mut bytes, mut largest) = (start, 0, 0);
        for file in &files[start..] {
            let fits = bytes + file.bytes() <= options.max_file_bytes;
            if file.day() != day || !fits || !file.has_our_columns() {
                break;
            }
            bytes += file.bytes();
            largest = largest.max(file.bytes());
            end += 1;
        }
        let is_worth_it = if day < today {
            end - start >= 2
        } else {
            end - start >= options.merge_files.max(2) && largest <= bytes - largest
        };
        is_worth_it.then_some(start..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 11, day).unwrap()
    }

    /// Files with these days and sizes.
    fn files(of: &[(u32, u64)]) -> Vec<Arc<HistoryFile>> {
        let file = |(index, (in_month, bytes)): (usize, &(u32, u64))| {
            let number = index as u64 + 1;
            Arc::new(HistoryFile::for_test(day(*in_month), number, *bytes))
        };
        of.iter().enumerate().map(file).collect()
    }

    fn group(of: &[(u32, u64)]) -> Option<Range<usize>> {
        let options = HistoryOptions {
            merge_files: 3,
            max_file_bytes: 100,
            ..HistoryOptions::default()
        };
        group_to_merge(&files(of), day(21), &options)
    }

    #[test]
    fn small_files_of_today_are_merged_when_there_are_enough() {
        assert_eq!(group(&[]), None);
        assert_eq!(group(&[(21, 1), (21, 1)]), None);
        assert_eq!(group(&[(21, 1), (21, 1), (21, 1)]), Some(0..3));
        // The large one waits until the small ones weigh as much.
        assert_eq!(group(&[(21, 9), (21, 1), (21, 1)]), None);
        assert_eq!(group(&[(21, 9), (21, 1), (21, 1), (21, 1)]), Some(1..4));
        assert_eq!(group(&[(21, 4), (21, 3), (21, 2)]), Some(0..3));
        assert_eq!(group(&[(21, 50), (21, 40), (21, 40)]), None);
    }

    #[test]
    fn files_of_a_day_that_is_over_are_merged_up_to_the_size() {
        assert_eq!(group(&[(20, 90), (20, 1), (21, 1)]), Some(0..2));
        assert_eq!(group(&[(20, 90), (20, 11), (20, 1)]), Some(1..3));
        assert_eq!(group(&[(19, 1), (20, 1), (21, 1)]), None);
        assert_eq!(group(&[(20, 1)]), None);
    }

    #[test]
    fn merging_goes_on_until_few_files_are_left_and_writes_little_again() {
        let options = HistoryOptions {
            max_file_bytes: 1 << 20,
            ..HistoryOptions::default()
        };
        let mut sizes = Vec::new();
        let mut written = 0;
        for _ in 0..1440 {
            sizes.push((21, 100));
            while let Some(group) = group_to_merge(&files(&sizes), day(21), &options) {
                let bytes = sizes[group.clone()].iter().map(|(_, bytes)| bytes).sum();
                written += bytes;
                sizes.splice(group, [(21, bytes)]);
            }
            assert!(sizes.len() <= 30, "{sizes:?}");
        }
        assert!(written <= 1440 * 100 * 10, "{written}");
    }

    #[test]
    fn retention_takes_the_oldest_first() {
        let all = files(&[(1, 40), (10, 30), (20, 20), (21, 10)]);
        let expired = |days, bytes| expired(&all, &Retention { days, bytes }, day(21));
        assert_eq!(expired(None, None), 0);
        assert_eq!(expired(Some(20), None), 0);
        assert_eq!(expired(Some(19), None), 1);
        assert_eq!(expired(Some(0), None), 3);
        assert_eq!(expired(None, Some(100)), 0);
        assert_eq!(expired(None, Some(99)), 1);
        assert_eq!(expired(None, Some(30)), 2);
        assert_eq!(expired(Some(5), Some(29)), 3);
        // The newest is kept, or a bound that is too small would keep nothing at all.
        assert_eq!(expired(None, Some(0)), 3);
        assert_eq!(expired(Some(u32::MAX), None), 0);
    }
}
