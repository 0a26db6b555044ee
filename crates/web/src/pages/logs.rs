//! The last lines of the log; what is logged can be changed.

use std::sync::Arc;

use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Serialize;
use serde_json::json;

use super::actions::{Fields, checked, done};
use super::problem::Problem;
use crate::access::Who;
use crate::app::App;
use crate::format::{Foreign, exact_moment};
use crate::layout::{heading, nothing};
use crate::logs::Line;
use crate::respond::{Page, Parameters, respond};

/// Lines on the page.
const SHOWN: usize = 200;

pub(crate) struct Logs;

impl Logs {
    pub(crate) fn new(_: Parameters) -> Self {
        Self
    }
}

impl Page for Logs {
    fn title(&self) -> String {
        "Logs".to_owned()
    }

    fn place(&self) -> &'static str {
        "/logs"
    }

    fn still(&self, app: &App) -> Markup {
        html! {
            h1 { "Logs" }
            form.filter method="post" action="/set_log_level" {
                input type="hidden" name="token" value=(app.token.as_str());
                label { "What is logged" input name="filter" value=(app.logs.filter()) spellcheck="false" maxlength="1000"; }
                button type="submit" { "Change" }
                span.note { "A level (error, warn, info, debug, trace, off), or levels for parts: " code { "info,forebay_postgres=debug" } ". It lasts until the server stops." }
            }
        }
    }

    fn moving(&self, app: &App) -> Markup {
        let lines = app.logs.lines();
        html! {
            (heading("Last lines", "newest first"))
            @if lines.is_empty() { (nothing("Nothing was logged yet.")) }
            @else {
                ol.log { @for line in lines.iter().take(SHOWN) { (shown(line)) } }
            }
        }
    }

    fn json(&self, app: &App) -> impl Serialize {
        let lines = app.logs.lines();
        let line = |line: &Line| {
            json!({
                "time": exact_moment(line.at),
                "level": line.level.as_str(),
                "target": line.target,
                "message": line.message,
            })
        };
        json!({ "filter": app.logs.filter(), "lines": lines.iter().map(line).collect::<Vec<_>>() })
    }
}

fn shown(line: &Line) -> Markup {
    let level = line.level.as_str();
    html! {
        li class=(level.to_ascii_lowercase()) {
            time { (line.at.format("%m-%d %H:%M:%S%.3f")) } " "
            span.level { (level) } " "
            span.note { (line.target) } " "
            span { (Foreign(&line.message)) }
        }
    }
}

pub(crate) async fn set_level(
    State(app): State<Arc<App>>,
    Query(parameters): Query<Parameters>,
    Extension(Who(who)): Extension<Who>,
    fields: Fields,
) -> Response {
    let set = checked(&app, fields).and_then(|fields| {
        let filter = fields.get("filter").map_or("", |filter| filter.trim());
        match app.logs.set_filter(filter) {
            Ok(()) => Ok(filter.to_owned()),
            Err(why) => Err(Problem {
                status: StatusCode::BAD_REQUEST,
                text: format!("The filter stays as it was: {why}"),
            }),
        }
    });
    match set {
        Ok(filter) => {
            tracing::warn!(
                filter,
                by = who,
                "what is logged was changed from the web pages"
            );
            done(&parameters, "/logs", "Log level changed successfully")
        }
        Err(problem) => respond(app, &parameters, problem).await,
    }
}
