//! Arithmetic of dates, timestamps and intervals.
//!
//! In PostgreSQL a date and an interval make a timestamp, and the difference of two timestamps is
//! an interval of days and a time.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Date32Array, IntervalMonthDayNanoArray};
use datafusion::arrow::datatypes::{
    DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, exec_err};
use datafusion::logical_expr::expr::{Between, BinaryExpr, Cast};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::casts::strict;
use crate::EngineError;

const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);
const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;
const NANOSECONDS_PER_DAY: i128 = 86_400_000_000_000;
const DAYS_PER_MONTH: i128 = 30;

/// `left + right`, where one is a date and the other an interval.
pub(super) fn sum(left: &Expr, lt: &DataType, right: &Expr, rt: &DataType) -> Option<Expr> {
    match (lt, rt) {
        (DataType::Date32, DataType::Interval(_)) => {
            Some(binary(as_timestamp(left), Operator::Plus, right.clone()))
        }
        (DataType::Interval(_), DataType::Date32) => {
            Some(binary(left.clone(), Operator::Plus, as_timestamp(right)))
        }
        _ => None,
    }
}

/// `left - right`, where the left one is a date or a timestamp.
pub(super) fn difference(left: &Expr, lt: &DataType, right: &Expr, rt: &DataType) -> Option<Expr> {
    use DataType::{Date32, Interval, Timestamp};
    match (lt, rt) {
        (Date32, Interval(_)) => Some(binary(as_timestamp(left), Operator::Minus, right.clone())),
        (Timestamp(..), Timestamp(..) | Date32) | (Date32, Timestamp(..)) => {
            let function = ScalarUDF::new_from_impl(TimestampDifference {
                signature: Signature::any(2, Volatility::Immutable),
            });
            Some(function.call(vec![left.clone(), right.clone()]))
        }
        _ => None,
    }
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

fn as_timestamp(date: &Expr) -> Expr {
    Expr::Cast(Cast::new(Box::new(date.clone()), TIMESTAMP))
}

/// A comparison of a column of dates with a constant timestamp (`d < DATE '2024-01-01' +
/// INTERVAL '1 year'`), with the constant made a date, so that files can be left out by their
/// statistics.
pub(super) fn comparison(
    left: &Expr,
    op: Operator,
    right: &Expr,
    schema: &DFSchema,
) -> Option<Expr> {
    if let Some(date) = date_under_cast(left, schema)
        && is_constant(right)
    {
        let up = rounds_up(op)?;
        return Some(binary(date.clone(), op, bound(right, up)));
    }
    let date = date_under_cast(right, schema).filter(|_| is_constant(left))?;
    let op = op.swap()?;
    let up = rounds_up(op)?;
    Some(binary(date.clone(), op, bound(left, up)))
}

/// [`comparison`] of `BETWEEN`.
pub(super) fn between(between: Between, schema: &DFSchema) -> Transformed<Expr> {
    match date_under_cast(&between.expr, schema) {
        Some(date) if is_constant(&between.low) && is_constant(&between.high) => {
            Transformed::yes(Expr::Between(Between {
                expr: Box::new(date.clone()),
                negated: between.negated,
                low: Box::new(bound(&between.low, true)),
                high: Box::new(bound(&between.high, false)),
            }))
        }
        _ => Transformed::no(Expr::Between(between)),
    }
}

/// Whether the date to compare with is the first at or after a timestamp, or the last at or
/// before it.
fn rounds_up(op: Operator) -> Option<bool> {
    match op {
        Operator::Lt | Operator::GtEq => Some(true),
        Operator::LtEq | Operator::Gt => Some(false),
        _ => None,
    }
}

fn date_under_cast<'e>(expr: &'e Expr, schema: &DFSchema) -> Option<&'e Expr> {
    match expr {
        Expr::Cast(cast) if matches!(cast.field.data_type(), DataType::Timestamp(_, None)) => {
            let is_date = cast.expr.get_type(schema).ok()? == DataType::Date32;
            is_date
                .then_some(cast.expr.as_ref())
                .filter(|e| !is_constant(e))
        }
        _ => None,
    }
}

