//! `json_build_object`, with which clients ask for several facts in one column.

use std::fmt::Write;

use datafusion::arrow::array::{Array, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{ScalarFunctionArgs, ScalarUDF, Signature, Volatility};

use super::{function, strings, texts};
use crate::EngineError;

/// `json_build_object(name, value, …)`, a text.
pub(super) fn build_object() -> ScalarUDF {
    let signature = Signature::variadic_any(Volatility::Stable);
    function("json_build_object", signature, DataType::Utf8, |args, _| {
        if !args.args.len().is_multiple_of(2) {
            let message = "argument list must have even number of elements";
            return Err(EngineError::new("22023", message).into());
        }
        let columns = (0..args.args.len()).map(|i| strings(args, i));
        let columns = columns.collect::<Result<Vec<StringArray>>>()?;
        let objects = (0..args.number_rows).map(|row| object(args, &columns, row));
        let objects = objects.collect::<Result<Vec<String>>>()?;
        Ok(texts(objects.into_iter().map(Some)))
    })
}

fn object(args: &ScalarFunctionArgs, columns: &[StringArray], row: usize) -> Result<String> {
    let mut object = String::from("{");
    for (i, pair) in columns.chunks_exact(2).enumerate() {
        let (name, value) = (&pair[0], &pair[1]);
        if name.is_null(row) {
            let message = format!("argument {}: key must not be null", 2 * i + 1);
            return Err(EngineError::new("22023", message).into());
        }
        object += if i == 0 { "" } else { ", " };
        write_text(&mut object, name.value(row));
        object += " : ";
        if value.is_null(row) {
            object += "null";
        } else if is_plain(&args.args[2 * i + 1].data_type()) {
            object += value.value(row);
        } else {
            write_text(&mut object, value.value(row));
        }
    }
    object.push('}');
    Ok(object)
}

/// Whether values of this type stand in JSON without quotes.
fn is_plain(data_type: &DataType) -> bool {
    data_type.is_numeric() || data_type == &DataType::Boolean
}

fn write_text(object: &mut String, text: &str) {
    object.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => object.extend(['\\', c]),
            '\n' => *object += "\\n",
            '\r' => *object += "\\r",
            '\t' => *object += "\\t",
            c if c < ' ' => {
                let _ = write!(object, "\\u{:04x}", u32::from(c));
            }
            c => object.push(c),
        }
    }
    object.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped() {
        let mut text = String::new();
        write_text(&mut text, "a\"b\\c\u{1}\né");
        assert_eq!(text, r#""a\"b\\c\u0001\né""#);
    }
}
