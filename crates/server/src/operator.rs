//! What operators see of a server, and what they can do to it. The web pages read here, and nowhere
//! else.
//!
//! Each answer is of one moment; two answers may be of two. Nothing here waits for a statement.

use std::collections::HashMap;
use std::net::SocketAddr;

use chrono::{DateTime, Utc};
use forebay_admission::{Holding, QueueView, Reason};
use forebay_catalog::{QueueAttributes, Snapshot};
use forebay_engine::{
    Backend, BackendControl, LockRow, LockTarget, QueueStatus, QueueTotals, SettingRow, WaiterRow,
};
use forebay_lifecycle::{
    ArchiveHealth, AuditFound, AuditSearch, DurationCounts, Listing, Query, QueryId, UnknownQuery,
};

use crate::Server;
use crate::login::PasswordCheck;
use crate::queues::shown::{self, Pids, relation_name};
use crate::queues::why::explanation;
use crate::settings::{self, Settings};

/// A resource queue with what is taken of it, by whom, and what has happened in it.
#[derive(Debug, Clone)]
pub struct QueueOverview {
    /// Its name.
    pub name: String,
    /// What `COMMENT ON RESOURCE QUEUE` says.
    pub comment: Option<String>,
    /// Its limits.
    pub limits: QueueAttributes,
    /// Slots taken.
    pub slots: usize,
    /// Plan cost taken, in sequential pages of 8 KiB.
    pub cost: f64,
    /// Memory taken, in bytes.
    pub memory_bytes: u64,
    /// Statements that wait.
    pub waiting: usize,
    /// Who has something of it.
    pub holders: Vec<Holder>,
    /// Since the server was started, or the queue was made.
    pub totals: QueueTotals,
    /// The waits that are over.
    pub waits: DurationCounts,
    /// The statements that have ended, from registering to their end.
    pub statements: DurationCounts,
}

/// What a session has of a resource queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Holder {
    /// The session's process id.
    pub pid: i32,
    /// Statements and cursors that share its slot; 0 without a slot.
    pub shares: u32,
    /// Whether the slot was granted beyond the limit.
    pub overcommitted: bool,
    /// Plan cost that it was charged, in sequential pages of 8 KiB.
    pub cost: f64,
    /// Memory that it was charged, in bytes.
    pub memory_bytes: u64,
}

/// What somebody waits for, or holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitTarget {
    /// A resource queue by its name.
    Queue(String),
    /// A relation by its name.
    Relation(String),
}

/// Somebody who waits.
#[derive(Debug, Clone)]
pub struct Wait {
    /// The session's process id.
    pub pid: i32,
    /// Its query, as `pg_stat_activity` names it.
    pub query_id: Option<String>,
    /// What for.
    pub target: WaitTarget,
    /// What keeps the wait from ending, in a word: `slots`, `cost`, `lock`, ….
    pub reason: &'static str,
    /// Place and reason in a sentence.
    pub explanation: String,
    /// Its place; 1 is the next.
    pub place: usize,
    /// Process ids of those who wait before it.
    pub ahead: Vec<i32>,
    /// Process ids of those who have what it needs.
    pub holders: Vec<i32>,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// A lock on a relation that is held or waited for.
#[derive(Debug, Clone)]
pub struct HeldLock {
    /// The session's process id.
    pub pid: i32,
    /// The relation's name.
    pub relation: String,
    /// The mode, for example `AccessShareLock`.
    pub mode: &'static str,
    /// Whether it is held; else it is waited for.
    pub granted: bool,
    /// Since when it is waited for.
    pub since: Option<DateTime<Utc>>,
}

/// What the unregistration pool has done, and has to do.
#[derive(Debug, Clone)]
pub struct Unregistration {
    /// Queries that have ended and wait for a thread.
    pub queued: usize,
    /// Queries that the pool has archived.
    pub archived: u64,
    /// How often its queue was full when a query was closed.
    pub pushed_back: u64,
    /// How long queries waited for a thread.
    pub time_in_queue: DurationCounts,
    /// How long archiving one took.
    pub time_to_archive: DurationCounts,
}

/// Whether somebody may see and do what is here.
#[derive(Debug)]
pub enum OperatorCheck {
    /// Without proof.
    Trusted,
    /// Only with the name and password of a superuser.
    Password,
}

impl Server {
    /// All queries, each exactly once.
    #[must_use]
    pub fn queries(&self) -> Listing {
        self.inner.registry.all()
    }

