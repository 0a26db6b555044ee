//! Rule 6: no wait that cannot end.
//!
//! [`Core::stuck`] reduces the graph of owners; what is left over is deadlocked, and
//! [`Core::resolve_deadlocks`] resolves it: first by letting a lock request pass waits that wait for
//! it, then by refusing the request that closed a cycle of locks alone, then by granting an
//! admission beyond the limit.

use std::collections::{BTreeMap, BTreeSet};

use super::queue::Usage;
use super::relation::Modes;
use super::{Core, Effects, Refusal, Want, Way};
use crate::{LockMode, LockRequest, Owner, QueueId, RelationId, Ticket};

/// Which waits may keep others from finishing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Among {
    /// Those for relation locks; admissions are taken to be granted some day.
    Locks,
    All,
}

impl Core {
    pub(super) fn resolve_deadlocks(&mut self, effects: &mut Effects) {
        loop {
            self.suspicious = false;
            // Whoever is stuck among locks is stuck among all, so the common answer takes one look.
            let stuck = self.stuck(Among::All);
            if stuck.is_empty() {
                return;
            }
            let of_locks = self.stuck(Among::Locks);
            if !of_locks.is_empty() {
                if !self.let_one_pass(&of_locks, effects) {
                    self.break_cycle(&of_locks, effects);
                }
                continue;
            }
            if !self.let_one_pass(&stuck, effects) && !self.overcommit(&stuck, effects) {
                // Statements that still run stand before every choice: a slot now would make too many
                // run. Every step looks again until it is resolved.
                self.suspicious = true;
                return;
            }
        }
    }

    /// Owners whose waits can never end.
    ///
    /// Whoever does not wait may finish and give back; who then could be granted may finish, and
    /// so on. The others are left over.
    fn stuck(&self, among: Among) -> BTreeSet<Owner> {
        let mut reduction = Reduction::new(self, among);
        reduction.run();
        reduction.unfinished
    }

    /// Lets the first lock request that no deadlocked owner's lock stands against pass the waits
    /// that stand before it: they wait for it, so keeping their turn would help nobody.
    fn let_one_pass(&mut self, stuck: &BTreeSet<Owner>, effects: &mut Effects) -> bool {
        let candidates = self.tickets(stuck).into_iter().filter_map(|ticket| {
            let Want::Locks { locks, passes } = &self.waits[&ticket].want else {
                return None;
            };
            let owner = self.waits[&ticket].owner;
            if locks
                .iter()
                .any(|lock| self.stuck_holder(owner, lock, stuck).is_some())
            {
                return None;
            }
            let before = locks
                .iter()
                .flat_map(|(relation, mode)| self.conflicting_waiters(*relation, *mode, ticket));
            let passed: Vec<Ticket> = before
                .filter(|t| stuck.contains(&self.waits[t].owner) && !passes.contains(t))
                .collect();
            (!passed.is_empty()).then_some((ticket, passed))
        });
        let Some((ticket, passed)) = { candidates }.next() else {
            return false;
        };
        if let Some(Want::Locks { passes, .. }) = self.waits.get_mut(&ticket).map(|w| &mut w.want) {
            self.passing += usize::from(passes.is_empty());
            passes.extend(passed);
        }
        self.locking.passed += 1;
        self.try_grant(ticket, effects);
        true
    }

    /// Refuses the newest request of a cycle of locks: the one that closed it.
    fn break_cycle(&mut self, stuck: &BTreeSet<Owner>, effects: &mut Effects) {
        let cycle = self.cycle(stuck);
        let newest = cycle
            .iter()
            .filter_map(|(owner, _)| self.parties[owner].wait)
            .max();
        let ticket = newest.expect("every owner of a cycle waits");
        self.locking.deadlocks += 1;
        self.refuse(ticket, Refusal::Deadlock { cycle }, effects);
    }

