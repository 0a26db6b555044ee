//! A statement between registering and unregistering.

use std::sync::Arc;
use std::time::Duration;

use forebay_admission::{Charge, QueueId, Slot};
use forebay_catalog::Priority;
use forebay_lifecycle::{
    AdmissionState, AuditObject, ClauseColumns, Facts, Outcome, QueueReasons, Redactor,
    RegisteredQuery,
};
use forebay_sql::{Class, LockMode, Parsed, RelationUse};
use tokio::time::Instant;

use crate::admit::GoverningQueue;
use crate::interrupt::{Interrupt, Interruptor};
use crate::measured::MeasuredPlan;
use crate::queues::tally::Tally;
use crate::session::deadline;
use crate::sessions::SessionHandle;
use crate::settings::Settings;
use crate::usage::{UsageLimits, UsageWatch};
use crate::waiting::Wanted;
use crate::way::Launched;
use crate::{Error, Result, Session};

/// What a statement keeps of its queue until its end.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    pub(crate) charge: Option<Charge>,
    pub(crate) slot: Option<Slot>,
}

/// A statement between registering and unregistering, with everything that it holds.
///
/// Dropping it gives everything back and ends the query as cancelled; [`Running::finish`] ends
/// it with an outcome.
#[derive(Debug)]
pub(crate) struct Running {
    query: Option<RegisteredQuery>,
    handle: Arc<SessionHandle>,
    interruptor: Arc<Interruptor>,
    began: std::time::Instant,
    /// The queue that governs it, where its duration is counted.
    governed_by: Option<QueueId>,
    tally: Arc<Tally>,
    redactor: Arc<Redactor>,
    limits: Limits,
    /// When the statement is cancelled for taking too long; `None` also while suspended.
    deadline: Option<Deadline>,
    /// When it is for running too long.
    execution_deadline: Option<Deadline>,
    /// Looks at what its plan uses, where that is limited.
    usage: Option<UsageWatch>,
    suspended: bool,
    returned_rows: bool,
    hides_plan: bool,
    holds: Holds,
}

/// A relation with the privilege that the statement needs on it, as its lock tells: a statement
/// that only reads takes the weakest.
fn audit_object(used: &RelationUse) -> AuditObject {
    AuditObject {
        name: used.name.join("."),
        kind: "RELATION",
        privilege: match used.mode {
            LockMode::AccessShare => "SELECT",
            LockMode::AccessExclusive => "OWNER",
            _ => "WRITE",
        },
    }
}

/// What the engine tells of a statement's clauses, as its profile shows it.
fn clauses(columns: &forebay_engine::ClauseColumns) -> Arc<ClauseColumns> {
    Arc::new(ClauseColumns {
        select: Arc::clone(&columns.select),
        filter: Arc::clone(&columns.filter),
        join: Arc::clone(&columns.join),
        aggregate: Arc::clone(&columns.aggregate),
        order_by: Arc::clone(&columns.order_by),
    })
}

/// How long a statement may take, `None` for ever, and what its plan may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// From its beginning, or the moment its client asks for more rows, with all waits.
    pub(crate) statement: Option<Duration>,
    /// From the moment its plan starts.
    pub(crate) execution: Option<Duration>,
    /// While its client takes nothing of what it is sent.
    pub(crate) unread: Option<Duration>,
    /// Of files and of CPU time.
    pub(crate) usage: UsageLimits,
}

impl Limits {
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            statement: settings.timeout("statement_timeout"),
            execution: settings.timeout("exec_time_limit"),
            unread: settings.timeout("idle_cursor_timeout"),
            usage: UsageLimits::of(settings),
        }
    }

    fn statement_deadline(self) -> Option<Deadline> {
        let limit = self.statement?;
        Some((Instant::now() + limit, Interrupt::StatementTimeout(limit)))
    }

    fn execution_deadline(self) -> Option<Deadline> {
        let limit = self.execution?;
        Some((Instant::now() + limit, Interrupt::ExecTimeLimit(limit)))
    }

    fn unread_deadline(self) -> Option<Deadline> {
        let limit = self.unread?;
        Some((Instant::now() + limit, Interrupt::UnreadResult(limit)))
    }
}

