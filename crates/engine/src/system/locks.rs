//! Who holds and who waits: `pg_locks`, the views of locks and activity in `gp_toolkit`, and
//! Forebay's own `forebay.waiters`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use forebay_catalog::Snapshot;

use super::databases::database_oid;
use super::directory::Relations;
use super::relation::{
    NULL, Row, big, boolean, int, ints, oid, relation, text, text_or_null, time,
};
use super::{Backend, BackendControl};
use crate::SessionFacts;

/// What sessions hold and wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockTarget {
    /// The relation with this object id.
    Relation(u32),
    /// The resource queue with this object id.
    Queue(u32),
}

/// One row of `pg_locks`.
#[derive(Debug, Clone)]
pub struct LockRow {
    /// The session's process id.
    pub pid: i32,
    /// On what.
    pub target: LockTarget,
    /// The mode, for example `AccessShareLock`.
    pub mode: &'static str,
    /// Whether it is held; else it is waited for.
    pub granted: bool,
    /// Since when it is waited for.
    pub since: Option<DateTime<Utc>>,
}

/// One row of `forebay.waiters`.
#[derive(Debug, Clone)]
pub struct WaiterRow {
    /// The session's process id.
    pub pid: i32,
    /// What it waits for.
    pub target: LockTarget,
    /// What keeps the wait from ending, in a word: `slots`, `cost`, `lock`, ….
    pub reason: &'static str,
    /// The same in a sentence.
    pub explanation: String,
    /// Its place; 1 is the next.
    pub place: usize,
    /// Process ids of the first of those who wait before it; `place` counts them all.
    pub ahead: Vec<i32>,
    /// Process ids of the first of those who have what it needs.
    pub holders: Vec<i32>,
    /// Since when.
    pub since: DateTime<Utc>,
}

const PG_LOCKS: &str = "locktype text, database oid, relation oid, page int4, tuple int2, \
    virtualxid text, transactionid xid, classid oid, objid oid, objsubid int2, \
    virtualtransaction text, pid int4, mode text, granted bool, fastpath bool, \
    waitstart timestamptz";

const GP_LOCKS_ON_RESQUEUE: &str = "lorusename name, lorrsqname name, lorlocktype text, \
    lorobjid oid, lortransaction xid, lorpid int4, lormode text, lorgranted bool, \
    lorwaitevent text, lorwaiteventtype text";

const GP_LOCKS_ON_RELATION: &str = "lorlocktype text, lordatabase oid, lorrelname name, \
    lorrelation oid, lortransaction xid, lorpid int4, lormode text, lorgranted bool, \
    lorcurrentquery text";

const GP_RESQ_ACTIVITY: &str = "resqprocpid int4, resqrole name, resqoid oid, resqname name, \
    resqstart timestamptz, resqstatus text";

const GP_RESQ_ACTIVITY_BY_QUEUE: &str = "resqoid oid, resqname name, resqlast timestamptz, \
    resqstatus text, resqtotal int8";

const WAITERS: &str = "pid int4, query_id text, wait_event_type text, waits_for text, \
    object oid, reason text, explanation text, place int4, ahead int4[], holders int4[], \
    since timestamptz";

/// The relation of `pg_catalog`.
pub(super) fn all(relations: &mut Relations, backends: &Arc<dyn BackendControl>) {
    relations.add("pg_locks", of_locks(PG_LOCKS, backends, lock_row));
}

/// The views of `gp_toolkit`.
pub(super) fn toolkit(relations: &mut Relations, backends: &Arc<dyn BackendControl>) {
    relations.add(
        "gp_locks_on_resqueue",
        of_locks(GP_LOCKS_ON_RESQUEUE, backends, queue_lock_row),
    );
    relations.add(
        "gp_locks_on_relation",
        of_locks(GP_LOCKS_ON_RELATION, backends, relation_lock_row),
    );
    let sessions = Arc::clone(backends);
    let statements = relation(GP_RESQ_ACTIVITY, move |asker| {
        let statements = activity(asker, &*sessions).into_iter();
        statements.map(Activity::row).collect()
    });
    relations.add("gp_resq_activity", statements);
    let sessions = Arc::clone(backends);
    let queues = relation(GP_RESQ_ACTIVITY_BY_QUEUE, move |asker| {
        by_queue(activity(asker, &*sessions))
    });
    relations.add("gp_resq_activity_by_queue", queues);
}

/// The views of schema `forebay`.
pub(super) fn own(relations: &mut Relations, backends: &Arc<dyn BackendControl>) {
    let sessions = Arc::clone(backends);
    let waiters = relation(WAITERS, move |asker| {
        let backends = by_pid(&*sessions);
        let waiters = sessions.waiters(asker).into_iter();
        let row = |waiter: WaiterRow| waiter_row(asker, backends.get(&waiter.pid), waiter);
        waiters.map(row).collect()
    });
    relations.add("waiters", waiters);
}

fn by_pid(sessions: &dyn BackendControl) -> HashMap<i32, Backend> {
    let backends = sessions.backends().into_iter();
    backends.map(|backend| (backend.pid, backend)).collect()
}

