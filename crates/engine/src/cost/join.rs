//! How many rows a join gives.
//!
//! A join on equal keys is taken to be what schemas are made of: rows of one side refer to rows
//! of the other. Then every key of the referring side exists on the other, where it is unique,
//! and the number of different keys is that of the side with fewer, counted before filters took
//! rows away. The result follows: of all pairs of rows, one in so many matches. Where the keys'
//! ranges are known, keys outside the common part match nothing.
//!
//! Of a side that has lost rows to filters, the keys that are left are taken to lie in the common
//! part, as far as there is room: who asks for the days of a year asks for one that has sales.
//! This is the containment of System R (Selinger et al., 1979): the fewer keys are among the more.

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::{JoinSide, JoinType};
use datafusion::physical_expr::PhysicalExprRef;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::joins::utils::JoinFilter;

use super::relation::{Column, Relation};
use super::{defaults, weights};
use crate::yielding::unwatched;

/// What is joined, and how.
pub(super) struct Join<'a> {
    pub(super) left: &'a Relation,
    pub(super) right: &'a Relation,
    pub(super) join_type: JoinType,
    pub(super) on: &'a [(PhysicalExprRef, PhysicalExprRef)],
    pub(super) filter: Option<&'a JoinFilter>,
}

/// The rows of a join.
pub(super) struct Joined {
    pub(super) relation: Relation,
    /// Pairs of rows with equal keys, before the rest of the condition.
    pub(super) pairs: f64,
}

/// What the keys of both sides say of each other.
struct Match {
    left: Found,
    right: Found,
    /// Different keys that can exist on both sides, before filters took rows away.
    both: f64,
}

/// What of one side can exist on the other.
struct Found {
    /// Share of the rows.
    share: f64,
    /// Different keys that these have.
    keys: f64,
}

impl Join<'_> {
    /// The joined rows with all columns of the join's type; `schema` is theirs.
    pub(super) fn rows(&self, schema: &Schema) -> Joined {
        let (left, right) = (self.left.rows, self.right.rows);
        let keys = self.matching();
        let filter = self.filter_selectivity();
        let found = (left * keys.left.share) * (right * keys.right.share) / keys.both;
        let pairs = found * filter;
        let matched =
            |own: &Found, other: &Found| own.share * (other.keys / keys.both).min(1.0) * filter;
        let left_matched = matched(&keys.left, &keys.right);
        let right_matched = matched(&keys.right, &keys.left);
        // Something always has no match, whatever the statistics say.
        let unmatched = |matched: f64| (1.0 - matched).max(defaults::EQUALITY);
        let rows = match self.join_type {
            JoinType::Inner => pairs,
            JoinType::Left => pairs.max(left),
            JoinType::Right => pairs.max(right),
            JoinType::Full => pairs.max(left).max(right),
            JoinType::LeftSemi => left * left_matched,
            JoinType::RightSemi => right * right_matched,
            JoinType::LeftAnti => left * unmatched(left_matched),
            JoinType::RightAnti => right * unmatched(right_matched),
            JoinType::LeftMark => left,
            JoinType::RightMark => right,
        };
        let rows = rows.max(left.min(right).min(1.0));
        let mut joined = Relation {
            rows,
            columns: self.columns(unmatched(left_matched), unmatched(right_matched)),
        };
        let given = joined.columns.len();
        let rest = schema.fields().iter().skip(given);
        let rest = rest.map(|field| Column::unknown(field.data_type(), rows));
        joined.columns.extend(rest);
        Joined {
            relation: joined,
            pairs: found,
        }
    }

    /// Whether the keys of the left side are whole numbers so close to each other that an array
    /// serves as the table, in each of `tables` parts.
    pub(super) fn dense(&self, tables: f64) -> bool {
        let [(key, _)] = self.on else {
            return false;
        };
        let range = self.left.column(key.as_ref()).and_then(|key| key.range);
        let values = range.filter(|r| r.step == 1.0).map(|r| r.max - r.min + 1.0);
        values.is_some_and(|values| self.left.rows / tables >= values * weights::DENSE)
    }

    /// The columns of both sides. They have no more values than their side has rows; where the
    /// other side's rows are kept without a match, they are null.
    fn columns(&self, left_unmatched: f64, right_unmatched: f64) -> Vec<Column> {
        let of = |side: &Relation, absent: f64| {
            let mut side = side.clone();
            side.bound(side.rows);
            for column in &mut side.columns {
                column.nulls += (1.0 - column.nulls) * absent;
            }
            side.columns
        };
        let (mut left_absent, mut right_absent) = (0.0, 0.0);
        if matches!(self.join_type, JoinType::Left | JoinType::Full) {
            right_absent = left_unmatched;
        }
        if matches!(self.join_type, JoinType::Right | JoinType::Full) {
            left_absent = right_unmatched;
        }
        let left = || of(self.left, left_absent);
        let right = || of(self.right, right_absent);
        match self.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left(),
            JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right(),
            _ => left().into_iter().chain(right()).collect(),
        }
    }

    fn matching(&self) -> Match {
        let (mut left, mut right) = (Side::default(), Side::default());
        for (left_key, right_key) in self.on {
            let left_column = key(self.left, left_key.as_ref());
            let right_column = key(self.right, right_key.as_ref());
            left.add(&left_column, &right_column);
            right.add(&right_column, &left_column);
        }
        let (left_keys, right_keys) = (left.common_keys(), right.common_keys());
        let alone = self.on.len() == 1;
        let both = match (left.is_referred_to(alone), right.is_referred_to(alone)) {
            (true, false) => left_keys,
            (false, true) => right_keys,
            (true, true) => left_keys.max(right_keys),
            (false, false) => left_keys.min(right_keys),
        };
        Match {
            left: left.found(self.left.rows),
            right: right.found(self.right.rows),
            both: both.min(left.read_keys()).min(right.read_keys()).max(1.0),
        }
    }

    /// The share of pairs that the rest of the condition keeps.
    fn filter_selectivity(&self) -> f64 {
        let Some(filter) = self.filter else {
            return 1.0;
        };
        self.pairs(filter)
            .selectivity(unwatched(filter.expression().as_ref()))
    }

    /// The operators that the rest of the condition takes for each pair.
    pub(super) fn filter_operators(&self) -> f64 {
        let Some(filter) = self.filter else {
            return 0.0;
        };
        self.pairs(filter)
            .operators(unwatched(filter.expression().as_ref()))
    }

    /// The pairs of rows that `filter` looks at.
    fn pairs(&self, filter: &JoinFilter) -> Relation {
        let columns = filter.column_indices().iter().map(|column| {
            let side = match column.side {
                JoinSide::Left => self.left,
                JoinSide::Right | JoinSide::None => self.right,
            };
            side.columns.get(column.index).cloned()
        });
        let unknown = Column::unknown(&DataType::Utf8, 1.0);
        Relation {
            rows: self.left.rows.max(self.right.rows),
            columns: columns
                .map(|c| c.unwrap_or_else(|| unknown.clone()))
                .collect(),
        }
    }
}

