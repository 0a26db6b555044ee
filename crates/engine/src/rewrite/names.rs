//! Casts to types whose values are object ids and whose form is a name become functions.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, DataType, Expr, Function, Statement, Value, VisitMut, VisitorMut,
};

use super::{call_of, expression_name, last_part};
use crate::system::output_of;

/// Set-returning functions of the catalog's that give arrays here.
const SETS: [&str; 2] = ["_pg_expandarray", "generate_subscripts"];

/// `x::regclass` becomes `regclass(x)`, and `x::regclass::text` `regclassout(regclass(x))`.
pub(super) fn rewrite(statement: &mut Statement) {
    let _ = VisitMut::visit(statement, &mut Names);
}

struct Names;

impl VisitorMut for Names {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let rewritten = match expr {
            Expr::Cast {
                expr: operand,
                data_type,
                ..
            } => cast(operand, data_type),
            Expr::TypedString(typed) => {
                let name = type_name(&typed.data_type);
                let value = Expr::Value(typed.value.clone());
                name.filter(|n| is_object_id(n)).map(|n| call_of(&n, value))
            }
            Expr::BinaryOp {
                left,
                op: BinaryOperator::StringConcat,
                right,
            } => {
                for side in [left, right] {
                    if let Some(text) = as_text(side) {
                        **side = text;
                    }
                }
                None
            }
            Expr::Function(function) => {
                let name = last_part(&function.name).unwrap_or_default();
                let set = SETS.contains(&name.as_str());
                set.then(|| call_of("unnest", Expr::Function(function.clone())))
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                // Behind a name, the dot means a column of a relation.
                if !matches!(**root, Expr::Identifier(_)) {
                    access_chain.iter_mut().for_each(field_by_name);
                }
                None
            }
            _ => None,
        };
        if let Some(rewritten) = rewritten {
            *expr = rewritten;
        }
        ControlFlow::Continue(())
    }
}

/// `(row).field`: DataFusion wants the field's name as a text.
fn field_by_name(access: &mut AccessExpr) {
    if let AccessExpr::Dot(field) = access
        && let Expr::Identifier(_) = field
        && let Some(name) = expression_name(field)
    {
        *field = Expr::Value(Value::SingleQuotedString(name).into());
    }
}

fn cast(operand: &Expr, data_type: &DataType) -> Option<Expr> {
    let name = type_name(data_type)?;
    if is_object_id(&name) {
        return Some(call_of(&name, operand.clone()));
    }
    let is_text = matches!(
        name.as_str(),
        "text" | "varchar" | "character varying" | "name"
    );
    as_text(operand).filter(|_| is_text)
}

fn is_object_id(type_name: &str) -> bool {
    type_name == "oid" || output_of(type_name).is_some()
}

/// What prints a value that has just been cast.
fn as_text(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Nested(inner) => as_text(inner),
        Expr::Function(Function { name, .. }) => {
            let output = output_of(&last_part(name)?)?;
            Some(call_of(output, expr.clone()))
        }
        _ => None,
    }
}

/// The name of a type without its schema, in lower case.
fn type_name(data_type: &DataType) -> Option<String> {
    match data_type {
        DataType::Custom(name, arguments) if arguments.is_empty() => last_part(name),
        DataType::Custom(..) | DataType::Array(_) => None,
        other => Some(other.to_string().to_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    #[test]
    fn casts_to_names_are_functions() {
        let cases = [
            ("SELECT 'a'::regclass", "SELECT regclass('a')"),
            (
                "SELECT a::pg_catalog.regtype::pg_catalog.text",
                "SELECT regtypeout(regtype(a))",
            ),
            ("SELECT CAST(a AS REGCLASS)::oid", "SELECT oid(regclass(a))"),
            (
                "SELECT 'x' || a::regproc",
                "SELECT 'x' || regprocout(regproc(a))",
            ),
            ("SELECT a::text, b::int", "SELECT a::TEXT, b::INT"),
            (
                "SELECT (_pg_expandarray(a)).n",
                "SELECT (unnest(_pg_expandarray(a))).'n'",
            ),
            ("SELECT (k).x, t.k[1]", "SELECT (k).'x', t.k[1]"),
        ];
        for (sql, expected) in cases {
            let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
            rewrite(&mut statements[0]);
            assert_eq!(statements[0].to_string(), expected, "{sql}");
        }
    }
}
