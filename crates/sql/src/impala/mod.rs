//! The dialect of Impala's clients.
//!
//! A statement is cut into words, names and texts (`lexer.rs`). Those that Impala has and PostgreSQL
//! has not are read here and become queries on the system catalog, or one of the few things that a
//! front end does itself ([`ImpalaStatement`]). All others are written down anew in PostgreSQL's
//! spelling and read by the one parser; functions and names of columns are then made those of Impala
//! (`functions.rs`).

mod functions;
mod lexer;

use std::sync::Arc;

use lexer::{Token, quote, tokens};

use crate::error::{NOT_SUPPORTED, ParseError, SYNTAX_ERROR};
use crate::parser::parse;
use crate::statement::{Parsed, Statement};

/// A statement of Impala's dialect.
#[derive(Debug, Clone)]
pub enum ImpalaStatement {
    /// A statement as every other.
    Sql(Arc<Parsed>),
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
    },
    /// `KILL QUERY 'id'`.
    KillQuery(String),
}

/// Reads one statement, which may end with `;`, as Impala's clients write it. With it comes its text,
/// without what is blank around it.
///
/// # Errors
/// What is wrong with it, or that it is none or more than one.
pub fn parse_impala(text: &str) -> Result<(Arc<str>, ImpalaStatement), ParseError> {
    let tokens = one_statement(tokens(text)?)?;
    let whole: Arc<str> = text.trim().trim_end_matches(';').trim_end().into();
    let words = Words::new(&tokens);
    let statement = match special(&words)? {
        Some(statement) => statement,
        None => ImpalaStatement::Sql(sql(&whole, &words)?),
    };
    Ok((Arc::clone(&whole), statement.with_text(&whole)))
}

impl ImpalaStatement {
    /// What was made of a client's statement carries the client's words.
    fn with_text(mut self, text: &Arc<str>) -> Self {
        if let Self::Sql(parsed) | Self::ComputeStats(parsed) | Self::Describe { table: parsed } =
            &mut self
        {
            let mut named = Parsed::clone(parsed);
            named.text = Arc::clone(text);
            *parsed = Arc::new(named);
        }
        self
    }
}

/// The tokens up to `;`, behind which nothing may follow.
fn one_statement(mut tokens: Vec<Token<'_>>) -> Result<Vec<Token<'_>>, ParseError> {
    let end = tokens.iter().position(|token| *token == Token::Symbol(';'));
    if let Some(end) = end {
        let rest = tokens.split_off(end);
        let ends = |token: &Token<'_>| token.is_blank() || *token == Token::Symbol(';');
        if !rest.iter().all(ends) {
            return Err(syntax("only one statement at a time"));
        }
    }
    if tokens.iter().all(Token::is_blank) {
        return Err(syntax("an empty statement"));
    }
    Ok(tokens)
}

/// The tokens that are not blank, read from the left.
struct Words<'a, 't> {
    all: &'t [Token<'a>],
    /// Where those stand that are not blank.
    solid: Vec<usize>,
}

impl<'a, 't> Words<'a, 't> {
    fn new(all: &'t [Token<'a>]) -> Self {
        let solid = (0..all.len()).filter(|i| !all[*i].is_blank()).collect();
        Self { all, solid }
    }

    fn get(&self, index: usize) -> Option<&'t Token<'a>> {
        self.solid.get(index).map(|at| &self.all[*at])
    }

    fn len(&self) -> usize {
        self.solid.len()
    }

    /// Whether the statement begins with these words.
    fn begin(&self, words: &[&str]) -> bool {
        let mut both = words.iter().enumerate();
        both.all(|(i, word)| self.is(i, word))
    }

    fn is(&self, index: usize, word: &str) -> bool {
        self.get(index).is_some_and(|token| token.is_word(word))
    }

    /// A name of one or two parts from `index` on, and what comes behind it.
    fn table(&self, index: usize) -> Result<(String, usize), ParseError> {
        let part = |index: usize| {
            let name = self.get(index).and_then(Token::name);
            name.ok_or_else(|| syntax("a name is missing"))
        };
        let mut name = String::new();
        let first = part(index)?;
        if self.get(index + 1) == Some(&Token::Symbol('.')) {
            quote(&mut name, '"', schema(&first));
            name.push('.');
            quote(&mut name, '"', &part(index + 2)?);
            return Ok((name, index + 3));
        }
        quote(&mut name, '"', &first);
        Ok((name, index + 1))
    }

    /// Nothing may stand at `index`.
    fn end(&self, index: usize) -> Result<(), ParseError> {
        match self.get(index) {
            None => Ok(()),
            Some(token) => {
                let mut near = String::new();
                token.write(&mut near);
                Err(syntax(&format!("at or near {near}")))
            }
        }
    }
}

