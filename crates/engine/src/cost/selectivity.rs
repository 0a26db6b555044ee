//! Which share of rows a condition keeps.

use std::sync::Arc;

use datafusion::logical_expr::Operator;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::expressions::{
    BinaryExpr, DynamicFilterPhysicalExpr, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr,
    Literal, NotExpr,
};
use datafusion::scalar::ScalarValue;

use super::defaults;
use super::relation::{Range, Relation, number};

impl Relation {
    /// The rows that `condition` keeps. What it says of a column holds for the conditions after
    /// it, so that both ends of an interval count once.
    pub(super) fn keep(&mut self, condition: &Arc<dyn PhysicalExpr>) {
        if let Some(both) = binary(condition, Operator::And) {
            self.keep(both.left());
            self.keep(both.right());
            return;
        }
        let kept = self.rows * self.selectivity(condition.as_ref());
        // Where statistics say that nothing is kept, one row is, as in PostgreSQL: they age.
        self.rows = kept.max(self.rows.min(1.0));
        self.narrow(condition.as_ref());
    }

    /// The share of rows in which `condition` is true: 0 to 1.
    pub(super) fn selectivity(&self, condition: &dyn PhysicalExpr) -> f64 {
        self.share(condition).clamp(0.0, 1.0)
    }

    fn share(&self, condition: &dyn PhysicalExpr) -> f64 {
        if let Some(binary) = condition.downcast_ref::<BinaryExpr>() {
            self.share_of_binary(binary)
        } else if let Some(literal) = condition.downcast_ref::<Literal>() {
            f64::from(u8::from(
                *literal.value() == ScalarValue::Boolean(Some(true)),
            ))
        } else if let Some(not) = condition.downcast_ref::<NotExpr>() {
            1.0 - self.selectivity(not.arg().as_ref())
        } else if let Some(null) = condition.downcast_ref::<IsNullExpr>() {
            self.nulls(null.arg().as_ref())
        } else if let Some(null) = condition.downcast_ref::<IsNotNullExpr>() {
            1.0 - self.nulls(null.arg().as_ref())
        } else if let Some(list) = condition.downcast_ref::<InListExpr>() {
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let items = list.len() as f64;
            let found = (items * self.equality(list.expr().as_ref())).min(1.0);
            if list.negated() { 1.0 - found } else { found }
        } else if let Some(like) = condition.downcast_ref::<LikeExpr>() {
            if like.negated() {
                1.0 - defaults::MATCH
            } else {
                defaults::MATCH
            }
        } else if condition.is::<DynamicFilterPhysicalExpr>() {
            // What it will keep is known when the join or top-k behind it has run, and is part of
            // that operator's estimate.
            1.0
        } else if self.column(condition).is_some() {
            defaults::BOOLEAN
        } else {
            defaults::INEQUALITY
        }
    }

    fn share_of_binary(&self, binary: &BinaryExpr) -> f64 {
        let (left, right) = (binary.left().as_ref(), binary.right().as_ref());
        match binary.op() {
            Operator::And => self.selectivity(left) * self.selectivity(right),
            Operator::Or => {
                let (left, right) = (self.selectivity(left), self.selectivity(right));
                left + right - left * right
            }
            Operator::Eq | Operator::IsNotDistinctFrom => self.equal(left, right),
            Operator::NotEq | Operator::IsDistinctFrom => 1.0 - self.equal(left, right),
            Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => {
                let interval = self.interval(binary);
                let share = interval.map(|(_, whole, kept)| whole.covered_by(&kept));
                let share = share.or_else(|| self.share_below(binary));
                share.unwrap_or(defaults::INEQUALITY)
            }
            Operator::LikeMatch | Operator::ILikeMatch | Operator::RegexMatch => defaults::MATCH,
            Operator::NotLikeMatch | Operator::NotILikeMatch | Operator::RegexNotMatch => {
                1.0 - defaults::MATCH
            }
            _ => defaults::INEQUALITY,
        }
    }

    /// The share of rows in which one column is below the other, as their inequality asks.
    fn share_below(&self, binary: &BinaryExpr) -> Option<f64> {
        let range = |e: &Arc<dyn PhysicalExpr>| self.column(e.as_ref())?.range;
        let (left, right) = (range(binary.left())?, range(binary.right())?);
        match binary.op() {
            Operator::Lt | Operator::LtEq => Some(left.below(&right)),
            _ => Some(right.below(&left)),
        }
    }

    fn equal(&self, left: &dyn PhysicalExpr, right: &dyn PhysicalExpr) -> f64 {
        if self.misses(left, right) || self.misses(right, left) {
            return 0.0;
        }
        self.equality(left).min(self.equality(right))
    }

