//! DataFusion's errors that can be told apart by their text only: what each of them is called in
//! PostgreSQL, and how PostgreSQL words it.

use super::types::{postgres_name, postgres_names};
use super::{EngineError, NO_FUNCTION_HINT, edit_distance, first_line, from_cast};

/// How the message is made.
enum Message {
    /// DataFusion's own.
    Same,
    /// A fixed one.
    Fixed(&'static str),
    /// From DataFusion's; `None` where that is not as expected.
    Made(fn(&str) -> Option<String>),
}

use Message::{Fixed, Made, Same};

/// A text within DataFusion's message, the code of PostgreSQL's error, and its message. The first
/// that fits counts.
const TEXTS: &[(&str, &str, Message)] = &[
    // Names.
    ("Duplicate table alias", "42712", Same),
    ("specified more than once", "42712", Made(cte_twice)),
    // Aggregates and windows.
    (
        "ggregate functions are not allowed in the WHERE",
        "42803",
        Fixed("aggregate functions are not allowed in WHERE"),
    ),
    ("Invalid aggregate", "42803", Same),
    (
        "HAVING clause references",
        "42803",
        Made(not_grouped_in_having),
    ),
    ("must appear in the GROUP BY", "42803", Made(not_grouped)),
    ("must be in GROUP BY", "42803", Same),
    ("must be part of GROUP BY", "42803", Same),
    (
        "NTILE requires a positive integer",
        "22014",
        Fixed("argument of ntile must be greater than zero"),
    ),
    ("The window ", "42704", Made(no_window)),
    ("SELECT * with no tables specified", "42601", Same),
    // Shapes of rows.
    (
        "Column count doesn't match insert query",
        "42601",
        Fixed("INSERT has more or fewer expressions than target columns"),
    ),
    ("Invalid batch column at '", "23502", Made(null_not_allowed)),
    (
        "UNION queries have different number of columns",
        "42601",
        Fixed("each UNION query must have the same number of columns"),
    ),
    (
        "INTERSECT/EXCEPT query must have the same number of columns",
        "42601",
        Fixed("each INTERSECT or EXCEPT query must have the same number of columns"),
    ),
    (
        "INTERSECT queries have different number of columns",
        "42601",
        Fixed("each INTERSECT query must have the same number of columns"),
    ),
    (
        "EXCEPT queries have different number of columns",
        "42601",
        Fixed("each EXCEPT query must have the same number of columns"),
    ),
    ("different number of columns", "42601", Same),
    ("must have the same number of columns", "42601", Same),
    (
        "Inconsistent data length across values list",
        "42601",
        Fixed("VALUES lists must all be the same length"),
    ),
    (
        "Inconsistent data type across values list",
        "42804",
        Made(values_types),
    ),
    (
        "Scalar subquery should only return one column",
        "42601",
        Fixed("subquery must return only one column"),
    ),
    (
        "Too many columns! The subquery",
        "42601",
        Fixed("subquery must return only one column"),
    ),
    (
        "InSubquery should only return one column",
        "42601",
        Fixed("subquery has too many columns"),
    ),
    (
        "Order by column out of bounds",
        "42P10",
        Made(order_by_position),
    ),
    (
        "Order by index starts at 1",
        "42P10",
        Fixed("ORDER BY position 0 is not in select list"),
    ),
    ("SELECT DISTINCT ON expressions must match", "42P10", Same),
    (
        "For SELECT DISTINCT, ORDER BY expressions",
        "42P10",
        Fixed("for SELECT DISTINCT, ORDER BY expressions must appear in select list"),
    ),
    (
        "Cannot find column with position",
        "42P10",
        Made(group_by_position),
    ),
    ("Source table contains", "42P10", Made(column_aliases)),
    // Types.
    ("Incompatible inputs for Union", "42804", Made(union_types)),
    ("UNION types", "42804", Same),
    (
        "Cannot create filter with non-boolean predicate",
        "42804",
        Made(not_boolean),
    ),
    ("Unary operator 'NOT'", "42804", Made(not_of_boolean)),
    ("logical boolean operation", "42804", Made(logic_of_boolean)),
    (
        "Cannot infer common string type",
        "42883",
        Made(no_operator),
    ),
    ("Unary operator '-'", "42883", Same),
    (
        "Substring without for/from",
        "42883",
        Fixed("function substring(text) does not exist"),
    ),
    ("table function '", "42883", Made(no_table_function)),
    (
        "Cannot coerce arithmetic expression",
        "42883",
        Made(no_operator),
    ),
    (
        "Cannot infer common argument type",
        "42883",
        Made(no_operator),
    ),
    ("No function matches", "42883", Made(no_function)),
    ("failed to coerce", "42883", Same),
    ("Failed to coerce", "42883", Same),
    ("failed to match any signature", "42883", Made(no_signature)),
    (
        "does not support zero arguments",
        "42883",
        Made(no_arguments),
    ),
    ("arguments but received", "42883", Same),
    ("argument but received", "42883", Same),
    ("requires at least", "42883", Same),
    (
        "negative count not allowed",
        "22011",
        Fixed("negative substring length not allowed"),
    ),
    // Limits and series.
    (
        "LIMIT must be >= 0",
        "2201W",
        Fixed("LIMIT must not be negative"),
    ),
    (
        "OFFSET must be >=0",
        "2201X",
        Fixed("OFFSET must not be negative"),
    ),
    (
        "tep value cannot be zero",
        "22023",
        Fixed("step size cannot equal zero"),
    ),
    (
        "tep can't be 0",
        "22023",
        Fixed("step size cannot equal zero"),
    ),
    (
        "Step cannot be zero",
        "22023",
        Fixed("step size cannot equal zero"),
    ),
    // The rest.
    ("window functions", "42P20", Same),
    ("No value found for placeholder", "42P02", Same),
    ("not supported", "0A000", Same),
    ("Unsupported", "0A000", Same),
    ("type_coercion", "42804", Same),
];

/// Planning errors; `otherwise` is the code of those that the table does not have.
pub(super) fn from_plan(text: &str, otherwise: &'static str) -> EngineError {
    let line = first_line(text);
    if let Some(error) = unknown_name(text, &line) {
        return error;
    }
    let Some((_, sqlstate, message)) = TEXTS.iter().find(|(part, ..)| line.contains(part)) else {
        return EngineError::new(otherwise, line);
    };
    let worded = match message {
        Same => None,
        Fixed(message) => Some((*message).to_owned()),
        Made(make) => make(&line),
    };
    let error = EngineError::new(sqlstate, worded.clone().unwrap_or(line));
    if *sqlstate == "42883" && worded.is_some_and(|w| w.starts_with("function ")) {
        return error.with_hint(NO_FUNCTION_HINT);
    }
    error
}

/// Errors of execution.
pub(super) fn from_execution(text: &str) -> EngineError {
    let line = first_line(text);
    if line.contains("Divide by zero") || line.contains("divide by zero") {
        return EngineError::new("22012", "division by zero");
    }
    if line.contains("too large to store in a Decimal") {
        return EngineError::new("22003", "numeric field overflow").with_detail(line);
    }
    if line.contains("verflow") {
        return EngineError::new("22003", "value out of range").with_detail(line);
    }
    if line.contains("Cannot cast string '") {
        return from_cast(&line);
    }
    if line.contains("returned more than one row") {
        return EngineError::new(
            "21000",
            "more than one row returned by a subquery used as an expression",
        );
    }
    if line.contains("Regular expression did not compile") || line.contains("regex parse error") {
        return EngineError::new("2201B", format!("invalid regular expression: {line}"));
    }
    from_plan(text, "22000")
}

/// Tables, functions and schemas that are not there.
fn unknown_name(text: &str, line: &str) -> Option<EngineError> {
    if let Some(name) = quoted_after(line, "table '").filter(|_| line.ends_with("not found")) {
        let message = format!("relation \"{}\" does not exist", relation_name(name));
        return Some(EngineError::new("42P01", message));
    }
    if let Some(name) = quoted_after(line, "Invalid function '") {
        let near = |best: &&str| edit_distance(best, name) <= name.chars().count().div_ceil(3);
        let hint = quoted_after(text, "Did you mean '")
            .filter(near)
            .map(|best| format!("Perhaps you meant the function \"{best}\"."));
        let error = EngineError::new("42883", format!("function {name} does not exist"));
        return Some(match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        });
    }
    if let Some(name) = quoted_after(line, "Table function '") {
        let message = format!("function {name} does not exist");
        return Some(EngineError::new("42883", message));
    }
    if let Some(schema) = line.strip_prefix("failed to resolve schema: ") {
        let message = format!("schema \"{schema}\" does not exist");
        return Some(EngineError::new("3F000", message));
    }
    if let Some(catalog) = line.strip_prefix("failed to resolve catalog: ") {
        let message = format!("cross-database references are not implemented: \"{catalog}\"");
        return Some(EngineError::new("0A000", message));
    }
    None
}

