//! Small worlds: a few transactions that do what real ones do, one step at a time, over the real
//! core, in every order.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use forebay_admission::{
    Core, Cost, Demand, Effect, Effects, Limits, LockMode, LockRequest, Outcome, Owner, QueueId,
    Reason, Refusal, RelationId, Ticket, Totals,
};
use stateright::{Model, Property};

/// A statement that a transaction may run.
#[derive(Clone, Debug, Default)]
pub struct Statement {
    /// The queue that governs it.
    pub queue: Option<u32>,
    /// Relations and modes.
    pub locks: Vec<(u32, LockMode)>,
    /// In the old order: relations that are locked only after the slot is there.
    pub late: Vec<(u32, LockMode)>,
    /// Cost in whole units, memory in bytes; known after planning.
    pub demand: (u32, u64),
    /// Whether it stays open as a cursor when it has run.
    pub cursor: bool,
}

/// What is searched.
#[derive(Clone, Debug)]
pub struct World {
    /// The first limits of each queue, and those that `ALTER` may give it.
    pub queues: Vec<(Limits, Vec<Limits>)>,
    /// How many `ALTER`s there are.
    pub alters: u8,
    /// For each transaction: how many statements it runs, and which it chooses from.
    pub transactions: Vec<(u8, Vec<Statement>)>,
    /// Whether waits are cancelled and clients vanish.
    pub interrupts: bool,
    /// The old order: what the parser names is locked before the slot is there.
    pub locks_first: bool,
    /// Whether deadlocks are resolved.
    pub resolves: bool,
}

impl World {
    pub fn new(queues: &[Limits], transactions: Vec<(u8, Vec<Statement>)>) -> Self {
        Self {
            queues: queues.iter().map(|limits| (*limits, Vec::new())).collect(),
            alters: 0,
            transactions,
            interrupts: false,
            locks_first: false,
            resolves: true,
        }
    }
}

/// Where a transaction is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Between statements.
    Idle,
    /// Wants the slot next.
    Start,
    AwaitsSlot(Order),
    /// Wants its locks next.
    Admitted,
    AwaitsLocks(Order),
    /// Wants its late locks next.
    Late,
    AwaitsLateLocks(Order),
    /// Is planned and wants its charge next.
    Locked,
    AwaitsReadmission(Order),
    Running,
    Ended,
}

/// A ticket, of which the model sees only that it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order(Ticket);

impl Hash for Order {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

#[derive(Clone, Debug, Hash)]
pub struct Transaction {
    pub phase: Phase,
    pub left: u8,
    /// The statement it is at, by its number in the menu.
    pub current: usize,
    pub has_slot: bool,
    pub has_charge: bool,
    pub statement_locks: bool,
    pub late_locks: bool,
    /// Open cursors, by statement.
    pub cursors: Vec<usize>,
    pub kept: Vec<LockRequest>,
    pub failed: bool,
}

#[derive(Clone)]
pub struct State {
    pub core: Core,
    pub transactions: Vec<Transaction>,
    pub alters: u8,
    pub flaw: Option<String>,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.core.hash(state);
        self.transactions.hash(state);
        self.alters.hash(state);
        self.flaw.hash(state);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        let fingerprint = |state: &Self| {
            let mut hasher = DefaultHasher::new();
            state.hash(&mut hasher);
            hasher.finish()
        };
        fingerprint(self) == fingerprint(other)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, t) in self.transactions.iter().enumerate() {
            writeln!(f, "T{i}: {t:?}")?;
        }
        for queue in self.core.queues() {
            writeln!(f, "{queue:?}")?;
        }
        writeln!(f, "{:?}\nflaw: {:?}", self.core.locks(), self.flaw)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Choose(usize, usize),
    Step(usize),
    CloseCursor(usize),
    Commit(usize),
    Cancel(usize),
    Disconnect(usize),
    Alter(usize, usize),
}

fn owner(transaction: usize) -> Owner {
    Owner(transaction as u64)
}

fn requests(locks: &[(u32, LockMode)]) -> Vec<LockRequest> {
    locks
        .iter()
        .map(|(r, mode)| (RelationId(*r), *mode))
        .collect()
}

impl Statement {
    fn locks(&self) -> Vec<LockRequest> {
        requests(&self.locks)
    }

    fn demand(&self) -> Demand {
        Demand {
            cost: Cost::new(self.demand.0.into()),
            memory_bytes: self.demand.1,
        }
    }

