//! The plan of a query, drawn as a tree: rows flow upwards, along lines that are thicker for more of
//! them.

use std::time::Duration;

use forebay_server::Profile;
use maud::{Markup, html};
use serde_json::{Value, json};

use crate::format::{self, Foreign};

/// Operators that are drawn; a drawing of more is not read by anybody.
const MAX_NODES: usize = 200;

const WIDTH: f64 = 186.0;
const HEIGHT: f64 = 44.0;
const COLUMN: f64 = 206.0;
const ROW: f64 = 84.0;

/// An operator in its place.
#[derive(Debug)]
struct Node {
    name: String,
    detail: String,
    rows: Option<u64>,
    /// What all its instances have computed together.
    time: Option<Duration>,
    instances: u64,
    /// What one instance has computed on average, and the busiest one.
    average: Duration,
    longest: Duration,
    parent: Option<usize>,
    depth: usize,
    /// Counted in columns.
    x: f64,
}

/// The plan in the profile of a query; nothing where it ran none.
pub(super) fn tree(profile: &Profile) -> Option<Markup> {
    let root = profile.execution()?.children.first()?;
    let nodes = placed(root);
    let whole: Duration = nodes.iter().filter_map(|node| node.time).sum();
    let columns = nodes.iter().map(|node| node.x).fold(0.0, f64::max) + 1.0;
    let rows = nodes.iter().map(|node| node.depth).max().unwrap_or(0) + 1;
    let (width, height) = (columns * COLUMN + 8.0, rows as f64 * ROW);
    Some(html! {
        div.scroll {
            svg.plan width=(width) height=(height) viewBox=(format!("0 0 {width} {height}"))
                role="img" aria-label="The plan as a tree" {
                @for node in &nodes {
                    @if let Some(parent) = node.parent.map(|parent| &nodes[parent]) { (edge(node, parent)) }
                }
                @for node in &nodes { (drawn(node, whole)) }
            }
        }
        @if nodes.len() == MAX_NODES { p.note { "The first " (MAX_NODES) " operators; all are in the summary." } }
    })
}

/// The plan as text: one operator a line, its inputs indented below it; empty where it ran none.
pub(super) fn text(profile: &Profile) -> String {
    profile.plan_text().to_owned()
}

/// The operators of the plan in the profile of a query, each before its inputs.
pub(super) fn operators(profile: &Profile) -> Vec<&Profile> {
    let execution = profile.execution();
    let mut open: Vec<&Profile> = execution.iter().flat_map(|e| &e.children).collect();
    let mut operators = Vec::new();
    while let Some(operator) = open.pop() {
        operators.push(operator);
        open.extend(operator.children.iter().rev());
    }
    operators
}

/// The plan for programs, with Impala's names. What is not drawn is not here either.
pub(super) fn json(profile: &Profile) -> Value {
    let root = profile.execution().and_then(|e| e.children.first());
    let nodes = root.map(placed).unwrap_or_default();
    let mut inputs: Vec<Vec<Value>> = nodes.iter().map(|_| Vec::new()).collect();
    let mut roots = Vec::new();
    // Inputs come after what reads them.
    for (index, node) in nodes.iter().enumerate().rev() {
        let mut children = std::mem::take(&mut inputs[index]);
        children.reverse();
        let whole = json!({
            "label": node.name,
            "label_detail": node.detail,
            "output_card": node.rows,
            "num_instances": node.instances,
            "avg_time": format::duration(node.average),
            "max_time": format::duration(node.longest),
            "max_time_val": u64::try_from(node.longest.as_nanos()).unwrap_or(u64::MAX),
            "is_broadcast": false,
            "children": children,
        });
        match node.parent {
            Some(parent) => inputs[parent].push(whole),
            None => roots.push(whole),
        }
    }
    json!({ "plan_nodes": roots })
}

/// The operators, each before its inputs. Leaves stand side by side, and each above the middle of
/// its inputs. No recursion: a plan may be deep.
fn placed(root: &Profile) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    let mut open = vec![(root, None, 0)];
    let mut leaves = 0.0;
    while let Some((profile, parent, depth)) = open.pop() {
        if nodes.len() == MAX_NODES {
            break;
        }
        let index = nodes.len();
        let mut node = node(profile, parent, depth);
        if profile.children.is_empty() {
            node.x = leaves;
            leaves += 1.0;
        }
        nodes.push(node);
        let inputs = profile.children.iter().rev();
        open.extend(inputs.map(|input| (input, Some(index), depth + 1)));
    }
    // Inputs come after what reads them, so backwards they are placed before it.
    let mut spans: Vec<Option<(f64, f64)>> = vec![None; nodes.len()];
    for index in (0..nodes.len()).rev() {
        if let Some((first, last)) = spans[index] {
            nodes[index].x = f64::midpoint(first, last);
        }
        if let Some(parent) = nodes[index].parent {
            let x = nodes[index].x;
            let (first, last) = spans[parent].unwrap_or((x, x));
            spans[parent] = Some((first.min(x), last.max(x)));
        }
    }
    nodes
}

