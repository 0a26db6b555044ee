//! A transaction: what it holds, and what it waits for.

use std::collections::BTreeSet;

use super::few::Few;
use super::queue::Usage;
use crate::{Demand, LockMode, LockRequest, Owner, QueueId, RelationId, Ticket};

/// A transaction's holdings.
#[derive(Debug, Clone, Default)]
pub(super) struct Party {
    /// Slots and charges by queue. Nearly always one queue.
    pub(super) holds: Few<QueueId, Hold>,
    pub(super) relations: BTreeSet<RelationId>,
    pub(super) wait: Option<Ticket>,
}

/// What a transaction holds of one queue.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hold {
    /// Cursors and the statement that share the slot; zero: no slot.
    pub(super) shares: u32,
    /// The slot was granted beyond the limit.
    pub(super) overcommitted: bool,
    /// Its latest grant was made beyond a limit (rule 6). Only told: nothing depends on it.
    pub(super) granted_beyond: bool,
    pub(super) charged: Demand,
    /// When its current statement came: waits in the queue up to this one came before it.
    pub(super) arrival: Ticket,
}

impl Hold {
    /// Whether it has become nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.shares == 0 && self.charged.is_zero()
    }

    pub(super) fn usage(&self) -> Usage {
        Usage {
            slots: usize::from(self.shares > 0),
            taken: self.charged,
        }
    }
}

impl Party {
    pub(super) fn holds_anything(&self) -> bool {
        !self.holds.is_empty() || !self.relations.is_empty()
    }

    pub(super) fn has_slot(&self, queue: QueueId) -> bool {
        self.holds.get(queue).is_some_and(|hold| hold.shares > 0)
    }

    /// The queues of which it has a slot.
    pub(super) fn slots(&self) -> impl Iterator<Item = QueueId> {
        let slots = self.holds.iter().filter(|(_, hold)| hold.shares > 0);
        slots.map(|(queue, _)| queue)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Wait {
    pub(super) owner: Owner,
    pub(super) want: Want,
}

impl Wait {
    /// The modes that it wants of a relation.
    pub(super) fn modes_on(&self, relation: RelationId) -> impl Iterator<Item = LockMode> + '_ {
        let locks = match &self.want {
            Want::Locks { locks, .. } => locks.as_slice(),
            Want::Slot { .. } => &[],
        };
        let here = locks.iter().filter(move |(r, _)| *r == relation);
        here.map(|(_, mode)| *mode)
    }

    /// Whether it need not wait for `other`, which came before it.
    pub(super) fn passes(&self, other: Ticket) -> bool {
        matches!(&self.want, Want::Locks { passes, .. } if passes.contains(&other))
    }

    /// Whether it need not wait for everyone before it.
    pub(super) fn passes_others(&self) -> bool {
        matches!(&self.want, Want::Locks { passes, .. } if !passes.is_empty())
    }
}

#[derive(Debug, Clone)]
pub(super) enum Want {
    /// A slot, and the charge too if the demand is known.
    Slot {
        queue: QueueId,
        demand: Option<Demand>,
        /// Its statement was admitted before, and is not counted again.
        again: bool,
    },
    Locks {
        locks: Vec<LockRequest>,
        /// Earlier waits that this one need not wait for, because they wait for it.
        passes: BTreeSet<Ticket>,
    },
}

/// How a wait comes to its grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    InTurn,
    /// Before others, which wait for it.
    OutOfTurn,
    /// Beyond a limit.
    Overcommitted,
}
