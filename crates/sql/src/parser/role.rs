//! `CREATE`, `ALTER` and `DROP` for roles, which are also called users and groups.

use sqlparser::tokenizer::Token;

use super::tokens::StatementParser;
use crate::error::{INVALID_PARAMETER, OUT_OF_RANGE, ParseError, SYNTAX_ERROR};
use crate::statement::{RoleOptions, Statement};

impl StatementParser<'_> {
    pub(super) fn create_role(&mut self) -> Result<Statement, ParseError> {
        self.expect(&["CREATE"])?;
        let user = self.ahead(&["USER"]);
        self.next();
        let if_not_exists = self.eat(&["IF", "NOT", "EXISTS"]);
        let name = self.name()?;
        self.eat(&["WITH"]);
        let mut options = self.role_options()?;
        if user {
            options.login.get_or_insert(true);
        }
        Ok(Statement::CreateRole {
            name,
            options,
            if_not_exists,
        })
    }

    pub(super) fn alter_role(&mut self) -> Result<Statement, ParseError> {
        self.expect(&["ALTER"])?;
        self.next();
        if self.ahead(&["ALL", "SET"]) || self.ahead(&["ALL", "RESET"]) {
            return self.unsupported("a setting for all roles");
        }
        let name = self.name()?;
        if self.eat(&["RENAME"]) {
            self.expect(&["TO"])?;
            let new_name = self.name()?;
            return Ok(Statement::RenameRole { name, new_name });
        }
        if self.ahead(&["IN", "DATABASE"]) {
            return self.unsupported("a role's setting for one database");
        }
        if self.eat(&["SET"]) {
            let (setting, value) = self.assignment()?;
            return Ok(role_setting(name, setting, value));
        }
        if self.eat(&["RESET"]) {
            let setting = self.setting_or_all()?.unwrap_or_else(|| "all".to_owned());
            return Ok(role_setting(name, setting, None));
        }
        self.eat(&["WITH"]);
        if self.at_end() {
            return self.unexpected("a role option");
        }
        let options = self.role_options()?;
        Ok(Statement::AlterRole { name, options })
    }

    pub(super) fn drop_role(&mut self) -> Result<Statement, ParseError> {
        self.expect(&["DROP"])?;
        self.next();
        let if_exists = self.eat(&["IF", "EXISTS"]);
        let names = self.list(Self::dropped_role)?;
        Ok(Statement::DropRole { names, if_exists })
    }

    /// A role by its own name: words that stand for some role are refused.
    fn dropped_role(&mut self) -> Result<String, ParseError> {
        const SPECIAL: [&str; 4] = ["CURRENT_ROLE", "CURRENT_USER", "SESSION_USER", "PUBLIC"];
        let word = self.leading_word();
        if word.is_some_and(|word| SPECIAL.contains(&word.as_str())) {
            let message = "cannot use special role specifier in DROP ROLE";
            return Err(ParseError::new(INVALID_PARAMETER, message));
        }
        self.name()
    }

    fn role_options(&mut self) -> Result<RoleOptions, ParseError> {
        let mut options = RoleOptions::default();
        while !self.at_end() {
            self.role_option(&mut options)?;
        }
        Ok(options)
    }

    fn role_option(&mut self, options: &mut RoleOptions) -> Result<(), ParseError> {
        let start = self.here();
        let fresh = if let Some((flag, value)) = self.role_flag(options) {
            self.next();
            flag.replace(value).is_none()
        } else if self.eat(&["CONNECTION"]) {
            self.expect(&["LIMIT"])?;
            let limit = self.connection_limit()?;
            options.connection_limit.replace(limit).is_none()
        } else if self.ahead(&["PASSWORD"]) || self.ahead(&["ENCRYPTED", "PASSWORD"]) {
            let password = self.password()?;
            options.password.replace(password).is_none()
        } else if self.eat(&["VALID"]) {
            self.expect(&["UNTIL"])?;
            let until = self.string()?;
            options.valid_until.replace(until).is_none()
        } else if self.ahead(&["RESOURCE", "QUEUE"]) {
            let queue = self.role_queue()?;
            options.resource_queue.replace(queue).is_none()
        } else {
            return self.unknown_role_option();
        };
        if fresh {
            Ok(())
        } else {
            let message = "conflicting or redundant options";
            Err(ParseError::new(SYNTAX_ERROR, message).at(start.position()))
        }
    }

    /// The yes-or-no option that comes next, and whether it says yes.
    fn role_flag<'o>(&self, options: &'o mut RoleOptions) -> Option<(&'o mut Option<bool>, bool)> {
        let word = self.leading_word()?;
        let (word, value) = match word.strip_prefix("NO") {
            Some(rest) => (rest, false),
            None => (word.as_str(), true),
        };
        let flag = match word {
            "LOGIN" => &mut options.login,
            "SUPERUSER" => &mut options.superuser,
            "CREATEDB" => &mut options.create_db,
            "CREATEROLE" => &mut options.create_role,
            "INHERIT" => &mut options.inherit,
            "REPLICATION" => &mut options.replication,
            "BYPASSRLS" => &mut options.bypass_rls,
            _ => return None,
        };
        Some((flag, value))
    }

    fn connection_limit(&mut self) -> Result<i32, ParseError> {
        let start = self.here();
        let limit = self.integer()?;
        match i32::try_from(limit) {
            Ok(limit) if limit >= -1 => Ok(limit),
            _ => {
                let message = format!("invalid connection limit: {limit}");
                Err(ParseError::new(OUT_OF_RANGE, message).at(start.position()))
            }
        }
    }

    fn password(&mut self) -> Result<Option<String>, ParseError> {
        self.eat(&["ENCRYPTED"]);
        self.expect(&["PASSWORD"])?;
        if self.eat(&["NULL"]) {
            return Ok(None);
        }
        self.string().map(Some)
    }

    fn unknown_role_option(&self) -> Result<(), ParseError> {
        if self.ahead(&["UNENCRYPTED", "PASSWORD"]) {
            return self.unsupported("UNENCRYPTED PASSWORD");
        }
        let memberships = ["IN", "ROLE", "ADMIN", "USER", "ADD"];
        if memberships.iter().any(|word| self.ahead(&[word])) {
            return self.unsupported("membership in roles");
        }
        match (&self.peek().token, self.leading_word()) {
            (Token::Word(_), Some(word)) => {
                let word = word.to_ascii_lowercase();
                Err(self.error_here(format!("unrecognized role option \"{word}\"")))
            }
            _ => self.unexpected("a role option"),
        }
    }
}

fn role_setting(name: String, setting: String, value: Option<Vec<String>>) -> Statement {
    Statement::AlterRoleSet {
        name,
        setting,
        value,
    }
}
