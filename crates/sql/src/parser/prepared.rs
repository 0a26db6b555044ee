//! `PREPARE`, `EXECUTE`, `DEALLOCATE`.

use sqlparser::ast::{DataType, Expr};
use sqlparser::tokenizer::Token;

use super::PREPARABLE;
use super::tokens::StatementParser;
use crate::error::ParseError;
use crate::statement::Statement;

impl StatementParser<'_> {
    pub(super) fn prepare(&mut self) -> Result<Statement, ParseError> {
        self.expect(&["PREPARE"])?;
        let name = self.name()?;
        let types = if self.eat_token(&Token::LParen) {
            let types = self.list(Self::data_type)?;
            self.expect_token(&Token::RParen)?;
            types
        } else {
            Vec::new()
        };
        self.expect(&["AS"])?;
        let statement = self.inner(|p| p.one_of(PREPARABLE, "a statement that can be prepared"))?;
        Ok(Statement::Prepare {
            name,
            types,
            statement,
        })
    }

    pub(super) fn execute(&mut self) -> Result<Statement, ParseError> {
        self.expect(&["EXECUTE"])?;
        let name = self.name()?;
        let mut params = Vec::new();
        if self.eat_token(&Token::LParen) {
            if self.peek().token != Token::RParen {
                params = self.list(Self::expression)?;
            }
            self.expect_token(&Token::RParen)?;
        }
        Ok(Statement::Execute { name, params })
    }

    pub(super) fn deallocate(&mut self) -> Result<Statement, ParseError> {
        self.expect(&["DEALLOCATE"])?;
        // A prepared statement may be called "prepare".
        if self.df.parser.peek_nth_token_ref(1).token != Token::EOF {
            self.eat(&["PREPARE"]);
        }
        let name = if self.eat(&["ALL"]) {
            None
        } else {
            Some(self.name()?)
        };
        Ok(Statement::Deallocate(name))
    }

    fn data_type(&mut self) -> Result<DataType, ParseError> {
        let parsed = self.df.parser.parse_data_type();
        self.lift(parsed)
    }

    pub(super) fn expression(&mut self) -> Result<Expr, ParseError> {
        let parsed = self.df.parser.parse_expr();
        self.lift(parsed)
    }
}
