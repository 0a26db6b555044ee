//! `to_char`, `to_date`, `to_timestamp` and `to_number` with PostgreSQL's templates.
//!
//! A template is read once for all rows that use it. What each field means is in PostgreSQL's
//! manual, section "Data Type Formatting Functions"; `tests/slt/templates.slt` compares.

mod datetime;
mod datetime_fields;
mod datetime_read;
mod datetime_write;
mod number;
mod number_read;
mod number_write;

use std::sync::Arc;

use chrono::{
    DateTime, Datelike, Duration, FixedOffset, NaiveDate, NaiveDateTime, Offset, TimeZone, Timelike,
};
use chrono_tz::OffsetName;
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Decimal128Array, Float64Array, StringArray,
    TimestampMicrosecondArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Field, FieldRef, Float32Type, Float64Type, IntervalMonthDayNanoType,
    IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use self::datetime_write::Parts;
use self::number_write::Number;
use super::udf::{Definition, is_text};
use crate::EngineError;

pub(super) fn all() -> Vec<ScalarUDF> {
    vec![
        Definition {
            name: "to_char",
            coerce: |types| match types {
                [value, template] if is_text(template) => {
                    Some(vec![writable(value)?, DataType::Utf8])
                }
                _ => None,
            },
            returns: |_| DataType::Utf8,
            body: to_char,
            volatility: Volatility::Stable,
        }
        .into_udf(),
        Definition {
            name: "to_date",
            coerce: two_texts,
            returns: |_| DataType::Date32,
            body: |args, _| to_date(args),
            volatility: Volatility::Stable,
        }
        .into_udf(),
        Definition {
            name: "to_timestamp",
            coerce: |types| match types {
                [number] if number.is_numeric() || number.is_null() => {
                    Some(vec![DataType::Float64])
                }
                _ => two_texts(types),
            },
            returns: |_| timestamp_type(),
            body: to_timestamp,
            volatility: Volatility::Stable,
        }
        .into_udf(),
        ScalarUDF::new_from_impl(ToNumber {
            signature: Signature::user_defined(Volatility::Stable),
        }),
    ]
}

fn two_texts(types: &[DataType]) -> Option<Vec<DataType>> {
    let texts = types.len() == 2 && types.iter().all(is_text);
    texts.then(|| vec![DataType::Utf8; 2])
}

/// Values are stored in UTC; clients are shown the session's zone.
fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

/// The type in which a value is written.
fn writable(value: &DataType) -> Option<DataType> {
    Some(match value {
        DataType::Date32 | DataType::Date64 => DataType::Date32,
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Interval(_) | DataType::Duration(_) => {
            DataType::Interval(IntervalUnit::MonthDayNano)
        }
        DataType::Float64 | DataType::Float32 => value.clone(),
        DataType::Float16 => DataType::Float32,
        t if t.is_integer() || t.is_decimal() => value.clone(),
        DataType::Null => DataType::Date32,
        _ => return None,
    })
}

/// `st`, `nd`, `rd` or `th`, by the last digits.
fn ordinal_suffix(digits: &str, lower: bool) -> &'static str {
    let bytes = digits.as_bytes();
    let last = bytes.last().copied().unwrap_or(b'0');
    let teen = bytes.len() > 1 && bytes[bytes.len() - 2] == b'1';
    let suffix = match last {
        _ if teen => "TH",
        b'1' => "ST",
        b'2' => "ND",
        b'3' => "RD",
        _ => "TH",
    };
    match (lower, suffix) {
        (false, suffix) => suffix,
        (true, "ST") => "st",
        (true, "ND") => "nd",
        (true, "RD") => "rd",
        (true, _) => "th",
    }
}

