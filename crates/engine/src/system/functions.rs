//! Functions that ask about the session, or act on others.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::array::{AsArray, ListBuilder, StringArray, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field, Float64Type, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use super::BackendControl;
use crate::vantage::facts;
use crate::{EngineError, SessionFacts};

/// Everything that is registered on top of the libraries' functions.
pub(super) fn all(backends: &Arc<dyn BackendControl>) -> Vec<ScalarUDF> {
    let mut functions = identity();
    functions.extend(session());
    functions.extend(signals(backends));
    functions.extend(descriptions());
    functions.push(AsyncScalarUDF::new(Arc::new(Sleep::new())).into_scalar_udf());
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
    path.filter(|s| facts.snapshot.schema(s).is_some())
        .cloned()
        .collect()
}

/// Settings and the search path.
fn session() -> Vec<ScalarUDF> {
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
        function(
            "pg_get_userbyid",
            Signature::exact(vec![DataType::Int64], Volatility::Stable),
            DataType::Utf8,
            role_by_oid,
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
        if with_implicit == Some(true) {
            lists.values().append_value("pg_catalog");
        }
        for schema in existing_schemas(facts) {
            lists.values().append_value(schema);
        }
        lists.append(true);
    }
    Ok(ColumnarValue::Array(Arc::new(lists.finish())))
}

/// Relations that the library lists have no owner (oid 0): they are the bootstrap role's.
fn role_by_oid(args: &ScalarFunctionArgs, facts: &SessionFacts) -> Result<ColumnarValue> {
    const BOOTSTRAP: u32 = 10;
    let oids = args.args[0].to_array(args.number_rows)?;
    let names = oids.as_primitive::<Int64Type>().iter().map(|oid| {
        let oid = u32::try_from(oid?).ok()?;
        let oid = if oid == 0 { BOOTSTRAP } else { oid };
        Some(match facts.snapshot.role_by_oid(oid) {
            Some(role) => role.name.clone(),
            None => format!("unknown (OID={oid})"),
        })
    });
    Ok(ColumnarValue::Array(Arc::new(
        names.collect::<StringArray>(),
    )))
}

/// `pg_cancel_backend` and `pg_terminate_backend`.
fn signals(backends: &Arc<dyn BackendControl>) -> Vec<ScalarUDF> {
    type Signal = fn(&dyn BackendControl, &SessionFacts, i32) -> Result<bool, EngineError>;
    let signal = |name, send: Signal| {
        let backends = Arc::clone(backends);
        function(
            name,
            Signature::exact(vec![DataType::Int64], Volatility::Volatile),
            DataType::Boolean,
            move |args, facts| {
                let pids = args.args[0].to_array(args.number_rows)?;
                let sent = pids
                    .as_primitive::<Int64Type>()
                    .iter()
                    .map(|pid| match pid.and_then(|p| i32::try_from(p).ok()) {
                        Some(pid) => {
                            let sent = send(backends.as_ref(), facts, pid)?;
                            if !sent {
                                let message =
                                    format!("PID {pid} is not a PostgreSQL backend process");
                                facts.warn("01000", message);
                            }
                            Ok(Some(sent))
                        }
                        None => Ok(None),
                    })
                    .collect::<Result<Vec<Option<bool>>>>()?;
                let sent: datafusion::arrow::array::BooleanArray = sent.into();
                Ok(ColumnarValue::Array(Arc::new(sent)))
            },
        )
    };
    vec![
        signal("pg_cancel_backend", |b, f, pid| b.cancel(f, pid)),
        signal("pg_terminate_backend", |b, f, pid| b.terminate(f, pid)),
    ]
}

/// Comments and function signatures, of which there are none yet: NULL, as PostgreSQL answers
/// for an object without a comment.
fn descriptions() -> Vec<ScalarUDF> {
    let by_oid = TypeSignature::Exact(vec![DataType::Int64]);
    let by_oid_and_class = TypeSignature::Exact(vec![DataType::Int64, DataType::Utf8]);
    let by_oid_and_number = TypeSignature::Exact(vec![DataType::Int64, DataType::Int64]);
    let null = |name, signature: TypeSignature| {
        function(
            name,
            Signature::one_of(vec![signature, by_oid.clone()], Volatility::Stable),
            DataType::Utf8,
            |_, _| Ok(ColumnarValue::Scalar(ScalarValue::Utf8(None))),
        )
    };
    let visible = |name| {
        function(
            name,
            Signature::exact(vec![DataType::Int64], Volatility::Stable),
            DataType::Boolean,
            |_, _| Ok(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true)))),
        )
    };
    vec![
        null("obj_description", by_oid_and_class.clone()),
        null("shobj_description", by_oid_and_class),
        null("col_description", by_oid_and_number),
        null("pg_get_function_result", by_oid.clone()),
        null("pg_get_function_arguments", by_oid.clone()),
        null("pg_get_function_identity_arguments", by_oid.clone()),
        null("pg_get_functiondef", by_oid.clone()),
        visible("pg_function_is_visible"),
        visible("pg_type_is_visible"),
    ]
}

type Body = dyn Fn(&ScalarFunctionArgs, &SessionFacts) -> Result<ColumnarValue> + Send + Sync;

/// A function that may look at the session.
struct SessionFunction {
    name: &'static str,
    signature: Signature,
    returns: DataType,
    body: Arc<Body>,
}

fn function<F>(name: &'static str, signature: Signature, returns: DataType, body: F) -> ScalarUDF
where
    F: Fn(&ScalarFunctionArgs, &SessionFacts) -> Result<ColumnarValue> + Send + Sync + 'static,
{
    ScalarUDF::new_from_impl(SessionFunction {
        name,
        signature,
        returns,
        body: Arc::new(body),
    })
}

fn nullary<F>(name: &'static str, returns: DataType, value: F) -> ScalarUDF
where
    F: Fn(&SessionFacts) -> ScalarValue + Send + Sync + 'static,
{
    function(
        name,
        Signature::nullary(Volatility::Stable),
        returns,
        move |_, facts| Ok(ColumnarValue::Scalar(value(facts))),
    )
}

impl std::fmt::Debug for SessionFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SessionFunction").field(&self.name).finish()
    }
}

impl PartialEq for SessionFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.body, &other.body)
    }
}

impl Eq for SessionFunction {}

impl Hash for SessionFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for SessionFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let options = Arc::clone(&args.config_options);
        (self.body)(&args, facts(&options)?)
    }
}

/// `pg_sleep(seconds)`: waits without holding a thread, and ends when the statement does.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Sleep {
    signature: Signature,
}

/// Longer sleeps are cut here: a timer cannot count further.
const MAX_SLEEP: Duration = Duration::from_secs(86_400 * 365);

impl Sleep {
    fn new() -> Self {
        Self {
            signature: Signature::exact(vec![DataType::Float64], Volatility::Volatile),
        }
    }
}

impl ScalarUDFImpl for Sleep {
    fn name(&self) -> &'static str {
        "pg_sleep"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        datafusion::common::internal_err!("pg_sleep is asynchronous")
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Sleep {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let seconds = args.args[0].to_array(args.number_rows)?;
        let seconds = seconds.as_primitive::<Float64Type>();
        for second in seconds.iter().flatten() {
            let duration = Duration::try_from_secs_f64(second.max(0.0)).unwrap_or(MAX_SLEEP);
            tokio::time::sleep(duration.min(MAX_SLEEP)).await;
        }
        // PostgreSQL's `void` prints as nothing.
        let nothing = StringArray::from_iter_values((0..seconds.len()).map(|_| ""));
        Ok(ColumnarValue::Array(Arc::new(nothing)))
    }
}
