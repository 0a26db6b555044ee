//! What one statement may cost in stack and time.
//!
//! The parser counts its own recursion, but three shapes escape that count. Operators that lean to
//! the left (`1+1+1+…`) are read in a loop and still become a tree as deep as they are long, which
//! overflows the stack when it is cloned or dropped. Nested type arguments (`ARRAY<ARRAY<…`) are
//! read by a function that does not count. And a query behind several parentheses in `FROM` is read
//! once for each of them, because only its end tells whether it is a query or a join; nested, these
//! tries multiply. All three are seen here, in one pass over the tokens, before a tree exists.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::ParseError;

/// The stack, in bytes, that a thread should have which clones or plans statements.
///
/// [`parse`](crate::parse) itself works on any thread. A statement of the greatest depth that it
/// lets pass may take more than half of this to clone in a development build.
pub const STACK_BYTES: usize = 16 << 20;

/// How deep the parser may recurse: parentheses, sub-queries, prefix operators.
pub(crate) const MAX_DEPTH: usize = 128;

/// How many operators may hang together, summed over the parentheses around them.
///
/// `a = 1 OR a = 2 OR …` counts two for each term, so a list of a thousand alternatives passes.
/// A `UNION` counts [`SET_OPERATION`], so five hundred of them pass.
pub(crate) const MAX_CHAIN: usize = 2_500;

/// What one `UNION`, `INTERSECT` or `EXCEPT` counts for: its branch of the tree takes more stack to
/// clone than that of any other operator.
const SET_OPERATION: usize = 5;

/// How deep `ARRAY<…>` and its like may nest.
const MAX_TYPE_DEPTH: usize = 16;

/// How often the parser may read the innermost query again because of the parentheses around it.
const MAX_TRIES: usize = 4_096;

/// How many brackets may be open at once. More than `MAX_DEPTH`, because not every bracket makes
/// the parser recurse; it only bounds the memory of this pass.
const MAX_BRACKETS: usize = 4 * MAX_DEPTH;

/// Refuses a statement whose tree could be too deep.
///
/// # Errors
///
/// SQLSTATE `54001`.
pub(crate) fn check(tokens: &[TokenWithSpan]) -> Result<(), ParseError> {
    let mut depth = Depth {
        chain: 0,
        types: 0,
        after_type: false,
        cases: 0,
        run: 0,
        tries: 1,
    };
    let mut levels: Vec<Level> = vec![Level::default()];
    for token in tokens {
        if matches!(token.token, Token::Whitespace(_)) {
            continue;
        }
        depth.types(&token.token)?;
        depth.tries(&mut levels, &token.token)?;
        match &token.token {
            Token::Word(word) if word.keyword == Keyword::CASE => depth.open_case()?,
            Token::Word(word) if word.keyword == Keyword::END => {
                depth.cases = depth.cases.saturating_sub(1);
            }
            Token::LParen | Token::LBracket | Token::LBrace => {
                depth.add(&mut levels, Level::EXPRESSION)?;
                levels.push(Level::default());
            }
            Token::RParen | Token::RBracket | Token::RBrace => depth.close(&mut levels),
            token => depth.token(&mut levels, token)?,
        }
        if levels.len() > MAX_BRACKETS {
            return Err(ParseError::too_deep());
        }
    }
    Ok(())
}

/// Operators since the last thing that starts a new tree, within one pair of brackets.
#[derive(Debug, Default, Clone, Copy)]
struct Level {
    expression: usize,
    set_operations: usize,
    /// How often the parser may read what is in these brackets; 0 where it reads once.
    tries: usize,
}

impl Level {
    const EXPRESSION: Self = Self {
        expression: 1,
        set_operations: 0,
        tries: 0,
    };
    const SET_OPERATION: Self = Self {
        expression: 0,
        set_operations: SET_OPERATION,
        tries: 0,
    };
}

/// The running sums of [`check`].
#[derive(Debug)]
struct Depth {
    /// All operators of all open levels.
    chain: usize,
    /// Open `ARRAY<` and `STRUCT<`.
    types: usize,
    /// Whether the last token could be followed by `<` and type arguments.
    after_type: bool,
    /// Open `CASE`s.
    cases: usize,
    /// Parentheses opened one right behind the other, up to the current token.
    run: usize,
    /// The product of the tries of all open levels.
    tries: usize,
}

