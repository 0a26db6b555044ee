//! Syntax of PostgreSQL's that DataFusion does not plan, or plans wrongly.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArgumentList, FunctionArguments, GroupByExpr, Ident, LimitClause, ObjectName,
    OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, Statement, TableFactor,
    UnaryOperator, Value, Visit, VisitMut, Visitor, VisitorMut, visit_expressions_mut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::{call_of, checks, last_part, operators, set_returning};
use crate::EngineError;

/// Digits that a number with an exponent may be written out with.
const MAX_DIGITS: usize = 38;

/// Functions that DataFusion has under another name.
const OTHER_NAMES: [(&str, &str); 5] = [
    ("clock_timestamp", "now"),
    ("every", "bool_and"),
    ("gen_random_uuid", "uuid"),
    ("statement_timestamp", "now"),
    ("transaction_timestamp", "now"),
];

/// Words that are functions without parentheses; the others of this kind the parser knows.
const BARE_FUNCTIONS: [&str; 2] = ["current_role", "current_schema"];

/// Rewrites what is written in PostgreSQL's way only.
///
/// # Errors
/// For what DataFusion would answer wrongly.
pub(super) fn rewrite(statement: &mut Statement) -> Result<(), EngineError> {
    match VisitMut::visit(statement, &mut Syntax) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Syntax;

impl VisitorMut for Syntax {
    type Break = Box<EngineError>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        fetch_to_limit(query);
        refuse(checks::limits(query))
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        let checked = checks::select(select).and_then(|()| ordinals_of_sets(select));
        set_returning::in_select_list(select);
        refuse(checked)
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        set_returning::as_table(factor);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::Function(function) => refuse(checks::call(function)),
            _ => ControlFlow::Continue(()),
        }
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::AnyOp { .. } | Expr::AllOp { .. } => quantified_subquery(expr),
            Expr::Identifier(ident) => {
                let name = ident.value.to_lowercase();
                if ident.quote_style.is_none() && BARE_FUNCTIONS.contains(&name.as_str()) {
                    *expr = call(&name, FunctionArguments::None);
                }
            }
            Expr::Function(function) => rename(function),
            Expr::Value(value) => {
                if let Value::Number(number, _) = &mut value.value
                    && let Some(plain) = written_out(number)
                {
                    *number = plain;
                }
            }
            _ => operators::rewrite(expr),
        }
        ControlFlow::Continue(())
    }
}

fn refuse(checked: Result<(), Box<EngineError>>) -> ControlFlow<Box<EngineError>> {
    match checked {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

fn is_wildcard(item: &SelectItem) -> bool {
    let has_name = matches!(
        item,
        SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }
    );
    !has_name
}

/// Numbers of columns in `ROLLUP (1, 2)` and its like, which DataFusion knows in a plain list only.
///
/// # Errors
/// For the number of no column.
fn ordinals_of_sets(select: &mut Select) -> Result<(), Box<EngineError>> {
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else {
        return Ok(());
    };
    let sets = keys.iter_mut().filter_map(|key| match key {
        Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets) => Some(sets),
        _ => None,
    });
    for key in sets.flatten().flatten() {
        let Expr::Value(value) = &*key else {
            continue;
        };
        let Value::Number(number, _) = &value.value else {
            continue;
        };
        let place: Option<usize> = number.parse().ok();
        let before = &select.projection[..place.unwrap_or(0).min(select.projection.len())];
        if before.iter().any(is_wildcard) {
            let message = "a number in grouping sets behind * is not supported";
            return Err(Box::new(EngineError::new("0A000", message)));
        }
        let column = place.and_then(|n| select.projection.get(n.checked_sub(1)?));
        match column {
            Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => {
                *key = expr.clone();
            }
            _ => {
                let message = format!("GROUP BY position {number} is not in select list");
                return Err(Box::new(EngineError::new("42P10", message)));
            }
        }
    }
    Ok(())
}

