//! PostgreSQL's dialect, with a limit on how often the parser may change its mind.
//!
//! The parser underneath tries one reading, fails, goes back and tries another. Nested, such tries
//! multiply: a few dozen well chosen words would keep it busy for years. Every try that reads
//! expressions passes [`Dialect::parse_prefix`], so that is where they are counted. (Tries that
//! read only tables are bounded beforehand, in `limits`.)

use std::any::TypeId;
use std::cell::Cell;

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, Statement, UnaryOperator,
};
use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

/// The function that `x BETWEEN SYMMETRIC a AND b` calls with x, a and b.
const BETWEEN_SYMMETRIC: &str = "between_symmetric";

/// Steps that every statement has.
const STEPS: usize = 10_000;

/// Further steps for each token. One expression is at least one token and one step; the rest is
/// for going back.
const STEPS_PER_TOKEN: usize = 8;

/// Statements in one: `DESCRIBE` has another one inside, some kinds of `CREATE` have a list.
const STATEMENTS: usize = 16;

/// The dialect of one statement; it counts, so it must not be shared.
#[derive(Debug)]
pub(crate) struct BoundedDialect {
    postgresql: PostgreSqlDialect,
    steps_left: Cell<usize>,
    statements_left: Cell<usize>,
    /// Whether it is read as Impala's clients write it.
    impalas: bool,
}

impl BoundedDialect {
    /// For a statement of so many tokens.
    pub(crate) fn new(tokens: usize) -> Self {
        Self {
            postgresql: PostgreSqlDialect {},
            steps_left: Cell::new(STEPS + STEPS_PER_TOKEN * tokens),
            statements_left: Cell::new(STATEMENTS),
            impalas: false,
        }
    }

    /// The same where `a DIV b` is an expression, and `t PARTITION (…)` in an `INSERT` is no alias of `t`.
    pub(crate) fn of_impala(tokens: usize) -> Self {
        Self {
            impalas: true,
            ..Self::new(tokens)
        }
    }

    fn is_at_div(&self, parser: &Parser) -> bool {
        self.impalas && is_keyword(parser, 0, Keyword::DIV)
    }

    /// `DIV right` behind `left`.
    fn integer_division(&self, parser: &mut Parser, left: &Expr) -> Result<Expr, ParserError> {
        parser.advance_token();
        let right = parser.parse_subexpr(self.prec_value(Precedence::MulDivModOp))?;
        Ok(Expr::BinaryOp {
            left: Box::new(left.clone()),
            op: BinaryOperator::MyIntegerDivide,
            right: Box::new(right),
        })
    }

    /// Whether the parser was stopped. Its own error may be another then: on the way out it tries
    /// other readings still, each of which is stopped at once.
    pub(crate) fn exhausted(&self) -> bool {
        self.steps_left.get() == 0 || self.statements_left.get() == 0
    }
}

/// Reads `[NOT] BETWEEN SYMMETRIC low AND high` behind `expr`; nothing where something else stands
/// there. `ASYMMETRIC` is what `BETWEEN` is anyhow.
fn between_symmetric(parser: &mut Parser, expr: &Expr) -> Result<Option<Expr>, ParserError> {
    let negated = is_keyword(parser, 0, Keyword::NOT);
    let at = usize::from(negated);
    if !is_keyword(parser, at, Keyword::BETWEEN) {
        return Ok(None);
    }
    let symmetric = is_keyword(parser, at + 1, Keyword::SYMMETRIC);
    if !symmetric && !is_keyword(parser, at + 1, Keyword::ASYMMETRIC) {
        return Ok(None);
    }
    (0..at + 2).for_each(|_| parser.advance_token());
    if !symmetric {
        return parser.parse_between(expr.clone(), negated).map(Some);
    }
    let precedence = PostgreSqlDialect {}.prec_value(Precedence::Between);
    let operand = |parser: &mut Parser| parser.parse_subexpr(precedence);
    let low = operand(parser)?;
    parser.expect_keyword(Keyword::AND)?;
    let high = operand(parser)?;
    let args = [expr.clone(), low, high]
        .map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)));
    let call = Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(BETWEEN_SYMMETRIC)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.into(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    });
    Ok(Some(if negated {
        Expr::UnaryOp {
            op: UnaryOperator::Not,
            expr: Box::new(call),
        }
    } else {
        call
    }))
}

fn is_keyword(parser: &Parser, ahead: usize, keyword: Keyword) -> bool {
    match &parser.peek_nth_token_ref(ahead).token {
        Token::Word(word) => word.keyword == keyword,
        _ => false,
    }
}

/// Counts down; at 0 the parser gets the one error that stops it from trying on.
fn count<T>(left: &Cell<usize>) -> Option<Result<T, ParserError>> {
    left.set(left.get().saturating_sub(1));
    (left.get() == 0).then_some(Err(ParserError::RecursionLimitExceeded))
}

