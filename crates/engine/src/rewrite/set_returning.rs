//! Functions that give rows: in a select list, and as tables.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, Select,
    TableAlias, TableAliasColumnDef, TableFactor, VisitMut, VisitorMut,
};

use super::last_part;
use super::operators::function;

/// `generate_series` in a select list gives rows; DataFusion's gives an array.
pub(super) fn in_select_list(select: &mut Select) {
    let mut rows = Rows { depth: 0 };
    for item in &mut select.projection {
        let _ = VisitMut::visit(item, &mut rows);
    }
}

/// Leaves sub-queries alone: they have select lists of their own.
struct Rows {
    depth: usize,
}

impl VisitorMut for Rows {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Function(call) = expr else {
            return ControlFlow::Continue(());
        };
        if self.depth > 0 || call.over.is_some() {
            return ControlFlow::Continue(());
        }
        if let Some(array) = array_of_rows(call) {
            *expr = function("unnest", vec![array]);
        }
        ControlFlow::Continue(())
    }
}

/// The array whose elements are the rows of a call.
fn array_of_rows(call: &Function) -> Option<Expr> {
    let arguments = arguments(call)?;
    match (last_part(&call.name)?.as_str(), arguments.as_slice()) {
        ("generate_series", [_, _] | [_, _, _]) => Some(Expr::Function(call.clone())),
        ("string_to_table", [_, _] | [_, _, _]) => Some(function("string_to_array", arguments)),
        _ => None,
    }
}

fn number(n: u32) -> Expr {
    use datafusion::sql::sqlparser::ast::Value;
    Expr::Value(Value::Number(n.to_string(), false).into())
}

/// The arguments of a call that has plain ones only.
fn arguments(call: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &call.args else {
        return None;
    };
    plain(&list.args)
}

fn plain(args: &[FunctionArg]) -> Option<Vec<Expr>> {
    args.iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        })
        .collect()
}

/// A function as a table: its column has the name of the alias, or else of the function.
pub(super) fn as_table(factor: &mut TableFactor) {
    match factor {
        TableFactor::UNNEST {
            alias,
            array_exprs,
            with_ordinality,
            ..
        } => {
            let arrays = array_exprs.len();
            if std::mem::take(with_ordinality) {
                array_exprs.push(numbers_of(array_exprs));
            }
            name_columns(alias, "unnest", arrays, array_exprs.len() > arrays);
        }
        TableFactor::Table {
            name,
            alias,
            args: Some(args),
            with_ordinality,
            ..
        } => {
            let Some(called) = last_part(name) else {
                return;
            };
            let arguments = plain(&args.args).unwrap_or_default();
            let rows = match (called.as_str(), arguments.as_slice()) {
                ("generate_series", [_, _] | [_, _, _])
                    if *with_ordinality || !arguments.iter().all(is_whole_number) =>
                {
                    Some(function("generate_series", arguments))
                }
                ("generate_subscripts", [_, _]) => Some(function(&called, arguments)),
                ("string_to_table", [_, _] | [_, _, _]) => {
                    Some(function("string_to_array", arguments))
                }
                _ => None,
            };
            let Some(rows) = rows else {
                if called == "generate_series" {
                    name_columns(alias, &called, 1, false);
                }
                return;
            };
            let mut array_exprs = vec![rows];
            if *with_ordinality {
                array_exprs.push(numbers_of(&array_exprs));
            }
            let mut alias = alias.take();
            name_columns(&mut alias, &called, 1, *with_ordinality);
            *factor = TableFactor::UNNEST {
                alias,
                array_exprs,
                with_offset: false,
                with_offset_alias: None,
                with_ordinality: false,
            };
        }
        _ => {}
    }
}

/// Whether it is a whole number as it stands: DataFusion makes the rows of such a series one after
/// another. Others become an array first.
fn is_whole_number(expr: &Expr) -> bool {
    use datafusion::sql::sqlparser::ast::{UnaryOperator, Value};
    match expr {
        Expr::Value(value) => {
            matches!(&value.value, Value::Number(digits, _) if !digits.contains('.'))
        }
        Expr::UnaryOp {
            op: UnaryOperator::Minus | UnaryOperator::Plus,
            expr,
        } => is_whole_number(expr),
        _ => false,
    }
}

/// The numbers from 1 for each row that the arrays give.
fn numbers_of(arrays: &[Expr]) -> Expr {
    let lengths = arrays
        .iter()
        .map(|array| function("cardinality", vec![array.clone()]))
        .collect();
    function(
        "generate_series",
        vec![number(1), function("greatest", lengths)],
    )
}

/// Names the columns that the alias does not name.
fn name_columns(alias: &mut Option<TableAlias>, called: &str, columns: usize, ordinality: bool) {
    let alias = alias.get_or_insert_with(|| TableAlias {
        explicit: true,
        name: Ident::with_quote('"', called),
        columns: Vec::new(),
        at: None,
    });
    let column = |name: Ident| TableAliasColumnDef {
        name,
        data_type: None,
    };
    while alias.columns.len() < columns {
        // One column has the name of the alias; of several, each has the function's.
        let name = if columns == 1 {
            alias.name.clone()
        } else {
            Ident::with_quote('"', format!("{called}{}", alias.columns.len() + 1))
        };
        alias.columns.push(column(name));
    }
    if ordinality && alias.columns.len() == columns {
        alias
            .columns
            .push(column(Ident::with_quote('"', "ordinality")));
    }
}
