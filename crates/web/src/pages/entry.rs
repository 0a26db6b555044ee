//! A query as lists show it, for people and for programs.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use forebay_server::{Query, QueryState};
use maud::{Markup, html};
use serde::{Serialize, Serializer};

use crate::format::{self, Foreign};

/// Bytes of a statement that lists show; the page of the query has all of it.
const SHOWN_STATEMENT_BYTES: usize = 250;

/// What lists sort and filter by, read once so that all of it is of one moment.
pub(crate) struct Entry {
    pub(crate) query: Arc<Query>,
    pub(crate) state: QueryState,
    /// Whether it waits to be closed: until its client asks for more rows or closes it, or, when it
    /// has ended, until it is archived.
    pub(crate) waits_to_be_closed: bool,
    pub(crate) start: DateTime<Utc>,
    pub(crate) duration: Duration,
    pub(crate) rows: u64,
    queue: Option<Arc<str>>,
}

/// An entry with the names of Impala's `/queries?json`. `waiting` means there what it means here:
/// waiting to be closed.
#[derive(Serialize)]
struct Listed<'a> {
    query_id: String,
    stmt: String,
    stmt_type: &'static str,
    effective_user: &'a str,
    user: &'a str,
    default_db: &'a str,
    state: &'static str,
    start_time: String,
    end_time: String,
    duration: String,
    duration_ms: u64,
    rows_fetched: u64,
    progress: String,
    resource_pool: &'a str,
    waiting: bool,
    executing: bool,
    last_event: Cow<'static, str>,
    pending_reason: Option<Cow<'static, str>>,
    error: Option<String>,
    sqlstate: Option<String>,
    session_id: i32,
    client_address: &'a str,
    application_name: &'a str,
}

impl Entry {
    /// A query of the registry.
    pub(crate) fn living(query: Arc<Query>) -> Self {
        let mut entry = Self::new(query);
        entry.waits_to_be_closed |= entry.state.is_final();
        entry
    }

    pub(crate) fn new(query: Arc<Query>) -> Self {
        let state = query.state();
        Self {
            state,
            waits_to_be_closed: !state.is_final() && query.waits_for_client(),
            start: query.started_at(),
            duration: query.duration(),
            rows: query.rows_returned(),
            queue: query.queue(),
            query,
        }
    }

    pub(crate) fn queue(&self) -> &str {
        self.queue.as_deref().unwrap_or_default()
    }

    pub(crate) fn effective_role(&self) -> &str {
        &self.query.info().effective_role
    }

    pub(crate) fn id(&self) -> String {
        self.query.id().to_string()
    }

    pub(crate) fn address(&self) -> String {
        format!("/query?query_id={}", self.query.id())
    }

    /// The beginning of the statement, on one line.
    pub(crate) fn statement(&self) -> String {
        format::one_line(&self.query.info().statement, SHOWN_STATEMENT_BYTES)
    }

    /// Why it waits, how it failed, or what has happened last.
    pub(crate) fn note(&self) -> Option<String> {
        self.query
            .pending_reason()
            .map(Into::into)
            .or_else(|| self.query.error())
    }

    /// As programs see it.
    fn listed(&self) -> Listed<'_> {
        let info = self.query.info();
        let end = self.query.ended_at().map(format::exact_moment);
        let last_event = self.query.last_event();
        Listed {
            query_id: self.id(),
            stmt: format::shortened(&info.statement, SHOWN_STATEMENT_BYTES),
            stmt_type: info.statement_type,
            effective_user: &info.effective_role,
            user: &info.role,
            default_db: &info.database,
            state: self.state.as_str(),
            start_time: format::exact_moment(self.start),
            end_time: end.unwrap_or_default(),
            duration: format::duration(self.duration),
            duration_ms: u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX),
            rows_fetched: self.rows,
            progress: format::progress(self.query.progress()),
            resource_pool: self.queue(),
            waiting: self.waits_to_be_closed,
            executing: !self.state.is_final() && !self.waits_to_be_closed,
            last_event: last_event.unwrap_or_default(),
            pending_reason: self.query.pending_reason(),
            error: self.query.error(),
            sqlstate: self.query.sqlstate(),
            session_id: info.session_id,
            client_address: &info.client_address,
            application_name: &info.application_name,
        }
    }

    /// Its state as a coloured word.
    pub(crate) fn badge(&self) -> Markup {
        badge(self.state, self.waits_to_be_closed)
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.listed().serialize(serializer)
    }
}

pub(crate) fn badge(state: QueryState, waits_to_be_closed: bool) -> Markup {
    let class = state.as_str().to_ascii_lowercase();
    html! {
        span class={ "badge " (class) } { (state.as_str()) }
        @if waits_to_be_closed {
            " " span.badge.client { @if state.is_final() { "being archived" } @else { "waits for client" } }
        }
    }
}

/// The head of [`rows`].
const COLUMNS: [&str; 9] = [
    "Query", "State", "Role", "Queue", "Type", "Start", "Duration", "Rows", "",
];

/// A table of queries. `head` makes the cells of the head, so that a list can be sorted by them.
pub(crate) fn table(entries: &[Entry], head: impl Fn(&str) -> Markup) -> Markup {
    html! {
        table.queries.cards {
            thead { tr { @for column in COLUMNS { th class=(numeric(column)) { (head(column)) } } } }
            tbody { @for entry in entries { (row(entry)) } }
        }
    }
}

fn numeric(column: &str) -> &'static str {
    match column {
        "Duration" | "Rows" => "number",
        _ => "",
    }
}

/// How far a running query is, as far as its scans tell.
fn scanned(entry: &Entry) -> Markup {
    let progress = match entry.state {
        QueryState::Running => entry.query.progress().filter(|p| p.total > 0),
        _ => None,
    };
    html! {
        @if let Some(progress) = progress { div.reason { "scanned " (format::progress(Some(progress))) } }
    }
}

fn row(entry: &Entry) -> Markup {
    let statement = entry.statement();
    html! {
        tr {
            td.statement data-label="Query" {
                a href=(entry.address()) title=(entry.id()) {
                    code { @if statement.is_empty() { "(empty)" } @else { (Foreign(&statement)) } }
                }
                @if let Some(note) = entry.note() { div.reason { (Foreign(&format::one_line(&note, 300))) } }
            }
            td data-label="State" { (entry.badge()) (scanned(entry)) }
            td data-label="Role" { bdi { (Foreign(entry.effective_role())) } }
            td data-label="Queue" { bdi { (Foreign(entry.queue())) } }
            td data-label="Type" { (entry.query.info().statement_type) }
            td data-label="Start" { time datetime=(entry.start.to_rfc3339()) { (format::moment(entry.start)) } }
            td.number data-label="Duration" { (format::duration(entry.duration)) }
            td.number data-label="Rows" { (format::count(entry.rows)) }
            td.actions data-label="" {
                @if !entry.state.is_final() {
                    a.button href={ "/cancel_query?query_id=" (entry.id()) } { "Cancel" }
                }
            }
        }
    }
}
