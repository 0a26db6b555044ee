//! What the pages do: cancel a query, close a session. `GET` asks, `POST` does.

use std::sync::Arc;

use axum::extract::rejection::FormRejection;
use axum::extract::{Extension, Form, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use forebay_server::QueryId;
use maud::{Markup, html};
use serde::Serialize;
use serde_json::json;

use super::problem::Problem;
use crate::access::Who;
use crate::app::App;
use crate::format::{Foreign, shortened};
use crate::layout::confirmation;
use crate::respond::{self, Page, Parameters, respond};

/// The fields of a form.
pub(super) type Fields = Result<Form<Parameters>, FormRejection>;

/// The fields of a form that carries this server's token; else why nothing is done.
pub(super) fn checked(app: &App, fields: Fields) -> Result<Parameters, Problem> {
    let Form(fields) = fields.map_err(|rejection| Problem {
        status: rejection.status(),
        text: rejection.body_text(),
    })?;
    let token = fields.get("token").map_or("", String::as_str);
    match app.token.is(token) {
        true => Ok(fields),
        false => Err(Problem {
            status: StatusCode::FORBIDDEN,
            text: "Nothing was done: the form did not come from this server, or the server was \
                   started anew since. Open the page again."
                .to_owned(),
        }),
    }
}

/// Asks whether a query shall be cancelled.
pub(crate) struct CancelQuery(String);

impl CancelQuery {
    pub(crate) fn new(parameters: Parameters) -> Self {
        Self(parameters.get("query_id").cloned().unwrap_or_default())
    }
}

impl Page for CancelQuery {
    fn title(&self) -> String {
        "Cancel a query".to_owned()
    }

    fn place(&self) -> &'static str {
        "/queries"
    }

    fn is_live(&self) -> bool {
        false
    }

    fn moving(&self, app: &App) -> Markup {
        let id: Option<QueryId> = self.0.parse().ok();
        let query = id.and_then(|id| app.server.query(&id));
        let Some(query) = query else {
            return html! { p.problem role="alert" { (Foreign(&unknown(&self.0))) } };
        };
        let id = query.id().to_string();
        html! {
            h1 { "Cancel this query?" }
            p { a href={ "/query?query_id=" (id) } { code { (id) } } " of " bdi { (Foreign(&query.info().role)) } }
            pre.sql dir="ltr" { (Foreign(&shortened(&query.info().statement, 2000))) }
            @if query.state().is_final() { p { "It has ended already." } }
            @else { (confirmation(app, "/cancel_query", ("query_id", &id), "Cancel the query")) }
        }
    }

    fn json(&self, _: &App) -> impl Serialize {
        json!({ "error": "Cancelling changes something: it is done by POST, with the token of the form." })
    }
}

fn unknown(id: &str) -> String {
    format!("Invalid or unknown query handle: {}", shortened(id, 100))
}

pub(crate) async fn cancel_query(
    State(app): State<Arc<App>>,
    Query(parameters): Query<Parameters>,
    Extension(Who(who)): Extension<Who>,
    fields: Fields,
) -> Response {
    let fields = match checked(&app, fields) {
        Ok(fields) => fields,
        Err(problem) => return respond(app, &parameters, problem).await,
    };
    let written = fields.get("query_id").map_or("", String::as_str);
    let cancelled = match written.parse::<QueryId>() {
        Ok(id) => app
            .server
            .cancel_query(&id)
            .map_err(|error| error.to_string()),
        Err(_) => Err(unknown(written)),
    };
    match cancelled {
        Ok(()) => {
            tracing::info!(
                query = written,
                by = who,
                "a query is cancelled from the web pages"
            );
            let address = format!("/query?query_id={written}");
            done(&parameters, &address, "Query cancellation successful")
        }
        Err(text) => not_found(app, &parameters, text).await,
    }
}

/// Asks whether a session shall be closed.
pub(crate) struct CloseSession(String);

impl CloseSession {
    pub(crate) fn new(parameters: Parameters) -> Self {
        Self(parameters.get("session_id").cloned().unwrap_or_default())
    }
}

impl Page for CloseSession {
    fn title(&self) -> String {
        "Close a session".to_owned()
    }

    fn place(&self) -> &'static str {
        "/sessions"
    }

    fn is_live(&self) -> bool {
        false
    }

    fn moving(&self, app: &App) -> Markup {
        let pid: Option<i32> = self.0.parse().ok();
        let sessions = app.server.sessions();
        let Some(session) = sessions.iter().find(|s| Some(s.pid) == pid) else {
            return html! { p.problem role="alert" { (Foreign(&no_session(&self.0))) } };
        };
        html! {
            h1 { "Close this session?" }
            p { "Session " (session.pid) " of " bdi { (Foreign(&session.user)) } ", " (session.state)
                ". What it runs is cancelled, and its transaction is rolled back." }
            pre.sql dir="ltr" { (Foreign(&shortened(&session.query, 2000))) }
            (confirmation(app, "/close_session", ("session_id", &session.pid.to_string()), "Close the session"))
        }
    }

    fn json(&self, _: &App) -> impl Serialize {
        json!({ "error": "Closing a session changes something: it is done by POST, with the token of the form." })
    }
}

fn no_session(written: &str) -> String {
    format!("Invalid session id: {}", shortened(written, 100))
}

pub(crate) async fn close_session(
    State(app): State<Arc<App>>,
    Query(parameters): Query<Parameters>,
    Extension(Who(who)): Extension<Who>,
    fields: Fields,
) -> Response {
    let fields = match checked(&app, fields) {
        Ok(fields) => fields,
        Err(problem) => return respond(app, &parameters, problem).await,
    };
    let written = fields.get("session_id").map_or("", String::as_str);
    let closed = written
        .parse()
        .is_ok_and(|pid| app.server.close_session(pid));
    match closed {
        true => {
            tracing::info!(
                session = written,
                by = who,
                "a session is closed from the web pages"
            );
            done(&parameters, "/sessions", "Session closed successfully")
        }
        false => not_found(app, &parameters, no_session(written)).await,
    }
}

async fn not_found(app: Arc<App>, parameters: &Parameters, text: String) -> Response {
    let status = StatusCode::NOT_FOUND;
    respond(app, parameters, Problem { status, text }).await
}

/// People go on to a page; programs are told.
pub(super) fn done(parameters: &Parameters, address: &str, text: &str) -> Response {
    match parameters.contains_key("json") {
        true => respond::json(StatusCode::OK, &json!({ "contents": text })),
        false => Redirect::to(address).into_response(),
    }
}
