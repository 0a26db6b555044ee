//! A walk over a statement's tree that finds its relations, and one that finds its parameters.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion_sql::parser::{CopyToSource, Statement as DfStatement};
use sqlparser::ast::{
    FromTable, LockClause, ObjectName, Query, Select, SetExpr, Statement as SqlStatement,
    TableFactor, TableObject, TableWithJoins, Value, ValueWithSpan, Visit, Visitor,
};

use crate::classify::{LockMode, Relations, targets};

/// A name's parts, folded to lower case unless quoted.
pub(crate) fn folded(name: &ObjectName) -> Vec<String> {
    name.0
        .iter()
        .map(|part| match part.as_ident() {
            Some(ident) if ident.quote_style.is_none() => ident.value.to_ascii_lowercase(),
            Some(ident) => ident.value.clone(),
            None => part.to_string(),
        })
        .collect()
}

/// Nodes of the tree are told apart by where they stand in memory; they do not move meanwhile.
fn address<T>(node: &T) -> usize {
    std::ptr::from_ref(node).addr()
}

/// Finds relations with their lock modes. Names of `WITH` queries are left out where they are in
/// scope: behind their definition, and with `RECURSIVE` also inside it.
#[derive(Default)]
pub(crate) struct Collector {
    /// Every relation with the strongest mode seen.
    pub relations: Relations,
    /// Whether there is an `INSERT`, `UPDATE`, `DELETE` or `MERGE` anywhere.
    pub changes_rows: bool,
    /// Whether a `SELECT` has an `INTO`.
    pub selects_into: bool,
    /// The queries around the current node, outermost first.
    frames: Vec<Frame>,
    /// The table of the `FROM` item being visited.
    factor: Option<Factor>,
}

/// One query around the current node.
#[derive(Default)]
struct Frame {
    /// `WITH` names that are in scope.
    names: HashSet<String>,
    /// `WITH` queries that come into scope when they have been visited.
    pending: HashMap<usize, String>,
    /// What `FOR UPDATE` and its like lock in this query.
    locked: Locked,
    /// Sub-queries in `FROM` that a `FOR UPDATE` of this query reaches into.
    reached: HashSet<usize>,
}

/// The extent of a query's locking clauses.
#[derive(Default, PartialEq)]
enum Locked {
    #[default]
    Nothing,
    /// Only the tables and aliases after `OF`.
    Of(Vec<String>),
    All,
}

struct Factor {
    /// Where its name stands.
    name: usize,
    /// `None` for a table function, whose name is no relation.
    mode: Option<LockMode>,
}

impl Collector {
    /// Adds a relation, or makes its mode stronger.
    pub(crate) fn note(&mut self, name: Vec<String>, mode: LockMode) {
        let known = self.relations.entry(name).or_insert(mode);
        *known = mode.max(*known);
    }

    fn is_with_query(&self, name: &[String]) -> bool {
        match name {
            [name] => self.frames.iter().any(|frame| frame.names.contains(name)),
            _ => false,
        }
    }

    /// Notes what a change of rows aims at: a table, even where a `WITH` query has its name.
    fn target(&mut self, name: &ObjectName) {
        self.note(folded(name), LockMode::RowExclusive);
    }

    fn target_factor(&mut self, factor: &TableFactor) {
        if let TableFactor::Table { name, .. } = factor {
            self.target(name);
        }
    }

    fn target_tables(&mut self, tables: &[TableWithJoins]) {
        for table in tables {
            self.target_factor(&table.relation);
        }
    }

    fn changes(&mut self, statement: &SqlStatement) {
        match statement {
            SqlStatement::Insert(insert) => {
                if let TableObject::TableName(name) = &insert.table {
                    self.target(name);
                }
            }
            SqlStatement::Update(update) => self.target_factor(&update.table.relation),
            SqlStatement::Delete(delete) => match &delete.from {
                FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables) => {
                    self.target_tables(tables);
                }
            },
            SqlStatement::Merge(merge) => self.target_factor(&merge.table),
            _ => return,
        }
        self.changes_rows = true;
    }

    /// Whether the current query's locking clauses reach a `FROM` item of this name.
    fn locks(&self, name: Option<&String>) -> bool {
        match self.frames.last().map(|frame| &frame.locked) {
            None | Some(Locked::Nothing) => false,
            Some(Locked::All) => true,
            Some(Locked::Of(names)) => name.is_some_and(|name| names.contains(name)),
        }
    }

    fn reach(&mut self, query: &Query) {
        if let Some(frame) = self.frames.last_mut() {
            frame.reached.insert(address(query));
        }
    }
}

