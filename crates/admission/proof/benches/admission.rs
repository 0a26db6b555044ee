//! What admission costs: see `docs/benchmarks.md`.

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use forebay_admission::{
    Admission, Core, Cost, Demand, Effects, Limits, LockMode, LockRequest, Outcome, Owner, QueueId,
    RelationId,
};

const QUEUE: QueueId = QueueId(0);

const DEMAND: Demand = Demand {
    cost: Cost::ZERO,
    memory_bytes: 1 << 20,
};

fn limits(active: u32) -> Limits {
    Limits {
        active_statements: Some(active),
        max_cost: Some(Cost::new(1e9)),
        memory_limit_bytes: Some(1 << 40),
        ..Limits::default()
    }
}

fn core(active: u32) -> Core {
    let mut core = Core::default();
    core.set_limits(QUEUE, limits(active), &mut Effects::new());
    core
}

fn exclusive(relation: u64) -> LockRequest {
    (RelationId(relation as u32), LockMode::AccessExclusive)
}

/// Slot, charge, and both back.
fn alone(c: &mut Criterion) {
    let mut effects = Effects::new();
    let mut core = core(20);
    let owner = Owner(1);
    core.begin(owner);
    c.bench_function("core: admit and release", |b| {
        b.iter(|| {
            let _ = black_box(core.slot(owner, QUEUE, None, &mut effects));
            let _ = black_box(core.charge(owner, QUEUE, DEMAND));
            core.give_back_charge(owner, QUEUE, DEMAND, &mut effects);
            core.give_back_slot(owner, QUEUE, &mut effects);
        });
    });
    c.bench_function("core: lock and unlock", |b| {
        let locks = [(RelationId(7), LockMode::AccessShare)];
        b.iter(|| {
            let _ = black_box(core.lock(owner, &locks, &mut effects));
            core.give_back_locks(owner, &locks, &mut effects);
        });
    });
}

/// The holder gives its slot to the head and waits at the tail.
fn with_waiters(c: &mut Criterion) {
    for waiters in [10, 10_000] {
        let mut core = core(1);
        let mut effects = Effects::new();
        for owner in (0..=waiters).map(Owner) {
            core.begin(owner);
            let _ = core.slot(owner, QUEUE, None, &mut effects);
        }
        let mut holder = Owner(0);
        c.bench_function(&format!("core: release and wait, {waiters} waiters"), |b| {
            b.iter(|| {
                core.give_back_slot(holder, QUEUE, &mut effects);
                let next = effects.pop().expect("the head is granted").owner;
                let _ = black_box(core.slot(holder, QUEUE, None, &mut effects));
                holder = next;
            });
        });
    }
}

/// The same for one relation.
fn with_waiters_for_a_lock(c: &mut Criterion) {
    for waiters in [10, 10_000] {
        let mut core = Core::default();
        let mut effects = Effects::new();
        let locks = [exclusive(0)];
        for owner in (0..=waiters).map(Owner) {
            core.begin(owner);
            let _ = core.lock(owner, &locks, &mut effects);
        }
        let mut holder = Owner(0);
        c.bench_function(&format!("core: unlock and wait, {waiters} waiters"), |b| {
            b.iter(|| {
                core.give_back_locks(holder, &locks, &mut effects);
                let next = effects.pop().expect("the head is granted").owner;
                let _ = black_box(core.lock(holder, &locks, &mut effects));
                holder = next;
            });
        });
    }
}

/// A thousand owners, each waiting for the lock of the next.
fn chain() -> Core {
    let mut core = core(20);
    let mut effects = Effects::new();
    for owner in 0..1000 {
        core.begin(Owner(owner));
        let _ = core.lock(Owner(owner), &[exclusive(owner)], &mut effects);
    }
    for owner in 0..999 {
        let _ = core.lock(Owner(owner), &[exclusive(owner + 1)], &mut effects);
    }
    core
}

fn deadlocks(c: &mut Criterion) {
    let chain = chain();
    c.bench_function("core: a cycle of 1,000 owners", |b| {
        b.iter_batched_ref(
            || chain.clone(),
            |core| {
                let outcome = core.lock(Owner(999), &[exclusive(0)], &mut Effects::new());
                assert!(matches!(outcome, Outcome::Refused(_)));
            },
            BatchSize::LargeInput,
        );
    });
    c.bench_function("core: a wait among 1,000 owners, no cycle", |b| {
        b.iter_batched_ref(
            || {
                let mut core = chain.clone();
                for owner in [2000, 2001] {
                    core.begin(Owner(owner));
                    let _ = core.lock(Owner(owner), &[exclusive(owner)], &mut Effects::new());
                }
                core
            },
            |core| {
                let outcome = core.lock(Owner(2001), &[exclusive(2000)], &mut Effects::new());
                assert!(matches!(outcome, Outcome::Waiting(_)));
            },
            BatchSize::LargeInput,
        );
    });
}

