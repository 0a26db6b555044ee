//! One query: who asked what, and what became of it.

use crate::profile::{self, FrozenProfile, Operator, PlanProfile, Profile, ScanProgress, Totals};
use crate::sync::{AtomicBool, Mutex};
use crate::timeline::{Timeline, TimelineEvent, whole_micros};
use crate::{Facts, QueryId, QueryState};
use chrono::{DateTime, TimeDelta, Utc};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The SQLSTATE of a query that ended because it was cancelled: PostgreSQL's `query_canceled`.
pub const SQLSTATE_CANCELLED: &str = "57014";

/// What is known about a query when it is registered. It never changes.
///
/// Texts are shared ([`Arc<str>`]) because a session gives the same ones to each of its statements,
/// and registering must not copy them.
#[derive(Debug, Clone)]
pub struct NewQuery {
    /// The query's name, where its client has been told one already; else a new one is made.
    pub id: Option<QueryId>,
    /// The session's number, which is also its backend process id for PostgreSQL clients.
    pub session_id: i32,
    /// The front end it came through, for example `postgres`.
    pub protocol: &'static str,
    /// The version of that protocol, where it has several.
    pub protocol_version: Option<&'static str>,
    /// The version of the server, as tools that were made for Impala read it; may be empty.
    pub impala_version: &'static str,
    /// Where the server is, `host:port`; may be empty.
    pub coordinator: Arc<str>,
    /// The client's address and port, or `local`.
    pub client_address: Arc<str>,
    /// The name that the client gave itself; may be empty.
    pub application_name: Arc<str>,
    /// The role that logged in.
    pub role: Arc<str>,
    /// The role in force, after `SET ROLE` or `SET SESSION AUTHORIZATION`.
    pub effective_role: Arc<str>,
    /// The database that the session is connected to.
    pub database: Arc<str>,
    /// The statement's text as the client sent it.
    pub statement: Arc<str>,
    /// The kind of statement as its command tag begins, for example `SELECT`.
    pub statement_type: &'static str,
    /// The settings that are not at their defaults: `name=value`, separated by commas.
    pub options: Arc<str>,
    /// Who a proxy says that the client is, where one stands between.
    pub http_origin: Option<Arc<str>>,
}

impl Default for NewQuery {
    /// A query of nobody about nothing, to fill in from.
    fn default() -> Self {
        NewQuery {
            id: None,
            session_id: 0,
            protocol: "",
            protocol_version: None,
            impala_version: "",
            coordinator: Arc::default(),
            client_address: Arc::default(),
            application_name: Arc::default(),
            role: Arc::default(),
            effective_role: Arc::default(),
            database: Arc::default(),
            statement: Arc::default(),
            statement_type: "",
            options: Arc::default(),
            http_origin: None,
        }
    }
}

/// How a query ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With everything that was asked for.
    Finished,
    /// With an error.
    Exception {
        /// The five characters that name the error to programs.
        sqlstate: String,
        /// The message that names it to people.
        message: String,
    },
    /// Because somebody wanted it to end, or because its client went away.
    Cancelled {
        /// Who or what ended it, as a sentence without a full stop.
        reason: String,
    },
}

impl Outcome {
    /// The final state that this outcome means.
    pub const fn state(&self) -> QueryState {
        match self {
            Outcome::Finished => QueryState::Finished,
            Outcome::Exception { .. } => QueryState::Exception,
            Outcome::Cancelled { .. } => QueryState::Cancelled,
        }
    }
}

/// A query's book-keeping. It is shared: by the statement that runs, by the registry, by the log and
/// by everyone who looks.
pub struct Query {
    id: QueryId,
    serial: u64,
    info: NewQuery,
    started_at: DateTime<Utc>,
    /// The clock of the timeline. The wall clock may jump, this one does not.
    started: Instant,
    finalized: AtomicBool,
    waits_for_client: AtomicBool,
    /// The number of its row in the history; 0 as long as it has none.
    row_number: AtomicU64,
    book: Mutex<Book>,
    /// The profile as it stays, from the first look after the end on.
    frozen: Mutex<Option<Frozen>>,
}

/// What stays of a query's plan.
#[derive(Clone)]
struct Frozen {
    profile: FrozenProfile,
    totals: Option<Totals>,
}

/// The part of a query that changes.
struct Book {
    state: QueryState,
    pending_reason: Option<Cow<'static, str>>,
    timeline: Timeline,
    end: Option<(Duration, Outcome)>,
    facts: Facts,
    /// What the operators measure; gone once the profile is frozen.
    plan: Option<Arc<dyn PlanProfile>>,
    /// How far the scans were then.
    progress: Option<ScanProgress>,
    /// How long after its end it was archived.
    archived_after: Option<Duration>,
}