/// When a statement is interrupted, and by what.
type Deadline = (Instant, Interrupt);

impl Running {
    pub(crate) fn new(
        query: RegisteredQuery,
        handle: Arc<SessionHandle>,
        tally: Arc<Tally>,
        redactor: Arc<Redactor>,
        limits: Limits,
    ) -> Self {
        let interruptor = Interruptor::new();
        handle.query_begins(query.id(), &interruptor);
        handle.set_running(Some(Arc::clone(&interruptor)));
        Self {
            query: Some(query),
            handle,
            interruptor,
            began: std::time::Instant::now(),
            governed_by: None,
            tally,
            redactor,
            limits,
            deadline: limits.statement_deadline(),
            execution_deadline: None,
            usage: None,
            suspended: false,
            returned_rows: false,
            hides_plan: false,
            holds: Holds::default(),
        }
    }

    /// Nobody is to be shown the statement's plan.
    pub(crate) fn hide_plan(&mut self) {
        self.hides_plan = true;
    }

    /// The statement was granted a slot.
    pub(crate) fn took(&self, slot: &Slot) {
        if slot.is_overcommitted() {
            self.learn(|facts| facts.overcommitted = true);
        }
    }

    /// Takes over what the statement keeps until its end.
    pub(crate) fn hold(&mut self, holds: Holds) {
        self.holds = holds;
    }

    /// The resource queue that it has a slot of.
    pub(crate) fn queue(&self) -> Option<QueueId> {
        self.holds.slot.as_ref().map(Slot::queue)
    }

    /// The statement asks for what it may have to wait for.
    pub(crate) fn asks_for(&self, wanted: &Wanted) {
        if let Wanted::Queue { .. } = wanted {
            self.learn(|facts| facts.admission = AdmissionState::Asked);
            self.event("Submit for admission");
        }
    }

    /// The statement waits.
    pub(crate) fn pending(&self, wanted: &Wanted, reason: String) {
        let Some(query) = &self.query else { return };
        match wanted {
            Wanted::Queue { .. } => {
                let latest: Arc<str> = reason.as_str().into();
                query.learn(|facts| {
                    let initial = match facts.queue_reasons.take() {
                        Some(reasons) => reasons.initial,
                        None => Arc::clone(&latest),
                    };
                    facts.queue_reasons = Some(QueueReasons { initial, latest });
                });
                query.set_pending("Queued", reason);
            }
            Wanted::Locks { .. } => {
                query.set_pending(format!("Waiting for locks: {reason}"), reason);
            }
        }
    }

    /// The answer to what it has asked for.
    pub(crate) fn answered(&self, wanted: &Wanted, state: AdmissionState) {
        if let Wanted::Queue { .. } = wanted {
            self.learn(|facts| facts.admission = state);
            if state == AdmissionState::Admitted {
                self.event("Completed admission");
            }
        }
    }

    fn event(&self, label: &'static str) {
        if let Some(query) = &self.query {
            query.event(label);
        }
    }

    /// The statement runs on threads of this priority.
    pub(crate) fn runs_at(&self, priority: Priority) {
        self.handle.status.lock().priority = Some(priority);
    }

    /// What governs the statement, and what it reads or writes.
    pub(crate) fn governed(&mut self, queue: Option<&GoverningQueue>, class: &Class) {
        self.governed_by = queue.map(|queue| queue.id);
        self.learn(|facts| {
            facts.queue = queue.map(|queue| Arc::clone(&queue.name));
            facts.tables = class.relations.iter().map(|r| r.name.join(".")).collect();
            facts.objects = class.relations.iter().map(audit_object).collect();
        });
    }

    /// The statement gives back what it has, and waits again.
    pub(crate) fn steps_aside(&self) {
        self.learn(|facts| facts.stepped_aside += 1);
        self.event("Stepped aside");
    }

