//! What stands for the functions and operators that only Impala has, in a statement's tree.
//!
//! Most are a template: an expression of PostgreSQL with `$1`, `$2` for the arguments. Templates and
//! arguments are put together as trees, so nothing is read twice.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    Statement as SqlStatement, Value, ValueWithSpan, visit_expressions_mut,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Span;

use super::dates;
use crate::error::ParseError;

/// The version that Impala's clients are told: the one of Impala whose ways they meet, and who answers.
pub const IMPALA_VERSION: &str = concat!(
    "impalad version 4.5.0-RELEASE RELEASE (build Forebay ",
    env!("CARGO_PKG_VERSION"),
    ")"
);

/// Expressions that may be put into a statement. Some templates say an argument twice, so nested ones
/// grow.
const MAX_EXPRESSIONS: usize = 100_000;

/// Puts what PostgreSQL has in the place of Impala's functions and operators. `session` is what
/// `current_session()` gives.
///
/// # Errors
/// When the statement grows beyond what can be worked on.
pub(super) fn replace(statement: &mut SqlStatement, session: &str) -> Result<(), ParseError> {
    let mut left = MAX_EXPRESSIONS;
    let outcome = visit_expressions_mut(statement, |expression| {
        let Some(mut other) = other(expression, session) else {
            return ControlFlow::Continue(());
        };
        let _ = visit_expressions_mut(&mut other, |_| {
            left = left.saturating_sub(1);
            ControlFlow::<()>::Continue(())
        });
        *expression = other;
        match left {
            0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    match outcome {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(ParseError::too_deep()),
    }
}

/// What stands for an expression; `None` where it stays.
fn other(expression: &Expr, session: &str) -> Option<Expr> {
    match expression {
        Expr::Function(function) => of_function(function, session),
        Expr::BinaryOp { left, op, right } => of_operator(left, op, right),
        Expr::RLike {
            negated,
            expr,
            pattern,
            ..
        } => {
            let template = match negated {
                true => "$1 !~ $2",
                false => "$1 ~ $2",
            };
            filled(template, &[(**expr).clone(), (**pattern).clone()])
        }
        Expr::Interval(interval) => dates::interval(interval),
        Expr::Substring {
            expr,
            substring_from: Some(from),
            substring_for: length,
            ..
        } if !is_positive(from) => part(expr, from, length.as_deref()),
        _ => None,
    }
}

/// `substr(text, from, length)`, where places below zero count from the end, and there is nothing at
/// zero.
fn part(text: &Expr, from: &Expr, length: Option<&Expr>) -> Option<Expr> {
    let mut arguments = vec![text.clone(), from.clone()];
    arguments.extend(length.cloned());
    let template = match length {
        None => {
            "CASE WHEN $2 = 0 THEN '' WHEN $2 < 0 THEN right($1, -($2)) ELSE substr($1, $2) END"
        }
        Some(_) => {
            "CASE WHEN $2 = 0 THEN '' WHEN $2 < 0 THEN left(right($1, -($2)), $3) \
             ELSE substr($1, $2, $3) END"
        }
    };
    filled(template, &arguments)
}

fn of_operator(left: &Expr, op: &BinaryOperator, right: &Expr) -> Option<Expr> {
    let template = match op {
        // Of whole numbers the quotient is exact, and there is one by zero too.
        BinaryOperator::Divide => "impala_divide($1, $2)",
        BinaryOperator::MyIntegerDivide => "impala_div($1, $2)",
        BinaryOperator::Modulo => "$1 % nullif($2, 0)",
        BinaryOperator::PGExp | BinaryOperator::BitwiseXor => "$1 # $2",
        BinaryOperator::Spaceship => "$1 IS NOT DISTINCT FROM $2",
        _ => return None,
    };
    filled(template, &[left.clone(), right.clone()])
}

fn of_function(function: &Function, session: &str) -> Option<Expr> {
    let name = function.name.to_string().to_lowercase().replace('"', "");
    if let Some(aggregate) = aggregate(&name, function) {
        return Some(aggregate);
    }
    let arguments = arguments(&function.args)?;
    if let Some(template) = template(&name, arguments.len()) {
        return filled(template, &arguments);
    }
    if let Some(date) = dates::function(&name, &arguments) {
        return Some(date);
    }
    match (name.as_str(), arguments.as_slice()) {
        ("version", []) => Some(text(IMPALA_VERSION)),
        ("current_session", []) => Some(text(session)),
        ("concat", [_, ..]) => joined(&arguments, None),
        ("concat_ws", [separator, rest @ ..]) if !rest.is_empty() => joined(rest, Some(separator)),
        ("decode", [value, rest @ ..]) if rest.len() >= 2 => Some(decode(value, rest)),
        ("parse_url", [url, part, key @ ..]) if key.len() < 2 => parse_url(url, part, key.first()),
        _ => None,
    }
}

/// What stands for a call with so many arguments.
fn template(name: &str, arguments: usize) -> Option<&'static str> {
    Some(match (name, arguments) {
        // Who and where.
        ("user" | "logged_in_user", 0) => "cast(session_user as text)",
        ("effective_user", 0) => "cast(current_user as text)",
        ("current_database", 0) => {
            "CASE cast(current_schema() as text) WHEN 'public' THEN 'default' ELSE cast(current_schema() as text) END"
        }
        ("pid", 0) => "pg_backend_pid()",
        ("uuid", 0) => "cast(gen_random_uuid() as text)",
        ("sleep", 1) => {
            "coalesce(cast(pg_sleep(cast($1 as double precision) / 1000) as text), '') = ''"
        }
        ("typeof", 1) => "impala_typeof($1)",
        // Conditions.
        ("nvl" | "ifnull" | "isnull", 2) => "coalesce($1, $2)",
        ("nvl2", 3) => "CASE WHEN $1 IS NOT NULL THEN $2 ELSE $3 END",
        ("if", 3) => "CASE WHEN $1 THEN $2 ELSE $3 END",
        ("zeroifnull", 1) => "coalesce($1, 0)",
        ("nullifzero", 1) => "nullif($1, 0)",
        ("nullvalue", 1) => "$1 IS NULL",
        ("nonnullvalue", 1) => "$1 IS NOT NULL",
        ("istrue", 1) => "$1 IS TRUE",
        ("isfalse", 1) => "$1 IS FALSE",
        ("isnottrue", 1) => "$1 IS NOT TRUE",
        ("isnotfalse", 1) => "$1 IS NOT FALSE",
        // Texts.
        ("ucase", 1) => "upper($1)",
        ("lcase", 1) => "lower($1)",
        ("strleft", 2) => "left($1, $2)",
        ("strright", 2) => "right($1, $2)",
        ("space", 1) => "repeat(' ', $1)",
        ("instr", 2) => "strpos($1, $2)",
        ("locate", 2) => "strpos($2, $1)",
        ("locate", 3) => {
            "cast(CASE WHEN strpos(substr($2, $3), $1) = 0 THEN 0 ELSE strpos(substr($2, $3), $1) + $3 - 1 END as integer)"
        }
        ("regexp_like", 2) => "$1 ~ $2",
        ("regexp_replace", 3) => "regexp_replace($1, $2, $3, 'g')",
        ("regexp_extract", 3) => {
            "coalesce((regexp_match($1, concat('(', $2, ')')))[cast($3 as bigint) + 1], '')"
        }
        ("hex", 1) => "impala_hex($1)",
        ("base64encode", 1) => "encode(cast($1 as bytea), 'base64')",
        // Numbers.
        ("pow" | "dpow" | "fpow", 2) => "power($1, $2)",
        ("ceiling" | "dceil", 1) => "ceil($1)",
        ("dfloor", 1) => "floor($1)",
        ("dround", 1) => "round($1)",
        ("dround", 2) => "round($1, $2)",
        ("dtrunc" | "truncate", 1) => "trunc($1)",
        ("dtrunc" | "truncate", 2) => "trunc($1, $2)",
        ("rand", 0) => "random()",
        ("e", 0) => "exp(1.0)",
        ("negative", 1) => "-($1)",
        ("positive", 1) => "$1",
        ("mod" | "fmod", 2) => "$1 % nullif($2, 0)",
        ("pmod", 2) => "(($1 % nullif($2, 0)) + $2) % nullif($2, 0)",
        ("quotient", 2) => "impala_div($1, $2)",
        ("bitand", 2) => "$1 & $2",
        ("bitor", 2) => "$1 | $2",
        ("bitxor", 2) => "$1 # $2",
        ("bitnot", 1) => "~ ($1)",
        ("shiftleft", 2) => "$1 << $2",
        ("shiftright", 2) => "$1 >> $2",
        _ => return None,
    })
}

/// Aggregates that have another name; what stands beside the arguments (`DISTINCT`, `OVER`) stays.
fn aggregate(name: &str, function: &Function) -> Option<Expr> {
    let mut renamed = function.clone();
    let mut call = |name: &str| {
        renamed.name = vec![Ident::new(name)].into();
        Expr::Function(renamed.clone())
    };
    match name {
        "ndv" => filled("cast($1 as bigint)", &[call("approx_distinct")]),
        "appx_median" => Some(call("approx_median")),
        "variance" | "variance_samp" => Some(call("var_samp")),
        "variance_pop" => Some(call("var_pop")),
        "group_concat" => {
            if let FunctionArguments::List(list) = &mut renamed.args {
                if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(first))) =
                    list.args.first_mut()
                {
                    *first = filled("cast($1 as text)", std::slice::from_ref(first))?;
                }
                if list.args.len() == 1 {
                    let comma = FunctionArgExpr::Expr(text(", "));
                    list.args.push(FunctionArg::Unnamed(comma));
                }
            }
            renamed.name = vec![Ident::new("string_agg")].into();
            Some(Expr::Function(renamed))
        }
        _ => None,
    }
}

