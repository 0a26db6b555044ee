//! The reference: a list of what was granted and a list of what waits, from which everything is
//! worked out again on each question. Slow, and obvious.

use std::collections::BTreeSet;

use forebay_admission::{
    Cost, Demand, Limits, LockRequest, Owner, QueueId, Refusal, RelationId, Ticket,
};

#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// One share of the slot.
    Slot(QueueId),
    Charge(QueueId, Demand),
    Lock(LockRequest),
}

#[derive(Clone, Debug)]
pub enum Want {
    Admission(QueueId, Option<Demand>),
    Locks(Vec<LockRequest>),
}

#[derive(Clone, Debug)]
pub struct Wait {
    pub ticket: Ticket,
    pub owner: Owner,
    pub want: Want,
    pub passes: BTreeSet<Ticket>,
}

#[derive(Clone, Debug)]
pub struct Queue {
    pub id: QueueId,
    pub limits: Limits,
    /// Owners whose slot was granted beyond the limit.
    pub beyond: BTreeSet<Owner>,
    pub overcommits: u64,
    pub passes: u64,
}

#[derive(Clone, Default, Debug)]
pub struct Reference {
    pub queues: Vec<Queue>,
    pub held: Vec<(Owner, Claim)>,
    /// The oldest first.
    pub waits: Vec<Wait>,
    /// When each owner's current statement in each queue came.
    pub arrivals: Vec<(Owner, QueueId, Ticket)>,
    pub deadlocks: u64,
    pub lock_passes: u64,
}

/// What a settled core owes to somebody.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolution {
    /// This request for locks passes the waits before it.
    Pass(Ticket),
    /// The locks of these owners are a deadlock.
    Deadlock(BTreeSet<Owner>),
    /// This admission is granted out of turn or beyond the limits; by how many millionths.
    Admit(Ticket, u64),
}

impl Reference {
    pub fn queue(&self, id: QueueId) -> &Queue {
        self.queues
            .iter()
            .find(|q| q.id == id)
            .expect("it is there")
    }

    pub fn queue_mut(&mut self, id: QueueId) -> &mut Queue {
        let mut queues = self.queues.iter_mut();
        queues.find(|q| q.id == id).expect("it is there")
    }

    pub fn wait_of(&self, owner: Owner) -> Option<&Wait> {
        self.waits.iter().find(|w| w.owner == owner)
    }

    /// Owners with a slot of `queue`, among those that `counts`.
    pub fn slots(&self, queue: QueueId, counts: &dyn Fn(Owner) -> bool) -> BTreeSet<Owner> {
        let held = self.held.iter().filter(|(owner, _)| counts(*owner));
        let slots = held.filter(|(_, claim)| *claim == Claim::Slot(queue));
        slots.map(|(owner, _)| *owner).collect()
    }

    pub fn taken(&self, queue: QueueId, counts: &dyn Fn(Owner) -> bool) -> (f64, u64) {
        let held = self.held.iter().filter(|(owner, _)| counts(*owner));
        held.fold((0.0, 0), |(cost, memory), (_, claim)| match claim {
            Claim::Charge(q, d) if *q == queue => (cost + d.cost.units(), memory + d.memory_bytes),
            _ => (cost, memory),
        })
    }

    fn has_slot(&self, owner: Owner, queue: QueueId) -> bool {
        self.held.contains(&(owner, Claim::Slot(queue)))
    }

    /// Whether what is wanted fits beside what those who `count` hold.
    pub fn fits(
        &self,
        owner: Owner,
        queue: QueueId,
        slot: bool,
        demand: Option<Demand>,
        counts: &dyn Fn(Owner) -> bool,
    ) -> bool {
        let limits = self.queue(queue).limits;
        let slots = self.slots(queue, counts);
        if let Some(limit) = limits.active_statements
            && slot
            && slots.len() >= limit as usize
        {
            return false;
        }
        let Some(demand) = demand else { return true };
        let (cost, memory) = self.taken(queue, counts);
        if let Some(limit) = limits.max_cost {
            let others = |o: Owner| counts(o) && o != owner;
            let alone =
                self.slots(queue, &others).is_empty() && self.taken(queue, &others).0 == 0.0;
            let beyond = cost + demand.cost.units() > limit.units();
            if demand.cost > limit && !alone
                || demand.cost <= limit && demand.cost > Cost::ZERO && beyond
            {
                return false;
            }
        }
        if let Some(limit) = limits.memory_limit_bytes {
            let wanted = demand.memory_bytes;
            if memory > 0 && wanted > 0 && memory + wanted > limit {
                return false;
            }
        }
        true
    }

