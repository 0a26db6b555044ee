//! The columns of `forebay.query_live` and `forebay.query_log`.
//!
//! [`COLUMNS`] is the only list of them. The Arrow schema, the batches of both tables and the Parquet
//! files of the history are made from it, so they cannot differ.

use crate::QueryRecord;
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono::{DateTime, Utc};
use std::borrow::{Borrow, Cow};
use std::sync::{Arc, LazyLock};

/// The time zone of the columns that are moments.
const TIME_ZONE: &str = "UTC";

/// How a column's value is got from a record; the variant decides its type.
#[derive(Clone, Copy)]
enum Getter {
    Text(fn(&QueryRecord) -> Option<Cow<'_, str>>),
    Whole(fn(&QueryRecord) -> Option<i64>),
    Real(fn(&QueryRecord) -> Option<f64>),
    Truth(fn(&QueryRecord) -> Option<bool>),
    Moment(fn(&QueryRecord) -> Option<DateTime<Utc>>),
    Texts(fn(&QueryRecord) -> Option<&[String]>),
}

/// A column of `forebay.query_live` and `forebay.query_log`.
pub struct Column {
    /// Its name in SQL and in the files.
    pub name: &'static str,
    getter: Getter,
}

impl Column {
    /// Its Arrow type.
    pub fn data_type(&self) -> DataType {
        match self.getter {
            Getter::Text(_) => DataType::Utf8,
            Getter::Whole(_) => DataType::Int64,
            Getter::Real(_) => DataType::Float64,
            Getter::Truth(_) => DataType::Boolean,
            Getter::Moment(_) => DataType::Timestamp(TimeUnit::Microsecond, Some(TIME_ZONE.into())),
            Getter::Texts(_) => {
                DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))
            }
        }
    }

    /// The values of `records`, in their order.
    pub fn values<R: Borrow<QueryRecord>>(&self, records: &[R]) -> ArrayRef {
        let records = records.iter().map(Borrow::borrow);
        match self.getter {
            Getter::Text(get) => Arc::new(records.map(get).collect::<StringArray>()),
            Getter::Whole(get) => Arc::new(records.map(get).collect::<Int64Array>()),
            Getter::Real(get) => Arc::new(records.map(get).collect::<Float64Array>()),
            Getter::Truth(get) => Arc::new(records.map(get).collect::<BooleanArray>()),
            Getter::Moment(get) => Arc::new(
                records
                    .map(|record| get(record).map(|moment| moment.timestamp_micros()))
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone(TIME_ZONE),
            ),
            Getter::Texts(get) => {
                let mut lists = ListBuilder::new(StringBuilder::new());
                records.for_each(|record| {
                    lists.append_option(get(record).map(|texts| texts.iter().map(Some)));
                });
                Arc::new(lists.finish())
            }
        }
    }
}

/// A whole number as SQL has it: what does not fit is the largest one.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

const fn text(name: &'static str, get: fn(&QueryRecord) -> Option<Cow<'_, str>>) -> Column {
    Column {
        name,
        getter: Getter::Text(get),
    }
}

const fn number(name: &'static str, get: fn(&QueryRecord) -> Option<i64>) -> Column {
    Column {
        name,
        getter: Getter::Whole(get),
    }
}

const fn texts(name: &'static str, get: fn(&QueryRecord) -> Option<&[String]>) -> Column {
    Column {
        name,
        getter: Getter::Texts(get),
    }
}

const fn moment(name: &'static str, get: fn(&QueryRecord) -> Option<DateTime<Utc>>) -> Column {
    Column {
        name,
        getter: Getter::Moment(get),
    }
}

/// Every column, in the order in which `SELECT *` shows them.
pub static COLUMNS: [Column; 41] = [
    text("query_id", |r| Some(r.query_id.to_string().into())),
    number("session_id", |r| Some(r.session_id.into())),
    text("protocol", |r| Some(r.protocol.as_ref().into())),
    text("client_address", |r| Some(r.client_address.as_str().into())),
    text("application_name", |r| {
        Some(r.application_name.as_str().into())
    }),
    text("role", |r| Some(r.role.as_str().into())),
    text("effective_role", |r| Some(r.effective_role.as_str().into())),
    text("database", |r| Some(r.database.as_str().into())),
    text("queue", |r| r.queue.as_deref().map(Cow::from)),
    text("statement", |r| Some(r.statement.as_str().into())),
    text("statement_type", |r| Some(r.statement_type.as_ref().into())),
    text("state", |r| Some(r.state.as_str().into())),
    text("status", |r| r.status.as_deref().map(Cow::from)),
    text("sqlstate", |r| r.sqlstate.as_deref().map(Cow::from)),
    moment("start_time", |r| Some(r.start_time)),
    moment("end_time", |r| r.end_time),
    number("total_us", |r| r.total_us.map(whole)),
    number("queue_wait_us", |r| r.queue_wait_us.map(whole)),
    number("lock_wait_us", |r| r.lock_wait_us.map(whole)),
    number("planning_us", |r| r.planning_us.map(whole)),
    number("execution_us", |r| r.execution_us.map(whole)),
    number("fetch_us", |r| r.fetch_us.map(whole)),
    number("unregister_us", |r| r.unregister_us.map(whole)),
    number("rows_returned", |r| r.rows_returned.map(whole)),
    number("rows_read", |r| r.rows_read.map(whole)),
    number("bytes_read", |r| r.bytes_read.map(whole)),
    number("files_pruned", |r| r.files_pruned.map(whole)),
    number("row_groups_pruned", |r| r.row_groups_pruned.map(whole)),
    Column {
        name: "estimated_cost",
        getter: Getter::Real(|r| r.estimated_cost),
    },
    number("cpu_us", |r| r.cpu_us.map(whole)),
    number("memory_estimate_bytes", |r| {
        r.memory_estimate_bytes.map(whole)
    }),
    number("memory_peak_bytes", |r| r.memory_peak_bytes.map(whole)),
    number("spilled_bytes", |r| r.spilled_bytes.map(whole)),
    texts("tables", |r| r.tables.as_deref()),
    texts("columns_used", |r| r.columns_used.as_deref()),
    Column {
        name: "overcommitted",
        getter: Getter::Truth(|r| r.overcommitted),
    },
    number("stepped_aside", |r| r.stepped_aside.map(whole)),
    number("cache_hits", |r| r.cache_hits.map(whole)),
    texts("workers", |r| r.workers.as_deref()),
    text("error", |r| r.error.as_deref().map(Cow::from)),
    number("serial", |r| Some(whole(r.serial))),
];

