//! Options of plans that have little memory.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;

use super::{bytes, joins};
use crate::Estimate;

/// What one partition of a plan should have, in bytes. A plan with less for each gets fewer of
/// them: every spilling operator has an instance in each partition, and all share the limit.
const PARTITION_BYTES: usize = 64 * 1024 * 1024;

/// A batch of the widest rows of a plan takes at most one part of this many of a partition's
/// memory: sorts hold a batch twice, and merges of what was spilled two batches of each run.
const BATCH_PART: usize = 32;

/// The smallest batches, in rows.
const LEAST_BATCH_ROWS: usize = 64;

/// What of a partition's memory a sort sets aside to merge what it has spilled: one part of this
/// many.
const MERGE_PART: usize = 8;

/// A plan whose operators together give less than one part of this many of its memory needs no
/// care.
const LITTLE_PART: f64 = 2.0;

/// Into how many partitions plans of `config` are cut whose operators have `limit_bytes`.
fn partitions(config: &SessionConfig, limit_bytes: u64) -> usize {
    (bytes(limit_bytes) / PARTITION_BYTES).clamp(1, config.target_partitions().max(1))
}

/// The rows of a batch of such a plan whose widest rows have `width` bytes.
fn batch_rows(config: &SessionConfig, limit_bytes: u64, width: f64) -> usize {
    let each = bytes(limit_bytes) / partitions(config, limit_bytes);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "an estimate, which saturates"
    )]
    let fitting = ((each / BATCH_PART) as f64 / width.max(1.0)) as usize;
    config.batch_size().min(fitting.max(LEAST_BATCH_ROWS))
}

/// `config` for planning with `limit_bytes`, where the widest rows are expected to have `width`
/// bytes.
pub(crate) fn planned(config: &SessionConfig, limit_bytes: u64, width: f64) -> SessionConfig {
    let rows = batch_rows(config, limit_bytes, width);
    let partitions = partitions(config, limit_bytes);
    let config = config.clone().with_batch_size(rows);
    config.with_target_partitions(partitions)
}

/// `config` for running a plan with `limit_bytes`, or `None` where it is right as it is.
pub(crate) fn tuned(config: &SessionConfig, limit_bytes: u64) -> Option<SessionConfig> {
    with_reserve(config, bytes(limit_bytes) / partitions(config, limit_bytes))
}

/// `config` for sorts that have `each_bytes`, or `None` where what they set aside is a small part
/// of it: a sort should not fail for that.
pub(super) fn with_reserve(config: &SessionConfig, each_bytes: usize) -> Option<SessionConfig> {
    let reserve = config.options().execution.sort_spill_reservation_bytes;
    let most = each_bytes / MERGE_PART;
    (most < reserve).then(|| {
        let mut config = config.clone();
        let execution = &mut config.options_mut().execution;
        execution.sort_spill_reservation_bytes = most;
        // A sort that puts batches together first counts the buffers of their texts once for
        // each batch of its result, and runs out of memory that it does not use.
        execution.sort_in_place_threshold_bytes = 0;
        config
    })
}

/// Whether a plan made with `config`, from which so much is expected, can run well with
/// `limit_bytes`.
pub(crate) fn suits(
    plan: &Arc<dyn ExecutionPlan>,
    config: &SessionConfig,
    estimates: &[Estimate],
    limit_bytes: u64,
) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let little = limit_bytes as f64 / LITTLE_PART;
    let handled = estimates
        .iter()
        .map(|operator| operator.rows * operator.width);
    if handled.sum::<f64>() <= little {
        return true;
    }
    // Where nothing is cut into more pieces anyway, planning again would change nothing.
    let partitions = partitions(config, limit_bytes);
    (partitions == config.target_partitions() || partitions >= widest(plan))
        && batch_rows(config, limit_bytes, row_width(estimates)) == config.batch_size()
        && joins::too_large(plan, estimates, limit_bytes).is_empty()
}

/// The bytes of the widest rows.
pub(crate) fn row_width(estimates: &[Estimate]) -> f64 {
    let widths = estimates.iter().map(|operator| operator.width);
    widths.fold(0.0, f64::max)
}

/// The most partitions that an operator of `plan` has.
fn widest(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let inputs = plan.children().into_iter().map(widest);
    let own = plan.properties().partitioning.partition_count();
    inputs.fold(own, usize::max)
}
