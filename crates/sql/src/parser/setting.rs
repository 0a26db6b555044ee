//! `SET`, `SHOW`, `RESET`, `DISCARD`, `UNLISTEN`.

use sqlparser::tokenizer::Token;

use super::tokens::StatementParser;
use crate::error::ParseError;
use crate::statement::{DiscardKind, Statement};

/// What DataFusion shows; everything else behind `SHOW` is a setting.
const PLANNED_SHOWS: &[&str] = &[
    "TABLES",
    "COLUMNS",
    "FUNCTIONS",
    "DATABASES",
    "SCHEMAS",
    "VIEWS",
    "CREATE",
    "FULL",
    "EXTENDED",
];

impl StatementParser<'_> {
    pub(super) fn set(&mut self) -> Result<Statement, ParseError> {
        self.expect(&["SET"])?;
        let session = self.eat(&["SESSION", "CHARACTERISTICS", "AS", "TRANSACTION"]);
        if session || self.eat(&["TRANSACTION"]) {
            let modes = self.required_transaction_modes()?;
            return Ok(Statement::SetTransaction { modes, session });
        }
        let local = match self.ahead(&["SESSION", "AUTHORIZATION"]) {
            true => false,
            false => self.eat_one_of(&["SESSION", "LOCAL"]) == Some("LOCAL"),
        };
        if self.eat(&["SESSION", "AUTHORIZATION"]) {
            let role = self.role_or("DEFAULT")?;
            return Ok(Statement::SetSessionAuthorization {
                role,
                reset: false,
                local,
            });
        }
        if self.at_set_role() {
            self.next();
            let role = self.role_or("NONE")?;
            return Ok(Statement::SetRole {
                role,
                reset: false,
                local,
            });
        }
        let (name, value) = self.assignment()?;
        Ok(set_statement(name, value, local))
    }

    /// `SET ROLE r`, but not `SET role = r` or `SET role TO r`, which are plain assignments.
    fn at_set_role(&self) -> bool {
        self.ahead(&["ROLE"])
            && !self.ahead(&["ROLE", "TO"])
            && self.df.parser.peek_nth_token_ref(1).token != Token::Eq
    }

    /// A role's name or string, or the word for having none.
    fn role_or(&mut self, none: &str) -> Result<Option<String>, ParseError> {
        if self.eat(&[none]) {
            return Ok(None);
        }
        match self.eat_string() {
            Some(role) => Ok(Some(role)),
            None => self.name().map(Some),
        }
    }

    /// A setting and its new values: what stands behind `SET` and behind `ALTER ROLE r SET`.
    pub(super) fn assignment(&mut self) -> Result<(String, Option<Vec<String>>), ParseError> {
        if self.eat(&["TIME", "ZONE"]) {
            return Ok(("timezone".to_owned(), self.time_zone()?));
        }
        if self.eat(&["NAMES"]) {
            return Ok(("client_encoding".to_owned(), self.encoding()?));
        }
        if self.ahead(&["SCHEMA"]) && matches!(self.second_token(), Token::SingleQuotedString(_)) {
            self.next();
            return Ok(("search_path".to_owned(), Some(vec![self.string()?])));
        }
        let name = self.setting_name()?;
        if !self.eat_token(&Token::Eq) && !self.eat(&["TO"]) {
            return self.unexpected("TO or =");
        }
        let value = if self.eat(&["DEFAULT"]) {
            None
        } else {
            Some(self.list(Self::setting_value)?)
        };
        Ok((name, value))
    }

    fn second_token(&self) -> &Token {
        &self.df.parser.peek_nth_token_ref(1).token
    }

    fn time_zone(&mut self) -> Result<Option<Vec<String>>, ParseError> {
        if self.eat_one_of(&["LOCAL", "DEFAULT"]).is_some() {
            return Ok(None);
        }
        if self.eat(&["INTERVAL"]) {
            let offset = self.string()?;
            self.eat(&["HOUR"]);
            if self.eat(&["TO"]) {
                self.expect(&["MINUTE"])?;
            }
            return Ok(Some(vec![offset]));
        }
        self.setting_value().map(|zone| Some(vec![zone]))
    }

    /// `SET NAMES` alone means the default.
    fn encoding(&mut self) -> Result<Option<Vec<String>>, ParseError> {
        if self.at_end() || self.eat(&["DEFAULT"]) {
            return Ok(None);
        }
        self.string().map(|name| Some(vec![name]))
    }

    fn setting_value(&mut self) -> Result<String, ParseError> {
        if let Some(text) = self.eat_string() {
            return Ok(text);
        }
        if let Some(number) = self.eat_number() {
            return Ok(number);
        }
        match self.peek().token {
            Token::Word(_) => self.name(),
            _ => self.unexpected("a value"),
        }
    }

    /// A setting's name: never sensitive to case, quoted or not.
    fn setting_name(&mut self) -> Result<String, ParseError> {
        let mut name = self.name()?;
        while self.eat_token(&Token::Period) {
            name.push('.');
            name.push_str(&self.name()?);
        }
        Ok(name.to_ascii_lowercase())
    }

    pub(super) fn show(&mut self) -> Result<Statement, ParseError> {
        if PLANNED_SHOWS.iter().any(|what| self.ahead(&["SHOW", what])) {
            return self.plan().map(Statement::Plan);
        }
        self.expect(&["SHOW"])?;
        self.setting_or_all().map(Statement::Show)
    }

    pub(super) fn reset(&mut self) -> Result<Statement, ParseError> {
        self.expect(&["RESET"])?;
        Ok(match self.setting_or_all()?.as_deref() {
            Some("role") => Statement::SetRole {
                role: None,
                reset: true,
                local: false,
            },
            Some("session_authorization") => Statement::SetSessionAuthorization {
                role: None,
                reset: true,
                local: false,
            },
            other => Statement::Reset(other.map(str::to_owned)),
        })
    }

    /// `None` is `ALL`.
    pub(super) fn setting_or_all(&mut self) -> Result<Option<String>, ParseError> {
        if self.eat(&["ALL"]) {
            return Ok(None);
        }
        let spellings: [(&[&str], &str); 3] = [
            (&["TIME", "ZONE"], "timezone"),
            (
                &["TRANSACTION", "ISOLATION", "LEVEL"],
                "transaction_isolation",
            ),
            (&["SESSION", "AUTHORIZATION"], "session_authorization"),
        ];
        for (words, name) in spellings {
            if self.eat(words) {
                return Ok(Some(name.to_owned()));
            }
        }
        self.setting_name().map(Some)
    }

    pub(super) fn discard(&mut self) -> Result<Statement, ParseError> {
        self.expect(&["DISCARD"])?;
        let kind = match self.eat_one_of(&["ALL", "PLANS", "SEQUENCES", "TEMP", "TEMPORARY"]) {
            Some("ALL") => DiscardKind::All,
            Some("PLANS") => DiscardKind::Plans,
            Some("SEQUENCES") => DiscardKind::Sequences,
            Some(_) => DiscardKind::Temp,
            None => return self.unexpected("ALL, PLANS, SEQUENCES or TEMP"),
        };
        Ok(Statement::Discard(kind))
    }

    pub(super) fn unlisten(&mut self) -> Result<Statement, ParseError> {
        self.expect(&["UNLISTEN"])?;
        if !self.eat_token(&Token::Mul) {
            self.name()?;
        }
        Ok(Statement::Unlisten)
    }
}

/// An assignment to one of the settings that stand for a role is a change of role.
fn set_statement(name: String, value: Option<Vec<String>>, local: bool) -> Statement {
    let one = |value: Option<Vec<String>>| value.and_then(|mut values| values.pop());
    match name.as_str() {
        "role" => Statement::SetRole {
            role: one(value).filter(|role| role != "none"),
            reset: false,
            local,
        },
        "session_authorization" => Statement::SetSessionAuthorization {
            role: one(value),
            reset: false,
            local,
        },
        _ => Statement::Set { name, value, local },
    }
}
