//! Operators that look at each row by itself, or only hand rows on.

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::unnest::UnnestExec;

use super::relation::{Column, Range, Relation};
use super::{Estimator, Node, defaults};

impl Estimator<'_> {
    pub(super) fn filter(&self, filter: &FilterExec, input: Node) -> Node {
        let rows = input.relation.rows;
        let mut relation = input.relation;
        let operations = rows * relation.operators(filter.predicate().as_ref());
        relation.keep(filter.predicate());
        let relation = projected(relation, filter.projection().as_deref());
        let cost = (operations + relation.copying()) * self.constants.cpu_operator_cost;
        Node {
            relation,
            startup: input.startup,
            total: input.total + cost,
        }
    }

    pub(super) fn projection(&self, projection: &ProjectionExec, input: Node) -> Node {
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

    pub(super) fn unnest(&self, unnest: &UnnestExec, input: Node) -> Node {
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

    pub(super) fn union(&self, plan: &dyn ExecutionPlan, inputs: Vec<Node>) -> Node {
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
    pub(super) fn recursion(&self, plan: &dyn ExecutionPlan, inputs: Vec<Node>) -> Node {
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
}

/// PostgreSQL's rule: the first rows cost what startup does, each row its share of the rest.
pub(super) fn limited(node: Node, skip: f64, fetch: f64) -> Node {
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
pub(super) fn subqueries(inputs: Vec<Node>) -> Node {
    let mut inputs = inputs.into_iter();
    let mut node = inputs.next().expect("a plan and its sub-queries");
    for subquery in inputs {
        node.startup += subquery.total;
        node.total += subquery.total;
    }
    node
}

/// The columns of `inputs` one after another where they are those of `schema`, then new ones.
pub(super) fn fitted(inputs: Vec<Node>, schema: &Schema) -> Relation {
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

pub(super) fn projected(relation: Relation, projection: Option<&[usize]>) -> Relation {
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