/// Whether an expression has the same value for every row.
fn is_constant(expr: &Expr) -> bool {
    let varies = expr.exists(|e| {
        Ok(matches!(
            e,
            Expr::Column(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::Placeholder(_)
                | Expr::ScalarSubquery(_)
                | Expr::AggregateFunction(_)
                | Expr::WindowFunction(_)
        ))
    });
    !varies.unwrap_or(true) && !expr.is_volatile()
}

fn bound(timestamp: &Expr, up: bool) -> Expr {
    let function = ScalarUDF::new_from_impl(DateBound {
        up,
        signature: Signature::any(1, Volatility::Immutable),
    });
    function.call(vec![timestamp.clone()])
}

/// An interval of so many nanoseconds, in days and a time.
pub(super) fn of_nanoseconds(nanoseconds: i128) -> IntervalMonthDayNano {
    let days = i32::try_from(nanoseconds / NANOSECONDS_PER_DAY).unwrap_or(i32::MAX);
    let rest = i64::try_from(nanoseconds % NANOSECONDS_PER_DAY).unwrap_or(0);
    IntervalMonthDayNano::new(0, days, rest)
}

/// An interval's length, when a month has thirty days.
pub(super) fn in_nanoseconds(interval: IntervalMonthDayNano) -> i128 {
    let days = i128::from(interval.months) * DAYS_PER_MONTH + i128::from(interval.days);
    days * NANOSECONDS_PER_DAY + i128::from(interval.nanoseconds)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TimestampDifference {
    signature: Signature,
}

impl ScalarUDFImpl for TimestampDifference {
    fn name(&self) -> &'static str {
        "timestamp_mi"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(INTERVAL)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [left, right] = arrays.as_slice() else {
            return exec_err!("timestamp_mi takes two timestamps");
        };
        let (left, right) = (microseconds(left)?, microseconds(right)?);
        let difference = |a: Option<i64>, b: Option<i64>| -> Result<Option<_>> {
            let (Some(a), Some(b)) = (a, b) else {
                return Ok(None);
            };
            let out_of_range = || EngineError::new("22008", "interval out of range");
            let micros = a.checked_sub(b).ok_or_else(out_of_range)?;
            Ok(Some(of_nanoseconds(i128::from(micros) * 1000)))
        };
        let intervals: IntervalMonthDayNanoArray = left
            .as_primitive::<TimestampMicrosecondType>()
            .iter()
            .zip(right.as_primitive::<TimestampMicrosecondType>())
            .map(|(a, b)| difference(a, b))
            .collect::<Result<_>>()?;
        scalar_or_array(&args.args, Arc::new(intervals))
    }
}

/// A result like its arguments: a scalar where all of them are.
pub(super) fn scalar_or_array(args: &[ColumnarValue], result: ArrayRef) -> Result<ColumnarValue> {
    if args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_))) {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
            &result, 0,
        )?));
    }
    Ok(ColumnarValue::Array(result))
}

/// Microseconds from 1970-01-01, whatever the unit was.
pub(super) fn microseconds(array: &ArrayRef) -> Result<ArrayRef> {
    let zone = match array.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    let micros = strict(array, &DataType::Timestamp(TimeUnit::Microsecond, zone))?;
    // The moment stays; only the type forgets the zone.
    let micros = micros.as_primitive::<TimestampMicrosecondType>().clone();
    Ok(Arc::new(micros.with_timezone_opt(None::<Arc<str>>)))
}

/// The first date at or after a timestamp, or the last at or before it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct DateBound {
    up: bool,
    signature: Signature,
}

impl ScalarUDFImpl for DateBound {
    fn name(&self) -> &'static str {
        if self.up { "date_ceil" } else { "date_floor" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Date32)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let micros = microseconds(&arrays[0])?;
        let days: Date32Array = micros
            .as_primitive::<TimestampMicrosecondType>()
            .iter()
            .map(|micros| micros.map(|m| day(m, self.up)))
            .collect();
        scalar_or_array(&args.args, Arc::new(days))
    }
}

/// All microseconds of an i64 lie on days of an i32.
fn day(micros: i64, up: bool) -> i32 {
    let whole = micros.div_euclid(MICROSECONDS_PER_DAY);
    let rest = micros.rem_euclid(MICROSECONDS_PER_DAY) != 0;
    i32::try_from(whole + i64::from(up && rest)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_gather_days() {
        const HOUR: i128 = 3_600_000_000_000;
        let parts = |hours: i128| {
            let interval = of_nanoseconds(hours * HOUR);
            (interval.days, i128::from(interval.nanoseconds) / HOUR)
        };
        assert_eq!(parts(36), (1, 12));
        assert_eq!(parts(-36), (-1, -12));
        assert_eq!(parts(-12), (0, -12));
        assert_eq!(parts(0), (0, 0));
    }

    #[test]
    fn bounds_of_moments_before_1970_are_right() {
        assert_eq!((day(-1, false), day(-1, true)), (-1, 0));
        assert_eq!((day(0, false), day(0, true)), (0, 0));
        assert_eq!((day(1, false), day(1, true)), (0, 1));
    }
}