impl Visitor for Collector {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &SqlStatement) -> ControlFlow<()> {
        self.changes(statement);
        for (name, mode) in targets(statement) {
            self.note(folded(name), mode);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let reached = self
            .frames
            .last()
            .is_some_and(|frame| frame.reached.contains(&address(query)));
        let mut frame = Frame {
            locked: if reached {
                Locked::All
            } else {
                locked(&query.locks)
            },
            ..Frame::default()
        };
        if let Some(with) = &query.with {
            for cte in &with.cte_tables {
                let name = match cte.alias.name.quote_style {
                    None => cte.alias.name.value.to_ascii_lowercase(),
                    Some(_) => cte.alias.name.value.clone(),
                };
                if with.recursive {
                    frame.names.insert(name);
                } else {
                    frame.pending.insert(address(cte.query.as_ref()), name);
                }
            }
        }
        let everything = frame.locked == Locked::All;
        self.frames.push(frame);
        // `(SELECT …) FOR UPDATE` means what is inside.
        if let (true, SetExpr::Query(inside)) = (everything, query.body.as_ref()) {
            self.reach(inside);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.frames.pop();
        if let Some(frame) = self.frames.last_mut()
            && let Some(name) = frame.pending.remove(&address(query))
        {
            frame.names.insert(name);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        if let Some(into) = &select.into {
            self.selects_into = true;
            self.note(folded(&into.name), LockMode::AccessExclusive);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table {
                name, alias, args, ..
            } => {
                let parts = folded(name);
                let called = match alias {
                    Some(alias) => Some(alias.name.value.to_ascii_lowercase()),
                    None => parts.last().cloned(),
                };
                let mode = if self.locks(called.as_ref()) {
                    LockMode::RowShare
                } else {
                    LockMode::AccessShare
                };
                self.factor = Some(Factor {
                    name: address(name),
                    mode: args.is_none().then_some(mode),
                });
            }
            TableFactor::Derived {
                subquery, alias, ..
            } => {
                let called = alias.as_ref().map(|a| a.name.value.to_ascii_lowercase());
                if self.locks(called.as_ref()) {
                    self.reach(subquery);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let mode = match self.factor.take() {
            Some(factor) if factor.name == address(relation) => factor.mode,
            _ => Some(LockMode::AccessShare),
        };
        let name = folded(relation);
        if let Some(mode) = mode
            && !self.is_with_query(&name)
        {
            self.note(name, mode);
        }
        ControlFlow::Continue(())
    }
}

fn locked(clauses: &[LockClause]) -> Locked {
    if clauses.is_empty() {
        return Locked::Nothing;
    }
    let names: Option<Vec<String>> = clauses
        .iter()
        .map(|clause| folded(clause.of.as_ref()?).pop())
        .collect();
    match names {
        Some(names) => Locked::Of(names),
        None => Locked::All,
    }
}

/// Finds the highest parameter number.
#[derive(Default)]
pub(crate) struct Parameters {
    pub highest: usize,
}

impl Parameters {
    pub(crate) fn see(&mut self, statement: &DfStatement) {
        match statement {
            DfStatement::Statement(statement) => {
                let _ = statement.visit(self);
            }
            DfStatement::CopyTo(copy) => {
                if let CopyToSource::Query(query) = &copy.source {
                    let _ = query.visit(self);
                }
            }
            DfStatement::Explain(explain) => self.see(&explain.statement),
            DfStatement::CreateExternalTable(_) | DfStatement::Reset(_) => {}
        }
    }
}

impl Visitor for Parameters {
    type Break = ();

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
        if let Value::Placeholder(name) = &value.value
            && let Some(number) = name.strip_prefix('$').and_then(|n| n.parse().ok())
        {
            self.highest = self.highest.max(number);
        }
        ControlFlow::Continue(())
    }
}