/// The keys of one side.
struct Side {
    /// Share of the rows that have no null in a key.
    present: f64,
    /// Different keys, and those of them that lie in the ranges of the other side.
    keys: f64,
    common: f64,
    source_rows: f64,
    /// The part of the keys that rows were read for.
    asked_for: f64,
    /// Whether rows are stored in the order of a key, and whether each has another.
    ordered: bool,
    unique: bool,
}

impl Default for Side {
    fn default() -> Self {
        Self {
            present: 1.0,
            keys: 1.0,
            common: 1.0,
            source_rows: 0.0,
            asked_for: 1.0,
            ordered: false,
            unique: false,
        }
    }
}

impl Side {
    fn add(&mut self, own: &Column, other: &Column) {
        let common = match (own.range, other.range) {
            (Some(own), Some(other)) => own.covered_by(&other),
            _ => 1.0,
        };
        // A key of which nothing is known is taken to be unique.
        let distinct = own.distinct.unwrap_or(own.source_rows);
        self.present *= 1.0 - own.nulls;
        self.keys *= distinct;
        self.common *= distinct * common;
        self.source_rows = self.source_rows.max(own.source_rows);
        self.asked_for *= own.asked_for;
        self.ordered |= own.ordered;
        self.unique |= own.is_referred_to();
    }

    /// Whether this is the side that the other refers to: tables are stored in the order of their
    /// own keys. A key `alone` must be different in all rows; several may be so only together.
    fn is_referred_to(&self, alone: bool) -> bool {
        if alone { self.unique } else { self.ordered }
    }

    /// Different keys in the common part.
    fn common_keys(&self) -> f64 {
        self.of_source(self.common)
    }

    /// Different keys for which rows were read.
    fn read_keys(&self) -> f64 {
        if self.asked_for < 1.0 {
            self.of_source(self.keys) * self.asked_for
        } else {
            f64::INFINITY
        }
    }

    /// There are not more different keys than rows where they come from.
    fn of_source(&self, keys: f64) -> f64 {
        if self.source_rows > 0.0 {
            keys.min(self.source_rows)
        } else {
            keys
        }
    }

    /// What is left of the keys in `rows` rows lies in the common part as far as there is room.
    fn found(&self, rows: f64) -> Found {
        let left = self.of_source(self.keys).min(rows).max(1.0);
        let keys = left.min(self.common_keys());
        Found {
            share: keys / left * self.present,
            keys,
        }
    }
}

fn key(relation: &Relation, expression: &dyn PhysicalExpr) -> Column {
    relation.describe(expression, &DataType::Utf8)
}
