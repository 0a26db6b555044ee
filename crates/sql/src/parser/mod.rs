//! Text in, statements out.
//!
//! Each statement is looked at by its leading words. What DataFusion plans goes to DataFusion's
//! parser; the rest is read here, word by word, on the same token stream. The grammar of our own
//! statements is in the files below, by topic.

mod copy;
mod cursor;
mod ddl;
mod explain;
mod prepared;
mod queue;
mod role;
mod setting;
mod tokens;
mod transaction;

#[cfg(test)]
mod tests;

use datafusion_sql::parser::Statement as DfStatement;
use sqlparser::ast::{SetExpr, Statement as SqlStatement};

use crate::dialect::BoundedDialect;
use crate::error::{NOT_SUPPORTED, ParseError, SYNTAX_ERROR};
use crate::reserved;
use crate::split;
use crate::statement::{Parsed, Statement};
use tokens::StatementParser;

/// Statements that DataFusion's parser reads whole, and its planner accepts or refuses.
///
/// A statement whose first word is neither here nor in [`StatementParser::dispatch`] is a syntax
/// error: the parser underneath knows many words of other systems.
const PLANNED: &[&str] = &[
    "SELECT", "WITH", "VALUES", "INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE", "DESCRIBE",
    "DESC", "ANALYZE", "VACUUM", "GRANT", "REVOKE", "CALL", "LISTEN", "NOTIFY",
];

/// Statements that may be prepared: what returns rows or changes them.
const PREPARABLE: &[&str] = &[
    "SELECT", "WITH", "VALUES", "INSERT", "UPDATE", "DELETE", "MERGE",
];

/// How a query may begin, apart from a parenthesis.
const QUERIES: &[&str] = &["SELECT", "WITH", "VALUES"];

/// Parses a query string into its statements, in order.
///
/// The answer is empty for a string that holds nothing but white space, comments and `;`.
///
/// # Errors
///
/// The first thing that is wrong anywhere in the string; then no statement is returned at all.
pub fn parse(text: &str) -> Result<Vec<Parsed>, ParseError> {
    parse_with(text, BoundedDialect::new)
}

/// The same with the operators that Impala has and PostgreSQL has not.
pub(crate) fn parse_impalas(text: &str) -> Result<Vec<Parsed>, ParseError> {
    parse_with(text, BoundedDialect::of_impala)
}

fn parse_with(text: &str, dialect: fn(usize) -> BoundedDialect) -> Result<Vec<Parsed>, ParseError> {
    split::split(text)?
        .into_iter()
        .map(|piece| {
            let (start, end) = (piece.start, piece.end);
            let dialect = dialect(piece.tokens.len());
            let statement = StatementParser::new(text, piece, &dialect)?.whole_statement()?;
            Ok(Parsed {
                text: text[start.byte..end.byte].trim_end().into(),
                position: start.chars,
                start: (start.line, start.column),
                statement,
            })
        })
        .collect()
}

impl StatementParser<'_> {
    fn whole_statement(&mut self) -> Result<Statement, ParseError> {
        let statement = self.dispatch()?;
        self.finish()?;
        Ok(statement)
    }

    fn dispatch(&mut self) -> Result<Statement, ParseError> {
        let Some(verb) = self.leading_word() else {
            return self.query().map(Statement::Plan);
        };
        match verb.as_str() {
            "CREATE" => self.create(),
            "DROP" => self.drop_statement(),
            "ALTER" => self.alter(),
            "EXPLAIN" => self.explain(),
            "COPY" => self.copy(),
            "BEGIN" | "START" => self.begin(),
            "COMMIT" | "END" => self.commit(),
            "ROLLBACK" | "ABORT" => self.rollback(),
            "SAVEPOINT" => self.savepoint(),
            "RELEASE" => self.release(),
            "LOCK" => self.lock_table(),
            "SET" => self.set(),
            "SHOW" => self.show(),
            "RESET" => self.reset(),
            "DISCARD" => self.discard(),
            "PREPARE" => self.prepare(),
            "EXECUTE" => self.execute(),
            "DEALLOCATE" => self.deallocate(),
            "DECLARE" => self.declare_cursor(),
            "FETCH" | "MOVE" => self.fetch(),
            "CLOSE" => self.close(),
            "UNLISTEN" => self.unlisten(),
            "COMMENT" => self.comment(),
            verb if PLANNED.contains(&verb) => self.plan().map(Statement::Plan),
            _ => self.unexpected("an SQL statement"),
        }
    }

    /// Leaves the statement to DataFusion's parser.
    fn plan(&mut self) -> Result<Box<DfStatement>, ParseError> {
        let parsed = self.df.parse_statement();
        let parsed = self.lift(parsed)?;
        if let DfStatement::Statement(statement) = &parsed
            && let Some(ident) = reserved::misused(statement)
        {
            let message = format!("syntax error at or near \"{ident}\"");
            let place = self.mark(ident.span.start).position();
            return Err(ParseError::new(SYNTAX_ERROR, message).at(place));
        }
        Ok(Box::new(parsed))
    }

    /// A query, and nothing but a query.
    fn query(&mut self) -> Result<Box<DfStatement>, ParseError> {
        let start = self.here();
        let query = self.one_of(QUERIES, "a query")?;
        if changes_data(&query) {
            let message = "a query that changes data is not supported here";
            return Err(ParseError::new(NOT_SUPPORTED, message).at(start.position()));
        }
        Ok(query)
    }

    /// A statement that begins with one of these words or with a parenthesis.
    fn one_of(&mut self, verbs: &[&str], expected: &str) -> Result<Box<DfStatement>, ParseError> {
        match self.leading_word() {
            Some(verb) if verbs.contains(&verb.as_str()) => self.plan(),
            None if self.at_left_paren() => self.plan(),
            _ => self.unexpected(expected),
        }
    }

    /// The statement inside another one (`PREPARE … AS`, `DECLARE … FOR`), with its own text.
    fn inner(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<Box<DfStatement>, ParseError>,
    ) -> Result<Box<Parsed>, ParseError> {
        let start = self.here();
        let statement = read(self)?;
        self.finish()?;
        Ok(Box::new(Parsed {
            text: self.text_from(start).into(),
            position: start.chars,
            start: (start.line, start.column),
            statement: Statement::Plan(statement),
        }))
    }

    fn unsupported<T>(&self, what: &str) -> Result<T, ParseError> {
        let message = format!("{what} is not supported");
        Err(ParseError::new(NOT_SUPPORTED, message).at(self.here().position()))
    }
}

/// Whether a statement that began like a query (`WITH … INSERT …`) is none.
fn changes_data(statement: &DfStatement) -> bool {
    let DfStatement::Statement(statement) = statement else {
        return true;
    };
    let SqlStatement::Query(query) = statement.as_ref() else {
        return true;
    };
    matches!(
        query.body.as_ref(),
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_)
    )
}
