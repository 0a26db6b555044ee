//! Whoever can be granted, is: what follows when something has come back.

use std::collections::BTreeSet;

use super::queue::Queue;
use super::relation::Modes;
use super::{Core, Effect, Effects, Refusal, Want, Way};
use crate::{Demand, LockMode, Owner, QueueId, RelationId, Ticket};

impl Core {
    /// Grants whoever can be granted after something of `queue` has come back.
    pub(super) fn touch_queue(&mut self, queue: QueueId, effects: &mut Effects) {
        self.resume_holders(queue, effects);
        self.admit_heads(queue, effects);
    }

    /// Rule 5: only the head is ever granted, as long as it fits.
    pub(super) fn admit_heads(&mut self, queue: QueueId, effects: &mut Effects) {
        while let Some(entry) = self.queues.get(&queue)
            && let Some(head) = entry.waiters.head()
            && self.admissible(head)
        {
            self.grant(head, Way::InTurn, effects);
        }
    }

    /// While a slot is overcommitted, holders that wait are held back until there is room.
    pub(super) fn resume_holders(&mut self, queue: QueueId, effects: &mut Effects) {
        let held_back = |queue: &&Queue| queue.waiting_holders > 0 && queue.holds_back;
        let Some(entry) = self.queues.get(&queue).filter(held_back) else {
            return;
        };
        let waiting = entry
            .holders
            .iter()
            .filter_map(|owner| self.parties[owner].wait);
        // In the order in which they came, not in that of their transactions.
        for ticket in waiting.collect::<BTreeSet<_>>() {
            self.try_grant(ticket, effects);
        }
        let entry = self.queue_mut(queue);
        entry.holds_back = entry.overcommitted > 0;
    }

    /// `owner` has begun to wait: where slots are overcommitted, another holder may go on now.
    pub(super) fn make_room_beside(&mut self, owner: Owner, effects: &mut Effects) {
        let slots = self.parties[&owner].slots();
        let queues: Vec<QueueId> = slots
            .filter(|queue| self.queues[queue].overcommitted > 0)
            .collect();
        for queue in queues {
            self.resume_holders(queue, effects);
        }
    }

    pub(super) fn touch_relation(&mut self, relation: RelationId, effects: &mut Effects) {
        let Some(entry) = self.relations.get(&relation) else {
            return;
        };
        if entry.is_unused() {
            self.relations.remove(&relation);
            return;
        }
        // What those want that go on waiting. Once nothing goes beside it, nobody else can be
        // granted: so a release costs what it grants, however many wait.
        let mut ahead = Modes::default();
        let mut next = Ticket(0);
        while let Some(entry) = self.relations.get(&relation)
            && let Some(ticket) = entry.waiters.from(next)
            && (self.passing > 0 || !ahead.has(LockMode::AccessExclusive))
        {
            next = Ticket(ticket.0 + 1);
            if self.may_lock_here(ticket, relation, &ahead) {
                self.try_grant(ticket, effects);
            }
            if let Some(wait) = self.waits.get(&ticket) {
                wait.modes_on(relation).for_each(|mode| ahead.add(mode));
            }
        }
    }

    /// Whether the requests before it leave `relation` to a wait; `ahead` is what they want.
    pub(super) fn may_lock_here(
        &self,
        ticket: Ticket,
        relation: RelationId,
        ahead: &Modes,
    ) -> bool {
        let wait = &self.waits[&ticket];
        let own = self.relations[&relation].held_by(wait.owner);
        let mut modes = wait.modes_on(relation).filter(|mode| !own.has(*mode));
        wait.passes_others() || modes.all(|mode| !ahead.conflict(mode))
    }

    pub(super) fn touch_wanted(&mut self, want: &Want, effects: &mut Effects) {
        match want {
            Want::Slot { queue, .. } => self.touch_queue(*queue, effects),
            Want::Locks { locks, .. } => {
                for (relation, _) in locks {
                    self.touch_relation(*relation, effects);
                }
            }
        }
    }

