//! Drawings: inline SVG, coloured by the style sheet. Nothing in them is interactive, and each says
//! in words what it shows.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use crate::format::Foreign;

/// How much of a limit is taken: a bar with a number. Without a limit there is only the number.
pub(crate) fn bar(taken: f64, limit: Option<f64>, text: &str) -> Markup {
    let Some(limit) = limit else {
        return html! { span.unlimited { (text) } };
    };
    let part = match limit > 0.0 {
        true => (taken / limit).clamp(0.0, 1.0),
        false => 0.0,
    };
    let level = match part {
        _ if taken > limit => "over",
        1.0.. => "full",
        0.75.. => "high",
        _ => "low",
    };
    html! {
        span.bar {
            svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
                rect.track width="100" height="8" {}
                rect class=(level) width=(format!("{:.1}", part * 100.0)) height="8" {}
            }
            span { (text) }
        }
    }
}

/// One line of a chart.
pub(crate) struct Series<'a> {
    /// A class of the style sheet: `first`, `second`.
    pub(crate) class: &'a str,
    pub(crate) name: &'a str,
    pub(crate) values: Vec<f64>,
}

/// Lines over the last hour. The newest value is at the right; `places` is how many fit. `top` is
/// what the upper edge stands for, in words too.
pub(crate) fn chart(
    title: &str,
    series: &[Series],
    places: usize,
    top: f64,
    label: &str,
) -> Markup {
    let top = if top > 0.0 { top } else { 1.0 };
    html! {
        figure.chart {
            figcaption {
                span { (title) }
                @if series.len() > 1 {
                    @for line in series {
                        span.key { svg viewBox="0 0 10 10" aria-hidden="true" { rect class=(line.class) width="10" height="10" {} } (line.name) }
                    }
                }
                span.top { (label) }
            }
            svg viewBox="0 0 720 120" preserveAspectRatio="none" role="img" aria-label=(title) {
                @for y in [30, 60, 90] { line.grid x1="0" x2="720" y1=(y) y2=(y) {} }
                @for line in series {
                    @let points = points(&line.values, places, top);
                    @if !points.is_empty() {
                        polygon class=(line.class) points=(area(&points)) {}
                        polyline class=(line.class) points=(joined(&points)) {}
                    }
                }
            }
            div.axis { span { "an hour ago" } span { "now" } }
        }
    }
}

fn points(values: &[f64], places: usize, top: f64) -> Vec<(f64, f64)> {
    let step = 720.0 / (places.max(2) - 1) as f64;
    let first = 720.0 - step * values.len().saturating_sub(1) as f64;
    let point = |(i, value): (usize, &f64)| {
        let height = (value / top).clamp(0.0, 1.0) * 116.0;
        (first + step * i as f64, 119.0 - height)
    };
    values.iter().enumerate().map(point).collect()
}

fn joined(points: &[(f64, f64)]) -> String {
    let points: Vec<String> = points
        .iter()
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect();
    points.join(" ")
}

fn area(points: &[(f64, f64)]) -> String {
    let (first, last) = (points[0].0, points[points.len() - 1].0);
    format!("{first:.1},120 {} {last:.1},120", joined(points))
}

/// A part of a life, on a timeline.
pub(crate) struct Span {
    /// A class of the style sheet: the state.
    pub(crate) class: &'static str,
    /// From and to, as parts of the whole from 0 to 1.
    pub(crate) from: f64,
    pub(crate) to: f64,
}

/// A life from left to right. What is too short to be seen gets a hair's breadth.
pub(crate) fn timeline(title: &str, spans: &[Span], marks: &[f64]) -> Markup {
    html! {
        svg.timeline viewBox="0 0 1000 40" preserveAspectRatio="none" role="img" aria-label=(title) {
            rect.track y="8" width="1000" height="24" {}
            @for span in spans {
                @let width = ((span.to - span.from) * 1000.0).max(1.5);
                rect class=(span.class) x=(format!("{:.1}", span.from * 1000.0)) y="8"
                    width=(format!("{width:.1}")) height="24" {}
            }
            @for mark in marks {
                @let x = format!("{:.1}", mark * 1000.0);
                line.mark x1=(x) x2=(x) y1="2" y2="38" {}
            }
        }
    }
}

/// Somebody in a drawing of who waits for whom.
pub(crate) struct Node {
    pub(crate) pid: i32,
    /// Who it is.
    pub(crate) name: String,
    /// What it does or waits for.
    pub(crate) note: String,
}

const NODE_WIDTH: usize = 200;
const NODE_HEIGHT: usize = 46;
const COLUMN: usize = 290;
const ROW: usize = 64;

/// Nodes that are drawn; a drawing of more is not read by anybody.
const MAX_NODES: usize = 40;

