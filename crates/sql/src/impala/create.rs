//! `CREATE TABLE`, `CREATE VIEW` and what changes them, as Impala writes it.

use datafusion_sql::parser::Statement as DfStatement;
use sqlparser::ast::Statement as SqlStatement;

use super::lexer::Token;
use super::make_impalas;
use super::names::Unnamed;
use super::spelling::translated;
use super::words::{Words, syntax};
use crate::error::{INVALID_PARAMETER, NOT_SUPPORTED, ParseError};
use crate::statement::{CreateTable, CreateView, DropKind, Statement, TableColumn};

/// Options of text files, by DataFusion's names.
const DELIMITER: &str = "format.delimiter";
const ESCAPE: &str = "format.escape";
const HEADER: &str = "format.has_header";

/// What separates values in a text file when nothing is said.
const USUAL_DELIMITER: &str = "\u{1}";

/// Reads the statement, if it is one of these. `text` is all that the client wrote.
pub(super) fn read(
    text: &str,
    words: &Words<'_, '_>,
    session: &str,
) -> Result<Option<Statement>, ParseError> {
    let mut reader = Reader {
        text,
        words,
        session,
        at: 0,
    };
    let statement = if reader.eat(&["create", "table"]) {
        reader.create_table(false)?
    } else if reader.eat(&["create", "external", "table"]) {
        reader.create_table(true)?
    } else if reader.eat(&["create", "view"]) {
        reader.create_view()?
    } else if reader.eat(&["alter", "view"]) {
        reader.alter_view()?
    } else if reader.eat(&["alter", "table"]) {
        reader.alter_table()?
    } else if reader.ahead(&["insert", "overwrite"]) {
        return Err(unsupported("INSERT OVERWRITE"));
    } else if reader.eat(&["truncate"]) {
        reader.truncate()?
    } else if reader.eat(&["comment", "on"]) {
        return reader.comment_on();
    } else {
        return Ok(None);
    };
    Ok(Some(statement))
}

/// Reads words from the left.
struct Reader<'a, 't, 'w> {
    text: &'w str,
    words: &'w Words<'a, 't>,
    session: &'w str,
    at: usize,
}

