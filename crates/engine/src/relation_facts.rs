//! What is known of a relation beside its definition: its columns, and what its files say of
//! themselves.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::datasource::listing::{ListingTable, PartitionedFile};
use datafusion::execution::object_store::ObjectStoreUrl;
use forebay_catalog::Relation;

use crate::{Engine, EngineError, Vantage};

/// What is known of a relation.
#[derive(Debug, Clone)]
pub struct RelationFacts {
    /// The relation itself.
    pub relation: Arc<Relation>,
    /// All of its columns; those of partitions come last.
    pub schema: SchemaRef,
    /// The names of the columns that the folders of the files give.
    pub partition_columns: Vec<String>,
    /// The files, in the order of their places. A view has none.
    pub files: Vec<TableFile>,
}

/// One file of a table.
#[derive(Debug, Clone)]
pub struct TableFile {
    /// Its path, or its URL where it is not on this machine.
    pub location: String,
    /// Its size.
    pub bytes: u64,
    /// Its rows, where its footer tells.
    pub rows: Option<u64>,
    /// How many values of each column of the table are NULL, where the footer tells.
    pub nulls: Vec<Option<u64>>,
    /// The values of the columns of partitions; `None` for NULL.
    pub partition: Vec<Option<String>>,
}

impl RelationFacts {
    /// The rows of all files; `None` where one does not tell.
    #[must_use]
    pub fn rows(&self) -> Option<u64> {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// How many values of a column are NULL; `None` where a file does not tell.
    #[must_use]
    pub fn nulls(&self, column: usize) -> Option<u64> {
        let of_file = |file: &TableFile| file.nulls.get(column).copied().flatten();
        self.files.iter().map(of_file).sum()
    }
}

impl Engine {
    /// Finds out what is known of `relation`. The footers of its files are read, unless a cache has
    /// them.
    ///
    /// # Errors
    /// When the files cannot be read or the view's query no longer plans.
    pub async fn relation_facts(
        &self,
        vantage: &Vantage,
        relation: &Arc<Relation>,
    ) -> Result<RelationFacts, EngineError> {
        let provider = self.inner.providers.get(self, vantage, relation).await?;
        let mut facts = RelationFacts {
            relation: Arc::clone(relation),
            schema: provider.schema(),
            partition_columns: Vec::new(),
            files: Vec::new(),
        };
        if let Some(table) = provider.downcast_ref::<ListingTable>() {
            let partitions = table.options().table_partition_cols.iter();
            facts.partition_columns = partitions.map(|(name, _)| name.clone()).collect();
            let state = self.borrow_state(vantage);
            facts.files = files_of(table, &*state).await?;
        }
        Ok(facts)
    }
}

async fn files_of(
    table: &ListingTable,
    state: &dyn Session,
) -> Result<Vec<TableFile>, EngineError> {
    let listed = table.list_files_for_scan(state, &[], None).await?;
    let store = table.table_paths()[0].object_store();
    let groups = listed.file_groups.iter();
    let mut files: Vec<TableFile> = groups
        .flat_map(|group| group.iter())
        .map(|file| table_file(file, &store))
        .collect();
    files.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(files)
}

fn table_file(file: &PartitionedFile, store: &ObjectStoreUrl) -> TableFile {
    let path = &file.object_meta.location;
    let statistics = file.statistics.as_deref();
    TableFile {
        location: match *store == ObjectStoreUrl::local_filesystem() {
            true => format!("/{path}"),
            false => format!("{}{path}", store.as_str()),
        },
        bytes: file.object_meta.size,
        rows: statistics.and_then(|s| exact(&s.num_rows)),
        nulls: statistics.map(nulls).unwrap_or_default(),
        partition: file
            .partition_values
            .iter()
            .map(|value| (!value.is_null()).then(|| value.to_string()))
            .collect(),
    }
}

fn nulls(statistics: &Statistics) -> Vec<Option<u64>> {
    let columns = statistics.column_statistics.iter();
    columns.map(|column| exact(&column.null_count)).collect()
}

/// A number that is certain.
fn exact(number: &Precision<usize>) -> Option<u64> {
    match number {
        Precision::Exact(number) => u64::try_from(*number).ok(),
        Precision::Inexact(_) | Precision::Absent => None,
    }
}
