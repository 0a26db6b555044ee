//! Errors with PostgreSQL's SQLSTATEs.
//!
//! DataFusion reports by kind and text; PostgreSQL's clients act on codes. This module is the
//! only place that reads DataFusion's texts; [`texts`] is their table.

mod texts;
mod types;

use std::any::Any;
use std::fmt;

use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;
use datafusion::common::{Column, DataFusionError, Diagnostic, SchemaError};
use datafusion::parquet::errors::ParquetError;
use object_store::Error as StoreError;

use texts::{from_execution, from_plan};
pub(crate) use types::postgres_name_of;

/// A place in a statement's text: line and column, both from 1, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: u64,
    /// Column within the line, from 1.
    pub column: u64,
}

/// An error of planning or running, as a client should see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineError {
    /// Five-character code of PostgreSQL's appendix A.
    pub sqlstate: &'static str,
    /// The primary message, in PostgreSQL's wording where it has one.
    pub message: String,
    /// More facts, if any.
    pub detail: Option<String>,
    /// What to do about it, if known.
    pub hint: Option<String>,
    /// Where in the statement, if known.
    pub position: Option<Position>,
    /// Set when the error is a bug of ours; the text is for the log only.
    pub internal: Option<String>,
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for EngineError {}

impl EngineError {
    /// An error with a code and a message.
    #[must_use]
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self {
            sqlstate,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            internal: None,
        }
    }

    /// A defect of ours: the client gets `XX000`, the log gets `text`.
    #[must_use]
    pub fn internal(text: impl Into<String>) -> Self {
        let text = text.into();
        let first = text.lines().next().unwrap_or_default();
        Self {
            internal: Some(text.clone()),
            ..Self::new("XX000", format!("internal error: {first}"))
        }
    }

    /// What a caught panic becomes.
    #[must_use]
    pub fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "unknown panic".to_owned());
        Self {
            internal: Some(format!("panic: {text}")),
            ..Self::new(
                "XX000",
                "internal error: the statement's execution panicked",
            )
        }
    }

    /// A call of a function that is not there, or not for arguments of these types.
    #[must_use]
    pub(crate) fn no_such_function(name: &str, types: &[DataType]) -> Self {
        let types: Vec<String> = types.iter().map(postgres_name_of).collect();
        let message = format!("function {name}({}) does not exist", types.join(", "));
        Self::new("42883", message).with_hint(NO_FUNCTION_HINT)
    }

    /// Adds a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a detail.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Whether the data, not the statement, is at fault.
    pub(crate) fn is_bad_data(&self) -> bool {
        self.sqlstate == BAD_DATA
    }
}

/// What PostgreSQL says when a function exists for other arguments only.
pub(crate) const NO_FUNCTION_HINT: &str = "No function matches the given name and argument types. \
     You might need to add explicit type casts.";

const BAD_DATA: &str = "XX001";

