//! The pieces of a statement that are not blank, read by their numbers.

use super::lexer::{Placed, Token, quote};
use crate::error::{ParseError, SYNTAX_ERROR};

/// The tokens that are not blank, read from the left.
pub(super) struct Words<'a, 't> {
    pub(super) all: &'t [Placed<'a>],
    /// Where those stand that are not blank.
    solid: Vec<usize>,
}

impl<'a, 't> Words<'a, 't> {
    pub(super) fn new(all: &'t [Placed<'a>]) -> Self {
        let solid = (0..all.len())
            .filter(|i| !all[*i].token.is_blank())
            .collect();
        Self { all, solid }
    }

    pub(super) fn get(&self, index: usize) -> Option<&'t Token<'a>> {
        self.solid.get(index).map(|at| &self.all[*at].token)
    }

    /// The pieces from a solid one on, blank ones too.
    pub(super) fn from(&self, index: usize) -> &'t [Placed<'a>] {
        let first = self.solid.get(index).copied();
        &self.all[first.unwrap_or(self.all.len())..]
    }

    pub(super) fn len(&self) -> usize {
        self.solid.len()
    }

    /// Whether the statement begins with these words.
    pub(super) fn begin(&self, words: &[&str]) -> bool {
        let mut both = words.iter().enumerate();
        both.all(|(i, word)| self.is(i, word))
    }

    pub(super) fn is(&self, index: usize, word: &str) -> bool {
        self.get(index).is_some_and(|token| token.is_word(word))
    }

    /// A name of one or two parts from `index` on, and what comes behind it.
    pub(super) fn relation(&self, index: usize) -> Result<(Vec<String>, usize), ParseError> {
        let part = |index: usize| {
            let name = self.get(index).and_then(Token::name);
            name.ok_or_else(|| syntax("a name is missing"))
        };
        let first = part(index)?;
        if self.get(index + 1) == Some(&Token::Symbol('.')) {
            let name = vec![schema(&first).to_owned(), part(index + 2)?];
            return Ok((name, index + 3));
        }
        Ok((vec![first], index + 1))
    }

    /// The same as PostgreSQL writes it.
    pub(super) fn table(&self, index: usize) -> Result<(String, usize), ParseError> {
        let (name, end) = self.relation(index)?;
        Ok((written(&name), end))
    }

    /// `[IN database]`: the schema, and what comes behind it.
    pub(super) fn within(&self, at: usize) -> Result<(Option<String>, usize), ParseError> {
        if !self.is(at, "in") {
            return Ok((None, at));
        }
        let database = self.get(at + 1).and_then(Token::name);
        let database = database.ok_or_else(|| syntax("a database's name is missing"))?;
        Ok((Some(schema(&database).to_owned()), at + 2))
    }

    /// Nothing may stand at `index`.
    pub(super) fn end(&self, index: usize) -> Result<(), ParseError> {
        match self.get(index) {
            None => Ok(()),
            Some(token) => {
                let mut near = String::new();
                token.write(&mut near);
                Err(syntax(&format!("at or near {near}")))
            }
        }
    }
}

/// A name of several parts in PostgreSQL's spelling.
pub(super) fn written(name: &[String]) -> String {
    let mut out = String::new();
    for (index, part) in name.iter().enumerate() {
        if index > 0 {
            out.push('.');
        }
        quote(&mut out, '"', part);
    }
    out
}

/// The schema that is meant by a database's name.
pub(super) fn schema(database: &str) -> &str {
    match database {
        "default" => "public",
        other => other,
    }
}

pub(super) fn syntax(what: &str) -> ParseError {
    ParseError::new(SYNTAX_ERROR, format!("Syntax error: {what}"))
}
