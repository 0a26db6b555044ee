//! Functions that Impala has, and names of columns as Impala gives them, in a statement's tree.

use std::ops::ControlFlow;

use datafusion_sql::parser::Statement as DfStatement;
use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, SelectItem, SetExpr,
    Statement as SqlStatement, visit_expressions_mut,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::error::ParseError;

/// The version that Impala's clients are told by SQL.
const VERSION: &str = concat!(
    "impalad version 4.5.0-RELEASE RELEASE (build Forebay ",
    env!("CARGO_PKG_VERSION"),
    ")"
);

/// Names the columns of a query that have no name after their expressions, and puts what is there in
/// the place of Impala's functions.
///
/// # Errors
/// When nesting is deeper than it may be.
pub(super) fn make_impalas(statement: &mut DfStatement) -> Result<(), ParseError> {
    let DfStatement::Statement(statement) = statement else {
        return Ok(());
    };
    if let SqlStatement::Query(query) = statement.as_mut() {
        name_columns(query);
    }
    let _ = visit_expressions_mut(statement, |expression| {
        if let Some(other) = other(expression) {
            *expression = other;
        }
        ControlFlow::<()>::Continue(())
    });
    Ok(())
}

fn name_columns(query: &mut Query) {
    let mut body = query.body.as_mut();
    // The names of a set operation are those of its first query.
    let select = loop {
        match body {
            SetExpr::Select(select) => break select,
            SetExpr::Query(query) => body = query.body.as_mut(),
            SetExpr::SetOperation { left, .. } => body = left.as_mut(),
            _ => return,
        }
    };
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expression) = item else {
            continue;
        };
        if matches!(
            expression,
            Expr::Identifier(_) | Expr::CompoundIdentifier(_)
        ) {
            continue;
        }
        let name = expression.to_string().to_lowercase();
        let alias = Ident::with_quote('"', name.replace('"', ""));
        *item = SelectItem::ExprWithAlias {
            expr: expression.clone(),
            alias,
        };
    }
}

/// What stands for a call of a function that only Impala has.
fn other(expression: &Expr) -> Option<Expr> {
    let Expr::Function(function) = expression else {
        return None;
    };
    let name = function.name.to_string().to_lowercase().replace('"', "");
    let arguments = arguments(&function.args)?;
    match (name.as_str(), arguments.as_slice()) {
        ("version", []) => read(&format!("'{VERSION}'")),
        ("user", []) => read("cast(session_user as text)"),
        ("effective_user", []) => read("cast(current_user as text)"),
        ("sleep", [milliseconds]) => read(&format!(
            "(coalesce(cast(pg_sleep(cast({milliseconds} as double precision) / 1000) as text), '') = '')"
        )),
        ("typeof", [value]) => read(&format!("upper(cast(pg_typeof({value}) as text))")),
        _ => None,
    }
}

fn arguments(arguments: &FunctionArguments) -> Option<Vec<&Expr>> {
    match arguments {
        FunctionArguments::None => Some(Vec::new()),
        FunctionArguments::List(list) => list
            .args
            .iter()
            .map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
                _ => None,
            })
            .collect(),
        FunctionArguments::Subquery(_) => None,
    }
}

fn read(text: &str) -> Option<Expr> {
    let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).ok()?;
    parser.parse_expr().ok()
}

#[cfg(test)]
mod tests {
    use crate::impala::{ImpalaStatement, parse_impala};
    use crate::statement::Statement;

    fn written(text: &str) -> String {
        let (_, ImpalaStatement::Sql(parsed)) = parse_impala(text).unwrap() else {
            panic!("{text}: no query");
        };
        let Statement::Plan(statement) = &parsed.statement else {
            panic!("{text}: no plan");
        };
        statement.to_string()
    }

    #[test]
    fn columns_are_named_after_their_expressions() {
        assert_eq!(
            written("select a, count(*), 1 + 1 as two, Max(b) from t"),
            r#"SELECT a, count(*) AS "count(*)", 1 + 1 AS two, Max(b) AS "max(b)" FROM t"#
        );
    }

    #[test]
    fn functions_of_impala_are_replaced_wherever_they_are() {
        let sql = written("select version() from t where sleep(10)");
        assert!(sql.contains("'impalad version"), "{sql}");
        assert!(sql.contains("pg_sleep"), "{sql}");
        assert!(sql.contains("AS \"version()\""), "{sql}");
        let sql = written("select user(), effective_user()");
        assert!(sql.contains("session_user"), "{sql}");
        assert!(sql.contains("AS \"user()\""), "{sql}");
    }
}
