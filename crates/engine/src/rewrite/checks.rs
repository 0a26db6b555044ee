//! What PostgreSQL's parser refuses and DataFusion would answer, or refuse without saying where.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArguments, GroupByExpr, JoinConstraint, JoinOperator, LimitClause,
    Offset, Query, Select, Spanned, TableFactor, TableWithJoins, UnaryOperator, Value, Visit,
    Visitor,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::last_part;
use crate::EngineError;
use crate::error::Position;

/// Functions that only make sense over a window.
const WINDOW_FUNCTIONS: [&str; 11] = [
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
    "first_value",
    "last_value",
    "nth_value",
];

/// Aggregates that are asked for by these names.
const AGGREGATES: [&str; 26] = [
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "every",
    "max",
    "mean",
    "median",
    "min",
    "regr_slope",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg",
    "sum",
    "var",
    "var_pop",
    "var_samp",
    "variance",
];

type Checked = Result<(), Box<EngineError>>;

fn refused(sqlstate: &'static str, message: impl Into<String>, span: Span) -> Box<EngineError> {
    let mut error = EngineError::new(sqlstate, message);
    if span.start.line > 0 {
        error.position = Some(Position {
            line: span.start.line,
            column: span.start.column,
        });
    }
    Box::new(error)
}

/// A call: enough arguments, a window where one is needed, no aggregate inside an aggregate.
pub(super) fn call(function: &Function) -> Checked {
    let Some(name) = last_part(&function.name) else {
        return Ok(());
    };
    let span = function.name.span();
    if WINDOW_FUNCTIONS.contains(&name.as_str()) && function.over.is_none() {
        let message = format!("window function {name} requires an OVER clause");
        return Err(refused("42809", message, span));
    }
    if !AGGREGATES.contains(&name.as_str()) {
        return Ok(());
    }
    let FunctionArguments::List(list) = &function.args else {
        return Ok(());
    };
    if list.args.is_empty() && function.within_group.is_empty() {
        if name == "count" {
            let message = "count(*) must be used to call a parameterless aggregate function";
            return Err(refused("42809", message, span));
        }
        let error = refused("42883", format!("function {name}() does not exist"), span);
        return Err(Box::new(error.with_hint(crate::error::NO_FUNCTION_HINT)));
    }
    if name == "count" && list.args.len() > 1 {
        let message = format!(
            "function count with {} arguments does not exist",
            list.args.len()
        );
        let error = refused("42883", message, span);
        return Err(Box::new(error.with_hint(crate::error::NO_FUNCTION_HINT)));
    }
    if function.over.is_none()
        && let Some(found) = find(&list.args, Kind::Aggregate)
    {
        let message = "aggregate function calls cannot be nested";
        return Err(refused("42803", message, found));
    }
    Ok(())
}

/// What is looked for within a clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Aggregate,
    Window,
}

struct Find {
    kind: Kind,
    /// Sub-queries around the place: they have aggregates and windows of their own.
    depth: usize,
}

impl Visitor for Find {
    type Break = Span;

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<Span> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Span> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Span> {
        let Expr::Function(function) = expr else {
            return ControlFlow::Continue(());
        };
        let name = last_part(&function.name).unwrap_or_default();
        let found = match self.kind {
            Kind::Window => function.over.is_some(),
            Kind::Aggregate => function.over.is_none() && AGGREGATES.contains(&name.as_str()),
        };
        if found && self.depth == 0 {
            return ControlFlow::Break(function.name.span());
        }
        ControlFlow::Continue(())
    }
}

fn find<T: Visit>(within: &T, kind: Kind) -> Option<Span> {
    match within.visit(&mut Find { kind, depth: 0 }) {
        ControlFlow::Break(span) => Some(span),
        ControlFlow::Continue(()) => None,
    }
}

/// Aggregates and windows where there are none, and names that stand for two tables.
pub(super) fn select(select: &Select) -> Checked {
    if let Some(condition) = &select.selection {
        without(condition, "WHERE")?;
    }
    if let GroupByExpr::Expressions(expressions, _) = &select.group_by {
        for expression in expressions {
            without(expression, "GROUP BY")?;
        }
    }
    if let Some(span) = select.having.as_ref().and_then(|h| find(h, Kind::Window)) {
        return Err(refused(
            "42P20",
            "window functions are not allowed in HAVING",
            span,
        ));
    }
    let mut names = Vec::new();
    for from in &select.from {
        tables(from, &mut names)?;
    }
    Ok(())
}

