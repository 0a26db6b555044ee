//! What a transaction owns: locks, uncommitted catalog changes, settings to go back to.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use forebay_admission::Locks;
use forebay_catalog::{Catalog, Change, Snapshot};

use crate::settings::Settings;
use crate::warehouse::{self, NewFolder};
use crate::{Error, Result};

/// The transaction of a session, if one is open.
#[derive(Debug, Default)]
pub(crate) enum Transaction {
    /// None is open.
    #[default]
    None,
    /// Opened by a statement outside a block; ends with the message that the statement came in.
    Implicit(Box<Open>),
    /// Opened by `BEGIN`.
    Block(Box<Open>),
    /// A block that has failed: everything but its end is refused.
    Failed(Box<Open>),
}

/// An open transaction.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) started: DateTime<Utc>,
    locks: Vec<Locks>,
    /// Catalog changes of this transaction, not yet committed.
    changes: Vec<Change>,
    /// The catalog with `changes`, once there are any.
    private: Option<Arc<Snapshot>>,
    /// The catalog of the first query, if the isolation level keeps it.
    kept: Option<Arc<Snapshot>>,
    queried: bool,
    settings_before: Settings,
    savepoints: Vec<Savepoint>,
    /// Folders of tables that it has made.
    folders: Vec<NewFolder>,
    /// Folders that no table has any more when it commits.
    lost_folders: Vec<PathBuf>,
}

#[derive(Debug)]
struct Savepoint {
    name: String,
    locks: usize,
    changes: usize,
    private: Option<Arc<Snapshot>>,
    settings: Settings,
    folders: usize,
    lost_folders: usize,
}

impl Open {
    pub(crate) fn new(settings: &Settings) -> Box<Self> {
        Box::new(Self {
            started: Utc::now(),
            locks: Vec::new(),
            changes: Vec::new(),
            private: None,
            kept: None,
            queried: false,
            settings_before: settings.clone(),
            savepoints: Vec::new(),
            folders: Vec::new(),
            lost_folders: Vec::new(),
        })
    }

    /// The settings to go back to if the transaction does not commit.
    pub(crate) fn settings_before(&self) -> &Settings {
        &self.settings_before
    }

    /// Keeps a statement's locks until the transaction ends.
    pub(crate) fn keep(&mut self, locks: Locks) {
        self.locks.push(locks);
    }

    /// The catalog that the next statement sees.
    pub(crate) fn snapshot(&self, catalog: &Catalog) -> Arc<Snapshot> {
        match self.private.as_ref().or(self.kept.as_ref()) {
            Some(snapshot) => Arc::clone(snapshot),
            None => catalog.snapshot(),
        }
    }

    /// A query is about to be planned. With `keep`, the catalog stays as it is now to the end of
    /// the transaction, its own changes aside.
    pub(crate) fn query(&mut self, catalog: &Catalog, keep: bool) {
        if keep && !self.queried && self.kept.is_none() {
            self.kept = Some(catalog.snapshot());
        }
        self.queried = true;
    }

    /// Whether a query has been planned in this transaction.
    pub(crate) fn has_queried(&self) -> bool {
        self.queried
    }

    /// Applies `change` for this transaction; others see it after the commit.
    ///
    /// # Errors
    /// When the catalog as this transaction sees it does not allow the change.
    pub(crate) fn change(&mut self, catalog: &Catalog, change: Change) -> Result<()> {
        let before = self.snapshot(catalog);
        let changed = before.apply(&change)?;
        let lost = warehouse::lost(&before, &changed, &change);
        self.lost_folders.extend(lost);
        self.private = Some(Arc::new(changed));
        self.changes.push(change);
        Ok(())
    }

    /// Keeps the folder of a new table: it goes unless the transaction commits.
    pub(crate) fn keep_folder(&mut self, folder: NewFolder) {
        self.folders.push(folder);
    }

