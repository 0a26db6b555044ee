//! Names and amounts.

use std::fmt;

/// A transaction that holds slots, charges and locks: an explicit block, or one statement on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u64);

/// A resource queue's number in the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u32);

/// A relation's number in the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelationId(pub u32);

/// A wait. Tickets count up: the lower one has come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticket(pub u64);

/// A plan's cost in PostgreSQL's unit: 1.0 is one sequential page of 8 KiB.
///
/// Kept in thousandths of it, as a whole number, so that what is given back is exactly what was
/// taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Cost(u64);

impl Cost {
    /// No cost.
    pub const ZERO: Cost = Cost(0);

    /// The nearest cost to `units`; what is negative or no number is zero.
    #[must_use]
    pub fn new(units: f64) -> Self {
        // A cast from float saturates, and makes zero of NaN.
        Cost((units * 1000.0).round() as u64)
    }

    /// The cost in PostgreSQL's unit.
    #[must_use]
    pub fn units(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    pub(crate) fn thousandths(self) -> u64 {
        self.0
    }

    pub(crate) fn plus(self, other: Cost) -> Cost {
        Cost(self.0.saturating_add(other.0))
    }

    pub(crate) fn saturating_minus(self, other: Cost) -> Cost {
        Cost(self.0.saturating_sub(other.0))
    }

    pub(crate) fn minus(self, other: Cost) -> Cost {
        debug_assert!(other <= self, "more cost given back than was taken");
        Cost(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}", self.units())
    }
}

/// What a planned statement needs of its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Demand {
    /// The plan's cost.
    pub cost: Cost,
    /// The memory that it may use, in bytes.
    pub memory_bytes: u64,
}

impl Demand {
    pub(crate) fn plus(self, other: Demand) -> Demand {
        Demand {
            cost: self.cost.plus(other.cost),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
        }
    }

    pub(crate) fn minus(self, other: Demand) -> Demand {
        debug_assert!(other.memory_bytes <= self.memory_bytes);
        Demand {
            cost: self.cost.minus(other.cost),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
        }
    }

    pub(crate) fn is_zero(self) -> bool {
        self == Demand::default()
    }
}

/// The limits of a resource queue; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Limits {
    /// `ACTIVE_STATEMENTS`: slots; at least one.
    pub active_statements: Option<u32>,
    /// `MAX_COST`: the sum of the costs of the statements that run.
    pub max_cost: Option<Cost>,
    /// `COST_OVERCOMMIT`: a statement above `MAX_COST` runs when it is alone, instead of never.
    pub cost_overcommit: bool,
    /// `MIN_COST`: statements below it need nothing of the queue, and do not ask.
    pub min_cost: Cost,
    /// `MEMORY_LIMIT`: the sum of the memory of the statements that run, in bytes.
    pub memory_limit_bytes: Option<u64>,
    /// `MAX_QUEUED`: with so many waiting, new requests are refused. A statement that steps aside is
    /// never refused, and counts.
    pub max_queued: Option<u32>,
}

/// Relation locks to be taken together.
pub type LockRequest = (RelationId, crate::LockMode);
