//! From what is known of a query to its profile.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{EventSequence, Operator, Profile, Unit, summary};
use crate::{Facts, Query};

/// The profile of `query` as things stand now.
pub(crate) fn build(query: &Query) -> Profile {
    let operators = query.operators();
    let facts = query.facts();
    let mut root = Profile::named(format!("Query (id={})", query.id()));
    root.children.push(summary_node(query, &facts, &operators));
    if !operators.is_empty() {
        root.children.push(totals(&facts, &operators));
        root.children.push(execution(&operators));
    }
    root
}

fn summary_node(query: &Query, facts: &Facts, operators: &[Operator]) -> Profile {
    let info = query.info();
    let mut node = Profile::named("Summary");
    node.add_info("Session ID", info.session_id.to_string());
    node.add_info("Session Type", info.protocol);
    node.add_info("Start Time", time(query.started_at()));
    node.add_info("End Time", query.ended_at().map_or_else(String::new, time));
    node.add_info("Query Type", info.statement_type);
    node.add_info("Query State", query.state().as_str());
    node.add_info("Query Status", status(query));
    if let Some(sqlstate) = query.sqlstate() {
        node.add_info("SQLSTATE", sqlstate);
    }
    if let Some(reason) = query.pending_reason() {
        node.add_info("Waits For", reason);
    }
    node.add_info("Forebay Version", env!("CARGO_PKG_VERSION"));
    node.add_info("User", info.effective_role.as_ref());
    node.add_info("Connected User", info.role.as_ref());
    node.add_info("Network Address", info.client_address.as_ref());
    node.add_info("Application", info.application_name.as_ref());
    node.add_info("Default Db", info.database.as_ref());
    if let Some(queue) = &facts.queue {
        node.add_info("Resource Queue", queue.as_ref());
        node.add_info("Queue Wait", span(facts.queue_wait));
        node.add_info("Stepped Aside", facts.stepped_aside.to_string());
        node.add_info("Overcommitted", facts.overcommitted.to_string());
    }
    if facts.lock_wait > Duration::ZERO {
        node.add_info("Lock Wait", span(facts.lock_wait));
    }
    if let Some(cost) = facts.estimated_cost {
        node.add_info("Estimated Cost", format!("{cost:.2}"));
    }
    if let Some(granted) = facts.memory_granted_bytes {
        node.add_info("Memory Granted", super::text::bytes(granted));
    }
    if !facts.tables.is_empty() {
        node.add_info("Tables", facts.tables.join(", "));
    }
    node.add_info("Sql Statement", info.statement.as_ref());
    if !operators.is_empty() {
        node.add_info("Plan", plan_text(operators));
        node.add_info("ExecSummary", summary::table(operators));
    }
    node.events = Some(EventSequence {
        name: "Query Timeline".to_owned(),
        events: query
            .timeline()
            .into_iter()
            .map(|event| (event.label.into_owned(), nanoseconds(event.at_micros)))
            .collect(),
    });
    node
}

fn status(query: &Query) -> String {
    query.error().unwrap_or_else(|| "OK".to_owned())
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

fn span(duration: Duration) -> String {
    super::text::nanoseconds(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

fn nanoseconds(micros: u64) -> i64 {
    i64::try_from(micros.saturating_mul(1000)).unwrap_or(i64::MAX)
}

/// One operator a line, its inputs indented below it.
fn plan_text(operators: &[Operator]) -> String {
    let line = |operator: &Operator| format!("{:1$}{2}", "", operator.depth * 2, title(operator));
    let lines: Vec<String> = operators.iter().map(line).collect();
    lines.join("\n")
}

fn title(operator: &Operator) -> String {
    match operator.detail.as_str() {
        "" => operator.name.clone(),
        detail => format!("{}: {detail}", operator.name),
    }
}

/// The totals of a query, by which [`crate::QueryRecord`] finds them.
pub(crate) const TOTALS: &str = "Totals";
pub(crate) const ROWS_RETURNED: &str = "RowsReturned";
pub(crate) const ROWS_READ: &str = "RowsRead";
pub(crate) const COMPUTE_TIME: &str = "ComputeTime";
pub(crate) const PEAK_MEMORY: &str = "PeakMemory";
pub(crate) const BYTES_READ: &str = "BytesRead";
pub(crate) const SPILLED_BYTES: &str = "SpilledBytes";
/// What scans have skipped, as DataFusion names it: files, and row groups by either kind of
/// statistic.
pub(crate) const PRUNED: [&str; 3] = [
    "files_ranges_pruned_statistics_pruned",
    "row_groups_pruned_statistics_pruned",
    "row_groups_pruned_bloom_filter_pruned",
];

/// Rows of the operators that have no input.
fn rows_read(operators: &[Operator]) -> u64 {
    let nexts = operators.iter().skip(1).map(Some).chain([None]);
    let leaves = operators
        .iter()
        .zip(nexts)
        .filter(|(operator, next)| next.is_none_or(|next| next.depth <= operator.depth));
    leaves.map(|(leaf, _)| leaf.rows.unwrap_or(0)).sum()
}

fn totals(facts: &Facts, operators: &[Operator]) -> Profile {
    let mut node = Profile::named(TOTALS);
    let sum = |of: fn(&Operator) -> u64| operators.iter().map(of).sum();
    node.add_counter(ROWS_RETURNED, Unit::Unit, facts.rows_returned);
    node.add_counter(ROWS_READ, Unit::Unit, rows_read(operators));
    node.add_counter(
        COMPUTE_TIME,
        Unit::TimeNs,
        sum(|o| o.time_avg_ns.saturating_mul(o.instances as u64)),
    );
    node.add_counter(
        PEAK_MEMORY,
        Unit::Bytes,
        sum(|o| o.peak_memory_bytes.unwrap_or(0)),
    );
    node.add_counter(BYTES_READ, Unit::Bytes, sum(|o| o.scanned_bytes));
    node.add_counter(SPILLED_BYTES, Unit::Bytes, sum(|o| o.spilled_bytes));
    for name in PRUNED {
        let counters = operators.iter().flat_map(|o| &o.counters);
        let pruned = counters.filter(|c| c.name == name);
        let pruned: i64 = pruned.map(|c| c.value).sum();
        node.add_counter(name, Unit::Unit, u64::try_from(pruned).unwrap_or(0));
    }
    node
}

/// The operators as a tree, each with everything that it has counted.
fn execution(operators: &[Operator]) -> Profile {
    let mut root = Profile::named("Execution");
    // The nodes above the one that is next, the root first.
    let mut open: Vec<Profile> = Vec::new();
    let close = |open: &mut Vec<Profile>, root: &mut Profile| {
        let closed = open.pop().expect("one is open");
        let parent = open.last_mut().unwrap_or(root);
        parent.children.push(closed);
    };
    for operator in operators {
        while open.len() > operator.depth {
            close(&mut open, &mut root);
        }
        let mut node = Profile::named(title(operator));
        node.add_counter("Instances", Unit::Unit, operator.instances as u64);
        node.counters.extend(operator.counters.iter().cloned());
        open.push(node);
    }
    while !open.is_empty() {
        close(&mut open, &mut root);
    }
    root
}