    /// Owners with a slot of `queue` that do not wait.
    pub fn active(&self, queue: QueueId) -> usize {
        self.slots(queue, &|owner| self.wait_of(owner).is_none())
            .len()
    }

    pub fn has_room(&self, queue: QueueId) -> bool {
        let limit = self.queue(queue).limits.active_statements;
        limit.is_none_or(|limit| self.active(queue) < limit as usize)
    }

    fn may_resume(&self, owner: Owner) -> bool {
        let mut queues = self.queues.iter().filter(|q| self.has_slot(owner, q.id));
        queues.all(|q| q.beyond.is_empty() || self.has_room(q.id))
    }

    /// Whether a wait needs nothing but leave to go on.
    fn needs_nothing(&self, wait: &Wait) -> bool {
        match wait.want {
            Want::Admission(queue, demand) => demand.is_none() && self.has_slot(wait.owner, queue),
            Want::Locks(_) => false,
        }
    }

    /// Whether a request could have what it wants beside those who `count`; `before` are the waits
    /// before it.
    fn could_have(&self, wait: &Wait, before: &[Wait], counts: &dyn Fn(Owner) -> bool) -> bool {
        let mut before = before.iter().filter(|w| counts(w.owner));
        match &wait.want {
            Want::Admission(queue, demand) => {
                let turn = !before.any(|w| matches!(w.want, Want::Admission(q, _) if q == *queue));
                let slot = !self.has_slot(wait.owner, *queue);
                self.needs_nothing(wait)
                    || turn && self.fits(wait.owner, *queue, slot, *demand, counts)
            }
            Want::Locks(locks) => {
                let before: Vec<&Wait> = before
                    .filter(|w| !wait.passes.contains(&w.ticket))
                    .collect();
                locks.iter().all(|lock| {
                    self.held.contains(&(wait.owner, Claim::Lock(*lock)))
                        || self.holders_against(wait.owner, lock, counts).is_empty()
                            && !before.iter().any(|w| wants_against(w, lock))
                })
            }
        }
    }

    fn holders_against(
        &self,
        owner: Owner,
        lock: &LockRequest,
        counts: &dyn Fn(Owner) -> bool,
    ) -> Vec<Owner> {
        let held = self.held.iter().filter(|(o, _)| *o != owner && counts(*o));
        let against =
            held.filter(|(_, claim)| matches!(claim, Claim::Lock(l) if conflict(l, lock)));
        against.map(|(o, _)| *o).collect()
    }

    fn before(&self, wait: &Wait) -> &[Wait] {
        let i = self.waits.iter().position(|w| w.ticket == wait.ticket);
        &self.waits[..i.unwrap_or(self.waits.len())]
    }

    /// Whether a wait can be granted now.
    pub fn grantable(&self, wait: &Wait) -> bool {
        self.may_resume(wait.owner) && self.could_have(wait, self.before(wait), &|_| true)
    }

    /// Whether a request that is made now is granted at once.
    pub fn grants_at_once(&self, owner: Owner, want: &Want) -> bool {
        let wait = Wait {
            ticket: Ticket(u64::MAX),
            owner,
            want: want.clone(),
            passes: BTreeSet::new(),
        };
        match want {
            // It goes on without a wait, so only the queue it goes on in counts.
            Want::Admission(queue, None) if self.has_slot(owner, *queue) => {
                let limit = self.queue(*queue).limits.active_statements;
                self.queue(*queue).beyond.is_empty()
                    || limit.is_none_or(|limit| self.active(*queue) <= limit as usize)
            }
            _ => self.could_have(&wait, &self.waits, &|_| true),
        }
    }

    /// Whether a statement with a slot may take its charge.
    pub fn charge_fits(&self, owner: Owner, queue: QueueId, demand: Demand) -> bool {
        let limits = self.queue(queue).limits;
        let limited = limits.max_cost.is_some() || limits.memory_limit_bytes.is_some();
        let mut arrivals = self.arrivals.iter();
        let arrival = arrivals.find(|(o, q, _)| (*o, *q) == (owner, queue));
        let arrival = arrival.expect("it has a slot").2;
        let overtakes = self.waits.iter().any(|w| {
            w.ticket <= arrival && matches!(w.want, Want::Admission(q, Some(_)) if q == queue)
        });
        !(limited && overtakes) && self.fits(owner, queue, false, Some(demand), &|_| true)
    }

