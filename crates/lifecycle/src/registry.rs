//! The registry: every query that is not archived yet, and the one door to those that are.

use crate::archive::{Archive, KeepNothing};
use crate::log::{QueryLog, QueryLogLimits};
use crate::pool::{Handover, PoolSettings, PoolStatus, UnregistrationPool};
use crate::{NewQuery, Outcome, Query, QueryId, QueryState};
use dashmap::DashMap;
use std::collections::HashSet;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use tokio::runtime::{Handle, RuntimeFlavor};

/// All queries of a server. Clones share the same queries.
#[derive(Clone)]
pub struct Registry(Arc<Shared>);

struct Shared {
    /// Sharded, so that statements do not wait for each other to register.
    living: DashMap<QueryId, Arc<Query>>,
    log: QueryLog,
    archive: Box<dyn Archive>,
    pool: UnregistrationPool,
    totals: Totals,
}

#[derive(Default)]
struct Totals {
    registered: AtomicU64,
    finished: AtomicU64,
    exception: AtomicU64,
    cancelled: AtomicU64,
}

/// Nobody knows such a query: it never existed, or somebody else has ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Invalid or unknown query handle: {0}")]
pub struct UnknownQuery(pub QueryId);

/// How many queries there are and were since the server started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Ever registered.
    pub registered: u64,
    /// In the registry now.
    pub in_flight: u64,
    /// In the query log now.
    pub logged: u64,
    /// Bytes that the query log keeps.
    pub logged_bytes: u64,
    /// Ever ended as [`QueryState::Finished`].
    pub finished: u64,
    /// Ever ended as [`QueryState::Exception`].
    pub exception: u64,
    /// Ever ended as [`QueryState::Cancelled`].
    pub cancelled: u64,
}

/// All queries at one moment; each is in exactly one of the two lists.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Those in the registry, oldest first.
    pub in_flight: Vec<Arc<Query>>,
    /// Those only in the query log, newest first.
    pub completed: Vec<Arc<Query>>,
}

impl Default for Registry {
    fn default() -> Self {
        Registry::new(
            QueryLogLimits::default(),
            PoolSettings::default(),
            Box::new(KeepNothing),
        )
    }
}

impl Registry {
    /// An empty registry, whose pool hands each ended query to `archive` before it is put into the
    /// log.
    pub fn new(limits: QueryLogLimits, pool: PoolSettings, archive: Box<dyn Archive>) -> Self {
        Registry(Arc::new_cyclic(|shared: &Weak<Shared>| {
            let shared = shared.clone();
            let archive_one = move |query: &Arc<Query>| {
                // Without the registry nobody can ask for the query any more.
                if let Some(shared) = shared.upgrade() {
                    shared.archive(query);
                }
            };
            Shared {
                living: DashMap::new(),
                log: QueryLog::new(limits),
                archive,
                pool: UnregistrationPool::start(pool, Arc::new(archive_one)),
                totals: Totals::default(),
            }
        }))
    }

    /// Gives the query an id and makes it visible to everyone. Keep the guard as long as the
    /// statement lives.
    pub fn register(&self, info: NewQuery) -> RegisteredQuery {
        let serial = 1 + self.0.totals.registered.fetch_add(1, Ordering::Relaxed);
        self.0.archive.registered(serial);
        let query = Arc::new(Query::new(info, serial));
        let before = self.0.living.insert(query.id(), Arc::clone(&query));
        debug_assert!(before.is_none(), "two queries with the id {}", query.id());
        RegisteredQuery {
            query,
            registry: self.clone(),
        }
    }

    /// Ends the query: fixes its state and end time, and lets the pool archive it. If the pool has
    /// no room, the caller does.
    ///
    /// # Errors
    ///
    /// [`UnknownQuery`] if there is no such query, or if somebody else has ended it or is about to.
    pub fn unregister(&self, id: &QueryId, outcome: Outcome) -> Result<(), UnknownQuery> {
        // The reference into the map must be gone before `close` removes from it.
        let query = self.0.living.get(id).map(|entry| Arc::clone(&entry));
        let pushed_back = self.close(&query.ok_or(UnknownQuery(*id))?, outcome)?;
        self.archive_now(pushed_back);
        Ok(())
    }

