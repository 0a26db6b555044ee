//! Words that are no names unless they are quoted.
//!
//! The parser underneath takes any word for a table or a column where one must stand, so that
//! `SELECT a FROM WHERE` would be about a table called `where`.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Ident, ObjectName, Statement, Visit, Visitor};

/// PostgreSQL's reserved keywords (its appendix C), in alphabetical order, without those that
/// stand for a value.
const RESERVED: &[&str] = &[
    "ALL",
    "ANALYSE",
    "ANALYZE",
    "AND",
    "ANY",
    "ARRAY",
    "AS",
    "ASC",
    "ASYMMETRIC",
    "BOTH",
    "CASE",
    "CAST",
    "CHECK",
    "COLLATE",
    "COLUMN",
    "CONSTRAINT",
    "CREATE",
    "DEFERRABLE",
    "DESC",
    "DISTINCT",
    "DO",
    "ELSE",
    "END",
    "EXCEPT",
    "FETCH",
    "FOR",
    "FOREIGN",
    "FROM",
    "GRANT",
    "GROUP",
    "HAVING",
    "IN",
    "INITIALLY",
    "INTERSECT",
    "INTO",
    "LATERAL",
    "LEADING",
    "LIMIT",
    "NOT",
    "OFFSET",
    "ON",
    "ONLY",
    "OR",
    "ORDER",
    "PLACING",
    "PRIMARY",
    "REFERENCES",
    "RETURNING",
    "SELECT",
    "SOME",
    "SYMMETRIC",
    "TABLE",
    "THEN",
    "TO",
    "TRAILING",
    "UNION",
    "UNIQUE",
    "USING",
    "VARIADIC",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
];

/// The first name in a query that is none.
pub(crate) fn misused(statement: &Statement) -> Option<Ident> {
    if !matches!(statement, Statement::Query(_)) {
        return None;
    }
    match statement.visit(&mut Names) {
        ControlFlow::Break(ident) => Some(ident),
        ControlFlow::Continue(()) => None,
    }
}

struct Names;

fn check(ident: &Ident) -> ControlFlow<Ident> {
    let reserved = ident.quote_style.is_none()
        && RESERVED
            .binary_search(&ident.value.to_ascii_uppercase().as_str())
            .is_ok();
    if reserved {
        return ControlFlow::Break(ident.clone());
    }
    ControlFlow::Continue(())
}

impl Visitor for Names {
    type Break = Ident;

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Ident> {
        match relation.0.first().and_then(|part| part.as_ident()) {
            Some(ident) => check(ident),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Ident> {
        match expr {
            Expr::Identifier(ident) => check(ident),
            Expr::CompoundIdentifier(parts) => check(&parts[0]),
            _ => ControlFlow::Continue(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::parser::Parser;

    #[test]
    fn the_words_can_be_searched() {
        assert!(RESERVED.is_sorted());
    }

    #[test]
    fn reserved_words_are_names_only_in_quotes() {
        for (text, word) in [
            ("SELECT FROM WHERE", Some("WHERE")),
            ("SELECT a FROM t WHERE a = ORDER", Some("ORDER")),
            ("SELECT \"order\" FROM \"where\"", None),
            (
                "SELECT t.end, CASE WHEN true THEN 1 END, current_user FROM t ORDER BY a DESC",
                None,
            ),
        ] {
            let statements = Parser::parse_sql(&PostgreSqlDialect {}, text);
            let found = statements.ok().and_then(|s| misused(&s[0]));
            assert_eq!(found.map(|i| i.value).as_deref(), word, "{text}");
        }
    }
}