impl Depth {
    fn add(&mut self, levels: &mut [Level], more: Level) -> Result<(), ParseError> {
        if let Some(level) = levels.last_mut() {
            level.expression += more.expression;
            level.set_operations += more.set_operations;
            self.chain += more.expression + more.set_operations;
        }
        if self.chain > MAX_CHAIN {
            return Err(ParseError::too_deep());
        }
        Ok(())
    }

    fn close(&mut self, levels: &mut Vec<Level>) {
        // A surplus closing bracket is the parser's to report; the outermost level stays.
        if levels.len() > 1
            && let Some(level) = levels.pop()
        {
            self.chain -= level.expression + level.set_operations;
            self.tries /= level.tries.max(1);
        }
    }

    /// The parser counts these too, but takes `CASE` for a name when it has counted too many.
    fn open_case(&mut self) -> Result<(), ParseError> {
        self.cases += 1;
        if self.cases > MAX_DEPTH / 2 {
            return Err(ParseError::too_deep());
        }
        Ok(())
    }

    fn tries(&mut self, levels: &mut [Level], token: &Token) -> Result<(), ParseError> {
        if *token == Token::LParen {
            self.run += 1;
            return Ok(());
        }
        let run = std::mem::take(&mut self.run);
        let query = matches!(token, Token::Word(w) if matches!(
            w.keyword,
            Keyword::SELECT | Keyword::WITH | Keyword::VALUES | Keyword::TABLE
        ));
        let outermost = levels.len().saturating_sub(run);
        if query
            && run > 1
            && let Some(level) = levels.get_mut(outermost)
        {
            level.tries = run;
            self.tries = self.tries.saturating_mul(run);
        }
        if self.tries > MAX_TRIES {
            return Err(ParseError::too_deep());
        }
        Ok(())
    }

    fn token(&mut self, levels: &mut [Level], token: &Token) -> Result<(), ParseError> {
        match role(token) {
            Role::Operand => Ok(()),
            Role::Operator => self.add(levels, Level::EXPRESSION),
            Role::SetOperator => self.add(levels, Level::SET_OPERATION),
            Role::Separator => {
                if let Some(level) = levels.last_mut() {
                    self.chain -= level.expression;
                    level.expression = 0;
                }
                Ok(())
            }
        }
    }

    fn types(&mut self, token: &Token) -> Result<(), ParseError> {
        match token {
            Token::Lt if self.after_type => self.types += 1,
            Token::Gt => self.types = self.types.saturating_sub(1),
            Token::ShiftRight => self.types = self.types.saturating_sub(2),
            _ => {}
        }
        self.after_type = matches!(token, Token::Word(w) if matches!(
            w.keyword,
            Keyword::ARRAY | Keyword::STRUCT | Keyword::MAP
        ));
        if self.types > MAX_TYPE_DEPTH {
            return Err(ParseError::too_deep());
        }
        Ok(())
    }
}

enum Role {
    Operand,
    Operator,
    SetOperator,
    Separator,
}

fn role(token: &Token) -> Role {
    match token {
        Token::Word(word) => keyword_role(word.keyword),
        Token::Comma | Token::SemiColon => Role::Separator,
        Token::Whitespace(_)
        | Token::EOF
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::DollarQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::NationalStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::Placeholder(_)
        | Token::Period => Role::Operand,
        // Everything else is an operator, or unknown and better counted than not.
        _ => Role::Operator,
    }
}

fn keyword_role(keyword: Keyword) -> Role {
    match keyword {
        Keyword::AND
        | Keyword::OR
        | Keyword::XOR
        | Keyword::NOT
        | Keyword::IS
        | Keyword::NOTNULL
        | Keyword::LIKE
        | Keyword::ILIKE
        | Keyword::SIMILAR
        | Keyword::RLIKE
        | Keyword::REGEXP
        | Keyword::IN
        | Keyword::BETWEEN
        | Keyword::OVERLAPS
        | Keyword::OPERATOR
        | Keyword::COLLATE
        | Keyword::DIV
        | Keyword::AT => Role::Operator,
        Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::MINUS => Role::SetOperator,
        Keyword::SELECT
        | Keyword::FROM
        | Keyword::WHERE
        | Keyword::HAVING
        | Keyword::WHEN
        | Keyword::THEN
        | Keyword::JOIN => Role::Separator,
        _ => Role::Operand,
    }
}
