//! The async front: what the way of a statement calls, and the guards it gets.

use crate::LockMode;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A transaction that holds slots, charges and locks: an explicit block, or one statement on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(u64);

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A relation's number in the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelationId(pub u32);

/// What a planned statement will need of its queue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demand {
    /// The plan's cost; 1.0 is one sequential page of 8 KiB.
    pub cost: f64,
    /// The memory that it is expected to use, in bytes.
    pub memory_bytes: u64,
}

/// Why a statement may not go on.
///
/// There is no variant yet because nothing is refused yet; the queue and lock errors come with the
/// resource queues.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AdmissionError {}

impl AdmissionError {
    /// The five characters that name this error to PostgreSQL clients.
    pub fn sqlstate(&self) -> &'static str {
        match *self {}
    }
}

/// How many guards exist: what has been granted and not been given back. All zero when every
/// transaction has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// [`Slot`]s.
    pub slots: usize,
    /// Relations locked, counted once for each pair of a relation and a mode in each [`Locks`].
    pub locks: usize,
    /// [`Charge`]s.
    pub charges: usize,
    /// [`OwnerGuard`]s.
    pub owners: usize,
}

/// The one place that admits statements. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Admission(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    last_owner: AtomicU64,
    owners: Arc<Count>,
    slots: Arc<Count>,
    locks: Arc<Count>,
    charges: Arc<Count>,
}

impl Admission {
    /// An admission that nobody holds anything of.
    pub fn new() -> Self {
        Admission::default()
    }

    /// Begins a transaction. Keep the guard until the transaction ends; drop it last.
    pub fn begin(&self) -> OwnerGuard {
        let owner = Owner(self.0.last_owner.fetch_add(1, Ordering::Relaxed) + 1);
        OwnerGuard {
            owner,
            _counted: Counted::new(&self.0.owners, 1),
        }
    }

    /// The right to be one of the active statements of `queue`; without a queue (superusers,
    /// ungoverned statements) it stands for no limit. A governed statement asks for it before it
    /// asks for any lock.
    ///
    /// # Errors
    ///
    /// None yet.
    pub async fn slot(&self, owner: Owner, _queue: Option<&str>) -> Result<Slot, AdmissionError> {
        Ok(Slot {
            owner,
            _counted: Counted::new(&self.0.slots, 1),
        })
    }

    /// All the relation locks of one statement, granted together.
    ///
    /// # Errors
    ///
    /// None yet.
    pub async fn lock(
        &self,
        owner: Owner,
        relations: &[(RelationId, LockMode)],
    ) -> Result<Locks, AdmissionError> {
        Ok(Locks {
            owner,
            _counted: Counted::new(&self.0.locks, relations.len()),
        })
    }

    /// Takes the plan's cost and memory from the queue that `slot` belongs to.
    ///
    /// # Errors
    ///
    /// None yet.
    pub async fn charge(&self, _slot: &Slot, demand: Demand) -> Result<Charge, AdmissionError> {
        Ok(Charge {
            demand,
            _counted: Counted::new(&self.0.charges, 1),
        })
    }

    /// What is held now.
    pub fn held(&self) -> Held {
        Held {
            slots: self.0.slots.get(),
            locks: self.0.locks.get(),
            charges: self.0.charges.get(),
            owners: self.0.owners.get(),
        }
    }
}

/// A transaction's life as an owner. Dropping it ends the owner.
#[must_use = "dropping this ends the owner at once"]
#[derive(Debug)]
pub struct OwnerGuard {
    owner: Owner,
    _counted: Counted,
}

impl OwnerGuard {
    /// The owner's name, to ask for slots and locks with.
    pub fn owner(&self) -> Owner {
        self.owner
    }
}

/// The right to be an active statement. Dropping it gives it back.
#[must_use = "dropping this gives the slot back at once"]
#[derive(Debug)]
pub struct Slot {
    owner: Owner,
    _counted: Counted,
}

impl Slot {
    /// Who holds it.
    pub fn owner(&self) -> Owner {
        self.owner
    }
}

/// A statement's relation locks; keep them to the end of the transaction. Dropping them gives them
/// back.
#[must_use = "dropping this gives the locks back at once"]
#[derive(Debug)]
pub struct Locks {
    owner: Owner,
    _counted: Counted,
}

impl Locks {
    /// Who holds them.
    pub fn owner(&self) -> Owner {
        self.owner
    }
}

