//! All queries: in flight, waiting to be closed, completed.

use std::cmp::Ordering;
use std::fmt::Write as _;

use forebay_server::QueryState;
use maud::{Markup, html};
use serde::Serialize;

use super::entry::{self, Entry};
use crate::app::App;
use crate::format::count;
use crate::layout::{heading, nothing};
use crate::respond::{Page, Parameters};

/// Rows of each list on one page.
const PAGE: usize = 50;

/// Bytes of a statement that a filter looks into.
const SEARCHED_BYTES: usize = 64 * 1024;

/// What of the queries is wanted, and in which order.
pub(crate) struct Queries {
    parameters: Parameters,
    sort: Sort,
    descending: bool,
    /// Counted from 1.
    page: usize,
    /// The most completed queries that programs get.
    limit: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Sort {
    Start,
    Duration,
    Rows,
    State,
    Role,
    Queue,
    Type,
}

impl Sort {
    const ALL: [(Self, &'static str, &'static str); 7] = [
        (Self::Start, "start", "Start"),
        (Self::Duration, "duration", "Duration"),
        (Self::Rows, "rows", "Rows"),
        (Self::State, "state", "State"),
        (Self::Role, "role", "Role"),
        (Self::Queue, "queue", "Queue"),
        (Self::Type, "type", "Type"),
    ];

    fn compare(self, a: &Entry, b: &Entry) -> Ordering {
        match self {
            Self::Start => a.start.cmp(&b.start),
            Self::Duration => a.duration.cmp(&b.duration),
            Self::Rows => a.rows.cmp(&b.rows),
            Self::State => a.state.cmp(&b.state),
            Self::Role => a.effective_role().cmp(b.effective_role()),
            Self::Queue => a.queue().cmp(b.queue()),
            Self::Type => a
                .query
                .info()
                .statement_type
                .cmp(b.query.info().statement_type),
        }
    }
}

/// The three lists.
struct Lists {
    in_flight: Vec<Entry>,
    /// Of those in flight, the ones that wait to be closed.
    waiting: Vec<Entry>,
    completed: Vec<Entry>,
}

/// The lists for programs, with Impala's names. The log may be long: each entry is written on its own,
/// without a tree of values in between.
#[derive(Serialize)]
struct Json {
    num_in_flight_queries: usize,
    num_executing_queries: usize,
    num_waiting_queries: usize,
    in_flight_queries: Vec<Entry>,
    /// As many as match the filter, also beyond the limit.
    completed_log_size: usize,
    completed_queries: Vec<Entry>,
}

impl Queries {
    pub(crate) fn new(parameters: Parameters) -> Self {
        let named = |name: &str| Sort::ALL.into_iter().find(|(_, n, _)| *n == name);
        let sort = parameters.get("sort").and_then(|name| named(name));
        let page = parameters.get("page").and_then(|page| page.parse().ok());
        let limit = parameters.get("limit").and_then(|limit| limit.parse().ok());
        Self {
            sort: sort.map_or(Sort::Start, |(sort, ..)| sort),
            descending: parameters.get("order").is_none_or(|order| order != "asc"),
            page: page.unwrap_or(1).clamp(1, 1_000_000),
            limit: limit.unwrap_or(usize::MAX),
            parameters,
        }
    }

    fn filter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", |text| text.trim())
    }

    fn lists(&self, app: &App) -> Lists {
        let listing = app.server.queries();
        let wanted = |queries: Vec<_>, entry: fn(_) -> Entry| {
            let entries = queries.into_iter().map(entry);
            let mut entries: Vec<Entry> = entries.filter(|entry| self.wants(entry)).collect();
            entries.sort_by(|a, b| {
                let order = self.sort.compare(a, b);
                if self.descending {
                    order.reverse()
                } else {
                    order
                }
            });
            entries
        };
        let (waiting, in_flight) = wanted(listing.in_flight, Entry::living)
            .into_iter()
            .partition(|entry| entry.waits_to_be_closed);
        Lists {
            in_flight,
            waiting,
            completed: wanted(listing.completed, Entry::new),
        }
    }

    fn wants(&self, entry: &Entry) -> bool {
        let (role, queue) = (self.filter("role"), self.filter("queue"));
        let (state, text) = (self.filter("state"), self.filter("text"));
        (role.is_empty() || entry.effective_role() == role || *entry.query.info().role == *role)
            && (queue.is_empty() || entry.queue() == queue)
            && (state.is_empty() || entry.state.as_str().eq_ignore_ascii_case(state))
            && (text.is_empty() || contains(entry, text))
    }

    fn address(&self, changes: &[(&str, &str)]) -> String {
        address_of("/queries", &self.parameters, changes)
    }

    /// The head of a column, which sorts by it.
    fn head(&self, column: &str) -> Markup {
        let Some((sort, name, _)) = Sort::ALL.into_iter().find(|(.., c)| *c == column) else {
            return html! { (column) };
        };
        let is_sorted = sort == self.sort;
        let order = if is_sorted && self.descending {
            "asc"
        } else {
            "desc"
        };
        html! {
            a href=(self.address(&[("sort", name), ("order", order), ("page", "")])) {
                (column)
                @if is_sorted { @if self.descending { " ↓" } @else { " ↑" } }
            }
        }
    }

