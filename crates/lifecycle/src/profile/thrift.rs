//! A profile in Thrift's compact protocol, with the layout of Impala's `TRuntimeProfileTree`.
//!
//! The types are made from `idl/runtime_profile.thrift`. A tree is a list of nodes, each with the number
//! of its children, so that neither side follows it into the depth.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pilota::thrift::Message;
use pilota::thrift::compact::{TCompactInputProtocol, TCompactOutputProtocol};
use pilota::{Bytes, BytesMut, FastStr};

use generated::runtime_profile::runtime_profile::{
    TCounter, TEventSequence, TRuntimeProfileNode, TRuntimeProfileNodeMetadata,
    TRuntimeProfileTree, TSummaryStatsCounter,
};

use super::{Counter, EventSequence, Profile, SummaryStats, Unit};

/// What is generated, whose style is its own.
mod generated {
    include!(concat!(env!("OUT_DIR"), "/runtime_profile.rs"));
}

/// How nodes are laid out: Impala's first form, in which each instance has nodes of its own.
const PROFILE_VERSION: i32 = 1;

/// What [`TRuntimeProfileNode`] has where a node belongs to no operator.
const NO_METADATA: i64 = -1;

/// The profile as Thrift's type.
pub(super) fn tree(profile: &Profile) -> TRuntimeProfileTree {
    let mut nodes = Vec::new();
    let mut open = vec![profile];
    while let Some(profile) = open.pop() {
        open.extend(profile.children.iter().rev());
        nodes.push(node(profile));
    }
    TRuntimeProfileTree {
        nodes,
        profile_version: Some(PROFILE_VERSION),
    }
}

/// The profile as bytes.
pub(super) fn encode(profile: &Profile) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    tree(profile)
        .encode(&mut TCompactOutputProtocol::new(&mut bytes, false))
        .expect("memory takes everything");
    bytes.into()
}

/// Reads what [`encode`] gave, or Impala.
///
/// # Errors
/// What is wrong with the bytes.
pub(super) fn decode(bytes: Vec<u8>) -> Result<Profile, String> {
    let mut bytes = Bytes::from(bytes);
    let mut protocol = TCompactInputProtocol::new(&mut bytes);
    // The reader panics where a text is said to be longer than all that is left.
    let read = AssertUnwindSafe(|| TRuntimeProfileTree::decode(&mut protocol));
    let tree = catch_unwind(read).map_err(|_| "it ends in the middle".to_owned())?;
    tree_of(tree.map_err(|error| error.to_string())?.nodes)
}

fn node(profile: &Profile) -> TRuntimeProfileNode {
    let names = profile.info.iter().map(|(name, _)| text(name));
    let infos = profile.info.iter().map(|(k, v)| (text(k), text(v)));
    let all_counters = profile.counters.iter().map(|counter| text(&counter.name));
    let all_counters: std::collections::BTreeSet<FastStr> = all_counters.collect();
    let statistics: Vec<_> = profile.summary_stats.iter().map(statistics).collect();
    let events: Vec<_> = profile.events.iter().map(events).collect();
    TRuntimeProfileNode {
        name: text(&profile.name),
        num_children: i32::try_from(profile.children.len()).unwrap_or(i32::MAX),
        counters: profile.counters.iter().map(counter).collect(),
        metadata: profile.plan_node_id.map_or(NO_METADATA, i64::from),
        indent: true,
        info_strings: infos.collect(),
        info_strings_display_order: names.collect(),
        child_counters_map: match all_counters.is_empty() {
            true => [].into(),
            false => [(FastStr::empty(), all_counters)].into(),
        },
        event_sequences: Some(events).filter(|events| !events.is_empty()),
        summary_stats_counters: Some(statistics).filter(|all| !all.is_empty()),
        node_metadata: profile
            .plan_node_id
            .map(|plan_node_id| TRuntimeProfileNodeMetadata {
                plan_node_id: Some(plan_node_id),
                data_sink_id: None,
            }),
    }
}

