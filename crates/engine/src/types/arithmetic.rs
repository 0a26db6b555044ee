//! What must be known of types after they are coerced: arithmetic that reports overflow, and
//! casts.
//!
//! DataFusion's `+`, `-` and `*` on integers wrap around; PostgreSQL reports `22003`. Its division
//! of floats by zero gives infinity; PostgreSQL reports `22012`. After types are coerced, each of
//! them becomes a function that checks.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Datum};
use datafusion::arrow::compute::cast;
use datafusion::arrow::compute::kernels::numeric;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, exec_err};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

/// The analyzer rule.
#[derive(Debug)]
pub(super) struct CheckedIntegers;

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
        Expr::Cast(cast) => {
            let function = super::casts::of(&cast, schema);
            return Ok(function.map_or_else(|| Transformed::no(Expr::Cast(cast)), Transformed::yes));
        }
        Expr::Between(between) => return Ok(super::dates::between(between, schema)),
        other => return Ok(Transformed::no(other)),
    };
    if let Some(expr) = super::dates::comparison(&left, op, &right, schema) {
        return Ok(Transformed::yes(expr));
    }
    if let Some(kernel) = Kernel::of(op)
        && let Some(data_type) = type_of(&left, schema).filter(|t| kernel.checks(t))
        && type_of(&right, schema).as_ref() == Some(&data_type)
    {
        let function = CheckedFunction::new(kernel, data_type);
        let function = ScalarUDF::new_from_impl(function);
        return Ok(Transformed::yes(function.call(vec![*left, *right])));
    }
    let unchanged = Expr::BinaryExpr(BinaryExpr { left, op, right });
    Ok(Transformed::no(unchanged))
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
    Divide,
}

impl Kernel {
    fn of(op: Operator) -> Option<Self> {
        match op {
            Operator::Plus => Some(Self::Add),
            Operator::Minus => Some(Self::Subtract),
            Operator::Multiply => Some(Self::Multiply),
            Operator::Divide => Some(Self::Divide),
            _ => None,
        }
    }

    /// Whether DataFusion's own operator does not check operands of this type.
    fn checks(self, data_type: &DataType) -> bool {
        match self {
            Self::Add | Self::Subtract | Self::Multiply => data_type.is_integer(),
            Self::Divide => data_type.is_floating(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Divide => "float_divide",
            Self::Add => "int_add",
            Self::Subtract => "int_subtract",
            Self::Multiply => "int_multiply",
        }
    }

    fn apply(self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
        match self {
            Self::Add => numeric::add(left, right),
            Self::Subtract => numeric::sub(left, right),
            Self::Multiply => numeric::mul(left, right),
            Self::Divide => divide(left, right),
        }
    }
}

/// The quotients of floats, none of which was divided by zero.
fn divide(left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
    let quotients = numeric::div(left, right)?;
    // What is not finite may come from a zero; most often there is none.
    let doubles = cast(&quotients, &DataType::Float64)?;
    let doubles = doubles.as_primitive::<Float64Type>();
    if doubles.iter().flatten().all(f64::is_finite) {
        return Ok(quotients);
    }
    let zeros = at_each_row(right, doubles.len(), |d| d == 0.0)?;
    let undefined = at_each_row(left, doubles.len(), f64::is_nan)?;
    match zeros
        .iter()
        .zip(&undefined)
        .any(|(zero, nan)| *zero && !nan)
    {
        true => Err(ArrowError::DivideByZero),
        false => Ok(quotients),
    }
}

/// What holds for the operand of each row; false where it is NULL.
fn at_each_row(
    datum: &dyn Datum,
    rows: usize,
    holds: impl Fn(f64) -> bool,
) -> Result<Vec<bool>, ArrowError> {
    let (values, is_scalar) = datum.get();
    let values = cast(values, &DataType::Float64)?;
    let values = values.as_primitive::<Float64Type>();
    let found: Vec<bool> = values.iter().map(|v| v.is_some_and(&holds)).collect();
    Ok(if is_scalar {
        vec![found[0]; rows]
    } else {
        found
    })
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

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        // As nullable as the operator was, which other parts of the plan rely on.
        let nullable = args.arg_fields.iter().any(|f| f.is_nullable());
        Ok(Arc::new(Field::new(
            self.name(),
            self.data_type.clone(),
            nullable,
        )))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return exec_err!("{} takes two numbers", self.kernel.name());
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
        ArrowError::DivideByZero => crate::EngineError::new("22012", "division by zero").into(),
        other => crate::EngineError::internal(other.to_string()).into(),
    }
}
