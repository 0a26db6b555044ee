//! `EXPLAIN`, in two spellings: words (`EXPLAIN ANALYZE VERBOSE q`) and a list of options
//! (`EXPLAIN (ANALYZE, FORMAT json) q`).

use sqlparser::tokenizer::Token;

use super::tokens::StatementParser;
use crate::error::{ParseError, SYNTAX_ERROR};
use crate::statement::{Explain, Statement};

/// What can be explained.
const EXPLAINABLE: &[&str] = &[
    "SELECT", "WITH", "VALUES", "INSERT", "UPDATE", "DELETE", "MERGE", "CREATE", "EXECUTE", "COPY",
];

/// PostgreSQL's other options: understood, without effect on a plan of DataFusion.
const IGNORED: &[&str] = &[
    "settings",
    "generic_plan",
    "buffers",
    "wal",
    "timing",
    "summary",
    "memory",
    "serialize",
];

struct Options {
    analyze: bool,
    verbose: bool,
    costs: bool,
    format: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            analyze: false,
            verbose: false,
            costs: true,
            format: None,
        }
    }
}

impl StatementParser<'_> {
    pub(super) fn explain(&mut self) -> Result<Statement, ParseError> {
        self.expect(&["EXPLAIN"])?;
        let options = if self.at_option_list() {
            self.option_list()?
        } else {
            self.option_words()?
        };
        let statement = self.one_of(EXPLAINABLE, "a statement that can be explained")?;
        Ok(Statement::Explain(Explain {
            analyze: options.analyze,
            verbose: options.verbose,
            costs: options.costs,
            format: options.format,
            statement,
        }))
    }

    /// Behind a parenthesis stands a list of options unless a query begins there.
    fn at_option_list(&self) -> bool {
        self.at_left_paren()
            && match &self.df.parser.peek_nth_token_ref(1).token {
                Token::Word(word) => {
                    let word = word.value.to_ascii_uppercase();
                    !super::QUERIES.contains(&word.as_str())
                }
                _ => false,
            }
    }

    fn option_words(&mut self) -> Result<Options, ParseError> {
        let analyze = self.eat(&["ANALYZE"]) || self.eat(&["ANALYSE"]);
        let verbose = self.eat(&["VERBOSE"]);
        let format = if self.eat(&["FORMAT"]) {
            Some(self.word_or_string()?)
        } else {
            None
        };
        Ok(Options {
            analyze,
            verbose,
            format,
            ..Options::default()
        })
    }

    fn option_list(&mut self) -> Result<Options, ParseError> {
        let mut options = Options::default();
        self.expect_token(&Token::LParen)?;
        self.list(|p| p.explain_option(&mut options))?;
        self.expect_token(&Token::RParen)?;
        Ok(options)
    }

    fn explain_option(&mut self, options: &mut Options) -> Result<(), ParseError> {
        let start = self.here();
        let name = self.name()?;
        match name.as_str() {
            "analyze" | "analyse" => options.analyze = self.switch("ANALYZE")?,
            "verbose" => options.verbose = self.switch("VERBOSE")?,
            "costs" => options.costs = self.switch("COSTS")?,
            "format" => options.format = Some(self.word_or_string()?),
            name if IGNORED.contains(&name) => self.skip_option_value(),
            name => {
                let message = format!("unrecognized EXPLAIN option \"{name}\"");
                return Err(ParseError::new(SYNTAX_ERROR, message).at(start.position()));
            }
        }
        Ok(())
    }

    /// A yes or no behind an option; nothing means yes.
    pub(super) fn switch(&mut self, option: &str) -> Result<bool, ParseError> {
        if matches!(self.peek().token, Token::Comma | Token::RParen) {
            return Ok(true);
        }
        let start = self.here();
        let value = match self.eat_number() {
            Some(number) => number,
            None => self.word_or_string()?,
        };
        match value.as_str() {
            "true" | "on" | "1" => Ok(true),
            "false" | "off" | "0" => Ok(false),
            _ => {
                let message = format!("{option} requires a Boolean value");
                Err(ParseError::new(SYNTAX_ERROR, message).at(start.position()))
            }
        }
    }

    fn skip_option_value(&mut self) {
        if !matches!(self.peek().token, Token::Comma | Token::RParen | Token::EOF) {
            self.next();
        }
    }

    /// A word or a string, in lower case.
    pub(super) fn word_or_string(&mut self) -> Result<String, ParseError> {
        let text = match self.eat_string() {
            Some(text) => text,
            None => self.name()?,
        };
        Ok(text.to_ascii_lowercase())
    }
}
