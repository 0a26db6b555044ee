//! Sorting, merging what is sorted, and windows over it.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::physical_expr::window::StandardWindowExpr;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::windows::WindowExpr;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

use super::operators::{float, partitions};
use super::relation::Relation;
use super::rows::fitted;
use super::{Estimator, Node, weights};

impl Estimator<'_> {
    /// PostgreSQL's: two operators per comparison, `n log2 n` comparisons. With a limit of `k`
    /// rows a heap of them: all rows are compared with its worst, which `k ln (n / k)` of them
    /// replace if they come in no order. The rows come out in another order than they came in.
    pub(super) fn sort<'e>(
        &self,
        keys: impl Iterator<Item = &'e Arc<dyn PhysicalExpr>>,
        fetch: Option<usize>,
        input: Node,
    ) -> Node {
        let rows = input.relation.rows;
        let kept = fetch.map_or(rows, |k| float(k).min(rows));
        let relation = &input.relation;
        let keys = keys.map(|key| {
            let key = key.as_ref();
            weights::compared(relation.kind(key)) + relation.operators(key)
        });
        // Most rows are only compared with the worst of those that are kept.
        let (sorted, looked_at) = if 2.0 * kept < rows {
            (kept * (rows / kept.max(1.0)).max(2.0).log2(), rows)
        } else {
            (rows, 0.0)
        };
        let comparisons = sorted * (2.0 * kept).max(2.0).log2();
        let operations = comparisons * 2.0 + looked_at * keys.sum::<f64>();
        let startup = input.total + operations * self.constants.cpu_operator_cost;
        let relation = input.relation.with_rows(kept);
        let gathered = relation.values() * weights::VALUE_GATHERED;
        Node {
            startup,
            total: startup + gathered * self.constants.cpu_operator_cost,
            relation,
        }
    }

    /// One comparison per level of a tree of the partitions, for each row.
    pub(super) fn merge(&self, merge: &SortPreservingMergeExec, input: Node) -> Node {
        let inputs = partitions(merge.input().as_ref());
        let comparisons = input.relation.rows * inputs.max(1.0).log2();
        let copied = input.relation.values() * weights::VALUE_MERGED;
        let cost = (comparisons * 2.0 + copied) * self.constants.cpu_operator_cost;
        let node = self.hand_on(input);
        Node {
            total: node.total + cost,
            ..node
        }
    }

    /// Functions over rows that come in the order of their windows. What has a frame that moves
    /// with the row is aggregated row by row (`running`), else a partition at a time.
    pub(super) fn window(
        &self,
        plan: &dyn ExecutionPlan,
        functions: &[Arc<dyn WindowExpr>],
        running: bool,
        input: Node,
    ) -> Node {
        let relation = &input.relation;
        let each = functions.iter().map(|f| {
            let arguments = f.expressions();
            let arguments = arguments.iter().map(|a| relation.operators(a.as_ref()));
            arguments.sum::<f64>() + window_function(f.as_ref(), running)
        });
        let partitions = functions
            .first()
            .map_or(0.0, |f| partitions_of(f.as_ref(), relation));
        let operations = relation.rows * each.sum::<f64>()
            + relation.values() * weights::VALUE_MERGED
            + partitions * weights::PARTITION_MADE;
        let total = input.total
            + operations * self.constants.cpu_operator_cost
            + relation.rows * self.constants.cpu_tuple_cost;
        let startup = if running {
            input.startup
        } else {
            total - relation.rows * self.constants.cpu_tuple_cost
        };
        Node {
            startup,
            total,
            relation: fitted(vec![input], &plan.schema()),
        }
    }
}

fn window_function(function: &dyn WindowExpr, running: bool) -> f64 {
    if !running {
        weights::WINDOW_WHOLE
    } else if function.as_any().is::<StandardWindowExpr>() {
        weights::WINDOW_FUNCTION
    } else {
        weights::WINDOW_RUNNING
    }
}

/// How many partitions a window has.
fn partitions_of(function: &dyn WindowExpr, input: &Relation) -> f64 {
    let keys = function.partition_by().iter();
    let keys: Vec<_> = keys
        .map(|key| input.describe(key.as_ref(), &DataType::Utf8))
        .collect();
    input.groups(&keys)
}
