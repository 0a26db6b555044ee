//! The dialect of Impala's clients.
//!
//! A statement is cut into words, names and texts (`lexer.rs`). Those that Impala has and PostgreSQL
//! has not are read here and become queries on the system catalog, or one of the few things that a
//! front end does itself ([`ImpalaStatement`]). All others are written down anew in PostgreSQL's
//! spelling and read by the one parser; functions and names of columns are then made those of Impala
//! (`functions.rs`).

mod builtins;
mod create;
mod dates;
mod functions;
mod insert;
mod lexer;
mod names;
mod reader;
mod reserved;
mod show;
mod spelling;
#[cfg(test)]
mod tests;
mod text_files;
mod words;

pub use builtins::impala_functions;
pub use functions::IMPALA_VERSION;
pub use insert::{PartitionedTable, partition_target, settle_partition};
pub use reserved::is_impala_word;

use std::sync::Arc;

use datafusion_sql::parser::Statement as DfStatement;
use lexer::{Placed, Token, tokens};
use names::Unnamed;
use show::{describe, show};
use spelling::translated;
use sqlparser::ast::Statement as SqlStatement;
use words::{Words, syntax};

use crate::error::ParseError;
use crate::parser::parse;
use crate::statement::{Parsed, Statement};

/// A statement of Impala's dialect.
#[derive(Debug, Clone)]
pub enum ImpalaStatement {
    /// A statement as every other.
    Sql(Arc<Parsed>),
    /// `SHOW DATABASES`, `SHOW TABLES` and their like: a look into the system catalog.
    Catalog {
        /// The query that finds what is to be shown.
        query: Arc<Parsed>,
        /// The schema that it looks into, which must be there.
        schema: Option<String>,
    },
    /// `USE database`.
    Use(String),
    /// `SET name = value`.
    SetOption {
        /// The query option.
        name: String,
        /// Its value, without quotes.
        value: String,
    },
    /// `SET` and `SET ALL`.
    ShowOptions,
    /// A statement for what needs no doing here: `INVALIDATE METADATA` and `REFRESH`. Files are
    /// looked at anew with each statement.
    Nothing {
        /// The kind of statement.
        statement_type: &'static str,
    },
    /// `COMPUTE STATS table`: a query of all the table's columns. Statistics are those of the files.
    ComputeStats(Arc<Parsed>),
    /// `DESCRIBE table`.
    Describe {
        /// A query of all the table's columns.
        table: Arc<Parsed>,
        /// The table's name, in one or two parts.
        name: Vec<String>,
    },
    /// `SHOW … table` and `DESCRIBE FORMATTED table`.
    ShowRelation {
        /// What is to be shown of it.
        view: RelationView,
        /// The table's or view's name, in one or two parts.
        name: Vec<String>,
    },
    /// `KILL QUERY 'id'`.
    KillQuery(String),
}

/// What is shown of one table or view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationView {
    /// `SHOW CREATE TABLE` and `SHOW CREATE VIEW`.
    Create,
    /// `SHOW TABLE STATS`.
    TableStats,
    /// `SHOW PARTITIONS`.
    Partitions,
    /// `SHOW COLUMN STATS`.
    ColumnStats,
    /// `SHOW FILES IN`.
    Files,
    /// `DESCRIBE FORMATTED` and `DESCRIBE EXTENDED`.
    Formatted,
}

impl RelationView {
    /// The kind of statement that shows it.
    #[must_use]
    pub fn statement_type(self) -> &'static str {
        match self {
            Self::Formatted => "DESCRIBE",
            _ => "SHOW",
        }
    }
}

/// Reads one statement, which may end with `;`, as Impala's clients write it. With it comes its text,
/// without what is blank around it. `session` is what `current_session()` gives.
///
/// # Errors
/// What is wrong with it, or that it is none or more than one.
pub fn parse_impala(text: &str, session: &str) -> Result<(Arc<str>, ImpalaStatement), ParseError> {
    let tokens = one_statement(tokens(text)?)?;
    let whole: Arc<str> = text.trim().trim_end_matches(';').trim_end().into();
    let words = Words::new(&tokens);
    let statement = match special(&words)? {
        Some(statement) => statement,
        None => match create::read(text, &words, session)? {
            Some(statement) => ImpalaStatement::Sql(whole_of(&whole, statement)),
            None => ImpalaStatement::Sql(sql(text, &whole, &words, session)?),
        },
    };
    Ok((Arc::clone(&whole), statement.with_text(&whole)))
}

impl ImpalaStatement {
    /// What was made of a client's statement carries the client's words.
    fn with_text(mut self, text: &Arc<str>) -> Self {
        if let Self::Sql(parsed)
        | Self::Catalog { query: parsed, .. }
        | Self::ComputeStats(parsed)
        | Self::Describe { table: parsed, .. } = &mut self
        {
            let mut named = Parsed::clone(parsed);
            named.text = Arc::clone(text);
            *parsed = Arc::new(named);
        }
        self
    }
}

