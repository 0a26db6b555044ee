//! `INTERSECT ALL` and `EXCEPT ALL` count how often a row occurs.
//!
//! DataFusion plans both as a join that keeps the left rows which have (or have not) an equal
//! row on the right, however many there are. Numbered within their equals, rows become distinct:
//! the second `x` on the left meets the second `x` on the right, and then the join is right.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, JoinType, NullEquality, Result};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, Join, LogicalPlan, LogicalPlanBuilder, WindowFunctionDefinition,
};
use datafusion::optimizer::AnalyzerRule;

/// The number of a row among its equals; a name that nobody can write.
const NUMBER: &str = "\u{1}number";

/// The analyzer rule.
#[derive(Debug)]
pub(crate) struct MultisetOperations;

impl AnalyzerRule for MultisetOperations {
    fn name(&self) -> &'static str {
        "multiset_operations"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let counted = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Join(join) if is_multiset_operation(&join) => {
                counted(&join).map(Transformed::yes)
            }
            node => Ok(Transformed::no(node)),
        })?;
        Ok(counted.data)
    }
}

/// Nothing but a set operation compares all columns so that NULL equals NULL. Those without `ALL`
/// have distinct rows on the left; with distinct rows, `ALL` changes nothing.
fn is_multiset_operation(join: &Join) -> bool {
    matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none()
        && join.on.len() == join.left.schema().fields().len()
        && !matches!(join.left.as_ref(), LogicalPlan::Distinct(_))
}

fn counted(join: &Join) -> Result<LogicalPlan> {
    let output = join.left.schema().columns();
    let (left, right) = join.on.iter().cloned().unzip();
    let left_plan = numbered(&join.left, left)?;
    let right_plan = numbered(&join.right, right)?;
    let mut keys = join.on.clone();
    keys.push((number(), number()));
    let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = keys.into_iter().unzip();
    let joined = Join::try_new(
        Arc::new(left_plan),
        Arc::new(right_plan),
        left_keys.into_iter().zip(right_keys).collect(),
        None,
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?;
    LogicalPlanBuilder::from(LogicalPlan::Join(joined))
        .project(output.into_iter().map(Expr::Column))?
        .build()
}

fn number() -> Expr {
    Expr::Column(Column::new_unqualified(NUMBER))
}

/// The plan with its rows numbered among those that have equal keys.
fn numbered(plan: &Arc<LogicalPlan>, keys: Vec<Expr>) -> Result<LogicalPlan> {
    let function = WindowFunctionDefinition::WindowUDF(row_number_udwf());
    let number = Expr::from(WindowFunction::new(function, Vec::new()))
        .partition_by(keys)
        .build()?;
    let name = number.schema_name().to_string();
    let columns = plan.schema().columns().into_iter().map(Expr::Column);
    let windowed = LogicalPlanBuilder::from(Arc::clone(plan)).window([number])?;
    let number = Expr::Column(Column::new_unqualified(name)).alias(NUMBER);
    windowed.project(columns.chain([number]))?.build()
}
