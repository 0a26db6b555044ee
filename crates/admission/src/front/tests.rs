use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use super::*;
use crate::{LockMode, RelationId};

const QUEUE: QueueId = QueueId(1);
const TABLE: RelationId = RelationId(16384);

fn one_slot() -> Admission {
    let admission = Admission::new();
    let limits = Limits {
        active_statements: Some(1),
        max_cost: Some(Cost::new(10.0)),
        ..Limits::default()
    };
    admission.set_limits(QUEUE, limits);
    admission
}

fn demand(cost: f64) -> Demand {
    Demand {
        cost: Cost::new(cost),
        memory_bytes: 0,
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn at_once<T>(future: impl Future<Output = Result<T, AdmissionError>>) -> T {
    match poll(pin!(future)) {
        Poll::Ready(result) => result.expect("is granted"),
        Poll::Pending => panic!("was not granted at once"),
    }
}

fn exclusive() -> Vec<LockRequest> {
    vec![(TABLE, LockMode::AccessExclusive)]
}

fn take_everything(admission: &Admission) -> (Charge, Locks, Slot, OwnerGuard) {
    let owner = admission.begin();
    let slot = at_once(admission.slot(&owner, QUEUE));
    let shared = vec![
        (TABLE, LockMode::AccessShare),
        (RelationId(1), LockMode::RowExclusive),
    ];
    let locks = at_once(admission.lock(&owner, shared));
    let charge = admission.charge(&slot, demand(4.0));
    (charge.unwrap().unwrap(), locks, slot, owner)
}

#[test]
fn what_is_held_is_counted_and_comes_back_to_zero() {
    let admission = one_slot();
    let (charge, locks, slot, owner) = take_everything(&admission);
    let mut held = Held {
        slots: 1,
        locks: 2,
        charges: 1,
        owners: 1,
        waiters: 0,
    };
    assert_eq!(admission.held(), held);
    drop(charge);
    held.charges = 0;
    assert_eq!(admission.held(), held);
    drop(slot);
    held.slots = 0;
    assert_eq!(admission.held(), held);
    drop(owner);
    assert_eq!(admission.held(), held, "locks keep their owner");
    drop(locks);
    assert_eq!(admission.held(), Held::default());
}

#[test]
fn a_panic_gives_everything_back() {
    let admission = one_slot();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let _held = take_everything(&admission);
        panic!("a mistake in the statement");
    }));
    assert!(result.is_err());
    assert_eq!(admission.held(), Held::default());
}

#[test]
fn a_request_that_is_never_awaited_takes_nothing() {
    let admission = one_slot();
    let owner = admission.begin();
    drop(admission.slot(&owner, QUEUE));
    assert_eq!(admission.held().slots, 0);
    let slot = at_once(admission.slot(&owner, QUEUE));
    drop(admission.step_aside(slot, None, demand(4.0)));
    assert_eq!(admission.held().slots, 0);
}

#[test]
fn a_wait_that_is_dropped_leaves_no_trace() {
    let admission = one_slot();
    let (first, second) = (admission.begin(), admission.begin());
    let slot = at_once(admission.slot(&first, QUEUE));
    {
        let mut wait = pin!(admission.slot(&second, QUEUE));
        assert!(poll(wait.as_mut()).is_pending());
        assert_eq!(admission.held().waiters, 1);
        let (view, _) = admission.explain(second.owner()).expect("it waits");
        assert_eq!(view.place, 1);
    }
    assert_eq!(admission.held().waiters, 0);
    drop(slot);
    assert_eq!(admission.held().slots, 0);
}

#[test]
fn a_grant_that_nobody_collects_goes_to_the_next() {
    let admission = one_slot();
    let owners: Vec<_> = (0..3).map(|_| admission.begin()).collect();
    let slot = at_once(admission.slot(&owners[0], QUEUE));
    let mut third = Box::pin(admission.slot(&owners[2], QUEUE));
    {
        let mut second = pin!(admission.slot_and_charge(&owners[1], QUEUE, demand(4.0)));
        assert!(poll(second.as_mut()).is_pending());
        assert!(poll(third.as_mut()).is_pending());
        drop(slot);
        assert!(poll(third.as_mut()).is_pending());
    }
    let granted = poll(third.as_mut());
    assert!(granted.is_ready());
    drop((granted, third));
    drop(owners);
    assert_eq!(admission.held(), Held::default());
}