/// Passes questions on to PostgreSQL's dialect.
macro_rules! same_as_postgresql {
    ($($name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(fn $name(&self, $($arg: $type),*) -> $answer {
            self.postgresql.$name($($arg),*)
        })*
    };
}

impl Dialect for BoundedDialect {
    /// The parser takes this for PostgreSQL wherever it asks.
    fn dialect(&self) -> TypeId {
        self.postgresql.dialect()
    }

    fn parse_prefix(&self, _parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        count(&self.steps_left)
    }

    /// `BETWEEN SYMMETRIC` is a call of [`BETWEEN_SYMMETRIC`]; the parser underneath does not know it.
    fn parse_infix(
        &self,
        parser: &mut Parser,
        expr: &Expr,
        _precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        if self.is_at_div(parser) {
            return Some(self.integer_division(parser, expr));
        }
        between_symmetric(parser, expr).transpose()
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        match self.is_at_div(parser) {
            true => Some(Ok(self.prec_value(Precedence::MulDivModOp))),
            false => self.postgresql.get_next_precedence(parser),
        }
    }

    fn parse_statement(&self, _parser: &mut Parser) -> Option<Result<Statement, ParserError>> {
        count(&self.statements_left)
    }

    /// PostgreSQL's own answer would make it read every function argument twice, and so the
    /// innermost of nested calls 2ⁿ times; all that it is for is `json_object('a': 'b')`.
    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        false
    }

    /// Without these, an error inside `CASE …` would be reported as one at the word behind `CASE`.
    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        matches!(keyword, Keyword::CASE | Keyword::CAST | Keyword::NOT)
            || self.postgresql.is_reserved_for_identifier(keyword)
    }

    fn supports_insert_table_alias(&self) -> bool {
        !self.impalas && self.postgresql.supports_insert_table_alias()
    }

    same_as_postgresql! {
        identifier_quote_style(identifier: &str) -> Option<char>;
        is_delimited_identifier_start(c: char) -> bool;
        is_identifier_start(c: char) -> bool;
        is_identifier_part(c: char) -> bool;
        is_custom_operator_part(c: char) -> bool;
        prec_value(precedence: Precedence) -> u8;
        supports_unicode_string_literal() -> bool;
        supports_filter_during_aggregation() -> bool;
        supports_group_by_expr() -> bool;
        allow_extract_custom() -> bool;
        allow_extract_single_quotes() -> bool;
        supports_create_index_with_clause() -> bool;
        supports_explain_with_utility_options() -> bool;
        supports_listen_notify() -> bool;
        supports_factorial_operator() -> bool;
        supports_bitwise_shift_operators() -> bool;
        supports_comment_on() -> bool;
        supports_load_extension() -> bool;
        supports_named_fn_args_with_colon_operator() -> bool;
        supports_empty_projections() -> bool;
        supports_nested_comments() -> bool;
        supports_string_escape_constant() -> bool;
        supports_numeric_literal_underscores() -> bool;
        supports_array_typedef_with_brackets() -> bool;
        supports_geometric_types() -> bool;
        supports_set_names() -> bool;
        supports_alter_column_type_using() -> bool;
        supports_notnull_operator() -> bool;
        supports_interval_options() -> bool;
        supports_create_table_like_parenthesized() -> bool;
        supports_select_wildcard_with_alias() -> bool;
        supports_comma_separated_trim() -> bool;
        supports_xml_expressions() -> bool;
        supports_comment_optimizer_hint() -> bool;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parser has no way to list what a dialect overrides; this compares by what is parsed.
    #[test]
    fn trees_are_those_of_postgresql() {
        for text in [
            "SELECT a::int[], b ->> 'c', !!3, \"D\" FROM t WHERE e ~* 'f' AND g NOTNULL",
            "SELECT count(*) FILTER (WHERE a) OVER (PARTITION BY b) FROM t GROUP BY (a, b)",
            "SELECT extract('year' FROM c), E'\\n', U&'\\0041', 1_000, x AS \"é\"",
            "SELECT INTERVAL '1' YEAR TO MONTH, t.* , 1 << 2, a # b, a @> b, POINT '(1, 2)'",
            "INSERT INTO t AS x (a) VALUES (1) ON CONFLICT DO NOTHING RETURNING a",
            "CREATE TABLE t (a int[] NOT NULL DEFAULT 1, b interval(3), LIKE u)",
        ] {
            let plain = Parser::parse_sql(&PostgreSqlDialect {}, text);
            let bounded = Parser::parse_sql(&BoundedDialect::new(text.len()), text);
            assert_eq!(bounded, plain, "{text}");
        }
    }

    #[test]
    fn between_symmetric_is_a_function() {
        let text = "SELECT a + 1 NOT BETWEEN SYMMETRIC b AND c AND d BETWEEN ASYMMETRIC 1 AND 2";
        let parsed = Parser::parse_sql(&BoundedDialect::new(100), text).unwrap();
        assert_eq!(
            parsed[0].to_string(),
            "SELECT NOT between_symmetric(a + 1, b, c) AND d BETWEEN 1 AND 2"
        );
    }

    #[test]
    fn a_parser_that_goes_back_too_often_is_stopped() {
        let dialect = BoundedDialect::new(100);
        let text = format!("SELECT {} 1 2", "floor(".repeat(30));
        assert!(Parser::parse_sql(&dialect, &text).is_err());
        assert!(dialect.exhausted());
    }
}
