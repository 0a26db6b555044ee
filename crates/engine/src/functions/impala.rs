//! Functions behind the dialect of Impala's clients: what no function of PostgreSQL does.
//!
//! They are for `forebay-sql`'s `impala/functions.rs`, which writes calls of them.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int64Array, IntervalMonthDayNanoArray, StringArray,
};
use datafusion::arrow::compute::kernels::numeric::div;
use datafusion::arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Float64Type, Int64Type,
    IntervalMonthDayNano, IntervalUnit,
};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{ScalarUDF, Volatility};

use super::udf::{Definition, is_text};
use crate::EngineError;
use crate::types::{as_decimal, numeric_overflow, quotient};

/// The least decimals of a quotient, where its type has room for them.
const LEAST_SCALE: i32 = 6;

/// Start and factor of the hash function FNV-1a for 64 bits, as its authors define them.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

pub(super) fn all() -> Vec<ScalarUDF> {
    let definitions = [
        Definition {
            name: "impala_divide",
            coerce: |types| match types {
                [a, b] => operands(a, b).map(|(a, b)| vec![a, b]),
                _ => None,
            },
            returns: quotient_type,
            body: |args, _| divide(&args[0], &args[1]),
            volatility: Volatility::Immutable,
        },
        Definition {
            name: "impala_div",
            coerce: |types| match types {
                [a, b] if is_whole(a) && is_whole(b) => {
                    Some(vec![DataType::Int64, DataType::Int64])
                }
                _ => None,
            },
            returns: |_| DataType::Int64,
            body: |args, _| integer_divide(&args[0], &args[1]),
            volatility: Volatility::Immutable,
        },
        Definition {
            name: "impala_typeof",
            coerce: |types| match types {
                [only] => Some(vec![only.clone()]),
                _ => None,
            },
            returns: |_| DataType::Utf8,
            body: |args, _| {
                let name = type_name(args[0].data_type());
                let names = std::iter::repeat_n(name, args[0].len());
                Ok(Arc::new(StringArray::from_iter_values(names)))
            },
            volatility: Volatility::Immutable,
        },
        Definition {
            name: "impala_hex",
            coerce: |types| match types {
                [t] if is_whole(t) => Some(vec![DataType::Int64]),
                [t] if is_text(t) => Some(vec![DataType::Utf8]),
                _ => None,
            },
            returns: |_| DataType::Utf8,
            body: |args, _| Ok(hex(&args[0])),
            volatility: Volatility::Immutable,
        },
        Definition {
            name: "impala_interval",
            coerce: |types| match types {
                [t, unit] if is_whole(t) && is_text(unit) => {
                    Some(vec![DataType::Int64, DataType::Utf8])
                }
                _ => None,
            },
            returns: |_| DataType::Interval(IntervalUnit::MonthDayNano),
            body: |args, _| intervals(&args[0], &args[1]),
            volatility: Volatility::Immutable,
        },
        Definition {
            name: "fnv_hash",
            coerce: |types| match types {
                [t] if is_whole(t) => Some(vec![DataType::Int64]),
                [t] if is_text(t) => Some(vec![DataType::Utf8]),
                _ => None,
            },
            returns: |_| DataType::Int64,
            body: |args, _| Ok(fnv_hash(&args[0])),
            volatility: Volatility::Immutable,
        },
    ];
    definitions.map(Definition::into_udf).into()
}

/// What Impala has as a whole number. Sums of these are numerics of 38 digits here.
fn is_whole(data_type: &DataType) -> bool {
    data_type.is_integer()
        || *data_type == DataType::Null
        || *data_type == DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0)
}

/// The types in which a quotient is computed: numerics, if one of them has decimals and the other is
/// exact too; doubles for everything else.
fn operands(left: &DataType, right: &DataType) -> Option<(DataType, DataType)> {
    let is_number = |t: &DataType| t.is_numeric() || is_text(t);
    if !is_number(left) || !is_number(right) {
        return None;
    }
    let exact = |t: &DataType| as_decimal(t).map(|(p, s)| DataType::Decimal128(p, s));
    match (exact(left), exact(right)) {
        (Some(left_exact), Some(right_exact)) if !(is_whole(left) && is_whole(right)) => {
            Some((left_exact, right_exact))
        }
        _ => Some((DataType::Float64, DataType::Float64)),
    }
}

fn quotient_type(types: &[DataType]) -> DataType {
    match types {
        [DataType::Decimal128(p1, s1), DataType::Decimal128(p2, s2)] => {
            let (precision, scale) = quotient_digits((*p1, *s1), (*p2, *s2));
            DataType::Decimal128(precision, scale)
        }
        _ => DataType::Float64,
    }
}