    fn queue(&self) -> QueueId {
        QueueId(self.queue.expect("a governed statement"))
    }
}

impl Transaction {
    fn waits(&self) -> Option<Ticket> {
        match self.phase {
            Phase::AwaitsSlot(t)
            | Phase::AwaitsLocks(t)
            | Phase::AwaitsLateLocks(t)
            | Phase::AwaitsReadmission(t) => Some(t.0),
            _ => None,
        }
    }

    /// Gives back what the statement has; its locks stay unless it failed.
    fn end_statement(
        &mut self,
        core: &mut Core,
        i: usize,
        statement: &Statement,
        fx: &mut Effects,
    ) {
        if std::mem::take(&mut self.has_charge) {
            core.give_back_charge(owner(i), statement.queue(), statement.demand(), fx);
        }
        if std::mem::take(&mut self.has_slot) {
            core.give_back_slot(owner(i), statement.queue(), fx);
        }
        if std::mem::take(&mut self.statement_locks) {
            self.kept.extend(statement.locks());
        }
        if std::mem::take(&mut self.late_locks) {
            self.kept.extend(requests(&statement.late));
        }
        self.phase = Phase::Idle;
    }

    fn close_cursor(&mut self, core: &mut Core, i: usize, menu: &[Statement], fx: &mut Effects) {
        let statement = &menu[self.cursors.pop().expect("a cursor is open")];
        core.give_back_charge(owner(i), statement.queue(), statement.demand(), fx);
        core.give_back_slot(owner(i), statement.queue(), fx);
    }

    fn end(&mut self, core: &mut Core, i: usize, menu: &[Statement], fx: &mut Effects) {
        if let Some(ticket) = self.waits() {
            core.cancel(ticket, fx);
        }
        let statement = menu[self.current].clone();
        self.end_statement(core, i, &statement, fx);
        while !self.cursors.is_empty() {
            self.close_cursor(core, i, menu, fx);
        }
        let kept = std::mem::take(&mut self.kept);
        core.give_back_locks(owner(i), &kept, fx);
        core.end(owner(i));
        self.phase = Phase::Ended;
        self.left = 0;
    }
}

impl World {
    fn menu(&self, i: usize) -> &[Statement] {
        &self.transactions[i].1
    }

    /// The next step of a statement.
    fn step(&self, s: &mut State, i: usize, fx: &mut Effects) {
        let t = &mut s.transactions[i];
        let statement = &self.menu(i)[t.current];
        let core = &mut s.core;
        match t.phase {
            Phase::Start => match statement.queue {
                Some(queue) => {
                    let queue = QueueId(queue);
                    let before = core.queues().into_iter().find(|q| q.id == queue);
                    let before = before.expect("queues stay");
                    let has_one = t
                        .cursors
                        .iter()
                        .any(|c| self.menu(i)[*c].queue == statement.queue);
                    let outcome = core.slot(owner(i), queue, None, fx);
                    let after = core.queues().into_iter().find(|q| q.id == queue);
                    let out_of_turn = |totals: Totals| totals.passed + totals.overcommitted;
                    let resolved = out_of_turn(after.expect("queues stay").totals)
                        > out_of_turn(before.totals);
                    let overtakes = !before.waiters.is_empty() && !has_one && !resolved;
                    if outcome == Outcome::Granted && overtakes {
                        s.flaw.get_or_insert("a new request overtook a wait".into());
                    }
                    Self::after(t, outcome, Phase::AwaitsSlot);
                }
                None => self.after_slot(t),
            },
            Phase::Admitted => {
                let locks = statement.locks();
                let outcome = core.lock(owner(i), &locks, fx);
                Self::after(t, outcome, Phase::AwaitsLocks);
            }
            Phase::Late => {
                let outcome = core.lock(owner(i), &requests(&statement.late), fx);
                Self::after(t, outcome, Phase::AwaitsLateLocks);
            }
            Phase::Locked => match statement.queue {
                None => t.phase = Phase::Running,
                Some(_) => match core.charge(owner(i), statement.queue(), statement.demand()) {
                    Ok(true) => {
                        t.has_charge = true;
                        t.phase = Phase::Running;
                    }
                    Ok(false) => {
                        let locks = if t.statement_locks {
                            statement.locks()
                        } else {
                            Vec::new()
                        };
                        (t.has_slot, t.statement_locks) = (false, false);
                        let (queue, demand) = (statement.queue(), statement.demand());
                        let outcome = core.step_aside(owner(i), queue, demand, &locks, fx);
                        Self::after(t, outcome, Phase::AwaitsReadmission);
                    }
                    Err(_) => self.fail(s, i, fx),
                },
            },
            Phase::Running => {
                if statement.cursor {
                    // What it has stays: it belongs to the cursor from here on.
                    (t.has_slot, t.has_charge) = (false, false);
                    t.cursors.push(t.current);
                }
                t.end_statement(core, i, statement, fx);
            }
            _ => unreachable!("nothing to do next"),
        }
    }