fn quoted_after<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    after(text, prefix)?.split('\'').next()
}

fn after<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    text.split_once(prefix).map(|(_, rest)| rest)
}

/// The text between two others.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    after(text, start)?.split_once(end).map(|(found, _)| found)
}

fn first_number(text: &str) -> Option<&str> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    text[start..].split(|c: char| !c.is_ascii_digit()).next()
}

/// `forebay.<search path>.t` is `t` to the person who wrote it.
fn relation_name(resolved: &str) -> &str {
    let marker = crate::catalogs::SEARCH_PATH_SCHEMA;
    match resolved.split_once(marker) {
        Some((_, name)) => name.trim_start_matches('.'),
        None => resolved
            .strip_prefix(crate::DATABASE)
            .map_or(resolved, |rest| rest.trim_start_matches('.')),
    }
}

/// `WITH query name "x" specified more than once`.
fn cte_twice(line: &str) -> Option<String> {
    let name = between(line, "WITH query name \"", "\"")?;
    Some(format!(
        "WITH query name \"{name}\" specified more than once"
    ))
}

/// `Invalid batch column at '2' has null but schema specifies non-nullable`.
fn null_not_allowed(line: &str) -> Option<String> {
    let index: usize = between(line, "column at '", "'")?.parse().ok()?;
    Some(format!(
        "null value in column number {} violates not-null constraint",
        index + 1
    ))
}

