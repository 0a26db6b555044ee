//! The pages and their addresses.

mod actions;
mod archive;
mod audit;
mod configuration;
mod entry;
mod locks;
mod logs;
mod memory;
mod metrics;
mod overview;
mod plan;
mod problem;
mod queries;
mod query;
mod queues;
mod sessions;
mod texts;

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::access::{HEALTH, SECURITY_HEADERS, guard};
use crate::app::App;
use crate::assets;
use crate::respond::{Page, Parameters, respond};

/// The longest form, in bytes.
const MAX_FORM_BYTES: usize = 16 * 1024;

/// Every address. What a form does is answered to `POST` only.
pub(crate) fn router(app: &Arc<App>) -> Router {
    let router = Router::new()
        .route("/", page(overview::Overview::new))
        .route("/queries", page(queries::Queries::new))
        .route("/query", page(query::OneQuery::new))
        .route("/query_plan", page(texts::Text::plan))
        .route("/query_stmt", page(texts::Text::statement))
        .route("/query_summary", page(texts::Text::summary))
        .route("/query_profile", page(texts::Text::profile))
        .route("/query_profile_plain_text", get(texts::plain_profile))
        .route("/query_profile_encoded", get(texts::encoded_profile))
        .route("/admission", page(queues::Queues::new))
        .route("/locks", page(locks::Locks::new))
        .route("/sessions", page(sessions::Sessions::new))
        .route("/audit", page(audit::Audit::new))
        .route("/logs", page(logs::Logs::new))
        .route("/set_log_level", post(logs::set_level))
        .route("/varz", page(configuration::Configuration::new))
        .route("/memz", page(memory::Memory::new))
        .route("/metrics", get(metrics::metrics))
        .route("/metrics_prometheus", get(metrics::prometheus))
        .route(
            "/cancel_query",
            page(actions::CancelQuery::new).post(actions::cancel_query),
        )
        .route(
            "/close_session",
            page(actions::CloseSession::new).post(actions::close_session),
        )
        .route(HEALTH, get(health))
        .route("/assets/{name}", get(assets::serve))
        .fallback(problem::no_such_page)
        .method_not_allowed_fallback(problem::not_so)
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .layer(from_fn_with_state(Arc::clone(app), guard))
        .layer(CatchPanicLayer::custom(broken))
        .with_state(Arc::clone(app));
    SECURITY_HEADERS
        .iter()
        .fold(router, |router, (name, value)| {
            router.layer(SetResponseHeaderLayer::overriding(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            ))
        })
}

/// Answers with the page that `make` makes of the parameters.
fn page<P: Page>(make: fn(Parameters) -> P) -> axum::routing::MethodRouter<Arc<App>> {
    get(
        move |State(app): State<Arc<App>>, Query(parameters): Query<Parameters>| async move {
            let page = make(parameters.clone());
            respond(app, &parameters, page).await
        },
    )
}

async fn health() -> &'static str {
    "OK\n"
}

fn broken(_: Box<dyn Any + Send + 'static>) -> Response {
    let why = "This page could not be made; the server's log says why.\n";
    (StatusCode::INTERNAL_SERVER_ERROR, why).into_response()
}
