//! Every interleaving of small worlds, by model checking.
//!
//! Each world is a few transactions that choose from a menu of statements, and the checker tries
//! every order of their steps. The core itself asserts conservation and that no wake-up is lost;
//! the worlds check the rest. `FOREBAY_MODEL=large` searches larger worlds.

mod world;

use forebay_admission::{Cost, Limits, LockMode};
use stateright::{Checker, HasDiscoveries, Model};
use world::{Statement, World};

const STUCK: &str = "somebody can always move";
const FLAW: &str = "nothing is wrong";

fn slots(active: u32) -> Limits {
    Limits {
        active_statements: Some(active),
        ..Limits::default()
    }
}

fn costs(max: u32, overcommit: bool) -> Limits {
    Limits {
        active_statements: Some(2),
        max_cost: Some(Cost::new(max.into())),
        cost_overcommit: overcommit,
        memory_limit_bytes: Some(10),
        ..Limits::default()
    }
}

fn governed(queue: u32) -> Statement {
    Statement {
        queue: Some(queue),
        ..Statement::default()
    }
}

fn cursor(queue: u32) -> Statement {
    Statement {
        cursor: true,
        ..governed(queue)
    }
}

fn locking(queue: Option<u32>, locks: &[(u32, LockMode)]) -> Statement {
    Statement {
        queue,
        locks: locks.to_vec(),
        ..Statement::default()
    }
}

fn costing(queue: u32, cost: u32, memory: u64) -> Statement {
    Statement {
        demand: (cost, memory),
        ..governed(queue)
    }
}

/// How many statements the last transaction of a world runs.
fn last() -> u8 {
    match std::env::var("FOREBAY_MODEL").as_deref() {
        Ok("large") => 2,
        _ => 1,
    }
}

/// Searches all of a world, or until something is wrong; panics with the path to it.
fn holds(name: &str, world: World) {
    let checker = world.checker().threads(2);
    let checker = checker.finish_when(HasDiscoveries::Any).spawn_bfs().join();
    println!("{name}: {} states", checker.unique_state_count());
    // What was found is told before what was not searched to its end.
    for property in checker.discoveries().keys() {
        checker.assert_no_discovery(property);
    }
    checker.assert_properties();
}

/// Searches until the world is found stuck.
fn deadlocks(world: World) -> bool {
    let checker = world.checker().threads(2).spawn_bfs().join();
    assert!(checker.discovery(FLAW).is_none(), "found wrong, not stuck");
    checker.discovery(STUCK).is_some()
}

use LockMode::{AccessExclusive as X, AccessShare as S, RowExclusive as R};

/// Statements as in the old Greenplum: one table is named in the text and locked by the parser,
/// another one (a partition, a view's table) comes to light later.
fn old_greenplum() -> World {
    let menu = vec![
        locking(Some(0), &[(0, X)]),
        Statement {
            late: vec![(0, X)],
            ..governed(0)
        },
    ];
    let transactions = vec![(1, menu.clone()), (1, menu.clone()), (1, menu)];
    World {
        resolves: false,
        ..World::new(&[slots(1)], transactions)
    }
}

/// The same with all locks after the slot.
fn slot_first() -> World {
    let menu = vec![
        locking(Some(0), &[(0, X)]),
        locking(Some(0), &[(1, X)]),
        governed(0),
    ];
    let transactions = vec![(1, menu.clone()), (1, menu.clone()), (1, menu)];
    World::new(&[slots(1)], transactions)
}

#[test]
fn the_old_order_is_found_deadlocked() {
    assert!(deadlocks(World {
        locks_first: true,
        ..old_greenplum()
    }));
}

#[test]
fn slot_first_needs_no_resolution_for_single_statements() {
    assert!(!deadlocks(World {
        resolves: false,
        ..slot_first()
    }));
}

