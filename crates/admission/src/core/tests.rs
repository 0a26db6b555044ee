//! The hard cases, each as a script: see [`script`].

mod script;

use super::*;
use script::run;

fn totals(core: &Core, queue: u32) -> Totals {
    let queues = core.queues();
    let queue = queues.iter().find(|q| q.id == QueueId(queue));
    queue.expect("it is there").totals
}

// --- Rules 1 to 5 ------------------------------------------------------------------------------

#[test]
fn the_deadlock_of_the_old_order_is_an_ordinary_wait() {
    run("queue q0 slots=1
         a slot q0
         b slot q0 -> waits
         a lock r0:X
         why b -> 1: 1 slots of a
         a frees q0 -> b granted
         b lock r0:X -> waits
         why b -> 1: r0 held by [a], ahead []
         a ends -> b granted");
}

#[test]
fn first_come_first_served_however_small() {
    run("queue q0 slots=5 cost=10 memory=10
         a slot q0 6/0
         b slot q0 6/0 -> waits
         c slot q0 1/0 -> waits
         why c -> 2: behind b
         a ends -> b granted, c granted");
}

#[test]
fn cursors_and_the_statement_share_one_slot() {
    run("queue q0 slots=1
         a slot q0
         a slot q0
         b slot q0 -> waits
         a frees q0
         a frees q0 -> b granted");
}

#[test]
fn a_share_is_had_at_once_while_others_wait() {
    run("queue q0 slots=1
         a slot q0
         b slot q0 -> waits
         a slot q0 -> granted");
}

#[test]
fn locks_are_granted_all_at_once_or_not_at_all() {
    run("a lock r0:X
         b lock r1:X r0:S -> waits
         c nowait r1:S -> refused: r1 is locked
         b cancels
         c nowait r1:S -> granted");
}

#[test]
fn readers_wait_behind_a_waiting_writer() {
    let core = run("a lock r0:S
         b lock r0:X -> waits
         c lock r0:S -> waits
         why c -> 2: r0 held by [], ahead [b]
         a ends -> b granted
         b ends -> c granted");
    assert_eq!(core.lock_totals().waited, 2);
    assert_eq!(core.lock_totals().passed, 0);
}

#[test]
fn waiters_that_do_not_conflict_go_together() {
    run("a lock r0:X
         b lock r0:S -> waits
         c lock r0:R -> waits
         d lock r0:H -> waits
         e lock r0:S -> waits
         a ends -> b granted, c granted, e granted
         c ends -> d granted");
}

#[test]
fn a_statement_that_does_not_fit_steps_aside_to_the_tail() {
    run("queue q0 slots=2 cost=10
         a slot q0
         b slot q0
         c slot q0 -> waits
         a charge q0 8/0
         b lock r0:R
         b charge q0 6/0 -> does not fit
         b aside q0 6/0 r0:R -> waits, c granted
         why b -> 1: 2 slots of ac
         c ends
         why b -> 1: cost 6.00, left 2.00 by a
         a ends -> b granted");
}

#[test]
fn a_charge_does_not_overtake_a_wait_for_cost() {
    // a has a cursor, so its next statement needs no slot. It is younger than c's wait.
    run("queue q0 slots=5 cost=10
         a slot q0
         b slot q0 4/0
         c slot q0 8/0 -> waits
         a slot q0
         a charge q0 2/0 -> does not fit
         a aside q0 2/0 -> waits
         b ends -> c granted, a granted");
}

#[test]
fn a_charge_goes_before_waits_that_are_younger_than_its_statement() {
    run("queue q0 slots=5 cost=10
         a slot q0
         b slot q0 4/0
         c slot q0 8/0 -> waits
         a charge q0 6/0 -> charged");
}

#[test]
fn a_statement_above_max_cost_waits_until_it_is_alone() {
    run("queue q0 slots=3 cost=10 overcommit
         a slot q0 1/0
         b slot q0 50/0 -> waits
         c slot q0 1/0 -> waits
         why b -> 1: cost 50.00 above 10.00, not alone but with a
         a ends -> b granted
         why c -> 1: cost 1.00, left 0.00 by b
         b ends -> c granted");
}

#[test]
fn without_overcommit_a_statement_above_max_cost_is_refused() {
    run("queue q0 cost=10
         a slot q0
         a charge q0 11/0 -> refused: 11.00 of 10.00
         b slot q0 11/0 -> refused: 11.00 of 10.00");
}

#[test]
fn what_is_cheaper_than_min_cost_is_exempt_in_living_queues_only() {
    let core = run("queue q0 slots=1 min=5
         queue q1 slots=1 min=5
         a slot q1
         drop q1");
    assert!(core.exempts(QueueId(0), Cost::new(4.0)));
    assert!(!core.exempts(QueueId(0), Cost::new(5.0)));
    assert!(!core.exempts(QueueId(1), Cost::new(4.0)));
}

#[test]
fn a_charge_of_nothing_may_outlive_its_slot() {
    run("queue q0 slots=1
         a slot q0 0/0
         a frees q0
         a uncharges q0 0/0");
}

#[test]
fn memory_is_waited_for() {
    run("queue q0 memory=10
         a slot q0 0/6
         b slot q0 0/6 -> waits
         why b -> 1: memory 6, left 4 by a
         a uncharges q0 0/6 -> b granted");
}

// --- Rule 6: no wait that cannot end -------------------------------------------------------------

#[test]
fn two_transactions_with_a_cursor_each_want_another_slot() {
    let core = run("queue q0 slots=1
         queue q1 slots=1
         a slot q0
         b slot q1
         a slot q1 -> waits
         b slot q0 -> waits, a granted
         why b -> 1: 1 slots of a
         a ends -> b granted");
    assert_eq!(totals(&core, 1).overcommitted, 1);
}

#[test]
fn a_slot_is_wanted_while_a_lock_is_held() {
    // b runs one statement while a, the holder of the only slot, waits for b: one runs, not two.
    run("queue q0 slots=1
         b lock r0:X
         a slot q0
         a lock r0:S -> waits
         b slot q0 -> granted
         b unlocks r0:X
         why a -> 1: held back by b
         b frees q0 -> a granted");
}

#[test]
fn a_charge_is_wanted_while_a_cursor_is_held() {
    let core = run("queue q0 slots=2 cost=10
         a slot q0 6/0
         b slot q0 4/0
         a slot q0
         a charge q0 6/0 -> does not fit
         b slot q0
         b charge q0 6/0 -> does not fit
         a aside q0 6/0 -> granted
         b aside q0 6/0 -> waits
         a uncharges q0 6/0
         why b -> 1: cost 6.00, left 0.00 by ab
         a uncharges q0 6/0 -> b granted");
    assert_eq!(totals(&core, 0).overcommitted, 1);
}

#[test]
fn a_wait_for_ones_own_cursors_is_granted_at_once() {
    run("queue q0 slots=1 memory=10
         a slot q0 0/8
         a slot q0
         a charge q0 0/8 -> does not fit
         a aside q0 0/8 -> granted");
}

#[test]
fn two_queues_through_set_role() {
    run("queue q0 slots=1
         queue q1 slots=1
         queue q2 slots=1
         a slot q0
         b slot q1
         c slot q2
         a slot q1 -> waits
         b slot q2 -> waits
         c slot q0 -> waits, a granted
         a ends -> c granted
         c ends -> b granted");
}

#[test]
fn stepping_aside_inside_a_transaction_keeps_its_earlier_locks() {
    run("queue q0 slots=2 cost=10
         a lock r0:X
         a slot q0
         b slot q0 6/0
         a lock r1:S
         a charge q0 6/0 -> does not fit
         a aside q0 6/0 r1:S -> waits
         c nowait r1:X -> granted
         b lock r0:S -> waits, a granted
         a unlocks r0:X -> b granted");
}

#[test]
fn the_smallest_excess_is_overcommitted_first() {
    // c waits for a and b; both want memory that c has.
    let core = run("queue q0 memory=100
         a lock r0:X
         b lock r1:X
         c slot q0 0/100
         a slot q0 0/50 -> waits
         b slot q0 0/10 -> waits
         c lock r0:S r1:S -> waits, b granted, a granted");
    assert_eq!(totals(&core, 0).overcommitted, 2);
}

#[test]
fn a_bystander_is_not_overcommitted() {
    // b holds nothing. What it wants is little, but to give it that would help nobody.
    run("queue q0 memory=10
         queue q1 slots=1
         a slot q0 0/10
         c slot q1
         b slot q0 0/1 -> waits
         a slot q1 -> waits
         c slot q0 0/5 -> granted
         why b -> 1: memory 1, left 0 by ac");
}

#[test]
fn an_excess_too_small_for_a_millionth_is_an_overcommit() {
    let core = run("queue q0 memory=4000000000
         a lock r0:X
         c slot q0 0/4000000000
         a slot q0 0/1 -> waits
         c lock r0:S -> waits, a granted");
    assert_eq!(totals(&core, 0).overcommitted, 1);
    assert_eq!(totals(&core, 0).passed, 0);
}

#[test]
fn a_cycle_of_locks_is_told_to_the_one_that_closed_it() {
    let core = run("a lock r0:X
         b lock r1:X
         c lock r2:X
         a lock r1:X -> waits
         c lock r0:X -> waits
         b lock r2:X -> deadlock of abc
         b ends -> a granted");
    assert_eq!(core.lock_totals().deadlocks, 1);
}

#[test]
fn a_cycle_through_a_queue_aborts_nobody() {
    let core = run("queue q0 slots=1
         a lock r0:X
         b slot q0
         b lock r0:X -> waits
         a slot q0 -> granted");
    assert_eq!(core.lock_totals().deadlocks, 0);
}

#[test]
fn a_reader_that_upgrades_passes_the_writer_that_waits_for_it() {
    let core = run("a lock r0:S
         b lock r0:X -> waits
         a lock r0:R -> granted
         why b -> 1: r0 held by [a], ahead []
         a ends -> b granted");
    assert_eq!(core.lock_totals().passed, 1);
    assert_eq!(core.lock_totals().deadlocks, 0);
}

#[test]
fn a_cycle_of_turns_is_passed_not_aborted() {
    let core = run("a lock r0:S
         b lock r1:S
         c lock r0:X -> waits
         d lock r1:X -> waits
         a lock r1:S -> waits
         b lock r0:S -> waits, a granted
         a ends -> c granted
         c ends -> b granted
         b ends -> d granted");
    assert_eq!(core.lock_totals().deadlocks, 0);
    assert_eq!(core.lock_totals().passed, 1);
}

#[test]
fn a_waiting_writer_and_a_queue_make_no_deadlock() {
    // a waits in the queue for b, b stands behind c, c waits for a.
    run("queue q0 slots=1
         a lock r0:S
         b slot q0
         c lock r0:X -> waits
         b lock r0:S -> waits
         a slot q0 -> waits, b granted
         b frees q0 -> a granted");
}

#[test]
fn two_that_upgrade_the_same_lock_are_a_deadlock() {
    run("a lock r0:H
         b lock r0:H
         a lock r0:X -> waits
         b lock r0:X -> deadlock of ab
         b ends -> a granted");
}

#[test]
fn while_others_run_nothing_is_overcommitted() {
    // c is one of three that a lowered limit lets run on. Only when it stops, d may go.
    run("queue q0 slots=3
         d lock r0:X
         a slot q0
         b slot q0
         c slot q0
         a lock r0:S -> waits
         b lock r0:S -> waits
         queue q0 slots=1
         d slot q0 -> waits
         e lock r5:X
         e unlocks r5:X
         c frees q0 -> d granted
         d ends -> a granted, b granted");
}

#[test]
fn the_held_back_go_on_in_the_order_in_which_they_came() {
    run("queue q0 slots=2
         c lock r0:X
         a slot q0
         b slot q0
         b lock r0:S -> waits
         a lock r0:S -> waits
         c slot q0
         d slot q0 -> waits
         c unlocks r0:X -> b granted
         why a -> 1: held back by bc
         c frees q0 -> a granted");
}

#[test]
fn what_was_beyond_the_limit_is_not_when_slots_are_free_again() {
    let core = run("queue q0 slots=2
         c lock r0:X
         a slot q0
         b slot q0
         a lock r0:S -> waits
         b lock r0:S -> waits
         c slot q0
         c unlocks r0:X -> a granted
         a ends -> b granted
         queue q0 slots=1
         c slot q0 -> granted");
    assert!(!core.queues()[0].holdings.iter().any(|h| h.overcommitted));
}

#[test]
fn who_gives_back_the_slot_that_held_it_back_goes_on() {
    run("queue q0 slots=1
         b lock r0:X
         a slot q0
         a lock r0:S -> waits
         b slot q0
         b unlocks r0:X
         why a -> 1: held back by b
         a frees q0 -> a granted");
}

#[test]
fn after_a_cancel_a_holder_asks_before_it_goes_on() {
    run("queue q0 slots=1
         b lock r0:X
         a slot q0
         a lock r0:S -> waits
         b slot q0
         a cancels
         a slot q0 -> waits
         why a -> 1: held back by b
         b frees q0 -> a granted");
}

#[test]
fn a_raised_limit_holds_nobody_back() {
    run("queue q0 slots=1
         b lock r0:X
         a slot q0
         a lock r0:S -> waits
         b slot q0
         b unlocks r0:X
         why a -> 1: held back by b
         queue q0 slots=2 -> a granted");
}

#[test]
fn who_stood_behind_a_held_back_head_is_not_forgotten() {
    // a is the head of q1, and held back by b in q0. When b stops, there is room for d as well.
    run("queue q0 slots=1
         queue q1 slots=1
         b lock r0:X
         a slot q0
         c slot q1
         c lock r0:S -> waits
         b slot q0 -> waits
         a slot q1 -> waits, b granted
         d slot q1 -> waits
         b unlocks r0:X -> c granted
         queue q1 slots=2
         c frees q1
         why a -> 1: held back by b
         b frees q0 -> a granted, d granted");
}

#[test]
fn who_fits_behind_a_stuck_head_goes_first() {
    // a waits for a slot that b has. d has one by its cursor, and wants a little cost, behind a.
    let core = run("queue q0 slots=2 cost=10
         a lock r0:X
         b slot q0
         d slot q0 1/0
         a slot q0 -> waits
         d slot q0
         d aside q0 1/0 -> waits
         b lock r0:S -> waits, d granted
         why a -> 1: 2 slots of bd");
    assert_eq!(totals(&core, 0).passed, 1);
    assert_eq!(totals(&core, 0).overcommitted, 0);
}

#[test]
fn a_cursor_that_is_closed_while_its_owner_waits() {
    // a's wait for cost becomes one for a slot too, which b will never free: it waits for a.
    run("queue q0 slots=3 cost=10
         a lock r0:X
         a slot q0 0/0
         b slot q0 4/0
         c slot q0 6/0
         a slot q0
         a charge q0 4/0 -> does not fit
         a aside q0 4/0 -> waits
         b lock r0:S -> waits
         queue q0 slots=1 cost=10
         a uncharges q0 0/0
         a frees q0
         c ends -> a granted");
}

// --- Rules 7 to 9 --------------------------------------------------------------------------------

#[test]
fn a_raised_limit_wakes_and_a_lowered_one_holds_for_the_next() {
    run("queue q0 slots=1
         a slot q0
         b slot q0 -> waits
         c slot q0 -> waits
         queue q0 slots=2 -> b granted
         queue q0 slots=1
         a ends
         b ends -> c granted");
}

#[test]
fn a_lowered_max_cost_refuses_who_could_never_run() {
    run("queue q0 cost=10
         a slot q0 8/0
         b slot q0 8/0 -> waits
         c slot q0 2/0 -> waits
         queue q0 cost=5 -> b refused: 8.00 of 5.00
         a ends -> c granted");
}

#[test]
fn who_needs_nothing_fits_below_a_lowered_limit() {
    run("queue q0 slots=5 cost=10 memory=10
         a slot q0 8/8
         queue q0 slots=5 cost=5 memory=5
         b slot q0
         b charge q0 0/0 -> charged");
}

#[test]
fn a_dropped_queue_refuses_its_waiters_and_grants_to_none() {
    // b stands before c, which would fit.
    run("queue q0 slots=3 cost=10
         a slot q0 8/0
         b slot q0 8/0 -> waits
         c slot q0 1/0 -> waits
         drop q0 -> b refused: no queue, c refused: no queue
         d slot q0 -> refused: no queue");
}

#[test]
fn a_statement_in_a_dropped_queue_runs_on() {
    run("queue q0 slots=1 cost=10
         a slot q0
         drop q0
         a charge q0 50/0 -> charged");
}

#[test]
fn a_queue_that_is_made_again_counts_what_is_held_of_the_old_one() {
    let core = run("queue q0 slots=1
         a slot q0
         drop q0
         queue q0 slots=1
         b slot q0 -> waits
         a ends -> b granted");
    assert_eq!(totals(&core, 0).admitted, 1);
}

#[test]
fn max_queued_refuses_the_next() {
    let core = run("queue q0 slots=1 max_queued=1
         a slot q0
         b slot q0 -> waits
         c slot q0 -> refused: 1 of 1 wait
         a slot q0 -> granted");
    assert_eq!(totals(&core, 0).refused, 1);
}

#[test]
#[should_panic(expected = "waits twice")]
fn two_waits_of_one_owner_are_refused_before_anything_changes() {
    run("a lock r0:X
         b lock r0:X -> waits
         b lock r0:S -> waits");
}

#[test]
fn views_of_many_waiters_know_every_place() {
    let mut core = Core::default();
    let mut effects = Effects::new();
    let one = Limits {
        active_statements: Some(1),
        ..Limits::default()
    };
    core.set_limits(QueueId(0), one, &mut effects);
    for owner in (0..100).map(Owner) {
        core.begin(owner);
        let _ = core.slot(owner, QueueId(0), None, &mut effects);
    }
    let places: Vec<usize> = core.waiters().iter().map(|w| w.place).collect();
    assert_eq!(places, Vec::from_iter(1..100));
    assert_eq!(core.queues()[0].waiters, core.waiters());
    assert_eq!(core.waiter_count(), 99);
}

// --- What happened to others (lessons.md, first table) -------------------------------------------

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
