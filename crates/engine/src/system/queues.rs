//! Resource queues: `pg_resqueue` and its relatives in `pg_catalog`, and the views of them in
//! `gp_toolkit`. Names and columns are Greenplum's.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use forebay_catalog::{Priority, QueueAttribute, QueueAttributes, ResourceQueue};

use super::directory::{Relations, table_oid};
use super::relation::{Row, big, boolean, int, oid, real, relation, small, text, text_or_null};
use super::{Backend, BackendControl};
use crate::SessionFacts;
use crate::priority::weight;

/// What is taken of a resource queue, and what has happened in it.
#[derive(Debug, Clone, Default)]
pub struct QueueStatus {
    /// The queue's object id.
    pub oid: u32,
    /// Slots taken.
    pub slots: usize,
    /// Plan cost taken, in sequential pages of 8 KiB.
    pub cost: f64,
    /// Memory taken, in bytes.
    pub memory_bytes: u64,
    /// Statements that wait.
    pub waiters: usize,
    /// Sessions that hold anything of it.
    pub holders: usize,
    /// Since the server was started, or the queue was made.
    pub totals: QueueTotals,
}

/// What has happened in a resource queue.
#[derive(Debug, Clone, Default)]
pub struct QueueTotals {
    /// Slots granted.
    pub admitted: u64,
    /// Waits.
    pub waited: u64,
    /// How long all the waits that are over took together, in milliseconds.
    pub wait_time_ms: f64,
    /// Statements that stepped aside.
    pub stepped_aside: u64,
    /// Grants beyond a limit.
    pub overcommitted: u64,
    /// Grants out of turn, because the waits before them waited for them.
    pub passed: u64,
    /// Requests refused: the queue was full, or the cost too high.
    pub refused: u64,
    /// Waits that reached `QUEUE_TIMEOUT`.
    pub timed_out: u64,
    /// Waits that ended without a grant: those that timed out, were cancelled, or whose client has
    /// gone.
    pub given_up: u64,
}

const PG_RESQUEUE: &str = "oid oid, rsqname name, rsqcountlimit float4, rsqcostlimit float4, \
    rsqovercommit bool, rsqignorecostlimit float4";

const PG_RESQUEUECAPABILITY: &str = "resqueueid oid, restypid int2, ressetting text";

const PG_RESOURCETYPE: &str = "oid oid, resname name, restypid int2, resrequired bool, \
    reshasdefault bool, reshasdisable bool, resdefaultsetting text, resdisabledsetting text";

const PG_RESQUEUE_ATTRIBUTES: &str = "rsqname name, resname text, ressetting text, restypid int4";

const PG_RESQUEUE_STATUS: &str = "rsqname name, rsqcountlimit float4, rsqcountvalue float4, \
    rsqcostlimit float4, rsqcostvalue float4, rsqwaiters int4, rsqholders int4";

const PG_STAT_RESQUEUES: &str = "queueid oid, queuename name, admitted int8, waited int8, \
    wait_time_ms float8, stepped_aside int8, overcommitted int8, passed int8, refused int8, \
    timed_out int8, given_up int8";

const GP_RESQUEUE_STATUS: &str = "queueid oid, rsqname name, rsqcountlimit int4, \
    rsqcountvalue int4, rsqcostlimit float4, rsqcostvalue float4, rsqmemorylimit float4, \
    rsqmemoryvalue float4, rsqwaiters int4, rsqholders int4";

const GP_RESQ_PRIORITY_BACKEND: &str =
    "rqpsession int4, rqpcommand int8, rqppriority text, rqpweight int4";

const GP_RESQ_PRIORITY_STATEMENT: &str = "rqpdatname name, rqpusename name, rqpsession int4, \
    rqpcommand int8, rqppriority text, rqpweight int4, rqpquery text";

/// What stands for no limit.
const NO_LIMIT: f32 = -1.0;

/// `pg_resourcetype`'s object ids count up from here, as in Greenplum.
const FIRST_RESOURCE_TYPE_OID: u32 = 6454;

