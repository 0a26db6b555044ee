//! Grouping.

use datafusion::arrow::datatypes::DataType;
use datafusion::physical_plan::aggregates::{
    AggregateExec, AggregateInputMode, AggregateOutputMode,
};
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode};

use super::relation::{Column, Kind, Relation};
use super::{CostConstants, Node, weights};

/// Grouping `input`: the keys and the aggregates are evaluated for every row, its group is found
/// in a hash table or made, then each group is a row. Where the input is not ordered by the keys,
/// the first group is known last.
pub(super) fn aggregate(exec: &AggregateExec, input: Node, constants: &CostConstants) -> Node {
    let sets = count(exec.group_expr().groups().len()).max(1.0);
    let groups = groups(exec, &input.relation, sets);
    let rows = input.relation.rows * sets;
    let each = evaluated(exec, &input.relation);
    let (relation, operations) = if gives_up(exec, &groups, rows) {
        let relation = groups.with_rows(rows);
        let operations = rows * each + relation.copying();
        (relation, operations)
    } else {
        let keys = &groups.columns[..exec.group_expr().expr().len()];
        let found = rows * (each + found(keys, &groups));
        let made = groups.rows * made(keys);
        (groups, found + made)
    };
    let given = relation.rows * constants.cpu_tuple_cost;
    let total = input.total + operations * constants.cpu_operator_cost + given;
    let grouped = !exec.group_expr().expr().is_empty();
    let streams = grouped && *exec.input_order_mode() == InputOrderMode::Sorted;
    let startup = if streams {
        input.startup
    } else {
        total - given
    };
    Node {
        relation,
        startup,
        total,
    }
}

/// The operators that keys and aggregates take for a row.
fn evaluated(exec: &AggregateExec, input: &Relation) -> f64 {
    let keys = exec.group_expr().expr().iter();
    let keys = keys.map(|(key, _)| input.operators(key.as_ref()));
    let functions = exec.aggr_expr().iter().zip(exec.filter_expr());
    // The arguments were evaluated before the states were made.
    let reads_states = exec.mode().input_mode() == AggregateInputMode::Partial;
    let functions = functions.map(|(function, filter)| {
        if reads_states {
            return weights::AGGREGATED;
        }
        let arguments = function.expressions();
        let arguments = arguments.iter().chain(filter);
        let arguments = arguments.map(|a| input.operators(a.as_ref()));
        weights::AGGREGATED + arguments.sum::<f64>()
    });
    keys.sum::<f64>() + functions.sum::<f64>()
}

/// The operators that finding its group takes for a row.
fn found(keys: &[Column], groups: &Relation) -> f64 {
    if keys.is_empty() {
        return 0.0;
    }
    let keys = keys.iter().map(|key| weights::grouped(key.kind));
    let entry = groups.width() + weights::ENTRY_BYTES;
    keys.sum::<f64>() + weights::beyond_cache(groups.rows * entry)
}

/// The operators that making a group takes.
fn made(keys: &[Column]) -> f64 {
    let texts = keys.iter().filter(|key| key.kind == Kind::Text);
    let bytes: f64 = texts.map(|key| key.width).sum();
    weights::GROUP_MADE + bytes * weights::GROUP_BYTE
}

/// Whether a step that could leave grouping to the next one does so, because it finds few rows
/// of one group.
fn gives_up(exec: &AggregateExec, groups: &Relation, rows: f64) -> bool {
    meets_later(exec)
        && !exec.group_expr().expr().is_empty()
        && rows > weights::SKIPPED_AFTER
        && groups.rows > rows * weights::SKIPPED_FROM
}

/// Each partition groups what it sees; the groups meet in the final step.
fn meets_later(exec: &AggregateExec) -> bool {
    exec.mode().output_mode() == AggregateOutputMode::Partial
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
    let partitions = count(exec.properties().partitioning.partition_count());
    let rows = match meets_later(exec) {
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
