//! Columns, straight from Arrow into the reply's bytes.
//!
//! A column of the protocol is a list of values, with something in the places of nulls too, and a
//! bitmap of the nulls, which is Arrow's turned over. Fixed-size values are written one behind the
//! other, texts from where Arrow has them; nothing is made for a row or a value on its own.

use bytes::{BufMut, BytesMut};
use datafusion::arrow::array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type,
};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanBufferBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;
use pilota::thrift::{TListIdentifier, TOutputProtocol, TStructIdentifier, TType, ThriftException};

use super::texts::{self, Texts};
use super::types::{self, Member};
use crate::wire::call::{Output, Response};
use crate::wire::idl::TStatus;

/// The reply to `FetchResults`: as `TFetchResultsResp` in the IDL.
pub(crate) struct Fetched {
    pub(crate) status: TStatus,
    pub(crate) has_more_rows: bool,
    /// `None` while there are no results to speak of.
    pub(crate) rows: Option<RowSet>,
}

/// Rows in columns: as `TRowSet` in the IDL.
pub(crate) struct RowSet {
    start_row_offset: i64,
    rows: usize,
    columns: Vec<Column>,
}

/// One column in pieces, one for each batch.
struct Column {
    member: Member,
    pieces: Vec<Piece>,
}

/// Values in a form that can be written.
enum Piece {
    /// As Arrow has them.
    Array(ArrayRef),
    /// As texts that had to be made.
    Texts(Texts),
}

impl RowSet {
    /// The rows of `batches`, which come behind `start_row_offset` others. Moments are shown as in
    /// `time_zone`.
    ///
    /// # Errors
    /// When a value has no text.
    pub(crate) fn new(
        schema: &SchemaRef,
        batches: &[RecordBatch],
        start_row_offset: u64,
        time_zone: &str,
    ) -> Result<Self, ArrowError> {
        let column = |(i, field): (usize, &FieldRef)| {
            let (_, member) = types::of(field.data_type());
            let pieces = batches
                .iter()
                .map(|batch| piece(batch.column(i), member, time_zone))
                .collect::<Result<_, _>>()?;
            Ok(Column { member, pieces })
        };
        Ok(Self {
            start_row_offset: i64::try_from(start_row_offset).unwrap_or(i64::MAX),
            rows: batches.iter().map(RecordBatch::num_rows).sum(),
            columns: schema
                .fields()
                .iter()
                .enumerate()
                .map(column)
                .collect::<Result<_, ArrowError>>()?,
        })
    }
}

fn piece(array: &ArrayRef, member: Member, time_zone: &str) -> Result<Piece, ArrowError> {
    match array.data_type() {
        DataType::Dictionary(_, value) => piece(&cast(array, value)?, member, time_zone),
        DataType::RunEndEncoded(_, value) => {
            piece(&cast(array, value.data_type())?, member, time_zone)
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            Ok(Piece::Array(ArrayRef::clone(array)))
        }
        _ if member == Member::Text => texts::of(array, time_zone).map(Piece::Texts),
        _ => Ok(Piece::Array(ArrayRef::clone(array))),
    }
}

impl Response for Fetched {
    fn capacity(&self) -> usize {
        let rows = self.rows.as_ref();
        rows.map_or(0, |rows| {
            ROOM_BYTES + rows.columns.iter().map(Column::bytes).sum::<usize>()
        })
    }

    fn write(&self, output: &mut Output<'_>) -> Result<(), ThriftException> {
        use pilota::thrift::TOutputProtocolExt;
        output.write_struct_begin(&TStructIdentifier {
            name: "TFetchResultsResp",
        })?;
        output.write_struct_field(1, &self.status, TType::Struct)?;
        output.write_bool_field(2, self.has_more_rows)?;
        if let Some(rows) = &self.rows {
            output.write_field_begin(TType::Struct, 3)?;
            rows.write(output)?;
            output.write_field_end()?;
        }
        output.write_field_stop()?;
        output.write_struct_end()
    }
}

