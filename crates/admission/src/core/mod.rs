//! The state machine: who holds what, who waits, who is next.
//!
//! One struct without I/O, clock or threads. Every call is one step: it checks and takes at once,
//! and tells in its [`Effects`] which other waits it has ended. The rules that the comments name
//! are those of the README beside this crate.

mod check;
mod crowd;
mod deadlock;
mod explain;
mod few;
mod granting;
mod holding;
mod line;
mod party;
mod queue;
mod relation;
#[cfg(test)]
mod tests;
mod views;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use crate::map::Map;
use crate::{Cost, Demand, Limits, LockRequest, Owner, QueueId, RelationId, Ticket};

use party::{Hold, Party, Wait, Want, Way};
pub use queue::Totals;
use queue::{Need, Queue};
use relation::Relation;
pub use views::{Holding, LockView, NAMED_OWNERS, Owners, QueueView, Reason, WaiterView};

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[must_use]
pub enum Outcome {
    /// It is granted.
    Granted,
    /// It waits. An [`Effect`] with this ticket will decide it.
    Waiting(Ticket),
    /// It is refused; nothing has changed.
    Refused(Refusal),
}

/// What became of a wait.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Effect {
    /// The wait, which is over.
    pub ticket: Ticket,
    /// Whose it was.
    pub owner: Owner,
    /// `None`: granted.
    pub refusal: Option<Refusal>,
}

/// The waits that one call has ended, in order.
pub type Effects = Vec<Effect>;

/// Why a request is not granted and will not be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// No such queue: it has been dropped.
    #[error("the resource queue does not exist any more")]
    NoQueue,
    /// `MAX_QUEUED` statements wait already.
    #[error("{waiting} statements wait in the resource queue, which allows {limit} (MAX_QUEUED)")]
    QueueFull {
        /// How many wait.
        waiting: usize,
        /// How many may.
        limit: u32,
    },
    /// The cost is above `MAX_COST`, and the queue does not overcommit.
    #[error(
        "the statement's cost {cost} is above the limit {limit} of the resource queue (MAX_COST)"
    )]
    TooCostly {
        /// The statement's cost.
        cost: Cost,
        /// The queue's limit.
        limit: Cost,
    },
    /// The locks cannot be had at once, and the request would not wait.
    #[error("could not obtain lock on relation {}", relation.0)]
    LockNotAvailable {
        /// The first relation that is locked.
        relation: RelationId,
    },
    /// A cycle of relation locks, which this request closed.
    #[error("deadlock detected")]
    Deadlock {
        /// The cycle: each owner waits for a lock on the relation that the next one holds.
        cycle: Vec<(Owner, RelationId)>,
    },
}

/// What happened with relation locks since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LockTotals {
    /// Waits that began.
    pub waited: u64,
    /// Requests that were let past earlier waits, because those wait for them.
    pub passed: u64,
    /// Requests that closed a cycle of locks, and were refused.
    pub deadlocks: u64,
}

/// The state machine.
#[derive(Debug, Clone)]
pub struct Core {
    queues: BTreeMap<QueueId, Queue>,
    parties: Map<Owner, Party>,
    relations: Map<RelationId, Relation>,
    waits: Map<Ticket, Wait>,
    last_ticket: u64,
    /// Waits that pass others.
    passing: usize,
    locking: LockTotals,
    /// A step has happened after which waits may be stuck.
    suspicious: bool,
    /// Off only to show what happens without it.
    resolves_deadlocks: bool,
}

impl Default for Core {
    fn default() -> Self {
        Self {
            queues: BTreeMap::new(),
            parties: Map::default(),
            relations: Map::default(),
            waits: Map::default(),
            last_ticket: 0,
            passing: 0,
            locking: LockTotals::default(),
            suspicious: false,
            resolves_deadlocks: true,
        }
    }
}

impl Core {
    /// A core without rule 6, to show that the checker finds the deadlocks that it resolves.
    #[doc(hidden)]
    #[must_use]
    pub fn without_deadlock_resolution() -> Self {
        Self {
            resolves_deadlocks: false,
            ..Self::default()
        }
    }

    /// Makes a queue, or gives one other limits. Rule 7: whoever fits now is granted, and a
    /// lowered limit holds for the next grants. Waiters that a lowered `MAX_COST` forbids for ever
    /// are refused.
    pub fn set_limits(&mut self, queue: QueueId, limits: Limits, effects: &mut Effects) {
        let entry = self.queues.entry(queue).or_default();
        entry.limits = limits;
        if std::mem::take(&mut entry.dropped) {
            // A new queue with an old number: what happened in the old one is not its history.
            entry.totals = Totals::default();
        }
        self.forget_overcommits(queue);
        self.refuse_forbidden(queue, effects);
        // A lower limit can make a wait endless that could have ended.
        self.suspicious = true;
        self.touch_queue(queue, effects);
        self.settle(effects);
    }

