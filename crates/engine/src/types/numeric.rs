//! Division of numerics, and the arithmetic of their digits.
//!
//! PostgreSQL chooses the scale of each quotient by its size, so that it has at least sixteen
//! significant digits (`select_div_scale` in its `numeric.c`). Here a column has one scale, so
//! that rule is applied where both operands are constants; a column of quotients has
//! [`SIGNIFICANT_DECIMALS`] decimals, or [`MANY_DECIMALS`] where the operands' types leave room.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use datafusion::arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, i256};
use datafusion::common::{Result, exec_err, internal_err};
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::{casts, input};
use crate::EngineError;

/// Decimals of averages and of quotients (`NUMERIC_MIN_SIG_DIGITS`).
pub(super) const SIGNIFICANT_DECIMALS: i8 = 16;

/// Decimals of quotients that are surely small: what PostgreSQL gives to `2 / 3`.
const MANY_DECIMALS: i8 = 20;

/// Decimal digits that PostgreSQL groups into one (`DEC_DIGITS`).
const GROUP: i32 = 4;

/// A number beyond the 38 digits of a numeric here.
pub(crate) fn overflow() -> EngineError {
    EngineError::new("22003", "value overflows numeric format")
        .with_detail("A numeric has at most 38 digits.")
}

/// `10` to the power of `exponent`; `None` beyond an i128.
pub(super) fn power_of_ten(exponent: u32) -> Option<i128> {
    10_i128.checked_pow(exponent)
}

/// `dividend * 10^shift / divisor`, rounded half away from zero; `None` when it has more than 38
/// digits. The divisor is not zero.
pub(crate) fn quotient(dividend: i128, shift: u32, divisor: i128) -> Option<i128> {
    let small = power_of_ten(shift).and_then(|power| dividend.checked_mul(power));
    let quotient = match small {
        Some(scaled) => {
            let (quotient, rest) = (scaled / divisor, scaled % divisor);
            let away = rest.unsigned_abs() >= divisor.unsigned_abs().div_ceil(2);
            quotient + i128::from(away && rest != 0) * scaled.signum() * divisor.signum()
        }
        None => wide_quotient(dividend, shift, divisor)?,
    };
    fits(quotient).then_some(quotient)
}

fn wide_quotient(dividend: i128, shift: u32, divisor: i128) -> Option<i128> {
    let power = i256::from_i128(10).checked_pow(shift)?;
    let scaled = i256::from_i128(dividend).checked_mul(power)?;
    let wide = i256::from_i128(divisor);
    let quotient = scaled.checked_div(wide)?.to_i128()?;
    let rest = scaled.checked_rem(wide)?.to_i128()?;
    let away = rest.unsigned_abs() >= divisor.unsigned_abs().div_ceil(2);
    let step = i128::from(away && rest != 0) * dividend.signum() * divisor.signum();
    quotient.checked_add(step)
}

/// Whether a number has at most 38 digits.
pub(super) fn fits(value: i128) -> bool {
    value.unsigned_abs() < 10_u128.pow(u32::from(DECIMAL128_MAX_PRECISION))
}

/// `left / right`, where one of the types is numeric and the other exact; `None` for others.
pub(super) fn division(
    left: &Expr,
    left_type: &DataType,
    right: &Expr,
    right_type: &DataType,
) -> Option<Expr> {
    if !left_type.is_decimal() && !right_type.is_decimal() {
        return None;
    }
    let dividend = as_decimal(left_type)?;
    let divisor = as_decimal(right_type)?;
    let scale = match (constant(left), constant(right)) {
        (Some(a), Some(b)) if b.digits != 0 => constant_scale(a, b),
        _ => column_scale(dividend, divisor),
    };
    let cast = |expr: &Expr, (precision, scale): (u8, i8), from: &DataType| {
        let to = DataType::Decimal128(precision, scale);
        if *from == to {
            return expr.clone();
        }
        Expr::Cast(Cast::new(Box::new(expr.clone()), to))
    };
    let function = ScalarUDF::new_from_impl(NumericDivision {
        scale,
        signature: Signature::any(2, Volatility::Immutable),
    });
    Some(function.call(vec![
        cast(left, dividend, left_type),
        cast(right, divisor, right_type),
    ]))
}

/// `numeric(x)`, which the cast to numeric without precision becomes: all digits stay.
pub(super) fn cast() -> ScalarUDF {
    ScalarUDF::new_from_impl(NumericCast {
        signature: Signature::any(1, Volatility::Immutable),
    })
}

