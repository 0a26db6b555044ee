//! Names of the columns of queries, as Impala gives them.

use sqlparser::ast::{Expr, Ident, Query, SelectItem, SetExpr};

/// How columns are called that have no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unnamed {
    /// After their expressions, for who reads the rows.
    Expression,
    /// `_c0`, `_c1`, …, as columns of a table or view.
    Number,
}

/// Gives the columns of a query that have no name of their own one.
pub(super) fn name_columns(query: &mut Query, unnamed: Unnamed) {
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
    for (index, item) in select.projection.iter_mut().enumerate() {
        let SelectItem::UnnamedExpr(expression) = item else {
            continue;
        };
        if matches!(
            expression,
            Expr::Identifier(_) | Expr::CompoundIdentifier(_)
        ) {
            continue;
        }
        let name = match unnamed {
            Unnamed::Expression => expression.to_string().to_lowercase().replace('"', ""),
            Unnamed::Number => format!("_c{index}"),
        };
        *item = SelectItem::ExprWithAlias {
            expr: expression.clone(),
            alias: Ident::with_quote('"', name),
        };
    }
}
