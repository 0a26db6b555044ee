//! All sessions, as others see and signal them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use dashmap::DashMap;
use forebay_admission::{Admission, Owner, OwnerGuard, WaiterView};
use forebay_catalog::{Priority, Snapshot};
use forebay_engine::{
    Backend, BackendControl, CursorRow, EngineError, LockRow, PreparedRow, QueueStatus,
    SessionFacts, SettingRow, WaiterRow,
};
use forebay_lifecycle::{PushBack, QueryId};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::interrupt::{Interrupt, Interruptor};
use crate::portals::{self, Listing};
use crate::queues::shown::{self, Pids};
use crate::queues::tally::Tally;
use crate::settings;

/// What a session does, as `pg_stat_activity` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// A statement runs or its rows are being sent.
    Active,
    /// Nothing runs, no transaction is open.
    Idle,
    /// Nothing runs inside an open transaction.
    IdleInTransaction,
    /// The open transaction has failed.
    IdleInFailedTransaction,
}

impl Activity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::IdleInTransaction => "idle in transaction",
            Self::IdleInFailedTransaction => "idle in transaction (aborted)",
        }
    }
}

/// What of a session changes while it lives and is shown to others.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) activity: Activity,
    pub(crate) application_name: String,
    pub(crate) query: Arc<str>,
    pub(crate) query_id: Option<String>,
    /// The role in force when the current or last statement began.
    pub(crate) role: String,
    /// Statements that have begun.
    pub(crate) statements: u64,
    pub(crate) query_start: Option<DateTime<Utc>>,
    pub(crate) transaction_start: Option<DateTime<Utc>>,
    pub(crate) state_change: DateTime<Utc>,
    pub(crate) wait: Option<(&'static str, String)>,
    /// That of the threads which the current statement runs on.
    pub(crate) priority: Option<Priority>,
}

/// The part of a session that others reach: to look at it, to cancel, to end it.
#[derive(Debug)]
pub struct SessionHandle {
    /// In whose name the session's transactions hold what they hold. They come one after the
    /// other, and a cursor that outlives its transaction keeps what it has, so one name does.
    pub(crate) owner: OwnerGuard,
    /// Process id, unique among the living sessions.
    pub pid: i32,
    /// What a `CancelRequest` must know.
    pub secret: i32,
    pub(crate) user: String,
    pub(crate) superuser: bool,
    pub(crate) database: String,
    pub(crate) client_address: Option<String>,
    pub(crate) client_port: i32,
    /// The session beside which this one runs statements; it has no place of its own.
    leader: Option<i32>,
    pub(crate) started: DateTime<Utc>,
    pub(crate) status: Mutex<Status>,
    /// Thrown to end the session at once.
    pub(crate) termination: Arc<Interruptor>,
    /// Thrown to end the session as soon as it is idle.
    pub(crate) drain: Arc<Interruptor>,
    running: Mutex<Option<Arc<Interruptor>>>,
    /// Queries of the session that have ended while the unregistration pool was full.
    pushed_back: Mutex<Vec<PushBack>>,
    /// What stops each query of the session that has not ended, running or not.
    queries: Mutex<Vec<(QueryId, Arc<Interruptor>)>>,
    /// Tells an idle session that a query of a cursor was cancelled.
    pub(crate) cursor_cancelled: Notify,
    /// Brought up to date whenever the session opens or closes one.
    pub(crate) portals: Listing,
    /// The named prepared statements, brought up to date with each one made or forgotten.
    pub(crate) prepared: Mutex<BTreeMap<String, PreparedRow>>,
    /// What `set_config` asked for, until the session takes it.
    pub(crate) requested: Mutex<Vec<RequestedSetting>>,
}

/// Settings that one statement may change by `set_config`.
const MAX_REQUESTED_SETTINGS: usize = 100;

/// A call of `set_config`, checked.
#[derive(Debug)]
pub(crate) struct RequestedSetting {
    pub(crate) name: String,
    pub(crate) value: String,
    /// Whether it ends with the transaction.
    pub(crate) local: bool,
}

impl SessionHandle {
    /// Remembers a query that has ended, if the unregistration pool had no room for it.
    pub(crate) fn push_back(&self, query: PushBack) {
        if query.is_pending() {
            self.pushed_back.lock().push(query);
        }
    }

    /// Waits until the unregistration pool has room for all queries of the session that have ended.
    /// So a session that ends them faster than they are archived is slowed down.
    pub(crate) async fn archiving_keeps_up(&self) {
        let waiting = std::mem::take(&mut *self.pushed_back.lock());
        for query in waiting {
            query.settled().await;
        }
    }

    /// The session is over: what it has pushed back is archived on the spot.
    pub(crate) fn archive_rest(&self) {
        let rest = std::mem::take(&mut *self.pushed_back.lock());
        drop(rest);
    }