/// Decimals of a numeric that was made of something without a scale.
const UNKNOWN_SCALE: (u8, i8) = (DECIMAL128_MAX_PRECISION, SIGNIFICANT_DECIMALS);

#[derive(Debug, PartialEq, Eq, Hash)]
struct NumericCast {
    signature: Signature,
}

impl ScalarUDFImpl for NumericCast {
    fn name(&self) -> &'static str {
        "numeric"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let from = &types[0];
        if from.is_decimal() {
            return Ok(from.clone());
        }
        let (precision, scale) = match as_decimal(from) {
            Some(exact) => exact,
            None if from.is_floating() || from.is_string() || from.is_null() => UNKNOWN_SCALE,
            None => {
                let message = format!("cannot cast type {} to numeric", input::name_of(from));
                return Err(EngineError::new("42846", message).into());
            }
        };
        Ok(DataType::Decimal128(precision, scale))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let zone = casts::session_zone(&args.config_options);
        let to = args.return_field.data_type();
        let numeric = |values: &ArrayRef| match values.data_type() {
            // By way of text, so that 0.1 is 0.1.
            float if float.is_floating() => {
                let texts = casts::convert(values, &DataType::Utf8, zone)?;
                casts::convert(&texts, to, zone)
            }
            _ => casts::convert(values, to, zone),
        };
        match args.args.as_slice() {
            [ColumnarValue::Array(values)] => Ok(ColumnarValue::Array(numeric(values)?)),
            [ColumnarValue::Scalar(value)] => {
                let value = ScalarValue::try_from_array(&numeric(&value.to_array()?)?, 0)?;
                Ok(ColumnarValue::Scalar(value))
            }
            _ => exec_err!("numeric takes one value"),
        }
    }
}

/// Precision and scale of an exact type.
pub(crate) fn as_decimal(data_type: &DataType) -> Option<(u8, i8)> {
    Some(match data_type {
        DataType::Decimal128(precision, scale) if *scale >= 0 => (*precision, *scale),
        DataType::Int8 | DataType::UInt8 => (3, 0),
        DataType::Int16 | DataType::UInt16 => (5, 0),
        DataType::Int32 | DataType::UInt32 => (10, 0),
        DataType::Int64 => (19, 0),
        DataType::UInt64 => (20, 0),
        _ => return None,
    })
}

/// Decimals of a column of quotients.
fn column_scale((p1, s1): (u8, i8), (_, s2): (u8, i8)) -> i8 {
    // The quotient is largest when the divisor is the smallest fraction that its type has.
    let whole_digits = i32::from(p1) - i32::from(s1) + i32::from(s2);
    let room = i32::from(DECIMAL128_MAX_PRECISION) - whole_digits;
    let many = room >= i32::from(MANY_DECIMALS);
    let least = if many {
        MANY_DECIMALS
    } else {
        SIGNIFICANT_DECIMALS
    };
    least.max(s1).max(s2)
}

/// A constant: its digits, and how many of them are decimals.
#[derive(Clone, Copy)]
struct Constant {
    digits: i128,
    scale: i8,
}

fn constant(expr: &Expr) -> Option<Constant> {
    let whole = |digits: i128| Some(Constant { digits, scale: 0 });
    match expr {
        Expr::Literal(ScalarValue::Decimal128(Some(digits), _, scale), _) => Some(Constant {
            digits: *digits,
            scale: *scale,
        }),
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => whole((*value).into()),
        Expr::Literal(ScalarValue::Int32(Some(value)), _) => whole((*value).into()),
        Expr::Cast(cast) if cast.field.data_type().is_integer() => constant(&cast.expr),
        _ => None,
    }
}

impl Constant {
    /// Weight and value of the first group of four digits, as PostgreSQL has them.
    fn first_group(self) -> (i32, i128) {
        if self.digits == 0 {
            return (0, 0);
        }
        let scale = i32::from(self.scale);
        let digits = i32::try_from(self.digits.unsigned_abs().ilog10()).unwrap_or(0);
        let weight = (digits - scale).div_euclid(GROUP);
        let exponent = scale + GROUP * weight;
        let power = power_of_ten(exponent.unsigned_abs()).unwrap_or(i128::MAX);
        let digits = self.digits.abs();
        let first = if exponent >= 0 {
            digits / power
        } else {
            digits * power
        };
        (weight, first)
    }
}

