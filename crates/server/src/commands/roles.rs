//! `CREATE`, `ALTER` and `DROP` of roles.

use forebay_catalog::{Change, NewRole, Role, RoleChange};
use forebay_sql::RoleOptions;

use crate::password;
use crate::way::Answer;
use crate::{Error, Result, Session};

impl Session {
    pub(super) fn create_role(
        &mut self,
        name: &str,
        options: &RoleOptions,
        if_not_exists: bool,
    ) -> Result<Answer> {
        const TAG: &str = "CREATE ROLE";
        self.require_role_rights("create role", options)?;
        if if_not_exists && self.snapshot().role(name).is_some() {
            let message = format!("role \"{name}\" already exists, skipping");
            self.notice("NOTICE", "42710", message);
            return Ok(Answer::Done(TAG.to_owned()));
        }
        let mut role = NewRole::new(name);
        role.superuser = options.superuser.unwrap_or(role.superuser);
        role.login = options.login.unwrap_or(role.login);
        role.create_db = options.create_db.unwrap_or(role.create_db);
        role.create_role = options.create_role.unwrap_or(role.create_role);
        role.inherit = options.inherit.unwrap_or(role.inherit);
        role.replication = options.replication.unwrap_or(role.replication);
        role.connection_limit = options.connection_limit.unwrap_or(role.connection_limit);
        role.password = stored_password(options)?.flatten();
        role.valid_until = stored_validity(options)?.flatten();
        role.resource_queue = self.queue_of(options)?.unwrap_or(role.resource_queue);
        self.change(Change::CreateRole(role))?;
        Ok(Answer::Done(TAG.to_owned()))
    }

    pub(super) fn alter_role(&mut self, name: &str, options: &RoleOptions) -> Result<Answer> {
        let only_password = RoleOptions {
            password: options.password.clone(),
            ..RoleOptions::default()
        };
        if name != self.current_user() || *options != only_password {
            self.require_role_rights("alter role", options)?;
            self.protect_superuser(name)?;
        }
        let change = RoleChange {
            superuser: options.superuser,
            login: options.login,
            create_db: options.create_db,
            create_role: options.create_role,
            inherit: options.inherit,
            replication: options.replication,
            connection_limit: options.connection_limit,
            password: stored_password(options)?,
            valid_until: stored_validity(options)?,
            resource_queue: self.queue_of(options)?,
        };
        self.change(Change::AlterRole {
            name: name.to_owned(),
            change,
        })?;
        self.state_superuser();
        Ok(Answer::Done("ALTER ROLE".to_owned()))
    }

    /// `ALTER ROLE … SET`: checked as `SET` would check it, in force from the next login.
    pub(super) fn alter_role_set(
        &mut self,
        name: &str,
        setting: &str,
        value: Option<&[String]>,
    ) -> Result<Answer> {
        if name != self.current_user() {
            self.require_role_rights("alter role", &RoleOptions::default())?;
            self.protect_superuser(name)?;
        }
        let value = match value {
            Some(value) => Some(self.checked_setting(setting, value)?),
            None => {
                self.check_may_set(setting)?;
                None
            }
        };
        self.change(Change::SetRoleSetting {
            role: name.to_owned(),
            name: setting.to_lowercase(),
            value,
        })?;
        Ok(Answer::Done("ALTER ROLE".to_owned()))
    }

    pub(super) fn rename_role(&mut self, name: &str, new_name: &str) -> Result<Answer> {
        self.require_role_rights("rename role", &RoleOptions::default())?;
        self.protect_superuser(name)?;
        if [self.current_user(), &self.identity.login_role].contains(&name) {
            return Err(Error::new("0A000", "session user cannot be renamed"));
        }
        self.change(Change::RenameRole {
            name: name.to_owned(),
            new_name: new_name.to_owned(),
        })?;
        Ok(Answer::Done("ALTER ROLE".to_owned()))
    }

    pub(super) fn drop_roles(&mut self, names: &[String], if_exists: bool) -> Result<Answer> {
        self.require_role_rights("drop role", &RoleOptions::default())?;
        for name in names {
            if self.snapshot().role(name).is_none() {
                self.missing("role", name, "42704", if_exists)?;
                continue;
            }
            self.protect_superuser(name)?;
            if [self.current_user(), &self.identity.login_role].contains(&name.as_str()) {
                return Err(Error::new("55006", "current user cannot be dropped"));
            }
            self.change(Change::DropRole { name: name.clone() })?;
        }
        Ok(Answer::Done("DROP ROLE".to_owned()))
    }

    fn require_role_rights(&self, what: &str, options: &RoleOptions) -> Result<()> {
        if self.is_superuser() {
            return Ok(());
        }
        if options.superuser.is_some()
            || options.replication.is_some()
            || options.bypass_rls.is_some()
        {
            return Err(Error::permission(
                "must be superuser to change the superuser, replication or bypassrls attribute",
            ));
        }
        if options.resource_queue.is_some() {
            return Err(Error::permission(
                "must be superuser to change a role's resource queue",
            ));
        }
        let snapshot = self.snapshot();
        let may = snapshot
            .role(self.current_user())
            .is_some_and(|r: &std::sync::Arc<Role>| r.create_role);
        if may {
            return Ok(());
        }
        Err(Error::permission(format!("permission denied to {what}")))
    }

    /// Only a superuser may change a superuser.
    fn protect_superuser(&self, name: &str) -> Result<()> {
        let target_is_superuser = self.snapshot().role(name).is_some_and(|r| r.superuser);
        if target_is_superuser && !self.is_superuser() {
            return Err(Error::permission("must be superuser to alter superusers"));
        }
        Ok(())
    }
}

fn stored_validity(options: &RoleOptions) -> Result<Option<Option<String>>> {
    options
        .valid_until
        .as_deref()
        .map(password::valid_until)
        .transpose()
}

fn stored_password(options: &RoleOptions) -> Result<Option<Option<String>>> {
    Ok(match &options.password {
        None => None,
        Some(None) => Some(None),
        Some(Some(password)) => Some(Some(password::to_store(password)?)),
    })
}
