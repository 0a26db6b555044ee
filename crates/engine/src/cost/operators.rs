//! What each operator adds to the cost of its inputs.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::JoinType;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::sink::DataSinkExec;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::PhysicalExpr;
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

use super::join::Join;
use super::relation::{Column, Range, Relation};
use super::selectivity::operators;
use super::{Estimator, Node, aggregate, defaults, scan};

impl Estimator {
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
            return scan::files(config, &self.constants);
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
            let operations: f64 = window.window_expr().iter().map(window_operators).sum();
            self.window(plan, operations, true, input)
        } else if let Some(window) = plan.downcast_ref::<BoundedWindowAggExec>() {
            let operations: f64 = window.window_expr().iter().map(window_operators).sum();
            self.window(plan, operations, false, input)
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

    fn filter(&self, filter: &FilterExec, input: Node) -> Node {
        let rows = input.relation.rows;
        let mut relation = input.relation;
        let operations = rows * relation.operators(filter.predicate().as_ref());
        relation.keep(filter.predicate());
        let relation = projected(relation, filter.projection().as_deref());
        let cost = (operations + relation.values()) * self.constants.cpu_operator_cost;
        Node {
            relation,
            startup: input.startup,
            total: input.total + cost,
        }
    }

    fn projection(&self, projection: &ProjectionExec, input: Node) -> Node {
        let relation = &input.relation;
        let operations = projection.expr().iter();
        let operations = operations.map(|e| relation.operators(e.expr.as_ref()));
        let cost = input.relation.rows * operations.sum::<f64>() * self.constants.cpu_operator_cost;
        let schema = projection.schema();
        let columns = projection.expr().iter().zip(schema.fields());
        let columns = columns.map(|(e, f)| input.relation.describe(e.expr.as_ref(), f.data_type()));
        Node {
            startup: input.startup,
            total: input.total + cost,
            relation: Relation {
                rows: input.relation.rows,
                columns: columns.collect(),
            },
        }
    }

    /// PostgreSQL's: two operators per comparison, `n log2 n` comparisons; with a limit of `k`
    /// rows a heap of them, so `n log2 2k`.
    fn sort<'e>(
        &self,
        keys: impl Iterator<Item = &'e Arc<dyn PhysicalExpr>>,
        fetch: Option<usize>,
        input: Node,
    ) -> Node {
        let rows = input.relation.rows;
        let kept = fetch.map_or(rows, |k| float(k).min(rows));
        let compared = if 2.0 * kept < rows { 2.0 * kept } else { rows };
        let operations: f64 = keys.map(|key| operators(key.as_ref())).sum();
        let comparisons = rows * compared.max(2.0).log2();
        let startup = input.total
            + (comparisons * 2.0 + rows * operations) * self.constants.cpu_operator_cost;
        let relation = input.relation.with_rows(kept);
        Node {
            startup,
            total: startup + relation.values() * self.constants.cpu_operator_cost,
            relation,
        }
    }

    /// One comparison per level of a tree of the partitions, for each row.
    fn merge(&self, merge: &SortPreservingMergeExec, input: Node) -> Node {
        let inputs = partitions(merge.input().as_ref());
        let comparisons = input.relation.rows * inputs.max(1.0).log2();
        let copied = input.relation.values();
        let cost = (comparisons * 2.0 + copied) * self.constants.cpu_operator_cost;
        let node = self.hand_on(input);
        Node {
            total: node.total + cost,
            ..node
        }
    }

    /// Batches that change threads.
    fn hand_on(&self, input: Node) -> Node {
        let batches = (input.relation.rows / self.batch_rows).ceil();
        Node {
            total: input.total + batches * self.constants.parallel_tuple_cost,
            ..input
        }
    }

    /// Rows that go to the partition of their hash are looked at one by one and copied.
    fn repartition(&self, repartition: &RepartitionExec, input: Node) -> Node {
        use datafusion::physical_plan::Partitioning;
        let operations = match repartition.partitioning() {
            Partitioning::Hash(keys, _) => {
                let keys = keys.iter().map(|k| 1.0 + operators(k.as_ref()));
                input.relation.rows * keys.sum::<f64>() + input.relation.values()
            }
            _ => 0.0,
        };
        let cost = operations * self.constants.cpu_operator_cost;
        let node = self.hand_on(input);
        Node {
            total: node.total + cost,
            ..node
        }
    }

    fn window(
        &self,
        plan: &dyn ExecutionPlan,
        operations: f64,
        whole_partition: bool,
        input: Node,
    ) -> Node {
        let rows = input.relation.rows;
        let each = operations * self.constants.cpu_operator_cost + self.constants.cpu_tuple_cost;
        let total = input.total + rows * each;
        let startup = if whole_partition {
            total - rows * self.constants.cpu_tuple_cost
        } else {
            input.startup
        };
        Node {
            startup,
            total,
            relation: fitted(vec![input], &plan.schema()),
        }
    }

    fn unnest(&self, unnest: &UnnestExec, input: Node) -> Node {
        let lists = unnest.list_column_indices().len();
        let factor = if lists > 0 {
            defaults::ARRAY_ELEMENTS
        } else {
            1.0
        };
        let rows = input.relation.rows * factor;
        Node {
            startup: input.startup,
            total: input.total + rows * self.constants.cpu_tuple_cost,
            relation: Relation::unknown(&unnest.schema(), rows),
        }
    }

    fn union(&self, plan: &dyn ExecutionPlan, inputs: Vec<Node>) -> Node {
        let rows = inputs.iter().map(|i| i.relation.rows).sum();
        let startup = inputs.first().map_or(0.0, |i| i.startup);
        let total = inputs.iter().map(|i| i.total).sum();
        let mut relation = Relation::unknown(&plan.schema(), rows);
        for (i, column) in relation.columns.iter_mut().enumerate() {
            let of_inputs = inputs.iter().map(|n| n.relation.columns.get(i));
            let distinct = of_inputs
                .map(|c| c.and_then(|c| c.distinct))
                .sum::<Option<f64>>();
            column.distinct = distinct.map(|d| d.min(f64::max(rows, 1.0)));
            let ranges = inputs.iter().map(|n| n.relation.columns.get(i)?.range);
            let around = |a: Option<Range>, b: Option<Range>| Some(a?.around(&b?));
            column.range = ranges.reduce(around).flatten();
        }
        Node {
            relation,
            startup,
            total,
        }
    }

    /// PostgreSQL's: the recursive term runs ten times, each round as large as the first term.
    fn recursion(&self, plan: &dyn ExecutionPlan, inputs: Vec<Node>) -> Node {
        let first = inputs.first().map_or(0.0, |n| n.total);
        let startup = inputs.first().map_or(0.0, |n| n.startup);
        let rounds: f64 = inputs
            .iter()
            .skip(1)
            .map(|n| n.total * defaults::RECURSION)
            .sum();
        let rows = |n: &Node| n.relation.rows;
        let rows = inputs.first().map_or(0.0, rows)
            + inputs
                .iter()
                .skip(1)
                .map(|n| rows(n) * defaults::RECURSION)
                .sum::<f64>();
        Node {
            relation: Relation::unknown(&plan.schema(), rows),
            startup,
            total: first + rounds + rows * self.constants.cpu_tuple_cost,
        }
    }

    fn join(&self, plan: &dyn ExecutionPlan, left: Node, right: Node) -> Node {
        if let Some(hash) = plan.downcast_ref::<HashJoinExec>() {
            let join = Join {
                left: &left.relation,
                right: &right.relation,
                join_type: *hash.join_type(),
                on: hash.on(),
                filter: hash.filter(),
            };
            let relation = join.rows(hash.join_schema());
            let filter = hash
                .filter()
                .map_or(0.0, |f| operators(f.expression().as_ref()));
            let relation_rows = relation.rows;
            let relation = projected(relation, hash.projection.as_deref());
            self.hash_join(
                &left,
                &right,
                float(hash.on().len()),
                filter * relation_rows,
                relation,
            )
        } else if let Some(merge) = plan.downcast_ref::<SortMergeJoinExec>() {
            let join = Join {
                left: &left.relation,
                right: &right.relation,
                join_type: merge.join_type(),
                on: merge.on(),
                filter: merge.filter().as_ref(),
            };
            let relation = join.rows(&plan.schema());
            self.merge_join(&left, &right, float(merge.on().len()), relation)
        } else if let Some(hash) = plan.downcast_ref::<SymmetricHashJoinExec>() {
            let join = Join {
                left: &left.relation,
                right: &right.relation,
                join_type: *hash.join_type(),
                on: hash.on(),
                filter: hash.filter(),
            };
            let relation = join.rows(&plan.schema());
            self.hash_join(&left, &right, float(hash.on().len()), 0.0, relation)
        } else if let Some(merge) = plan.downcast_ref::<PiecewiseMergeJoinExec>() {
            let join = pairs(&left, &right, merge.join_type());
            let relation = join.rows(&plan.schema());
            let rows = relation.rows * defaults::INEQUALITY;
            self.merge_join(&left, &right, 1.0, relation.with_rows(rows))
        } else if let Some(nested) = plan.downcast_ref::<NestedLoopJoinExec>() {
            let join = Join {
                filter: nested.filter(),
                ..pairs(&left, &right, *nested.join_type())
            };
            let filter = nested
                .filter()
                .map_or(0.0, |f| operators(f.expression().as_ref()));
            let schema = unprojected(plan, &left, &right);
            let relation = join.rows(&schema);
            let relation = projected(relation, nested.projection().as_deref());
            self.nested_loop(&left, &right, filter, relation)
        } else {
            let relation = pairs(&left, &right, JoinType::Inner).rows(&plan.schema());
            self.nested_loop(&left, &right, 0.0, relation)
        }
    }

    /// PostgreSQL's: each row of the left side is put into the table, each of the right is looked
    /// up, each match is compared and becomes a row. Its values are copied.
    fn hash_join(
        &self,
        left: &Node,
        right: &Node,
        keys: f64,
        filtered: f64,
        relation: Relation,
    ) -> Node {
        let c = &self.constants;
        let build = left.relation.rows * (keys * c.cpu_operator_cost + c.cpu_tuple_cost);
        let probe = right.relation.rows * keys * c.cpu_operator_cost;
        let operations = relation.rows * keys + relation.values() + filtered;
        let matches = relation.rows * c.cpu_tuple_cost + operations * c.cpu_operator_cost;
        Node {
            startup: left.total + build + right.startup,
            total: left.total + build + right.total + probe + matches,
            relation,
        }
    }

    fn merge_join(&self, left: &Node, right: &Node, keys: f64, relation: Relation) -> Node {
        let c = &self.constants;
        let read = left.relation.rows + right.relation.rows;
        let matches = relation.rows * c.cpu_tuple_cost;
        Node {
            startup: left.startup + right.startup,
            total: left.total + right.total + read * keys * c.cpu_operator_cost + matches,
            relation,
        }
    }

    /// Every pair is made and looked at.
    fn nested_loop(&self, left: &Node, right: &Node, filter: f64, relation: Relation) -> Node {
        let c = &self.constants;
        let made = left.relation.rows * right.relation.rows;
        let matches = relation.rows * c.cpu_tuple_cost;
        Node {
            startup: left.total + right.startup,
            total: left.total + right.total + made * (1.0 + filter) * c.cpu_operator_cost + matches,
            relation,
        }
    }
}

