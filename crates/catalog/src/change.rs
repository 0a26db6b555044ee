//! What can be done to a catalog, as data: a transaction collects [`Change`]s, and a commit applies them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::queue::{DEFAULT_QUEUE, QueueChange};

/// One step from a catalog to the next. [`Snapshot::apply`](crate::Snapshot::apply) says whether it is allowed.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// `CREATE ROLE`.
    CreateRole(NewRole),
    /// `ALTER ROLE`: only the attributes that are given change.
    AlterRole {
        /// The role to change.
        name: String,
        /// What changes.
        change: RoleChange,
    },
    /// `ALTER ROLE … RENAME TO`. What the role owns stays its own.
    RenameRole {
        /// The role's name so far.
        name: String,
        /// Its name from now on.
        new_name: String,
    },
    /// `ALTER ROLE … SET` and `RESET`.
    SetRoleSetting {
        /// The role whose sessions start with the setting.
        role: String,
        /// The setting; ASCII case does not matter.
        name: String,
        /// `None` takes the setting away, and is no error where there is none.
        value: Option<String>,
    },
    /// `DROP ROLE`. Refused while the role owns anything.
    DropRole {
        /// The role to drop.
        name: String,
    },
    /// `ALTER SYSTEM SET` and `RESET`.
    SetSystemSetting {
        /// The setting; ASCII case does not matter.
        name: String,
        /// `None` takes the setting away, and is no error where there is none.
        value: Option<String>,
    },
    /// `CREATE SCHEMA`.
    CreateSchema {
        /// Its name.
        name: String,
        /// The role that owns it.
        owner: String,
    },
    /// `DROP SCHEMA`.
    DropSchema {
        /// The schema to drop.
        name: String,
        /// Whether its relations, and the views elsewhere that read them, go with it; otherwise it must be empty.
        cascade: bool,
    },
    /// `CREATE EXTERNAL TABLE` and `CREATE VIEW`.
    CreateRelation {
        /// What to create.
        relation: NewRelation,
        /// Whether a relation of the same name and kind gets the new definition. It keeps its oid and its owner.
        or_replace: bool,
    },
    /// `DROP TABLE` and `DROP VIEW`; whether the statement fits the relations' kind is the caller's question. Refused
    /// while other views read them.
    DropRelations {
        /// What to drop, all at once: one may read another.
        relations: Vec<RelationName>,
        /// What becomes of views that read them.
        dependents: DependentViews,
    },
    /// `ALTER TABLE` and `ALTER VIEW … RENAME TO`. Views that read it keep looking for the old name.
    RenameRelation {
        /// The relation's name so far.
        name: RelationName,
        /// Its name from now on; the schema may be another.
        new_name: RelationName,
    },
    /// `CREATE RESOURCE QUEUE`.
    CreateQueue {
        /// Its name.
        name: String,
        /// Its attributes: `ACTIVE_STATEMENTS` or `MAX_COST` must be among them.
        change: QueueChange,
    },
    /// `ALTER RESOURCE QUEUE`.
    AlterQueue {
        /// The queue to change.
        name: String,
        /// What changes.
        change: QueueChange,
    },
    /// `COMMENT ON RESOURCE QUEUE`.
    CommentOnQueue {
        /// The queue.
        name: String,
        /// The text; `None`, like an empty text, takes it away.
        comment: Option<String>,
    },
    /// `DROP RESOURCE QUEUE`. Refused while roles belong to it.
    DropQueue {
        /// The queue to drop.
        name: String,
    },
}

/// What becomes of views that read what is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DependentViews {
    /// Nothing is dropped while there are some (`RESTRICT`).
    Refuse,
    /// They go too (`CASCADE`).
    Drop,
    /// They stay, and cannot be read until there is a relation of that name again: as Impala has it.
    Leave,
}

/// A role to be created. [`NewRole::new`] has PostgreSQL's defaults.
#[derive(Clone, PartialEq, Eq)]
pub struct NewRole {
    /// Its name.
    pub name: String,
    /// Whether every check of privileges passes.
    pub superuser: bool,
    /// Whether it can start a session.
    pub login: bool,
    /// Whether it may create databases.
    pub create_db: bool,
    /// Whether it may create, change and drop roles.
    pub create_role: bool,
    /// Whether it has the privileges of roles that it is a member of.
    pub inherit: bool,
    /// Whether it may stream replication; kept for clients that ask, without effect.
    pub replication: bool,
    /// How many sessions it may have at once; -1 means any number.
    pub connection_limit: i32,
    /// The stored secret (`SCRAM-SHA-256$…`), as it is to be kept.
    pub password: Option<String>,
    /// When the password ends, as text that the caller has checked; `None` means never.
    pub valid_until: Option<String>,
    /// The resource queue that its statements belong to.
    pub resource_queue: String,
}

