//! What is settled as soon as names and types are known, before parameters have values.
//!
//! A literal in quotes has no type of its own; in a `UNION` it takes that of the other side.
//! Conditions must be boolean, which DataFusion does not ask of `CASE`. The client is told the
//! types that come out of this, so it cannot wait for the analyzer.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Case, Cast};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Projection, Union,
};
use datafusion::scalar::ScalarValue;

use super::input;
use crate::EngineError;

/// `plan` with the types of all its literals, or what is wrong with a type.
///
/// # Errors
/// Conditions that are not boolean, and columns of a `UNION` that do not go together.
pub(crate) fn resolved(plan: LogicalPlan) -> Result<LogicalPlan> {
    let resolved = plan.transform_up_with_subqueries(|node| {
        check_conditions(&node)?;
        match node {
            LogicalPlan::Union(union) => unified(union),
            other => Ok(Transformed::no(other)),
        }
    })?;
    if !resolved.transformed {
        return Ok(resolved.data);
    }
    let recomputed = resolved
        .data
        .transform_up_with_subqueries(|node| node.recompute_schema().map(Transformed::yes))?;
    Ok(recomputed.data)
}

/// `plan` with moments in the session's zone, which may differ from that of the files.
///
/// # Errors
/// When DataFusion cannot build the projection.
pub(crate) fn in_session_zone(plan: LogicalPlan, zone: &str) -> Result<LogicalPlan> {
    let foreign = |data_type: &DataType| match data_type {
        DataType::Timestamp(unit, Some(other)) if other.as_ref() != zone => {
            Some(DataType::Timestamp(*unit, Some(zone.into())))
        }
        _ => None,
    };
    let fields = plan.schema().fields();
    if !fields.iter().any(|f| foreign(f.data_type()).is_some()) || !is_query(&plan) {
        return Ok(plan);
    }
    let shown: Vec<Expr> = plan
        .schema()
        .iter()
        .map(|(qualifier, field)| {
            let column = Expr::from((qualifier, field));
            match foreign(field.data_type()) {
                Some(data_type) => Expr::Cast(Cast::new(Box::new(column), data_type))
                    .alias_qualified(qualifier.cloned(), field.name()),
                None => column,
            }
        })
        .collect();
    LogicalPlanBuilder::from(plan).project(shown)?.build()
}

