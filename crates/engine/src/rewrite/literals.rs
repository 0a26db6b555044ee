//! Types of literals.
//!
//! A whole number is an `integer` where it fits, else a `bigint`, else `numeric`; for DataFusion
//! it is a bigint. So casts are written around those that fit. A literal that is cast to numeric
//! becomes a number with the digits that were written.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Distinct, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    GroupByExpr, LimitClause, NamedWindowExpr, OrderByKind, Query, Select, SetExpr, Statement,
    TypedString, UnaryOperator, Value, VisitMut, VisitorMut, WindowFrame, WindowFrameBound,
    WindowSpec, WindowType,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::casts::is_plain_numeric;
use super::last_part;
use crate::types::DIGITS_ARGUMENT;

/// Gives every literal of `statement` the type that PostgreSQL gives it.
pub(super) fn type_literals(statement: &mut Statement) {
    let _ = VisitMut::visit(statement, &mut Literals::default());
}

/// Numbers are told apart by their place in the text. What has none was not written by a user.
#[derive(Default)]
struct Literals {
    /// Numbers that stay as they are: positions (`ORDER BY 1`), counts (`LIMIT 1`), operands of
    /// casts, and those that already have a cast around their sign.
    plain: HashSet<Span>,
}

impl VisitorMut for Literals {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        match &query.limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                self.keep(limit.as_ref());
                self.keep(offset.as_ref().map(|o| &o.value));
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => {
                self.keep([offset, limit]);
            }
            None => {}
        }
        self.keep(query.fetch.as_ref().and_then(|f| f.quantity.as_ref()));
        if let Some(order_by) = &query.order_by
            && let OrderByKind::Expressions(items) = &order_by.kind
        {
            self.keep(items.iter().map(|item| &item.expr));
        }
        self.keep_in_body(&query.body);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Cast {
                expr: inner,
                data_type,
                ..
            } => {
                if is_plain_numeric(data_type)
                    && let Some(number) = written_number(inner)
                {
                    *expr = number;
                    self.keep([&*expr]);
                } else {
                    self.keep([inner.as_ref()]);
                }
            }
            Expr::TypedString(TypedString {
                data_type, value, ..
            }) if is_plain_numeric(data_type) => {
                if let Some(number) = written_number(&Expr::Value(value.clone())) {
                    *expr = number;
                    self.keep([&*expr]);
                }
            }
            Expr::Function(function) => self.keep_in_call(function),
            // DataFusion takes nothing but names and literals in rows.
            Expr::Tuple(items) => self.keep(items.iter()),
            Expr::Value(value) => {
                if let Value::UnicodeStringLiteral(text) | Value::NationalStringLiteral(text) =
                    &mut value.value
                {
                    value.value = Value::SingleQuotedString(std::mem::take(text));
                }
                self.type_number(expr);
            }
            _ => self.type_number(expr),
        }
        ControlFlow::Continue(())
    }
}

impl Literals {
    /// Writes the type of a number with its sign around it, once.
    fn type_number(&mut self, expr: &mut Expr) {
        let Some((span, digits, negative)) = number(expr) else {
            return;
        };
        if span == Span::empty() || !self.plain.insert(span) {
            return;
        }
        match size(digits, negative) {
            Size::Integer => *expr = cast_to_integer(expr.clone()),
            Size::BigInt | Size::Fraction => {}
            Size::Numeric => add_point(expr),
        }
    }

    fn keep<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr>) {
        for expr in exprs {
            self.plain.extend(number(expr).map(|(span, ..)| span));
        }
    }

    fn keep_in_body(&mut self, body: &SetExpr) {
        match body {
            SetExpr::Select(select) => self.keep_in_select(select),
            SetExpr::SetOperation { left, right, .. } => {
                self.keep_in_body(left);
                self.keep_in_body(right);
            }
            // A query of its own is visited as one.
            _ => {}
        }
    }

    fn keep_in_select(&mut self, select: &Select) {
        if let GroupByExpr::Expressions(items, _) = &select.group_by {
            self.keep(items);
        }
        if let Some(Distinct::On(items)) = &select.distinct {
            self.keep(items);
        }
        for window in &select.named_window {
            if let NamedWindowExpr::WindowSpec(spec) = &window.1 {
                self.keep_in_window(spec);
            }
        }
    }

    /// DataFusion reads bounds of frames, and arguments that decide on a type, as literals.
    fn keep_in_call(&mut self, function: &Function) {
        if let Some(WindowType::WindowSpec(spec)) = &function.over {
            self.keep_in_window(spec);
        }
        let name = last_part(&function.name);
        let is_literal = name.is_some_and(|n| n == "count" || DIGITS_ARGUMENT.contains(&&*n));
        if is_literal && let FunctionArguments::List(list) = &function.args {
            for arg in list.args.iter().skip(usize::from(list.args.len() > 1)) {
                if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg {
                    self.keep([expr]);
                }
            }
        }
    }

    fn keep_in_window(&mut self, spec: &WindowSpec) {
        let Some(WindowFrame {
            start_bound,
            end_bound,
            ..
        }) = &spec.window_frame
        else {
            return;
        };
        for bound in [Some(start_bound), end_bound.as_ref()]
            .into_iter()
            .flatten()
        {
            if let WindowFrameBound::Preceding(Some(rows))
            | WindowFrameBound::Following(Some(rows)) = bound
            {
                self.keep([rows.as_ref()]);
            }
        }
    }
}