/// `FETCH FIRST n ROWS ONLY` is `LIMIT n`.
fn fetch_to_limit(query: &mut Query) {
    let Some(fetch) = query.fetch.take_if(|f| !f.with_ties && !f.percent) else {
        return;
    };
    let one = Expr::Value(Value::Number("1".to_owned(), false).into());
    let quantity = Some(fetch.quantity.unwrap_or(one));
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit, .. }) => *limit = quantity,
        Some(LimitClause::OffsetCommaLimit { .. }) => {}
        None => {
            query.limit_clause = Some(LimitClause::LimitOffset {
                limit: quantity,
                offset: None,
                limit_by: Vec::new(),
            });
        }
    }
}

/// `= ANY (query)` is `IN`, `<> ALL (query)` is `NOT IN`; the other comparisons look at the
/// query's least and greatest value. DataFusion takes the query for an array in the first, and
/// mixes up columns of equal names in the others.
fn quantified_subquery(expr: &mut Expr) {
    let rewritten = match expr {
        Expr::AnyOp {
            left,
            compare_op: BinaryOperator::Eq,
            right,
            ..
        } => in_query(left, right, false),
        Expr::AllOp {
            left,
            compare_op: BinaryOperator::NotEq,
            right,
        } => in_query(left, right, true),
        Expr::AnyOp {
            left,
            compare_op,
            right,
            ..
        } => holds_for_any(left, compare_op, right),
        Expr::AllOp {
            left,
            compare_op,
            right,
        } => opposite(compare_op)
            .and_then(|op| holds_for_any(left, &op, right))
            .map(|any| Expr::UnaryOp {
                op: UnaryOperator::Not,
                expr: Box::new(Expr::Nested(Box::new(any))),
            }),
        _ => None,
    };
    if let Some(rewritten) = rewritten {
        *expr = rewritten;
    }
}

fn in_query(left: &Expr, right: &Expr, negated: bool) -> Option<Expr> {
    Some(Expr::InSubquery {
        expr: Box::new(left.clone()),
        subquery: Box::new(subquery(right)?.clone()),
        negated,
    })
}

/// What holds for all unless this holds for any.
fn opposite(op: &BinaryOperator) -> Option<BinaryOperator> {
    Some(match op {
        BinaryOperator::Eq => BinaryOperator::NotEq,
        BinaryOperator::Lt => BinaryOperator::GtEq,
        BinaryOperator::LtEq => BinaryOperator::Gt,
        BinaryOperator::Gt => BinaryOperator::LtEq,
        BinaryOperator::GtEq => BinaryOperator::Lt,
        _ => return None,
    })
}

/// `x op ANY (query)` with SQL's three truth values: false for no rows, true if the extreme value
/// on the right side passes, unknown if a NULL keeps it open, and else false.
fn holds_for_any(left: &Expr, op: &BinaryOperator, right: &Expr) -> Option<Expr> {
    let query = subquery(right)?;
    let of = |aggregate: &str| format!("(SELECT {aggregate} FROM ({query}) AS \"\u{1}any\"(v))");
    let (least, greatest) = (of("min(v)"), of("max(v)"));
    let passes = match op {
        BinaryOperator::Gt | BinaryOperator::GtEq => format!("({left}) {op} {least}"),
        BinaryOperator::Lt | BinaryOperator::LtEq => format!("({left}) {op} {greatest}"),
        BinaryOperator::NotEq => format!("(({left}) <> {least} OR ({left}) <> {greatest})"),
        _ => return None,
    };
    let text = format!(
        "CASE WHEN {} = 0 THEN false WHEN {passes} THEN true \
         WHEN ({left}) IS NULL OR {} > 0 THEN NULL ELSE false END",
        of("count(*)"),
        of("count(*) - count(v)"),
    );
    let mut parser = Parser::new(&PostgreSqlDialect {})
        .try_with_sql(&text)
        .ok()?;
    parser.parse_expr().ok()
}

fn subquery(expr: &Expr) -> Option<&Query> {
    match expr {
        Expr::Subquery(query) => Some(query),
        Expr::Nested(inner) => subquery(inner),
        _ => None,
    }
}

