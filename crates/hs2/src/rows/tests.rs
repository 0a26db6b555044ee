//! Every type of Arrow, into columns and back as a client reads them.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use datafusion::arrow::array::types::{
    Float16Type, IntervalMonthDayNanoType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use datafusion::arrow::array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Date64Array,
    Decimal32Array, Decimal64Array, Decimal128Array, Decimal256Array, DictionaryArray,
    FixedSizeBinaryArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
    Int64Array, IntervalMonthDayNanoArray, LargeBinaryArray, LargeStringArray, ListArray,
    NullArray, PrimitiveArray, RunArray, StringArray, StringViewArray, StructArray,
    Time64MicrosecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use datafusion::arrow::datatypes::{ArrowTimestampType, DataType, Field, Int32Type, Schema, i256};
use datafusion::arrow::record_batch::RecordBatch;
use pilota::thrift::Message as _;
use pilota::thrift::binary::TBinaryProtocol;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::columns::{Fetched, RowSet};
use super::types;
use crate::error;
use crate::wire::call::Response as _;
use crate::wire::idl::{TColumn, TFetchResultsResp, TTypeEntry, TTypeId};

/// A value as a client has it.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    Binary(Vec<u8>),
}

/// What a client reads, value by value, of an array that comes in the given pieces.
fn read(pieces: &[ArrayRef]) -> Vec<Option<Value>> {
    let field = Field::new("a", pieces[0].data_type().clone(), true);
    let schema = Arc::new(Schema::new(vec![field]));
    let batch = |piece: &ArrayRef| {
        RecordBatch::try_new(Arc::clone(&schema), vec![Arc::clone(piece)]).unwrap()
    };
    let batches: Vec<_> = pieces.iter().map(batch).collect();
    let rows = RowSet::new(&schema, &batches, 7, "Europe/Berlin").unwrap();
    let fetched = Fetched {
        status: error::success(),
        has_more_rows: true,
        rows: Some(rows),
    };
    let mut bytes = BytesMut::new();
    fetched
        .write(&mut TBinaryProtocol::new(&mut bytes, false))
        .unwrap();
    let mut bytes: Bytes = bytes.freeze();
    let read = TFetchResultsResp::decode(&mut TBinaryProtocol::new(&mut bytes, false)).unwrap();
    assert!(bytes.is_empty(), "bytes behind the end");
    assert_eq!(read.has_more_rows, Some(true));
    let rows = read.results.unwrap();
    assert_eq!(rows.start_row_offset, 7);
    let columns = rows.columns.unwrap();
    assert_eq!(columns.len(), 1);
    let count = pieces.iter().map(|piece| piece.len()).sum();
    values(&columns[0], count)
}

fn values(column: &TColumn, count: usize) -> Vec<Option<Value>> {
    let (values, nulls): (Vec<Value>, &Bytes) = match column {
        TColumn::BoolVal(c) => (c.values.iter().map(|v| Value::Bool(*v)).collect(), &c.nulls),
        TColumn::ByteVal(c) => (
            c.values.iter().map(|v| Value::Int((*v).into())).collect(),
            &c.nulls,
        ),
        TColumn::I16Val(c) => (
            c.values.iter().map(|v| Value::Int((*v).into())).collect(),
            &c.nulls,
        ),
        TColumn::I32Val(c) => (
            c.values.iter().map(|v| Value::Int((*v).into())).collect(),
            &c.nulls,
        ),
        TColumn::I64Val(c) => (c.values.iter().map(|v| Value::Int(*v)).collect(), &c.nulls),
        TColumn::DoubleVal(c) => (
            c.values.iter().map(|v| Value::Double(*v)).collect(),
            &c.nulls,
        ),
        TColumn::StringVal(c) => (
            c.values
                .iter()
                .map(|v| Value::Text(v.to_string()))
                .collect(),
            &c.nulls,
        ),
        TColumn::BinaryVal(c) => (
            c.values.iter().map(|v| Value::Binary(v.to_vec())).collect(),
            &c.nulls,
        ),
    };
    assert_eq!(values.len(), count);
    assert_eq!(nulls.len(), count.div_ceil(8));
    let is_null = |i: usize| nulls[i / 8] >> (i % 8) & 1 == 1;
    values
        .into_iter()
        .enumerate()
        .map(|(i, value)| (!is_null(i)).then_some(value))
        .collect()
}

/// Checks an array whole, cut in two, and without its first value.
fn check(array: ArrayRef, expected: &[Option<Value>]) {
    assert_eq!(
        read(&[Arc::clone(&array)]),
        expected,
        "{:?}",
        array.data_type()
    );
    let middle = array.len() / 2;
    let pieces = [
        array.slice(0, middle),
        array.slice(middle, array.len() - middle),
    ];
    assert_eq!(read(&pieces), expected, "{:?} in pieces", array.data_type());
    if !expected.is_empty() {
        let rest = array.slice(1, array.len() - 1);
        assert_eq!(
            read(&[rest]),
            expected[1..],
            "{:?} sliced",
            array.data_type()
        );
    }
}

