//! Functions that ask about the session: who, where, and its settings.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, ListBuilder, StringArray, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, Signature, TypeSignature, Volatility,
};

use super::{function, nullary};
use crate::catalogs::PG_CATALOG;
use crate::system::directory::is_system_schema;
use crate::{EngineError, SessionFacts};

pub(super) fn all() -> Vec<ScalarUDF> {
    let mut functions = identity();
    functions.extend(settings());
    functions
}

/// Who and where.
fn identity() -> Vec<ScalarUDF> {
    let named = |name, value: fn(&SessionFacts) -> String| {
        nullary(name, DataType::Utf8, move |facts| {
            ScalarValue::Utf8(Some(value(facts)))
        })
    };
    vec![
        named("current_user", |f| f.current_user.clone()),
        named("current_role", |f| f.current_user.clone()),
        named("user", |f| f.current_user.clone()),
        named("session_user", |f| f.session_user.clone()),
        named("current_database", |f| f.database.clone()),
        named("current_catalog", |f| f.database.clone()),
        named("version", |_| version()),
        nullary("pg_backend_pid", DataType::Int32, |f| {
            ScalarValue::Int32(Some(f.pid))
        }),
        nullary("current_schema", DataType::Utf8, |f| {
            ScalarValue::Utf8(existing_schemas(f).into_iter().next())
        }),
        nullary("pg_is_in_recovery", DataType::Boolean, |_| {
            ScalarValue::Boolean(Some(false))
        }),
    ]
}

/// PostgreSQL's clients read the version in front; people read who answers behind it.
fn version() -> String {
    format!(
        "PostgreSQL 15.0 (Forebay {}, Apache DataFusion {}) on {}-{}",
        env!("CARGO_PKG_VERSION"),
        datafusion::DATAFUSION_VERSION,
        std::env::consts::ARCH,
        std::env::consts::OS,
    )
}

fn existing_schemas(facts: &SessionFacts) -> Vec<String> {
    let path = facts.search_path.iter();
    path.filter(|s| is_system_schema(s) || facts.snapshot.schema(s).is_some())
        .cloned()
        .collect()
}

/// Settings and the search path.
fn settings() -> Vec<ScalarUDF> {
    let text = DataType::Utf8;
    let setting = TypeSignature::Exact(vec![text.clone()]);
    let setting_or_null = TypeSignature::Exact(vec![text.clone(), DataType::Boolean]);
    let item = Arc::new(Field::new("item", DataType::Utf8, true));
    vec![
        function(
            "current_setting",
            Signature::one_of(vec![setting, setting_or_null], Volatility::Stable),
            DataType::Utf8,
            current_setting,
        ),
        function(
            "current_schemas",
            Signature::exact(vec![DataType::Boolean], Volatility::Stable),
            DataType::List(item),
            current_schemas,
        ),
    ]
}

fn current_setting(args: &ScalarFunctionArgs, facts: &SessionFacts) -> Result<ColumnarValue> {
    let missing_ok = args
        .args
        .get(1)
        .is_some_and(|v| matches!(v, ColumnarValue::Scalar(ScalarValue::Boolean(Some(true)))));
    let names = args.args[0].to_array(args.number_rows)?;
    let values = names
        .as_string::<i32>()
        .iter()
        .map(|name| {
            let Some(name) = name else { return Ok(None) };
            match facts.settings.get(&name.to_lowercase()) {
                Some(value) => Ok(Some(value.clone())),
                None if missing_ok => Ok(None),
                None => Err(EngineError::new(
                    "42704",
                    format!("unrecognized configuration parameter \"{name}\""),
                )
                .into()),
            }
        })
        .collect::<Result<StringArray>>()?;
    Ok(ColumnarValue::Array(Arc::new(values)))
}

fn current_schemas(args: &ScalarFunctionArgs, facts: &SessionFacts) -> Result<ColumnarValue> {
    let implicit = args.args[0].to_array(args.number_rows)?;
    let mut lists = ListBuilder::new(StringBuilder::new());
    for with_implicit in implicit.as_boolean() {
        let named = facts.search_path.iter().any(|s| s == PG_CATALOG);
        if with_implicit == Some(true) && !named {
            lists.values().append_value(PG_CATALOG);
        }
        for schema in existing_schemas(facts) {
            lists.values().append_value(schema);
        }
        lists.append(true);
    }
    Ok(ColumnarValue::Array(Arc::new(lists.finish())))
}
