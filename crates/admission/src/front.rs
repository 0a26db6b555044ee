//! The async front: what the way of a statement calls.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use crate::guards::{Charge, Locks, OwnerGuard, Slot};
use crate::map::Map;
use crate::sync::Mutex;
use crate::{
    Core, Cost, Demand, Effects, Limits, LockRequest, LockTotals, LockView, Outcome, Owner,
    QueueId, QueueView, Refusal, Ticket, WaiterView,
};

/// Why a statement may not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct AdmissionError(#[from] pub Refusal);

impl AdmissionError {
    /// The five characters that name this error to PostgreSQL clients.
    #[must_use]
    pub fn sqlstate(&self) -> &'static str {
        match self.0 {
            Refusal::NoQueue => "42704",
            Refusal::QueueFull { .. } => "53300",
            Refusal::TooCostly { .. } => "53400",
            Refusal::LockNotAvailable { .. } => "55P03",
            Refusal::Deadlock { .. } => "40P01",
        }
    }
}

/// How much is held. All zero when every transaction has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// Slots.
    pub slots: usize,
    /// Relations locked, counted once for each pair of a relation and a mode of an owner.
    pub locks: usize,
    /// Transactions that have been charged, counted once for each queue.
    pub charges: usize,
    /// Transactions.
    pub owners: usize,
    /// Waits.
    pub waiters: usize,
}

/// The one place that admits statements. Clones share it.
#[derive(Clone, Default)]
pub struct Admission(pub(crate) Arc<Front>);

#[derive(Default)]
pub(crate) struct Front(Mutex<State>);

/// Everything behind the one lock.
#[derive(Default)]
struct State {
    core: Core,
    waits: Map<Ticket, Pending>,
    last_owner: u64,
    /// Kept for its memory: empty between steps.
    effects: Effects,
}

/// A wait that has not been collected by the one who waits.
struct Pending {
    since: SystemTime,
    decision: Option<Result<(), Refusal>>,
    waker: Option<Waker>,
}

/// What a wait is for, and how it goes back if nobody collects it.
pub(crate) enum Claim {
    Slot(Owner, QueueId, Option<Demand>),
    Locks(Owner, Vec<LockRequest>),
}

impl Admission {
    /// An admission without queues.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a queue, or changes its limits: whoever fits now is granted at once, and a lowered
    /// limit holds for the next grants.
    pub fn set_limits(&self, queue: QueueId, limits: Limits) {
        self.0
            .step(|core, effects| core.set_limits(queue, limits, effects));
    }

    /// Drops a queue. Who waits in it is refused; who holds something of it keeps it to its end.
    pub fn drop_queue(&self, queue: QueueId) {
        self.0.step(|core, effects| core.drop_queue(queue, effects));
    }

    /// A queue's limits, if there is such a queue.
    #[must_use]
    pub fn limits(&self, queue: QueueId) -> Option<Limits> {
        self.0.look(|core| core.limits(queue))
    }

    /// Begins a transaction. It ends when this guard and all that was granted to it are dropped.
    #[must_use]
    pub fn begin(&self) -> OwnerGuard {
        OwnerGuard::new(Arc::clone(&self.0), self.0.begin())
    }

    /// The right to be one of the active statements of `queue`. A governed statement asks for it
    /// before it asks for any lock. Dropping the future ends the wait.
    ///
    /// # Errors
    /// When the queue is full or gone.
    pub async fn slot(&self, owner: &OwnerGuard, queue: QueueId) -> Result<Slot, AdmissionError> {
        let claim = Claim::Slot(owner.owner(), queue, None);
        self.0
            .request(claim, |core, effects| {
                core.slot(owner.owner(), queue, None, effects)
            })
            .await?;
        Ok(self.granted(owner, queue))
    }

    /// As [`Admission::slot`], for a statement that was admitted before and goes on: who reads from
    /// a cursor shares its slot, and waits while others run on slots beyond the limit.
    ///
    /// # Errors
    /// As [`Admission::slot`].
    pub async fn share(&self, owner: &OwnerGuard, queue: QueueId) -> Result<Slot, AdmissionError> {
        let claim = Claim::Slot(owner.owner(), queue, None);
        self.0
            .request(claim, |core, effects| {
                core.share(owner.owner(), queue, effects)
            })
            .await?;
        Ok(self.granted(owner, queue))
    }

    /// As [`Admission::slot`], for a statement whose demand is known before: both together.
    ///
    /// # Errors
    /// As [`Admission::slot`], and when the cost is above what the queue allows at all.
    pub async fn slot_and_charge(
        &self,
        owner: &OwnerGuard,
        queue: QueueId,
        demand: Demand,
    ) -> Result<(Slot, Charge), AdmissionError> {
        let claim = Claim::Slot(owner.owner(), queue, Some(demand));
        self.0
            .request(claim, |core, effects| {
                core.slot(owner.owner(), queue, Some(demand), effects)
            })
            .await?;
        Ok((
            self.granted(owner, queue),
            Charge::new(owner.clone(), queue, demand),
        ))
    }