    /// Follows from holder to holder until one comes again. Every deadlocked owner has a
    /// deadlocked holder before it, because none could pass.
    fn cycle(&self, stuck: &BTreeSet<Owner>) -> Vec<(Owner, RelationId)> {
        let mut path: Vec<(Owner, RelationId)> = Vec::new();
        let mut holders = stuck.iter().filter(|o| self.parties[o].holds_anything());
        let mut owner = *holders.next().expect("somebody holds what others want");
        loop {
            if let Some(start) = path.iter().position(|(o, _)| *o == owner) {
                return path.split_off(start);
            }
            let ticket = self.parties[&owner].wait.expect("stuck owners wait");
            let Want::Locks { locks, .. } = &self.waits[&ticket].want else {
                unreachable!("among locks only waits for locks are stuck");
            };
            let (relation, holder) = locks
                .iter()
                .find_map(|lock| Some((lock.0, self.stuck_holder(owner, lock, stuck)?)))
                .expect("a lock is held against it");
            path.push((owner, relation));
            owner = holder;
        }
    }

    /// A deadlocked owner that holds what conflicts with a request of `owner`.
    fn stuck_holder(
        &self,
        owner: Owner,
        (relation, mode): &LockRequest,
        stuck: &BTreeSet<Owner>,
    ) -> Option<Owner> {
        let holders = self.relations.get(relation)?.holders.iter();
        let mut against = holders.filter(|(o, modes)| **o != owner && modes.conflict(*mode));
        against.find(|(o, _)| stuck.contains(o)).map(|(o, _)| *o)
    }

    /// Grants the deadlocked admission with the smallest excess, if one may run now.
    fn overcommit(&mut self, stuck: &BTreeSet<Owner>, effects: &mut Effects) -> bool {
        let admissions = self.tickets(stuck).into_iter().filter_map(|ticket| {
            let wait = &self.waits[&ticket];
            let Want::Slot { queue, demand } = wait.want else {
                return None;
            };
            let need = self.need(wait.owner, queue, demand);
            let queue = &self.queues[&queue];
            let may_run = self.may_resume(wait.owner) && (!need.slot || queue.has_active_room());
            may_run.then(|| (queue.limits.excess(queue.usage, &need), ticket))
        });
        let Some((excess, ticket)) = admissions.min() else {
            return false;
        };
        let Want::Slot { queue, .. } = self.waits[&ticket].want else {
            unreachable!("only admissions were candidates");
        };
        if excess == 0 {
            self.queue_mut(queue).totals.passed += 1;
            self.grant(ticket, Way::OutOfTurn, effects);
        } else {
            self.grant(ticket, Way::Overcommitted, effects);
        }
        // It may have been the head that kept the next one waiting.
        self.admit_heads(queue, effects);
        true
    }

    /// The waits of those of `owners` that hold something, the oldest first. There always are
    /// some: turns alone make no cycle, for each turn is behind an older one. To help the others
    /// would free nobody, and their wait ends when those have been helped.
    fn tickets(&self, owners: &BTreeSet<Owner>) -> BTreeSet<Ticket> {
        let parties = owners.iter().map(|owner| &self.parties[owner]);
        let holders = parties.filter(|party| party.holds_anything());
        holders.filter_map(|party| party.wait).collect()
    }
}

/// The graph while it is being reduced.
struct Reduction<'a> {
    core: &'a Core,
    unfinished: BTreeSet<Owner>,
    /// What the unfinished hold.
    usage: BTreeMap<QueueId, Usage>,
    granted: BTreeMap<RelationId, Modes>,
    /// Where something has come back since it was last looked at.
    queues: BTreeSet<QueueId>,
    relations: BTreeSet<RelationId>,
}

impl<'a> Reduction<'a> {
    fn new(core: &'a Core, among: Among) -> Self {
        let mut reduction = Reduction {
            core,
            unfinished: core.parties.keys().copied().collect(),
            usage: core
                .queues
                .iter()
                .map(|(id, queue)| (*id, queue.usage))
                .collect(),
            granted: core
                .relations
                .iter()
                .map(|(id, r)| (*id, r.granted))
                .collect(),
            queues: core.queues.keys().copied().collect(),
            relations: core.relations.keys().copied().collect(),
        };
        for (owner, party) in &core.parties {
            let waits = party.wait.map(|ticket| &core.waits[&ticket].want);
            let stops = match waits {
                None => false,
                Some(Want::Locks { .. }) => true,
                Some(Want::Slot { queue, demand }) => {
                    among == Among::All && !core.need(*owner, *queue, *demand).is_nothing()
                }
            };
            if !stops {
                reduction.finish(*owner);
            }
        }
        reduction
    }

