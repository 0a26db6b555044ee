//! DataFusion's view of a catalog snapshot.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::{Result, plan_err};
use datafusion::datasource::TableType;
use forebay_catalog::{Relation, RelationDefinition};

use crate::system::System;
use crate::tables::TableProviders;
use crate::{DATABASE, Engine, Vantage};

/// The schema name under which unqualified names are resolved: not a schema of anybody's, but
/// the search path as a whole.
pub(crate) const SEARCH_PATH_SCHEMA: &str = "\u{1}search_path";

/// The schema of PostgreSQL's system tables; always searched, first unless named elsewhere.
pub(crate) const PG_CATALOG: &str = "pg_catalog";

/// The schema of SQL's own views of the catalog.
pub(crate) const INFORMATION_SCHEMA: &str = "information_schema";

/// The schema of Greenplum's views for administrators.
pub(crate) const GP_TOOLKIT: &str = "gp_toolkit";

/// The schema of Forebay's own views.
pub(crate) const FOREBAY: &str = "forebay";

/// The catalogs, schemas and relations of one snapshot, as one statement sees them.
#[derive(Clone)]
pub(crate) struct SnapshotCatalogs {
    vantage: Vantage,
    providers: Arc<TableProviders>,
    system: Arc<System>,
    engine: Engine,
}

impl std::fmt::Debug for SnapshotCatalogs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotCatalogs").finish_non_exhaustive()
    }
}

impl SnapshotCatalogs {
    pub(crate) fn new(
        vantage: Vantage,
        providers: Arc<TableProviders>,
        system: Arc<System>,
        engine: Engine,
    ) -> Self {
        Self {
            vantage,
            providers,
            system,
            engine,
        }
    }

    fn relation(&self, schema: &str, name: &str) -> Option<&Arc<Relation>> {
        self.vantage.facts.snapshot.relation(schema, name)
    }

    async fn provider(&self, relation: &Arc<Relation>) -> Result<Arc<dyn TableProvider>> {
        self.providers
            .get(&self.engine, &self.vantage, relation)
            .await
            .map_err(Into::into)
    }
}

impl CatalogProviderList for SnapshotCatalogs {
    fn register_catalog(
        &self,
        _name: String,
        _catalog: Arc<dyn CatalogProvider>,
    ) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![DATABASE.to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == DATABASE || name == self.vantage.facts.database)
            .then(|| Arc::new(self.clone()) as _)
    }
}

impl CatalogProvider for SnapshotCatalogs {
    fn schema_names(&self) -> Vec<String> {
        let system = [PG_CATALOG, INFORMATION_SCHEMA, GP_TOOLKIT, FOREBAY];
        let mut names: Vec<String> = system.map(str::to_owned).into();
        names.extend(
            self.vantage
                .facts
                .snapshot
                .schemas()
                .map(|s| s.name.clone()),
        );
        names
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        if let Some(schema) = self.system.schema(name) {
            return Some(schema);
        }
        let path = if name == SEARCH_PATH_SCHEMA {
            let searched = self.vantage.facts.searched_schemas();
            searched.map(ToOwned::to_owned).collect()
        } else {
            self.vantage.facts.snapshot.schema(name)?;
            vec![name.to_owned()]
        };
        Some(Arc::new(SearchPath {
            catalogs: self.clone(),
            path,
        }))
    }
}

/// One schema, or several in the order of the search path.
#[derive(Debug)]
struct SearchPath {
    catalogs: SnapshotCatalogs,
    path: Vec<String>,
}

/// What a name was found to be.
enum Found<'a> {
    System(Arc<dyn SchemaProvider>),
    Users(&'a Arc<Relation>),
}

impl SearchPath {
    fn find(&self, name: &str) -> Option<Found<'_>> {
        self.path.iter().find_map(|schema| {
            let users = self.catalogs.relation(schema, name);
            users.map(Found::Users).or_else(|| {
                let system = self.catalogs.system.schema(schema)?;
                system.table_exist(name).then_some(Found::System(system))
            })
        })
    }
}

#[async_trait]
impl SchemaProvider for SearchPath {
    fn table_names(&self) -> Vec<String> {
        let snapshot = &self.catalogs.vantage.facts.snapshot;
        let relations = self.path.iter().flat_map(|s| snapshot.relations(s));
        relations.map(|r| r.name.clone()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.find(name) {
            Some(Found::System(schema)) => schema.table(name).await,
            Some(Found::Users(relation)) => self.catalogs.provider(relation).await.map(Some),
            None => Ok(None),
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(match self.find(name) {
            Some(Found::Users(relation)) => Some(match relation.definition {
                RelationDefinition::Table(_) => TableType::Base,
                RelationDefinition::View(_) => TableType::View,
            }),
            Some(Found::System(schema)) => schema.table_type(name).await?,
            None => None,
        })
    }

    fn register_table(
        &self,
        name: String,
        _table: Arc<dyn TableProvider>,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        plan_err!("relation \"{name}\" can only be created through the catalog")
    }

    fn table_exist(&self, name: &str) -> bool {
        self.find(name).is_some()
    }
}
