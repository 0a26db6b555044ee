//! Resource queues: their attributes, and what SQL may say about them.
//!
//! Names, numbers and meanings of the attributes are Greenplum's; `MAX_QUEUED` and `QUEUE_TIMEOUT` are Forebay's own.

use std::fmt;

/// The resource queue that is always there.
pub const DEFAULT_QUEUE: &str = "pg_default";

/// The object id of [`DEFAULT_QUEUE`], as in Greenplum.
pub const DEFAULT_QUEUE_OID: u32 = 6055;

/// The least `MEMORY_LIMIT`, in kilobytes of 1024 bytes: 10 MB, as in Greenplum.
pub const MIN_MEMORY_LIMIT_KB: u64 = 10 * 1024;

/// Limits that a set of roles shares.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceQueue {
    /// Its object id.
    pub oid: u32,
    /// Its name.
    pub name: String,
    /// Its limits.
    pub attributes: QueueAttributes,
    /// What `COMMENT ON RESOURCE QUEUE` says.
    pub comment: Option<String>,
}

/// The limits of a resource queue; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueueAttributes {
    /// `ACTIVE_STATEMENTS`: how many statements may be active at once.
    pub active_statements: Option<u32>,
    /// `MAX_COST`: the sum of the plan costs of the active statements, in sequential pages of 8 KiB.
    pub max_cost: Option<f64>,
    /// `COST_OVERCOMMIT`: whether a statement above `MAX_COST` runs when it is alone, instead of never.
    pub cost_overcommit: bool,
    /// `MIN_COST`: statements whose plan costs less need nothing of the queue; 0 means that there are none.
    pub min_cost: f64,
    /// `MEMORY_LIMIT`: the sum of the memory of the active statements, in kilobytes of 1024 bytes.
    pub memory_limit_kb: Option<u64>,
    /// `PRIORITY`: the share of the CPU beside other queues.
    pub priority: Priority,
    /// `MAX_QUEUED`: how many statements may wait.
    pub max_queued: Option<u32>,
    /// `QUEUE_TIMEOUT`: how long a statement may wait, in milliseconds.
    pub queue_timeout_ms: Option<u64>,
}

/// What a queue has that says nothing: no limits, medium priority.
impl Default for QueueAttributes {
    fn default() -> Self {
        Self {
            active_statements: None,
            max_cost: None,
            cost_overcommit: false,
            min_cost: 0.0,
            memory_limit_kb: None,
            priority: Priority::Medium,
            max_queued: None,
            queue_timeout_ms: None,
        }
    }
}

/// How much of the CPU a queue's statements get when others want it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// The least.
    Min,
    /// Little.
    Low,
    /// What queues have that say nothing.
    Medium,
    /// Much.
    High,
    /// The most.
    Max,
}

impl Priority {
    /// All of them, the least first.
    pub const ALL: [Self; 5] = [Self::Min, Self::Low, Self::Medium, Self::High, Self::Max];

    /// Its name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Max => "max",
        }
    }

    /// The priority of this name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|priority| priority.as_str().eq_ignore_ascii_case(name))
    }
}

/// What a resource queue can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueueAttribute {
    /// `ACTIVE_STATEMENTS`.
    ActiveStatements,
    /// `MAX_COST`.
    MaxCost,
    /// `MIN_COST`.
    MinCost,
    /// `COST_OVERCOMMIT`.
    CostOvercommit,
    /// `PRIORITY`.
    Priority,
    /// `MEMORY_LIMIT`.
    MemoryLimit,
    /// `MAX_QUEUED`.
    MaxQueued,
    /// `QUEUE_TIMEOUT`.
    QueueTimeout,
}

