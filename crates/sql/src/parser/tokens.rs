//! The token stream of one statement, and the small words that every grammar is made of.

use std::error::Error;

use datafusion_sql::parser::{DFParser, DFParserBuilder};
use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Word};

use crate::dialect::BoundedDialect;
use crate::error::{ParseError, SYNTAX_ERROR};
use crate::limits::MAX_DEPTH;
use crate::source::Mark;
use crate::split::{Piece, shorten};

/// Parts of a name: database, schema, relation.
const MAX_NAME_PARTS: usize = 3;

/// The parser of one statement.
pub(crate) struct StatementParser<'a> {
    /// DataFusion's parser over this statement's tokens only.
    pub(crate) df: DFParser<'a>,
    dialect: &'a BoundedDialect,
    /// The whole query string.
    text: &'a str,
    start: Mark,
    code_end: Mark,
    terminator: Option<Mark>,
}

impl<'a> StatementParser<'a> {
    pub(crate) fn new(
        text: &'a str,
        piece: Piece,
        dialect: &'a BoundedDialect,
    ) -> Result<Self, ParseError> {
        let df = DFParserBuilder::new(piece.tokens)
            .with_dialect(dialect)
            .with_recursion_limit(MAX_DEPTH)
            .build()
            .map_err(|error| ParseError::new(SYNTAX_ERROR, error.to_string()))?;
        Ok(Self {
            df,
            dialect,
            text,
            start: piece.start,
            code_end: piece.code_end,
            terminator: piece.terminator,
        })
    }

    // Looking ahead.

    /// The next token, white space left out.
    pub(crate) fn peek(&self) -> &TokenWithSpan {
        self.df.parser.peek_token_ref()
    }

    /// The next token as an unquoted word in upper case.
    pub(crate) fn leading_word(&self) -> Option<String> {
        match &self.peek().token {
            Token::Word(Word {
                value,
                quote_style: None,
                ..
            }) => Some(value.to_ascii_uppercase()),
            _ => None,
        }
    }

    pub(crate) fn at_end(&self) -> bool {
        self.peek().token == Token::EOF
    }

    pub(crate) fn at_left_paren(&self) -> bool {
        self.peek().token == Token::LParen
    }

    /// Whether these unquoted words come next, in any case.
    pub(crate) fn ahead(&self, words: &[&str]) -> bool {
        words
            .iter()
            .enumerate()
            .all(|(n, word)| is_word(&self.df.parser.peek_nth_token_ref(n).token, word))
    }

    /// The place of the next token; at the end of the statement, the place behind it.
    pub(crate) fn here(&self) -> Mark {
        match self.peek() {
            token if token.token == Token::EOF => self.code_end,
            token => self.mark(token.span.start),
        }
    }

