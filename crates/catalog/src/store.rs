//! The catalog on disk: reads a whole snapshot when it opens, and writes the difference between two.
//!
//! What is written follows from the snapshots, not from the changes: there is no second description of what a change
//! does that could disagree with the first.

mod queues;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteSynchronous,
};
use sqlx::{Connection, Row};

use crate::change::RelationDefinition;
use crate::error::CatalogError;
use crate::lock::{self, DirectoryLock};
use crate::snapshot::{Relation, Role, Schema, Snapshot};

/// The database, in the data directory.
const DATABASE_FILE: &str = "catalog.db";

/// The one connection to the database, and the right to have it.
#[derive(Debug)]
pub(crate) struct Store {
    connection: SqliteConnection,
    path: PathBuf,
    /// The version on disk. The snapshot's may be ahead, since transient relations count there only.
    version: u64,
    /// Last, so that it is dropped after the connection.
    _lock: DirectoryLock,
}

impl Store {
    pub(crate) async fn open(data_dir: &Path) -> Result<Self, CatalogError> {
        lock::create_private_directory(data_dir)?;
        let lock = DirectoryLock::acquire(data_dir)?;
        let path = data_dir.join(DATABASE_FILE);
        lock::create_private_file(&path)?;
        let mut connection = connect(&path)
            .await
            .map_err(|error| CatalogError::sqlite(&path, error))?;
        check_pages(&mut connection, &path).await?;
        let migrations = sqlx::migrate!("./migrations");
        migrations
            .run(&mut connection)
            .await
            .map_err(|error| CatalogError::migration(&path, error))?;
        Ok(Self {
            connection,
            path,
            version: 0,
            _lock: lock,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads everything.
    pub(crate) async fn load(&mut self) -> Result<Snapshot, CatalogError> {
        let snapshot = self
            .try_load()
            .await
            .map_err(|error| CatalogError::sqlite(&self.path, error))?;
        self.version = snapshot.version;
        Ok(snapshot)
    }

    async fn try_load(&mut self) -> sqlx::Result<Snapshot> {
        let connection = &mut self.connection;
        let mut snapshot = Snapshot::empty();
        let state = sqlx::query("SELECT version, next_oid FROM catalog_state WHERE id = 1")
            .fetch_one(&mut *connection);
        let state = state.await?;
        snapshot.version = state.try_get("version")?;
        snapshot.next_oid = state.try_get("next_oid")?;
        let queues = queues::load(connection).await?.into_iter();
        let queues = queues.map(|queue| (queue.name.clone(), Arc::new(queue)));
        snapshot.queues = Arc::new(queues.collect());
        let roles = load_roles(connection).await?;
        let mut schemas = load_schemas(connection, &roles).await?;
        load_relations(connection, &roles, &mut schemas).await?;
        snapshot.roles = Arc::new(
            roles
                .into_values()
                .map(|role| (role.name.clone(), Arc::new(role)))
                .collect(),
        );
        let by_name = schemas
            .into_values()
            .map(|schema| (schema.name.clone(), Arc::new(schema)));
        snapshot.schemas = Arc::new(by_name.collect());
        snapshot.system_settings = Arc::new(load_system_settings(connection).await?);
        Ok(snapshot)
    }

    /// Makes the database, which says what `old` says, say what `new` says: in one transaction, on disk when this
    /// returns. An error leaves the database as it was.
    pub(crate) async fn write(
        &mut self,
        old: &Snapshot,
        new: &Snapshot,
    ) -> Result<(), CatalogError> {
        let written = self
            .try_write(old, new)
            .await
            .map_err(|error| CatalogError::sqlite(&self.path, error))?;
        if !written {
            return Err(CatalogError::ChangedOutside {
                path: self.path.clone(),
                expected: self.version,
            });
        }
        self.version = new.version;
        Ok(())
    }

    /// `false` when the database is not at the version that it should be at. Besides somebody else's write, that
    /// catches a COMMIT of ours that failed and is on disk all the same.
    async fn try_write(&mut self, old: &Snapshot, new: &Snapshot) -> sqlx::Result<bool> {
        // Taken at once: to begin as a reader and become a writer can fail half-way.
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        if !advance_version(&mut transaction, self.version, new).await? {
            transaction.rollback().await?;
            return Ok(false);
        }
        queues::write(&mut transaction, old, new).await?;
        write_roles(&mut transaction, old, new).await?;
        write_schemas(&mut transaction, old, new).await?;
        write_relations(&mut transaction, old, new).await?;
        write_system_settings(&mut transaction, old, new).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Closes the database, then lets go of the data directory.
    pub(crate) async fn close(self) {
        if let Err(error) = self.connection.close().await {
            // Everything committed is on disk already; what failed is only tidying up.
            tracing::warn!(path = %self.path.display(), %error, "the catalog did not close cleanly");
        }
    }
}

async fn connect(path: &Path) -> sqlx::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true);
    SqliteConnection::connect_with(&options).await
}

/// Reads every page, so that damage shows now and not in the middle of somebody's statement. A catalog is small.
async fn check_pages(connection: &mut SqliteConnection, path: &Path) -> Result<(), CatalogError> {
    let check = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(connection);
    let verdict: String = check
        .await
        .map_err(|error| CatalogError::sqlite(path, error))?;
    if verdict != "ok" {
        return Err(CatalogError::Corrupt {
            path: path.to_owned(),
            reason: verdict,
        });
    }
    Ok(())
}

// --- reading ---

async fn load_roles(connection: &mut SqliteConnection) -> sqlx::Result<BTreeMap<u32, Role>> {
    let rows = sqlx::query("SELECT * FROM role")
        .fetch_all(&mut *connection)
        .await?;
    let roles = rows
        .iter()
        .map(|row| role_from(row).map(|role| (role.oid, role)));
    let mut roles: BTreeMap<u32, Role> = roles.collect::<sqlx::Result<_>>()?;
    let settings =
        sqlx::query_as("SELECT role_oid, name, value FROM role_setting").fetch_all(connection);
    let settings: Vec<(u32, String, String)> = settings.await?;
    for (oid, name, value) in settings {
        let role = roles
            .get_mut(&oid)
            .ok_or_else(|| dangling("role_setting", oid))?;
        role.settings.insert(name, value);
    }
    Ok(roles)
}

fn role_from(row: &SqliteRow) -> sqlx::Result<Role> {
    Ok(Role {
        oid: row.try_get("oid")?,
        name: row.try_get("name")?,
        superuser: row.try_get("superuser")?,
        login: row.try_get("login")?,
        create_db: row.try_get("create_db")?,
        create_role: row.try_get("create_role")?,
        inherit: row.try_get("inherit")?,
        replication: row.try_get("replication")?,
        connection_limit: row.try_get("connection_limit")?,
        password: row.try_get("password")?,
        valid_until: row.try_get("valid_until")?,
        resource_queue: row.try_get("resource_queue_oid")?,
        settings: BTreeMap::new(),
    })
}

async fn load_schemas(
    connection: &mut SqliteConnection,
    roles: &BTreeMap<u32, Role>,
) -> sqlx::Result<BTreeMap<u32, Schema>> {
    let rows = sqlx::query_as("SELECT oid, name, owner_oid FROM schema").fetch_all(connection);
    let rows: Vec<(u32, String, u32)> = rows.await?;
    let schemas = rows.into_iter().map(|(oid, name, owner_oid)| {
        let owner = owner_name(roles, owner_oid)?;
        Ok((
            oid,
            Schema {
                oid,
                name,
                owner,
                relations: BTreeMap::new(),
            },
        ))
    });
    schemas.collect()
}

async fn load_relations(
    connection: &mut SqliteConnection,
    roles: &BTreeMap<u32, Role>,
    schemas: &mut BTreeMap<u32, Schema>,
) -> sqlx::Result<()> {
    let rows = sqlx::query("SELECT * FROM relation")
        .fetch_all(connection)
        .await?;
    for row in &rows {
        let schema_oid: u32 = row.try_get("schema_oid")?;
        let schema = schemas
            .get_mut(&schema_oid)
            .ok_or_else(|| dangling("schema", schema_oid))?;
        let relation = relation_from(row, roles, &schema.name)?;
        schema
            .relations
            .insert(relation.name.clone(), Arc::new(relation));
    }
    Ok(())
}

fn relation_from(
    row: &SqliteRow,
    roles: &BTreeMap<u32, Role>,
    schema: &str,
) -> sqlx::Result<Relation> {
    let definition: &str = row.try_get("definition")?;
    let definition: RelationDefinition =
        serde_json::from_str(definition).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(Relation {
        oid: row.try_get("oid")?,
        schema: schema.to_owned(),
        name: row.try_get("name")?,
        owner: owner_name(roles, row.try_get("owner_oid")?)?,
        version: row.try_get("version")?,
        transient: false,
        definition,
    })
}

async fn load_system_settings(
    connection: &mut SqliteConnection,
) -> sqlx::Result<BTreeMap<String, String>> {
    let rows = sqlx::query_as("SELECT name, value FROM system_setting").fetch_all(connection);
    let rows: Vec<(String, String)> = rows.await?;
    Ok(rows.into_iter().collect())
}

fn owner_name(roles: &BTreeMap<u32, Role>, oid: u32) -> sqlx::Result<String> {
    roles
        .get(&oid)
        .map(|role| role.name.clone())
        .ok_or_else(|| dangling("role", oid))
}

fn dangling(table: &str, oid: u32) -> sqlx::Error {
    sqlx::Error::Decode(format!("an object refers to {table} {oid}, which is not there").into())
}

// --- writing ---
//
// Each kind: first the rows of everything that went or changed are deleted, then those of everything that came or
// changed are inserted. So names can move between objects, in any order, without ever being there twice.

async fn advance_version(
    connection: &mut SqliteConnection,
    expected: u64,
    new: &Snapshot,
) -> sqlx::Result<bool> {
    let update = sqlx::query(
        "UPDATE catalog_state SET version = ?, next_oid = ? WHERE id = 1 AND version = ?",
    )
    .bind(integer(new.version)?)
    .bind(new.next_oid)
    .bind(integer(expected)?);
    Ok(update.execute(connection).await?.rows_affected() == 1)
}

async fn write_roles(
    connection: &mut SqliteConnection,
    old: &Snapshot,
    new: &Snapshot,
) -> sqlx::Result<()> {
    if Arc::ptr_eq(&old.roles, &new.roles) {
        return Ok(());
    }
    for role in old.roles().filter(|role| !same(new.role(&role.name), role)) {
        sqlx::query("DELETE FROM role WHERE oid = ?")
            .bind(role.oid)
            .execute(&mut *connection)
            .await?;
    }
    for role in new.roles().filter(|role| !same(old.role(&role.name), role)) {
        insert_role(connection, role).await?;
    }
    Ok(())
}

async fn insert_role(connection: &mut SqliteConnection, role: &Role) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO role (oid, name, superuser, login, create_db, create_role, inherit, replication, \
         connection_limit, password, valid_until, resource_queue_oid) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(role.oid)
    .bind(&role.name)
    .bind(role.superuser)
    .bind(role.login)
    .bind(role.create_db)
    .bind(role.create_role)
    .bind(role.inherit)
    .bind(role.replication)
    .bind(role.connection_limit)
    .bind(&role.password)
    .bind(&role.valid_until)
    .bind(role.resource_queue)
    .execute(&mut *connection)
    .await?;
    for (name, value) in &role.settings {
        sqlx::query("INSERT INTO role_setting (role_oid, name, value) VALUES (?, ?, ?)")
            .bind(role.oid)
            .bind(name)
            .bind(value)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn write_schemas(
    connection: &mut SqliteConnection,
    old: &Snapshot,
    new: &Snapshot,
) -> sqlx::Result<()> {
    if Arc::ptr_eq(&old.schemas, &new.schemas) {
        return Ok(());
    }
    for schema in old
        .schemas()
        .filter(|schema| !same_schema_row(new.schema(&schema.name), schema))
    {
        sqlx::query("DELETE FROM schema WHERE oid = ?")
            .bind(schema.oid)
            .execute(&mut *connection)
            .await?;
    }
    for schema in new
        .schemas()
        .filter(|schema| !same_schema_row(old.schema(&schema.name), schema))
    {
        sqlx::query("INSERT INTO schema (oid, name, owner_oid) VALUES (?, ?, ?)")
            .bind(schema.oid)
            .bind(&schema.name)
            .bind(owner_oid(new, &schema.owner)?)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn write_relations(
    connection: &mut SqliteConnection,
    old: &Snapshot,
    new: &Snapshot,
) -> sqlx::Result<()> {
    for schema in old
        .schemas()
        .filter(|schema| !same(new.schema(&schema.name), schema))
    {
        let relations = durable_relations(schema);
        for relation in
            relations.filter(|relation| !same(new.relation(&schema.name, &relation.name), relation))
        {
            sqlx::query("DELETE FROM relation WHERE oid = ?")
                .bind(relation.oid)
                .execute(&mut *connection)
                .await?;
        }
    }
    for schema in new
        .schemas()
        .filter(|schema| !same(old.schema(&schema.name), schema))
    {
        let relations = durable_relations(schema);
        for relation in
            relations.filter(|relation| !same(old.relation(&schema.name, &relation.name), relation))
        {
            insert_relation(connection, new, schema.oid, relation).await?;
        }
    }
    Ok(())
}

async fn insert_relation(
    connection: &mut SqliteConnection,
    snapshot: &Snapshot,
    schema_oid: u32,
    relation: &Relation,
) -> sqlx::Result<()> {
    let definition = serde_json::to_string(&relation.definition)
        .map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    sqlx::query(
        "INSERT INTO relation (oid, schema_oid, name, owner_oid, version, definition) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(relation.oid)
    .bind(schema_oid)
    .bind(&relation.name)
    .bind(owner_oid(snapshot, &relation.owner)?)
    .bind(integer(relation.version)?)
    .bind(definition)
    .execute(connection)
    .await?;
    Ok(())
}

async fn write_system_settings(
    connection: &mut SqliteConnection,
    old: &Snapshot,
    new: &Snapshot,
) -> sqlx::Result<()> {
    let (old, new) = (old.system_settings(), new.system_settings());
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        sqlx::query("DELETE FROM system_setting WHERE name = ?")
            .bind(name)
            .execute(&mut *connection)
            .await?;
    }
    for (name, value) in new
        .iter()
        .filter(|(name, value)| old.get(*name) != Some(*value))
    {
        sqlx::query("INSERT OR REPLACE INTO system_setting (name, value) VALUES (?, ?)")
            .bind(name)
            .bind(value)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// An object that no change has touched is the same allocation in both snapshots.
fn same<T>(there: Option<&Arc<T>>, here: &Arc<T>) -> bool {
    there.is_some_and(|there| Arc::ptr_eq(there, here))
}

/// Whether the two have the same row, whatever relations are in them. The owner's oid is compared through the name:
/// when an owner is renamed, its row is written again with the oid that it had.
fn same_schema_row(there: Option<&Arc<Schema>>, here: &Schema) -> bool {
    there.is_some_and(|there| there.oid == here.oid && there.owner == here.owner)
}

fn durable_relations(schema: &Schema) -> impl Iterator<Item = &Arc<Relation>> {
    schema
        .relations
        .values()
        .filter(|relation| !relation.transient)
}

fn owner_oid(snapshot: &Snapshot, name: &str) -> sqlx::Result<u32> {
    let role = snapshot.role(name);
    role.map(|role| role.oid)
        .ok_or_else(|| sqlx::Error::Encode(format!("owner \"{name}\" is not a role").into()))
}

/// SQLite's integers are signed.
fn integer(value: u64) -> sqlx::Result<i64> {
    i64::try_from(value).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}
