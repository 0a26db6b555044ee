//! Object ids and names: `regclass`, `regtype` and their kin, both ways.
//!
//! A cast to one of them is rewritten to a function of the same name, whose integer is marked
//! as an object id of that kind. Marked columns of a result are printed as names.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::Int32Array;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{Column, Result};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ScalarUDF};

use super::{array, function, function_of_field, oids, stable, strings, texts};
use crate::catalogs::PG_CATALOG;
use crate::system::directory::{Directory, SYSTEM_SCHEMAS, role_oid, system_schema_oid};
use crate::system::library::{FUNCTIONS, functions_named};
use crate::system::relation::{OID_KEY, oid_metadata};
use crate::system::types;
use crate::{EngineError, SessionFacts};

/// A type whose values are object ids and whose form is a name.
#[derive(Debug, Clone, Copy)]
struct Kind {
    /// The type, and the function that a cast to it becomes.
    name: &'static str,
    /// The function that prints it.
    output: &'static str,
    /// `to_regclass` and the like, which answer NULL where the cast fails.
    lenient: &'static str,
    find: fn(&Directory, &SessionFacts, &str) -> Result<u32, EngineError>,
    print: fn(&Directory, &SessionFacts) -> Print,
}

/// Prints one object id; `None` where it has no name.
type Print = Box<dyn Fn(u32) -> Option<String>>;

const KINDS: [Kind; 6] = [
    Kind {
        name: "regclass",
        output: "regclassout",
        lenient: "to_regclass",
        find: find_relation,
        print: print_relation,
    },
    Kind {
        name: "regnamespace",
        output: "regnamespaceout",
        lenient: "to_regnamespace",
        find: find_schema,
        print: print_schema,
    },
    Kind {
        name: "regproc",
        output: "regprocout",
        lenient: "to_regproc",
        find: find_function,
        print: |_, _| Box::new(|oid| Some(quoted(&FUNCTIONS.by_oid.get(&oid)?.name))),
    },
    Kind {
        name: "regprocedure",
        output: "regprocedureout",
        lenient: "to_regprocedure",
        find: find_signature,
        print: |_, _| Box::new(signature),
    },
    Kind {
        name: "regrole",
        output: "regroleout",
        lenient: "to_regrole",
        find: find_role,
        print: print_role,
    },
    Kind {
        name: "regtype",
        output: "regtypeout",
        lenient: "to_regtype",
        find: find_type,
        print: |_, _| Box::new(|oid| types::by_oid(oid).map(|_| types::sql_name(oid, None))),
    },
];

/// The functions of every kind, and `oid`, which is printed as a number.
pub(super) fn all(directory: &Arc<Directory>) -> Vec<ScalarUDF> {
    let mut functions = vec![oid_function()];
    for kind in KINDS {
        functions.push(input(kind, kind.name, false, directory));
        functions.push(input(kind, kind.lenient, true, directory));
        functions.push(output(kind, directory));
    }
    functions
}

/// The function that prints values of the type `name`, if they have names.
pub(crate) fn output_of(name: &str) -> Option<&'static str> {
    let kind = KINDS.iter().find(|kind| kind.name == name)?;
    Some(kind.output)
}

