//! A profile as JSON, with the layout of Impala's: `{"contents":{"profile_name":…,"child_profiles":[…]}}`.

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use super::{Counter, EventSequence, Profile, SummaryStats, Unit};

pub(super) fn render(profile: &Profile) -> String {
    #[derive(Serialize)]
    struct Whole<'a> {
        contents: &'a Profile,
    }
    serde_json::to_string(&Whole { contents: profile }).expect("texts and numbers")
}

impl Unit {
    /// The name in Impala's `TUnit`.
    fn name(self) -> &'static str {
        match self {
            Unit::Unit => "UNIT",
            Unit::UnitPerSecond => "UNIT_PER_SECOND",
            Unit::Bytes => "BYTES",
            Unit::TimeNs => "TIME_NS",
        }
    }
}

impl Serialize for Profile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Info<'a> {
            key: &'a str,
            value: &'a str,
        }
        #[derive(Serialize)]
        struct Node {
            plan_node_id: i32,
        }
        let info = self.info.iter();
        let info: Vec<_> = info.map(|(key, value)| Info { key, value }).collect();
        let mut node = serializer.serialize_struct("Profile", 8)?;
        node.serialize_field("profile_name", &self.name)?;
        node.serialize_field("num_children", &self.children.len())?;
        if let Some(plan_node_id) = self.plan_node_id {
            node.serialize_field("node_metadata", &Node { plan_node_id })?;
        }
        // What there is none of is left out.
        macro_rules! list {
            ($name:literal, $values:expr) => {
                if !$values.is_empty() {
                    node.serialize_field($name, &$values)?;
                }
            };
        }
        list!("info_strings", info);
        list!("event_sequences", self.events);
        list!("counters", self.counters);
        list!("summary_stats_counters", self.summary_stats);
        list!("child_profiles", self.children);
        node.end()
    }
}

impl Serialize for Counter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut counter = serializer.serialize_struct("Counter", 3)?;
        counter.serialize_field("counter_name", &self.name)?;
        counter.serialize_field("unit", self.unit.name())?;
        counter.serialize_field("value", &self.value)?;
        counter.end()
    }
}

impl Serialize for SummaryStats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut counter = serializer.serialize_struct("SummaryStats", 6)?;
        counter.serialize_field("counter_name", &self.name)?;
        counter.serialize_field("unit", self.unit.name())?;
        counter.serialize_field("min", &self.min)?;
        counter.serialize_field("max", &self.max)?;
        counter.serialize_field("sum", &self.sum)?;
        counter.serialize_field("num_of_samples", &self.count)?;
        counter.end()
    }
}

impl Serialize for EventSequence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Event<'a> {
            label: &'a str,
            timestamp: i64,
        }
        let events = self.events.iter();
        let events: Vec<_> = events
            .map(|(label, timestamp)| Event {
                label,
                timestamp: *timestamp,
            })
            .collect();
        let mut sequence = serializer.serialize_struct("EventSequence", 2)?;
        sequence.serialize_field("name", &self.name)?;
        sequence.serialize_field("events", &events)?;
        sequence.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_impala() {
        let mut child = Profile::named("ImpalaServer");
        child.add_counter("NumRowsFetched", Unit::Unit, 25);
        child.summary_stats.push(SummaryStats {
            name: "ComputeTime".into(),
            unit: Unit::TimeNs,
            sum: 4,
            count: 2,
            min: 1,
            max: 3,
        });
        child.plan_node_id = Some(7);
        let mut root = Profile::named("Query (id=1)");
        root.add_info("Sql Statement", "SELECT \"a\"");
        root.events.push(EventSequence {
            name: "Query Timeline".into(),
            events: vec![("Query submitted".into(), 0)],
        });
        root.children.push(child);
        let expected = concat!(
            r#"{"contents":{"profile_name":"Query (id=1)","num_children":1,"#,
            r#""info_strings":[{"key":"Sql Statement","value":"SELECT \"a\""}],"#,
            r#""event_sequences":[{"name":"Query Timeline","#,
            r#""events":[{"label":"Query submitted","timestamp":0}]}],"#,
            r#""child_profiles":[{"profile_name":"ImpalaServer","num_children":0,"#,
            r#""node_metadata":{"plan_node_id":7},"#,
            r#""counters":[{"counter_name":"NumRowsFetched","unit":"UNIT","value":25}],"#,
            r#""summary_stats_counters":[{"counter_name":"ComputeTime","unit":"TIME_NS","#,
            r#""min":1,"max":3,"sum":4,"num_of_samples":2}]}]}}"#,
        );
        assert_eq!(root.to_json(), expected);
    }
}