    pub(super) fn try_grant(&mut self, ticket: Ticket, effects: &mut Effects) {
        let Some(wait) = self.waits.get(&ticket) else {
            return;
        };
        let grantable = match &wait.want {
            Want::Slot { queue, demand, .. } => {
                let turn = self.queues[queue].waiters.head() == Some(ticket)
                    || self.need(wait.owner, *queue, *demand).is_nothing();
                turn && self.admissible(ticket)
            }
            Want::Locks { locks, .. } => {
                self.may_resume(wait.owner)
                    && self.lockable(wait.owner, locks, Some(ticket)).is_ok()
            }
        };
        if !grantable {
            return;
        }
        let queue = match wait.want {
            Want::Slot { queue, .. } => Some(queue),
            Want::Locks { .. } => None,
        };
        self.grant(ticket, Way::InTurn, effects);
        if let Some(queue) = queue {
            // It may have been the head that kept the next one waiting.
            self.admit_heads(queue, effects);
        }
    }

    /// Whether a wait for admission fits its queue, its turn aside.
    pub(super) fn admissible(&self, ticket: Ticket) -> bool {
        let wait = &self.waits[&ticket];
        let Want::Slot { queue, demand, .. } = wait.want else {
            return false;
        };
        let need = self.need(wait.owner, queue, demand);
        let entry = &self.queues[&queue];
        entry.limits.shortage(entry.usage, &need).is_none() && self.may_resume(wait.owner)
    }

    /// Rule 6: whether `owner` may go on, as far as overcommitted slots of its queues allow.
    pub(super) fn may_resume(&self, owner: Owner) -> bool {
        let mut slots = self.parties[&owner].slots();
        slots.all(|queue| self.queues[&queue].may_resume_holder())
    }

    pub(super) fn grant(&mut self, ticket: Ticket, way: Way, effects: &mut Effects) {
        let wait = self.dequeue(ticket).expect("a wait that is granted exists");
        match &wait.want {
            Want::Slot {
                queue,
                demand,
                again,
            } => {
                let new_slot = !self.parties[&wait.owner].has_slot(*queue);
                // Those before it wait for it: they cannot mind that it goes first.
                let arrival = if way == Way::InTurn {
                    ticket
                } else {
                    Ticket(0)
                };
                self.take_slot(wait.owner, *queue, *demand, arrival, *again);
                if way == Way::Overcommitted {
                    self.note_overcommit(wait.owner, *queue, new_slot);
                }
            }
            Want::Locks { locks, .. } => self.take_locks(wait.owner, locks),
        }
        effects.push(Effect {
            ticket,
            owner: wait.owner,
            refusal: None,
        });
    }

    pub(super) fn note_overcommit(&mut self, owner: Owner, queue: QueueId, new_slot: bool) {
        let entry = self.queues.get_mut(&queue).expect("granted of it");
        entry.totals.overcommitted += 1;
        self.hold_mut(owner, queue).granted_beyond = true;
        let entry = self.queues.get_mut(&queue).expect("granted of it");
        let limit = entry.limits.active_statements;
        if new_slot && limit.is_some_and(|limit| entry.usage.slots > limit as usize) {
            entry.overcommitted += 1;
            entry.holds_back = true;
            self.hold_mut(owner, queue).overcommitted = true;
        }
    }

    pub(super) fn refuse(&mut self, ticket: Ticket, refusal: Refusal, effects: &mut Effects) {
        let want = self.end_wait(ticket, refusal, effects);
        self.touch_wanted(&want, effects);
    }

    /// Refuses a wait; whoever stood behind it is not looked at yet.
    pub(super) fn end_wait(
        &mut self,
        ticket: Ticket,
        refusal: Refusal,
        effects: &mut Effects,
    ) -> Want {
        let wait = self.dequeue(ticket).expect("a wait that is refused exists");
        effects.push(Effect {
            ticket,
            owner: wait.owner,
            refusal: Some(refusal),
        });
        wait.want
    }

    /// Refuses the waiters of a queue whose cost a lowered limit forbids for ever: all of them,
    /// before anything is granted to one that is next, and alone, only because of it.
    pub(super) fn refuse_forbidden(&mut self, queue: QueueId, effects: &mut Effects) {
        let entry = &self.queues[&queue];
        let (limits, waiters): (_, Vec<Ticket>) = (entry.limits, entry.waiters.tickets().collect());
        for ticket in waiters {
            let Some(Want::Slot {
                demand: Some(Demand { cost, .. }),
                ..
            }) = self.waits.get(&ticket).map(|wait| &wait.want)
            else {
                continue;
            };
            if limits.forbids(*cost) {
                let (cost, limit) = (*cost, limits.max_cost.unwrap_or_default());
                self.queue_mut(queue).totals.refused += 1;
                self.end_wait(ticket, Refusal::TooCostly { cost, limit }, effects);
            }
        }
    }
}