/// The plan with object ids that have names printed as such.
pub(crate) fn printed(plan: LogicalPlan, functions: &dyn FunctionRegistry) -> Result<LogicalPlan> {
    let schema = Arc::clone(plan.schema());
    let output_of = |field: &Field| output_of(field.metadata().get(OID_KEY)?);
    if schema.fields().iter().all(|f| output_of(f).is_none()) {
        return Ok(plan);
    }
    let columns = schema.iter().map(|(qualifier, field)| {
        let column = Expr::Column(Column::from((qualifier, field)));
        match output_of(field) {
            Some(output) => {
                let printed = functions.udf(output)?.call(vec![column]);
                Ok(printed.alias_qualified(qualifier.cloned(), field.name()))
            }
            None => Ok(column),
        }
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

fn marked(kind: &'static str) -> Field {
    Field::new(kind, DataType::Int32, true).with_metadata(oid_metadata(kind))
}

/// From a name or a number to the object id.
fn input(kind: Kind, name: &'static str, lenient: bool, directory: &Arc<Directory>) -> ScalarUDF {
    let directory = Arc::clone(directory);
    let signature = stable(&[&[DataType::Utf8]]);
    function_of_field(name, signature, marked(kind.name), move |args, asker| {
        let found = strings(args, 0)?;
        let found = found.iter().map(|text| {
            let Some(text) = text else { return Ok(None) };
            match number(text).map_or_else(|| (kind.find)(&directory, asker, text), Ok) {
                Ok(oid) => Ok(Some(oid.cast_signed())),
                Err(_) if lenient => Ok(None),
                Err(error) => Err(error.into()),
            }
        });
        Ok(array(Arc::new(found.collect::<Result<Int32Array>>()?)))
    })
}

/// From the object id to the name; 0 means none, and what has no name keeps its number.
fn output(kind: Kind, directory: &Arc<Directory>) -> ScalarUDF {
    let directory = Arc::clone(directory);
    let signature = stable(&[&[DataType::Int64]]);
    function(
        kind.output,
        signature,
        DataType::Utf8,
        move |args, asker| {
            let print = (kind.print)(&directory, asker);
            let mut known: HashMap<u32, String> = HashMap::new();
            let named = oids(args, 0)?.into_iter().map(|oid| {
                let name = |oid| match oid {
                    0 => "-".to_owned(),
                    oid => print(oid).unwrap_or_else(|| oid.to_string()),
                };
                oid.map(|oid| known.entry(oid).or_insert_with(|| name(oid)).clone())
            });
            let named: Vec<Option<String>> = named.collect();
            Ok(texts(named.into_iter()))
        },
    )
}

fn oid_function() -> ScalarUDF {
    let signature = stable(&[&[DataType::Int64]]);
    function_of_field("oid", signature, marked("oid"), |args, _| {
        let found = strings(args, 0)?;
        let found = found.iter().map(|text| match text {
            None => Ok(None),
            Some(text) => match number(text) {
                Some(oid) => Ok(Some(oid.cast_signed())),
                None => Err(EngineError::new(
                    "22P02",
                    format!("invalid input syntax for type oid: \"{text}\""),
                )
                .into()),
            },
        });
        Ok(array(Arc::new(found.collect::<Result<Int32Array>>()?)))
    })
}

/// An object id that is written as a number, or as `-`, which is 0.
fn number(text: &str) -> Option<u32> {
    match text.trim() {
        "-" => Some(0),
        digits => digits.parse().ok(),
    }
}

/// The relation that a name or a number means.
pub(super) fn relation_oid(
    directory: &Directory,
    asker: &SessionFacts,
    text: &str,
) -> Result<Option<u32>, EngineError> {
    match number(text) {
        Some(oid) => Ok(Some(oid)),
        None => find_relation(directory, asker, text).map(Some),
    }
}

fn find_relation(
    directory: &Directory,
    asker: &SessionFacts,
    text: &str,
) -> Result<u32, EngineError> {
    let parts = identifiers(text)?;
    let found = match parts.as_slice() {
        [name] => directory.find(asker, None, name),
        [schema, name] => directory.find(asker, Some(schema), name),
        [database, schema, name] if *database == asker.database => {
            directory.find(asker, Some(schema), name)
        }
        _ => None,
    };
    found.ok_or_else(|| missing("42P01", "relation", &parts.join(".")))
}

fn find_schema(_: &Directory, asker: &SessionFacts, text: &str) -> Result<u32, EngineError> {
    let parts = identifiers(text)?;
    let name = parts.join(".");
    let users = || asker.snapshot.schema(&name).map(|s| s.oid);
    let found = system_schema_oid(&name).or_else(users);
    found.ok_or_else(|| missing("3F000", "schema", &parts.join(".")))
}

fn find_role(_: &Directory, asker: &SessionFacts, text: &str) -> Result<u32, EngineError> {
    let name = identifiers(text)?.join(".");
    match role_oid(&asker.snapshot, &name) {
        0 => Err(missing("42704", "role", &name)),
        oid => Ok(oid),
    }
}

fn find_type(_: &Directory, _: &SessionFacts, text: &str) -> Result<u32, EngineError> {
    types::parse(text).ok_or_else(|| missing("42704", "type", text))
}

fn find_function(_: &Directory, _: &SessionFacts, text: &str) -> Result<u32, EngineError> {
    let parts = identifiers(text)?;
    let name = in_pg_catalog(&parts).unwrap_or_default();
    match functions_named(name) {
        [] => Err(missing("42883", "function", text)),
        [oid] => Ok(*oid),
        _ => Err(EngineError::new(
            "42725",
            format!("more than one function named \"{text}\""),
        )),
    }
}

/// A function with the types of its arguments: `sqrt(double precision)`.
fn find_signature(_: &Directory, _: &SessionFacts, text: &str) -> Result<u32, EngineError> {
    let missing = || missing("42883", "function", text);
    let (name, arguments) = text.trim().split_once('(').ok_or_else(missing)?;
    let arguments = arguments.strip_suffix(')').ok_or_else(missing)?;
    let arguments = arguments.split(',').filter(|a| !a.trim().is_empty());
    let arguments: Option<Vec<u32>> = arguments.map(types::parse).collect();
    let arguments = arguments.ok_or_else(missing)?;
    let parts = identifiers(name)?;
    let named = functions_named(in_pg_catalog(&parts).unwrap_or_default());
    let found = named
        .iter()
        .find(|oid| FUNCTIONS.by_oid[oid].arguments == arguments);
    found.copied().ok_or_else(missing)
}

fn in_pg_catalog(parts: &[String]) -> Option<&str> {
    match parts {
        [name] => Some(name),
        [schema, name] if schema == PG_CATALOG => Some(name),
        _ => None,
    }
}

fn missing(sqlstate: &'static str, what: &str, name: &str) -> EngineError {
    EngineError::new(sqlstate, format!("{what} \"{name}\" does not exist"))
}

/// The parts of `schema.name`: quoted ones as they are, others in lower case.
fn identifiers(text: &str) -> Result<Vec<String>, EngineError> {
    let invalid = || EngineError::new("42602", "invalid name syntax");
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_identifier(quoted).ok_or_else(invalid)?,
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                (rest[..end].trim().to_lowercase(), &rest[end..])
            }
        };
        if part.is_empty() {
            return Err(invalid());
        }
        parts.push(part);
        match after.trim_start().strip_prefix('.') {
            Some(next) => rest = next.trim_start(),
            None if after.trim().is_empty() => return Ok(parts),
            None => return Err(invalid()),
        }
    }
}