impl QueueAttribute {
    /// Every attribute, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::ActiveStatements,
        Self::MaxCost,
        Self::MinCost,
        Self::CostOvercommit,
        Self::Priority,
        Self::MemoryLimit,
        Self::MaxQueued,
        Self::QueueTimeout,
    ];

    /// Its name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::ActiveStatements => "active_statements",
            Self::MaxCost => "max_cost",
            Self::MinCost => "min_cost",
            Self::CostOvercommit => "cost_overcommit",
            Self::Priority => "priority",
            Self::MemoryLimit => "memory_limit",
            Self::MaxQueued => "max_queued",
            Self::QueueTimeout => "queue_timeout",
        }
    }

    /// Its number in `pg_resourcetype`: 1 to 6 as in Greenplum, then ours.
    pub fn number(self) -> i16 {
        self as i16 + 1
    }

    /// Whether `WITHOUT` can take it away.
    pub fn can_be_disabled(self) -> bool {
        self != Self::Priority
    }

    fn named(name: &str) -> Result<Self, QueueError> {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|attribute| attribute.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| QueueError::UnknownAttribute(name.to_owned()))
    }

    /// What its values are, for a hint.
    fn expected(self) -> &'static str {
        match self {
            Self::ActiveStatements => "It must be a whole number above 0, or -1 for no limit.",
            Self::MaxCost => "It must be a number above 0, or -1 for no limit.",
            Self::MinCost => "It must be a number that is not negative.",
            Self::CostOvercommit => "It must be TRUE or FALSE.",
            Self::Priority => "It must be MIN, LOW, MEDIUM, HIGH or MAX.",
            Self::MemoryLimit => {
                "It must be a whole number with the unit kB, MB or GB and at least 10MB, or -1 for no limit."
            }
            Self::MaxQueued => {
                "It must be a whole number that is not negative, or -1 for no limit."
            }
            Self::QueueTimeout => {
                "It must be a whole number with the unit ms, s, min, h or d and at least 1ms, or -1 for no limit."
            }
        }
    }
}

impl fmt::Display for QueueAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name().to_ascii_uppercase())
    }
}

impl QueueAttributes {
    /// An attribute's value as text, as SQL would take it; `-1` is no limit.
    pub fn setting(&self, attribute: QueueAttribute) -> String {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-1".to_owned());
        match attribute {
            QueueAttribute::ActiveStatements => {
                or_none(self.active_statements.map(|n| n.to_string()))
            }
            QueueAttribute::MaxCost => or_none(self.max_cost.map(|cost| cost.to_string())),
            QueueAttribute::MinCost => self.min_cost.to_string(),
            QueueAttribute::CostOvercommit => i32::from(self.cost_overcommit).to_string(),
            QueueAttribute::Priority => self.priority.as_str().to_owned(),
            QueueAttribute::MemoryLimit => {
                or_none(self.memory_limit_kb.map(|kb| with_unit(kb, MEMORY_UNITS)))
            }
            QueueAttribute::MaxQueued => or_none(self.max_queued.map(|n| n.to_string())),
            QueueAttribute::QueueTimeout => {
                or_none(self.queue_timeout_ms.map(|ms| with_unit(ms, TIME_UNITS)))
            }
        }
    }

    fn set(&mut self, setting: QueueSetting) {
        match setting {
            QueueSetting::ActiveStatements(limit) => self.active_statements = limit,
            QueueSetting::MaxCost(limit) => self.max_cost = limit,
            QueueSetting::MinCost(cost) => self.min_cost = cost,
            QueueSetting::CostOvercommit(may) => self.cost_overcommit = may,
            QueueSetting::Priority(priority) => self.priority = priority,
            QueueSetting::MemoryLimit(limit) => self.memory_limit_kb = limit,
            QueueSetting::MaxQueued(limit) => self.max_queued = limit,
            QueueSetting::QueueTimeout(limit) => self.queue_timeout_ms = limit,
        }
    }

    fn has_limit(&self) -> bool {
        self.active_statements.is_some() || self.max_cost.is_some()
    }
}

/// What `CREATE` and `ALTER RESOURCE QUEUE` say: each attribute at most once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueueChange(Vec<(QueueAttribute, QueueSetting)>);

/// One attribute with a value that it can have.
#[derive(Debug, Clone, Copy, PartialEq)]
enum QueueSetting {
    ActiveStatements(Option<u32>),
    MaxCost(Option<f64>),
    MinCost(f64),
    CostOvercommit(bool),
    Priority(Priority),
    MemoryLimit(Option<u64>),
    MaxQueued(Option<u32>),
    QueueTimeout(Option<u64>),
}

