//! Types that only the client sees.
//!
//! To DataFusion `varchar`, `json` and `jsonb` are text. Where a column of the result is cast to
//! one of them, its field carries the type's name, so that a front end can tell its client.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::PG_TYPE;

/// The functions that carry a type's name, by that name.
pub(crate) const TAGS: [(&str, &str); 3] = [
    ("varchar", "as_varchar"),
    ("json", "as_json"),
    ("jsonb", "as_jsonb"),
];

/// One function for each of [`TAGS`].
pub(super) fn functions() -> impl Iterator<Item = ScalarUDF> {
    TAGS.into_iter().map(|(data_type, name)| {
        ScalarUDF::new_from_impl(Tag {
            data_type,
            name,
            signature: Signature::any(1, Volatility::Immutable),
        })
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Tag {
    data_type: &'static str,
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for Tag {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let value = &args.arg_fields[0];
        let metadata = HashMap::from([(PG_TYPE.to_owned(), self.data_type.to_owned())]);
        let field = Field::new(self.name, value.data_type().clone(), value.is_nullable());
        Ok(Arc::new(field.with_metadata(metadata)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [value] => Ok(value.clone()),
            _ => exec_err!("{} takes one value", self.name),
        }
    }
}