/// A join of every row with every row.
fn pairs<'a>(left: &'a Node, right: &'a Node, join_type: JoinType) -> Join<'a> {
    Join {
        left: &left.relation,
        right: &right.relation,
        join_type,
        on: &[],
        filter: None,
    }
}

/// The schema of a join before its projection, as far as it matters: a mark's column.
fn unprojected(plan: &dyn ExecutionPlan, left: &Node, right: &Node) -> Schema {
    let columns = left.relation.columns.len() + right.relation.columns.len();
    let plan = plan.schema();
    if plan.fields().len() > columns {
        return (*plan).clone();
    }
    Schema::empty()
}

/// PostgreSQL's rule: the first rows cost what startup does, each row its share of the rest.
fn limited(node: Node, skip: f64, fetch: f64) -> Node {
    let rows = node.relation.rows;
    let read = (skip + fetch).min(rows);
    let share = |n: f64| if rows > 0.0 { n / rows } else { 1.0 };
    let run = node.total - node.startup;
    Node {
        startup: node.startup + run * share(skip.min(rows)),
        total: node.startup + run * share(read),
        relation: node.relation.with_rows((read - skip).max(0.0)),
    }
}

/// Sub-queries that give one value each run before the statement that uses the values.
fn subqueries(inputs: Vec<Node>) -> Node {
    let mut inputs = inputs.into_iter();
    let mut node = inputs.next().expect("a plan and its sub-queries");
    for subquery in inputs {
        node.startup += subquery.total;
        node.total += subquery.total;
    }
    node
}

