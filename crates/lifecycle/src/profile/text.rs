//! A profile as indented lines, and numbers as people read them.

use std::fmt::Write;

use super::{EventSequence, Profile, Unit};

pub(super) fn render(profile: &Profile) -> String {
    let mut text = String::new();
    add(&mut text, profile, 0);
    text
}

fn add(text: &mut String, node: &Profile, depth: usize) {
    let indent = "  ".repeat(depth);
    let _ = writeln!(text, "{indent}{}:", node.name);
    let inner = "  ".repeat(depth + 1);
    for (name, value) in &node.info {
        let _ = writeln!(text, "{inner}{name}: {value}");
    }
    for events in &node.events {
        add_events(text, events, &inner);
    }
    for counter in &node.counters {
        let shown = exactly(counter.unit, counter.value);
        let _ = writeln!(text, "{inner} - {}: {shown}", counter.name);
    }
    for of_all in &node.summary_stats {
        let of = |value| shown(of_all.unit, value);
        let average = of(of_all.sum.checked_div(of_all.count).unwrap_or(0));
        let _ = writeln!(
            text,
            "{inner} - {}: (Avg: {average} ; Min: {} ; Max: {} ; Number of samples: {})",
            of_all.name,
            of(of_all.min),
            of(of_all.max),
            of_all.count
        );
    }
    for child in &node.children {
        add(text, child, depth + 1);
    }
}

/// A value as people read it, with all its digits behind it.
fn exactly(unit: Unit, value: i64) -> String {
    match unit {
        Unit::TimeNs | Unit::UnitPerSecond => shown(unit, value),
        Unit::Bytes if value == 0 => "0".to_owned(),
        Unit::Unit if value < 1000 => format!("{value} ({value})"),
        Unit::Unit => shown(unit, value),
        Unit::Bytes => format!("{} ({value})", shown(unit, value)),
    }
}

/// A value as people read it.
fn shown(unit: Unit, value: i64) -> String {
    let value = u64::try_from(value).unwrap_or(0);
    match unit {
        Unit::Unit => units(value),
        Unit::UnitPerSecond => rate(value),
        Unit::Bytes => bytes(value),
        Unit::TimeNs => nanoseconds(value),
    }
}

/// Each event with the time since the start and since the one before.
fn add_events(text: &mut String, sequence: &EventSequence, inner: &str) {
    let last = sequence.events.last().map_or(0, |(_, at)| *at);
    let shown = |ns: i64| nanoseconds(u64::try_from(ns).unwrap_or(0));
    let _ = writeln!(text, "{inner}{}: {}", sequence.name, shown(last));
    let mut before = 0;
    for (label, at) in &sequence.events {
        let since = shown(at - before);
        let _ = writeln!(text, "{inner}   - {label}: {} ({since})", shown(*at));
        before = *at;
    }
}

/// `1.23us`, `45.6ms`, `7s890ms`, `1m2s`, `3h4m`.
pub(super) fn nanoseconds(ns: u64) -> String {
    const US: u64 = 1_000;
    const MS: u64 = 1_000 * US;
    const S: u64 = 1_000 * MS;
    const M: u64 = 60 * S;
    const H: u64 = 60 * M;
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let of = |unit: u64| ns as f64 / unit as f64;
    match ns {
        0..US => format!("{ns}ns"),
        US..MS => format!("{:.3}us", of(US)),
        MS..S => format!("{:.3}ms", of(MS)),
        S..M => format!("{}s{:03}ms", ns / S, ns % S / MS),
        M..H => format!("{}m{}s", ns / M, ns % M / S),
        _ => format!("{}h{}m", ns / H, ns % H / M),
    }
}

/// `999`, `1.50K (1500)`, `2.00M (2000000)`.
pub(super) fn units(count: u64) -> String {
    scaled(count, 1000, &["K", "M", "B"]).map_or_else(
        || count.to_string(),
        |(value, unit)| format!("{value:.2}{unit} ({count})"),
    )
}

/// `999.00 /sec`, `1.50 K/sec`; `0`.
fn rate(count: u64) -> String {
    if count == 0 {
        return "0".to_owned();
    }
    scaled(count, 1000, &["K", "M", "B"]).map_or_else(
        || format!("{count}.00 /sec"),
        |(value, unit)| format!("{value:.2} {unit}/sec"),
    )
}

/// `512 B`, `1.50 KB`, `2.00 GB`.
pub(super) fn bytes(count: u64) -> String {
    scaled(count, 1024, &["KB", "MB", "GB", "TB"]).map_or_else(
        || format!("{count} B"),
        |(value, unit)| format!("{value:.2} {unit}"),
    )
}

/// `count` in the largest of `units` of which there is one at least.
fn scaled(count: u64, step: u64, units: &[&'static str]) -> Option<(f64, &'static str)> {
    #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
    let (count, step) = (count as f64, step as f64);
    let mut value = count;
    let mut found = None;
    for unit in units {
        if value < step {
            break;
        }
        value /= step;
        found = Some((value, *unit));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::SummaryStats;

    #[test]
    fn numbers_are_short() {
        for (ns, expected) in [
            (0, "0ns"),
            (999, "999ns"),
            (1_500, "1.500us"),
            (45_678_901, "45.679ms"),
            (7_890_123_456, "7s890ms"),
            (62_000_000_000, "1m2s"),
            (11_040_000_000_000, "3h4m"),
        ] {
            assert_eq!(nanoseconds(ns), expected);
        }
        for (count, expected) in [(0, "0"), (999, "999"), (1500, "1.50K (1500)")] {
            assert_eq!(units(count), expected);
        }
        assert_eq!(units(6_001_215), "6.00M (6001215)");
        for (count, expected) in [(0, "0"), (999, "999.00 /sec"), (1500, "1.50 K/sec")] {
            assert_eq!(rate(count), expected);
        }
        for (count, expected) in [(0, "0 B"), (1536, "1.50 KB"), (1 << 31, "2.00 GB")] {
            assert_eq!(bytes(count), expected);
        }
    }

    #[test]
    fn a_profile_is_a_tree_of_lines() {
        let mut child = Profile::named("Totals");
        child.add_counter("RowsReturned", Unit::Unit, 25);
        child.add_counter("BytesRead", Unit::Bytes, 2048);
        let mut root = Profile::named("Query (id=1)");
        root.add_info("Sql Statement", "SELECT 1");
        root.add_info("Plan", "\n----\nA\n  B\n----");
        root.events.push(EventSequence {
            name: "Query Timeline".into(),
            events: vec![("Registered".into(), 0), ("Finished".into(), 2_000_000)],
        });
        root.summary_stats.push(SummaryStats {
            name: "ComputeTime".into(),
            unit: Unit::TimeNs,
            sum: 4_000,
            count: 2,
            min: 1_000,
            max: 3_000,
        });
        root.children.push(child);
        let expected = "\
Query (id=1):
  Sql Statement: SELECT 1
  Plan: 
----
A
  B
----
  Query Timeline: 2.000ms
     - Registered: 0ns (0ns)
     - Finished: 2.000ms (2.000ms)
   - ComputeTime: (Avg: 2.000us ; Min: 1.000us ; Max: 3.000us ; Number of samples: 2)
  Totals:
     - RowsReturned: 25 (25)
     - BytesRead: 2.00 KB (2048)
";
        assert_eq!(root.to_text(), expected);
    }
}