/// The relations of `pg_catalog`.
pub(super) fn all(relations: &mut Relations, backends: &Arc<dyn BackendControl>) {
    relations.add(
        "pg_resqueue",
        of_queues(PG_RESQUEUE, |q| vec![queue_row(q)]),
    );
    relations.add(
        "pg_resqueuecapability",
        of_queues(PG_RESQUEUECAPABILITY, capability_rows),
    );
    relations.add(
        "pg_resqueue_attributes",
        of_queues(PG_RESQUEUE_ATTRIBUTES, attribute_rows),
    );
    relations.add(
        "pg_resourcetype",
        relation(PG_RESOURCETYPE, |_| {
            QueueAttribute::ALL.map(type_row).into()
        }),
    );
    relations.add(
        "pg_resqueue_status",
        of_status(PG_RESQUEUE_STATUS, backends, status_row),
    );
    relations.add(
        "pg_stat_resqueues",
        of_status(PG_STAT_RESQUEUES, backends, totals_row),
    );
    relations.add(
        "pg_shdescription",
        relation("objoid oid, classoid oid, description text", comment_rows),
    );
}

/// The views of `gp_toolkit`.
pub(super) fn toolkit(relations: &mut Relations, backends: &Arc<dyn BackendControl>) {
    relations.add(
        "gp_resqueue_status",
        of_status(GP_RESQUEUE_STATUS, backends, toolkit_status_row),
    );
    relations.add(
        "gp_resq_role",
        relation("rrrolname name, rrrsqname name", role_rows),
    );
    relations.add(
        "gp_resq_priority_backend",
        of_running(GP_RESQ_PRIORITY_BACKEND, backends, |_, statement| {
            statement.priority_columns().into()
        }),
    );
    relations.add(
        "gp_resq_priority_statement",
        of_running(GP_RESQ_PRIORITY_STATEMENT, backends, |asker, statement| {
            let backend = &statement.backend;
            let mut row = vec![text(&backend.database), text(&backend.user)];
            row.extend(statement.priority_columns());
            row.push(text(backend.query_for(asker)));
            row
        }),
    );
}

fn of_queues(columns: &str, rows: fn(&ResourceQueue) -> Vec<Row>) -> Arc<dyn TableProvider> {
    relation(columns, move |asker| {
        let queues = asker.snapshot.resource_queues();
        queues.flat_map(|queue| rows(queue)).collect()
    })
}

/// The catalog's queues, each with what admission says of it.
fn of_status(
    columns: &str,
    backends: &Arc<dyn BackendControl>,
    row: fn(&ResourceQueue, &QueueStatus) -> Row,
) -> Arc<dyn TableProvider> {
    let backends = Arc::clone(backends);
    relation(columns, move |asker| {
        let status: HashMap<u32, QueueStatus> = backends
            .queues()
            .into_iter()
            .map(|status| (status.oid, status))
            .collect();
        // A queue that this transaction is about to make has no status yet.
        let queues = asker.snapshot.resource_queues();
        let known = queues.filter_map(|queue| Some((queue, status.get(&queue.oid)?)));
        known.map(|(queue, status)| row(queue, status)).collect()
    })
}

fn queue_row(queue: &ResourceQueue) -> Row {
    let attributes = &queue.attributes;
    vec![
        oid(queue.oid),
        text(&queue.name),
        count_limit(attributes),
        cost_limit(attributes),
        boolean(attributes.cost_overcommit),
        real(attributes.min_cost as f32),
    ]
}

fn count_limit(attributes: &QueueAttributes) -> ScalarValue {
    real(attributes.active_statements.map_or(NO_LIMIT, |n| n as f32))
}

fn cost_limit(attributes: &QueueAttributes) -> ScalarValue {
    real(attributes.max_cost.map_or(NO_LIMIT, |cost| cost as f32))
}

/// What `pg_resqueue` has no column for.
fn capability_rows(queue: &ResourceQueue) -> Vec<Row> {
    let others = QueueAttribute::ALL.into_iter();
    let others = others.filter(|a| a.number() >= QueueAttribute::Priority.number());
    let row = |attribute: QueueAttribute| {
        vec![
            oid(queue.oid),
            small(attribute.number()),
            text(queue.attributes.setting(attribute)),
        ]
    };
    others.map(row).collect()
}

fn attribute_rows(queue: &ResourceQueue) -> Vec<Row> {
    let row = |attribute: QueueAttribute| {
        vec![
            text(&queue.name),
            text(attribute.name()),
            text(queue.attributes.setting(attribute)),
            int(i32::from(attribute.number())),
        ]
    };
    QueueAttribute::ALL.map(row).into()
}

