//! The relations that `pg_class`, `pg_attribute` and the like list.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::datasource::TableType;
use datafusion_pg_catalog::pg_catalog::catalog_info::CatalogInfo;
use forebay_catalog::{Catalog, RelationDefinition, Snapshot};

use super::EngineLink;
use crate::catalogs::PG_CATALOG;
use crate::{DATABASE, Vantage};

/// The committed catalog, as the library's tables ask for it.
#[derive(Clone)]
pub(super) struct Relations {
    catalog: Arc<Catalog>,
    link: EngineLink,
}

impl std::fmt::Debug for Relations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relations").finish_non_exhaustive()
    }
}

impl Relations {
    pub(super) fn new(catalog: Arc<Catalog>, link: EngineLink) -> Self {
        Self { catalog, link }
    }

    /// The columns of a relation; none when its files cannot be read, so that one bad file does
    /// not hide all the others from `\d`.
    async fn columns(&self, snapshot: Arc<Snapshot>, schema: &str, name: &str) -> SchemaRef {
        let columns = async {
            let engine = self.link.engine()?;
            let relation = Arc::clone(snapshot.relation(schema, name)?);
            let vantage = Vantage::nobodys(Arc::clone(&snapshot)).ok()?;
            let providers = Arc::clone(&engine.inner.providers);
            let provider = providers.get(&engine, &vantage, &relation).await.ok()?;
            Some(provider.schema())
        };
        columns.await.unwrap_or_else(|| Arc::new(Schema::empty()))
    }
}

#[async_trait]
impl CatalogInfo for Relations {
    async fn catalog_names(&self) -> Result<Vec<String>, DataFusionError> {
        Ok(vec![DATABASE.to_owned()])
    }

    async fn schema_names(&self, _: &str) -> Result<Option<Vec<String>>, DataFusionError> {
        let mut names = vec![PG_CATALOG.to_owned(), "information_schema".to_owned()];
        names.extend(self.catalog.snapshot().schemas().map(|s| s.name.clone()));
        Ok(Some(names))
    }

    async fn table_names(
        &self,
        _: &str,
        schema: &str,
    ) -> Result<Option<Vec<String>>, DataFusionError> {
        let snapshot = self.catalog.snapshot();
        let names = snapshot.relations(schema).map(|r| r.name.clone()).collect();
        Ok(Some(names))
    }

    async fn table_schema(
        &self,
        _: &str,
        schema: &str,
        name: &str,
    ) -> Result<Option<SchemaRef>, DataFusionError> {
        Ok(Some(
            self.columns(self.catalog.snapshot(), schema, name).await,
        ))
    }

    async fn table_type(
        &self,
        _: &str,
        schema: &str,
        name: &str,
    ) -> Result<Option<TableType>, DataFusionError> {
        let snapshot = self.catalog.snapshot();
        Ok(snapshot.relation(schema, name).map(|r| match r.definition {
            RelationDefinition::Table(_) => TableType::Base,
            RelationDefinition::View(_) => TableType::View,
        }))
    }
}
