//! Statements in PostgreSQL's spelling.

use super::lexer::Token;
use super::words::Words;
use crate::error::ParseError;
use crate::parser::parse_impalas;
use crate::statement::Parsed;

/// A statement in PostgreSQL's spelling.
pub(super) struct Spelled {
    pub(super) text: String,
    /// Where each of its solid pieces begins in it, in characters, and in what the client wrote, in
    /// bytes.
    places: Vec<(usize, usize)>,
}

impl Spelled {
    /// Reads it. An error is at its place in `written`, which is what the client wrote.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(&self, written: &str) -> Result<Vec<Parsed>, ParseError> {
        parse_impalas(&self.text).map_err(|error| ParseError {
            position: error
                .position
                .and_then(|place| self.place_in(written, place)),
            ..error
        })
    }

    /// Both places are counted in characters, from 1.
    fn place_in(&self, written: &str, place: usize) -> Option<usize> {
        let behind = self.places.partition_point(|(spelled, _)| *spelled < place);
        let (_, at) = self.places.get(behind.checked_sub(1)?)?;
        Some(written.get(..*at)?.chars().count() + 1)
    }
}

/// The statement in PostgreSQL's spelling, from its solid piece `first` on.
pub(super) fn translated(words: &Words<'_, '_>, first: usize) -> Spelled {
    let mut out = String::new();
    let mut places = Vec::new();
    let mut characters = 0;
    let mut counted = 0;
    let is_database = words.is(1, "database") && (words.is(0, "create") || words.is(0, "drop"));
    let into_table = words.begin(&["insert", "into", "table"]);
    let mut number = first;
    let pieces = match first {
        0 => words.all,
        first => words.from(first),
    };
    for placed in pieces {
        let token = &placed.token;
        if token.is_blank() {
            token.write(&mut out);
            continue;
        }
        let index = number;
        number += 1;
        characters += out[counted..].chars().count();
        counted = out.len();
        places.push((characters, placed.at));
        let qualifies = words.get(index + 1) == Some(&Token::Symbol('.'))
            && words.get(index.wrapping_sub(1)) != Some(&Token::Symbol('.'));
        if qualifies && token.name().is_some_and(|name| name == "default") {
            out.push_str("public");
        } else if token.is_word("user") && words.get(index + 1) == Some(&Token::Symbol('(')) {
            // A function there, a keyword here.
            out.push_str("\"user\"");
        } else if is_database && index == 1 {
            out.push_str("SCHEMA");
        } else if into_table && index == 2 {
            // Impala's word, which says nothing.
        } else if words.is(0, "drop") && index + 1 == words.len() && token.is_word("purge") {
            // Files are not touched at all.
        } else if let Some(spelled) = type_name(token).filter(|_| is_type(words, index)) {
            out.push_str(spelled);
        } else {
            token.write(&mut out);
        }
    }
    Spelled { text: out, places }
}

/// PostgreSQL's name of a type that is called otherwise there, or means another there.
fn type_name(token: &Token<'_>) -> Option<&'static str> {
    let names = [
        ("string", "text"),
        ("float", "real"),
        ("real", "double precision"),
    ];
    let found = names.iter().find(|(name, _)| token.is_word(name));
    found.map(|(_, spelled)| *spelled)
}

/// Whether a word stands where a type does: behind AS in a cast, or behind a column's name.
fn is_type(words: &Words<'_, '_>, index: usize) -> bool {
    let closed = matches!(words.get(index + 1), Some(Token::Symbol(')' | ',')) | None)
        || words.is(index + 1, "comment");
    let behind = index
        .checked_sub(1)
        .and_then(|before| words.get(before))
        .is_some_and(|before| before.name().is_some());
    closed && behind
}
