//! `INSERT … PARTITION (year=2024, month) SELECT …`: the columns that a table is partitioned by.
//!
//! PostgreSQL has no such clause. What it says is said by a list of columns: first those of the table
//! itself, then those whose values the query gives last, then those with a value in the clause, which
//! becomes a column of the query. Which columns a table has, the parser does not know; so the clause
//! stays in the tree until somebody who knows calls [`settle_partition`].

use std::ops::ControlFlow;

use datafusion_sql::parser::Statement as DfStatement;
use sqlparser::ast::{
    BinaryOperator, Expr, Ident, Insert, ObjectName, SelectItem, SetExpr,
    Statement as SqlStatement, TableObject, visit_expressions,
};

use crate::error::{DUPLICATE_COLUMN, NOT_SUPPORTED, ParseError, UNDEFINED_COLUMN, WRONG_OBJECT};
use crate::relations::folded;
use crate::statement::Statement;

/// What must be known of a table for an insert with `PARTITION`.
#[derive(Debug, Clone, Copy)]
pub struct PartitionedTable<'a> {
    /// The table's name, for messages.
    pub name: &'a str,
    /// The columns in its files.
    pub columns: &'a [String],
    /// The columns that it is partitioned by.
    pub partition_columns: &'a [String],
}

/// The table, in one or two parts, that a statement with a `PARTITION` clause inserts into; `None` for
/// all other statements.
#[must_use]
pub fn partition_target(statement: &Statement) -> Option<Vec<String>> {
    let DfStatement::Statement(statement) = planned(statement)? else {
        return None;
    };
    match statement.as_ref() {
        SqlStatement::Insert(Insert {
            table: TableObject::TableName(name),
            partitioned: Some(_),
            ..
        }) => Some(folded(name)),
        _ => None,
    }
}

fn planned(statement: &Statement) -> Option<&DfStatement> {
    match statement {
        Statement::Plan(statement) => Some(statement),
        Statement::Explain(explain) => Some(&explain.statement),
        _ => None,
    }
}

/// Takes the `PARTITION` clause out of an insert into `table`, and says the same by columns.
///
/// # Errors
/// The table is not partitioned, the clause names what is no column of its partitions or one twice,
/// or one is missing; values for a query that has no place for them.
pub fn settle_partition(
    statement: &mut Statement,
    table: PartitionedTable<'_>,
) -> Result<(), ParseError> {
    let statement = match statement {
        Statement::Plan(statement) => statement.as_mut(),
        Statement::Explain(explain) => explain.statement.as_mut(),
        _ => return Ok(()),
    };
    let DfStatement::Statement(statement) = statement else {
        return Ok(());
    };
    let SqlStatement::Insert(insert) = statement.as_mut() else {
        return Ok(());
    };
    let Some(clause) = insert.partitioned.take() else {
        return Ok(());
    };
    let keys = clause.into_iter().map(key).collect::<Result<Vec<_>, _>>()?;
    let mut columns: Vec<String> = match insert.columns.is_empty() {
        true => table.columns.to_vec(),
        false => insert.columns.iter().map(last).collect(),
    };
    table.check(&keys, &columns)?;
    let (fixed, open): (Vec<Key>, Vec<Key>) = keys.into_iter().partition(|key| key.value.is_some());
    columns.extend(open.into_iter().map(|key| key.column));
    if let Some(source) = &mut insert.source {
        for key in &fixed {
            add_column(&mut source.body, key)?;
        }
    }
    columns.extend(fixed.into_iter().map(|key| key.column));
    insert.columns = columns
        .into_iter()
        .map(|column| ObjectName::from(Ident::with_quote('"', column)))
        .collect();
    Ok(())
}

/// One column of the clause.
struct Key {
    column: String,
    /// What all rows have in it; `None` where each brings its own.
    value: Option<Expr>,
}