impl Reader<'_, '_, '_> {
    fn create_table(&mut self, external: bool) -> Result<Statement, ParseError> {
        let if_not_exists = self.eat(&["if", "not", "exists"]);
        let mut table = CreateTable {
            name: self.relation()?,
            if_not_exists,
            external,
            ..CreateTable::default()
        };
        if self.eat(&["like"]) {
            return Err(unsupported("CREATE TABLE … LIKE"));
        }
        if self.symbol('(') {
            table.columns = self.columns()?;
        }
        let mut text_options = TextOptions::default();
        while self.clause(&mut table, &mut text_options)? {}
        text_options.settle(&mut table)?;
        if self.eat(&["as"]) {
            table.query = Some(self.query()?.0);
        }
        self.words.end(self.at)?;
        Ok(Statement::CreateTable(Box::new(table)))
    }

    /// One clause behind the columns; false where there is none.
    fn clause(
        &mut self,
        table: &mut CreateTable,
        text: &mut TextOptions,
    ) -> Result<bool, ParseError> {
        if self.eat(&["partitioned", "by"]) {
            self.expect_symbol('(')?;
            table.partition_columns = self.columns()?;
        } else if self.eat(&["comment"]) {
            table.comment = Some(self.literal()?);
        } else if self.eat(&["row", "format", "delimited"]) {
            text.read(self)?;
        } else if self.eat(&["stored", "as"]) {
            table.format = Some(format(&self.name()?)?);
        } else if self.eat(&["location"]) {
            table.location = Some(self.literal()?);
        } else if self.eat(&["tblproperties"]) {
            for (name, value) in self.properties()? {
                text.property(table, name, value)?;
            }
        } else if self.eat(&["uncached"]) {
            // Nothing is.
        } else {
            let others: [(&[&str], &str); 7] = [
                (&["sort", "by"], "SORT BY"),
                (&["cached", "in"], "CACHED IN"),
                (&["with", "serdeproperties"], "WITH SERDEPROPERTIES"),
                (&["row", "format"], "ROW FORMAT other than DELIMITED"),
                (&["stored", "by"], "STORED BY"),
                (&["partition", "by"], "PARTITION BY of Kudu's tables"),
                (&["primary", "key"], "PRIMARY KEY"),
            ];
            if let Some((_, what)) = others.iter().find(|(words, _)| self.ahead(words)) {
                return Err(unsupported(what));
            }
            return Ok(false);
        }
        Ok(true)
    }

    /// Columns up to the closing parenthesis. Where no type follows a name, a query gives it.
    fn columns(&mut self) -> Result<Vec<TableColumn>, ParseError> {
        let mut columns = Vec::new();
        loop {
            if self.ahead(&["primary", "key"]) || self.ahead(&["foreign", "key"]) {
                return Err(unsupported("a key"));
            }
            let mut column = TableColumn {
                name: self.name()?,
                ..TableColumn::default()
            };
            let ends = matches!(self.peek(), Some(Token::Symbol(',' | ')')));
            if !ends && !self.ahead(&["comment"]) {
                column.data_type = self.data_type()?;
            }
            if self.eat(&["comment"]) {
                column.comment = Some(self.literal()?);
            }
            columns.push(column);
            if self.symbol(')') {
                return Ok(columns);
            }
            self.expect_symbol(',')?;
        }
    }

    fn data_type(&mut self) -> Result<String, ParseError> {
        let name = self.name()?;
        let plain = match name.as_str() {
            "string" => "TEXT",
            // SQLAlchemy says so of texts of any length.
            "varchar" if self.peek() != Some(&Token::Symbol('(')) => "TEXT",
            "boolean" => "BOOLEAN",
            "tinyint" => "TINYINT",
            "smallint" => "SMALLINT",
            "int" | "integer" => "INTEGER",
            "bigint" => "BIGINT",
            "float" => "REAL",
            "double" | "real" => {
                self.eat(&["precision"]);
                "DOUBLE PRECISION"
            }
            "timestamp" => "TIMESTAMP",
            "date" => "DATE",
            "binary" => "BYTEA",
            "decimal" | "numeric" => return self.decimal(),
            "varchar" | "char" => {
                let upper = name.to_uppercase();
                self.expect_symbol('(')?;
                let length = self.number()?;
                self.expect_symbol(')')?;
                return Ok(format!("{upper}({length})"));
            }
            "array" | "map" | "struct" => {
                return Err(unsupported(&format!("the type {}", name.to_uppercase())));
            }
            _ => {
                self.at -= 1;
                return Err(self.unexpected("a type"));
            }
        };
        Ok(plain.to_owned())
    }

    /// Without digits it has nine, and no decimals.
    fn decimal(&mut self) -> Result<String, ParseError> {
        if !self.symbol('(') {
            return Ok("DECIMAL(9,0)".to_owned());
        }
        let precision = self.number()?;
        let scale = match self.symbol(',') {
            true => self.number()?,
            false => 0,
        };
        self.expect_symbol(')')?;
        Ok(format!("DECIMAL({precision},{scale})"))
    }

    fn create_view(&mut self) -> Result<Statement, ParseError> {
        let if_not_exists = self.eat(&["if", "not", "exists"]);
        let name = self.relation()?;
        let columns = match self.symbol('(') {
            true => self.columns()?,
            false => Vec::new(),
        };
        let comment = match self.eat(&["comment"]) {
            true => Some(self.literal()?),
            false => None,
        };
        if self.eat(&["tblproperties"]) {
            self.properties()?;
        }
        self.expect(&["as"])?;
        let view = self.view(name, if_not_exists)?;
        Ok(Statement::CreateView(CreateView {
            columns: columns.into_iter().map(|column| column.name).collect(),
            comment,
            ..view
        }))
    }

    fn view(&mut self, name: Vec<String>, if_not_exists: bool) -> Result<CreateView, ParseError> {
        let (body, original) = self.query()?;
        Ok(CreateView {
            name,
            or_replace: false,
            if_not_exists,
            temporary: false,
            columns: Vec::new(),
            // What is kept is read as PostgreSQL's.
            query: body.to_string(),
            body,
            original: Some(original),
            comment: None,
        })
    }

    fn alter_view(&mut self) -> Result<Statement, ParseError> {
        let name = self.relation()?;
        if self.eat(&["as"]) {
            let view = self.view(name, false)?;
            return Ok(Statement::CreateView(CreateView {
                or_replace: true,
                ..view
            }));
        }
        self.rename(DropKind::View, name)
    }

    fn alter_table(&mut self) -> Result<Statement, ParseError> {
        let name = self.relation()?;
        if !self.ahead(&["rename", "to"]) {
            return Err(unsupported("ALTER TABLE other than RENAME TO"));
        }
        self.rename(DropKind::Table, name)
    }

    fn rename(&mut self, kind: DropKind, name: Vec<String>) -> Result<Statement, ParseError> {
        self.expect(&["rename", "to"])?;
        let new_name = self.relation()?;
        self.words.end(self.at)?;
        Ok(Statement::RenameRelation {
            kind,
            name,
            new_name,
        })
    }

    fn truncate(&mut self) -> Result<Statement, ParseError> {
        self.eat(&["table"]);
        let if_exists = self.eat(&["if", "exists"]);
        let name = self.relation()?;
        self.words.end(self.at)?;
        Ok(Statement::Truncate { name, if_exists })
    }

    /// `COMMENT ON TABLE|VIEW|COLUMN … IS …`; of what else has comments PostgreSQL's parser knows.
    fn comment_on(&mut self) -> Result<Option<Statement>, ParseError> {
        let (name, column) = if self.eat(&["table"]) || self.eat(&["view"]) {
            (self.relation()?, None)
        } else if self.eat(&["column"]) {
            let mut name = self.relation()?;
            let column = match self.symbol('.') {
                true => self.name()?,
                false => name.pop().unwrap_or_default(),
            };
            if name.is_empty() {
                return Err(syntax("a column is named with its table"));
            }
            (name, Some(column))
        } else {
            return Ok(None);
        };
        self.expect(&["is"])?;
        let comment = match self.eat(&["null"]) {
            true => None,
            false => Some(self.literal()?),
        };
        self.words.end(self.at)?;
        Ok(Some(Statement::CommentOnRelation {
            name,
            column,
            comment,
        }))
    }

    /// The query that all the rest is, as a tree and as it was written.
    fn query(&mut self) -> Result<(Box<DfStatement>, String), ParseError> {
        let Some(first) = self.words.from(self.at).first() else {
            return Err(syntax("a query is missing"));
        };
        let written = self.text[first.at..]
            .trim()
            .trim_end_matches(';')
            .trim_end();
        let mut parsed = translated(self.words, self.at).parse(self.text)?;
        self.at = self.words.len();
        let statement = parsed.pop().map(|parsed| parsed.statement);
        let (Some(Statement::Plan(mut query)), true) = (statement, parsed.is_empty()) else {
            return Err(syntax("a query is expected behind AS"));
        };
        let is_query = matches!(query.as_ref(), DfStatement::Statement(s) if matches!(s.as_ref(), SqlStatement::Query(_)));
        if !is_query {
            return Err(syntax("a query is expected behind AS"));
        }
        make_impalas(&mut query, Unnamed::Number, self.session)?;
        Ok((query, written.to_owned()))
    }

    /// `('name'='value', …)`.
    fn properties(&mut self) -> Result<Vec<(String, String)>, ParseError> {
        self.expect_symbol('(')?;
        let mut properties = Vec::new();
        loop {
            let name = self.literal()?;
            self.expect_symbol('=')?;
            properties.push((name, self.literal()?));
            if self.symbol(')') {
                return Ok(properties);
            }
            self.expect_symbol(',')?;
        }
    }

    fn peek(&self) -> Option<&Token<'_>> {
        self.words.get(self.at)
    }

    fn ahead(&self, words: &[&str]) -> bool {
        let mut words = words.iter().enumerate();
        words.all(|(i, word)| self.words.is(self.at + i, word))
    }

    fn eat(&mut self, words: &[&str]) -> bool {
        let found = self.ahead(words);
        if found {
            self.at += words.len();
        }
        found
    }

    fn expect(&mut self, words: &[&str]) -> Result<(), ParseError> {
        match self.eat(words) {
            true => Ok(()),
            false => Err(self.unexpected(&words.join(" ").to_uppercase())),
        }
    }

    fn symbol(&mut self, symbol: char) -> bool {
        let found = self.peek() == Some(&Token::Symbol(symbol));
        self.at += usize::from(found);
        found
    }

    fn expect_symbol(&mut self, symbol: char) -> Result<(), ParseError> {
        match self.symbol(symbol) {
            true => Ok(()),
            false => Err(self.unexpected(&symbol.to_string())),
        }
    }

    fn name(&mut self) -> Result<String, ParseError> {
        let name = self.peek().and_then(Token::name);
        let name = name.ok_or_else(|| self.unexpected("a name"))?;
        self.at += 1;
        Ok(name)
    }

    fn relation(&mut self) -> Result<Vec<String>, ParseError> {
        let (name, end) = self.words.relation(self.at)?;
        self.at = end;
        Ok(name)
    }

    fn literal(&mut self) -> Result<String, ParseError> {
        let Some(Token::Text(text)) = self.peek() else {
            return Err(self.unexpected("a text in quotes"));
        };
        let text = text.clone();
        self.at += 1;
        Ok(text)
    }

    fn number(&mut self) -> Result<u32, ParseError> {
        let Some(Token::Word(word)) = self.peek() else {
            return Err(self.unexpected("a number"));
        };
        let number = word.parse().map_err(|_| self.unexpected("a number"))?;
        self.at += 1;
        Ok(number)
    }

    fn unexpected(&self, wanted: &str) -> ParseError {
        let mut near = String::new();
        match self.peek() {
            Some(token) => token.write(&mut near),
            None => near.push_str("the end"),
        }
        let at = self.words.from(self.at).first().map(|placed| placed.at);
        let before = at.and_then(|at| self.text.get(..at)).unwrap_or(self.text);
        let error = syntax(&format!("{wanted} is expected at or near {near}"));
        error.at(before.chars().count() + 1)
    }
}

