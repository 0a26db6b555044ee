//! Statements in PostgreSQL's spelling.

use super::lexer::Token;
use super::words::Words;

/// The statement in PostgreSQL's spelling.
pub(super) fn translated(words: &Words<'_, '_>) -> String {
    let mut out = String::new();
    let is_database = words.is(1, "database") && (words.is(0, "create") || words.is(0, "drop"));
    let into_table = words.begin(&["insert", "into", "table"]);
    let mut number = 0;
    for token in words.all {
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
        } else if token.is_word("string") && is_type(words, index) {
            out.push_str("text");
        } else {
            token.write(&mut out);
        }
    }
    out
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
