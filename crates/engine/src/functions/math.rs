//! Numbers: operators that are functions here, and what PostgreSQL refuses to compute.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use datafusion::arrow::compute::kernels::{boolean, cmp};
use datafusion::arrow::compute::{cast, max, min};
use datafusion::arrow::datatypes::{
    DataType, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};
use datafusion::common::Result;
use datafusion::logical_expr::binary::comparison_coercion;
use datafusion::logical_expr::{ScalarUDF, Volatility};

use super::udf::{Definition, Guard};
use crate::EngineError;

/// The name behind `~`.
pub(crate) const BIT_NOT: &str = "bit_not";

/// The name behind `BETWEEN SYMMETRIC`, as `forebay-sql` writes it.
pub(crate) const BETWEEN_SYMMETRIC: &str = "between_symmetric";

pub(super) fn all() -> Vec<ScalarUDF> {
    vec![
        Definition {
            name: BIT_NOT,
            coerce: |types| match types {
                [t] if t.is_signed_integer() => Some(vec![t.clone()]),
                [t] if t.is_unsigned_integer() || t.is_null() => Some(vec![DataType::Int64]),
                _ => None,
            },
            returns: |types| types[0].clone(),
            body: |args, _| bit_not(&args[0]),
            volatility: Volatility::Immutable,
        }
        .into_udf(),
        Definition {
            name: BETWEEN_SYMMETRIC,
            coerce: |types| {
                let [value, first, second] = types else {
                    return None;
                };
                let common = comparison_coercion(value, first)?;
                let common = comparison_coercion(&common, second)?;
                Some(vec![common.clone(), common.clone(), common])
            },
            returns: |_| DataType::Boolean,
            body: |args, _| between_symmetric(&args[0], &args[1], &args[2]),
            volatility: Volatility::Immutable,
        }
        .into_udf(),
    ]
}

fn bit_not(numbers: &ArrayRef) -> Result<ArrayRef> {
    Ok(match numbers.data_type() {
        DataType::Int8 => Arc::new(
            numbers
                .as_primitive::<Int8Type>()
                .unary::<_, Int8Type>(|n| !n),
        ),
        DataType::Int16 => Arc::new(
            numbers
                .as_primitive::<Int16Type>()
                .unary::<_, Int16Type>(|n| !n),
        ),
        DataType::Int32 => Arc::new(
            numbers
                .as_primitive::<Int32Type>()
                .unary::<_, Int32Type>(|n| !n),
        ),
        _ => Arc::new(
            numbers
                .as_primitive::<Int64Type>()
                .unary::<_, Int64Type>(|n| !n),
        ),
    })
}

/// Between the two in either order, with SQL's three truth values.
fn between_symmetric(value: &ArrayRef, a: &ArrayRef, b: &ArrayRef) -> Result<ArrayRef> {
    let within = |low: &ArrayRef, high: &ArrayRef| {
        boolean::and_kleene(&cmp::gt_eq(value, low)?, &cmp::lt_eq(value, high)?)
    };
    Ok(Arc::new(boolean::or_kleene(
        &within(a, b)?,
        &within(b, a)?,
    )?))
}

/// Arguments that PostgreSQL refuses, by function.
pub(super) const GUARDS: &[(&str, Guard)] = &[
    ("ln", positive),
    ("log10", positive),
    ("log2", positive),
    ("log", positive),
    ("sqrt", not_negative),
    ("power", power),
    ("asin", within_one),
    ("acos", within_one),
];

fn floats(numbers: &ArrayRef) -> Result<Float64Array> {
    Ok(cast(numbers, &DataType::Float64)?
        .as_primitive::<Float64Type>()
        .clone())
}

/// Each argument of a logarithm, the base too, must be above zero.
fn positive(args: &[ArrayRef]) -> Result<()> {
    for arg in args {
        let Some(least) = min(&floats(arg)?) else {
            continue;
        };
        if least == 0.0 {
            return Err(EngineError::new("2201E", "cannot take logarithm of zero").into());
        }
        if least < 0.0 {
            let message = "cannot take logarithm of a negative number";
            return Err(EngineError::new("2201E", message).into());
        }
    }
    Ok(())
}

fn not_negative(args: &[ArrayRef]) -> Result<()> {
    match min(&floats(&args[0])?) {
        Some(least) if least < 0.0 => {
            let message = "cannot take square root of a negative number";
            Err(EngineError::new("2201F", message).into())
        }
        _ => Ok(()),
    }
}

fn power(args: &[ArrayRef]) -> Result<()> {
    let (bases, exponents) = (floats(&args[0])?, floats(&args[1])?);
    for (base, exponent) in bases.iter().zip(&exponents) {
        let (Some(base), Some(exponent)) = (base, exponent) else {
            continue;
        };
        if base == 0.0 && exponent < 0.0 {
            let message = "zero raised to a negative power is undefined";
            return Err(EngineError::new("2201F", message).into());
        }
        if base < 0.0 && exponent.is_finite() && exponent.fract() != 0.0 {
            let message = "a negative number raised to a non-integer power yields a complex result";
            return Err(EngineError::new("2201F", message).into());
        }
    }
    Ok(())
}

fn within_one(args: &[ArrayRef]) -> Result<()> {
    let numbers = floats(&args[0])?;
    let finite = |n: Option<f64>| n.filter(|n| !n.is_nan());
    let outside = finite(min(&numbers)).is_some_and(|n| n < -1.0)
        || finite(max(&numbers)).is_some_and(|n| n > 1.0);
    if outside {
        return Err(EngineError::new("22003", "input is out of range").into());
    }
    Ok(())
}
