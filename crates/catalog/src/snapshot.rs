//! The catalog at one moment: immutable, and cheap to keep.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::change::{Hidden, RelationDefinition};
use crate::error::{CatalogError, ObjectKind};
use crate::queue::ResourceQueue;
use crate::{FIRST_TRANSIENT_OID, FIRST_USER_OID};

/// The catalog at one moment.
///
/// A clone costs a few reference counts. A change copies the one map that it touches and shares the others, so a
/// statement may keep a snapshot for as long as it likes and nobody waits for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub(crate) version: u64,
    pub(crate) next_oid: u32,
    pub(crate) next_transient_oid: u32,
    pub(crate) roles: Arc<BTreeMap<String, Arc<Role>>>,
    pub(crate) queues: Arc<BTreeMap<String, Arc<ResourceQueue>>>,
    pub(crate) schemas: Arc<BTreeMap<String, Arc<Schema>>>,
    pub(crate) system_settings: Arc<BTreeMap<String, String>>,
}

/// A role: a user if it can log in, else a group.
#[derive(Clone, PartialEq, Eq)]
pub struct Role {
    /// Its object id.
    pub oid: u32,
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
    /// The stored secret as it was given (`SCRAM-SHA-256$…`). `Debug` does not show it.
    pub password: Option<String>,
    /// When the password ends, as it was given; `None` means never.
    pub valid_until: Option<String>,
    /// The object id of the resource queue that its statements belong to. There is always one; what a superuser runs is
    /// exempt from its limits all the same.
    pub resource_queue: u32,
    /// Settings that its sessions start with; the names are in lower case.
    pub settings: BTreeMap<String, String>,
}

/// A schema and the relations in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    /// Its object id.
    pub oid: u32,
    /// Its name.
    pub name: String,
    /// The role that owns it.
    pub owner: String,
    /// Its tables and views, by name.
    pub relations: BTreeMap<String, Arc<Relation>>,
}

/// A table or a view.
#[derive(Debug, Clone, PartialEq)]
pub struct Relation {
    /// Its object id. Transient relations have ids from [`FIRST_TRANSIENT_OID`].
    pub oid: u32,
    /// The schema that it is in.
    pub schema: String,
    /// Its name, unique among the schema's tables and views.
    pub name: String,
    /// The role that owns it.
    pub owner: String,
    /// The catalog version of the last change of its definition: a plan made from the same version still holds.
    pub version: u64,
    /// Whether it lives only as long as this server.
    pub transient: bool,
    /// What it is.
    pub definition: RelationDefinition,
}

impl Relation {
    /// [`ObjectKind::Table`] or [`ObjectKind::View`].
    pub fn kind(&self) -> ObjectKind {
        self.definition.kind()
    }

    /// What its maker says of it.
    pub fn comment(&self) -> Option<&str> {
        match &self.definition {
            RelationDefinition::Table(table) => table.comment.as_deref(),
            RelationDefinition::View(view) => view.comment.as_deref(),
        }
    }

    /// What its maker says of one of its columns.
    pub fn comment_on(&self, column: &str) -> Option<&str> {
        match &self.definition {
            RelationDefinition::Table(table) => {
                table.column_comments.get(column).map(String::as_str)
            }
            RelationDefinition::View(_) => None,
        }
    }
}

impl RelationDefinition {
    /// [`ObjectKind::Table`] or [`ObjectKind::View`].
    pub fn kind(&self) -> ObjectKind {
        match self {
            Self::Table(_) => ObjectKind::Table,
            Self::View(_) => ObjectKind::View,
        }
    }
}

impl Snapshot {
    /// A catalog with nothing in it, not even the bootstrap role and the default queue.
    pub(crate) fn empty() -> Self {
        Self {
            version: 0,
            next_oid: FIRST_USER_OID,
            next_transient_oid: FIRST_TRANSIENT_OID,
            roles: Arc::default(),
            queues: Arc::default(),
            schemas: Arc::default(),
            system_settings: Arc::default(),
        }
    }

    /// What a new catalog holds: the bootstrap superuser, schema `public` and the default queue. Nothing is on disk: this is for whoever
    /// needs a snapshot without a data directory.
    ///
    /// # Errors
    ///
    /// When `bootstrap_role` cannot be a role's name.
    pub fn bootstrap(bootstrap_role: &str) -> Result<Self, CatalogError> {
        let mut snapshot = Self::empty();
        snapshot.ensure_bootstrap(bootstrap_role)?;
        Ok(snapshot)
    }

    /// Grows by one with every commit. A snapshot that [`apply`](Self::apply) made has the version of the one that it
    /// was made from, because it has not been committed.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The role of this name.
    pub fn role(&self, name: &str) -> Option<&Arc<Role>> {
        self.roles.get(name)
    }

    /// The role with this object id. Looks at every role.
    pub fn role_by_oid(&self, oid: u32) -> Option<&Arc<Role>> {
        self.roles.values().find(|role| role.oid == oid)
    }

    /// All roles, in the order of their names.
    pub fn roles(&self) -> impl Iterator<Item = &Arc<Role>> {
        self.roles.values()
    }

    /// The resource queue of this name.
    pub fn resource_queue(&self, name: &str) -> Option<&Arc<ResourceQueue>> {
        self.queues.get(name)
    }

    /// The resource queue with this object id. Looks at every queue.
    pub fn resource_queue_by_oid(&self, oid: u32) -> Option<&Arc<ResourceQueue>> {
        self.queues.values().find(|queue| queue.oid == oid)
    }

    /// All resource queues, in the order of their names.
    pub fn resource_queues(&self) -> impl Iterator<Item = &Arc<ResourceQueue>> {
        self.queues.values()
    }

    /// The schema of this name.
    pub fn schema(&self, name: &str) -> Option<&Arc<Schema>> {
        self.schemas.get(name)
    }

    /// All schemas, in the order of their names.
    pub fn schemas(&self) -> impl Iterator<Item = &Arc<Schema>> {
        self.schemas.values()
    }

    /// The table or view of this name.
    pub fn relation(&self, schema: &str, name: &str) -> Option<&Arc<Relation>> {
        self.schemas.get(schema)?.relations.get(name)
    }

    /// The relation with the number `oid`.
    #[must_use]
    pub fn relation_by_oid(&self, oid: u32) -> Option<&Arc<Relation>> {
        let mut relations = self
            .schemas
            .values()
            .flat_map(|schema| schema.relations.values());
        relations.find(|relation| relation.oid == oid)
    }

    /// The tables and views of a schema, in the order of their names; none where there is no such schema.
    pub fn relations(&self, schema: &str) -> impl Iterator<Item = &Arc<Relation>> {
        self.schemas
            .get(schema)
            .into_iter()
            .flat_map(|schema| schema.relations.values())
    }

    /// What `ALTER SYSTEM` has set; the names are in lower case.
    pub fn system_settings(&self) -> &BTreeMap<String, String> {
        &self.system_settings
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Role")
            .field("oid", &self.oid)
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
            .field("settings", &self.settings)
            .finish()
    }
}
