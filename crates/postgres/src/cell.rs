//! Values that the library does not write as PostgreSQL does.
//!
//! Its numerics have 28 digits at most, and it leaves the minutes of a time zone out.

use arrow_pg::encoder::{Encoder, encode_value};
use bytes::{BufMut, BytesMut};
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, Offset};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, FieldRef, TimeUnit, TimestampMicrosecondType,
};
use forebay_server::{Error, digits, texts_of};
use pgwire::api::Type;
use pgwire::api::results::{FieldFormat, FieldInfo};
use pgwire::types::ToSqlText;
use pgwire::types::format::FormatOptions;
use postgres_types::{IsNull, ToSql, to_sql_checked};

use crate::types::value_error;

type Written = Result<IsNull, Box<dyn std::error::Error + Sync + Send>>;

/// A numeric on the wire has digits of base ten thousand.
const DIGITS_PER_GROUP: u32 = 4;
const GROUP: u128 = 10_000;
const NEGATIVE: u16 = 0x4000;

/// Hands the value of one row to `encoder`.
pub(crate) fn encode<E: Encoder>(
    encoder: &mut E,
    column: &ArrayRef,
    row: usize,
    field: &FieldRef,
    info: &FieldInfo,
) -> Result<(), Error> {
    let encoded = match column.data_type() {
        DataType::Decimal128(_, scale) if *scale >= 0 => {
            let value = column.as_primitive::<Decimal128Type>().value(row);
            let scale = scale.unsigned_abs();
            encoder.encode_field(&Numeric { value, scale }, info)
        }
        DataType::Date32 if is_iso_text(info) => {
            let day = Day(column.as_primitive::<Date32Type>().value(row));
            encoder.encode_field(&TextOnly(day), info)
        }
        DataType::Timestamp(TimeUnit::Microsecond, None) if is_iso_text(info) => {
            let time = column.as_primitive::<TimestampMicrosecondType>();
            let time = time.value_as_datetime(row);
            let time = time.ok_or_else(|| Error::new("22008", "timestamp out of range"))?;
            encoder.encode_field(&TextOnly(Time(time)), info)
        }
        DataType::Timestamp(_, Some(zone)) if info.format() == FieldFormat::Text => {
            encoder.encode_field(&TextOnly(moment(column, row, zone)?), info)
        }
        DataType::List(element)
            if info.format() == FieldFormat::Text && is_special(element.data_type()) =>
        {
            let zone = zone_of(element.data_type()).unwrap_or("UTC");
            let texts = texts_of(&column.slice(row, 1), zone)?;
            let text = Text(texts.as_string::<i32>().value(0));
            encoder.encode_field(&TextOnly(text), info)
        }
        DataType::List(element) if matches!(element.data_type(), DataType::List(_)) => {
            let message = "arrays of arrays have no binary form here";
            return Err(Error::new("0A000", message));
        }
        text if text.is_string()
            && *info.datatype() == Type::JSONB
            && info.format() == FieldFormat::Binary =>
        {
            let texts = cast(&column.slice(row, 1), &DataType::Utf8);
            let texts = texts.map_err(|e| Error::new("XX000", e.to_string()))?;
            encoder.encode_field(&Jsonb(texts.as_string::<i32>().value(0)), info)
        }
        _ => encode_value(encoder, column, row, field, info),
    };
    encoded.map_err(value_error)
}

fn is_iso_text(info: &FieldInfo) -> bool {
    let is_iso = || info.format_options().date_style.starts_with("ISO");
    info.format() == FieldFormat::Text && is_iso()
}

/// What is written here as text only: its binary form is the library's.
#[derive(Debug)]
struct TextOnly<T>(T);

impl<T: ToSqlText> ToSqlText for TextOnly<T> {
    fn to_sql_text(
        &self,
        data_type: &Type,
        out: &mut BytesMut,
        options: &FormatOptions,
    ) -> Written {
        self.0.to_sql_text(data_type, out, options)
    }
}

