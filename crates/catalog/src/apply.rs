//! The one place that decides whether a change is allowed, and makes it.
//!
//! Every method checks first and changes last, so a refused change leaves the snapshot as it was.

mod queues;
mod relations;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::change::{Change, DependentViews, NewRole, RelationName, RoleChange};
use crate::error::{CatalogError, ObjectKind};
use crate::snapshot::{Relation, Role, Schema, Snapshot};
use crate::{BOOTSTRAP_ROLE_OID, FIRST_TRANSIENT_OID, MAX_DEPENDENTS_LISTED, MAX_NAME_BYTES};
use crate::{PUBLIC_SCHEMA, PUBLIC_SCHEMA_OID};

/// Schemas of the server's own views, beside those whose names start with `pg_`.
const SYSTEM_SCHEMAS: [&str; 3] = ["information_schema", "gp_toolkit", "forebay"];

impl Snapshot {
    /// The snapshot that this one becomes through `change`.
    ///
    /// This is how a transaction sees its own changes before it commits. Object ids of new objects are a guess until
    /// then: a commit applies the changes again, to the newest snapshot. New and replaced relations have the version
    /// after this snapshot's.
    ///
    /// # Errors
    ///
    /// When the change is not allowed; see [`CatalogError::sqlstate`].
    pub fn apply(&self, change: &Change) -> Result<Self, CatalogError> {
        let mut next = self.clone();
        next.change(change)?;
        Ok(next)
    }

    /// [`apply`](Self::apply) in place, for a row of changes: maps that are copied already are not copied again.
    pub(crate) fn change(&mut self, change: &Change) -> Result<(), CatalogError> {
        match change {
            Change::CreateRole(role) => self.create_role(role),
            Change::AlterRole { name, change } => self.alter_role(name, change),
            Change::RenameRole { name, new_name } => self.rename_role(name, new_name),
            Change::SetRoleSetting { role, name, value } => {
                self.set_role_setting(role, name, value.as_deref())
            }
            Change::DropRole { name } => self.drop_role(name),
            Change::SetSystemSetting { name, value } => {
                self.set_system_setting(name, value.as_deref())
            }
            Change::CreateSchema { name, owner } => self.create_schema(name, owner),
            Change::DropSchema { name, cascade } => self.drop_schema(name, *cascade),
            Change::CreateRelation {
                relation,
                or_replace,
            } => self.create_relation(relation, *or_replace),
            Change::DropRelations {
                relations,
                dependents,
            } => self.drop_relations(relations, *dependents),
            Change::RenameRelation { name, new_name } => self.rename_relation(name, new_name),
            Change::CreateQueue { name, change } => self.create_queue(name, change),
            Change::AlterQueue { name, change } => self.alter_queue(name, change),
            Change::CommentOnQueue { name, comment } => {
                self.comment_on_queue(name, comment.as_deref())
            }
            Change::DropQueue { name } => self.drop_queue(name),
        }
    }

    /// Makes sure that the default queue, the bootstrap role and schema `public` are there. Says whether anything had to
    /// change.
    pub(crate) fn ensure_bootstrap(&mut self, role: &str) -> Result<bool, CatalogError> {
        let queue_changed = self.ensure_default_queue();
        let role_changed = self.ensure_bootstrap_role(role)?;
        if self.schemas.contains_key(PUBLIC_SCHEMA) {
            return Ok(queue_changed || role_changed);
        }
        self.insert_schema(PUBLIC_SCHEMA_OID, PUBLIC_SCHEMA, role);
        Ok(true)
    }

    fn ensure_bootstrap_role(&mut self, name: &str) -> Result<bool, CatalogError> {
        if self.role_by_oid(BOOTSTRAP_ROLE_OID).is_none() {
            let role = NewRole::superuser(name);
            self.check_new_role(&role)?;
            self.insert_role(BOOTSTRAP_ROLE_OID, &role)?;
            return Ok(true);
        }
        let Some(role) = self.role(name) else {
            self.create_role(&NewRole::superuser(name))?;
            return Ok(true);
        };
        if role.superuser && role.login {
            return Ok(false);
        }
        // Who can start the server can write its data directory: refusing the role anything would protect nothing.
        let change = RoleChange {
            superuser: Some(true),
            login: Some(true),
            ..RoleChange::default()
        };
        self.alter_role(name, &change)?;
        Ok(true)
    }