/// The cost and memory that a running statement has taken from its queue. Dropping it gives them
/// back.
#[must_use = "dropping this gives the charge back at once"]
#[derive(Debug)]
pub struct Charge {
    demand: Demand,
    _counted: Counted,
}

impl Charge {
    /// What was asked for, and granted.
    pub fn demand(&self) -> Demand {
        self.demand
    }
}

/// A number that goes up and down; on a cache line of its own, since every statement of every thread
/// changes it.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Count(AtomicUsize);

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// A share in a [`Count`], taken back on drop.
#[derive(Debug)]
struct Counted {
    count: Arc<Count>,
    share: usize,
}

impl Counted {
    fn new(count: &Arc<Count>, share: usize) -> Self {
        count.0.fetch_add(share, Ordering::AcqRel);
        Counted {
            count: Arc::clone(count),
            share,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let before = self.count.0.fetch_sub(self.share, Ordering::AcqRel);
        debug_assert!(before >= self.share, "more given back than granted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use std::thread;

    /// Polls once: a grant that had to wait would fail the test.
    fn at_once<T>(future: impl Future<Output = Result<T, AdmissionError>>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result.expect("nothing is refused yet"),
            Poll::Pending => panic!("was not granted at once"),
        }
    }

    const DEMAND: Demand = Demand {
        cost: 100.0,
        memory_bytes: 1 << 20,
    };

    fn take_everything(admission: &Admission) -> (Charge, Locks, Slot, OwnerGuard) {
        let transaction = admission.begin();
        let owner = transaction.owner();
        let slot = at_once(admission.slot(owner, Some("pg_default")));
        let wanted = [
            (RelationId(16384), LockMode::AccessShare),
            (RelationId(16385), LockMode::RowExclusive),
        ];
        let locks = at_once(admission.lock(owner, &wanted));
        let charge = at_once(admission.charge(&slot, DEMAND));
        (charge, locks, slot, transaction)
    }

    #[test]
    fn counts_what_is_held_and_returns_to_zero() {
        let admission = Admission::new();
        let (charge, locks, slot, transaction) = take_everything(&admission);
        assert_eq!(
            admission.held(),
            Held {
                slots: 1,
                locks: 2,
                charges: 1,
                owners: 1
            }
        );
        assert_eq!(
            (slot.owner(), locks.owner()),
            (transaction.owner(), transaction.owner())
        );
        assert_eq!(charge.demand(), DEMAND);

        drop(charge);
        assert_eq!(
            admission.held(),
            Held {
                slots: 1,
                locks: 2,
                charges: 0,
                owners: 1
            }
        );
        drop(slot);
        assert_eq!(
            admission.held(),
            Held {
                slots: 0,
                locks: 2,
                charges: 0,
                owners: 1
            }
        );
        drop(locks);
        assert_eq!(
            admission.held(),
            Held {
                owners: 1,
                ..Held::default()
            }
        );
        drop(transaction);
        assert_eq!(admission.held(), Held::default());
    }

    #[test]
    fn an_ungoverned_statement_has_a_slot_too() {
        let admission = Admission::new();
        let transaction = admission.begin();
        let slot = at_once(admission.slot(transaction.owner(), None));
        assert_eq!(admission.held().slots, 1);
        drop(slot);
        assert_eq!(admission.held().slots, 0);
    }

    #[test]
    fn a_panic_gives_everything_back() {
        let admission = Admission::new();
        let result = catch_unwind(AssertUnwindSafe(|| {
            let _held = take_everything(&admission);
            panic!("a mistake in the statement");
        }));
        assert!(result.is_err());
        assert_eq!(admission.held(), Held::default());
    }

    #[test]
    fn owners_are_never_named_twice() {
        let admission = Admission::new();
        let first = admission.begin().owner();
        let second = admission.clone().begin().owner();
        assert_ne!(first, second);
    }

    #[test]
    fn a_request_that_is_never_awaited_takes_nothing() {
        let admission = Admission::new();
        let transaction = admission.begin();
        drop(admission.slot(transaction.owner(), Some("pg_default")));
        assert_eq!(admission.held().slots, 0);
    }

    #[test]
    fn many_threads_leave_nothing_behind() {
        let admission = Admission::new();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        drop(take_everything(&admission));
                    }
                });
            }
        });
        assert_eq!(admission.held(), Held::default());
    }
}
