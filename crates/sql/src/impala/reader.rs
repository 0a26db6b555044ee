//! The words of a statement, read from the left.

use super::lexer::Token;
use super::words::{Words, syntax};
use crate::error::ParseError;

/// Reads words from the left.
pub(super) struct Reader<'a, 't, 'w> {
    /// All that the client wrote.
    pub(super) text: &'w str,
    pub(super) words: &'w Words<'a, 't>,
    /// What `current_session()` gives.
    pub(super) session: &'w str,
    /// The word that comes next.
    pub(super) at: usize,
}

impl Reader<'_, '_, '_> {
    /// `('name'='value', …)`.
    pub(super) fn properties(&mut self) -> Result<Vec<(String, String)>, ParseError> {
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

    /// The next word, which is not read yet.
    pub(super) fn peek(&self) -> Option<&Token<'_>> {
        self.words.get(self.at)
    }

    /// Whether these words come next.
    pub(super) fn ahead(&self, words: &[&str]) -> bool {
        let mut words = words.iter().enumerate();
        words.all(|(i, word)| self.words.is(self.at + i, word))
    }

    /// Reads these words, if they come next.
    pub(super) fn eat(&mut self, words: &[&str]) -> bool {
        let found = self.ahead(words);
        if found {
            self.at += words.len();
        }
        found
    }

    /// Reads these words, which must come next.
    pub(super) fn expect(&mut self, words: &[&str]) -> Result<(), ParseError> {
        match self.eat(words) {
            true => Ok(()),
            false => Err(self.unexpected(&words.join(" ").to_uppercase())),
        }
    }

    /// Reads this symbol, if it comes next.
    pub(super) fn symbol(&mut self, symbol: char) -> bool {
        let found = self.peek() == Some(&Token::Symbol(symbol));
        self.at += usize::from(found);
        found
    }

    /// Reads this symbol, which must come next.
    pub(super) fn expect_symbol(&mut self, symbol: char) -> Result<(), ParseError> {
        match self.symbol(symbol) {
            true => Ok(()),
            false => Err(self.unexpected(&symbol.to_string())),
        }
    }

    /// A name, in back-ticks or without.
    pub(super) fn name(&mut self) -> Result<String, ParseError> {
        let name = self.peek().and_then(Token::name);
        let name = name.ok_or_else(|| self.unexpected("a name"))?;
        self.at += 1;
        Ok(name)
    }

    /// A name of one or two parts.
    pub(super) fn relation(&mut self) -> Result<Vec<String>, ParseError> {
        let (name, end) = self.words.relation(self.at)?;
        self.at = end;
        Ok(name)
    }

    /// A text in quotes.
    pub(super) fn literal(&mut self) -> Result<String, ParseError> {
        let Some(Token::Text(text)) = self.peek() else {
            return Err(self.unexpected("a text in quotes"));
        };
        let text = text.clone();
        self.at += 1;
        Ok(text)
    }

    /// A whole number.
    pub(super) fn number(&mut self) -> Result<u32, ParseError> {
        let Some(Token::Word(word)) = self.peek() else {
            return Err(self.unexpected("a number"));
        };
        let number = word.parse().map_err(|_| self.unexpected("a number"))?;
        self.at += 1;
        Ok(number)
    }

    /// What is said of a word that has no place there.
    pub(super) fn unexpected(&self, wanted: &str) -> ParseError {
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
