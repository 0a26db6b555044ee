//! Joins whose table would not fit become merges of sorted inputs.
//!
//! A hash join keeps one input whole in memory and cannot spill. A merge join sorts both inputs,
//! which spills, and keeps only the rows of one key. It is slower, so only joins that are
//! expected to take too much of a statement's memory become one.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_expr::projection::ProjectionExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::joins::{HashJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};

use super::bytes;
use crate::cost::{self, CostConstants, Estimate};
use crate::vantage;

/// The tables of all hash joins of a plan may take one part of this many of a statement's memory;
/// the rest is for sorts and aggregations.
const TABLES_PART: usize = 2;

/// What a row of a hash table takes beside its values: its hash and its place, twice, because a
/// table is half empty.
pub(super) const TABLE_ENTRY_BYTES: f64 = 24.0;

/// Makes merge joins of the hash joins that are expected not to fit into the memory for which
/// the plan is made. It must run when join sides have been chosen and inputs are not yet sorted.
#[derive(Debug)]
pub(crate) struct MergeLargeJoins {
    footers: Arc<FileMetadataCache>,
}

impl MergeLargeJoins {
    /// DataFusion's rules with this one in its place, for plans that run in `environment`, whose
    /// cache has the files' footers.
    pub(crate) fn among_rules(
        environment: &RuntimeEnv,
    ) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
        let footers = environment.cache_manager.get_file_metadata_cache();
        let mut rules = PhysicalOptimizer::new().rules;
        let chosen = rules
            .iter()
            .position(|rule| rule.name() == "join_selection");
        let place = chosen.expect("DataFusion chooses join sides") + 1;
        rules.insert(place, Arc::new(Self { footers }));
        rules
    }
}

impl PhysicalOptimizerRule for MergeLargeJoins {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        options: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(limit) = vantage::memory_limit(options) else {
            return Ok(plan);
        };
        let batch_rows = options.execution.batch_size.get();
        let constants = CostConstants::default();
        let footers = self.footers.as_ref();
        let estimates = cost::estimate(plan.as_ref(), &constants, batch_rows, footers);
        let large = too_large(&plan, &estimates, limit);
        if large.is_empty() {
            return Ok(plan);
        }
        merged(&plan, &mut 0, &large)
    }

    fn name(&self) -> &'static str {
        "merge_large_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The hash joins of `plan` whose tables do not fit together into their part of `limit_bytes`,
/// the largest of them, as far as a merge join could do their work. By their places among all
/// operators, an operator before its inputs, as `estimates` has them.
pub(super) fn too_large(
    plan: &Arc<dyn ExecutionPlan>,
    estimates: &[Estimate],
    limit_bytes: u64,
) -> BTreeSet<usize> {
    let mut tables = Vec::new();
    collect(plan, &mut 0, &mut |place, operator| {
        let Some(join) = operator.downcast_ref::<HashJoinExec>() else {
            return;
        };
        // The first input, whose rows are in the table, follows its join.
        if let Some(input) = estimates.get(place + 1) {
            let size = input.rows * (input.width + TABLE_ENTRY_BYTES);
            tables.push((size, place, can_merge(join)));
        }
    });
    tables.sort_by(|a, b| a.0.total_cmp(&b.0));
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let mut left = (bytes(limit_bytes) / TABLES_PART) as f64;
    let mut large = BTreeSet::new();
    for (size, place, can_merge) in tables {
        left -= size;
        if left < 0.0 && can_merge {
            large.insert(place);
        }
    }
    large
}

fn collect(
    plan: &Arc<dyn ExecutionPlan>,
    next: &mut usize,
    visit: &mut impl FnMut(usize, &Arc<dyn ExecutionPlan>),
) {
    visit(*next, plan);
    *next += 1;
    for input in plan.children() {
        collect(input, next, visit);
    }
}

/// `plan` with merge joins at the places in `large`.
fn merged(
    plan: &Arc<dyn ExecutionPlan>,
    next: &mut usize,
    large: &BTreeSet<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let place = *next;
    *next += 1;
    let inputs = plan.children().into_iter();
    let inputs = inputs.map(|input| merged(input, next, large));
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    let plan = replace_children_if_necessary(Arc::clone(plan), inputs)?;
    match plan.downcast_ref::<HashJoinExec>() {
        Some(join) if large.contains(&place) => merge_of(join),
        _ => Ok(plan),
    }
}

fn merge_of(join: &HashJoinExec) -> Result<Arc<dyn ExecutionPlan>> {
    let merge = SortMergeJoinExec::try_new(
        Arc::clone(join.left()),
        Arc::clone(join.right()),
        join.on().to_vec(),
        join.filter().cloned(),
        *join.join_type(),
        vec![SortOptions::default(); join.on().len()],
        join.null_equality(),
    )?;
    let merge: Arc<dyn ExecutionPlan> = Arc::new(merge);
    let Some(projection) = &join.projection else {
        return Ok(merge);
    };
    let schema = merge.schema();
    let columns = projection.iter().map(|&i| {
        let name = schema.field(i).name();
        let column = datafusion::physical_expr::expressions::Column::new(name, i);
        ProjectionExpr::new(Arc::new(column), name.clone())
    });
    Ok(Arc::new(ProjectionExec::try_new(columns, merge)?))
}

/// Whether DataFusion's merge join gives the same rows. It knows nothing of `NOT IN` with NULLs,
/// and compares these types only; NaN it cannot compare at all.
fn can_merge(join: &HashJoinExec) -> bool {
    let comparable = |expression: &Arc<dyn datafusion::physical_plan::PhysicalExpr>, schema| {
        expression
            .data_type(schema)
            .is_ok_and(|t| is_comparable(&t))
    };
    let (left, right) = (join.left().schema(), join.right().schema());
    let keys = join.on().iter();
    let same = keys.clone().all(|(l, r)| {
        let types = (l.data_type(&left), r.data_type(&right));
        matches!(types, (Ok(l), Ok(r)) if l == r)
    });
    let keys_compare = keys.map(|(l, _)| l).all(|key| comparable(key, &left));
    !join.null_aware && same && keys_compare
}

fn is_comparable(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(_, zone) => zone.is_none(),
        DataType::Utf8
        | DataType::Utf8View
        | DataType::LargeUtf8
        | DataType::Binary
        | DataType::BinaryView
        | DataType::LargeBinary
        | DataType::Boolean
        | DataType::Date32
        | DataType::Date64
        | DataType::Decimal128(..) => true,
        other => other.is_integer(),
    }
}
