//! Functions that ask about the session and the catalog, or act on others.

mod arrays;
mod definitions;
mod json;
pub(super) mod names;
mod privileges;
mod session;
mod signals;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility,
};

use super::BackendControl;
use super::directory::Directory;
use crate::SessionFacts;
use crate::vantage::facts;

/// Everything that is registered on top of the libraries' functions.
pub(super) fn all(
    directory: &Arc<Directory>,
    backends: &Arc<dyn BackendControl>,
) -> Vec<ScalarUDF> {
    let mut functions = session::all();
    functions.extend(signals::all(backends));
    functions.extend(definitions::all(directory));
    functions.extend(names::all(directory));
    functions.extend(privileges::all());
    functions.extend(arrays::all());
    functions.push(json::build_object());
    functions
}

type Body = dyn Fn(&ScalarFunctionArgs, &SessionFacts) -> Result<ColumnarValue> + Send + Sync;

/// A function that may look at the session.
struct SessionFunction {
    name: &'static str,
    signature: Signature,
    returns: Field,
    body: Arc<Body>,
}

fn function<F>(name: &'static str, signature: Signature, returns: DataType, body: F) -> ScalarUDF
where
    F: Fn(&ScalarFunctionArgs, &SessionFacts) -> Result<ColumnarValue> + Send + Sync + 'static,
{
    function_of_field(name, signature, Field::new(name, returns, true), body)
}

fn function_of_field<F>(
    name: &'static str,
    signature: Signature,
    returns: Field,
    body: F,
) -> ScalarUDF
where
    F: Fn(&ScalarFunctionArgs, &SessionFacts) -> Result<ColumnarValue> + Send + Sync + 'static,
{
    ScalarUDF::new_from_impl(SessionFunction {
        name,
        signature,
        returns,
        body: Arc::new(body),
    })
}

fn nullary<F>(name: &'static str, returns: DataType, value: F) -> ScalarUDF
where
    F: Fn(&SessionFacts) -> ScalarValue + Send + Sync + 'static,
{
    function(
        name,
        Signature::nullary(Volatility::Stable),
        returns,
        move |_, facts| Ok(ColumnarValue::Scalar(value(facts))),
    )
}

/// Arguments of these types, or as many of any type: literals of unknown type are read by
/// [`integers`].
fn stable(exact: &[&[DataType]]) -> Signature {
    let exact_ones = exact
        .iter()
        .map(|types| TypeSignature::Exact(types.to_vec()));
    let any_ones = exact.iter().map(|types| TypeSignature::Any(types.len()));
    Signature::one_of(exact_ones.chain(any_ones).collect(), Volatility::Stable)
}

/// Argument `i` as integers, whatever type it came in.
fn integers(args: &ScalarFunctionArgs, i: usize) -> Result<Int64Array> {
    let array = args.args[i].to_array(args.number_rows)?;
    Ok(cast(&array, &DataType::Int64)?
        .as_primitive::<Int64Type>()
        .clone())
}

/// Argument `i` as object ids; NULL for what can be none.
fn oids(args: &ScalarFunctionArgs, i: usize) -> Result<Vec<Option<u32>>> {
    let integers = integers(args, i)?;
    let oids = integers.iter().map(|v| u32::try_from(v?).ok());
    Ok(oids.collect())
}

/// Argument `i` as texts, whatever type it came in.
fn strings(args: &ScalarFunctionArgs, i: usize) -> Result<StringArray> {
    let array = args.args[i].to_array(args.number_rows)?;
    Ok(cast(&array, &DataType::Utf8)?.as_string::<i32>().clone())
}

fn texts(values: impl Iterator<Item = Option<String>>) -> ColumnarValue {
    array(Arc::new(values.collect::<StringArray>()))
}

fn booleans(values: impl Iterator<Item = Option<bool>>) -> ColumnarValue {
    array(Arc::new(values.collect::<BooleanArray>()))
}

fn array(array: ArrayRef) -> ColumnarValue {
    ColumnarValue::Array(array)
}

impl std::fmt::Debug for SessionFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SessionFunction").field(&self.name).finish()
    }
}

impl PartialEq for SessionFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.body, &other.body)
    }
}

impl Eq for SessionFunction {}

impl Hash for SessionFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for SessionFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.data_type().clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(self.returns.clone()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let options = Arc::clone(&args.config_options);
        (self.body)(&args, facts(&options)?)
    }
}
