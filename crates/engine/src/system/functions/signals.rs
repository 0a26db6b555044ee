//! Functions that act: on sessions, or on time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::array::{AsArray, StringArray};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::Result;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::{BackendControl, function};
use crate::{EngineError, SessionFacts};

pub(super) fn all(backends: &Arc<dyn BackendControl>) -> Vec<ScalarUDF> {
    let mut functions = signals(backends);
    functions.push(set_config(backends));
    functions.push(AsyncScalarUDF::new(Arc::new(Sleep::new())).into_scalar_udf());
    functions
}

/// `set_config(name, value, is_local)`: `SET` as a function.
fn set_config(backends: &Arc<dyn BackendControl>) -> ScalarUDF {
    let backends = Arc::clone(backends);
    let types = vec![DataType::Utf8, DataType::Utf8, DataType::Boolean];
    function(
        "set_config",
        Signature::exact(types, Volatility::Volatile),
        DataType::Utf8,
        move |args, facts| {
            let arrays = ColumnarValue::values_to_arrays(&args.args)?;
            let (names, values) = (arrays[0].as_string::<i32>(), arrays[1].as_string::<i32>());
            let local = arrays[2].as_boolean();
            let set = names.iter().zip(values).zip(local);
            let set = set.map(|((name, value), local)| match name {
                // No value means the empty one, as in PostgreSQL.
                Some(name) => {
                    let value = value.unwrap_or_default();
                    let local = local.unwrap_or_default();
                    Ok(Some(backends.set_config(facts, name, value, local)?))
                }
                None => Err(EngineError::new("22004", "SET requires parameter name").into()),
            });
            Ok(ColumnarValue::Array(Arc::new(
                set.collect::<Result<StringArray>>()?,
            )))
        },
    )
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
