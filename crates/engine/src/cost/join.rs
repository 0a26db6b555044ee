//! How many rows a join gives.
//!
//! A join on equal keys is taken to be what schemas are made of: rows of one side refer to rows
//! of the other. Then every key of the referring side exists on the other, where it is unique,
//! and the number of different keys is that of the side with fewer, counted before filters took
//! rows away. The result follows: of all pairs of rows, one in so many matches. Where the keys'
//! ranges are known, rows outside the common part match nothing.

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::{JoinSide, JoinType};
use datafusion::physical_expr::PhysicalExprRef;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::joins::utils::JoinFilter;

use super::defaults;
use super::relation::{Column, Relation};

/// What is joined, and how.
pub(super) struct Join<'a> {
    pub(super) left: &'a Relation,
    pub(super) right: &'a Relation,
    pub(super) join_type: JoinType,
    pub(super) on: &'a [(PhysicalExprRef, PhysicalExprRef)],
    pub(super) filter: Option<&'a JoinFilter>,
}

/// What the keys of both sides say of each other.
struct Match {
    /// Shares of either side's rows whose keys can exist on the other.
    left_share: f64,
    right_share: f64,
    /// Different keys that can exist on both sides.
    keys: f64,
}

impl Join<'_> {
    /// The joined rows with all columns of the join's type; `schema` is theirs.
    pub(super) fn rows(&self, schema: &Schema) -> Relation {
        let (left, right) = (self.left.rows, self.right.rows);
        let keys = self.matching();
        let filter = self.filter_selectivity();
        let pairs = (left * keys.left_share) * (right * keys.right_share) / keys.keys * filter;
        let left_matched =
            keys.left_share * (right * keys.right_share / keys.keys).min(1.0) * filter;
        let right_matched =
            keys.right_share * (left * keys.left_share / keys.keys).min(1.0) * filter;
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
            columns: self.columns(),
        };
        let given = joined.columns.len();
        let rest = schema.fields().iter().skip(given);
        let rest = rest.map(|field| Column::unknown(field.data_type(), rows));
        joined.columns.extend(rest);
        joined
    }

    fn columns(&self) -> Vec<Column> {
        let (left, right) = (&self.left.columns, &self.right.columns);
        match self.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left.clone(),
            JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right.clone(),
            _ => left.iter().chain(right).cloned().collect(),
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
        Match {
            left_share: left.share,
            right_share: right.share,
            keys: left.keys().min(right.keys()).max(1.0),
        }
    }

    /// The share of pairs that the rest of the condition keeps.
    fn filter_selectivity(&self) -> f64 {
        let Some(filter) = self.filter else {
            return 1.0;
        };
        let columns = filter.column_indices().iter().map(|column| {
            let side = match column.side {
                JoinSide::Left => self.left,
                JoinSide::Right | JoinSide::None => self.right,
            };
            side.columns.get(column.index).cloned()
        });
        let unknown = Column::unknown(&DataType::Utf8, 1.0);
        let pairs = Relation {
            rows: self.left.rows.max(self.right.rows),
            columns: columns
                .map(|c| c.unwrap_or_else(|| unknown.clone()))
                .collect(),
        };
        pairs.selectivity(filter.expression().as_ref())
    }
}

/// The keys of one side.
struct Side {
    share: f64,
    combinations: f64,
    source_rows: f64,
}

impl Default for Side {
    fn default() -> Self {
        Self {
            share: 1.0,
            combinations: 1.0,
            source_rows: 0.0,
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
        self.share *= common * (1.0 - own.nulls);
        self.combinations *= (distinct * common).max(1.0);
        self.source_rows = self.source_rows.max(own.source_rows);
    }

    /// Different keys: not more than rows where they come from.
    fn keys(&self) -> f64 {
        if self.source_rows > 0.0 {
            self.combinations.min(self.source_rows)
        } else {
            self.combinations
        }
    }
}

fn key(relation: &Relation, expression: &dyn PhysicalExpr) -> Column {
    relation.describe(expression, &DataType::Utf8)
}
