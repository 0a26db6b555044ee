//! Integer arithmetic that reports overflow, and casts to integers that round.
//!
//! DataFusion's `+`, `-` and `*` on integers wrap around; PostgreSQL reports `22003`. After
//! types are coerced, each of them on two integers becomes a function that checks. DataFusion's
//! casts to integers cut digits off; PostgreSQL's round.

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::compute::kernels::numeric;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, exec_err};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

/// The analyzer rule.
#[derive(Debug)]
pub(crate) struct CheckedIntegers;

impl AnalyzerRule for CheckedIntegers {
    fn name(&self) -> &'static str {
        "checked_integers"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let checked = plan.transform_up_with_subqueries(|node| {
            let mut schema = merge_schema(&node.inputs());
            if let LogicalPlan::TableScan(scan) = &node {
                schema.merge(&DFSchema::try_from_qualified_schema(
                    scan.table_name.clone(),
                    &scan.source.schema(),
                )?);
            }
            let names = NamePreserver::new(&node);
            let checked = node.map_expressions(|expr| {
                let name = names.save(&expr);
                let checked = expr.transform_up(|e| check(e, &schema))?;
                Ok(checked.update_data(|e| name.restore(e)))
            })?;
            checked.map_data(LogicalPlan::recompute_schema)
        })?;
        Ok(checked.data)
    }
}

fn check(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let (left, op, right) = match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => (left, op, right),
        Expr::Cast(cast) => return Ok(rounded(cast, schema)),
        other => return Ok(Transformed::no(other)),
    };
    if let Some(kernel) = Kernel::of(op)
        && let Some(data_type) = type_of(&left, schema).filter(DataType::is_integer)
        && type_of(&right, schema).as_ref() == Some(&data_type)
    {
        let function = CheckedFunction::new(kernel, data_type);
        let function = ScalarUDF::new_from_impl(function);
        return Ok(Transformed::yes(function.call(vec![*left, *right])));
    }
    let unchanged = Expr::BinaryExpr(BinaryExpr { left, op, right });
    Ok(Transformed::no(unchanged))
}

/// `2.5::int` is 3.
fn rounded(cast: Cast, schema: &DFSchema) -> Transformed<Expr> {
    let has_digits = |t: DataType| t.is_decimal() || t.is_floating();
    let from = cast.expr.get_type(schema).ok();
    if !cast.field.data_type().is_integer() || !from.is_some_and(has_digits) {
        return Transformed::no(Expr::Cast(cast));
    }
    let round = datafusion::functions::math::round().call(vec![*cast.expr]);
    Transformed::yes(Expr::Cast(Cast {
        expr: Box::new(round),
        ..cast
    }))
}

/// The type of an operand. Operands come before what they are operands of, so the type of a
/// long sum is the one that its last function carries and need not be worked out again.
fn type_of(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    if let Expr::ScalarFunction(call) = expr
        && let Some(checked) = call.func.inner().downcast_ref::<CheckedFunction>()
    {
        return Some(checked.data_type.clone());
    }
    expr.get_type(schema).ok()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kernel {
    Add,
    Subtract,
    Multiply,
}

impl Kernel {
    fn of(op: Operator) -> Option<Self> {
        match op {
            Operator::Plus => Some(Self::Add),
            Operator::Minus => Some(Self::Subtract),
            Operator::Multiply => Some(Self::Multiply),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Add => "int_add",
            Self::Subtract => "int_subtract",
            Self::Multiply => "int_multiply",
        }
    }

    fn apply(
        self,
        left: &dyn datafusion::arrow::array::Datum,
        right: &dyn datafusion::arrow::array::Datum,
    ) -> Result<ArrayRef, ArrowError> {
        match self {
            Self::Add => numeric::add(left, right),
            Self::Subtract => numeric::sub(left, right),
            Self::Multiply => numeric::mul(left, right),
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedFunction {
    kernel: Kernel,
    data_type: DataType,
    signature: Signature,
}

impl CheckedFunction {
    fn new(kernel: Kernel, data_type: DataType) -> Self {
        Self {
            kernel,
            data_type,
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for CheckedFunction {
    fn name(&self) -> &str {
        self.kernel.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return exec_err!("{} takes two integers", self.kernel.name());
        };
        let all_scalar = matches!(
            (left, right),
            (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_))
        );
        let result = match (left, right) {
            (ColumnarValue::Array(l), ColumnarValue::Array(r)) => self.kernel.apply(l, r),
            (ColumnarValue::Array(l), ColumnarValue::Scalar(r)) => {
                self.kernel.apply(l, &r.to_scalar()?)
            }
            (ColumnarValue::Scalar(l), ColumnarValue::Array(r)) => {
                self.kernel.apply(&l.to_scalar()?, r)
            }
            (ColumnarValue::Scalar(l), ColumnarValue::Scalar(r)) => {
                self.kernel.apply(&l.to_scalar()?, &r.to_scalar()?)
            }
        };
        let result = result.map_err(|e| out_of_range(&e, &self.data_type))?;
        if all_scalar {
            let value = datafusion::scalar::ScalarValue::try_from_array(&result, 0)?;
            return Ok(ColumnarValue::Scalar(value));
        }
        Ok(ColumnarValue::Array(result))
    }
}

/// PostgreSQL names the type that is too small.
fn out_of_range(error: &ArrowError, data_type: &DataType) -> datafusion::error::DataFusionError {
    let name = match data_type {
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "smallint",
        DataType::Int32 | DataType::UInt16 => "integer",
        _ => "bigint",
    };
    match error {
        ArrowError::ArithmeticOverflow(_) => {
            crate::EngineError::new("22003", format!("{name} out of range")).into()
        }
        other => crate::EngineError::internal(other.to_string()).into(),
    }
}