/// What is before the closing quote, and what is behind it.
fn quoted_identifier(text: &str) -> Option<(String, &str)> {
    let mut part = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        match (c, characters.peek()) {
            ('"', Some((_, '"'))) => {
                part.push('"');
                characters.next();
            }
            ('"', _) => return Some((part, &text[at + 1..])),
            _ => part.push(c),
        }
    }
    None
}

fn print_relation(directory: &Directory, asker: &SessionFacts) -> Print {
    let names = directory.names(&asker.snapshot).into_iter();
    let printed: HashMap<u32, String> = names
        .map(|(oid, (schema, name))| {
            let visible = directory.find(asker, None, &name) == Some(oid);
            let name = quoted(&name);
            let full = if visible {
                name
            } else {
                format!("{}.{name}", quoted(&schema))
            };
            (oid, full)
        })
        .collect();
    Box::new(move |oid| printed.get(&oid).cloned())
}

fn print_schema(_: &Directory, asker: &SessionFacts) -> Print {
    let snapshot = Arc::clone(&asker.snapshot);
    Box::new(move |oid| {
        if let Some((name, _)) = SYSTEM_SCHEMAS.iter().find(|(_, number)| *number == oid) {
            return Some((*name).to_owned());
        }
        Some(quoted(&snapshot.schemas().find(|s| s.oid == oid)?.name))
    })
}

fn print_role(_: &Directory, asker: &SessionFacts) -> Print {
    let snapshot = Arc::clone(&asker.snapshot);
    Box::new(move |oid| Some(quoted(&snapshot.role_by_oid(oid)?.name)))
}

/// A function with the types of its arguments.
fn signature(oid: u32) -> Option<String> {
    let function = FUNCTIONS.by_oid.get(&oid)?;
    let arguments = function.arguments.iter().map(|t| types::sql_name(*t, None));
    let arguments: Vec<String> = arguments.collect();
    Some(format!(
        "{}({})",
        quoted(&function.name),
        arguments.join(",")
    ))
}

/// An identifier as SQL has to write it.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let starts_plainly = !name.starts_with(|c: char| c.is_ascii_digit());
    if !name.is_empty() && starts_plainly && name.chars().all(plain) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let parts = |text| identifiers(text).map_err(|e| e.sqlstate);
        let words = |words: &[&str]| Ok(words.iter().map(ToString::to_string).collect());
        assert_eq!(parts("Public.T"), words(&["public", "t"]));
        assert_eq!(parts(" \"A.b\" . \"c\"\"d\" "), words(&["A.b", "c\"d"]));
        for wrong in ["", "a.", ".a", "\"a", "\"a\"b"] {
            assert_eq!(parts(wrong), Err("42602"), "{wrong}");
        }
    }

    #[test]
    fn names_are_quoted_where_they_must_be() {
        assert_eq!(quoted("some_1"), "some_1");
        assert_eq!(quoted("Some \"one\""), "\"Some \"\"one\"\"\"");
        assert_eq!(quoted("1st"), "\"1st\"");
    }
}
