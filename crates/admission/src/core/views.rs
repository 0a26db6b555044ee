//! What others see of a core: its waits with their reasons, its queues, its locks.

use super::queue::Totals;
use crate::{Cost, Demand, Limits, LockMode, Owner, QueueId, RelationId, Ticket};

/// How many owners a view names, at most, of those that stand in somebody's way. With ten thousand
/// waits, each behind all before it, whole lists would be fifty million names.
pub const NAMED_OWNERS: usize = 16;

/// Owners: the first few by name, the others by number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Owners {
    /// The first, at most [`NAMED_OWNERS`].
    pub named: Vec<Owner>,
    /// How many more there are.
    pub others: usize,
}

impl Owners {
    /// How many they are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.named.len() + self.others
    }

    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// Looks up the names of the first only.
    pub(super) fn of<T>(mut all: impl Iterator<Item = T>, name: impl Fn(T) -> Owner) -> Self {
        let named = all.by_ref().take(NAMED_OWNERS).map(name).collect();
        let others = all.count();
        Self { named, others }
    }

    pub(super) fn add(&mut self, owner: Owner) {
        if self.named.len() < NAMED_OWNERS {
            self.named.push(owner);
        } else {
            self.others += 1;
        }
    }
}

impl FromIterator<Owner> for Owners {
    fn from_iter<T: IntoIterator<Item = Owner>>(owners: T) -> Self {
        Self::of(owners.into_iter(), |owner| owner)
    }
}

/// What keeps a wait from ending now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Others have come first.
    Turn {
        /// The queue.
        queue: QueueId,
        /// Who is next.
        head: Owner,
    },
    /// All slots are taken.
    Slots {
        /// The queue.
        queue: QueueId,
        /// `ACTIVE_STATEMENTS`.
        limit: u32,
        /// Who has the slots.
        holders: Owners,
    },
    /// The cost does not fit beside what runs.
    Cost {
        /// The queue.
        queue: QueueId,
        /// What the statement needs.
        needed: Cost,
        /// What is left of the limit.
        available: Cost,
        /// `MAX_COST`.
        limit: Cost,
        /// Who has been charged.
        holders: Owners,
    },
    /// The cost is above `MAX_COST`: the statement waits until it is alone in the queue.
    Idle {
        /// The queue.
        queue: QueueId,
        /// What the statement needs.
        needed: Cost,
        /// `MAX_COST`.
        limit: Cost,
        /// Who is in the queue yet.
        holders: Owners,
    },
    /// The memory does not fit beside what runs.
    Memory {
        /// The queue.
        queue: QueueId,
        /// What the statement needs, in bytes.
        needed_bytes: u64,
        /// What is left of the limit, in bytes.
        available_bytes: u64,
        /// `MEMORY_LIMIT`, in bytes.
        limit_bytes: u64,
        /// Who has been charged.
        holders: Owners,
    },
    /// A slot was granted beyond the limit, and its holder runs: until it ends or waits, others
    /// that hold a slot are held back.
    HeldBack {
        /// The queue.
        queue: QueueId,
        /// Who runs.
        holders: Owners,
    },
    /// A lock on a relation.
    Lock {
        /// The relation.
        relation: RelationId,
        /// The mode that is wanted.
        mode: LockMode,
        /// Who holds what conflicts.
        holders: Owners,
        /// Whose conflicting requests have come first.
        ahead: Owners,
    },
}

/// A wait, as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WaiterView {
    /// The wait.
    pub ticket: Ticket,
    /// Whose it is.
    pub owner: Owner,
    /// The demand, where it is known already.
    pub demand: Option<Demand>,
    /// Its place in the queue, or behind conflicting requests; 1 is the next.
    pub place: usize,
    /// What keeps it from ending.
    pub reason: Reason,
}

/// What a transaction holds of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Holding {
    /// Whose.
    pub owner: Owner,
    /// Statements and cursors that share the slot; 0 without a slot.
    pub shares: u32,
    /// Whether the slot was granted beyond the limit.
    pub overcommitted: bool,
    /// Cost and memory.
    pub charged: Demand,
}

/// A queue at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QueueView {
    /// The queue.
    pub id: QueueId,
    /// Its limits.
    pub limits: Limits,
    /// Slots taken.
    pub slots: usize,
    /// Cost and memory taken.
    pub taken: Demand,
    /// Who holds what.
    pub holdings: Vec<Holding>,
    /// Who waits, the next one first.
    pub waiters: Vec<WaiterView>,
    /// What happened since the queue was made.
    pub totals: Totals,
}

/// A lock that is held or wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LockView {
    /// Whose.
    pub owner: Owner,
    /// On what.
    pub relation: RelationId,
    /// In which mode.
    pub mode: LockMode,
    /// Whether it is held; else it is waited for.
    pub granted: bool,
}