fn all<T: Clone>(values: &[Option<T>], value: impl Fn(T) -> Value) -> Vec<Option<Value>> {
    values.iter().map(|v| v.clone().map(&value)).collect()
}

fn ints<T: Copy + Into<i64>>(values: &[Option<T>]) -> Vec<Option<Value>> {
    all(values, |v| Value::Int(v.into()))
}

fn some<S: Strategy>(values: S) -> impl Strategy<Value = Vec<Option<S::Value>>> {
    vec(option::of(values), 0..40)
}

proptest! {
    #[test]
    fn whole_numbers(
        a in some(any::<i8>()), b in some(any::<i16>()), c in some(any::<i32>()),
        d in some(any::<i64>()), e in some(any::<u8>()), f in some(any::<u16>()),
        g in some(any::<u32>()), h in some(any::<u64>()),
    ) {
        check(Arc::new(Int8Array::from(a.clone())), &ints(&a));
        check(Arc::new(Int16Array::from(b.clone())), &ints(&b));
        check(Arc::new(Int32Array::from(c.clone())), &ints(&c));
        check(Arc::new(Int64Array::from(d.clone())), &ints(&d));
        check(Arc::new(UInt8Array::from(e.clone())), &ints(&e));
        check(Arc::new(UInt16Array::from(f.clone())), &ints(&f));
        check(Arc::new(UInt32Array::from(g.clone())), &ints(&g));
        check(Arc::new(UInt64Array::from(h.clone())), &all(&h, |v| Value::Text(v.to_string())));
    }

    #[test]
    fn other_numbers(
        a in some(any::<bool>()), b in some(-1e30_f32..1e30), c in some(-1e300_f64..1e300),
        d in some(-65504_i32..65504),
    ) {
        check(Arc::new(BooleanArray::from(a.clone())), &all(&a, Value::Bool));
        check(Arc::new(Float32Array::from(b.clone())), &all(&b, |v| Value::Double(v.into())));
        check(Arc::new(Float64Array::from(c.clone())), &all(&c, Value::Double));
        let halves = Float32Array::from_iter(d.iter().map(|v| v.map(|v| v as f32)));
        let halves = datafusion::arrow::compute::cast(&halves, &DataType::Float16).unwrap();
        let primitive: &PrimitiveArray<Float16Type> = halves.as_any().downcast_ref().unwrap();
        let expected: Vec<_> = primitive.iter().map(|v| v.map(|v| Value::Double(v.to_f64()))).collect();
        check(Arc::clone(&halves), &expected);
    }

    #[test]
    fn texts(values in some(".{0,20}")) {
        let expected = all(&values, Value::Text);
        check(Arc::new(StringArray::from(values.clone())), &expected);
        check(Arc::new(LargeStringArray::from(values.clone())), &expected);
        check(Arc::new(StringViewArray::from_iter(values.iter().map(Option::as_deref))), &expected);
        let dictionary: DictionaryArray<Int32Type> =
            values.iter().map(Option::as_deref).collect();
        check(Arc::new(dictionary), &expected);
        let runs: RunArray<Int32Type> = values.iter().map(Option::as_deref).collect();
        prop_assert_eq!(read(&[Arc::new(runs)]), expected);
    }

    #[test]
    fn bytes(values in some(vec(any::<u8>(), 0..20)), sixteen in some(any::<[u8; 16]>())) {
        let expected = all(&values, Value::Binary);
        let slices = || values.iter().map(Option::as_deref);
        check(Arc::new(BinaryArray::from_iter(slices())), &expected);
        check(Arc::new(LargeBinaryArray::from_iter(slices())), &expected);
        check(Arc::new(BinaryViewArray::from_iter(slices())), &expected);
        let fixed = FixedSizeBinaryArray::try_from_sparse_iter_with_size(sixteen.iter().copied(), 16);
        check(Arc::new(fixed.unwrap()), &all(&sixteen, |v| Value::Binary(v.to_vec())));
    }

    #[test]
    fn decimals(values in some(-999_999_999_i32..=999_999_999)) {
        let text = |v: i32| {
            let sign = if v < 0 { "-" } else { "" };
            let whole = v.unsigned_abs();
            Value::Text(format!("{sign}{}.{:02}", whole / 100, whole % 100))
        };
        let expected = all(&values, text);
        let wide = |v: &Option<i32>| v.map(i64::from);
        let a = Decimal32Array::from(values.clone()).with_precision_and_scale(9, 2).unwrap();
        check(Arc::new(a), &expected);
        let b = Decimal64Array::from_iter(values.iter().map(wide));
        check(Arc::new(b.with_precision_and_scale(12, 2).unwrap()), &expected);
        let c = Decimal128Array::from_iter(values.iter().map(|v| v.map(i128::from)));
        check(Arc::new(c.with_precision_and_scale(20, 2).unwrap()), &expected);
        let d = Decimal256Array::from_iter(values.iter().map(|v| v.map(i256::from)));
        check(Arc::new(d.with_precision_and_scale(40, 2).unwrap()), &expected);
    }

    #[test]
    fn times(seconds in some(-60_000_000_000_i64..200_000_000_000), part in 0..1000_i64) {
        use chrono::DateTime;
        let date = |s: i64| DateTime::from_timestamp(s, 0).unwrap().date_naive();
        let days = seconds.iter().map(|s| s.map(|s| i32::try_from(s.div_euclid(86_400)).unwrap()));
        let dates = all(&seconds, |s| Value::Text(date(s).to_string()));
        check(Arc::new(Date32Array::from_iter(days)), &dates);
        let milliseconds = seconds.iter().map(|s| s.map(|s| s.div_euclid(86_400) * 86_400_000));
        check(Arc::new(Date64Array::from_iter(milliseconds)), &dates);
        stamps::<TimestampSecondType>(&seconds, 1, 0);
        stamps::<TimestampMillisecondType>(&seconds, 1000, part);
        stamps::<TimestampMicrosecondType>(&seconds, 1_000_000, part);
        let near: Vec<_> = seconds.iter().map(|s| s.map(|s| s / 100)).collect();
        stamps::<TimestampNanosecondType>(&near, 1_000_000_000, part);
    }
}

