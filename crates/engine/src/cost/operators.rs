//! Which rule holds for which operator.

use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::sink::DataSinkExec;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PiecewiseMergeJoinExec, SortMergeJoinExec,
    SymmetricHashJoinExec,
};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::sorts::partial_sort::PartialSortExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::{InterleaveExec, UnionExec};
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::work_table::WorkTableExec;

use super::relation::Relation;
use super::rows::{fitted, limited, subqueries};

use super::{Estimator, Node, aggregate, defaults, scan};

impl Estimator<'_> {
    /// The estimate of one operator over those of its inputs.
    pub(super) fn operator(&self, plan: &dyn ExecutionPlan, mut inputs: Vec<Node>) -> Node {
        let fetch = plan.fetch();
        let node = match inputs.len() {
            0 => self.leaf(plan),
            1 => {
                let input = inputs.pop().expect("there is one");
                self.over_one(plan, input)
            }
            2 if is_join(plan) => {
                let right = inputs.pop().expect("there are two");
                let left = inputs.pop().expect("there are two");
                self.join(plan, left, right)
            }
            _ => self.over_many(plan, inputs),
        };
        match fetch {
            // A sort knows of its limit already; a limit has its own rule.
            Some(_) if is_limited_itself(plan) => node,
            Some(rows) => limited(node, 0.0, float(rows) * partitions(plan)),
            None => node,
        }
    }

    fn leaf(&self, plan: &dyn ExecutionPlan) -> Node {
        if let Some(source) = plan.downcast_ref::<DataSourceExec>()
            && let Some(config) = source.data_source().downcast_ref::<FileScanConfig>()
        {
            return scan::files(config, self);
        }
        if plan.is::<EmptyExec>() {
            return self.rows_of_nothing(plan, 0.0);
        }
        if plan.is::<PlaceholderRowExec>() {
            return self.rows_of_nothing(plan, 1.0);
        }
        if plan.is::<WorkTableExec>() {
            let round = self.recursion_rows.last().copied();
            return self.rows_of_nothing(plan, round.unwrap_or(defaults::ROWS));
        }
        scan::source(plan, &self.constants)
    }

    fn rows_of_nothing(&self, plan: &dyn ExecutionPlan, rows: f64) -> Node {
        Node {
            relation: Relation::unknown(&plan.schema(), rows),
            startup: 0.0,
            total: rows * self.constants.cpu_tuple_cost,
        }
    }

    fn over_one(&self, plan: &dyn ExecutionPlan, input: Node) -> Node {
        if let Some(filter) = plan.downcast_ref::<FilterExec>() {
            self.filter(filter, input)
        } else if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
            self.projection(projection, input)
        } else if let Some(exec) = plan.downcast_ref::<AggregateExec>() {
            aggregate::aggregate(exec, input, &self.constants)
        } else if let Some(sort) = plan.downcast_ref::<SortExec>() {
            self.sort(sort.expr().iter().map(|e| &e.expr), sort.fetch(), input)
        } else if let Some(sort) = plan.downcast_ref::<PartialSortExec>() {
            self.sort(sort.expr().iter().map(|e| &e.expr), sort.fetch(), input)
        } else if let Some(merge) = plan.downcast_ref::<SortPreservingMergeExec>() {
            self.merge(merge, input)
        } else if let Some(limit) = plan.downcast_ref::<GlobalLimitExec>() {
            let fetch = limit.fetch().map_or(f64::INFINITY, float);
            limited(input, float(limit.skip()), fetch)
        } else if let Some(limit) = plan.downcast_ref::<LocalLimitExec>() {
            limited(input, 0.0, float(limit.fetch()) * partitions(plan))
        } else if let Some(window) = plan.downcast_ref::<WindowAggExec>() {
            self.window(plan, window.window_expr(), false, input)
        } else if let Some(window) = plan.downcast_ref::<BoundedWindowAggExec>() {
            self.window(plan, window.window_expr(), true, input)
        } else if let Some(repartition) = plan.downcast_ref::<RepartitionExec>() {
            self.repartition(repartition, input)
        } else if plan.is::<CoalescePartitionsExec>() {
            self.hand_on(input)
        } else if let Some(unnest) = plan.downcast_ref::<UnnestExec>() {
            self.unnest(unnest, input)
        } else if plan.is::<DataSinkExec>() {
            let total = input.total + input.relation.rows * self.constants.cpu_tuple_cost;
            let relation = Relation::unknown(&plan.schema(), 1.0);
            Node {
                relation,
                startup: total,
                total,
            }
        } else if passes_on(plan) {
            input
        } else {
            self.unknown(plan, vec![input])
        }
    }

    fn over_many(&self, plan: &dyn ExecutionPlan, inputs: Vec<Node>) -> Node {
        if plan.is::<UnionExec>() || plan.is::<InterleaveExec>() {
            self.union(plan, inputs)
        } else if plan.is::<ScalarSubqueryExec>() {
            subqueries(inputs)
        } else if plan.is::<RecursiveQueryExec>() {
            self.recursion(plan, inputs)
        } else {
            self.unknown(plan, inputs)
        }
    }

    /// The inputs' costs, and a row's for each of their rows.
    fn unknown(&self, plan: &dyn ExecutionPlan, inputs: Vec<Node>) -> Node {
        let rows: f64 = inputs.iter().map(|i| i.relation.rows).sum();
        let startup = inputs.iter().map(|i| i.startup).sum();
        let total: f64 = inputs.iter().map(|i| i.total).sum();
        Node {
            relation: fitted(inputs, &plan.schema()).with_rows(rows),
            startup,
            total: total + rows * self.constants.cpu_tuple_cost,
        }
    }
}

fn is_join(plan: &dyn ExecutionPlan) -> bool {
    plan.is::<HashJoinExec>()
        || plan.is::<SortMergeJoinExec>()
        || plan.is::<SymmetricHashJoinExec>()
        || plan.is::<PiecewiseMergeJoinExec>()
        || plan.is::<NestedLoopJoinExec>()
        || plan.is::<CrossJoinExec>()
}

fn is_limited_itself(plan: &dyn ExecutionPlan) -> bool {
    plan.is::<SortExec>()
        || plan.is::<PartialSortExec>()
        || plan.is::<GlobalLimitExec>()
        || plan.is::<LocalLimitExec>()
}

/// Operators that give their input's batches as they are.
fn passes_on(plan: &dyn ExecutionPlan) -> bool {
    use datafusion::physical_plan::buffer::BufferExec;
    crate::yielding::only_gives_way(plan) || plan.is::<BufferExec>()
}

/// Partitions whose limits hold one by one.
pub(super) fn partitions(plan: &dyn ExecutionPlan) -> f64 {
    float(plan.properties().partitioning.partition_count()).max(1.0)
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
pub(super) fn float(n: usize) -> f64 {
    n as f64
}
