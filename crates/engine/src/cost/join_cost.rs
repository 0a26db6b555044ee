//! What a join does with the rows of its inputs.

use datafusion::arrow::datatypes::Schema;
use datafusion::common::JoinType;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{
    HashJoinExec, NestedLoopJoinExec, PartitionMode, PiecewiseMergeJoinExec, SortMergeJoinExec,
    SymmetricHashJoinExec,
};

use super::join::{Join, Joined};
use super::operators::{float, partitions};
use super::relation::Relation;
use super::rows::projected;
use super::{Estimator, Node, defaults, weights};

impl Estimator<'_> {
    pub(super) fn join(&self, plan: &dyn ExecutionPlan, left: Node, right: Node) -> Node {
        if let Some(hash) = plan.downcast_ref::<HashJoinExec>() {
            let join = Join {
                left: &left.relation,
                right: &right.relation,
                join_type: *hash.join_type(),
                on: hash.on(),
                filter: hash.filter(),
            };
            let mut joined = join.rows(hash.join_schema());
            joined.relation = projected(joined.relation, hash.projection.as_deref());
            let tables = match hash.partition_mode() {
                PartitionMode::Partitioned => partitions(plan),
                PartitionMode::CollectLeft | PartitionMode::Auto => 1.0,
            };
            self.hash_join(&left, &right, &join, joined, tables)
        } else if let Some(merge) = plan.downcast_ref::<SortMergeJoinExec>() {
            let join = Join {
                left: &left.relation,
                right: &right.relation,
                join_type: merge.join_type(),
                on: merge.on(),
                filter: merge.filter().as_ref(),
            };
            let joined = join.rows(&plan.schema());
            self.merge_join(&left, &right, float(merge.on().len()), joined.relation)
        } else if let Some(hash) = plan.downcast_ref::<SymmetricHashJoinExec>() {
            let join = Join {
                left: &left.relation,
                right: &right.relation,
                join_type: *hash.join_type(),
                on: hash.on(),
                filter: hash.filter(),
            };
            let joined = join.rows(&plan.schema());
            self.hash_join(&left, &right, &join, joined, 1.0)
        } else if let Some(merge) = plan.downcast_ref::<PiecewiseMergeJoinExec>() {
            let join = pairs(&left, &right, merge.join_type());
            let relation = join.rows(&plan.schema()).relation;
            let rows = relation.rows * defaults::INEQUALITY;
            self.merge_join(&left, &right, 1.0, relation.with_rows(rows))
        } else if let Some(nested) = plan.downcast_ref::<NestedLoopJoinExec>() {
            let join = Join {
                filter: nested.filter(),
                ..pairs(&left, &right, *nested.join_type())
            };
            let schema = unprojected(plan, &left, &right);
            let mut joined = join.rows(&schema);
            joined.relation = projected(joined.relation, nested.projection().as_deref());
            self.nested_loop(&left, &right, join.filter_operators(), joined)
        } else {
            let joined = pairs(&left, &right, JoinType::Inner).rows(&plan.schema());
            self.nested_loop(&left, &right, 0.0, joined)
        }
    }

    /// Each row of the left side is put into a table, in `tables` parts, each of the right is
    /// looked up, each pair of equal keys is looked at. The values of the rows that come out are
    /// copied.
    fn hash_join(
        &self,
        left: &Node,
        right: &Node,
        join: &Join<'_>,
        joined: Joined,
        tables: f64,
    ) -> Node {
        let c = &self.constants;
        let (built, probed) = (&left.relation, &right.relation);
        let dense = join.dense(tables);
        let bytes = built.rows * (built.width() + weights::ENTRY_BYTES);
        let (more_keys, waiting) = if dense {
            (0.0, 0.0)
        } else {
            let more_keys = (float(join.on.len()) - 1.0) * weights::KEY_HASHED;
            (more_keys, weights::beyond_cache(bytes))
        };
        let put = weights::ROW_HASHED + more_keys + waiting;
        let build = built.rows * (put * c.cpu_operator_cost + c.cpu_tuple_cost)
            + built.copying() * c.cpu_operator_cost;
        let looked_up = weights::ROW_PROBED + more_keys + waiting;
        let looked_at = weights::PAIR_FOUND + join.filter_operators();
        let operations =
            probed.rows * looked_up + joined.pairs * looked_at + joined.relation.copying();
        Node {
            startup: left.total + build + right.startup,
            total: left.total + build + right.total + operations * c.cpu_operator_cost,
            relation: joined.relation,
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
    fn nested_loop(&self, left: &Node, right: &Node, filter: f64, joined: Joined) -> Node {
        let made = left.relation.rows * right.relation.rows;
        let operations = made * (weights::PAIR_MADE + filter) + joined.relation.copying();
        let cost = operations * self.constants.cpu_operator_cost;
        Node {
            startup: left.total + right.startup,
            total: left.total + right.total + cost,
            relation: joined.relation,
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