    // --- roles ---

    fn create_role(&mut self, new: &NewRole) -> Result<(), CatalogError> {
        self.check_new_role(new)?;
        let oid = self.take_oid()?;
        self.insert_role(oid, new)
    }

    fn check_new_role(&self, new: &NewRole) -> Result<(), CatalogError> {
        self.check_new_role_name(&new.name)?;
        self.existing_queue(&new.resource_queue)?;
        check_connection_limit(new.connection_limit)
    }

    fn check_new_role_name(&self, name: &str) -> Result<(), CatalogError> {
        check_name("role", name)?;
        if name.starts_with("pg_") || name == "public" || name == "none" {
            return Err(reserved(ObjectKind::Role, name));
        }
        if self.roles.contains_key(name) {
            return Err(duplicate(ObjectKind::Role, name));
        }
        Ok(())
    }

    fn insert_role(&mut self, oid: u32, new: &NewRole) -> Result<(), CatalogError> {
        let role = Role {
            oid,
            name: new.name.clone(),
            superuser: new.superuser,
            login: new.login,
            create_db: new.create_db,
            create_role: new.create_role,
            inherit: new.inherit,
            replication: new.replication,
            connection_limit: new.connection_limit,
            password: new.password.clone(),
            valid_until: new.valid_until.clone(),
            resource_queue: self.existing_queue(&new.resource_queue)?.oid,
            settings: BTreeMap::new(),
        };
        Arc::make_mut(&mut self.roles).insert(new.name.clone(), Arc::new(role));
        Ok(())
    }

    fn alter_role(&mut self, name: &str, change: &RoleChange) -> Result<(), CatalogError> {
        let queue = change.resource_queue.as_deref();
        let queue = queue.map(|queue| self.existing_queue(queue).map(|found| found.oid));
        let role = self.role_mut(name)?;
        let queue = queue.transpose()?;
        check_bootstrap_keeps(role, change)?;
        check_connection_limit(change.connection_limit.unwrap_or(-1))?;
        let role = Arc::make_mut(role);
        set(&mut role.superuser, change.superuser);
        set(&mut role.login, change.login);
        set(&mut role.create_db, change.create_db);
        set(&mut role.create_role, change.create_role);
        set(&mut role.inherit, change.inherit);
        set(&mut role.replication, change.replication);
        set(&mut role.connection_limit, change.connection_limit);
        set(&mut role.password, change.password.clone());
        set(&mut role.valid_until, change.valid_until.clone());
        set(&mut role.resource_queue, queue);
        Ok(())
    }

    fn rename_role(&mut self, name: &str, new_name: &str) -> Result<(), CatalogError> {
        self.existing_role(name)?;
        self.check_new_role_name(new_name)?;
        let roles = Arc::make_mut(&mut self.roles);
        if let Some(mut role) = roles.remove(name) {
            Arc::make_mut(&mut role).name = new_name.to_owned();
            roles.insert(new_name.to_owned(), role);
        }
        if self.owns_anything(name) {
            self.rename_owner(name, new_name);
        }
        Ok(())
    }

    fn owns_anything(&self, role: &str) -> bool {
        self.schemas
            .values()
            .any(|schema| schema_has_owner(schema, role))
    }

    /// What a role owns names it: the names follow. A relation's version stays, since its plans still hold.
    fn rename_owner(&mut self, name: &str, new_name: &str) {
        for schema in Arc::make_mut(&mut self.schemas).values_mut() {
            if !schema_has_owner(schema, name) {
                continue;
            }
            let schema = Arc::make_mut(schema);
            if schema.owner == name {
                schema.owner = new_name.to_owned();
            }
            for relation in schema
                .relations
                .values_mut()
                .filter(|relation| relation.owner == name)
            {
                Arc::make_mut(relation).owner = new_name.to_owned();
            }
        }
    }

    fn set_role_setting(
        &mut self,
        role: &str,
        name: &str,
        value: Option<&str>,
    ) -> Result<(), CatalogError> {
        let name = setting_name(name)?;
        set_setting(
            &mut Arc::make_mut(self.role_mut(role)?).settings,
            name,
            value,
        );
        Ok(())
    }

