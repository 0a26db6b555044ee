//! Statements in PostgreSQL's spelling.

use super::lexer::Token;
use super::words::Words;

/// The statement in PostgreSQL's spelling, from its solid piece `first` on.
pub(super) fn translated(words: &Words<'_, '_>, first: usize) -> String {
    let mut out = String::new();
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
    out
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
