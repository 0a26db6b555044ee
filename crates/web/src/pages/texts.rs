//! Long texts about a query, each alone on its page: its statement, plan, summary, profile.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use forebay_server::{Profile, Query};
use maud::{Markup, html};
use serde::Serialize;
use serde_json::{Value, json};

use super::plan;
use super::query::Named;
use crate::app::App;
use crate::format::{self, Foreign};
use crate::layout::nothing;
use crate::respond::{Page, Parameters, aside, plain};

/// What is told of the query.
#[derive(Clone, Copy)]
enum Part {
    Statement,
    Plan,
    Profile,
    Summary,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Statement => "Statement",
            Self::Plan => "Plan",
            Self::Profile => "Profile",
            Self::Summary => "Summary",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Statement => "/query_stmt",
            Self::Plan => "/query_plan",
            Self::Profile => "/query_profile",
            Self::Summary => "/query_summary",
        }
    }

    fn text(self, query: &Query) -> String {
        match self {
            Self::Statement => query.info().statement.to_string(),
            Self::Plan => plan::text(&query.profile()),
            Self::Profile => query.profile().to_text(),
            Self::Summary => query.summary(),
        }
    }

    /// With Impala's names.
    fn json(self, query: &Query) -> Value {
        let id = query.id().to_string();
        match self {
            Self::Statement => json!({ "query_id": id, "stmt": &*query.info().statement }),
            Self::Plan => {
                let profile = query.profile();
                json!({
                    "query_id": id,
                    "stmt": &*query.info().statement,
                    "status": query.error().unwrap_or_else(|| "OK".to_owned()),
                    "plan": plan::text(&profile),
                    "plan_json": plan::json(&profile),
                })
            }
            Self::Summary => json!({ "query_id": id, "summary": query.summary() }),
            Self::Profile => {
                // It is JSON already, of a kind that this crate knows nothing about.
                let profile = serde_json::from_str::<Value>(&query.profile().to_json());
                let contents = profile.map(|mut profile| profile["contents"].take());
                json!({ "query_id": id, "contents": contents.unwrap_or_default() })
            }
        }
    }
}

/// The page of a long text.
pub(crate) struct Text {
    named: Named,
    part: Part,
}

impl Text {
    pub(crate) fn statement(parameters: Parameters) -> Self {
        Self::new(&parameters, Part::Statement)
    }

    pub(crate) fn plan(parameters: Parameters) -> Self {
        Self::new(&parameters, Part::Plan)
    }

    pub(crate) fn profile(parameters: Parameters) -> Self {
        Self::new(&parameters, Part::Profile)
    }

    pub(crate) fn summary(parameters: Parameters) -> Self {
        Self::new(&parameters, Part::Summary)
    }

    fn new(parameters: &Parameters, part: Part) -> Self {
        let named = Named::of(parameters);
        Self { named, part }
    }
}

impl Page for Text {
    fn title(&self) -> String {
        let id = format::shortened(self.named.written(), 40);
        format!("{} of {id}", self.part.name())
    }

    fn place(&self) -> &'static str {
        "/queries"
    }

    fn status(&self, app: &App) -> StatusCode {
        self.named.status(app)
    }

    fn is_live(&self) -> bool {
        false
    }

    fn moving(&self, app: &App) -> Markup {
        let Some(query) = self.named.find(app) else {
            return html! { p.problem role="alert" { (Foreign(&self.named.unknown())) } };
        };
        let id = query.id().to_string();
        html! {
            h1 { (self.part.name()) " of " a href={ "/query?query_id=" (id) } { code { (id) } } }
            @match self.part {
                Part::Profile => { (downloads(&id)) }
                Part::Plan => { @if let Some(tree) = plan::tree(&query.profile()) { (tree) } }
                Part::Statement | Part::Summary => {}
            }
            @let text = self.part.text(&query);
            @if text.is_empty() { (nothing("It has run no plan.")) }
            @else { pre.sql.whole dir="ltr" { (Foreign(&text)) } }
        }
    }

    fn json(&self, app: &App) -> impl Serialize {
        match self.named.find(app) {
            Some(query) => self.part.json(&query),
            None => json!({ "error": self.named.unknown() }),
        }
    }

    fn json_address(&self) -> String {
        let id = super::queries::encoded(self.named.written());
        format!("{}?query_id={id}&json", self.part.path())
    }
}

fn downloads(id: &str) -> Markup {
    html! {
        p {
            a.button href={ "/query_profile_plain_text?query_id=" (id) } download={ "profile_" (id.replace(':', "_")) ".txt" } { "Text" }
            " "
            a.button href={ "/query_profile?json&query_id=" (id) } download={ "profile_" (id.replace(':', "_")) ".json" } { "JSON" }
            " "
            a.button href={ "/query_profile_encoded?query_id=" (id) } download={ "profile_" (id.replace(':', "_")) ".b64" } { "Thrift" }
        }
    }
}

/// The profile as it is, without a page around it.
pub(crate) async fn plain_profile(
    State(app): State<Arc<App>>,
    parameters: axum::extract::Query<Parameters>,
) -> Response {
    bare_profile(app, parameters, Profile::to_text).await
}

/// The profile as Impala's tools read it.
pub(crate) async fn encoded_profile(
    State(app): State<Arc<App>>,
    parameters: axum::extract::Query<Parameters>,
) -> Response {
    bare_profile(app, parameters, Profile::to_base64).await
}

async fn bare_profile(
    app: Arc<App>,
    parameters: axum::extract::Query<Parameters>,
    form: fn(&Profile) -> String,
) -> Response {
    let named = Named::of(&parameters);
    let made = aside(move || match named.find(&app) {
        Some(query) => plain(StatusCode::OK, form(&query.profile())),
        None => plain(StatusCode::NOT_FOUND, named.unknown() + "\n"),
    });
    made.await
}
