//! A relation of the system: its columns as a line of text, its rows made anew at every scan.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::future::BoxFuture;

use crate::SessionFacts;
use crate::vantage::facts;

/// The values of one row, in the order of the columns. [`ScalarValue::Null`] fits every column.
pub(super) type Row = Vec<ScalarValue>;

type Rows = dyn Fn(Arc<SessionFacts>) -> BoxFuture<'static, Vec<Row>> + Send + Sync;

/// A relation whose rows are at hand. `columns` is `name type, name type, …`, as [`field`] reads it.
pub(super) fn relation<F>(columns: &str, rows: F) -> Arc<dyn TableProvider>
where
    F: Fn(&SessionFacts) -> Vec<Row> + Send + Sync + 'static,
{
    relation_of_files(columns, move |asker| {
        let rows = rows(&asker);
        Box::pin(async { rows })
    })
}

/// A relation without rows: for what PostgreSQL has and Forebay has not.
pub(super) fn empty_relation(columns: &str) -> Arc<dyn TableProvider> {
    relation(columns, |_| Vec::new())
}

/// A relation for whose rows files may have to be opened.
pub(super) fn relation_of_files<F>(columns: &str, rows: F) -> Arc<dyn TableProvider>
where
    F: Fn(Arc<SessionFacts>) -> BoxFuture<'static, Vec<Row>> + Send + Sync + 'static,
{
    let fields: Vec<Field> = columns.split(',').map(field).collect();
    let schema = Arc::new(Schema::new(fields));
    let stream = Arc::new(SystemRelation {
        schema: Arc::clone(&schema),
        rows: Arc::new(rows),
    });
    let table = StreamingTable::try_new(schema, vec![stream]);
    Arc::new(table.expect("one partition with the relation's own schema"))
}

/// A column: its name and PostgreSQL's name of its type.
///
/// # Panics
/// On a type that no column here has: a slip in this crate's own text.
fn field(column: &str) -> Field {
    let (name, type_name) = column.trim().split_once(' ').expect("a name and a type");
    match type_name.strip_suffix("[]") {
        Some(element) => {
            let element = Arc::new(scalar_field("item", element));
            Field::new(name, DataType::List(element), true)
        }
        None => scalar_field(name, type_name),
    }
}

fn scalar_field(name: &str, type_name: &str) -> Field {
    let data_type = match type_name {
        "name" | "text" | "char" | "inet" | "aclitem" | "pg_node_tree" => DataType::Utf8,
        "bool" => DataType::Boolean,
        "int2" => DataType::Int16,
        "int4" | "xid" | "oid" | "regproc" => DataType::Int32,
        "int8" => DataType::Int64,
        "float4" => DataType::Float32,
        "float8" => DataType::Float64,
        "interval" => DataType::Interval(IntervalUnit::MonthDayNano),
        "timestamptz" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        other => unreachable!("no system relation has columns of type {other}"),
    };
    let field = Field::new(name, data_type, true);
    match type_name {
        "oid" | "regproc" => field.with_metadata(oid_metadata(type_name)),
        "char" => field.with_metadata([(CHAR_KEY.to_owned(), String::new())].into()),
        _ => field,
    }
}

/// Marks a text column as PostgreSQL's one-byte `"char"`.
const CHAR_KEY: &str = arrow_pg::datatypes::PG_CHAR_KEY;

/// The mark of an integer column that has object ids.
pub(super) const OID_KEY: &str = arrow_pg::datatypes::PG_OID_ALIAS_KEY;

/// Marks an integer column as an object id of this kind (`oid`, `regclass`, …).
pub(super) fn oid_metadata(kind: &str) -> std::collections::HashMap<String, String> {
    [(OID_KEY.to_owned(), kind.to_owned())].into()
}

struct SystemRelation {
    schema: SchemaRef,
    rows: Arc<Rows>,
}

impl fmt::Debug for SystemRelation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemRelation")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl PartitionStream for SystemRelation {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let rows = Arc::clone(&self.rows);
        let batch = async move {
            let asker = Arc::clone(facts(context.session_config().options())?);
            batch(&schema, rows(asker).await)
        };
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            futures::stream::once(batch),
        ))
    }
}

fn batch(schema: &SchemaRef, rows: Vec<Row>) -> Result<RecordBatch> {
    let count = rows.len();
    let mut columns: Vec<Vec<ScalarValue>> = vec![Vec::with_capacity(count); schema.fields().len()];
    for row in rows {
        assert_eq!(row.len(), columns.len(), "a value for each of {schema}");
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(value);
        }
    }
    let arrays = columns
        .into_iter()
        .zip(schema.fields())
        .map(|(values, field)| array(values, field.data_type()))
        .collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    let batch = RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?;
    Ok(batch)
}

fn array(values: Vec<ScalarValue>, data_type: &DataType) -> Result<ArrayRef> {
    let null = ScalarValue::try_from(data_type)?;
    if values.is_empty() {
        return null.to_array_of_size(0);
    }
    let typed = values.into_iter().map(|value| match value {
        ScalarValue::Null => null.clone(),
        value => value,
    });
    ScalarValue::iter_to_array(typed)
}

/// NULL, in every column.
pub(super) const NULL: ScalarValue = ScalarValue::Null;

pub(super) fn text(value: impl Into<String>) -> ScalarValue {
    ScalarValue::Utf8(Some(value.into()))
}

pub(super) fn text_or_null(value: Option<impl Into<String>>) -> ScalarValue {
    value.map_or(NULL, text)
}

pub(super) fn texts(values: impl IntoIterator<Item = String>) -> ScalarValue {
    let values: Vec<ScalarValue> = values.into_iter().map(text).collect();
    ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Utf8))
}

pub(super) fn ints(values: impl IntoIterator<Item = i32>) -> ScalarValue {
    let values: Vec<ScalarValue> = values.into_iter().map(int).collect();
    ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Int32))
}

/// A count, which has no sign; beyond the largest `int8` it is that.
pub(super) fn big(value: u64) -> ScalarValue {
    ScalarValue::Int64(Some(i64::try_from(value).unwrap_or(i64::MAX)))
}

pub(super) fn real(value: f32) -> ScalarValue {
    ScalarValue::Float32(Some(value))
}

pub(super) fn small(value: i16) -> ScalarValue {
    ScalarValue::Int16(Some(value))
}

pub(super) fn int(value: i32) -> ScalarValue {
    ScalarValue::Int32(Some(value))
}

pub(super) fn int_or_null(value: Option<i32>) -> ScalarValue {
    ScalarValue::Int32(value)
}

pub(super) fn oid(value: u32) -> ScalarValue {
    int(value.cast_signed())
}

pub(super) fn boolean(value: bool) -> ScalarValue {
    ScalarValue::Boolean(Some(value))
}

pub(super) fn yes_or_no(value: bool) -> ScalarValue {
    text(if value { "YES" } else { "NO" })
}

pub(super) fn time(value: Option<chrono::DateTime<chrono::Utc>>) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(value.map(|t| t.timestamp_micros()), Some("UTC".into()))
}
