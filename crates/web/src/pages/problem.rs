//! What is said when there is nothing to show.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use maud::{Markup, html};
use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::format::{Foreign, shortened};
use crate::respond::{Page, Parameters, respond};

/// A page that says what is wrong.
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
}

impl Page for Problem {
    fn title(&self) -> String {
        "Not there".to_owned()
    }

    fn place(&self) -> &'static str {
        ""
    }

    fn status(&self, _: &App) -> StatusCode {
        self.status
    }

    fn moving(&self, _: &App) -> Markup {
        html! { p.problem role="alert" { (Foreign(&self.text)) } p { a href="/" { "Overview" } } }
    }

    fn is_live(&self) -> bool {
        false
    }

    fn json(&self, _: &App) -> impl Serialize {
        json!({ "error": self.text })
    }
}

pub(crate) async fn no_such_page(
    State(app): State<Arc<App>>,
    uri: Uri,
    Query(parameters): Query<Parameters>,
) -> Response {
    let problem = Problem {
        status: StatusCode::NOT_FOUND,
        text: format!("There is no page {}.", shortened(uri.path(), 200)),
    };
    respond(app, &parameters, problem).await
}

pub(crate) async fn not_so(
    State(app): State<Arc<App>>,
    uri: Uri,
    Query(parameters): Query<Parameters>,
) -> Response {
    let problem = Problem {
        status: StatusCode::METHOD_NOT_ALLOWED,
        text: format!(
            "{} does not answer to this method.",
            shortened(uri.path(), 200)
        ),
    };
    respond(app, &parameters, problem).await
}
