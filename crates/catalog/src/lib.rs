//! The durable, versioned catalog of a Forebay server: roles, resource queues, settings, schemas, and the
//! definitions of tables and views.
//!
//! Everything that is known at one moment is a [`Snapshot`]: immutable, and shared by whoever needs it. What can be done
//! to it is a [`Change`], and [`Snapshot::apply`] is the only place that decides whether it is allowed. A transaction
//! keeps its changes and a snapshot of its own; [`Catalog::commit`] applies the changes to the newest snapshot, writes
//! them to SQLite in one transaction, and only then lets everybody see them.
//!
//! ```
//! use forebay_catalog::{Catalog, Change, NewRole};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let data_dir = tempfile::tempdir()?;
//! let catalog = Catalog::open(data_dir.path(), "operator").await?;
//!
//! // A transaction sees its own changes …
//! let create = Change::CreateRole(NewRole::new("analyst"));
//! let private = catalog.snapshot().apply(&create)?;
//! assert!(private.role("analyst").is_some());
//!
//! // … and the others see them from the commit on.
//! assert!(catalog.snapshot().role("analyst").is_none());
//! catalog.commit(&[create]).await?;
//! assert!(catalog.snapshot().role("analyst").is_some());
//!
//! catalog.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! What always holds:
//!
//! - The database says what the published snapshot says, apart from transient relations. A commit that was acknowledged
//!   survives the loss of the process and of power; one that was not is there wholly or not at all.
//! - One server per data directory: a lock file, kept by the operating system, sees to it.
//! - The bootstrap role (oid 10) is a superuser that can log in, so there is always one.
//! - Every role belongs to a resource queue. `pg_default` (oid 6055) is always there.
//! - No object id is given out twice to durable objects.
//!
//! Deliberately absent: privileges (who may do what is checked before a change is made), SQL (what a view reads is
//! told by whoever makes it), and waiting (relation locks are the admission crate's).

mod apply;
mod change;
mod dependencies;
mod error;
mod lock;
mod queue;
mod snapshot;
mod store;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::Mutex;

pub use change::{
    Change, ColumnDefinition, DependentViews, NewRelation, NewRole, RelationDefinition,
    RelationName, RoleChange, TableDefinition, ViewDefinition,
};
pub use dependencies::Dependent;
pub use error::{CatalogError, ObjectKind};
pub use queue::{
    DEFAULT_QUEUE, DEFAULT_QUEUE_OID, MIN_MEMORY_LIMIT_KB, Priority, QueueAttribute,
    QueueAttributes, QueueChange, QueueError, ResourceQueue,
};
pub use snapshot::{Relation, Role, Schema, Snapshot};

use store::Store;

/// The object id of the first bootstrap role, as in PostgreSQL.
pub const BOOTSTRAP_ROLE_OID: u32 = 10;

/// The object id of schema `public`, as in PostgreSQL.
pub const PUBLIC_SCHEMA_OID: u32 = 2200;

/// The schema that is always there.
pub const PUBLIC_SCHEMA: &str = "public";

/// Durable objects have ids from here on, as in PostgreSQL, up to [`FIRST_TRANSIENT_OID`].
pub const FIRST_USER_OID: u32 = 16_384;

/// Transient relations have ids from here on, so that they use up none of the durable ones.
pub const FIRST_TRANSIENT_OID: u32 = 0x4000_0000;

/// The longest name of any object, in bytes. More than PostgreSQL's 63, since tables are named after files.
pub const MAX_NAME_BYTES: usize = 255;

/// How many dependent objects an error lists before it only counts them.
pub const MAX_DEPENDENTS_LISTED: usize = 100;

/// The catalog of the one server that has the data directory open. Clones are the same catalog.
#[derive(Clone)]
pub struct Catalog {
    shared: Arc<Shared>,
}

struct Shared {
    /// What everybody sees. Locked only to copy or replace the pointer.
    published: RwLock<Arc<Snapshot>>,
    /// Writers take turns here, from reading the newest snapshot to publishing the next; `None` once closed.
    store: Mutex<Option<Store>>,
    /// Told of each snapshot by whoever publishes it.
    observers: RwLock<Vec<Observer>>,
}

type Observer = Box<dyn Fn(&Snapshot) + Send + Sync>;