/// Who waits for whom: an arrow from each who waits to each who holds. Those who wait for nobody
/// are at the right.
pub(crate) fn waits(nodes: &[Node], edges: &BTreeSet<(i32, i32)>) -> Markup {
    let shown = &nodes[..nodes.len().min(MAX_NODES)];
    let columns = columns(shown, edges);
    let last = columns.values().copied().max().unwrap_or_default();
    let mut rows: BTreeMap<usize, usize> = BTreeMap::new();
    let places: BTreeMap<i32, (usize, usize)> = shown
        .iter()
        .map(|node| {
            let column = last - columns[&node.pid];
            let row = rows.entry(column).or_default();
            let place = (column * COLUMN + 4, *row * ROW + 8);
            *row += 1;
            (node.pid, place)
        })
        .collect();
    let width = last * COLUMN + NODE_WIDTH + 8;
    let height = rows.values().copied().max().unwrap_or_default() * ROW + 8;
    html! {
        div.scroll {
            svg.waits width=(width) height=(height) viewBox=(format!("0 0 {width} {height}"))
                role="img" aria-label="Who waits for whom" {
                defs {
                    marker #arrow viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto" {
                        path d="M0 0 L8 4 L0 8 z" {}
                    }
                }
                @for (from, to) in edges {
                    @if let (Some(from), Some(to)) = (places.get(from), places.get(to)) {
                        path.edge d=(curve(*from, *to)) marker-end="url(#arrow)" {}
                    }
                }
                @for node in shown {
                    @let (x, y) = places[&node.pid];
                    rect class=(if columns[&node.pid] == 0 { "holder" } else { "waiter" })
                        x=(x) y=(y) width=(NODE_WIDTH) height=(NODE_HEIGHT) rx="6" {}
                    text.name x=(x + 10) y=(y + 19) { (Foreign(&crate::format::shortened(&node.name, 24))) }
                    text.note x=(x + 10) y=(y + 36) { (Foreign(&crate::format::shortened(&node.note, 28))) }
                }
            }
        }
        @if nodes.len() > shown.len() {
            p.note { (nodes.len() - shown.len()) " more are in the lists only." }
        }
    }
}

/// From the right edge of one box to the left edge of another; between boxes of one column, around
/// their right side.
fn curve((x1, y1): (usize, usize), (x2, y2): (usize, usize)) -> String {
    let (y1, y2) = (y1 + NODE_HEIGHT / 2, y2 + NODE_HEIGHT / 2);
    let from = x1 + NODE_WIDTH;
    match x2 > from {
        true => {
            let middle = (from + x2) / 2;
            format!("M{from} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}")
        }
        false => {
            let (to, out) = (x2 + NODE_WIDTH, from.max(x2 + NODE_WIDTH) + 40);
            format!("M{from} {y1} C{out} {y1} {out} {y2} {to} {y2}")
        }
    }
}

/// How many waits are between each and somebody who waits for nobody: 0 for the latter. Edges that
/// run in a circle end the counting.
fn columns(nodes: &[Node], edges: &BTreeSet<(i32, i32)>) -> BTreeMap<i32, usize> {
    let mut columns: BTreeMap<i32, usize> = nodes.iter().map(|node| (node.pid, 0)).collect();
    for _ in 0..nodes.len().min(8) {
        let mut changed = false;
        for (from, to) in edges {
            let Some(behind) = columns.get(to).map(|column| column + 1) else {
                continue;
            };
            if let Some(column) = columns.get_mut(from)
                && *column < behind
                && behind <= 8
            {
                *column = behind;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(pid: i32) -> Node {
        Node {
            pid,
            name: format!("process {pid}"),
            note: "<waits>".to_owned(),
        }
    }

    #[test]
    fn columns_count_the_waits_before_an_end() {
        let nodes = [node(1), node(2), node(3), node(4)];
        let edges = BTreeSet::from([(1, 2), (2, 3), (1, 3), (4, 3)]);
        let columns = columns(&nodes, &edges);
        assert_eq!(columns, BTreeMap::from([(1, 2), (2, 1), (3, 0), (4, 1)]));
    }

    #[test]
    fn a_circle_is_drawn_too() {
        let nodes = [node(1), node(2)];
        let edges = BTreeSet::from([(1, 2), (2, 1)]);
        let drawn = waits(&nodes, &edges).into_string();
        assert_eq!(drawn.matches("class=\"edge\"").count(), 2);
        assert!(drawn.contains("&lt;waits&gt;"));
    }

    #[test]
    fn a_bar_says_when_it_is_full() {
        let class = |taken, limit| bar(taken, limit, "x").into_string();
        assert!(class(0.0, Some(4.0)).contains("\"low\""));
        assert!(class(4.0, Some(4.0)).contains("\"full\""));
        assert!(class(5.0, Some(4.0)).contains("\"over\""));
        assert!(class(0.0, Some(0.0)).contains("\"low\""));
        assert!(!class(5.0, None).contains("svg"));
    }

    #[test]
    fn the_newest_value_is_at_the_right() {
        let points = points(&[0.0, 1.0, 2.0], 721, 2.0);
        assert_eq!(points.last(), Some(&(720.0, 3.0)));
        assert_eq!(points[0], (718.0, 119.0));
    }
}
