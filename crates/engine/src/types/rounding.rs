//! `round`, `trunc`, `ceil` and `floor` of numerics.
//!
//! DataFusion's keep the scale of their argument; in PostgreSQL the result has as many decimals
//! as were asked for. Other types are left to DataFusion's functions.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Decimal128Array};
use datafusion::arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Field, FieldRef, Float64Type, Int64Type,
};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::scalar::ScalarValue;

use super::{dates, numeric};

/// The functions, by name, whose result type follows from the value of a literal.
pub(super) const NAMES: [&str; 4] = ["round", "trunc", "ceil", "floor"];

/// The function `inner`, one of [`NAMES`], with numerics rounded as PostgreSQL does.
pub(super) fn of_numerics(inner: Arc<ScalarUDF>) -> Option<ScalarUDF> {
    let mode = match inner.name() {
        "round" => Mode::HalfAway,
        "trunc" => Mode::TowardsZero,
        "ceil" => Mode::Up,
        "floor" => Mode::Down,
        _ => return None,
    };
    Some(ScalarUDF::new_from_impl(Rounding {
        mode,
        aliases: inner.aliases().to_vec(),
        inner,
        signature: Signature::user_defined(Volatility::Immutable),
    }))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Mode {
    HalfAway,
    TowardsZero,
    Up,
    Down,
}

impl Mode {
    /// `value / 10^digits` in whole numbers.
    pub(super) fn cut(self, value: i128, digits: u32) -> i128 {
        let Some(power) = numeric::power_of_ten(digits) else {
            return match self {
                Self::Up => i128::from(value > 0),
                Self::Down => -i128::from(value < 0),
                Self::HalfAway | Self::TowardsZero => 0,
            };
        };
        match self {
            Self::TowardsZero => value / power,
            Self::Down => value.div_euclid(power),
            Self::Up => -(-value).div_euclid(power),
            Self::HalfAway => {
                let away = (value % power).unsigned_abs() >= power.unsigned_abs().div_ceil(2);
                value / power + i128::from(away && value % power != 0) * value.signum()
            }
        }
    }

    /// A number of scale `from`, rounded to `digits` decimals, at scale `to`; `None` when that
    /// has more than 38 digits.
    pub(super) fn apply(self, value: i128, from: i8, digits: i64, to: i8) -> Option<i128> {
        let digits = digits.clamp(-100, i64::from(to));
        let drop = i64::from(from) - digits;
        let rounded = match u32::try_from(drop) {
            Ok(drop) => self.cut(value, drop),
            Err(_) => value.checked_mul(numeric::power_of_ten(unsigned(-drop))?)?,
        };
        if rounded == 0 {
            return Some(0);
        }
        let power = numeric::power_of_ten(unsigned(i64::from(to) - digits))?;
        rounded.checked_mul(power).filter(|v| numeric::fits(*v))
    }
}

fn unsigned(digits: i64) -> u32 {
    u32::try_from(digits).unwrap_or(0)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Rounding {
    mode: Mode,
    inner: Arc<ScalarUDF>,
    aliases: Vec<String>,
    signature: Signature,
}

impl ScalarUDFImpl for Rounding {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [number @ DataType::Decimal128(..)] => return Ok(vec![number.clone()]),
            [number @ DataType::Decimal128(..), digits]
                if digits.is_integer()
                    && matches!(self.mode, Mode::HalfAway | Mode::TowardsZero) =>
            {
                return Ok(vec![number.clone(), DataType::Int64]);
            }
            _ => {}
        }
        let fields: Vec<FieldRef> = types
            .iter()
            .map(|t| Arc::new(Field::new("", t.clone(), true)))
            .collect();
        let coerced = fields_with_udf(&fields, self.inner.as_ref())?;
        Ok(coerced.iter().map(|f| f.data_type().clone()).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let number = &args.arg_fields[0];
        let DataType::Decimal128(precision, scale) = number.data_type() else {
            return self.inner.return_field_from_args(args);
        };
        let digits = match args.scalar_arguments.get(1) {
            None => Some(0),
            Some(literal) => literal.and_then(whole_number),
        };
        let data_type = result_type(*precision, *scale, digits);
        let nullable = args.arg_fields.iter().any(|f| f.is_nullable());
        Ok(Arc::new(Field::new(self.name(), data_type, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let DataType::Decimal128(_, from) = *args.arg_fields[0].data_type() else {
            if self.mode == Mode::HalfAway
                && let [value] = args.args.as_slice()
                && value.data_type() == DataType::Float64
            {
                return half_to_even(value);
            }
            return self.inner.invoke_with_args(args);
        };
        let DataType::Decimal128(precision, to) = *args.return_field.data_type() else {
            return internal_err!("{} of a numeric is numeric", self.name());
        };
        let all_scalar = args
            .args
            .iter()
            .all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if all_scalar { 1 } else { args.number_rows };
        let numbers = args.args[0].to_array(rows)?;
        let digits = match args.args.get(1) {
            Some(digits) => digits.to_array(rows)?,
            None => ScalarValue::Int64(Some(0)).to_array_of_size(rows)?,
        };
        let rounded: Decimal128Array = numbers
            .as_primitive::<Decimal128Type>()
            .iter()
            .zip(digits.as_primitive::<Int64Type>())
            .map(|pair| match pair {
                (Some(value), Some(digits)) => {
                    let rounded = self.mode.apply(value, from, digits, to);
                    Ok(Some(rounded.ok_or_else(numeric::overflow)?))
                }
                _ => Ok(None),
            })
            .collect::<Result<_>>()?;
        let rounded = rounded.with_precision_and_scale(precision, to)?;
        if all_scalar {
            let value = ScalarValue::try_from_array(&rounded, 0)?;
            return Ok(ColumnarValue::Scalar(value));
        }
        Ok(ColumnarValue::Array(Arc::new(rounded)))
    }
}

/// Floats are rounded as the processor does it: 2.5 is 2.
fn half_to_even(value: &ColumnarValue) -> Result<ColumnarValue> {
    let values = value.to_array(1)?;
    let values = values.as_primitive::<Float64Type>();
    let rounded: ArrayRef = Arc::new(values.unary::<_, Float64Type>(f64::round_ties_even));
    dates::scalar_or_array(std::slice::from_ref(value), rounded)
}

/// The type of a number rounded to so many decimals; where these differ from row to row, the
/// scale stays.
fn result_type(precision: u8, scale: i8, digits: Option<i64>) -> DataType {
    let max = i64::from(DECIMAL128_MAX_PRECISION);
    let whole_digits = i64::from(precision) - i64::from(scale);
    let to = digits.map_or(i64::from(scale), |d| {
        d.clamp(0, max - whole_digits.min(max))
    });
    // Rounding up may need one more digit: 9.9 becomes 10.
    let precision = (whole_digits + 1 + to).clamp(1, max);
    let small = |n: i64| i8::try_from(n).unwrap_or(i8::MAX);
    DataType::Decimal128(small(precision).unsigned_abs(), small(to))
}

fn whole_number(literal: &ScalarValue) -> Option<i64> {
    match literal.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(value)) => value,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_the_digits_asked_for() {
        let cases = [
            (Mode::HalfAway, 2349, 3, 2, 2, Some(235)),
            (Mode::HalfAway, -25, 1, 0, 0, Some(-3)),
            (Mode::HalfAway, 24, 1, 0, 0, Some(2)),
            (Mode::HalfAway, 155, 0, -1, 0, Some(160)),
            (Mode::HalfAway, 15, 1, 3, 3, Some(1500)),
            (Mode::TowardsZero, -2349, 3, 2, 2, Some(-234)),
            (Mode::TowardsZero, 2349, 3, 2, 3, Some(2340)),
            (Mode::Up, 11, 1, 0, 0, Some(2)),
            (Mode::Up, -19, 1, 0, 0, Some(-1)),
            (Mode::Down, 19, 1, 0, 0, Some(1)),
            (Mode::Down, -11, 1, 0, 0, Some(-2)),
            (Mode::Down, -20, 1, 0, 0, Some(-2)),
            (Mode::HalfAway, 7, 0, -50, 0, Some(0)),
            (Mode::HalfAway, 10_i128.pow(37), 0, 2, 2, None),
        ];
        for (mode, value, from, digits, to, expected) in cases {
            let found = mode.apply(value, from, digits, to);
            assert_eq!(found, expected, "{mode:?} {value} {from} {digits}");
        }
    }
}