/// Calls `f` with each row's template, read once as long as it stays the same.
fn by_template<T, R>(
    templates: &StringArray,
    read: impl Fn(&str) -> Result<T, EngineError>,
    f: impl Fn(usize, &T) -> Result<Option<R>, EngineError>,
) -> Result<Vec<Option<R>>> {
    let mut current: Option<(&str, T)> = None;
    let mut results = Vec::with_capacity(templates.len());
    for (row, text) in templates.iter().enumerate() {
        let Some(text) = text else {
            results.push(None);
            continue;
        };
        if current.as_ref().is_none_or(|(t, _)| *t != text) {
            current = Some((text, read(text)?));
        }
        let template = current.as_ref().map(|(_, template)| template);
        results.push(match template {
            Some(template) => f(row, template)?,
            None => None,
        });
    }
    Ok(results)
}

fn to_char(args: &[ArrayRef], call: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let values = &args[0];
    let templates = args[1].as_string::<i32>();
    let texts = match values.data_type() {
        exact if exact.is_integer() || exact.is_decimal() => {
            let numbers = cast(values, &DataType::Utf8)?;
            let numbers = numbers.as_string::<i32>();
            numbers_to_char(templates, |row| {
                numbers
                    .is_valid(row)
                    .then(|| Number::Exact(numbers.value(row).to_owned()))
            })?
        }
        DataType::Float64 => {
            let numbers = values.as_primitive::<Float64Type>();
            numbers_to_char(templates, |row| {
                numbers
                    .is_valid(row)
                    .then(|| Number::Float8(numbers.value(row)))
            })?
        }
        DataType::Float32 => {
            let numbers = values.as_primitive::<Float32Type>();
            numbers_to_char(templates, |row| {
                numbers
                    .is_valid(row)
                    .then(|| Number::Float4(numbers.value(row)))
            })?
        }
        _ => {
            let zone = call.config_options.execution.time_zone.clone();
            by_template(
                templates,
                |text| Ok((text.is_empty(), datetime::read(text))),
                |row, (empty, items)| {
                    if *empty || values.is_null(row) {
                        return Ok(None);
                    }
                    let parts = parts_of(values, row, zone.as_deref())?;
                    datetime_write::write(items, &parts).map(Some)
                },
            )?
        }
    };
    Ok(Arc::new(StringArray::from(texts)))
}

fn numbers_to_char(
    templates: &StringArray,
    number: impl Fn(usize) -> Option<Number>,
) -> Result<Vec<Option<String>>> {
    by_template(templates, number::Template::read, |row, template| {
        Ok(number(row).map(|number| number_write::write(template, &number)))
    })
}

fn parts_of(values: &ArrayRef, row: usize, zone: Option<&str>) -> Result<Parts, EngineError> {
    let out_of_range = || EngineError::new("22008", "timestamp out of range");
    match values.data_type() {
        DataType::Date32 => {
            let day = values.as_primitive::<Date32Type>().value_as_date(row);
            let start = day
                .and_then(|d| d.and_hms_opt(0, 0, 0))
                .ok_or_else(out_of_range)?;
            let name = zone.unwrap_or("UTC");
            let zone = parse_zone(name)?;
            let offset = match zone.offset_from_local_datetime(&start).earliest() {
                Some(offset) => offset.fix(),
                None => zone.offset_from_utc_datetime(&start).fix(),
            };
            let utc = start - Duration::seconds(offset.local_minus_utc().into());
            Ok(moment(start, Some(named(name, utc, offset))))
        }
        DataType::Timestamp(_, own) => {
            let micros = values.as_primitive::<TimestampMicrosecondType>().value(row);
            let utc = DateTime::from_timestamp_micros(micros).ok_or_else(out_of_range)?;
            let Some(own) = own else {
                return Ok(moment(utc.naive_utc(), None));
            };
            let name = zone.unwrap_or(own);
            let utc = utc.naive_utc();
            let offset = parse_zone(name)?.offset_from_utc_datetime(&utc).fix();
            let local = utc + Duration::seconds(offset.local_minus_utc().into());
            Ok(moment(local, Some(named(name, utc, offset))))
        }
        DataType::Time64(_) => {
            let micros = values.as_primitive::<Time64MicrosecondType>().value(row);
            Ok(length(0, 0, micros))
        }
        _ => {
            let interval = values.as_primitive::<IntervalMonthDayNanoType>().value(row);
            Ok(length(
                interval.months.into(),
                interval.days.into(),
                interval.nanoseconds / 1000,
            ))
        }
    }
}

