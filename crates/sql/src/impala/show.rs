//! `SHOW` and `DESCRIBE`: queries on the system catalog, and questions about one relation.

use super::lexer::{Token, quote};
use super::words::{Words, schema, written};
use super::{ImpalaStatement, RelationView, all_of, builtins, query};
use crate::error::{NOT_SUPPORTED, ParseError};

/// Impala's name of a schema, in a query.
const DATABASE: &str = "CASE schema_name WHEN 'public' THEN 'default' ELSE schema_name END";

pub(super) fn show(words: &Words<'_, '_>) -> Result<ImpalaStatement, ParseError> {
    if let Some(statement) = show_relation(words)? {
        return Ok(statement);
    }
    let mut looked_into = None;
    let sql = match words.get(1).and_then(Token::name).as_deref() {
        Some("databases" | "schemas") => {
            let like = like(words, 2, DATABASE)?;
            format!(
                "SELECT {DATABASE} AS name, '' AS comment FROM information_schema.schemata \
                 WHERE {like} ORDER BY 1"
            )
        }
        Some(kind @ ("tables" | "views")) => {
            let (within, next) = words.within(2)?;
            let schema = match &within {
                Some(name) => literal(name),
                None => "current_schema()".to_owned(),
            };
            looked_into = within;
            let like = like(words, next, "table_name")?;
            let views = match kind {
                "views" => " AND table_type = 'VIEW'",
                _ => "",
            };
            format!(
                "SELECT table_name AS name FROM information_schema.tables \
                 WHERE table_schema = {schema} AND {like}{views} ORDER BY 1"
            )
        }
        Some("functions") => {
            let (sql, within) = builtins::show(words, 2)?;
            looked_into = within;
            sql
        }
        Some("aggregate" | "analytic") if words.is(2, "functions") => {
            let (sql, within) = builtins::show(words, 3)?;
            looked_into = within;
            sql
        }
        Some("roles") => {
            words.end(2)?;
            "SELECT rolname AS role_name FROM pg_catalog.pg_roles ORDER BY 1".to_owned()
        }
        Some("current") if words.is(2, "roles") => {
            words.end(3)?;
            "SELECT current_user AS role_name".to_owned()
        }
        _ => {
            let message = "this SHOW statement is not supported";
            return Err(ParseError::new(NOT_SUPPORTED, message).with_detail(Some(
                "There are SHOW DATABASES, TABLES, VIEWS, FUNCTIONS, ROLES, CREATE TABLE, \
                 CREATE VIEW, TABLE STATS, COLUMN STATS, PARTITIONS and FILES IN."
                    .to_owned(),
            )));
        }
    };
    Ok(ImpalaStatement::Catalog {
        query: query(&sql)?,
        schema: looked_into,
    })
}

/// `SHOW … table`.
fn show_relation(words: &Words<'_, '_>) -> Result<Option<ImpalaStatement>, ParseError> {
    const VIEWS: [(&[&str], RelationView); 6] = [
        (&["create", "table"], RelationView::Create),
        (&["create", "view"], RelationView::Create),
        (&["table", "stats"], RelationView::TableStats),
        (&["column", "stats"], RelationView::ColumnStats),
        (&["partitions"], RelationView::Partitions),
        (&["files", "in"], RelationView::Files),
    ];
    for (begin, view) in VIEWS {
        let begins = begin.iter().enumerate();
        if begins.into_iter().all(|(i, word)| words.is(i + 1, word)) {
            let (name, end) = words.relation(1 + begin.len())?;
            words.end(end)?;
            return Ok(Some(ImpalaStatement::ShowRelation { view, name }));
        }
    }
    Ok(None)
}

/// A text in PostgreSQL's quotes.
pub(super) fn literal(text: &str) -> String {
    let mut literal = String::new();
    quote(&mut literal, '\'', text);
    literal
}

/// The condition of `[LIKE] 'pattern'`, in which `*` is any text and `|` separates alternatives.
pub(super) fn like(words: &Words<'_, '_>, at: usize, column: &str) -> Result<String, ParseError> {
    let at = at + usize::from(words.is(at, "like"));
    let pattern = match words.get(at) {
        None => return Ok("true".to_owned()),
        Some(Token::Text(pattern)) => pattern,
        Some(_) => return words.end(at).map(|()| String::new()),
    };
    words.end(at + 1)?;
    let mut expression = "^(".to_owned();
    for c in pattern.to_lowercase().chars() {
        match c {
            '*' => expression.push_str(".*"),
            '|' => expression.push('|'),
            c if c.is_alphanumeric() || c == '_' => expression.push(c),
            c => {
                expression.push('\\');
                expression.push(c);
            }
        }
    }
    expression.push_str(")$");
    Ok(format!("({column}) ~ {}", literal(&expression)))
}

/// `DESCRIBE [FORMATTED|EXTENDED] table`, `DESCRIBE DATABASE name`.
pub(super) fn describe(words: &Words<'_, '_>) -> Result<ImpalaStatement, ParseError> {
    if words.is(1, "database") && words.len() > 2 {
        let database = words.get(2).and_then(Token::name).unwrap_or_default();
        words.end(3)?;
        let schema = schema(&database).to_owned();
        let sql = format!(
            "SELECT {DATABASE} AS name, '' AS location, '' AS comment \
             FROM information_schema.schemata WHERE schema_name = {}",
            literal(&schema)
        );
        return Ok(ImpalaStatement::Catalog {
            query: query(&sql)?,
            schema: Some(schema),
        });
    }
    let formatted = words.is(1, "formatted") || words.is(1, "extended");
    let first = 1 + usize::from(formatted && words.len() > 2);
    let (name, end) = words.relation(first)?;
    words.end(end)?;
    if formatted && words.len() > 2 {
        let view = RelationView::Formatted;
        return Ok(ImpalaStatement::ShowRelation { view, name });
    }
    let table = all_of(&written(&name))?;
    Ok(ImpalaStatement::Describe { table, name })
}