impl RowSet {
    fn write(&self, output: &mut Output<'_>) -> Result<(), ThriftException> {
        use pilota::thrift::TOutputProtocolExt;
        output.write_struct_begin(&TStructIdentifier { name: "TRowSet" })?;
        output.write_i64_field(1, self.start_row_offset)?;
        output.write_field_begin(TType::List, 2)?;
        output.write_list_begin(TListIdentifier::new(TType::Struct, 0))?;
        output.write_list_end()?;
        output.write_field_end()?;
        output.write_field_begin(TType::List, 3)?;
        output.write_list_begin(TListIdentifier::new(TType::Struct, self.columns.len()))?;
        for column in &self.columns {
            column.write(self.rows, output)?;
        }
        output.write_list_end()?;
        output.write_field_end()?;
        output.write_field_stop()?;
        output.write_struct_end()
    }
}

/// What is around the values of a reply, more or less.
const ROOM_BYTES: usize = 1024;

impl Column {
    /// About how many bytes its values take.
    fn bytes(&self) -> usize {
        let pieces = self.pieces.iter();
        pieces
            .map(|piece| match piece {
                Piece::Texts(texts) => texts.bytes(),
                Piece::Array(array) => bytes_of(array),
            })
            .sum()
    }

    /// The union with its one member.
    fn write(&self, rows: usize, output: &mut Output<'_>) -> Result<(), ThriftException> {
        output.write_struct_begin(&TStructIdentifier { name: "TColumn" })?;
        output.write_field_begin(TType::Struct, self.member.field())?;
        output.write_struct_begin(&TStructIdentifier { name: "values" })?;
        output.write_field_begin(TType::List, 1)?;
        output.write_list_begin(TListIdentifier::new(self.element(), rows))?;
        for piece in &self.pieces {
            self.write_values(piece, output.buf_mut());
        }
        output.write_list_end()?;
        output.write_field_end()?;
        output.write_field_begin(TType::Binary, 2)?;
        output.write_bytes_vec(&self.nulls(rows))?;
        output.write_field_end()?;
        output.write_field_stop()?;
        output.write_struct_end()?;
        output.write_field_end()?;
        output.write_field_stop()?;
        output.write_struct_end()
    }

    fn element(&self) -> TType {
        match self.member {
            Member::Bool => TType::Bool,
            Member::I8 => TType::I8,
            Member::I16 => TType::I16,
            Member::I32 => TType::I32,
            Member::I64 => TType::I64,
            Member::Double => TType::Double,
            Member::Text | Member::Binary => TType::Binary,
        }
    }

    /// A bit for each row, the lowest of each byte first; set where there is no value.
    fn nulls(&self, rows: usize) -> Vec<u8> {
        let mut bits = BooleanBufferBuilder::new(rows);
        for piece in &self.pieces {
            match piece {
                Piece::Texts(texts) => texts.nulls(&mut bits),
                Piece::Array(array) => match array.nulls() {
                    Some(valid) => bits.append_buffer(&!valid.inner()),
                    None => bits.append_n(array.len(), false),
                },
            }
        }
        bits.as_slice().to_vec()
    }

