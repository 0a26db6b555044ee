//! Random long runs of the core beside a slow, obvious reference: totals, holders, the order of
//! waiters, grants, refusals, and the victims of deadlocks must agree after each step.
//!
//! A million steps by default; `FOREBAY_REFERENCE_STEPS` asks for another number.

mod model;

use std::collections::BTreeSet;

use forebay_admission::{
    Core, Cost, Demand, Effect, Effects, Limits, LockMode, LockRequest, Outcome, Owner, QueueId,
    Refusal, RelationId, Ticket,
};
use model::{Claim, Queue, Reference, Resolution, Wait, Want};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

const OWNERS: u64 = 7;
const QUEUES: u32 = 3;
const RELATIONS: u32 = 3;
/// On average; a run may be shrunk to the few steps that fail.
const STEPS_PER_RUN: usize = 200;

#[derive(Clone, Debug)]
enum Step {
    Slot(u64, u32, Option<(u8, u8)>),
    Charge(u64, u32, (u8, u8)),
    Lock(u64, Vec<(u32, usize)>, bool),
    /// Gives back one of the owner's claims, by its number.
    GiveBack(u64, usize),
    Cancel(u64),
    EndAll(u64),
    Alter(u32, (u8, u8, u8, u8, bool)),
}

fn step() -> impl Strategy<Value = Step> {
    let owner = || 0..OWNERS;
    let queue = || 0..QUEUES;
    let demand = || (0..8u8, 0..8u8);
    let lock = (0..RELATIONS, 0..LockMode::ALL.len());
    prop_oneof![
        8 => (owner(), queue(), proptest::option::weighted(0.3, demand()))
            .prop_map(|(o, q, d)| Step::Slot(o, q, d)),
        8 => (owner(), queue(), demand()).prop_map(|(o, q, d)| Step::Charge(o, q, d)),
        8 => (owner(), proptest::collection::vec(lock, 1..3), proptest::bool::weighted(0.1))
            .prop_map(|(o, locks, nowait)| Step::Lock(o, locks, nowait)),
        8 => (owner(), 0..8usize).prop_map(|(o, i)| Step::GiveBack(o, i)),
        1 => owner().prop_map(Step::Cancel),
        3 => owner().prop_map(Step::EndAll),
        1 => (queue(), (1..4u8, 0..12u8, 0..12u8, 0..9u8, any::<bool>()))
            .prop_map(|(q, l)| Step::Alter(q, l)),
    ]
}

fn demand((cost, memory): (u8, u8)) -> Demand {
    Demand {
        cost: Cost::new(cost.into()),
        memory_bytes: memory.into(),
    }
}

/// A limit of zero stands for none.
fn limits((slots, cost, memory, queued, overcommit): (u8, u8, u8, u8, bool)) -> Limits {
    Limits {
        active_statements: Some(slots.into()),
        max_cost: (cost > 3).then(|| Cost::new(cost.into())),
        memory_limit_bytes: (memory > 3).then(|| memory.into()),
        max_queued: (queued > 2).then(|| queued.into()),
        cost_overcommit: overcommit,
        ..Limits::default()
    }
}