    /// Drops a queue: its waiters are refused; what is held of it is given back in time.
    pub fn drop_queue(&mut self, queue: QueueId, effects: &mut Effects) {
        let Some(entry) = self.queues.get_mut(&queue) else {
            return;
        };
        entry.dropped = true;
        // All of them, before anything is granted to one that is next only because of it.
        for ticket in entry.waiters.tickets().collect::<Vec<_>>() {
            self.end_wait(ticket, Refusal::NoQueue, effects);
        }
        self.touch_queue(queue, effects);
        self.forget_unused_queue(queue);
        self.settle(effects);
    }

    /// Begins a transaction.
    pub fn begin(&mut self, owner: Owner) {
        let before = self.parties.insert(owner, Party::default());
        debug_assert!(before.is_none(), "{owner:?} has begun already");
    }

    /// Ends a transaction that has given everything back.
    pub fn end(&mut self, owner: Owner) {
        let party = self.parties.remove(&owner);
        let clean = party.is_some_and(|p| !p.holds_anything() && p.wait.is_none());
        debug_assert!(clean, "{owner:?} ends and still holds or wants something");
        #[cfg(debug_assertions)]
        self.check();
    }

    /// Rule 1: asks for a slot of `queue`. A transaction that has one shares it (rule 2). With a
    /// `demand` that is known already, slot and charge are granted together. What
    /// [`Core::exempts`] names needs no slot and does not ask for one.
    ///
    /// The slot goes back with [`Core::give_back_slot`], the charge with [`Core::give_back_charge`].
    pub fn slot(
        &mut self,
        owner: Owner,
        queue: QueueId,
        demand: Option<Demand>,
        effects: &mut Effects,
    ) -> Outcome {
        self.admit(owner, queue, demand, false, effects)
    }

    /// As [`Core::slot`], for a statement that was admitted before and goes on: who reads from a
    /// cursor shares its slot. It is not counted as admitted again.
    pub fn share(&mut self, owner: Owner, queue: QueueId, effects: &mut Effects) -> Outcome {
        self.admit(owner, queue, None, true, effects)
    }

    fn admit(
        &mut self,
        owner: Owner,
        queue: QueueId,
        demand: Option<Demand>,
        again: bool,
        effects: &mut Effects,
    ) -> Outcome {
        self.expect_no_wait(owner);
        if let Some(refusal) = self.refuses(queue, demand) {
            return Outcome::Refused(refusal);
        }
        let need = self.need(owner, queue, demand);
        let entry = &self.queues[&queue];
        let granted = if need.is_nothing() {
            // Rule 2 goes before rule 5: a share of a slot that is there passes nobody.
            entry.may_go_on()
        } else {
            entry.waiters.is_empty() && entry.limits.shortage(entry.usage, &need).is_none()
        };
        if granted {
            self.take_slot(owner, queue, demand, Ticket(self.last_ticket), again);
            return Outcome::Granted;
        }
        if let Some(limit) = entry.limits.max_queued
            && entry.waiters.len() >= limit as usize
            && need.slot
        {
            let waiting = entry.waiters.len();
            self.queue_mut(queue).totals.refused += 1;
            return Outcome::Refused(Refusal::QueueFull { waiting, limit });
        }
        let want = Want::Slot {
            queue,
            demand,
            again,
        };
        self.wait(owner, want, effects)
    }

    /// Rule 5: whether a statement of this cost needs nothing of the queue.
    #[must_use]
    pub fn exempts(&self, queue: QueueId, cost: Cost) -> bool {
        let limits = self.limits(queue);
        limits.is_some_and(|limits| cost < limits.min_cost)
    }

    /// What happened with relation locks.
    #[must_use]
    pub fn lock_totals(&self) -> LockTotals {
        self.locking
    }

    /// The limits of a queue.
    #[must_use]
    pub fn limits(&self, queue: QueueId) -> Option<Limits> {
        let queue = self.queues.get(&queue).filter(|queue| !queue.dropped);
        queue.map(|queue| queue.limits)
    }

    /// Rule 4: takes cost and memory for a statement that has a slot, both or neither. `false`:
    /// it does not fit, or others that came before the statement wait for cost or memory, and the
    /// statement has to step aside. A queue that was dropped has no limits any more.
    ///
    /// # Errors
    /// When the cost is above what the queue allows at all.
    pub fn charge(
        &mut self,
        owner: Owner,
        queue: QueueId,
        demand: Demand,
    ) -> Result<bool, Refusal> {
        debug_assert!(
            self.parties[&owner].has_slot(queue),
            "rule 1: slot before charge"
        );
        if !self.queues[&queue].dropped {
            if let Some(refusal) = self.refuses(queue, Some(demand)) {
                return Err(refusal);
            }
            let need = Need {
                slot: false,
                ..self.need(owner, queue, Some(demand))
            };
            let entry = &self.queues[&queue];
            // Rule 5: a statement that shares its transaction's slot may be younger than a wait.
            let arrival = self.hold(owner, queue).arrival;
            if entry.is_awaited_since(arrival)
                || entry.limits.shortage(entry.usage, &need).is_some()
            {
                return Ok(false);
            }
        }
        self.take_charge(owner, queue, demand);
        #[cfg(debug_assertions)]
        self.check();
        Ok(true)
    }