    /// The query with this id, whether it lives or is in the log.
    #[must_use]
    pub fn query(&self, id: &QueryId) -> Option<std::sync::Arc<Query>> {
        self.inner.registry.get(id)
    }

    /// Why a query waits: for which queue, its place, who is before it, all as it is now. Nothing for
    /// one that does not wait.
    #[must_use]
    pub fn why_pending(&self, query: &Query) -> Option<String> {
        let told = query.pending_reason()?;
        let sessions = &self.inner.sessions;
        let Some(view) = sessions.wait_of(query.info().session_id) else {
            // It has been granted, and the query has not gone on yet.
            return Some(told.into_owned());
        };
        let snapshot = self.inner.catalog.snapshot();
        let named = |relation| relation_name(&snapshot, relation);
        let why = explanation(&view, named, |owner| sessions.pid_of(owner));
        Some(match query.queue() {
            Some(queue) if !matches!(view.reason, Reason::Lock { .. }) => {
                format!("resource queue \"{queue}\": {why}")
            }
            _ => why,
        })
    }

    /// Cancels a query, whether it runs, waits, or is a cursor that nobody reads. Its session goes
    /// on. The query ends a moment after this returns.
    ///
    /// # Errors
    /// There is no such query, or it has ended.
    pub fn cancel_query(&self, id: &QueryId) -> Result<(), UnknownQuery> {
        let query = self.query(id).ok_or(UnknownQuery(*id))?;
        let pid = query.info().session_id;
        match self.inner.sessions.cancel_query(pid, *id) {
            true => Ok(()),
            false => Err(UnknownQuery(*id)),
        }
    }

    /// Every session, by process id.
    #[must_use]
    pub fn sessions(&self) -> Vec<Backend> {
        self.inner.sessions.backends()
    }

    /// Ends a session and whatever it runs; false when there is none. It is gone a moment after this
    /// returns.
    #[must_use]
    pub fn close_session(&self, pid: i32) -> bool {
        self.inner.sessions.close_session(pid)
    }

    /// Every resource queue, by name.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueOverview> {
        let sessions = &self.inner.sessions;
        let views = self.inner.admission.queues();
        let views: HashMap<u32, &QueueView> = views.iter().map(|v| (v.id.0, v)).collect();
        let status: HashMap<u32, QueueStatus> = BackendControl::queues(&**sessions)
            .into_iter()
            .map(|status| (status.oid, status))
            .collect();
        let pids = sessions.pids();
        let snapshot = self.inner.catalog.snapshot();
        let queues = snapshot.resource_queues();
        let overview = queues.filter_map(|queue| {
            let (view, status) = (views.get(&queue.oid)?, status.get(&queue.oid)?);
            let counted = sessions.tally.of(view.id);
            Some(QueueOverview {
                name: queue.name.clone(),
                comment: queue.comment.clone(),
                limits: queue.attributes,
                slots: status.slots,
                cost: status.cost,
                memory_bytes: status.memory_bytes,
                waiting: status.waiters,
                holders: holders(&view.holdings, &pids),
                totals: status.totals.clone(),
                waits: counted.waits.counts(),
                statements: counted.statements.counts(),
            })
        });
        overview.collect()
    }

    /// What the unregistration pool has done, and has to do.
    #[must_use]
    pub fn unregistration(&self) -> Unregistration {
        let status = self.inner.registry.pool_status();
        Unregistration {
            queued: status.queued,
            archived: status.archived,
            pushed_back: status.pushed_back,
            time_in_queue: status.time_in_queue,
            time_to_archive: status.time_to_archive,
        }
    }

    /// How the files are that ended queries are archived in.
    #[must_use]
    pub fn archive_health(&self) -> ArchiveHealth {
        self.inner.archive.health()
    }

    /// Events of the audit log, the newest first; `None` when none is kept. It reads files: call it
    /// where that does no harm.
    ///
    /// # Errors
    /// When a file of the log cannot be read.
    pub fn audit_events(&self, wanted: &AuditSearch) -> std::io::Result<Option<AuditFound>> {
        let log = self.inner.archive.audit_log();
        log.map(|log| log.search(wanted)).transpose()
    }