impl From<EngineError> for DataFusionError {
    fn from(error: EngineError) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<DataFusionError> for EngineError {
    fn from(error: DataFusionError) -> Self {
        match error {
            DataFusionError::Diagnostic(diagnostic, inner) => from_diagnostic(&diagnostic, *inner),
            DataFusionError::Context(context, inner) => from_context(&context, *inner),
            DataFusionError::Collection(mut errors) if !errors.is_empty() => {
                errors.swap_remove(0).into()
            }
            DataFusionError::Shared(shared) => from_shared(&shared),
            DataFusionError::ArrowError(error, _) => from_arrow(*error),
            DataFusionError::ParquetError(error) => from_parquet(&error),
            DataFusionError::ObjectStore(error) => from_store(&error),
            DataFusionError::IoError(error) => from_io(&error),
            DataFusionError::SQL(error, _) => Self::new("42601", error.to_string()),
            DataFusionError::NotImplemented(text) => from_plan(&text, "0A000"),
            DataFusionError::SchemaError(error, _) => from_schema(*error),
            DataFusionError::Plan(text) => from_plan(&text, "42000"),
            DataFusionError::Configuration(text) => Self::new("22023", first_line(&text)),
            DataFusionError::Execution(text) => from_execution(&text),
            DataFusionError::ResourcesExhausted(text) => from_exhausted(&text),
            DataFusionError::External(error) => from_external(error),
            DataFusionError::ExecutionJoin(error) => match error.try_into_panic() {
                Ok(panic) => Self::panicked(panic.as_ref()),
                Err(error) => Self::internal(error.to_string()),
            },
            other => Self::internal(other.to_string()),
        }
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

fn from_diagnostic(diagnostic: &Diagnostic, inner: DataFusionError) -> EngineError {
    let mut error = EngineError::from(inner);
    if error.position.is_none() {
        error.position = diagnostic.span.map(|span| Position {
            line: span.start.line,
            column: span.start.column,
        });
    }
    if error.hint.is_none() {
        error.hint = diagnostic.helps.first().map(|help| help.message.clone());
    }
    error
}

fn from_context(context: &str, inner: DataFusionError) -> EngineError {
    let mut error = EngineError::from(inner);
    if error.detail.is_none() && error.internal.is_none() && !context.contains(".rs:") {
        let context = first_line(context);
        // Which rule of ours noticed it is of no use to the one who wrote the statement.
        let ours = context.starts_with("Optimizer rule") || context == "type_coercion";
        error.detail = (!context.is_empty() && !ours).then_some(context);
    }
    error
}

/// Several consumers of one failed stream get the same error, which cannot be cloned.
fn from_shared(shared: &DataFusionError) -> EngineError {
    match shared {
        DataFusionError::Shared(inner) => from_shared(inner),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            from_shared(inner)
        }
        DataFusionError::Collection(errors) if !errors.is_empty() => from_shared(&errors[0]),
        DataFusionError::ArrowError(error, _) => from_arrow_ref(error),
        DataFusionError::ParquetError(error) => from_parquet(error),
        DataFusionError::ObjectStore(error) => from_store(error),
        DataFusionError::IoError(error) => from_io(error),
        DataFusionError::Plan(text) => from_plan(text, "42000"),
        DataFusionError::Execution(text) => from_execution(text),
        DataFusionError::ResourcesExhausted(text) => from_exhausted(text),
        DataFusionError::NotImplemented(text) => EngineError::new("0A000", first_line(text)),
        DataFusionError::External(error) => match error.downcast_ref::<EngineError>() {
            Some(error) => error.clone(),
            None => EngineError::internal(error.to_string()),
        },
        other => EngineError::internal(other.to_string()),
    }
}

/// Our pools write message, detail and hint as lines; DataFusion a message.
fn from_exhausted(text: &str) -> EngineError {
    let mut lines = text.lines().map(|line| line.trim().to_owned());
    let mut error = EngineError::new("53200", lines.next().unwrap_or_default());
    error.detail = lines.next();
    error.hint = lines.next();
    error
}

/// Files of one table that do not go together are the data's fault; anything else is ours.
fn from_arrow_other(error: &ArrowError) -> EngineError {
    match error {
        ArrowError::SchemaError(text) => EngineError::new(BAD_DATA, first_line(text)),
        other => EngineError::internal(other.to_string()),
    }
}

fn from_external(error: Box<dyn std::error::Error + Send + Sync>) -> EngineError {
    let error = match error.downcast::<EngineError>() {
        Ok(error) => return *error,
        Err(error) => error,
    };
    let error = match error.downcast::<DataFusionError>() {
        Ok(error) => return (*error).into(),
        Err(error) => error,
    };
    let error = match error.downcast::<ArrowError>() {
        Ok(error) => return from_arrow(*error),
        Err(error) => error,
    };
    match error.downcast::<ParquetError>() {
        Ok(error) => from_parquet(&error),
        Err(error) => EngineError::internal(error.to_string()),
    }
}

fn from_arrow(error: ArrowError) -> EngineError {
    match error {
        ArrowError::ExternalError(error) => from_external(error),
        other => from_arrow_ref(&other),
    }
}

fn from_arrow_ref(error: &ArrowError) -> EngineError {
    match error {
        ArrowError::DivideByZero => EngineError::new("22012", "division by zero"),
        ArrowError::ArithmeticOverflow(text) => {
            EngineError::new("22003", "value out of range").with_detail(first_line(text))
        }
        ArrowError::CastError(text) => from_cast(text),
        ArrowError::ParseError(text) => from_time(first_line(text)),
        ArrowError::ComputeError(text) | ArrowError::InvalidArgumentError(text) => {
            from_execution(text)
        }
        ArrowError::ParquetError(text)
        | ArrowError::CsvError(text)
        | ArrowError::JsonError(text) => EngineError::new(BAD_DATA, first_line(text)),
        ArrowError::IoError(_, error) => from_io(error),
        ArrowError::MemoryError(text) => EngineError::new("53200", first_line(text)),
        ArrowError::NotYetImplemented(text) => EngineError::new("0A000", first_line(text)),
        other => from_arrow_other(other),
    }
}

/// Arrow: `Cannot cast string 'abc' to value of Int64 type`.
fn from_cast(text: &str) -> EngineError {
    let line = first_line(text);
    if let Some((value, target)) = line
        .strip_prefix("Cannot cast string '")
        .and_then(|rest| rest.rsplit_once("' to value of "))
    {
        let target = target.trim_end_matches(" type");
        return EngineError::new(
            "22P02",
            format!(
                "invalid input syntax for type {}: \"{value}\"",
                postgres_type_name(target)
            ),
        );
    }
    if line.contains("out of range")
        || line.contains("too large")
        || line.contains("Can't cast value")
    {
        return EngineError::new("22003", line);
    }
    from_time(line)
}

/// Dates and times that cannot be read: 22008 when a field is out of its range, else 22007.
fn from_time(line: String) -> EngineError {
    let quoted = line.split('\'').nth(1).map(ToOwned::to_owned);
    match quoted {
        Some(text) if line.starts_with("Error parsing timestamp") => {
            let looks_right = text.starts_with(|c: char| c.is_ascii_digit()) && text.contains('-');
            if looks_right {
                let message = format!("date/time field value out of range: \"{text}\"");
                EngineError::new("22008", message)
            } else {
                let message = format!("invalid input syntax for type timestamp: \"{text}\"");
                EngineError::new("22007", message)
            }
        }
        _ => EngineError::new("22P02", line),
    }
}

/// PostgreSQL's name of an Arrow type's name; the Arrow name where there is none.
fn postgres_type_name(arrow: &str) -> &str {
    match arrow {
        "Int8" | "Int16" | "UInt8" => "smallint",
        "Int32" | "UInt16" => "integer",
        "Int64" | "UInt32" => "bigint",
        "Float32" => "real",
        "Float64" => "double precision",
        "Boolean" => "boolean",
        "Date32" | "Date64" => "date",
        "Utf8" | "Utf8View" | "LargeUtf8" => "text",
        other if other.starts_with("Decimal") => "numeric",
        other if other.starts_with("Timestamp") => "timestamp",
        other if other.starts_with("Interval") => "interval",
        other if other.starts_with("Time") => "time",
        other => other,
    }
}

fn from_parquet(error: &ParquetError) -> EngineError {
    let text = first_line(&error.to_string());
    EngineError::new(BAD_DATA, text)
}

fn from_store(error: &StoreError) -> EngineError {
    match error {
        StoreError::NotFound { path, .. } => EngineError::new(
            "58P01",
            format!("could not open file \"/{path}\": No such file or directory"),
        ),
        StoreError::PermissionDenied { path, .. } => EngineError::new(
            "42501",
            format!("could not open file \"/{path}\": Permission denied"),
        ),
        other => EngineError::new("58030", first_line(&other.to_string())),
    }
}

fn from_io(error: &std::io::Error) -> EngineError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    if let Some(inner) = inner {
        return EngineError::clone(inner);
    }
    let sqlstate = match error.kind() {
        std::io::ErrorKind::NotFound => "58P01",
        std::io::ErrorKind::StorageFull => "53100",
        std::io::ErrorKind::PermissionDenied => "42501",
        _ => "58030",
    };
    EngineError::new(sqlstate, error.to_string())
}

fn from_schema(error: SchemaError) -> EngineError {
    match error {
        SchemaError::FieldNotFound {
            field,
            valid_fields,
        } => unknown_column(&field, &valid_fields),
        SchemaError::AmbiguousReference { field } => EngineError::new(
            "42702",
            format!("column reference \"{}\" is ambiguous", field.name),
        ),
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => EngineError::new(
            "42701",
            format!("column \"{name}\" specified more than once"),
        ),
    }
}

fn unknown_column(field: &Column, valid: &[Column]) -> EngineError {
    let name = match &field.relation {
        Some(relation) => format!("{}.{}", relation.table(), field.name),
        None => format!("\"{}\"", field.name),
    };
    if let Some(relation) = &field.relation
        && !valid.iter().any(|c| {
            c.relation
                .as_ref()
                .is_some_and(|r| r.table() == relation.table())
        })
    {
        return EngineError::new(
            "42P01",
            format!(
                "missing FROM-clause entry for table \"{}\"",
                relation.table()
            ),
        );
    }
    let error = EngineError::new("42703", format!("column {name} does not exist"));
    let nearest = valid
        .iter()
        .map(|c| (edit_distance(&c.name, &field.name), c))
        .filter(|(distance, _)| *distance <= field.name.chars().count().div_ceil(3))
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((_, column)) => {
            let qualified = match &column.relation {
                Some(relation) => format!("{}.{}", relation.table(), column.name),
                None => column.name.clone(),
            };
            error.with_hint(format!(
                "Perhaps you meant to reference the column \"{qualified}\"."
            ))
        }
        None => error,
    }
}

