//! The two shapes that our functions have.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::EngineError;

/// From the types of the arguments to those that the body takes; `None` where there is no such
/// function.
pub(super) type Coerce = fn(&[DataType]) -> Option<Vec<DataType>>;

/// From the arguments, all arrays of equal length, to the result.
pub(super) type Body = fn(&[ArrayRef], &ScalarFunctionArgs) -> Result<ArrayRef>;

/// A function of our own.
pub(super) struct Definition {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub coerce: Coerce,
    /// What it gives for arguments of the coerced types.
    pub returns: fn(&[DataType]) -> DataType,
    /// What it does.
    pub body: Body,
    /// Whether the answer depends on the session.
    pub volatility: Volatility,
}

impl Definition {
    pub(super) fn into_udf(self) -> ScalarUDF {
        let signature = Signature::user_defined(self.volatility);
        ScalarUDF::new_from_impl(Own {
            definition: self,
            signature,
        })
    }
}

struct Own {
    definition: Definition,
    signature: Signature,
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Own").field(&self.definition.name).finish()
    }
}

impl PartialEq for Own {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name
    }
}

impl Eq for Own {}

impl Hash for Own {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

impl ScalarUDFImpl for Own {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        (self.definition.coerce)(types)
            .ok_or_else(|| EngineError::no_such_function(self.definition.name, types).into())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok((self.definition.returns)(types))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args
            .args
            .iter()
            .all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arrays = args
            .args
            .iter()
            .map(|a| a.to_array(rows))
            .collect::<Result<Vec<_>>>()?;
        let result = (self.definition.body)(&arrays, &args)?;
        if constant && result.len() == 1 {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &result, 0,
            )?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

/// What a guard says of a function's arguments: an error for what PostgreSQL refuses.
pub(super) type Guard = fn(&[ArrayRef]) -> Result<()>;

/// A library's function behind a check of its arguments.
pub(super) fn guarded(inner: Arc<ScalarUDF>, guard: Guard) -> ScalarUDF {
    ScalarUDF::new_from_impl(Guarded { inner, guard })
}

struct Guarded {
    inner: Arc<ScalarUDF>,
    guard: Guard,
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guarded").field(&self.inner.name()).finish()
    }
}

impl PartialEq for Guarded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Guarded {}

impl Hash for Guarded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl ScalarUDFImpl for Guarded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args
            .args
            .iter()
            .all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arrays = args
            .args
            .iter()
            .map(|a| a.to_array(rows))
            .collect::<Result<Vec<_>>>()?;
        (self.guard)(&arrays)?;
        self.inner.invoke_with_args(args)
    }
}

/// Whether values of a type are texts; an untyped NULL may be one.
pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null
    )
}
