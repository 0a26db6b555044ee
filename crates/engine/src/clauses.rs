//! Which columns of which tables the clauses of a statement read.
//!
//! They are found in the plan as it was resolved, which still has the clauses one by one: the
//! optimizer makes one of what stood in several. A column is followed through aliases, derived tables and
//! views down to the tables that it comes from.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, HashSet, JoinType, NullEquality, TableReference};
use datafusion::logical_expr::{Aggregate, Distinct, Expr, Join, LogicalPlan, Subquery, TableScan};
use forebay_catalog::RelationDefinition;

use crate::SessionFacts;
use crate::system::System;
use crate::vantage::searched;

/// The columns that each clause of a statement reads, as `schema.table.column`, each once and in the
/// order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClauseColumns {
    /// What the rows of the result are made of, and those of sub-queries.
    pub select: Arc<[String]>,
    /// `WHERE`.
    pub filter: Arc<[String]>,
    /// `ON` and `USING`.
    pub join: Arc<[String]>,
    /// `GROUP BY` and `HAVING`.
    pub aggregate: Arc<[String]>,
    /// `ORDER BY`.
    pub order_by: Arc<[String]>,
}

/// The clauses, in the order of [`ClauseColumns`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Clause {
    Select,
    Where,
    Join,
    Aggregate,
    OrderBy,
}

/// The columns that the clauses of `plan` read, which was resolved but not optimized.
pub(crate) fn columns_of(
    plan: &LogicalPlan,
    facts: &SessionFacts,
    system: &System,
) -> ClauseColumns {
    let mut reader = Reader {
        facts,
        system,
        scopes: Vec::new(),
        nodes: vec![(plan, Place::default())],
        tables: Vec::new(),
        seen: HashSet::new(),
        found: Default::default(),
    };
    reader.select_all(plan, Place::default());
    while let Some((node, place)) = reader.nodes.pop() {
        reader.read_node(node, place);
    }
    let [select, filter, join, aggregate, order_by] =
        reader.found.map(|columns| columns.into_iter().collect());
    ClauseColumns {
        select,
        filter,
        join,
        aggregate,
        order_by,
    }
}

/// Where a node is.
#[derive(Debug, Clone, Copy, Default)]
struct Place<'a> {
    /// The search path of the view that it is a part of.
    path: Option<&'a [String]>,
    /// The rows around the sub-query that it is a part of: a place in [`Reader::scopes`].
    scope: Option<usize>,
}

/// The rows that a sub-query is worked out for.
struct Scope<'a> {
    inputs: Vec<&'a LogicalPlan>,
    place: Place<'a>,
}

struct Reader<'a> {
    facts: &'a SessionFacts,
    system: &'a System,
    scopes: Vec<Scope<'a>>,
    /// Nodes whose clauses are still to be read.
    nodes: Vec<(&'a LogicalPlan, Place<'a>)>,
    /// The scans that were met, with their tables; `None` for what is no table.
    tables: Vec<(&'a TableScan, Option<String>)>,
    /// Columns that were followed for a clause, by node and index: some plans use one often.
    seen: HashSet<(Clause, *const LogicalPlan, usize)>,
    found: [BTreeSet<String>; 5],
}

impl<'a> Reader<'a> {
    /// Reads the expressions of one node; its inputs are read later.
    fn read_node(&mut self, node: &'a LogicalPlan, place: Place<'a>) {
        let inputs = node.inputs();
        match node {
            LogicalPlan::Filter(filter) => {
                let clause = match filter.input.as_ref() {
                    LogicalPlan::Aggregate(_) => Clause::Aggregate,
                    _ => Clause::Where,
                };
                self.read(clause, &filter.predicate, &inputs, place);
            }
            LogicalPlan::Join(join) if is_set_operation(join) => {
                self.select_all(&join.right, place);
            }
            LogicalPlan::Join(join) => {
                let on = join.on.iter().flat_map(|(left, right)| [left, right]);
                for expr in on.chain(&join.filter) {
                    self.read(Clause::Join, expr, &inputs, place);
                }
            }
            LogicalPlan::Aggregate(aggregate) => {
                for expr in &aggregate.group_expr {
                    self.read(Clause::Aggregate, expr, &inputs, place);
                }
                for expr in &aggregate.aggr_expr {
                    self.read_around(expr, &inputs, place);
                }
            }
            LogicalPlan::Sort(sort) => {
                for sorted in &sort.expr {
                    self.read(Clause::OrderBy, &sorted.expr, &inputs, place);
                }
            }
            LogicalPlan::Projection(projection) => {
                for expr in &projection.expr {
                    self.read_around(expr, &inputs, place);
                }
            }
            LogicalPlan::Window(window) => {
                for expr in &window.window_expr {
                    self.read_around(expr, &inputs, place);
                }
            }
            LogicalPlan::Distinct(Distinct::On(distinct)) => {
                for sorted in distinct.sort_expr.iter().flatten() {
                    self.read(Clause::OrderBy, &sorted.expr, &inputs, place);
                }
            }
            _ => {}
        }
        if let LogicalPlan::Join(join) = node
            && let LogicalPlan::Subquery(lateral) = join.right.as_ref()
        {
            self.nodes.push((&join.left, place));
            self.enter(lateral, vec![&join.left], place);
            return;
        }
        let below = self.below(node, place);
        self.nodes
            .extend(inputs.into_iter().map(|input| (input, below)));
    }