/// The columns of `inputs` one after another where they are those of `schema`, then new ones.
fn fitted(inputs: Vec<Node>, schema: &Schema) -> Relation {
    let rows = inputs.first().map_or(defaults::ROWS, |n| n.relation.rows);
    let mut columns: Vec<Column> = inputs
        .into_iter()
        .flat_map(|n| n.relation.columns)
        .collect();
    if columns.len() > schema.fields().len() {
        return Relation::unknown(schema, rows);
    }
    let new = schema.fields().iter().skip(columns.len());
    columns.extend(new.map(|field| Column::unknown(field.data_type(), rows)));
    Relation { rows, columns }
}

fn projected(relation: Relation, projection: Option<&[usize]>) -> Relation {
    let Some(projection) = projection else {
        return relation;
    };
    let columns = projection.iter().map(|i| {
        let column = relation.columns.get(*i).cloned();
        column.unwrap_or_else(|| Column::unknown(&DataType::Utf8, relation.rows))
    });
    Relation {
        rows: relation.rows,
        columns: columns.collect(),
    }
}

fn window_operators(expression: &Arc<dyn datafusion::physical_plan::windows::WindowExpr>) -> f64 {
    let arguments = expression.expressions();
    let arguments = arguments.iter().map(|a| operators(a.as_ref())).sum::<f64>();
    let keys = expression.partition_by().len() + expression.order_by().len();
    1.0 + arguments + float(keys)
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
    use datafusion::physical_plan::coop::CooperativeExec;
    plan.is::<CooperativeExec>() || plan.is::<BufferExec>()
}

/// Partitions whose limits hold one by one.
fn partitions(plan: &dyn ExecutionPlan) -> f64 {
    float(plan.properties().partitioning.partition_count()).max(1.0)
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn float(n: usize) -> f64 {
    n as f64
}