/// Texts behind each other; NULL if one is.
fn joined(parts: &[Expr], separator: Option<&Expr>) -> Option<Expr> {
    let mut whole = filled("cast($1 as text)", &[parts[0].clone()])?;
    for part in &parts[1..] {
        let part = part.clone();
        whole = match separator {
            Some(separator) => {
                let between = separator.clone();
                filled(
                    "$1 || cast($2 as text) || cast($3 as text)",
                    &[whole, between, part],
                )?
            }
            None => filled("$1 || cast($2 as text)", &[whole, part])?,
        };
    }
    Some(whole)
}

/// `decode(value, search, result, …, default)`, in which NULL is equal to NULL.
fn decode(value: &Expr, rest: &[Expr]) -> Expr {
    let (pairs, default) = match rest.len() % 2 {
        0 => (rest, None),
        _ => (&rest[..rest.len() - 1], rest.last()),
    };
    let conditions = pairs.chunks(2).map(|pair| sqlparser::ast::CaseWhen {
        condition: Expr::IsNotDistinctFrom(
            Box::new(operand(value.clone())),
            Box::new(operand(pair[0].clone())),
        ),
        result: pair[1].clone(),
    });
    Expr::Case {
        case_token: sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
        end_token: sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
        operand: None,
        conditions: conditions.collect(),
        else_result: default.map(|default| Box::new(default.clone())),
    }
}

