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
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::sync::{Barrier, mpsc};
    use std::thread;

    fn select_one() -> NewQuery {
        NewQuery {
            session_id: 7,
            protocol: "postgres",
            role: "ada".into(),
            statement: "SELECT 1".into(),
            statement_type: "SELECT",
            ..NewQuery::default()
        }
    }

    /// A registry without a pool: who closes archives.
    fn synchronous() -> Registry {
        synchronous_with(200)
    }

    fn synchronous_with(query_log_size: usize) -> Registry {
        let limits = QueryLogLimits {
            query_log_size,
            ..QueryLogLimits::default()
        };
        Registry::new(limits, pool_of(0), Box::new(KeepNothing))
    }

    fn pool_of(unregistration_thread_pool_size: usize) -> PoolSettings {
        PoolSettings {
            unregistration_thread_pool_size,
            ..PoolSettings::default()
        }
    }

    #[test]
    fn moves_from_the_registry_to_the_log() {
        let registry = synchronous();
        let query = registry.register(select_one());
        let id = query.id();
        assert_eq!(
            registry.get(&id).unwrap().info().statement.as_ref(),
            "SELECT 1"
        );
        assert_eq!(
            (registry.in_flight().len(), registry.completed().len()),
            (1, 0)
        );

        drop(query.unregister(Outcome::Finished).unwrap());
        assert_eq!(registry.get(&id).unwrap().state(), QueryState::Finished);
        assert_eq!(
            (registry.in_flight().len(), registry.completed().len()),
            (0, 1)
        );
        let counters = registry.counters();
        assert_eq!(
            counters,
            Counters {
                registered: 1,
                logged: 1,
                logged_bytes: counters.logged_bytes,
                finished: 1,
                ..Counters::default()
            }
        );
    }

    #[test]
    fn an_unknown_id_and_an_ended_query_get_the_same_words() {
        let registry = synchronous();
        let stranger = QueryId::from_halves(1, 2);
        assert_eq!(
            registry
                .unregister(&stranger, Outcome::Finished)
                .unwrap_err()
                .to_string(),
            "Invalid or unknown query handle: 0000000000000001:0000000000000002"
        );

        let query = registry.register(select_one());
        let id = query.id();
        let killed = Outcome::Cancelled {
            reason: "killed".into(),
        };
        registry.unregister(&id, killed.clone()).unwrap();
        let expected = format!("Invalid or unknown query handle: {id}");
        assert_eq!(
            registry
                .unregister(&id, Outcome::Finished)
                .unwrap_err()
                .to_string(),
            expected
        );
        assert_eq!(
            query.unregister(Outcome::Finished).unwrap_err().to_string(),
            expected
        );
        assert_eq!(registry.get(&id).unwrap().outcome(), Some(killed));
    }

    #[test]
    fn one_of_eight_who_close_the_same_query_wins() {
        for _ in 0..200 {
            let registry = synchronous();
            let query = registry.register(select_one());
            let id = query.id();
            let start = Barrier::new(8);
            let results: Vec<_> = thread::scope(|scope| {
                let closer = || {
                    start.wait();
                    registry
                        .unregister(&id, Outcome::Finished)
                        .map_err(|e| e.to_string())
                };
                let closers: Vec<_> = (0..8).map(|_| scope.spawn(closer)).collect();
                closers
                    .into_iter()
                    .map(|closer| closer.join().unwrap())
                    .collect()
            });
            drop(query);

            let refused: Vec<_> = results.into_iter().filter_map(Result::err).collect();
            assert_eq!(
                refused,
                vec![format!("Invalid or unknown query handle: {id}"); 7]
            );
            let counters = registry.counters();
            assert_eq!(
                (counters.finished, counters.cancelled, counters.logged),
                (1, 0, 1)
            );
        }
    }

    #[test]
    fn a_dropped_query_is_cancelled() {
        let registry = synchronous();
        let id = registry.register(select_one()).id();
        let query = registry.get(&id).unwrap();
        assert_eq!(query.state(), QueryState::Cancelled);
        assert_eq!(
            query.error().unwrap(),
            "the statement was given up before its end"
        );
        assert_eq!(registry.counters().in_flight, 0);
    }

    #[test]
    fn a_query_whose_statement_panics_is_cancelled() {
        let registry = synchronous();
        let result = catch_unwind(AssertUnwindSafe(|| {
            let query = registry.register(select_one());
            query.set_running();
            panic!("a mistake in the statement");
        }));
        assert!(result.is_err());
        let query = &registry.completed()[0];
        assert_eq!(query.state(), QueryState::Cancelled);
        assert_eq!(query.error().unwrap(), "the statement panicked");
        assert_eq!(registry.counters().in_flight, 0);
    }

    #[test]
    fn lists_are_in_order() {
        let registry = synchronous();
        let guards: Vec<_> = (0..4).map(|_| registry.register(select_one())).collect();
        let ids: Vec<_> = guards.iter().map(|query| query.id()).collect();
        let in_flight = registry.in_flight();
        assert!(in_flight.is_sorted_by_key(|query| query.started_at()));
        assert_eq!(in_flight.len(), 4);

        drop(guards);
        let completed: Vec<_> = registry
            .completed()
            .iter()
            .map(|query| query.id())
            .collect();
        // A vector drops its elements from the front, so the last one is the newest.
        assert_eq!(completed, ids.into_iter().rev().collect::<Vec<_>>());
    }

    /// How often `id` is in the listing: in flight, and completed.
    fn places(listing: &Listing, id: &QueryId) -> (usize, usize) {
        let count = |list: &[Arc<Query>]| list.iter().filter(|query| query.id() == *id).count();
        (count(&listing.in_flight), count(&listing.completed))
    }

    #[test]
    fn a_reader_finds_a_closing_query_exactly_once_at_every_moment() {
        const ROUNDS: usize = 2000;
        let registry = synchronous();
        let closed = AtomicBool::new(false);
        let turn = Barrier::new(2);
        let (send, receive) = mpsc::sync_channel(1);
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let query = registry.register(select_one());
                    closed.store(false, Ordering::SeqCst);
                    send.send(query.id()).unwrap();
                    drop(query.unregister(Outcome::Finished).unwrap());
                    closed.store(true, Ordering::SeqCst);
                    turn.wait();
                }
            });
            for _ in 0..ROUNDS {
                let id = receive.recv().unwrap();
                let mut last_look = false;
                while !last_look {
                    last_look = closed.load(Ordering::SeqCst);
                    assert!(registry.get(&id).is_some(), "the query is nowhere");
                    let (in_flight, completed) = places(&registry.all(), &id);
                    assert_eq!(in_flight + completed, 1, "{in_flight} + {completed} places");
                    assert!(!last_look || completed == 1);
                }
                turn.wait();
            }
        });
        assert_eq!(registry.counters().finished, ROUNDS as u64);
    }

    #[test]
    fn nothing_stays_when_many_threads_come_and_go() {
        let registry = synchronous_with(10);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let query = registry.register(select_one());
                        query.set_running();
                        drop(query.unregister(Outcome::Finished).unwrap());
                    }
                });
            }
        });
        let counters = registry.counters();
        assert_eq!((counters.registered, counters.finished), (4000, 4000));
        assert_eq!((counters.in_flight, counters.logged), (0, 10));
    }

    /// Archives only when it is told to, and counts.
    #[derive(Default)]
    struct Gate {
        archived: Arc<AtomicU64>,
        open: Arc<(parking_lot::Mutex<bool>, parking_lot::Condvar)>,
    }

    impl Archive for Gate {
        fn archive(&self, _: &Query) {
            let mut open = self.open.0.lock();
            self.open.1.wait_while(&mut open, |open| !*open);
            self.archived.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A registry whose archive is shut, and how to open it.
    fn gated(settings: PoolSettings) -> (Registry, Arc<AtomicU64>, impl Fn() + Send + 'static) {
        let gate = Gate::default();
        let (archived, open) = (Arc::clone(&gate.archived), Arc::clone(&gate.open));
        let registry = Registry::new(QueryLogLimits::default(), settings, Box::new(gate));
        (registry, archived, move || {
            *open.0.lock() = true;
            open.1.notify_all();
        })
    }

    #[test]
    fn who_closes_is_answered_before_the_query_is_archived() {
        let (registry, archived, open) = gated(pool_of(1));
        let query = registry.register(select_one());
        let id = query.id();
        let answer = query.unregister(Outcome::Finished).unwrap();
        assert!(!answer.is_pending());
        assert_eq!(archived.load(Ordering::SeqCst), 0);
        // It is still in the registry, and nobody can end it again.
        assert_eq!(places(&registry.all(), &id), (1, 0));
        let again = registry.unregister(&id, Outcome::Finished).unwrap_err();
        assert_eq!(again, UnknownQuery(id));
        let before = registry.get(&id).unwrap().profile();
        open();
        registry.drain();
        assert_eq!(places(&registry.all(), &id), (0, 1));
        assert_eq!(registry.get(&id).unwrap().profile(), before);
    }

    #[test]
    fn a_full_pool_pushes_back_and_drops_nothing() {
        let settings = PoolSettings {
            unregistration_thread_pool_size: 1,
            unregistration_thread_pool_queue_depth: 2,
        };
        let (registry, archived, open) = gated(settings);
        // One is being archived at most, two are queued.
        let mut pushed_back: Vec<PushBack> = Vec::new();
        for _ in 0..10 {
            let query = registry.register(select_one());
            pushed_back.push(query.unregister(Outcome::Finished).unwrap());
        }
        pushed_back.retain(PushBack::is_pending);
        assert!((7..=8).contains(&pushed_back.len()), "{pushed_back:?}");
        assert_eq!(registry.pool_status().pushed_back, pushed_back.len() as u64);
        assert_eq!(registry.counters().in_flight, 10);
        let waiting = registry.clone();
        let closers = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.build().unwrap();
            runtime.block_on(async {
                for pushed_back in pushed_back {
                    pushed_back.settled().await;
                }
            });
            waiting.drain();
        });
        open();
        closers.join().unwrap();
        assert_eq!(archived.load(Ordering::SeqCst), 10);
        let counters = registry.counters();
        assert_eq!((counters.in_flight, counters.logged), (0, 10));
    }

    #[test]
    fn who_does_not_wait_archives_on_the_spot() {
        let settings = PoolSettings {
            unregistration_thread_pool_size: 1,
            unregistration_thread_pool_queue_depth: 1,
        };
        let (registry, archived, open) = gated(settings);
        let close = || {
            registry
                .register(select_one())
                .unregister(Outcome::Finished)
        };
        let pushed_back: Vec<PushBack> = (0..4).map(|_| close().unwrap()).collect();
        open();
        drop(pushed_back);
        // The session is gone, too.
        drop(registry.register(select_one()));
        registry.drain();
        assert_eq!(archived.load(Ordering::SeqCst), 5);
        assert_eq!(registry.counters().in_flight, 0);
        // Without a pool it goes on, synchronously.
        drop(close().unwrap());
        assert_eq!(archived.load(Ordering::SeqCst), 6);
    }

    /// Archives nothing but panics.
    struct Broken;

    impl Archive for Broken {
        fn archive(&self, _: &Query) {
            panic!("a mistake in the archive");
        }
    }

    #[test]
    fn a_panic_of_the_archive_keeps_nobody_waiting() {
        for threads in [0, 1] {
            let registry = Registry::new(
                QueryLogLimits::default(),
                pool_of(threads),
                Box::new(Broken),
            );
            for _ in 0..3 {
                let query = registry.register(select_one());
                drop(query.unregister(Outcome::Finished).unwrap());
            }
            registry.drain();
            let counters = registry.counters();
            assert_eq!((counters.in_flight, counters.logged), (0, 3));
        }
    }

    /// Ten close the same query while others read its profile and list the queries.
    #[test]
    fn closers_and_readers_race() {
        const ROUNDS: usize = 500;
        let registry = Registry::default();
        for _ in 0..ROUNDS {
            let query = registry.register(select_one());
            let id = query.id();
            let start = Barrier::new(14);
            let winners: usize = thread::scope(|scope| {
                let closers: Vec<_> = (0..10)
                    .map(|_| {
                        scope.spawn(|| {
                            start.wait();
                            let closed = registry.unregister(&id, Outcome::Finished);
                            let expected = format!("Invalid or unknown query handle: {id}");
                            closed
                                .map_err(|e| assert_eq!(e.to_string(), expected))
                                .is_ok()
                        })
                    })
                    .collect();
                for _ in 0..4 {
                    scope.spawn(|| {
                        start.wait();
                        for _ in 0..10 {
                            let profile = registry.get(&id).expect("it is somewhere").profile();
                            assert_eq!(profile.name, format!("Query (id={id})"));
                            let (in_flight, completed) = places(&registry.all(), &id);
                            assert_eq!(in_flight + completed, 1);
                        }
                    });
                }
                closers
                    .into_iter()
                    .map(|c| usize::from(c.join().unwrap()))
                    .sum()
            });
            assert_eq!(winners, 1);
            drop(query);
        }
        registry.drain();
        let counters = registry.counters();
        assert_eq!((counters.finished, counters.in_flight), (ROUNDS as u64, 0));
    }
}
