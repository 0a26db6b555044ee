//! Where ended queries go.

use std::sync::Arc;

use crate::Query;

/// What is done with each ended query, once, off its client's path, before it is put into the query
/// log: files, history, audit.
pub trait Archive: Send + Sync {
    /// Keeps what is to be kept of `query`, which has ended. An error is this one's to report: the
    /// query leaves the registry in any case.
    fn archive(&self, query: &Query);

    /// A query was registered, with this place among all of them. Called on its client's path.
    fn registered(&self, _serial: u64) {}

    /// Writes what was kept until now to where it survives.
    fn flush(&self) {}
}

/// A share of an archive that somebody else looks into.
impl<A: Archive> Archive for Arc<A> {
    fn archive(&self, query: &Query) {
        (**self).archive(query);
    }

    fn registered(&self, serial: u64) {
        (**self).registered(serial);
    }

    fn flush(&self) {
        (**self).flush();
    }
}

/// Nothing is kept but the query log.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeepNothing;

impl Archive for KeepNothing {
    fn archive(&self, _: &Query) {}
}
