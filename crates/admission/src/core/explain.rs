//! Rule 8: nobody waits in the dark.

use super::crowd::Crowd;
use super::queue::{Queue, Shortage};
use super::{Core, Holding, LockView, Owners, QueueView, Reason, WaiterView, Want};
use crate::map::Map;
use crate::{Cost, Demand, LockMode, LockRequest, Owner, QueueId, RelationId, Ticket};

/// Who stands against a wait at one relation: holders, and requests that came first.
pub(super) type Against = (Owners, Owners);

impl Core {
    /// A wait's explanation; `None` when it is decided.
    #[must_use]
    pub fn explain(&self, ticket: Ticket) -> Option<WaiterView> {
        self.waits.contains_key(&ticket).then(|| {
            self.explain_with(ticket, |relation, mode| {
                self.against(ticket, relation, mode)
            })
        })
    }

    /// Every wait, the oldest first.
    #[must_use]
    pub fn waiters(&self) -> Vec<WaiterView> {
        // Looking at all that came before each of them would be quadratic.
        let relations = self.relations.keys().map(|r| (*r, Crowd::new(self, *r)));
        let crowds: Map<RelationId, Crowd> = relations.collect();
        let mut tickets: Vec<Ticket> = self.waits.keys().copied().collect();
        tickets.sort_unstable();
        let explained = tickets.into_iter().map(|ticket| {
            self.explain_with(ticket, |relation, mode| {
                crowds[&relation].against(self, ticket, mode)
            })
        });
        explained.collect()
    }