fn node(profile: &Profile, parent: Option<usize>, depth: usize) -> Node {
    let counter = |name: &str| {
        let found = profile.counters.iter().find(|c| c.name == name)?;
        u64::try_from(found.value).ok()
    };
    let (name, detail) = profile.name.split_once(": ").unwrap_or((&profile.name, ""));
    let time = |name: &str| Duration::from_nanos(counter(name).unwrap_or(0));
    Node {
        name: name.to_owned(),
        detail: detail.to_owned(),
        rows: counter("output_rows"),
        time: counter("elapsed_compute").map(Duration::from_nanos),
        instances: counter("Instances").unwrap_or(0),
        average: time("AverageTime"),
        longest: time("LongestTime"),
        parent,
        depth,
        x: 0.0,
    }
}

fn corner(node: &Node) -> (f64, f64) {
    (node.x * COLUMN + 4.0, node.depth as f64 * ROW + 20.0)
}

fn edge(node: &Node, parent: &Node) -> Markup {
    let ((x1, y1), (x2, y2)) = (corner(node), corner(parent));
    let (x1, x2, y2) = (x1 + WIDTH / 2.0, x2 + WIDTH / 2.0, y2 + HEIGHT);
    let middle = f64::midpoint(y1, y2);
    let rows = node.rows.unwrap_or(0);
    let thickness = 1.0 + (rows as f64 + 1.0).log10();
    html! {
        path.edge d=(format!("M{x1} {y1} C{x1} {middle} {x2} {middle} {x2} {y2}"))
            stroke-width=(format!("{thickness:.1}")) {}
        @if node.rows.is_some() {
            text.note x=(x1 + 8.0) y=(y1 - 6.0) { (format::count(rows)) " rows" }
        }
    }
}

fn drawn(node: &Node, whole: Duration) -> Markup {
    let (x, y) = corner(node);
    let part = match (node.time, whole.is_zero()) {
        (Some(time), false) => time.as_secs_f64() / whole.as_secs_f64(),
        _ => 0.0,
    };
    let heat = match part {
        0.4.. => "hot",
        0.15.. => "warm",
        _ => "cool",
    };
    html! {
        g {
            title { (Foreign(&format::shortened(&node.detail, 1000))) }
            rect class=(heat) x=(x) y=(y) width=(WIDTH) height=(HEIGHT) rx="6" {}
            text.name x=(x + 10.0) y=(y + 18.0) { (Foreign(&format::shortened(&node.name, 22))) }
            text.note x=(x + 10.0) y=(y + 35.0) {
                @if let Some(time) = node.time { (format::duration(time)) " · " (format!("{:.0} %", part * 100.0)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(name: &str, children: Vec<Profile>) -> Profile {
        Profile {
            name: name.to_owned(),
            children,
            ..Profile::default()
        }
    }

    #[test]
    fn each_stands_above_the_middle_of_its_inputs() {
        let leaf = |name| profile(name, Vec::new());
        let join = profile(
            "Join: on <x>",
            vec![leaf("A"), profile("B", vec![leaf("C"), leaf("D")])],
        );
        let nodes = placed(&join);
        let places: Vec<_> = nodes
            .iter()
            .map(|n| (n.name.as_str(), n.depth, n.x))
            .collect();
        assert_eq!(
            places,
            [
                ("Join", 0, 0.75),
                ("A", 1, 0.0),
                ("B", 1, 1.5),
                ("C", 2, 1.0),
                ("D", 2, 2.0)
            ]
        );
        let whole = profile("Query", vec![profile("Execution Profile 1:2", vec![join])]);
        let drawn = tree(&whole).unwrap().into_string();
        assert_eq!(drawn.matches("class=\"edge\"").count(), 4);
        assert!(drawn.contains("on &lt;x&gt;"));
        assert!(tree(&leaf("Query")).is_none());

        let names: Vec<&str> = operators(&whole).iter().map(|o| o.name.as_str()).collect();
        assert_eq!(names, ["Join: on <x>", "A", "B", "C", "D"]);
        let labels = |node: &Value| -> Vec<String> {
            let children = node["children"].as_array().unwrap();
            let label = |child: &Value| child["label"].as_str().unwrap().to_owned();
            children.iter().map(label).collect()
        };
        let plan = json(&whole);
        let join = &plan["plan_nodes"][0];
        assert_eq!(
            (&join["label"], &join["label_detail"]),
            (&json!("Join"), &json!("on <x>"))
        );
        assert_eq!(labels(join), ["A", "B"]);
        assert_eq!(labels(&join["children"][1]), ["C", "D"]);
        assert_eq!(json(&leaf("Query")), json!({ "plan_nodes": [] }));
    }

    #[test]
    fn a_deep_plan_is_cut() {
        let mut deep = profile("Scan", Vec::new());
        for _ in 0..1000 {
            deep = profile("Filter", vec![deep]);
        }
        assert_eq!(placed(&deep).len(), MAX_NODES);
        let whole = profile("Query", vec![profile("Execution Profile 1:2", vec![deep])]);
        assert_eq!(operators(&whole).len(), 1001);
        let text = json(&whole).to_string();
        assert_eq!(text.matches("\"label\"").count(), MAX_NODES);
    }
}
