//! What is learnt of a query on its way.

use crate::AuditObject;
use std::sync::Arc;
use std::time::Duration;

/// What the way of a statement finds out, step by step. Times are sums: a statement may wait, plan
/// and run more than once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The resource queue that governs it.
    pub queue: Option<Arc<str>>,
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
    /// Memory that it was granted, in bytes.
    pub memory_granted_bytes: Option<u64>,
    /// Rows that its client was given.
    pub rows_returned: u64,
    /// Relations that it reads or writes, as it names them.
    pub tables: Vec<String>,
    /// The same with the privileges that it needs on them.
    pub objects: Vec<AuditObject>,
    /// How often it has given everything back and waited again.
    pub stepped_aside: u32,
    /// Whether it was granted something beyond a limit.
    pub overcommitted: bool,
}
