//! Metrics: for Prometheus, for programs, and for people.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::app::App;
use crate::format::{self, Foreign};
use crate::prometheus::{self, Metric, Value};
use crate::respond::{Page, Parameters, aside, respond};

struct Metrics;

/// A browser gets the page, whoever asks for JSON gets that, and everybody else (Prometheus) the
/// metrics in its own form.
pub(crate) async fn metrics(
    State(app): State<Arc<App>>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    let accepted = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let is_browser = accepted.is_some_and(|accept| accept.contains("text/html"));
    let named = ["json", "live"]
        .iter()
        .any(|name| parameters.contains_key(*name));
    match is_browser || named {
        true => respond(app, &parameters, Metrics).await,
        false => text(app).await,
    }
}

/// Impala's address of the same.
pub(crate) async fn prometheus(State(app): State<Arc<App>>) -> Response {
    text(app).await
}

async fn text(app: Arc<App>) -> Response {
    let made = aside(move || {
        let headers = [
            (CONTENT_TYPE, prometheus::CONTENT_TYPE),
            (CACHE_CONTROL, "no-store"),
        ];
        (StatusCode::OK, headers, prometheus::text(&app)).into_response()
    });
    made.await
}

impl Page for Metrics {
    fn title(&self) -> String {
        "Metrics".to_owned()
    }

    fn place(&self) -> &'static str {
        "/metrics"
    }

    fn moving(&self, app: &App) -> Markup {
        let metrics = prometheus::values(app);
        html! {
            h1 { "Metrics" }
            p.note { "Prometheus reads them at " a href="/metrics_prometheus" { "/metrics" } "." }
            table.cards {
                thead { tr { th { "Metric" } th.number { "Value" } th { "Meaning" } } }
                tbody { @for metric in &metrics { (rows(metric)) } }
            }
        }
    }

    fn json(&self, app: &App) -> impl Serialize {
        let metrics = prometheus::values(app);
        let metrics = metrics.iter().flat_map(|metric| {
            metric.values.iter().map(move |(labels, value)| {
                let labels = labels.iter().map(|(n, v)| ((*n).to_owned(), json!(v)));
                json!({
                    "name": metric.full_name(),
                    "description": metric.help,
                    "labels": Json::Object(labels.collect()),
                    "kind": kind(value),
                    "value": json_value(value),
                })
            })
        });
        json!({ "metrics": metrics.collect::<Vec<_>>() })
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Gauge(_) => "GAUGE",
        Value::Counter(_) => "COUNTER",
        Value::Histogram(_) => "HISTOGRAM",
    }
}

fn json_value(value: &Value) -> Json {
    match value {
        Value::Gauge(number) | Value::Counter(number) => json!(number),
        Value::Histogram(counts) => json!({
            "count": counts.count(),
            "sum": counts.sum.as_secs_f64(),
            "buckets": counts.buckets.iter().map(|(bound, n)| {
                let bound = if bound.is_finite() { json!(bound) } else { json!("+Inf") };
                json!({ "le": bound, "count": n })
            }).collect::<Vec<_>>(),
        }),
    }
}

fn rows(metric: &Metric) -> Markup {
    html! {
        @for (labels, value) in &metric.values {
            tr {
                td.wide data-label="Metric" {
                    code { (metric.full_name()) }
                    @for (name, value) in labels {
                        " " span.note { (name) "=" bdi { "\"" (Foreign(value)) "\"" } }
                    }
                }
                td.number data-label="Value" { (shown(metric, value)) }
                td.wide.note data-label="Meaning" { (metric.help) }
            }
        }
    }
}

fn shown(metric: &Metric, value: &Value) -> String {
    let unit = metric.unit.as_ref().map(|unit| unit.as_str());
    match (value, unit) {
        (Value::Gauge(bytes), Some("bytes")) => format::bytes(*bytes as u64),
        (Value::Gauge(seconds) | Value::Counter(seconds), Some("seconds")) => {
            format::duration(Duration::from_secs_f64(seconds.max(0.0)))
        }
        (Value::Gauge(number) | Value::Counter(number), _) => format::cost(*number),
        (Value::Histogram(counts), _) => match u32::try_from(counts.count()) {
            Ok(0) => "none".to_owned(),
            Ok(n) => format!("{n}, {} on average", format::duration(counts.sum / n)),
            Err(_) => format::count(counts.count()),
        },
    }
}
