//! `forebay.relations` and `forebay.columns`: what `information_schema` has no place for. Comments, and
//! the types that columns have in their files, which are more than PostgreSQL's.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};

use super::directory::{Directory, Listed, Relations};
use super::relation::{Row, int, int_or_null, relation, relation_of_files, text, text_or_null};
use crate::functions::impala_type_name;

const RELATIONS: &str = "table_schema name, table_name name, kind text, comment text";

const COLUMNS: &str = "table_schema name, table_name name, column_name name, \
    ordinal_position int4, arrow_type text, impala_type text, numeric_precision int4, \
    numeric_scale int4, comment text";

pub(super) fn own(relations: &mut Relations, directory: &Arc<Directory>) {
    let listed = Arc::clone(directory);
    let rows = relation(RELATIONS, move |asker| {
        let listed = listed.relations(&asker.snapshot);
        listed.iter().map(relation_row).collect()
    });
    relations.add("relations", rows);
    let directory = Arc::clone(directory);
    let rows = relation_of_files(COLUMNS, move |asker| {
        let directory = Arc::clone(&directory);
        Box::pin(async move {
            let listed = directory.columns(&asker.snapshot).await;
            listed.iter().flat_map(column_rows).collect()
        })
    });
    relations.add("columns", rows);
}

fn relation_row(listed: &Listed) -> Row {
    vec![
        text(&listed.schema),
        text(&listed.name),
        text(if listed.is_view { "VIEW" } else { "TABLE" }),
        text_or_null(listed.comment().map(ToOwned::to_owned)),
    ]
}

fn column_rows((listed, columns): &(Listed, SchemaRef)) -> Vec<Row> {
    let numbered = (1i32..).zip(columns.fields());
    let row = |(number, field): (i32, &Arc<datafusion::arrow::datatypes::Field>)| {
        let digits = digits(field.data_type());
        vec![
            text(&listed.schema),
            text(&listed.name),
            text(field.name()),
            int(number),
            text(field.data_type().to_string()),
            text(impala_type_name(field.data_type())),
            int_or_null(digits.map(|(precision, _)| precision)),
            int_or_null(digits.map(|(_, scale)| scale)),
            text_or_null(listed.comment_on(field.name()).map(ToOwned::to_owned)),
        ]
    };
    numbered.map(row).collect()
}

/// Precision and scale of a decimal.
fn digits(data_type: &DataType) -> Option<(i32, i32)> {
    match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => Some(((*precision).into(), (*scale).into())),
        // As wide as its largest value.
        DataType::UInt64 => Some((20, 0)),
        DataType::Dictionary(_, value) => digits(value),
        DataType::RunEndEncoded(_, value) => digits(value.data_type()),
        _ => None,
    }
}