#[test]
fn stepping_aside_lets_the_next_one_in() {
    let admission = one_slot();
    let (first, second) = (admission.begin(), admission.begin());
    let slot = at_once(admission.slot(&first, QUEUE));
    let locks = at_once(admission.lock(&first, exclusive()));
    let mut next = Box::pin(admission.slot(&second, QUEUE));
    assert!(poll(next.as_mut()).is_pending());
    let mut aside = Box::pin(admission.step_aside(slot, Some(locks), demand(4.0)));
    assert!(poll(aside.as_mut()).is_pending());
    let Poll::Ready(Ok(slot)) = poll(next.as_mut()) else {
        panic!("the next one has the slot");
    };
    assert!(admission.lock_now(&second, exclusive()).is_ok());
    drop(slot);
    assert!(matches!(poll(aside.as_mut()), Poll::Ready(Ok(_))));
}

#[test]
fn refusals_have_their_sqlstates() {
    let admission = one_slot();
    let (first, second) = (admission.begin(), admission.begin());
    let slot = at_once(admission.slot(&first, QUEUE));
    let state = |error: AdmissionError| error.sqlstate();
    assert_eq!(
        admission.charge(&slot, demand(11.0)).map_err(state).err(),
        Some("53400")
    );
    let Poll::Ready(none) = poll(pin!(admission.slot(&second, QueueId(9)))) else {
        panic!("refused at once");
    };
    assert_eq!(none.map_err(state).err(), Some("42704"));
    let _locks = at_once(admission.lock(&first, exclusive()));
    assert_eq!(
        admission
            .lock_now(&second, exclusive())
            .map_err(state)
            .err(),
        Some("55P03")
    );
}

/// A waker whose end gives something back, as the end of a task may.
struct Task(
    AtomicUsize,
    #[expect(dead_code, reason = "dropped with the waker")] Slot,
);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_waker_that_holds_a_guard_is_dropped_without_the_lock() {
    let admission = one_slot();
    admission.set_limits(QueueId(2), Limits::default());
    let (first, second, other) = (admission.begin(), admission.begin(), admission.begin());
    let _slot = at_once(admission.slot(&first, QUEUE));
    let task = |slot| Waker::from(Arc::new(Task(AtomicUsize::new(0), slot)));
    let wakers = [(); 2].map(|()| task(at_once(admission.slot(&other, QueueId(2)))));
    let mut wait = Box::pin(admission.slot(&second, QUEUE));
    for waker in wakers {
        assert!(
            wait.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    drop(wait);
    assert_eq!(admission.held().slots, 1);
}

/// Counts how often it is woken.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_decision_wakes_who_looked_last() {
    let admission = one_slot();
    let (first, second) = (admission.begin(), admission.begin());
    let slot = at_once(admission.slot(&first, QUEUE));
    let mut wait = Box::pin(admission.slot(&second, QUEUE));
    let counters = [(); 2].map(|()| Arc::new(Counter::default()));
    for counter in &counters {
        let waker = Waker::from(Arc::clone(counter));
        let look = wait.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(look.is_pending());
    }
    drop(slot);
    let woken = counters.map(|counter| counter.0.load(Ordering::Relaxed));
    assert_eq!(woken, [0, 1]);
    assert!(poll(wait.as_mut()).is_ready());
}

#[test]
fn owners_are_never_named_twice() {
    let admission = Admission::new();
    let first = admission.begin();
    assert_ne!(first.owner(), admission.clone().begin().owner());
}

#[test]
fn many_threads_leave_nothing_behind() {
    let admission = Admission::new();
    admission.set_limits(QUEUE, Limits::default());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    drop(take_everything(&admission));
                }
            });
        }
    });
    assert_eq!(admission.held(), Held::default());
}
