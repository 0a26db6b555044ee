//! Texts of values that the protocol has no other form for.

use std::fmt::Write as _;

use bytes::BytesMut;
use chrono::{DateTime, NaiveDateTime, TimeZone as _, Timelike as _};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::types::{
    Date32Type, Date64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanBufferBuilder, PrimitiveArray};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{ArrowTimestampType, DataType, Field, TimeUnit};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::writer::{EncoderOptions, make_encoder};
use datafusion::arrow::temporal_conversions::as_datetime;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

use super::columns::put_bytes;

/// The texts of an array, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    bytes: Vec<u8>,
    /// Where each text ends.
    ends: Vec<usize>,
    nulls: Option<NullBuffer>,
}

impl Texts {
    /// As many texts as `array` has values; `text` writes the one in a place that is no null.
    fn make(
        array: &dyn Array,
        mut text: impl FnMut(usize, &mut Vec<u8>) -> Result<(), ArrowError>,
    ) -> Result<Self, ArrowError> {
        let mut texts = Self {
            nulls: array.logical_nulls(),
            ..Self::default()
        };
        for row in 0..array.len() {
            if texts.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                text(row, &mut texts.bytes)?;
            }
            texts.ends.push(texts.bytes.len());
        }
        Ok(texts)
    }

    pub(super) fn write(&self, out: &mut BytesMut) {
        out.reserve(self.bytes.len() + 4 * self.ends.len());
        let mut start = 0;
        for end in &self.ends {
            put_bytes(out, &self.bytes[start..*end]);
            start = *end;
        }
    }

    pub(super) fn nulls(&self, bits: &mut BooleanBufferBuilder) {
        match &self.nulls {
            Some(valid) => bits.append_buffer(&!valid.inner()),
            None => bits.append_n(self.ends.len(), false),
        }
    }
}

/// The texts of an array that is none of texts itself.
///
/// # Errors
/// When a value has no text, a date before the first year for example.
pub(super) fn of(array: &ArrayRef, time_zone: &str) -> Result<Texts, ArrowError> {
    match array.data_type() {
        DataType::Date32 => dates(array, |row| {
            array.as_primitive::<Date32Type>().value_as_datetime(row)
        }),
        DataType::Date64 => dates(array, |row| {
            array.as_primitive::<Date64Type>().value_as_datetime(row)
        }),
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
        data_type if data_type.is_nested() && !matches!(data_type, DataType::Union(..)) => {
            // What JSON has no form for is shown as it can be.
            json(array).or_else(|_| displayed(array))
        }
        _ => displayed(array),
    }
}

fn dates(
    array: &ArrayRef,
    value: impl Fn(usize) -> Option<NaiveDateTime>,
) -> Result<Texts, ArrowError> {
    Texts::make(array, |row, out| {
        let time = value(row).ok_or_else(out_of_range)?;
        push(out, format_args!("{}", time.date()));
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
        push(out, format_args!("{}", shown.format("%Y-%m-%d %H:%M:%S")));
        // All nine digits or none, as Impala prints them.
        if shown.nanosecond() > 0 {
            push(out, format_args!(".{:09}", shown.nanosecond()));
        }
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