fn key(expression: Expr) -> Result<Key, ParseError> {
    let name = |ident: Ident| last(&ObjectName::from(ident));
    match expression {
        Expr::Identifier(column) => Ok(Key {
            column: name(column),
            value: None,
        }),
        Expr::BinaryOp {
            left,
            op: BinaryOperator::Eq,
            right,
        } if matches!(*left, Expr::Identifier(_)) && is_constant(&right) => {
            let Expr::Identifier(column) = *left else {
                unreachable!("looked at above");
            };
            Ok(Key {
                column: name(column),
                value: Some(*right),
            })
        }
        other => {
            let message = format!("PARTITION takes column or column=constant, not {other}");
            Err(ParseError::new(NOT_SUPPORTED, message))
        }
    }
}

/// Functions that give another value each time.
const VOLATILE: [&str; 5] = ["gen_random_uuid", "rand", "random", "sleep", "uuid"];

/// Whether an expression is the same for all rows.
fn is_constant(expr: &Expr) -> bool {
    visit_expressions(expr, |part| {
        let varies = match part {
            Expr::Identifier(_)
            | Expr::CompoundIdentifier(_)
            | Expr::Subquery(_)
            | Expr::Exists { .. }
            | Expr::InSubquery { .. } => true,
            Expr::Function(function) => VOLATILE.contains(&last(&function.name).as_str()),
            _ => false,
        };
        match varies {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })
    .is_continue()
}

/// The last part of a name, as the catalog writes it.
fn last(name: &ObjectName) -> String {
    folded(name).pop().unwrap_or_default()
}

impl PartitionedTable<'_> {
    /// Checks the clause, and the columns that are listed beside it, in Impala's words.
    fn check(&self, keys: &[Key], listed: &[String]) -> Result<(), ParseError> {
        if self.partition_columns.is_empty() {
            let message = format!(
                "PARTITION clause is only valid for INSERT into partitioned table. '{}' is not \
                 partitioned",
                self.name
            );
            return Err(ParseError::new(WRONG_OBJECT, message));
        }
        for (index, Key { column, .. }) in keys.iter().enumerate() {
            if !self.partition_columns.contains(column) {
                return Err(match self.columns.contains(column) {
                    true => ParseError::new(
                        WRONG_OBJECT,
                        format!("Column '{column}' is not a partition column"),
                    ),
                    false => ParseError::new(
                        UNDEFINED_COLUMN,
                        format!("Unknown column '{column}' in partition clause"),
                    ),
                });
            }
            let before = keys[..index].iter().any(|key| key.column == *column);
            if before || listed.contains(column) {
                let message = format!("Duplicate column '{column}' in partition clause");
                return Err(ParseError::new(DUPLICATE_COLUMN, message));
            }
        }
        let named = |column: &&String| {
            keys.iter().any(|key| key.column == **column) || listed.contains(*column)
        };
        let missing: Vec<&str> = self
            .partition_columns
            .iter()
            .filter(|column| !named(column))
            .map(String::as_str)
            .collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(ParseError::new(
                WRONG_OBJECT,
                format!(
                    "Not enough partition columns mentioned in query. Missing columns are: {}",
                    missing.join(", ")
                ),
            )),
        }
    }
}