fn without<T: Visit>(within: &T, clause: &str) -> Checked {
    if let Some(span) = find(within, Kind::Aggregate) {
        let message = format!("aggregate functions are not allowed in {clause}");
        return Err(refused("42803", message, span));
    }
    if let Some(span) = find(within, Kind::Window) {
        let message = format!("window functions are not allowed in {clause}");
        return Err(refused("42P20", message, span));
    }
    Ok(())
}

/// A name of a `FROM` item: the alias, or the last part of the table's whole name.
#[derive(PartialEq)]
struct Name {
    visible: String,
    /// The whole name of a table without alias: such ones differ by their schemas.
    whole: Option<String>,
}

fn tables(from: &TableWithJoins, names: &mut Vec<Name>) -> Checked {
    table(&from.relation, names)?;
    for join in &from.joins {
        table(&join.relation, names)?;
        if let Some(condition) = condition(&join.join_operator) {
            without(condition, "JOIN conditions")?;
        }
    }
    Ok(())
}

fn condition(join: &JoinOperator) -> Option<&Expr> {
    let (JoinOperator::Join(constraint)
    | JoinOperator::Inner(constraint)
    | JoinOperator::Left(constraint)
    | JoinOperator::LeftOuter(constraint)
    | JoinOperator::Right(constraint)
    | JoinOperator::RightOuter(constraint)
    | JoinOperator::FullOuter(constraint)) = join
    else {
        return None;
    };
    match constraint {
        JoinConstraint::On(condition) => Some(condition),
        _ => None,
    }
}

fn table(factor: &TableFactor, names: &mut Vec<Name>) -> Checked {
    let (alias, whole, span) = match factor {
        TableFactor::Table { name, alias, .. } => (alias, Some(name), name.span()),
        TableFactor::Derived { alias, .. } | TableFactor::UNNEST { alias, .. } => {
            (alias, None, Span::empty())
        }
        TableFactor::NestedJoin {
            table_with_joins,
            alias: None,
        } => return tables(table_with_joins, names),
        _ => return Ok(()),
    };
    let folded = |ident: &datafusion::sql::sqlparser::ast::Ident| match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    };
    let (name, span) = match (alias, whole) {
        (Some(alias), _) => (
            Name {
                visible: folded(&alias.name),
                whole: None,
            },
            alias.name.span,
        ),
        (None, Some(whole)) => (
            Name {
                visible: last_part(whole).unwrap_or_default(),
                whole: Some(whole.to_string().to_lowercase()),
            },
            span,
        ),
        (None, None) => return Ok(()),
    };
    let clash = names.iter().any(|other| {
        other.visible == name.visible
            && (other.whole.is_none() || name.whole.is_none() || other.whole == name.whole)
    });
    if clash {
        let message = format!("table name \"{}\" specified more than once", name.visible);
        return Err(refused("42712", message, span));
    }
    names.push(name);
    Ok(())
}

/// `LIMIT` and `OFFSET` take whole numbers that are not negative. Texts that are numbers become
/// such.
pub(super) fn limits(query: &mut Query) -> Checked {
    let Some(LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause else {
        return Ok(());
    };
    if let Some(limit) = limit {
        row_count(limit, "2201W", "LIMIT must not be negative")?;
    }
    if let Some(Offset { value, .. }) = offset {
        row_count(value, "2201X", "OFFSET must not be negative")?;
    }
    Ok(())
}

fn row_count(expr: &mut Expr, sqlstate: &'static str, negative: &str) -> Checked {
    let span = expr.span();
    let number = match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => {
                let Ok(number) = text.trim().parse::<i64>() else {
                    let message = format!("invalid input syntax for type bigint: \"{text}\"");
                    return Err(refused("22P02", message, span));
                };
                number
            }
            Value::Number(digits, _) if digits.contains('.') => match rounded(digits) {
                Some(number) => number,
                None => return Ok(()),
            },
            _ => return Ok(()),
        },
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr: operand,
        } => match operand.as_ref() {
            Expr::Value(value) => match &value.value {
                Value::Number(digits, _) => match rounded(digits) {
                    Some(number) => -number,
                    None => return Ok(()),
                },
                _ => return Ok(()),
            },
            _ => return Ok(()),
        },
        _ => return Ok(()),
    };
    if number < 0 {
        return Err(refused(sqlstate, negative, Span::empty()));
    }
    *expr = Expr::Value(Value::Number(number.to_string(), false).into());
    Ok(())
}

fn rounded(digits: &str) -> Option<i64> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole: i64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    whole.checked_add(i64::from(fraction.starts_with(|c: char| c >= '5')))
}
