//! Statements between their names and their plan.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, Result};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::scalar::ScalarValue;

use crate::clauses::{self, ClauseColumns};
use crate::parameters::ParameterTypes;
use crate::system::System;
use crate::{SessionFacts, Vantage};

/// A statement whose names and types are resolved, parameters still open.
#[derive(Debug, Clone)]
pub struct LogicalStatement {
    plan: LogicalPlan,
    schema: SchemaRef,
    parameters: ParameterTypes,
    /// What it was resolved with: the same facts give the same names and types.
    facts: Arc<SessionFacts>,
    /// What optimizing makes of it, once that is known and is the same each time.
    optimized: Arc<OnceLock<LogicalPlan>>,
    /// The columns that the kept plan reads.
    columns: Arc<OnceLock<Arc<[String]>>>,
    /// What its clauses read, once somebody has asked.
    clauses: Arc<OnceLock<Arc<ClauseColumns>>>,
}

impl LogicalStatement {
    pub(crate) fn new(
        plan: LogicalPlan,
        schema: SchemaRef,
        parameters: ParameterTypes,
        vantage: &Vantage,
    ) -> Self {
        Self {
            plan,
            schema,
            parameters,
            facts: Arc::clone(&vantage.facts),
            optimized: Arc::default(),
            columns: Arc::default(),
            clauses: Arc::default(),
        }
    }

    /// The columns of the result, named as PostgreSQL names them; empty when only a row count
    /// comes back.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The types of `$1`, `$2`, …
    #[must_use]
    pub fn parameters(&self) -> &ParameterTypes {
        &self.parameters
    }

    /// Whether resolving it again from `vantage` could not change anything.
    #[must_use]
    pub fn is_of(&self, vantage: &Vantage) -> bool {
        Arc::ptr_eq(&self.facts, &vantage.facts)
    }

    pub(crate) fn returns_count(&self) -> bool {
        matches!(self.plan, LogicalPlan::Dml(_) | LogicalPlan::Copy(_))
    }

    /// Whether the next [`Self::optimized`] without values finds a plan that was kept.
    pub(crate) fn is_optimized(&self) -> bool {
        self.optimized.get().is_some()
    }

    /// The columns that its clauses read. They are kept for the next time.
    pub(crate) fn clauses(&self, system: &System) -> &Arc<ClauseColumns> {
        let found = || clauses::columns_of(&self.plan, &self.facts, system).into();
        self.clauses.get_or_init(found)
    }

    /// The plan after the optimizer. It is kept for the next time, unless values of parameters or
    /// of the present moment have become a part of it.
    ///
    /// # Errors
    /// What the optimizer reports.
    pub(crate) fn optimized(
        &self,
        state: &SessionState,
        values: Vec<ScalarValue>,
    ) -> Result<Cow<'_, LogicalPlan>> {
        if !values.is_empty() {
            let values = ParamValues::from(values);
            let plan = self.plan.clone().replace_params_with_values(&values)?;
            return Ok(Cow::Owned(state.optimize(&plan)?));
        }
        if let Some(known) = self.optimized.get() {
            return Ok(Cow::Borrowed(known));
        }
        let optimized = state.optimize(&self.plan)?;
        if !is_timeless(&self.plan)? {
            return Ok(Cow::Owned(optimized));
        }
        Ok(Cow::Borrowed(self.optimized.get_or_init(|| optimized)))
    }

    /// The columns that the scans of `plan` read, or filter by, which [`Self::optimized`] gave. Those of a
    /// kept plan are kept with it.
    ///
    /// # Errors
    /// As [`columns_read`].
    pub(crate) fn columns(&self, plan: &LogicalPlan) -> Result<Arc<[String]>> {
        let kept = self.optimized.get();
        if !kept.is_some_and(|kept| std::ptr::eq(kept, plan)) {
            return Ok(columns_read(plan)?.into());
        }
        if let Some(known) = self.columns.get() {
            return Ok(Arc::clone(known));
        }
        let columns = columns_read(plan)?.into();
        Ok(Arc::clone(self.columns.get_or_init(|| columns)))
    }
}

/// The columns that the scans of an optimized plan read, or filter by, as `relation.column`: each
/// once, in the order of their names.
///
/// # Errors
/// When a sub-query is nested too deeply.
fn columns_read(plan: &LogicalPlan) -> Result<Vec<String>> {
    let mut columns = BTreeSet::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let read = scan.projected_schema.columns().into_iter();
            let filtered = scan.filters.iter().flat_map(Expr::column_refs).cloned();
            let names = read.chain(filtered).map(|column| column.name);
            columns.extend(names.map(|name| format!("{}.{name}", scan.table_name)));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(columns.into_iter().collect())
}

/// Whether optimizing `plan` gives the same whenever it is done. The optimizer puts the results
/// of stable functions (`now()`) into the plan; volatile ones stay as they are.
fn is_timeless(plan: &LogicalPlan) -> Result<bool> {
    let mut timeless = true;
    let go_on = |timeless| match timeless {
        true => TreeNodeRecursion::Continue,
        false => TreeNodeRecursion::Stop,
    };
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(view) = scan.source.get_logical_plan()
        {
            timeless &= is_timeless(&view)?;
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                timeless &= !is_stable_function(expr);
                Ok(go_on(timeless))
            })
        })?;
        Ok(go_on(timeless))
    })?;
    Ok(timeless)
}

fn is_stable_function(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(function)
        if function.func.signature().volatility == Volatility::Stable)
}
