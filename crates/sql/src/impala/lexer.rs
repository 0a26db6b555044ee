//! Words, names and texts of Impala's SQL, and how they are written in PostgreSQL's.

use crate::error::{ParseError, SYNTAX_ERROR};

/// A piece of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// White space or a comment.
    Blank(&'a str),
    /// A word or a number.
    Word(&'a str),
    /// A name in back-ticks, without them, in lower case: names are the same in any case.
    Name(String),
    /// A text in either kind of quotes, as it is meant.
    Text(String),
    /// Any other character.
    Symbol(char),
}

impl Token<'_> {
    pub(super) fn is_blank(&self) -> bool {
        matches!(self, Self::Blank(_))
    }

    /// Whether it is this word, in any case.
    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self, Self::Word(text) if text.eq_ignore_ascii_case(word))
    }

    /// The name that it is, in lower case.
    pub(super) fn name(&self) -> Option<String> {
        match self {
            Self::Word(word) => Some(word.to_lowercase()),
            Self::Name(name) => Some(name.clone()),
            _ => None,
        }
    }

    /// Appends it in PostgreSQL's spelling.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Blank(text) | Self::Word(text) => out.push_str(text),
            Self::Name(name) => quote(out, '"', name),
            Self::Text(text) => quote(out, '\'', text),
            Self::Symbol(symbol) => out.push(*symbol),
        }
    }
}

/// A piece of a statement, and where it begins in the text, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed<'a> {
    pub(super) token: Token<'a>,
    pub(super) at: usize,
}

/// Appends `text` in quotes.
pub(super) fn quote(out: &mut String, mark: char, text: &str) {
    out.push(mark);
    for c in text.chars() {
        if c == mark {
            out.push(mark);
        }
        out.push(c);
    }
    out.push(mark);
}

/// Cuts a statement into its pieces.
///
/// # Errors
/// A comment, name or text without its end.
pub(super) fn tokens(text: &str) -> Result<Vec<Placed<'_>>, ParseError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            _ if first.is_whitespace() => {
                let length = run(rest, char::is_whitespace);
                (Token::Blank(&rest[..length]), length)
            }
            '-' if rest.starts_with("--") => {
                let length = rest.find('\n').unwrap_or(rest.len());
                (Token::Blank(&rest[..length]), length)
            }
            '/' if rest.starts_with("/*") => {
                let end = rest.find("*/").ok_or_else(|| unterminated("comment"))?;
                (Token::Blank(&rest[..end + 2]), end + 2)
            }
            '`' => {
                let end = rest[1..]
                    .find('`')
                    .ok_or_else(|| unterminated("name in back-ticks"))?;
                (Token::Name(rest[1..=end].to_lowercase()), end + 2)
            }
            '\'' | '"' => {
                let (meant, length) = quoted(rest, first)?;
                (Token::Text(meant), length)
            }
            _ if is_word(first) => {
                let length = word(rest);
                (Token::Word(&rest[..length]), length)
            }
            symbol => (Token::Symbol(symbol), symbol.len_utf8()),
        };
        let at = text.len() - rest.len();
        tokens.push(Placed { token, at });
        rest = &rest[length..];
    }
    Ok(tokens)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Bytes of a word, or of a number with its point.
fn word(text: &str) -> usize {
    let length = run(text, is_word);
    let is_number = text.starts_with(|c: char| c.is_ascii_digit());
    match text[length..].strip_prefix('.') {
        Some(behind) if is_number => length + 1 + run(behind, is_word),
        _ => length,
    }
}

fn run(text: &str, part: impl Fn(char) -> bool) -> usize {
    text.find(|c| !part(c)).unwrap_or(text.len())
}

/// A text in quotes, with its escapes carried out, and how many bytes it takes.
fn quoted(text: &str, mark: char) -> Result<(String, usize), ParseError> {
    let mut meant = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some((at, _)) if octal(&text[at..]).is_some() => {
                    meant.extend(octal(&text[at..]));
                    characters.nth(1);
                }
                Some((_, escaped)) => push_escaped(&mut meant, escaped),
                None => break,
            },
            // Twice is once inside.
            c if c == mark && characters.peek().is_some_and(|(_, next)| *next == mark) => {
                characters.next();
                meant.push(mark);
            }
            c if c == mark => return Ok((meant, at + 1)),
            c => meant.push(c),
        }
    }
    Err(unterminated("text in quotes"))
}

/// The character of three octal digits, as `\001` is written.
fn octal(text: &str) -> Option<char> {
    let digits = text.get(..3)?;
    let digits = digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then_some(digits)?;
    u8::from_str_radix(digits, 8).ok().map(char::from)
}

fn push_escaped(meant: &mut String, escaped: char) {
    match escaped {
        'b' => meant.push('\u{8}'),
        't' => meant.push('\t'),
        'n' => meant.push('\n'),
        'r' => meant.push('\r'),
        'Z' => meant.push('\u{1a}'),
        '0' => meant.push('\0'),
        // These keep the backslash: it is for LIKE.
        '%' | '_' => {
            meant.push('\\');
            meant.push(escaped);
        }
        other => meant.push(other),
    }
}

fn unterminated(what: &str) -> ParseError {
    ParseError::new(SYNTAX_ERROR, format!("unterminated {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = String::new();
        for placed in tokens(text).unwrap() {
            placed.token.write(&mut out);
        }
        out
    }

    #[test]
    fn quotes_become_those_of_postgresql() {
        for (text, expected) in [
            (
                "select `A`.b from `my table`",
                r#"select "a".b from "my table""#,
            ),
            (r#"select "it's", 'x"y'"#, r#"select 'it''s', 'x"y'"#),
            (r"select 'it\'s', 'a\\b\n'", "select 'it''s', 'a\\b\n'"),
            (r"a like '10\%'", r"a like '10\%'"),
            (r"'\001\0x\07'", "'\u{1}\u{0}x\u{0}7'"),
            (
                "-- `not` \"this\"\nselect /* 'nor' */ 1.5e3",
                "-- `not` \"this\"\nselect /* 'nor' */ 1.5e3",
            ),
            ("select 'ä', `ö`", "select 'ä', \"ö\""),
            ("select a.b, 1.5, .5", "select a.b, 1.5, .5"),
        ] {
            assert_eq!(written(text), expected);
        }
    }

    #[test]
    fn what_does_not_end_is_refused() {
        for text in ["select 'x", "select \"x", "select `x", "/* x", r"'x\'"] {
            assert_eq!(tokens(text).unwrap_err().sqlstate, SYNTAX_ERROR, "{text}");
        }
    }
}
