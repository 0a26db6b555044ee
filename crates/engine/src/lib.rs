//! The engine: everything that knows DataFusion.
//!
//! It plans statements against an immutable catalog [`Snapshot`](forebay_catalog::Snapshot),
//! runs physical plans on runtimes of its own, and answers what clients of PostgreSQL ask of
//! `pg_catalog`. It knows nothing of sessions, transactions or protocols: a statement comes with
//! a [`Vantage`] that says as whom, in which database and on which snapshot it looks at the world.
//!
//! Invariants:
//! - planning and execution happen on query runtimes only ([`Engine::query_runtime`]), so that a
//!   busy query never delays the network runtime;
//! - a planning state is borrowed for the length of one planning and never cloned per statement;
//! - a physical plan is run at most once ([`Engine::launch`] takes it by value).

mod busy;
mod catalogs;
mod clauses;
mod compression;
mod config;
mod cost;
pub mod digits;
mod durable;
mod error;
mod explain;
mod files;
mod functions;
mod logical;
mod memory;
mod metrics;
mod multiset;
mod notices;
mod parameters;
mod plan;
mod priority;
mod relation_facts;
mod rewrite;
mod runtime;
mod runtimes;
mod scans;
mod states;
mod subqueries;
mod system;
mod tables;
mod types;
mod vantage;
mod views;
mod yielding;

pub use clauses::ClauseColumns;
pub use compression::{PARQUET_COMPRESSION, check_parquet_compression};
pub use config::EngineConfig;
pub use cost::{CostConstants, Estimate, estimate};
pub use durable::sync;
pub use error::{EngineError, Position};
pub use explain::ExplainOptions;
pub use files::{DiscoveredTable, discover};
pub use logical::LogicalStatement;
pub use memory::{MemoryGrant, MemorySource};
pub use metrics::{
    CounterUnit, OperatorCounter, OperatorMetrics, PlanMetrics, ScanProgress, Usage,
};
pub use notices::{Notice, Notices};
pub use parameters::ParameterTypes;
pub use plan::{Launch, Next, Plan, ResultStream};
pub use relation_facts::{RelationFacts, TableFile};
pub use runtime::QueryRuntime;
pub use runtimes::CpuAccount;
pub use system::{
    Backend, BackendControl, CursorRow, LockRow, LockTarget, PreparedRow, QueryBooks, QueryReading,
    QueueStatus, QueueTotals, SettingRow, WaiterRow,
};
pub use types::{texts_of, value_of_text};
pub use vantage::{SessionFacts, Vantage};

use std::sync::Arc;

use datafusion::execution::runtime_env::RuntimeEnv;
use forebay_catalog::Snapshot;

use memory::ServerMemory;
use runtimes::QueryRuntimes;
use states::PlanningStates;
use tables::TableProviders;

/// The key of a result column's metadata under which a type's name stands that Arrow has not:
/// `varchar`, `json` or `jsonb`.
pub const PG_TYPE: &str = "pg.type";

/// The name of the one database that Forebay serves; other accepted names lead to it.
pub const DATABASE: &str = "forebay";

/// Plans and runs statements. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    states: PlanningStates,
    providers: Arc<TableProviders>,
    runtimes: QueryRuntimes,
    memory: ServerMemory,
    environment: Arc<RuntimeEnv>,
}

impl Engine {
    /// Builds the engine. The catalog comes with each statement.
    ///
    /// `backends` is asked by functions and views that show or signal sessions
    /// (`pg_stat_activity`, `pg_cancel_backend`); `books` has the queries that the tables
    /// `forebay.query_live` and `forebay.query_log` show.
    ///
    /// The calling thread's nice value becomes that of what no resource queue governs.
    ///
    /// # Errors
    /// When DataFusion refuses the configuration or the first query runtime cannot start its
    /// threads.
    pub fn new(
        config: &EngineConfig,
        backends: Arc<dyn BackendControl>,
        books: &Arc<dyn QueryBooks>,
    ) -> Result<Self, EngineError> {
        busy::follow_tasks();
        let memory = config.server_memory()?;
        let environment = memory.common_environment(&*config.runtime_environment()?);
        let providers = Arc::new(TableProviders::default());
        let link = system::EngineLink::default();
        let system = Arc::new(system::System::new(
            link.clone(),
            backends,
            books,
            memory.clone(),
        ));
        let states = PlanningStates::new(config, &environment, system)?;
        let runtimes = QueryRuntimes::start(config.query_threads())?;
        let engine = Self {
            inner: Arc::new(Inner {
                states,
                providers,
                runtimes,
                memory,
                environment,
            }),
        };
        link.connect(&engine);
        Ok(engine)
    }

    /// What the operators of all statements together may use, in bytes.
    #[must_use]
    pub fn memory_limit_bytes(&self) -> u64 {
        self.inner.memory.limit_bytes() as u64
    }

    /// Learns which resource queues there are, and their priorities. Called with each snapshot, in
    /// the order of the commits.
    pub fn follow_queues(&self, snapshot: &Snapshot) {
        self.inner.runtimes.follow(snapshot);
    }

    /// The runtime for a statement that begins now.
    ///
    /// # Errors
    /// When it is the first statement of its queue, and the threads cannot be started.
    pub async fn query_runtime(&self, account: CpuAccount) -> Result<QueryRuntime, EngineError> {
        self.inner.runtimes.of(account).await
    }

    /// Runs `work` on the query runtime of `account`; dropping the returned future aborts it.
    ///
    /// # Errors
    /// What `work` returns, or [`EngineError::panicked`] when it panicked.
    pub async fn on_query_runtime<T, F>(
        &self,
        account: CpuAccount,
        work: F,
    ) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, EngineError>> + Send + 'static,
    {
        self.query_runtime(account).await?.run(work).await
    }
}