/// `Column in SELECT must be in GROUP BY or an aggregate function: … column "t.a" must appear in
/// the GROUP BY clause or must be part of an aggregate function, …`.
fn not_grouped(line: &str) -> Option<String> {
    let name = between(line, "column \"", "\" must appear")?;
    let name = match name.rsplit_once(crate::catalogs::SEARCH_PATH_SCHEMA) {
        Some((_, rest)) => rest.trim_start_matches('.'),
        None => name,
    };
    Some(format!(
        "column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate function"
    ))
}

/// `Order by column out of bounds, specified: 2, max: 1`.
fn order_by_position(line: &str) -> Option<String> {
    let position = first_number(after(line, "specified: ")?)?;
    Some(format!(
        "ORDER BY position {position} is not in select list"
    ))
}

/// `Cannot find column with position 5 in SELECT clause`.
fn group_by_position(line: &str) -> Option<String> {
    let position = first_number(line)?;
    Some(format!(
        "GROUP BY position {position} is not in select list"
    ))
}

/// `Source table contains 1 columns but 2 names given as column alias`.
fn column_aliases(line: &str) -> Option<String> {
    let has = first_number(line)?;
    let given = first_number(after(line, "but ")?)?;
    Some(format!(
        "table has {has} columns available but {given} columns specified"
    ))
}

/// `Incompatible inputs for Union: Previous inputs were of type Int64, but got incompatible type
/// Boolean on column 'x'`.
fn union_types(line: &str) -> Option<String> {
    let first = between(line, "were of type ", ", but got")?;
    let second = between(line, "incompatible type ", " on column")?;
    Some(format!(
        "UNION types {} and {} cannot be matched",
        postgres_name(first),
        postgres_name(second)
    ))
}

