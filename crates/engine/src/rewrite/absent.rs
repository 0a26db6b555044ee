//! Queries of what Forebay never has.
//!
//! Clients ask PostgreSQL's catalog for indexes, constraints, policies and so on, often in
//! sub-queries that DataFusion cannot plan. The relations of those are always empty here
//! ([`is_unused`]), so it is known without planning what such a sub-query gives: no rows. And
//! nothing has to be worked out for the rows of a query that has none.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Array, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, GroupByExpr, Ident, JoinOperator, ObjectName, Query, Select, SelectItem,
    SetExpr, SetOperator, Statement, TableFactor, TableWithJoins, Value, ValueWithSpan, Visit,
    VisitMut, Visitor, VisitorMut,
};

use super::last_part;
use super::syntax::contains_query;
use crate::catalogs::PG_CATALOG;
use crate::system::{is_unused, table_oid};

/// Columns of `pg_catalog` that are NULL in every row: nothing sets them.
const NEVER_SET: [&str; 7] = [
    "attacl",
    "attfdwoptions",
    "attoptions",
    "datacl",
    "nspacl",
    "relacl",
    "reloptions",
];

/// Columns that all have the collation of their types: nothing gives them another.
const COLLATIONS: [&str; 2] = ["attcollation", "typcollation"];

/// Aggregates without `GROUP BY` make a row of nothing.
const AGGREGATES: [&str; 12] = [
    "array_agg",
    "avg",
    "bool_and",
    "bool_or",
    "count",
    "every",
    "json_agg",
    "jsonb_agg",
    "max",
    "min",
    "string_agg",
    "sum",
];

/// Replaces what has no rows by what that means.
pub(super) fn rewrite(statement: &mut Statement) {
    let mut names = Names::default();
    let _ = Visit::visit(statement, &mut names);
    if names.reads_system {
        let _ = VisitMut::visit(statement, &mut Absent { names });
    }
}

/// What the names of a statement's relations stand for.
#[derive(Default)]
struct Names {
    /// Whether any of them may be one of `pg_catalog`.
    reads_system: bool,
    /// Relations of `pg_catalog` by alias; `None` where an alias also means something else.
    aliases: HashMap<String, Option<String>>,
    common_tables: HashSet<String>,
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        let names = tables.map(|table| lower(&table.alias.name));
        self.common_tables.extend(names);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, .. } = factor {
            let system = system_relation(name);
            self.reads_system |= system.is_some();
            let own = last_part(name).unwrap_or_default();
            let alias = alias.as_ref().map_or(own, |a| lower(&a.name));
            let entry = self.aliases.entry(alias).or_insert_with(|| system.clone());
            if *entry != system {
                *entry = None;
            }
        }
        ControlFlow::Continue(())
    }
}

/// The relation's name, if it can be one of `pg_catalog`.
fn system_relation(name: &ObjectName) -> Option<String> {
    let in_pg_catalog = match name.0.as_slice() {
        [_] => true,
        [schema, _] => schema.as_ident().is_some_and(|s| lower(s) == PG_CATALOG),
        _ => false,
    };
    last_part(name).filter(|name| in_pg_catalog && name.starts_with("pg_"))
}

fn lower(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

struct Absent {
    names: Names,
}

impl VisitorMut for Absent {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.simplify(&mut query.body);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let known = match expr {
            Expr::Subquery(query) if self.is_empty(query) => Some(Value::Null.into()),
            Expr::Exists { subquery, negated } if self.is_empty(subquery) => {
                Some(Value::Boolean(*negated).into())
            }
            Expr::InSubquery {
                subquery, negated, ..
            } if self.is_empty(subquery) => Some(Value::Boolean(*negated).into()),
            Expr::Function(Function {
                name,
                args: FunctionArguments::Subquery(query),
                ..
            }) if last_part(name).as_deref() == Some("array") && self.is_empty(query) => {
                *expr = empty_array();
                None
            }
            Expr::CompoundIdentifier(_) => self.table_oid(expr),
            _ => None,
        };
        if let Some(known) = known {
            *expr = Expr::Value(known);
        }
        ControlFlow::Continue(())
    }
}

