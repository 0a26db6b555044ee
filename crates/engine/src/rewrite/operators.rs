//! Operators that are functions here.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments,
    UnaryOperator, Value, ValueWithSpan,
};

use super::syntax::call;
use crate::functions::{BIT_NOT, EXTRACT, LIKE_ESCAPE, SIMILAR_TO_ESCAPE};

/// Rewrites `expr`, whose operands have been visited.
pub(super) fn rewrite(expr: &mut Expr) {
    let rewritten = match expr {
        Expr::UnaryOp { op, expr } => {
            prefix_function(*op).map(|name| function(name, vec![(**expr).clone()]))
        }
        Expr::Like {
            any: false,
            pattern,
            escape_char,
            ..
        }
        | Expr::ILike {
            any: false,
            pattern,
            escape_char,
            ..
        } => {
            if let Some(escape) = escape_char.take() {
                **pattern = function(LIKE_ESCAPE, vec![(**pattern).clone(), literal(escape)]);
            }
            None
        }
        Expr::SimilarTo {
            negated,
            expr,
            pattern,
            escape_char,
        } => {
            let mut arguments = vec![(**pattern).clone()];
            arguments.extend(escape_char.take().map(literal));
            Some(Expr::BinaryOp {
                left: expr.clone(),
                op: if *negated {
                    BinaryOperator::PGRegexNotMatch
                } else {
                    BinaryOperator::PGRegexMatch
                },
                right: Box::new(function(SIMILAR_TO_ESCAPE, arguments)),
            })
        }
        Expr::Extract { field, expr, .. } => {
            let field = field.to_string().trim_matches('\'').to_lowercase();
            let field = Expr::Value(Value::SingleQuotedString(field).into());
            Some(function(EXTRACT, vec![field, (**expr).clone()]))
        }
        _ => None,
    };
    if let Some(rewritten) = rewritten {
        *expr = rewritten;
    }
}

fn prefix_function(op: UnaryOperator) -> Option<&'static str> {
    Some(match op {
        UnaryOperator::PGSquareRoot => "sqrt",
        UnaryOperator::PGCubeRoot => "cbrt",
        UnaryOperator::PGAbs => "abs",
        UnaryOperator::BitwiseNot => BIT_NOT,
        _ => return None,
    })
}

fn literal(value: ValueWithSpan) -> Expr {
    Expr::Value(value)
}

/// A call with these arguments.
pub(super) fn function(name: &str, arguments: Vec<Expr>) -> Expr {
    let args = arguments
        .into_iter()
        .map(|a| FunctionArg::Unnamed(FunctionArgExpr::Expr(a)))
        .collect();
    call(
        name,
        FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
    )
}