impl QueryRecord {
    /// The Arrow schema of [`COLUMNS`]. Every column may be null: rows that an older server wrote may
    /// lack what a newer one knows.
    pub fn schema() -> SchemaRef {
        static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
            let field = |column: &Column| Field::new(column.name, column.data_type(), true);
            Arc::new(Schema::new(COLUMNS.iter().map(field).collect::<Vec<_>>()))
        });
        Arc::clone(&SCHEMA)
    }

    /// The records as one batch with [`QueryRecord::schema`], in their order.
    pub fn to_batch<R: Borrow<QueryRecord>>(records: &[R]) -> RecordBatch {
        let all: Vec<usize> = (0..COLUMNS.len()).collect();
        QueryRecord::project(records, &all)
    }

    /// Some columns of the records, by their places in [`COLUMNS`]; there may be none.
    ///
    /// # Panics
    /// When there is no column at such a place.
    pub fn project<R: Borrow<QueryRecord>>(records: &[R], columns: &[usize]) -> RecordBatch {
        let values = columns.iter().map(|place| COLUMNS[*place].values(records));
        let schema = QueryRecord::schema().project(columns);
        let rows = RecordBatchOptions::new().with_row_count(Some(records.len()));
        schema
            .and_then(|s| RecordBatch::try_new_with_options(Arc::new(s), values.collect(), &rows))
            .expect("the schema and the values come from the same table of columns")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::QueryId;
    use crate::record::tests::{at, full};
    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
    use std::collections::BTreeSet;

    #[test]
    fn every_column_has_a_name_of_its_own_and_every_field_a_column() {
        let names: BTreeSet<_> = COLUMNS.iter().map(|column| column.name).collect();
        assert_eq!(names.len(), COLUMNS.len());
        // A field that has been forgotten in the table shows here, because JSON has them all.
        let json = serde_json::to_value(full(1)).unwrap();
        let fields: BTreeSet<_> = json
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(names, fields);
    }

    #[test]
    fn a_batch_has_what_the_records_have() {
        let empty = QueryRecord::new(QueryId::from_halves(0, 2), 2, at(5));
        let batch = QueryRecord::to_batch(&[full(1), empty]);
        assert_eq!(batch.schema(), QueryRecord::schema());
        let column = |name: &str| batch.column_by_name(name).unwrap();

        let ids = column("query_id").as_string::<i32>();
        assert_eq!(ids.value(0), "0000000000000001:0000000000000001");
        assert_eq!(ids.value(1), "0000000000000000:0000000000000002");
        let starts = column("start_time").as_primitive::<TimestampMicrosecondType>();
        assert_eq!(starts.value(0), 1_700_000_000_123_456);
        let read = column("bytes_read").as_primitive::<Int64Type>();
        assert_eq!(read.value(0), i64::MAX);
        assert!(read.is_null(1));
        let cost = column("estimated_cost").as_primitive::<Float64Type>();
        assert_eq!(cost.value(0), 13.5);
        let tables = column("tables").as_list::<i32>();
        assert_eq!(tables.value(0).as_string::<i32>().value(1), "public.b");
        // No columns is not the same as not known.
        let used = column("columns_used").as_list::<i32>();
        assert_eq!(
            (used.value(0).len(), used.is_null(0), used.is_null(1)),
            (0, false, true)
        );
        assert!(column("overcommitted").as_boolean().value(0));
    }

    #[test]
    fn a_column_alone_is_the_column_of_the_batch() {
        let records = [Arc::new(full(1)), Arc::new(full(2))];
        let batch = QueryRecord::to_batch(&records);
        for (column, expected) in COLUMNS.iter().zip(batch.columns()) {
            assert_eq!(&column.values(&records), expected, "{}", column.name);
        }
        assert_eq!(QueryRecord::to_batch::<QueryRecord>(&[]).num_rows(), 0);
        let some = QueryRecord::project(&records, &[9, 0]);
        assert_eq!(
            some.columns(),
            [batch.column(9).clone(), batch.column(0).clone()]
        );
        let none = QueryRecord::project(&records, &[]);
        assert_eq!((none.num_columns(), none.num_rows()), (0, 2));
    }
}
