//! `sum` and `avg` of exact numbers.
//!
//! DataFusion adds bigints up in a bigint, which wraps around, and averages integers as floats.
//! PostgreSQL's `sum(bigint)` is numeric, `sum(integer)` is bigint, and `avg` of either, and of
//! numeric, is a numeric with sixteen decimals. Everything else is left to DataFusion's functions.

use std::collections::HashSet;
use std::mem::size_of_val;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Decimal128Array, Int64Array,
    IntervalMonthDayNanoArray, PrimitiveArray,
};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Field, FieldRef, Int8Type, Int16Type,
    Int32Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF,
    Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::dates;
use super::numeric::{self, SIGNIFICANT_DECIMALS};
use crate::EngineError;

/// `sum` around DataFusion's.
pub(super) fn sum(inner: Arc<AggregateUDF>) -> AggregateUDF {
    ExactAggregate::function(Kind::Sum, inner)
}

/// `avg` around DataFusion's.
pub(super) fn avg(inner: Arc<AggregateUDF>) -> AggregateUDF {
    ExactAggregate::function(Kind::Average, inner)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Sum,
    Average,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ExactAggregate {
    kind: Kind,
    inner: Arc<AggregateUDF>,
    aliases: Vec<String>,
    signature: Signature,
}

impl ExactAggregate {
    fn function(kind: Kind, inner: Arc<AggregateUDF>) -> AggregateUDF {
        AggregateUDF::new_from_impl(Self {
            kind,
            aliases: inner.aliases().to_vec(),
            inner,
            signature: Signature::user_defined(Volatility::Immutable),
        })
    }

    /// What comes out for an input type; `None` where DataFusion's function does it.
    fn outcome(&self, input: &DataType) -> Option<Outcome> {
        use DataType::{Decimal128, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64};
        match (self.kind, input) {
            (Kind::Sum, Int8 | Int16 | Int32 | UInt8 | UInt16) => Some(Outcome::BigInt),
            (Kind::Sum, Int64 | UInt32 | UInt64) => Some(Outcome::Numeric),
            (Kind::Average, Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64) => {
                Some(Outcome::Average { scale: 0 })
            }
            (Kind::Average, DataType::Interval(IntervalUnit::MonthDayNano)) => {
                Some(Outcome::Interval)
            }
            (Kind::Average, Decimal128(_, scale)) if *scale >= 0 => {
                Some(Outcome::Average { scale: *scale })
            }
            _ => None,
        }
    }
}

/// What is made of the sum and the count.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    BigInt,
    Numeric,
    /// The average of intervals, whose months have thirty days.
    Interval,
    /// Of inputs with so many decimals.
    Average {
        scale: i8,
    },
}

impl Outcome {
    fn data_type(self) -> DataType {
        match self {
            Self::BigInt => DataType::Int64,
            Self::Numeric => DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0),
            Self::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Self::Average { scale } => {
                DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale.max(SIGNIFICANT_DECIMALS))
            }
        }
    }

    /// The sum has the scale of the input.
    fn sum_scale(self) -> i8 {
        match self {
            Self::BigInt | Self::Numeric | Self::Interval => 0,
            Self::Average { scale } => scale,
        }
    }

    fn sum_type(self) -> DataType {
        DataType::Decimal128(DECIMAL128_MAX_PRECISION, self.sum_scale())
    }

    /// The result of one group; the count is above zero.
    fn of(self, sum: i128, count: i64) -> Result<i128> {
        let result = match self {
            Self::BigInt => i64::try_from(sum).ok().map(i128::from),
            Self::Numeric => Some(sum),
            Self::Interval => numeric::quotient(sum, 0, i128::from(count)),
            Self::Average { scale } => {
                let more = scale.max(SIGNIFICANT_DECIMALS) - scale;
                numeric::quotient(sum, more.unsigned_abs().into(), i128::from(count))
            }
        };
        Ok(result.ok_or_else(|| match self {
            Self::BigInt => EngineError::new("22003", "bigint out of range"),
            Self::Numeric | Self::Interval | Self::Average { .. } => numeric::overflow(),
        })?)
    }

    fn array(self, values: Vec<i128>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        Ok(match self {
            Self::BigInt => {
                // `of` has checked the range.
                let values: Vec<i64> = values.into_iter().map(|v| v as i64).collect();
                Arc::new(Int64Array::new(values.into(), nulls))
            }
            Self::Interval => {
                let values: Vec<_> = values.into_iter().map(dates::of_nanoseconds).collect();
                Arc::new(IntervalMonthDayNanoArray::new(values.into(), nulls))
            }
            Self::Numeric | Self::Average { .. } => {
                let array = Decimal128Array::new(values.into(), nulls);
                Arc::new(array.with_data_type(self.data_type()))
            }
        })
    }
}

