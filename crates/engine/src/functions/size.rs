//! `pg_size_pretty`.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, StringArray};
use datafusion::arrow::datatypes::{DataType, Decimal128Type};
use datafusion::logical_expr::{ScalarUDF, Volatility};

use super::udf::Definition;

/// Units, each 1024 times the one before.
const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];

/// A size stays in its unit below this many, as PostgreSQL has it.
const MAX_IN_UNIT: u128 = 10 * 1024;

pub(super) fn pg_size_pretty() -> ScalarUDF {
    Definition {
        name: "pg_size_pretty",
        coerce: |types| match types {
            [t] if t.is_numeric() || t.is_null() => Some(vec![DataType::Decimal128(38, 0)]),
            _ => None,
        },
        returns: |_| DataType::Utf8,
        body: |args, _| {
            let sizes = args[0].as_primitive::<Decimal128Type>();
            let texts: StringArray = sizes.iter().map(|size| size.map(pretty)).collect();
            Ok(Arc::new(texts))
        },
        volatility: Volatility::Immutable,
    }
    .into_udf()
}

/// The size in the smallest unit in which it is short, rounded half away from zero.
fn pretty(bytes: i128) -> String {
    let sign = if bytes < 0 { "-" } else { "" };
    let size = bytes.unsigned_abs();
    if size < MAX_IN_UNIT {
        return format!("{sign}{size} {}", UNITS[0]);
    }
    // Kept doubled, so that the last bit tells how to round.
    let mut doubled = size >> 9;
    let mut unit = 1;
    while unit + 1 < UNITS.len() && doubled >= 2 * MAX_IN_UNIT - 1 {
        doubled >>= 10;
        unit += 1;
    }
    format!("{sign}{} {}", doubled.div_ceil(2), UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::pretty;

    /// The answers are PostgreSQL 15's.
    #[test]
    fn sizes_are_rounded_as_in_postgresql() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (-10_240, "-10 kB"),
            (10_485_247, "10239 kB"),
            (10_485_248, "10 MB"),
            (1_000_000_000_000, "931 GB"),
            (i128::from(i64::MAX), "8192 PB"),
        ] {
            assert_eq!(pretty(bytes), text);
        }
    }
}