    /// Grants to a wait, or to a request.
    pub fn grant(&mut self, owner: Owner, want: &Want, arrival: Ticket) {
        self.waits.retain(|w| w.owner != owner);
        match want {
            Want::Admission(queue, demand) => {
                self.held.push((owner, Claim::Slot(*queue)));
                let charge = demand.map(|d| (owner, Claim::Charge(*queue, d)));
                self.held.extend(charge);
                self.arrivals
                    .retain(|(o, q, _)| (*o, *q) != (owner, *queue));
                self.arrivals.push((owner, *queue, arrival));
            }
            Want::Locks(locks) => {
                self.held
                    .extend(locks.iter().map(|l| (owner, Claim::Lock(*l))));
            }
        }
    }

    pub fn give_back(&mut self, owner: Owner, claim: &Claim) {
        let i = self
            .held
            .iter()
            .position(|(o, c)| *o == owner && c == claim);
        self.held.remove(i.expect("it has it"));
        if let Claim::Slot(queue) = claim {
            if !self.has_slot(owner, *queue) {
                self.queue_mut(*queue).beyond.remove(&owner);
            }
            self.forget_beyond(*queue);
        }
    }

    /// Where no more slots are taken than there are, none is beyond the limit.
    pub fn forget_beyond(&mut self, queue: QueueId) {
        let taken = self.slots(queue, &|_| true).len();
        let limit = self.queue(queue).limits.active_statements;
        if limit.is_none_or(|limit| taken <= limit as usize) {
            self.queue_mut(queue).beyond.clear();
        }
    }

    /// Owners that can never go on: everyone else finishes, in any order, until nobody can.
    fn stuck(&self, locks_only: bool) -> BTreeSet<Owner> {
        let mut left: BTreeSet<Owner> = self.waits.iter().map(|w| w.owner).collect();
        loop {
            let counts = |owner: Owner| left.contains(&owner);
            let next = self.waits.iter().find(|w| {
                let admission = matches!(w.want, Want::Admission(..));
                left.contains(&w.owner)
                    && (admission && locks_only || self.could_have(w, self.before(w), &counts))
            });
            match next.map(|w| w.owner) {
                Some(owner) => left.remove(&owner),
                None => return left,
            };
        }
    }

    /// What must be done about waits that cannot end; `None` when all can, or when it has to wait
    /// until a statement stops.
    pub fn resolution(&self) -> Option<Resolution> {
        let stuck = self.stuck(true);
        if !stuck.is_empty() {
            return Some(match self.pass(&stuck) {
                Some(ticket) => Resolution::Pass(ticket),
                None => Resolution::Deadlock(stuck),
            });
        }
        let stuck = self.stuck(false);
        let pass = self.pass(&stuck).map(Resolution::Pass);
        pass.or_else(|| {
            let admissions = self.waits.iter().filter(|w| self.is_in_the_way(w, &stuck));
            let excess = admissions.filter_map(|w| Some((self.excess(w)?, w.ticket)));
            let (excess, ticket) = excess.min()?;
            Some(Resolution::Admit(ticket, excess))
        })
    }

    /// The earlier waits that a request need not wait for: they are stuck, and no stuck owner's
    /// lock is against it.
    pub fn passed_by(&self, wait: &Wait, stuck: &BTreeSet<Owner>) -> BTreeSet<Ticket> {
        let Want::Locks(locks) = &wait.want else {
            return BTreeSet::new();
        };
        let counts = |owner: Owner| stuck.contains(&owner);
        let held = locks
            .iter()
            .any(|l| !self.holders_against(wait.owner, l, &counts).is_empty());
        if held {
            return BTreeSet::new();
        }
        let before = self.before(wait).iter().filter(|w| {
            stuck.contains(&w.owner)
                && !wait.passes.contains(&w.ticket)
                && locks.iter().any(|l| wants_against(w, l))
        });
        before.map(|w| w.ticket).collect()
    }

    /// Whether a stuck owner holds what others may want.
    fn is_in_the_way(&self, wait: &Wait, stuck: &BTreeSet<Owner>) -> bool {
        let mut held = self.held.iter().filter(|(owner, _)| *owner == wait.owner);
        let nothing =
            |claim: &Claim| matches!(claim, Claim::Charge(_, d) if *d == Demand::default());
        stuck.contains(&wait.owner) && held.any(|(_, claim)| !nothing(claim))
    }