impl AggregateUDFImpl for ExactAggregate {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if let [input] = types
            && self.outcome(input).is_some()
        {
            return Ok(types.to_vec());
        }
        let fields: Vec<FieldRef> = types
            .iter()
            .map(|t| Arc::new(Field::new("", t.clone(), true)))
            .collect();
        let coerced = fields_with_udf(&fields, self.inner.as_ref())?;
        Ok(coerced.iter().map(|f| f.data_type().clone()).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match self.outcome(&types[0]) {
            Some(outcome) => Ok(outcome.data_type()),
            None => self.inner.return_type(types),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let Some(outcome) = self.outcome(args.input_fields[0].data_type()) else {
            return self.inner.state_fields(args);
        };
        let sum = |name: &str| Field::new(name, outcome.sum_type(), true);
        if args.is_distinct {
            let name = format_state_name(args.name, "distinct");
            return Ok(vec![Arc::new(Field::new_list(name, sum("item"), true))]);
        }
        let count = Field::new(
            format_state_name(args.name, "count"),
            DataType::Int64,
            false,
        );
        let sum = sum(&format_state_name(args.name, "sum"));
        Ok(vec![Arc::new(sum), Arc::new(count)])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match self.outcome(args.expr_fields[0].data_type()) {
            Some(outcome) => Ok(Box::new(ExactAccumulator {
                outcome,
                sum: 0,
                count: 0,
                distinct: args.is_distinct.then(HashSet::new),
            })),
            None => self.inner.accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match self.outcome(args.expr_fields[0].data_type()) {
            Some(_) => self.accumulator(args),
            None => self.inner.create_sliding_accumulator(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        match self.outcome(args.expr_fields[0].data_type()) {
            Some(_) => !args.is_distinct,
            None => self.inner.groups_accumulator_supported(args),
        }
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match self.outcome(args.expr_fields[0].data_type()) {
            Some(outcome) => Ok(Box::new(ExactGroups {
                outcome,
                sums: Vec::new(),
                counts: Vec::new(),
            })),
            None => self.inner.create_groups_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// Calls `each` with the row and the value of everything in `array` that is neither NULL nor
/// filtered out.
fn for_each<T>(
    array: &PrimitiveArray<T>,
    filter: Option<&BooleanArray>,
    mut each: impl FnMut(usize, i128) -> Result<()>,
) -> Result<()>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i128>,
{
    if array.null_count() == 0 && filter.is_none() {
        for (row, value) in array.values().iter().enumerate() {
            each(row, (*value).into())?;
        }
        return Ok(());
    }
    let passes = |row| filter.is_none_or(|f| f.is_valid(row) && f.value(row));
    for (row, value) in array.iter().enumerate() {
        if let Some(value) = value
            && passes(row)
        {
            each(row, value.into())?;
        }
    }
    Ok(())
}

/// [`for_each`] of whatever exact type the array has.
fn for_each_exact(
    array: &ArrayRef,
    filter: Option<&BooleanArray>,
    each: impl FnMut(usize, i128) -> Result<()>,
) -> Result<()> {
    match array.data_type() {
        DataType::Int8 => for_each(array.as_primitive::<Int8Type>(), filter, each),
        DataType::Int16 => for_each(array.as_primitive::<Int16Type>(), filter, each),
        DataType::Int32 => for_each(array.as_primitive::<Int32Type>(), filter, each),
        DataType::Int64 => for_each(array.as_primitive::<Int64Type>(), filter, each),
        DataType::UInt8 => for_each(array.as_primitive::<UInt8Type>(), filter, each),
        DataType::UInt16 => for_each(array.as_primitive::<UInt16Type>(), filter, each),
        DataType::UInt32 => for_each(array.as_primitive::<UInt32Type>(), filter, each),
        DataType::UInt64 => for_each(array.as_primitive::<UInt64Type>(), filter, each),
        DataType::Decimal128(..) => for_each(array.as_primitive::<Decimal128Type>(), filter, each),
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let array = array.as_primitive::<IntervalMonthDayNanoType>();
            let totals: Decimal128Array =
                array.iter().map(|v| v.map(dates::in_nanoseconds)).collect();
            for_each(&totals, filter, each)
        }
        other => internal_err!("{other} is no exact type"),
    }
}

fn add(sum: &mut i128, value: i128) -> Result<()> {
    *sum = sum.checked_add(value).ok_or_else(numeric::overflow)?;
    Ok(())
}

/// One sum and count, without groups or over a window.
#[derive(Debug)]
struct ExactAccumulator {
    outcome: Outcome,
    sum: i128,
    count: i64,
    /// The values seen, where each counts once.
    distinct: Option<HashSet<i128>>,
}

impl ExactAccumulator {
    fn take(&mut self, value: i128) -> Result<()> {
        if let Some(seen) = &mut self.distinct
            && !seen.insert(value)
        {
            return Ok(());
        }
        self.count += 1;
        add(&mut self.sum, value)
    }

    fn sum_scalar(&self, value: i128) -> ScalarValue {
        let scale = self.outcome.sum_scale();
        ScalarValue::Decimal128(Some(value), DECIMAL128_MAX_PRECISION, scale)
    }
}

impl Accumulator for ExactAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for_each_exact(&values[0], None, |_, value| self.take(value))
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for_each_exact(&values[0], None, |_, value| {
            self.count -= 1;
            add(&mut self.sum, -value)
        })
    }

    fn supports_retract_batch(&self) -> bool {
        self.distinct.is_none()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.count == 0 {
            return ScalarValue::try_from(&self.outcome.data_type());
        }
        let result = self.outcome.of(self.sum, self.count)?;
        ScalarValue::try_from_array(&self.outcome.array(vec![result], None)?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let Some(distinct) = &self.distinct else {
            let count = ScalarValue::Int64(Some(self.count));
            return Ok(vec![self.sum_scalar(self.sum), count]);
        };
        let values: Vec<ScalarValue> = distinct.iter().map(|v| self.sum_scalar(*v)).collect();
        let list = ScalarValue::new_list_nullable(&values, &self.outcome.sum_type());
        Ok(vec![ScalarValue::List(list)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        if self.distinct.is_some() {
            for values in states[0].as_list::<i32>().iter().flatten() {
                for_each_exact(&values, None, |_, value| self.take(value))?;
            }
            return Ok(());
        }
        for_each_exact(&states[0], None, |_, sum| add(&mut self.sum, sum))?;
        for count in states[1].as_primitive::<Int64Type>().iter().flatten() {
            self.count += count;
        }
        Ok(())
    }

    fn size(&self) -> usize {
        let seen = self.distinct.as_ref().map_or(0, HashSet::capacity);
        size_of_val(self) + seen * size_of::<i128>()
    }
}

/// A sum and a count for each group.
#[derive(Debug)]
struct ExactGroups {
    outcome: Outcome,
    sums: Vec<i128>,
    counts: Vec<i64>,
}

impl ExactGroups {
    fn grow(&mut self, groups: usize) {
        self.sums.resize(groups, 0);
        self.counts.resize(groups, 0);
    }

    fn sum_array(&self, sums: Vec<i128>) -> ArrayRef {
        Arc::new(Decimal128Array::from(sums).with_data_type(self.outcome.sum_type()))
    }
}

impl GroupsAccumulator for ExactGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        groups: usize,
    ) -> Result<()> {
        self.grow(groups);
        for_each_exact(&values[0], filter, |row, value| {
            let group = group_indices[row];
            self.counts[group] += 1;
            add(&mut self.sums[group], value)
        })
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        group_indices: &[usize],
        groups: usize,
    ) -> Result<()> {
        self.grow(groups);
        for_each_exact(&states[0], None, |row, sum| {
            add(&mut self.sums[group_indices[row]], sum)
        })?;
        let counts = states[1].as_primitive::<Int64Type>().values();
        for (group, count) in group_indices.iter().zip(counts) {
            self.counts[*group] += count;
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = emit_to.take_needed(&mut self.sums);
        let counts = emit_to.take_needed(&mut self.counts);
        let nulls: NullBuffer = counts.iter().map(|count| *count > 0).collect();
        let results = sums
            .into_iter()
            .zip(counts)
            .map(|(sum, count)| match count {
                0 => Ok(0),
                _ => self.outcome.of(sum, count),
            });
        let results = results.collect::<Result<Vec<i128>>>()?;
        self.outcome
            .array(results, Some(nulls).filter(|n| n.null_count() > 0))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let sums = emit_to.take_needed(&mut self.sums);
        let counts = emit_to.take_needed(&mut self.counts);
        Ok(vec![
            self.sum_array(sums),
            Arc::new(Int64Array::from(counts)),
        ])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let mut sums = vec![0; values[0].len()];
        let mut counts = vec![0_i64; values[0].len()];
        for_each_exact(&values[0], filter, |row, value| {
            sums[row] = value;
            counts[row] = 1;
            Ok(())
        })?;
        Ok(vec![
            self.sum_array(sums),
            Arc::new(Int64Array::from(counts)),
        ])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<i128>() + self.counts.capacity() * size_of::<i64>()
    }
}
