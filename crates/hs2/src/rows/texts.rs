//! Texts of values that the protocol has no other form for.

use std::fmt::Write as _;

use bytes::BytesMut;
use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeZone as _, Timelike as _};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::types::{
    Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, DecimalType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanBufferBuilder, PrimitiveArray};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{
    ArrowTemporalType, ArrowTimestampType, DataType, Field, TimeUnit,
};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::writer::{EncoderOptions, make_encoder};
use datafusion::arrow::temporal_conversions::as_datetime;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use forebay_server::digits;

use super::columns::{LENGTH_BYTES, length_bytes};

/// The texts of an array, one behind the other.
#[derive(Debug)]
pub(crate) struct Texts {
    /// As they are written: each behind its length.
    bytes: Vec<u8>,
    rows: usize,
    nulls: Option<NullBuffer>,
}

/// What most texts are shorter than, with their lengths.
const USUAL_BYTES: usize = 16;

impl Texts {
    /// As many texts as `array` has values; `text` writes the one in a place that is no null.
    fn make(
        array: &dyn Array,
        mut text: impl FnMut(usize, &mut Vec<u8>) -> Result<(), ArrowError>,
    ) -> Result<Self, ArrowError> {
        let nulls = array.logical_nulls();
        let mut bytes = Vec::with_capacity(array.len() * USUAL_BYTES);
        for row in 0..array.len() {
            let start = bytes.len();
            bytes.extend_from_slice(&[0; LENGTH_BYTES]);
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                text(row, &mut bytes)?;
                let length = length_bytes(bytes.len() - start - LENGTH_BYTES);
                bytes[start..start + LENGTH_BYTES].copy_from_slice(&length);
            }
        }
        Ok(Self {
            bytes,
            rows: array.len(),
            nulls,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn write(&self, out: &mut BytesMut) {
        out.extend_from_slice(&self.bytes);
    }

    pub(super) fn nulls(&self, bits: &mut BooleanBufferBuilder) {
        match &self.nulls {
            Some(valid) => bits.append_buffer(&!valid.inner()),
            None => bits.append_n(self.rows, false),
        }
    }
}

/// The texts of an array that is none of texts itself.
///
/// # Errors
/// When a value has no text, a date before the first year for example.
pub(super) fn of(array: &ArrayRef, time_zone: &str) -> Result<Texts, ArrowError> {
    match array.data_type() {
        DataType::Date32 => days(array),
        DataType::Date64 => dates::<Date64Type>(array),
        DataType::Timestamp(unit, zone) => {
            // What has a zone is a moment, and shown as a clock of the session's zone shows it.
            let zone = zone.as_ref().map(|_| time_zone.parse()).transpose()?;
            match unit {
                TimeUnit::Second => timestamps::<TimestampSecondType>(array, zone),
                TimeUnit::Millisecond => timestamps::<TimestampMillisecondType>(array, zone),
                TimeUnit::Microsecond => timestamps::<TimestampMicrosecondType>(array, zone),
                TimeUnit::Nanosecond => timestamps::<TimestampNanosecondType>(array, zone),
            }
        }
        // A negative scale is rare, and left to Arrow.
        DataType::Decimal32(_, scale @ 0..) => decimals::<Decimal32Type>(array, *scale as usize),
        DataType::Decimal64(_, scale @ 0..) => decimals::<Decimal64Type>(array, *scale as usize),
        DataType::Decimal128(_, scale @ 0..) => decimals::<Decimal128Type>(array, *scale as usize),
        data_type if data_type.is_nested() && !matches!(data_type, DataType::Union(..)) => {
            // What JSON has no form for is shown as it can be.
            json(array).or_else(|_| displayed(array))
        }
        _ => displayed(array),
    }
}

fn days(array: &ArrayRef) -> Result<Texts, ArrowError> {
    let values = array.as_primitive::<Date32Type>();
    Texts::make(array, |row, out| {
        if !digits::put_day(out, values.value(row)) {
            let date = values.value_as_date(row).ok_or_else(out_of_range)?;
            push(out, format_args!("{date}"));
        }
        Ok(())
    })
}

fn dates<T: ArrowTemporalType>(array: &ArrayRef) -> Result<Texts, ArrowError>
where
    i64: From<T::Native>,
{
    let values: &PrimitiveArray<T> = array.as_primitive();
    Texts::make(array, |row, out| {
        let date = values.value_as_date(row).ok_or_else(out_of_range)?;
        push_date(out, date);
        Ok(())
    })
}

fn timestamps<T: ArrowTimestampType>(
    array: &ArrayRef,
    zone: Option<Tz>,
) -> Result<Texts, ArrowError> {
    let values: &PrimitiveArray<T> = array.as_primitive();
    Texts::make(array, |row, out| {
        let time = as_datetime::<T>(values.value(row)).ok_or_else(out_of_range)?;
        let shown = match zone {
            Some(zone) => local(&zone, time),
            None => time,
        };
        push_date(out, shown.date());
        out.push(b' ');
        digits::put_time(out, shown.time());
        // All nine digits or none, as Impala prints them.
        if shown.nanosecond() > 0 {
            out.push(b'.');
            digits::put_digits::<9>(out, shown.nanosecond());
        }
        Ok(())
    })
}

/// `YYYY-MM-DD`; a year of other than four digits has a sign.
fn push_date(out: &mut Vec<u8>, date: NaiveDate) {
    if !digits::put_date(out, date) {
        push(out, format_args!("{date}"));
    }
}

/// Numbers with `scale` digits behind the point.
fn decimals<T: DecimalType>(array: &ArrayRef, scale: usize) -> Result<Texts, ArrowError>
where
    i128: From<T::Native>,
{
    let values = array.as_primitive::<T>().values();
    Texts::make(array, |row, out| {
        digits::put_decimal(out, values[row].into(), scale);
        Ok(())
    })
}

fn local(zone: &Tz, utc: NaiveDateTime) -> NaiveDateTime {
    let time: DateTime<Tz> = zone.from_utc_datetime(&utc);
    time.naive_local()
}

/// Lists, structs and maps as Impala prints them: JSON.
fn json(array: &ArrayRef) -> Result<Texts, ArrowError> {
    let field = std::sync::Arc::new(Field::new("value", array.data_type().clone(), true));
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(&field, array, &options)?;
    Texts::make(array, |row, out| {
        encoder.encode(row, out);
        Ok(())
    })
}

fn displayed(array: &ArrayRef) -> Result<Texts, ArrowError> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array, &options)?;
    Texts::make(array, |row, out| {
        push(
            out,
            format_args!("{}", formatter.value(row).try_to_string()?),
        );
        Ok(())
    })
}

fn push(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    struct Bytes<'a>(&'a mut Vec<u8>);
    impl std::fmt::Write for Bytes<'_> {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
    let written = Bytes(out).write_fmt(text);
    debug_assert!(written.is_ok(), "a vector takes everything");
}

fn out_of_range() -> ArrowError {
    ArrowError::ComputeError("a date or time is out of range".to_owned())
}
