//! How the history is set up, and how it is.

use chrono::{DateTime, Utc};
use std::time::Duration;

/// How long rows are kept. Where both bounds are given, both hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// A file is removed when its newest row ended more than this many days ago; none keeps them all.
    pub days: Option<u32>,
    /// The oldest files are removed while all together are larger than this; none keeps them all. The
    /// newest file is kept in any case.
    pub bytes: Option<u64>,
}

/// Settings of the history.
#[derive(Debug, Clone)]
pub struct HistoryOptions {
    /// How long rows are kept.
    pub retention: Retention,
    /// So many rows are written into a file at once.
    pub flush_rows: usize,
    /// So many bytes of rows, as the journal has them, are written into a file at once.
    pub flush_bytes: u64,
    /// No row waits longer for its file.
    pub flush_interval: Duration,
    /// How many rows may wait while no file can be written; then the oldest are dropped.
    pub max_pending_rows: usize,
    /// How many bytes of rows may wait while no file can be written.
    pub max_pending_bytes: u64,
    /// How long to wait after a failure before the next try.
    pub retry_interval: Duration,
    /// So many small files of a day and of about the same size are merged.
    pub merge_files: usize,
    /// A file does not become larger by merging.
    pub max_file_bytes: u64,
}

impl Default for HistoryOptions {
    /// 30 days and 10 GiB.
    fn default() -> Self {
        HistoryOptions {
            retention: Retention {
                days: Some(30),
                bytes: Some(10 << 30),
            },
            flush_rows: 16 * 1024,
            flush_bytes: 16 << 20,
            flush_interval: Duration::from_secs(60),
            max_pending_rows: 200_000,
            max_pending_bytes: 256 << 20,
            retry_interval: Duration::from_secs(5),
            merge_files: 8,
            max_file_bytes: 64 << 20,
        }
    }
}

/// What was found when the history was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Opened {
    /// Rows that the last run had not written into a Parquet file, taken up from its journal.
    pub recovered: u64,
    /// Queries that the last run had registered and not archived when it ended: what was running or
    /// waiting for the unregistration pool. After a clean end there are none.
    pub lost: u64,
    /// Parquet files that could not be read; they now end in `.damaged`.
    pub damaged: u64,
    /// Lines of the journal that could not be read.
    pub broken: u64,
}

/// Something that went wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// When.
    pub time: DateTime<Utc>,
    /// Which file, and why.
    pub error: String,
}

/// How the history is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Rows that came since the start.
    pub appended: u64,
    /// Rows that wait for their Parquet file.
    pub pending_rows: u64,
    /// Bytes of them, as the journal has them.
    pub pending_bytes: u64,
    /// Rows that were dropped because too many waited.
    pub dropped: u64,
    /// Parquet files.
    pub files: u64,
    /// Rows in them.
    pub file_rows: u64,
    /// Bytes of them.
    pub file_bytes: u64,
    /// How often something went wrong with a file since the start.
    pub failures: u64,
    /// The last time that something went wrong.
    pub last_trouble: Option<Trouble>,
    /// The last time that rows were written into a Parquet file.
    pub last_flush: Option<DateTime<Utc>>,
}

impl Health {
    /// Whether something went wrong after rows were written for the last time.
    pub fn is_failing(&self) -> bool {
        let trouble = self.last_trouble.as_ref().map(|trouble| trouble.time);
        trouble > self.last_flush
    }
}