/// What is said of the form of text files.
#[derive(Default)]
struct TextOptions {
    delimiter: Option<String>,
    escape: Option<String>,
    null: Option<String>,
    header_lines: Option<String>,
    is_delimited: bool,
}

impl TextOptions {
    /// The rest of `ROW FORMAT DELIMITED`.
    fn read(&mut self, reader: &mut Reader<'_, '_, '_>) -> Result<(), ParseError> {
        self.is_delimited = true;
        loop {
            if reader.eat(&["fields", "terminated", "by"]) {
                self.delimiter = Some(reader.literal()?);
            } else if reader.eat(&["escaped", "by"]) {
                self.escape = Some(reader.literal()?);
            } else if reader.eat(&["lines", "terminated", "by"]) {
                if reader.literal()? != "\n" {
                    return Err(unsupported("LINES TERMINATED BY other than '\\n'"));
                }
            } else if reader.eat(&["null", "defined", "as"]) {
                self.null = Some(reader.literal()?);
            } else {
                return Ok(());
            }
        }
    }

    fn property(
        &mut self,
        table: &mut CreateTable,
        name: String,
        value: String,
    ) -> Result<(), ParseError> {
        match name.as_str() {
            "skip.header.line.count" => self.header_lines = Some(value),
            "serialization.null.format" => self.null = Some(value),
            "field.delim" => self.delimiter = Some(value),
            _ if name.starts_with("format.") => {
                table.options.insert(name, value);
            }
            _ => {
                table.properties.insert(name, value);
            }
        }
        Ok(())
    }

