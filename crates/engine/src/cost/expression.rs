//! What evaluating an expression on a row takes, in operators.

use datafusion::logical_expr::Operator;
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::expressions::{
    BinaryExpr, CaseExpr, CastExpr, DynamicFilterPhysicalExpr, InListExpr, LikeExpr, Literal,
    NotExpr, TryCastExpr,
};
use datafusion::scalar::ScalarValue;

use super::relation::{Kind, Relation};
use super::weights;

impl Relation {
    /// The operators that `expression` takes on each of these rows, with what is in it. Reading a
    /// column, a constant, `AND`, `OR` and `NOT` take nothing, as in PostgreSQL.
    pub(super) fn operators(&self, expression: &dyn PhysicalExpr) -> f64 {
        if expression.is::<DynamicFilterPhysicalExpr>() {
            return 0.0;
        }
        let inputs = expression.children();
        if inputs.is_empty() {
            return 0.0;
        }
        let inputs = inputs.iter().map(|input| self.operators(input.as_ref()));
        self.own_operators(expression) + inputs.sum::<f64>()
    }

    fn own_operators(&self, expression: &dyn PhysicalExpr) -> f64 {
        if let Some(binary) = expression.downcast_ref::<BinaryExpr>() {
            self.binary_operators(binary)
        } else if let Some(like) = expression.downcast_ref::<LikeExpr>() {
            pattern(like)
        } else if expression.is::<NotExpr>() {
            0.0
        } else if let Some(list) = expression.downcast_ref::<InListExpr>() {
            weights::LIST + weights::compared(self.kind(list.expr().as_ref()))
        } else if expression.is::<CaseExpr>() {
            weights::CASE
        } else if let Some(cast) = expression.downcast_ref::<CastExpr>() {
            self.cast_operators(cast.expr().as_ref(), Kind::of(cast.cast_type()))
        } else if let Some(cast) = expression.downcast_ref::<TryCastExpr>() {
            self.cast_operators(cast.expr().as_ref(), Kind::of(cast.cast_type()))
        } else if let Some(function) = expression.downcast_ref::<ScalarFunctionExpr>() {
            // Arithmetic of integers that reports what does not fit (`types/arithmetic.rs`).
            if function.name().starts_with("int_") {
                return weights::INTEGERS_ADDED;
            }
            let mut arguments = function.args().iter().map(|a| self.kind(a.as_ref()));
            let text = arguments.any(|kind| kind == Kind::Text)
                || Kind::of(function.return_type()) == Kind::Text;
            if text {
                weights::TEXT_FUNCTION
            } else {
                weights::FUNCTION
            }
        } else {
            weights::compared(Kind::Number)
        }
    }

    fn binary_operators(&self, binary: &BinaryExpr) -> f64 {
        let kind = || self.kind(binary.left().as_ref());
        match binary.op() {
            Operator::And | Operator::Or => 0.0,
            Operator::Plus
            | Operator::Minus
            | Operator::Multiply
            | Operator::Divide
            | Operator::Modulo => weights::added(kind()),
            Operator::StringConcat => weights::TEXT_FUNCTION,
            op if is_pattern(*op) => weights::PATTERN,
            _ => weights::compared(kind()),
        }
    }

    fn cast_operators(&self, from: &dyn PhysicalExpr, to: Kind) -> f64 {
        match (self.kind(from), to) {
            (Kind::Text, Kind::Text) => 0.0,
            (Kind::Text, _) | (_, Kind::Text) => weights::TEXT_FUNCTION,
            (_, to) => weights::added(to),
        }
    }

    /// The kind of values that an expression has.
    pub(super) fn kind(&self, expression: &dyn PhysicalExpr) -> Kind {
        if let Some(column) = self.column(expression) {
            return column.kind;
        }
        if let Some(literal) = expression.downcast_ref::<Literal>() {
            return Kind::of(&literal.value().data_type());
        }
        if let Some(cast) = expression.downcast_ref::<CastExpr>() {
            return Kind::of(cast.cast_type());
        }
        if let Some(function) = expression.downcast_ref::<ScalarFunctionExpr>() {
            return Kind::of(function.return_type());
        }
        match expression.downcast_ref::<BinaryExpr>() {
            Some(binary) if binary.op().is_numerical_operators() => {
                self.kind(binary.left().as_ref())
            }
            _ => Kind::Number,
        }
    }
}

fn is_pattern(op: Operator) -> bool {
    matches!(
        op,
        Operator::LikeMatch
            | Operator::ILikeMatch
            | Operator::NotLikeMatch
            | Operator::NotILikeMatch
            | Operator::RegexMatch
            | Operator::RegexIMatch
            | Operator::RegexNotMatch
            | Operator::RegexNotIMatch
    )
}

/// What comparing with a pattern takes: where it may be decides.
fn pattern(like: &LikeExpr) -> f64 {
    let literal = like.pattern().downcast_ref::<Literal>();
    let text = literal.and_then(|l| match l.value() {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => {
            text.as_deref()
        }
        _ => None,
    });
    let Some(text) = text.filter(|_| !like.case_insensitive()) else {
        return weights::PATTERN;
    };
    let inner = text.trim_matches('%');
    if inner.contains(['%', '_', '\\']) {
        weights::PATTERN
    } else if text.starts_with('%') && text.ends_with('%') {
        weights::PATTERN_SEARCHED
    } else {
        weights::PATTERN_AT_END
    }
}
