//! PostgreSQL's ways of writing, in DataFusion's words.

mod absent;
mod casts;
mod checks;
mod literals;
mod names;
mod operators;
mod set_returning;
mod syntax;

use std::collections::HashSet;
use std::sync::LazyLock;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, Query, SelectItem, SetExpr, Statement as SqlStatement,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use datafusion_pg_catalog::sql::rules::{
    AliasDuplicatedProjectionRewrite, RewriteArrayAnyAllOperation, RewritePgCatalogOperator,
    SqlStatementRewriteRule, StripCallableQualifier, StripCollate,
};

use crate::EngineError;

/// The library's rules that keep the meaning of everybody's statements.
static RULES: LazyLock<Vec<Box<dyn SqlStatementRewriteRule>>> = LazyLock::new(|| {
    vec![
        Box::new(AliasDuplicatedProjectionRewrite),
        Box::new(RewriteArrayAnyAllOperation),
        Box::new(StripCallableQualifier),
        Box::new(StripCollate),
        Box::new(RewritePgCatalogOperator),
    ]
});

/// Rewrites `statement` so that DataFusion understands it. `zone` is the session's time zone.
///
/// # Errors
/// For what DataFusion would answer wrongly.
pub(crate) fn for_datafusion(statement: Statement, zone: &str) -> Result<Statement, EngineError> {
    let Statement::Statement(inner) = statement else {
        return Ok(statement);
    };
    let mut rewritten = *inner;
    absent::rewrite(&mut rewritten);
    syntax::rewrite(&mut rewritten)?;
    names::rewrite(&mut rewritten);
    rewritten = RULES.iter().fold(rewritten, |s, rule| rule.rewrite(s));
    match &mut rewritten {
        SqlStatement::Query(query) => tell_apart_equal_columns(query),
        SqlStatement::Insert(insert) => {
            if let Some(source) = &mut insert.source {
                tell_apart_equal_columns(source);
            }
        }
        _ => {}
    }
    syntax::array_subqueries(&mut rewritten);
    literals::type_literals(&mut rewritten);
    casts::tag(&mut rewritten);
    casts::rewrite(&mut rewritten, zone);
    Ok(Statement::Statement(Box::new(rewritten)))
}

/// The tokens of a text that was accepted before (a view's query), with texts on successive lines
/// joined into one.
///
/// # Errors
/// When the text has no tokens that PostgreSQL knows.
pub(crate) fn tokens(text: &str) -> Result<Vec<TokenWithSpan>, EngineError> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text)
        .tokenize_with_location()
        .map_err(|e| EngineError::new("42601", e.to_string()))?;
    let mut joined: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for token in tokens {
        let is_space = |t: &&mut TokenWithSpan| matches!(t.token, Token::Whitespace(_));
        let before = joined.iter_mut().rev().find(|t| !is_space(t));
        match (&token.token, before.map(|t| &mut t.token)) {
            (
                Token::SingleQuotedString(more),
                Some(
                    Token::SingleQuotedString(text)
                    | Token::EscapedStringLiteral(text)
                    | Token::UnicodeStringLiteral(text),
                ),
            ) => text.push_str(more),
            _ => joined.push(token),
        }
    }
    Ok(joined)
}

/// `SELECT 1, 1` has two columns of one name, which DataFusion refuses. They get names of their
/// own, and so does every column with a query in it, which are all called alike; the client sees those of [`column_names`].
fn tell_apart_equal_columns(query: &mut Query) {
    tell_apart_in(&mut query.body);
}

fn tell_apart_in(body: &mut SetExpr) {
    let select = match body {
        SetExpr::Select(select) => select,
        SetExpr::Query(query) => return tell_apart_equal_columns(query),
        SetExpr::SetOperation { left, right, .. } => {
            tell_apart_in(left);
            return tell_apart_in(right);
        }
        _ => return,
    };
    let mut seen = HashSet::new();
    for (i, item) in select.projection.iter_mut().enumerate() {
        let unique = Ident::with_quote('"', format!("\u{1}{i}"));
        match item {
            SelectItem::UnnamedExpr(expr)
                if !seen.insert(datafusion_name(expr)) || syntax::contains_query(expr) =>
            {
                *item = SelectItem::ExprWithAlias {
                    expr: expr.clone(),
                    alias: unique,
                };
            }
            SelectItem::ExprWithAlias { alias, .. } if !seen.insert(alias.to_string()) => {
                *alias = unique;
            }
            _ => {}
        }
    }
}

/// What two expressions have in common that DataFusion gives the same name: it leaves out
/// parentheses and casts.
fn datafusion_name(expr: &Expr) -> String {
    match expr {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => datafusion_name(inner),
        Expr::BinaryOp { left, op, right } => {
            format!("{} {op} {}", datafusion_name(left), datafusion_name(right))
        }
        Expr::UnaryOp { op, expr } => format!("{op} {}", datafusion_name(expr)),
        Expr::Value(value) => value.value.to_string(),
        Expr::TypedString(typed) => typed.value.value.to_string(),
        other => other.to_string(),
    }
}

/// The names that PostgreSQL gives to the columns of a query's result; `None` where DataFusion's
/// own name is right, and an empty list when a wildcard makes the positions unknown.
pub(crate) fn column_names(statement: &Statement) -> Vec<Option<String>> {
    let Statement::Statement(inner) = statement else {
        return Vec::new();
    };
    let SqlStatement::Query(query) = inner.as_ref() else {
        return Vec::new();
    };
    query_names(query)
}

