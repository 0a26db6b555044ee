//! Interleavings of those who close a query with those who look for it. Built with
//! `RUSTFLAGS="--cfg shuttle"`; without it, this file is empty.
#![cfg(shuttle)]

use forebay_lifecycle::{
    KeepNothing, NewQuery, Outcome, PoolSettings, QueryId, QueryLogLimits, Registry,
};
use shuttle::scheduler::{DfsScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};

/// A registry where whoever closes a query archives it: the steps of the pool, in a thread that
/// shuttle knows.
fn registry(query_log_size: usize) -> Registry {
    let limits = QueryLogLimits {
        query_log_size,
        ..QueryLogLimits::default()
    };
    let pool = PoolSettings {
        unregistration_thread_pool_size: 0,
        ..PoolSettings::default()
    };
    Registry::new(limits, pool, Box::new(KeepNothing))
}

/// Runs `test` under random schedules and under a systematic search's first ones.
fn explore(test: fn()) {
    let mut config = Config::new();
    // Rendering a profile takes more than shuttle gives.
    config.stack_size = 1 << 20;
    Runner::new(RandomScheduler::new(3_000), config.clone()).run(test);
    Runner::new(DfsScheduler::new(Some(10_000), false), config).run(test);
}

/// How often the query is listed.
fn places(registry: &Registry, id: QueryId) -> usize {
    let listing = registry.all();
    let all = listing.in_flight.iter().chain(&listing.completed);
    all.filter(|query| query.id() == id).count()
}

#[test]
fn a_closing_query_is_in_one_place() {
    explore(|| {
        let registry = registry(10);
        let query = registry.register(NewQuery::default());
        let id = query.id();
        let reader = thread::spawn({
            let registry = registry.clone();
            move || {
                for _ in 0..2 {
                    assert_eq!(places(&registry, id), 1);
                    assert!(registry.get(&id).is_some());
                }
            }
        });
        drop(query.unregister(Outcome::Finished));
        reader.join().expect("the reader");
        assert_eq!(places(&registry, id), 1);
    });
}

#[test]
fn one_of_those_who_close_wins_and_all_see_one_profile() {
    explore(|| {
        let registry = registry(10);
        let query = registry.register(NewQuery::default());
        let id = query.id();
        let closers: Vec<_> = (0..2)
            .map(|_| {
                let registry = registry.clone();
                thread::spawn(move || {
                    let closed = registry.unregister(&id, Outcome::Finished).is_ok();
                    let query = registry.get(&id).expect("it is kept");
                    (closed, query.state().is_final().then(|| query.profile()))
                })
            })
            .collect();
        let seen: Vec<_> = closers
            .into_iter()
            .map(|closer| closer.join().expect("a closer"))
            .collect();
        assert_eq!(seen.iter().filter(|(closed, _)| *closed).count(), 1);
        let stays = query.profile();
        assert!(seen.into_iter().filter_map(|(_, p)| p).all(|p| p == stays));
        drop(query);
        assert_eq!(registry.counters().finished, 1);
        assert_eq!(registry.counters().in_flight, 0);
    });
}

#[test]
fn a_log_of_one_forgets_the_older_whole() {
    explore(|| {
        let registry = registry(1);
        let close = || {
            let registry = registry.clone();
            thread::spawn(move || {
                let query = registry.register(NewQuery::default());
                drop(query.unregister(Outcome::Finished));
            })
        };
        let closers = [close(), close()];
        for closer in closers {
            closer.join().expect("a closer");
        }
        let listing = registry.all();
        assert_eq!((listing.in_flight.len(), listing.completed.len()), (0, 1));
        let kept = listing.completed[0].id();
        assert!(registry.get(&kept).is_some());
    });
}