    /// As [`Core::explain`]; `against` tells who stands against it in a mode of a relation.
    fn explain_with(
        &self,
        ticket: Ticket,
        against: impl Fn(RelationId, LockMode) -> Against,
    ) -> WaiterView {
        let wait = &self.waits[&ticket];
        let (demand, place, reason) = match &wait.want {
            Want::Slot { queue, demand, .. } => {
                let place = self.queues[queue].waiters.before(ticket) + 1;
                let reason = self.admission_reason(ticket, *queue, *demand);
                (*demand, place, reason)
            }
            Want::Locks { locks, .. } => {
                let reason = self.lock_reason(wait.owner, locks, against);
                let place = match &reason {
                    Reason::Lock { ahead, .. } => ahead.count() + 1,
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

    /// Every queue.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueView> {
        let queues = self.queues.iter();
        queues
            .map(|(id, queue)| self.queue_view(*id, queue))
            .collect()
    }

    fn queue_view(&self, id: QueueId, queue: &Queue) -> QueueView {
        let holding = |owner: &Owner| {
            let hold = self.hold(*owner, id);
            Holding {
                owner: *owner,
                shares: hold.shares,
                overcommitted: hold.overcommitted,
                charged: hold.charged,
            }
        };
        let waiters = queue.waiters.tickets();
        QueueView {
            id,
            limits: queue.limits,
            slots: queue.usage.slots,
            taken: queue.usage.taken,
            holdings: queue.holders.iter().map(holding).collect(),
            waiters: waiters.filter_map(|ticket| self.explain(ticket)).collect(),
            totals: queue.totals,
        }
    }

    /// Every lock that is held or wanted.
    #[must_use]
    pub fn locks(&self) -> Vec<LockView> {
        let view = |owner, relation, mode, granted| LockView {
            owner,
            relation,
            mode,
            granted,
        };
        let mut locks = Vec::new();
        for (relation, entry) in &self.relations {
            for (owner, modes) in &entry.holders {
                locks.extend(modes.iter().map(|mode| view(*owner, *relation, mode, true)));
            }
        }
        for wait in self.waits.values() {
            if let Want::Locks { locks: wanted, .. } = &wait.want {
                let wanted = wanted.iter();
                locks.extend(wanted.map(|(r, mode)| view(wait.owner, *r, *mode, false)));
            }
        }
        locks.sort_unstable_by_key(|lock| (!lock.granted, lock.relation, lock.owner, lock.mode));
        locks
    }

    fn admission_reason(&self, ticket: Ticket, id: QueueId, demand: Option<Demand>) -> Reason {
        let owner = self.waits[&ticket].owner;
        let queue = &self.queues[&id];
        let need = self.need(owner, id, demand);
        if !need.is_nothing()
            && let Some(head) = queue.waiters.head().filter(|head| *head != ticket)
        {
            let head = self.waits[&head].owner;
            return Reason::Turn { queue: id, head };
        }
        let taken = queue.usage.taken;
        let needed = demand.unwrap_or_default();
        let limit = queue.limits.max_cost.unwrap_or_default();
        match queue.limits.shortage(queue.usage, &need) {
            Some(Shortage::Slots) => Reason::Slots {
                queue: id,
                limit: queue.limits.active_statements.unwrap_or_default(),
                holders: self.holders(id, |owner| self.parties[&owner].has_slot(id)),
            },
            Some(Shortage::Cost) => Reason::Cost {
                queue: id,
                needed: needed.cost,
                available: limit.saturating_minus(taken.cost),
                limit,
                holders: self.holders(id, |owner| self.hold(owner, id).charged.cost > Cost::ZERO),
            },
            Some(Shortage::Idle) => Reason::Idle {
                queue: id,
                needed: needed.cost,
                limit,
                holders: self.holders(id, |other| other != owner),
            },
            Some(Shortage::Memory) => {
                let limit = queue.limits.memory_limit_bytes.unwrap_or_default();
                Reason::Memory {
                    queue: id,
                    needed_bytes: needed.memory_bytes,
                    available_bytes: limit.saturating_sub(taken.memory_bytes),
                    limit_bytes: limit,
                    holders: self
                        .holders(id, |owner| self.hold(owner, id).charged.memory_bytes > 0),
                }
            }
            None => self.held_back(owner, id),
        }
    }

    /// Those of a queue's holders that `count`.
    fn holders(&self, queue: QueueId, count: impl Fn(Owner) -> bool) -> Owners {
        let holders = self.queues[&queue].holders.iter().copied();
        holders.filter(|owner| count(*owner)).collect()
    }

    /// The queue whose overcommitted slot keeps `owner` from going on.
    fn held_back(&self, owner: Owner, asked: QueueId) -> Reason {
        let mut held = self.parties[&owner].slots();
        let queue = held
            .find(|queue| !self.queues[queue].may_resume_holder())
            .unwrap_or(asked);
        let runs = |owner: Owner| {
            let party = &self.parties[&owner];
            party.has_slot(queue) && party.wait.is_none()
        };
        let holders = self.holders(queue, runs);
        Reason::HeldBack { queue, holders }
    }

    /// The first of `locks` that is kept from `owner`.
    fn lock_reason(
        &self,
        owner: Owner,
        locks: &[LockRequest],
        against: impl Fn(RelationId, LockMode) -> Against,
    ) -> Reason {
        for (relation, mode) in locks {
            if self.relations[relation].held_by(owner).has(*mode) {
                continue;
            }
            let (holders, ahead) = against(*relation, *mode);
            if !holders.is_empty() || !ahead.is_empty() {
                return Reason::Lock {
                    relation: *relation,
                    mode: *mode,
                    holders,
                    ahead,
                };
            }
        }
        let held = self.parties[&owner].slots().next();
        self.held_back(owner, held.unwrap_or(QueueId(0)))
    }

    /// Who stands against one wait at a relation.
    pub(super) fn against(&self, ticket: Ticket, relation: RelationId, mode: LockMode) -> Against {
        let wait = &self.waits[&ticket];
        let holders = self.relations[&relation].holders.iter();
        let holders = holders.filter(|(o, modes)| **o != wait.owner && modes.conflict(mode));
        let before = self.conflicting_waiters(relation, mode, ticket);
        let ahead = before.filter(|other| !wait.passes(*other));
        (
            Owners::of(holders, |(owner, _)| *owner),
            Owners::of(ahead, |other| self.waits[&other].owner),
        )
    }
}
