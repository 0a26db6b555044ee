//! `extract(field FROM …)`, which is numeric in PostgreSQL: with the fractions of seconds, and so
//! that `extract(year …) / 2` is no integer division.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, PrimitiveArray};
use datafusion::arrow::compute::{DatePart, cast, date_part};
use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, Int32Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit,
    TimeUnit,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

use super::udf::is_text;
use crate::EngineError;

/// The name behind `EXTRACT`.
pub(crate) const EXTRACT: &str = "extract";

/// Digits of whole numbers; every field of every date fits.
const PRECISION: u8 = 20;

const DAY_MICROS: i64 = 86_400 * 1_000_000;

/// Days from 4714 BC, where Julian days begin, to 1970.
const JULIAN_1970: i64 = 2_440_588;

pub(super) fn extract() -> ScalarUDF {
    ScalarUDF::new_from_impl(Extract {
        signature: Signature::user_defined(Volatility::Stable),
    })
}

/// How a field is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// A part that Arrow knows.
    Part(DatePart),
    /// From microseconds within the minute, with so many of them as decimals.
    Seconds(i8),
    Epoch,
    Julian,
    /// Years in groups of so many; centuries and millennia begin with year 1.
    Years(i64),
}

impl Unit {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "epoch" => Self::Epoch,
            "microsecond" | "microseconds" | "usec" | "usecs" | "us" => Self::Seconds(0),
            "millisecond" | "milliseconds" | "msec" | "msecs" | "ms" => Self::Seconds(3),
            "second" | "seconds" | "sec" | "secs" | "s" => Self::Seconds(6),
            "minute" | "minutes" | "min" | "mins" | "m" => Self::Part(DatePart::Minute),
            "hour" | "hours" | "hr" | "hrs" | "h" => Self::Part(DatePart::Hour),
            "day" | "days" | "d" => Self::Part(DatePart::Day),
            "dow" => Self::Part(DatePart::DayOfWeekSunday0),
            "isodow" => Self::Part(DatePart::DayOfWeekMonday0),
            "doy" => Self::Part(DatePart::DayOfYear),
            "week" | "weeks" | "w" => Self::Part(DatePart::WeekISO),
            "month" | "months" | "mon" | "mons" => Self::Part(DatePart::Month),
            "quarter" | "qtr" => Self::Part(DatePart::Quarter),
            "year" | "years" | "yr" | "yrs" | "y" => Self::Part(DatePart::Year),
            "isoyear" => Self::Part(DatePart::YearISO),
            "decade" | "decades" | "dec" | "decs" => Self::Years(10),
            "century" | "centuries" | "cent" | "c" => Self::Years(100),
            "millennium" | "millennia" | "mil" | "mils" => Self::Years(1000),
            "julian" => Self::Julian,
            _ => return None,
        })
    }

    /// What `date_part` of DataFusion calls it, where that gives the same and the optimizer knows
    /// what it means.
    fn of_datafusion(self) -> Option<&'static str> {
        Some(match self {
            Self::Part(DatePart::Year) => "year",
            Self::Part(DatePart::Month) => "month",
            Self::Part(DatePart::Day) => "day",
            _ => return None,
        })
    }

    /// Decimals of the field of a value of this type.
    fn scale(self, source: &DataType) -> i8 {
        match self {
            Self::Seconds(scale) => scale,
            Self::Epoch if !is_date(source) => 6,
            Self::Julian if !is_date(source) => 20,
            _ => 0,
        }
    }
}

fn is_date(t: &DataType) -> bool {
    matches!(t, DataType::Date32)
}