/// Gives every row of a query the clause's value as its last column. Rows that differ stay different,
/// and equal ones equal, so it may be done below a set operation.
fn add_column(body: &mut SetExpr, key: &Key) -> Result<(), ParseError> {
    let Some(value) = &key.value else {
        return Ok(());
    };
    match body {
        SetExpr::Select(select) => {
            select.projection.push(SelectItem::ExprWithAlias {
                expr: value.clone(),
                // No column of a client's is called so.
                alias: Ident::with_quote('"', format!("partition {}", key.column)),
            });
            Ok(())
        }
        SetExpr::Values(values) => {
            for row in &mut values.rows {
                row.content.push(value.clone());
            }
            Ok(())
        }
        SetExpr::Query(query) => add_column(&mut query.body, key),
        SetExpr::SetOperation { left, right, .. } => {
            add_column(left, key)?;
            add_column(right, key)
        }
        _ => {
            let message = "PARTITION with a constant needs SELECT or VALUES";
            Err(ParseError::new(NOT_SUPPORTED, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::impala::{ImpalaStatement, parse_impala};

    /// What an insert into a table with the columns `a` and `b` and the partitions `y` and `m` becomes.
    fn settled(text: &str) -> Result<String, ParseError> {
        let (_, statement) = parse_impala(text, "")?;
        let ImpalaStatement::Sql(parsed) = statement else {
            panic!("{text}");
        };
        let mut statement = parsed.statement.clone();
        assert_eq!(partition_target(&statement), Some(vec!["t".to_owned()]));
        let names = |names: [&str; 2]| names.map(str::to_owned);
        settle_partition(
            &mut statement,
            PartitionedTable {
                name: "default.t",
                columns: &names(["a", "b"]),
                partition_columns: &names(["y", "m"]),
            },
        )?;
        assert_eq!(partition_target(&statement), None);
        Ok(planned(&statement).unwrap().to_string())
    }

    #[test]
    fn the_clause_becomes_columns() {
        for (text, expected) in [
            (
                // In another order than the table's, one of them with a value.
                "insert into t partition (m=2, `Y`) select 1, 'x', z from u",
                "INSERT INTO t (\"a\", \"b\", \"y\", \"m\") SELECT 1, 'x', z, 2 AS \"partition m\" FROM u",
            ),
            (
                "insert into table t (b) partition (y=2024, m=1 + 1) values ('x'), ('y')",
                "INSERT INTO t (\"b\", \"y\", \"m\") VALUES ('x', 2024, 1 + 1), ('y', 2024, 1 + 1)",
            ),
            (
                "insert into t partition (y, m) select * from u",
                "INSERT INTO t (\"a\", \"b\", \"y\", \"m\") SELECT * FROM u",
            ),
            (
                "insert into t (a, m) partition (y=1) select 1, 2 union all (select 3, 4 limit 1)",
                "INSERT INTO t (\"a\", \"m\", \"y\") SELECT 1, 2, 1 AS \"partition y\" UNION ALL \
                 (SELECT 3, 4, 1 AS \"partition y\" LIMIT 1)",
            ),
            (
                "explain insert into t partition (y=1, m=2) select 1, 2",
                "INSERT INTO t (\"a\", \"b\", \"y\", \"m\") SELECT 1, 2, 1 AS \"partition y\", \
                 2 AS \"partition m\"",
            ),
        ] {
            assert_eq!(settled(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_impalas_words() {
        for (text, message) in [
            (
                "insert into t partition (y=1) select 1, 2",
                "Not enough partition columns mentioned in query. Missing columns are: m",
            ),
            (
                "insert into t partition (y=1, m, z) select 1, 2",
                "Unknown column 'z' in partition clause",
            ),
            (
                "insert into t partition (y=1, m, b) select 1, 2",
                "Column 'b' is not a partition column",
            ),
            (
                "insert into t partition (y=1, m, y) select 1, 2",
                "Duplicate column 'y' in partition clause",
            ),
            (
                "insert into t (a, m) partition (y=1, m=2) select 1, 2",
                "Duplicate column 'm' in partition clause",
            ),
            (
                "insert into t partition (y > 1, m) select 1, 2",
                "PARTITION takes column or column=constant, not y > 1",
            ),
            (
                "insert into t partition (y=b, m) select 1, 2",
                "PARTITION takes column or column=constant, not y = b",
            ),
            (
                "insert into t partition (y=cast(1 + rand() as int), m) select 1, 2",
                "PARTITION takes column or column=constant, not y = CAST(1 + random() AS INT)",
            ),
        ] {
            assert_eq!(settled(text).unwrap_err().message, message, "{text}");
        }
    }
}