fn counter(counter: &Counter) -> TCounter {
    TCounter {
        name: text(&counter.name),
        unit: unit(counter.unit),
        value: counter.value,
    }
}

fn statistics(statistics: &SummaryStats) -> TSummaryStatsCounter {
    TSummaryStatsCounter {
        name: text(&statistics.name),
        unit: unit(statistics.unit),
        sum: statistics.sum,
        total_num_values: statistics.count,
        min_value: statistics.min,
        max_value: statistics.max,
    }
}

fn events(sequence: &EventSequence) -> TEventSequence {
    TEventSequence {
        name: text(&sequence.name),
        timestamps: sequence.events.iter().map(|(_, at)| *at).collect(),
        labels: sequence
            .events
            .iter()
            .map(|(label, _)| text(label))
            .collect(),
    }
}

fn text(text: &str) -> FastStr {
    FastStr::new(text)
}

fn unit(unit: Unit) -> i32 {
    match unit {
        Unit::Unit => 0,
        Unit::UnitPerSecond => 1,
        Unit::Bytes => 3,
        Unit::TimeNs => 5,
    }
}

/// The tree of nodes that come each before their children.
fn tree_of(nodes: Vec<TRuntimeProfileNode>) -> Result<Profile, String> {
    // The last node that was read and those above it, the root first, each with how many of its
    // children are still to come.
    let mut open: Vec<(usize, Profile)> = Vec::new();
    let mut nodes = nodes.into_iter();
    for node in nodes.by_ref() {
        let children = usize::try_from(node.num_children);
        let children = children.map_err(|_| "a node has less than no children".to_owned())?;
        open.push((children, profile(node)?));
        while let Some((0, _)) = open.last() {
            let (_, closed) = open.pop().expect("it was the last just now");
            let Some((left, parent)) = open.last_mut() else {
                return match nodes.next() {
                    None => Ok(closed),
                    Some(_) => Err("there are nodes behind the tree".to_owned()),
                };
            };
            *left -= 1;
            parent.children.push(closed);
        }
    }
    Err("nodes are missing".to_owned())
}

fn profile(node: TRuntimeProfileNode) -> Result<Profile, String> {
    let mut infos = node.info_strings;
    let mut info = Vec::with_capacity(infos.len());
    for name in &node.info_strings_display_order {
        if let Some(value) = infos.remove(name) {
            info.push((checked(name)?, checked(&value)?));
        }
    }
    let events = node.event_sequences.unwrap_or_default();
    let events = events.into_iter().map(|sequence| {
        let labels = sequence.labels.iter().map(checked);
        let events = labels.zip(sequence.timestamps);
        Ok(EventSequence {
            name: checked(&sequence.name)?,
            events: events
                .map(|(label, at)| Ok((label?, at)))
                .collect::<Result<_, String>>()?,
        })
    });
    let counters = node.counters.into_iter().map(|counter| {
        let (unit, factor) = known_unit(counter.unit);
        Ok(Counter {
            name: checked(&counter.name)?,
            unit,
            value: counter.value.saturating_mul(factor),
        })
    });
    let all = node.summary_stats_counters.unwrap_or_default();
    let statistics = all.into_iter().map(|counter| {
        let (unit, factor) = known_unit(counter.unit);
        Ok(SummaryStats {
            name: checked(&counter.name)?,
            unit,
            sum: counter.sum.saturating_mul(factor),
            count: counter.total_num_values,
            min: counter.min_value.saturating_mul(factor),
            max: counter.max_value.saturating_mul(factor),
        })
    });
    Ok(Profile {
        name: checked(&node.name)?,
        info,
        events: events.collect::<Result<_, String>>()?,
        counters: counters.collect::<Result<_, String>>()?,
        summary_stats: statistics.collect::<Result<_, String>>()?,
        plan_node_id: node.node_metadata.and_then(|node| node.plan_node_id),
        children: Vec::new(),
    })
}