/// Precision and scale of a quotient of numerics, by Impala's rule (`DECIMAL_V2`): decimals give way
/// to digits before the point, but not below [`LEAST_SCALE`].
fn quotient_digits((p1, s1): (u8, i8), (p2, s2): (u8, i8)) -> (u8, i8) {
    let most = i32::from(DECIMAL128_MAX_PRECISION);
    let (p1, s1, p2, s2) = (i32::from(p1), i32::from(s1), i32::from(p2), i32::from(s2));
    let scale = LEAST_SCALE.max(s1 + p2 + 1);
    let precision = p1 - s1 + s2 + scale;
    let over = (precision - most).max(0);
    let scale = (scale - over).max(scale.min(LEAST_SCALE));
    let precision = precision.min(most);
    (
        u8::try_from(precision).unwrap_or(DECIMAL128_MAX_PRECISION),
        i8::try_from(scale).unwrap_or(0),
    )
}

/// Quotients. Of doubles, one by zero is infinite; of numerics, there is none.
fn divide(left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
    let (DataType::Decimal128(p1, s1), DataType::Decimal128(p2, s2)) =
        (left.data_type(), right.data_type())
    else {
        if left.as_primitive_opt::<Float64Type>().is_none() {
            return internal_err!("a quotient of {}", left.data_type());
        }
        return Ok(div(left, right)?);
    };
    let (precision, scale) = quotient_digits((*p1, *s1), (*p2, *s2));
    let shift = i32::from(scale) + i32::from(*s2) - i32::from(*s1);
    let one = |a: Option<i128>, b: Option<i128>| -> Result<Option<i128>> {
        match (a, b) {
            (Some(_), Some(0)) => {
                Err(EngineError::new("22012", "Cannot divide decimal by zero").into())
            }
            (Some(a), Some(b)) => scaled_quotient(a, shift, b).map(Some),
            _ => Ok(None),
        }
    };
    let quotients: Decimal128Array = left
        .as_primitive::<Decimal128Type>()
        .iter()
        .zip(right.as_primitive::<Decimal128Type>())
        .map(|(a, b)| one(a, b))
        .collect::<Result<_>>()?;
    Ok(Arc::new(
        quotients.with_precision_and_scale(precision, scale)?,
    ))
}

/// `a * 10^shift / b`. The shift is below zero where the dividend has more decimals than there is
/// room for.
fn scaled_quotient(a: i128, shift: i32, b: i128) -> Result<i128> {
    let found = match u32::try_from(shift) {
        Ok(shift) => quotient(a, shift, b),
        Err(_) => 10_i128
            .checked_pow(shift.unsigned_abs())
            .and_then(|power| b.checked_mul(power))
            .map_or(Some(0), |divisor| quotient(a, 0, divisor)),
    };
    found.ok_or_else(|| numeric_overflow().into())
}

/// Whole quotients, towards zero; NULL by zero.
fn integer_divide(left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
    let (left, right) = (
        left.as_primitive::<Int64Type>(),
        right.as_primitive::<Int64Type>(),
    );
    let quotients: Int64Array = left
        .iter()
        .zip(right)
        .map(|(a, b)| match (a, b) {
            (Some(a), Some(b)) if b != 0 => a
                .checked_div(b)
                .map(Some)
                .ok_or_else(|| EngineError::new("22003", "bigint out of range").into()),
            _ => Ok(None),
        })
        .collect::<Result<_>>()?;
    Ok(Arc::new(quotients))
}

/// So many of a unit (`year` to `microsecond`).
fn intervals(amounts: &ArrayRef, units: &ArrayRef) -> Result<ArrayRef> {
    let amounts = amounts.as_primitive::<Int64Type>().iter();
    let intervals: IntervalMonthDayNanoArray = amounts
        .zip(units.as_string::<i32>())
        .map(|(amount, unit)| match (amount, unit) {
            (Some(amount), Some(unit)) => interval(amount, unit).map(Some),
            _ => Ok(None),
        })
        .collect::<Result<_>>()?;
    Ok(Arc::new(intervals))
}

fn interval(amount: i64, unit: &str) -> Result<IntervalMonthDayNano> {
    const NANOS_PER_SECOND: i64 = 1_000_000_000;
    let (months, days, nanos) = match unit {
        "year" => (12, 0, 0),
        "month" => (1, 0, 0),
        "week" => (0, 7, 0),
        "day" => (0, 1, 0),
        "hour" => (0, 0, 3600 * NANOS_PER_SECOND),
        "minute" => (0, 0, 60 * NANOS_PER_SECOND),
        "second" => (0, 0, NANOS_PER_SECOND),
        "millisecond" => (0, 0, 1_000_000),
        "microsecond" => (0, 0, 1_000),
        other => return internal_err!("an interval of {other}"),
    };
    let times = |one: i64| amount.checked_mul(one);
    let whole = |one: i64| times(one).and_then(|number| i32::try_from(number).ok());
    let interval = whole(months)
        .zip(whole(days))
        .zip(times(nanos))
        .map(|((months, days), nanos)| IntervalMonthDayNano::new(months, days, nanos));
    interval.ok_or_else(|| EngineError::new("22008", "interval out of range").into())
}