/// `Inconsistent data type across values list at row 1 column 0. Was Int64 but found Boolean`.
fn values_types(line: &str) -> Option<String> {
    let (first, second) = after(line, "Was ")?.split_once(" but found ")?;
    Some(format!(
        "VALUES types {} and {} cannot be matched",
        postgres_name(first),
        postgres_name(second)
    ))
}

/// `Cannot create filter with non-boolean predicate 'Int64(1)' returning Int64`.
fn not_boolean(line: &str) -> Option<String> {
    let found = postgres_name(after(line, "returning ")?);
    Some(format!(
        "argument of WHERE must be type boolean, not type {found}"
    ))
}

/// `Cannot coerce arithmetic expression Int64 + Boolean to valid types`, `Cannot infer common
/// argument type for comparison operation Int64 = Boolean`.
fn no_operator(line: &str) -> Option<String> {
    let operation = between(line, "arithmetic expression ", " to valid types").or_else(|| {
        let rest = after(line, "operation ")?;
        Some(rest.split(" (").next().unwrap_or(rest))
    })?;
    let operation = operation.trim_end_matches('.');
    let parts: Vec<&str> = operation.split(' ').collect();
    let at = parts
        .iter()
        .position(|part| !part.is_empty() && part.chars().all(|c| "+-*/%<>=!~|&#^".contains(c)))?;
    let (left, right) = (parts[..at].join(" "), parts[at + 1..].join(" "));
    Some(format!(
        "operator does not exist: {} {} {}",
        postgres_name(&left),
        if parts[at] == "!=" { "<>" } else { parts[at] },
        postgres_name(&right)
    ))
}

/// `No function matches the given name and argument types 'sum(Utf8)'. …`.
fn no_function(line: &str) -> Option<String> {
    let call = quoted_after(line, "argument types '")?;
    let (name, types) = call.split_once('(')?;
    let types = types.strip_suffix(')').unwrap_or(types);
    Some(format!(
        "function {name}({}) does not exist",
        postgres_names(types)
    ))
}

/// `HAVING clause references: t.b > Int64(1) must appear in …`: which column it is, is not said.
fn not_grouped_in_having(_: &str) -> Option<String> {
    let message =
        "columns in HAVING must appear in the GROUP BY clause or be used in an aggregate function";
    Some(message.to_owned())
}

/// `The window w is not defined!`.
fn no_window(line: &str) -> Option<String> {
    let name = between(line, "The window ", " is not defined")?;
    Some(format!("window \"{name}\" does not exist"))
}

/// `Unary operator 'NOT' requires a boolean expression, got Int64`.
fn not_of_boolean(line: &str) -> Option<String> {
    let found = postgres_name(after(line, "got ")?);
    Some(format!(
        "argument of NOT must be type boolean, not type {found}"
    ))
}

/// `Cannot infer common argument type for logical boolean operation Int64 AND Boolean`.
fn logic_of_boolean(line: &str) -> Option<String> {
    let operation = after(line, "logical boolean operation ")?;
    let (name, (left, right)) = ["AND", "OR"]
        .iter()
        .find_map(|name| Some((name, operation.split_once(&format!(" {name} "))?)))?;
    let found = if left == "Boolean" { right } else { left };
    Some(format!(
        "argument of {name} must be type boolean, not type {}",
        postgres_name(found)
    ))
}

/// `table function 'f' not found`.
fn no_table_function(line: &str) -> Option<String> {
    let name = quoted_after(line, "table function '")?;
    Some(format!("function {name} does not exist"))
}

/// `Function 'sum' failed to match any signature, errors: … received String (DataType: Utf8).,…`.
/// The types are told of functions of one argument only.
fn no_signature(line: &str) -> Option<String> {
    let name = quoted_after(line, "Function '")?;
    let types = match between(line, "(DataType: ", ").") {
        Some(found) => postgres_name(found),
        None => "…".to_owned(),
    };
    Some(format!("function {name}({types}) does not exist"))
}

/// `'now' does not support zero arguments`.
fn no_arguments(line: &str) -> Option<String> {
    let name = line.split('\'').nth(1)?;
    Some(format!("function {name}() does not exist"))
}
