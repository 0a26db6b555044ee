//! `AT TIME ZONE`.
//!
//! A moment (`timestamptz`) becomes what clocks in a zone show, and what clocks show (`timestamp`)
//! becomes a moment.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::input::Zone;
use super::{casts, dates, input};
use crate::EngineError;

/// `timezone(zone, timestamp)`, which `timestamp AT TIME ZONE zone` becomes; then the session's
/// zone is the third argument, because it is part of the result's type.
pub(super) fn timezone() -> ScalarUDF {
    let arguments = vec![TypeSignature::Any(2), TypeSignature::Any(3)];
    ScalarUDF::new_from_impl(TimeZoneFunction {
        signature: Signature::one_of(arguments, Volatility::Stable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TimeZoneFunction {
    signature: Signature,
}

impl ScalarUDFImpl for TimeZoneFunction {
    fn name(&self) -> &'static str {
        "timezone"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        internal_err!("the type of timezone() follows from its arguments")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let (zone, time) = (
            args.arg_fields[0].data_type(),
            args.arg_fields[1].data_type(),
        );
        let session = match args.scalar_arguments.get(2).copied().flatten() {
            Some(ScalarValue::Utf8(Some(zone)) | ScalarValue::Utf8View(Some(zone))) => zone,
            _ => "+00:00",
        };
        let zone_is_known = zone.is_string() || zone.is_null();
        let result = match time {
            DataType::Timestamp(_, None) if zone_is_known => Some(session.into()),
            DataType::Timestamp(_, Some(_)) | DataType::Date32 if zone_is_known => None,
            other if (other.is_string() || other.is_null()) && zone_is_known => None,
            other => {
                let (zone, time) = (input::name_of(zone), input::name_of(other));
                let message = format!("function timezone({zone}, {time}) does not exist");
                return Err(EngineError::new("42883", message).into());
            }
        };
        let result = DataType::Timestamp(TimeUnit::Microsecond, result);
        Ok(Arc::new(Field::new(self.name(), result, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let names = casts::strict(&arrays[0], &DataType::Utf8)?;
        let names = names.as_string::<i32>();
        let session = casts::session_zone(&args.config_options);
        let from_clock = matches!(arrays[1].data_type(), DataType::Timestamp(_, None));
        // A date or a text stands for a moment, in the session's zone.
        let moment = DataType::Timestamp(TimeUnit::Microsecond, Some(session.into()));
        let times = match arrays[1].data_type() {
            DataType::Timestamp(..) => dates::microseconds(&arrays[1])?,
            DataType::Date32 => dates::microseconds(&casts::strict(&arrays[1], &moment)?)?,
            _ => dates::microseconds(&casts::convert(&arrays[1], &moment, session)?)?,
        };
        let mut last: Option<(String, Zone)> = None;
        let mut moved = Vec::with_capacity(times.len());
        let times = times.as_primitive::<TimestampMicrosecondType>();
        for (name, time) in names.iter().zip(times) {
            let (Some(name), Some(time)) = (name, time) else {
                moved.push(None);
                continue;
            };
            let zone = match &last {
                Some((known, zone)) if known == name => *zone,
                _ => find(name)?,
            };
            last = Some((name.to_owned(), zone));
            let result = if from_clock {
                chrono::DateTime::from_timestamp_micros(time)
                    .and_then(|clock| zone.instant(clock.naive_utc()))
            } else {
                zone.local(time).map(|l| l.and_utc().timestamp_micros())
            };
            moved.push(Some(result.ok_or_else(|| {
                EngineError::new("22008", "timestamp out of range")
            })?));
        }
        let moved = TimestampMicrosecondArray::from(moved);
        let moved = moved.with_data_type(args.return_field.data_type().clone());
        let moved: ArrayRef = Arc::new(moved);
        dates::scalar_or_array(&args.args, moved)
    }
}

fn find(name: &str) -> Result<Zone> {
    match Zone::named(Some(name))? {
        Some(zone) => Ok(zone),
        None => internal_err!("a named zone is a zone"),
    }
}