impl Query {
    pub(crate) fn new(info: NewQuery, serial: u64) -> Self {
        Query {
            id: info.id.unwrap_or_else(QueryId::random),
            serial,
            info,
            started_at: Utc::now(),
            started: Instant::now(),
            finalized: AtomicBool::new(false),
            waits_for_client: AtomicBool::new(false),
            row_number: AtomicU64::new(0),
            book: Mutex::new(Book {
                state: QueryState::Created,
                pending_reason: None,
                timeline: Timeline::new("Query submitted"),
                end: None,
                facts: Facts::default(),
                plan: None,
                progress: None,
                archived_after: None,
            }),
            frozen: Mutex::default(),
        }
    }

    /// The query's name.
    pub fn id(&self) -> QueryId {
        self.id
    }

    /// Its place among all that were registered since the server started, from 1.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Who asked what.
    pub fn info(&self) -> &NewQuery {
        &self.info
    }

    /// The resource queue that governs it; nothing for those who need none.
    pub fn queue(&self) -> Option<Arc<str>> {
        self.book.lock().facts.queue.clone()
    }

    /// Rows that the client has been given so far.
    pub fn rows_returned(&self) -> u64 {
        self.book.lock().facts.rows_returned
    }

    /// Whether it has stopped until its client asks for more rows, or closes it.
    pub fn waits_for_client(&self) -> bool {
        self.waits_for_client.load(Ordering::Relaxed)
    }

    /// Notes that its plan has given its first rows.
    pub fn rows_available(&self) {
        self.event(profile::ROWS_AVAILABLE);
    }

    /// Says whether it goes on only when its client asks.
    pub fn set_waits_for_client(&self, waits: bool) {
        self.waits_for_client.store(waits, Ordering::Relaxed);
    }

    /// The number of its row in the history, once it has one.
    pub(crate) fn row_number(&self) -> Option<u64> {
        Some(self.row_number.load(Ordering::Acquire)).filter(|number| *number > 0)
    }

    pub(crate) fn set_row_number(&self, number: u64) {
        self.row_number.store(number, Ordering::Release);
    }

    /// The state now.
    pub fn state(&self) -> QueryState {
        self.book.lock().state
    }

