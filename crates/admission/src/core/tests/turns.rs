//! Rules 1 to 5: slots, shares, locks, charges, and whose turn it is.

use super::*;

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
fn locks_that_come_back_together_are_all_looked_at() {
    run("a lock r0:X r1:X
         b lock r1:S -> waits
         a unlocks r0:X r1:X -> b granted");
}

#[test]
fn a_request_may_name_a_relation_twice() {
    run("a lock r0:X
         b lock r0:S r0:R -> waits
         c lock r0:H -> waits
         why c -> 2: r0 held by [a], ahead [b]
         a ends -> b granted
         why c -> 1: r0 held by [b], ahead []
         b ends -> c granted");
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
