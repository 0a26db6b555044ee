//! Memory: the process's, the allocator's, the queues'.

use maud::{Markup, html};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::queues;
use crate::app::App;
use crate::draw::{self, Series};
use crate::format::{self, Foreign};
use crate::history::KEPT;
use crate::layout::{heading, nothing};
use crate::process::{self, Figure};
use crate::respond::{Page, Parameters};

pub(crate) struct Memory;

impl Memory {
    pub(crate) fn new(_: Parameters) -> Self {
        Self
    }
}

impl Page for Memory {
    fn title(&self) -> String {
        "Memory".to_owned()
    }

    fn place(&self) -> &'static str {
        "/memz"
    }

    fn moving(&self, app: &App) -> Markup {
        let samples = app.history.samples();
        let values: Vec<f64> = samples.iter().map(|s| s.resident_bytes as f64).collect();
        let top = values.iter().copied().fold(0.0, f64::max) * 1.25;
        let series = [Series {
            class: "first",
            name: "Memory",
            values,
        }];
        html! {
            h1 { "Memory" }
            div.charts { (draw::chart("Resident", &series, KEPT, top, &format::bytes(top as u64))) }
            (heading("Process", "as the kernel counts it"))
            (figures(&process::memory()))
            (heading("Allocator", "as it counts it"))
            (figures(&(app.allocator)()))
            (heading("Resource queues", "charged to statements"))
            table {
                tbody {
                    @for queue in app.server.queues() {
                        tr { td { bdi { (Foreign(&queue.name)) } } td { (queues::memory_bar(&queue)) } }
                    }
                }
            }
        }
    }

    fn json(&self, app: &App) -> impl Serialize {
        let object = |figures: Vec<Figure>| {
            let entries = figures
                .into_iter()
                .map(|f| (f.name.to_owned(), json!(f.bytes)));
            Value::Object(entries.collect::<Map<_, _>>())
        };
        let queues = app.server.queues();
        let pools = queues
            .iter()
            .map(|q| (q.name.clone(), json!(q.memory_bytes)));
        json!({
            "process": object(process::memory()),
            "allocator": object((app.allocator)()),
            "resource_pools": Value::Object(pools.collect::<Map<_, _>>()),
            "machine_bytes": process::machine_memory(),
        })
    }
}

fn figures(figures: &[Figure]) -> Markup {
    if figures.is_empty() {
        return nothing("Nothing is told here.");
    }
    html! {
        table {
            tbody {
                @for figure in figures {
                    tr {
                        td { code { (figure.name) } }
                        td.number { (format::bytes(figure.bytes)) }
                        td.note.wide { (figure.help) }
                    }
                }
            }
        }
    }
}