/// Levenshtein distance in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substitution = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_and_message(error: DataFusionError) -> (&'static str, String) {
        let error = EngineError::from(error);
        (error.sqlstate, error.message)
    }

    #[test]
    fn datafusion_errors_get_postgresql_codes() {
        let cases = [
            (
                DataFusionError::Plan("table 'forebay.\u{1}search_path.nope' not found".into()),
                ("42P01", "relation \"nope\" does not exist"),
            ),
            (
                DataFusionError::Plan("table 'forebay.s.nope' not found".into()),
                ("42P01", "relation \"s.nope\" does not exist"),
            ),
            (
                DataFusionError::Plan("Invalid function 'subst'.\nDid you mean 'substr'?".into()),
                ("42883", "function subst does not exist"),
            ),
            (
                ArrowError::DivideByZero.into(),
                ("22012", "division by zero"),
            ),
            (
                ArrowError::CastError("Cannot cast string 'x' to value of Int64 type".into())
                    .into(),
                ("22P02", "invalid input syntax for type bigint: \"x\""),
            ),
            (
                DataFusionError::Context(
                    "while sorting".into(),
                    Box::new(DataFusionError::ResourcesExhausted("no memory".into())),
                ),
                ("53200", "no memory"),
            ),
        ];
        for (error, (code, message)) in cases {
            assert_eq!(code_and_message(error), (code, message.to_owned()));
        }
    }

    #[test]
    fn a_near_column_name_is_suggested() {
        let error = unknown_column(
            &Column::from_name("l_orderky"),
            &[Column::from_name("l_orderkey"), Column::from_name("l_tax")],
        );
        assert_eq!(
            error.hint.as_deref(),
            Some("Perhaps you meant to reference the column \"l_orderkey\".")
        );
        assert_eq!(
            unknown_column(&Column::from_name("zzz"), &[Column::from_name("l_tax")]).hint,
            None
        );
    }

    #[test]
    fn a_panic_is_internal_and_does_not_show_its_text() {
        let error = EngineError::panicked(&"index out of bounds");
        assert_eq!(error.sqlstate, "XX000");
        assert!(!error.message.contains("index"));
        assert_eq!(
            error.internal.as_deref(),
            Some("panic: index out of bounds")
        );
    }
}
