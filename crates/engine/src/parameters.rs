//! Types of `$1`, `$2`, …

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType as SqlType, ExactNumberInfo, Expr as SqlExpr, TimezoneInfo, Value,
    visit_expressions_mut,
};

use crate::EngineError;

/// Parameters above this are refused: PostgreSQL's protocol counts them in 16 bits.
const MAX_PARAMETERS: usize = 65_535;

/// The type of each parameter in order; `None` where the statement does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParameterTypes(Vec<Option<DataType>>);

impl ParameterTypes {
    /// The types in the order of the parameters' numbers.
    #[must_use]
    pub fn types(&self) -> &[Option<DataType>] {
        &self.0
    }

    pub(crate) fn of(
        plan: &LogicalPlan,
        declared: &[Option<DataType>],
    ) -> Result<Self, EngineError> {
        let mut inferred: HashMap<String, Option<DataType>> = plan.get_parameter_types()?;
        for (id, data_type) in cast_types(plan)? {
            inferred.entry(id).or_default().get_or_insert(data_type);
        }
        let mut types = declared.to_vec();
        for (id, data_type) in inferred {
            let index = index_of(&id)?;
            if types.len() <= index {
                types.resize(index + 1, None);
            }
            if types[index].is_none() {
                types[index] = data_type.filter(|t| *t != DataType::Null);
            }
        }
        Ok(Self(types))
    }

    pub(crate) fn check_count(&self, given: usize) -> Result<(), EngineError> {
        if given == self.0.len() {
            return Ok(());
        }
        if given == 0 {
            return Err(EngineError::new("42P02", "there is no parameter $1"));
        }
        Err(EngineError::new(
            "08P01",
            format!(
                "{given} parameter values are given, but the statement has {}",
                self.0.len()
            ),
        ))
    }
}

/// `$3` is index 2.
fn index_of(id: &str) -> Result<usize, EngineError> {
    let number = id.trim_start_matches('$').parse::<usize>();
    match number {
        Ok(n) if (1..=MAX_PARAMETERS).contains(&n) => Ok(n - 1),
        _ => Err(EngineError::new(
            "42P02",
            format!("there is no parameter {id}"),
        )),
    }
}

/// A parameter that is cast has the type of the cast.
fn cast_types(plan: &LogicalPlan) -> Result<HashMap<String, DataType>, EngineError> {
    let mut types = HashMap::new();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|e| {
                if let Expr::Cast(cast) = e
                    && let Expr::Placeholder(placeholder) = cast.expr.as_ref()
                {
                    types.insert(placeholder.id.clone(), cast.field.data_type().clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(types)
}

/// Writes the declared types into the statement, as casts around the parameters.
pub(crate) fn with_declared_types(
    statement: &Statement,
    declared: &[Option<DataType>],
) -> Statement {
    let mut statement = statement.clone();
    let casts: Vec<Option<SqlType>> = declared
        .iter()
        .map(|t| t.as_ref().and_then(sql_type))
        .collect();
    if casts.iter().all(Option::is_none) {
        return statement;
    }
    if let Statement::Statement(inner) = &mut statement {
        let _ = visit_expressions_mut(inner.as_mut(), |expr| {
            if let Some(data_type) = declared_cast(expr, &casts) {
                let placeholder = Box::new(expr.clone());
                *expr = SqlExpr::Cast {
                    kind: CastKind::DoubleColon,
                    expr: placeholder,
                    data_type,
                    array: false,
                    format: None,
                };
            }
            ControlFlow::<()>::Continue(())
        });
    }
    statement
}

fn declared_cast(expr: &SqlExpr, casts: &[Option<SqlType>]) -> Option<SqlType> {
    let SqlExpr::Value(value) = expr else {
        return None;
    };
    let Value::Placeholder(id) = &value.value else {
        return None;
    };
    casts.get(index_of(id).ok()?)?.clone()
}

/// The SQL name of a declared type; `None` where a cast would lose something (numeric's scale)
/// or say nothing.
fn sql_type(data_type: &DataType) -> Option<SqlType> {
    Some(match data_type {
        DataType::Boolean => SqlType::Boolean,
        DataType::Int16 => SqlType::SmallInt(None),
        DataType::Int32 => SqlType::Integer(None),
        DataType::Int64 => SqlType::BigInt(None),
        DataType::Float32 => SqlType::Real,
        DataType::Float64 => SqlType::Double(ExactNumberInfo::None),
        DataType::Date32 => SqlType::Date,
        DataType::Time64(_) => SqlType::Time(None, TimezoneInfo::None),
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            SqlType::Timestamp(None, TimezoneInfo::None)
        }
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            SqlType::Timestamp(None, TimezoneInfo::WithTimeZone)
        }
        DataType::Binary => SqlType::Bytea,
        DataType::Interval(IntervalUnit::MonthDayNano) => SqlType::Interval {
            fields: None,
            precision: None,
        },
        _ => return None,
    })
}
