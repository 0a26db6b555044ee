//! What is believed of an operator's rows: how many, and what their columns hold.

use datafusion::arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::expressions::{
    CastExpr, Column as ColumnExpr, Literal, TryCastExpr,
};
use datafusion::scalar::ScalarValue;

use super::footers::StoredColumn;
use super::{defaults, weights};

/// A set of numbers from the least to the greatest. Dates and times are seconds of the epoch, so
/// that values of related types can be compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub(super) min: f64,
    pub(super) max: f64,
    /// The distance of neighbours; 0 where values have none (floating point).
    pub(super) step: f64,
}

impl Range {
    /// How many values lie in it.
    fn values(&self) -> Option<f64> {
        (self.step > 0.0).then(|| (self.max - self.min) / self.step + 1.0)
    }

    /// How probable it is that a value of this range lies below one of `other`, if all values are
    /// equally frequent and the two have nothing to do with each other.
    pub(super) fn below(&self, other: &Self) -> f64 {
        let length = self.max - self.min;
        // The integral over the share of this range that lies below `x`.
        let integral = |x: f64| {
            if x <= self.min {
                0.0
            } else if x >= self.max {
                x - (self.min + self.max) / 2.0
            } else {
                (x - self.min).powi(2) / (2.0 * length)
            }
        };
        let whole = other.max - other.min;
        if whole > 0.0 {
            return ((integral(other.max) - integral(other.min)) / whole).clamp(0.0, 1.0);
        }
        self.covered_by(&Self {
            max: other.min,
            ..*self
        })
    }

    /// The smallest range around both.
    pub(super) fn around(&self, other: &Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            step: self.step.min(other.step),
        }
    }

    /// The part of this range that `other` covers: 0 to 1.
    pub(super) fn covered_by(&self, other: &Self) -> f64 {
        let (min, max) = (self.min.max(other.min), self.max.min(other.max));
        if max < min {
            return 0.0;
        }
        let whole = self.max - self.min + self.step;
        if whole <= 0.0 {
            return 1.0;
        }
        ((max - min + self.step) / whole).clamp(0.0, 1.0)
    }
}

/// What values are, as far as work with them differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Integers, floating point, dates, times, booleans.
    Number,
    Decimal,
    Text,
}

impl Kind {
    pub(super) fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..) => Self::Decimal,
            DataType::Dictionary(_, value) => Self::of(value),
            _ if data_type.primitive_width().is_some() => Self::Number,
            DataType::Null | DataType::Boolean => Self::Number,
            _ => Self::Text,
        }
    }
}

/// What is believed of a column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub(super) kind: Kind,
    /// Different values where the column comes from (its table, its `GROUP BY`), before filters
    /// on other columns took rows away. At most this many, often fewer.
    pub(super) distinct: Option<f64>,
    pub(super) range: Option<Range>,
    /// Share of rows that are null.
    pub(super) nulls: f64,
    /// Bytes of a value.
    pub(super) width: f64,
    /// Rows of the relation where the column comes from.
    pub(super) source_rows: f64,
    /// The scan that it comes from.
    pub(super) source: Option<usize>,
    /// Whether its values follow the order of the rows in its files.
    pub(super) ordered: bool,
    /// Whether values are known to repeat, though nobody knows how often.
    pub(super) repeats: bool,
    /// The part (0 to 1) of its range that conditions have left, on it or on another column that
    /// follows the same order.
    pub(super) span: f64,
    /// The part (0 to 1) of its values that rows were read for, because a join will ask for no
    /// others.
    pub(super) asked_for: f64,
    /// Different values that are left at most.
    pub(super) left: f64,
}

impl Column {
    /// A column of which only the type is known.
    pub(super) fn unknown(data_type: &DataType, rows: f64) -> Self {
        Self {
            kind: Kind::of(data_type),
            distinct: matches!(data_type, DataType::Boolean).then_some(2.0),
            range: None,
            nulls: 0.0,
            width: width(data_type),
            source_rows: rows,
            source: None,
            ordered: false,
            repeats: false,
            span: 1.0,
            asked_for: 1.0,
            left: f64::INFINITY,
        }
    }

    fn constant(value: &ScalarValue, rows: f64) -> Self {
        let number = number(value);
        Self {
            distinct: Some(1.0),
            range: number.map(|(n, step)| Range {
                min: n,
                max: n,
                step,
            }),
            nulls: if value.is_null() { 1.0 } else { 0.0 },
            ..Self::unknown(&value.data_type(), rows)
        }
    }