    /// The plan runs.
    pub(crate) fn started(&mut self, launched: &Launched) {
        self.execution_deadline = self.limits.execution_deadline();
        self.usage = UsageWatch::over(&launched.metrics, self.limits.usage, &self.interruptor);
        let Some(query) = &self.query else {
            return;
        };
        query.learn(|facts| {
            facts.planning += launched.planning_time;
            facts.estimated_cost = Some(launched.cost);
            facts.memory_granted_bytes = launched.memory_granted();
            facts.memory_estimate_bytes = Some(launched.metrics.estimated_memory_bytes());
            facts.columns = Some(Arc::clone(&launched.columns));
            facts.clauses = Some(clauses(&launched.clauses));
            facts.cache_hits = Some(launched.cache_hits);
        });
        if !self.hides_plan {
            let (plan, redactor) = (launched.metrics.clone(), Arc::clone(&self.redactor));
            query.attach_plan(Arc::new(MeasuredPlan { plan, redactor }));
        }
        query.event_at(launched.planned, "Planning finished");
        query.set_running_since(launched.began);
    }

    /// The statement has waited for admission.
    pub(crate) fn waited(&self, wanted: &Wanted, time: Duration) {
        self.learn(|facts| match wanted {
            Wanted::Queue { .. } => facts.queue_wait += time,
            Wanted::Locks { .. } => facts.lock_wait += time,
        });
        if let Wanted::Locks { .. } = wanted {
            self.event("Locks granted");
        }
    }

    /// Adds to what is known of the statement.
    pub(crate) fn learn(&self, add: impl FnOnce(&mut Facts)) {
        if let Some(query) = &self.query {
            query.learn(add);
        }
    }

    /// The client gets `rows` more.
    pub(crate) fn count_rows(&self, rows: u64) {
        self.learn(|facts| facts.rows_returned += rows);
    }

    /// The statement has written so many rows, into a table unless it is `COPY … TO` a file.
    pub(crate) fn wrote(&self, class: &Class, rows: u64) {
        if class.statement_type != "COPY" {
            self.learn(|facts| facts.rows_modified = Some(rows));
        }
    }

    /// More rows are asked for than those that were given `time` ago.
    pub(crate) fn waited_for_client(&self, time: Duration) {
        self.learn(|facts| facts.fetch_wait += time);
    }

    /// The plan has given rows.
    pub(crate) fn returned_rows(&mut self) {
        if !self.returned_rows {
            self.returned_rows = true;
            if let Some(query) = &self.query {
                query.rows_available();
            }
        }
    }

    /// The plan has given its last row: what the statement holds goes back, though its client has not
    /// taken all rows yet.
    pub(crate) fn release(&mut self) {
        self.holds = Holds::default();
        self.execution_deadline = None;
        // What its tasks do until they are gone is not the statement's any more.
        self.usage = None;
        if let Some(query) = &self.query {
            query.release();
        }
    }

    /// Looks at what the plan has used.
    ///
    /// # Errors
    /// It has passed a limit (53400).
    pub(crate) fn check_usage(&self) -> Result<()> {
        self.usage.as_ref().map_or(Ok(()), UsageWatch::check)
    }

    /// What can stop the statement, apart from the statement itself.
    pub(crate) fn watch(&self) -> Watch {
        let deadlines = [self.deadline, self.execution_deadline];
        Watch {
            handle: Arc::clone(&self.handle),
            interruptor: Arc::clone(&self.interruptor),
            deadline: deadlines.into_iter().flatten().min_by_key(|(at, _)| *at),
        }
    }

    /// Waits for what stops the statement.
    pub(crate) async fn interrupted(&self) -> Error {
        self.watch().interrupted().await.into()
    }

    /// Waits for what stops the statement while its client is being written to: also a client that
    /// does not read.
    pub(crate) async fn interrupted_while_unread(&self) -> Error {
        let (watch, unread) = (self.watch(), self.limits.unread_deadline());
        tokio::select! {
            biased;
            interrupt = watch.interrupted() => interrupt.into(),
            interrupt = deadline(unread) => interrupt.into(),
        }
    }

