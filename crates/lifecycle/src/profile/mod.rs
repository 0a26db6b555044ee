//! The profile of a query: everything that is known of it, as a tree that people and programs read.
//!
//! It is made of three things: what was registered ([`NewQuery`](crate::NewQuery)), what was learnt
//! on the way ([`Facts`](crate::Facts), the timeline), and what the plan's operators have measured
//! ([`PlanProfile`]). While the query lives it is made anew for each reader. Once it has ended, the
//! first one who asks (a reader, or the pool) freezes it; from then on everybody gets the same.

mod build;
mod compress;
mod frozen;
mod plan;
mod summary;
mod text;
mod thrift;
mod totals;

use serde::{Deserialize, Serialize};

pub(crate) use build::build;
pub use frozen::{FrozenProfile, UnreadableProfile};
pub use plan::{Operator, PlanProfile, ScanProgress};
pub(crate) use totals::Totals;

/// A node of a profile, with its children.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// What it is about.
    pub name: String,
    /// Texts by name, in the order in which they are shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub info: Vec<(String, String)>,
    /// Sequences of events, each in the order in which they happened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventSequence>,
    /// Numbers by name, in the order in which they are shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counters: Vec<Counter>,
    /// What several instances have counted, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub summary_stats: Vec<SummaryStats>,
    /// The operator that it is about: its place in the plan, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_node_id: Option<i32>,
    /// What it consists of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Profile>,
}

/// A number with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// What was counted.
    pub name: String,
    /// What the number means.
    pub unit: Unit,
    /// How much.
    pub value: i64,
}

/// What several instances have counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryStats {
    /// What was counted.
    pub name: String,
    /// What the numbers mean.
    pub unit: Unit,
    /// Over all instances.
    pub sum: i64,
    /// Instances.
    pub count: i64,
    /// The least of one instance.
    pub min: i64,
    /// The most of one instance.
    pub max: i64,
}

/// What a counter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Unit {
    /// Things.
    Unit,
    /// Bytes.
    Bytes,
    /// Nanoseconds.
    TimeNs,
}

/// Events on one clock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventSequence {
    /// What they belong to.
    pub name: String,
    /// What happened, and when: nanoseconds since the first.
    pub events: Vec<(String, i64)>,
}

impl Profile {
    /// A node without anything in it.
    pub(crate) fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    pub(crate) fn add_info(&mut self, name: &str, value: impl Into<String>) {
        self.info.push((name.to_owned(), value.into()));
    }

    pub(crate) fn add_counter(&mut self, name: impl Into<String>, unit: Unit, value: u64) {
        self.counters.push(Counter {
            name: name.into(),
            unit,
            value: i64::try_from(value).unwrap_or(i64::MAX),
        });
    }

    /// The text of `name` in this node.
    #[must_use]
    pub fn info(&self, name: &str) -> Option<&str> {
        let found = self.info.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The value of the counter `name` in this node.
    #[must_use]
    pub fn counter(&self, name: &str) -> Option<i64> {
        let found = self.counters.iter().find(|counter| counter.name == name);
        found.map(|counter| counter.value)
    }

    /// The child called `name`.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Profile> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The profile for people: indented lines.
    #[must_use]
    pub fn to_text(&self) -> String {
        text::render(self)
    }

    /// The profile in Thrift's compact protocol, as Impala's `TRuntimeProfileTree`.
    #[must_use]
    pub fn to_thrift(&self) -> Vec<u8> {
        thrift::encode(self)
    }

    /// [`Profile::to_thrift`] compressed and as text, as the profile log and Impala's clients have it:
    /// base64 of zlib.
    #[must_use]
    pub fn to_base64(&self) -> String {
        FrozenProfile::of(self).encode()
    }

    /// The profile for programs: one JSON object.
    ///
    /// # Panics
    /// Never: a profile has nothing in it that JSON has not.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers")
    }
}
