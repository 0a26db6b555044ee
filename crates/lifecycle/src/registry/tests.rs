//! Closing, looking and archiving, alone and at the same time.

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

/// On one thread of a runtime there is one task that archives on the spot, and one that makes it end.
#[test]
fn who_archives_on_the_spot_holds_up_no_other_task() {
    let settings = PoolSettings {
        unregistration_thread_pool_size: 1,
        unregistration_thread_pool_queue_depth: 1,
    };
    let (registry, archived, open) = gated(settings);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).build().unwrap();
    let closing = registry.clone();
    runtime.block_on(async move {
        let is_archiving = Arc::new(AtomicBool::new(false));
        let begins = Arc::clone(&is_archiving);
        let archives = tokio::spawn(async move {
            for _ in 0..4 {
                let query = closing.register(select_one());
                let pushed_back = query.unregister(Outcome::Finished).unwrap();
                begins.fetch_or(pushed_back.is_pending(), Ordering::SeqCst);
                drop(pushed_back);
            }
        });
        let opens = tokio::spawn(async move {
            while !is_archiving.load(Ordering::SeqCst) {
                tokio::task::yield_now().await;
            }
            open();
        });
        opens.await.unwrap();
        archives.await.unwrap();
    });
    registry.drain();
    assert_eq!(archived.load(Ordering::SeqCst), 4);
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