#[test]
fn without_resolution_cursors_of_two_queues_deadlock() {
    let menu = vec![cursor(0), cursor(1)];
    let world = World {
        resolves: false,
        ..World::new(&[slots(1), slots(1)], vec![(2, menu.clone()), (2, menu)])
    };
    assert!(deadlocks(world));
}

#[test]
fn one_slot_and_two_tables() {
    holds("one slot and two tables", slot_first());
}

#[test]
fn cursors_of_two_queues() {
    let menu = vec![cursor(0), cursor(1)];
    let transactions = vec![(2, menu.clone()), (2, menu.clone()), (2, menu)];
    holds("cursors", World::new(&[slots(1), slots(1)], transactions));
}

#[test]
fn locks_of_earlier_statements_and_slots() {
    let menu = vec![
        locking(Some(0), &[(0, R)]),
        locking(None, &[(1, X)]),
        locking(Some(0), &[(1, S)]),
    ];
    let transactions = vec![(2, menu.clone()), (2, menu.clone()), (2, menu)];
    holds("locks and slots", World::new(&[slots(1)], transactions));
}

#[test]
fn locks_in_every_order() {
    let menu = vec![
        locking(None, &[(0, S)]),
        locking(None, &[(0, X)]),
        locking(None, &[(1, R), (0, S)]),
        locking(None, &[(1, X)]),
    ];
    let transactions = vec![(2, menu.clone()), (2, menu.clone()), (2, menu)];
    holds("locks", World::new(&[], transactions));
}

#[test]
fn cost_memory_and_cursors() {
    let menu = vec![
        Statement {
            cursor: true,
            ..costing(0, 6, 2)
        },
        costing(0, 4, 6),
        costing(0, 12, 1),
    ];
    for overcommit in [false, true] {
        let transactions = vec![(2, menu.clone()), (2, menu.clone()), (last(), menu.clone())];
        holds(
            "cost and memory",
            World::new(&[costs(10, overcommit)], transactions),
        );
    }
}

#[test]
fn stepping_aside_with_locks() {
    let menu = vec![
        Statement {
            locks: vec![(0, R)],
            ..costing(0, 6, 0)
        },
        Statement {
            locks: vec![(0, X)],
            ..costing(0, 6, 0)
        },
        Statement {
            locks: vec![(1, X)],
            cursor: true,
            ..costing(0, 6, 0)
        },
    ];
    let transactions = vec![(2, menu.clone()), (2, menu.clone()), (2, menu)];
    holds(
        "stepping aside",
        World::new(&[costs(10, true)], transactions),
    );
}

#[test]
fn interrupts_and_alters() {
    let menu = vec![
        Statement {
            locks: vec![(0, X)],
            ..costing(0, 6, 3)
        },
        Statement {
            cursor: true,
            ..costing(0, 6, 3)
        },
        locking(Some(1), &[(0, S), (1, X)]),
    ];
    let transactions = vec![(2, menu.clone()), (2, menu.clone()), (1, menu)];
    let mut world = World::new(&[costs(10, true), slots(1)], transactions);
    world.interrupts = true;
    world.alters = 1;
    world.queues[0].1 = vec![costs(5, false), costs(20, true)];
    world.queues[1].1 = vec![slots(2)];
    holds("interrupts and alters", world);
}

#[test]
fn two_queues_two_relations_cost_and_memory() {
    let menu = vec![
        Statement {
            locks: vec![(0, R)],
            cursor: true,
            ..costing(0, 6, 3)
        },
        Statement {
            locks: vec![(0, X)],
            ..costing(1, 2, 6)
        },
        Statement {
            locks: vec![(1, S)],
            cursor: true,
            ..costing(1, 2, 6)
        },
        locking(None, &[(1, X)]),
    ];
    let transactions = vec![(2, menu.clone()), (2, menu.clone()), (2, menu)];
    let queues = [
        Limits {
            active_statements: Some(1),
            ..costs(10, true)
        },
        Limits {
            active_statements: Some(2),
            ..costs(10, false)
        },
    ];
    holds(
        "two queues, two relations",
        World::new(&queues, transactions),
    );
}
