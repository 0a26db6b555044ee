//! What is learnt of a query on its way.

use crate::{AuditObject, Fetches};
use std::sync::Arc;
use std::time::Duration;

/// How a statement fares with the resource queue that governs it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AdmissionState {
    /// It has asked for nothing yet, or need not ask.
    #[default]
    NotAsked,
    /// It has asked, and waits, or was ended before an answer.
    Asked,
    /// It has what it asked for.
    Admitted,
    /// It never will have it.
    Rejected,
    /// It has waited for longer than it may.
    TimedOut,
}

/// Why a statement had to wait in its queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueReasons {
    /// When its first wait began.
    pub initial: Arc<str>,
    /// When its latest wait began.
    pub latest: Arc<str>,
}

/// The columns that each clause of a statement reads, as `schema.table.column`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClauseColumns {
    /// What the rows of the result are made of, and those of sub-queries.
    pub select: Arc<[String]>,
    /// `WHERE`.
    pub filter: Arc<[String]>,
    /// `ON` and `USING`.
    pub join: Arc<[String]>,
    /// `GROUP BY` and `HAVING`.
    pub aggregate: Arc<[String]>,
    /// `ORDER BY`.
    pub order_by: Arc<[String]>,
}

/// What the way of a statement finds out, step by step. Times are sums: a statement may wait, plan
/// and run more than once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The resource queue that governs it.
    pub queue: Option<Arc<str>>,
    /// How it fares with that queue.
    pub admission: AdmissionState,
    /// Why it had to wait there, at first and lately; `None` for one that never had to.
    pub queue_reasons: Option<QueueReasons>,
    /// Waiting for slot and charge.
    pub queue_wait: Duration,
    /// Waiting for relation locks.
    pub lock_wait: Duration,
    /// Resolving and planning.
    pub planning: Duration,
    /// When its plan started: microseconds since it was registered.
    pub started_us: Option<u64>,
    /// Plan cost as estimated, in PostgreSQL's unit.
    pub estimated_cost: Option<f64>,
    /// Memory that its plan was expected to hold, in bytes.
    pub memory_estimate_bytes: Option<u64>,
    /// Memory that it was granted, in bytes.
    pub memory_granted_bytes: Option<u64>,
    /// Rows that its client was given.
    pub rows_returned: u64,
    /// Rows that it has written into a table; `None` for one that writes none, or not yet.
    pub rows_modified: Option<u64>,
    /// How they were fetched, by a client that does so call by call; `None` where rows are sent.
    pub fetches: Option<Fetches>,
    /// What it held is free again, before its end.
    pub released: bool,
    /// From handing rows out until more were asked for.
    pub fetch_wait: Duration,
    /// The columns that its plan reads, with their relations; `None` without a plan.
    pub columns: Option<Arc<[String]>>,
    /// The columns that its clauses read; `None` without a plan.
    pub clauses: Option<Arc<ClauseColumns>>,
    /// How much of the work of planning a cache has saved; `None` without a plan.
    pub cache_hits: Option<u32>,
    /// Relations that it reads or writes, as it names them.
    pub tables: Vec<String>,
    /// The same with the privileges that it needs on them.
    pub objects: Vec<AuditObject>,
    /// How often it has given everything back and waited again.
    pub stepped_aside: u32,
    /// Whether it was granted something beyond a limit.
    pub overcommitted: bool,
}
