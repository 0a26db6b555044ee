//! Two levels of pools: a statement's own, and the server's behind it.
//!
//! The statement's pool decides: it knows the limit, shares it fairly between the operators that
//! can spill, and explains what it refuses. The server's pool adds up what all use. It refuses
//! only those for whom nothing has been set aside, so no statement with a grant fails because of
//! a neighbour.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, human_readable_size,
};
use parking_lot::Mutex;

use super::{MemorySource, MemoryStatus};

/// The part of the server's memory that only superusers get: one of this many.
pub(super) const RESERVED_PART: usize = 10;

/// Operators that an error names as those that hold the memory.
const NAMED_OPERATORS: usize = 3;

/// What all statements use.
#[derive(Debug)]
pub(super) struct ServerPool {
    limit_bytes: usize,
    /// Limits of the statements with a grant that are there.
    granted: AtomicUsize,
    granted_used: AtomicUsize,
    rest_used: AtomicUsize,
    reserve_used: AtomicUsize,
}

impl ServerPool {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            granted: AtomicUsize::new(0),
            granted_used: AtomicUsize::new(0),
            rest_used: AtomicUsize::new(0),
            reserve_used: AtomicUsize::new(0),
        }
    }

    pub(super) fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    pub(super) fn status(&self) -> MemoryStatus {
        let read = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        MemoryStatus {
            limit: self.limit_bytes,
            granted: read(&self.granted),
            granted_used: read(&self.granted_used),
            rest_used: read(&self.rest_used).saturating_add(read(&self.reserve_used)),
            ..MemoryStatus::default()
        }
    }

    fn used(&self, source: MemorySource) -> &AtomicUsize {
        match source {
            MemorySource::Granted => &self.granted_used,
            MemorySource::Exempt | MemorySource::Rest => &self.rest_used,
            MemorySource::Reserve => &self.reserve_used,
        }
    }

    /// The most that statements of this source may use together; `None` where the server never
    /// refuses.
    fn most_of(&self, source: MemorySource) -> Option<usize> {
        let left = self
            .limit_bytes
            .saturating_sub(self.granted.load(Ordering::Relaxed));
        let reserve = self.limit_bytes / RESERVED_PART;
        match source {
            MemorySource::Granted | MemorySource::Exempt => None,
            MemorySource::Rest => Some(left.saturating_sub(reserve)),
            MemorySource::Reserve => {
                let others = self.rest_used.load(Ordering::Relaxed);
                Some(left.saturating_sub(others).max(reserve))
            }
        }
    }

    fn take(&self, source: MemorySource, bytes: usize) {
        self.used(source).fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes `bytes`, or says how many are left.
    fn try_take(&self, source: MemorySource, bytes: usize) -> Result<(), usize> {
        let Some(most) = self.most_of(source) else {
            self.take(source, bytes);
            return Ok(());
        };
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= most);
        let taken = self
            .used(source)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.map(drop).map_err(|used| most.saturating_sub(used))
    }

    fn give_back(&self, source: MemorySource, bytes: usize) {
        let before = self.used(source).fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(bytes <= before, "more memory given back than was taken");
    }
}

/// The memory of one statement.
#[derive(Debug)]
pub(super) struct StatementPool {
    server: Arc<ServerPool>,
    /// In bytes; `None` is what the server has.
    limit: Option<usize>,
    source: MemorySource,
    account: Mutex<Account>,
}

/// Who of a statement's operators has what. An operator is a consumer for each of its partitions.
#[derive(Debug, Default)]
struct Account {
    operators: HashMap<usize, Operator>,
    /// How many of them can spill.
    spillers: usize,
    /// Bytes of those that can, and of those that cannot.
    spillable: usize,
    unspillable: usize,
    /// The most that they have had together.
    peak: usize,
}

#[derive(Debug)]
struct Operator {
    name: String,
    held: usize,
}

impl Account {
    fn used(&self) -> usize {
        self.spillable.saturating_add(self.unspillable)
    }

    fn held_by(&self, consumer: &MemoryConsumer) -> usize {
        self.operators.get(&consumer.id()).map_or(0, |o| o.held)
    }

    /// What an operator may take of `limit` in addition to what it has. Those that can spill have
    /// equal shares of what those that cannot have left over: one that takes more than its share
    /// would make the others spill all the time.
    fn left_for(&self, consumer: &MemoryConsumer, limit: usize) -> usize {
        if consumer.can_spill() {
            let share = limit.saturating_sub(self.unspillable) / self.spillers.max(1);
            share.saturating_sub(self.held_by(consumer))
        } else {
            limit.saturating_sub(self.used())
        }
    }

    fn take(&mut self, consumer: &MemoryConsumer, bytes: usize) {
        if let Some(operator) = self.operators.get_mut(&consumer.id()) {
            operator.held += bytes;
        }
        *self.sum_of(consumer) += bytes;
        self.peak = self.peak.max(self.used());
    }

    fn give_back(&mut self, consumer: &MemoryConsumer, bytes: usize) {
        if let Some(operator) = self.operators.get_mut(&consumer.id()) {
            operator.held -= bytes;
        }
        *self.sum_of(consumer) -= bytes;
    }

