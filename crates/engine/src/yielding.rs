//! Operators that multiply their input give way to others, and stop when nobody reads them.
//!
//! DataFusion makes its scans yield to the runtime after a while. A join or an `unnest` can make
//! thousands of batches of one scanned batch, and whoever reads them asks again at once: such a
//! plan would keep its thread to its end, deaf to cancels, and two of them the whole query
//! runtime. So these operators yield as well.
//!
//! A join whose filter refuses nearly all pairs of rows makes no batch for a long time, and gives
//! nobody a turn: a nested loop goes through all rows of its left side in one poll, which can take
//! minutes. The one thing of ours that it calls meanwhile is the filter ([`WatchedFilter`]).

mod filter;

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder, SortMergeJoinExec,
};

pub(crate) use filter::{Reader, unwatched};

use filter::WatchedFilter;

/// Operators whose output can be many times their input.
const MULTIPLYING: [&str; 7] = [
    "CrossJoinExec",
    "HashJoinExec",
    "NestedLoopJoinExec",
    "PiecewiseMergeJoinExec",
    "SortMergeJoinExec",
    "SymmetricHashJoinExec",
    "UnnestExec",
];

/// `plan` with these operators wrapped in DataFusion's cooperative operator and their filters
/// watched on behalf of `reader`. To be called when all rules are done, because some of them
/// recognise operators by their kind.
///
/// # Errors
/// When DataFusion cannot rebuild an operator.
pub(crate) fn give_way(
    plan: Arc<dyn ExecutionPlan>,
    reader: &Arc<Reader>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let wrapped = plan.transform_up(|node| {
        if !MULTIPLYING.contains(&node.name()) {
            return Ok(Transformed::no(node));
        }
        let watched = watched(&node, reader)?.unwrap_or(node);
        Ok(Transformed::yes(
            Arc::new(CooperativeExec::new(watched)) as _
        ))
    })?;
    Ok(wrapped.data)
}

/// Whether an operator does nothing but yield: who looks at a plan need not see it.
pub(crate) fn only_gives_way(plan: &dyn ExecutionPlan) -> bool {
    plan.is::<CooperativeExec>()
}

/// The join with a watched filter; `None` for what has no filter.
fn watched(
    node: &Arc<dyn ExecutionPlan>,
    reader: &Arc<Reader>,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let watch = |filter: &JoinFilter| {
        let expression = WatchedFilter::new(Arc::clone(filter.expression()), Arc::clone(reader));
        let columns = filter.column_indices().to_vec();
        JoinFilter::new(Arc::new(expression), columns, Arc::clone(filter.schema()))
    };
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>()
        && let Some(filter) = join.filter()
    {
        let join = NestedLoopJoinExecBuilder::from(join).with_filter(Some(watch(filter)));
        return Ok(Some(Arc::new(join.build()?)));
    }
    if let Some(join) = node.downcast_ref::<HashJoinExec>()
        && let Some(filter) = join.filter()
    {
        let join = join.builder().with_filter(Some(watch(filter)));
        return join.build_exec().map(Some);
    }
    if let Some(join) = node.downcast_ref::<SortMergeJoinExec>()
        && let Some(filter) = join.filter()
    {
        let join = SortMergeJoinExec::try_new(
            Arc::clone(join.left()),
            Arc::clone(join.right()),
            join.on().to_vec(),
            Some(watch(filter)),
            join.join_type(),
            join.sort_options().to_vec(),
            join.null_equality(),
        )?;
        return Ok(Some(Arc::new(join)));
    }
    Ok(None)
}