    /// Ends the query; gives it back if the pool's queue is full.
    fn close(
        &self,
        query: &Arc<Query>,
        outcome: Outcome,
    ) -> Result<Option<Arc<Query>>, UnknownQuery> {
        let state = outcome.state();
        if !query.finalize(outcome) {
            return Err(UnknownQuery(query.id()));
        }
        self.0.totals.of(state).fetch_add(1, Ordering::Relaxed);
        Ok(match self.0.pool.try_hand_over(Arc::clone(query)) {
            Handover::Taken => None,
            Handover::Full(query) => Some(query),
            Handover::Synchronous(query) => {
                self.0.archive(&query);
                None
            }
        })
    }

    /// For those who cannot wait for room in the pool. Where the disk is slow it takes long: other
    /// tasks of a runtime's thread go on elsewhere meanwhile.
    fn archive_now(&self, query: Option<Arc<Query>>) {
        let Some(query) = query else {
            return;
        };
        let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
        match flavor {
            Ok(RuntimeFlavor::MultiThread) => {
                tokio::task::block_in_place(|| self.0.archive(&query));
            }
            _ => self.0.archive(&query),
        }
    }

    /// What the pool has done, and has to do.
    pub fn pool_status(&self) -> PoolStatus {
        self.0.pool.status()
    }

    /// Archives every query that has ended, and stops the pool: the last step of a shutdown. Blocks.
    pub fn drain(&self) {
        self.0.pool.close();
        self.0.archive.flush();
    }

    /// The query with this id, whether it lives or is in the log.
    pub fn get(&self, id: &QueryId) -> Option<Arc<Query>> {
        // In this order, and no other: see `archive`.
        let living = self.0.living.get(id).map(|entry| Arc::clone(&entry));
        living.or_else(|| self.0.log.get(id))
    }

    /// The queries in the registry, oldest first.
    pub fn in_flight(&self) -> Vec<Arc<Query>> {
        let mut queries: Vec<_> = self
            .0
            .living
            .iter()
            .map(|entry| Arc::clone(entry.value()))
            .collect();
        queries.sort_by_key(|query| (query.started_at(), query.id()));
        queries
    }

    /// The queries in the log, newest first. One that is just leaving the registry is in
    /// [`Registry::in_flight`] too; ask [`Registry::all`] to see each once.
    pub fn completed(&self) -> Vec<Arc<Query>> {
        self.0.log.list()
    }

    /// All queries, each exactly once.
    pub fn all(&self) -> Listing {
        // The registry first: what has left it by then is in the log already.
        let in_flight = self.in_flight();
        let listed: HashSet<QueryId> = in_flight.iter().map(|query| query.id()).collect();
        let mut completed = self.completed();
        completed.retain(|query| !listed.contains(&query.id()));
        Listing {
            in_flight,
            completed,
        }
    }