/// The tokens up to `;`, behind which nothing may follow.
fn one_statement(mut tokens: Vec<Placed<'_>>) -> Result<Vec<Placed<'_>>, ParseError> {
    let ends = |placed: &Placed<'_>| placed.token == Token::Symbol(';');
    let end = tokens.iter().position(ends);
    if let Some(end) = end {
        let rest = tokens.split_off(end);
        let is_end = |placed: &Placed<'_>| placed.token.is_blank() || ends(placed);
        if !rest.iter().all(is_end) {
            return Err(syntax("only one statement at a time"));
        }
    }
    if tokens.iter().all(|placed| placed.token.is_blank()) {
        return Err(syntax("an empty statement"));
    }
    Ok(tokens)
}

/// The statements that PostgreSQL has not.
fn special(words: &Words<'_, '_>) -> Result<Option<ImpalaStatement>, ParseError> {
    let Some(verb) = words.get(0).and_then(Token::name) else {
        return Ok(None);
    };
    Ok(Some(match verb.as_str() {
        "use" => {
            let database = words.get(1).and_then(Token::name);
            words.end(2)?;
            ImpalaStatement::Use(database.ok_or_else(|| syntax("a database's name is missing"))?)
        }
        "set" => set(words)?,
        "show" => show(words)?,
        "describe" | "desc" => describe(words)?,
        "invalidate" if words.is(1, "metadata") => {
            if words.len() > 2 {
                let (_, end) = words.table(2)?;
                words.end(end)?;
            }
            nothing("INVALIDATE METADATA")
        }
        "refresh" => nothing("REFRESH"),
        "compute" if words.begin(&["compute", "stats"]) => {
            ImpalaStatement::ComputeStats(all_of(&words.table(2)?.0)?)
        }
        "compute" if words.begin(&["compute", "incremental", "stats"]) => {
            ImpalaStatement::ComputeStats(all_of(&words.table(3)?.0)?)
        }
        "kill" if words.is(1, "query") => match words.get(2) {
            Some(Token::Text(id)) => {
                words.end(3)?;
                ImpalaStatement::KillQuery(id.clone())
            }
            _ => return Err(syntax("the id of a query in quotes is missing")),
        },
        _ => return Ok(None),
    }))
}

fn nothing(statement_type: &'static str) -> ImpalaStatement {
    ImpalaStatement::Nothing { statement_type }
}

/// `SET`, `SET ALL`, `SET name = value`.
fn set(words: &Words<'_, '_>) -> Result<ImpalaStatement, ParseError> {
    if words.len() == 1 || (words.is(1, "all") && words.len() == 2) {
        return Ok(ImpalaStatement::ShowOptions);
    }
    let name = words.get(1).and_then(Token::name);
    let name = name.ok_or_else(|| syntax("an option's name is missing"))?;
    if words.get(2) != Some(&Token::Symbol('=')) {
        return Err(syntax("SET option=value is expected"));
    }
    let mut value = String::new();
    for index in 3..words.len() {
        match words.get(index) {
            Some(Token::Text(text)) => value.push_str(text),
            Some(token) => token.write(&mut value),
            None => {}
        }
    }
    Ok(ImpalaStatement::SetOption {
        name: name.to_uppercase(),
        value,
    })
}

/// A query of all columns.
fn all_of(table: &str) -> Result<Arc<Parsed>, ParseError> {
    query(&format!("SELECT * FROM {table}"))
}

fn query(sql: &str) -> Result<Arc<Parsed>, ParseError> {
    let parsed = parse(sql)?.pop();
    parsed
        .map(Arc::new)
        .ok_or_else(|| syntax("an empty statement"))
}

/// A statement that was read here.
fn whole_of(text: &Arc<str>, statement: Statement) -> Arc<Parsed> {
    Arc::new(Parsed {
        text: Arc::clone(text),
        position: 0,
        start: (1, 1),
        statement,
    })
}

/// Every other statement.
fn sql(
    text: &str,
    whole: &Arc<str>,
    words: &Words<'_, '_>,
    session: &str,
) -> Result<Arc<Parsed>, ParseError> {
    let mut parsed = translated(words, 0).parse(text)?;
    let (Some(mut parsed), true) = (parsed.pop(), parsed.is_empty()) else {
        return Err(syntax("one statement is expected"));
    };
    parsed.text = Arc::clone(whole);
    match &mut parsed.statement {
        Statement::Plan(statement) => {
            make_impalas(statement, Unnamed::Expression, session)?;
        }
        Statement::Explain(explain) => {
            make_impalas(&mut explain.statement, Unnamed::Expression, session)?;
        }
        Statement::Drop { leaves_views, .. } => *leaves_views = true,
        _ => {}
    }
    Ok(Arc::new(parsed))
}

/// Names columns as Impala does, and puts what is there in the place of its functions.
fn make_impalas(
    statement: &mut DfStatement,
    unnamed: Unnamed,
    session: &str,
) -> Result<(), ParseError> {
    let DfStatement::Statement(statement) = statement else {
        return Ok(());
    };
    if let SqlStatement::Query(query) = statement.as_mut() {
        names::name_columns(query, unnamed);
    }
    functions::replace(statement, session)
}