    fn from_statistics(statistics: &ColumnStatistics, data_type: &DataType, rows: f64) -> Self {
        let range = range_of(statistics);
        let possible = range.as_ref().and_then(Range::values);
        let counted = float(&statistics.distinct_count);
        let unknown = Self::unknown(data_type, rows);
        let least = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let distinct = least(least(counted, possible), unknown.distinct);
        let stored = float(&statistics.byte_size).filter(|_| data_type.primitive_width().is_none());
        let stored = stored.map(|bytes| bytes / rows);
        let distinct = distinct.or_else(|| stored.and_then(distinct_of_codes));
        Self {
            distinct: distinct.map(|d| d.min(rows).max(1.0)),
            range,
            nulls: float(&statistics.null_count).map_or(0.0, |n| (n / rows).clamp(0.0, 1.0)),
            width: stored.map_or(unknown.width, |b| b.max(defaults::VIEW_BYTES)),
            ..unknown
        }
    }
}

impl Column {
    /// Writes down that the column's table was read in `share` (0 to 1), wherever a value of
    /// `kept` may be.
    pub(super) fn keep_around(&mut self, kept: &Range, share: f64) {
        let Some(whole) = self.range else {
            return;
        };
        let length = ((whole.max - whole.min) * share).max(kept.max - kept.min);
        // As much before `kept` as behind it, inside the whole.
        let before = (length - (kept.max - kept.min)) / 2.0;
        let min = (kept.min - before).min(whole.max - length).max(whole.min);
        let max = (min + length).min(whole.max);
        self.range = Some(Range { min, max, ..whole });
        self.distinct = self.distinct.map(|d| (d * share).max(1.0));
    }

    /// Writes down what footers say. How many values there are is known better from a dictionary
    /// than from how far they lie apart.
    pub(super) fn describe(&mut self, stored: &StoredColumn) {
        if let Some(width) = stored.width() {
            self.width = width.max(defaults::VIEW_BYTES);
        }
        let number_bytes = if self.kind == Kind::Text {
            0.0
        } else {
            self.width.min(8.0)
        };
        self.repeats = stored.repeats(number_bytes);
        self.ordered = self.range.is_some_and(|range| stored.is_ordered(&range));
        let possible = self.range.as_ref().and_then(Range::values);
        let found = stored.distinct(self.range).map(|d| d.min(self.source_rows));
        self.distinct = match (found, possible) {
            (Some(found), Some(possible)) => Some(found.min(possible)),
            (found, _) => found.or(self.distinct),
        };
    }

    /// The length (0 to 1 of this column's range) of the interval in which the values of `key`
    /// lie that this column is joined with.
    ///
    /// Keys that follow the order of their rows lie side by side where a condition on something
    /// else that follows it has left them: the days of a year. Others may lie anywhere.
    pub(super) fn interval_of(&self, key: &Self) -> f64 {
        let (Some(own), Some(other)) = (self.range, key.range) else {
            return 1.0;
        };
        let whole = own.max - own.min;
        let left = (other.max - other.min) * if key.ordered { key.span } else { 1.0 };
        let length = if whole > 0.0 { left / whole } else { 1.0 };
        length.min(own.covered_by(&other))
    }

    /// Whether it may be the key that others refer to: rows are stored in its order, and it is
    /// different in all of them.
    pub(super) fn is_referred_to(&self) -> bool {
        let unique = self.distinct.is_none_or(|d| d >= self.source_rows * 0.99);
        self.ordered && unique && !self.repeats
    }
}

/// What is believed of the rows that an operator gives.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Relation {
    pub(super) rows: f64,
    pub(super) columns: Vec<Column>,
}

impl Relation {
    /// Rows of which only the types are known.
    pub(super) fn unknown(schema: &Schema, rows: f64) -> Self {
        let columns = schema.fields().iter();
        let columns = columns.map(|f| Column::unknown(f.data_type(), rows));
        Self {
            rows,
            columns: columns.collect(),
        }
    }

    /// What DataFusion knows of the source of `schema`; `rows` where it does not know how many.
    pub(super) fn from_statistics(statistics: &Statistics, schema: &Schema, rows: f64) -> Self {
        let rows = float(&statistics.num_rows).unwrap_or(rows);
        let at_least_one = rows.max(1.0);
        let columns = schema.fields().iter().enumerate().map(|(i, field)| {
            let column = statistics.column_statistics.get(i);
            column.map_or_else(
                || Column::unknown(field.data_type(), at_least_one),
                |c| Column::from_statistics(c, field.data_type(), at_least_one),
            )
        });
        Self {
            rows,
            columns: columns.collect(),
        }
    }