impl Absent {
    /// Takes the sub-queries out of selects that have no rows.
    fn simplify(&self, body: &mut SetExpr) {
        match body {
            SetExpr::SetOperation { left, right, .. } => {
                self.simplify(left);
                self.simplify(right);
            }
            SetExpr::Select(select) if self.reads_nothing(select) => {
                for item in &mut select.projection {
                    if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } =
                        item
                        && contains_query(expr)
                    {
                        *expr = Expr::Value(Value::Null.into());
                    }
                }
                if select.selection.as_ref().is_some_and(contains_query) {
                    select.selection = Some(Expr::Value(Value::Boolean(false).into()));
                }
            }
            _ => {}
        }
    }

    /// Whether a query gives no rows, whatever it is asked with.
    fn is_empty(&self, query: &Query) -> bool {
        self.is_empty_body(&query.body)
    }

    fn is_empty_body(&self, body: &SetExpr) -> bool {
        match body {
            SetExpr::Select(select) => {
                (self.reads_nothing(select) || self.asks_in_vain(select)) && !makes_a_row(select)
            }
            SetExpr::Query(query) => self.is_empty(query),
            SetExpr::SetOperation {
                op, left, right, ..
            } => {
                let (left, right) = (self.is_empty_body(left), self.is_empty_body(right));
                match op {
                    SetOperator::Union => left && right,
                    SetOperator::Intersect => left || right,
                    _ => left,
                }
            }
            _ => false,
        }
    }

    /// Whether there is nothing to select from.
    fn reads_nothing(&self, select: &Select) -> bool {
        select.from.iter().any(|from| self.joins_nothing(from))
    }

    fn joins_nothing(&self, from: &TableWithJoins) -> bool {
        let mut required = vec![&from.relation];
        for join in &from.joins {
            match join.join_operator {
                JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_) => {
                    required.push(&join.relation);
                }
                JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => {}
                _ => return false,
            }
        }
        required.into_iter().any(|factor| self.has_nothing(factor))
    }

    fn has_nothing(&self, factor: &TableFactor) -> bool {
        match factor {
            TableFactor::Table {
                name, args: None, ..
            } => system_relation(name).is_some_and(|relation| {
                let shadowed = name.0.len() == 1 && self.names.common_tables.contains(&relation);
                is_unused(&relation) && !shadowed
            }),
            TableFactor::Table {
                name,
                args: Some(arguments),
                ..
            } => {
                last_part(name).as_deref() == Some("unnest")
                    && arguments
                        .args
                        .iter()
                        .any(|a| self.is_never_set(argument(a)))
            }
            TableFactor::Function { name, args, .. } => {
                last_part(name).as_deref() == Some("unnest")
                    && args.iter().any(|a| self.is_never_set(argument(a)))
            }
            TableFactor::UNNEST { array_exprs, .. } => {
                array_exprs.iter().any(|e| self.is_never_set(Some(e)))
            }
            TableFactor::Derived { subquery, .. } => self.is_empty(subquery),
            TableFactor::NestedJoin {
                table_with_joins, ..
            } => self.joins_nothing(table_with_joins),
            _ => false,
        }
    }

    fn is_never_set(&self, expr: Option<&Expr>) -> bool {
        expr.and_then(|e| self.system_column(e))
            .is_some_and(|column| NEVER_SET.contains(&column.as_str()))
    }

    /// The name of a column that is qualified by a relation of `pg_catalog`.
    fn system_column(&self, expr: &Expr) -> Option<String> {
        let Expr::CompoundIdentifier(parts) = expr else {
            return None;
        };
        let [.., relation, column] = parts.as_slice() else {
            return None;
        };
        self.names.aliases.get(&lower(relation))?.as_ref()?;
        Some(lower(column))
    }

    /// `c.tableoid`, a column that no table lists: where `c` is one of `pg_catalog`, its number.
    fn table_oid(&self, expr: &Expr) -> Option<ValueWithSpan> {
        let Expr::CompoundIdentifier(parts) = expr else {
            return None;
        };
        let [.., relation, column] = parts.as_slice() else {
            return None;
        };
        let relation = self.names.aliases.get(&lower(relation))?.as_ref()?;
        let oid = table_oid(relation).filter(|_| lower(column) == "tableoid")?;
        Some(Value::Number(oid.to_string(), false).into())
    }

    /// Whether the condition asks for a collation that differs from another.
    fn asks_in_vain(&self, select: &Select) -> bool {
        let mut conditions: Vec<&Expr> = select.selection.iter().collect();
        while let Some(condition) = conditions.pop() {
            match condition {
                Expr::BinaryOp {
                    left,
                    op: BinaryOperator::And,
                    right,
                } => conditions.extend([left.as_ref(), right]),
                Expr::Nested(inner) => conditions.push(inner),
                Expr::BinaryOp {
                    left,
                    op: BinaryOperator::NotEq,
                    right,
                } => {
                    let is_collation = |e| {
                        self.system_column(e)
                            .is_some_and(|c| COLLATIONS.contains(&c.as_str()))
                    };
                    if is_collation(left) && is_collation(right) {
                        return true;
                    }
                }
                _ => {}
            }
        }
        false
    }
}