    /// After a request that does not say what is next when it is granted at once.
    fn after(t: &mut Transaction, outcome: Outcome, awaits: fn(Order) -> Phase) {
        match outcome {
            Outcome::Waiting(ticket) => t.phase = awaits(Order(ticket)),
            Outcome::Granted => t.phase = awaits(Order(Ticket(0))),
            Outcome::Refused(_) => t.failed = true,
        }
    }

    fn after_slot(&self, t: &mut Transaction) {
        t.phase = if self.locks_first {
            Phase::Late
        } else {
            Phase::Admitted
        };
    }

    fn after_locks(&self, t: &mut Transaction) {
        t.phase = if self.locks_first {
            Phase::Start
        } else {
            Phase::Locked
        };
    }

    /// What a granted wait leads to.
    fn granted(&self, t: &mut Transaction) {
        match t.phase {
            Phase::AwaitsSlot(_) => {
                t.has_slot = true;
                self.after_slot(t);
            }
            Phase::AwaitsLocks(_) => {
                t.statement_locks = true;
                // A statement that was readmitted has its charge already.
                if t.has_charge {
                    t.phase = Phase::Running;
                } else {
                    self.after_locks(t);
                }
            }
            Phase::AwaitsLateLocks(_) => {
                t.late_locks = true;
                t.phase = Phase::Locked;
            }
            Phase::AwaitsReadmission(_) => {
                (t.has_slot, t.has_charge) = (true, true);
                t.phase = Phase::Admitted;
            }
            _ => unreachable!("granted without a wait"),
        }
    }

    /// A statement fails: its transaction keeps its earlier locks and cursors until it ends.
    fn fail(&self, s: &mut State, i: usize, fx: &mut Effects) {
        let t = &mut s.transactions[i];
        let statement = self.menu(i)[t.current].clone();
        t.end_statement(&mut s.core, i, &statement, fx);
        t.left = 0;
        t.failed = false;
    }

    fn settle(&self, s: &mut State, fx: &mut Effects) {
        loop {
            for i in 0..s.transactions.len() {
                let t = &mut s.transactions[i];
                if t.waits() == Some(Ticket(0)) {
                    self.granted(t);
                    self.skip_charged(s, i);
                }
                if s.transactions[i].failed {
                    self.fail(s, i, fx);
                }
            }
            if fx.is_empty() {
                return;
            }
            for effect in std::mem::take(fx) {
                self.apply(s, &effect, fx);
            }
        }
    }

    fn skip_charged(&self, s: &mut State, i: usize) {
        let t = &mut s.transactions[i];
        if t.phase == Phase::Locked && t.has_charge {
            t.phase = Phase::Running;
        }
    }

    fn apply(&self, s: &mut State, effect: &Effect, fx: &mut Effects) {
        let i = effect.owner.0 as usize;
        if s.transactions[i].waits() != Some(effect.ticket) {
            s.flaw.get_or_insert(format!("{effect:?} decides no wait"));
            return;
        }
        match &effect.refusal {
            None => {
                self.granted(&mut s.transactions[i]);
                self.skip_charged(s, i);
            }
            Some(refusal) => {
                let phase = &s.transactions[i].phase;
                let awaits_locks =
                    matches!(phase, Phase::AwaitsLocks(_) | Phase::AwaitsLateLocks(_));
                if matches!(refusal, Refusal::Deadlock { .. }) && !awaits_locks {
                    s.flaw.get_or_insert("a queue's wait was aborted".into());
                }
                self.fail(s, i, fx);
            }
        }
    }

