//! Rule 8: nobody waits in the dark.

use std::collections::BTreeMap;

use super::queue::{Queue, Shortage, Totals};
use super::{Core, Want};
use crate::{Cost, Demand, Limits, LockMode, Owner, QueueId, RelationId, Ticket};

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
        holders: Vec<Owner>,
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
        holders: Vec<Owner>,
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
        holders: Vec<Owner>,
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
        holders: Vec<Owner>,
    },
    /// A slot was granted beyond the limit, and its holder runs: until it ends or waits, others
    /// that hold a slot are held back.
    HeldBack {
        /// The queue.
        queue: QueueId,
        /// Who runs.
        holders: Vec<Owner>,
    },
    /// A lock on a relation.
    Lock {
        /// The relation.
        relation: RelationId,
        /// The mode that is wanted.
        mode: LockMode,
        /// Who holds what conflicts.
        holders: Vec<Owner>,
        /// Whose conflicting requests have come first.
        ahead: Vec<Owner>,
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

impl Core {
    /// A wait's explanation; `None` when it is decided.
    #[must_use]
    pub fn explain(&self, ticket: Ticket) -> Option<WaiterView> {
        let wait = self.waits.get(&ticket)?;
        let place = match &wait.want {
            Want::Slot { queue, .. } => self.queues[queue].waiters.range(..ticket).count() + 1,
            Want::Locks { .. } => 1,
        };
        Some(self.explain_at(ticket, place))
    }

    /// As [`Core::explain`], for a wait whose place in its queue is known.
    fn explain_at(&self, ticket: Ticket, place: usize) -> WaiterView {
        let wait = &self.waits[&ticket];
        let (demand, place, reason) = match &wait.want {
            Want::Slot { queue, demand } => {
                let reason = self.admission_reason(ticket, *queue, *demand);
                (*demand, place, reason)
            }
            Want::Locks { locks, .. } => {
                let reason = self.lock_reason(ticket, locks);
                let place = match &reason {
                    Reason::Lock { ahead, .. } => ahead.len() + 1,
                    _ => 1,
                };
                (None, place, reason)
            }
        };
        WaiterView {
            ticket,
            owner: wait.owner,
            demand,
            place,
            reason,
        }
    }

    /// The wait of a transaction, if it waits.
    #[must_use]
    pub fn wait_of(&self, owner: Owner) -> Option<Ticket> {
        self.parties.get(&owner)?.wait
    }

    /// Every wait, the oldest first.
    #[must_use]
    pub fn waiters(&self) -> Vec<WaiterView> {
        // Counting the place of each by itself would be quadratic.
        let mut places: BTreeMap<Ticket, usize> = BTreeMap::new();
        for queue in self.queues.values() {
            places.extend(queue.waiters.iter().copied().zip(1..));
        }
        let place = |ticket| places.get(ticket).copied().unwrap_or(1);
        let waits = self.waits.keys();
        waits.map(|t| self.explain_at(*t, place(t))).collect()
    }

    /// Every queue.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueView> {
        let mut holdings: BTreeMap<QueueId, Vec<Holding>> = BTreeMap::new();
        for (owner, party) in &self.parties {
            for (queue, hold) in &party.holds {
                holdings.entry(*queue).or_default().push(Holding {
                    owner: *owner,
                    shares: hold.shares,
                    overcommitted: hold.overcommitted,
                    charged: hold.charged,
                });
            }
        }
        let queues = self.queues.iter();
        queues
            .map(|(id, queue)| self.queue_view(*id, queue, holdings.remove(id).unwrap_or_default()))
            .collect()
    }

    /// Every lock that is held or wanted.
    #[must_use]
    pub fn locks(&self) -> Vec<LockView> {
        let held = self.relations.iter().flat_map(|(relation, entry)| {
            entry.holders.iter().flat_map(move |(owner, modes)| {
                modes.iter().map(move |mode| LockView {
                    owner: *owner,
                    relation: *relation,
                    mode,
                    granted: true,
                })
            })
        });
        let wanted = self.waits.values().flat_map(|wait| {
            let locks = match &wait.want {
                Want::Locks { locks, .. } => locks.as_slice(),
                Want::Slot { .. } => &[],
            };
            locks.iter().map(|(relation, mode)| LockView {
                owner: wait.owner,
                relation: *relation,
                mode: *mode,
                granted: false,
            })
        });
        held.chain(wanted).collect()
    }

    fn queue_view(&self, id: QueueId, queue: &Queue, holdings: Vec<Holding>) -> QueueView {
        QueueView {
            id,
            limits: queue.limits,
            slots: queue.usage.slots,
            taken: queue.usage.taken,
            holdings,
            waiters: (queue.waiters.iter().zip(1..))
                .map(|(ticket, place)| self.explain_at(*ticket, place))
                .collect(),
            totals: queue.totals,
        }
    }

    fn admission_reason(&self, ticket: Ticket, id: QueueId, demand: Option<Demand>) -> Reason {
        let owner = self.waits[&ticket].owner;
        let queue = &self.queues[&id];
        let need = self.need(owner, id, demand);
        if !need.is_nothing()
            && let Some(head) = queue.waiters.first().filter(|head| **head != ticket)
        {
            let head = self.waits[head].owner;
            return Reason::Turn { queue: id, head };
        }
        let taken = queue.usage.taken;
        let needed = demand.unwrap_or_default();
        let limit = queue.limits.max_cost.unwrap_or_default();
        match queue.limits.shortage(queue.usage, &need) {
            Some(Shortage::Slots) => Reason::Slots {
                queue: id,
                limit: queue.limits.active_statements.unwrap_or_default(),
                holders: queue.holders.iter().copied().collect(),
            },
            Some(Shortage::Cost) => Reason::Cost {
                queue: id,
                needed: needed.cost,
                available: limit.saturating_minus(taken.cost),
                limit,
                holders: self.charged(id, |d| d.cost > Cost::ZERO),
            },
            Some(Shortage::Idle) => Reason::Idle {
                queue: id,
                needed: needed.cost,
                limit,
                holders: self.others_in(id, owner),
            },
            Some(Shortage::Memory) => {
                let limit = queue.limits.memory_limit_bytes.unwrap_or_default();
                Reason::Memory {
                    queue: id,
                    needed_bytes: needed.memory_bytes,
                    available_bytes: limit.saturating_sub(taken.memory_bytes),
                    limit_bytes: limit,
                    holders: self.charged(id, |d| d.memory_bytes > 0),
                }
            }
            None => self.held_back(owner, id),
        }
    }

    fn charged(&self, queue: QueueId, part: impl Fn(Demand) -> bool) -> Vec<Owner> {
        let parties = self.parties.iter();
        let charged = parties.filter(|(_, p)| p.holds.get(&queue).is_some_and(|h| part(h.charged)));
        charged.map(|(owner, _)| *owner).collect()
    }

    fn others_in(&self, queue: QueueId, owner: Owner) -> Vec<Owner> {
        let parties = self.parties.iter();
        let others = parties.filter(|(o, p)| **o != owner && p.holds.contains_key(&queue));
        others.map(|(owner, _)| *owner).collect()
    }

    /// The queue whose overcommitted slot keeps `owner` from going on.
    fn held_back(&self, owner: Owner, asked: QueueId) -> Reason {
        let mut held = self.parties[&owner].holds.keys().copied();
        let queue = held
            .find(|queue| !self.queues[queue].may_resume_holder())
            .unwrap_or(asked);
        let holders = self
            .queues
            .get(&queue)
            .into_iter()
            .flat_map(|q| q.holders.iter().copied());
        let running = holders.filter(|o| self.parties[o].wait.is_none());
        Reason::HeldBack {
            queue,
            holders: running.collect(),
        }
    }

    fn lock_reason(&self, ticket: Ticket, locks: &[crate::LockRequest]) -> Reason {
        let owner = self.waits[&ticket].owner;
        for (relation, mode) in locks {
            let entry = &self.relations[relation];
            if entry.held_by(owner).has(*mode) {
                continue;
            }
            let against = entry.holders.iter();
            let holders: Vec<Owner> = against
                .filter(|(o, modes)| **o != owner && modes.conflict(*mode))
                .map(|(o, _)| *o)
                .collect();
            let before = self.conflicting_waiters(*relation, *mode, ticket);
            let ahead: Vec<Owner> = before
                .filter(|t| !self.passes(Some(ticket), *t))
                .map(|t| self.waits[&t].owner)
                .collect();
            if !holders.is_empty() || !ahead.is_empty() {
                return Reason::Lock {
                    relation: *relation,
                    mode: *mode,
                    holders,
                    ahead,
                };
            }
        }
        let held = self.parties[&owner].holds.keys().next().copied();
        self.held_back(owner, held.unwrap_or(QueueId(0)))
    }
}
