//! `CREATE TABLE`, `CREATE VIEW` and what changes them, as Impala writes it.

use datafusion_sql::parser::Statement as DfStatement;
use sqlparser::ast::Statement as SqlStatement;

use super::lexer::Token;
use super::make_impalas;
use super::names::Unnamed;
use super::reader::Reader;
use super::spelling::translated;
use super::text_files::TextOptions;
use super::words::{Words, syntax};
use crate::error::{NOT_SUPPORTED, ParseError};
use crate::statement::{CreateTable, CreateView, DropKind, Statement, TableColumn};

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

pub(super) fn unsupported(what: &str) -> ParseError {
    ParseError::new(NOT_SUPPORTED, format!("{what} is not supported"))
}

#[cfg(test)]
#[path = "create_tests.rs"]
mod tests;
