//! Table providers, made once per definition.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use datafusion::catalog::{TableProvider, TableProviderFactory};
use datafusion::datasource::ViewTable;
use datafusion::datasource::listing_table_factory::ListingTableFactory;
use datafusion::logical_expr::{DdlStatement, LogicalPlan};
use datafusion::parquet::file::reader::SerializedFileReader;
use forebay_catalog::{
    NewRelation, Relation, RelationDefinition, Snapshot, TableDefinition, ViewDefinition,
};
use parking_lot::Mutex;

use crate::plan::parse_one;
use crate::{Engine, EngineError, Vantage};

/// Entries above which definitions that no snapshot holds any more are dropped.
const SWEEP_ABOVE: usize = 1024;

/// Views inside views.
const MAX_VIEW_DEPTH: usize = 64;

/// Providers by the definition they were made from.
///
/// Snapshots share unchanged relations, so the address of a relation identifies its definition:
/// no version has to be compared, and a transaction's uncommitted definition never meets
/// another's. An entry keeps its relation alive, so an address is never reused while it is here.
#[derive(Debug, Default)]
pub(crate) struct TableProviders {
    made: Mutex<HashMap<usize, Entry>>,
}

#[derive(Debug)]
struct Entry {
    relation: Arc<Relation>,
    /// A view's plan embeds what it selects from, so it holds for this snapshot only. Weak, so
    /// that a view does not keep the catalog of its time alive.
    snapshot: Option<Weak<Snapshot>>,
    provider: Arc<dyn TableProvider>,
}

impl TableProviders {
    /// The provider of `relation` as seen from `vantage`.
    ///
    /// # Errors
    /// When the files cannot be read or the view's query no longer plans.
    pub(crate) async fn get(
        &self,
        engine: &Engine,
        vantage: &Vantage,
        relation: &Arc<Relation>,
    ) -> Result<Arc<dyn TableProvider>, EngineError> {
        let snapshot = &vantage.facts.snapshot;
        if let Some(provider) = self.find(relation, snapshot) {
            return Ok(provider);
        }
        // Everybody shares the provider, so nobody's own options may go into it.
        let vantage = &vantage.with_base_options()?;
        let (provider, snapshot): (Arc<dyn TableProvider>, _) = match &relation.definition {
            RelationDefinition::Table(table) => (
                table_provider(engine, vantage, relation, table).await?,
                None,
            ),
            RelationDefinition::View(view) => (
                view_provider(engine, vantage, relation, view).await?,
                Some(Arc::downgrade(snapshot)),
            ),
        };
        self.keep(Entry {
            relation: Arc::clone(relation),
            snapshot,
            provider: Arc::clone(&provider),
        });
        Ok(provider)
    }

    /// The provider, if it was made before.
    pub(crate) fn find(
        &self,
        relation: &Arc<Relation>,
        snapshot: &Arc<Snapshot>,
    ) -> Option<Arc<dyn TableProvider>> {
        let made = self.made.lock();
        let entry = made.get(&address(relation))?;
        let valid = entry
            .snapshot
            .as_ref()
            .is_none_or(|made_for| Weak::ptr_eq(made_for, &Arc::downgrade(snapshot)));
        valid.then(|| Arc::clone(&entry.provider))
    }

    fn keep(&self, entry: Entry) {
        let mut made = self.made.lock();
        if made.len() > SWEEP_ABOVE {
            let current = |e: &Entry| e.snapshot.as_ref().is_none_or(|s| s.strong_count() > 0);
            made.retain(|_, e| Arc::strong_count(&e.relation) > 1 && current(e));
        }
        made.insert(address(&entry.relation), entry);
    }
}

impl Engine {
    /// Opens the files of a table that is about to be created.
    ///
    /// # Errors
    /// When there are no readable files, or none of the table's format.
    pub async fn check_files(
        &self,
        snapshot: Arc<Snapshot>,
        new: &NewRelation,
    ) -> Result<(), EngineError> {
        let RelationDefinition::Table(table) = &new.definition else {
            return Ok(());
        };
        let relation = Relation {
            oid: 0,
            schema: new.schema.clone(),
            name: new.name.clone(),
            owner: new.owner.clone(),
            version: 0,
            transient: true,
            definition: new.definition.clone(),
        };
        let vantage = Vantage::nobodys(snapshot)?;
        table_provider(self, &vantage, &relation, table).await?;
        Ok(())
    }
}

fn address(relation: &Arc<Relation>) -> usize {
    Arc::as_ptr(relation) as usize
}

