//! A query string becomes tokens, and the tokens become one piece for each statement.

use std::mem;

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, TokenizerError, Whitespace, Word};

use crate::error::{ParseError, SYNTAX_ERROR, UNDEFINED_PARAMETER};
use crate::limits;
use crate::source::Mark;

/// PostgreSQL's limit: the protocol counts parameters in sixteen bits.
const MAX_PARAMETER: usize = 65_535;

/// How much of an offending text an error message quotes, in characters.
pub(crate) const MAX_QUOTED: usize = 256;

/// The tokens of one statement and where they stand in the whole query string.
#[derive(Debug)]
pub(crate) struct Piece {
    pub tokens: Vec<TokenWithSpan>,
    /// First character that is not white space; a leading comment belongs to the statement.
    pub start: Mark,
    /// Behind the last character that is not white space.
    pub end: Mark,
    /// Behind the last token that is neither white space nor a comment.
    pub code_end: Mark,
    /// The `;` that ends the statement.
    pub terminator: Option<Mark>,
}

/// Splits at every `;` and leaves out what holds nothing but white space and comments.
///
/// # Errors
///
/// What is wrong already with the tokens: an unterminated string, a parameter number that cannot
/// exist, too deep a nesting.
pub(crate) fn split(text: &str) -> Result<Vec<Piece>, ParseError> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text)
        .tokenize_with_location()
        .map_err(|error| tokenizer_error(text, &error))?;
    let mut splitter = Splitter::new(text);
    for token in tokens {
        splitter.push(token)?;
    }
    splitter.close(None)?;
    Ok(splitter.pieces)
}

struct Splitter<'a> {
    text: &'a str,
    /// How far the text has been walked: never beyond the next token.
    cursor: Mark,
    pieces: Vec<Piece>,
    tokens: Vec<TokenWithSpan>,
}

impl<'a> Splitter<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            cursor: Mark::START,
            pieces: Vec::new(),
            tokens: Vec::new(),
        }
    }

    fn push(&mut self, token: TokenWithSpan) -> Result<(), ParseError> {
        match &token.token {
            Token::SemiColon => self.close(Some(&token)),
            Token::Placeholder(name) => {
                let name = name.clone();
                self.check_placeholder(&name, &token)?;
                self.tokens.push(token);
                Ok(())
            }
            _ => {
                self.tokens.push(token);
                Ok(())
            }
        }
    }

    fn close(&mut self, semicolon: Option<&TokenWithSpan>) -> Result<(), ParseError> {
        let tokens = mem::take(&mut self.tokens);
        let Some(last_code) = tokens.iter().rposition(|t| is_code(&t.token)) else {
            return Ok(());
        };
        limits::check(&tokens)?;
        // Both exist because there is a token that is code.
        let first = tokens.iter().position(|t| !is_blank(&t.token)).unwrap_or(0);
        let last = tokens.iter().rposition(|t| !is_blank(&t.token));
        let start = self.cursor.advance(self.text, tokens[first].span.start);
        let code_end = start.advance(self.text, tokens[last_code].span.end);
        let end = code_end.advance(self.text, tokens[last.unwrap_or(last_code)].span.end);
        self.cursor = end;
        let terminator = semicolon.map(|t| end.advance(self.text, t.span.start));
        let tokens = self.joined(tokens, start)?;
        self.pieces.push(Piece {
            tokens: expand_table(tokens),
            start,
            end,
            code_end,
            terminator,
        });
        Ok(())
    }

    /// Joins texts on successive lines into one; on one line, a text behind a text is an error.
    /// (Not among options, where a value follows its name: `OPTIONS ('format.delimiter' ';')`.)
    fn joined(
        &self,
        tokens: Vec<TokenWithSpan>,
        start: Mark,
    ) -> Result<Vec<TokenWithSpan>, ParseError> {
        let options = |t: &TokenWithSpan| keyword(&t.token) == Keyword::OPTIONS;
        if tokens.iter().any(options) {
            return Ok(tokens);
        }
        let mut joined: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
        for token in tokens {
            let code = joined.iter().rposition(|t| is_code(&t.token));
            let before = code.filter(|at| text_of(&mut joined[*at].token).is_some());
            let Token::SingleQuotedString(more) = &token.token else {
                joined.push(token);
                continue;
            };
            let Some(at) = before else {
                joined.push(token);
                continue;
            };
            if !joined[at + 1..].iter().any(|t| ends_line(&t.token)) {
                let mark = start.advance(self.text, token.span.start);
                let end = mark.advance(self.text, token.span.end);
                let near = shorten(&self.text[mark.byte..end.byte]);
                let message = format!("syntax error at or near \"{near}\"");
                return Err(ParseError::new(SYNTAX_ERROR, message).at(mark.position()));
            }
            if let Some(text) = text_of(&mut joined[at].token) {
                text.push_str(more);
            }
        }
        Ok(joined)
    }

    fn check_placeholder(&self, name: &str, token: &TokenWithSpan) -> Result<(), ParseError> {
        let position = || self.cursor.advance(self.text, token.span.start).position();
        let digits = name.strip_prefix('$').unwrap_or_default();
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            let message = format!("syntax error at or near \"{}\"", shorten(name));
            return Err(ParseError::new(SYNTAX_ERROR, message).at(position()));
        }
        match digits.parse::<usize>() {
            Ok(1..=MAX_PARAMETER) => Ok(()),
            _ => {
                let message = format!("there is no parameter {}", shorten(name));
                Err(ParseError::new(UNDEFINED_PARAMETER, message).at(position()))
            }
        }
    }
}

/// The text of a literal that more text may follow.
fn text_of(token: &mut Token) -> Option<&mut String> {
    match token {
        Token::SingleQuotedString(text)
        | Token::EscapedStringLiteral(text)
        | Token::UnicodeStringLiteral(text) => Some(text),
        _ => None,
    }
}

