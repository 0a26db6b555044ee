//! Sessions, transactions, cursors, and the way of a statement.
//!
//! A front end opens a [`Session`], hands it parsed statements, and encodes what comes back. It
//! knows nothing of queues, locks or plans; this crate knows nothing of protocols.
//!
//! Where to look: `way.rs` is the way of a statement, one function that reads like design.md's
//! list. `session.rs` holds what a session owns, `transaction.rs` what a transaction owns,
//! `rows.rs` a result on its way out, `commands/` the statements that need no plan.
//!
//! Invariants:
//! - a session is used by one task at a time; others reach it only through its
//!   [`SessionHandle`](sessions::SessionHandle) (to look, to cancel, to end it);
//! - whatever ends a statement drops its guards, and dropping is the only way to give back;
//! - no result is ever held whole: rows are pulled batch by batch.

mod admit;
mod ahead;
mod beside;
mod books;
mod bound;
mod commands;
mod copy;
mod error;
mod interrupt;
mod limits;
mod login;
mod measured;
mod memory;
mod operator;
mod password;
mod planning;
mod portals;
mod prepared;
mod queues;
mod repeated;
mod rows;
mod running;
mod session;
mod sessions;
mod settings;
mod shown;
mod transaction;
mod usage;
mod waiting;
mod warehouse;
mod way;

pub use beside::EndRequest;
pub use bound::{Executed, PortalDescription};
pub use copy::{CopyFormat, CopyOut};
pub use error::{Error, Result, Severity};
pub use forebay_admission::Held;
pub use forebay_catalog::{ColumnDefinition, QueueAttributes, Relation, RelationDefinition};
pub use forebay_catalog::{TableDefinition, ViewDefinition};
pub use forebay_engine::{Backend, QueueTotals, RelationFacts, SettingRow, TableFile};
pub use forebay_engine::{
    Notice, Notices, PARQUET_COMPRESSION, PG_TYPE, digits, texts_of, value_of_text,
};
pub use forebay_lifecycle::Health as HistoryHealth;
pub use forebay_lifecycle::profile::{Profile, ScanProgress};
pub use forebay_lifecycle::{
    ArchiveHealth, AuditFound, AuditRecord, AuditSearch, Counters, DurationCounts, Listing,
    LogHealth, Query, QueryId, QueryState, Registry, TimelineEvent, Trouble, UnknownQuery,
};
pub use forebay_sql::{Parsed, Statement};
pub use interrupt::Interrupt;
pub use login::{LoginRequest, PasswordCheck};
pub use operator::{
    HeldLock, Holder, OperatorCheck, QueueOverview, Unregistration, Wait, WaitTarget,
};
pub use password::ScramSecret;
pub use prepared::Prepared;
pub use rows::{Response, Rows};
pub use session::{Session, TransactionStatus};
pub use settings::SERVER_VERSION;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use datafusion::prelude::SessionConfig;
use forebay_admission::Admission;
use forebay_catalog::{Catalog, NewRelation};
use forebay_engine::{CpuAccount, Engine, EngineConfig, QueryBooks, discover};
use forebay_lifecycle::{ArchiveFiles, ArchiveOptions, PoolSettings, QueryLogLimits, Redactor};

use books::Books;
use sessions::Sessions;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use warehouse::Warehouse;

/// What the operator chose for the server.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The role that always exists and may do everything.
    pub bootstrap_role: String,
    /// Sessions at once; superusers may go beyond it, by so many:
    pub max_connections: usize,
    /// Sessions that only superusers get when all others are taken.
    pub superuser_reserved_connections: usize,
    /// How many ended queries are kept in memory.
    pub query_log: QueryLogLimits,
    /// Who archives them.
    pub unregistration_pool: PoolSettings,
    /// In which files, below the data directory.
    pub archive: ArchiveOptions,
    /// Whether the server stops when an audit event cannot be written.
    pub abort_on_failed_audit_event: bool,
    /// What must not be in statements that are kept or shown, and how much of one is.
    pub redactor: Redactor,
    /// Choices about execution.
    pub engine: EngineConfig,
    /// Where this server is, `host:port`, for profiles.
    pub coordinator: Arc<str>,
}

