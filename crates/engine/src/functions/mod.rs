//! PostgreSQL's functions where DataFusion has none of the name, or one that answers otherwise.

mod extract;
mod impala;
mod keywords;
mod math;
mod size;
mod template;
mod text;
mod udf;

pub(crate) use extract::EXTRACT;
pub(crate) use impala::type_name as impala_type_name;
pub(crate) use keywords::is_keyword;
pub(crate) use math::{BETWEEN_SYMMETRIC, BIT_NOT};
pub(crate) use text::{LIKE_ESCAPE, SIMILAR_TO_ESCAPE};

use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::ScalarUDF;

/// Puts our functions over those that are registered already.
pub(crate) fn register(context: &SessionContext) {
    let mut functions: Vec<ScalarUDF> = Vec::new();
    functions.extend(text::all());
    functions.extend(math::all());
    functions.extend(template::all());
    functions.extend(impala::all());
    functions.push(extract::extract());
    functions.push(size::pg_size_pretty());
    for (name, guard) in math::GUARDS {
        if let Ok(inner) = context.udf(name) {
            functions.push(udf::guarded(inner, *guard));
        }
    }
    for (name, guard) in text::GUARDS {
        if let Ok(inner) = context.udf(name) {
            functions.push(udf::guarded(inner, *guard));
        }
    }
    for function in functions {
        // Another name of a function that is replaced would bring it back under its first one,
        // whenever a state is made from this one.
        if let Ok(replaced) = context.udf(function.name()) {
            for alias in replaced.aliases() {
                context.deregister_udf(alias);
            }
        }
        context.register_udf(function);
    }
}