/// A number with its sign: where it stands, its digits, whether it is negative.
fn number(expr: &Expr) -> Option<(Span, &str, bool)> {
    let (value, negative) = match expr {
        Expr::Value(value) => (value, false),
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => match expr.as_ref() {
            Expr::Value(value) => (value, true),
            _ => return None,
        },
        _ => return None,
    };
    match &value.value {
        Value::Number(digits, _) => Some((value.span, digits, negative)),
        _ => None,
    }
}

enum Size {
    Integer,
    BigInt,
    Numeric,
    Fraction,
}

fn size(digits: &str, negative: bool) -> Size {
    let digits: String = digits.chars().filter(|c| *c != '_').collect();
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Size::Fraction;
    }
    let sign = if negative { "-" } else { "" };
    match format!("{sign}{digits}").parse::<i64>() {
        Ok(value) if i32::try_from(value).is_ok() => Size::Integer,
        Ok(_) => Size::BigInt,
        Err(_) => Size::Numeric,
    }
}

fn cast_to_integer(expr: Expr) -> Expr {
    Expr::Cast {
        kind: CastKind::DoubleColon,
        expr: Box::new(expr),
        data_type: DataType::Integer(None),
        array: false,
        format: None,
    }
}

/// A number with a point is a decimal for DataFusion, however large.
fn add_point(expr: &mut Expr) {
    let value = match expr {
        Expr::Value(value) => value,
        Expr::UnaryOp { expr, .. } => match expr.as_mut() {
            Expr::Value(value) => value,
            _ => return,
        },
        _ => return,
    };
    if let Value::Number(digits, _) = &mut value.value {
        digits.push('.');
    }
}

/// The number that a literal reads as, when it is one: `'1.50'` is `1.50`, `3` is `3.`.
fn written_number(expr: &Expr) -> Option<Expr> {
    let (value, mut negative) = match expr {
        Expr::Value(value) => (value, false),
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => match expr.as_ref() {
            Expr::Value(value) if matches!(value.value, Value::Number(..)) => (value, true),
            _ => return None,
        },
        Expr::Nested(inner) => return written_number(inner),
        _ => return None,
    };
    let text = match &value.value {
        Value::Number(digits, _) => digits.as_str(),
        Value::SingleQuotedString(text) => text.trim(),
        _ => return None,
    };
    let digits = match text.strip_prefix('-') {
        Some(digits) => {
            negative = !negative;
            digits
        }
        None => text.strip_prefix('+').unwrap_or(text),
    };
    let plain = super::syntax::written_out(digits);
    let digits = plain.as_deref().unwrap_or(digits);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if digits.len() < 2 && digits == "." || digits.is_empty() || !plain(whole) || !plain(fraction) {
        return None;
    }
    let mut number = value.clone();
    number.value = Value::Number(format!("{whole}.{fraction}"), false);
    let number = Expr::Value(number);
    Some(if negative {
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr: Box::new(number),
        }
    } else {
        number
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    #[test]
    fn numbers_get_their_types() {
        let cases = [
            (
                "SELECT 1, -2147483648",
                "SELECT 1::INTEGER, -2147483648::INTEGER",
            ),
            ("SELECT 2147483648, 1.5", "SELECT 2147483648, 1.5"),
            ("SELECT 9223372036854775808", "SELECT 9223372036854775808."),
            (
                "SELECT 1::bigint, CAST(-1 AS smallint)",
                "SELECT 1::BIGINT, CAST(-1 AS SMALLINT)",
            ),
            ("SELECT '1.50'::numeric, 3::numeric", "SELECT 1.50, 3."),
            (
                "SELECT NUMERIC '-1', 'x'::numeric",
                "SELECT -1., 'x'::NUMERIC",
            ),
            (
                "SELECT a ORDER BY 1 LIMIT 2 OFFSET 3",
                "SELECT a ORDER BY 1 LIMIT 2 OFFSET 3",
            ),
            (
                "SELECT a, 1 + 1 GROUP BY 1, a + 1",
                "SELECT a, 1::INTEGER + 1::INTEGER GROUP BY 1, a + 1::INTEGER",
            ),
            (
                "SELECT round(1, 2), count(1)",
                "SELECT round(1::INTEGER, 2), count(1)",
            ),
            (
                "SELECT sum(a + 1) OVER (ORDER BY b ROWS 2 PRECEDING)",
                "SELECT sum(a + 1::INTEGER) OVER (ORDER BY b ROWS 2 PRECEDING)",
            ),
        ];
        for (sql, expected) in cases {
            let mut parsed = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
            type_literals(&mut parsed[0]);
            assert_eq!(parsed[0].to_string(), expected, "{sql}");
        }
    }
}