    fn run(&mut self) {
        loop {
            if let Some(queue) = self.queues.pop_first() {
                self.admit(queue);
            } else if let Some(relation) = self.relations.pop_first() {
                self.unlock(relation);
            } else {
                return;
            }
        }
    }

    /// `owner` finishes and gives back all that it holds.
    fn finish(&mut self, owner: Owner) {
        if !self.unfinished.remove(&owner) {
            return;
        }
        let party = &self.core.parties[&owner];
        for (queue, hold) in &party.holds {
            let usage = self.usage.get_mut(queue).expect("held queues exist");
            usage.slots -= hold.usage().slots;
            usage.taken = usage.taken.minus(hold.charged);
            self.queues.insert(*queue);
        }
        for relation in &party.relations {
            let held = self.core.relations[relation].held_by(owner);
            self.granted
                .get_mut(relation)
                .expect("held relations exist")
                .subtract(&held);
            self.relations.insert(*relation);
        }
        // Whoever stood behind its wait moves up.
        if let Some(Want::Locks { locks, .. }) =
            party.wait.map(|ticket| &self.core.waits[&ticket].want)
        {
            self.relations
                .extend(locks.iter().map(|(relation, _)| *relation));
        }
    }

    /// Finishes the waiters of a queue in their order, as far as they fit.
    fn admit(&mut self, queue: QueueId) {
        let core = self.core;
        let entry = &core.queues[&queue];
        for ticket in &entry.waiters {
            let wait = &core.waits[ticket];
            if !self.unfinished.contains(&wait.owner) {
                continue;
            }
            let Want::Slot { demand, .. } = wait.want else {
                unreachable!("queues have waits for admission only");
            };
            let need = core.need(wait.owner, queue, demand);
            if entry.limits.shortage(self.usage[&queue], &need).is_some() {
                return;
            }
            self.finish(wait.owner);
        }
    }

    /// Finishes the waiters of a relation whose locks could all be granted.
    fn unlock(&mut self, relation: RelationId) {
        let core = self.core;
        let Some(entry) = core.relations.get(&relation) else {
            return;
        };
        // What the unfinished waits before the current one want of this relation.
        let mut ahead = Modes::default();
        for ticket in &entry.waiters {
            let wait = &core.waits[ticket];
            let Want::Locks { locks, passes } = &wait.want else {
                unreachable!("relations have waits for locks only");
            };
            if !self.unfinished.contains(&wait.owner) {
                continue;
            }
            let free = locks.iter().all(|(r, mode)| {
                let known = (*r == relation && passes.is_empty()).then_some(&ahead);
                self.could_lock(wait.owner, *ticket, *r, *mode, passes, known)
            });
            if free {
                self.finish(wait.owner);
                continue;
            }
            for (_, mode) in locks.iter().filter(|(r, _)| *r == relation) {
                ahead.add(*mode);
            }
        }
    }

    fn could_lock(
        &self,
        owner: Owner,
        ticket: Ticket,
        relation: RelationId,
        mode: LockMode,
        passes: &BTreeSet<Ticket>,
        ahead: Option<&Modes>,
    ) -> bool {
        let entry = &self.core.relations[&relation];
        let own = entry.held_by(owner);
        if own.has(mode) {
            return true;
        }
        let mut others = self.granted[&relation];
        others.subtract(&own);
        if others.conflict(mode) {
            return false;
        }
        if let Some(ahead) = ahead {
            return !ahead.conflict(mode);
        }
        let mut before = self.core.conflicting_waiters(relation, mode, ticket);
        !before
            .any(|t| self.unfinished.contains(&self.core.waits[&t].owner) && !passes.contains(&t))
    }
}