/// A part of a URL, which must be a literal here.
fn parse_url(url: &Expr, part: &Expr, key: Option<&Expr>) -> Option<Expr> {
    const BEFORE: &str = "^[^:/?#]+://";
    let part = literal(part)?;
    let expression = match (part, key) {
        ("PROTOCOL", None) => "^([^:/?#]+)://".to_owned(),
        ("AUTHORITY", None) => format!("{BEFORE}([^/?#]*)"),
        ("USERINFO", None) => format!("{BEFORE}([^/?#@]*)@"),
        ("HOST", None) => format!("{BEFORE}(?:[^/?#@]*@)?([^:/?#]+)"),
        ("PATH", None) => format!("{BEFORE}[^/?#]*([^?#]*)"),
        ("FILE", None) => format!("{BEFORE}[^/?#]*([^#]*)"),
        ("QUERY", None) => "\\?([^#]*)".to_owned(),
        ("REF", None) => "#(.*)$".to_owned(),
        ("QUERY", Some(key)) => {
            let arguments = [url.clone(), key.clone()];
            return filled(
                "(regexp_match($1, concat('[?&]', $2, '=([^&#]*)')))[1]",
                &arguments,
            );
        }
        _ => return None,
    };
    filled(
        "(regexp_match($1, $2))[1]",
        &[url.clone(), text(&expression)],
    )
}

/// A template with its arguments in place.
pub(super) fn filled(template: &str, arguments: &[Expr]) -> Option<Expr> {
    let mut parser = Parser::new(&PostgreSqlDialect {})
        .try_with_sql(template)
        .ok()?;
    let mut whole = parser.parse_expr().ok()?;
    let _ = visit_expressions_mut(&mut whole, |part| {
        if let Expr::Value(ValueWithSpan {
            value: Value::Placeholder(place),
            ..
        }) = part
        {
            let number: usize = place.trim_start_matches('$').parse().unwrap_or(0);
            if let Some(argument) = number.checked_sub(1).and_then(|i| arguments.get(i)) {
                *part = operand(argument.clone());
            }
        }
        ControlFlow::<()>::Continue(())
    });
    Some(operand(whole))
}

/// An expression as it may stand beside any operator.
fn operand(expression: Expr) -> Expr {
    match expression {
        Expr::BinaryOp { .. }
        | Expr::UnaryOp { .. }
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsDistinctFrom(..)
        | Expr::IsNotDistinctFrom(..)
        | Expr::Between { .. }
        | Expr::InList { .. }
        | Expr::Like { .. }
        | Expr::ILike { .. }
        | Expr::RLike { .. } => Expr::Nested(Box::new(expression)),
        other => other,
    }
}

pub(super) fn arguments(arguments: &FunctionArguments) -> Option<Vec<Expr>> {
    match arguments {
        FunctionArguments::None => Some(Vec::new()),
        FunctionArguments::List(list) => list
            .args
            .iter()
            .map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression.clone()),
                _ => None,
            })
            .collect(),
        FunctionArguments::Subquery(_) => None,
    }
}

/// A text.
pub(super) fn text(text: &str) -> Expr {
    Expr::Value(ValueWithSpan {
        value: Value::SingleQuotedString(text.to_owned()),
        span: Span::empty(),
    })
}

/// The text of a literal.
pub(super) fn literal(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Value(ValueWithSpan {
            value: Value::SingleQuotedString(text),
            ..
        }) => Some(text),
        _ => None,
    }
}

/// Whether it is a number in digits, above zero.
fn is_positive(expression: &Expr) -> bool {
    matches!(
        expression,
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. })
            if digits.parse::<u64>().is_ok_and(|number| number > 0)
    )
}

#[cfg(test)]
#[path = "functions_tests.rs"]
mod tests;