    /// Makes the changes durable and visible.
    ///
    /// # Errors
    /// When another transaction has meanwhile committed what does not go with them, or they
    /// cannot be written. Nothing has been changed then.
    pub(crate) async fn commit(mut self: Box<Self>, catalog: &Catalog) -> Result<()> {
        let changes = std::mem::take(&mut self.changes);
        if changes.is_empty() {
            return Ok(());
        }
        // Should nobody wait for the end of the commit any more, the next start finds out whether
        // they have a table.
        let folders = std::mem::take(&mut self.folders).into_iter();
        let folders: Vec<PathBuf> = folders.map(NewFolder::leave).collect();
        let began = SystemTime::from(self.started);
        let committed = match synced(folders.clone(), began).await {
            Ok(()) => catalog.commit(&changes).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        match committed {
            Ok(_) => warehouse::remove_later(std::mem::take(&mut self.lost_folders)),
            Err(_) => warehouse::remove_later(folders),
        }
        committed.map(|_| ())
    }

    /// Forgets the changes; the settings become what they were.
    pub(crate) fn roll_back(self, settings: &mut Settings) {
        *settings = self.settings_before;
    }

    pub(crate) fn savepoint(&mut self, name: String, settings: &Settings) {
        self.savepoints.push(Savepoint {
            name,
            locks: self.locks.len(),
            changes: self.changes.len(),
            private: self.private.clone(),
            settings: settings.clone(),
            folders: self.folders.len(),
            lost_folders: self.lost_folders.len(),
        });
    }

    /// Savepoints that are open.
    pub(crate) fn depth(&self) -> usize {
        self.savepoints.len()
    }

    /// Undoes everything since the savepoint, which stays; gives how many savepoints are open
    /// then, that one included.
    pub(crate) fn roll_back_to(&mut self, name: &str, settings: &mut Settings) -> Result<usize> {
        let index = self.find(name)?;
        self.savepoints.truncate(index + 1);
        let savepoint = &self.savepoints[index];
        self.locks.truncate(savepoint.locks);
        self.changes.truncate(savepoint.changes);
        self.private.clone_from(&savepoint.private);
        self.folders.truncate(savepoint.folders);
        self.lost_folders.truncate(savepoint.lost_folders);
        *settings = savepoint.settings.clone();
        Ok(index + 1)
    }

    /// Forgets the savepoint and those after it; their work stays. Gives how many savepoints are
    /// still open.
    pub(crate) fn release(&mut self, name: &str) -> Result<usize> {
        let index = self.find(name)?;
        self.savepoints.truncate(index);
        Ok(index)
    }

    /// Gives back the locks that a failed transaction no longer needs: all that were taken
    /// after its last savepoint.
    pub(crate) fn give_back_after_failure(&mut self) {
        let kept = self.savepoints.last().map_or(0, |s| s.locks);
        self.locks.truncate(kept);
    }

    fn find(&self, name: &str) -> Result<usize> {
        let found = self.savepoints.iter().rposition(|s| s.name == name);
        found.ok_or_else(|| Error::new("3B001", format!("savepoint \"{name}\" does not exist")))
    }
}

/// Writes what is new in folders through to the disk.
async fn synced(folders: Vec<PathBuf>, since: SystemTime) -> Result<()> {
    if folders.is_empty() {
        return Ok(());
    }
    let sync = move || {
        folders
            .iter()
            .try_for_each(|folder| forebay_engine::sync(folder, since))
    };
    let synced = tokio::task::spawn_blocking(sync).await;
    let synced = synced.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    synced.map_err(|error| Error::new("58030", format!("could not write a table's files: {error}")))
}

impl Transaction {
    /// The open transaction, failed or not.
    pub(crate) fn open(&self) -> Option<&Open> {
        match self {
            Self::None => None,
            Self::Implicit(open) | Self::Block(open) | Self::Failed(open) => Some(open),
        }
    }

    /// The open transaction, failed or not.
    pub(crate) fn open_mut(&mut self) -> Option<&mut Open> {
        match self {
            Self::None => None,
            Self::Implicit(open) | Self::Block(open) | Self::Failed(open) => Some(open),
        }
    }
}
