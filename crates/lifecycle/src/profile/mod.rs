//! The profile of a query: everything that is known of it, as a tree that people and programs read.
//!
//! It is made of three things: what was registered ([`NewQuery`](crate::NewQuery)), what was learnt
//! on the way ([`Facts`](crate::Facts), the timeline), and what the plan's operators have measured
//! ([`PlanProfile`]). While the query lives it is made anew for each reader. Once it has ended, the
//! first one who asks (a reader, or the pool) freezes it; from then on everybody gets the same.

mod build;
mod compress;
mod frozen;
mod json;
mod names;
mod plan;
mod summary;
mod text;
mod thrift;
mod totals;

pub(crate) use build::build;
pub use frozen::{FrozenProfile, UnreadableProfile};
pub(crate) use names::{RELEASED, ROWS_AVAILABLE, end_labels};
pub use plan::{Operator, PlanProfile, ScanProgress};
pub(crate) use totals::Totals;

/// A node of a profile, with its children.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// What it is about.
    pub name: String,
    /// Texts by name, in the order in which they are shown.
    pub info: Vec<(String, String)>,
    /// Sequences of events, each in the order in which they happened.
    pub events: Vec<EventSequence>,
    /// Numbers by name, in the order in which they are shown.
    pub counters: Vec<Counter>,
    /// What several instances have counted, by name.
    pub summary_stats: Vec<SummaryStats>,
    /// The operator that it is about: its place in the plan, from 0.
    pub plan_node_id: Option<i32>,
    /// What it consists of.
    pub children: Vec<Profile>,
}

/// A number with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    /// What was counted.
    pub name: String,
    /// What the number means.
    pub unit: Unit,
    /// How much.
    pub value: i64,
}

/// What several instances have counted.
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Unit,
    /// Things in a second.
    UnitPerSecond,
    /// Bytes.
    Bytes,
    /// Nanoseconds.
    TimeNs,
}

/// Events on one clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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

    /// The operators of the plan, as a tree: the child of the whole profile that has them. `None`
    /// where no plan ran.
    #[must_use]
    pub fn execution(&self) -> Option<&Profile> {
        let is_it = |child: &&Profile| child.name.starts_with(build::EXECUTION);
        self.children.iter().find(is_it)
    }

    /// The plan as the whole profile shows it: one operator a line, its inputs indented below it.
    /// Empty where no plan ran.
    #[must_use]
    pub fn plan_text(&self) -> &str {
        let shown = self.summary_info("Plan");
        shown.trim_matches(['-', '\n'])
    }

    /// The table of the operators, one a line. Empty where no plan ran.
    #[must_use]
    pub fn summary_table(&self) -> &str {
        self.summary_info("ExecSummary").trim_start_matches('\n')
    }

    fn summary_info(&self, name: &str) -> &str {
        let summary = self.child("Summary");
        summary.and_then(|node| node.info(name)).unwrap_or_default()
    }

    /// The profile for people: indented lines.
    #[must_use]
    pub fn to_text(&self) -> String {
        text::render(self)
    }

    /// The profile as Impala's `TRuntimeProfileTree`, for a reply in whichever protocol of Thrift.
    #[must_use]
    pub fn thrift_tree(&self) -> impl pilota::thrift::Message + use<> {
        thrift::tree(self)
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

    /// The profile for programs: one JSON object, in one line, with Impala's names.
    #[must_use]
    pub fn to_json(&self) -> String {
        json::render(self)
    }
}