async fn view_provider(
    engine: &Engine,
    vantage: &Vantage,
    relation: &Relation,
    view: &ViewDefinition,
) -> Result<Arc<dyn TableProvider>, EngineError> {
    let vantage = vantage.inside_view(&view.search_path);
    if vantage.view_depth > MAX_VIEW_DEPTH {
        let detail = format!("Views are nested more than {MAX_VIEW_DEPTH} deep, or without end.");
        return Err(EngineError::new("54001", "statement is too complex").with_detail(detail));
    }
    let plan = Box::pin(engine.view_plan(&vantage, view))
        .await
        .map_err(|e| in_view(relation, e))?;
    Ok(Arc::new(ViewTable::new(plan, Some(view.query.clone()))))
}

/// An error inside a view is not at a place in the statement that uses it.
fn in_view(relation: &Relation, mut error: EngineError) -> EngineError {
    error.position = None;
    if error.detail.is_some() {
        return error;
    }
    error.with_detail(format!("While reading view \"{}\".", relation.name))
}

async fn table_provider(
    engine: &Engine,
    vantage: &Vantage,
    relation: &Relation,
    table: &TableDefinition,
) -> Result<Arc<dyn TableProvider>, EngineError> {
    // Planning the definition looks its own name up, which must not be found.
    let state = engine.borrow_state(&vantage.with_search_path(&[]));
    let text = create_statement(relation, table);
    let statement = parse_one(&text).map_err(|e| in_table(relation, table, e))?;
    let plan = state
        .statement_to_plan(statement)
        .await
        .map_err(|e| in_table(relation, table, e.into()))?;
    let LogicalPlan::Ddl(DdlStatement::CreateExternalTable(mut command)) = plan else {
        return Err(EngineError::internal(format!(
            "not a table definition: {text}"
        )));
    };
    if command.locations != [table.location.as_str()] {
        return Err(EngineError::internal(format!("another place: {text}")));
    }
    // DataFusion's parser takes no names in quotes here, so they are no part of the text.
    let partition_columns = table.partition_columns.iter();
    command.table_partition_cols = partition_columns.map(|c| c.name.clone()).collect();
    let provider = ListingTableFactory::new()
        .create(&*state, &command)
        .await
        .map_err(|e| in_table(relation, table, name_bad_footer(table, e.into())))?;
    if provider.schema().fields().is_empty() {
        return Err(EngineError::new(
            "58P01",
            format!(
                "table \"{}\" has no columns: no {} files at \"{}\"",
                relation.name,
                table.format.to_lowercase(),
                table.location
            ),
        ));
    }
    Ok(provider)
}

/// Names the file whose footer cannot be read. Readers do not, so the files of the folder are
/// opened one after another.
fn name_bad_footer(table: &TableDefinition, error: EngineError) -> EngineError {
    if !error.is_bad_data() || table.format != "PARQUET" {
        return error;
    }
    let mut folders = vec![PathBuf::from(&table.location)];
    while let Some(path) = folders.pop() {
        if let Ok(entries) = std::fs::read_dir(&path) {
            folders.extend(entries.filter_map(|e| Some(e.ok()?.path())));
        } else if let Ok(file) = std::fs::File::open(&path)
            && let Err(reason) = SerializedFileReader::new(file)
        {
            let message = format!("could not read file \"{}\": {reason}", path.display());
            return EngineError::new(error.sqlstate, message);
        }
    }
    error
}

fn in_table(relation: &Relation, table: &TableDefinition, mut error: EngineError) -> EngineError {
    error.position = None;
    error.with_detail(format!(
        "While opening table \"{}\" at \"{}\".",
        relation.name, table.location
    ))
}

/// The statement that DataFusion makes its own description of the table from.
fn create_statement(relation: &Relation, table: &TableDefinition) -> String {
    let mut text = format!("CREATE EXTERNAL TABLE {}", identifier(&relation.name));
    let columns: Vec<String> = table
        .columns
        .iter()
        .chain(&table.partition_columns)
        .map(|c| {
            let null = if c.nullable { "" } else { " NOT NULL" };
            format!("{} {}{null}", identifier(&c.name), c.data_type)
        })
        .collect();
    if !columns.is_empty() && !table.columns.is_empty() {
        text += &format!(" ({})", columns.join(", "));
    }
    text += &format!(" STORED AS {}", table.format);
    for order in &table.order_by {
        text += &format!(" WITH ORDER ({order})");
    }
    text += &format!(" LOCATION {}", literal(&table.location));
    if !table.options.is_empty() {
        let options: Vec<String> = table
            .options
            .iter()
            .map(|(name, value)| format!("{} {}", literal(name), literal(value)))
            .collect();
        text += &format!(" OPTIONS ({})", options.join(", "));
    }
    text
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
