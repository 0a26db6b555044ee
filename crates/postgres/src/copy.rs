//! `COPY … TO STDOUT` in text and CSV.

use arrow_pg::encoder::Encoder;
use bytes::{BufMut, BytesMut};
use datafusion::arrow::array::Array;
use datafusion::arrow::record_batch::RecordBatch;
use forebay_server::{CopyFormat, CopyOut, Error};
use pgwire::api::results::FieldInfo;
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::copy::{CopyDone, CopyOutResponse};
use pgwire::types::ToSqlText;
use postgres_types::{IsNull, ToSql};
use std::pin::pin;

use crate::cell;
use crate::connection::{Connection, Failure};
use crate::encode::{RowEncoder, flush_if_full};
use crate::text_form;

impl Connection {
    /// Sends everything; gives the command tag.
    pub(crate) async fn copy_out(&mut self, mut copy: CopyOut) -> Result<String, Failure> {
        let encoder = RowEncoder::new(copy.rows.schema(), &[], &self.session)?;
        let columns = encoder.fields().len();
        let count = i16::try_from(columns).map_err(|_| Error::new("54011", "too many columns"))?;
        let response = CopyOutResponse::new(0, count, vec![0; columns]);
        self.wire
            .feed(PgWireBackendMessage::CopyOutResponse(response))
            .await?;
        let mut writer = LineWriter {
            format: &copy.format,
            scratch: BytesMut::new(),
            line: BytesMut::new(),
            column: 0,
        };
        if copy.header {
            for field in encoder.fields() {
                writer.value(field.name().as_bytes());
            }
            writer.end_line(self.wire.buffer());
        }
        loop {
            let batch =
                Self::unless_gone(&mut self.wire, &self.notices, pin!(copy.rows.next(None)))
                    .await?;
            let Some(batch) = batch else { break };
            for row in 0..batch.num_rows() {
                if let Err(error) = writer.row(&encoder, &batch, row) {
                    copy.rows.fail(&error);
                    return Err(error.into());
                }
                writer.end_line(self.wire.buffer());
                flush_if_full(&mut self.wire, &mut copy.rows).await?;
            }
        }
        self.wire
            .feed(PgWireBackendMessage::CopyDone(CopyDone::new()))
            .await?;
        Ok(format!("COPY {}", copy.rows.returned()))
    }
}

/// Writes one line after the other, each as a `CopyData` message.
struct LineWriter<'a> {
    format: &'a CopyFormat,
    scratch: BytesMut,
    line: BytesMut,
    column: usize,
}

impl LineWriter<'_> {
    fn row(&mut self, encoder: &RowEncoder, batch: &RecordBatch, row: usize) -> Result<(), Error> {
        let columns = batch.columns().iter().zip(encoder.schema().fields());
        for ((column, field), info) in columns.zip(encoder.fields()) {
            if column.is_null(row) {
                self.null();
            } else {
                cell::encode(self, column, row, field, info)?;
            }
        }
        Ok(())
    }

    fn separator(&mut self) {
        if self.column > 0 {
            let (CopyFormat::Text { delimiter, .. } | CopyFormat::Csv { delimiter, .. }) =
                self.format;
            self.line.put_u8(*delimiter);
        }
        self.column += 1;
    }

    fn null(&mut self) {
        self.separator();
        let (CopyFormat::Text { null, .. } | CopyFormat::Csv { null, .. }) = self.format;
        self.line.put_slice(null.as_bytes());
    }

    fn value(&mut self, value: &[u8]) {
        self.separator();
        match self.format {
            CopyFormat::Text { delimiter, .. } => put_text(&mut self.line, value, *delimiter),
            CopyFormat::Csv {
                delimiter,
                null,
                quote,
                escape,
                force_quote,
            } => {
                let forced = force_quote.get(self.column - 1) == Some(&true);
                if forced || needs_quotes(value, *delimiter, *quote, null, self.column == 1) {
                    put_quoted(&mut self.line, value, *quote, *escape);
                } else {
                    self.line.put_slice(value);
                }
            }
        }
    }

    fn end_line(&mut self, buffer: &mut BytesMut) {
        self.line.put_u8(b'\n');
        buffer.put_u8(b'd');
        buffer.put_i32(i32::try_from(self.line.len() + 4).unwrap_or(i32::MAX));
        buffer.put_slice(&self.line);
        self.line.clear();
        self.column = 0;
    }
}