/// The server: everything that its sessions share. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

/// Statements that may plan at once before they have a slot (`MIN_COST`).
const ESTIMATES_AT_ONCE: usize = 4;

struct Inner {
    config: ServerConfig,
    session_config: SessionConfig,
    catalog: Arc<Catalog>,
    warehouse: Warehouse,
    engine: Engine,
    admission: Admission,
    /// Turns of those who plan before they have a slot.
    estimates: Semaphore,
    registry: Registry,
    /// Takes secrets out of the texts that are kept or shown.
    redactor: Arc<Redactor>,
    /// The files that ended queries are archived in.
    archive: Arc<ArchiveFiles>,
    /// Why an audit event could not be written, so that the server must not go on.
    audit_failed: AuditFailed,
    sessions: Arc<Sessions>,
    shutting_down: AtomicBool,
}

impl Server {
    /// Opens the durable catalog in `data_dir` and builds the server on it.
    ///
    /// # Errors
    /// When the catalog is in use, damaged or unreadable, or the engine refuses its configuration.
    pub async fn open(data_dir: &Path, config: ServerConfig) -> Result<Self> {
        let catalog = Arc::new(Catalog::open(data_dir, &config.bootstrap_role).await?);
        let warehouse = Warehouse::open(data_dir, &catalog.snapshot())?;
        catalog
            .commit(&warehouse.moved(&catalog.snapshot()))
            .await?;
        let admission = Admission::new();
        let sessions = Arc::new(Sessions::new(admission.clone()));
        let audit_failed = AuditFailed::default();
        let archive = Arc::new(open_archive(data_dir, &config, audit_failed.clone())?);
        let history = archive.history().cloned();
        let registry = Registry::new(
            config.query_log,
            config.unregistration_pool,
            Box::new(Arc::clone(&archive)),
        );
        let books: Arc<dyn QueryBooks> = Arc::new(Books {
            registry: registry.clone(),
            history,
        });
        let engine = Engine::new(&config.engine, Arc::clone(&sessions) as _, &books)?;
        let tally = Arc::clone(&sessions.tally);
        queues::keep_in_step(&catalog, admission.clone(), tally).await;
        let follower = engine.clone();
        let follow = move |snapshot: &_| follower.follow_queues(snapshot);
        catalog.observe(follow).await;
        let server_bytes = engine.memory_limit_bytes();
        if let Some(warning) = memory::overpromised(&catalog.snapshot(), server_bytes) {
            tracing::warn!("{warning}");
        }
        Ok(Self {
            inner: Arc::new(Inner {
                session_config: config.engine.session_config(),
                archive,
                redactor: Arc::new(config.redactor.clone()),
                config,
                catalog,
                warehouse,
                engine,
                admission,
                estimates: Semaphore::new(ESTIMATES_AT_ONCE),
                registry,
                audit_failed,
                sessions,
                shutting_down: AtomicBool::new(false),
            }),
        })
    }

    /// Makes tables of the files at `path` for as long as this server runs.
    ///
    /// Each element of the answer is a table's name, or why a file or folder did not become one.
    pub async fn serve_path(&self, path: &Path) -> Vec<Result<String>> {
        let found = match discover(path) {
            Ok(found) => found,
            Err(error) => return vec![Err(error.into())],
        };
        let mut results = Vec::new();
        for table in found {
            results.push(match table {
                Ok(table) => self.serve_table(table).await,
                Err(error) => Err(error.into()),
            });
        }
        results
    }

