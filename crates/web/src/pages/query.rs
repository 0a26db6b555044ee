//! One query: what is known of it, its statement, its timeline, its profile.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use forebay_server::{Profile, Query, QueryId, TimelineEvent, UnknownQuery};
use maud::{Markup, html};
use serde::Serialize;
use serde_json::{Value, json};

use super::entry::{Entry, badge};
use crate::app::App;
use crate::draw::{self, Span};
use crate::format::{self, Foreign};
use crate::layout::{heading, nothing};
use crate::respond::{Page, Parameters};

/// Bytes of a statement on the page; the whole is a click away.
const SHOWN_STATEMENT_BYTES: usize = 16 * 1024;

/// The id that an address names, as it was written.
pub(super) struct Named(String);

impl Named {
    pub(super) fn of(parameters: &Parameters) -> Self {
        Self(parameters.get("query_id").cloned().unwrap_or_default())
    }

    /// As it was written.
    pub(super) fn written(&self) -> &str {
        &self.0
    }

    pub(super) fn find(&self, app: &App) -> Option<Arc<Query>> {
        let id: QueryId = self.0.parse().ok()?;
        app.server.query(&id)
    }

    /// The same words for an id that is unknown, and for a text that is no id.
    pub(super) fn unknown(&self) -> String {
        match self.0.parse::<QueryId>() {
            Ok(id) => UnknownQuery(id).to_string(),
            Err(_) => format!(
                "Invalid or unknown query handle: {}",
                format::shortened(&self.0, 100)
            ),
        }
    }

    pub(super) fn status(&self, app: &App) -> StatusCode {
        match self.find(app) {
            Some(_) => StatusCode::OK,
            None => StatusCode::NOT_FOUND,
        }
    }
}

pub(crate) struct OneQuery(Named);

impl OneQuery {
    pub(crate) fn new(parameters: Parameters) -> Self {
        Self(Named::of(&parameters))
    }
}

impl Page for OneQuery {
    fn title(&self) -> String {
        format!("Query {}", format::shortened(&self.0.0, 40))
    }

    fn place(&self) -> &'static str {
        "/queries"
    }

    fn status(&self, app: &App) -> StatusCode {
        self.0.status(app)
    }

    fn moving(&self, app: &App) -> Markup {
        let Some(query) = self.0.find(app) else {
            return html! { p.problem role="alert" { (Foreign(&self.0.unknown())) } };
        };
        let entry = Entry::new(Arc::clone(&query));
        let timeline = query.timeline();
        html! {
            h1 { "Query " code { (entry.id()) } }
            p { (badge(entry.state, entry.waits_to_be_closed))
                @if !entry.state.is_final() {
                    " " a.button href={ "/cancel_query?query_id=" (entry.id()) } { "Cancel" }
                }
            }
            @if let Some(note) = entry.note() { p.problem { (Foreign(&note)) } }
            (facts(&entry))
            (heading("Statement", html! { a href={ "/query_stmt?query_id=" (entry.id()) } { "whole" } }))
            (statement(&query))
            (heading("Timeline", format::duration(entry.duration)))
            (drawn(&timeline, entry.duration))
            (events(&timeline))
            @let profile = query.profile();
            @if let Some(plan) = super::plan::tree(&profile) {
                (heading("Plan", html! { "time of each operator, rows that it hands on · " a href={ "/query_plan?query_id=" (entry.id()) } { "as text" } }))
                (plan)
            }
            (heading("Summary", html! { a href={ "/query_profile?query_id=" (entry.id()) } { "profile" } }))
            (summary(&profile))
            (heading("Memory", "as far as operators tell"))
            (memory(&entry, &profile))
        }
    }

    fn json(&self, app: &App) -> impl Serialize {
        let Some(query) = self.0.find(app) else {
            return json!({ "error": self.0.unknown() });
        };
        let timeline: Vec<Value> = query
            .timeline()
            .iter()
            .map(|event| json!({ "event": event.label, "at_us": event.at_micros }))
            .collect();
        let info = query.info();
        let mut value = json!(Entry::new(Arc::clone(&query)));
        value["stmt"] = json!(&*info.statement);
        value["protocol"] = json!(info.protocol);
        value["timeline"] = json!(timeline);
        value
    }

    fn json_address(&self) -> String {
        format!(
            "/query?query_id={}&json",
            super::queries::encoded(&self.0.0)
        )
    }
}

/// A time, where there was any.
fn some_time(time: Duration) -> String {
    match time.is_zero() {
        true => String::new(),
        false => format::duration(time),
    }
}

/// How far the scans are, where there are any.
fn scanned(entry: &Entry) -> String {
    let progress = entry.query.progress().filter(|p| p.total > 0);
    progress.map_or_else(String::new, |p| format::progress(Some(p)))
}

