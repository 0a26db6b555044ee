//! Taking and giving back: the books, without anybody's turn.

use super::{Core, Hold};
use crate::{Demand, LockRequest, Owner, QueueId, Ticket};

impl Core {
    pub(super) fn take_slot(
        &mut self,
        owner: Owner,
        queue: QueueId,
        demand: Option<Demand>,
        arrival: Ticket,
        again: bool,
    ) {
        let party = self.parties.get_mut(&owner).expect("begun");
        let hold = party.holds.get_or_default(queue);
        hold.shares += 1;
        hold.arrival = arrival;
        hold.granted_beyond = false;
        let first = hold.shares == 1;
        let entry = self.queues.get_mut(&queue).expect("checked by the caller");
        entry.totals.admitted += u64::from(!again);
        if first {
            entry.usage.slots += 1;
            entry.holders.insert(owner);
        }
        if let Some(demand) = demand {
            self.take_charge(owner, queue, demand);
        }
        #[cfg(debug_assertions)]
        self.check();
    }

    /// Whether the latest grant of `queue` to `owner` was made beyond a limit, because its wait could
    /// never have ended.
    pub fn granted_beyond(&self, owner: Owner, queue: QueueId) -> bool {
        let hold = self.parties[&owner].holds.get(queue);
        hold.is_some_and(|hold| hold.granted_beyond)
    }

    pub(super) fn hold(&self, owner: Owner, queue: QueueId) -> &Hold {
        let hold = self.parties[&owner].holds.get(queue);
        hold.expect("a holder")
    }

    pub(super) fn hold_mut(&mut self, owner: Owner, queue: QueueId) -> &mut Hold {
        let party = self.parties.get_mut(&owner).expect("begun");
        party.holds.get_mut(queue).expect("a holder")
    }

    pub(super) fn take_charge(&mut self, owner: Owner, queue: QueueId, demand: Demand) {
        let party = self.parties.get_mut(&owner).expect("begun");
        let hold = party.holds.get_or_default(queue);
        hold.charged = hold.charged.plus(demand);
        let usage = &mut self.queue_mut(queue).usage;
        usage.taken = usage.taken.plus(demand);
    }

    pub(super) fn take_locks(&mut self, owner: Owner, locks: &[LockRequest]) {
        let party = self.parties.get_mut(&owner).expect("begun");
        for (relation, mode) in locks {
            party.relations.insert(*relation);
            self.relations
                .entry(*relation)
                .or_default()
                .take(owner, *mode);
        }
        #[cfg(debug_assertions)]
        self.check();
    }

    pub(super) fn drop_share(&mut self, owner: Owner, queue: QueueId) {
        let party = self.parties.get_mut(&owner).expect("begun");
        let waits = party.wait.is_some();
        // Its wait for a charge becomes one for a slot, too.
        self.suspicious |= waits;
        let Some(hold) = party.holds.get_mut(queue) else {
            debug_assert!(false, "{owner:?} gives back a slot that it has not");
            return;
        };
        debug_assert!(hold.shares > 0, "{owner:?} gives back a slot twice");
        hold.shares = hold.shares.saturating_sub(1);
        if hold.shares > 0 {
            return;
        }
        let overcommitted = std::mem::take(&mut hold.overcommitted);
        let entry = self.queue_mut(queue);
        entry.usage.slots -= 1;
        entry.waiting_holders -= usize::from(waits);
        entry.overcommitted -= usize::from(overcommitted);
        self.forget_overcommits(queue);
        self.forget_empty_hold(owner, queue);
    }

    /// When no more slots are taken than there are, none of them is beyond the limit any more.
    pub(super) fn forget_overcommits(&mut self, queue: QueueId) {
        let entry = self.queues.get_mut(&queue).expect("a queue in use exists");
        let limit = entry.limits.active_statements;
        if entry.overcommitted == 0 || limit.is_some_and(|n| entry.usage.slots > n as usize) {
            return;
        }
        entry.overcommitted = 0;
        for owner in &entry.holders {
            let party = self.parties.get_mut(owner).expect("begun");
            party.holds.get_mut(queue).expect("a holder").overcommitted = false;
        }
    }

    pub(super) fn drop_charge(&mut self, owner: Owner, queue: QueueId, demand: Demand) {
        if demand.is_zero() {
            // With its slot gone before, nothing may be left that says that it was there.
            return;
        }
        let party = self.parties.get_mut(&owner).expect("begun");
        let Some(hold) = party.holds.get_mut(queue) else {
            debug_assert!(false, "{owner:?} gives back a charge that it has not");
            return;
        };
        hold.charged = hold.charged.minus(demand);
        let usage = &mut self.queue_mut(queue).usage;
        usage.taken = usage.taken.minus(demand);
        self.forget_empty_hold(owner, queue);
    }

    pub(super) fn drop_locks(&mut self, owner: Owner, locks: &[LockRequest]) {
        // A mode that it has needs nobody's leave; one that it had does.
        self.suspicious |= self.parties[&owner].wait.is_some();
        for (relation, mode) in locks {
            let entry = self.relations.entry(*relation).or_default();
            if entry.give_back(owner, *mode)
                && let Some(party) = self.parties.get_mut(&owner)
            {
                party.relations.remove(relation);
            }
        }
    }

    pub(super) fn forget_empty_hold(&mut self, owner: Owner, queue: QueueId) {
        let party = self.parties.get_mut(&owner).expect("begun");
        if party.holds.get(queue).is_some_and(Hold::is_empty) {
            party.holds.remove(queue);
            self.queue_mut(queue).holders.remove(&owner);
        }
        self.forget_unused_queue(queue);
    }

    pub(super) fn forget_unused_queue(&mut self, queue: QueueId) {
        if self
            .queues
            .get(&queue)
            .is_some_and(|q| q.dropped && q.is_unused())
        {
            self.queues.remove(&queue);
        }
    }
}