impl QueueChange {
    /// Adds one attribute as SQL spells it, in any case; `None` takes it away (`WITHOUT`).
    ///
    /// # Errors
    ///
    /// When there is no such attribute, it has been said already, or cannot have this value.
    pub fn add(&mut self, name: &str, value: Option<&str>) -> Result<(), QueueError> {
        let attribute = QueueAttribute::named(name)?;
        if self.mentions(attribute) {
            return Err(QueueError::Redundant(attribute));
        }
        let setting = match value {
            Some(value) => QueueSetting::parse(attribute, value)
                .ok_or_else(|| QueueError::invalid(attribute, value))?,
            None => {
                QueueSetting::disabled(attribute).ok_or(QueueError::CannotBeDisabled(attribute))?
            }
        };
        self.0.push((attribute, setting));
        Ok(())
    }

    fn mentions(&self, attribute: QueueAttribute) -> bool {
        self.0.iter().any(|(known, _)| *known == attribute)
    }

    /// The attributes of a new queue.
    pub(crate) fn create(&self) -> Result<QueueAttributes, QueueError> {
        let limits = [QueueAttribute::ActiveStatements, QueueAttribute::MaxCost];
        if !limits.into_iter().any(|limit| self.mentions(limit)) {
            return Err(QueueError::NoLimitGiven);
        }
        self.applied_to(QueueAttributes::default())
    }

    /// The attributes of a queue that has had `attributes`.
    pub(crate) fn alter(&self, attributes: QueueAttributes) -> Result<QueueAttributes, QueueError> {
        if self.0.is_empty() {
            return Err(QueueError::NothingToAlter);
        }
        self.applied_to(attributes)
    }

    fn applied_to(&self, mut attributes: QueueAttributes) -> Result<QueueAttributes, QueueError> {
        for (_, setting) in &self.0 {
            attributes.set(*setting);
        }
        if !attributes.has_limit() {
            return Err(QueueError::NoLimitLeft);
        }
        Ok(attributes)
    }
}

impl QueueSetting {
    fn parse(attribute: QueueAttribute, text: &str) -> Option<Self> {
        let text = text.trim();
        Some(match attribute {
            QueueAttribute::ActiveStatements => {
                Self::ActiveStatements(limit(text, |t| count(t).filter(|n| *n > 0))?)
            }
            QueueAttribute::MaxCost => {
                Self::MaxCost(limit(text, |t| cost(t).filter(|c| *c > 0.0))?)
            }
            QueueAttribute::MinCost => Self::MinCost(limit(text, cost)?.unwrap_or(0.0)),
            QueueAttribute::CostOvercommit => Self::CostOvercommit(boolean(text)?),
            QueueAttribute::Priority => Self::Priority(Priority::named(text)?),
            QueueAttribute::MemoryLimit => Self::MemoryLimit(limit(text, |t| {
                quantity(t, MEMORY_UNITS).filter(|kb| *kb >= MIN_MEMORY_LIMIT_KB)
            })?),
            QueueAttribute::MaxQueued => Self::MaxQueued(limit(text, count)?),
            QueueAttribute::QueueTimeout => Self::QueueTimeout(limit(text, |t| {
                quantity(t, TIME_UNITS).filter(|ms| *ms > 0)
            })?),
        })
    }

    /// The value that `WITHOUT` gives.
    fn disabled(attribute: QueueAttribute) -> Option<Self> {
        Some(match attribute {
            QueueAttribute::ActiveStatements => Self::ActiveStatements(None),
            QueueAttribute::MaxCost => Self::MaxCost(None),
            QueueAttribute::MinCost => Self::MinCost(0.0),
            QueueAttribute::CostOvercommit => Self::CostOvercommit(false),
            QueueAttribute::Priority => return None,
            QueueAttribute::MemoryLimit => Self::MemoryLimit(None),
            QueueAttribute::MaxQueued => Self::MaxQueued(None),
            QueueAttribute::QueueTimeout => Self::QueueTimeout(None),
        })
    }
}

/// Kilobytes of 1024 bytes; the letters' case matters, as in PostgreSQL.
const MEMORY_UNITS: &[(&str, u64)] = &[("GB", 1024 * 1024), ("MB", 1024), ("kB", 1)];