#[derive(Default)]
struct Pair {
    core: Core,
    model: Reference,
    effects: Effects,
    last_ticket: Ticket,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self::default();
        for id in (0..QUEUES).map(QueueId) {
            let limits = limits((2, 8, 8, 0, true));
            pair.core.set_limits(id, limits, &mut pair.effects);
            pair.model.queues.push(Queue {
                id,
                limits,
                beyond: BTreeSet::new(),
                overcommits: 0,
                passes: 0,
            });
        }
        (0..OWNERS).for_each(|owner| pair.core.begin(Owner(owner)));
        pair
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Slot(owner, queue, amounts) => {
                self.ask_slot(Owner(*owner), QueueId(*queue), amounts.map(demand));
            }
            Step::Charge(owner, queue, amounts) => {
                self.charge(Owner(*owner), QueueId(*queue), demand(*amounts));
            }
            Step::Lock(owner, locks, nowait) => {
                let lock = |(r, m): &(u32, usize)| (RelationId(*r), LockMode::ALL[*m]);
                self.lock(Owner(*owner), locks.iter().map(lock).collect(), *nowait);
            }
            Step::GiveBack(owner, number) => self.give_back(Owner(*owner), *number),
            Step::Cancel(owner) => self.cancel(Owner(*owner)),
            Step::EndAll(owner) => {
                self.cancel(Owner(*owner));
                while self.model.held.iter().any(|(o, _)| o.0 == *owner) {
                    self.give_back(Owner(*owner), 0);
                }
            }
            Step::Alter(queue, amounts) => self.alter(QueueId(*queue), limits(*amounts)),
        }
        self.settle();
        self.compare();
    }

    fn waits(&self, owner: Owner) -> bool {
        self.model.wait_of(owner).is_some()
    }

    fn ask_slot(&mut self, owner: Owner, queue: QueueId, demand: Option<Demand>) {
        if self.waits(owner) {
            return;
        }
        let refusal = self.model.refusal(owner, queue, demand);
        let outcome = self.core.slot(owner, queue, demand, &mut self.effects);
        if let Some(refusal) = refusal {
            assert_eq!(outcome, Outcome::Refused(refusal));
        } else {
            self.asked(owner, Want::Admission(queue, demand), outcome);
        }
    }

    fn lock(&mut self, owner: Owner, locks: Vec<LockRequest>, nowait: bool) {
        if self.waits(owner) {
            return;
        }
        let want = Want::Locks(locks.clone());
        if !nowait {
            let outcome = self.core.lock(owner, &locks, &mut self.effects);
            return self.asked(owner, want, outcome);
        }
        let granted = self.core.lock_now(owner, &locks) == Outcome::Granted;
        assert_eq!(granted, self.model.grants_at_once(owner, &want));
        if granted {
            self.model.grant(owner, &want, self.last_ticket);
        }
    }

    /// A charge; what does not fit steps aside with the newest lock.
    fn charge(&mut self, owner: Owner, queue: QueueId, demand: Demand) {
        let slot = Claim::Slot(queue);
        if self.waits(owner) || !self.model.held.contains(&(owner, slot.clone())) {
            return;
        }
        let limits = self.model.queue(queue).limits;
        let forbidden = limits.max_cost.is_some_and(|m| demand.cost > m) && !limits.cost_overcommit;
        let charged = self.core.charge(owner, queue, demand);
        let fits = !forbidden && self.model.charge_fits(owner, queue, demand);
        assert_eq!(charged.as_ref().ok(), (!forbidden).then_some(&fits));
        if fits {
            self.model.held.push((owner, Claim::Charge(queue, demand)));
        }
        if fits || forbidden {
            return;
        }
        let held = self.model.held.iter().rev();
        let own: Vec<LockRequest> = held
            .filter_map(|(o, claim)| match claim {
                Claim::Lock(lock) if *o == owner => Some(*lock),
                _ => None,
            })
            .take(1)
            .collect();
        let core = &mut self.core;
        let outcome = core.step_aside(owner, queue, demand, &own, &mut self.effects);
        self.model.give_back(owner, &slot);
        own.iter()
            .for_each(|lock| self.model.give_back(owner, &Claim::Lock(*lock)));
        // The grants of this step come after the wait began.
        let want = Want::Admission(queue, Some(demand));
        self.began(owner, want, outcome);
    }

    /// A request's outcome against what the reference says of it.
    fn asked(&mut self, owner: Owner, want: Want, outcome: Outcome) {
        if self.model.grants_at_once(owner, &want) {
            assert_eq!(outcome, Outcome::Granted, "{owner:?} may have {want:?}");
            self.model.grant(owner, &want, self.last_ticket);
        } else {
            self.began(owner, want, outcome);
        }
    }

    /// A request has to wait, though its own step may have ended the wait.
    fn began(&mut self, owner: Owner, want: Want, outcome: Outcome) {
        self.last_ticket = Ticket(self.last_ticket.0 + 1);
        let ticket = self.last_ticket;
        self.model.waits.push(Wait {
            ticket,
            owner,
            want,
            passes: BTreeSet::new(),
        });
        let refusal = match outcome {
            Outcome::Waiting(given) => return assert_eq!(given, ticket),
            Outcome::Granted => None,
            Outcome::Refused(refusal) => Some(refusal),
        };
        self.effects.push(Effect {
            ticket,
            owner,
            refusal,
        });
    }

    fn give_back(&mut self, owner: Owner, number: usize) {
        let held = self.model.held.iter().filter(|(o, _)| *o == owner);
        let Some((_, claim)) = held.clone().nth(number).cloned() else {
            return;
        };
        let (core, effects) = (&mut self.core, &mut self.effects);
        match &claim {
            Claim::Slot(queue) => core.give_back_slot(owner, *queue, effects),
            Claim::Charge(queue, demand) => core.give_back_charge(owner, *queue, *demand, effects),
            Claim::Lock(lock) => core.give_back_locks(owner, &[*lock], effects),
        }
        self.model.give_back(owner, &claim);
        self.settle();
    }

    fn cancel(&mut self, owner: Owner) {
        let Some(ticket) = self.model.wait_of(owner).map(|w| w.ticket) else {
            return;
        };
        assert!(self.core.cancel(ticket, &mut self.effects));
        self.model.waits.retain(|w| w.ticket != ticket);
        self.settle();
    }

    fn alter(&mut self, queue: QueueId, limits: Limits) {
        self.core.set_limits(queue, limits, &mut self.effects);
        self.model.queue_mut(queue).limits = limits;
        self.model.forget_beyond(queue);
    }

    /// Follows the effects of a step: each must be right when it comes, in any order that is right,
    /// and at the end none may be missing.
    fn settle(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        loop {
            let right = effects.iter().position(|effect| self.is_ordinary(effect));
            if let Some(i) = right {
                self.follow(&effects.remove(i));
                continue;
            }
            let waits = &self.model.waits;
            let missed = waits.iter().find(|w| self.model.grantable(w));
            assert!(missed.is_none(), "{missed:?} is not granted; {effects:?}");
            match self.model.resolution() {
                Some(resolution) => self.resolve(resolution, &mut effects),
                None => break assert_eq!(effects, []),
            }
        }
    }

    /// Whether an effect needs no deadlock.
    fn is_ordinary(&self, effect: &Effect) -> bool {
        let wait = self.model.wait_of(effect.owner).expect("it waits");
        assert_eq!(wait.ticket, effect.ticket);
        match (&effect.refusal, &wait.want) {
            (None, _) => self.model.grantable(wait),
            (Some(Refusal::TooCostly { cost, limit }), Want::Admission(queue, Some(demand))) => {
                let limits = self.model.queue(*queue).limits;
                assert_eq!((Some(*limit), *cost), (limits.max_cost, demand.cost));
                cost > limit && !limits.cost_overcommit
            }
            _ => false,
        }
    }

    fn follow(&mut self, effect: &Effect) {
        let wait = self.model.wait_of(effect.owner).expect("it waits").clone();
        match effect.refusal {
            None => self.model.grant(wait.owner, &wait.want, wait.ticket),
            Some(_) => self.model.waits.retain(|w| w.ticket != wait.ticket),
        }
    }

    fn resolve(&mut self, resolution: Resolution, effects: &mut Effects) {
        match resolution {
            Resolution::Pass(ticket) => self.model.let_pass(ticket),
            Resolution::Deadlock(stuck) => {
                let is_it = |e: &Effect| matches!(e.refusal, Some(Refusal::Deadlock { .. }));
                let i = effects.iter().position(is_it).expect("a deadlock is told");
                let effect = effects.remove(i);
                let Some(Refusal::Deadlock { cycle }) = &effect.refusal else {
                    unreachable!("it was looked for");
                };
                assert!(cycle.iter().all(|(owner, _)| stuck.contains(owner)));
                assert!(self.model.is_cycle(effect.owner, cycle), "{effect:?}");
                self.model.deadlocks += 1;
                self.follow(&effect);
            }
            Resolution::Admit(ticket, excess) => {
                let i = effects.iter().position(|e| e.ticket == ticket);
                let i = i
                    .unwrap_or_else(|| panic!("{ticket:?} is stuck: {effects:?} {:?}", self.model));
                let effect = effects.remove(i);
                self.admit(&effect, excess);
            }
        }
    }

    fn admit(&mut self, effect: &Effect, excess: u64) {
        assert_eq!(effect.refusal, None);
        let wait = self.model.wait_of(effect.owner).expect("it waits").clone();
        let Want::Admission(queue, _) = wait.want else {
            unreachable!("an admission");
        };
        let had = self.model.slots(queue, &|_| true);
        self.model.grant(wait.owner, &wait.want, Ticket(0));
        let slots = self.model.slots(queue, &|_| true).len();
        let entry = self.model.queue_mut(queue);
        let limit = entry.limits.active_statements.expect("all have one");
        if excess == 0 {
            entry.passes += 1;
        } else {
            entry.overcommits += 1;
            if !had.contains(&wait.owner) && slots > limit as usize {
                entry.beyond.insert(wait.owner);
            }
        }
    }

    /// Totals, holders, the order of waiters, and what happened.
    fn compare(&self) {
        let all = |_| true;
        for view in self.core.queues() {
            let queue = self.model.queue(view.id);
            let slots = self.model.slots(view.id, &all);
            let with_slot = view.holdings.iter().filter(|h| h.shares > 0);
            assert_eq!(with_slot.map(|h| h.owner).collect::<BTreeSet<_>>(), slots);
            let beyond = view.holdings.iter().filter(|h| h.overcommitted);
            assert_eq!(
                beyond.map(|h| h.owner).collect::<BTreeSet<_>>(),
                queue.beyond
            );
            let taken = (view.taken.cost.units(), view.taken.memory_bytes);
            assert_eq!(
                (view.slots, taken),
                (slots.len(), self.model.taken(view.id, &all))
            );
            let waits = self.model.waits.iter();
            let waits = waits.filter(|w| matches!(w.want, Want::Admission(q, _) if q == view.id));
            let order: Vec<_> = view.waiters.iter().map(|w| w.owner).collect();
            assert_eq!(order, waits.map(|w| w.owner).collect::<Vec<_>>());
            let counts = (view.totals.overcommitted, view.totals.passed);
            assert_eq!(counts, (queue.overcommits, queue.passes));
        }
        let mut locks = BTreeSet::new();
        for (owner, claim) in &self.model.held {
            if let Claim::Lock(lock) = claim {
                locks.insert((*owner, *lock));
            }
        }
        let views = self.core.locks().into_iter().filter(|view| view.granted);
        let views: BTreeSet<_> = views.map(|v| (v.owner, (v.relation, v.mode))).collect();
        assert_eq!(views, locks);
        let order: Vec<_> = self.core.waiters().iter().map(|w| w.ticket).collect();
        let expected: Vec<_> = self.model.waits.iter().map(|w| w.ticket).collect();
        assert_eq!(order, expected);
        // Everybody is explained in another way than one alone.
        for waiter in self.core.waiters() {
            assert_eq!(self.core.explain(waiter.ticket), Some(waiter));
        }
        let totals = self.core.lock_totals();
        assert_eq!(totals.deadlocks, self.model.deadlocks);
        assert_eq!(totals.passed, self.model.lock_passes);
    }
}

