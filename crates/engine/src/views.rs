//! What is made of a view's query when the view is made.
//!
//! A view keeps the columns of that day: its stars become the columns that they stand for, and
//! the columns that it gives are noted.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query, Select, SelectItem, TableWithJoins, Visit, VisitMut, Visitor, VisitorMut,
};
use forebay_catalog::{ColumnDefinition, ViewDefinition};

use crate::error::postgres_name_of;
use crate::functions::is_keyword;
use crate::plan::parse_view;
use crate::{Engine, EngineError, Vantage, rewrite};

/// Operators that a statement may have when its views are written out. Views of views multiply.
const MAX_OPERATORS: usize = 10_000;

/// Refuses a plan that has grown beyond what can be worked on.
///
/// # Errors
/// `54001`, as for any statement that is too complex.
pub(crate) fn check_size(plan: &LogicalPlan) -> Result<(), EngineError> {
    let mut operators = 0;
    let _ = plan.apply_with_subqueries(|_| {
        operators += 1;
        Ok::<_, DataFusionError>(if operators > MAX_OPERATORS {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    });
    if operators <= MAX_OPERATORS {
        return Ok(());
    }
    Err(
        EngineError::new("54001", "statement is too complex").with_detail(format!(
            "With its views written out it has more than {MAX_OPERATORS} operators."
        )),
    )
}

impl Engine {
    /// Checks a view that is about to be made, and completes its definition: stars are written
    /// out, and the columns that it gives are noted.
    ///
    /// # Errors
    /// As [`Engine::analyze`], and when the view's columns do not fit the query's.
    pub async fn complete_view(
        &self,
        vantage: &Vantage,
        view: ViewDefinition,
    ) -> Result<ViewDefinition, EngineError> {
        let output = columns(&self.view_plan(vantage, &view).await?);
        let written_out = ViewDefinition {
            query: self.without_stars(vantage, &view.query).await?,
            ..view.clone()
        };
        // A star that cannot be written out stays one: then the view is as it was written.
        let same = match self.view_plan(vantage, &written_out).await {
            Ok(plan) => columns(&plan) == output,
            Err(_) => false,
        };
        let view = if same { written_out } else { view };
        Ok(ViewDefinition { output, ..view })
    }

    /// The columns of a table that is to hold what `query` gives.
    ///
    /// # Errors
    /// As [`Engine::analyze`]; `42P16` where a column has a type that is not stored, or none.
    pub async fn stored_columns(
        &self,
        vantage: &Vantage,
        query: &Statement,
    ) -> Result<Vec<ColumnDefinition>, EngineError> {
        let analyzed = self.analyze(vantage, query, &[]).await?;
        let columns = analyzed.schema().fields().iter().map(|field| {
            let name = field.name().clone();
            let Some(data_type) = stored_type(field.data_type()) else {
                let kind = postgres_name_of(field.data_type());
                let message = format!("column \"{name}\" has type {kind}, which is not stored");
                return Err(
                    EngineError::new("42P16", message).with_hint("Cast it to another type.")
                );
            };
            Ok(ColumnDefinition {
                name,
                data_type,
                nullable: true,
            })
        });
        columns.collect()
    }

    async fn without_stars(&self, vantage: &Vantage, query: &str) -> Result<String, EngineError> {
        let Statement::Statement(mut statement) = parse_view(query)? else {
            return Ok(query.to_owned());
        };
        let mut stars = Stars::default();
        let _ = Visit::visit(statement.as_ref(), &mut stars);
        if stars.queries.is_empty() {
            return Ok(query.to_owned());
        }
        let mut columns = Vec::with_capacity(stars.queries.len());
        for star in &stars.queries {
            columns.push(
                self.columns_of_star(vantage, star)
                    .await
                    .unwrap_or_default(),
            );
        }
        let mut columns = columns.into_iter();
        let _ = VisitMut::visit(statement.as_mut(), &mut WriteOut(&mut columns));
        Ok(statement.to_string())
    }

    /// The columns that a query of one star gives, by table and name.
    async fn columns_of_star(
        &self,
        vantage: &Vantage,
        query: &str,
    ) -> Result<Vec<SelectItem>, EngineError> {
        let statement = rewrite::for_datafusion(parse_view(query)?, vantage.time_zone())?;
        let state = self.borrow_state(vantage);
        let plan = state.statement_to_plan(statement).await?;
        let columns = plan.schema().columns().into_iter().map(|column| {
            let table = column.relation.as_ref().map(|r| identifier(r.table()));
            let name = identifier(&column.name);
            SelectItem::UnnamedExpr(match table {
                Some(table) => Expr::CompoundIdentifier(vec![table, name]),
                None => Expr::Identifier(name),
            })
        });
        Ok(columns.collect())
    }
}

/// The name under which a type is declared, so that declaring it gives it back, or one that holds its
/// values; `None` for what is not stored.
fn stored_type(data_type: &DataType) -> Option<String> {
    let name = match data_type {
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "TINYINT",
        DataType::Int16 | DataType::UInt8 => "SMALLINT",
        DataType::Int32 | DataType::UInt16 => "INTEGER",
        DataType::Int64 | DataType::UInt32 => "BIGINT",
        DataType::UInt64 => "DECIMAL(20,0)",
        DataType::Float16 | DataType::Float32 => "REAL",
        DataType::Float64 => "DOUBLE PRECISION",
        DataType::Decimal128(precision, scale) if *scale >= 0 => {
            return Some(format!("DECIMAL({precision},{scale})"));
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "TEXT",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BYTEA",
        DataType::Date32 | DataType::Date64 => "DATE",
        DataType::Timestamp(..) => "TIMESTAMP",
        DataType::Dictionary(_, value) => return stored_type(value),
        _ => return None,
    };
    Some(name.to_owned())
}

fn columns(plan: &LogicalPlan) -> Vec<ColumnDefinition> {
    let fields = plan.schema().fields().iter();
    fields
        .map(|field| ColumnDefinition {
            name: field.name().clone(),
            data_type: postgres_name_of(field.data_type()),
            nullable: true,
        })
        .collect()
}

/// A name as it must be written.
fn identifier(name: &str) -> Ident {
    let mut chars = name.chars();
    let plain = chars
        .next()
        .is_some_and(|c| c.is_ascii_lowercase() || c == '_')
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !is_keyword(name);
    if plain {
        Ident::new(name)
    } else {
        Ident::with_quote('"', name)
    }
}

fn is_star(item: &SelectItem) -> bool {
    matches!(
        item,
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)
    )
}

/// Collects for each star a query that has nothing but it, in the order of the walk.
#[derive(Default)]
struct Stars {
    queries: Vec<String>,
    frames: Vec<Frame>,
}

/// One query around the current place.
#[derive(Default)]
struct Frame {
    /// `WITH` queries that are in scope, as text.
    visible: Vec<String>,
    /// Those that come into scope when they have been visited, by their place in memory.
    pending: HashMap<usize, String>,
}

fn address(query: &Query) -> usize {
    std::ptr::from_ref(query).addr()
}

impl Visitor for Stars {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let with = query.with.iter().flat_map(|with| &with.cte_tables);
        self.frames.push(Frame {
            visible: Vec::new(),
            pending: with
                .map(|cte| (address(&cte.query), cte.to_string()))
                .collect(),
        });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.frames.pop();
        if let Some(outer) = self.frames.last_mut()
            && let Some(text) = outer.pending.remove(&address(query))
        {
            outer.visible.push(text);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let visible: Vec<&str> = self
            .frames
            .iter()
            .flat_map(|frame| frame.visible.iter().map(String::as_str))
            .collect();
        let with = if visible.is_empty() {
            String::new()
        } else {
            format!("WITH {} ", visible.join(", "))
        };
        let from: Vec<String> = select.from.iter().map(TableWithJoins::to_string).collect();
        for item in select.projection.iter().filter(|item| is_star(item)) {
            let query = format!("{with}SELECT {item} FROM {}", from.join(", "));
            self.queries.push(query);
        }
        ControlFlow::Continue(())
    }
}

/// Puts the columns into the place of the stars, in the same order.
struct WriteOut<'a>(&'a mut dyn Iterator<Item = Vec<SelectItem>>);

impl VisitorMut for WriteOut<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let items = std::mem::take(&mut select.projection);
        for item in items {
            let columns = if is_star(&item) {
                self.0.next().unwrap_or_default()
            } else {
                Vec::new()
            };
            if columns.is_empty() {
                select.projection.push(item);
            } else {
                select.projection.extend(columns);
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_asked_for_with_what_is_in_scope_there() {
        let text = "WITH a AS (SELECT * FROM t), b AS (SELECT 1 AS x) \
                    SELECT *, (SELECT count(*) FROM (SELECT u.* FROM u) AS v) FROM a JOIN b ON true";
        let Statement::Statement(statement) = parse_view(text).unwrap() else {
            panic!("a query");
        };
        let mut stars = Stars::default();
        let _ = Visit::visit(statement.as_ref(), &mut stars);
        let with = "WITH a AS (SELECT * FROM t), b AS (SELECT 1 AS x) ";
        assert_eq!(
            stars.queries,
            [
                "SELECT * FROM t".to_owned(),
                format!("{with}SELECT * FROM a JOIN b ON true"),
                format!("{with}SELECT u.* FROM u"),
            ]
        );
    }
}
