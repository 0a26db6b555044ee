//! Reading values from text, by the rules of PostgreSQL's input functions.

mod array;
mod bytes;
mod datetime;
mod interval;
mod number;

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, PrimitiveArray, StringArray,
};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNanoType, IntervalUnit, Time64NanosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use datafusion::common::{Result, internal_err};

pub(super) use datetime::Zone;

use super::casts::strict;
use crate::EngineError;

/// Whether text is read as this type here, and not by Arrow.
pub(super) fn reads(to: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Boolean, Date32, Decimal128, Float32, Float64, Int8, Int16, Int32,
        Int64, Interval, LargeBinary, List, Time64, Timestamp,
    };
    match to {
        Int8 | Int16 | Int32 | Int64 | Float32 | Float64 | Boolean | Date32 => true,
        Binary | BinaryView | LargeBinary | Timestamp(..) => true,
        Decimal128(_, scale) => *scale >= 0,
        Time64(TimeUnit::Nanosecond) | Interval(IntervalUnit::MonthDayNano) => true,
        List(element) => element.data_type().is_string() || reads(element.data_type()),
        _ => false,
    }
}

/// The values that `texts` stand for.
///
/// # Errors
/// With PostgreSQL's code and message for the first text that does not fit.
pub(super) fn read(texts: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let texts = strict(texts, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    Ok(match to {
        DataType::Int8 => primitive::<Int8Type>(texts, to, |t| number::integer(t, to))?,
        DataType::Int16 => primitive::<Int16Type>(texts, to, |t| number::integer(t, to))?,
        DataType::Int32 => primitive::<Int32Type>(texts, to, |t| number::integer(t, to))?,
        DataType::Int64 => primitive::<Int64Type>(texts, to, |t| number::integer(t, to))?,
        DataType::Float32 => primitive::<Float32Type>(texts, to, |t| number::float(t, to))?,
        DataType::Float64 => primitive::<Float64Type>(texts, to, |t| number::float(t, to))?,
        DataType::Decimal128(precision, scale) => {
            primitive::<Decimal128Type>(texts, to, |t| number::numeric(t, *precision, *scale))?
        }
        DataType::Boolean => {
            let values: BooleanArray = texts
                .iter()
                .map(|t| t.map(number::boolean).transpose())
                .collect::<Result<_, _>>()?;
            Arc::new(values)
        }
        DataType::Date32 => primitive::<Date32Type>(texts, to, datetime::date)?,
        DataType::Time64(_) => primitive::<Time64NanosecondType>(texts, to, datetime::time)?,
        DataType::Timestamp(unit, zone) => timestamps(texts, to, *unit, zone.as_deref())?,
        DataType::Interval(_) => {
            primitive::<IntervalMonthDayNanoType>(texts, to, interval::interval)?
        }
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary => {
            let values: BinaryArray = texts
                .iter()
                .map(|t| t.map(bytes::bytes).transpose())
                .collect::<Result<_, _>>()?;
            strict(&values, to)?
        }
        DataType::List(element) => array::lists(texts, element)?,
        other => return internal_err!("text is not read as {other} here"),
    })
}

fn primitive<T: ArrowPrimitiveType>(
    texts: &StringArray,
    to: &DataType,
    read: impl Fn(&str) -> Result<T::Native, EngineError>,
) -> Result<ArrayRef, EngineError> {
    let values: PrimitiveArray<T> = texts
        .iter()
        .map(|t| t.map(&read).transpose())
        .collect::<Result<_, _>>()?;
    Ok(Arc::new(values.with_data_type(to.clone())))
}

fn timestamps(
    texts: &StringArray,
    to: &DataType,
    unit: TimeUnit,
    zone: Option<&str>,
) -> Result<ArrayRef, EngineError> {
    let zone = datetime::Zone::named(zone)?;
    let read = |text: &str| datetime::timestamp(text, zone, unit);
    match unit {
        TimeUnit::Second => primitive::<TimestampSecondType>(texts, to, read),
        TimeUnit::Millisecond => primitive::<TimestampMillisecondType>(texts, to, read),
        TimeUnit::Microsecond => primitive::<TimestampMicrosecondType>(texts, to, read),
        TimeUnit::Nanosecond => primitive::<TimestampNanosecondType>(texts, to, read),
    }
}

/// PostgreSQL's name of a type in its messages.
pub(super) fn name_of(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "smallint",
        DataType::Int32 | DataType::UInt16 => "integer",
        DataType::Int64 | DataType::UInt32 => "bigint",
        DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Boolean => "boolean",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time",
        DataType::Timestamp(_, None) => "timestamp without time zone",
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
        DataType::Interval(_) | DataType::Duration(_) => "interval",
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "text",
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary => "bytea",
        DataType::List(_) => "array",
        _ => "numeric",
    }
}

/// `invalid input syntax for type …`.
pub(super) fn invalid(sqlstate: &'static str, name: &str, text: &str) -> EngineError {
    let message = format!("invalid input syntax for type {name}: \"{text}\"");
    EngineError::new(sqlstate, message)
}
