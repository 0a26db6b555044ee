//! What can go wrong, in PostgreSQL's wording and with PostgreSQL's SQLSTATE.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::queue::QueueError;

/// A kind of catalog object, as messages name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// A role (user or group).
    Role,
    /// A schema.
    Schema,
    /// A relation of either kind, where the kind does not matter.
    Relation,
    /// A table.
    Table,
    /// A view.
    View,
    /// A resource queue.
    ResourceQueue,
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Role => "role",
            Self::Schema => "schema",
            Self::Relation => "relation",
            Self::Table => "table",
            Self::View => "view",
            Self::ResourceQueue => "resource queue",
        })
    }
}

/// Why the catalog refused or failed. [`CatalogError::sqlstate`] is what a client sees as the code;
/// [`CatalogError::detail`] and [`CatalogError::hint`] fill the fields of the same names.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The name is taken.
    #[error("{kind} \"{name}\" already exists")]
    Duplicate {
        /// What exists already.
        kind: ObjectKind,
        /// Its name; a relation's with its schema unless that is `public`.
        name: String,
    },
    /// There is no such object.
    #[error("{kind} \"{name}\" does not exist")]
    NotFound {
        /// What was looked for.
        kind: ObjectKind,
        /// Its name; a relation's with its schema unless that is `public`.
        name: String,
    },
    /// The name belongs to the system.
    #[error("{kind} name \"{name}\" is reserved")]
    Reserved {
        /// What was to get the name.
        kind: ObjectKind,
        /// The reserved name.
        name: String,
    },
    /// The name is empty or has a NUL character in it.
    #[error("invalid {kind} name \"{name}\": {reason}")]
    InvalidName {
        /// What was to get the name: `role`, `setting`, ….
        kind: &'static str,
        /// The name as given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The name is longer than [`MAX_NAME_BYTES`](crate::MAX_NAME_BYTES).
    #[error(
        "{kind} name is {bytes} bytes long, the limit is {}",
        crate::MAX_NAME_BYTES
    )]
    NameTooLong {
        /// What was to get the name: `role`, `setting`, ….
        kind: &'static str,
        /// Its length in bytes.
        bytes: usize,
    },
    /// Two columns of one relation have the same name.
    #[error("column \"{name}\" specified more than once")]
    DuplicateColumn {
        /// The name of both.
        name: String,
    },
    /// `CREATE OR REPLACE` met a relation of the other kind.
    #[error("\"{name}\" is not a {expected}")]
    WrongKind {
        /// The existing relation.
        name: String,
        /// What it would have to be.
        expected: ObjectKind,
    },
    /// An attribute has a value that it cannot have.
    #[error("invalid {what}: {value}")]
    InvalidValue {
        /// The attribute, in words.
        what: &'static str,
        /// The value as given.
        value: String,
    },
    /// Other objects need the one that was to be dropped.
    #[error("cannot drop {kind} {name} because other objects depend on it")]
    Dependents {
        /// What was to be dropped.
        kind: ObjectKind,
        /// Its name.
        name: String,
        /// One line for each dependent object, at most
        /// [`MAX_DEPENDENTS_LISTED`](crate::MAX_DEPENDENTS_LISTED) and a line that counts the rest.
        dependents: Vec<String>,
    },
    /// A view would read itself.
    #[error("infinite recursion detected in rules for relation \"{name}\"")]
    RecursiveView {
        /// The view.
        name: String,
    },
    /// `CREATE OR REPLACE VIEW` would take away what others read.
    #[error("{change}")]
    ViewColumns {
        /// What it would do.
        change: String,
        /// Whether the name of a column would change.
        renames: bool,
    },
    /// The object belongs to the system and stays.
    #[error("cannot drop {kind} {name} because it is required by the database system")]
    Required {
        /// What was to be dropped.
        kind: ObjectKind,
        /// Its name.
        name: String,
    },
    /// The bootstrap superuser would lose an attribute that somebody must always have.
    #[error("the bootstrap superuser \"{name}\" must keep the {attribute} attribute")]
    BootstrapRole {
        /// The bootstrap role's name.
        name: String,
        /// `SUPERUSER` or `LOGIN`.
        attribute: &'static str,
    },
    /// A resource queue cannot be so, or cannot go.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Every object id has been handed out.
    #[error("the catalog has no object ids left")]
    OidsExhausted,
    /// Another process has the data directory open.
    #[error(
        "data directory \"{}\" is in use by {}",
        .path.display(),
        holder(.pid)
    )]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// The process id that the lock file names; `None` while its owner has not written it yet.
        pid: Option<u32>,
    },
    /// The database's content is not a catalog, or is damaged.
    #[error("catalog \"{}\" is corrupt: {reason}", .path.display())]
    Corrupt {
        /// The database file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The database was written by another version of Forebay.
    #[error("catalog \"{}\" does not fit this version of Forebay: {reason}", .path.display())]
    Incompatible {
        /// The database file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The database on disk is not at the version that this server wrote last.
    #[error("catalog \"{}\" is no longer at version {expected}: something else has written it", .path.display())]
    ChangedOutside {
        /// The database file.
        path: PathBuf,
        /// The version that was expected.
        expected: u64,
    },
    /// No space is left for the catalog.
    #[error("no space is left to write catalog \"{}\"", .path.display())]
    DiskFull {
        /// The file that could not grow.
        path: PathBuf,
    },
    /// The operating system refused to read or write.
    #[error("could not access \"{}\": {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// SQLite failed in another way.
    #[error("catalog \"{}\": {source}", .path.display())]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// SQLite's reason.
        source: sqlx::Error,
    },
    /// The catalog has been closed: the server is shutting down.
    #[error("the catalog is closed")]
    Closed,
}