    /// Whether a constant lies outside all values of a column.
    fn misses(&self, column: &dyn PhysicalExpr, constant: &dyn PhysicalExpr) -> bool {
        let range = self.column(column).and_then(|c| c.range);
        let value = constant.downcast_ref::<Literal>();
        let value = value.and_then(|literal| number(literal.value()));
        matches!((range, value), (Some(range), Some((value, _))) if value < range.min || value > range.max)
    }

    /// The share of rows that one value of an expression has.
    fn equality(&self, expression: &dyn PhysicalExpr) -> f64 {
        if expression.is::<Literal>() {
            return 1.0;
        }
        let column = self.column(expression);
        let distinct = column.and_then(|c| c.distinct).map(|d| d.min(self.rows));
        let share = distinct.map_or(defaults::EQUALITY, |d| 1.0 / d.max(1.0));
        share * (1.0 - column.map_or(0.0, |c| c.nulls))
    }

    fn nulls(&self, expression: &dyn PhysicalExpr) -> f64 {
        self.column(expression)
            .map_or(defaults::NULLS, |column| column.nulls)
    }

    /// The column that an inequality bounds, its values before, and those it keeps.
    fn interval(&self, binary: &BinaryExpr) -> Option<(usize, Range, Range)> {
        let literal = |e: &Arc<dyn PhysicalExpr>| {
            let literal = e.downcast_ref::<Literal>()?;
            number(literal.value()).map(|(number, _)| number)
        };
        let (column, bound, op) = match (literal(binary.left()), literal(binary.right())) {
            (None, Some(bound)) => (binary.left(), bound, *binary.op()),
            (Some(bound), None) => (binary.right(), bound, binary.op().swap()?),
            _ => return None,
        };
        let index = self.column_index(column.as_ref())?;
        let whole = self.columns[index].range?;
        let kept = match op {
            Operator::Lt => Range {
                max: bound - whole.step,
                ..whole
            },
            Operator::LtEq => Range {
                max: bound,
                ..whole
            },
            Operator::Gt => Range {
                min: bound + whole.step,
                ..whole
            },
            Operator::GtEq => Range {
                min: bound,
                ..whole
            },
            _ => return None,
        };
        Some((index, whole, kept))
    }

    /// Writes down what a condition that holds says of its column.
    fn narrow(&mut self, condition: &dyn PhysicalExpr) {
        if let Some(binary) = condition.downcast_ref::<BinaryExpr>() {
            if *binary.op() == Operator::Eq {
                self.narrow_to_constant(binary.left().as_ref(), binary.right().as_ref());
                self.narrow_to_constant(binary.right().as_ref(), binary.left().as_ref());
            } else if let Some((index, whole, kept)) = self.interval(binary) {
                let share = whole.covered_by(&kept);
                let column = &mut self.columns[index];
                column.distinct = column.distinct.map(|d| (d * share).max(1.0));
                let (min, max) = (whole.min.max(kept.min), whole.max.min(kept.max));
                column.range = (min <= max).then_some(Range { min, max, ..whole });
                column.nulls = 0.0;
                self.narrow_order(index, share);
            }
        } else if let Some(list) = condition.downcast_ref::<InListExpr>()
            && !list.negated()
            && let Some(index) = self.column_index(list.expr().as_ref())
        {
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let items = list.len() as f64;
            let column = &mut self.columns[index];
            let before = column.distinct.unwrap_or(column.source_rows);
            column.distinct = Some(before.min(items).max(1.0));
            self.narrow_order(index, items / before.max(1.0));
        } else if let Some(null) = condition.downcast_ref::<IsNotNullExpr>()
            && let Some(index) = self.column_index(null.arg().as_ref())
        {
            self.columns[index].nulls = 0.0;
        }
    }

    fn narrow_to_constant(&mut self, column: &dyn PhysicalExpr, constant: &dyn PhysicalExpr) {
        let Some(index) = self.column_index(column) else {
            return;
        };
        let Some(literal) = constant.downcast_ref::<Literal>() else {
            return;
        };
        let before = self.columns[index].distinct;
        let before = before.unwrap_or(self.columns[index].source_rows);
        self.narrow_order(index, 1.0 / before.max(1.0));
        let column = &mut self.columns[index];
        column.distinct = Some(1.0);
        column.nulls = 0.0;
        if let (Some(range), Some((value, _))) = (column.range, number(literal.value())) {
            column.range = Some(Range {
                min: value,
                max: value,
                ..range
            });
        }
    }
}

fn binary(expression: &Arc<dyn PhysicalExpr>, op: Operator) -> Option<&BinaryExpr> {
    let binary = expression.downcast_ref::<BinaryExpr>()?;
    (*binary.op() == op).then_some(binary)
}