fn argument(argument: &FunctionArg) -> Option<&Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

/// Whether a select without input still has a row, that of its aggregates.
fn makes_a_row(select: &Select) -> bool {
    struct FindAggregate;
    impl Visitor for FindAggregate {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(function)
                    if last_part(&function.name)
                        .is_some_and(|name| AGGREGATES.contains(&name.as_str())) =>
                {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    let ungrouped = matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    let aggregates = select.projection.visit(&mut FindAggregate).is_break();
    ungrouped && (aggregates || select.having.is_some())
}

/// `ARRAY[]::text[]`.
fn empty_array() -> Expr {
    use datafusion::sql::sqlparser::ast::ArrayElemTypeDef;
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::Array(Array {
            elem: Vec::new(),
            named: true,
        })),
        data_type: DataType::Array(ArrayElemTypeDef::SquareBracket(
            Box::new(DataType::Text),
            None,
        )),
        array: false,
        format: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    #[test]
    fn what_has_no_rows_is_not_worked_out() {
        let cases = [
            (
                "SELECT (SELECT adbin FROM pg_attrdef d WHERE d.adnum = a.attnum) FROM pg_attribute a",
                "SELECT NULL FROM pg_attribute a",
            ),
            (
                "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_trigger), 1 IN (SELECT oid FROM pg_policy)",
                "SELECT false, false",
            ),
            (
                "SELECT ARRAY(SELECT 'x' || o FROM unnest(c.reloptions) o) FROM pg_class c",
                "SELECT CAST(ARRAY[] AS TEXT[]) FROM pg_class c",
            ),
            (
                "SELECT polname, ARRAY(SELECT 1 FROM pg_roles WHERE oid = ANY(polroles)) FROM pg_policy",
                "SELECT polname, NULL FROM pg_policy",
            ),
            (
                "SELECT l.tableoid, t.tableoid FROM pg_language l, t",
                "SELECT 2612, t.tableoid FROM pg_language l, t",
            ),
            // A count of nothing is 0, an outer join keeps its rows, and others' tables may have some.
            (
                "SELECT (SELECT count(*) FROM pg_index) FROM pg_class",
                "SELECT (SELECT count(*) FROM pg_index) FROM pg_class",
            ),
            (
                "SELECT (SELECT 1 FROM pg_class LEFT JOIN pg_index ON true)",
                "SELECT (SELECT 1 FROM pg_class LEFT JOIN pg_index ON true)",
            ),
            (
                "SELECT (SELECT 1 FROM mine.pg_index), ARRAY(SELECT 1 FROM unnest(t.reloptions)) FROM t",
                "SELECT (SELECT 1 FROM mine.pg_index), ARRAY(SELECT 1 FROM UNNEST(t.reloptions)) FROM t",
            ),
            (
                "WITH pg_index AS (SELECT 1) SELECT (SELECT * FROM pg_index)",
                "WITH pg_index AS (SELECT 1) SELECT (SELECT * FROM pg_index)",
            ),
        ];
        for (sql, expected) in cases {
            let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
            rewrite(&mut statements[0]);
            assert_eq!(statements[0].to_string(), expected, "{sql}");
        }
    }
}