/// The reader takes any bytes for a text.
fn checked(text: &FastStr) -> Result<String, String> {
    let text = str::from_utf8(text.as_bytes());
    text.map(str::to_owned).map_err(|error| error.to_string())
}

/// What a number of a unit means, and by what its values are multiplied. Rates, for example, of which
/// Forebay has none, are shown as bare numbers.
fn known_unit(unit: i32) -> (Unit, i64) {
    match unit {
        1 => (Unit::UnitPerSecond, 1),
        3 => (Unit::Bytes, 1),
        5 => (Unit::TimeNs, 1),
        8 => (Unit::TimeNs, 1_000_000),
        9 => (Unit::TimeNs, 1_000_000_000),
        10 => (Unit::TimeNs, 1_000),
        _ => (Unit::Unit, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A profile in which everything occurs.
    fn full() -> Profile {
        let mut scan = Profile::named("Scan \u{202e}");
        scan.plan_node_id = Some(1);
        scan.add_counter("RowsRead", Unit::Unit, 7);
        scan.add_counter("BytesRead", Unit::Bytes, u64::MAX);
        scan.summary_stats.push(SummaryStats {
            name: "ComputeTime".into(),
            unit: Unit::TimeNs,
            sum: 30,
            count: 2,
            min: 10,
            max: 20,
        });
        let mut summary = Profile::named("Summary");
        for i in (0..40).rev() {
            summary.add_info(&format!("key {i}"), format!("value\n{i}"));
        }
        summary.events.push(EventSequence {
            name: "Query Timeline".into(),
            events: vec![("Registered".into(), 0), ("Finished".into(), 1 << 40)],
        });
        let mut join = Profile::named("Join");
        join.plan_node_id = Some(0);
        join.children = vec![scan.clone(), Profile::named("")];
        let mut root = Profile::named("Query (id=1)");
        root.children = vec![summary, join, scan];
        root
    }

    #[test]
    fn what_is_written_is_read() {
        let profile = full();
        assert_eq!(decode(encode(&profile)), Ok(profile));
        let mut deep = Profile::named("leaf");
        for level in 0..1000 {
            let mut above = Profile::named(level.to_string());
            above.children = vec![deep, Profile::named("last")];
            deep = above;
        }
        assert!(decode(encode(&deep)).is_ok_and(|read| read == deep));
    }

    #[test]
    fn the_layout_is_that_of_the_compact_protocol() {
        let mut profile = Profile::named("n");
        profile.add_counter("c", Unit::Bytes, 1);
        // Field by field: distance from the last field and type, then the value.
        #[rustfmt::skip]
        let expected = [
            0x19, 0x1c,                         // 1: list of one struct
              0x18, 1, b'n',                    //   1: name
              0x15, 0,                          //   2: num_children 0
              0x19, 0x1c,                       //   3: list of one struct
                0x18, 1, b'c', 0x15, 6, 0x16, 2, 0, // name, unit 3, value 1; zigzag
              0x16, 1,                          //   4: metadata -1
              0x11,                             //   5: indent true
              0x1b, 0,                          //   6: empty map
              0x19, 0x08,                       //   7: empty list of texts
              0x1b, 1, 0x8a, 0, 0x18, 1, b'c',  //   8: "" to a set with "c"
              0,
            0x25, 2,                            // 3: profile_version 1
            0,
        ];
        assert_eq!(encode(&profile), expected);
    }

    #[test]
    fn bytes_that_are_no_profile_are_refused() {
        let bytes = encode(&full());
        for end in 0..bytes.len() {
            assert!(decode(bytes[..end].to_vec()).is_err(), "cut at {end}");
        }
        // No byte can do worse than give another profile.
        for place in 0..bytes.len() {
            for value in [0, 0x7f, 0xff] {
                let mut damaged = bytes.clone();
                damaged[place] = value;
                let _ = decode(damaged);
            }
        }
        assert!(decode(b"[]".to_vec()).is_err());
    }
}
