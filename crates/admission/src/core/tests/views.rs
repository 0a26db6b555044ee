//! Rule 8: nobody waits in the dark.

use super::*;

#[test]
fn views_of_many_waiters_know_every_place() {
    let core = crowded(1, 100);
    let places: Vec<usize> = core.waiters().iter().map(|w| w.place).collect();
    assert_eq!(places, Vec::from_iter(1..100));
    assert_eq!(core.queues()[0].waiters, core.waiters());
    assert_eq!(core.waiter_count(), 99);
}

/// Everybody is explained in another way than one alone: once along each line.
#[test]
fn all_are_explained_as_each_alone() {
    let core = run("queue q0 slots=1 cost=10
         a lock r0:S
         b lock r0:S r1:R
         c lock r0:X -> waits
         d lock r0:S r1:H -> waits
         e lock r1:X -> waits
         f lock r1:R -> waits
         g slot q0 1/0
         h slot q0 1/0 -> waits
         i slot q0 1/0 -> waits
         a lock r0:R -> granted
         why c -> 1: r0 held by [ab], ahead []
         why d -> 2: r0 held by [], ahead [c]
         why f -> 3: r1 held by [], ahead [de]");
    for waiter in core.waiters() {
        assert_eq!(core.explain(waiter.ticket), Some(waiter));
    }
}
