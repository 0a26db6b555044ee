//! How much memory the operators of a plan are expected to hold.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::InputOrderMode;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::windows::WindowAggExec;

use super::joins::TABLE_ENTRY_BYTES;
use crate::Estimate;

/// Bytes that each operator is expected to hold at one time, all its instances together; `None`
/// for one that hands on what it gets. In the order of `estimates`: an operator before its inputs.
///
/// Rows and their widths are those of the estimates. What operators cannot have at the same time
/// is not taken into account, nor what they would spill.
pub(crate) fn held(plan: &Arc<dyn ExecutionPlan>, estimates: &[Estimate]) -> Vec<Option<u64>> {
    let mut all = Vec::with_capacity(estimates.len());
    visit(plan, estimates, &mut all);
    all
}

fn visit(plan: &Arc<dyn ExecutionPlan>, estimates: &[Estimate], all: &mut Vec<Option<u64>>) {
    let place = all.len();
    all.push(None);
    for input in plan.children() {
        visit(input, estimates, all);
    }
    // The first input follows its operator: of a join it is the side that is held.
    let own = estimates.get(place).copied().unwrap_or_default();
    let first = estimates.get(place + 1).copied().unwrap_or_default();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate, which saturates"
    )]
    let bytes = bytes_of(plan.as_ref(), own, first).map(|bytes| bytes as u64);
    all[place] = bytes;
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn bytes_of(plan: &dyn ExecutionPlan, own: Estimate, first: Estimate) -> Option<f64> {
    if plan.is::<HashJoinExec>() {
        return Some(first.rows * (first.width + TABLE_ENTRY_BYTES));
    }
    if plan.is::<CrossJoinExec>() || plan.is::<NestedLoopJoinExec>() || plan.is::<WindowAggExec>() {
        return Some(first.rows * first.width);
    }
    if let Some(sort) = plan.downcast_ref::<SortExec>() {
        let kept = sort
            .fetch()
            .map_or(first.rows, |n| first.rows.min(n as f64));
        return Some(kept * first.width);
    }
    let aggregate = plan.downcast_ref::<AggregateExec>()?;
    // Groups that come in order are handed on one by one.
    let is_ordered = *aggregate.input_order_mode() == InputOrderMode::Sorted;
    (!is_ordered).then_some(own.rows * (own.width + TABLE_ENTRY_BYTES))
}
