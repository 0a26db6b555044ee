//! Casts as PostgreSQL does them.
//!
//! DataFusion casts with Arrow's kernels, which read text by rules of their own, cut digits off
//! where PostgreSQL rounds, and print values in Arrow's way. Where the two differ, a cast becomes
//! a function; whether it was written or came from comparing different types makes no difference.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, StringArray};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float32Type, Float64Type};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DFSchema, Result, exec_err};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::{input, output};
use crate::EngineError;

/// The function that `cast` becomes; `None` where Arrow's cast is PostgreSQL's.
pub(super) fn of(cast: &Cast, schema: &DFSchema) -> Option<Expr> {
    let from = cast.expr.get_type(schema).ok()?;
    let to = cast.field.data_type();
    if !differs(&from, to) {
        return None;
    }
    let function = ScalarUDF::new_from_impl(PostgresCast {
        to: to.clone(),
        signature: Signature::any(1, Volatility::Immutable),
    });
    Some(function.call(vec![cast.expr.as_ref().clone()]))
}

/// Whether PostgreSQL's cast is not Arrow's.
fn differs(from: &DataType, to: &DataType) -> bool {
    use DataType::{Float16, Float32, Float64, List};
    if from == to {
        return false;
    }
    match (from, to) {
        (from, to) if from.is_string() => input::reads(to),
        (from, to) if to.is_string() => output::writes(from),
        (Float16 | Float32 | Float64, to) => to.is_integer(),
        (from, to) if from.is_decimal() => to.is_integer(),
        (List(from), List(to)) => from.data_type() != to.data_type(),
        _ => false,
    }
}

/// `array` as `to`. `zone` is the session's time zone.
pub(super) fn convert(array: &ArrayRef, to: &DataType, zone: &str) -> Result<ArrayRef> {
    let from = array.data_type();
    if !differs(from, to) {
        return strict(array, to);
    }
    match (from, to) {
        (from, to) if from.is_string() => input::read(array, to),
        (from, to) if to.is_string() => strict(&output::write(array, from, zone)?, to),
        (DataType::Float32, to) => {
            let even = array.as_primitive::<Float32Type>();
            let even: ArrayRef = Arc::new(even.unary::<_, Float32Type>(f32::round_ties_even));
            whole(&even, to)
        }
        (DataType::Float64, to) => {
            let even = array.as_primitive::<Float64Type>();
            let even: ArrayRef = Arc::new(even.unary::<_, Float64Type>(f64::round_ties_even));
            whole(&even, to)
        }
        (DataType::Decimal128(precision, scale), to) if *scale > 0 => {
            let units = strict(array, &DataType::Decimal128(*precision, 0))?;
            whole(&units, to)
        }
        (DataType::List(_), DataType::List(element)) => {
            let lists = array.as_list::<i32>();
            let values = convert(lists.values(), element.data_type(), zone)?;
            let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
            let lists = ListArray::try_new(Arc::clone(element), offsets, values, nulls)?;
            Ok(Arc::new(lists))
        }
        _ => whole(array, to),
    }
}

/// The value that `text` stands for, by the rules of PostgreSQL's input functions. `zone` is the
/// session's time zone, in which times without one are read.
///
/// # Errors
/// With PostgreSQL's code and message when the text does not fit the type.
pub fn value_of_text(
    text: &str,
    data_type: &DataType,
    zone: &str,
) -> std::result::Result<ScalarValue, EngineError> {
    let texts: ArrayRef = Arc::new(StringArray::from(vec![text]));
    // The zone of the type is that of the result; what is read is in the session's.
    let read_as = match data_type {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some(zone.into())),
        other => other.clone(),
    };
    let value = convert(&texts, &read_as, zone)?;
    Ok(ScalarValue::try_from_array(&strict(&value, data_type)?, 0)?)
}

/// The texts of values, as PostgreSQL's output functions write them. `zone` is the session's time
/// zone.
///
/// # Errors
/// For types without a text.
pub fn texts_of(array: &ArrayRef, zone: &str) -> std::result::Result<ArrayRef, EngineError> {
    Ok(convert(array, &DataType::Utf8, zone)?)
}

/// Arrow's cast, which fails where a value does not fit.
pub(super) fn strict(array: &dyn Array, to: &DataType) -> Result<ArrayRef> {
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    Ok(cast_with_options(array, to, &options)?)
}

/// A number without fraction as an integer.
fn whole(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let integers = strict(array, to);
    Ok(integers
        .map_err(|_| EngineError::new("22003", format!("{} out of range", input::name_of(to))))?)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct PostgresCast {
    to: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for PostgresCast {
    fn name(&self) -> &'static str {
        "pg_cast"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        // As nullable as the cast was, which other parts of the plan rely on.
        let nullable = args.arg_fields[0].is_nullable();
        Ok(Arc::new(Field::new(self.name(), self.to.clone(), nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let zone = session_zone(&args.config_options);
        match args.args.as_slice() {
            [ColumnarValue::Array(array)] => {
                Ok(ColumnarValue::Array(convert(array, &self.to, zone)?))
            }
            [ColumnarValue::Scalar(value)] => {
                let converted = convert(&value.to_array()?, &self.to, zone)?;
                let value = ScalarValue::try_from_array(&converted, 0)?;
                Ok(ColumnarValue::Scalar(value))
            }
            _ => exec_err!("a cast takes one value"),
        }
    }
}

/// The session's time zone.
pub(super) fn session_zone(options: &ConfigOptions) -> &str {
    options.execution.time_zone.as_deref().unwrap_or("UTC")
}
