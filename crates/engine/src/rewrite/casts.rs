//! Casts and typed literals whose types DataFusion does not read as PostgreSQL does.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CastKind, CharacterLength, DataType, DateTimeField, ExactNumberInfo, Expr,
    Interval, SelectItem, SetExpr, Statement, TypedString, Value, ValueWithSpan, VisitMut,
    VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::syntax::call_with;
use crate::types::TAGS;

/// Digits of a second that a timestamp keeps.
const MICROSECONDS: u64 = 6;

/// Rewrites the casts of `statement`. `zone` is the session's time zone.
pub(super) fn rewrite(statement: &mut Statement, zone: &str) {
    let _ = VisitMut::visit(statement, &mut Casts { zone });
}

/// Marks the columns of the result that are cast to a type which only the client sees.
pub(super) fn tag(statement: &mut Statement) {
    let Statement::Query(query) = statement else {
        return;
    };
    let SetExpr::Select(select) = query.body.as_mut() else {
        return;
    };
    // What `ORDER BY` repeats of a DISTINCT query must be in its list as it was written.
    if select.distinct.is_some() {
        return;
    }
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
            && let Some(function) = tag_of(expr)
        {
            *expr = call_with(function, [expr.clone()]);
        }
    }
}

fn tag_of(expr: &Expr) -> Option<&'static str> {
    let name = match expr {
        Expr::Nested(inner) => return tag_of(inner),
        Expr::Cast { data_type, .. } | Expr::TypedString(TypedString { data_type, .. }) => {
            match data_type {
                DataType::JSON => "json",
                DataType::JSONB => "jsonb",
                DataType::Varchar(_) | DataType::CharacterVarying(_) | DataType::CharVarying(_) => {
                    "varchar"
                }
                _ => return None,
            }
        }
        _ => return None,
    };
    let tag = TAGS.iter().find(|(data_type, _)| *data_type == name);
    tag.map(|(_, function)| *function)
}

struct Casts<'a> {
    zone: &'a str,
}

impl VisitorMut for Casts<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::TypedString(TypedString {
                data_type, value, ..
            }) => *expr = cast(Expr::Value(value.clone()), data_type.clone()),
            Expr::Interval(interval) => {
                if let Some(text) = interval_text(interval) {
                    let (fields, precision) = (None, None);
                    *expr = cast(text, DataType::Interval { fields, precision });
                }
            }
            Expr::AtTimeZone {
                timestamp,
                time_zone,
            } => {
                let session = Value::SingleQuotedString(self.zone.to_owned());
                let session = Expr::Value(session.with_empty_span());
                let arguments = [
                    time_zone.as_ref().clone(),
                    timestamp.as_ref().clone(),
                    session,
                ];
                *expr = call_with("timezone", arguments);
            }
            _ => {}
        }
        if let Expr::Cast {
            kind: CastKind::Cast | CastKind::DoubleColon,
            expr: operand,
            data_type,
            array: false,
            format: None,
        } = expr
        {
            let json = match data_type {
                DataType::JSON => Some("json_in"),
                DataType::JSONB => Some("jsonb_in"),
                _ => None,
            };
            let length = translate(data_type);
            if let Some(function) = json {
                *expr = call_with(function, [expr.clone()]);
            } else if is_plain_numeric(data_type) && has_type(operand) {
                *expr = call_with("numeric", [operand.as_ref().clone()]);
            } else if let Some(length) = length {
                let length = Value::Number(length.to_string(), false).with_empty_span();
                *expr = call_with("left", [expr.clone(), Expr::Value(length)]);
            }
        }
        ControlFlow::Continue(())
    }
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::DoubleColon,
        expr: Box::new(expr),
        data_type,
        array: false,
        format: None,
    }
}

