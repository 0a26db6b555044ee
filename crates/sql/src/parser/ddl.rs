//! `CREATE`, `ALTER` and `DROP`: views, schemas, tables. Roles and resource
//! queues have files of their own.

use datafusion_sql::parser::Statement as DfStatement;
use sqlparser::tokenizer::Token;

use super::tokens::StatementParser;
use crate::error::ParseError;
use crate::statement::{CreateView, DropKind, Statement};

impl StatementParser<'_> {
    pub(super) fn create(&mut self) -> Result<Statement, ParseError> {
        if self.at_role("CREATE") {
            return self.create_role();
        }
        if self.at_queue("CREATE") {
            return self.create_queue();
        }
        if self.ahead(&["CREATE", "SCHEMA"]) {
            return self.create_schema();
        }
        if self.at_create_view() {
            return self.create_view();
        }
        match *self.plan()? {
            DfStatement::CreateExternalTable(table) => {
                Ok(Statement::CreateExternalTable(Box::new(table)))
            }
            planned => Ok(Statement::Plan(Box::new(planned))),
        }
    }

    pub(super) fn alter(&mut self) -> Result<Statement, ParseError> {
        if self.at_role("ALTER") {
            self.alter_role()
        } else if self.at_queue("ALTER") {
            self.alter_queue()
        } else {
            self.plan().map(Statement::Plan)
        }
    }

    pub(super) fn drop_statement(&mut self) -> Result<Statement, ParseError> {
        if self.at_role("DROP") {
            return self.drop_role();
        }
        if self.at_queue("DROP") {
            return self.drop_queue();
        }
        let kinds: [(&[&str], DropKind); 5] = [
            (&["DROP", "TABLE"], DropKind::Table),
            (&["DROP", "EXTERNAL", "TABLE"], DropKind::Table),
            (&["DROP", "FOREIGN", "TABLE"], DropKind::Table),
            (&["DROP", "VIEW"], DropKind::View),
            (&["DROP", "SCHEMA"], DropKind::Schema),
        ];
        for (words, kind) in kinds {
            if self.eat(words) {
                return self.drop_rest(kind);
            }
        }
        self.plan().map(Statement::Plan)
    }

    fn drop_rest(&mut self, kind: DropKind) -> Result<Statement, ParseError> {
        let if_exists = self.eat(&["IF", "EXISTS"]);
        let names = self.list(Self::relation)?;
        let cascade = self.eat_one_of(&["CASCADE", "RESTRICT"]) == Some("CASCADE");
        Ok(Statement::Drop {
            kind,
            names,
            if_exists,
            cascade,
            leaves_views: false,
        })
    }

    fn at_role(&self, verb: &str) -> bool {
        ["ROLE", "USER", "GROUP"]
            .iter()
            .any(|what| self.ahead(&[verb, what]))
            && !self.ahead(&[verb, "USER", "MAPPING"])
    }

    fn create_schema(&mut self) -> Result<Statement, ParseError> {
        self.expect(&["CREATE", "SCHEMA"])?;
        let if_not_exists = self.eat(&["IF", "NOT", "EXISTS"]);
        if self.ahead(&["AUTHORIZATION"]) {
            return self.unsupported("CREATE SCHEMA AUTHORIZATION");
        }
        let name = self.name()?;
        if self.ahead(&["AUTHORIZATION"]) {
            return self.unsupported("CREATE SCHEMA AUTHORIZATION");
        }
        Ok(Statement::CreateSchema {
            name,
            if_not_exists,
        })
    }

    fn at_create_view(&self) -> bool {
        [
            &["CREATE", "VIEW"][..],
            &["CREATE", "TEMP", "VIEW"],
            &["CREATE", "TEMPORARY", "VIEW"],
            &["CREATE", "OR", "REPLACE", "VIEW"],
            &["CREATE", "OR", "REPLACE", "TEMP", "VIEW"],
            &["CREATE", "OR", "REPLACE", "TEMPORARY", "VIEW"],
        ]
        .iter()
        .any(|words| self.ahead(words))
    }

    fn create_view(&mut self) -> Result<Statement, ParseError> {
        self.expect(&["CREATE"])?;
        let or_replace = self.eat(&["OR", "REPLACE"]);
        let temporary = self.eat_one_of(&["TEMP", "TEMPORARY"]).is_some();
        self.expect(&["VIEW"])?;
        let if_not_exists = !or_replace && self.eat(&["IF", "NOT", "EXISTS"]);
        let name = self.relation()?;
        let columns = match self.peek().token {
            Token::LParen => self.names_in_parens()?,
            _ => Vec::new(),
        };
        self.expect(&["AS"])?;
        let start = self.here();
        let body = self.query()?;
        self.finish()?;
        Ok(Statement::CreateView(CreateView {
            name,
            or_replace,
            if_not_exists,
            temporary,
            columns,
            query: stored(self.text_from(start), &body),
            body,
            original: None,
            comment: None,
        }))
    }
}

/// The text to keep of a view's query: as it was written, unless only our own parser can read it.
fn stored(text: &str, body: &DfStatement) -> String {
    let ours = text.to_ascii_uppercase().contains("SYMMETRIC");
    if ours {
        return body.to_string();
    }
    text.to_owned()
}