/// Milliseconds.
const TIME_UNITS: &[(&str, u64)] = &[
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("min", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// The largest value of a limit that is written as a whole number, in the unit of the attribute: it fits SQLite.
const MAX_QUANTITY: u64 = i64::MAX as u64;

/// `-1` is no limit; anything else is what `value` makes of it.
fn limit<T>(text: &str, value: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    match text.parse() {
        Ok(-1.0) => Some(None),
        _ => value(text).map(Some),
    }
}

/// A whole number, also written as `2e1`.
fn count(text: &str) -> Option<u32> {
    let number: f64 = text.parse().ok()?;
    let most = f64::from(i32::MAX);
    (number.fract() == 0.0 && (0.0..=most).contains(&number)).then_some(number as u32)
}

fn cost(text: &str) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number)
}

/// A boolean as PostgreSQL's lists of definitions take it.
fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Some(true),
        "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// A whole number with a unit, in the smallest one; without a unit it is in the smallest one already.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start() {
        "" => 1,
        unit => units.iter().find(|(name, _)| *name == unit)?.1,
    };
    let amount = number.parse::<u64>().ok()?.checked_mul(factor)?;
    (amount <= MAX_QUANTITY).then_some(amount)
}

/// Written with the largest unit that leaves a whole number.
fn with_unit(amount: u64, units: &[(&str, u64)]) -> String {
    let whole = units
        .iter()
        .find(|(_, factor)| amount.is_multiple_of(*factor));
    let (unit, factor) = whole.unwrap_or(&units[units.len() - 1]);
    format!("{}{unit}", amount / factor)
}

/// Why a resource queue cannot be as SQL wants it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// There is no such attribute.
    #[error("option \"{0}\" is not a valid resource type")]
    UnknownAttribute(String),
    /// An attribute is given twice.
    #[error("conflicting or redundant options")]
    Redundant(QueueAttribute),
    /// The attribute cannot have the value.
    #[error("invalid value \"{value}\" for resource queue attribute {attribute}")]
    InvalidValue {
        /// The attribute.
        attribute: QueueAttribute,
        /// The value as given.
        value: String,
    },
    /// `WITHOUT` names an attribute that every queue has.
    #[error("option \"{}\" cannot be disabled", .0.name())]
    CannotBeDisabled(QueueAttribute),
    /// A new queue says nothing about its limits.
    #[error("at least one threshold (\"ACTIVE_STATEMENTS\", \"MAX_COST\") must be specified")]
    NoLimitGiven,
    /// The queue would limit nothing.
    #[error(
        "at least one threshold (\"ACTIVE_STATEMENTS\", \"MAX_COST\") must be different from no limit (-1)"
    )]
    NoLimitLeft,
    /// `ALTER RESOURCE QUEUE` says nothing.
    #[error("at least one attribute of the resource queue must be specified")]
    NothingToAlter,
    /// Roles belong to the queue that was to be dropped.
    #[error("resource queue \"{name}\" is used by at least one role")]
    HasRoles {
        /// The queue.
        name: String,
        /// The roles, or the first of them and a count of the others.
        roles: Vec<String>,
    },
    /// The default queue stays.
    #[error("cannot drop default resource queue \"{DEFAULT_QUEUE}\"")]
    DropsDefault,
}

impl QueueError {
    fn invalid(attribute: QueueAttribute, value: &str) -> Self {
        Self::InvalidValue {
            attribute,
            value: value.to_owned(),
        }
    }

    /// The five-character SQLSTATE that Greenplum gives in the same case.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::Redundant(_) | Self::NoLimitGiven | Self::NothingToAlter => "42601",
            Self::UnknownAttribute(_)
            | Self::InvalidValue { .. }
            | Self::CannotBeDisabled(_)
            | Self::NoLimitLeft => "22023",
            Self::HasRoles { .. } => "2BP01",
            Self::DropsDefault => "0A000",
        }
    }

    /// More about the cause, for the `DETAIL` field.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Redundant(attribute) => Some(format!("{attribute} is given twice.")),
            Self::HasRoles { roles, .. } => Some(roles.join("\n")),
            _ => None,
        }
    }

    /// What the reader can do about it, for the `HINT` field.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownAttribute(_) => {
                let names = QueueAttribute::ALL.map(|attribute| attribute.to_string());
                Some(format!("Resource queues have {}.", names.join(", ")))
            }
            Self::InvalidValue { attribute, .. } => Some(attribute.expected().to_owned()),
            Self::HasRoles { .. } => Some(
                "Give these roles another queue first: ALTER ROLE ... RESOURCE QUEUE ..."
                    .to_owned(),
            ),
            _ => None,
        }
    }
}