fn holder(pid: &Option<u32>) -> String {
    match pid {
        Some(pid) => format!("another Forebay server (process {pid})"),
        None => "another process".to_owned(),
    }
}

impl CatalogError {
    /// The five-character SQLSTATE that PostgreSQL gives in the same case.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::Duplicate { kind, .. } => match kind {
                ObjectKind::Role | ObjectKind::ResourceQueue => "42710",
                ObjectKind::Schema => "42P06",
                ObjectKind::Relation | ObjectKind::Table | ObjectKind::View => "42P07",
            },
            Self::NotFound { kind, .. } => match kind {
                ObjectKind::Role | ObjectKind::ResourceQueue => "42704",
                ObjectKind::Schema => "3F000",
                ObjectKind::Relation | ObjectKind::Table | ObjectKind::View => "42P01",
            },
            Self::Reserved { .. } => "42939",
            Self::InvalidName { .. } => "42602",
            Self::NameTooLong { .. } => "42622",
            Self::DuplicateColumn { .. } => "42701",
            Self::WrongKind { .. } => "42809",
            Self::InvalidValue { .. } => "22023",
            Self::Dependents { .. } | Self::Required { .. } => "2BP01",
            Self::RecursiveView { .. } => "42P17",
            Self::ViewColumns { .. } => "42P16",
            Self::BootstrapRole { .. } => "42501",
            Self::Queue(error) => error.sqlstate(),
            Self::OidsExhausted => "54000",
            Self::Locked { .. } => "55006",
            Self::Corrupt { .. } => "XX001",
            Self::Incompatible { .. } | Self::ChangedOutside { .. } => "55000",
            Self::DiskFull { .. } => "53100",
            Self::Io { .. } => "58030",
            Self::Sqlite { .. } => "XX000",
            Self::Closed => "57P01",
        }
    }

    /// More about the cause, for the `DETAIL` field.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Reserved { name, .. } if name.starts_with("pg_") => {
                Some("Names that start with \"pg_\" belong to the system.".to_owned())
            }
            Self::Dependents { dependents, .. } => Some(dependents.join("\n")),
            Self::Queue(error) => error.detail(),
            _ => None,
        }
    }

    /// What the reader can do about it, for the `HINT` field.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Dependents {
                kind: ObjectKind::Role,
                ..
            } => Some(
                "Drop the objects that it owns, or give them to another role, first.".to_owned(),
            ),
            Self::Dependents { .. } => {
                Some("Use DROP ... CASCADE to drop the dependent objects too.".to_owned())
            }
            Self::ViewColumns { renames: true, .. } => Some(
                "Drop the view and create it again: CREATE OR REPLACE VIEW can only add columns."
                    .to_owned(),
            ),
            Self::Queue(error) => error.hint(),
            Self::Locked { .. } => Some(
                "Stop that server, or choose another data directory with --data-dir.".to_owned(),
            ),
            Self::Corrupt { path, .. } => Some(format!(
                "Restore \"{0}\" from a backup, or move it away together with \"{0}-wal\" and \"{0}-shm\" to start \
                 with an empty catalog. Data files are not affected.",
                path.display()
            )),
            Self::Incompatible { .. } => {
                Some("Start the version of Forebay that wrote it, or a newer one.".to_owned())
            }
            Self::ChangedOutside { .. } => {
                Some("Restart the server so that it reads the catalog again.".to_owned())
            }
            Self::DiskFull { .. } => {
                Some("Free some space and try again; nothing was changed.".to_owned())
            }
            _ => None,
        }
    }

    /// An operating system error about `path`.
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull {
                path: path.to_owned(),
            },
            _ => Self::Io {
                path: path.to_owned(),
                source,
            },
        }
    }

    /// A failure of SQLite or of the driver, about the database at `path`.
    pub(crate) fn sqlite(path: &Path, source: sqlx::Error) -> Self {
        let path = path.to_owned();
        match source {
            sqlx::Error::Io(source) => Self::io(&path, source),
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::RowNotFound => Self::Corrupt {
                path,
                reason: source.to_string(),
            },
            sqlx::Error::Database(ref error) => match primary_code(error.as_ref()) {
                Some(SQLITE_IOERR | SQLITE_CANTOPEN | SQLITE_READONLY | SQLITE_PERM) => Self::Io {
                    path,
                    source: io::Error::other(error.message().to_owned()),
                },
                Some(SQLITE_FULL) => Self::DiskFull { path },
                Some(SQLITE_CORRUPT | SQLITE_NOTADB) => Self::Corrupt {
                    path,
                    reason: error.message().to_owned(),
                },
                _ => Self::Sqlite { path, source },
            },
            source => Self::Sqlite { path, source },
        }
    }

    /// A failed migration of the database at `path`.
    pub(crate) fn migration(path: &Path, error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError;
        match error {
            MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
                Self::sqlite(path, source)
            }
            error => Self::Incompatible {
                path: path.to_owned(),
                reason: error.to_string(),
            },
        }
    }
}

// SQLite's primary result codes; the names are SQLite's.
const SQLITE_PERM: u32 = 3;
const SQLITE_READONLY: u32 = 8;
const SQLITE_IOERR: u32 = 10;
const SQLITE_CORRUPT: u32 = 11;
const SQLITE_FULL: u32 = 13;
const SQLITE_CANTOPEN: u32 = 14;
const SQLITE_NOTADB: u32 = 26;

/// The low byte of an extended result code says what went wrong, the rest says where.
fn primary_code(error: &dyn sqlx::error::DatabaseError) -> Option<u32> {
    let extended: u32 = error.code()?.parse().ok()?;
    Some(extended & 0xff)
}