    fn write_values(&self, piece: &Piece, out: &mut BytesMut) {
        let array = match piece {
            Piece::Texts(texts) => return texts.write(out),
            Piece::Array(array) => array,
        };
        match array.data_type() {
            DataType::Boolean => {
                let values = array.as_boolean();
                out.reserve(values.len());
                values
                    .values()
                    .iter()
                    .for_each(|value| out.put_u8(value.into()));
            }
            DataType::Int8 => fixed::<Int8Type, 1>(array, out, i8::to_be_bytes),
            DataType::Int16 => fixed::<Int16Type, 2>(array, out, i16::to_be_bytes),
            DataType::UInt8 => fixed::<UInt8Type, 2>(array, out, |v| i16::from(v).to_be_bytes()),
            DataType::Int32 => fixed::<Int32Type, 4>(array, out, i32::to_be_bytes),
            DataType::UInt16 => fixed::<UInt16Type, 4>(array, out, |v| i32::from(v).to_be_bytes()),
            DataType::Int64 => fixed::<Int64Type, 8>(array, out, i64::to_be_bytes),
            DataType::UInt32 => fixed::<UInt32Type, 8>(array, out, |v| i64::from(v).to_be_bytes()),
            DataType::Float16 => fixed::<Float16Type, 8>(array, out, |v| v.to_f64().to_be_bytes()),
            DataType::Float32 => {
                fixed::<Float32Type, 8>(array, out, |v| f64::from(v).to_be_bytes())
            }
            DataType::Float64 => fixed::<Float64Type, 8>(array, out, f64::to_be_bytes),
            DataType::Utf8 => variable(array.as_string::<i32>().iter(), out, str::as_bytes),
            DataType::LargeUtf8 => variable(array.as_string::<i64>().iter(), out, str::as_bytes),
            DataType::Utf8View => variable(array.as_string_view().iter(), out, str::as_bytes),
            DataType::Binary => variable(array.as_binary::<i32>().iter(), out, |v| v),
            DataType::LargeBinary => variable(array.as_binary::<i64>().iter(), out, |v| v),
            DataType::BinaryView => variable(array.as_binary_view().iter(), out, |v| v),
            DataType::FixedSizeBinary(_) => {
                variable(array.as_fixed_size_binary().iter(), out, |v| v);
            }
            other => unreachable!("{other} is written as texts"),
        }
    }
}

/// About how many bytes the values of an array take: of texts, of which the lengths are known, all.
fn bytes_of(array: &ArrayRef) -> usize {
    let texts = |bytes: usize| array.len() * LENGTH_BYTES + bytes;
    match array.data_type() {
        DataType::Utf8View => texts(array.as_string_view().total_bytes_len()),
        DataType::BinaryView => texts(array.as_binary_view().total_bytes_len()),
        DataType::Utf8 => texts(array.as_string::<i32>().offsets().lengths().sum()),
        DataType::Binary => texts(array.as_binary::<i32>().offsets().lengths().sum()),
        DataType::LargeUtf8 => texts(array.as_string::<i64>().offsets().lengths().sum()),
        DataType::LargeBinary => texts(array.as_binary::<i64>().offsets().lengths().sum()),
        _ => array.len() * size_of::<u64>(),
    }
}

/// Values of `N` bytes each. In the place of a null is whatever Arrow has there.
fn fixed<T: ArrowPrimitiveType, const N: usize>(
    array: &ArrayRef,
    out: &mut BytesMut,
    bytes: impl Fn(T::Native) -> [u8; N],
) {
    let values = array.as_primitive::<T>().values();
    let start = out.len();
    out.resize(start + values.len() * N, 0);
    let (places, _) = out[start..].as_chunks_mut::<N>();
    for (place, value) in places.iter_mut().zip(values) {
        *place = bytes(*value);
    }
}

/// Values behind their lengths; a null is as an empty one.
fn variable<'a, T: ?Sized + 'a>(
    values: impl Iterator<Item = Option<&'a T>>,
    out: &mut BytesMut,
    bytes: impl Fn(&'a T) -> &'a [u8],
) {
    for value in values {
        let value = value.map(&bytes).unwrap_or_default();
        out.reserve(LENGTH_BYTES + value.len());
        out.put_slice(&length_bytes(value.len()));
        out.put_slice(value);
    }
}

/// How long the length of a value is.
pub(super) const LENGTH_BYTES: usize = 4;

/// The length of a value as it stands in front of it. Arrow's values are below 2 GiB.
pub(super) fn length_bytes(length: usize) -> [u8; LENGTH_BYTES] {
    let length = i32::try_from(length).expect("a value below 2 GiB");
    length.to_be_bytes()
}