fn query_names(query: &Query) -> Vec<Option<String>> {
    let mut body = query.body.as_ref();
    loop {
        match body {
            SetExpr::SetOperation { left, .. } => body = left,
            SetExpr::Query(query) => body = query.body.as_ref(),
            SetExpr::Select(select) => return item_names(&select.projection),
            _ => return Vec::new(),
        }
    }
}

fn item_names(items: &[SelectItem]) -> Vec<Option<String>> {
    let mut names = Vec::with_capacity(items.len());
    for item in items {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                names.push(Some(
                    expression_name(expr).unwrap_or_else(|| "?column?".into()),
                ));
            }
            SelectItem::ExprWithAlias { alias, .. } => names.push(Some(match alias.quote_style {
                Some(_) => alias.value.clone(),
                None => alias.value.to_lowercase(),
            })),
            // Names before a wildcard keep their places; those after it do not.
            _ => return names,
        }
    }
    names
}

/// PostgreSQL's rule: a column gives its name, a function its own, a cast that of its operand
/// or else of the type.
fn expression_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(match ident.quote_style {
            Some(_) => ident.value.clone(),
            None => ident.value.to_lowercase(),
        }),
        Expr::CompoundIdentifier(parts) => parts
            .last()
            .and_then(|p| expression_name(&Expr::Identifier(p.clone()))),
        Expr::Function(Function { name, .. }) => {
            last_part(name).filter(|name| name != crate::functions::BETWEEN_SYMMETRIC)
        }
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => expression_name(inner),
        Expr::Cast {
            expr, data_type, ..
        } => expression_name(expr).or_else(|| Some(type_name(&data_type.to_string()))),
        Expr::TypedString(typed) => Some(type_name(&typed.data_type.to_string())),
        Expr::Case { else_result, .. } => else_result
            .as_deref()
            .filter(|e| matches!(e, Expr::Identifier(_) | Expr::CompoundIdentifier(_)))
            .and_then(expression_name)
            .or_else(|| Some("case".into())),
        Expr::Exists { .. } => Some("exists".into()),
        Expr::Subquery(query) => query_names(query).into_iter().next().flatten(),
        Expr::Array(_) => Some("array".into()),
        Expr::Extract { .. } => Some("extract".into()),
        Expr::Position { .. } => Some("position".into()),
        Expr::Substring { .. } => Some("substring".into()),
        Expr::Trim { .. } => Some("btrim".into()),
        Expr::Ceil { .. } => Some("ceil".into()),
        Expr::Floor { .. } => Some("floor".into()),
        Expr::Interval(_) => Some("interval".into()),
        _ => None,
    }
}

/// The last part of a name, folded to lower case unless it is quoted.
fn last_part(name: &ObjectName) -> Option<String> {
    let ident = name.0.last()?.as_ident()?;
    expression_name(&Expr::Identifier(ident.clone()))
}

/// `name(argument)`.
fn call_of(name: &str, argument: Expr) -> Expr {
    let argument = FunctionArg::Unnamed(FunctionArgExpr::Expr(argument));
    syntax::call(
        name,
        FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![argument],
            clauses: Vec::new(),
        }),
    )
}

/// The catalog's short name of a type: `NUMERIC(15,2)` is `numeric`, `BIGINT` is `int8`.
fn type_name(sql: &str) -> String {
    let sql = sql.to_lowercase();
    let base = sql.split(['(', ' ']).next().unwrap_or_default();
    match base {
        "int" | "integer" => "int4",
        "bigint" => "int8",
        "smallint" => "int2",
        "boolean" => "bool",
        "real" => "float4",
        "double" | "float" => "float8",
        "decimal" | "dec" => "numeric",
        "character" | "char" if sql.contains("varying") => "varchar",
        "character" | "char" => "bpchar",
        "timestamp" if sql.contains("with time zone") => "timestamptz",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::parser::DFParser;

    #[test]
    fn naming_a_system_table_changes_nothing_else() {
        let refused = |sql: &str| {
            let statement = DFParser::parse_sql(sql).unwrap().pop_front().unwrap();
            for_datafusion(statement, "UTC").err().map(|e| e.sqlstate)
        };
        assert_eq!(refused("SELECT count()"), Some("42809"));
        assert_eq!(refused("SELECT count() FROM pg_class"), Some("42809"));
        assert_eq!(refused("SELECT oid FROM pg_class"), None);
    }

    #[test]
    fn columns_are_named_as_postgresql_names_them() {
        let cases = [
            ("select 1", vec!["?column?"]),
            (
                "select count(*), sum(a) as Total, t.B",
                vec!["count", "total", "b"],
            ),
            (
                "select a::text, '1'::bigint, 1 + 2",
                vec!["a", "int8", "?column?"],
            ),
            (
                "select case when a then b else c end, case when a then 1 end",
                vec!["c", "case"],
            ),
            ("select a union select b", vec!["a"]),
            ("select max(x), * from t", vec!["max"]),
            (
                "select (select count(*) from t), exists (select 1)",
                vec!["count", "exists"],
            ),
        ];
        for (sql, names) in cases {
            let statement = DFParser::parse_sql(sql).unwrap().pop_front().unwrap();
            let found: Vec<String> = column_names(&statement).into_iter().flatten().collect();
            assert_eq!(found, names, "{sql}");
        }
    }
}
