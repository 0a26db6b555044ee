//! Who waits for what, and what stands before a request.

use super::queue::Need;
use super::{Core, Effects, Hold, Outcome, Refusal, Wait, Want, decided};
use crate::{Demand, LockMode, LockRequest, Owner, QueueId, RelationId, Ticket};

impl Core {
    pub(super) fn wait(&mut self, owner: Owner, want: Want, effects: &mut Effects) -> Outcome {
        let outcome = self.enqueue(owner, want);
        self.make_room_beside(owner, effects);
        self.settle(effects);
        decided(outcome, effects)
    }

    pub(super) fn enqueue(&mut self, owner: Owner, want: Want) -> Outcome {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        let wait = Wait { owner, want };
        match &wait.want {
            Want::Slot { queue, demand, .. } => {
                let known = demand.is_some();
                let queue = self.queue_mut(*queue);
                queue.waiters.join(ticket, ());
                if known {
                    queue.demanding.join(ticket, ());
                }
                queue.totals.waited += 1;
            }
            Want::Locks { locks, .. } => {
                self.locking.waited += 1;
                for (relation, _) in locks {
                    let entry = self.relations.entry(*relation).or_default();
                    entry
                        .waiters
                        .join(ticket, wait.modes_on(*relation).collect());
                }
            }
        }
        self.waits.insert(ticket, wait);
        self.set_waiting(owner, Some(ticket));
        // Rule 6: nobody can wait for an owner that holds nothing, so its wait closes no cycle.
        self.suspicious |= self.parties[&owner].holds_anything();
        Outcome::Waiting(ticket)
    }

    pub(super) fn dequeue(&mut self, ticket: Ticket) -> Option<Wait> {
        let wait = self.waits.remove(&ticket)?;
        self.passing -= usize::from(wait.passes_others());
        match &wait.want {
            Want::Slot { queue, .. } => {
                let queue = self.queue_mut(*queue);
                queue.waiters.leave(ticket);
                queue.demanding.leave(ticket);
            }
            Want::Locks { locks, .. } => {
                for (relation, _) in locks {
                    if let Some(relation) = self.relations.get_mut(relation) {
                        relation.waiters.leave(ticket);
                    }
                }
            }
        }
        self.set_waiting(wait.owner, None);
        Some(wait)
    }

    /// Panics before anything has changed: two waits of one owner would spoil the books for ever.
    pub(super) fn expect_no_wait(&self, owner: Owner) {
        assert!(self.parties[&owner].wait.is_none(), "{owner:?} waits twice");
    }

    pub(super) fn set_waiting(&mut self, owner: Owner, wait: Option<Ticket>) {
        let party = self.parties.get_mut(&owner).expect("begun");
        party.wait = wait;
        for queue in party.slots() {
            let queue = self.queues.get_mut(&queue).expect("held queues exist");
            match wait {
                Some(_) => queue.waiting_holders += 1,
                None => queue.waiting_holders -= 1,
            }
        }
    }

    /// Why a request for `queue` is refused at once.
    pub(super) fn refuses(&mut self, queue: QueueId, demand: Option<Demand>) -> Option<Refusal> {
        let entry = self.queues.get_mut(&queue).filter(|queue| !queue.dropped);
        let Some(entry) = entry else {
            return Some(Refusal::NoQueue);
        };
        let cost = demand?.cost;
        if !entry.limits.forbids(cost) {
            return None;
        }
        entry.totals.refused += 1;
        let limit = entry.limits.max_cost.unwrap_or_default();
        Some(Refusal::TooCostly { cost, limit })
    }

    /// What a request would take, beside what its owner has.
    pub(super) fn need(&self, owner: Owner, queue: QueueId, demand: Option<Demand>) -> Need {
        let hold = self.parties[&owner].holds.get(queue);
        Need {
            slot: hold.is_none_or(|hold| hold.shares == 0),
            demand,
            own: hold.map(Hold::usage).unwrap_or_default(),
        }
    }

    /// Whether all `locks` can be granted now; else the first relation that cannot. `ticket` is
    /// the request's own wait, if it waits already: only earlier waits stand before it.
    pub(super) fn lockable(
        &self,
        owner: Owner,
        locks: &[LockRequest],
        ticket: Option<Ticket>,
    ) -> Result<(), RelationId> {
        let passes = |other| ticket.is_some_and(|ticket| self.waits[&ticket].passes(other));
        for (relation, mode) in locks {
            let Some(entry) = self.relations.get(relation) else {
                continue;
            };
            // Whoever has the mode already needs nobody's leave to take it once more.
            if entry.held_by(owner).has(*mode) {
                continue;
            }
            if entry.held_against(owner, *mode) {
                return Err(*relation);
            }
            let before = ticket.unwrap_or(Ticket(u64::MAX));
            let mut earlier = self.conflicting_waiters(*relation, *mode, before);
            if earlier.any(|other| !passes(other)) {
                return Err(*relation);
            }
        }
        Ok(())
    }

    /// Rule 3: waits for `relation` that came before `before` and conflict with `mode`.
    pub(super) fn conflicting_waiters(
        &self,
        relation: RelationId,
        mode: LockMode,
        before: Ticket,
    ) -> impl Iterator<Item = Ticket> + '_ {
        let waiters = self.relations.get(&relation).map(|entry| &entry.waiters);
        let earlier = waiters
            .into_iter()
            .flat_map(move |line| line.iter().take_while(move |(ticket, _)| *ticket < before));
        let conflicting = earlier.filter(move |(_, modes)| modes.conflicts(mode));
        conflicting.map(|(ticket, _)| ticket)
    }
}
