//! Functions that describe what the catalog has: comments, definitions, sizes, visibility.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{AsArray, Int32Array, Int64Array};
use datafusion::arrow::datatypes::{DataType, Int32Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};
use forebay_catalog::{Relation, RelationDefinition, Snapshot};

use super::names::relation_oid;
use super::{array, booleans, function, integers, nullary, oids, stable, strings, texts};
use crate::SessionFacts;
use crate::system::classes::view_definition;
use crate::system::directory::{Directory, role_name, table_oid};
use crate::system::library::{FUNCTIONS, LIBRARY, column};
use crate::system::types;

const NUMBER: DataType = DataType::Int64;
const TEXT: DataType = DataType::Utf8;
const FLAG: DataType = DataType::Boolean;

/// PostgreSQL's number of UTF-8, the only encoding.
const UTF8: i64 = 6;

pub(super) fn all(directory: &Arc<Directory>) -> Vec<ScalarUDF> {
    let mut functions = comments(directory);
    functions.extend(of_functions());
    functions.extend(of_relations(directory));
    functions.extend(visibility(directory));
    functions.extend(encodings());
    functions.extend(absent());
    functions
}

/// Comments by class, object and column.
static COMMENTS: LazyLock<HashMap<(u32, u32), String>> = LazyLock::new(|| {
    let mut comments = HashMap::new();
    for batch in LIBRARY.pg_description.data() {
        let ints = |name| column(batch, name).as_primitive::<Int32Type>();
        let texts = column(batch, "description").as_string::<i32>();
        for row in 0..batch.num_rows() {
            let key = |name| ints(name).value(row).cast_unsigned();
            if key("objsubid") == 0 {
                let text = texts.value(row).to_owned();
                comments.insert((key("classoid"), key("objoid")), text);
            }
        }
    }
    comments
});

fn comments(directory: &Arc<Directory>) -> Vec<ScalarUDF> {
    let of_class = |name| {
        let signature = stable(&[&[NUMBER, TEXT]]);
        function(name, signature, TEXT, |args, asker| {
            let (objects, classes) = (oids(args, 0)?, strings(args, 1)?);
            let pairs = objects.into_iter().zip(classes.iter());
            Ok(texts(pairs.map(|(object, class)| match class? {
                "pg_resqueue" => comment_on_queue(asker, object?),
                "pg_class" if asker.snapshot.relation_by_oid(object?).is_some() => {
                    let relation = asker.snapshot.relation_by_oid(object?)?;
                    relation.comment().map(ToOwned::to_owned)
                }
                class => COMMENTS.get(&(table_oid(class)?, object?)).cloned(),
            })))
        })
    };
    let of_column = stable(&[&[NUMBER, NUMBER]]);
    let directory = Arc::clone(directory);
    let of_column = function("col_description", of_column, TEXT, move |args, asker| {
        let columns = oids(args, 0)?.into_iter().zip(oids(args, 1)?);
        Ok(texts(columns.map(|(relation, number)| {
            directory.comment_on_column(&asker.snapshot, relation?, number?)
        })))
    });
    vec![
        of_class("obj_description"),
        of_class("shobj_description"),
        of_column,
    ]
}

fn comment_on_queue(asker: &SessionFacts, queue: u32) -> Option<String> {
    let queue = asker.snapshot.resource_queue_by_oid(queue)?;
    queue.comment.clone()
}

fn nothing(_: &ScalarFunctionArgs, _: &SessionFacts) -> Result<ColumnarValue> {
    Ok(ColumnarValue::Scalar(ScalarValue::Utf8(None)))
}

/// The signatures of functions.
fn of_functions() -> Vec<ScalarUDF> {
    type Shown = fn(&crate::system::library::Function) -> String;
    let shown = |name, show: Shown| {
        let signature = stable(&[&[NUMBER]]);
        function(name, signature, TEXT, move |args, _| {
            let functions = oids(args, 0)?.into_iter();
            Ok(texts(
                functions.map(|f| Some(show(FUNCTIONS.by_oid.get(&f?)?))),
            ))
        })
    };
    let arguments: Shown = |f| {
        let types = f.arguments.iter().map(|t| types::sql_name(*t, None));
        types.collect::<Vec<_>>().join(", ")
    };
    vec![
        shown("pg_get_function_result", |f| {
            let set = if f.returns_set { "SETOF " } else { "" };
            format!("{set}{}", types::sql_name(f.result, None))
        }),
        shown("pg_get_function_arguments", arguments),
        shown("pg_get_function_identity_arguments", arguments),
    ]
}

