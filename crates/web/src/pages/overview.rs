//! The first page: how the server is, at a look.

use forebay_server::{QueueOverview, Wait};
use maud::{Markup, html};
use serde::Serialize;
use serde_json::json;

use super::entry::{self, Entry};
use super::{archive, queues};
use crate::app::App;
use crate::draw::{self, Series};
use crate::format::{self, Foreign};
use crate::history::{KEPT, Sample};
use crate::layout::{figure, heading, nothing};
use crate::process;
use crate::respond::{Page, Parameters};

/// Rows of the lists of slow and waiting ones.
const SHOWN: usize = 10;

pub(crate) struct Overview;

impl Overview {
    pub(crate) fn new(_: Parameters) -> Self {
        Self
    }
}

impl Page for Overview {
    fn title(&self) -> String {
        "Overview".to_owned()
    }

    fn place(&self) -> &'static str {
        "/"
    }

    fn moving(&self, app: &App) -> Markup {
        let samples: Vec<_> = app.history.samples();
        let queues = app.server.queues();
        let waits = app.server.waits();
        html! {
            h1 { "Overview" }
            (archive::warnings(app))
            (figures(app, &waits))
            (charts(&samples))
            (heading("Resource queues", html! { a href="/admission" { "limits, holders, waiters" } }))
            (queue_table(&queues))
            (heading("Slowest running queries", html! { a href="/queries" { "all queries" } }))
            (slowest(app))
            (heading("Longest waits", html! { a href="/locks" { "who waits for whom" } }))
            (wait_table(&waits, SHOWN))
        }
    }

    fn json(&self, app: &App) -> impl Serialize {
        let counters = app.server.registry().counters();
        let last = app.history.last();
        let waits = app.server.waits();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "process_start_time": format::exact_moment(app.started),
            "sessions": app.server.session_count(),
            "num_in_flight_queries": counters.in_flight,
            "num_waiting_for_admission": waits.len(),
            "num_registered_queries": counters.registered,
            "num_finished_queries": counters.finished,
            "num_failed_queries": counters.exception,
            "num_cancelled_queries": counters.cancelled,
            "processors": process::processors(),
            "processors_busy": last.as_ref().map(|s| s.processors),
            "resident_bytes": process::resident_bytes(),
            "machine_memory_bytes": process::machine_memory(),
            "archive": archive::json(app),
            "resource_pools": app.server.queues().iter().map(queues::json).collect::<Vec<_>>(),
            "waits": waits.iter().map(super::locks::wait_json).collect::<Vec<_>>(),
        })
    }
}

fn figures(app: &App, waits: &[Wait]) -> Markup {
    let counters = app.server.registry().counters();
    let in_queue = waits.iter().filter(|w| w.reason != "lock").count();
    let running = usize::try_from(counters.in_flight).unwrap_or(usize::MAX);
    let busy = app.history.last().map_or(0.0, |s| s.processors);
    let memory = process::resident_bytes().unwrap_or_default();
    let machine = process::machine_memory().map(format::bytes);
    html! {
        div.figures {
            (figure("Running", running.saturating_sub(waits.len()), "queries"))
            (figure("Waiting", waits.len(), format!("{in_queue} in queues, {} for locks", waits.len() - in_queue)))
            (figure("Sessions", app.server.session_count(), "open"))
            (figure("Processors", format!("{busy:.1}"), format!("busy, of {}", process::processors())))
            (figure("Memory", format::bytes(memory), html! { @if let Some(machine) = machine { "of " (machine) } }))
            (figure("Finished", format::count(counters.finished), "queries"))
            (figure("Failed", format::count(counters.exception), format!("and {} cancelled", format::count(counters.cancelled))))
        }
    }
}

fn charts(samples: &[std::sync::Arc<Sample>]) -> Markup {
    let series = |class, name, value: &dyn Fn(&Sample) -> f64| Series {
        class,
        name,
        values: samples.iter().map(|s| value(s)).collect(),
    };
    let most = |lines: &[Series]| {
        let values = lines.iter().flat_map(|s| s.values.iter().copied());
        values.fold(0.0, f64::max)
    };
    let processors = [series("first", "Processors busy", &|s| s.processors)];
    let top = process::processors() as f64;
    let memory = [series("first", "Memory", &|s| s.resident_bytes as f64)];
    let memory_top = most(&memory) * 1.25;
    let queries = [
        series("first", "running", &|s| s.running as f64),
        series("second", "waiting", &|s| s.waiting as f64),
    ];
    let queries_top = most(&queries).max(4.0);
    html! {
        div.charts {
            (draw::chart("Processors busy", &processors, KEPT, top, &format!("{top}")))
            (draw::chart("Memory", &memory, KEPT, memory_top, &format::bytes(memory_top as u64)))
            (draw::chart("Queries", &queries, KEPT, queries_top, &format!("{queries_top}")))
        }
    }
}

fn queue_table(queues: &[QueueOverview]) -> Markup {
    html! {
        table.cards {
            thead { tr { th { "Queue" } th { "Running" } th { "Cost" } th { "Memory" } th.number { "Waiting" } } }
            tbody {
                @for queue in queues {
                    tr {
                        td data-label="Queue" { a href=(queues::address(&queue.name)) { bdi { (Foreign(&queue.name)) } } }
                        td data-label="Running" { (queues::slots_bar(queue)) }
                        td data-label="Cost" { (queues::cost_bar(queue)) }
                        td data-label="Memory" { (queues::memory_bar(queue)) }
                        td.number data-label="Waiting" { (queue.waiting) }
                    }
                }
            }
        }
    }
}

fn slowest(app: &App) -> Markup {
    let in_flight = app.server.registry().in_flight();
    let mut running: Vec<Entry> = in_flight
        .into_iter()
        .map(Entry::new)
        .filter(|entry| !entry.state.is_final())
        .collect();
    running.sort_by_key(|entry| std::cmp::Reverse(entry.duration));
    running.truncate(SHOWN);
    match running.is_empty() {
        true => nothing("Nothing runs."),
        false => entry::table(&running, |column| html! { (column) }),
    }
}

/// Who waits, the longest wait first.
pub(super) fn wait_table(waits: &[Wait], limit: usize) -> Markup {
    if waits.is_empty() {
        return nothing("Nobody waits.");
    }
    html! {
        table.cards {
            thead { tr { th { "Process" } th { "Waits for" } th.number { "Place" } th.number { "Since" } th { "Why" } } }
            tbody {
                @for wait in &waits[..waits.len().min(limit)] {
                    tr {
                        td data-label="Process" { (super::locks::process(wait)) }
                        td data-label="Waits for" { (super::locks::target(&wait.target)) }
                        td.number data-label="Place" { (wait.place) }
                        td.number data-label="Since" { (format::since(wait.since)) }
                        td.wide data-label="Why" { (Foreign(&wait.explanation)) }
                    }
                }
            }
        }
        @if waits.len() > limit { p.note { (waits.len() - limit) " more wait." } }
    }
}
