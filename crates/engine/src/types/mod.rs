//! Types, literals and casts as PostgreSQL has them.
//!
//! DataFusion's own are close, and differ in width (whole numbers are bigints), in exactness
//! (`sum(bigint)` wraps around) and in what a text means. Each file here is one such matter. They
//! act where DataFusion asks: when an operator or a type's name is planned ([`Operators`]), as
//! functions that take the place of DataFusion's, and as analyzer rules where the operands' types
//! must be known.
//!
//! [`Operators`]: operators::Operators

mod arithmetic;
mod casts;
mod dates;
mod exact;
mod input;
mod json;
mod names;
mod numeric;
mod operators;
mod output;
mod resolve;
mod rounding;
mod tags;
mod zones;

use std::sync::Arc;

use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};

pub use casts::{texts_of, value_of_text};
pub(crate) use numeric::{as_decimal, overflow as numeric_overflow, quotient};
pub(crate) use resolve::{in_session_zone, resolved};
pub(crate) use tags::TAGS;

use crate::EngineError;

/// Functions whose second argument, the number of decimals, decides on the type of the result.
pub(crate) const DIGITS_ARGUMENT: [&str; 4] = rounding::NAMES;

/// `state` with PostgreSQL's types, in the place of DataFusion's.
///
/// # Errors
/// When DataFusion lacks a function that is wrapped here.
pub(crate) fn install(state: SessionState) -> Result<SessionState, EngineError> {
    let rounding = rounding::NAMES
        .iter()
        .map(|name| state.scalar_functions().get(*name));
    let rounding: Vec<_> = rounding
        .flatten()
        .cloned()
        .filter_map(rounding::of_numerics)
        .collect();
    let aggregate = |name: &str| {
        let found = state.aggregate_functions().get(name).cloned();
        found.ok_or_else(|| EngineError::internal(format!("DataFusion has no function {name}")))
    };
    let aggregates = [exact::sum(aggregate("sum")?), exact::avg(aggregate("avg")?)];
    let mut planners: Vec<_> = vec![Arc::new(operators::Operators) as _];
    planners.extend(state.expr_planners().iter().cloned());
    let mut rules = state.analyzer().rules.clone();
    rules.push(Arc::new(arithmetic::CheckedIntegers));
    let mut state = SessionStateBuilder::new_from_existing(state)
        .with_expr_planners(planners)
        .with_type_planner(Arc::new(names::TypeNames::default()))
        .with_analyzer_rules(rules)
        .build();
    for function in rounding {
        state.register_udf(Arc::new(function))?;
    }
    let functions = [numeric::cast(), zones::timezone()];
    for function in functions
        .into_iter()
        .chain(json::functions())
        .chain(tags::functions())
    {
        state.register_udf(Arc::new(function))?;
    }
    for function in aggregates {
        state.register_udaf(Arc::new(function))?;
    }
    Ok(state)
}
