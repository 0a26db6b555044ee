//! What is granted, as guards. Dropping one is the only way to give it back.

use std::sync::Arc;

use crate::front::Front;
use crate::{Demand, LockRequest, Owner, QueueId};

/// A transaction's life as an owner. Clones, and everything that was granted to it, share it; it
/// ends with the last of them. So a cursor that outlives its transaction keeps it.
#[derive(Debug, Clone)]
pub struct OwnerGuard(Arc<OwnerLife>);

struct OwnerLife {
    front: Arc<Front>,
    owner: Owner,
}

impl OwnerGuard {
    pub(crate) fn new(front: Arc<Front>, owner: Owner) -> Self {
        Self(Arc::new(OwnerLife { front, owner }))
    }

    /// The owner's name, as views and explanations show it.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.0.owner
    }

    fn front(&self) -> &Front {
        &self.0.front
    }
}

impl std::fmt::Debug for OwnerLife {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.owner.fmt(f)
    }
}

impl Drop for OwnerLife {
    fn drop(&mut self) {
        self.front.step(|core, _| core.end(self.owner));
    }
}

/// The right to be an active statement of a queue; a share of it, where cursors of the same
/// transaction have it too.
#[must_use = "dropping this gives the slot back at once"]
#[derive(Debug)]
pub struct Slot {
    owner: OwnerGuard,
    queue: QueueId,
    overcommitted: bool,
    armed: bool,
}

impl Slot {
    pub(crate) fn new(owner: OwnerGuard, queue: QueueId, overcommitted: bool) -> Self {
        Self {
            owner,
            queue,
            overcommitted,
            armed: true,
        }
    }

    /// Who holds it.
    #[must_use]
    pub fn owner(&self) -> &OwnerGuard {
        &self.owner
    }

    /// Of which queue it is.
    #[must_use]
    pub fn queue(&self) -> QueueId {
        self.queue
    }

    /// Whether it, or the charge that was granted with it, was granted beyond a limit, because the
    /// wait for it could never have ended.
    #[must_use]
    pub fn is_overcommitted(&self) -> bool {
        self.overcommitted
    }

    /// The slot without its guard, for a step that gives it back itself.
    pub(crate) fn disarm(mut self) -> (OwnerGuard, QueueId) {
        self.armed = false;
        (self.owner.clone(), self.queue)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.armed {
            let (owner, queue) = (self.owner.owner(), self.queue);
            let front = self.owner.front();
            front.step(|core, effects| core.give_back_slot(owner, queue, effects));
        }
    }
}

/// A statement's relation locks; kept to the end of the transaction.
#[must_use = "dropping this gives the locks back at once"]
#[derive(Debug)]
pub struct Locks {
    owner: OwnerGuard,
    locks: Vec<LockRequest>,
}

impl Locks {
    pub(crate) fn new(owner: OwnerGuard, locks: Vec<LockRequest>) -> Self {
        Self { owner, locks }
    }

    /// Which.
    #[must_use]
    pub fn locks(&self) -> &[LockRequest] {
        &self.locks
    }

    pub(crate) fn disarm(mut self) -> Vec<LockRequest> {
        std::mem::take(&mut self.locks)
    }
}

impl Drop for Locks {
    fn drop(&mut self) {
        if !self.locks.is_empty() {
            let owner = self.owner.owner();
            let front = self.owner.front();
            front.step(|core, effects| core.give_back_locks(owner, &self.locks, effects));
        }
    }
}

/// The cost and memory that a running statement has taken from its queue.
#[must_use = "dropping this gives the charge back at once"]
#[derive(Debug)]
pub struct Charge {
    owner: OwnerGuard,
    queue: QueueId,
    demand: Demand,
}

impl Charge {
    pub(crate) fn new(owner: OwnerGuard, queue: QueueId, demand: Demand) -> Self {
        Self {
            owner,
            queue,
            demand,
        }
    }

    /// What was asked for, and granted.
    #[must_use]
    pub fn demand(&self) -> Demand {
        self.demand
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let (owner, queue, demand) = (self.owner.owner(), self.queue, self.demand);
        let front = self.owner.front();
        front.step(|core, effects| core.give_back_charge(owner, queue, demand, effects));
    }
}
