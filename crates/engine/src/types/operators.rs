//! Operators whose types DataFusion chooses otherwise than PostgreSQL.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::resolve::{check_boolean, typed, unknown};
use super::{dates, numeric};
use crate::EngineError;

/// Asked for every operator before DataFusion plans it.
#[derive(Debug)]
pub(super) struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        if let BinaryOperator::And | BinaryOperator::Or = expr.op {
            for side in [&expr.left, &expr.right] {
                check_boolean(&expr.op.to_string(), side, schema)?;
            }
        }
        let expr = with_known_types(expr, schema)?;
        let (Ok(left), Ok(right)) = (expr.left.get_type(schema), expr.right.get_type(schema))
        else {
            return Ok(PlannerResult::Original(expr));
        };
        let planned = match expr.op {
            BinaryOperator::Divide => numeric::division(&expr.left, &left, &expr.right, &right),
            BinaryOperator::Plus => dates::sum(&expr.left, &left, &expr.right, &right),
            BinaryOperator::Minus => dates::difference(&expr.left, &left, &expr.right, &right),
            _ => None,
        };
        Ok(match planned {
            Some(planned) => PlannerResult::Planned(planned),
            None => PlannerResult::Original(expr),
        })
    }
}

/// A literal in quotes takes the type of the other operand.
fn with_known_types(expr: RawBinaryExpr, schema: &DFSchema) -> Result<RawBinaryExpr> {
    let RawBinaryExpr { op, left, right } = expr;
    let known = match (unknown(&left), unknown(&right)) {
        (Some(_), Some(_)) if is_arithmetic(&op) => {
            let message = format!("operator is not unique: unknown {op} unknown");
            let hint = "Could not choose a best candidate operator. You might need to add explicit type casts.";
            return Err(EngineError::new("42725", message).with_hint(hint).into());
        }
        (Some(_), None) => right.get_type(schema),
        (None, Some(_)) => left.get_type(schema),
        _ => return Ok(RawBinaryExpr { op, left, right }),
    };
    let takes = |known: &DataType| {
        let compares = is_comparison(&op) || *known == DataType::Boolean;
        let counts = is_arithmetic(&op) && known.is_numeric();
        let subtracts = op == BinaryOperator::Minus;
        !known.is_string() && !known.is_null() && (compares || counts || subtracts)
    };
    let Some(known) = known.ok().filter(takes) else {
        return Ok(RawBinaryExpr { op, left, right });
    };
    let take = |side: Expr| match unknown(&side) {
        Some(_) => typed(side, &known).unalias(),
        None => side,
    };
    let (left, right) = (take(left), take(right));
    Ok(RawBinaryExpr { op, left, right })
}

fn is_arithmetic(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Divide, Minus, Modulo, Multiply, Plus};
    matches!(op, Plus | Minus | Multiply | Divide | Modulo)
}

fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}