    fn sum_of(&mut self, consumer: &MemoryConsumer) -> &mut usize {
        match consumer.can_spill() {
            true => &mut self.spillable,
            false => &mut self.unspillable,
        }
    }

    /// Who holds the most, for an error's detail.
    fn report(&self) -> String {
        let mut operators: Vec<&Operator> =
            self.operators.values().filter(|o| o.held > 0).collect();
        operators.sort_by(|a, b| b.held.cmp(&a.held).then_with(|| a.name.cmp(&b.name)));
        let most = operators.iter().take(NAMED_OPERATORS);
        let most: Vec<String> = most
            .map(|o| format!("{} {}", o.name, human_readable_size(o.held)))
            .collect();
        let used = human_readable_size(self.used());
        match most.is_empty() {
            true => "The statement uses no memory yet.".to_owned(),
            false => format!(
                "The statement uses {used}, the most in {}.",
                most.join(", ")
            ),
        }
    }
}

impl StatementPool {
    pub(super) fn new(server: Arc<ServerPool>, limit: Option<usize>, source: MemorySource) -> Self {
        let pool = Self {
            server,
            limit,
            source,
            account: Mutex::default(),
        };
        let granted = pool.granted();
        pool.server.granted.fetch_add(granted, Ordering::Relaxed);
        pool
    }

    /// What is set aside for it.
    fn granted(&self) -> usize {
        match self.source {
            MemorySource::Granted => self.limit.unwrap_or(0),
            _ => 0,
        }
    }

    /// The most that the statement has had at one time, and its limit, for `EXPLAIN ANALYZE`.
    pub(super) fn peak_text(&self) -> String {
        let peak = human_readable_size(self.account.lock().peak);
        match self.limit {
            Some(limit) => format!("Memory: {peak} of {}", human_readable_size(limit)),
            None => format!("Memory: {peak}"),
        }
    }

    fn own_limit_text(&self) -> (String, &'static str) {
        let limit = human_readable_size(self.limit.unwrap_or(usize::MAX));
        let hint = match self.source {
            MemorySource::Granted | MemorySource::Exempt => {
                "Raise statement_mem, or the share that the resource queue gives: raise its \
                 MEMORY_LIMIT, or lower its ACTIVE_STATEMENTS."
            }
            MemorySource::Rest | MemorySource::Reserve => "Raise statement_mem.",
        };
        (format!("the statement may use {limit}"), hint)
    }

    fn server_limit_text(&self) -> (String, &'static str) {
        let limit = human_readable_size(self.server.limit_bytes);
        let text = format!(
            "the server has {limit} and {} of it are granted to others",
            human_readable_size(self.server.granted.load(Ordering::Relaxed)),
        );
        (
            text,
            "Give the role a resource queue with a MEMORY_LIMIT, or raise --memory-limit.",
        )
    }
}

impl Drop for StatementPool {
    fn drop(&mut self) {
        let used = self.account.get_mut().used();
        debug_assert_eq!(used, 0, "every reservation gives back what it has");
        self.server.give_back(self.source, used);
        let granted = self.granted();
        self.server.granted.fetch_sub(granted, Ordering::Relaxed);
    }
}

impl fmt::Display for StatementPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Some(limit) => write!(f, "statement ({})", human_readable_size(limit)),
            None => write!(f, "statement"),
        }
    }
}

impl MemoryPool for StatementPool {
    fn name(&self) -> &str {
        "statement"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        let mut account = self.account.lock();
        account.spillers += usize::from(consumer.can_spill());
        let operator = Operator {
            name: consumer.name().to_owned(),
            held: 0,
        };
        account.operators.insert(consumer.id(), operator);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        let mut account = self.account.lock();
        account.spillers -= usize::from(consumer.can_spill());
        account.operators.remove(&consumer.id());
    }

    /// Cannot fail, so it may go beyond the limit; the next request is refused then.
    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.account.lock().take(reservation.consumer(), additional);
        self.server.take(self.source, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        let mut account = self.account.lock();
        account.give_back(reservation.consumer(), shrink);
        drop(account);
        self.server.give_back(self.source, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let consumer = reservation.consumer();
        let mut account = self.account.lock();
        let refused = |account: &Account, left: usize, (limit, hint): (String, &str)| {
            Err(refusal(consumer, additional, left, &limit, account, hint))
        };
        if let Some(limit) = self.limit {
            let left = account.left_for(consumer, limit);
            if additional > left {
                return refused(&account, left, self.own_limit_text());
            }
        }
        if let Err(left) = self.server.try_take(self.source, additional) {
            return refused(&account, left, self.server_limit_text());
        }
        account.take(consumer, additional);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.account.lock().used()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit.unwrap_or(self.server.limit_bytes))
    }
}

/// What an operator is told that gets no memory. It is of DataFusion's kind for this, for which
/// operators that can spill look; its lines are message, detail and hint.
fn refusal(
    consumer: &MemoryConsumer,
    additional: usize,
    left: usize,
    limit: &str,
    account: &Account,
    hint: &str,
) -> DataFusionError {
    DataFusionError::ResourcesExhausted(format!(
        "out of memory: {} asked for {}, but {limit} and {} are left for it\n{}\n{hint}",
        consumer.name(),
        human_readable_size(additional),
        human_readable_size(left),
        account.report(),
    ))
}
