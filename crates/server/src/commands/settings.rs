//! `SET`, `SHOW`, `RESET`, `DISCARD`, `SET ROLE`.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StringArray};
use datafusion::arrow::record_batch::RecordBatch;
use forebay_engine::{PARQUET_COMPRESSION, check_parquet_compression};
use forebay_sql::{DiscardKind, TransactionModes};

use crate::prepared::text_columns;
use crate::settings::{ROLE, SESSION_AUTHORIZATION, TRANSACTION_ISOLATION, show_all};
use crate::way::Answer;
use crate::{Error, Response, Result, Rows, Session, settings};

/// DataFusion's options that every role may set, with the largest value that it may give them. One
/// more is [`PARQUET_COMPRESSION`].
const OPTIONS_FOR_ALL: [(&str, usize); 2] = [
    ("datafusion.execution.batch_size", 65_536),
    ("datafusion.execution.target_partitions", 64),
];

impl Session {
    pub(super) fn set(
        &mut self,
        name: &str,
        value: Option<&[String]>,
        local: bool,
    ) -> Result<Answer> {
        if local {
            self.warn_outside_block("SET LOCAL");
        }
        // Like SET TRANSACTION, these are for the current transaction only.
        let local = local || name.starts_with("transaction_");
        self.change_setting(name, value, local)?;
        Ok(Answer::Done("SET".to_owned()))
    }

    /// Gives a setting these values, or the one that `RESET` gives it.
    pub(crate) fn change_setting(
        &mut self,
        name: &str,
        value: Option<&[String]>,
        local: bool,
    ) -> Result<()> {
        self.check_may_set(name)?;
        let before = self.settings.clone();
        match value {
            Some(value) => self.settings.set(name, value, local)?,
            None => self.settings.reset(name, local)?,
        }
        self.check_settings(name)
            .inspect_err(|_| self.settings = before)
    }

    /// The value as it would be stored, which the role could give the setting itself.
    pub(super) fn checked_setting(&mut self, name: &str, value: &[String]) -> Result<String> {
        let before = self.settings.clone();
        let changed = self.change_setting(name, Some(value), false);
        let value = self.settings.get(name).map(ToOwned::to_owned);
        self.settings = before;
        changed?;
        Ok(value.unwrap_or_default())
    }

    /// What protects the server from its users is for superusers.
    pub(crate) fn check_may_set(&self, name: &str) -> Result<()> {
        if settings::is_for_superusers(name) && !self.is_superuser() {
            return Err(Error::permission(format!(
                "permission denied to set parameter \"{name}\""
            )));
        }
        Ok(())
    }

    /// Options of DataFusion are checked by DataFusion, and most are for superusers: with some a
    /// single statement could take all memory.
    pub(crate) fn check_settings(&mut self, name: &str) -> Result<()> {
        let name = name.to_lowercase();
        if !name.starts_with("datafusion.") {
            return Ok(());
        }
        if name == PARQUET_COMPRESSION {
            check_parquet_compression(self.setting(&name), self.is_superuser())?;
            return self.vantage().map(drop);
        }
        let limit = OPTIONS_FOR_ALL.iter().find(|(option, _)| *option == name);
        match limit {
            Some((_, max)) => {
                let value = self.setting(&name).parse::<usize>();
                if !value.is_ok_and(|v| (1..=*max).contains(&v)) {
                    return Err(Error::new(
                        "22023",
                        format!("parameter \"{name}\" must be between 1 and {max}"),
                    ));
                }
            }
            None => self.require_superuser(&format!("to set parameter \"{name}\""))?,
        }
        self.vantage().map(drop)
    }

    /// `SET TRANSACTION` and `SET SESSION CHARACTERISTICS AS TRANSACTION`.
    pub(super) fn set_transaction(
        &mut self,
        modes: TransactionModes,
        session: bool,
    ) -> Result<Answer> {
        if !session {
            self.apply_modes(modes)?;
            self.warn_outside_block("SET TRANSACTION");
            return Ok(Answer::Done("SET".to_owned()));
        }
        if let Some(read_only) = modes.read_only {
            let value = [if read_only { "on" } else { "off" }.to_owned()];
            self.settings
                .set("default_transaction_read_only", &value, false)?;
        }
        if let Some(isolation) = modes.isolation {
            let value = [isolation.as_str().to_owned()];
            self.settings
                .set("default_transaction_isolation", &value, false)?;
        }
        Ok(Answer::Done("SET".to_owned()))
    }