/// A type's name as Impala's `typeof` gives it.
pub(crate) fn type_name(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::Null => "NULL_TYPE",
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "TINYINT",
        DataType::Int16 | DataType::UInt8 => "SMALLINT",
        DataType::Int32 | DataType::UInt16 => "INT",
        DataType::Int64 | DataType::UInt32 => "BIGINT",
        DataType::UInt64 => "DECIMAL(20,0)",
        DataType::Float16 | DataType::Float32 => "FLOAT",
        DataType::Float64 => "DOUBLE",
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => return format!("DECIMAL({precision},{scale})"),
        DataType::Date32 | DataType::Date64 => "DATE",
        DataType::Timestamp(..) => "TIMESTAMP",
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "BINARY",
        DataType::Dictionary(_, value) => return type_name(value),
        DataType::RunEndEncoded(_, value) => return type_name(value.data_type()),
        _ => "STRING",
    };
    name.to_owned()
}

/// Hexadecimal digits of numbers (of 64 bits, two's complement) or of the bytes of texts.
fn hex(values: &ArrayRef) -> ArrayRef {
    let texts: StringArray = match values.as_primitive_opt::<Int64Type>() {
        Some(numbers) => numbers
            .iter()
            .map(|number| number.map(|number| format!("{number:X}")))
            .collect(),
        None => values
            .as_string::<i32>()
            .iter()
            .map(|text| {
                text.map(|text| text.bytes().map(|b| format!("{b:02X}")).collect::<String>())
            })
            .collect(),
    };
    Arc::new(texts)
}

/// The hash values of texts, or of the bytes of numbers of 64 bits, the least significant first.
fn fnv_hash(values: &ArrayRef) -> ArrayRef {
    let hash = |bytes: &[u8]| {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
        bytes.iter().fold(FNV_OFFSET, step).cast_signed()
    };
    let hashes: Int64Array = match values.as_primitive_opt::<Int64Type>() {
        Some(numbers) => numbers
            .iter()
            .map(|number| number.map(|number| hash(&number.to_le_bytes())))
            .collect(),
        None => values
            .as_string::<i32>()
            .iter()
            .map(|text| text.map(|text| hash(text.as_bytes())))
            .collect(),
    };
    Arc::new(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_have_the_digits_that_impala_gives_them() {
        for (left, right, expected) in [
            ((2, 1), (3, 0), (7, 6)),
            ((15, 2), (15, 2), (33, 18)),
            ((38, 10), (38, 10), (38, 6)),
            ((38, 0), (5, 0), (38, 6)),
            ((10, 2), (10, 0), (21, 13)),
        ] {
            assert_eq!(
                quotient_digits(left, right),
                expected,
                "{left:?} / {right:?}"
            );
        }
    }

    #[test]
    fn quotients_are_rounded_away_from_zero_and_may_be_too_large() {
        for (a, shift, b, expected) in [
            (20, 5, 3, Some(666_667)),
            (-20, 5, 3, Some(-666_667)),
            (12_345, -2, 1, Some(123)),
            (12_350, -2, 1, Some(124)),
            (1, -39, 5, Some(0)),
            (i128::MAX, 30, 1, None),
        ] {
            assert_eq!(
                scaled_quotient(a, shift, b).ok(),
                expected,
                "{a} {shift} {b}"
            );
        }
    }

    /// The values are those of the algorithm's authors.
    #[test]
    fn hashes_are_fnv_1a() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["", "a", "foobar"]));
        let hashes = fnv_hash(&texts);
        let hashes: Vec<i64> = hashes.as_primitive::<Int64Type>().values().to_vec();
        let expected = [
            0xcbf2_9ce4_8422_2325_u64,
            0xaf63_dc4c_8601_ec8c,
            0x8594_4171_f739_67e8,
        ];
        assert_eq!(hashes, expected.map(u64::cast_signed));
    }

    #[test]
    fn intervals_are_counted_in_their_units() {
        for (amount, unit, expected) in [
            (-2, "year", Some(IntervalMonthDayNano::new(-24, 0, 0))),
            (3, "week", Some(IntervalMonthDayNano::new(0, 21, 0))),
            (
                90,
                "minute",
                Some(IntervalMonthDayNano::new(0, 0, 5_400_000_000_000)),
            ),
            (i64::from(i32::MAX), "year", None),
            (i64::MAX, "second", None),
        ] {
            assert_eq!(interval(amount, unit).ok(), expected, "{amount} {unit}");
        }
    }

    #[test]
    fn whole_division_goes_towards_zero() {
        let left: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), Some(-7), Some(1), None]));
        let right: ArrayRef = Arc::new(Int64Array::from(vec![Some(2), Some(2), Some(0), Some(1)]));
        let quotients = integer_divide(&left, &right).unwrap();
        let expected: ArrayRef = Arc::new(Int64Array::from(vec![Some(3), Some(-3), None, None]));
        assert_eq!(&quotients, &expected);
        let least: ArrayRef = Arc::new(Int64Array::from(vec![i64::MIN]));
        let minus_one: ArrayRef = Arc::new(Int64Array::from(vec![-1]));
        assert!(integer_divide(&least, &minus_one).is_err());
    }
}
