//! Rule 6: no wait that cannot end.
//!
//! [`Core::stuck`] reduces the graph of owners; what is left over is deadlocked, and
//! [`Core::resolve_deadlocks`] resolves it: first by letting a lock request pass waits that wait for
//! it, then by refusing the request that closed a cycle of locks alone, then by granting an
//! admission beyond the limit.

use std::collections::BTreeSet;
use std::hash::Hash;

use super::queue::Usage;
use super::relation::Modes;
use super::{Core, Effects, Refusal, Wait, Want, Way};
use crate::map::{Map, Set};
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
    fn stuck(&self, among: Among) -> Set<Owner> {
        let mut reduction = Reduction::new(self, among);
        reduction.run();
        reduction.unfinished
    }

    /// Lets the first lock request that no deadlocked owner's lock stands against pass the waits
    /// that stand before it: they wait for it, so keeping their turn would help nobody.
    fn let_one_pass(&mut self, stuck: &Set<Owner>, effects: &mut Effects) -> bool {
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
    fn break_cycle(&mut self, stuck: &Set<Owner>, effects: &mut Effects) {
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
    fn cycle(&self, stuck: &Set<Owner>) -> Vec<(Owner, RelationId)> {
        let mut path: Vec<(Owner, RelationId)> = Vec::new();
        let mut steps: Map<Owner, usize> = Map::default();
        let oldest = self.tickets(stuck).into_iter().next();
        let mut ticket = oldest.expect("somebody holds what others want");
        loop {
            let Wait { owner, want } = &self.waits[&ticket];
            if let Some(start) = steps.insert(*owner, path.len()) {
                return path.split_off(start);
            }
            let Want::Locks { locks, .. } = want else {
                unreachable!("among locks only waits for locks are stuck");
            };
            let (relation, holder) = locks
                .iter()
                .find_map(|lock| Some((lock.0, self.stuck_holder(*owner, lock, stuck)?)))
                .expect("a lock is held against it");
            path.push((*owner, relation));
            ticket = self.parties[&holder].wait.expect("stuck owners wait");
        }
    }

    /// A deadlocked owner that holds what conflicts with a request of `owner`.
    fn stuck_holder(
        &self,
        owner: Owner,
        (relation, mode): &LockRequest,
        stuck: &Set<Owner>,
    ) -> Option<Owner> {
        let holders = self.relations.get(relation)?.holders.iter();
        let mut against = holders.filter(|(o, modes)| **o != owner && modes.conflict(*mode));
        against.find(|(o, _)| stuck.contains(o)).map(|(o, _)| *o)
    }

    /// Grants the deadlocked admission with the smallest excess, if one may run now.
    fn overcommit(&mut self, stuck: &Set<Owner>, effects: &mut Effects) -> bool {
        let admissions = self.tickets(stuck).into_iter().filter_map(|ticket| {
            let wait = &self.waits[&ticket];
            let Want::Slot { queue, demand, .. } = wait.want else {
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
    fn tickets(&self, owners: &Set<Owner>) -> Vec<Ticket> {
        let parties = owners.iter().map(|owner| &self.parties[owner]);
        let holders = parties.filter(|party| party.holds_anything());
        let mut tickets: Vec<Ticket> = holders.filter_map(|party| party.wait).collect();
        tickets.sort_unstable();
        tickets
    }
}

/// The graph while it is being reduced. Only those who wait are in it: whoever does not wait has
/// finished before it begins.
struct Reduction<'a> {
    core: &'a Core,
    unfinished: Set<Owner>,
    /// What the unfinished hold.
    usage: Map<QueueId, Usage>,
    granted: Map<RelationId, Modes>,
    /// Where something has come back since it was last looked at.
    queues: Worklist<QueueId>,
    relations: Worklist<RelationId>,
}

impl<'a> Reduction<'a> {
    fn new(core: &'a Core, among: Among) -> Self {
        let mut reduction = Reduction {
            core,
            unfinished: Set::default(),
            usage: Map::default(),
            granted: Map::default(),
            queues: Worklist::default(),
            relations: Worklist::default(),
        };
        for wait in core.waits.values() {
            match &wait.want {
                Want::Locks { locks, .. } => {
                    locks.iter().for_each(|(r, _)| reduction.relations.add(*r));
                }
                Want::Slot { queue, demand, .. } => {
                    let need = core.need(wait.owner, *queue, *demand);
                    if among == Among::Locks || need.is_nothing() {
                        continue;
                    }
                    reduction.queues.add(*queue);
                }
            }
            reduction.include(wait.owner);
        }
        reduction
    }

    /// `owner` waits, and keeps what it holds.
    fn include(&mut self, owner: Owner) {
        self.unfinished.insert(owner);
        let party = &self.core.parties[&owner];
        for (queue, hold) in party.holds.iter() {
            self.usage.entry(queue).or_default().add(hold.usage());
        }
        for relation in &party.relations {
            let held = self.core.relations[relation].held_by(owner);
            self.granted.entry(*relation).or_default().add_all(&held);
        }
    }

    fn run(&mut self) {
        loop {
            if let Some(queue) = self.queues.next() {
                self.admit(queue);
            } else if let Some(relation) = self.relations.next() {
                self.unlock(relation);
            } else {
                return;
            }
        }
    }

    /// `owner` finishes and gives back all that it holds.
    fn finish(&mut self, owner: Owner) {
        self.unfinished.remove(&owner);
        let party = &self.core.parties[&owner];
        for (queue, hold) in party.holds.iter() {
            let usage = self.usage.get_mut(&queue).expect("it is included");
            usage.subtract(hold.usage());
            self.queues.add(queue);
        }
        for relation in &party.relations {
            let held = self.core.relations[relation].held_by(owner);
            let granted = self.granted.get_mut(relation).expect("it is included");
            granted.subtract(&held);
            self.relations.add(*relation);
        }
        // Whoever stood behind its wait moves up.
        let wait = party.wait.map(|ticket| &self.core.waits[&ticket].want);
        if let Some(Want::Locks { locks, .. }) = wait {
            locks.iter().for_each(|(r, _)| self.relations.add(*r));
        }
    }

    /// Finishes the waiters of a queue in their order, as far as they fit.
    fn admit(&mut self, queue: QueueId) {
        let core = self.core;
        let entry = &core.queues[&queue];
        for ticket in entry.waiters.tickets() {
            let wait = &core.waits[&ticket];
            if !self.unfinished.contains(&wait.owner) {
                continue;
            }
            let Want::Slot { demand, .. } = wait.want else {
                unreachable!("queues have waits for admission only");
            };
            let need = core.need(wait.owner, queue, demand);
            let usage = self.usage.get(&queue).copied().unwrap_or_default();
            if entry.limits.shortage(usage, &need).is_some() {
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
        // What the unfinished waits before the current one want of this relation. Once nothing goes
        // beside it, nobody behind can finish.
        let mut ahead = Modes::default();
        for ticket in entry.waiters.tickets() {
            if core.passing == 0 && ahead.has(LockMode::AccessExclusive) {
                return;
            }
            let wait = &core.waits[&ticket];
            let Want::Locks { locks, passes } = &wait.want else {
                unreachable!("relations have waits for locks only");
            };
            if !self.unfinished.contains(&wait.owner) {
                continue;
            }
            let free = locks.iter().all(|(r, mode)| {
                let known = (*r == relation && passes.is_empty()).then_some(&ahead);
                self.could_lock(wait.owner, ticket, *r, *mode, passes, known)
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
        let own = self.core.relations[&relation].held_by(owner);
        if own.has(mode) {
            return true;
        }
        let granted = self.granted.get(&relation);
        if granted.is_some_and(|granted| granted.conflict_beside(&own, mode)) {
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

/// What has to be looked at, each thing once until it is.
struct Worklist<T> {
    waiting: Vec<T>,
    listed: Set<T>,
}

impl<T> Default for Worklist<T> {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
            listed: Set::default(),
        }
    }
}

impl<T: Copy + Eq + Hash> Worklist<T> {
    fn add(&mut self, thing: T) {
        if self.listed.insert(thing) {
            self.waiting.push(thing);
        }
    }

    fn next(&mut self) -> Option<T> {
        let thing = self.waiting.pop()?;
        self.listed.remove(&thing);
        Some(thing)
    }
}