fn of_relations(directory: &Arc<Directory>) -> Vec<ScalarUDF> {
    let looked_up = Arc::clone(directory);
    let view = stable(&[&[NUMBER], &[NUMBER, FLAG]]);
    let view = function("pg_get_viewdef", view, TEXT, move |args, asker| {
        let views = view_definitions(&asker.snapshot);
        let named = strings(args, 0)?;
        let oids = named
            .iter()
            .map(|name| relation_oid(&looked_up, asker, name?).ok()?);
        Ok(texts(oids.map(|oid| views.get(&oid?).cloned())))
    });
    let owner = stable(&[&[NUMBER]]);
    let owner = function("pg_get_userbyid", owner, TEXT, |args, asker| {
        let roles = oids(args, 0)?.into_iter();
        Ok(texts(roles.map(|oid| {
            let oid = oid?;
            let name = role_name(&asker.snapshot, oid);
            Some(name.unwrap_or_else(|| format!("unknown (OID={oid})")))
        })))
    });
    let format = stable(&[&[NUMBER, NUMBER]]);
    let format = function("format_type", format, TEXT, |args, _| {
        let (found, modifiers) = (oids(args, 0)?, integers(args, 1)?);
        let pairs = found.into_iter().zip(modifiers.iter());
        Ok(texts(pairs.map(|(oid, modifier)| {
            let modifier = modifier.and_then(|m| i32::try_from(m).ok());
            Some(types::sql_name(oid?, modifier))
        })))
    });
    let mut functions = vec![view, owner, format];
    for name in [
        "pg_table_size",
        "pg_relation_size",
        "pg_total_relation_size",
    ] {
        let directory = Arc::clone(directory);
        let signature = stable(&[&[NUMBER], &[NUMBER, TEXT]]);
        functions.push(function(name, signature, NUMBER, move |args, asker| {
            let named = strings(args, 0)?;
            let sizes = named.iter().map(|name| {
                let oid = relation_oid(&directory, asker, name?).ok()??;
                size_bytes(&directory, &asker.snapshot, oid)
            });
            Ok(array(Arc::new(sizes.collect::<Int64Array>())))
        }));
    }
    // One database and one tablespace have all tables.
    for name in ["pg_database_size", "pg_tablespace_size"] {
        let signature = stable(&[&[TEXT]]);
        functions.push(function(name, signature, NUMBER, |args, asker| {
            let relations = asker.snapshot.schemas().flat_map(|s| s.relations.values());
            let bytes: i64 = relations.filter_map(|r| relation_bytes(r)).sum();
            let asked = strings(args, 0)?;
            let sizes = asked.iter().map(|asked| asked.map(|_| bytes));
            Ok(array(Arc::new(sizes.collect::<Int64Array>())))
        }));
    }
    functions
}

fn view_definitions(snapshot: &Snapshot) -> HashMap<u32, String> {
    let relations = snapshot.schemas().flat_map(|s| s.relations.values());
    let views = relations.filter_map(|r| match &r.definition {
        RelationDefinition::View(view) => Some((r.oid, view_definition(&view.query))),
        RelationDefinition::Table(_) => None,
    });
    views.collect()
}

/// Bytes of a table's files, where they are on this machine; system relations and views have
/// none. NULL where nobody knows.
fn size_bytes(directory: &Directory, snapshot: &Snapshot, oid: u32) -> Option<i64> {
    let relations = snapshot.schemas().flat_map(|s| s.relations.values());
    match relations.into_iter().find(|r| r.oid == oid) {
        Some(relation) => relation_bytes(relation),
        None => directory.names(snapshot).contains_key(&oid).then_some(0),
    }
}

fn relation_bytes(relation: &Relation) -> Option<i64> {
    match &relation.definition {
        RelationDefinition::Table(table) => files_bytes(Path::new(&table.location)),
        RelationDefinition::View(_) => Some(0),
    }
}

fn files_bytes(location: &Path) -> Option<i64> {
    let mut bytes = 0;
    let mut open: Vec<PathBuf> = vec![location.to_owned()];
    while let Some(path) = open.pop() {
        let about = std::fs::metadata(&path).ok()?;
        if about.is_dir() {
            let entries = std::fs::read_dir(&path).ok()?;
            open.extend(entries.filter_map(|e| Some(e.ok()?.path())));
        } else {
            bytes += i64::try_from(about.len()).ok()?;
        }
    }
    Some(bytes)
}