fn returns(unit: Unit, source: &DataType) -> DataType {
    let scale = unit.scale(source);
    DataType::Decimal128((PRECISION + scale.unsigned_abs()).min(38), scale)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Extract {
    signature: Signature,
}

/// The field, which is written in the statement.
fn unit_of(field: Option<&ScalarValue>, source: &DataType) -> Result<Unit> {
    let Some(Some(name)) = field.and_then(ScalarValue::try_as_str) else {
        return Err(EngineError::new("22023", "the field of extract() must be a constant").into());
    };
    let name = name.to_lowercase();
    let Some(unit) = Unit::named(&name) else {
        let message = format!(
            "unit \"{name}\" not recognized for type {}",
            crate::error::postgres_name_of(source)
        );
        return Err(EngineError::new("22023", message).into());
    };
    let of_time = matches!(
        unit,
        Unit::Seconds(_) | Unit::Part(DatePart::Minute | DatePart::Hour)
    );
    let fits = match source {
        DataType::Date32 => !of_time,
        DataType::Time64(_) => of_time || unit == Unit::Epoch,
        DataType::Interval(_) => !matches!(
            unit,
            Unit::Julian
                | Unit::Part(
                    DatePart::DayOfWeekSunday0
                        | DatePart::DayOfWeekMonday0
                        | DatePart::DayOfYear
                        | DatePart::WeekISO
                        | DatePart::YearISO
                )
        ),
        _ => true,
    };
    if fits {
        return Ok(unit);
    }
    let message = format!(
        "unit \"{name}\" not supported for type {}",
        crate::error::postgres_name_of(source)
    );
    Err(EngineError::new("0A000", message).into())
}

impl ScalarUDFImpl for Extract {
    fn name(&self) -> &'static str {
        EXTRACT
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let coerced = match types {
            [field, source] if is_text(field) => coerced_source(source),
            _ => None,
        };
        match coerced {
            Some(source) => Ok(vec![DataType::Utf8, source]),
            None => Err(EngineError::no_such_function("extract", types).into()),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        datafusion::common::internal_err!("the type of extract() depends on its field")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let source = args.arg_fields[1].data_type();
        let unit = unit_of(args.scalar_arguments[0], source)?;
        Ok(Arc::new(Field::new(EXTRACT, returns(unit, source), true)))
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let [Expr::Literal(field, _), source] = args.as_slice() else {
            return Ok(ExprSimplifyResult::Original(args));
        };
        let source_type = info.get_data_type(source)?;
        let unit = unit_of(Some(field), &source_type)?;
        // Of dates and timestamps the optimizer can then compare what it is computed from.
        let known = match source_type {
            DataType::Date32 | DataType::Timestamp(_, None) => unit.of_datafusion(),
            _ => None,
        };
        let Some(name) = known else {
            return Ok(ExprSimplifyResult::Original(args));
        };
        let part = datafusion::functions::datetime::date_part().call(vec![
            Expr::Literal(ScalarValue::from(name), None),
            source.clone(),
        ]);
        Ok(ExprSimplifyResult::Simplified(Expr::Cast(Cast::new(
            Box::new(part),
            returns(unit, &source_type),
        ))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let field = match &args.args[0] {
            ColumnarValue::Scalar(field) => Some(field),
            ColumnarValue::Array(_) => None,
        };
        let source = args.args[1].to_array(args.number_rows)?;
        let unit = unit_of(field, source.data_type())?;
        let DataType::Decimal128(precision, scale) = returns(unit, source.data_type()) else {
            return datafusion::common::internal_err!("extract() gives decimals");
        };
        let values = compute(unit, &source)?.with_precision_and_scale(precision, scale)?;
        Ok(ColumnarValue::Array(Arc::new(values)))
    }
}

/// Microseconds are PostgreSQL's unit too; coarser ones become them.
fn coerced_source(source: &DataType) -> Option<DataType> {
    Some(match source {
        DataType::Date32 | DataType::Date64 => DataType::Date32,
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Interval(_) | DataType::Duration(_) => {
            DataType::Interval(IntervalUnit::MonthDayNano)
        }
        DataType::Null => DataType::Timestamp(TimeUnit::Microsecond, None),
        _ => return None,
    })
}

fn integers(array: &ArrayRef) -> Result<PrimitiveArray<Int64Type>> {
    Ok(cast(array, &DataType::Int64)?
        .as_primitive::<Int64Type>()
        .clone())
}

fn decimals(numbers: &PrimitiveArray<Int64Type>, f: impl Fn(i64) -> i128) -> Decimal128Array {
    numbers.unary(f)
}

fn compute(unit: Unit, source: &ArrayRef) -> Result<Decimal128Array> {
    if let DataType::Interval(_) = source.data_type() {
        let intervals = source.as_primitive::<IntervalMonthDayNanoType>();
        return Ok(intervals.unary(|i| of_interval(unit, i.months, i.days, i.nanoseconds / 1000)));
    }
    Ok(match unit {
        Unit::Part(part) => {
            let parts = date_part(source.as_ref(), part)?;
            let first = i128::from(part == DatePart::DayOfWeekMonday0);
            parts
                .as_primitive::<Int32Type>()
                .unary(|p| i128::from(p) + first)
        }
        Unit::Seconds(_) => {
            let seconds = date_part(source.as_ref(), DatePart::Second)?;
            let micros = date_part(source.as_ref(), DatePart::Microsecond)?;
            let (seconds, micros) = (
                seconds.as_primitive::<Int32Type>(),
                micros.as_primitive::<Int32Type>(),
            );
            datafusion::arrow::compute::binary(seconds, micros, |second, micro| {
                i128::from(second) * 1_000_000 + i128::from(micro % 1_000_000)
            })?
        }
        Unit::Epoch => {
            let seconds_of_day = if is_date(source.data_type()) {
                86_400
            } else {
                1
            };
            decimals(&integers(source)?, |n| i128::from(n) * seconds_of_day)
        }
        Unit::Julian if is_date(source.data_type()) => {
            decimals(&integers(source)?, |day| i128::from(day + JULIAN_1970))
        }
        Unit::Julian => decimals(&integers(source)?, |micros| {
            let whole = i128::from(JULIAN_1970 + micros.div_euclid(DAY_MICROS));
            let rest = i128::from(micros.rem_euclid(DAY_MICROS));
            let scale = 10_i128.pow(20);
            whole * scale + rest * (scale / 1_000_000) / 86_400
        }),
        Unit::Years(group) => {
            let years = date_part(source.as_ref(), DatePart::Year)?;
            let years = years.as_primitive::<Int32Type>();
            years.unary(|year| i128::from(group_of(i64::from(year), group)))
        }
    })
}

/// The decade, century or millennium of an astronomical year.
fn group_of(year: i64, group: i64) -> i64 {
    if group == 10 {
        year.div_euclid(group)
    } else if year > 0 {
        (year - 1) / group + 1
    } else {
        -((-year) / group) - 1
    }
}

/// Years of an interval have 365.25 days, months 30, as PostgreSQL counts them.
fn of_interval(unit: Unit, months: i32, days: i32, micros: i64) -> i128 {
    let years = i64::from(months / 12);
    let months = months % 12;
    i128::from(match unit {
        Unit::Seconds(_) => micros % 60_000_000,
        Unit::Part(DatePart::Minute) => micros / 60_000_000 % 60,
        Unit::Part(DatePart::Hour) => micros / 3_600_000_000,
        Unit::Part(DatePart::Day) => i64::from(days),
        Unit::Part(DatePart::Month) => i64::from(months),
        Unit::Part(DatePart::Quarter) => i64::from(months / 3 + 1),
        Unit::Part(_) => years,
        Unit::Years(group) => years / group,
        Unit::Epoch | Unit::Julian => {
            let quarter_days = years * 1461 + i64::from(months) * 120 + i64::from(days) * 4;
            return i128::from(quarter_days) * i128::from(DAY_MICROS / 4) + i128::from(micros);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn centuries_begin_with_year_one() {
        for (year, decade, century, millennium) in [
            (2024, 202, 21, 3),
            (2000, 200, 20, 2),
            (1, 0, 1, 1),
            (0, 0, -1, -1),
            (-99, -10, -1, -1),
            (-100, -10, -2, -1),
        ] {
            let found = [10, 100, 1000].map(|group| group_of(year, group));
            assert_eq!(found, [decade, century, millennium], "{year}");
        }
    }

    #[test]
    fn the_epoch_of_an_interval_counts_a_quarter_day_a_year() {
        let micros = of_interval(Unit::Epoch, 14, 1, 1_500_000);
        let days = 365.25 + 60.0 + 1.0;
        assert_eq!(micros, (days * 86_400.0 * 1e6) as i128 + 1_500_000);
    }
}
