//! Types of parameters, and their values.

use std::sync::Arc;

use arrow_pg::datatypes::df::deserialize_parameters_with_server_types;
use arrow_pg::datatypes::into_pg_type;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ParamValues;
use datafusion::scalar::ScalarValue;
use forebay_server::Error;
use pgwire::api::Type;
use pgwire::api::portal::Portal;
use pgwire::api::stmt::StoredStatement;
use pgwire::error::{ErrorInfo, PgWireError};
use pgwire::messages::extendedquery::Bind;

/// The Arrow type of a parameter that a client declared; `None` where the statement decides
/// (text is what clients declare when they do not know; numeric has no scale).
pub(crate) fn arrow_type(declared: &Type) -> Option<DataType> {
    Some(match *declared {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::DATE => DataType::Date32,
        Type::TIME => DataType::Time64(TimeUnit::Nanosecond),
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        Type::BYTEA => DataType::Binary,
        _ => return None,
    })
}

/// What a client is told of a parameter; text where nothing tells.
pub(crate) fn parameter_type(inferred: Option<&DataType>) -> Result<Type, Error> {
    match inferred {
        None => Ok(Type::TEXT),
        Some(data_type) => into_pg_type(data_type).map_err(value_error),
    }
}

/// The values of a `Bind` message.
pub(crate) fn bound_values(
    bind: &Bind,
    inferred: &[Option<DataType>],
    declared: &[Option<Type>],
) -> Result<Vec<ScalarValue>, Error> {
    if inferred.is_empty() {
        return Ok(Vec::new());
    }
    let statement = StoredStatement::new(String::new(), (), declared.to_vec());
    let portal = Portal::try_new(bind, Arc::new(statement)).map_err(value_error)?;
    let server = inferred
        .iter()
        .map(|t| parameter_type(t.as_ref()))
        .collect::<Result<Vec<Type>, Error>>()?;
    let server: Vec<Option<&Type>> = server.iter().map(Some).collect();
    let inferred: Vec<Option<&DataType>> = inferred.iter().map(Option::as_ref).collect();
    let values = deserialize_parameters_with_server_types(&portal, &inferred, &server);
    match values.map_err(value_error)? {
        ParamValues::List(values) => Ok(values.into_iter().map(|v| v.value).collect()),
        ParamValues::Map(_) => Err(Error::new("XX000", "parameters came without an order")),
    }
}

/// An error about a value, with the code that PostgreSQL would give it.
pub(crate) fn value_error(error: PgWireError) -> Error {
    match error {
        PgWireError::FailedToParseParameter(reason) => {
            Error::new("22P02", format!("invalid value for parameter: {reason}"))
        }
        PgWireError::InvalidRustTypeForParameter(name) => Error::new(
            "42804",
            format!("parameters of type {name} are not supported here"),
        ),
        PgWireError::UserError(info) => coded(*info),
        other => Error::new("22000", other.to_string()),
    }
}

fn coded(info: ErrorInfo) -> Error {
    const CODES: [&str; 5] = ["22003", "22023", "22P02", "0A000", "42804"];
    let code = CODES.into_iter().find(|code| *code == info.code);
    Error::new(code.unwrap_or("22000"), info.message)
}
