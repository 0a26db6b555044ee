//! What a plan is going to cost, before it runs.
//!
//! The unit is PostgreSQL's: 1.0 is reading one sequential page of 8 KiB. The constants are
//! PostgreSQL's too ([`CostConstants`]), and so are the formulas, where PostgreSQL has the
//! operator. One walk over the physical plan, leaves first, gives each operator
//!
//! - its rows and what is believed of their columns (`relation.rs`), starting from DataFusion's
//!   statistics of the scans: rows, bytes, least and greatest values, nulls. Conditions
//!   (`selectivity.rs`), joins (`join.rs`) and groups are estimated here and not by DataFusion,
//!   which gives up (no estimate at all) where an optimizer may, but an admission may not;
//! - two costs: until its first row (startup) and until its last (total), both with everything
//!   below it. An operator that must see its whole input first has that input in its startup
//!   cost, so a `LIMIT` above it saves nothing, and above one that streams it saves its share.
//!
//! Operators work on columns, where PostgreSQL's work on rows: how many operators things take
//! (decoding, copying, hashing, patterns) is measured, and written down in `weights.rs`.
//!
//! The walk is linear in the size of the plan. Every number is finite and not negative, whatever
//! the statistics and the constants are. Nothing here reads a file: footers are looked at where
//! planning has left them in the cache.

mod aggregate;
mod constants;
mod defaults;
mod exchange;
mod expression;
mod footers;
mod join;
mod join_cost;
mod operators;
mod order;
mod relation;
mod rows;
mod scan;
mod selectivity;
#[cfg(test)]
mod tests;
mod weights;

use std::collections::HashMap;

use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;

pub use constants::CostConstants;
use relation::{Column, Relation};

/// What is expected of one operator, with everything below it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Estimate {
    /// Cost until the first row, in pages.
    pub startup: f64,
    /// Cost until the last row, in pages.
    pub total: f64,
    /// Rows, of all partitions together.
    pub rows: f64,
    /// Bytes of a row.
    pub width: f64,
}

/// The estimates of all operators of `plan`, in the order in which `EXPLAIN` shows them: an
/// operator before its inputs.
///
/// `batch_rows` is the size of the batches that operators hand on; `footers` has those of Parquet
/// files that planning has read.
#[must_use]
pub fn estimate(
    plan: &dyn ExecutionPlan,
    constants: &CostConstants,
    batch_rows: usize,
    footers: &FileMetadataCache,
) -> Vec<Estimate> {
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let batch_rows = batch_rows.max(1) as f64;
    let mut estimator = Estimator {
        constants: *constants,
        batch_rows,
        footers,
        estimates: Vec::new(),
        recursion_rows: Vec::new(),
        build_keys: HashMap::new(),
    };
    estimator.visit(plan);
    estimator.estimates
}

/// An operator's estimate while the walk is above it.
struct Node {
    relation: Relation,
    startup: f64,
    total: f64,
}

struct Estimator<'a> {
    constants: CostConstants,
    batch_rows: f64,
    footers: &'a FileMetadataCache,
    estimates: Vec<Estimate>,
    /// Rows that the work tables of the recursive queries around this place have per round.
    recursion_rows: Vec<f64>,
    /// The keys of build sides that scans will be told of while the plan runs, by the id of the
    /// filter that tells them.
    build_keys: HashMap<u64, Vec<Column>>,
}

impl Estimator<'_> {
    fn visit(&mut self, plan: &dyn ExecutionPlan) -> Node {
        let place = self.estimates.len();
        self.estimates.push(Estimate::default());
        let inputs = if plan.is::<RecursiveQueryExec>() {
            self.visit_recursive(plan)
        } else if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
            self.visit_hash_join(join)
        } else {
            let inputs = plan.children().into_iter();
            inputs.map(|input| self.visit(input.as_ref())).collect()
        };
        let node = sane(self.operator(plan, inputs));
        self.estimates[place] = Estimate {
            startup: node.startup,
            total: node.total,
            rows: node.relation.rows,
            width: finite(node.relation.width()),
        };
        node
    }

    /// The build side first, which is the first to run: what its keys are tells the scans below
    /// the probe side what to skip. Joins whose build side is in several partitions tell them
    /// nothing that they could look up in a footer.
    fn visit_hash_join(&mut self, join: &HashJoinExec) -> Vec<Node> {
        let build = self.visit(join.left().as_ref());
        if *join.partition_mode() == PartitionMode::CollectLeft {
            let filters = join.dynamic_expressions_produced();
            for id in filters.iter().filter_map(|filter| filter.expression_id()) {
                let keys = join
                    .on()
                    .iter()
                    .map(|(key, _)| build.relation.key(key.as_ref()));
                self.build_keys.insert(id, keys.collect());
            }
        }
        vec![build, self.visit(join.right().as_ref())]
    }

    /// The recursive term reads what the round before it gave.
    fn visit_recursive(&mut self, plan: &dyn ExecutionPlan) -> Vec<Node> {
        let mut inputs = Vec::new();
        let mut round_rows = 0.0;
        for input in plan.children() {
            self.recursion_rows.push(round_rows);
            let node = self.visit(input.as_ref());
            self.recursion_rows.pop();
            round_rows = node.relation.rows;
            inputs.push(node);
        }
        inputs
    }
}

/// The estimate with every number finite, not negative, and the first row not after the last.
fn sane(mut node: Node) -> Node {
    let rows = &mut node.relation.rows;
    *rows = finite(*rows).min(defaults::MAX_ROWS);
    // As PostgreSQL: less than one row is no estimate, but nothing is nothing.
    if *rows > 0.0 {
        *rows = rows.max(1.0);
    }
    node.total = finite(node.total);
    node.startup = finite(node.startup).min(node.total);
    node
}

fn finite(number: f64) -> f64 {
    if number.is_nan() {
        return f64::MAX;
    }
    // The sum of no numbers is minus zero.
    number.clamp(0.0, f64::MAX) + 0.0
}
