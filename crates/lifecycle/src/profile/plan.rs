//! What the engine tells of a plan.

/// A plan whose operators have measured themselves, also while it runs.
pub trait PlanProfile: Send + Sync {
    /// The operators as they stand now, each before its inputs.
    fn operators(&self) -> Vec<Operator>;

    /// How far the scans are now.
    fn progress(&self) -> ScanProgress {
        ScanProgress::default()
    }

    /// The query has ended: lets go of what the plan has built, but not of what was measured.
    fn end(&self) {}
}

/// How far the scans of a plan are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScanProgress {
    /// Pieces of files that were read, or found to have nothing that is wanted.
    pub done: u64,
    /// Pieces of files in all.
    pub total: u64,
}

/// One operator of a plan.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Operator {
    /// Operators above it.
    pub depth: usize,
    /// Its kind.
    pub name: String,
    /// What it works on, in one line.
    pub detail: String,
    /// How many of it run side by side.
    pub instances: usize,
    /// What all instances have computed, without their inputs, in nanoseconds.
    pub time_total_ns: u64,
    /// What the least busy instance has computed, in nanoseconds.
    pub time_min_ns: u64,
    /// What one instance has computed on average, without its inputs, in nanoseconds.
    pub time_avg_ns: u64,
    /// What the busiest instance has computed, in nanoseconds.
    pub time_max_ns: u64,
    /// Rows that it has handed on; `None` if it does not count them.
    pub rows: Option<u64>,
    /// Rows that were expected.
    pub estimated_rows: Option<u64>,
    /// The most memory that it had reserved, in bytes; `None` if it reserves none.
    pub peak_memory_bytes: Option<u64>,
    /// Memory that it was expected to hold, in bytes; `None` if it holds none.
    pub estimated_memory_bytes: Option<u64>,
    /// Bytes that it has written to disk because they did not fit into memory.
    pub spilled_bytes: u64,
    /// Bytes that it has read from files.
    pub scanned_bytes: u64,
    /// Everything that it has counted, by name: what, its unit, how much.
    pub counters: Vec<super::Counter>,
}