/// Decimals of a quotient whose operands are known.
fn constant_scale(dividend: Constant, divisor: Constant) -> i8 {
    let (w1, first1) = dividend.first_group();
    let (w2, first2) = divisor.first_group();
    let weight = w1 - w2 - i32::from(first1 <= first2);
    let scale = (i32::from(SIGNIFICANT_DECIMALS) - weight * GROUP)
        .max(dividend.scale.into())
        .max(divisor.scale.into())
        .max(0);
    // What is left of the 38 digits beside the whole part.
    let room = i32::from(DECIMAL128_MAX_PRECISION) - GROUP * (weight + 1).max(0);
    i8::try_from(scale.min(room)).unwrap_or(SIGNIFICANT_DECIMALS)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct NumericDivision {
    scale: i8,
    signature: Signature,
}

impl ScalarUDFImpl for NumericDivision {
    fn name(&self) -> &'static str {
        "numeric_div"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Decimal128(DECIMAL128_MAX_PRECISION, self.scale))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let all_scalar = args
            .args
            .iter()
            .all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if all_scalar { 1 } else { args.number_rows };
        let [left, right] = args.args.as_slice() else {
            return exec_err!("numeric_div takes two numerics");
        };
        let (left, right) = (left.to_array(rows)?, right.to_array(rows)?);
        let (DataType::Decimal128(_, s1), DataType::Decimal128(_, s2)) =
            (left.data_type(), right.data_type())
        else {
            return internal_err!("numeric_div takes two numerics");
        };
        // The result's scale is at least the dividend's.
        let shift = i32::from(self.scale) + i32::from(*s2) - i32::from(*s1);
        let shift = shift.unsigned_abs();
        let divide = |a: Option<i128>, b: Option<i128>| -> Result<Option<i128>> {
            match (a, b) {
                (Some(_), Some(0)) => Err(EngineError::new("22012", "division by zero").into()),
                (Some(a), Some(b)) => Ok(Some(quotient(a, shift, b).ok_or_else(overflow)?)),
                _ => Ok(None),
            }
        };
        let quotients: Decimal128Array = left
            .as_primitive::<Decimal128Type>()
            .iter()
            .zip(right.as_primitive::<Decimal128Type>())
            .map(|(a, b)| divide(a, b))
            .collect::<Result<_>>()?;
        let quotients = quotients.with_precision_and_scale(DECIMAL128_MAX_PRECISION, self.scale)?;
        if all_scalar {
            let value = ScalarValue::try_from_array(&quotients, 0)?;
            return Ok(ColumnarValue::Scalar(value));
        }
        Ok(ColumnarValue::Array(Arc::new(quotients)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_round_half_away_from_zero() {
        let cases = [
            (2, 0, 3, Some(1)),
            (1, 0, 3, Some(0)),
            (1, 0, 2, Some(1)),
            (-1, 0, 2, Some(-1)),
            (1, 0, -2, Some(-1)),
            (-3, 1, -7, Some(4)),
            (0, 20, 7, Some(0)),
            (i128::MAX, 0, 1, None),
            (10_i128.pow(37), 10, 10_i128.pow(30), Some(10_i128.pow(17))),
            (
                -2 * 10_i128.pow(37),
                10,
                3 * 10_i128.pow(30),
                Some(-66_666_666_666_666_667),
            ),
            (10_i128.pow(37), 10, 1, None),
        ];
        for (dividend, shift, divisor, expected) in cases {
            assert_eq!(
                quotient(dividend, shift, divisor),
                expected,
                "{dividend} / {divisor}"
            );
        }
    }

    /// The scales are those that PostgreSQL 15 prints.
    #[test]
    fn constants_have_postgresqls_scale() {
        let number = |digits, scale| Constant { digits, scale };
        let cases = [
            (number(1, 0), number(30, 1), 20),
            (number(100, 1), number(4, 0), 16),
            (number(10, 1), number(1, 0), 20),
            (number(15000, 0), number(1, 0), 16),
            (number(20000, 0), number(1, 0), 12),
            (number(1, 0), number(3_000_000, 0), 24),
            (number(0, 0), number(3, 0), 20),
            (number(1, 4), number(3, 0), 24),
        ];
        for (a, b, scale) in cases {
            assert_eq!(
                constant_scale(a, b),
                scale,
                "{}e-{} / {}",
                a.digits,
                a.scale,
                b.digits
            );
        }
    }
}