fn type_row(attribute: QueueAttribute) -> Row {
    let number = attribute.number();
    // Without a value, and taken away, an attribute is the same.
    let default = QueueAttributes::default().setting(attribute);
    let disabled = attribute.can_be_disabled().then(|| default.clone());
    vec![
        oid(FIRST_RESOURCE_TYPE_OID + u32::from(number.unsigned_abs()) - 1),
        text(attribute.name()),
        small(number),
        boolean(false),
        boolean(true),
        boolean(disabled.is_some()),
        text(default),
        text(disabled.unwrap_or_default()),
    ]
}

fn status_row(queue: &ResourceQueue, status: &QueueStatus) -> Row {
    vec![
        text(&queue.name),
        count_limit(&queue.attributes),
        real(status.slots as f32),
        cost_limit(&queue.attributes),
        real(status.cost as f32),
        count(status.waiters),
        count(status.holders),
    ]
}

fn toolkit_status_row(queue: &ResourceQueue, status: &QueueStatus) -> Row {
    let attributes = &queue.attributes;
    let slots = attributes.active_statements;
    let memory_limit = attributes.memory_limit_kb;
    vec![
        oid(queue.oid),
        text(&queue.name),
        slots.map_or(int(-1), |n| count(n as usize)),
        count(status.slots),
        cost_limit(attributes),
        real(status.cost as f32),
        real(memory_limit.map_or(NO_LIMIT, |kb| (kb * 1024) as f32)),
        real(status.memory_bytes as f32),
        count(status.waiters),
        count(status.holders),
    ]
}

fn totals_row(queue: &ResourceQueue, status: &QueueStatus) -> Row {
    let totals = &status.totals;
    vec![
        oid(queue.oid),
        text(&queue.name),
        big(totals.admitted),
        big(totals.waited),
        ScalarValue::Float64(Some(totals.wait_time_ms)),
        big(totals.stepped_aside),
        big(totals.overcommitted),
        big(totals.passed),
        big(totals.refused),
        big(totals.timed_out),
        big(totals.given_up),
    ]
}

fn count(number: usize) -> ScalarValue {
    int(i32::try_from(number).unwrap_or(i32::MAX))
}

fn comment_rows(asker: &SessionFacts) -> Vec<Row> {
    let class = table_oid("pg_resqueue").unwrap_or_default();
    let queues = asker.snapshot.resource_queues();
    let commented = queues.filter_map(|queue| Some((queue.oid, queue.comment.as_deref()?)));
    let rows = commented.map(|(queue, comment)| vec![oid(queue), oid(class), text(comment)]);
    rows.collect()
}

fn role_rows(asker: &SessionFacts) -> Vec<Row> {
    let snapshot = &asker.snapshot;
    let row = |role: &Arc<forebay_catalog::Role>| {
        let queue = snapshot.resource_queue_by_oid(role.resource_queue);
        vec![text(&role.name), text_or_null(queue.map(|q| &*q.name))]
    };
    snapshot.roles().map(row).collect()
}

/// A statement that runs, with its priority.
struct Running {
    backend: Backend,
    priority: Priority,
}

impl Running {
    fn priority_columns(&self) -> [ScalarValue; 4] {
        [
            int(self.backend.pid),
            big(self.backend.statements),
            text(self.priority.as_str().to_ascii_uppercase()),
            int(weight(self.priority)),
        ]
    }
}

/// A row for each statement that runs, with the priority that it runs with: what no queue governs
/// has the highest, and an altered queue's older statements keep theirs.
fn of_running(
    columns: &str,
    backends: &Arc<dyn BackendControl>,
    row: fn(&SessionFacts, &Running) -> Row,
) -> Arc<dyn TableProvider> {
    let backends = Arc::clone(backends);
    relation(columns, move |asker| {
        let active = backends.backends().into_iter();
        let active = active.filter(|b| b.state == "active" && b.wait_event_type.is_none());
        let running = active.filter_map(|backend| {
            let priority = backend.priority?;
            Some(Running { backend, priority })
        });
        running.map(|statement| row(asker, &statement)).collect()
    })
}
