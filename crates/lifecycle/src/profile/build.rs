//! From what is known of a query to its profile.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::totals::COMPUTE_TIME;
use super::{EventSequence, Operator, Profile, SummaryStats, Totals, Unit, summary};
use crate::{Facts, Query};

/// The profile of `query` as things stand now: what its plan's `operators` have measured, and what
/// that makes in all.
pub(crate) fn build(query: &Query, operators: &[Operator], totals: Option<&Totals>) -> Profile {
    let facts = query.facts();
    let mut root = Profile::named(format!("Query (id={})", query.id()));
    root.children.push(summary_node(query, &facts, operators));
    if let Some(totals) = totals {
        root.children.push(totals.node(facts.rows_returned));
        root.children.push(execution(operators));
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
    node.events.push(EventSequence {
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

/// What is known of an operator beside its own counters: how many of it run side by side, what they
/// have computed on average and what the busiest one has, the rows that were expected, the most
/// memory that it had reserved, and what was expected of that.
const INSTANCES: &str = "Instances";
const AVERAGE_TIME: &str = "AverageTime";
const LONGEST_TIME: &str = "LongestTime";
const ESTIMATED_ROWS: &str = "EstimatedRows";
const PEAK_MEMORY: &str = "PeakMemory";
const ESTIMATED_PEAK_MEMORY: &str = "EstimatedPeakMemory";

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
    for (place, operator) in operators.iter().enumerate() {
        while open.len() > operator.depth {
            close(&mut open, &mut root);
        }
        let mut node = Profile::named(title(operator));
        node.add_counter(INSTANCES, Unit::Unit, operator.instances as u64);
        node.add_counter(AVERAGE_TIME, Unit::TimeNs, operator.time_avg_ns);
        node.add_counter(LONGEST_TIME, Unit::TimeNs, operator.time_max_ns);
        for (name, unit, value) in [
            (ESTIMATED_ROWS, Unit::Unit, operator.estimated_rows),
            (PEAK_MEMORY, Unit::Bytes, operator.peak_memory_bytes),
            (
                ESTIMATED_PEAK_MEMORY,
                Unit::Bytes,
                operator.estimated_memory_bytes,
            ),
        ] {
            if let Some(value) = value {
                node.add_counter(name, unit, value);
            }
        }
        node.plan_node_id = i32::try_from(place).ok();
        node.summary_stats.push(compute_time(operator));
        node.counters.extend(operator.counters.iter().cloned());
        open.push(node);
    }
    while !open.is_empty() {
        close(&mut open, &mut root);
    }
    root
}

/// What the instances of an operator have computed.
fn compute_time(operator: &Operator) -> SummaryStats {
    let whole = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    SummaryStats {
        name: COMPUTE_TIME.to_owned(),
        unit: Unit::TimeNs,
        sum: whole(operator.time_total_ns),
        count: whole(operator.instances as u64),
        min: whole(operator.time_min_ns),
        max: whole(operator.time_max_ns),
    }
}