impl Encoder for LineWriter<'_> {
    type Item = ();

    fn encode_field<T>(&mut self, value: &T, field: &FieldInfo) -> PgWireResult<()>
    where
        T: ToSql + ToSqlText + Sized,
    {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let is_null = value
            .to_sql_text(field.datatype(), &mut scratch, field.format_options())
            .map_err(PgWireError::ApiError)?;
        match is_null {
            IsNull::Yes => self.null(),
            IsNull::No => {
                text_form::correct(&mut scratch, 0, field.datatype());
                self.value(&scratch);
            }
        }
        self.scratch = scratch;
        Ok(())
    }

    fn take_row(&mut self) {}
}

fn put_text(line: &mut BytesMut, value: &[u8], delimiter: u8) {
    for &byte in value {
        match byte {
            0x08 => line.put_slice(b"\\b"),
            0x0c => line.put_slice(b"\\f"),
            b'\n' => line.put_slice(b"\\n"),
            b'\r' => line.put_slice(b"\\r"),
            0x0b => line.put_slice(b"\\v"),
            b'\t' if delimiter == b'\t' => line.put_slice(b"\\t"),
            b'\\' => line.put_slice(b"\\\\"),
            byte if byte == delimiter => line.put_slice(&[b'\\', byte]),
            byte => line.put_u8(byte),
        }
    }
}

/// A value that looks like NULL, or like the end of the data, is quoted so that it does not.
fn needs_quotes(value: &[u8], delimiter: u8, quote: u8, null: &str, first: bool) -> bool {
    value == null.as_bytes()
        || (first && value == b"\\.")
        || value
            .iter()
            .any(|&b| b == delimiter || b == quote || b == b'\n' || b == b'\r')
}

fn put_quoted(line: &mut BytesMut, value: &[u8], quote: u8, escape: u8) {
    line.put_u8(quote);
    for &byte in value {
        if byte == quote || byte == escape {
            line.put_u8(escape);
        }
        line.put_u8(byte);
    }
    line.put_u8(quote);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(format: &CopyFormat, rows: &[&[Option<&str>]]) -> String {
        let mut writer = LineWriter {
            format,
            scratch: BytesMut::new(),
            line: BytesMut::new(),
            column: 0,
        };
        let mut text = String::new();
        for row in rows {
            for value in *row {
                match value {
                    Some(value) => writer.value(value.as_bytes()),
                    None => writer.null(),
                }
            }
            let mut message = BytesMut::new();
            writer.end_line(&mut message);
            text += str::from_utf8(&message[5..]).unwrap();
        }
        text
    }

    #[test]
    fn text_escapes_what_would_end_a_value() {
        let format = CopyFormat::Text {
            delimiter: b'\t',
            null: "\\N".to_owned(),
        };
        let rows: &[&[Option<&str>]] = &[
            &[Some("a\tb"), None, Some("c\\d\ne")],
            &[Some(""), Some("x"), Some("ä")],
        ];
        assert_eq!(lines(&format, rows), "a\\tb\t\\N\tc\\\\d\\ne\n\tx\tä\n");
    }

    #[test]
    fn csv_quotes_what_would_be_misread() {
        let format = CopyFormat::Csv {
            delimiter: b',',
            null: String::new(),
            quote: b'"',
            escape: b'"',
            force_quote: vec![false, true],
        };
        let rows: &[&[Option<&str>]] = &[
            &[Some("a,b"), Some("x")],
            &[None, None],
            &[Some(""), Some("say \"hi\"")],
            &[Some("\\."), Some("1")],
        ];
        assert_eq!(
            lines(&format, rows),
            "\"a,b\",\"x\"\n,\n\"\",\"say \"\"hi\"\"\"\n\"\\.\",\"1\"\n"
        );
    }
}