fn facts(entry: &Entry) -> Markup {
    let (info, facts) = (entry.query.info(), entry.query.facts());
    let role = match info.role == info.effective_role {
        true => info.role.to_string(),
        false => format!("{} as {}", info.role, info.effective_role),
    };
    let end = entry.query.ended_at().map(format::moment);
    let shown = [
        ("Role", role),
        ("Resource queue", entry.queue().to_owned()),
        ("Type", info.statement_type.to_owned()),
        ("Start", format::moment(entry.start)),
        ("End", end.unwrap_or_default()),
        ("Duration", format::duration(entry.duration)),
        ("Rows returned", format::count(entry.rows)),
        ("Scan ranges", scanned(entry)),
        ("Waited for its queue", some_time(facts.queue_wait)),
        ("Waited for locks", some_time(facts.lock_wait)),
        ("Planning", some_time(facts.planning)),
        (
            "Estimated cost",
            facts.estimated_cost.map(format::cost).unwrap_or_default(),
        ),
        (
            "Memory granted",
            facts
                .memory_granted_bytes
                .map(format::bytes)
                .unwrap_or_default(),
        ),
        ("Tables", format::shortened(&facts.tables.join(", "), 1000)),
        ("Session", info.session_id.to_string()),
        ("Client", info.client_address.to_string()),
        ("Application", info.application_name.to_string()),
        ("Protocol", info.protocol.to_owned()),
        ("Database", info.database.to_string()),
        ("SQLSTATE", entry.query.sqlstate().unwrap_or_default()),
    ];
    html! {
        dl.facts {
            @for (name, value) in &shown {
                @if !value.is_empty() { div { dt { (name) } dd { bdi { (Foreign(value)) } } } }
            }
        }
    }
}

fn statement(query: &Query) -> Markup {
    let statement = &query.info().statement;
    let shown = format::shortened(statement, SHOWN_STATEMENT_BYTES);
    html! {
        pre.sql dir="ltr" { (Foreign(&shown)) }
        @if shown.len() < statement.len() {
            p.note { "The first " (format::bytes(SHOWN_STATEMENT_BYTES as u64)) " of " (format::bytes(statement.len() as u64)) "." }
        }
    }
}

fn summary(profile: &Profile) -> Markup {
    let summary = profile.summary_table();
    html! {
        @if summary.trim().is_empty() { (nothing("It has run no plan.")) }
        @else { pre.table dir="ltr" { (Foreign(summary)) } }
    }
}

/// Which colour the time after an event has.
fn class(label: &str) -> &'static str {
    match label {
        "Queued" => "pending",
        _ if label.starts_with("Waiting for locks") => "pending",
        "Execution started" => "running",
        "Rows available" => "fetching",
        _ => "created",
    }
}

fn drawn(timeline: &[TimelineEvent], whole: Duration) -> Markup {
    let whole = u64::try_from(whole.as_micros()).unwrap_or(u64::MAX).max(1);
    let part = |micros: u64| (micros as f64 / whole as f64).clamp(0.0, 1.0);
    let ends = timeline.iter().skip(1).map(|e| e.at_micros).chain([whole]);
    let spans: Vec<Span> = timeline
        .iter()
        .zip(ends)
        .map(|(event, end)| Span {
            class: class(&event.label),
            from: part(event.at_micros),
            to: part(end),
        })
        .collect();
    let marks: Vec<f64> = timeline.iter().map(|e| part(e.at_micros)).collect();
    html! {
        (draw::timeline("The query's life", &spans, &marks))
        div.legend {
            @for (class, name) in [("created", "before it runs: locks, planning"), ("pending", "waiting"), ("running", "running"), ("fetching", "rows go to the client")] {
                span.key { svg viewBox="0 0 10 10" aria-hidden="true" { rect class=(class) width="10" height="10" {} } (name) }
            }
        }
    }
}

fn events(timeline: &[TimelineEvent]) -> Markup {
    let before = std::iter::once(0).chain(timeline.iter().map(|e| e.at_micros));
    let steps: Vec<(&TimelineEvent, u64)> = timeline.iter().zip(before).collect();
    html! {
        table {
            thead { tr { th { "Event" } th.number { "At" } th.number { "After" } } }
            tbody {
                @for (event, before) in steps {
                    tr {
                        td { (Foreign(&event.label)) }
                        td.number { (format::duration(Duration::from_micros(event.at_micros))) }
                        td.number { (format::duration(Duration::from_micros(event.at_micros.saturating_sub(before)))) }
                    }
                }
            }
        }
    }
}

/// What was granted, the most that was used, and which operators used it.
fn memory(entry: &Entry, profile: &Profile) -> Markup {
    let counter = |node: &Profile, name: &str| {
        let value = node
            .counter(name)
            .and_then(|value| u64::try_from(value).ok());
        value.filter(|value| *value > 0)
    };
    let operators: Vec<(&str, Option<u64>, Option<u64>)> = super::plan::operators(profile)
        .into_iter()
        .map(|node| {
            let name = node.name.split(": ").next().unwrap_or_default();
            let spilled = counter(node, "spilled_bytes");
            (name, counter(node, "PeakMemory"), spilled)
        })
        .filter(|(_, peak, spilled)| peak.is_some() || spilled.is_some())
        .collect();
    let granted = entry.query.facts().memory_granted_bytes;
    let most = operators.iter().filter_map(|(_, peak, _)| *peak).max();
    let bytes = |bytes: Option<u64>| bytes.map(format::bytes).unwrap_or_default();
    html! {
        @if let Some(granted) = granted { p { "Granted: " (format::bytes(granted)) "." } }
        @if operators.is_empty() { (nothing("No operator tells of memory that it had reserved.")) }
        @else {
            table {
                thead { tr { th { "Operator" } th { "Most reserved" } th.number { "Spilled to disk" } } }
                tbody {
                    @for (name, peak, spilled) in &operators {
                        tr {
                            td { (Foreign(name)) }
                            td { @if let (Some(peak), Some(most)) = (peak, most) { (draw::bar(*peak as f64, Some(most.max(granted.unwrap_or(0)) as f64), &format::bytes(*peak))) } }
                            td.number { (bytes(*spilled)) }
                        }
                    }
                }
            }
        }
    }
}
