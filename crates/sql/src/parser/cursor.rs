//! `DECLARE`, `FETCH`, `MOVE`, `CLOSE`.

use sqlparser::tokenizer::Token;

use super::tokens::StatementParser;
use crate::error::ParseError;
use crate::statement::{Fetch, FetchDirection, Statement};

/// The words that give `FETCH` a direction, unless they are the cursor's name.
const DIRECTIONS: &[&str] = &[
    "NEXT", "PRIOR", "FIRST", "LAST", "ABSOLUTE", "RELATIVE", "ALL", "FORWARD", "BACKWARD",
];

/// What stands between a cursor's name and `CURSOR`.
#[derive(Default)]
struct CursorOptions {
    binary: bool,
    scroll: Option<bool>,
}

impl StatementParser<'_> {
    pub(super) fn declare_cursor(&mut self) -> Result<Statement, ParseError> {
        self.expect(&["DECLARE"])?;
        let name = self.name()?;
        let CursorOptions { binary, scroll } = self.cursor_options()?;
        let hold = self.hold()?;
        self.expect(&["FOR"])?;
        let query = self.inner(Self::query)?;
        Ok(Statement::DeclareCursor {
            name,
            hold,
            scroll,
            binary,
            query,
        })
    }

    fn cursor_options(&mut self) -> Result<CursorOptions, ParseError> {
        let mut options = CursorOptions::default();
        while !self.eat(&["CURSOR"]) {
            if self.eat(&["BINARY"]) {
                options.binary = true;
            } else if self.eat(&["NO", "SCROLL"]) {
                options.scroll = Some(false);
            } else if self.eat(&["SCROLL"]) {
                options.scroll = Some(true);
            } else if self.eat_one_of(&["INSENSITIVE", "ASENSITIVE"]).is_none() {
                // Both words describe what every cursor here does anyway.
                return self.unexpected("CURSOR");
            }
        }
        Ok(options)
    }

    fn hold(&mut self) -> Result<bool, ParseError> {
        match self.eat_one_of(&["WITH", "WITHOUT"]) {
            None => Ok(false),
            Some(word) => {
                self.expect(&["HOLD"])?;
                Ok(word == "WITH")
            }
        }
    }

    pub(super) fn fetch(&mut self) -> Result<Statement, ParseError> {
        let mv = self.ahead(&["MOVE"]);
        self.next();
        let direction = self.fetch_direction()?;
        self.eat_one_of(&["FROM", "IN"]);
        let cursor = self.name()?;
        Ok(Statement::Fetch(Fetch {
            cursor,
            direction,
            mv,
        }))
    }

    fn fetch_direction(&mut self) -> Result<FetchDirection, ParseError> {
        if let Some(rows) = self.eat_integer()? {
            return Ok(FetchDirection::Forward(rows));
        }
        // With nothing behind it, the word is the cursor's name.
        if self.df.parser.peek_nth_token_ref(1).token == Token::EOF {
            return Ok(FetchDirection::Next);
        }
        Ok(match self.eat_one_of(DIRECTIONS) {
            None | Some("NEXT") => FetchDirection::Next,
            Some("PRIOR") => FetchDirection::Prior,
            Some("FIRST") => FetchDirection::First,
            Some("LAST") => FetchDirection::Last,
            Some("ALL") => FetchDirection::ForwardAll,
            Some("ABSOLUTE") => FetchDirection::Absolute(self.integer()?),
            Some("RELATIVE") => FetchDirection::Relative(self.integer()?),
            Some("BACKWARD") => match (self.eat(&["ALL"]), self.eat_integer()?) {
                (true, _) => FetchDirection::BackwardAll,
                (false, rows) => FetchDirection::Backward(rows.unwrap_or(1)),
            },
            Some(_) => match (self.eat(&["ALL"]), self.eat_integer()?) {
                (true, _) => FetchDirection::ForwardAll,
                (false, rows) => FetchDirection::Forward(rows.unwrap_or(1)),
            },
        })
    }

    pub(super) fn close(&mut self) -> Result<Statement, ParseError> {
        self.expect(&["CLOSE"])?;
        if self.eat(&["ALL"]) {
            return Ok(Statement::Close(None));
        }
        self.name().map(|name| Statement::Close(Some(name)))
    }
}
