//! Types of parameters, and their values.

use std::sync::Arc;

use arrow_pg::datatypes::df::deserialize_parameters_with_server_types;
use arrow_pg::datatypes::into_pg_type;
use datafusion::arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::ParamValues;
use datafusion::scalar::ScalarValue;
use forebay_server::{Error, value_of_text};
use pgwire::api::Type;
use pgwire::api::portal::Portal;
use pgwire::api::stmt::StoredStatement;
use pgwire::error::{ErrorInfo, PgWireError};
use pgwire::messages::extendedquery::Bind;

use crate::cell::{Numeric, days_to_2000};

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
        Type::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
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

/// The values of a `Bind` message. `zone` is the session's time zone.
pub(crate) fn bound_values(
    bind: &Bind,
    inferred: &[Option<DataType>],
    declared: &[Option<Type>],
    zone: &str,
) -> Result<Vec<ScalarValue>, Error> {
    let parameters = bind.parameters.iter().enumerate();
    let mut values = Vec::with_capacity(bind.parameters.len());
    for (i, parameter) in parameters {
        let wanted = inferred.get(i).and_then(Option::as_ref);
        let formats = &bind.parameter_format_codes;
        let format = match formats.as_slice() {
            [] => 0,
            [one] => *one,
            each => each.get(i).copied().unwrap_or(0),
        };
        let declared = declared.get(i).cloned().flatten();
        values.push(match (parameter, format) {
            (Some(text), 0) if wanted.is_some() || is_text(declared.as_ref()) => {
                text_value(text, wanted, zone)?
            }
            _ => library_value(bind, i, format, wanted, declared)?,
        });
    }
    Ok(values)
}

/// The value that a text stands for, by the rules of PostgreSQL's input functions.
fn text_value(text: &[u8], wanted: Option<&DataType>, zone: &str) -> Result<ScalarValue, Error> {
    let text = str::from_utf8(text).map_err(|_| {
        Error::new(
            "22021",
            "invalid byte sequence for encoding \"UTF8\" in a parameter",
        )
    })?;
    let Some(wanted) = wanted else {
        return Ok(ScalarValue::Utf8(Some(text.to_owned())));
    };
    Ok(value_of_text(text, wanted, zone)?)
}

/// Whether a client says of a parameter no more than that it is a text.
fn is_text(declared: Option<&Type>) -> bool {
    declared.is_none_or(|t| {
        let texts = [
            Type::UNKNOWN,
            Type::TEXT,
            Type::VARCHAR,
            Type::JSON,
            Type::JSONB,
        ];
        texts.contains(t)
    })
}

/// The value of a parameter in binary form, or of one whose type only the client knows.
fn library_value(
    bind: &Bind,
    index: usize,
    format: i16,
    wanted: Option<&DataType>,
    declared: Option<Type>,
) -> Result<ScalarValue, Error> {
    let told = parameter_type(wanted)?;
    let sent = declared
        .clone()
        .filter(|t| *t != Type::UNKNOWN)
        .unwrap_or_else(|| told.clone());
    let body = bind.parameters.get(index).and_then(Option::as_ref);
    let binary = body.filter(|_| format == 1);
    if let Some(value) = binary.and_then(|body| own_value(body, &sent, wanted)) {
        return value;
    }
    if body.is_none() {
        let data_type = wanted.cloned().unwrap_or(DataType::Utf8);
        return ScalarValue::try_from(&data_type).map_err(|e| Error::new("XX000", e.to_string()));
    }
    let one = Bind::new(
        None,
        None,
        vec![format],
        vec![bind.parameters[index].clone()],
        Vec::new(),
    );
    let statement = StoredStatement::new(String::new(), (), vec![declared]);
    let portal = Portal::try_new(&one, Arc::new(statement)).map_err(value_error)?;
    let values = deserialize_parameters_with_server_types(&portal, &[wanted], &[Some(&told)]);
    match values.map_err(value_error)? {
        ParamValues::List(mut values) if values.len() == 1 => Ok(values.remove(0).value),
        _ => Err(Error::new("XX000", "a parameter came without a value")),
    }
}

/// What the library does not read, or not whole; `None` for the rest.
fn own_value(
    body: &[u8],
    sent: &Type,
    wanted: Option<&DataType>,
) -> Option<Result<ScalarValue, Error>> {
    let invalid =
        |what: &str| Error::new("22P03", format!("incorrect binary data format of a {what}"));
    match (sent, wanted) {
        (&Type::NUMERIC, Some(DataType::Decimal128(precision, scale))) => Some(
            Numeric::read(body, *scale)
                .map(|value| ScalarValue::Decimal128(Some(value), *precision, *scale))
                .ok_or_else(|| Error::new("22003", "a numeric parameter has too many digits")),
        ),
        (&Type::DATE_ARRAY, Some(DataType::List(element))) => {
            let dates = date_array(body).ok_or_else(|| invalid("date[]"));
            Some(dates.map(|dates| {
                let dates: Vec<ScalarValue> = dates.into_iter().map(ScalarValue::Date32).collect();
                ScalarValue::List(ScalarValue::new_list_nullable(&dates, element.data_type()))
            }))
        }
        (&Type::JSON | &Type::JSONB, _) => {
            // The binary form of jsonb is its text behind a version.
            let text = match (sent, body) {
                (&Type::JSONB, [1, text @ ..]) => text,
                (&Type::JSONB, _) => return Some(Err(invalid("jsonb"))),
                _ => body,
            };
            let text = String::from_utf8(text.to_vec()).map_err(|_| invalid("json"));
            Some(text.map(|text| ScalarValue::Utf8(Some(text))))
        }
        _ => None,
    }
}

/// Dates in days from 1970-01-01.
fn date_array(body: &[u8]) -> Option<Vec<Option<i32>>> {
    let mut words = Words(body);
    let dimensions = words.next()?;
    let (_has_nulls, _element) = (words.next()?, words.next()?);
    if dimensions == 0 {
        return Some(Vec::new());
    }
    let (length, _lower_bound) = (words.next()?, words.next()?);
    if dimensions != 1 {
        return None;
    }
    let mut dates = Vec::new();
    for _ in 0..length {
        dates.push(match words.next()? {
            -1 => None,
            4 => Some(words.next()?.checked_add(days_to_2000())?),
            _ => return None,
        });
    }
    words.0.is_empty().then_some(dates)
}

/// Words of four bytes.
struct Words<'a>(&'a [u8]);

impl Iterator for Words<'_> {
    type Item = i32;

    fn next(&mut self) -> Option<i32> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i32::from_be_bytes(*first))
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