/// A row for each lock whose session is still there, where `row` makes one.
fn of_locks(
    columns: &str,
    backends: &Arc<dyn BackendControl>,
    row: fn(&SessionFacts, &Backend, &LockRow) -> Option<Row>,
) -> Arc<dyn TableProvider> {
    let sessions = Arc::clone(backends);
    relation(columns, move |asker| {
        let backends = by_pid(&*sessions);
        let locks = sessions.locks().into_iter();
        locks
            .filter_map(|lock| row(asker, backends.get(&lock.pid)?, &lock))
            .collect()
    })
}

fn lock_row(_: &SessionFacts, backend: &Backend, lock: &LockRow) -> Option<Row> {
    let (kind, relation, object) = match lock.target {
        LockTarget::Relation(relation) => ("relation", oid(relation), NULL),
        LockTarget::Queue(queue) => ("resource queue", NULL, oid(queue)),
    };
    Some(vec![
        text(kind),
        oid(database_oid(&backend.database)),
        relation,
        NULL,
        NULL,
        NULL,
        NULL,
        NULL,
        object,
        NULL,
        NULL,
        int(lock.pid),
        text(lock.mode),
        boolean(lock.granted),
        boolean(false),
        time(lock.since),
    ])
}

fn queue_lock_row(asker: &SessionFacts, backend: &Backend, lock: &LockRow) -> Option<Row> {
    let LockTarget::Queue(queue) = lock.target else {
        return None;
    };
    Some(vec![
        text(&backend.user),
        text(queue_name(&asker.snapshot, queue)?),
        text("resource queue"),
        oid(queue),
        NULL,
        int(lock.pid),
        text(lock.mode),
        boolean(lock.granted),
        text_or_null(backend.wait_event.as_deref()),
        text_or_null(backend.wait_event_type),
    ])
}

fn relation_lock_row(asker: &SessionFacts, backend: &Backend, lock: &LockRow) -> Option<Row> {
    let LockTarget::Relation(relation) = lock.target else {
        return None;
    };
    Some(vec![
        text("relation"),
        oid(database_oid(&backend.database)),
        text(&asker.snapshot.relation_by_oid(relation)?.name),
        oid(relation),
        NULL,
        int(lock.pid),
        text(lock.mode),
        boolean(lock.granted),
        text(backend.query_for(asker)),
    ])
}

fn queue_name(snapshot: &Snapshot, queue: u32) -> Option<String> {
    let queue = snapshot.resource_queue_by_oid(queue)?;
    Some(queue.name.clone())
}

/// A statement or cursor in a queue.
struct Activity {
    pid: i32,
    role: String,
    queue: u32,
    queue_name: String,
    start: Option<DateTime<Utc>>,
    status: &'static str,
}

impl Activity {
    fn row(self) -> Row {
        vec![
            int(self.pid),
            text(self.role),
            oid(self.queue),
            text(self.queue_name),
            time(self.start),
            text(self.status),
        ]
    }
}

/// What goes on in the queues, the oldest statement first.
fn activity(asker: &SessionFacts, sessions: &dyn BackendControl) -> Vec<Activity> {
    let backends = by_pid(sessions);
    let in_queue = |lock: LockRow| {
        let LockTarget::Queue(queue) = lock.target else {
            return None;
        };
        let backend = backends.get(&lock.pid)?;
        Some(Activity {
            pid: lock.pid,
            role: backend.user.clone(),
            queue,
            queue_name: queue_name(&asker.snapshot, queue)?,
            start: backend.query_start,
            status: if lock.granted { "running" } else { "waiting" },
        })
    };
    let mut activity: Vec<_> = sessions.locks().into_iter().filter_map(in_queue).collect();
    activity.sort_by_key(|a| a.start);
    activity
}

fn by_queue(activity: Vec<Activity>) -> Vec<Row> {
    let mut groups: BTreeMap<_, (String, Option<DateTime<Utc>>, u64)> = BTreeMap::new();
    for one in activity {
        let group = groups.entry((one.queue, one.status));
        let (_, last, total) = group.or_insert((one.queue_name, None, 0));
        *last = (*last).max(one.start);
        *total += 1;
    }
    let row = |((queue, status), (name, last, total)): ((u32, &str), (String, _, u64))| {
        vec![oid(queue), text(name), time(last), text(status), big(total)]
    };
    groups.into_iter().map(row).collect()
}

/// As in `pg_stat_activity`, others' query ids are for superusers.
fn waiter_row(asker: &SessionFacts, backend: Option<&Backend>, waiter: WaiterRow) -> Row {
    let query_id = backend
        .filter(|backend| backend.is_visible_to(asker))
        .and_then(|backend| backend.query_id.as_deref());
    let snapshot = &asker.snapshot;
    let (kind, name, object) = match waiter.target {
        LockTarget::Queue(queue) => ("ResourceQueue", queue_name(snapshot, queue), queue),
        LockTarget::Relation(relation) => {
            let found = snapshot.relation_by_oid(relation);
            ("Lock", found.map(|r| r.name.clone()), relation)
        }
    };
    vec![
        int(waiter.pid),
        text_or_null(query_id),
        text(kind),
        text_or_null(name),
        oid(object),
        text(waiter.reason),
        text(waiter.explanation),
        int(i32::try_from(waiter.place).unwrap_or(i32::MAX)),
        ints(waiter.ahead),
        ints(waiter.holders),
        time(Some(waiter.since)),
    ]
}