fn parse_zone(name: &str) -> Result<Tz, EngineError> {
    name.parse()
        .map_err(|_| EngineError::new("22023", format!("time zone \"{name}\" not recognized")))
}

/// The offset in seconds, and what the zone is called at that moment (`CEST`); a zone without a
/// name is called by its offset.
fn named(zone: &str, utc: NaiveDateTime, offset: FixedOffset) -> (i64, String) {
    let abbreviation = zone.parse::<chrono_tz::Tz>().ok().and_then(|zone| {
        let offset = zone.offset_from_utc_datetime(&utc);
        offset.abbreviation().map(ToOwned::to_owned)
    });
    let name = abbreviation.unwrap_or_else(|| offset.to_string());
    (i64::from(offset.local_minus_utc()), name)
}

fn moment(at: NaiveDateTime, zone: Option<(i64, String)>) -> Parts {
    Parts {
        year: at.year().into(),
        month: at.month().into(),
        day: at.day().into(),
        hour: at.hour().into(),
        minute: at.minute().into(),
        second: at.second().into(),
        micros: (at.nanosecond() / 1000).into(),
        date: Some(at.date()),
        zone,
    }
}

fn length(months: i64, days: i64, micros: i64) -> Parts {
    let seconds = micros / 1_000_000;
    Parts {
        year: months / 12,
        month: months % 12,
        day: days,
        hour: seconds / 3600,
        minute: seconds / 60 % 60,
        second: seconds % 60,
        micros: micros % 1_000_000,
        date: None,
        zone: None,
    }
}

fn read_moments(args: &[ArrayRef]) -> Result<Vec<Option<datetime_fields::Moment>>> {
    let texts = args[0].as_string::<i32>();
    by_template(
        args[1].as_string::<i32>(),
        |text| Ok(datetime::read(text)),
        |row, items| {
            if texts.is_null(row) {
                return Ok(None);
            }
            datetime_read::read(items, texts.value(row)).map(Some)
        },
    )
}

fn to_date(args: &[ArrayRef]) -> Result<ArrayRef> {
    let epoch = NaiveDate::default();
    let days = read_moments(args)?.into_iter().map(|moment| {
        let days = moment?.date.signed_duration_since(epoch).num_days();
        i32::try_from(days).ok()
    });
    Ok(Arc::new(days.collect::<Date32Array>()))
}

fn to_timestamp(args: &[ArrayRef], call: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let micros = if args.len() == 1 {
        from_epoch(args[0].as_primitive::<Float64Type>())?
    } else {
        let zone = call.config_options.execution.time_zone.as_deref();
        let zone = parse_zone(zone.unwrap_or("UTC"))?;
        let moments = read_moments(args)?.into_iter();
        moments
            .map(|m| Ok(m.map(|m| in_utc(m, &zone))))
            .collect::<Result<_>>()?
    };
    let micros: TimestampMicrosecondArray = micros;
    Ok(Arc::new(micros.with_timezone("+00:00")))
}

fn from_epoch(seconds: &Float64Array) -> Result<TimestampMicrosecondArray> {
    /// 4714 BC and the year 294277, the ends of PostgreSQL's time.
    const LEAST: f64 = -210_866_803_200.0;
    const END: f64 = 9_224_318_016_000.0;
    let micros = seconds.iter().map(|second| {
        let Some(second) = second else {
            return Ok(None);
        };
        if second.is_nan() {
            let message = "timestamp cannot be NaN";
            return Err(EngineError::new("22008", message).into());
        }
        if !(LEAST..END).contains(&second) {
            let message = format!("timestamp out of range: \"{second}\"");
            return Err(EngineError::new("22008", message).into());
        }
        Ok(Some((second * 1e6).round_ties_even() as i64))
    });
    micros.collect()
}

