//! Rows, straight into the socket's buffer.

use std::pin::pin;
use std::sync::Arc;

use arrow_pg::datatypes::field_into_pg_type;
use arrow_pg::encoder::Encoder;
use bytes::{BufMut, BytesMut};
use datafusion::arrow::array::Array;
use datafusion::arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use forebay_server::{Error, PG_TYPE, Rows, Session};
use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::api::results::{FieldFormat, FieldInfo};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::data::RowDescription;
use pgwire::types::ToSqlText;
use postgres_types::{IsNull, ToSql};

use crate::cell;
use crate::connection::{Connection, Failure, format_options};
use crate::text_form;
use crate::types::value_error;
use crate::wire::{FLUSH_BYTES, Wire};

/// Largest `DataRow` that the protocol's length field can tell.
const MAX_ROW_BYTES: usize = i32::MAX as usize;

/// What was sent of a result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    /// Rows.
    pub(crate) rows: u64,
    /// Whether sending stopped because the client wanted no more for now.
    pub(crate) limit_reached: bool,
}

/// Writes the rows of one result in the formats that the client asked for.
pub(crate) struct RowEncoder {
    schema: SchemaRef,
    fields: Vec<FieldInfo>,
}

impl RowEncoder {
    /// `formats` as in `Bind`: none (all text), one for all columns, or one for each.
    pub(crate) fn new(
        schema: &SchemaRef,
        formats: &[i16],
        session: &Session,
    ) -> Result<Self, Error> {
        if formats.len() > 1 && formats.len() != schema.fields().len() {
            return Err(Error::new(
                "08P01",
                format!(
                    "bind message has {} result formats but query has {} columns",
                    formats.len(),
                    schema.fields().len()
                ),
            ));
        }
        let format = match formats {
            [] | [0] => Format::UnifiedText,
            [1] => Format::UnifiedBinary,
            formats => Format::Individual(formats.to_vec()),
        };
        let options = Arc::new(format_options(session));
        let mut fields = Vec::with_capacity(schema.fields().len());
        for (i, field) in schema.fields().iter().enumerate() {
            // A column of nothing but untyped NULLs is text, as in PostgreSQL.
            let named = field.metadata().get(PG_TYPE).map(String::as_str);
            let pg_type = match (named, pg_type(field)?) {
                (Some("varchar"), _) => Type::VARCHAR,
                (Some("json"), _) => Type::JSON,
                (Some("jsonb"), _) => Type::JSONB,
                (_, Type::UNKNOWN) => Type::TEXT,
                (_, other) => other,
            };
            let info = FieldInfo::new(
                field.name().clone(),
                None,
                None,
                pg_type,
                format.format_for(i),
            );
            let info = info.with_type_modifier(type_modifier(field.data_type()));
            fields.push(info.with_format_options(Arc::clone(&options)));
        }
        Ok(Self {
            schema: Arc::clone(schema),
            fields,
        })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn fields(&self) -> &[FieldInfo] {
        &self.fields
    }

    pub(crate) fn description(&self) -> RowDescription {
        RowDescription::new(self.fields.iter().map(Into::into).collect())
    }

    /// Appends row `row` of `batch` to `buffer` as a `DataRow` message.
    fn encode(&self, batch: &RecordBatch, row: usize, buffer: &mut BytesMut) -> Result<(), Error> {
        let start = buffer.len();
        buffer.put_u8(b'D');
        buffer.put_i32(0);
        buffer.put_i16(i16::try_from(self.fields.len()).map_err(|_| too_many_columns())?);
        let mut writer = FieldWriter { buffer };
        for ((column, field), info) in batch
            .columns()
            .iter()
            .zip(self.schema.fields())
            .zip(&self.fields)
        {
            if column.is_null(row) {
                writer.buffer.put_i32(-1);
                continue;
            }
            if let Err(error) = cell::encode(&mut writer, column, row, field, info) {
                writer.buffer.truncate(start);
                return Err(error);
            }
        }
        let length = buffer.len() - start - 1;
        if length > MAX_ROW_BYTES {
            buffer.truncate(start);
            return Err(Error::new("54000", "a row is too large to be sent"));
        }
        patch_length(buffer, start + 1, length);
        Ok(())
    }
}

/// The client's type of a column. An array of arrays is an array of what is in the innermost.
fn pg_type(field: &FieldRef) -> Result<Type, Error> {
    match field.data_type() {
        DataType::List(inner) if matches!(inner.data_type(), DataType::List(_)) => pg_type(inner),
        _ => field_into_pg_type(field).map_err(value_error),
    }
}

/// Precision and scale of a numeric in PostgreSQL's packed form; -1 where there is none.
fn type_modifier(data_type: &DataType) -> i32 {
    /// `VARHDRSZ`, which PostgreSQL adds to every type modifier.
    const HEADER: i32 = 4;
    match data_type {
        DataType::Decimal128(precision, scale) if *scale >= 0 => {
            (i32::from(*precision) << 16) + i32::from(*scale) + HEADER
        }
        _ => -1,
    }
}

fn too_many_columns() -> Error {
    Error::new("54011", "a result can have at most 32767 columns")
}

fn patch_length(buffer: &mut BytesMut, at: usize, length: usize) {
    let length = i32::try_from(length).unwrap_or(i32::MAX);
    buffer[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// Writes values, each after its length.
struct FieldWriter<'a> {
    buffer: &'a mut BytesMut,
}

impl Encoder for FieldWriter<'_> {
    type Item = ();

    fn encode_field<T>(&mut self, value: &T, field: &FieldInfo) -> PgWireResult<()>
    where
        T: ToSql + ToSqlText + Sized,
    {
        let start = self.buffer.len();
        self.buffer.put_i32(-1);
        let is_null = match field.format() {
            FieldFormat::Text => {
                value.to_sql_text(field.datatype(), self.buffer, field.format_options())
            }
            FieldFormat::Binary => value.to_sql(field.datatype(), self.buffer),
        }
        .map_err(PgWireError::ApiError)?;
        if matches!(is_null, IsNull::No) {
            if field.format() == FieldFormat::Text {
                text_form::correct(self.buffer, start + 4, field.datatype());
            }
            let length = self.buffer.len() - start - 4;
            patch_length(self.buffer, start, length);
        }
        Ok(())
    }

    fn take_row(&mut self) {}
}

impl Connection {
    /// Sends rows until there are no more, or `limit` have been sent.
    pub(crate) async fn send_rows(
        &mut self,
        rows: &mut Rows,
        encoder: &RowEncoder,
        limit: Option<usize>,
    ) -> Result<Sent, Failure> {
        let mut sent = 0;
        loop {
            let left = limit.map(|limit| limit - sent);
            if left == Some(0) {
                return Ok(Sent {
                    rows: sent as u64,
                    limit_reached: true,
                });
            }
            let next =
                Self::unless_gone(&mut self.wire, &self.notices, pin!(rows.next(left))).await?;
            self.send_notices().await?;
            let Some(batch) = next else {
                return Ok(Sent {
                    rows: sent as u64,
                    limit_reached: false,
                });
            };
            for row in 0..batch.num_rows() {
                if let Err(error) = encoder.encode(&batch, row, self.wire.buffer()) {
                    rows.fail(&error);
                    return Err(error.into());
                }
                flush_if_full(&mut self.wire, rows).await?;
            }
            sent += batch.num_rows();
        }
    }
}

/// Sends what has collected once it is enough. A client that does not read stops its statement
/// here, where a cancel or a time limit still reaches it.
pub(crate) async fn flush_if_full(wire: &mut Wire, rows: &mut Rows) -> Result<(), Failure> {
    if wire.buffer().len() < FLUSH_BYTES {
        return Ok(());
    }
    tokio::select! {
        biased;
        flushed = wire.flush() => Ok(flushed?),
        error = rows.interrupted_while_unread() => {
            rows.fail(&error);
            Err(error.into())
        }
    }
}
