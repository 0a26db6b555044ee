//! Interleavings of threads in the async front: each test runs many schedules, and after each of
//! them nothing is held. Built with `RUSTFLAGS="--cfg shuttle"`; without it, this file is empty.
#![cfg(shuttle)]

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use forebay_admission::{
    Admission, Cost, Demand, Held, Limits, LockMode, OwnerGuard, QueueId, RelationId,
};
use shuttle::future::block_on;
use shuttle::thread;

const QUEUE: QueueId = QueueId(0);

fn slots(active: u32) -> Limits {
    Limits {
        active_statements: Some(active),
        max_cost: Some(Cost::new(10.0)),
        ..Limits::default()
    }
}

fn demand(cost: f64) -> Demand {
    Demand {
        cost: Cost::new(cost),
        memory_bytes: 0,
    }
}

/// Runs `test` under random schedules and under a systematic search's first ones.
fn explore(active: u32, test: fn(&Admission)) {
    let run = move || {
        let admission = Admission::new();
        admission.set_limits(QUEUE, slots(active));
        test(&admission);
        assert_eq!(admission.held(), Held::default());
    };
    shuttle::check_random(run, 5_000);
    shuttle::check_dfs(run, Some(20_000));
}

/// Starts a statement that wants a slot, has it, and gives it back.
fn statement(admission: &Admission) -> thread::JoinHandle<()> {
    let admission = admission.clone();
    thread::spawn(move || {
        let owner = admission.begin();
        drop(block_on(admission.slot(&owner, QUEUE)).expect("is granted"));
    })
}

/// Polls a future once; the wake of its grant makes it give up, so the grant is never collected.
struct Abandon<F> {
    wait: F,
    polled: bool,
}

impl<F: Future + Unpin> Future for Abandon<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if std::mem::replace(&mut self.polled, true) {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.wait).poll(context).map(Some)
    }
}

/// A statement that goes away when its grant is on the way.
fn abandoned(admission: &Admission) -> thread::JoinHandle<()> {
    let admission = admission.clone();
    thread::spawn(move || {
        let owner = admission.begin();
        let wait = pin!(admission.slot_and_charge(&owner, QUEUE, demand(4.0)));
        let polled = false;
        drop(block_on(Abandon { wait, polled }));
    })
}

/// A statement that goes away at once when it has to wait.
fn cancelled(admission: &Admission) -> thread::JoinHandle<()> {
    let admission = admission.clone();
    thread::spawn(move || {
        let owner = admission.begin();
        let wait = pin!(admission.slot_and_charge(&owner, QUEUE, demand(4.0)));
        drop(wait.poll(&mut Context::from_waker(Waker::noop())));
        thread::yield_now();
    })
}

fn join<T, const N: usize>(threads: [thread::JoinHandle<T>; N]) -> [T; N] {
    threads.map(|thread| thread.join().expect("ends"))
}

fn holder(admission: &Admission) -> (OwnerGuard, forebay_admission::Slot) {
    let owner = admission.begin();
    let slot = block_on(admission.slot(&owner, QUEUE)).expect("is granted");
    (owner, slot)
}

#[test]
fn a_cancel_races_the_grant() {
    explore(1, |admission| {
        let held = holder(admission);
        let threads = [cancelled(admission), statement(admission)];
        drop(held);
        join(threads);
    });
}

#[test]
fn a_drop_races_the_wake() {
    explore(1, |admission| {
        let held = holder(admission);
        let threads = [abandoned(admission), statement(admission)];
        drop(held);
        join(threads);
    });
}

#[test]
fn two_releases_race() {
    explore(2, |admission| {
        let held = [holder(admission), holder(admission)];
        let waiting = [statement(admission), statement(admission)];
        let releases = held.map(|held| thread::spawn(move || drop(held)));
        join(releases);
        join(waiting);
    });
}

#[test]
fn an_alter_races_a_wait() {
    explore(1, |admission| {
        let held = holder(admission);
        let waiting = statement(admission);
        let altered = admission.clone();
        let alter = thread::spawn(move || altered.set_limits(QUEUE, slots(2)));
        // The raised limit alone must let it through: the holder stays.
        waiting.join().expect("ends");
        alter.join().expect("ends");
        drop(held);
    });
}

#[test]
fn a_dropped_queue_races_a_wait() {
    explore(1, |admission| {
        let held = holder(admission);
        let waiting = admission.clone();
        let wait = thread::spawn(move || {
            let owner = waiting.begin();
            assert!(block_on(waiting.slot(&owner, QUEUE)).is_err());
        });
        admission.drop_queue(QUEUE);
        wait.join().expect("ends");
        drop(held);
    });
}

#[test]
fn stepping_aside_races_a_release() {
    explore(2, |admission| {
        let owner = admission.begin();
        let big = block_on(admission.slot_and_charge(&owner, QUEUE, demand(8.0)));
        let (second, slot) = holder(admission);
        assert!(
            admission
                .charge(&slot, demand(4.0))
                .expect("allowed")
                .is_none()
        );
        let aside = admission.clone();
        let aside = thread::spawn(move || {
            let granted = block_on(aside.step_aside(slot, None, demand(4.0)));
            drop((granted.expect("is granted"), second));
        });
        let release = thread::spawn(move || drop((big, owner)));
        let third = statement(admission);
        join([aside, release, third]);
    });
}

#[test]
fn of_two_that_lock_in_two_orders_one_is_told_at_most() {
    explore(1, |admission| {
        let lock = |first: u32, second: u32| {
            let admission = admission.clone();
            thread::spawn(move || {
                let owner = admission.begin();
                let exclusive = |r| vec![(RelationId(r), LockMode::AccessExclusive)];
                let one = block_on(admission.lock(&owner, exclusive(first))).expect("is granted");
                let two = block_on(admission.lock(&owner, exclusive(second)));
                let refused = two.is_err();
                drop((one, two));
                refused
            })
        };
        let threads = [lock(0, 1), lock(1, 0)];
        let refused = join(threads);
        assert!(refused != [true, true]);
    });
}
