//! Rules 7 and 9: limits that change, queues that go, requests that are refused.

use super::*;

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
fn a_lowered_max_cost_refuses_all_that_it_forbids_before_it_grants() {
    // a waits at the head of q1 only because b runs beyond the limit of q0. Without a, d would be
    // next, and alone in its queue: then there is room for it whatever it costs.
    run("queue q0 slots=1
         queue q1 slots=1 cost=100
         b lock r0:X
         a slot q0
         c slot q1
         c lock r0:S -> waits
         b slot q0 -> waits
         a slot q1 20/0 -> waits, b granted
         d slot q1 20/0 -> waits
         b unlocks r0:X -> c granted
         c frees q1
         why a -> 1: held back by b
         queue q1 slots=1 cost=10 -> a refused: 20.00 of 10.00, d refused: 20.00 of 10.00");
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

/// Reading from a cursor, or coming back from stepping aside, is no other statement.
#[test]
fn a_statement_is_counted_as_admitted_once() {
    let core = run("queue q0 slots=1 cost=10
         a slot q0
         a reads q0
         a frees q0
         b slot q0 -> waits
         a ends -> b granted
         c slot q0 4/0 -> waits
         b slot q0
         b charge q0 6/0 -> does not fit
         b aside q0 6/0 -> granted
         b ends -> c granted");
    assert_eq!(totals(&core, 0).admitted, 4);
    assert_eq!(totals(&core, 0).waited, 3);
}

/// Who reads waits like any statement while others run beyond the limit.
#[test]
fn a_read_that_waited_is_not_counted_as_admitted() {
    let core = run("queue q0 slots=1
         b lock r0:X
         a slot q0
         a lock r0:S -> waits
         b slot q0
         a cancels
         a reads q0 -> waits
         why a -> 1: held back by b
         b frees q0 -> a granted");
    assert_eq!(totals(&core, 0).admitted, 2);
    assert_eq!(totals(&core, 0).waited, 2);
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