/// Timestamps of `per_second` to a second, each with a part of one.
fn stamps<T: ArrowTimestampType>(seconds: &[Option<i64>], per_second: i64, part: i64) {
    let values = seconds.iter().map(|s| s.map(|s| s * per_second + part));
    let array = PrimitiveArray::<T>::from_iter(values);
    let nanoseconds = part * (1_000_000_000 / per_second);
    let expected = all(seconds, |s| {
        let time = chrono::DateTime::from_timestamp(s, 0).unwrap();
        let text = time.format("%Y-%m-%d %H:%M:%S").to_string();
        Value::Text(match nanoseconds {
            0 => text,
            part => format!("{text}.{part:09}"),
        })
    });
    check(Arc::new(array), &expected);
}

fn text(text: &str) -> Option<Value> {
    Some(Value::Text(text.to_owned()))
}

#[test]
fn moments_are_shown_in_the_sessions_zone() {
    let moments = PrimitiveArray::<TimestampMicrosecondType>::from(vec![
        Some(1_751_371_200_000_000),
        Some(1_735_732_800_500_000),
        None,
    ]);
    let expected = [
        text("2025-07-01 14:00:00"),
        text("2025-01-01 13:00:00.500000000"),
        None,
    ];
    check(Arc::new(moments.with_timezone("UTC")), &expected);
}

#[test]
fn what_has_no_type_of_its_own_is_a_text() {
    check(Arc::new(NullArray::new(3)), &[None, None, None]);
    let time = Time64MicrosecondArray::from(vec![Some(45_296_000_000), None]);
    check(Arc::new(time), &[text("12:34:56"), None]);
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1), None, Some(3)]),
        None,
        Some(vec![]),
    ]);
    check(Arc::new(list), &[text("[1,null,3]"), None, text("[]")]);
    let fields: Vec<(Arc<Field>, ArrayRef)> = vec![
        (
            Arc::new(Field::new("a", DataType::Int32, true)),
            Arc::new(Int32Array::from(vec![Some(1), None])),
        ),
        (
            Arc::new(Field::new("b", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec!["x\"y", "ä"])),
        ),
    ];
    let structs = StructArray::from(fields);
    check(
        Arc::new(structs),
        &[text(r#"{"a":1,"b":"x\"y"}"#), text(r#"{"a":null,"b":"ä"}"#)],
    );
    let interval = IntervalMonthDayNanoType::make_value(14, 3, 4_000_000_000);
    let intervals = IntervalMonthDayNanoArray::from(vec![Some(interval), None]);
    let read = read(&[Arc::new(intervals)]);
    assert!(matches!(&read[0], Some(Value::Text(text)) if !text.is_empty()));
    assert_eq!(read[1], None);
}

#[test]
fn clients_are_told_the_types() {
    let told = |data_type: DataType| {
        let schema = Schema::new(vec![Field::new("a", data_type, true)]);
        let column = types::table_schema(&schema).columns.remove(0);
        let TTypeEntry::PrimitiveEntry(entry) = &column.type_desc.types[0];
        let qualifiers = entry.type_qualifiers.as_ref().map(|q| q.qualifiers.len());
        (entry.type_id, qualifiers)
    };
    assert_eq!(told(DataType::Int32), (TTypeId::INT, None));
    assert_eq!(told(DataType::Utf8View), (TTypeId::STRING, None));
    assert_eq!(
        told(DataType::Decimal128(12, 2)),
        (TTypeId::DECIMAL, Some(2))
    );
    assert_eq!(told(DataType::Null), (TTypeId::NULL_TYPE, None));
    assert_eq!(types::name(&DataType::Decimal128(12, 2)), "decimal(12,2)");
    assert_eq!(types::name(&DataType::Float32), "float");
    assert_eq!(
        types::name(&DataType::new_list(DataType::Int32, true)),
        "string"
    );
}