    fn drop_role(&mut self, name: &str) -> Result<(), CatalogError> {
        if self.existing_role(name)?.oid == BOOTSTRAP_ROLE_OID {
            return Err(required(ObjectKind::Role, name));
        }
        let dependents = list_dependents(self.objects_owned_by(name));
        if !dependents.is_empty() {
            return Err(CatalogError::Dependents {
                kind: ObjectKind::Role,
                name: name.to_owned(),
                dependents,
            });
        }
        Arc::make_mut(&mut self.roles).remove(name);
        Ok(())
    }

    fn objects_owned_by(&self, role: &str) -> Vec<String> {
        let mut owned = Vec::new();
        for schema in self.schemas.values() {
            if schema.owner == role {
                owned.push(format!("owner of schema {}", schema.name));
            }
            let relations = schema
                .relations
                .values()
                .filter(|relation| relation.owner == role);
            owned.extend(relations.map(|relation| format!("owner of {}", described(relation))));
        }
        owned
    }

    pub(crate) fn existing_role(&self, name: &str) -> Result<&Arc<Role>, CatalogError> {
        self.roles
            .get(name)
            .ok_or_else(|| not_found(ObjectKind::Role, name))
    }

    fn role_mut(&mut self, name: &str) -> Result<&mut Arc<Role>, CatalogError> {
        // Looked up before the map is copied: a miss must not cost a copy.
        self.existing_role(name)?;
        let role = Arc::make_mut(&mut self.roles).get_mut(name);
        role.ok_or_else(|| not_found(ObjectKind::Role, name))
    }

    // --- settings ---

    fn set_system_setting(&mut self, name: &str, value: Option<&str>) -> Result<(), CatalogError> {
        let name = setting_name(name)?;
        set_setting(Arc::make_mut(&mut self.system_settings), name, value);
        Ok(())
    }

    // --- schemas ---

    fn create_schema(&mut self, name: &str, owner: &str) -> Result<(), CatalogError> {
        check_name("schema", name)?;
        if name.starts_with("pg_") {
            return Err(reserved(ObjectKind::Schema, name));
        }
        if SYSTEM_SCHEMAS.contains(&name) || self.schemas.contains_key(name) {
            return Err(duplicate(ObjectKind::Schema, name));
        }
        self.existing_role(owner)?;
        let oid = self.take_oid()?;
        self.insert_schema(oid, name, owner);
        Ok(())
    }

    fn insert_schema(&mut self, oid: u32, name: &str, owner: &str) {
        let schema = Schema {
            oid,
            name: name.to_owned(),
            owner: owner.to_owned(),
            relations: BTreeMap::new(),
        };
        Arc::make_mut(&mut self.schemas).insert(name.to_owned(), Arc::new(schema));
    }

    fn drop_schema(&mut self, name: &str, cascade: bool) -> Result<(), CatalogError> {
        if name == PUBLIC_SCHEMA || SYSTEM_SCHEMAS.contains(&name) || name.starts_with("pg_") {
            return Err(required(ObjectKind::Schema, name));
        }
        let schema = self.existing_schema(name)?;
        if !cascade && !schema.relations.is_empty() {
            let dependents = schema.relations.values();
            let dependents = dependents
                .map(|relation| format!("{} depends on schema {name}", described(relation)));
            return Err(CatalogError::Dependents {
                kind: ObjectKind::Schema,
                name: name.to_owned(),
                dependents: list_dependents(dependents.collect()),
            });
        }
        let relations: Vec<RelationName> = schema
            .relations
            .values()
            .map(|r| RelationName::of(r))
            .collect();
        self.drop_relations(&relations, DependentViews::Drop)?;
        Arc::make_mut(&mut self.schemas).remove(name);
        Ok(())
    }

    pub(crate) fn existing_schema(&self, name: &str) -> Result<&Arc<Schema>, CatalogError> {
        self.schemas
            .get(name)
            .ok_or_else(|| not_found(ObjectKind::Schema, name))
    }

