//! Resource queues: limits, who holds, who waits and why, and the last hour.

use std::sync::Arc;

use forebay_server::{Holder, QueueOverview, Wait, WaitTarget};
use maud::{Markup, html};
use serde::Serialize;
use serde_json::{Value, json};

use super::queries::encoded;
use crate::app::App;
use crate::draw::{self, Series, bar};
use crate::format::{self, Foreign};
use crate::history::{KEPT, QueueSample, Sample};
use crate::layout::nothing;
use crate::respond::{Page, Parameters};

/// Where a queue is on the page of queues.
pub(super) fn address(name: &str) -> String {
    format!("/admission?queue={}", encoded(name))
}

pub(super) fn slots_bar(queue: &QueueOverview) -> Markup {
    let limit = queue.limits.active_statements;
    let text = match limit {
        Some(limit) => format!("{} of {limit}", queue.slots),
        None => queue.slots.to_string(),
    };
    bar(queue.slots as f64, limit.map(f64::from), &text)
}

pub(super) fn cost_bar(queue: &QueueOverview) -> Markup {
    let taken = format::cost(queue.cost);
    let limit = queue.limits.max_cost;
    let text = match limit {
        Some(limit) => format!("{taken} of {}", format::cost(limit)),
        None => taken,
    };
    bar(queue.cost, limit, &text)
}

pub(super) fn memory_bar(queue: &QueueOverview) -> Markup {
    let taken = format::bytes(queue.memory_bytes);
    let limit = queue
        .limits
        .memory_limit_kb
        .map(|kb| kb.saturating_mul(1024));
    let text = match limit {
        Some(limit) => format!("{taken} of {}", format::bytes(limit)),
        None => taken,
    };
    bar(queue.memory_bytes as f64, limit.map(|b| b as f64), &text)
}

/// A queue for programs.
pub(super) fn json(queue: &QueueOverview) -> Value {
    let (limits, totals) = (&queue.limits, &queue.totals);
    json!({
        "pool_name": queue.name,
        "comment": queue.comment,
        "agg_num_running": queue.slots,
        "agg_num_queued": queue.waiting,
        "agg_cost": queue.cost,
        "agg_mem_reserved": queue.memory_bytes,
        "pool_max_requests": limits.active_statements,
        "pool_max_queued": limits.max_queued,
        "pool_max_cost": limits.max_cost,
        "pool_min_cost": limits.min_cost,
        "pool_cost_overcommit": limits.cost_overcommit,
        "pool_max_mem_resources": limits.memory_limit_kb.map(|kb| kb.saturating_mul(1024)),
        "pool_queue_timeout": limits.queue_timeout_ms,
        "priority": limits.priority.as_str(),
        "total_admitted": totals.admitted,
        "total_queued": totals.waited,
        "total_wait_time_ms": totals.wait_time_ms,
        "total_stepped_aside": totals.stepped_aside,
        "total_overcommitted": totals.overcommitted,
        "total_rejected": totals.refused,
        "total_timed_out": totals.timed_out,
        "total_given_up": totals.given_up,
        "running": queue.holders.iter().map(|h| json!({
            "session_id": h.pid,
            "shares": h.shares,
            "overcommitted": h.overcommitted,
            "cost": h.cost,
            "mem_reserved": h.memory_bytes,
        })).collect::<Vec<_>>(),
    })
}

/// All queues, or one.
pub(crate) struct Queues {
    only: Option<String>,
}

impl Queues {
    pub(crate) fn new(parameters: Parameters) -> Self {
        Self {
            only: parameters.get("queue").cloned(),
        }
    }

    fn queues(&self, app: &App) -> Vec<QueueOverview> {
        let mut queues = app.server.queues();
        queues.retain(|queue| self.only.as_ref().is_none_or(|only| queue.name == *only));
        queues
    }
}

impl Page for Queues {
    fn title(&self) -> String {
        match &self.only {
            Some(name) => format!("Resource queue {name}"),
            None => "Resource queues".to_owned(),
        }
    }

    fn place(&self) -> &'static str {
        "/admission"
    }

    fn moving(&self, app: &App) -> Markup {
        let queues = self.queues(app);
        let (waits, samples) = (app.server.waits(), app.history.samples());
        html! {
            h1 { "Resource queues" }
            @if self.only.is_some() { p { a href="/admission" { "All queues" } } }
            @if queues.is_empty() { (nothing("There is no such queue.")) }
            @for queue in &queues { (section(queue, &waits, &samples)) }
        }
    }

    fn json(&self, app: &App) -> impl Serialize {
        let waits = app.server.waits();
        let queues = self.queues(app);
        let pools = queues.iter().map(|queue| {
            let mut value = json(queue);
            let waiting = waits_for(&waits, &queue.name).map(super::locks::wait_json);
            value["queued_queries"] = waiting.collect();
            value
        });
        json!({ "resource_pools": pools.collect::<Vec<_>>() })
    }

    fn json_address(&self) -> String {
        match &self.only {
            Some(name) => format!("{}&json", address(name)),
            None => "?json".to_owned(),
        }
    }
}

