//! The state machine: who holds what, who waits, who is next.
//!
//! One struct without I/O, clock or threads. Every call is one step: it checks and takes at once,
//! and tells in its [`Effects`] which other waits it has ended. The rules that the comments name
//! are those of the README beside this crate.

mod check;
mod deadlock;
mod explain;
mod queue;
mod relation;

use std::collections::{BTreeMap, BTreeSet};

use crate::{Cost, Demand, Limits, LockMode, LockRequest, Owner, QueueId, RelationId, Ticket};

pub use explain::{Holding, LockView, QueueView, Reason, WaiterView};
pub use queue::Totals;
use queue::{Need, Queue, Usage};
use relation::Relation;

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

/// A transaction's holdings.
#[derive(Debug, Clone, Default)]
struct Party {
    /// Slots and charges by queue. Nearly always one queue.
    holds: BTreeMap<QueueId, Hold>,
    relations: BTreeSet<RelationId>,
    wait: Option<Ticket>,
}

/// What a transaction holds of one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Hold {
    /// Cursors and the statement that share the slot; zero: no slot.
    shares: u32,
    /// The slot was granted beyond the limit.
    overcommitted: bool,
    charged: Demand,
}

impl Hold {
    fn usage(&self) -> Usage {
        Usage {
            slots: usize::from(self.shares > 0),
            taken: self.charged,
        }
    }
}

impl Party {
    fn holds_anything(&self) -> bool {
        !self.holds.is_empty() || !self.relations.is_empty()
    }

    fn has_slot(&self, queue: QueueId) -> bool {
        self.holds.get(&queue).is_some_and(|hold| hold.shares > 0)
    }
}

#[derive(Debug, Clone)]
struct Wait {
    owner: Owner,
    want: Want,
}

#[derive(Debug, Clone)]
enum Want {
    /// A slot, and the charge too if the demand is known.
    Slot {
        queue: QueueId,
        demand: Option<Demand>,
    },
    Locks {
        locks: Vec<LockRequest>,
        /// Earlier waits that this one need not wait for, because they wait for it.
        passes: BTreeSet<Ticket>,
    },
}

/// The state machine.
#[derive(Debug, Clone)]
pub struct Core {
    queues: BTreeMap<QueueId, Queue>,
    parties: BTreeMap<Owner, Party>,
    relations: BTreeMap<RelationId, Relation>,
    waits: BTreeMap<Ticket, Wait>,
    last_ticket: u64,
    /// A step has happened after which waits may be stuck.
    suspicious: bool,
    /// Off only to show what happens without it.
    resolves_deadlocks: bool,
}