/// Whether an expression contains a query.
pub(super) fn contains_query(expr: &Expr) -> bool {
    struct FindQuery;
    impl Visitor for FindQuery {
        type Break = ();

        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    Visit::visit(expr, &mut FindQuery).is_break()
}

fn rename(function: &mut Function) {
    let Some(name) = last_part(&function.name) else {
        return;
    };
    if let Some((_, other)) = OTHER_NAMES.iter().find(|(ours, _)| *ours == name) {
        function.name = ObjectName::from(vec![Ident::new(*other)]);
    }
}

/// `1.5e3` is `1500`: with an exponent DataFusion takes a number for a decimal of that scale.
pub(super) fn written_out(number: &str) -> Option<String> {
    let (mantissa, exponent) = number.split_once(['e', 'E'])?;
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let point = i32::try_from(whole.len()).ok()? + exponent;
    if digits.len() + exponent.unsigned_abs() as usize > MAX_DIGITS {
        return None;
    }
    let plain = if point <= 0 {
        format!("0.{}{digits}", "0".repeat(point.unsigned_abs() as usize))
    } else if point.unsigned_abs() as usize >= digits.len() {
        let zeros = point.unsigned_abs() as usize - digits.len();
        format!("{digits}{}", "0".repeat(zeros))
    } else {
        let (whole, fraction) = digits.split_at(point.unsigned_abs() as usize);
        format!("{whole}.{fraction}")
    };
    Some(plain)
}

/// `ARRAY(SELECT x …)` is the aggregate `array_agg` of its only column, or empty.
pub(super) fn array_subqueries(statement: &mut Statement) {
    let _ = visit_expressions_mut(statement, |expr| {
        if let Expr::Function(function) = expr
            && last_part(&function.name).as_deref() == Some("array")
            && let FunctionArguments::Subquery(query) = &function.args
            && let Some(aggregate) = aggregated(query)
        {
            *expr = call_of("array_of_query", Expr::Subquery(Box::new(aggregate)));
        }
        ControlFlow::<()>::Continue(())
    });
}

/// The query with its only column aggregated into an array, in the order that it asks for.
fn aggregated(query: &Query) -> Option<Query> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    let [SelectItem::UnnamedExpr(column) | SelectItem::ExprWithAlias { expr: column, .. }] =
        select.projection.as_slice()
    else {
        return None;
    };
    // A limit would apply to the aggregate's one row instead of the rows that go into it.
    if query.limit_clause.is_some() || query.fetch.is_some() || select.distinct.is_some() {
        return None;
    }
    let mut aggregate = query.clone();
    let order_by = order_of(&mut aggregate, column);
    aggregate.body = Box::new(SetExpr::Select(Box::new(Select {
        projection: vec![SelectItem::UnnamedExpr(array_agg(column.clone(), order_by))],
        ..(**select).clone()
    })));
    Some(aggregate)
}

/// Takes the query's order away, for the aggregate. `ORDER BY 1` means the column itself.
fn order_of(query: &mut Query, column: &Expr) -> Vec<OrderByExpr> {
    let kind = query.order_by.take().map(|order| order.kind);
    let Some(OrderByKind::Expressions(mut order)) = kind else {
        return Vec::new();
    };
    for item in &mut order {
        if let Expr::Value(value) = &item.expr
            && matches!(value.value, Value::Number(..))
        {
            item.expr = column.clone();
        }
    }
    order
}

/// A call with these arguments.
pub(super) fn call_with(name: &str, arguments: impl IntoIterator<Item = Expr>) -> Expr {
    let argument = |expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr));
    let list = FunctionArgumentList {
        duplicate_treatment: None,
        args: arguments.into_iter().map(argument).collect(),
        clauses: Vec::new(),
    };
    call(name, FunctionArguments::List(list))
}

fn array_agg(column: Expr, order_by: Vec<OrderByExpr>) -> Expr {
    let clauses = if order_by.is_empty() {
        Vec::new()
    } else {
        vec![FunctionArgumentClause::OrderBy(order_by)]
    };
    let arguments = FunctionArguments::List(FunctionArgumentList {
        duplicate_treatment: None,
        args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(column))],
        clauses,
    });
    call("array_agg", arguments)
}

