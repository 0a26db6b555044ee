//! Values as text, by the rules of PostgreSQL's output functions (`DateStyle` ISO,
//! `IntervalStyle` postgres).

use std::fmt::Write;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use datafusion::arrow::datatypes::{
    DataType, Float32Type, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    IntervalUnit, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{Result, internal_err};

use chrono::{Datelike, NaiveDateTime, Timelike};

use super::casts::strict;
use super::input::Zone;
use crate::EngineError;

/// Whether a value of this type is written as text here, and not by Arrow.
pub(super) fn writes(from: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Float32, Float64, Interval, LargeBinary, List, Time64, Timestamp,
    };
    match from {
        Float32 | Float64 | Timestamp(..) | Binary | BinaryView | LargeBinary => true,
        Time64(TimeUnit::Nanosecond) | Interval(IntervalUnit::MonthDayNano) => true,
        List(element) => matches!(element.data_type(), t if writes(t) || is_plain(t)),
        _ => false,
    }
}

/// Types that Arrow writes as PostgreSQL does.
fn is_plain(data_type: &DataType) -> bool {
    data_type.is_integer()
        || data_type.is_decimal()
        || data_type.is_string()
        || matches!(
            data_type,
            DataType::Boolean | DataType::Date32 | DataType::Null
        )
}

/// The texts of `array`, which is of type `from`. `zone` is the session's.
pub(super) fn write(array: &ArrayRef, from: &DataType, zone: &str) -> Result<ArrayRef> {
    match from {
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            texts(array, |i, out| {
                float(out, &format!("{:e}", values.value(i)), 6)
            })
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            texts(array, |i, out| {
                float(out, &format!("{:e}", values.value(i)), 15)
            })
        }
        DataType::Timestamp(_, time_zone) => {
            let unit = DataType::Timestamp(TimeUnit::Microsecond, time_zone.clone());
            let micros = strict(array, &unit)?;
            let micros = micros.as_primitive::<TimestampMicrosecondType>();
            let zone = match time_zone {
                Some(_) => Zone::named(Some(zone))?,
                None => None,
            };
            texts(array, |i, out| timestamp(out, micros.value(i), zone))
        }
        DataType::Time64(TimeUnit::Nanosecond) => {
            let values = array.as_primitive::<Time64NanosecondType>();
            texts(array, |i, out| {
                let time =
                    NaiveDateTime::default() + chrono::TimeDelta::nanoseconds(values.value(i));
                clock(out, time)
            })
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let values = array.as_primitive::<IntervalMonthDayNanoType>();
            texts(array, |i, out| interval(out, values.value(i)))
        }
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary => {
            let values = strict(array, &DataType::Binary)?;
            let values = values.as_binary::<i32>();
            texts(array, |i, out| {
                out.push_str("\\x");
                values
                    .value(i)
                    .iter()
                    .try_for_each(|byte| write!(out, "{byte:02x}"))
            })
        }
        DataType::List(element) => lists(array, element.data_type(), zone),
        other => internal_err!("{other} is not written here"),
    }
}

/// One text for each value that is not NULL.
fn texts(
    array: &ArrayRef,
    mut write: impl FnMut(usize, &mut String) -> std::fmt::Result,
) -> Result<ArrayRef> {
    let mut builder = StringBuilder::with_capacity(array.len(), array.len() * 8);
    let mut text = String::new();
    for i in 0..array.len() {
        if array.is_null(i) {
            builder.append_null();
            continue;
        }
        text.clear();
        write(i, &mut text)
            .map_err(|_| EngineError::new("22008", "a value cannot be written as text"))?;
        builder.append_value(&text);
    }
    Ok(Arc::new(builder.finish()))
}