    pub(crate) fn suspend(&mut self) {
        self.suspended = true;
        self.show_suspended();
        self.deadline = None;
        self.handle.clear_running(&self.interruptor);
    }

    pub(crate) fn resume(&mut self) {
        if std::mem::take(&mut self.suspended) {
            self.show_suspended();
            self.deadline = self.limits.statement_deadline();
            self.handle.set_running(Some(Arc::clone(&self.interruptor)));
        }
    }

    /// Whether somebody has cancelled it, running or not.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.interruptor.is_thrown()
    }

    fn show_suspended(&self) {
        if let Some(query) = &self.query {
            query.set_waits_for_client(self.suspended);
        }
    }

    /// Unregisters the query with how it went.
    pub(crate) fn finish(mut self, outcome: Result<(), &Error>) {
        let Some(query) = self.query.take() else {
            return;
        };
        // An error may quote what the statement has in it.
        let message = |error: &Error| self.redactor.redact(&error.message).into_owned();
        let outcome = match outcome {
            Ok(()) => Outcome::Finished,
            Err(error) if error.sqlstate == "57014" => Outcome::Cancelled {
                reason: message(error),
            },
            Err(error) => Outcome::Exception {
                sqlstate: error.sqlstate.to_owned(),
                message: message(error),
            },
        };
        // Somebody else may have closed the query a moment ago; then it is closed.
        if let Ok(pushed_back) = query.unregister(outcome) {
            self.handle.push_back(pushed_back);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nobody has said how it went: it was given up. The session, or whoever ends it, waits for
        // room in the pool.
        if let Some(query) = self.query.take()
            && let Ok(pushed_back) = query.give_up()
        {
            self.handle.push_back(pushed_back);
        }
        self.tally.ended(self.governed_by, self.began);
        self.handle.query_ended(&self.interruptor);
        self.handle.clear_running(&self.interruptor);
    }
}

/// Watches for everything that interrupts a statement.
pub(crate) struct Watch {
    handle: Arc<SessionHandle>,
    interruptor: Arc<Interruptor>,
    deadline: Option<Deadline>,
}

impl Watch {
    /// Runs `work` until it is done or the statement is interrupted. Pinned work: each function that
    /// takes a future by value makes room for it twice, in every connection.
    pub(crate) async fn over<T>(&self, work: impl Future<Output = Result<T>> + Unpin) -> Result<T> {
        tokio::select! {
            biased;
            interrupt = self.interrupted() => Err(interrupt.into()),
            result = work => result,
        }
    }

    async fn interrupted(&self) -> Interrupt {
        tokio::select! {
            biased;
            interrupt = self.handle.termination.interrupted() => interrupt,
            interrupt = self.interruptor.interrupted() => interrupt,
            interrupt = deadline(self.deadline) => interrupt,
        }
    }
}

/// A preparation that can be cancelled and times out like a statement.
pub(crate) struct Preparation(Watch);

impl Preparation {
    /// As [`Watch::over`].
    pub(crate) async fn over<T>(&self, work: impl Future<Output = Result<T>> + Unpin) -> Result<T> {
        self.0.over(work).await
    }
}

impl Drop for Preparation {
    fn drop(&mut self) {
        self.0.handle.clear_running(&self.0.interruptor);
    }
}

impl Session {
    /// Watches over the resolving of a statement that is being prepared. Inside a statement
    /// (SQL's `PREPARE`) that statement's own watch stays the one that a cancel finds.
    pub(crate) fn watch_preparation(&self, parsed: &Parsed) -> Preparation {
        let interruptor = Interruptor::new();
        if self.handle.set_running_if_idle(&interruptor) {
            self.show_preparation(&parsed.text);
        }
        let limits = Limits::of(&self.settings);
        Preparation(Watch {
            handle: Arc::clone(&self.handle),
            interruptor,
            deadline: limits.statement_deadline(),
        })
    }
}
