//! Grouping.

use datafusion::arrow::datatypes::DataType;
use datafusion::physical_plan::aggregates::{
    AggregateExec, AggregateInputMode, AggregateOutputMode,
};
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode};

use super::relation::{Column, Relation};
use super::selectivity::operators;
use super::{CostConstants, Node};

/// Grouping `input`: the keys and the aggregates are evaluated for every row, then each group is
/// a row. Where the input is not ordered by the keys, the first group is known last.
pub(super) fn aggregate(exec: &AggregateExec, input: Node, constants: &CostConstants) -> Node {
    let rows = input.relation.rows;
    let sets = count(exec.group_expr().groups().len()).max(1.0);
    let keys = exec.group_expr().expr();
    let reads_states = exec.mode().input_mode() == AggregateInputMode::Partial;

    let mut operations = count(keys.len());
    for (key, _) in keys {
        operations += operators(key.as_ref());
    }
    for (function, filter) in exec.aggr_expr().iter().zip(exec.filter_expr()) {
        operations += 1.0;
        // The arguments were evaluated before the states were made.
        if !reads_states {
            let arguments = function.expressions();
            operations += arguments.iter().map(|a| operators(a.as_ref())).sum::<f64>();
            operations += filter.as_ref().map_or(0.0, |f| operators(f.as_ref()));
        }
    }

    let relation = groups(exec, &input.relation, sets);
    let total = input.total
        + rows * sets * operations * constants.cpu_operator_cost
        + relation.rows * constants.cpu_tuple_cost;
    let streams = !keys.is_empty() && *exec.input_order_mode() == InputOrderMode::Sorted;
    let startup = if streams {
        input.startup
    } else {
        total - relation.rows * constants.cpu_tuple_cost
    };
    Node {
        relation,
        startup,
        total,
    }
}

/// The groups as rows: keys, then aggregates.
fn groups(exec: &AggregateExec, input: &Relation, sets: f64) -> Relation {
    let schema = exec.schema();
    let input_schema = exec.input().schema();
    let keys = exec.group_expr().expr().iter();
    let keys: Vec<Column> = keys
        .map(|(key, _)| {
            let data_type = key.data_type(&input_schema);
            let data_type = data_type.unwrap_or(DataType::Utf8);
            input.describe(key.as_ref(), &data_type)
        })
        .collect();
    let rows = if keys.is_empty() {
        1.0
    } else {
        input.groups(&keys) * sets
    };
    // Each partition groups what it sees; the groups meet in the final step.
    let partitions = count(exec.properties().partitioning.partition_count());
    let meets_later = exec.mode().output_mode() == AggregateOutputMode::Partial;
    let rows = match meets_later {
        true if keys.is_empty() => partitions,
        true => (rows * partitions).min(input.rows * sets),
        false => rows,
    };
    // The keys keep what is known of where they come from: a join finds few groups among many
    // rows by how many keys there are in all.
    let mut columns = keys;
    let others = schema.fields().iter().skip(columns.len());
    let others = others.map(|field| Column::unknown(field.data_type(), rows));
    columns.extend(others);
    Relation { rows, columns }
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn count(n: usize) -> f64 {
    n as f64
}
