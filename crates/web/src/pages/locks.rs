//! Who holds what, and who waits for whom.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use forebay_server::{HeldLock, Wait, WaitTarget};
use maud::{Markup, html};
use serde::Serialize;
use serde_json::{Value, json};

use super::overview::wait_table;
use super::queues;
use crate::app::App;
use crate::draw::{self, Node};
use crate::format::{self, Foreign};
use crate::layout::{heading, nothing};
use crate::respond::{Page, Parameters};

/// Rows of a list.
const SHOWN: usize = 500;

pub(crate) struct Locks;

impl Locks {
    pub(crate) fn new(_: Parameters) -> Self {
        Self
    }
}

/// A process, with the query that it runs.
pub(super) fn process(wait: &Wait) -> Markup {
    html! {
        @match &wait.query_id {
            Some(id) => a href={ "/query?query_id=" (id) } { (wait.pid) },
            None => a href={ "/sessions#s" (wait.pid) } { (wait.pid) },
        }
    }
}

pub(super) fn target(target: &WaitTarget) -> Markup {
    html! {
        @match target {
            WaitTarget::Queue(name) => { "queue " a href=(queues::address(name)) { bdi { (Foreign(name)) } } },
            WaitTarget::Relation(name) => { "relation " bdi { (Foreign(name)) } },
        }
    }
}

/// A wait for programs.
pub(super) fn wait_json(wait: &Wait) -> Value {
    let (kind, name) = match &wait.target {
        WaitTarget::Queue(name) => ("queue", name),
        WaitTarget::Relation(name) => ("relation", name),
    };
    json!({
        "session_id": wait.pid,
        "query_id": wait.query_id,
        "kind": kind,
        "waits_for": name,
        "reason": wait.reason,
        "explanation": wait.explanation,
        "place": wait.place,
        "ahead": wait.ahead,
        "holders": wait.holders,
        "since": format::exact_moment(wait.since),
    })
}

impl Page for Locks {
    fn title(&self) -> String {
        "Locks".to_owned()
    }

    fn place(&self) -> &'static str {
        "/locks"
    }

    fn moving(&self, app: &App) -> Markup {
        let (waits, locks) = (app.server.waits(), app.server.locks());
        html! {
            h1 { "Locks" }
            (heading("Who waits for whom", format::count(waits.len() as u64)))
            @if !waits.is_empty() { (graph(app, &waits)) }
            (wait_table(&waits, SHOWN))
            (heading("Locks of relations", format::count(locks.len() as u64)))
            (lock_table(&locks))
        }
    }

    fn json(&self, app: &App) -> impl Serialize {
        let locks = app.server.locks();
        let lock = |lock: &HeldLock| {
            json!({
                "session_id": lock.pid,
                "relation": lock.relation,
                "mode": lock.mode,
                "granted": lock.granted,
                "since": lock.since.map(format::exact_moment),
            })
        };
        json!({
            "waits": app.server.waits().iter().map(wait_json).collect::<Vec<_>>(),
            "locks": locks.iter().map(lock).collect::<Vec<_>>(),
        })
    }
}

fn graph(app: &App, waits: &[Wait]) -> Markup {
    let sessions: HashMap<i32, _> = app
        .server
        .sessions()
        .into_iter()
        .map(|s| (s.pid, s))
        .collect();
    let mut notes: BTreeMap<i32, String> = BTreeMap::new();
    let mut edges = BTreeSet::new();
    for wait in waits {
        let (WaitTarget::Queue(name) | WaitTarget::Relation(name)) = &wait.target;
        notes.insert(wait.pid, format!("waits for {name}"));
        for other in wait.holders.iter().chain(&wait.ahead) {
            edges.insert((wait.pid, *other));
        }
    }
    for (_, to) in &edges {
        let state = sessions.get(to).map_or("ended", |s| s.state);
        notes.entry(*to).or_insert_with(|| state.to_owned());
    }
    let nodes: Vec<Node> = notes
        .into_iter()
        .map(|(pid, note)| {
            let role = sessions.get(&pid).map_or("", |s| &s.role);
            let name = format!("{pid} {role}");
            Node { pid, name, note }
        })
        .collect();
    draw::waits(&nodes, &edges)
}

fn lock_table(locks: &[HeldLock]) -> Markup {
    if locks.is_empty() {
        return nothing("Nobody holds a lock.");
    }
    html! {
        table.cards {
            thead { tr { th { "Relation" } th { "Mode" } th { "Session" } th { "" } } }
            tbody {
                @for lock in &locks[..locks.len().min(SHOWN)] {
                    tr {
                        td data-label="Relation" { bdi { (Foreign(&lock.relation)) } }
                        td data-label="Mode" { (lock.mode) }
                        td data-label="Session" { a href={ "/sessions#s" (lock.pid) } { (lock.pid) } }
                        td data-label="" {
                            @if lock.granted { span.badge.running { "held" } }
                            @else { span.badge.pending { "waits" } @if let Some(since) = lock.since { " " (format::since(since)) } }
                        }
                    }
                }
            }
        }
        @if locks.len() > SHOWN { p.note { (locks.len() - SHOWN) " more." } }
    }
}
