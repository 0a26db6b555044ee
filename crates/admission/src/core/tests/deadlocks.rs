//! Rule 6: no wait that cannot end.

use super::*;

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
fn who_may_still_end_gives_its_memory_back() {
    // c runs, so a will have its lock, and end: b waits for memory that comes back.
    let core = run("queue q0 memory=10
         c lock r0:X
         a slot q0 0/8
         a lock r0:S -> waits
         b lock r1:X
         b slot q0 0/8 -> waits
         why b -> 1: memory 8, left 2 by a
         c ends -> a granted
         a ends -> b granted");
    assert_eq!(totals(&core, 0).overcommitted, 0);
}

#[test]
fn who_stands_behind_one_that_may_still_end_moves_up() {
    // d runs, so h, g and f will have their locks one after the other, and then w, who stands
    // behind f. The waits are in the order in which w is looked at before f is known to end.
    let core = run("g lock r0:X
         h lock r2:X
         d lock r3:X
         w lock r5:X
         f lock r0:X r1:X -> waits
         w lock r1:S -> waits
         g lock r2:S -> waits
         h lock r3:S -> waits
         why w -> 2: r1 held by [], ahead [f]
         d ends -> h granted
         h ends -> g granted
         g ends -> f granted
         f ends -> w granted");
    assert_eq!(core.lock_totals().deadlocks, 0);
}

#[test]
fn a_refused_request_leaves_nothing_behind() {
    // Nobody has r2, and nobody else asks for it.
    run("a lock r0:X
         b lock r1:X
         a lock r1:S -> waits
         b lock r0:S r2:S -> deadlock of ab
         b ends -> a granted");
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
fn a_holder_that_begins_to_wait_makes_room_for_one_held_back() {
    run("queue q0 slots=1
         b lock r0:X
         c lock r1:X
         a slot q0
         a lock r0:S -> waits
         b slot q0
         b unlocks r0:X
         why a -> 1: held back by b
         b lock r1:S -> waits, a granted
         c ends
         why b -> 1: held back by a
         a ends -> b granted");
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
