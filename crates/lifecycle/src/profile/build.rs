//! From what is known of a query to its profile.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::totals::COMPUTE_TIME;
use super::{EventSequence, Operator, Profile, SummaryStats, Totals, Unit, names, summary};
use crate::{Facts, Outcome, Query};

/// What the name of the node of the operators begins with; the query's id follows.
pub(super) const EXECUTION: &str = "Execution Profile ";

/// The line above and below the plan.
const PLAN_RULE: &str = "----------------";

/// The event with which planning ends, in both sequences of events.
const PLANNING_FINISHED: &str = "Planning finished";

/// The profile of `query` as things stand now: what its plan's `operators` have measured, and what
/// that makes in all.
pub(crate) fn build(query: &Query, operators: &[Operator], totals: Option<&Totals>) -> Profile {
    let facts = query.facts();
    let mut root = Profile::named(format!("Query (id={})", query.id()));
    root.children.push(summary_node(query, &facts, operators));
    if let Some(totals) = totals {
        root.children.push(server_node(&facts));
        root.children.push(totals.node(facts.rows_returned));
        root.children.push(execution(query, operators));
    }
    root
}

/// Who asked what, and what became of it. The names are Impala's, whose tools look for them; what
/// Impala has no name for follows with ours.
fn summary_node(query: &Query, facts: &Facts, operators: &[Operator]) -> Profile {
    let info = query.info();
    let mut node = Profile::named("Summary");
    node.add_info("Session ID", info.session_id.to_string());
    node.add_info("Session Type", names::session_type(info.protocol));
    if let Some(version) = info.protocol_version {
        node.add_info(names::PROTOCOL_VERSION, version);
    }
    node.add_info("Start Time", time(query.started_at()));
    node.add_info("End Time", query.ended_at().map_or_else(String::new, time));
    node.add_info("Duration", whole_span(query.duration()));
    node.add_info("Query Type", info.statement_type);
    let (state, impala_state) = names::states(query, facts);
    node.add_info("Query State", state);
    node.add_info("Impala Query State", impala_state);
    node.add_info("Query Status", status(query));
    if let Some(sqlstate) = query.sqlstate() {
        node.add_info("SQLSTATE", sqlstate);
    }
    if let Some(reason) = query.pending_reason() {
        node.add_info("Waits For", reason);
    }
    node.add_info("Forebay Version", env!("CARGO_PKG_VERSION"));
    node.add_info("Impala Version", info.impala_version);
    node.add_info("User", info.effective_role.as_ref());
    node.add_info("Connected User", info.role.as_ref());
    node.add_info("Delegated User", "");
    node.add_info("Network Address", info.client_address.as_ref());
    if let Some(origin) = &info.http_origin {
        node.add_info("Http Origin", origin.as_ref());
    }
    node.add_info("Application", info.application_name.as_ref());
    node.add_info("Default Db", info.database.as_ref());
    node.add_info("Sql Statement", info.statement.as_ref());
    node.add_info("Coordinator", info.coordinator.as_ref());
    node.add_info(
        "Query Options (set by configuration)",
        info.options.as_ref(),
    );
    if let Some(rows) = facts.rows_modified {
        node.add_info("NumModifiedRows", rows.to_string());
    }
    if !facts.tables.is_empty() {
        node.add_info("Tables Queried", facts.tables.join(","));
    }
    for (name, columns) in facts
        .clauses
        .as_deref()
        .map(names::clauses)
        .into_iter()
        .flatten()
    {
        if !columns.is_empty() {
            node.add_info(name, names::columns(columns, info.protocol));
        }
    }
    if let Some(columns) = facts.columns.as_ref().filter(|columns| !columns.is_empty()) {
        node.add_info("Columns Used", columns.join(","));
    }
    if !operators.is_empty() {
        let plan = plan_text(operators);
        node.add_info("Plan", format!("\n{PLAN_RULE}\n{plan}\n{PLAN_RULE}"));
    }
    add_admission(&mut node, query, facts);
    if !operators.is_empty() {
        node.add_info("ExecSummary", format!("\n{}", summary::table(operators)));
    }
    if let Some(Outcome::Exception { message, .. }) = query.outcome() {
        node.add_info("Errors", message);
    }
    node.events = events(query, facts);
    node
}