    /// Notes the columns of `expr`, whose rows are those of `inputs`.
    fn read(
        &mut self,
        clause: Clause,
        expr: &'a Expr,
        inputs: &[&'a LogicalPlan],
        place: Place<'a>,
    ) {
        self.visit(expr, Some(clause), inputs, place);
    }

    /// Notes what `expr` reads of the rows around it, and the sub-queries in it. Its own columns are found
    /// from the result, if they are a part of it.
    fn read_around(&mut self, expr: &'a Expr, inputs: &[&'a LogicalPlan], place: Place<'a>) {
        self.visit(expr, None, inputs, place);
    }

    fn visit(
        &mut self,
        expr: &'a Expr,
        clause: Option<Clause>,
        inputs: &[&'a LogicalPlan],
        place: Place<'a>,
    ) {
        let visited = expr.apply(|expr| {
            match (expr, clause) {
                (Expr::Column(column), Some(clause)) => {
                    self.follow_column(clause, column, inputs, place);
                }
                (Expr::OuterReferenceColumn(_, column), clause) => {
                    self.follow_outer(clause.unwrap_or(Clause::Select), column, place.scope);
                }
                (Expr::ScalarSubquery(query), _) => self.enter(query, inputs.to_vec(), place),
                (Expr::InSubquery(query), _) => {
                    self.enter(&query.subquery, inputs.to_vec(), place);
                }
                (Expr::Exists(query), _) => self.enter(&query.subquery, inputs.to_vec(), place),
                (Expr::SetComparison(query), _) => {
                    self.enter(&query.subquery, inputs.to_vec(), place);
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        });
        visited.expect("nothing fails");
    }

    /// A sub-query that is worked out for the rows of `inputs` is read later.
    fn enter(&mut self, query: &'a Subquery, inputs: Vec<&'a LogicalPlan>, place: Place<'a>) {
        let scope = Some(self.scopes.len());
        self.scopes.push(Scope { inputs, place });
        let place = Place { scope, ..place };
        self.nodes.push((&query.subquery, place));
        self.select_all(&query.subquery, place);
    }

    /// Notes what the rows of `plan` are made of.
    fn select_all(&mut self, plan: &'a LogicalPlan, place: Place<'a>) {
        match plan {
            LogicalPlan::Dml(dml) => self.select_all(&dml.input, place),
            LogicalPlan::Copy(copy) => self.select_all(&copy.input, place),
            plan => {
                for index in 0..plan.schema().fields().len() {
                    self.follow(Clause::Select, plan, index, place);
                }
            }
        }
    }

    fn follow_outer(&mut self, clause: Clause, column: &Column, mut scope: Option<usize>) {
        while let Some(number) = scope {
            let Scope { inputs, place } = &self.scopes[number];
            let place = *place;
            if let Some((input, index)) = find(inputs, column) {
                return self.follow(clause, input, index, place);
            }
            scope = place.scope;
        }
    }

    fn follow_column(
        &mut self,
        clause: Clause,
        column: &Column,
        inputs: &[&'a LogicalPlan],
        place: Place<'a>,
    ) {
        if let Some((input, index)) = find(inputs, column) {
            self.follow(clause, input, index, place);
        }
    }

    /// Follows a column of a node down to the tables that it comes from.
    fn follow(&mut self, clause: Clause, node: &'a LogicalPlan, index: usize, place: Place<'a>) {
        let mut open = vec![(node, index, place)];
        while let Some((node, index, place)) = open.pop() {
            if !self.seen.insert((clause, std::ptr::from_ref(node), index)) {
                continue;
            }
            if let LogicalPlan::TableScan(scan) = node {
                let number = self.table(scan, place);
                if let (_, Some(table)) = &self.tables[number] {
                    let column = scan.projected_schema.field(index).name();
                    self.found[clause as usize].insert([table, ".", column].concat());
                }
                continue;
            }
            let below = self.below(node, place);
            for (input, index) in sources(node, index) {
                open.push((input, index, below));
            }
        }
    }

    /// The place of a node's inputs: a view's query has the search path of the view.
    fn below(&self, node: &LogicalPlan, place: Place<'a>) -> Place<'a> {
        let LogicalPlan::SubqueryAlias(alias) = node else {
            return place;
        };
        let schema = self.schema_of(&alias.alias, place);
        let snapshot = &self.facts.snapshot;
        let relation = schema.and_then(|schema| snapshot.relation(schema, alias.alias.table()));
        match relation.map(|relation| &relation.definition) {
            Some(RelationDefinition::View(view)) => Place {
                path: Some(&view.search_path),
                ..place
            },
            _ => place,
        }
    }

    /// Where the table of a scan is found in [`Reader::tables`]. A function that gives rows is none.
    fn table(&mut self, scan: &'a TableScan, place: Place<'a>) -> usize {
        let known = |(other, _): &(&TableScan, _)| std::ptr::eq(*other, scan);
        self.tables.iter().position(known).unwrap_or_else(|| {
            let name = &scan.table_name;
            let schema = self.schema_of(name, place);
            let table = schema.map(|schema| [schema, ".", name.table()].concat());
            self.tables.push((scan, table));
            self.tables.len() - 1
        })
    }

    fn schema_of<'n>(&self, name: &'n TableReference, place: Place<'a>) -> Option<&'n str>
    where
        'a: 'n,
    {
        if let Some(schema) = name.schema() {
            return Some(schema);
        }
        let path = place.path.unwrap_or(&self.facts.search_path);
        searched(path).find(|schema| {
            self.facts.snapshot.relation(schema, name.table()).is_some()
                || self.system.has_table(schema, name.table())
        })
    }
}

/// Nothing but `INTERSECT` and `EXCEPT` compares so that NULL equals NULL: no clause of the statement
/// says that.
fn is_set_operation(join: &Join) -> bool {
    matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && join.null_equality == NullEquality::NullEqualsNull
}

/// The first of `inputs` that has the column, and where.
fn find<'a>(inputs: &[&'a LogicalPlan], column: &Column) -> Option<(&'a LogicalPlan, usize)> {
    let mut found = inputs.iter().map(|input| {
        let index = input.schema().maybe_index_of_column(column);
        index.map(|index| (*input, index))
    });
    found.find_map(|found| found)
}

/// What a column of a node is made of: columns of its inputs.
fn sources(node: &LogicalPlan, index: usize) -> Vec<(&LogicalPlan, usize)> {
    match node {
        LogicalPlan::Projection(projection) => {
            columns_in(&projection.expr[index..=index], &projection.input, index)
        }
        LogicalPlan::Aggregate(aggregate) => {
            columns_in(aggregated(aggregate, index), &aggregate.input, index)
        }
        LogicalPlan::Distinct(Distinct::On(distinct)) => {
            columns_in(&distinct.select_expr[index..=index], &distinct.input, index)
        }
        LogicalPlan::Window(window) => {
            match index.checked_sub(window.input.schema().fields().len()) {
                Some(index) => columns_in(&window.window_expr[index..=index], &window.input, index),
                None => vec![(&window.input, index)],
            }
        }
        LogicalPlan::Join(join) => vec![side_of(join, index)],
        LogicalPlan::Unnest(unnest) => match unnest.dependency_indices.get(index) {
            Some(index) => vec![(&unnest.input, *index)],
            None => Vec::new(),
        },
        LogicalPlan::Subquery(query) => vec![(&query.subquery, index)],
        LogicalPlan::RecursiveQuery(query) => vec![(&query.static_term, index)],
        // The others hand on the columns of their inputs as they are.
        node => node
            .inputs()
            .into_iter()
            .filter(|input| index < input.schema().fields().len())
            .map(|input| (input, index))
            .collect(),
    }
}

/// The expressions of which a column of an aggregation is made.
fn aggregated(aggregate: &Aggregate, index: usize) -> &[Expr] {
    let groups = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
    match index.checked_sub(groups) {
        Some(index) => &aggregate.aggr_expr[index..=index],
        None if aggregate.group_expr.len() == groups => &aggregate.group_expr[index..=index],
        // Grouping sets are one expression.
        None => &aggregate.group_expr,
    }
}

fn side_of(join: &Join, index: usize) -> (&LogicalPlan, usize) {
    let left = join.left.schema().fields().len();
    match join.join_type {
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => (&join.right, index),
        _ if index < left => (&join.left, index),
        _ => (&join.right, index - left),
    }
}

/// The columns of `input` that stand in expressions. `likely` is where one is often found.
fn columns_in<'a>(
    exprs: &'a [Expr],
    input: &'a LogicalPlan,
    likely: usize,
) -> Vec<(&'a LogicalPlan, usize)> {
    let mut columns = Vec::new();
    for expr in exprs {
        let visited = expr.apply(|expr| {
            if let Expr::Column(column) = expr {
                let index = index_of(input.schema(), column, likely);
                columns.extend(index.map(|index| (input, index)));
            }
            Ok(TreeNodeRecursion::Continue)
        });
        visited.expect("nothing fails");
    }
    columns
}

/// Where a column is. Wide tables are searched only where it is not at the `likely` place.
fn index_of(schema: &DFSchema, column: &Column, likely: usize) -> Option<usize> {
    if likely < schema.fields().len() {
        let (qualifier, field) = schema.qualified_field(likely);
        if qualifier == column.relation.as_ref() && *field.name() == column.name {
            return Some(likely);
        }
    }
    schema.maybe_index_of_column(column)
}