    /// Gives the open transaction these modes.
    pub(super) fn apply_modes(&mut self, modes: TransactionModes) -> Result<()> {
        if let Some(read_only) = modes.read_only {
            self.settings.set_read_only(read_only);
        }
        if let Some(isolation) = modes.isolation {
            if self.open().has_queried()
                && isolation.as_str() != self.setting(TRANSACTION_ISOLATION)
            {
                return Err(Error::new(
                    "25001",
                    "SET TRANSACTION ISOLATION LEVEL must be called before any query",
                ));
            }
            self.settings.set_isolation(isolation.as_str());
        }
        Ok(())
    }

    pub(super) fn reset(&mut self, name: Option<&str>) -> Result<Answer> {
        match name {
            Some(name) => {
                self.check_may_set(name)?;
                self.settings.reset(name, false)?;
            }
            None => self.settings.reset_all(),
        }
        Ok(Answer::Done("RESET".to_owned()))
    }

    pub(super) fn show_setting(&mut self, name: Option<&str>) -> Result<Answer> {
        let columns: (Vec<String>, Vec<Vec<String>>) = match name {
            Some(name) => {
                let (name, value) = self.settings.show(name)?;
                (vec![name], vec![vec![value]])
            }
            None => {
                let names = ["name", "setting", "description"].map(ToOwned::to_owned);
                let mut columns = vec![Vec::new(), Vec::new(), Vec::new()];
                for (name, value, description) in show_all(&self.settings) {
                    columns[0].push(name);
                    columns[1].push(value);
                    columns[2].push(description);
                }
                (names.to_vec(), columns)
            }
        };
        let names: Vec<&str> = columns.0.iter().map(String::as_str).collect();
        let arrays = columns.1.into_iter();
        let arrays = arrays
            .map(|c| Arc::new(StringArray::from(c)) as ArrayRef)
            .collect();
        let batch = RecordBatch::try_new(text_columns(&names), arrays)
            .map_err(|e| Error::new("XX000", e.to_string()))?;
        Ok(Answer::Ready(Box::new(|running| {
            Ok(Response::Rows(Rows::of_batch(batch, running, "SHOW")))
        })))
    }

    pub(super) fn discard(&mut self, what: DiscardKind) -> Result<Answer> {
        let tag = match what {
            DiscardKind::All => {
                self.portals.close_all();
                self.forget_all_prepared();
                self.repeated.clear();
                self.set_session_authorization(None, false)?;
                self.settings.reset_all();
                "DISCARD ALL"
            }
            DiscardKind::Plans => {
                self.repeated.clear();
                "DISCARD PLANS"
            }
            DiscardKind::Sequences => "DISCARD SEQUENCES",
            DiscardKind::Temp => "DISCARD TEMP",
        };
        Ok(Answer::Done(tag.to_owned()))
    }

    /// `SET ROLE`: until roles have members, a superuser may become anybody and others only
    /// themselves.
    pub(super) fn set_role(&mut self, role: Option<&str>, local: bool) -> Result<()> {
        if let Some(role) = role {
            let snapshot = self.snapshot();
            let session_user = self.setting(SESSION_AUTHORIZATION);
            if snapshot.role(role).is_none() {
                return Err(no_role(role));
            }
            let may_be_anybody = snapshot.role(session_user).is_some_and(|r| r.superuser);
            if !may_be_anybody && role != session_user {
                return Err(Error::permission(format!(
                    "permission denied to set role \"{role}\""
                )));
            }
        }
        let value = role.unwrap_or("none").to_owned();
        self.settings.state_fact(ROLE, &value, local);
        self.state_superuser();
        Ok(())
    }

    /// `SET SESSION AUTHORIZATION`: for those who logged in as a superuser.
    pub(super) fn set_session_authorization(
        &mut self,
        role: Option<&str>,
        local: bool,
    ) -> Result<()> {
        let login_role = self.identity.login_role.to_string();
        let role = role.unwrap_or(&login_role);
        let snapshot = self.snapshot();
        if snapshot.role(role).is_none() {
            return Err(no_role(role));
        }
        let login_is_superuser = snapshot.role(&login_role).is_some_and(|r| r.superuser);
        if role != login_role && !login_is_superuser {
            return Err(Error::permission(
                "permission denied to set session authorization",
            ));
        }
        let role = role.to_owned();
        self.settings
            .state_fact(SESSION_AUTHORIZATION, &role, local);
        self.settings.state_fact(ROLE, "none", local);
        self.state_superuser();
        Ok(())
    }
}

fn no_role(role: &str) -> Error {
    Error::new("22023", format!("role \"{role}\" does not exist"))
}