    fn pass(&self, stuck: &BTreeSet<Owner>) -> Option<Ticket> {
        let mut waits = self.waits.iter().filter(|w| self.is_in_the_way(w, stuck));
        let pass = waits.find(|w| !self.passed_by(w, stuck).is_empty());
        pass.map(|w| w.ticket)
    }

    /// Carries a pass out.
    pub fn let_pass(&mut self, ticket: Ticket) {
        let of_locks = self.stuck(true);
        let stuck = match of_locks.is_empty() {
            true => self.stuck(false),
            false => of_locks,
        };
        let i = self.waits.iter().position(|w| w.ticket == ticket);
        let i = i.expect("it waits");
        let passed = self.passed_by(&self.waits[i], &stuck);
        self.waits[i].passes.extend(passed);
        self.lock_passes += 1;
    }

    /// By how many millionths an admission would pass its limits; `None` when it may not run now.
    fn excess(&self, wait: &Wait) -> Option<u64> {
        let Want::Admission(queue, demand) = wait.want else {
            return None;
        };
        let slot = !self.has_slot(wait.owner, queue);
        if !self.may_resume(wait.owner) || slot && !self.has_room(queue) {
            return None;
        }
        let limits = self.queue(queue).limits;
        let over = |amount: f64, limit: f64| {
            let beyond = (amount - limit).max(0.0);
            (beyond * 1e6 / limit).ceil() as u64
        };
        let mut excess = 0;
        if let Some(limit) = limits.active_statements
            && slot
        {
            let after = self.slots(queue, &|_| true).len() + 1;
            excess = excess.max(over(after as f64, limit.into()));
        }
        let (cost, memory) = self.taken(queue, &|_| true);
        let demand = demand.unwrap_or_default();
        if let Some(limit) = limits.max_cost
            && demand.cost > Cost::ZERO
        {
            excess = excess.max(over(cost + demand.cost.units(), limit.units()));
        }
        if let Some(limit) = limits.memory_limit_bytes
            && demand.memory_bytes > 0
        {
            excess = excess.max(over((memory + demand.memory_bytes) as f64, limit as f64));
        }
        Some(excess)
    }

    /// Whether `cycle` is one, of locks that are held, and `owner` asked last of all in it.
    pub fn is_cycle(&self, owner: Owner, cycle: &[(Owner, RelationId)]) -> bool {
        let ticket = |o: Owner| self.wait_of(o).map(|w| w.ticket);
        let next = cycle.iter().cycle().skip(1);
        let linked = cycle
            .iter()
            .zip(next)
            .all(|((waiter, relation), (holder, _))| {
                let Some(Wait {
                    want: Want::Locks(locks),
                    ..
                }) = self.wait_of(*waiter)
                else {
                    return false;
                };
                locks.iter().filter(|(r, _)| r == relation).any(|lock| {
                    self.holders_against(*waiter, lock, &|o| o == *holder)
                        .contains(holder)
                })
            });
        linked && cycle.iter().map(|(o, _)| ticket(*o)).max() == Some(ticket(owner))
    }

    /// Why a request for admission is refused at once.
    pub fn refusal(&self, owner: Owner, queue: QueueId, demand: Option<Demand>) -> Option<Refusal> {
        let limits = self.queue(queue).limits;
        if let (Some(demand), Some(limit)) = (demand, limits.max_cost)
            && demand.cost > limit
            && !limits.cost_overcommit
        {
            return Some(Refusal::TooCostly {
                cost: demand.cost,
                limit,
            });
        }
        let of_queue = |w: &&Wait| matches!(w.want, Want::Admission(q, _) if q == queue);
        let waiting = self.waits.iter().filter(of_queue).count();
        let limit = limits
            .max_queued
            .filter(|limit| waiting >= *limit as usize)?;
        let waits = !self.has_slot(owner, queue)
            && !self.grants_at_once(owner, &Want::Admission(queue, demand));
        waits.then_some(Refusal::QueueFull { waiting, limit })
    }
}

fn conflict(held: &LockRequest, wanted: &LockRequest) -> bool {
    held.0 == wanted.0 && held.1.conflicts(wanted.1)
}

fn wants_against(wait: &Wait, lock: &LockRequest) -> bool {
    matches!(&wait.want, Want::Locks(locks) if locks.iter().any(|l| conflict(l, lock)))
}
