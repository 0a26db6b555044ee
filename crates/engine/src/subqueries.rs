//! Sub-queries in expressions.
//!
//! Those that give a value and depend on the row around them DataFusion plans only where it sees
//! that they have one row at most. The others collect their rows into an array, and a function takes
//! the only one out of it, or reports that there are several, as PostgreSQL does.
//!
//! `EXISTS` in a select list DataFusion does not plan, and where it depends on nothing around it, it
//! would be a nested loop over all rows of both sides. Both are counts here that are compared with
//! zero; the second is found once, from the first row.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::functions_aggregate::count::count_all;
use datafusion::functions_aggregate::expr_fn::array_agg;
use datafusion::logical_expr::expr::Exists;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Distinct, Expr, FetchType, LogicalPlan, LogicalPlanBuilder, ScalarUDF, SkipType, Subquery, lit,
};
use datafusion::optimizer::AnalyzerRule;

/// The rule; it needs the function that takes the only element out of an array.
#[derive(Debug)]
pub(crate) struct QueriesInExpressions {
    pub(crate) only_element: Arc<ScalarUDF>,
}

impl AnalyzerRule for QueriesInExpressions {
    fn name(&self) -> &'static str {
        "queries_in_expressions"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|node| {
            if !has_query(&node)? {
                return Ok(Transformed::no(node));
            }
            let names = NamePreserver::new(&node);
            // DataFusion makes joins of those that choose rows by the row around them.
            let chooses_rows = matches!(node, LogicalPlan::Filter(_) | LogicalPlan::Join(_));
            let is_joined =
                |exists: &Exists| chooses_rows && !exists.subquery.outer_ref_columns.is_empty();
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                let rewritten = expr.transform_up(|expr| match expr {
                    Expr::ScalarSubquery(_) => self.one_row(expr),
                    Expr::Exists(exists) if !is_joined(&exists) => counted(exists),
                    other => Ok(Transformed::no(other)),
                })?;
                Ok(rewritten.update_data(|expr| name.restore(expr)))
            })
        })?;
        Ok(rewritten.data)
    }
}

impl QueriesInExpressions {
    fn one_row(&self, expr: Expr) -> Result<Transformed<Expr>> {
        let Expr::ScalarSubquery(query) = &expr else {
            return Ok(Transformed::no(expr));
        };
        let [(qualifier, field)] = query.subquery.schema().iter().collect::<Vec<_>>()[..] else {
            return Ok(Transformed::no(expr));
        };
        if query.outer_ref_columns.is_empty() || has_one_row(&query.subquery) {
            return Ok(Transformed::no(expr));
        }
        let column = Expr::Column(Column::from((qualifier, field)));
        let rows = LogicalPlanBuilder::from(query.subquery.as_ref().clone());
        let collected = rows.aggregate(Vec::<Expr>::new(), [array_agg(column)])?;
        let collected = Expr::ScalarSubquery(Subquery {
            subquery: Arc::new(collected.build()?),
            ..query.clone()
        });
        Ok(Transformed::yes(self.only_element.call(vec![collected])))
    }
}

/// `EXISTS (q)` as `(SELECT count(*) FROM (q LIMIT 1)) > 0`, and where `q` depends on the row around it
/// without the limit, which DataFusion cannot pull out.
fn counted(exists: Exists) -> Result<Transformed<Expr>> {
    let query = &exists.subquery;
    let is_correlated = !query.outer_ref_columns.is_empty();
    let rows = rows_of(&query.subquery);
    if is_correlated && matches!(rows, LogicalPlan::Aggregate(a) if a.group_expr.is_empty()) {
        // One row, of whatever there is.
        return Ok(Transformed::yes(lit(!exists.negated)));
    }
    let mut rows = LogicalPlanBuilder::from(rows.clone());
    if !is_correlated {
        rows = rows.limit(0, Some(1))?;
    }
    let counted = rows.aggregate(Vec::<Expr>::new(), [count_all()])?.build()?;
    let counted = Expr::ScalarSubquery(Subquery {
        subquery: Arc::new(counted),
        ..query.clone()
    });
    Ok(Transformed::yes(match exists.negated {
        true => counted.eq(lit(0_i64)),
        false => counted.gt(lit(0_i64)),
    }))
}

/// The plan below all that does not matter to whether there are rows.
fn rows_of(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::Projection(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Distinct(Distinct::All(_)) => rows_of(plan.inputs()[0]),
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => rows_of(&sort.input),
        LogicalPlan::Limit(limit) => {
            let skips = !matches!(limit.get_skip_type(), Ok(SkipType::Literal(0)));
            let fetches = match limit.get_fetch_type() {
                Ok(FetchType::Literal(rows)) => rows != Some(0),
                _ => false,
            };
            match fetches && !skips {
                true => rows_of(&limit.input),
                false => plan,
            }
        }
        plan => plan,
    }
}

/// Whether any of a node's own expressions has a query in it that gives a value or is asked for rows.
fn has_query(node: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        found = expr.exists(|e| Ok(matches!(e, Expr::ScalarSubquery(_) | Expr::Exists(_))))?;
        Ok(match found {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(found)
}

/// Whether a plan ends in an aggregate of everything.
fn has_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Projection(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Filter(_) => has_one_row(plan.inputs()[0]),
        other => other.max_rows().is_some_and(|rows| rows <= 1),
    }
}