    /// Whether a statement of this cost needs nothing of the queue (`MIN_COST`).
    #[must_use]
    pub fn exempts(&self, queue: QueueId, cost: Cost) -> bool {
        self.0.look(|core| core.exempts(queue, cost))
    }

    /// All the relation locks of one statement, granted together. Dropping the future ends the
    /// wait.
    ///
    /// # Errors
    /// When the request closes a cycle of locks.
    pub async fn lock(
        &self,
        owner: &OwnerGuard,
        locks: Vec<LockRequest>,
    ) -> Result<Locks, AdmissionError> {
        let claim = Claim::Locks(owner.owner(), locks.clone());
        self.0
            .request(claim, |core, effects| {
                core.lock(owner.owner(), &locks, effects)
            })
            .await?;
        Ok(Locks::new(owner.clone(), locks))
    }

    /// As [`Admission::lock`], without waiting (`NOWAIT`).
    ///
    /// # Errors
    /// When a lock cannot be had at once.
    pub fn lock_now(
        &self,
        owner: &OwnerGuard,
        locks: Vec<LockRequest>,
    ) -> Result<Locks, AdmissionError> {
        match self.0.step(|core, _| core.lock_now(owner.owner(), &locks)) {
            Outcome::Granted => Ok(Locks::new(owner.clone(), locks)),
            Outcome::Refused(refusal) => Err(refusal.into()),
            Outcome::Waiting(_) => unreachable!("`lock_now` never waits"),
        }
    }

    /// Takes the plan's cost and memory. `None`: it does not fit, and the statement has to
    /// [step aside](Admission::step_aside).
    ///
    /// # Errors
    /// When the cost is above what the queue allows at all.
    pub fn charge(&self, slot: &Slot, demand: Demand) -> Result<Option<Charge>, AdmissionError> {
        let (owner, queue) = (slot.owner().owner(), slot.queue());
        let fits = self.0.step(|core, _| core.charge(owner, queue, demand))?;
        Ok(fits.then(|| Charge::new(slot.owner().clone(), queue, demand)))
    }

    /// Gives back the statement's slot and its own locks, and waits at the tail of the queue for
    /// slot, cost and memory together. All in one step: nobody comes between.
    ///
    /// # Errors
    /// As [`Admission::slot_and_charge`].
    pub async fn step_aside(
        &self,
        slot: Slot,
        locks: Option<Locks>,
        demand: Demand,
    ) -> Result<(Slot, Charge), AdmissionError> {
        let (owner, queue) = slot.disarm();
        let locks = locks.map(Locks::disarm).unwrap_or_default();
        let claim = Claim::Slot(owner.owner(), queue, Some(demand));
        self.0
            .request(claim, |core, effects| {
                core.step_aside(owner.owner(), queue, demand, &locks, effects)
            })
            .await?;
        Ok((
            self.granted(&owner, queue),
            Charge::new(owner, queue, demand),
        ))
    }

    /// The guard of a slot that was granted a moment ago.
    fn granted(&self, owner: &OwnerGuard, queue: QueueId) -> Slot {
        let beyond = self
            .0
            .look(|core| core.granted_beyond(owner.owner(), queue));
        Slot::new(owner.clone(), queue, beyond)
    }

    /// Why a transaction waits, and since when; `None` when it does not.
    #[must_use]
    pub fn explain(&self, owner: Owner) -> Option<(WaiterView, SystemTime)> {
        let state = self.0.0.lock();
        let ticket = state.core.wait_of(owner)?;
        let since = state.waits.get(&ticket)?.since;
        Some((state.core.explain(ticket)?, since))
    }

    /// Everybody who waits, the oldest wait first.
    #[must_use]
    pub fn waiters(&self) -> Vec<(WaiterView, SystemTime)> {
        let state = self.0.0.lock();
        let since = |waiter: &WaiterView| Some(state.waits.get(&waiter.ticket)?.since);
        let waiters = state.core.waiters().into_iter();
        waiters
            .filter_map(|w| since(&w).map(|at| (w, at)))
            .collect()
    }

    /// Every queue, with what is taken of it and who waits.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueView> {
        self.0.look(Core::queues)
    }

    /// What happened with relation locks since the start.
    #[must_use]
    pub fn lock_totals(&self) -> LockTotals {
        self.0.look(Core::lock_totals)
    }

    /// Every relation lock, held or wanted.
    #[must_use]
    pub fn locks(&self) -> Vec<LockView> {
        self.0.look(Core::locks)
    }

    /// How much is held now.
    #[must_use]
    pub fn held(&self) -> Held {
        self.0.look(|core| {
            let queues = core.queues();
            let holdings = || queues.iter().flat_map(|queue| &queue.holdings);
            Held {
                slots: holdings().filter(|h| h.shares > 0).count(),
                locks: core.locks().iter().filter(|lock| lock.granted).count(),
                charges: holdings()
                    .filter(|h| h.charged != Demand::default())
                    .count(),
                owners: core.owner_count(),
                waiters: core.waiter_count(),
            }
        })
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}