fn is_query(plan: &LogicalPlan) -> bool {
    !matches!(
        plan,
        LogicalPlan::Dml(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Statement(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::DescribeTable(_)
    )
}

fn check_conditions(node: &LogicalPlan) -> Result<()> {
    node.apply_expressions(|expr| {
        let conditional = expr.exists(|e| Ok(matches!(e, Expr::Case(Case { expr: None, .. }))))?;
        if conditional {
            let schema = merge_schema(&node.inputs());
            check_cases(expr, &schema)?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn check_cases(expr: &Expr, schema: &DFSchema) -> Result<()> {
    expr.apply(|e| {
        if let Expr::Case(Case {
            expr: None,
            when_then_expr,
            ..
        }) = e
        {
            for (when, _) in when_then_expr {
                check_boolean("CASE/WHEN", when, schema)?;
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// What is not boolean cannot be a condition; parameters and literals in quotes can still be.
pub(super) fn check_boolean(of: &str, condition: &Expr, schema: &DFSchema) -> Result<()> {
    let Ok(data_type) = condition.get_type(schema) else {
        return Ok(());
    };
    if matches!(data_type, DataType::Boolean | DataType::Null) || unknown(condition).is_some() {
        return Ok(());
    }
    let name = input::name_of(&data_type);
    let message = format!("argument of {of} must be type boolean, not type {name}");
    Err(EngineError::new("42804", message).into())
}

/// The text of a literal in quotes that was not given a type.
pub(super) fn unknown(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), None) => Some(text),
        Expr::Alias(alias) => unknown(&alias.expr),
        _ => None,
    }
}

/// The literal `text` as a value of `data_type`.
pub(super) fn typed(expr: Expr, data_type: &DataType) -> Expr {
    let data_type = match (data_type, unknown(&expr)) {
        // A number keeps its decimals, whatever the other side has.
        (DataType::Decimal128(..), Some(text)) => {
            let decimals = text.trim().split_once('.').map_or(0, |(_, d)| d.len());
            let scale = i8::try_from(decimals).unwrap_or(i8::MAX).min(20);
            DataType::Decimal128(38, scale)
        }
        (other, _) => other.clone(),
    };
    match expr {
        Expr::Alias(mut alias) => {
            alias.expr = Box::new(typed(*alias.expr, &data_type));
            Expr::Alias(alias)
        }
        literal => {
            // The column keeps the name that it had.
            let name = literal.schema_name().to_string();
            Expr::Cast(Cast::new(Box::new(literal), data_type)).alias(name)
        }
    }
}

/// Gives literals in quotes the type that the other inputs of a `UNION` have.
fn unified(union: Union) -> Result<Transformed<LogicalPlan>> {
    let mut wanted = Vec::new();
    for column in 0..union.schema.fields().len() {
        wanted.push(column_type(&union, column)?);
    }
    if wanted.iter().all(Option::is_none) {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    let inputs = union
        .inputs
        .into_iter()
        .map(|input| with_types(Arc::unwrap_or_clone(input), &wanted).map(Arc::new))
        .collect::<Result<Vec<_>>>()?;
    let union = Union::try_new_with_loose_types(inputs)?;
    Ok(Transformed::yes(LogicalPlan::Union(union)))
}

/// The type that the literals of a column take; `None` when there is nothing to change.
fn column_type(union: &Union, column: usize) -> Result<Option<DataType>> {
    let mut known: Option<DataType> = None;
    let mut has_unknown = false;
    for input in &union.inputs {
        if literal_at(input, column).is_some() {
            has_unknown = true;
            continue;
        }
        let Some(field) = input.schema().fields().get(column) else {
            return Ok(None);
        };
        let data_type = field.data_type();
        if data_type.is_null() {
            continue;
        }
        if let Some(first) = &known
            && category(first) != category(data_type)
        {
            let (a, b) = (input::name_of(first), input::name_of(data_type));
            let message = format!("UNION types {a} and {b} cannot be matched");
            return Err(EngineError::new("42804", message).into());
        }
        known.get_or_insert_with(|| data_type.clone());
    }
    Ok(known.filter(|t| has_unknown && !t.is_string()))
}

/// Types of one category can be made one, others cannot.
fn category(data_type: &DataType) -> u8 {
    use DataType::{Boolean, Date32, Date64, Dictionary, Timestamp};
    match data_type {
        Dictionary(_, value) => category(value),
        number if number.is_numeric() => 0,
        text if text.is_string() => 1,
        Boolean => 2,
        Date32 | Date64 | Timestamp(..) => 3,
        time if time.is_temporal() => 4,
        bytes if bytes.is_binary() => 5,
        list if list.is_list() => 6,
        _ => 7,
    }
}

fn literal_at(input: &LogicalPlan, column: usize) -> Option<&Expr> {
    match input {
        LogicalPlan::Projection(projection) => {
            projection.expr.get(column).filter(|e| unknown(e).is_some())
        }
        _ => None,
    }
}

fn with_types(input: LogicalPlan, wanted: &[Option<DataType>]) -> Result<LogicalPlan> {
    let LogicalPlan::Projection(Projection { expr, input, .. }) = input else {
        return Ok(input);
    };
    let typed = expr
        .into_iter()
        .zip(wanted)
        .map(|(expr, wanted)| match wanted {
            Some(data_type) if unknown(&expr).is_some() => typed(expr, data_type),
            _ => expr,
        })
        .collect();
    Ok(LogicalPlan::Projection(Projection::try_new(typed, input)?))
}