/// Writes a type in DataFusion's words; the length is what a text is to be cut to.
fn translate(data_type: &mut DataType) -> Option<u64> {
    let length = match data_type {
        DataType::Varchar(length)
        | DataType::Nvarchar(length)
        | DataType::CharacterVarying(length)
        | DataType::CharVarying(length) => characters(length.as_ref()),
        DataType::Char(length) | DataType::Character(length) => {
            Some(characters(length.as_ref()).unwrap_or(1))
        }
        DataType::JSON | DataType::JSONB => None,
        DataType::Timestamp(precision @ None, _) => {
            *precision = Some(MICROSECONDS);
            return None;
        }
        DataType::Dec(digits) => {
            *data_type = DataType::Numeric(*digits);
            return None;
        }
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, size)) => {
            // PostgreSQL ignores the size of an array, and all arrays grow.
            *size = None;
            translate(element);
            return None;
        }
        _ => return None,
    };
    *data_type = DataType::Text;
    length
}

fn characters(length: Option<&CharacterLength>) -> Option<u64> {
    match length? {
        CharacterLength::IntegerLength { length, .. } => Some(*length),
        CharacterLength::Max => None,
    }
}

/// `numeric` without precision, which keeps all digits.
pub(super) fn is_plain_numeric(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Numeric(ExactNumberInfo::None)
            | DataType::Decimal(ExactNumberInfo::None)
            | DataType::Dec(ExactNumberInfo::None)
    )
}

/// Whether an operand has a type of its own: parameters and NULL take that of the cast.
fn has_type(operand: &Expr) -> bool {
    match operand {
        Expr::Nested(inner) => has_type(inner),
        Expr::Value(value) => !matches!(value.value, Value::Placeholder(_) | Value::Null),
        _ => true,
    }
}

/// The text of an interval's literal, with the unit that stands behind it.
fn interval_text(interval: &Interval) -> Option<Expr> {
    let Expr::Value(ValueWithSpan {
        value: Value::SingleQuotedString(text),
        span,
    }) = interval.value.as_ref()
    else {
        return None;
    };
    let precise =
        interval.leading_precision.is_some() || interval.fractional_seconds_precision.is_some();
    let text = match (&interval.leading_field, &interval.last_field) {
        _ if precise => return None,
        (None, None) => text.clone(),
        (Some(DateTimeField::Year), Some(DateTimeField::Month)) => text.clone(),
        (Some(DateTimeField::Day), Some(_)) => text.clone(),
        (Some(unit), None) if text.trim().parse::<f64>().is_ok() => format!("{text} {unit}"),
        _ => return None,
    };
    Some(literal(text, *span))
}

fn literal(text: String, span: Span) -> Expr {
    Expr::Value(ValueWithSpan {
        value: Value::SingleQuotedString(text),
        span,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    #[test]
    fn types_are_put_into_datafusions_words() {
        let cases = [
            (
                "SELECT a::varchar(3), b::character varying",
                "SELECT left(a::TEXT, 3), b::TEXT",
            ),
            (
                "SELECT a::char, a::varchar[]",
                "SELECT left(a::TEXT, 1), a::TEXT[]",
            ),
            (
                "SELECT TIMESTAMP 'x', y::timestamptz",
                "SELECT 'x'::TIMESTAMP(6), y::TIMESTAMPTZ(6)",
            ),
            (
                "SELECT a::numeric, $1::numeric, a::numeric(5)",
                "SELECT numeric(a), $1::NUMERIC, a::NUMERIC(5)",
            ),
            (
                "SELECT INTERVAL '1' DAY, INTERVAL '1 h'",
                "SELECT '1 DAY'::INTERVAL, '1 h'::INTERVAL",
            ),
            (
                "SELECT a AT TIME ZONE 'UTC'",
                "SELECT timezone('UTC', a, 'Europe/Berlin')",
            ),
        ];
        for (sql, expected) in cases {
            let mut parsed = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
            rewrite(&mut parsed[0], "Europe/Berlin");
            assert_eq!(parsed[0].to_string(), expected, "{sql}");
        }
    }
}