fn million_or_more() -> u32 {
    let steps = std::env::var("FOREBAY_REFERENCE_STEPS");
    let steps = steps.map_or(1_000_000, |n| n.parse().expect("a number of steps"));
    u32::try_from(steps / STEPS_PER_RUN).unwrap_or(u32::MAX)
}

#[test]
fn the_core_does_what_the_reference_does() {
    let mut runner = TestRunner::new(Config {
        cases: million_or_more(),
        rng_seed: RngSeed::Random,
        failure_persistence: None,
        max_shrink_iters: 100_000,
        ..Config::default()
    });
    let seen = std::cell::Cell::new([0u64; 4]);
    let steps = proptest::collection::vec(step(), 1..2 * STEPS_PER_RUN);
    let result = runner.run(&steps, |steps| {
        let mut pair = Pair::new();
        steps.iter().for_each(|step| pair.step(step));
        let model = &pair.model;
        let sum = |part: fn(&Queue) -> u64| model.queues.iter().map(part).sum::<u64>();
        let counts = [
            model.deadlocks,
            model.lock_passes,
            sum(|q| q.overcommits),
            sum(|q| q.passes),
        ];
        let before = seen.get();
        seen.set(std::array::from_fn(|i| before[i] + counts[i]));
        (0..OWNERS).for_each(|owner| pair.step(&Step::EndAll(owner)));
        (0..OWNERS).for_each(|owner| pair.core.end(Owner(owner)));
        prop_assert!(pair.core.is_idle());
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    let [deadlocks, lock_passes, overcommits, passes] = seen.get();
    println!(
        "{deadlocks} deadlocks, {lock_passes} locks passed, {overcommits} overcommits, {passes} admissions passed"
    );
    // A run that never gets there proves nothing about it.
    assert!(seen.get().iter().all(|count| *count > 0), "{seen:?}");
}
