//! Functions of arrays that PostgreSQL's clients use on its catalog.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, ListArray, StructArray, new_empty_array,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{cast, concat};
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::EngineError;

pub(super) fn all() -> Vec<ScalarUDF> {
    [
        ArrayFunction::new("array_of_query", same_type, empty_for_null),
        ArrayFunction::new("one_of_query", element_type, only_element),
        ArrayFunction::new(
            "generate_subscripts",
            |_| list_of(DataType::Int32),
            subscripts,
        ),
        ArrayFunction::new("_pg_expandarray", expanded_type, expanded),
    ]
    .map(ScalarUDF::new_from_impl)
    .into()
}

#[derive(Debug)]
struct ArrayFunction {
    name: &'static str,
    signature: Signature,
    returns: fn(&DataType) -> DataType,
    body: fn(&ListArray) -> Result<ArrayRef>,
}

impl ArrayFunction {
    fn new(
        name: &'static str,
        returns: fn(&DataType) -> DataType,
        body: fn(&ListArray) -> Result<ArrayRef>,
    ) -> Self {
        Self {
            name,
            signature: Signature::variadic_any(Volatility::Immutable),
            returns,
            body,
        }
    }
}

impl PartialEq for ArrayFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for ArrayFunction {}

impl Hash for ArrayFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for ArrayFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first() {
            Some(DataType::List(_)) => Ok((self.returns)(&types[0])),
            Some(DataType::Null) => Ok((self.returns)(&list_of(DataType::Utf8))),
            _ => Err(
                EngineError::new("42883", format!("function {} needs an array", self.name)).into(),
            ),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(first) = args.args.first() else {
            return exec_err!("{} needs an array", self.name);
        };
        let mut array = first.to_array(args.number_rows)?;
        if array.data_type() == &DataType::Null {
            array = cast(&array, &list_of(DataType::Utf8))?;
        }
        Ok(ColumnarValue::Array((self.body)(array.as_list::<i32>())?))
    }
}

fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", element, true)))
}

fn same_type(list: &DataType) -> DataType {
    list.clone()
}

fn element_type(list: &DataType) -> DataType {
    match list {
        DataType::List(element) => element.data_type().clone(),
        other => other.clone(),
    }
}

/// `ARRAY(query)` of no rows is an empty array, where the aggregate gives NULL.
fn empty_for_null(lists: &ListArray) -> Result<ArrayRef> {
    let (field, offsets, values, nulls) = lists.clone().into_parts();
    let Some(nulls) = nulls else {
        return Ok(Arc::new(lists.clone()));
    };
    let kept = (0..lists.len()).filter(|row| nulls.is_valid(*row));
    let slices: Vec<ArrayRef> = kept
        .map(|row| {
            let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
            values.slice(start, end - start)
        })
        .collect();
    let slices: Vec<&dyn Array> = slices.iter().map(AsRef::as_ref).collect();
    let values = match slices.as_slice() {
        [] => new_empty_array(values.data_type()),
        slices => concat(slices)?,
    };
    let lengths = (0..lists.len()).map(|row| match nulls.is_valid(row) {
        true => (offsets[row + 1] - offsets[row]) as usize,
        false => 0,
    });
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(field, offsets, values, None)?))
}

/// The only element, NULL if there is none: what a query in an expression gives.
fn only_element(lists: &ListArray) -> Result<ArrayRef> {
    let nothing = ScalarValue::try_from(lists.value_type())?;
    let values = (0..lists.len()).map(|row| {
        if lists.is_null(row) {
            return Ok(nothing.clone());
        }
        let values = lists.value(row);
        match values.len() {
            0 => Ok(nothing.clone()),
            1 => ScalarValue::try_from_array(&values, 0),
            _ => Err(EngineError::new(
                "21000",
                "more than one row returned by a subquery used as an expression",
            )
            .into()),
        }
    });
    let values = values.collect::<Result<Vec<_>>>()?;
    match values.is_empty() {
        true => Ok(new_empty_array(&lists.value_type())),
        false => ScalarValue::iter_to_array(values),
    }
}

/// The subscripts of each array, from 1.
fn subscripts(lists: &ListArray) -> Result<ArrayRef> {
    let lengths: Vec<usize> = lengths(lists).collect();
    let numbers = Int32Array::from_iter_values(lengths.iter().flat_map(|n| 1..=*n as i32));
    let field = Arc::new(Field::new("item", DataType::Int32, true));
    let offsets = OffsetBuffer::from_lengths(lengths);
    let nulls = lists.nulls().cloned();
    Ok(Arc::new(ListArray::try_new(
        field,
        offsets,
        Arc::new(numbers),
        nulls,
    )?))
}

fn lengths(lists: &ListArray) -> impl Iterator<Item = usize> {
    (0..lists.len()).map(|row| match lists.is_null(row) {
        true => 0,
        false => lists.value_length(row) as usize,
    })
}

fn expanded_type(list: &DataType) -> DataType {
    list_of(DataType::Struct(expanded_fields(&element_type(list))))
}

fn expanded_fields(element: &DataType) -> Fields {
    let value = Field::new("x", element.clone(), true);
    let number = Field::new("n", DataType::Int32, true);
    vec![value, number].into()
}

/// `_pg_expandarray`: each element with its subscript.
fn expanded(lists: &ListArray) -> Result<ArrayRef> {
    let lengths: Vec<usize> = lengths(lists).collect();
    let numbers = Int32Array::from_iter_values(lengths.iter().flat_map(|n| 1..=*n as i32));
    let rows = (0..lists.len()).filter(|row| lists.is_valid(*row));
    let slices: Vec<ArrayRef> = rows.map(|row| lists.value(row)).collect();
    let slices: Vec<&dyn Array> = slices.iter().map(AsRef::as_ref).collect();
    let values = match slices.as_slice() {
        [] => new_empty_array(&lists.value_type()),
        slices => concat(slices)?,
    };
    let fields = expanded_fields(&lists.value_type());
    let pairs = StructArray::try_new(fields.clone(), vec![values, Arc::new(numbers)], None)?;
    let field = Arc::new(Field::new("item", DataType::Struct(fields), true));
    let offsets = OffsetBuffer::from_lengths(lengths);
    let nulls = lists.nulls().cloned();
    Ok(Arc::new(ListArray::try_new(
        field,
        offsets,
        Arc::new(pairs),
        nulls,
    )?))
}