    /// Declares what a cancel from now on stops; `None` when nothing runs.
    pub(crate) fn set_running(&self, statement: Option<Arc<Interruptor>>) {
        *self.running.lock() = statement;
    }

    /// As [`SessionHandle::set_running`], unless something runs already; answers whether not.
    pub(crate) fn set_running_if_idle(&self, statement: &Arc<Interruptor>) -> bool {
        let mut running = self.running.lock();
        let idle = running.is_none();
        if idle {
            *running = Some(Arc::clone(statement));
        }
        idle
    }

    /// Takes `statement` back from where a cancel would find it; another one stays.
    pub(crate) fn clear_running(&self, statement: &Arc<Interruptor>) {
        let mut running = self.running.lock();
        if running.as_ref().is_some_and(|r| Arc::ptr_eq(r, statement)) {
            *running = None;
        }
    }

    /// A query of the session begins, and `interruptor` stops it.
    pub(crate) fn query_begins(&self, query: QueryId, interruptor: &Arc<Interruptor>) {
        self.queries.lock().push((query, Arc::clone(interruptor)));
    }

    /// A query of the session has ended.
    pub(crate) fn query_ended(&self, interruptor: &Arc<Interruptor>) {
        let mut queries = self.queries.lock();
        queries.retain(|(_, i)| !Arc::ptr_eq(i, interruptor));
    }

    /// Cancels this query and no other; false when the session has no such query any more.
    fn cancel_query(&self, query: QueryId) -> bool {
        let queries = self.queries.lock();
        let Some((_, interruptor)) = queries.iter().find(|(id, _)| *id == query) else {
            return false;
        };
        interruptor.interrupt(Interrupt::Cancel);
        self.cursor_cancelled.notify_one();
        true
    }

    fn cancel(&self) {
        if let Some(statement) = &*self.running.lock() {
            statement.interrupt(Interrupt::Cancel);
        }
    }

    fn backend(&self) -> Backend {
        let status = self.status.lock();
        Backend {
            pid: self.pid,
            database: self.database.clone(),
            user: self.user.clone(),
            role: status.role.clone(),
            application_name: status.application_name.clone(),
            client_address: self.client_address.clone(),
            client_port: self.client_port,
            backend_start: self.started,
            transaction_start: status.transaction_start,
            query_start: status.query_start,
            state_change: status.state_change,
            state: status.activity.as_str(),
            wait_event_type: status
                .wait
                .as_ref()
                .map(|w| w.0)
                .or_else(|| client_wait(&status)),
            wait_event: status
                .wait
                .as_ref()
                .map(|w| w.1.clone())
                .or_else(|| client_wait(&status).map(|_| "ClientRead".to_owned())),
            query: status.query.to_string(),
            query_id: status.query_id.clone(),
            statements: status.statements,
            priority: status.priority,
        }
    }
}

/// An idle session waits for its client.
fn client_wait(status: &Status) -> Option<&'static str> {
    (status.activity != Activity::Active).then_some("Client")
}

/// The living sessions by process id.
#[derive(Debug)]
pub(crate) struct Sessions {
    /// Asked for what the sessions hold and wait for.
    admission: Admission,
    /// How long statements have waited in each queue.
    pub(crate) tally: Arc<Tally>,
    by_pid: DashMap<i32, Arc<SessionHandle>>,
    /// Their process ids by the names in which they hold.
    by_owner: DashMap<Owner, i32>,
    last_pid: AtomicI32,
    /// How many of the sessions are companions of others.
    companions: AtomicUsize,
    closed: Notify,
    /// Taken by a session that opens.
    door: Mutex<()>,
}

/// What a new session is known by.
pub(crate) struct NewHandle {
    pub(crate) owner: OwnerGuard,
    pub(crate) user: String,
    pub(crate) superuser: bool,
    pub(crate) database: String,
    pub(crate) application_name: String,
    pub(crate) client_address: Option<String>,
    pub(crate) client_port: i32,
}

/// How many sessions there may be before one more is opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// In all, as this role sees it.
    pub(crate) sessions: usize,
    /// Of the role; `None` is without limit.
    pub(crate) of_role: Option<usize>,
}

/// Why there is no room for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    Sessions,
    OfRole,
}

impl Sessions {
    pub(crate) fn new(admission: Admission) -> Self {
        Self {
            admission,
            tally: Arc::default(),
            by_pid: DashMap::new(),
            by_owner: DashMap::new(),
            last_pid: AtomicI32::new(0),
            companions: AtomicUsize::new(0),
            closed: Notify::new(),
            door: Mutex::new(()),
        }
    }

