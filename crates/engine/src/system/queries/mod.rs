//! The queries themselves as tables: `forebay.query_live` (those that are not archived yet) and
//! `forebay.query_log` (those that are).
//!
//! All tables of one statement read the same moment ([`OneReading`]): a query that is archived while
//! the statement is planned is a row of exactly one of the two.
//!
//! Rows in memory are turned into columns here, as far as they are asked for. Those in Parquet files
//! are read by DataFusion ([`files`]).
//!
//! Who sees what is PostgreSQL's rule for the texts in `pg_stat_activity`: superusers see all, and
//! everybody else the queries of sessions that logged in as the role that asks.

mod files;
mod own_rows;

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::TableType;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;

use super::directory::Relations;
use crate::SessionFacts;
use crate::vantage::facts;

/// The column by which it is decided who sees a row: the role that logged in.
const OWNER: &str = "role";

/// The book-keeping of queries, as tables show it.
pub trait QueryBooks: Debug + Send + Sync {
    /// The columns of both tables. One is `role`, the role that logged in.
    fn schema(&self) -> SchemaRef;

    /// Every query at this moment.
    fn read(&self) -> Arc<dyn QueryReading>;
}

/// Every query at one moment: each is either live or in the log. What it names stays there as long as
/// it lives.
pub trait QueryReading: Debug + Send + Sync {
    /// The columns with these numbers of the queries that are not archived yet. With `owner`, of
    /// those only that this role logged in for.
    fn live(&self, columns: &[usize], owner: Option<&str>) -> RecordBatch;

    /// The same of archived queries that are in no file.
    fn logged(&self, columns: &[usize], owner: Option<&str>) -> RecordBatch;

    /// The Parquet files of all other archived queries. A column may be missing in old ones.
    fn files(&self) -> Vec<PathBuf>;
}

/// What the tables of one planning read: the first one that is scanned takes it.
#[derive(Debug, Default)]
pub(crate) struct OneReading(OnceLock<Arc<dyn QueryReading>>);

impl OneReading {
    /// The reading of the planning that `state` is borrowed for.
    fn of(state: &dyn Session, books: &dyn QueryBooks) -> Arc<dyn QueryReading> {
        match state.config().get_extension::<OneReading>() {
            Some(shared) => Arc::clone(shared.0.get_or_init(|| books.read())),
            None => books.read(),
        }
    }
}

/// The tables of schema `forebay`.
pub(super) fn own(relations: &mut Relations, books: &Arc<dyn QueryBooks>) {
    for (name, part) in [("query_live", Part::Live), ("query_log", Part::Log)] {
        let books = Arc::clone(books);
        relations.add(name, Arc::new(Queries { books, part }));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Live,
    Log,
}

#[derive(Debug)]
struct Queries {
    books: Arc<dyn QueryBooks>,
    part: Part,
}

/// The role whose queries only `asker` may see; `None` when it may see all.
fn owner(asker: &SessionFacts) -> Option<&str> {
    (!asker.superuser).then_some(asker.current_user.as_str())
}

#[async_trait]
impl TableProvider for Queries {
    fn schema(&self) -> SchemaRef {
        self.books.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        // Files may be skipped because of them, and what is read is filtered all the same.
        let pushdown = match self.part {
            Part::Live => TableProviderFilterPushDown::Unsupported,
            Part::Log => TableProviderFilterPushDown::Inexact,
        };
        Ok(vec![pushdown; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let owner = owner(facts(state.config_options())?);
        let reading = OneReading::of(state, self.books.as_ref());
        let all = || (0..self.schema().fields().len()).collect();
        let columns: Vec<usize> = projection.cloned().unwrap_or_else(all);
        if self.part == Part::Live {
            return in_memory(reading.live(&columns, owner));
        }
        let mut parts = Vec::new();
        if !reading.files().is_empty() {
            let scan = files::Scan {
                schema: self.schema(),
                columns: &columns,
                filters,
                owner,
            };
            parts.push(scan.plan(state, &reading).await?);
        }
        let logged = reading.logged(&columns, owner);
        if parts.is_empty() || logged.num_rows() > 0 {
            parts.push(in_memory(logged)?);
        }
        UnionExec::try_new(parts)
    }
}

fn in_memory(rows: RecordBatch) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = rows.schema();
    Ok(MemorySourceConfig::try_new_exec(
        &[vec![rows]],
        schema,
        None,
    )?)
}