/// One table that everybody wants for himself: the second half waits for the lock, the first in the
/// queue.
fn crowd(waiters: u64) -> Core {
    let mut core = core(1);
    let mut effects = Effects::new();
    for owner in 0..waiters + 2 {
        core.begin(Owner(owner));
        let _ = if owner <= waiters / 2 {
            core.slot(Owner(owner), QUEUE, None, &mut effects)
        } else {
            core.lock(Owner(owner), &[exclusive(0)], &mut effects)
        };
    }
    core
}

fn views(c: &mut Criterion) {
    for waiters in [1_000, 10_000] {
        let core = crowd(waiters);
        c.bench_function(&format!("core: explain all {waiters} waiters"), |b| {
            b.iter(|| black_box(core.waiters()));
        });
        c.bench_function(&format!("core: queues with {waiters} waiters"), |b| {
            b.iter(|| black_box(core.queues()));
        });
        c.bench_function(&format!("core: locks with {waiters} waiters"), |b| {
            b.iter(|| black_box(core.locks()));
        });
        let last = core.wait_of(Owner(waiters + 1)).expect("it waits");
        c.bench_function(&format!("core: explain the last of {waiters}"), |b| {
            b.iter(|| black_box(core.explain(last)));
        });
    }
}

/// A wait of one that holds something, which others want, among ten thousand that hold nothing.
fn deadlock_check_beside_many(c: &mut Criterion) {
    c.bench_function("core: a wait of a holder among 10,000 waiters", |b| {
        let mut core = crowd(10_000);
        let mut effects = Effects::new();
        let holder = Owner(0);
        b.iter(|| {
            let Outcome::Waiting(ticket) = core.lock(holder, &[exclusive(0)], &mut effects) else {
                panic!("another one has it");
            };
            core.cancel(ticket, &mut effects);
        });
    });
}

fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("nobody else is there"),
    }
}

fn front(c: &mut Criterion) {
    let admission = Admission::new();
    admission.set_limits(QUEUE, limits(20));
    let owner = admission.begin();
    c.bench_function("front: slot and charge, and back", |b| {
        b.iter(|| {
            let slot = at_once(admission.slot(&owner, QUEUE)).expect("is granted");
            let charge = admission.charge(&slot, DEMAND).expect("fits");
            drop(black_box((charge, slot)));
        });
    });
    c.bench_function("front: a transaction of one statement", |b| {
        b.iter(|| {
            let owner = admission.begin();
            let slot = at_once(admission.slot(&owner, QUEUE)).expect("is granted");
            let shared = vec![(RelationId(7), LockMode::AccessShare)];
            let locks = at_once(admission.lock(&owner, shared)).expect("is granted");
            let charge = admission.charge(&slot, DEMAND).expect("fits");
            drop(black_box((charge, slot, locks)));
        });
    });
    // A wait among many: asked for, given up.
    let _holders: Vec<_> = (0..20)
        .map(|_| {
            let owner = admission.begin();
            at_once(admission.slot(&owner, QUEUE)).expect("is granted")
        })
        .collect();
    for waiters in [10, 10_000] {
        let owners: Vec<_> = (0..waiters).map(|_| admission.begin()).collect();
        let mut waits: Vec<_> = owners
            .iter()
            .map(|owner| Box::pin(admission.slot(owner, QUEUE)))
            .collect();
        for wait in &mut waits {
            let context = &mut Context::from_waker(Waker::noop());
            assert!(wait.as_mut().poll(context).is_pending());
        }
        c.bench_function(
            &format!("front: wait and give up, {waiters} waiters"),
            |b| {
                b.iter(|| {
                    let mut wait = pin!(admission.slot(&owner, QUEUE));
                    let context = &mut Context::from_waker(Waker::noop());
                    assert!(black_box(wait.as_mut().poll(context)).is_pending());
                });
            },
        );
    }
}

criterion_group!(
    benches,
    alone,
    with_waiters,
    with_waiters_for_a_lock,
    deadlocks,
    deadlock_check_beside_many,
    views,
    front
);
criterion_main!(benches);