    /// The process ids of all sessions.
    pub(crate) fn pids(&self) -> Pids {
        let sessions = self.by_owner.iter();
        sessions.map(|s| (*s.key(), *s.value())).collect()
    }

    /// Opens a session if there is room for it.
    pub(crate) fn open(&self, new: NewHandle, room: Room) -> Result<Arc<SessionHandle>, Full> {
        // Those who come at once are counted one after the other.
        let _turn = self.door.lock();
        if self.places_taken() >= room.sessions {
            return Err(Full::Sessions);
        }
        if room
            .of_role
            .is_some_and(|most| self.count_of(&new.user) >= most)
        {
            return Err(Full::OfRole);
        }
        Ok(self.admit(new, None))
    }

    /// Opens a session that takes part in the place of session `leader`.
    pub(crate) fn open_companion(&self, new: NewHandle, leader: i32) -> Arc<SessionHandle> {
        self.companions.fetch_add(1, Ordering::Relaxed);
        self.admit(new, Some(leader))
    }

    fn admit(&self, new: NewHandle, leader: Option<i32>) -> Arc<SessionHandle> {
        let now = Utc::now();
        let handle = Arc::new(SessionHandle {
            pid: self.free_pid(),
            secret: rand::random(),
            owner: new.owner,
            user: new.user.clone(),
            superuser: new.superuser,
            database: new.database,
            client_address: new.client_address,
            client_port: new.client_port,
            leader,
            started: now,
            status: Mutex::new(Status {
                activity: Activity::Idle,
                application_name: new.application_name,
                query: Arc::from(""),
                query_id: None,
                role: new.user,
                statements: 0,
                query_start: None,
                transaction_start: None,
                state_change: now,
                wait: None,
                priority: None,
            }),
            termination: Interruptor::new(),
            drain: Interruptor::new(),
            running: Mutex::new(None),
            pushed_back: Mutex::default(),
            queries: Mutex::default(),
            cursor_cancelled: Notify::new(),
            portals: Listing::default(),
            prepared: Mutex::new(BTreeMap::new()),
            requested: Mutex::new(Vec::new()),
        });
        self.by_pid.insert(handle.pid, Arc::clone(&handle));
        self.by_owner.insert(handle.owner.owner(), handle.pid);
        handle
    }