/// The schema that is meant by a database's name.
fn schema(database: &str) -> &str {
    match database {
        "default" => "public",
        other => other,
    }
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

/// Impala's name of a schema, in a query.
const DATABASE: &str = "CASE schema_name WHEN 'public' THEN 'default' ELSE schema_name END";

fn show(words: &Words<'_, '_>) -> Result<ImpalaStatement, ParseError> {
    let sql = if words.is(1, "databases") || words.is(1, "schemas") {
        let like = like(words, 2, DATABASE)?;
        format!(
            "SELECT {DATABASE} AS name, '' AS comment FROM information_schema.schemata \
             WHERE {like} ORDER BY 1"
        )
    } else if words.is(1, "tables") || words.is(1, "views") {
        let (within, next) = match words.is(2, "in") {
            true => {
                let database = words.get(3).and_then(Token::name);
                let database = database.ok_or_else(|| syntax("a database's name is missing"))?;
                let mut literal = String::new();
                quote(&mut literal, '\'', schema(&database));
                (literal, 4)
            }
            false => ("current_schema()".to_owned(), 2),
        };
        let like = like(words, next, "table_name")?;
        let views = match words.is(1, "views") {
            true => " AND table_type = 'VIEW'",
            false => "",
        };
        format!(
            "SELECT table_name AS name FROM information_schema.tables \
             WHERE table_schema = {within} AND {like}{views} ORDER BY 1"
        )
    } else if words.is(1, "roles") {
        words.end(2)?;
        "SELECT rolname AS role_name FROM pg_catalog.pg_roles ORDER BY 1".to_owned()
    } else if words.is(1, "current") && words.is(2, "roles") {
        words.end(3)?;
        "SELECT current_user AS role_name".to_owned()
    } else {
        let message = "this SHOW statement is not supported";
        return Err(ParseError::new(NOT_SUPPORTED, message).with_detail(Some(
            "There are SHOW DATABASES, TABLES, VIEWS and ROLES.".to_owned(),
        )));
    };
    Ok(ImpalaStatement::Sql(query(&sql)?))
}

/// The condition of `[LIKE] 'pattern'`, in which `*` is any text and `|` separates alternatives.
fn like(words: &Words<'_, '_>, at: usize, column: &str) -> Result<String, ParseError> {
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
    let mut literal = String::new();
    quote(&mut literal, '\'', &expression);
    Ok(format!("({column}) ~ {literal}"))
}

/// `DESCRIBE [FORMATTED|EXTENDED] table`, `DESCRIBE DATABASE name`.
fn describe(words: &Words<'_, '_>) -> Result<ImpalaStatement, ParseError> {
    if words.is(1, "database") && words.len() > 2 {
        let database = words.get(2).and_then(Token::name).unwrap_or_default();
        words.end(3)?;
        let mut literal = String::new();
        quote(&mut literal, '\'', schema(&database));
        return Ok(ImpalaStatement::Sql(query(&format!(
            "SELECT {DATABASE} AS name, '' AS location, '' AS comment \
             FROM information_schema.schemata WHERE schema_name = {literal}"
        ))?));
    }
    let formatted = words.is(1, "formatted") || words.is(1, "extended");
    let first = 1 + usize::from(formatted && words.len() > 2);
    let (table, end) = words.table(first)?;
    words.end(end)?;
    Ok(ImpalaStatement::Describe {
        table: all_of(&table)?,
    })
}

/// Every other statement.
fn sql(whole: &Arc<str>, words: &Words<'_, '_>) -> Result<Arc<Parsed>, ParseError> {
    let mut parsed = parse(&translated(words))?;
    let (Some(mut parsed), true) = (parsed.pop(), parsed.is_empty()) else {
        return Err(syntax("one statement is expected"));
    };
    parsed.text = Arc::clone(whole);
    if let Statement::Plan(statement) = &mut parsed.statement {
        functions::make_impalas(statement)?;
    }
    if let Statement::Explain(explain) = &mut parsed.statement {
        functions::make_impalas(&mut explain.statement)?;
    }
    Ok(Arc::new(parsed))
}

/// The statement in PostgreSQL's spelling.
fn translated(words: &Words<'_, '_>) -> String {
    let mut out = String::new();
    let is_database = words.is(1, "database") && (words.is(0, "create") || words.is(0, "drop"));
    let into_table = words.begin(&["insert", "into", "table"]);
    let mut number = 0;
    for token in words.all {
        if token.is_blank() {
            token.write(&mut out);
            continue;
        }
        let index = number;
        number += 1;
        let qualifies = words.get(index + 1) == Some(&Token::Symbol('.'))
            && words.get(index.wrapping_sub(1)) != Some(&Token::Symbol('.'));
        if qualifies && token.name().is_some_and(|name| name == "default") {
            out.push_str("public");
        } else if token.is_word("user") && words.get(index + 1) == Some(&Token::Symbol('(')) {
            // A function there, a keyword here.
            out.push_str("\"user\"");
        } else if is_database && index == 1 {
            out.push_str("SCHEMA");
        } else if into_table && index == 2 {
            // Impala's word, which says nothing.
        } else if words.is(0, "drop") && index + 1 == words.len() && token.is_word("purge") {
            // Files are not touched at all.
        } else if token.is_word("string") && is_type(words, index) {
            out.push_str("text");
        } else {
            token.write(&mut out);
        }
    }
    out
}

/// Whether a word stands where a type does: behind AS in a cast, or behind a column's name.
fn is_type(words: &Words<'_, '_>, index: usize) -> bool {
    let closed = matches!(words.get(index + 1), Some(Token::Symbol(')' | ',')) | None)
        || words.is(index + 1, "comment");
    let behind = index
        .checked_sub(1)
        .and_then(|before| words.get(before))
        .is_some_and(|before| before.name().is_some());
    closed && behind
}

fn syntax(what: &str) -> ParseError {
    ParseError::new(SYNTAX_ERROR, format!("Syntax error: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> ImpalaStatement {
        match parse_impala(text) {
            Ok((_, statement)) => statement,
            Err(error) => panic!("{text}: {error}"),
        }
    }

    fn sql_of(text: &str) -> String {
        let all = tokens(text).unwrap();
        let all = one_statement(all).unwrap();
        translated(&Words::new(&all))
    }

    #[test]
    fn statements_are_written_in_postgresqls_spelling() {
        for (text, expected) in [
            ("select `a` from default.t;", "select \"a\" from public.t"),
            ("select * from `default`.`T`", "select * from public.\"t\""),
            (
                "create database if not exists d",
                "create SCHEMA if not exists d",
            ),
            ("drop table t purge", "drop table t "),
            (
                "insert into table t values (\"x\")",
                "insert into  t values ('x')",
            ),
            (
                "select cast(a as string), string from t",
                "select cast(a as text), string from t",
            ),
            (
                "create table t (a string, b int)",
                "create table t (a text, b int)",
            ),
            ("select x.default.y", "select x.default.y"),
        ] {
            assert_eq!(sql_of(text), expected);
        }
    }

    #[test]
    fn texts_are_the_clients() {
        let (text, statement) = parse_impala("  /* hint */ show tables ;\n").unwrap();
        assert_eq!(&*text, "/* hint */ show tables");
        let ImpalaStatement::Sql(parsed) = statement else {
            panic!("{statement:?}");
        };
        assert_eq!(parsed.text, text);
    }

    #[test]
    fn options_are_set_and_shown() {
        assert!(matches!(read("set"), ImpalaStatement::ShowOptions));
        assert!(matches!(read("SET all;"), ImpalaStatement::ShowOptions));
        for (text, name, value) in [
            ("set mem_limit=2g", "MEM_LIMIT", "2g"),
            ("SET `request_pool` = \"a b\";", "REQUEST_POOL", "a b"),
            ("set x=", "X", ""),
            ("set x = -1", "X", "-1"),
        ] {
            match read(text) {
                ImpalaStatement::SetOption { name: n, value: v } => {
                    assert_eq!((n.as_str(), v.as_str()), (name, value));
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_impala_has_alone_is_read() {
        assert!(matches!(read("use `Default`"), ImpalaStatement::Use(name) if name == "default"));
        assert!(matches!(
            read("describe formatted d.t"),
            ImpalaStatement::Describe { .. }
        ));
        assert!(matches!(read("desc t"), ImpalaStatement::Describe { .. }));
        assert!(matches!(
            read("invalidate metadata"),
            ImpalaStatement::Nothing { .. }
        ));
        assert!(matches!(
            read("refresh d.t"),
            ImpalaStatement::Nothing { .. }
        ));
        assert!(matches!(
            read("compute stats t"),
            ImpalaStatement::ComputeStats(_)
        ));
        assert!(matches!(read("kill query 'a:b'"), ImpalaStatement::KillQuery(id) if id == "a:b"));
        for text in [
            "show databases like 'a*|b'",
            "show tables in d 'x*'",
            "show schemas",
            "show roles",
        ] {
            assert!(matches!(read(text), ImpalaStatement::Sql(_)), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for (text, sqlstate) in [
            ("", SYNTAX_ERROR),
            (" ; ", SYNTAX_ERROR),
            ("select 1; select 2", SYNTAX_ERROR),
            ("use", SYNTAX_ERROR),
            ("use a b", SYNTAX_ERROR),
            ("set x", SYNTAX_ERROR),
            ("selec 1", SYNTAX_ERROR),
            ("show partitions t", NOT_SUPPORTED),
            ("kill query 5", SYNTAX_ERROR),
            ("describe", SYNTAX_ERROR),
        ] {
            match parse_impala(text) {
                Err(error) => assert_eq!(error.sqlstate, sqlstate, "{text}: {error}"),
                Ok(read) => panic!("{text}: {read:?}"),
            }
        }
    }
}