    /// Bytes of a row.
    pub(super) fn width(&self) -> f64 {
        self.columns.iter().map(|c| c.width).sum()
    }

    /// What is believed of a key: it has no more values than there are rows. A key of which
    /// nothing is known is taken to be unique where it comes from.
    pub(super) fn key(&self, expression: &dyn PhysicalExpr) -> Column {
        let mut key = self.describe(expression, &DataType::Utf8);
        let distinct = key.distinct.unwrap_or(key.source_rows);
        key.distinct = Some(distinct.min(self.rows));
        key
    }

    /// How many values it has.
    pub(super) fn values(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let columns = self.columns.len() as f64;
        self.rows * columns
    }

    /// What copying all of it takes, in operators.
    pub(super) fn copying(&self) -> f64 {
        self.values() * weights::VALUE_COPIED + self.rows * self.width() / weights::BYTES_COPIED
    }

    /// The same columns in `rows` rows.
    pub(super) fn with_rows(self, rows: f64) -> Self {
        Self { rows, ..self }
    }

    /// What is believed of an expression over these columns.
    pub(super) fn describe(&self, expression: &dyn PhysicalExpr, data_type: &DataType) -> Column {
        if let Some(column) = self.column(expression) {
            return column.clone();
        }
        if let Some(literal) = expression.downcast_ref::<Literal>() {
            return Column::constant(literal.value(), self.rows);
        }
        let mut column = Column::unknown(data_type, self.rows);
        if column.distinct.is_none() {
            column.distinct = self.distinct_of_inputs(expression);
        }
        column
    }

    /// The column that an expression is, apart from casts.
    pub(super) fn column(&self, expression: &dyn PhysicalExpr) -> Option<&Column> {
        self.columns.get(self.column_index(expression)?)
    }

    pub(super) fn column_index(&self, expression: &dyn PhysicalExpr) -> Option<usize> {
        if let Some(column) = expression.downcast_ref::<ColumnExpr>() {
            return Some(column.index()).filter(|i| *i < self.columns.len());
        }
        if let Some(cast) = expression.downcast_ref::<CastExpr>() {
            return self.column_index(cast.expr().as_ref());
        }
        let cast = expression.downcast_ref::<TryCastExpr>()?;
        self.column_index(cast.expr().as_ref())
    }

    /// An expression has at most as many values as its inputs have combinations.
    fn distinct_of_inputs(&self, expression: &dyn PhysicalExpr) -> Option<f64> {
        let mut distinct = 1.0_f64;
        for child in expression.children() {
            let of_child = if child.is::<Literal>() {
                Some(1.0)
            } else if let Some(column) = self.column(child.as_ref()) {
                column.distinct
            } else {
                self.distinct_of_inputs(child.as_ref())
            };
            distinct = (distinct * of_child?).min(self.rows.max(1.0));
        }
        Some(distinct)
    }

    /// How many different combinations of values the columns have in these rows. Columns of one
    /// table have at most as many as there were rows of it.
    pub(super) fn groups(&self, columns: &[Column]) -> f64 {
        let most = self.rows.max(1.0);
        let mut of_sources: Vec<(Option<usize>, f64)> = Vec::new();
        for column in columns {
            let known = column
                .distinct
                .unwrap_or(defaults::DISTINCT)
                .min(column.left);
            let same = |(source, _): &&mut (Option<usize>, f64)| {
                source.is_some() && *source == column.source
            };
            if let Some((_, groups)) = of_sources.iter_mut().find(same) {
                let room = column.left.min(column.source_rows);
                *groups = (*groups * known).min(room.max(*groups));
            } else {
                of_sources.push((column.source, known));
            }
        }
        let groups = of_sources.iter().map(|(_, groups)| groups);
        groups.fold(1.0, |all: f64, groups| (all * groups).min(most))
    }

    /// Writes down that the rows are all that is left of each column's values.
    pub(super) fn bound(&mut self, rows: f64) {
        for column in &mut self.columns {
            column.left = column.left.min(rows.max(1.0));
        }
    }

    /// Writes down that a condition on a column left `share` of its range, or of its values. What
    /// follows the same order as the column is left in the same part.
    pub(super) fn narrow_order(&mut self, index: usize, share: f64) {
        let column = &mut self.columns[index];
        if !column.ordered {
            return;
        }
        column.span *= share.clamp(0.0, 1.0);
        let (source, span) = (column.source, column.span);
        for other in &mut self.columns {
            if other.ordered && other.source == source {
                other.span = other.span.min(span);
            }
        }
    }
}