    /// Text files have all of it, others none.
    fn settle(self, table: &mut CreateTable) -> Result<(), ParseError> {
        if table.format.as_deref() != Some("CSV") {
            if self.is_delimited && table.format.is_some() {
                return Err(unsupported("ROW FORMAT of other than text files"));
            }
            if !self.is_delimited {
                return Ok(());
            }
            // As in Impala, who says how values are separated means text.
            table.format = Some("CSV".to_owned());
        }
        let header = match self.header_lines.as_deref() {
            None | Some("0") => "false",
            Some("1") => "true",
            Some(lines) => {
                let message = format!("skip.header.line.count is 0 or 1 here, not {lines}");
                return Err(ParseError::new(INVALID_PARAMETER, message));
            }
        };
        // The reader of text files takes an empty value for NULL, and nothing else.
        if self.null.is_some_and(|null| !null.is_empty()) {
            return Err(unsupported("another text for NULL than the empty one"));
        }
        let delimiter = self.delimiter.unwrap_or_else(|| USUAL_DELIMITER.to_owned());
        let mut set = |name: &str, value: String| {
            table.options.entry(name.to_owned()).or_insert(value);
        };
        set(HEADER, header.to_owned());
        set(DELIMITER, delimiter);
        if let Some(escape) = self.escape {
            set(ESCAPE, escape);
        }
        Ok(())
    }
}

/// DataFusion's name of a format.
fn format(name: &str) -> Result<String, ParseError> {
    Ok(match name {
        "parquet" | "parquetfile" => "PARQUET",
        "textfile" | "text" => "CSV",
        "jsonfile" => "JSON",
        "avro" => "AVRO",
        other => {
            return Err(unsupported(&format!("STORED AS {}", other.to_uppercase())));
        }
    }
    .to_owned())
}

fn unsupported(what: &str) -> ParseError {
    ParseError::new(NOT_SUPPORTED, format!("{what} is not supported"))
}

#[cfg(test)]
#[path = "create_tests.rs"]
mod tests;