    /// What must hold between steps; the core itself checks conservation and lost wake-ups.
    fn examine(&self, s: &mut State) {
        let flaw = self
            .limit_passed(s)
            .or_else(|| self.dark_wait(s))
            .or_else(|| {
                let ended = s.transactions.iter().all(|t| t.phase == Phase::Ended);
                let empty = s
                    .core
                    .queues()
                    .iter()
                    .all(|q| q.slots == 0 && q.taken == Demand::default());
                (ended && !(s.core.is_idle() && empty)).then(|| "something was kept".to_owned())
            });
        if let Some(flaw) = flaw {
            s.flaw.get_or_insert(flaw);
        }
    }

    fn limit_passed(&self, s: &State) -> Option<String> {
        for (queue, (first, others)) in s.core.queues().iter().zip(&self.queues) {
            let most = |part: fn(&Limits) -> Option<u64>| {
                let all = others.iter().chain([first]).map(part);
                all.collect::<Option<Vec<_>>>()
                    .and_then(|v| v.into_iter().max())
            };
            let running = s.transactions.iter().enumerate().filter(|(i, t)| {
                t.phase == Phase::Running && self.menu(*i)[t.current].queue == Some(queue.id.0)
            });
            if let Some(limit) = most(|l| l.active_statements.map(u64::from))
                && running.count() as u64 > limit
            {
                return Some(format!(
                    "more statements run in {:?} than it has slots",
                    queue.id
                ));
            }
            let overcommitted = queue.totals.overcommitted > 0;
            if let Some(limit) = most(|l| l.active_statements.map(u64::from))
                && queue.slots as u64 > limit
                && !queue.holdings.iter().any(|h| h.overcommitted)
            {
                return Some(format!("a slot too many in {:?}", queue.id));
            }
            let charged = queue
                .holdings
                .iter()
                .filter(|h| h.charged != Demand::default())
                .count();
            if let Some(limit) = most(|l| l.max_cost.map(|c| c.units() as u64))
                && queue.taken.cost > Cost::new(limit as f64)
                && !overcommitted
                && charged > 1
            {
                return Some(format!("too much cost in {:?}", queue.id));
            }
            if let Some(limit) = most(|l| l.memory_limit_bytes)
                && queue.taken.memory_bytes > limit
                && !overcommitted
            {
                return Some(format!("too much memory in {:?}", queue.id));
            }
        }
        None
    }

    /// Every explanation names somebody who really holds, or really comes first.
    fn dark_wait(&self, s: &State) -> Option<String> {
        let queues = s.core.queues();
        let holds = |queue: QueueId, o: &Owner| {
            queues
                .iter()
                .any(|q| q.id == queue && q.holdings.iter().any(|h| h.owner == *o))
        };
        s.core.waiters().into_iter().find_map(|waiter| {
            let named = match &waiter.reason {
                Reason::Turn { queue, head } => queues
                    .iter()
                    .any(|q| q.id == *queue && q.waiters.first().is_some_and(|w| w.owner == *head)),
                Reason::Slots { queue, holders, .. }
                | Reason::Cost { queue, holders, .. }
                | Reason::Idle { queue, holders, .. }
                | Reason::Memory { queue, holders, .. }
                | Reason::HeldBack { queue, holders } => {
                    !holders.is_empty() && holders.named.iter().all(|o| holds(*queue, o))
                }
                Reason::Lock {
                    relation,
                    holders,
                    ahead,
                    ..
                } => {
                    let locks = s.core.locks();
                    let granted = |o: &Owner, granted| {
                        locks.iter().any(|l| {
                            l.owner == *o && l.relation == *relation && l.granted == granted
                        })
                    };
                    !(holders.is_empty() && ahead.is_empty())
                        && holders.named.iter().all(|o| granted(o, true))
                        && ahead.named.iter().all(|o| granted(o, false))
                }
            };
            let alone = s.core.explain(waiter.ticket);
            if alone.as_ref() != Some(&waiter) {
                return Some(format!("{waiter:?} among all, {alone:?} alone"));
            }
            (!named || waiter.place == 0).then(|| format!("nobody is named by {waiter:?}"))
        })
    }
}

