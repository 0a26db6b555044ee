//! Where ended queries go.

use crate::Query;

/// What is done with each ended query, once, off its client's path, before it is put into the query
/// log: files, history, audit.
pub trait Archive: Send + Sync {
    /// Keeps what is to be kept of `query`, which has ended. An error is this one's to report: the
    /// query leaves the registry in any case.
    fn archive(&self, query: &Query);

    /// Writes what was kept until now to where it survives.
    fn flush(&self) {}
}

/// Nothing is kept but the query log.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeepNothing;

impl Archive for KeepNothing {
    fn archive(&self, _: &Query) {}
}