/// How many different values a column has whose values are stored in so many bytes each. A file
/// with a dictionary stores numbers of entries, which have as many bits as that needs; where a
/// value has more, it is stored itself, and nothing is known.
fn distinct_of_codes(stored_bytes: f64) -> Option<f64> {
    let bits = stored_bytes * 8.0;
    (bits <= defaults::MAX_CODE_BITS).then(|| bits.exp2())
}

fn float(count: &Precision<usize>) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    count.get_value().map(|n| *n as f64)
}

fn range_of(statistics: &ColumnStatistics) -> Option<Range> {
    let (min, step) = number(statistics.min_value.get_value()?)?;
    let (max, _) = number(statistics.max_value.get_value()?)?;
    (min <= max).then_some(Range { min, max, step })
}

/// A value as a number, and the distance to the next value of its type.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
pub(super) fn number(value: &ScalarValue) -> Option<(f64, f64)> {
    use ScalarValue as V;
    const DAY_SECONDS: f64 = 86_400.0;
    let whole = |n: f64| Some((n, 1.0));
    let found = match value {
        V::Boolean(Some(b)) => whole(f64::from(u8::from(*b))),
        V::Int8(Some(n)) => whole(f64::from(*n)),
        V::Int16(Some(n)) => whole(f64::from(*n)),
        V::Int32(Some(n)) => whole(f64::from(*n)),
        V::Int64(Some(n)) => whole(*n as f64),
        V::UInt8(Some(n)) => whole(f64::from(*n)),
        V::UInt16(Some(n)) => whole(f64::from(*n)),
        V::UInt32(Some(n)) => whole(f64::from(*n)),
        V::UInt64(Some(n)) => whole(*n as f64),
        V::Float32(Some(n)) => Some((f64::from(*n), 0.0)),
        V::Float64(Some(n)) => Some((*n, 0.0)),
        V::Decimal32(Some(n), _, scale) => Some(decimal(f64::from(*n), *scale)),
        V::Decimal64(Some(n), _, scale) => Some(decimal(*n as f64, *scale)),
        V::Decimal128(Some(n), _, scale) => Some(decimal(*n as f64, *scale)),
        V::Date32(Some(days)) => Some((f64::from(*days) * DAY_SECONDS, DAY_SECONDS)),
        V::Date64(Some(ms)) => Some((*ms as f64 / 1e3, DAY_SECONDS)),
        V::TimestampSecond(Some(n), _) => Some(time(*n, TimeUnit::Second)),
        V::TimestampMillisecond(Some(n), _) => Some(time(*n, TimeUnit::Millisecond)),
        V::TimestampMicrosecond(Some(n), _) => Some(time(*n, TimeUnit::Microsecond)),
        V::TimestampNanosecond(Some(n), _) => Some(time(*n, TimeUnit::Nanosecond)),
        V::Dictionary(_, value) => number(value),
        _ => None,
    };
    found.filter(|(number, _)| number.is_finite())
}

fn decimal(unscaled: f64, scale: i8) -> (f64, f64) {
    let step = 10_f64.powi(-i32::from(scale));
    (unscaled * step, step)
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn time(n: i64, unit: TimeUnit) -> (f64, f64) {
    let step = match unit {
        TimeUnit::Second => 1.0,
        TimeUnit::Millisecond => 1e-3,
        TimeUnit::Microsecond => 1e-6,
        TimeUnit::Nanosecond => 1e-9,
    };
    (n as f64 * step, step)
}

/// Bytes of a value of this type.
fn width(data_type: &DataType) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a few bytes")]
    if let Some(bytes) = data_type.primitive_width() {
        return bytes as f64;
    }
    match data_type {
        DataType::Null | DataType::Boolean => 1.0,
        DataType::FixedSizeBinary(bytes) => f64::from(*bytes),
        DataType::Dictionary(_, value) => width(value),
        DataType::List(field) | DataType::LargeList(field) => {
            width(field.data_type()) * defaults::ARRAY_ELEMENTS
        }
        DataType::FixedSizeList(field, length) => width(field.data_type()) * f64::from(*length),
        DataType::Struct(fields) => fields.iter().map(|f| width(f.data_type())).sum(),
        _ => defaults::VARIABLE_WIDTH,
    }
}