    /// Process ids count up from 1 and start again after the largest; used ones are skipped.
    fn free_pid(&self) -> i32 {
        loop {
            let pid = self
                .last_pid
                .fetch_add(1, Ordering::Relaxed)
                .wrapping_add(1);
            if pid > 0 && !self.by_pid.contains_key(&pid) {
                return pid;
            }
            if pid < 0 {
                self.last_pid.store(0, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn close(&self, pid: i32) {
        if let Some((_, session)) = self.by_pid.remove(&pid) {
            self.by_owner.remove(&session.owner.owner());
            if session.leader.is_some() {
                self.companions.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.closed.notify_waiters();
    }

    /// The process id of the session that holds in the name of `owner`.
    pub(crate) fn pid_of(&self, owner: Owner) -> Option<i32> {
        self.by_owner.get(&owner).map(|pid| *pid)
    }

    pub(crate) fn count(&self) -> usize {
        self.by_pid.len()
    }

    /// Sessions that count against the limits.
    fn places_taken(&self) -> usize {
        self.count()
            .saturating_sub(self.companions.load(Ordering::Relaxed))
    }

    fn count_of(&self, user: &str) -> usize {
        let of_user = |s: &SessionHandle| s.user == user && s.leader.is_none();
        self.by_pid.iter().filter(|s| of_user(s)).count()
    }

    /// Carries out a `CancelRequest`; a wrong secret is ignored without a word.
    pub(crate) fn cancel_request(&self, pid: i32, secret: i32) {
        if let Some(session) = self.by_pid.get(&pid)
            && session.secret == secret
        {
            session.cancel();
        }
    }

    /// Cancels a query of session `pid`; false when it has ended.
    pub(crate) fn cancel_query(&self, pid: i32, query: QueryId) -> bool {
        let session = self.by_pid.get(&pid).map(|s| Arc::clone(&s));
        session.is_some_and(|session| session.cancel_query(query))
    }

    /// Ends session `pid`; false when there is none.
    pub(crate) fn close_session(&self, pid: i32) -> bool {
        let session = self.by_pid.get(&pid);
        session.is_some_and(|session| {
            session.termination.interrupt(Interrupt::Terminate);
            true
        })
    }

    /// What session `pid` waits for now.
    pub(crate) fn wait_of(&self, pid: i32) -> Option<WaiterView> {
        let owner = self.by_pid.get(&pid)?.owner.owner();
        let (view, _) = self.admission.explain(owner)?;
        Some(view)
    }

    /// Every wait of a session, the oldest first.
    pub(crate) fn waits(&self, snapshot: &Snapshot) -> Vec<WaiterRow> {
        shown::waiters(&self.admission, &self.pids(), snapshot)
    }

    pub(crate) fn drain_all(&self) {
        for session in &self.by_pid {
            session.drain.interrupt(Interrupt::Shutdown);
        }
    }

    pub(crate) fn terminate_all(&self) {
        for session in &self.by_pid {
            session.termination.interrupt(Interrupt::Shutdown);
        }
    }

    /// Waits until no session lives.
    pub(crate) async fn all_closed(&self) {
        loop {
            let closed = self.closed.notified();
            if self.by_pid.is_empty() {
                return;
            }
            closed.await;
        }
    }

    /// The session `pid`, if `asker` may signal it.
    fn signalled(
        &self,
        asker: &SessionFacts,
        pid: i32,
    ) -> Result<Option<Arc<SessionHandle>>, EngineError> {
        let Some(session) = self.by_pid.get(&pid).map(|s| Arc::clone(&s)) else {
            return Ok(None);
        };
        if session.superuser && !asker.superuser {
            return Err(EngineError::new(
                "42501",
                "must be a superuser to signal the session of a superuser",
            ));
        }
        if session.user != asker.current_user && !asker.superuser {
            return Err(EngineError::new(
                "42501",
                format!(
                    "must be role \"{}\" or a superuser to signal this session",
                    session.user
                ),
            ));
        }
        Ok(Some(session))
    }
}

impl BackendControl for Sessions {
    fn backends(&self) -> Vec<Backend> {
        let mut backends: Vec<Backend> = self.by_pid.iter().map(|s| s.backend()).collect();
        backends.sort_by_key(|b| b.pid);
        backends
    }

    fn cursors(&self, pid: i32) -> Vec<CursorRow> {
        let session = self.by_pid.get(&pid);
        session.map_or_else(Vec::new, |s| portals::listed(&s.portals))
    }

    fn prepared_statements(&self, pid: i32) -> Vec<PreparedRow> {
        let session = self.by_pid.get(&pid);
        session.map_or_else(Vec::new, |s| s.prepared.lock().values().cloned().collect())
    }

    fn cancel(&self, asker: &SessionFacts, pid: i32) -> Result<bool, EngineError> {
        let session = self.signalled(asker, pid)?;
        if let Some(session) = &session {
            session.cancel();
        }
        Ok(session.is_some())
    }

    fn terminate(&self, asker: &SessionFacts, pid: i32) -> Result<bool, EngineError> {
        let session = self.signalled(asker, pid)?;
        if let Some(session) = &session {
            session.termination.interrupt(Interrupt::Terminate);
        }
        Ok(session.is_some())
    }

    fn queues(&self) -> Vec<QueueStatus> {
        shown::queues(&self.admission, &self.tally)
    }

    fn locks(&self) -> Vec<LockRow> {
        shown::locks(&self.admission, &self.pids())
    }

    fn waiters(&self, asker: &SessionFacts) -> Vec<WaiterRow> {
        self.waits(&asker.snapshot)
    }

    fn settings(&self, asker: &SessionFacts) -> Vec<SettingRow> {
        settings::rows(&asker.settings)
    }

    fn set_config(
        &self,
        asker: &SessionFacts,
        name: &str,
        value: &str,
        local: bool,
    ) -> Result<String, EngineError> {
        let name = name.to_lowercase();
        if [settings::ROLE, settings::SESSION_AUTHORIZATION].contains(&name.as_str())
            || name.starts_with("datafusion.")
        {
            let message = format!("parameter \"{name}\" cannot be set by set_config()");
            return Err(EngineError::new("0A000", message).with_hint("Use SET."));
        }
        if settings::is_for_superusers(&name) && !asker.superuser {
            let message = format!("permission denied to set parameter \"{name}\"");
            return Err(EngineError::new("42501", message));
        }
        // Like SET TRANSACTION, these are for the current transaction only.
        let local = local || name.starts_with("transaction_");
        let value = settings::canonical(&name, &[value.to_owned()])
            .map_err(|e| EngineError::new(e.sqlstate, e.message))?;
        if let Some(session) = self.by_pid.get(&asker.pid) {
            let mut requested = session.requested.lock();
            // Called for each row of a table, it must not gather one entry for each.
            requested.retain(|r| r.name != name || r.local != local);
            if requested.len() >= MAX_REQUESTED_SETTINGS {
                let message = format!(
                    "set_config() cannot change more than {MAX_REQUESTED_SETTINGS} settings at once"
                );
                return Err(EngineError::new("54000", message));
            }
            requested.push(RequestedSetting {
                name,
                value: value.clone(),
                local,
            });
        }
        Ok(value)
    }
}
