//! From a page to an answer: HTML, JSON (`?json`), or a stream of what changes (`?live`).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use maud::{Markup, html};
use serde::Serialize;

use crate::app::App;
use crate::layout;

/// What stands behind the question mark of an address.
pub(crate) type Parameters = BTreeMap<String, String>;

/// How often a live page is made anew.
const REFRESH: Duration = Duration::from_secs(1);

/// One page: the same facts for people and for programs.
pub(crate) trait Page: Send + Sync + 'static {
    /// What stands in the browser's title.
    fn title(&self) -> String;

    /// The address of the place in the menu that it belongs to.
    fn place(&self) -> &'static str;

    fn status(&self, _: &App) -> StatusCode {
        StatusCode::OK
    }

    /// What does not move while the page is open: forms that somebody may be filling in.
    fn still(&self, _: &App) -> Markup {
        html! {}
    }

    /// What moves.
    fn moving(&self, app: &App) -> Markup;

    /// Whether it moves at all.
    fn is_live(&self) -> bool {
        true
    }

    /// The same for programs: one object.
    fn json(&self, app: &App) -> impl Serialize;

    /// Where its JSON is.
    fn json_address(&self) -> String {
        "?json".to_owned()
    }
}

/// Answers with a page in the form that `parameters` ask for.
pub(crate) async fn respond(app: Arc<App>, parameters: &Parameters, page: impl Page) -> Response {
    let page = Arc::new(page);
    if parameters.contains_key("live") && page.is_live() {
        return live(app, page);
    }
    let wants_json = parameters.contains_key("json");
    let made = aside(move || {
        let status = page.status(&app);
        match wants_json {
            true => json(status, &page.json(&app)),
            false => html_page(status, layout::page(&app, &*page)),
        }
    });
    made.await
}

/// Makes an answer on a thread that may block, away from those that serve clients.
pub(crate) async fn aside(make: impl FnOnce() -> Response + Send + 'static) -> Response {
    match tokio::task::spawn_blocking(make).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "a web page could not be made");
            let why = "This page could not be made; the server's log says why.\n";
            (StatusCode::INTERNAL_SERVER_ERROR, why).into_response()
        }
    }
}

pub(crate) fn html_page(status: StatusCode, markup: Markup) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
    ];
    (status, headers, markup.into_string()).into_response()
}

pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    let text = serde_json::to_string(value).expect("texts, numbers, and texts by name");
    (status, headers, text).into_response()
}

pub(crate) fn plain(status: StatusCode, text: String) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
    ];
    (status, headers, text).into_response()
}

/// Sends what moves on a page, whenever it has changed.
fn live(app: Arc<App>, page: Arc<impl Page>) -> Response {
    let states = stream::unfold(String::new(), move |sent| {
        let (app, page) = (Arc::clone(&app), Arc::clone(&page));
        async move {
            let text = next_state(&app, &page, &sent).await?;
            let event = Event::default().data(&text);
            Some((Ok::<_, Infallible>(event), text))
        }
    });
    let stream = Sse::new(states).keep_alive(KeepAlive::default());
    ([(CACHE_CONTROL, "no-store")], stream).into_response()
}

/// The next state of a page that differs from the one before; `None` when the server stops.
async fn next_state(app: &Arc<App>, page: &Arc<impl Page>, sent: &str) -> Option<String> {
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return None,
            () = tokio::time::sleep(REFRESH) => {}
        }
        let (app, page) = (Arc::clone(app), Arc::clone(page));
        let make = move || page.moving(&app).into_string();
        let text = tokio::task::spawn_blocking(make).await.ok()?;
        // Events know no carriage return.
        let text = text.replace('\r', "");
        if text != sent {
            return Some(text);
        }
    }
}