/// Whether a step granted a lock before an earlier wait that conflicts, though nothing was ever
/// let past: worked out from the views alone.
fn overtaking(before: &Core, after: &Core) -> Option<String> {
    if after.lock_totals().passed > 0 {
        return None;
    }
    let held = |core: &Core, owner, lock: LockRequest| {
        let mut locks = core.locks().into_iter();
        locks.any(|l| l.granted && l.owner == owner && (l.relation, l.mode) == lock)
    };
    let waits = before.locks().into_iter().filter(|l| !l.granted);
    let still: Vec<_> = waits
        .filter_map(|l| {
            let ticket = before.wait_of(l.owner)?;
            (after.wait_of(l.owner) == Some(ticket)).then_some((ticket, l))
        })
        .collect();
    let granted = after.locks().into_iter().filter(|l| l.granted);
    let new = granted.filter(|l| !held(before, l.owner, (l.relation, l.mode)));
    for lock in new {
        let asked = before.wait_of(lock.owner).unwrap_or(Ticket(u64::MAX));
        let overtaken = still.iter().find(|(ticket, wait)| {
            *ticket < asked
                && wait.owner != lock.owner
                && wait.relation == lock.relation
                && wait.mode.conflicts(lock.mode)
        });
        if let Some((_, wait)) = overtaken {
            return Some(format!("{lock:?} overtook {wait:?}"));
        }
    }
    None
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut core = match self.resolves {
            true => Core::default(),
            false => Core::without_deadlock_resolution(),
        };
        for (i, (limits, _)) in self.queues.iter().enumerate() {
            core.set_limits(QueueId(i as u32), *limits, &mut Effects::new());
        }
        let transactions = self.transactions.iter().enumerate().map(|(i, (left, _))| {
            core.begin(owner(i));
            Transaction {
                phase: Phase::Idle,
                left: *left,
                current: 0,
                has_slot: false,
                has_charge: false,
                statement_locks: false,
                late_locks: false,
                cursors: Vec::new(),
                kept: Vec::new(),
                failed: false,
            }
        });
        let transactions = transactions.collect();
        vec![State {
            core,
            transactions,
            alters: self.alters,
            flaw: None,
        }]
    }

    fn actions(&self, s: &State, actions: &mut Vec<Action>) {
        for (i, t) in s.transactions.iter().enumerate() {
            match t.phase {
                Phase::Ended => continue,
                Phase::Idle => {
                    if t.left > 0 {
                        actions.extend((0..self.menu(i).len()).map(|c| Action::Choose(i, c)));
                    }
                    if !t.cursors.is_empty() {
                        actions.push(Action::CloseCursor(i));
                    }
                    actions.push(Action::Commit(i));
                }
                _ if t.waits().is_some() => {
                    if self.interrupts {
                        actions.push(Action::Cancel(i));
                    }
                }
                _ => actions.push(Action::Step(i)),
            }
            if self.interrupts && t.phase != Phase::Idle {
                actions.push(Action::Disconnect(i));
            }
        }
        if s.alters > 0 {
            for (q, (_, others)) in self.queues.iter().enumerate() {
                actions.extend((0..others.len()).map(|n| Action::Alter(q, n)));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut s = last.clone();
        let mut fx = Effects::new();
        match action {
            Action::Choose(i, choice) => {
                let t = &mut s.transactions[i];
                t.left -= 1;
                t.current = choice;
                t.phase = if self.locks_first {
                    Phase::Admitted
                } else {
                    Phase::Start
                };
            }
            Action::Step(i) => self.step(&mut s, i, &mut fx),
            Action::CloseCursor(i) => {
                let t = &mut s.transactions[i];
                t.close_cursor(&mut s.core, i, self.menu(i), &mut fx);
            }
            Action::Commit(i) | Action::Disconnect(i) => {
                let t = &mut s.transactions[i];
                t.end(&mut s.core, i, self.menu(i), &mut fx);
            }
            Action::Cancel(i) => {
                let ticket = s.transactions[i].waits().expect("it waits");
                s.core.cancel(ticket, &mut fx);
                self.fail(&mut s, i, &mut fx);
            }
            Action::Alter(q, n) => {
                s.alters -= 1;
                s.core
                    .set_limits(QueueId(q as u32), self.queues[q].1[n], &mut fx);
            }
        }
        self.settle(&mut s, &mut fx);
        self.examine(&mut s);
        if let Some(flaw) = overtaking(&last.core, &s.core) {
            s.flaw.get_or_insert(flaw);
        }
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("somebody can always move", |_, s: &State| {
                let mut waits = s.transactions.iter().filter(|t| t.waits().is_some());
                let mut moves = s
                    .transactions
                    .iter()
                    .filter(|t| t.waits().is_none() && t.phase != Phase::Ended);
                waits.next().is_none() || moves.next().is_some()
            }),
            Property::always("nothing is wrong", |_, s: &State| s.flaw.is_none()),
        ]
    }
}
