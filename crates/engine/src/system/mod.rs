//! What PostgreSQL's clients ask the system about: `pg_catalog`'s tables and functions.
//!
//! Types, operators and relations come from `datafusion-pg-catalog`. What depends on sessions,
//! roles and settings is ours and takes precedence.

mod functions;
mod relations;
mod table;
mod views;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::catalog::{MemoryCatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::Result as DataFusionResult;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionContext;
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::pg_catalog::{
    PgCatalogSchemaProvider, PgCatalogStaticTables, setup_pg_catalog,
};
use forebay_catalog::Catalog;

use crate::scans::LeanPlainScans;
use crate::{DATABASE, EngineConfig, EngineError, SessionFacts};

/// One row of `pg_stat_activity`.
#[derive(Debug, Clone)]
pub struct Backend {
    /// Process id.
    pub pid: i32,
    /// Database as the client named it.
    pub database: String,
    /// The role that logged in.
    pub user: String,
    /// `application_name`.
    pub application_name: String,
    /// Client's address; `None` for a local socket.
    pub client_address: Option<String>,
    /// Client's port; -1 for a local socket.
    pub client_port: i32,
    /// When the session began.
    pub backend_start: DateTime<Utc>,
    /// When the transaction began, if one is open.
    pub transaction_start: Option<DateTime<Utc>>,
    /// When the current or last statement began.
    pub query_start: Option<DateTime<Utc>>,
    /// When `state` last changed.
    pub state_change: DateTime<Utc>,
    /// `active`, `idle`, `idle in transaction`, `idle in transaction (aborted)`.
    pub state: &'static str,
    /// What kind of thing the session waits for, if it waits.
    pub wait_event_type: Option<&'static str>,
    /// What it waits for.
    pub wait_event: Option<String>,
    /// Text of the current or last statement.
    pub query: String,
    /// Id of the current or last query.
    pub query_id: Option<String>,
}

/// One row of `pg_settings`.
#[derive(Debug, Clone)]
pub struct SettingRow {
    /// Name as `SHOW ALL` prints it.
    pub name: String,
    /// Current value.
    pub setting: String,
    /// Implicit unit of a number.
    pub unit: Option<&'static str>,
    /// One sentence.
    pub description: String,
    /// Who may change it: `internal`, `superuser`, `user`.
    pub context: &'static str,
    /// `bool`, `integer`, `enum`, `string`, `real`.
    pub kind: &'static str,
    /// Where the current value comes from: `default`, `client`, `session`, ….
    pub source: &'static str,
    /// Value at start-up.
    pub boot_value: String,
    /// Value that `RESET` gives.
    pub reset_value: String,
}

/// One row of `pg_cursors`.
#[derive(Debug, Clone)]
pub struct CursorRow {
    /// Its name.
    pub name: String,
    /// The `DECLARE` statement.
    pub statement: String,
    /// Whether it outlives its transaction.
    pub holdable: bool,
    /// When it was declared.
    pub created: DateTime<Utc>,
}

/// The sessions, as functions and views of SQL reach them.
pub trait BackendControl: Debug + Send + Sync {
    /// Every session, for `pg_stat_activity`.
    fn backends(&self) -> Vec<Backend>;

    /// The open cursors of session `pid`, for `pg_cursors`.
    fn cursors(&self, pid: i32) -> Vec<CursorRow>;

    /// Cancels the statement that session `pid` runs; false when there is no such session.
    ///
    /// # Errors
    /// When `asker` has no right to.
    fn cancel(&self, asker: &SessionFacts, pid: i32) -> Result<bool, EngineError>;

    /// Ends session `pid`; false when there is no such session.
    ///
    /// # Errors
    /// When `asker` has no right to.
    fn terminate(&self, asker: &SessionFacts, pid: i32) -> Result<bool, EngineError>;

    /// Every setting as `asker` sees it, for `pg_settings`.
    fn settings(&self, asker: &SessionFacts) -> Vec<SettingRow>;
}

/// The state that all planning states are copies of.
pub(crate) fn planning_state(
    config: &EngineConfig,
    environment: &Arc<RuntimeEnv>,
    backends: &Arc<dyn BackendControl>,
) -> Result<SessionState, EngineError> {
    let state = SessionStateBuilder::new()
        .with_config(config.session_config())
        .with_runtime_env(Arc::clone(environment))
        .with_default_features()
        .with_physical_optimizer_rule(Arc::new(LeanPlainScans::new(environment)))
        .with_physical_optimizer_rule(Arc::new(crate::yielding::YieldAfterJoins))
        .build();
    let mut context = SessionContext::new_with_state(state);
    context.register_catalog(DATABASE, Arc::new(MemoryCatalogProvider::new()));
    setup_pg_catalog(&context, DATABASE, EmptyContextProvider).map_err(|e| *e)?;
    datafusion_pg_functions::register_all(&mut context);
    for function in functions::all(backends) {
        context.register_udf(function);
    }
    context.add_analyzer_rule(Arc::new(crate::arithmetic::CheckedIntegers));
    Ok(context.state())
}

/// The schema `pg_catalog`.
pub(crate) fn pg_catalog(
    catalog: Arc<Catalog>,
    link: &EngineLink,
    backends: &Arc<dyn BackendControl>,
) -> Result<Arc<dyn SchemaProvider>, EngineError> {
    let static_tables = Arc::new(PgCatalogStaticTables::try_new()?);
    let relations = relations::Relations::new(catalog, link.clone());
    let library = PgCatalogSchemaProvider::try_new(relations, static_tables, EmptyContextProvider)?;
    Ok(Arc::new(PgCatalog {
        own: views::all(backends),
        library: Arc::new(library),
    }))
}

/// Our tables first, the library's for the rest.
#[derive(Debug)]
struct PgCatalog {
    own: HashMap<&'static str, Arc<dyn TableProvider>>,
    library: Arc<dyn SchemaProvider>,
}

#[async_trait]
impl SchemaProvider for PgCatalog {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.library.table_names();
        names.extend(self.own.keys().map(ToString::to_string));
        names.sort();
        names.dedup();
        names
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        match self.own.get(name) {
            Some(table) => Ok(Some(Arc::clone(table))),
            None => self.library.table(name).await,
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.own.contains_key(name) || self.library.table_exist(name)
    }
}

/// The way back from the catalog tables to the engine that they are part of.
#[derive(Clone, Default)]
pub(crate) struct EngineLink(Arc<std::sync::OnceLock<Weak<crate::Inner>>>);

impl Debug for EngineLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EngineLink")
    }
}

impl EngineLink {
    pub(crate) fn connect(&self, engine: &crate::Engine) {
        let _ = self.0.set(Arc::downgrade(&engine.inner));
    }

    fn engine(&self) -> Option<crate::Engine> {
        let inner = self.0.get()?.upgrade()?;
        Some(crate::Engine { inner })
    }
}
