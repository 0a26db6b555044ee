//! What clients ask the system about: the schemas `pg_catalog` and `information_schema`,
//! Greenplum's `gp_toolkit`, our own `forebay`, and functions.
//!
//! What depends on the catalog, on sessions and settings is made of the statement's own snapshot
//! at every scan: `classes.rs` (relations and their columns), `roles.rs`, `databases.rs`,
//! `sessions.rs`, `queues.rs`, `locks.rs`, `memory.rs`, `time_zones.rs`,
//! `information_schema.rs`, `described.rs` (comments, and types as files have them). The queries themselves are tables with files: `queries/`. What is the same everywhere (types,
//! functions, operators) comes from `datafusion-pg-catalog` (`library.rs`). What Forebay has not
//! is there without rows (`unused.rs`).

mod classes;
mod databases;
mod described;
mod directory;
mod functions;
mod information_schema;
mod library;
mod locks;
mod memory;
mod queries;
mod queues;
mod relation;
mod roles;
mod sessions;
mod time_zones;
mod types;
mod unused;

use std::fmt::Debug;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::{
    MemoryCatalogProvider, SchemaProvider, TableFunctionArgs, TableFunctionImpl, TableProvider,
};
use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionContext;
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::pg_catalog::setup_pg_catalog;
use forebay_catalog::Priority;

use crate::catalogs::{FOREBAY, GP_TOOLKIT, INFORMATION_SCHEMA, PG_CATALOG};
use crate::memory::{MergeLargeJoins, ServerMemory};
use crate::scans::LeanPlainScans;
use crate::subqueries::QueriesInExpressions;
use crate::{DATABASE, EngineConfig, EngineError, SessionFacts};

pub(crate) use directory::EngineLink;
pub(crate) use directory::table_oid;
use directory::{Directory, Relations};
pub(crate) use functions::names::{output_of, printed};
pub use locks::{LockRow, LockTarget, WaiterRow};
pub(crate) use queries::OneReading;
pub use queries::{QueryBooks, QueryReading};
pub use queues::{QueueStatus, QueueTotals};
pub(crate) use unused::is_unused;

/// One row of `pg_stat_activity`.
#[derive(Debug, Clone)]
pub struct Backend {
    /// Process id.
    pub pid: i32,
    /// Database as the client named it.
    pub database: String,
    /// The role that logged in.
    pub user: String,
    /// The role in force when the current or last statement began.
    pub role: String,
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
    /// Statements that the session has begun.
    pub statements: u64,
    /// The priority of the threads that the current statement runs on; `None` when none runs.
    pub priority: Option<Priority>,
}

impl Backend {
    /// PostgreSQL shows others' statements to superusers only.
    fn is_visible_to(&self, asker: &SessionFacts) -> bool {
        asker.superuser || self.user == asker.current_user
    }

    /// The statement's text, as far as `asker` may see it.
    fn query_for(&self, asker: &SessionFacts) -> &str {
        match self.is_visible_to(asker) {
            true => &self.query,
            false => "<insufficient privilege>",
        }
    }
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

/// One row of `pg_prepared_statements`.
#[derive(Debug, Clone)]
pub struct PreparedRow {
    /// Its name.
    pub name: String,
    /// The statement, as `PREPARE` or the client gave it.
    pub statement: Arc<str>,
    /// When it was prepared.
    pub prepared: DateTime<Utc>,
    /// The types of its parameters; `None` where nothing tells, which means text.
    pub parameters: Vec<Option<DataType>>,
    /// Whether `PREPARE` made it; else the extended protocol did.
    pub from_sql: bool,
}

/// The sessions, as functions and views of SQL reach them.
pub trait BackendControl: Debug + Send + Sync {
    /// Every session, for `pg_stat_activity`.
    fn backends(&self) -> Vec<Backend>;

    /// The open cursors of session `pid`, for `pg_cursors`.
    fn cursors(&self, pid: i32) -> Vec<CursorRow>;

    /// The named prepared statements of session `pid`, for `pg_prepared_statements`.
    fn prepared_statements(&self, pid: i32) -> Vec<PreparedRow>;

    /// Cancels the statement that session `pid` runs; false when there is no such session.
    ///
    /// # Errors
    /// When `asker` has no right to.
    fn cancel(&self, asker: &SessionFacts, pid: i32) -> std::result::Result<bool, EngineError>;

    /// Ends session `pid`; false when there is no such session.
    ///
    /// # Errors
    /// When `asker` has no right to.
    fn terminate(&self, asker: &SessionFacts, pid: i32) -> std::result::Result<bool, EngineError>;

    /// Every resource queue that admission knows.
    fn queues(&self) -> Vec<QueueStatus>;

    /// What sessions hold and wait for, for `pg_locks`.
    fn locks(&self) -> Vec<LockRow>;

    /// Everybody who waits, the oldest wait first. Relations have the names that they have in
    /// `asker`'s snapshot.
    fn waiters(&self, asker: &SessionFacts) -> Vec<WaiterRow>;

    /// Every setting as `asker` sees it, for `pg_settings`.
    fn settings(&self, asker: &SessionFacts) -> Vec<SettingRow>;

