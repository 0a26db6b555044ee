//! What happened to others: lessons.md, first table.

use super::*;

/// Doris 68169: the client was gone, its query kept the slot.
#[test]
fn lesson_a_disconnect_gives_the_slot_back() {
    run("queue q0 slots=1
         a slot q0 1/1
         a lock r0:X
         b slot q0 -> waits
         a ends -> b granted");
}

/// Doris PRs 46004, 37632, 20434; gpdb PRs 17022, 12890: a cancel that raced with the grant leaked
/// the slot. Also gpdb 9649, PR 12952: a panic there.
#[test]
fn lesson_a_cancel_after_the_grant_finds_nothing_to_cancel() {
    let mut core = Core::default();
    let mut effects = Effects::new();
    let one = Limits {
        active_statements: Some(1),
        ..Limits::default()
    };
    let (a, b, queue) = (Owner(1), Owner(2), QueueId(0));
    core.set_limits(queue, one, &mut effects);
    core.begin(a);
    core.begin(b);
    assert_eq!(core.slot(a, queue, None, &mut effects), Outcome::Granted);
    let Outcome::Waiting(ticket) = core.slot(b, queue, None, &mut effects) else {
        panic!("b has to wait");
    };
    core.give_back_slot(a, queue, &mut effects);
    assert_eq!(effects.len(), 1);
    assert!(!core.cancel(ticket, &mut effects));
    assert_eq!(core.queues()[0].slots, 1);
    core.give_back_slot(b, queue, &mut effects);
    core.end(a);
    core.end(b);
    assert!(core.is_idle());
}

/// Trino 2297, IMPALA-12146, gpdb PR 14351: a counter of a limit went wrong.
#[test]
#[should_panic(expected = "gives back a slot")]
fn lesson_what_is_given_back_twice_is_noticed() {
    let mut core = Core::default();
    let mut effects = Effects::new();
    core.set_limits(QueueId(0), Limits::default(), &mut effects);
    core.begin(Owner(1));
    core.give_back_slot(Owner(1), QueueId(0), &mut effects);
}

/// Trino 25093, Doris PR 23418: statements submitted at the same moment all passed the limit.
#[test]
fn lesson_check_and_take_are_one_step() {
    run("queue q0 slots=1
         a slot q0
         b slot q0 -> waits
         c slot q0 -> waits
         a frees q0 -> b granted
         why c -> 1: 1 slots of b");
}

/// Trino 19082, 14832, Presto PR 6733: everything waited and nothing ran.
#[test]
fn lesson_a_cancelled_head_wakes_the_next() {
    run("queue q0 cost=10
         a slot q0 6/0
         b slot q0 6/0 -> waits
         c slot q0 4/0 -> waits
         b cancels -> c granted");
}

/// Trino 21590, Presto 2501, 4310: nobody could see why a query waits.
#[test]
fn lesson_every_waiter_is_explained() {
    run("queue q0 slots=1
         a slot q0
         b slot q0 -> waits
         c slot q0 -> waits
         why b -> 1: 1 slots of a
         why c -> 2: behind b");
}

/// StarRocks 49888, 29453, ClickHouse 48840: refused where waiting was expected.
#[test]
fn lesson_a_full_queue_waits_by_default() {
    run("queue q0 slots=1 cost=10 memory=10
         a slot q0 10/10
         b slot q0 10/10 -> waits
         a ends -> b granted");
}

/// gpdb 16901, 9651, PR 739: a deadlock of the queue and table locks, in maintenance commands with
/// several transactions too.
#[test]
fn lesson_locks_and_slots_do_not_deadlock() {
    run("queue q0 slots=1
         a lock r0:X
         b slot q0
         b lock r0:S -> waits
         a slot q0 -> granted
         a lock r1:X
         a ends -> b granted");
}

/// Cloudberry: an idle open transaction held a slot.
#[test]
fn lesson_an_idle_transaction_holds_no_slot() {
    run("queue q0 slots=1
         a slot q0
         a lock r0:S
         a frees q0
         b slot q0 -> granted");
}

/// Impala, Trino 22544: limits stopped new queries only; an alter is felt by those that wait.
#[test]
fn lesson_a_limit_that_is_taken_away_wakes_everyone() {
    run("queue q0 slots=1
         a slot q0
         b slot q0 -> waits
         c slot q0 -> waits
         queue q0 -> b granted, c granted");
}

/// Trino 27704, Presto PR 18910, gpdb 10564: slow work under the scheduler's lock. A view of many waits,
/// each with the names of all before it, would be that.
#[test]
fn lesson_lists_of_a_crowd_stay_short() {
    let core = crowded(40, 41);
    let Reason::Slots { holders, .. } = &core.waiters()[0].reason else {
        panic!("all slots are taken");
    };
    assert_eq!(
        holders.named,
        Vec::from_iter((0..NAMED_OWNERS as u64).map(Owner))
    );
    assert_eq!(holders.count(), 40);

    let mut core = Core::default();
    let mut effects = Effects::new();
    let relation = RelationId(0);
    for owner in (0..40).map(Owner) {
        core.begin(owner);
        let _ = core.lock(owner, &[(relation, LockMode::AccessShare)], &mut effects);
    }
    for owner in (40..80).map(Owner) {
        core.begin(owner);
        let _ = core.lock(
            owner,
            &[(relation, LockMode::AccessExclusive)],
            &mut effects,
        );
    }
    let waiters = core.waiters();
    let last = waiters.last().expect("many wait");
    let Reason::Lock { holders, ahead, .. } = &last.reason else {
        panic!("it waits for a lock");
    };
    assert_eq!((holders.count(), ahead.count(), last.place), (40, 39, 40));
    assert_eq!(holders.named.len() + ahead.named.len(), 2 * NAMED_OWNERS);
    assert_eq!(ahead.named[0], Owner(40));
    assert_eq!(core.explain(last.ticket).as_ref(), Some(last));
}