    /// What a pending query waits for; nothing in every other state.
    pub fn pending_reason(&self) -> Option<Cow<'static, str>> {
        self.book.lock().pending_reason.clone()
    }

    /// When it was registered, by the wall clock.
    pub fn started_at(&self) -> DateTime<Utc> {
        self.started_at
    }

    /// When it ended, by the wall clock of its start; nothing while it lives. It is the start plus
    /// the measured duration, so that it is never before the start.
    pub fn ended_at(&self) -> Option<DateTime<Utc>> {
        let (duration, _) = self.book.lock().end.clone()?;
        Some(self.started_at + TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX))
    }

    /// How long it has lived: until now, or until its end.
    pub fn duration(&self) -> Duration {
        match &self.book.lock().end {
            Some((duration, _)) => *duration,
            None => self.started.elapsed(),
        }
    }

    /// How it ended; nothing while it lives.
    pub fn outcome(&self) -> Option<Outcome> {
        self.book
            .lock()
            .end
            .as_ref()
            .map(|(_, outcome)| outcome.clone())
    }

    /// The error or the reason of the cancellation of a query that ended so.
    pub fn error(&self) -> Option<String> {
        match self.outcome()? {
            Outcome::Finished => None,
            Outcome::Exception { message, .. } => Some(message),
            Outcome::Cancelled { reason } => Some(reason),
        }
    }

    /// The SQLSTATE that goes with [`Query::error`].
    pub fn sqlstate(&self) -> Option<String> {
        match self.outcome()? {
            Outcome::Finished => None,
            Outcome::Exception { sqlstate, .. } => Some(sqlstate),
            Outcome::Cancelled { .. } => Some(SQLSTATE_CANCELLED.to_owned()),
        }
    }

    /// What happened so far, oldest first.
    pub fn timeline(&self) -> Vec<TimelineEvent> {
        self.book.lock().timeline.events().to_vec()
    }

    /// What happened last.
    pub fn last_event(&self) -> Option<Cow<'static, str>> {
        let book = self.book.lock();
        let last = book.timeline.events().last();
        last.map(|event| event.label.clone())
    }

    /// Notes on the timeline that something happened now. Ignored once the query has ended.
    pub fn event(&self, label: impl Into<Cow<'static, str>>) {
        self.event_at(Instant::now(), label);
    }

    /// As [`Query::event`], for something that happened a moment ago: after the last event.
    pub fn event_at(&self, at: Instant, label: impl Into<Cow<'static, str>>) {
        let mut book = self.book.lock();
        if !book.state.is_final() {
            let since_start = at.saturating_duration_since(self.started);
            book.timeline.note(since_start, label.into());
        }
    }

    /// What was learnt of it so far.
    pub fn facts(&self) -> Facts {
        self.book.lock().facts.clone()
    }

    /// Adds to what is known of it. Ignored once the query has ended.
    pub fn learn(&self, add: impl FnOnce(&mut Facts)) {
        let mut book = self.book.lock();
        if !book.state.is_final() {
            add(&mut book.facts);
        }
    }

    /// The query runs this plan from now on. Ignored once the query has ended.
    pub fn attach_plan(&self, plan: Arc<dyn PlanProfile>) {
        let mut book = self.book.lock();
        if !book.state.is_final() {
            book.plan = Some(plan);
        }
    }

    /// What the plan's operators have measured so far; empty without a plan. After the end ask
    /// [`Query::profile`].
    pub fn operators(&self) -> Vec<Operator> {
        let plan = self.book.lock().plan.clone();
        plan.map_or_else(Vec::new, |plan| plan.operators())
    }

    /// How far the scans of its plan are, or were at its end; nothing for one that never ran a plan.
    pub fn progress(&self) -> Option<ScanProgress> {
        let book = self.book.lock();
        let (plan, kept) = (book.plan.clone(), book.progress);
        drop(book);
        plan.map(|plan| plan.progress()).or(kept)
    }

    /// Everything that is known of the query. Once it has ended it is the same for everybody,
    /// whether it is archived or not.
    pub fn profile(&self) -> Profile {
        let build = |operators: &[Operator]| {
            profile::build(self, operators, Totals::of(operators).as_ref())
        };
        let living = self.while_living(build);
        living.unwrap_or_else(|| self.frozen().profile())
    }

    /// What its plan has measured in all; `None` without a plan.
    pub(crate) fn totals(&self) -> Option<Totals> {
        let living = self.while_living(Totals::of);
        living.unwrap_or_else(|| self.freeze().totals)
    }

    /// What `look` makes of the operators; `None` if the query has ended by then, since its plan may
    /// be gone.
    fn while_living<T>(&self, look: impl FnOnce(&[Operator]) -> T) -> Option<T> {
        if self.state().is_final() {
            return None;
        }
        let seen = look(&self.operators());
        (!self.state().is_final()).then_some(seen)
    }

    /// The summary table of its operators; empty for a query that never ran a plan.
    pub fn summary(&self) -> String {
        self.profile().summary_table().to_owned()
    }

    /// The profile of a query that has ended, compressed.
    pub(crate) fn frozen(&self) -> FrozenProfile {
        self.freeze().profile
    }

    fn freeze(&self) -> Frozen {
        debug_assert!(self.state().is_final(), "{} still changes", self.id);
        // Whoever comes second waits for the first: there is one profile.
        let mut kept = self.frozen.lock();
        let frozen = kept.get_or_insert_with(|| {
            let operators = self.operators();
            let totals = Totals::of(&operators);
            let profile = profile::build(self, &operators, totals.as_ref());
            // Nobody will ask the plan any more.
            let mut book = self.book.lock();
            book.progress = book.plan.as_ref().map(|plan| plan.progress());
            let plan = book.plan.take();
            drop(book);
            drop(plan);
            Frozen {
                profile: FrozenProfile::of(&profile),
                totals,
            }
        });
        frozen.clone()
    }

    /// Everything but its row is archived now. Only the first call counts.
    pub(crate) fn set_archived(&self) {
        let mut book = self.book.lock();
        if let (None, Some((end, _))) = (book.archived_after, &book.end) {
            book.archived_after = Some(self.started.elapsed().saturating_sub(*end));
        }
    }

    /// How long after its end it was archived; `None` until then.
    pub(crate) fn archived_after(&self) -> Option<Duration> {
        self.book.lock().archived_after
    }

    /// About how many bytes it keeps in memory: its texts and its profile.
    pub(crate) fn size_bytes(&self) -> usize {
        let frozen = self
            .frozen
            .lock()
            .as_ref()
            .map_or(0, |frozen| frozen.profile.as_bytes().len());
        size_of::<Self>() + self.info.statement.len() + frozen
    }

    /// The query waits from now on: `label` says so on its timeline, `reason` says for what. False,
    /// and nothing changed, if it has ended meanwhile.
    pub fn set_pending(
        &self,
        label: impl Into<Cow<'static, str>>,
        reason: impl Into<Cow<'static, str>>,
    ) -> bool {
        let reason = Some(reason.into());
        self.go_to(QueryState::Pending, Instant::now(), label.into(), reason)
    }

    /// The query runs from now on. False, and nothing changed, if it has ended meanwhile.
    pub fn set_running(&self) -> bool {
        self.set_running_since(Instant::now())
    }

    /// As [`Query::set_running`], since a moment ago: after the last event.
    pub fn set_running_since(&self, at: Instant) -> bool {
        self.go_to(QueryState::Running, at, "Execution started".into(), None)
    }

    fn go_to(
        &self,
        next: QueryState,
        at: Instant,
        label: Cow<'static, str>,
        pending_reason: Option<Cow<'static, str>>,
    ) -> bool {
        let mut book = self.book.lock();
        if !book.state.may_become(next) {
            // An end that comes first is everyday life: somebody cancelled. The rest is a mistake.
            debug_assert!(
                book.state.is_final(),
                "query {} is {} already",
                self.id,
                book.state
            );
            return false;
        }
        let since_start = at.saturating_duration_since(self.started);
        book.timeline.note(since_start, label);
        if next == QueryState::Running {
            book.facts
                .started_us
                .get_or_insert(whole_micros(since_start));
        }
        book.state = next;
        book.pending_reason = pending_reason;
        true
    }

    /// Ends the query. True for exactly one caller, whatever the others do at the same moment.
    pub(crate) fn finalize(&self, outcome: Outcome) -> bool {
        if self.finalized.swap(true, Ordering::AcqRel) {
            return false;
        }
        let mut book = self.book.lock();
        let duration = self.started.elapsed();
        book.state = outcome.state();
        book.pending_reason = None;
        let labels = profile::end_labels(&outcome, &book.facts);
        book.timeline.end(duration, labels);
        book.end = Some((duration, outcome));
        drop(book);
        self.end_plan();
        true
    }

    /// Nothing runs any more: what is measured stays as it is.
    pub(crate) fn end_plan(&self) {
        let plan = self.book.lock().plan.clone();
        if let Some(plan) = plan {
            plan.end();
        }
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query")
            .field("id", &self.id)
            .field("state", &self.state())
            .field("statement", &self.info.statement)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(query: &Query) -> Vec<String> {
        query
            .timeline()
            .into_iter()
            .map(|event| event.label.into_owned())
            .collect()
    }

    #[test]
    fn a_life_with_a_wait_and_a_step_aside() {
        let query = Query::new(NewQuery::default(), 1);
        assert_eq!(query.state(), QueryState::Created);
        assert!(query.set_pending("Queued", "a slot of pg_default"));
        assert_eq!(
            query.pending_reason().as_deref(),
            Some("a slot of pg_default")
        );
        assert!(query.set_running());
        assert_eq!(query.pending_reason(), None);
        query.event("Planned");
        assert!(query.set_pending("Queued", "memory of pg_default"));
        assert!(query.set_running());
        assert!(query.finalize(Outcome::Finished));
        assert_eq!(
            labels(&query),
            [
                "Query submitted",
                "Queued",
                "Execution started",
                "Planned",
                "Queued",
                "Execution started",
                "Request finished",
                "Unregister query",
            ]
        );
        assert!(query.timeline().is_sorted_by_key(|event| event.at_micros));
    }

    #[test]
    fn an_end_is_the_end() {
        let query = Query::new(NewQuery::default(), 1);
        assert_eq!((query.ended_at(), query.outcome()), (None, None));
        let outcome = Outcome::Cancelled {
            reason: "the client asked".into(),
        };
        assert!(query.finalize(outcome.clone()));
        assert!(!query.finalize(Outcome::Finished));

        query.event("too late");
        assert!(!query.set_running());
        assert!(!query.set_pending("Queued", "anything"));

        assert_eq!(query.state(), QueryState::Cancelled);
        assert_eq!(query.outcome(), Some(outcome));
        assert_eq!(query.error().as_deref(), Some("the client asked"));
        assert_eq!(query.sqlstate().as_deref(), Some("57014"));
        assert_eq!(
            labels(&query),
            ["Query submitted", "Cancelled", "Unregister query"]
        );
        assert!(query.ended_at().unwrap() >= query.started_at());
        assert_eq!(query.duration(), query.duration());
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "is RUNNING already")]
    fn running_twice_is_a_mistake() {
        let query = Query::new(NewQuery::default(), 1);
        query.set_running();
        query.set_running();
    }
}