    /// How many queries there are and were. The numbers are read one after the other, so while
    /// statements run they need not add up.
    pub fn counters(&self) -> Counters {
        let totals = &self.0.totals;
        let (logged, logged_bytes) = self.0.log.size();
        Counters {
            registered: totals.registered.load(Ordering::Relaxed),
            in_flight: self.0.living.len() as u64,
            logged: logged as u64,
            logged_bytes: logged_bytes as u64,
            finished: totals.finished.load(Ordering::Relaxed),
            exception: totals.exception.load(Ordering::Relaxed),
            cancelled: totals.cancelled.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    fn archive(&self, query: &Arc<Query>) {
        // A mistake in what is kept of one query must not end a thread of the pool: without threads
        // every session would wait for ever.
        let kept = catch_unwind(AssertUnwindSafe(|| {
            query.frozen();
            self.archive.archive(query);
            query.set_archived();
        }));
        if kept.is_err() {
            tracing::error!(
                "archiving query {} panicked: it is in the query log only",
                query.id()
            );
        }
        // In this order: whoever misses it in the registry then finds it in the log.
        self.log.push(Arc::clone(query));
        self.living.remove(&query.id());
    }
}

impl Totals {
    fn of(&self, state: QueryState) -> &AtomicU64 {
        match state {
            QueryState::Finished => &self.finished,
            QueryState::Exception => &self.exception,
            QueryState::Cancelled => &self.cancelled,
            QueryState::Created | QueryState::Pending | QueryState::Running => {
                unreachable!("no outcome means {state}")
            }
        }
    }
}

/// The statement's hold on its registered query.
///
/// Dropping it ends the query as cancelled, unless somebody has ended it before: so a query whose
/// statement panics, or whose client vanishes, does not stay in the registry for ever.
#[must_use = "dropping this ends the query as cancelled"]
pub struct RegisteredQuery {
    query: Arc<Query>,
    registry: Registry,
}

impl RegisteredQuery {
    /// Ends the query as dropping it does, for those who can wait afterwards.
    ///
    /// # Errors
    ///
    /// [`UnknownQuery`] if somebody else has ended it before.
    pub fn give_up(self) -> Result<PushBack, UnknownQuery> {
        self.unregister(given_up())
    }

    /// The query itself, to share with those who outlive the statement.
    pub fn query(&self) -> &Arc<Query> {
        &self.query
    }

    /// Ends the query. What it gives must be awaited before its client's next statement: that is
    /// how a pool that is full pushes back.
    ///
    /// # Errors
    ///
    /// [`UnknownQuery`] if somebody else has ended it before.
    pub fn unregister(self, outcome: Outcome) -> Result<PushBack, UnknownQuery> {
        let query = self.registry.close(&self.query, outcome)?;
        Ok(PushBack {
            query,
            registry: self.registry.clone(),
        })
    }
}

/// A query that has ended while the pool's queue was full, on its way there. Dropping it archives
/// the query on the spot.
#[must_use = "wait for room in the pool"]
pub struct PushBack {
    query: Option<Arc<Query>>,
    registry: Registry,
}

impl PushBack {
    /// Whether there was no room in the pool.
    pub fn is_pending(&self) -> bool {
        self.query.is_some()
    }

    /// Waits until the pool has room. Cancel safe: the query is archived in any case.
    pub async fn settled(mut self) {
        let Some(query) = &self.query else {
            return;
        };
        if self
            .registry
            .0
            .pool
            .hand_over(Arc::clone(query))
            .await
            .is_ok()
        {
            self.query = None;
        }
    }
}

impl std::fmt::Debug for PushBack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PushBack").field(&self.query).finish()
    }
}

impl Drop for PushBack {
    fn drop(&mut self) {
        self.registry.archive_now(self.query.take());
    }
}

impl Deref for RegisteredQuery {
    type Target = Arc<Query>;

    fn deref(&self) -> &Arc<Query> {
        &self.query
    }
}

impl Drop for RegisteredQuery {
    fn drop(&mut self) {
        if self.query.state().is_final() {
            return;
        }
        // Losing here means that somebody else has just ended it, which is as good.
        if let Ok(pushed_back) = self.registry.close(&self.query, given_up()) {
            // Nobody is there to wait.
            self.registry.archive_now(pushed_back);
        }
    }
}

/// How a query ends that nobody has ended otherwise.
fn given_up() -> Outcome {
    let reason = match std::thread::panicking() {
        true => "the statement panicked",
        false => "the statement was given up before its end",
    };
    Outcome::Cancelled {
        reason: reason.to_owned(),
    }
}

impl std::fmt::Debug for RegisteredQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RegisteredQuery").field(&self.query).finish()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Registry").field(&self.counters()).finish()
    }
}

#[cfg(test)]
mod tests;