impl Catalog {
    /// Opens the catalog in `data_dir`, which is created if it is absent, and keeps every other process out of it.
    ///
    /// Makes sure that `bootstrap_role` is a superuser that can log in. The first one ever becomes oid
    /// [`BOOTSTRAP_ROLE_OID`]; a different one later is added, and the first stays.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Locked`] when another server has the directory, [`CatalogError::Corrupt`] when the database is
    /// damaged or no catalog, [`CatalogError::Incompatible`] when another version of Forebay wrote it,
    /// [`CatalogError::Reserved`] or [`CatalogError::InvalidName`] when `bootstrap_role` cannot be a role, and what the
    /// operating system may say.
    pub async fn open(data_dir: &Path, bootstrap_role: &str) -> Result<Self, CatalogError> {
        let mut store = Store::open(data_dir).await?;
        let loaded = store.load().await?;
        let mut snapshot = loaded.clone();
        if snapshot.ensure_bootstrap(bootstrap_role)? {
            snapshot.version += 1;
            store.write(&loaded, &snapshot).await?;
        }
        tracing::info!(path = %store.path().display(), version = snapshot.version, "catalog opened");
        let shared = Shared {
            published: RwLock::new(Arc::new(snapshot)),
            store: Mutex::new(Some(store)),
            observers: RwLock::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The newest committed snapshot. Never waits for a writer; costs a reference count.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.shared.published.read())
    }

    /// Tells `observer` what the catalog says: once now, and then with every commit, in the order of the commits,
    /// before anybody else sees it. It is called by whoever commits and must not wait, nor use this catalog.
    pub async fn observe(&self, observer: impl Fn(&Snapshot) + Send + Sync + 'static) {
        // No commit comes between the first call and the next.
        let _turn = self.shared.store.lock().await;
        observer(&self.snapshot());
        self.shared.observers.write().push(Box::new(observer));
    }

    /// Applies the changes in their order to the newest snapshot, all or none, and returns the result. It is on disk
    /// before anybody sees it.
    ///
    /// A commit that has begun goes on when its caller is cancelled: the caller then does not know whether it happened,
    /// but memory and disk agree. No changes are no commit.
    ///
    /// # Errors
    ///
    /// The first change that is not allowed: someone else may have committed since a private snapshot allowed it. Or
    /// what SQLite or the operating system may say. Either way nothing has changed.
    pub async fn commit(&self, changes: &[Change]) -> Result<Arc<Snapshot>, CatalogError> {
        if changes.is_empty() {
            return Ok(self.snapshot());
        }
        let catalog = self.clone();
        let changes = changes.to_vec();
        // A task of its own, since a cancelled caller must not stop between the disk and the publishing.
        let task = tokio::spawn(async move { catalog.commit_in_turn(&changes).await });
        match task.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is shutting down.
            Err(_) => Err(CatalogError::Closed),
        }
    }

    async fn commit_in_turn(&self, changes: &[Change]) -> Result<Arc<Snapshot>, CatalogError> {
        let mut store = self.shared.store.lock().await;
        let store = store.as_mut().ok_or(CatalogError::Closed)?;
        let old = self.snapshot();
        let mut new = Snapshot::clone(&old);
        for change in changes {
            new.change(change)?;
        }
        new.version += 1;
        store.write(&old, &new).await?;
        tracing::debug!(
            version = new.version,
            changes = changes.len(),
            "catalog committed"
        );
        Ok(self.publish(new))
    }

    /// Adds tables that exist only while this server runs, such as paths named on the command line. They are never
    /// written to disk. One result for each, in the same order; those that are allowed are added by one commit.
    ///
    /// # Errors
    ///
    /// As for [`Change::CreateRelation`]: a relation that is there already, durable or transient, keeps its name.
    pub async fn register_transient(
        &self,
        relations: Vec<NewRelation>,
    ) -> Vec<Result<(), CatalogError>> {
        let store = self.shared.store.lock().await;
        if store.is_none() {
            return relations
                .iter()
                .map(|_| Err(CatalogError::Closed))
                .collect();
        }
        let mut new = Snapshot::clone(&self.snapshot());
        let results: Vec<_> = relations
            .iter()
            .map(|relation| new.create_transient(relation))
            .collect();
        if results.iter().any(Result::is_ok) {
            new.version += 1;
            self.publish(new);
        }
        results
    }

    /// Closes the database and lets go of the data directory, after the commit that is under way. Snapshots stay
    /// readable; commits are refused from now on.
    pub async fn close(&self) {
        // Kept locked, so that whoever closes second returns when it is closed and not before.
        let mut store = self.shared.store.lock().await;
        if let Some(store) = store.take() {
            store.close().await;
        }
    }

    /// Only for those who hold the store's lock.
    fn publish(&self, snapshot: Snapshot) -> Arc<Snapshot> {
        let snapshot = Arc::new(snapshot);
        for observer in &*self.shared.observers.read() {
            observer(&snapshot);
        }
        *self.shared.published.write() = Arc::clone(&snapshot);
        snapshot
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog")
            .field("version", &self.snapshot().version())
            .finish_non_exhaustive()
    }
}