/// Whether white space goes on to another line.
fn ends_line(token: &Token) -> bool {
    matches!(
        token,
        Token::Whitespace(Whitespace::Newline | Whitespace::SingleLineComment { .. })
    )
}

/// The beginning of a text that an error message can carry.
pub(crate) fn shorten(text: &str) -> &str {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

fn is_code(token: &Token) -> bool {
    !matches!(token, Token::Whitespace(_) | Token::EOF)
}

/// White space proper: a comment is not blank.
fn is_blank(token: &Token) -> bool {
    matches!(
        token,
        Token::Whitespace(Whitespace::Space | Whitespace::Newline | Whitespace::Tab) | Token::EOF
    )
}

/// Turns the query `TABLE t` into `SELECT * FROM t`, because DataFusion plans only the latter.
///
/// The new tokens keep the place of the old one, so error positions stay right.
fn expand_table(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if !tokens.iter().any(|t| keyword(&t.token) == Keyword::TABLE) {
        return tokens;
    }
    let first = tokens.iter().find(|t| is_code(&t.token));
    let verb = first.map_or(Keyword::NoKeyword, |t| keyword(&t.token));
    let mut expanded = Vec::with_capacity(tokens.len() + 4);
    let mut before = Token::EOF;
    for token in tokens {
        let is_table = keyword(&token.token) == Keyword::TABLE;
        if is_table && query_may_follow(&before, verb) {
            let span = token.span;
            for part in [word("SELECT"), Token::Mul, word("FROM")] {
                expanded.push(TokenWithSpan::new(part, span));
            }
            before = word("FROM");
            continue;
        }
        if is_code(&token.token) {
            before = token.token.clone();
        }
        expanded.push(token);
    }
    expanded
}

/// Whether `TABLE` behind this token begins a query and is not a word of some other statement.
fn query_may_follow(before: &Token, verb: Keyword) -> bool {
    match before {
        Token::EOF | Token::LParen | Token::RParen => true,
        token => match keyword(token) {
            // `INSERT INTO t TABLE u`, but not `INSERT INTO TABLE t`.
            Keyword::INTO => false,
            _ if verb == Keyword::INSERT => true,
            Keyword::AS
            | Keyword::UNION
            | Keyword::INTERSECT
            | Keyword::EXCEPT
            | Keyword::ALL
            | Keyword::DISTINCT
            | Keyword::FOR => true,
            Keyword::EXPLAIN | Keyword::ANALYZE | Keyword::VERBOSE => verb == Keyword::EXPLAIN,
            _ => false,
        },
    }
}

fn keyword(token: &Token) -> Keyword {
    match token {
        Token::Word(Word {
            keyword,
            quote_style: None,
            ..
        }) => *keyword,
        _ => Keyword::NoKeyword,
    }
}

fn word(text: &str) -> Token {
    Token::make_word(text, None)
}

fn tokenizer_error(text: &str, error: &TokenizerError) -> ParseError {
    let mark = Mark::START.advance(text, error.location);
    let what = match error.message.as_str() {
        m if m.starts_with("Unterminated string") => "unterminated quoted string",
        m if m.starts_with("Unterminated encoded") => "unterminated quoted string",
        m if m.starts_with("Unterminated dollar") => "unterminated dollar-quoted string",
        m if m.starts_with("Unexpected EOF while in a multi-line") => "unterminated /* comment",
        m if m.starts_with("Expected close delimiter") => "unterminated quoted identifier",
        _ => {
            return ParseError::new(SYNTAX_ERROR, near(text, mark, "syntax error"))
                .with_detail(Some(format!("{}.", error.message)))
                .at(mark.position());
        }
    };
    ParseError::new(SYNTAX_ERROR, near(text, mark, what)).at(mark.position())
}

/// `what at or near "…"`, quoting the text from `mark` on.
fn near(text: &str, mark: Mark, what: &str) -> String {
    let rest = &text[mark.byte..];
    if rest.is_empty() {
        format!("{what} at end of input")
    } else {
        format!("{what} at or near \"{}\"", shorten(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_pieces() {
        for (text, pieces) in [
            ("", vec![]),
            (" ;;-- nothing\n; /* here */", vec![]),
            ("select 1", vec!["select 1"]),
            ("select 1; select 2 ;", vec!["select 1", "select 2"]),
            (
                "select ';';select $$;$$",
                vec!["select ';'", "select $$;$$"],
            ),
            ("/* a */ select 1 -- b\n;", vec!["/* a */ select 1 -- b"]),
            ("select 'ä'; \n select 2", vec!["select 'ä'", "select 2"]),
        ] {
            let found = split(text).unwrap();
            let found: Vec<&str> = found
                .iter()
                .map(|p| text[p.start.byte..p.end.byte].trim_end())
                .collect();
            assert_eq!(found, pieces, "{text}");
        }
    }

    #[test]
    fn broken_tokens_are_reported_as_postgresql_does() {
        for (text, message, position) in [
            (
                "select 'a",
                "unterminated quoted string at or near \"'a\"",
                8,
            ),
            (
                "select \"a",
                "unterminated quoted identifier at or near \"\"a\"",
                8,
            ),
            ("select /* a", "unterminated /* comment at end of input", 12),
            ("select $0", "there is no parameter $0", 8),
            ("select 1;select $65536", "there is no parameter $65536", 17),
            ("select $a", "syntax error at or near \"$a\"", 8),
        ] {
            let error = split(text).unwrap_err();
            assert_eq!(
                (error.message.as_str(), error.position),
                (message, Some(position)),
                "{text}"
            );
        }
    }
}
