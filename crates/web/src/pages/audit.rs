//! The audit log: who did what to which objects, the last event first.

use forebay_server::{AuditFound, AuditRecord, AuditSearch, QueryId};
use maud::{Markup, html};
use serde::Serialize;
use serde_json::json;

use super::queries::address_of;
use crate::app::App;
use crate::format::{self, Foreign};
use crate::layout::{heading, nothing};
use crate::respond::{Page, Parameters};

/// Events on one page.
const PAGE: usize = 50;

/// Pages that can be looked at: each one reads those before it again.
const MAX_PAGES: usize = 1000;

/// Bytes of a statement on the page; its JSON has all that is kept.
const SHOWN_STATEMENT_BYTES: usize = 500;

/// Which events are wanted.
pub(crate) struct Audit {
    parameters: Parameters,
    /// Counted from 1.
    page: usize,
}

impl Audit {
    pub(crate) fn new(parameters: Parameters) -> Self {
        let page = parameters.get("page").and_then(|page| page.parse().ok());
        Self {
            page: page.unwrap_or(1).clamp(1, MAX_PAGES),
            parameters,
        }
    }

    fn filter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", |text| text.trim())
    }

    fn search(&self) -> AuditSearch {
        AuditSearch {
            role: self.filter("role").to_owned(),
            text: self.filter("text").to_owned(),
            refused_only: self.filter("refused") == "on",
            skip: (self.page - 1) * PAGE,
            limit: PAGE,
        }
    }

    fn pages(&self, found: &AuditFound) -> Markup {
        let link = |to: usize, text: &str| {
            let address = address_of("/audit", &self.parameters, &[("page", &to.to_string())]);
            html! { a.button href=(address) { (text) } }
        };
        let more = found.more && !found.stopped && self.page < MAX_PAGES;
        html! {
            @if found.stopped { p.note { "Older events are in the log's files; the search has stopped after 64 MB." } }
            @if self.page > 1 || more {
                nav.pages aria-label="Pages of the list" {
                    @if self.page > 1 { (link(1, "« newest")) (link(self.page - 1, "‹ newer")) }
                    span { "page " (self.page) }
                    @if more { (link(self.page + 1, "older ›")) }
                }
            }
        }
    }
}

impl Page for Audit {
    fn title(&self) -> String {
        "Audit".to_owned()
    }

    fn place(&self) -> &'static str {
        "/audit"
    }

    fn still(&self, _: &App) -> Markup {
        html! {
            h1 { "Audit" }
            form.filter method="get" action="/audit" {
                label { "Text" input type="search" name="text" value=(self.filter("text")) placeholder="in the statement, its status or an object"; }
                label { "Role" input name="role" value=(self.filter("role")); }
                label { "Privileges" select name="refused" {
                    option value="" { "any" }
                    option value="on" selected[self.filter("refused") == "on"] { "not allowed" }
                } }
                button type="submit" { "Filter" }
                a.button href="/audit" { "All" }
            }
        }
    }

    fn moving(&self, app: &App) -> Markup {
        match app.server.audit_events(&self.search()) {
            Ok(Some(found)) => html! {
                (heading("Events", "the last first"))
                @if found.events.is_empty() { (nothing("There is no such event.")) }
                @else { (table(app, &found.events)) }
                (self.pages(&found))
            },
            Ok(None) => html! {
                p.nothing { "No audit log is kept. The server keeps one when it is started with " code { "--audit-log on" } "." }
            },
            Err(error) => html! {
                p.problem role="alert" { "The audit log cannot be read: " (Foreign(&error.to_string())) }
            },
        }
    }

    /// A search may read megabytes: that is not done again every second.
    fn is_live(&self) -> bool {
        self.page == 1
            && ["role", "text", "refused"]
                .iter()
                .all(|name| self.filter(name).is_empty())
    }

    fn json(&self, app: &App) -> impl Serialize {
        match app.server.audit_events(&self.search()) {
            Ok(Some(found)) => json!({
                "enabled": true,
                "page": self.page,
                "events": found.events,
                "more": found.more,
            }),
            Ok(None) => json!({ "enabled": false, "page": self.page, "events": [], "more": false }),
            Err(error) => json!({ "error": error.to_string() }),
        }
    }

    fn json_address(&self) -> String {
        address_of("/audit", &self.parameters, &[("json", "")])
    }
}

/// A moment for people, like those of the other pages.
fn moment(written: &str) -> String {
    match written.parse() {
        Ok(moment) => format::moment(moment),
        Err(_) => written.to_owned(),
    }
}

fn table(app: &App, events: &[AuditRecord]) -> Markup {
    html! {
        table.cards {
            thead { tr {
                th { "Statement" } th { "Result" } th { "Role" } th { "Objects" } th { "From" } th { "Time" }
            } }
            tbody { @for event in events { (row(app, event)) } }
        }
    }
}

fn row(app: &App, event: &AuditRecord) -> Markup {
    let statement = format::one_line(&event.statement, SHOWN_STATEMENT_BYTES);
    let id: Result<QueryId, _> = event.query_id.parse();
    let is_known = id.is_ok_and(|id| app.server.query(&id).is_some());
    let (class, word) = match (event.allowed, event.sqlstate.is_some()) {
        (false, _) => ("exception", "NOT ALLOWED"),
        (true, true) => ("pending", "FAILED"),
        (true, false) => ("finished", "OK"),
    };
    html! {
        tr {
            td.statement data-label="Statement" {
                @if is_known { a href={ "/query?query_id=" (event.query_id) } title=(event.query_id) { code { (Foreign(&statement)) } } }
                @else { code title=(Foreign(&event.query_id)) { (Foreign(&statement)) } }
            }
            td.wide data-label="Result" {
                span class={ "badge " (class) } { (word) }
                @if event.sqlstate.is_some() { div.reason { (Foreign(&format::one_line(&event.status, 300))) } }
            }
            td data-label="Role" {
                bdi { (Foreign(&event.role)) }
                @if event.effective_role != event.role { " as " bdi { (Foreign(&event.effective_role)) } }
            }
            td.wide data-label="Objects" {
                @for object in event.objects.iter().take(20) {
                    div { bdi { (Foreign(&object.name)) } " " span.note { (Foreign(&object.privilege)) } }
                }
                @if event.objects.len() > 20 { div.note { (event.objects.len() - 20) " more" } }
            }
            td data-label="From" { (Foreign(&event.client_address)) }
            td data-label="Time" { time datetime=(event.time) { (Foreign(&moment(&event.time))) } }
        }
    }
}