    fn list(&self, title: &str, entries: &[Entry], none: &str) -> Markup {
        let shown = &entries[..entries.len().min(PAGE)];
        html! {
            (heading(title, count(entries.len() as u64)))
            @if shown.is_empty() { (nothing(none)) } @else { (entry::table(shown, |c| self.head(c))) }
            @if entries.len() > shown.len() {
                p.note { (count((entries.len() - shown.len()) as u64)) " more: filter or sort to see them." }
            }
        }
    }

    fn completed(&self, entries: &[Entry]) -> Markup {
        let pages = entries.len().div_ceil(PAGE).max(1);
        let page = self.page.min(pages);
        let first = (page - 1) * PAGE;
        let shown = &entries[first..entries.len().min(first + PAGE)];
        let link = |to: usize, text: &str| {
            html! { a.button href=(self.address(&[("page", &to.to_string())])) { (text) } }
        };
        html! {
            (heading("Completed", count(entries.len() as u64)))
            @if shown.is_empty() { (nothing("No query is in the log.")) }
            @else { (entry::table(shown, |c| self.head(c))) }
            @if pages > 1 {
                nav.pages aria-label="Pages of the list" {
                    @if page > 1 { (link(1, "« newest")) (link(page - 1, "‹ newer")) }
                    span { "page " (page) " of " (pages) }
                    @if page < pages { (link(page + 1, "older ›")) (link(pages, "oldest »")) }
                }
            }
        }
    }
}

/// Whether the beginning of the statement, or the id, has the text in it, in any letter case.
fn contains(entry: &Entry, text: &str) -> bool {
    let statement = &entry.query.info().statement;
    let start = &statement[..statement.floor_char_boundary(SEARCHED_BYTES)];
    start.to_lowercase().contains(&text.to_lowercase()) || entry.id().contains(text)
}

/// The address of a page with other parameters; an empty value takes one away.
pub(super) fn address_of(path: &str, parameters: &Parameters, changes: &[(&str, &str)]) -> String {
    let mut parameters = parameters.clone();
    parameters.remove("live");
    for (name, value) in changes {
        parameters.insert((*name).to_owned(), (*value).to_owned());
    }
    let mut address = path.to_owned();
    let mut separator = '?';
    for (name, value) in &parameters {
        if !value.is_empty() || *name == "json" {
            let _ = write!(address, "{separator}{}={}", encoded(name), encoded(value));
            separator = '&';
        }
    }
    address
}

/// A part of an address.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b':' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

impl Page for Queries {
    fn title(&self) -> String {
        "Queries".to_owned()
    }

    fn place(&self) -> &'static str {
        "/queries"
    }

    fn still(&self, app: &App) -> Markup {
        let queues = app.server.queues();
        let (state, queue) = (self.filter("state"), self.filter("queue"));
        html! {
            h1 { "Queries" }
            form.filter method="get" action="/queries" {
                label { "Text" input type="search" name="text" value=(self.filter("text")) placeholder="in the statement, or an id"; }
                label { "Role" input name="role" value=(self.filter("role")); }
                label { "Queue" select name="queue" {
                    option value="" { "any" }
                    @for q in &queues { option value=(q.name) selected[q.name == queue] { (crate::format::Foreign(&q.name)) } }
                } }
                label { "State" select name="state" {
                    option value="" { "any" }
                    @for s in QueryState::ALL { option selected[s.as_str() == state] { (s.as_str()) } }
                } }
                input type="hidden" name="sort" value=(self.filter("sort"));
                input type="hidden" name="order" value=(self.filter("order"));
                button type="submit" { "Filter" }
                a.button href="/queries" { "All" }
            }
        }
    }

    fn moving(&self, app: &App) -> Markup {
        let lists = self.lists(app);
        html! {
            (self.list("In flight", &lists.in_flight, "Nothing runs or waits."))
            (self.list("Waiting to be closed", &lists.waiting, "No query waits for its client."))
            (self.completed(&lists.completed))
        }
    }

    fn json(&self, app: &App) -> impl Serialize {
        let mut lists = self.lists(app);
        let (executing, waiting) = (lists.in_flight.len(), lists.waiting.len());
        let completed = lists.completed.len();
        lists.in_flight.append(&mut lists.waiting);
        lists.completed.truncate(self.limit);
        Json {
            num_in_flight_queries: lists.in_flight.len(),
            num_executing_queries: executing,
            num_waiting_queries: waiting,
            in_flight_queries: lists.in_flight,
            completed_log_size: completed,
            completed_queries: lists.completed,
        }
    }

    fn json_address(&self) -> String {
        self.address(&[("json", "")])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_the_filter_and_are_encoded() {
        let parameters = [("text", "a&b=\"ä\""), ("page", "3"), ("live", "")];
        let parameters = parameters.map(|(n, v)| (n.to_owned(), v.to_owned()));
        let page = Queries::new(parameters.into_iter().collect());
        let address = page.address(&[("sort", "rows"), ("page", "")]);
        assert_eq!(address, "/queries?sort=rows&text=a%26b%3D%22%C3%A4%22");
        assert!(address.parse::<axum::http::Uri>().is_ok());
    }
}