fn waits_for<'a>(waits: &'a [Wait], name: &'a str) -> impl Iterator<Item = &'a Wait> {
    waits
        .iter()
        .filter(move |wait| wait.target == WaitTarget::Queue(name.to_owned()))
}

fn section(queue: &QueueOverview, waits: &[Wait], samples: &[Arc<Sample>]) -> Markup {
    let mut waiting: Vec<&Wait> = waits_for(waits, &queue.name).collect();
    waiting.sort_by_key(|wait| wait.place);
    let priority = format!("priority {}", queue.limits.priority.as_str());
    html! {
        section.queue {
            div.heading {
                h2 { a href=(address(&queue.name)) { bdi { (Foreign(&queue.name)) } } }
                span.note { (priority) @if let Some(comment) = &queue.comment { " · " (Foreign(comment)) } }
            }
            div.bars {
                div { span.name { "Statements" } (slots_bar(queue)) }
                div { span.name { "Cost" } (cost_bar(queue)) }
                div { span.name { "Memory" } (memory_bar(queue)) }
            }
            (limits(queue))
            div.columns {
                div { h3 { "Holders" } (holders(&queue.holders)) }
                div { h3 { "Waiters" } (waiters(&waiting)) }
            }
            (history(&queue.name, samples))
            (totals(queue))
        }
    }
}

fn limits(queue: &QueueOverview) -> Markup {
    let limits = &queue.limits;
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
    let timeout = limits
        .queue_timeout_ms
        .map(std::time::Duration::from_millis);
    let facts = [
        (
            "MAX_QUEUED",
            or_none(limits.max_queued.map(|n| n.to_string())),
        ),
        ("QUEUE_TIMEOUT", or_none(timeout.map(format::duration))),
        ("MIN_COST", format::cost(limits.min_cost)),
        ("COST_OVERCOMMIT", limits.cost_overcommit.to_string()),
    ];
    html! { dl.facts { @for (name, value) in facts { div { dt { (name) } dd { (value) } } } } }
}

fn holders(holders: &[Holder]) -> Markup {
    if holders.is_empty() {
        return nothing("Nobody holds anything.");
    }
    html! {
        table {
            thead { tr { th { "Session" } th.number { "Cost" } th.number { "Memory" } th {} } }
            tbody {
                @for holder in holders {
                    tr {
                        td { a href={ "/sessions#s" (holder.pid) } { (holder.pid) } }
                        td.number { (format::cost(holder.cost)) }
                        td.number { (format::bytes(holder.memory_bytes)) }
                        td {
                            @if holder.overcommitted { span.badge.pending { "beyond the limit" } }
                            @if holder.shares > 1 { span.note { (holder.shares) " statements and cursors" } }
                        }
                    }
                }
            }
        }
    }
}

fn waiters(waits: &[&Wait]) -> Markup {
    if waits.is_empty() {
        return nothing("Nobody waits.");
    }
    html! {
        table {
            thead { tr { th.number { "Place" } th { "Session" } th.number { "Since" } th { "Why" } } }
            tbody {
                @for wait in waits {
                    tr {
                        td.number { (wait.place) }
                        td { (super::locks::process(wait)) }
                        td.number { (format::since(wait.since)) }
                        td { (Foreign(&wait.explanation)) }
                    }
                }
            }
        }
    }
}

fn history(name: &str, samples: &[Arc<Sample>]) -> Markup {
    let of = |value: fn(&QueueSample) -> f64| {
        let queue = |s: &Arc<Sample>| s.queues.get(name).map_or(0.0, value);
        samples.iter().map(queue).collect::<Vec<f64>>()
    };
    let series = [
        Series {
            class: "first",
            name: "running",
            values: of(|q| q.slots as f64),
        },
        Series {
            class: "second",
            name: "waiting",
            values: of(|q| q.waiting as f64),
        },
    ];
    let values = series.iter().flat_map(|s| s.values.iter().copied());
    let top = values.fold(4.0, f64::max);
    let memory = of(|q| q.memory_bytes as f64);
    let memory_top = memory.iter().copied().fold(0.0, f64::max) * 1.25;
    let memory = [Series {
        class: "first",
        name: "Memory",
        values: memory,
    }];
    html! {
        div.charts {
            (draw::chart("Statements", &series, KEPT, top, &format!("{top}")))
            (draw::chart("Memory charged", &memory, KEPT, memory_top, &format::bytes(memory_top as u64)))
        }
    }
}

fn totals(queue: &QueueOverview) -> Markup {
    let totals = &queue.totals;
    let average = match queue.waits.count() {
        0 => "none".to_owned(),
        n => format::duration(std::time::Duration::from_secs_f64(
            totals.wait_time_ms.max(0.0) / 1000.0 / n as f64,
        )),
    };
    let facts = [
        ("Admitted", format::count(totals.admitted)),
        ("Had to wait", format::count(totals.waited)),
        ("Average wait", average),
        ("Stepped aside", format::count(totals.stepped_aside)),
        ("Overcommitted", format::count(totals.overcommitted)),
        ("Refused", format::count(totals.refused)),
        ("Timed out", format::count(totals.timed_out)),
        ("Given up", format::count(totals.given_up)),
    ];
    html! { dl.facts { @for (name, value) in facts { div { dt { (name) } dd { (value) } } } } }
}
