//! Transactions, savepoints, `LOCK TABLE`.

use sqlparser::tokenizer::Token;

use super::tokens::StatementParser;
use crate::classify::LockMode;
use crate::error::ParseError;
use crate::statement::{IsolationLevel, Statement, TransactionModes};

impl StatementParser<'_> {
    pub(super) fn begin(&mut self) -> Result<Statement, ParseError> {
        let start = self.eat(&["START"]);
        if start {
            self.expect(&["TRANSACTION"])?;
        } else {
            self.expect(&["BEGIN"])?;
            self.eat_one_of(&["WORK", "TRANSACTION"]);
        }
        let (modes, _) = self.transaction_modes()?;
        Ok(Statement::Begin { start, modes })
    }

    pub(super) fn commit(&mut self) -> Result<Statement, ParseError> {
        self.next();
        let chain = self.end_of_transaction()?;
        Ok(Statement::Commit { chain })
    }

    pub(super) fn rollback(&mut self) -> Result<Statement, ParseError> {
        let rollback = self.ahead(&["ROLLBACK"]);
        self.next();
        self.eat_one_of(&["WORK", "TRANSACTION"]);
        if rollback && self.eat(&["TO"]) {
            self.eat_savepoint_word();
            return self.name().map(Statement::RollbackTo);
        }
        let chain = self.chain()?;
        Ok(Statement::Rollback { chain })
    }

    pub(super) fn savepoint(&mut self) -> Result<Statement, ParseError> {
        self.expect(&["SAVEPOINT"])?;
        self.name().map(Statement::Savepoint)
    }

    pub(super) fn release(&mut self) -> Result<Statement, ParseError> {
        self.expect(&["RELEASE"])?;
        self.eat_savepoint_word();
        self.name().map(Statement::Release)
    }

    pub(super) fn lock_table(&mut self) -> Result<Statement, ParseError> {
        self.expect(&["LOCK"])?;
        self.eat(&["TABLE"]);
        let names = self.list(|p| {
            p.eat(&["ONLY"]);
            let name = p.relation()?;
            p.eat_token(&Token::Mul);
            Ok(name)
        })?;
        let mode = if self.eat(&["IN"]) {
            let mode = self.lock_mode()?;
            self.expect(&["MODE"])?;
            mode
        } else {
            LockMode::AccessExclusive
        };
        let nowait = self.eat(&["NOWAIT"]);
        Ok(Statement::LockTable {
            names,
            mode,
            nowait,
        })
    }

    /// The modes behind `SET TRANSACTION`, at least one.
    pub(super) fn required_transaction_modes(&mut self) -> Result<TransactionModes, ParseError> {
        match self.transaction_modes()? {
            (_, 0) => self.unexpected("a transaction mode"),
            (modes, _) => Ok(modes),
        }
    }

    /// The modes, and how many there are.
    fn transaction_modes(&mut self) -> Result<(TransactionModes, usize), ParseError> {
        let mut modes = TransactionModes::default();
        let mut count = 0;
        // PostgreSQL takes commas between the modes, or nothing.
        loop {
            let comma = count > 0 && self.eat_token(&Token::Comma);
            if !self.transaction_mode(&mut modes)? {
                if comma {
                    return self.unexpected("a transaction mode");
                }
                return Ok((modes, count));
            }
            count += 1;
        }
    }

    fn transaction_mode(&mut self, modes: &mut TransactionModes) -> Result<bool, ParseError> {
        if self.eat(&["ISOLATION"]) {
            self.expect(&["LEVEL"])?;
            modes.isolation = Some(self.isolation_level()?);
        } else if self.eat(&["READ"]) {
            modes.read_only = match self.eat_one_of(&["ONLY", "WRITE"]) {
                Some(word) => Some(word == "ONLY"),
                None => return self.unexpected("ONLY or WRITE"),
            };
        } else if !self.eat(&["DEFERRABLE"]) && !self.eat(&["NOT", "DEFERRABLE"]) {
            return Ok(false);
        }
        Ok(true)
    }

    fn isolation_level(&mut self) -> Result<IsolationLevel, ParseError> {
        let levels: [(&[&str], IsolationLevel); 4] = [
            (&["SERIALIZABLE"], IsolationLevel::Serializable),
            (&["REPEATABLE", "READ"], IsolationLevel::RepeatableRead),
            (&["READ", "COMMITTED"], IsolationLevel::ReadCommitted),
            (&["READ", "UNCOMMITTED"], IsolationLevel::ReadUncommitted),
        ];
        for (words, level) in levels {
            if self.eat(words) {
                return Ok(level);
            }
        }
        self.unexpected("an isolation level")
    }

    fn end_of_transaction(&mut self) -> Result<bool, ParseError> {
        self.eat_one_of(&["WORK", "TRANSACTION"]);
        self.chain()
    }

    fn chain(&mut self) -> Result<bool, ParseError> {
        if !self.eat(&["AND"]) {
            return Ok(false);
        }
        let no = self.eat(&["NO"]);
        self.expect(&["CHAIN"])?;
        Ok(!no)
    }

    /// `SAVEPOINT` is a noise word where a name follows, and a name where nothing does.
    fn eat_savepoint_word(&mut self) {
        if self.ahead(&["SAVEPOINT"]) {
            let follows = &self.df.parser.peek_nth_token_ref(1).token;
            if *follows != Token::EOF {
                self.next();
            }
        }
    }

    fn lock_mode(&mut self) -> Result<LockMode, ParseError> {
        let modes = [
            LockMode::AccessShare,
            LockMode::AccessExclusive,
            LockMode::RowShare,
            LockMode::RowExclusive,
            LockMode::ShareUpdateExclusive,
            LockMode::ShareRowExclusive,
            LockMode::Share,
            LockMode::Exclusive,
        ];
        // Longer spellings come before the ones that they begin with.
        for mode in modes {
            let words: Vec<&str> = mode.as_str().split(' ').collect();
            if self.eat(&words) {
                return Ok(mode);
            }
        }
        self.unexpected("a lock mode")
    }
}