impl Front {
    /// One step of the core. Whoever it has decided is woken after the lock is free again.
    pub(crate) fn step<T>(&self, step: impl FnOnce(&mut Core, &mut Effects) -> T) -> T {
        let mut state = self.0.lock();
        let state_ref = &mut *state;
        let result = step(&mut state_ref.core, &mut state_ref.effects);
        let wakers = state_ref.deliver();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    fn look<T>(&self, look: impl FnOnce(&Core) -> T) -> T {
        look(&self.0.lock().core)
    }

    fn begin(&self) -> Owner {
        let mut state = self.0.lock();
        state.last_owner += 1;
        let owner = Owner(state.last_owner);
        state.core.begin(owner);
        owner
    }

    /// Makes a request; if it has to wait, until it is decided.
    async fn request(
        &self,
        claim: Claim,
        request: impl FnOnce(&mut Core, &mut Effects) -> Outcome,
    ) -> Result<(), AdmissionError> {
        match self.ask(request) {
            Outcome::Granted => Ok(()),
            Outcome::Refused(refusal) => Err(refusal.into()),
            Outcome::Waiting(ticket) => {
                let wait = Wait {
                    front: self,
                    ticket,
                    claim: Some(claim),
                };
                Ok(wait.await?)
            }
        }
    }

    /// As [`Front::step`]; a wait that begins is known before the lock is free.
    fn ask(&self, request: impl FnOnce(&mut Core, &mut Effects) -> Outcome) -> Outcome {
        let mut state = self.0.lock();
        let state_ref = &mut *state;
        let outcome = request(&mut state_ref.core, &mut state_ref.effects);
        if let Outcome::Waiting(ticket) = outcome {
            let pending = Pending {
                since: SystemTime::now(),
                decision: None,
                waker: None,
            };
            state_ref.waits.insert(ticket, pending);
        }
        let wakers = state_ref.deliver();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        outcome
    }
}

impl State {
    /// Hands the effects of a step to those who wait; answers whom to wake.
    fn deliver(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for effect in self.effects.drain(..) {
            let Some(pending) = self.waits.get_mut(&effect.ticket) else {
                debug_assert!(false, "a decision for nobody: {effect:?}");
                continue;
            };
            pending.decision = Some(effect.refusal.map_or(Ok(()), Err));
            wakers.extend(pending.waker.take());
        }
        wakers
    }
}

/// A wait, until its decision is collected.
struct Wait<'a> {
    front: &'a Front,
    ticket: Ticket,
    claim: Option<Claim>,
}

impl Future for Wait<'_> {
    type Output = Result<(), Refusal>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.front.0.lock();
        let pending = state
            .waits
            .get_mut(&self.ticket)
            .expect("polled after its end");
        let Some(decision) = pending.decision.take() else {
            let known = pending.waker.as_ref();
            if !known.is_some_and(|waker| waker.will_wake(context.waker())) {
                let stale = pending.waker.replace(context.waker().clone());
                drop(state);
                // Dropping a waker may drop a task, and with it guards that need the lock.
                drop(stale);
            }
            return Poll::Pending;
        };
        let pending = state.waits.remove(&self.ticket);
        drop(state);
        drop(pending);
        self.claim = None;
        Poll::Ready(decision)
    }
}

impl Drop for Wait<'_> {
    /// Rule 9: whether the grant is on its way or not, nothing stays.
    fn drop(&mut self) {
        let Some(claim) = self.claim.take() else {
            return;
        };
        let mut state = self.front.0.lock();
        let state_ref = &mut *state;
        let mut pending = state_ref.waits.remove(&self.ticket);
        let (core, effects) = (&mut state_ref.core, &mut state_ref.effects);
        match pending.as_mut().and_then(|pending| pending.decision.take()) {
            None => {
                core.cancel(self.ticket, effects);
            }
            Some(Ok(())) => claim.give_back(core, effects),
            Some(Err(_)) => {}
        }
        let wakers = state_ref.deliver();
        drop(state);
        drop(pending);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Claim {
    fn give_back(self, core: &mut Core, effects: &mut Effects) {
        match self {
            Claim::Slot(owner, queue, demand) => {
                if let Some(demand) = demand {
                    core.give_back_charge(owner, queue, demand, effects);
                }
                core.give_back_slot(owner, queue, effects);
            }
            Claim::Locks(owner, locks) => core.give_back_locks(owner, &locks, effects),
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