    pub(crate) fn schema_mut(&mut self, name: &str) -> Result<&mut Schema, CatalogError> {
        let schema = Arc::make_mut(&mut self.schemas).get_mut(name);
        schema
            .map(Arc::make_mut)
            .ok_or_else(|| not_found(ObjectKind::Schema, name))
    }

    // --- object ids ---

    pub(crate) fn take_oid(&mut self) -> Result<u32, CatalogError> {
        if self.next_oid >= FIRST_TRANSIENT_OID {
            return Err(CatalogError::OidsExhausted);
        }
        self.next_oid += 1;
        Ok(self.next_oid - 1)
    }
}

fn schema_has_owner(schema: &Schema, role: &str) -> bool {
    schema.owner == role
        || schema
            .relations
            .values()
            .any(|relation| relation.owner == role)
}

pub(crate) fn check_name(kind: &'static str, name: &str) -> Result<(), CatalogError> {
    let reason = match name {
        "" => "it is empty",
        name if name.contains('\0') => "it has a NUL character in it",
        name if name.len() > MAX_NAME_BYTES => {
            return Err(CatalogError::NameTooLong {
                kind,
                bytes: name.len(),
            });
        }
        _ => return Ok(()),
    };
    Err(CatalogError::InvalidName {
        kind,
        name: name.replace('\0', "\\0"),
        reason,
    })
}

fn check_connection_limit(limit: i32) -> Result<(), CatalogError> {
    if limit < -1 {
        return Err(CatalogError::InvalidValue {
            what: "connection limit",
            value: limit.to_string(),
        });
    }
    Ok(())
}

/// While one role always is a superuser that can log in, there is always a last superuser.
fn check_bootstrap_keeps(role: &Role, change: &RoleChange) -> Result<(), CatalogError> {
    if role.oid != BOOTSTRAP_ROLE_OID {
        return Ok(());
    }
    let attribute = match change {
        RoleChange {
            superuser: Some(false),
            ..
        } => "SUPERUSER",
        RoleChange {
            login: Some(false), ..
        } => "LOGIN",
        _ => return Ok(()),
    };
    Err(CatalogError::BootstrapRole {
        name: role.name.clone(),
        attribute,
    })
}

fn set<T>(attribute: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *attribute = value;
    }
}

fn set_setting(settings: &mut BTreeMap<String, String>, name: String, value: Option<&str>) {
    match value {
        Some(value) => settings.insert(name, value.to_owned()),
        None => settings.remove(&name),
    };
}

/// Settings are the same whatever their case: one spelling is kept.
fn setting_name(name: &str) -> Result<String, CatalogError> {
    check_name("setting", name)?;
    Ok(name.to_ascii_lowercase())
}

/// A relation's name as messages show it: `public` goes without saying.
pub(crate) fn shown_name(schema: &str, name: &str) -> String {
    if schema == PUBLIC_SCHEMA {
        return name.to_owned();
    }
    format!("{schema}.{name}")
}

pub(crate) fn described(relation: &Relation) -> String {
    format!(
        "{} {}",
        relation.kind(),
        shown_name(&relation.schema, &relation.name)
    )
}

/// A message is read by a person: a long list is cut, with the number of what was left out.
pub(crate) fn list_dependents(mut dependents: Vec<String>) -> Vec<String> {
    let left_out = dependents.len().saturating_sub(MAX_DEPENDENTS_LISTED);
    if left_out > 0 {
        dependents.truncate(MAX_DEPENDENTS_LISTED);
        dependents.push(format!("and {left_out} more"));
    }
    dependents
}

pub(crate) fn duplicate(kind: ObjectKind, name: impl Into<String>) -> CatalogError {
    CatalogError::Duplicate {
        kind,
        name: name.into(),
    }
}

pub(crate) fn not_found(kind: ObjectKind, name: impl Into<String>) -> CatalogError {
    CatalogError::NotFound {
        kind,
        name: name.into(),
    }
}

fn reserved(kind: ObjectKind, name: &str) -> CatalogError {
    CatalogError::Reserved {
        kind,
        name: name.to_owned(),
    }
}

fn required(kind: ObjectKind, name: &str) -> CatalogError {
    CatalogError::Required {
        kind,
        name: name.to_owned(),
    }
}