impl NewRole {
    /// A role that may nothing: it cannot even log in. It belongs to the default queue.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            superuser: false,
            login: false,
            create_db: false,
            create_role: false,
            inherit: true,
            replication: false,
            connection_limit: -1,
            password: None,
            valid_until: None,
            resource_queue: DEFAULT_QUEUE.to_owned(),
        }
    }

    /// A role that may everything and can log in.
    pub fn superuser(name: impl Into<String>) -> Self {
        Self {
            superuser: true,
            login: true,
            create_db: true,
            create_role: true,
            replication: true,
            ..Self::new(name)
        }
    }
}

/// What `ALTER ROLE` changes: `None` leaves the attribute as it is.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RoleChange {
    /// Whether every check of privileges passes.
    pub superuser: Option<bool>,
    /// Whether it can start a session.
    pub login: Option<bool>,
    /// Whether it may create databases.
    pub create_db: Option<bool>,
    /// Whether it may create, change and drop roles.
    pub create_role: Option<bool>,
    /// Whether it has the privileges of roles that it is a member of.
    pub inherit: Option<bool>,
    /// Whether it may stream replication.
    pub replication: Option<bool>,
    /// How many sessions it may have at once; -1 means any number.
    pub connection_limit: Option<i32>,
    /// The stored secret; `Some(None)` takes it away.
    pub password: Option<Option<String>>,
    /// When the password ends; `Some(None)` means never.
    pub valid_until: Option<Option<String>>,
    /// The resource queue that its statements belong to.
    pub resource_queue: Option<String>,
}

/// A relation to be created.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRelation {
    /// The schema that it goes into.
    pub schema: String,
    /// Its name, unique among the schema's tables and views.
    pub name: String,
    /// The role that owns it.
    pub owner: String,
    /// What it is.
    pub definition: RelationDefinition,
}

/// What a relation is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RelationDefinition {
    /// Files read as a table.
    Table(TableDefinition),
    /// A stored query.
    View(ViewDefinition),
}

/// Files read as a table: what `CREATE EXTERNAL TABLE` says.
///
/// The stored form is JSON; a field that a later version adds must have `#[serde(default)]`, so that older catalogs
/// still open.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TableDefinition {
    /// `PARQUET`, `CSV` or `JSON`; the catalog does not check it.
    pub format: String,
    /// The path or URL of the file or directory.
    pub location: String,
    /// The columns in the files; empty means that they are inferred.
    pub columns: Vec<ColumnDefinition>,
    /// The columns that directory names hold (`key=value/`).
    pub partition_columns: Vec<ColumnDefinition>,
    /// The format's options.
    pub options: BTreeMap<String, String>,
    /// SQL sort expressions that the files are known to be ordered by.
    pub order_by: Vec<String>,
    /// Whether the files belong to the table: they are below the data directory, and go with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub managed: bool,
    /// What its maker noted, without effect (`TBLPROPERTIES`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// What its maker says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// What its maker says of its columns, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub column_comments: BTreeMap<String, String>,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: String,
    /// Its type, as SQL text.
    pub data_type: String,
    /// Whether it may hold NULL.
    pub nullable: bool,
}

/// A stored query.
///
/// The catalog does not parse SQL: whoever makes a view says what it reads and what it gives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewDefinition {
    /// The query, as SQL text.
    pub query: String,
    /// Names for its columns; empty means the query's own.
    pub columns: Vec<String>,
    /// The schemas in which names of the query are looked up, in order.
    pub search_path: Vec<String>,
    /// The relations that the query reads: they stay as long as the view does. Empty in views of the first release.
    #[serde(default)]
    pub reads: Vec<RelationName>,
    /// The columns that it gives: a replacement keeps them. Empty in views of the first release.
    #[serde(default)]
    pub output: Vec<ColumnDefinition>,
    /// The query as its maker wrote it, where that was in another dialect of SQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<String>,
    /// What its maker says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A relation's whole name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RelationName {
    /// The schema that it is in.
    pub schema: String,
    /// Its name there.
    pub name: String,
}

/// Stands in for a secret wherever something is printed.
pub(crate) struct Hidden;

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl fmt::Debug for NewRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewRole")
            .field("name", &self.name)
            .field("superuser", &self.superuser)
            .field("login", &self.login)
            .field("create_db", &self.create_db)
            .field("create_role", &self.create_role)
            .field("inherit", &self.inherit)
            .field("replication", &self.replication)
            .field("connection_limit", &self.connection_limit)
            .field("password", &self.password.as_ref().map(|_| Hidden))
            .field("valid_until", &self.valid_until)
            .field("resource_queue", &self.resource_queue)
            .finish()
    }
}

impl fmt::Debug for RoleChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoleChange")
            .field("superuser", &self.superuser)
            .field("login", &self.login)
            .field("create_db", &self.create_db)
            .field("create_role", &self.create_role)
            .field("inherit", &self.inherit)
            .field("replication", &self.replication)
            .field("connection_limit", &self.connection_limit)
            .field(
                "password",
                &self
                    .password
                    .as_ref()
                    .map(|secret| secret.as_ref().map(|_| Hidden)),
            )
            .field("valid_until", &self.valid_until)
            .field("resource_queue", &self.resource_queue)
            .finish()
    }
}
