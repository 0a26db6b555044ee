//! Types as PostgreSQL's messages call them.

use datafusion::arrow::datatypes::{DataType, IntervalUnit};

/// PostgreSQL's name of a type.
pub(crate) fn postgres_name_of(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::Null => "unknown",
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "smallint",
        DataType::Int32 | DataType::UInt16 => "integer",
        DataType::Int64 | DataType::UInt32 => "bigint",
        DataType::UInt64
        | DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => "numeric",
        DataType::Float16 | DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "bytea",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time without time zone",
        DataType::Timestamp(_, None) => "timestamp without time zone",
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
        DataType::Interval(
            IntervalUnit::YearMonth | IntervalUnit::DayTime | IntervalUnit::MonthDayNano,
        )
        | DataType::Duration(_) => "interval",
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::FixedSizeList(item, _) => {
            return format!("{}[]", postgres_name_of(item.data_type()));
        }
        DataType::Struct(_) => "record",
        other => return other.to_string(),
    };
    name.to_owned()
}

/// The same for a type that is known by its name in one of DataFusion's messages only: `Utf8`,
/// `Decimal128(3, 1)`, `Timestamp(ns, "UTC")`, `List(Int64)`.
pub(super) fn postgres_name(printed: &str) -> String {
    let printed = printed.trim();
    let (base, arguments) = match printed.split_once('(') {
        Some((base, arguments)) => (base, arguments.trim_end_matches(')')),
        None => (printed, ""),
    };
    let data_type = match base {
        "Null" => DataType::Null,
        "Boolean" => DataType::Boolean,
        "Int8" | "Int16" | "UInt8" => DataType::Int16,
        "Int32" | "UInt16" => DataType::Int32,
        "Int64" | "UInt32" => DataType::Int64,
        "Float16" | "Float32" => DataType::Float32,
        "Float64" => DataType::Float64,
        "Utf8" | "LargeUtf8" | "Utf8View" | "String" => DataType::Utf8,
        "Date32" | "Date64" | "Date" => DataType::Date32,
        "Binary" | "LargeBinary" | "BinaryView" | "FixedSizeBinary" => DataType::Binary,
        "UInt64" => DataType::UInt64,
        other if other.starts_with("Decimal") => DataType::Decimal128(38, 0),
        other if other.starts_with("Timestamp") => {
            let zone = arguments.contains('"').then(|| "UTC".into());
            DataType::Timestamp(datafusion::arrow::datatypes::TimeUnit::Microsecond, zone)
        }
        other if other.starts_with("Time") => {
            DataType::Time64(datafusion::arrow::datatypes::TimeUnit::Microsecond)
        }
        other if other.starts_with("Interval") || other.starts_with("Duration") => {
            DataType::Interval(IntervalUnit::MonthDayNano)
        }
        other if other.ends_with("List") || other.ends_with("ListView") => {
            let item = arguments.trim_start_matches("non-null ");
            return format!(
                "{}[]",
                postgres_name(item.split(',').next().unwrap_or(item))
            );
        }
        _ => return printed.to_owned(),
    };
    postgres_name_of(&data_type)
}

/// The types in a message's list, commas within parentheses aside.
pub(super) fn postgres_names(list: &str) -> String {
    let mut names = Vec::new();
    let mut depth = 0_usize;
    let mut start = 0;
    for (i, c) in list.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                names.push(postgres_name(&list[start..i]));
                start = i + 1;
            }
            _ => {}
        }
    }
    if !list[start..].trim().is_empty() {
        names.push(postgres_name(&list[start..]));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_types_have_postgresql_names() {
        for (printed, name) in [
            ("Utf8View, Int32", "text, integer"),
            ("Decimal128(3, 1), Boolean", "numeric, boolean"),
            (
                "Timestamp(ns), Timestamp(ns, \"UTC\")",
                "timestamp without time zone, timestamp with time zone",
            ),
            ("List(Int64)", "bigint[]"),
            ("", ""),
        ] {
            assert_eq!(postgres_names(printed), name, "{printed}");
        }
    }
}