    /// Statements that no queue governs, from registering to their end.
    #[must_use]
    pub fn ungoverned_statements(&self) -> DurationCounts {
        self.inner.sessions.tally.ungoverned().statements.counts()
    }

    /// The waits for locks of relations that are over, and how many of them timed out.
    #[must_use]
    pub fn lock_waits(&self) -> (DurationCounts, u64) {
        let counted = self.inner.sessions.tally.locks();
        (counted.waits.counts(), counted.timed_out())
    }

    /// Cycles of relation locks that were broken by an error.
    #[must_use]
    pub fn deadlocks(&self) -> u64 {
        self.inner.admission.lock_totals().deadlocks
    }

    /// Everybody who waits, the oldest wait first.
    #[must_use]
    pub fn waits(&self) -> Vec<Wait> {
        let snapshot = self.inner.catalog.snapshot();
        let queries: HashMap<i32, Option<String>> = self
            .sessions()
            .into_iter()
            .map(|session| (session.pid, session.query_id))
            .collect();
        let wait = |row: WaiterRow| Wait {
            pid: row.pid,
            query_id: queries.get(&row.pid).cloned().flatten(),
            target: target(row.target, &snapshot),
            reason: row.reason,
            explanation: row.explanation,
            place: row.place,
            ahead: row.ahead,
            holders: row.holders,
            since: row.since,
        };
        let waits = self.inner.sessions.waits(&snapshot);
        waits.into_iter().map(wait).collect()
    }

    /// Every lock of a relation, held or waited for.
    #[must_use]
    pub fn locks(&self) -> Vec<HeldLock> {
        let snapshot = self.inner.catalog.snapshot();
        let lock = |row: LockRow| match target(row.target, &snapshot) {
            WaitTarget::Queue(_) => None,
            WaitTarget::Relation(relation) => Some(HeldLock {
                pid: row.pid,
                relation,
                mode: row.mode,
                granted: row.granted,
                since: row.since,
            }),
        };
        let rows = shown::locks(&self.inner.admission, &self.inner.sessions.pids());
        rows.into_iter().filter_map(lock).collect()
    }

    /// The settings that a new session starts with.
    #[must_use]
    pub fn default_settings(&self) -> Vec<SettingRow> {
        settings::rows(Settings::new().all())
    }

    /// Whether those who come from `address` may see and do what is here without proof: they may
    /// where the bootstrap role could log in without a password, and so do all of it in SQL.
    #[must_use]
    pub fn operator_check(&self, address: SocketAddr) -> OperatorCheck {
        let bootstrap_role = &self.inner.config.bootstrap_role;
        match self.password_check(bootstrap_role, Some(address)) {
            PasswordCheck::Trust => OperatorCheck::Trusted,
            PasswordCheck::Scram(_) | PasswordCheck::Refuse => OperatorCheck::Password,
        }
    }

    /// Whether this is the password of a superuser who may log in. It takes milliseconds, also
    /// for a role that does not exist: call it where that does no harm.
    #[must_use]
    pub fn is_operator(&self, user: &str, password: &str, address: SocketAddr) -> bool {
        let snapshot = self.inner.catalog.snapshot();
        let role = snapshot.role(user);
        let may = role.is_some_and(|role| role.superuser && role.login);
        let check = self.password_check(user, Some(address));
        check.is_passed_by(password) && may
    }
}

fn holders(holdings: &[Holding], pids: &Pids) -> Vec<Holder> {
    let holder = |holding: &Holding| {
        Some(Holder {
            pid: *pids.get(&holding.owner)?,
            shares: holding.shares,
            overcommitted: holding.overcommitted,
            cost: holding.charged.cost.units(),
            memory_bytes: holding.charged.memory_bytes,
        })
    };
    let mut holders: Vec<Holder> = holdings.iter().filter_map(holder).collect();
    holders.sort_by_key(|holder| holder.pid);
    holders
}

fn target(target: LockTarget, snapshot: &Snapshot) -> WaitTarget {
    match target {
        LockTarget::Queue(oid) => {
            let queue = snapshot.resource_queue_by_oid(oid);
            WaitTarget::Queue(queue.map_or_else(|| oid.to_string(), |q| q.name.clone()))
        }
        LockTarget::Relation(oid) => {
            let relation = snapshot.relation_by_oid(oid);
            WaitTarget::Relation(relation.map_or_else(|| oid.to_string(), |r| r.name.clone()))
        }
    }
}