pub(super) fn call(name: &str, args: FunctionArguments) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args,
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(sql: &str) -> String {
        let mut statement = Parser::parse_sql(&PostgreSqlDialect {}, sql)
            .unwrap()
            .remove(0);
        match rewrite(&mut statement) {
            Ok(()) => {
                array_subqueries(&mut statement);
                statement.to_string()
            }
            Err(error) => format!("error {}", error.sqlstate),
        }
    }

    #[test]
    fn postgresql_is_put_into_datafusions_words() {
        let cases = [
            (
                "SELECT a = ANY (SELECT b FROM t)",
                "SELECT a IN (SELECT b FROM t)",
            ),
            (
                "SELECT a <> ALL (SELECT b FROM t)",
                "SELECT a NOT IN (SELECT b FROM t)",
            ),
            ("SELECT 1 FETCH FIRST 3 ROWS ONLY", "SELECT 1 LIMIT 3"),
            ("SELECT ~a, |/ b, @ c", "SELECT bit_not(a), sqrt(b), abs(c)"),
            (
                "SELECT a NOT SIMILAR TO 'b%' ESCAPE '!'",
                "SELECT a !~ similar_to_escape('b%', '!')",
            ),
            ("SELECT 1 LIMIT '3' OFFSET 1.5", "SELECT 1 LIMIT 3 OFFSET 2"),
            ("SELECT 1 LIMIT -1", "error 2201W"),
            ("SELECT 1 OFFSET -1", "error 2201X"),
            ("SELECT count()", "error 42809"),
            ("SELECT sum(avg(a)) FROM t", "error 42803"),
            (
                "SELECT sum(avg(a)) OVER (), sum((SELECT max(b) FROM u)) FROM t",
                "SELECT sum(avg(a)) OVER (), sum((SELECT max(b) FROM u)) FROM t",
            ),
            (
                "SELECT a AS x, b + 1, sum(c) FROM t GROUP BY CUBE ((1, 2), 2), 1",
                "SELECT a AS x, b + 1, sum(c) FROM t GROUP BY CUBE ((a, b + 1), b + 1), 1",
            ),
            ("SELECT a FROM t GROUP BY ROLLUP (2)", "error 42P10"),
            ("SELECT t.*, a FROM t GROUP BY ROLLUP (2)", "error 0A000"),
            ("SELECT rank() FROM t", "error 42809"),
            ("SELECT 1 FROM t WHERE rank() OVER () = 1", "error 42P20"),
            ("SELECT 1 FROM a JOIN b AS a ON true", "error 42712"),
            ("SELECT 1 FROM s.a, u.a", "SELECT 1 FROM s.a, u.a"),
            (
                "SELECT generate_series(1, 2) + 1, (SELECT string_to_table(a, ','))",
                "SELECT unnest(generate_series(1, 2)) + 1, \
                 (SELECT unnest(string_to_array(a, ',')))",
            ),
            (
                "SELECT g FROM generate_series(1, 2) AS g",
                "SELECT g FROM generate_series(1, 2) AS g (g)",
            ),
            (
                "SELECT * FROM unnest(a) WITH ORDINALITY",
                "SELECT * FROM UNNEST(a, generate_series(1, greatest(cardinality(a)))) \
                 AS \"unnest\" (\"unnest\", \"ordinality\")",
            ),
            ("SELECT 1 UNION ALL SELECT 2", "SELECT 1 UNION ALL SELECT 2"),
            (
                "SELECT current_role, \"current_role\"",
                "SELECT current_role, \"current_role\"",
            ),
            ("SELECT every(a)", "SELECT bool_and(a)"),
            (
                "SELECT 1.5e3, 1e-2, 12e1, 1.234e2",
                "SELECT 1500, 0.01, 120, 123.4",
            ),
            (
                "SELECT ARRAY(SELECT a FROM t ORDER BY 1 DESC)",
                "SELECT array_of_query((SELECT array_agg(a ORDER BY a DESC) FROM t))",
            ),
        ];
        for (sql, expected) in cases {
            assert_eq!(rewritten(sql), expected, "{sql}");
        }
    }
}