impl Default for Core {
    fn default() -> Self {
        Self {
            queues: BTreeMap::new(),
            parties: BTreeMap::new(),
            relations: BTreeMap::new(),
            waits: BTreeMap::new(),
            last_ticket: 0,
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
        entry.dropped = false;
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
        for ticket in entry.waiters.clone() {
            self.refuse(ticket, Refusal::NoQueue, effects);
        }
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
    /// `demand` that is known already, slot and charge are granted together, and what costs less
    /// than `MIN_COST` takes nothing at all (see [`Core::exempts`]).
    ///
    /// The slot goes back with [`Core::give_back_slot`], the charge with [`Core::give_back_charge`].
    pub fn slot(
        &mut self,
        owner: Owner,
        queue: QueueId,
        demand: Option<Demand>,
        effects: &mut Effects,
    ) -> Outcome {
        if let Some(refusal) = self.refuses(owner, queue, demand) {
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
            self.take_slot(owner, queue, demand);
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
        self.wait(owner, Want::Slot { queue, demand }, effects)
    }

    /// Rule 5: whether a statement of this cost needs nothing of the queue.
    #[must_use]
    pub fn exempts(&self, queue: QueueId, cost: Cost) -> bool {
        let queue = self.queues.get(&queue);
        queue.is_some_and(|queue| cost < queue.limits.min_cost)
    }

    /// The limits of a queue.
    #[must_use]
    pub fn limits(&self, queue: QueueId) -> Option<Limits> {
        let queue = self.queues.get(&queue).filter(|queue| !queue.dropped);
        queue.map(|queue| queue.limits)
    }

    /// Rule 4: takes cost and memory for a statement that has a slot, both or neither. `false`:
    /// it does not fit, and the statement has to step aside.
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
        if let Some(refusal) = self.refuses(owner, queue, Some(demand)) {
            return Err(refusal);
        }
        let need = Need {
            slot: false,
            ..self.need(owner, queue, Some(demand))
        };
        let entry = &self.queues[&queue];
        // Whoever waits in the queue has come after this statement got its slot (rule 5).
        if entry.limits.shortage(entry.usage, &need).is_some() {
            return Ok(false);
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
        let refusal = self.refuses(owner, queue, Some(demand));
        self.queue_mut(queue).totals.stepped_aside += u64::from(refusal.is_none());
        self.drop_locks(owner, locks);
        self.drop_share(owner, queue);
        let outcome = match refusal {
            Some(refusal) => Outcome::Refused(refusal),
            None => {
                let demand = Some(demand);
                self.enqueue(owner, Want::Slot { queue, demand })
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

    // --- Taking and giving back -------------------------------------------------------------

    fn take_slot(&mut self, owner: Owner, queue: QueueId, demand: Option<Demand>) {
        let hold = self
            .parties
            .get_mut(&owner)
            .expect("begun")
            .holds
            .entry(queue)
            .or_default();
        hold.shares += 1;
        let first = hold.shares == 1;
        let entry = self.queues.get_mut(&queue).expect("checked by the caller");
        entry.totals.admitted += 1;
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

    fn take_charge(&mut self, owner: Owner, queue: QueueId, demand: Demand) {
        let hold = self
            .parties
            .get_mut(&owner)
            .expect("begun")
            .holds
            .entry(queue)
            .or_default();
        hold.charged = hold.charged.plus(demand);
        let usage = &mut self.queue_mut(queue).usage;
        usage.taken = usage.taken.plus(demand);
    }

    fn take_locks(&mut self, owner: Owner, locks: &[LockRequest]) {
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

    fn drop_share(&mut self, owner: Owner, queue: QueueId) {
        let waits = self.parties[&owner].wait.is_some();
        let Some(hold) = self
            .parties
            .get_mut(&owner)
            .and_then(|p| p.holds.get_mut(&queue))
        else {
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
        entry.holders.remove(&owner);
        entry.waiting_holders -= usize::from(waits);
        entry.overcommitted -= usize::from(overcommitted);
        self.forget_empty_hold(owner, queue);
    }

    fn drop_charge(&mut self, owner: Owner, queue: QueueId, demand: Demand) {
        let Some(hold) = self
            .parties
            .get_mut(&owner)
            .and_then(|p| p.holds.get_mut(&queue))
        else {
            debug_assert!(false, "{owner:?} gives back a charge that it has not");
            return;
        };
        hold.charged = hold.charged.minus(demand);
        let usage = &mut self.queue_mut(queue).usage;
        usage.taken = usage.taken.minus(demand);
        self.forget_empty_hold(owner, queue);
    }

    fn drop_locks(&mut self, owner: Owner, locks: &[LockRequest]) {
        for (relation, mode) in locks {
            let entry = self.relations.entry(*relation).or_default();
            if entry.give_back(owner, *mode)
                && let Some(party) = self.parties.get_mut(&owner)
            {
                party.relations.remove(relation);
            }
        }
    }

    fn forget_empty_hold(&mut self, owner: Owner, queue: QueueId) {
        let party = self.parties.get_mut(&owner).expect("begun");
        if party
            .holds
            .get(&queue)
            .is_some_and(|h| *h == Hold::default())
        {
            party.holds.remove(&queue);
        }
        self.forget_unused_queue(queue);
    }

    fn forget_unused_queue(&mut self, queue: QueueId) {
        if self
            .queues
            .get(&queue)
            .is_some_and(|q| q.dropped && q.is_unused())
        {
            self.queues.remove(&queue);
        }
    }

    // --- Waiting ------------------------------------------------------------------------------

    fn wait(&mut self, owner: Owner, want: Want, effects: &mut Effects) -> Outcome {
        let outcome = self.enqueue(owner, want);
        self.make_room_beside(owner, effects);
        self.settle(effects);
        decided(outcome, effects)
    }

    fn enqueue(&mut self, owner: Owner, want: Want) -> Outcome {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        match &want {
            Want::Slot { queue, .. } => {
                let queue = self.queue_mut(*queue);
                queue.waiters.insert(ticket);
                queue.totals.waited += 1;
            }
            Want::Locks { locks, .. } => {
                for (relation, _) in locks {
                    self.relations
                        .entry(*relation)
                        .or_default()
                        .waiters
                        .insert(ticket);
                }
            }
        }
        self.waits.insert(ticket, Wait { owner, want });
        self.set_waiting(owner, Some(ticket));
        // Rule 6: nobody can wait for an owner that holds nothing, so its wait closes no cycle.
        self.suspicious |= self.parties[&owner].holds_anything();
        Outcome::Waiting(ticket)
    }

    fn dequeue(&mut self, ticket: Ticket) -> Option<Wait> {
        let wait = self.waits.remove(&ticket)?;
        match &wait.want {
            Want::Slot { queue, .. } => {
                self.queue_mut(*queue).waiters.remove(&ticket);
            }
            Want::Locks { locks, .. } => {
                for (relation, _) in locks {
                    if let Some(relation) = self.relations.get_mut(relation) {
                        relation.waiters.remove(&ticket);
                    }
                }
            }
        }
        self.set_waiting(wait.owner, None);
        Some(wait)
    }

    fn set_waiting(&mut self, owner: Owner, wait: Option<Ticket>) {
        let party = self.parties.get_mut(&owner).expect("begun");
        debug_assert!(
            party.wait.is_none() || wait.is_none(),
            "{owner:?} waits twice"
        );
        party.wait = wait;
        for (queue, hold) in &party.holds {
            if hold.shares > 0 {
                let queue = self.queues.get_mut(queue).expect("held queues exist");
                match wait {
                    Some(_) => queue.waiting_holders += 1,
                    None => queue.waiting_holders -= 1,
                }
            }
        }
    }

    /// Why a request for `queue` is refused at once.
    fn refuses(
        &mut self,
        _owner: Owner,
        queue: QueueId,
        demand: Option<Demand>,
    ) -> Option<Refusal> {
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
    fn need(&self, owner: Owner, queue: QueueId, demand: Option<Demand>) -> Need {
        let hold = self.parties[&owner].holds.get(&queue);
        Need {
            slot: hold.is_none_or(|hold| hold.shares == 0),
            demand,
            own: hold.map(Hold::usage).unwrap_or_default(),
        }
    }

    /// Whether all `locks` can be granted now; else the first relation that cannot. `ticket` is
    /// the request's own wait, if it waits already: only earlier waits stand before it.
    fn lockable(
        &self,
        owner: Owner,
        locks: &[LockRequest],
        ticket: Option<Ticket>,
    ) -> Result<(), RelationId> {
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
            if self
                .conflicting_waiters(*relation, *mode, before)
                .any(|t| !self.passes(ticket, t))
            {
                return Err(*relation);
            }
        }
        Ok(())
    }

    fn passes(&self, ticket: Option<Ticket>, other: Ticket) -> bool {
        match ticket.map(|t| &self.waits[&t].want) {
            Some(Want::Locks { passes, .. }) => passes.contains(&other),
            _ => false,
        }
    }

    /// Rule 3: waits for `relation` that came before `before` and conflict with `mode`.
    fn conflicting_waiters(
        &self,
        relation: RelationId,
        mode: LockMode,
        before: Ticket,
    ) -> impl Iterator<Item = Ticket> + '_ {
        let waiters = self.relations.get(&relation).map(|entry| &entry.waiters);
        let earlier = waiters.into_iter().flat_map(move |w| w.range(..before));
        earlier
            .copied()
            .filter(move |ticket| match &self.waits[ticket].want {
                Want::Locks { locks, .. } => locks
                    .iter()
                    .any(|(r, m)| *r == relation && m.conflicts(mode)),
                Want::Slot { .. } => false,
            })
    }

    // --- Granting -----------------------------------------------------------------------------

    /// Grants whoever can be granted after something of `queue` has come back.
    fn touch_queue(&mut self, queue: QueueId, effects: &mut Effects) {
        self.resume_holders(queue, effects);
        // Rule 5: only the head is ever granted.
        while let Some(entry) = self.queues.get(&queue)
            && let Some(head) = entry.waiters.first().copied()
            && self.admissible(head)
        {
            self.grant(head, false, effects);
        }
    }

    /// While a slot is overcommitted, holders that wait are held back until there is room.
    fn resume_holders(&mut self, queue: QueueId, effects: &mut Effects) {
        let held_back = |queue: &&Queue| queue.waiting_holders > 0 && queue.holds_back;
        let Some(entry) = self.queues.get(&queue).filter(held_back) else {
            return;
        };
        let waiting = entry
            .holders
            .iter()
            .filter_map(|owner| self.parties[owner].wait);
        for ticket in waiting.collect::<Vec<_>>() {
            self.try_grant(ticket, effects);
        }
        let entry = self.queue_mut(queue);
        entry.holds_back = entry.overcommitted > 0;
    }

    /// `owner` has begun to wait: where slots are overcommitted, another holder may go on now.
    fn make_room_beside(&mut self, owner: Owner, effects: &mut Effects) {
        let held = self.parties[&owner].holds.iter();
        let queues: Vec<QueueId> = held
            .filter(|(queue, hold)| hold.shares > 0 && self.queues[queue].overcommitted > 0)
            .map(|(queue, _)| *queue)
            .collect();
        for queue in queues {
            self.resume_holders(queue, effects);
        }
    }

    fn touch_relation(&mut self, relation: RelationId, effects: &mut Effects) {
        let Some(entry) = self.relations.get(&relation) else {
            return;
        };
        if entry.is_unused() {
            self.relations.remove(&relation);
            return;
        }
        for ticket in entry.waiters.iter().copied().collect::<Vec<_>>() {
            self.try_grant(ticket, effects);
        }
    }

    fn touch_wanted(&mut self, want: &Want, effects: &mut Effects) {
        match want {
            Want::Slot { queue, .. } => self.touch_queue(*queue, effects),
            Want::Locks { locks, .. } => {
                for (relation, _) in locks {
                    self.touch_relation(*relation, effects);
                }
            }
        }
    }

    fn try_grant(&mut self, ticket: Ticket, effects: &mut Effects) {
        let Some(wait) = self.waits.get(&ticket) else {
            return;
        };
        let grantable = match &wait.want {
            Want::Slot { queue, demand } => {
                let turn = self.queues[queue].waiters.first() == Some(&ticket)
                    || self.need(wait.owner, *queue, *demand).is_nothing();
                turn && self.admissible(ticket)
            }
            Want::Locks { locks, .. } => {
                self.may_resume(wait.owner)
                    && self.lockable(wait.owner, locks, Some(ticket)).is_ok()
            }
        };
        if grantable {
            self.grant(ticket, false, effects);
        }
    }

    /// Whether a wait for admission fits its queue, its turn aside.
    fn admissible(&self, ticket: Ticket) -> bool {
        let wait = &self.waits[&ticket];
        let Want::Slot { queue, demand } = wait.want else {
            return false;
        };
        let need = self.need(wait.owner, queue, demand);
        let entry = &self.queues[&queue];
        entry.limits.shortage(entry.usage, &need).is_none() && self.may_resume(wait.owner)
    }

    /// Rule 6: whether `owner` may go on, as far as overcommitted slots of its queues allow.
    fn may_resume(&self, owner: Owner) -> bool {
        let party = &self.parties[&owner];
        let mut slots = party.holds.iter().filter(|(_, hold)| hold.shares > 0);
        slots.all(|(queue, _)| self.queues[queue].may_resume_holder())
    }

    fn grant(&mut self, ticket: Ticket, overcommit: bool, effects: &mut Effects) {
        let wait = self.dequeue(ticket).expect("a wait that is granted exists");
        match &wait.want {
            Want::Slot { queue, demand } => {
                let new_slot = !self.parties[&wait.owner].has_slot(*queue);
                self.take_slot(wait.owner, *queue, *demand);
                if overcommit {
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

    fn note_overcommit(&mut self, owner: Owner, queue: QueueId, new_slot: bool) {
        let entry = self.queues.get_mut(&queue).expect("granted of it");
        entry.totals.overcommitted += 1;
        let limit = entry.limits.active_statements;
        if new_slot && limit.is_some_and(|limit| entry.usage.slots > limit as usize) {
            entry.overcommitted += 1;
            entry.holds_back = true;
            let party = self.parties.get_mut(&owner).expect("granted to it");
            party.holds.get_mut(&queue).expect("granted").overcommitted = true;
        }
    }

    fn refuse(&mut self, ticket: Ticket, refusal: Refusal, effects: &mut Effects) {
        let wait = self.dequeue(ticket).expect("a wait that is refused exists");
        effects.push(Effect {
            ticket,
            owner: wait.owner,
            refusal: Some(refusal),
        });
        self.touch_wanted(&wait.want, effects);
    }

    /// Refuses the waiters of a queue whose cost a lowered limit forbids for ever.
    fn refuse_forbidden(&mut self, queue: QueueId, effects: &mut Effects) {
        let entry = &self.queues[&queue];
        let (limits, waiters) = (entry.limits, entry.waiters.clone());
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
                self.refuse(ticket, Refusal::TooCostly { cost, limit }, effects);
            }
        }
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