/// A moment without a zone is one of the session's.
fn in_utc(moment: datetime_fields::Moment, zone: &Tz) -> i64 {
    let local =
        moment.date.and_time(chrono::NaiveTime::MIN) + Duration::microseconds(moment.micros);
    let offset = moment.offset.unwrap_or_else(|| {
        let offset = zone.offset_from_local_datetime(&local).earliest();
        let offset = offset.unwrap_or_else(|| zone.offset_from_utc_datetime(&local));
        offset.fix().local_minus_utc().into()
    });
    local.and_utc().timestamp_micros() - offset * 1_000_000
}

/// `to_number(text, template)`: its scale is that of the template.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ToNumber {
    signature: Signature,
}

/// Decimals where the template is not a constant.
const UNKNOWN_SCALE: usize = 10;

/// Digits of a number.
const MAX_DIGITS: usize = 38;

impl ScalarUDFImpl for ToNumber {
    fn name(&self) -> &'static str {
        "to_number"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        two_texts(types).ok_or_else(|| EngineError::no_such_function("to_number", types).into())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        datafusion::common::internal_err!("the scale of to_number() depends on its template")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let text = |i: usize| -> Option<&str> {
            args.scalar_arguments[i].and_then(ScalarValue::try_as_str)?
        };
        let scale = match (text(0), text(1)) {
            (Some(text), Some(template)) => {
                let template = number::Template::read(template)?;
                let number = shifted(&number_read::read(&template, text), &template);
                number
                    .split_once('.')
                    .map_or(0, |(_, fraction)| fraction.len())
            }
            (None, Some(template)) => {
                let template = number::Template::read(template)?;
                template.decimals + template.shift.unwrap_or(0)
            }
            _ => UNKNOWN_SCALE,
        };
        let scale = i8::try_from(scale.min(MAX_DIGITS)).unwrap_or(0);
        let data_type = DataType::Decimal128(38, scale);
        Ok(Arc::new(Field::new("to_number", data_type, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let texts = args.args[0].to_array(args.number_rows)?;
        let templates = args.args[1].to_array(args.number_rows)?;
        let texts = texts.as_string::<i32>();
        let numbers = by_template(
            templates.as_string::<i32>(),
            number::Template::read,
            |row, template| {
                if texts.is_null(row) {
                    return Ok(None);
                }
                let number = number_read::read(template, texts.value(row));
                if !number.contains(|c: char| c.is_ascii_digit()) {
                    let message = "invalid input syntax for type numeric: \" \"";
                    return Err(EngineError::new("22P02", message));
                }
                check_digits(&number, template)?;
                Ok(Some(shifted(&number, template)))
            },
        )?;
        let numbers: ArrayRef = Arc::new(StringArray::from(numbers));
        let decimals = cast(&numbers, args.return_field.data_type())?;
        let decimals: Decimal128Array = decimals.as_primitive().clone();
        Ok(ColumnarValue::Array(Arc::new(decimals)))
    }
}

/// A number must not have more digits before its point than its template.
fn check_digits(number: &str, template: &number::Template) -> Result<(), EngineError> {
    let whole = number.trim_start_matches('-').split('.').next();
    let digits = whole.unwrap_or_default().trim_start_matches('0').len();
    if digits <= template.whole + template.shift.unwrap_or(0) {
        return Ok(());
    }
    Err(EngineError::new("22003", "numeric field overflow"))
}

/// The number with its point as many places to the left as the template has digits behind `V`.
fn shifted(number: &str, template: &number::Template) -> String {
    let places = template.shift.unwrap_or(0);
    if places == 0 {
        return number.to_owned();
    }
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", number),
    };
    let digits = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    format!("{sign}{whole}.{fraction}")
}