/// What it asked its resource queue for, and how it fared.
fn add_admission(node: &mut Profile, query: &Query, facts: &Facts) {
    if let Some(cost) = facts.estimated_cost {
        node.add_info("Estimated Cost", format!("{cost:.2}"));
    }
    if let Some(estimate) = facts.memory_estimate_bytes {
        node.add_info("Estimated Per-Host Mem", estimate.to_string());
    }
    if let Some(queue) = &facts.queue {
        node.add_info("Request Pool", queue.as_ref());
    }
    if let Some(result) = names::admission_result(query, facts) {
        node.add_info("Admission result", result);
    }
    if let Some(reasons) = &facts.queue_reasons {
        node.add_info("Initial admission queue reason", &*reasons.initial);
        node.add_info("Latest admission queue reason", &*reasons.latest);
    }
    if facts.queue.is_some() {
        node.add_info("Queue Wait", span(facts.queue_wait));
        node.add_info("Stepped Aside", facts.stepped_aside.to_string());
        node.add_info("Overcommitted", facts.overcommitted.to_string());
    }
    if facts.lock_wait > Duration::ZERO {
        node.add_info("Lock Wait", span(facts.lock_wait));
    }
    if let Some(granted) = facts.memory_granted_bytes {
        node.add_info("Memory Granted", super::text::bytes(granted));
    }
}

fn events(query: &Query, facts: &Facts) -> Vec<EventSequence> {
    let sequence = |name: &str, events| EventSequence {
        name: name.to_owned(),
        events,
    };
    let compilation = || {
        let planning = i64::try_from(facts.planning.as_nanos()).unwrap_or(i64::MAX);
        sequence(
            "Query Compilation",
            vec![(PLANNING_FINISHED.to_owned(), planning)],
        )
    };
    let timeline = query.timeline().into_iter();
    let timeline = timeline
        .map(|event| (event.label.into_owned(), nanoseconds(event.at_micros)))
        .collect();
    let compiled = !facts.planning.is_zero();
    let compilation = compiled.then(compilation).into_iter();
    compilation
        .chain([sequence("Query Timeline", timeline)])
        .collect()
}

/// What the client's side of the query has counted.
fn server_node(facts: &Facts) -> Profile {
    let mut node = Profile::named("ImpalaServer");
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let waited = nanoseconds(facts.fetch_wait);
    node.add_counter("ClientFetchWaitTimer", Unit::TimeNs, waited);
    node.add_counter("NumRowsFetched", Unit::Unit, facts.rows_returned);
    if let Some(fetches) = &facts.fetches {
        let made = nanoseconds(fetches.materialization);
        let rate = per_second(facts.rows_returned + fetches.rows_again, made);
        node.add_counter("NumRowsFetchedFromCache", Unit::Unit, fetches.rows_again);
        node.add_counter("RPCCount", Unit::Unit, fetches.calls);
        node.add_counter("RowMaterializationRate", Unit::UnitPerSecond, rate);
        node.add_counter("RowMaterializationTimer", Unit::TimeNs, made);
    }
    node
}

/// How many in a second, where so many took so long; 0 where they took no time.
fn per_second(count: u64, ns: u64) -> u64 {
    let rate = (u128::from(count) * 1_000_000_000).checked_div(u128::from(ns));
    u64::try_from(rate.unwrap_or(0)).unwrap_or(u64::MAX)
}

fn status(query: &Query) -> String {
    query.error().unwrap_or_else(|| "OK".to_owned())
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S%.9f").to_string()
}

fn whole_span(duration: Duration) -> String {
    format!("{} ({} us)", span(duration), duration.as_micros())
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
fn execution(query: &Query, operators: &[Operator]) -> Profile {
    let mut root = Profile::named(format!("{EXECUTION}{}", query.id()));
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