impl<T: std::fmt::Debug> ToSql for TextOnly<T> {
    fn to_sql(&self, _: &Type, _: &mut BytesMut) -> Written {
        Err("no binary form was asked for".into())
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A day from 1970-01-01, most of which have the usual form; what has another one is the library's.
#[derive(Debug)]
struct Day(i32);

impl ToSqlText for Day {
    fn to_sql_text(
        &self,
        data_type: &Type,
        out: &mut BytesMut,
        options: &FormatOptions,
    ) -> Written {
        if digits::put_day(out, self.0) {
            return Ok(IsNull::No);
        }
        let date = NaiveDate::from_epoch_days(self.0).ok_or("date out of range")?;
        date.to_sql_text(data_type, out, options)
    }
}

/// A time without a zone, as [`Day`].
#[derive(Debug)]
struct Time(NaiveDateTime);

impl ToSqlText for Time {
    fn to_sql_text(
        &self,
        data_type: &Type,
        out: &mut BytesMut,
        options: &FormatOptions,
    ) -> Written {
        if !digits::put_date(out, self.0.date()) {
            return self.0.to_sql_text(data_type, out, options);
        }
        out.put_u8(b' ');
        digits::put_time(out, self.0.time());
        let micros = self.0.and_utc().timestamp_subsec_micros();
        if micros > 0 {
            out.put_u8(b'.');
            digits::put_digits::<6>(out, micros);
        }
        Ok(IsNull::No)
    }
}

/// A number in units of its last decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numeric {
    pub(crate) value: i128,
    pub(crate) scale: u8,
}

impl ToSqlText for Numeric {
    fn to_sql_text(&self, _: &Type, out: &mut BytesMut, _: &FormatOptions) -> Written {
        digits::put_decimal(out, self.value, self.scale.into());
        Ok(IsNull::No)
    }
}

impl ToSql for Numeric {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Written {
        // Groups stand on both sides of the point, so the last one is filled up with zeros.
        let scale = u32::from(self.scale);
        let fraction_groups = scale.div_ceil(DIGITS_PER_GROUP);
        let filler = 10_u128.pow(fraction_groups * DIGITS_PER_GROUP - scale);
        let mut groups = Vec::new();
        // The first group is taken before the filler is multiplied in, which could overflow.
        let mut rest = self.value.unsigned_abs();
        if filler > 1 {
            let kept = GROUP / filler;
            groups.push(rest % kept * filler);
            rest /= kept;
        }
        while rest > 0 {
            groups.push(rest % GROUP);
            rest /= GROUP;
        }
        let weight = i16::try_from(groups.len())? - i16::try_from(fraction_groups)? - 1;
        let zeros = groups.iter().take_while(|group| **group == 0).count();
        let digits = &groups[zeros..];
        out.put_i16(i16::try_from(digits.len())?);
        out.put_i16(if digits.is_empty() { 0 } else { weight });
        out.put_u16(if self.value < 0 { NEGATIVE } else { 0 });
        out.put_i16(self.scale.into());
        for group in digits.iter().rev() {
            out.put_i16(i16::try_from(*group)?);
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl Numeric {
    /// Reads the wire's binary form at `scale`; `None` when it is no number, or none that fits.
    pub(crate) fn read(body: &[u8], scale: i8) -> Option<i128> {
        let mut fields = body
            .chunks_exact(2)
            .map(|b| i16::from_be_bytes([b[0], b[1]]));
        let (groups, weight) = (fields.next()?, fields.next()?);
        let sign = fields.next()?;
        fields.next()?;
        let digits: Vec<i16> = fields.collect();
        if digits.len() != usize::try_from(groups).ok()? || !matches!(sign, 0 | 0x4000) {
            return None;
        }
        let mut value: i128 = 0;
        for (at, group) in digits.iter().enumerate() {
            let group = i128::from(*group);
            if !(0..10_000).contains(&group) {
                return None;
            }
            // The power of ten of the group's last digit, in units of the scale.
            let power = (i32::from(weight) - i32::try_from(at).ok()?) * 4 + i32::from(scale);
            value = value.checked_add(match u32::try_from(power) {
                Ok(power) => group.checked_mul(10_i128.checked_pow(power)?)?,
                Err(_) => rounded(group, power.unsigned_abs()),
            })?;
        }
        let fits = value < 10_i128.pow(38);
        fits.then_some(if sign == 0 { value } else { -value })
    }
}

/// A group of which the last digits are behind the scale; half rounds up.
fn rounded(group: i128, digits: u32) -> i128 {
    match 10_i128.checked_pow(digits) {
        Some(power) => (group + power / 2) / power,
        None => 0,
    }
}

/// Elements that the library writes otherwise than alone.
fn is_special(element: &DataType) -> bool {
    element.is_floating()
        || matches!(
            element,
            DataType::List(_)
                | DataType::Decimal128(..)
                | DataType::Interval(_)
                | DataType::Timestamp(..)
        )
}

/// The time zone of the innermost elements.
fn zone_of(data_type: &DataType) -> Option<&str> {
    match data_type {
        DataType::List(element) => zone_of(element.data_type()),
        DataType::Timestamp(_, zone) => zone.as_deref(),
        _ => None,
    }
}

/// A value that is written already.
#[derive(Debug)]
struct Text<'a>(&'a str);

impl ToSqlText for Text<'_> {
    fn to_sql_text(&self, _: &Type, out: &mut BytesMut, _: &FormatOptions) -> Written {
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
}

/// The binary form of jsonb is its text behind a version.
#[derive(Debug)]
struct Jsonb<'a>(&'a str);

impl ToSql for Jsonb<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Written {
        out.put_u8(1);
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl ToSqlText for Jsonb<'_> {
    fn to_sql_text(&self, _: &Type, out: &mut BytesMut, _: &FormatOptions) -> Written {
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
}

/// A moment as clocks of a zone show it.
#[derive(Debug)]
struct Moment(DateTime<FixedOffset>);

fn moment(column: &ArrayRef, row: usize, zone: &str) -> Result<Moment, Error> {
    let out_of_range = || Error::new("22008", "timestamp out of range");
    let one = column.slice(row, 1);
    let micros = cast(&one, &DataType::Timestamp(TimeUnit::Microsecond, None));
    let micros = micros.map_err(|_| out_of_range())?;
    let micros = micros.as_primitive::<TimestampMicrosecondType>().value(0);
    let zone: Tz = zone.parse().map_err(|_| out_of_range())?;
    let moment = DateTime::from_timestamp_micros(micros).ok_or_else(out_of_range)?;
    let moment = moment.with_timezone(&zone);
    let offset = moment.offset().fix();
    Ok(Moment(moment.with_timezone(&offset)))
}

impl ToSqlText for Moment {
    fn to_sql_text(&self, _: &Type, out: &mut BytesMut, options: &FormatOptions) -> Written {
        let local: NaiveDateTime = self.0.naive_local();
        local.to_sql_text(&Type::TIMESTAMP, out, options)?;
        let seconds = self.0.offset().local_minus_utc();
        let sign = if seconds < 0 { '-' } else { '+' };
        let seconds = seconds.abs();
        let mut zone = format!("{sign}{:02}", seconds / 3600);
        if seconds % 3600 != 0 {
            zone += &format!(":{:02}", seconds / 60 % 60);
        }
        if seconds % 60 != 0 {
            zone += &format!(":{:02}", seconds % 60);
        }
        out.put_slice(zone.as_bytes());
        Ok(IsNull::No)
    }
}

/// Days from 1970-01-01 to 2000-01-01, the day that dates are counted from on the wire.
pub(crate) fn days_to_2000() -> i32 {
    let day = NaiveDate::from_ymd_opt(2000, 1, 1).unwrap_or_default();
    let days = day.signed_duration_since(NaiveDate::default()).num_days();
    i32::try_from(days).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: i128, scale: u8) -> String {
        let mut out = BytesMut::new();
        let number = Numeric { value, scale };
        number
            .to_sql_text(&Type::NUMERIC, &mut out, &FormatOptions::default())
            .unwrap();
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn numerics_are_written_with_all_digits() {
        let most = 10_i128.pow(38) - 1;
        assert_eq!(text(0, 0), "0");
        assert_eq!(text(-5, 2), "-0.05");
        assert_eq!(text(150, 2), "1.50");
        assert_eq!(
            text(most, 10),
            format!("{}.{}", "9".repeat(28), "9".repeat(10))
        );
    }

    #[test]
    fn the_binary_form_is_read_back() {
        for value in [0, 1, -1, 10_000, 9_999, -123_456_789, 10_i128.pow(38) - 1] {
            for scale in [0_u8, 1, 3, 4, 5, 16, 37] {
                let mut out = BytesMut::new();
                Numeric { value, scale }
                    .to_sql(&Type::NUMERIC, &mut out)
                    .unwrap();
                let scale = i8::try_from(scale).unwrap();
                assert_eq!(Numeric::read(&out, scale), Some(value), "{value} {scale}");
            }
        }
    }

    /// What PostgreSQL 15 sends for `-12345.678`.
    #[test]
    fn the_binary_form_is_postgresqls() {
        let mut out = BytesMut::new();
        let number = Numeric {
            value: -12_345_678,
            scale: 3,
        };
        number.to_sql(&Type::NUMERIC, &mut out).unwrap();
        let expected = [0, 3, 0, 1, 0x40, 0, 0, 3, 0, 1, 0x09, 0x29, 0x1a, 0x7c];
        assert_eq!(&out[..], expected);
        assert_eq!(Numeric::read(&expected, 1), Some(-123_457));
        assert_eq!(Numeric::read(&expected[..7], 1), None);
        assert_eq!(Numeric::read(&[0, 0, 0, 0, 0xc0, 0, 0, 0], 1), None, "NaN");
    }
}