fn lists(array: &ArrayRef, element: &DataType, zone: &str) -> Result<ArrayRef> {
    let lists = array.as_list::<i32>();
    let values = if writes(element) {
        write(lists.values(), element, zone)?
    } else {
        strict(lists.values(), &DataType::Utf8)?
    };
    let values = values.as_string::<i32>();
    let is_boolean = *element == DataType::Boolean;
    let is_array = matches!(element, DataType::List(_));
    texts(array, |i, out| {
        out.push('{');
        let (start, end) = (lists.value_offsets()[i], lists.value_offsets()[i + 1]);
        for at in start..end {
            if at > start {
                out.push(',');
            }
            let at = usize::try_from(at).map_err(|_| std::fmt::Error)?;
            match values.is_valid(at).then(|| values.value(at)) {
                None => out.push_str("NULL"),
                Some(value) if is_boolean => out.push_str(&value[..1]),
                Some(value) if is_array => out.push_str(value),
                Some(value) => quoted(out, value),
            }
        }
        out.push('}');
        Ok(())
    })
}

/// An element of an array, in quotes where it could be misread.
fn quoted(out: &mut String, value: &str) {
    let special = |c: char| c.is_ascii_whitespace() || matches!(c, '{' | '}' | ',' | '"' | '\\');
    if !value.is_empty() && !value.contains(special) && !value.eq_ignore_ascii_case("null") {
        return out.push_str(value);
    }
    out.push('"');
    for c in value.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

/// The shortest digits that give the number back, `scientific` as `-1.5e-7`; with an exponent
/// when the number has more than `max_digits` digits in front of the point, or begins more than
/// four behind it.
fn float(out: &mut String, scientific: &str, max_digits: i32) -> std::fmt::Result {
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        out.push_str(match scientific {
            "inf" => "Infinity",
            "-inf" => "-Infinity",
            other => other,
        });
        return Ok(());
    };
    let exponent: i32 = exponent.parse().map_err(|_| std::fmt::Error)?;
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => ("-", mantissa),
        None => ("", mantissa),
    };
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    out.push_str(sign);
    if !(-4..max_digits).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return write!(out, "{mantissa}e{sign}{:02}", exponent.abs());
    }
    let Ok(point) = usize::try_from(exponent + 1) else {
        let zeros = "0".repeat((-exponent - 1).unsigned_abs() as usize);
        return write!(out, "0.{zeros}{digits}");
    };
    match digits.split_at_checked(point) {
        Some((whole, fraction)) if !fraction.is_empty() => {
            let whole = if whole.is_empty() { "0" } else { whole };
            write!(out, "{whole}.{fraction}")
        }
        _ => write!(out, "{digits:0<point$}"),
    }
}

fn timestamp(out: &mut String, micros: i64, zone: Option<Zone>) -> std::fmt::Result {
    let local = match zone {
        Some(zone) => zone.local(micros),
        None => chrono::DateTime::from_timestamp_micros(micros).map(|t| t.naive_utc()),
    };
    let local = local.ok_or(std::fmt::Error)?;
    let (before_christ, year) = match local.year() {
        year @ ..=0 => (true, 1 - year),
        year => (false, year),
    };
    write!(out, "{year:04}-{:02}-{:02} ", local.month(), local.day())?;
    clock(out, local)?;
    if let Some(zone) = zone {
        offset(out, zone.seconds_east(micros).ok_or(std::fmt::Error)?)?;
    }
    if before_christ {
        out.push_str(" BC");
    }
    Ok(())
}

/// `12:34:56.5`.
fn clock(out: &mut String, time: NaiveDateTime) -> std::fmt::Result {
    write!(
        out,
        "{:02}:{:02}:{:02}",
        time.hour(),
        time.minute(),
        time.second()
    )?;
    fraction(out, time.nanosecond() / 1000)
}

/// Microseconds without zeros at the end.
fn fraction(out: &mut String, micros: u32) -> std::fmt::Result {
    if micros == 0 {
        return Ok(());
    }
    let digits = format!("{micros:06}");
    write!(out, ".{}", digits.trim_end_matches('0'))
}