    /// The text from a place to the end of the statement, without comments behind it.
    pub(crate) fn text_from(&self, from: Mark) -> &'a str {
        &self.text[from.byte..self.code_end.byte]
    }

    // Moving on.

    pub(crate) fn next(&mut self) -> TokenWithSpan {
        self.df.parser.next_token()
    }

    /// Takes these words if they all come next.
    pub(crate) fn eat(&mut self, words: &[&str]) -> bool {
        let found = self.ahead(words);
        if found {
            words.iter().for_each(|_| self.df.parser.advance_token());
        }
        found
    }

    /// Takes one of these words, and tells which.
    pub(crate) fn eat_one_of<'w>(&mut self, words: &[&'w str]) -> Option<&'w str> {
        let found = words.iter().find(|word| self.ahead(&[word])).copied();
        if found.is_some() {
            self.df.parser.advance_token();
        }
        found
    }

    pub(crate) fn eat_token(&mut self, token: &Token) -> bool {
        self.df.parser.consume_token(token)
    }

    pub(crate) fn expect(&mut self, words: &[&str]) -> Result<(), ParseError> {
        for word in words {
            if !self.eat(&[word]) {
                return self.unexpected(word);
            }
        }
        Ok(())
    }

    pub(crate) fn expect_token(&mut self, token: &Token) -> Result<(), ParseError> {
        if self.eat_token(token) {
            Ok(())
        } else {
            self.unexpected(&token.to_string())
        }
    }

    /// Nothing may follow.
    pub(crate) fn finish(&mut self) -> Result<(), ParseError> {
        if self.at_end() {
            Ok(())
        } else {
            self.unexpected("end of statement")
        }
    }

    // Names and values.

    /// A name, folded to lower case unless it is quoted.
    pub(crate) fn name(&mut self) -> Result<String, ParseError> {
        let Token::Word(word) = &self.peek().token else {
            return self.unexpected("a name");
        };
        let name = match word.quote_style {
            None => word.value.to_ascii_lowercase(),
            Some(_) if word.value.is_empty() => {
                let message = "zero-length delimited identifier at or near \"\"\"\"";
                return Err(self.error_here(message));
            }
            Some(_) => word.value.clone(),
        };
        self.df.parser.advance_token();
        Ok(name)
    }

    /// A relation's name in up to three parts.
    pub(crate) fn relation(&mut self) -> Result<Vec<String>, ParseError> {
        let start = self.here();
        let mut parts = vec![self.name()?];
        while self.eat_token(&Token::Period) {
            parts.push(self.name()?);
        }
        if parts.len() > MAX_NAME_PARTS {
            let message = format!(
                "improper qualified name (too many dotted names): {}",
                shorten(&parts.join("."))
            );
            return Err(ParseError::new(SYNTAX_ERROR, message).at(start.position()));
        }
        Ok(parts)
    }

    /// A list of names in parentheses.
    pub(crate) fn names_in_parens(&mut self) -> Result<Vec<String>, ParseError> {
        self.expect_token(&Token::LParen)?;
        let names = self.list(Self::name)?;
        self.expect_token(&Token::RParen)?;
        Ok(names)
    }

    /// One or more of something, with commas between.
    pub(crate) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, ParseError>,
    ) -> Result<Vec<T>, ParseError> {
        let mut items = vec![item(self)?];
        while self.eat_token(&Token::Comma) {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// A string constant, if one comes next.
    pub(crate) fn eat_string(&mut self) -> Option<String> {
        let value = match &self.peek().token {
            Token::SingleQuotedString(value)
            | Token::EscapedStringLiteral(value)
            | Token::UnicodeStringLiteral(value) => value.clone(),
            Token::DollarQuotedString(quoted) => quoted.value.clone(),
            _ => return None,
        };
        self.df.parser.advance_token();
        Some(value)
    }

    pub(crate) fn string(&mut self) -> Result<String, ParseError> {
        match self.eat_string() {
            Some(value) => Ok(value),
            None => self.unexpected("a string"),
        }
    }

    /// A number with its sign, as text, if one comes next.
    pub(crate) fn eat_number(&mut self) -> Option<String> {
        let sign = match &self.peek().token {
            Token::Minus => "-",
            Token::Plus => "+",
            _ => "",
        };
        let signs = usize::from(!sign.is_empty());
        let Token::Number(digits, _) = &self.df.parser.peek_nth_token_ref(signs).token else {
            return None;
        };
        let number = format!("{}{digits}", sign.trim_start_matches('+'));
        (0..=signs).for_each(|_| self.df.parser.advance_token());
        Some(number)
    }

    /// A whole number with an optional sign, if a number comes next.
    pub(crate) fn eat_integer(&mut self) -> Result<Option<i64>, ParseError> {
        let start = self.here();
        match self.eat_number() {
            None => Ok(None),
            Some(digits) => match digits.parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => {
                    let message = format!("syntax error at or near \"{}\"", shorten(&digits));
                    Err(ParseError::new(SYNTAX_ERROR, message)
                        .with_detail(Some("Expected a whole number.".to_owned()))
                        .at(start.position()))
                }
            },
        }
    }

    pub(crate) fn integer(&mut self) -> Result<i64, ParseError> {
        match self.eat_integer()? {
            Some(number) => Ok(number),
            None => self.unexpected("a whole number"),
        }
    }

    // Errors.

    /// A syntax error at the next token.
    pub(crate) fn unexpected<T>(&self, expected: &str) -> Result<T, ParseError> {
        let token = self.peek();
        let location = (token.token != Token::EOF).then_some(token.span.start);
        Err(self.syntax_error(location, Some(expected)))
    }

    /// An error with a message of its own at the next token.
    pub(crate) fn error_here(&self, message: impl Into<String>) -> ParseError {
        ParseError::new(SYNTAX_ERROR, message).at(self.here().position())
    }

    /// Makes an error of the parsers underneath one of ours.
    pub(crate) fn lift<T, E: Error + 'static>(
        &self,
        result: Result<T, E>,
    ) -> Result<T, ParseError> {
        result.map_err(|error| match parser_error(&error) {
            _ if self.dialect.exhausted() => ParseError::too_deep(),
            Some(ParserError::RecursionLimitExceeded) => ParseError::too_deep(),
            Some(ParserError::TokenizerError(message) | ParserError::ParserError(message)) => {
                self.reword(message)
            }
            None => ParseError::new(SYNTAX_ERROR, error.to_string()),
        })
    }

    /// Rewords `Expected: this, found: that at Line: 1, Column: 8`.
    fn reword(&self, message: &str) -> ParseError {
        let (message, location) = split_location(message);
        let expected = message
            .strip_prefix("Expected")
            .and_then(|rest| rest.rsplit_once(", found: "));
        match (expected, location) {
            (Some((expected, found)), location) => {
                let expected = expected.trim_start_matches(':').trim();
                let location = location.map(|location| self.found_at(found, location));
                self.syntax_error(location, Some(expected))
            }
            (None, Some(location)) => self
                .syntax_error(Some(location), None)
                .with_detail(Some(format!("{}.", message.trim_end_matches('.')))),
            (None, None) => ParseError::new(SYNTAX_ERROR, message),
        }
    }

    /// Some errors of the parser give the place behind what they found; the word itself stands
    /// shortly before.
    fn found_at(&self, found: &str, location: Location) -> Location {
        self.tokens()
            .take_while(|token| token.span.start <= location)
            .filter(|token| token.token.to_string() == found)
            .last()
            .map_or(location, |token| token.span.start)
    }

    fn tokens(&self) -> impl Iterator<Item = &TokenWithSpan> {
        (0..)
            .map(|index| self.df.parser.token_at(index))
            .take_while(|token| token.token != Token::EOF)
    }

    /// `None` for the place means that the statement ended too early.
    fn syntax_error(&self, location: Option<Location>, expected: Option<&str>) -> ParseError {
        let (near, mark) = match location {
            Some(location) => (self.token_text(location), self.mark(location)),
            None => match self.terminator {
                Some(mark) => (";", mark),
                None => ("", self.code_end),
            },
        };
        let message = if near.is_empty() {
            "syntax error at end of input".to_owned()
        } else {
            format!("syntax error at or near \"{}\"", shorten(near))
        };
        ParseError::new(SYNTAX_ERROR, message)
            .with_detail(expected.map(|expected| format!("Expected {expected}.")))
            .at(mark.position())
    }

    pub(crate) fn mark(&self, location: Location) -> Mark {
        self.start.advance(self.text, location)
    }

    /// The token at a place as it was written.
    fn token_text(&self, location: Location) -> &'a str {
        let Some(token) = self.tokens().find(|token| token.span.start == location) else {
            return "";
        };
        let start = self.mark(location);
        let end = start.advance(self.text, token.span.end);
        &self.text[start.byte..end.byte]
    }
}

/// Whether a token is this unquoted word, in any case.
fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(Word { value, quote_style: None, .. }) if value.eq_ignore_ascii_case(word))
}

/// The parser's own error under whatever DataFusion wrapped around it.
fn parser_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e ParserError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Cuts ` at Line: 1, Column: 8` off a message.
fn split_location(message: &str) -> (&str, Option<Location>) {
    let Some((rest, place)) = message.rsplit_once(" at Line: ") else {
        return (message, None);
    };
    let location = place
        .split_once(", Column: ")
        .and_then(|(line, column)| Some((line.parse().ok()?, column.parse().ok()?)));
    match location {
        Some((line, column)) => (rest, Some(Location { line, column })),
        None => (message, None),
    }
}
