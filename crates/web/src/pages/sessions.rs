//! Who is connected, and what they do.

use forebay_server::Backend;
use maud::{Markup, html};
use serde::Serialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::format::{self, Foreign};
use crate::layout::{heading, nothing};
use crate::respond::{Page, Parameters};

/// Rows of the list.
const SHOWN: usize = 500;

pub(crate) struct Sessions;

impl Sessions {
    pub(crate) fn new(_: Parameters) -> Self {
        Self
    }
}

impl Page for Sessions {
    fn title(&self) -> String {
        "Sessions".to_owned()
    }

    fn place(&self) -> &'static str {
        "/sessions"
    }

    fn moving(&self, app: &App) -> Markup {
        let sessions = app.server.sessions();
        html! {
            h1 { "Sessions" }
            (heading("Open", format::count(sessions.len() as u64)))
            @if sessions.is_empty() { (nothing("Nobody is connected.")) } @else { (table(&sessions)) }
            @if sessions.len() > SHOWN { p.note { (sessions.len() - SHOWN) " more." } }
        }
    }

    fn json(&self, app: &App) -> impl Serialize {
        let sessions = app.server.sessions();
        let active = sessions.iter().filter(|s| s.state == "active").count();
        json!({
            "num_sessions": sessions.len(),
            "num_active": active,
            "num_inactive": sessions.len() - active,
            "sessions": sessions.iter().map(session_json).collect::<Vec<_>>(),
        })
    }
}

fn session_json(session: &Backend) -> Value {
    let address = match (&session.client_address, session.client_port) {
        (Some(address), port) => format!("{address}:{port}"),
        (None, _) => "local".to_owned(),
    };
    json!({
        "type": "POSTGRESQL",
        "session_id": session.pid,
        "user": session.user,
        "delegated_user": session.role,
        "default_database": session.database,
        "network_address": address,
        "application_name": session.application_name,
        "start_time": format::exact_moment(session.backend_start),
        "last_accessed": format::exact_moment(session.state_change),
        "state": session.state,
        "transaction_start": session.transaction_start.map(format::exact_moment),
        "wait_event_type": session.wait_event_type,
        "wait_event": session.wait_event,
        "inflight_queries": u8::from(session.state == "active"),
        "total_queries": session.statements,
        "query_id": session.query_id,
    })
}

fn table(sessions: &[Backend]) -> Markup {
    html! {
        table.cards {
            thead { tr {
                th { "Session" } th { "Role" } th { "State" } th { "Last statement" } th { "Client" } th { "Since" }
                th.number { "Statements" } th {}
            } }
            tbody {
                @for session in &sessions[..sessions.len().min(SHOWN)] { (row(session)) }
            }
        }
    }
}

fn row(session: &Backend) -> Markup {
    let class = match session.state {
        "active" => "running",
        "idle" => "finished",
        "idle in transaction" => "pending",
        _ => "exception",
    };
    let waits = session
        .wait_event_type
        .filter(|_| session.state == "active");
    let statement = format::one_line(&session.query, 120);
    html! {
        tr id={ "s" (session.pid) } {
            td data-label="Session" { (session.pid) }
            td data-label="Role" {
                bdi { (Foreign(&session.user)) }
                @if session.role != session.user { " as " bdi { (Foreign(&session.role)) } }
            }
            td data-label="State" {
                span class={ "badge " (class) } { (session.state) }
                @if let (Some(kind), Some(event)) = (waits, &session.wait_event) {
                    div.reason { "waits: " (kind) " " (Foreign(event)) }
                }
            }
            td.statement data-label="Last statement" {
                @if let Some(id) = &session.query_id {
                    a href={ "/query?query_id=" (id) } { code { (Foreign(&statement)) } }
                } @else { code { (Foreign(&statement)) } }
            }
            td data-label="Client" {
                (Foreign(session.client_address.as_deref().unwrap_or("local")))
                @if !session.application_name.is_empty() { div.note { bdi { (Foreign(&session.application_name)) } } }
            }
            td data-label="Since" { (format::moment(session.backend_start)) }
            td.number data-label="Statements" { (format::count(session.statements)) }
            td.actions data-label="" { a.button href={ "/close_session?session_id=" (session.pid) } { "Close" } }
        }
    }
}