    /// Changes a setting of `asker`'s session once the statement has run; gives the new value in
    /// its usual form. With `local`, only until the transaction ends.
    ///
    /// # Errors
    /// When there is no such setting, or the value is invalid.
    fn set_config(
        &self,
        asker: &SessionFacts,
        name: &str,
        value: &str,
        local: bool,
    ) -> Result<String, EngineError>;
}

/// Functions whose rows are those of a relation.
const FUNCTIONS_OF_RELATIONS: [(&str, &str); 5] = [
    ("pg_cursor", "pg_cursors"),
    ("pg_prepared_statement", "pg_prepared_statements"),
    ("pg_show_all_settings", "pg_settings"),
    ("pg_timezone_abbrevs", "pg_timezone_abbrevs"),
    ("pg_timezone_names", "pg_timezone_names"),
];

#[derive(Debug)]
struct RelationFunction(Arc<dyn TableProvider>);

impl TableFunctionImpl for RelationFunction {
    fn call_with_args(&self, _: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        Ok(Arc::clone(&self.0))
    }
}

/// The schemas of the system, and the functions that go with them.
pub(crate) struct System {
    directory: Arc<Directory>,
    pg_catalog: Arc<Relations>,
    schemas: Vec<Arc<Relations>>,
    backends: Arc<dyn BackendControl>,
}

impl System {
    /// Declares every relation; `link` leads to the engine that can open users' tables.
    pub(crate) fn new(
        link: EngineLink,
        backends: Arc<dyn BackendControl>,
        books: &Arc<dyn QueryBooks>,
        memory: ServerMemory,
    ) -> Self {
        let directory = Arc::new(Directory::new(link));
        let mut pg_catalog = Relations::new(PG_CATALOG);
        classes::all(&mut pg_catalog, &directory);
        databases::all(&mut pg_catalog);
        library::all(&mut pg_catalog);
        locks::all(&mut pg_catalog, &backends);
        queues::all(&mut pg_catalog, &backends);
        roles::all(&mut pg_catalog);
        sessions::all(&mut pg_catalog, &backends);
        time_zones::all(&mut pg_catalog);
        unused::all(&mut pg_catalog);
        let mut information_schema = Relations::new(INFORMATION_SCHEMA);
        information_schema::all(&mut information_schema, &directory);
        let mut gp_toolkit = Relations::new(GP_TOOLKIT);
        locks::toolkit(&mut gp_toolkit, &backends);
        queues::toolkit(&mut gp_toolkit, &backends);
        let mut forebay = Relations::new(FOREBAY);
        described::own(&mut forebay, &directory);
        locks::own(&mut forebay, &backends);
        memory::own(&mut forebay, memory);
        queries::own(&mut forebay, books);
        let schemas = [pg_catalog, information_schema, gp_toolkit, forebay];
        let schemas: Vec<_> = schemas.map(|s| Arc::new(s.numbered())).into();
        directory.fill(&schemas);
        Self {
            directory,
            pg_catalog: Arc::clone(&schemas[0]),
            schemas,
            backends,
        }
    }

    /// The schema `name`, if it is one of the system's.
    pub(crate) fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let found = self.schemas.iter().find(|s| s.schema == name);
        found.map(|schema| Arc::clone(schema) as _)
    }

    /// Whether a system schema has a table of this name.
    pub(crate) fn has_table(&self, schema: &str, name: &str) -> bool {
        let found = self.schemas.iter().find(|s| s.schema == schema);
        found.is_some_and(|schema| schema.table_exist(name))
    }

    /// The state that all planning states are copies of.
    pub(crate) fn planning_state(
        &self,
        config: &EngineConfig,
        environment: &Arc<RuntimeEnv>,
    ) -> std::result::Result<SessionState, EngineError> {
        let state = SessionStateBuilder::new()
            .with_config(config.session_config())
            .with_runtime_env(Arc::clone(environment))
            .with_default_features()
            .with_physical_optimizer_rules(MergeLargeJoins::among_rules(environment))
            .with_physical_optimizer_rule(Arc::new(LeanPlainScans::new(environment)))
            .build();
        let mut context = SessionContext::new_with_state(state);
        context.register_catalog(DATABASE, Arc::new(MemoryCatalogProvider::new()));
        setup_pg_catalog(&context, DATABASE, EmptyContextProvider).map_err(|e| *e)?;
        datafusion_pg_functions::register_all(&mut context);
        crate::functions::register(&context);
        for function in functions::all(&self.directory, &self.backends) {
            context.register_udf(function);
        }
        for (name, relation) in FUNCTIONS_OF_RELATIONS {
            let relation = &self.pg_catalog.by_name[relation];
            let function = RelationFunction(Arc::clone(&relation.provider));
            context.register_udtf(name, Arc::new(function));
        }
        context.add_analyzer_rule(Arc::new(QueriesInExpressions {
            only_element: context.udf("one_of_query")?,
        }));
        context.add_analyzer_rule(Arc::new(crate::multiset::MultisetOperations));
        crate::types::install(context.state())
    }
}
