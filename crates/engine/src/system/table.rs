//! A system table: a schema and a function that makes its rows anew for every scan.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;

use crate::SessionFacts;
use crate::vantage::facts;

/// Makes the rows as the asking session may see them.
pub(super) type Rows = Arc<dyn Fn(&SessionFacts) -> Vec<Vec<ScalarValue>> + Send + Sync>;

/// Builds a table provider that asks `rows` at every scan.
pub(super) fn system_table(columns: Vec<Field>, rows: Rows) -> Arc<dyn TableProvider> {
    let schema = Arc::new(Schema::new(columns));
    let stream = Arc::new(SystemTable {
        schema: Arc::clone(&schema),
        rows,
    });
    let table = StreamingTable::try_new(schema, vec![stream]);
    Arc::new(table.expect("one partition with the table's own schema"))
}

struct SystemTable {
    schema: SchemaRef,
    rows: Rows,
}

impl fmt::Debug for SystemTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemTable")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl SystemTable {
    fn batch(&self, context: &TaskContext) -> Result<RecordBatch> {
        let rows = (self.rows)(facts(context.session_config().options())?);
        if rows.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.schema)));
        }
        let mut columns: Vec<Vec<ScalarValue>> =
            vec![Vec::with_capacity(rows.len()); rows[0].len()];
        for row in rows {
            for (column, value) in columns.iter_mut().zip(row) {
                column.push(value);
            }
        }
        let arrays = columns
            .into_iter()
            .map(ScalarValue::iter_to_array)
            .collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), arrays)?)
    }
}

impl PartitionStream for SystemTable {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batch = self.batch(&context);
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            futures::stream::once(async { batch }),
        ))
    }
}

pub(super) fn text_column(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

pub(super) fn int_column(name: &str) -> Field {
    Field::new(name, DataType::Int32, true)
}

pub(super) fn bool_column(name: &str) -> Field {
    Field::new(name, DataType::Boolean, true)
}

/// A column of PostgreSQL's type `oid`.
pub(super) fn oid_column(name: &str) -> Field {
    let alias = (
        arrow_pg::datatypes::PG_OID_ALIAS_KEY.to_owned(),
        "oid".to_owned(),
    );
    int_column(name).with_metadata([alias].into())
}

pub(super) fn time_column(name: &str) -> Field {
    Field::new(
        name,
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        true,
    )
}

pub(super) fn text(value: impl Into<String>) -> ScalarValue {
    ScalarValue::Utf8(Some(value.into()))
}

pub(super) fn text_or_null(value: Option<impl Into<String>>) -> ScalarValue {
    ScalarValue::Utf8(value.map(Into::into))
}

pub(super) fn int(value: i32) -> ScalarValue {
    ScalarValue::Int32(Some(value))
}

pub(super) fn oid(value: u32) -> ScalarValue {
    ScalarValue::Int32(Some(value.cast_signed()))
}

pub(super) fn boolean(value: bool) -> ScalarValue {
    ScalarValue::Boolean(Some(value))
}

pub(super) fn time(value: Option<chrono::DateTime<chrono::Utc>>) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(value.map(|t| t.timestamp_micros()), Some("UTC".into()))
}