/// Types, functions and the like are all in `pg_catalog`, which is always searched.
const ALWAYS_VISIBLE: [&str; 12] = [
    "pg_collation_is_visible",
    "pg_conversion_is_visible",
    "pg_function_is_visible",
    "pg_opclass_is_visible",
    "pg_operator_is_visible",
    "pg_opfamily_is_visible",
    "pg_statistics_obj_is_visible",
    "pg_ts_config_is_visible",
    "pg_ts_dict_is_visible",
    "pg_ts_parser_is_visible",
    "pg_ts_template_is_visible",
    "pg_type_is_visible",
];

fn visibility(directory: &Arc<Directory>) -> Vec<ScalarUDF> {
    let directory = Arc::clone(directory);
    let signature = || stable(&[&[NUMBER]]);
    let relation = function(
        "pg_table_is_visible",
        signature(),
        FLAG,
        move |args, asker| {
            let names = directory.names(&asker.snapshot);
            let visible: HashSet<u32> = names
                .iter()
                .filter(|(oid, (_, name))| directory.find(asker, None, name) == Some(**oid))
                .map(|(oid, _)| *oid)
                .collect();
            let asked = oids(args, 0)?.into_iter();
            Ok(booleans(asked.map(|oid| {
                let oid = oid?;
                names.contains_key(&oid).then(|| visible.contains(&oid))
            })))
        },
    );
    let mut functions = vec![relation];
    functions.extend(ALWAYS_VISIBLE.map(|name| {
        function(name, signature(), FLAG, |args, _| {
            let asked = oids(args, 0)?.into_iter();
            Ok(booleans(asked.map(|oid| oid.map(|_| true))))
        })
    }));
    functions
}

fn encodings() -> Vec<ScalarUDF> {
    vec![
        nullary("getdatabaseencoding", TEXT, |_| {
            ScalarValue::Utf8(Some("UTF8".to_owned()))
        }),
        function(
            "pg_encoding_to_char",
            stable(&[&[NUMBER]]),
            TEXT,
            |args, _| {
                let numbers = integers(args, 0)?;
                let name = |number| if number == UTF8 { "UTF8" } else { "" };
                Ok(texts(numbers.iter().map(|n| Some(name(n?).to_owned()))))
            },
        ),
        function(
            "pg_char_to_encoding",
            stable(&[&[TEXT]]),
            DataType::Int32,
            |args, _| {
                let names = strings(args, 0)?;
                let number = |name: &str| match name.replace('-', "").to_lowercase().as_str() {
                    "utf8" => 6,
                    _ => -1,
                };
                let numbers = names.iter().map(|n| n.map(number));
                Ok(array(Arc::new(numbers.collect::<Int32Array>())))
            },
        ),
    ]
}

/// Definitions of what there is not: defaults, constraints, indexes, rules, triggers,
/// partitions. NULL, as PostgreSQL answers for object ids of nothing.
fn absent() -> Vec<ScalarUDF> {
    let by_oid = || stable(&[&[NUMBER], &[NUMBER, FLAG]]);
    let mut functions: Vec<ScalarUDF> = [
        "pg_get_constraintdef",
        "pg_get_functiondef",
        "pg_get_function_sqlbody",
        "pg_get_partkeydef",
        "pg_get_ruledef",
        "pg_get_statisticsobjdef",
        "pg_get_statisticsobjdef_columns",
        "pg_get_triggerdef",
        "pg_tablespace_location",
    ]
    .into_iter()
    .map(|name| function(name, by_oid(), TEXT, nothing))
    .collect();
    let index = stable(&[&[NUMBER], &[NUMBER, NUMBER, FLAG]]);
    functions.push(function("pg_get_indexdef", index, TEXT, nothing));
    let expression = stable(&[&[TEXT, NUMBER], &[TEXT, NUMBER, FLAG]]);
    functions.push(function("pg_get_expr", expression, TEXT, nothing));
    let sequence = stable(&[&[TEXT, TEXT]]);
    functions.push(function("pg_get_serial_sequence", sequence, TEXT, nothing));
    functions.push(function(
        "pg_relation_is_publishable",
        stable(&[&[NUMBER]]),
        FLAG,
        |args, _| {
            Ok(booleans(
                oids(args, 0)?.into_iter().map(|oid| oid.map(|_| false)),
            ))
        },
    ));
    functions
}