    /// Rule 4: steps aside. The statement gives back its share of the slot and its own `locks`,
    /// and waits at the tail for slot, cost and memory together. A cursor of the same transaction
    /// keeps the slot. `MAX_QUEUED` does not concern it: it has been admitted once.
    pub fn step_aside(
        &mut self,
        owner: Owner,
        queue: QueueId,
        demand: Demand,
        locks: &[LockRequest],
        effects: &mut Effects,
    ) -> Outcome {
        self.expect_no_wait(owner);
        let refusal = self.refuses(queue, Some(demand));
        self.queue_mut(queue).totals.stepped_aside += u64::from(refusal.is_none());
        self.drop_locks(owner, locks);
        self.drop_share(owner, queue);
        let outcome = match refusal {
            Some(refusal) => Outcome::Refused(refusal),
            None => {
                let want = Want::Slot {
                    queue,
                    demand: Some(demand),
                    again: true,
                };
                self.enqueue(owner, want)
            }
        };
        for (relation, _) in locks {
            self.touch_relation(*relation, effects);
        }
        self.touch_queue(queue, effects);
        self.make_room_beside(owner, effects);
        self.settle(effects);
        decided(outcome, effects)
    }

    /// Rule 3: takes all `locks` together, or waits for all of them.
    pub fn lock(&mut self, owner: Owner, locks: &[LockRequest], effects: &mut Effects) -> Outcome {
        if self.lockable(owner, locks, None).is_ok() {
            self.take_locks(owner, locks);
            return Outcome::Granted;
        }
        self.expect_no_wait(owner);
        let locks = locks.to_vec();
        let passes = BTreeSet::new();
        self.wait(owner, Want::Locks { locks, passes }, effects)
    }

    /// As [`Core::lock`], but refuses instead of waiting (`NOWAIT`).
    pub fn lock_now(&mut self, owner: Owner, locks: &[LockRequest]) -> Outcome {
        match self.lockable(owner, locks, None) {
            Ok(()) => {
                self.take_locks(owner, locks);
                Outcome::Granted
            }
            Err(relation) => Outcome::Refused(Refusal::LockNotAvailable { relation }),
        }
    }

    /// Gives back one share of a slot; the slot goes back with the last.
    pub fn give_back_slot(&mut self, owner: Owner, queue: QueueId, effects: &mut Effects) {
        self.drop_share(owner, queue);
        if let Some(ticket) = self.wait_of(owner) {
            // It may have been held back because of this slot; it is no holder any more.
            self.try_grant(ticket, effects);
        }
        self.touch_queue(queue, effects);
        self.settle(effects);
    }

    /// Gives back a charge.
    pub fn give_back_charge(
        &mut self,
        owner: Owner,
        queue: QueueId,
        demand: Demand,
        effects: &mut Effects,
    ) {
        self.drop_charge(owner, queue, demand);
        self.touch_queue(queue, effects);
        self.settle(effects);
    }

    /// Gives back locks.
    pub fn give_back_locks(&mut self, owner: Owner, locks: &[LockRequest], effects: &mut Effects) {
        self.drop_locks(owner, locks);
        for (relation, _) in locks {
            self.touch_relation(*relation, effects);
        }
        self.settle(effects);
    }

    /// Rule 9: ends a wait that nobody wants any more. `false`: it is decided already.
    pub fn cancel(&mut self, ticket: Ticket, effects: &mut Effects) -> bool {
        let Some(wait) = self.dequeue(ticket) else {
            return false;
        };
        if let Want::Slot { queue, .. } = wait.want {
            self.queue_mut(queue).totals.given_up += 1;
        }
        self.touch_wanted(&wait.want, effects);
        self.settle(effects);
        true
    }

    /// The end of every step that may have made somebody wait or fit.
    fn settle(&mut self, effects: &mut Effects) {
        if self.suspicious && self.resolves_deadlocks {
            self.resolve_deadlocks(effects);
        }
        #[cfg(debug_assertions)]
        self.check_settled();
    }

    fn queue_mut(&mut self, queue: QueueId) -> &mut Queue {
        self.queues.get_mut(&queue).expect("a queue in use exists")
    }
}

/// A wait that its own step has ended needs no ticket.
fn decided(outcome: Outcome, effects: &mut Effects) -> Outcome {
    let Outcome::Waiting(ticket) = outcome else {
        return outcome;
    };
    let Some(i) = effects.iter().position(|effect| effect.ticket == ticket) else {
        return outcome;
    };
    match effects.remove(i).refusal {
        None => Outcome::Granted,
        Some(refusal) => Outcome::Refused(refusal),
    }
}