    async fn serve_table(&self, table: forebay_engine::DiscoveredTable) -> Result<String> {
        let location = table.definition.location.clone();
        let relation = NewRelation {
            schema: "public".to_owned(),
            name: table.name.clone(),
            owner: self.inner.config.bootstrap_role.clone(),
            definition: RelationDefinition::Table(table.definition),
        };
        let relation = self.readable(relation).await?;
        let mut registered = self.inner.catalog.register_transient(vec![relation]).await;
        match registered.pop() {
            Some(Err(error)) => {
                Err(Error::from(error).with_detail(format!("While serving \"{location}\".")))
            }
            _ => Ok(table.name),
        }
    }

    /// Checks that a table's files can be opened, so that a bad one is reported at start.
    async fn readable(&self, relation: NewRelation) -> Result<NewRelation> {
        let engine = self.inner.engine.clone();
        let snapshot = self.inner.catalog.snapshot();
        let work = async move {
            engine.check_files(snapshot, &relation).await?;
            Ok(relation)
        };
        let engine = &self.inner.engine;
        Ok(engine
            .on_query_runtime(CpuAccount::Ungoverned, work)
            .await?)
    }

    /// Carries out a `CancelRequest`.
    pub fn cancel(&self, pid: i32, secret: i32) {
        self.inner.sessions.cancel_request(pid, secret);
    }

    /// Lets no new session in and ends each session as soon as it is idle.
    pub fn begin_shutdown(&self) {
        self.inner.shutting_down.store(true, Ordering::Release);
        self.inner.sessions.drain_all();
    }

    /// Ends all sessions now.
    pub fn terminate_sessions(&self) {
        self.inner.sessions.terminate_all();
    }

    /// Waits until no session lives.
    pub async fn sessions_closed(&self) {
        self.inner.sessions.all_closed().await;
    }

    /// Waits until the server must stop because an audit event could not be written
    /// (`abort_on_failed_audit_event`); says why it could not.
    pub async fn audit_failed(&self) -> String {
        let AuditFailed { stop, why } = &self.inner.audit_failed;
        stop.cancelled().await;
        why.get().cloned().unwrap_or_default()
    }

    /// Sessions that live now.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.inner.sessions.count()
    }

    /// The registry of queries, for pages and tests.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// What statements hold now; all zero when nothing runs.
    #[must_use]
    pub fn held(&self) -> Held {
        self.inner.admission.held()
    }

    /// Archives every query that has ended, and closes the durable catalog. Call it last.
    pub async fn close(&self) {
        let registry = self.inner.registry.clone();
        // A panic of an archiver has been told where it happened.
        let _ = tokio::task::spawn_blocking(move || registry.drain()).await;
        self.inner.catalog.close().await;
    }

    fn is_shutting_down(&self) -> bool {
        self.inner.shutting_down.load(Ordering::Acquire)
    }
}

/// The first audit event that could not be written.
#[derive(Debug, Clone, Default)]
struct AuditFailed {
    why: Arc<OnceLock<String>>,
    stop: CancellationToken,
}

/// Opens the files that queries are archived in, and tells what the last run has left.
fn open_archive(
    data_dir: &Path,
    config: &ServerConfig,
    audit_failed: AuditFailed,
) -> Result<ArchiveFiles> {
    let abort = config.abort_on_failed_audit_event;
    let on_audit_failure = Box::new(move |error: &std::io::Error| {
        if abort {
            audit_failed.why.get_or_init(|| error.to_string());
            audit_failed.stop.cancel();
        }
    });
    let archive = ArchiveFiles::open(data_dir, config.archive.clone(), on_audit_failure);
    let archive = archive.map_err(|error| Error::new("58030", error.to_string()))?;
    if let Some(history) = archive.history() {
        let opened = history.opened();
        if opened.lost > 0 {
            tracing::warn!(
                "{} queries of the last run are not in the history: it ended before they were archived",
                opened.lost
            );
        }
        if opened.recovered > 0 {
            tracing::info!(
                "{} queries of the last run were recovered",
                opened.recovered
            );
        }
    }
    Ok(archive)
}