/// `+02`, `-03:30`.
fn offset(out: &mut String, seconds: i64) -> std::fmt::Result {
    let sign = if seconds < 0 { '-' } else { '+' };
    let seconds = seconds.abs();
    write!(out, "{sign}{:02}", seconds / 3600)?;
    if seconds % 3600 != 0 {
        write!(out, ":{:02}", seconds / 60 % 60)?;
    }
    if seconds % 60 != 0 {
        write!(out, ":{:02}", seconds % 60)?;
    }
    Ok(())
}

/// `1 year 2 mons -3 days +04:05:06`.
fn interval(out: &mut String, value: IntervalMonthDayNano) -> std::fmt::Result {
    let parts = [
        (value.months / 12, "year"),
        (value.months % 12, "mon"),
        (value.days, "day"),
    ];
    let mut after_negative = false;
    for (number, unit) in parts.into_iter().filter(|(number, _)| *number != 0) {
        let space = if out.is_empty() { "" } else { " " };
        let plus = if after_negative && number > 0 {
            "+"
        } else {
            ""
        };
        let plural = if number == 1 { "" } else { "s" };
        write!(out, "{space}{plus}{number} {unit}{plural}")?;
        after_negative = number < 0;
    }
    let micros = value.nanoseconds / 1000;
    if micros == 0 && !out.is_empty() {
        return Ok(());
    }
    let space = if out.is_empty() { "" } else { " " };
    let sign = match micros {
        ..0 => "-",
        _ if after_negative => "+",
        _ => "",
    };
    let (seconds, micros) = (micros.abs() / 1_000_000, micros.abs() % 1_000_000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    write!(out, "{space}{sign}{hours:02}:{minutes:02}:{seconds:02}")?;
    fraction(out, u32::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_short() {
        let cases = [
            (1.0, "1"),
            (-0.5, "-0.5"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (123_456_789.125, "123456789.125"),
            (-1.5e300, "-1.5e+300"),
            (0.1 + 0.2, "0.30000000000000004"),
            (0.0, "0"),
            (-0.0, "-0"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, expected) in cases {
            let mut out = String::new();
            float(&mut out, &format!("{value:e}"), 15).unwrap();
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn intervals_show_the_sign_of_each_part() {
        const SECOND: i64 = 1_000_000_000;
        let cases = [
            ((0, 0, 0), "00:00:00"),
            ((14, 3, 7384 * SECOND), "1 year 2 mons 3 days 02:03:04"),
            ((0, -1, 7200 * SECOND), "-1 days +02:00:00"),
            ((-14, 1, 0), "-1 years -2 mons +1 day"),
            ((0, 0, -SECOND / 2), "-00:00:00.5"),
            ((0, 0, 360_000 * SECOND), "100:00:00"),
        ];
        for ((months, days, nanoseconds), expected) in cases {
            let mut out = String::new();
            interval(
                &mut out,
                IntervalMonthDayNano::new(months, days, nanoseconds),
            )
            .unwrap();
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn moments_are_shown_in_a_zone() {
        let shown = |micros, zone| {
            let mut out = String::new();
            timestamp(&mut out, micros, Zone::named(zone).unwrap()).unwrap();
            out
        };
        assert_eq!(shown(0, None), "1970-01-01 00:00:00");
        assert_eq!(shown(-1_500_000, Some("UTC")), "1969-12-31 23:59:58.5+00");
        assert_eq!(shown(0, Some("Asia/Kolkata")), "1970-01-01 05:30:00+05:30");
        assert_eq!(
            shown(-62_198_755_200_000_000, None),
            "0002-01-01 00:00:00 BC"
        );
    }

    #[test]
    fn elements_are_quoted_where_needed() {
        for (value, expected) in [
            ("a", "a"),
            ("", "\"\""),
            ("Null", "\"Null\""),
            ("a b", "\"a b\""),
            ("a\"\\", "\"a\\\"\\\\\""),
        ] {
            let mut out = String::new();
            quoted(&mut out, value);
            assert_eq!(out, expected);
        }
    }
}
