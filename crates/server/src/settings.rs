//! Settings of a session: what `SET`, `SHOW` and `RESET` work on.
//!
//! `definitions.rs` has all of them, `values.rs` reads and writes their values.

mod definitions;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use forebay_engine::SettingRow;

use crate::{Error, Result};

pub use definitions::SERVER_VERSION;
use definitions::{Context, DEFINITIONS, Kind, definition};
pub(crate) use definitions::{
    IS_SUPERUSER, ROLE, SESSION_AUTHORIZATION, TRANSACTION_ISOLATION, TRANSACTION_READ_ONLY,
};
use values::{NO_LIMIT, parse_bytes, parse_kilobytes, parse_milliseconds};
pub(crate) use values::{canonical, show_bytes, show_duration, split_identifiers};

/// The values of one session. Cheap to clone: savepoints keep old ones.
#[derive(Debug, Clone)]
pub struct Settings {
    current: Arc<BTreeMap<String, String>>,
    /// What `RESET` goes back to: defaults, the role's, those of the connection.
    reset: Arc<BTreeMap<String, String>>,
    /// Values to go back to when the transaction ends (`SET LOCAL`).
    local: BTreeMap<String, Option<String>>,
    /// What [`Settings::changed`] has found since the last change.
    changed: OnceLock<Arc<str>>,
}

impl Settings {
    /// The defaults.
    pub(crate) fn new() -> Self {
        let defaults: BTreeMap<String, String> = DEFINITIONS
            .iter()
            .map(|d| (d.name.to_lowercase(), d.default.to_owned()))
            .collect();
        let defaults = Arc::new(defaults);
        Self {
            current: Arc::clone(&defaults),
            reset: defaults,
            local: BTreeMap::new(),
            changed: OnceLock::new(),
        }
    }

    /// The current value in its canonical form.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.current.get(&name.to_lowercase()).map(String::as_str)
    }

    /// All current values by lower-case name.
    pub(crate) fn all(&self) -> &Arc<BTreeMap<String, String>> {
        &self.current
    }

    /// `SHOW name`: the name as PostgreSQL writes it, and the value.
    pub(crate) fn show(&self, name: &str) -> Result<(String, String)> {
        let value = self.get(name).ok_or_else(|| unrecognized(name))?;
        Ok((display_name(name), value.to_owned()))
    }

    /// `SET [LOCAL] name = values`.
    pub(crate) fn set(&mut self, name: &str, values: &[String], local: bool) -> Result<()> {
        let key = name.to_lowercase();
        let value = canonical(name, values)?;
        self.put(key, Some(value), local);
        Ok(())
    }

    /// `SET name = DEFAULT`, `RESET name`.
    pub(crate) fn reset(&mut self, name: &str, local: bool) -> Result<()> {
        let key = name.to_lowercase();
        match definition(name) {
            Some(d) if d.context == Context::Internal => return Err(read_only(d.name)),
            None if !name.contains('.') => return Err(unrecognized(name)),
            _ => {}
        }
        let value = self.reset.get(&key).cloned();
        self.put(key, value, local);
        Ok(())
    }

    /// `RESET ALL`. What tells of the session itself (its role) stays.
    pub(crate) fn reset_all(&mut self) {
        let mut values = (*self.reset).clone();
        for name in [IS_SUPERUSER, SESSION_AUTHORIZATION, ROLE] {
            if let Some(value) = self.current.get(name) {
                values.insert(name.to_owned(), value.clone());
            }
        }
        self.current = Arc::new(values);
        self.changed = OnceLock::new();
        self.local.clear();
    }

    /// Writes down a fact about the session, which nobody may `SET`.
    pub(crate) fn state_fact(&mut self, name: &str, value: &str, local: bool) {
        self.put(name.to_owned(), Some(value.to_owned()), local);
    }

    /// Makes the current values those that `RESET` goes back to.
    pub(crate) fn become_reset_values(&mut self) {
        self.reset = Arc::clone(&self.current);
        self.local.clear();
    }

    /// Opens the current transaction for reading only, or for changes as well.
    pub(crate) fn set_read_only(&mut self, read_only: bool) {
        let value = if read_only { "on" } else { "off" };
        self.put(
            TRANSACTION_READ_ONLY.to_owned(),
            Some(value.to_owned()),
            true,
        );
    }

    /// Says how the current transaction is isolated.
    pub(crate) fn set_isolation(&mut self, level: &str) {
        let level = Some(level.to_owned());
        self.put(TRANSACTION_ISOLATION.to_owned(), level, true);
    }

    /// Takes back what `SET LOCAL` did: the transaction has ended.
    pub(crate) fn end_transaction(&mut self) {
        for (name, value) in std::mem::take(&mut self.local) {
            self.write(name, value);
        }
    }

    fn put(&mut self, key: String, value: Option<String>, local: bool) {
        if local {
            let before = self.current.get(&key).cloned();
            self.local.entry(key.clone()).or_insert(before);
        } else {
            self.local.remove(&key);
        }
        self.write(key, value);
    }

    fn write(&mut self, key: String, value: Option<String>) {
        let current = Arc::make_mut(&mut self.current);
        self.changed = OnceLock::new();
        match value {
            Some(value) => current.insert(key, value),
            None => current.remove(&key),
        };
    }

    /// The settings that differ from their defaults, as `name=value`, separated by commas. What only
    /// tells of the session or its transaction is none of them, nor are names that the client has
    /// made up.
    pub(crate) fn changed(&self) -> Arc<str> {
        let changed = self.changed.get_or_init(|| {
            let mut pairs = Vec::new();
            for definition in DEFINITIONS.iter().filter(|d| d.is_option()) {
                if let Some(value) = self.get(definition.name)
                    && value != definition.default
                {
                    pairs.push(format!("{}={value}", definition.name));
                }
            }
            let options = self.datafusion_options().into_iter();
            pairs.extend(options.map(|(name, value)| format!("{name}={value}")));
            pairs.join(",").into()
        });
        Arc::clone(changed)
    }

    /// A duration setting; `None` when it is 0.
    pub(crate) fn timeout(&self, name: &str) -> Option<Duration> {
        let milliseconds = self.get(name).and_then(|v| parse_milliseconds(v).ok())?;
        (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
    }

    /// The number of a setting that limits how many there may be.
    pub(crate) fn count(&self, name: &str) -> usize {
        let number = self.get(name).and_then(|v| v.parse().ok());
        number.unwrap_or(usize::MAX)
    }

    /// A size setting in bytes.
    pub(crate) fn bytes(&self, name: &str) -> u64 {
        let kilobytes = self.get(name).and_then(parse_kilobytes);
        kilobytes.map_or(u64::MAX, |kb| kb * 1024)
    }

    /// A size setting that may be no limit, in bytes.
    pub(crate) fn size_limit(&self, name: &str) -> Option<u64> {
        let kilobytes = self.get(name).and_then(parse_kilobytes);
        kilobytes.map(|kb| kb * 1024)
    }

    /// A limit on bytes; `None` where it is switched off.
    pub(crate) fn byte_limit(&self, name: &str) -> Option<u64> {
        let bytes = self.get(name).and_then(parse_bytes);
        bytes.filter(|bytes| *bytes > 0)
    }

    /// The schemas of `search_path`, `$user` being `role`.
    pub(crate) fn search_path(&self, role: &str) -> Vec<String> {
        let path = self.get("search_path").unwrap_or_default();
        split_identifiers(path)
            .into_iter()
            .map(|s| if s == "$user" { role.to_owned() } else { s })
            .collect()
    }

    /// The `datafusion.*` settings.
    pub(crate) fn datafusion_options(&self) -> Vec<(String, String)> {
        self.current
            .range("datafusion.".to_owned()..)
            .take_while(|(name, _)| name.starts_with("datafusion."))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// Names and values of the settings that clients are told of.
    pub(crate) fn reported(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let definitions = DEFINITIONS.iter().filter(|d| d.reported);
        definitions.filter_map(|d| Some((d.name, self.get(d.name)?)))
    }
}

/// Rows of `SHOW ALL`: name, value, description.
pub(crate) fn show_all(settings: &Settings) -> Vec<(String, String, String)> {
    rows(settings.all())
        .into_iter()
        .map(|row| (row.name, row.setting, row.description))
        .collect()
}

/// Rows of `pg_settings` for these values.
pub(crate) fn rows(values: &BTreeMap<String, String>) -> Vec<SettingRow> {
    values
        .iter()
        .map(|(name, value)| row(name, value))
        .collect()
}

fn row(name: &str, value: &str) -> SettingRow {
    let Some(d) = definition(name) else {
        return SettingRow {
            name: name.to_owned(),
            setting: value.to_owned(),
            unit: None,
            description: String::new(),
            context: "user",
            kind: "string",
            source: "session",
            boot_value: String::new(),
            reset_value: String::new(),
        };
    };
    let (setting, unit) = match d.kind {
        Kind::Milliseconds => (
            parse_milliseconds(value).unwrap_or_default().to_string(),
            Some("ms"),
        ),
        Kind::Bytes => (
            parse_bytes(value).unwrap_or_default().to_string(),
            Some("B"),
        ),
        Kind::Kilobytes => (
            parse_kilobytes(value).unwrap_or_default().to_string(),
            Some("kB"),
        ),
        Kind::KilobytesLimit => (
            parse_kilobytes(value).map_or_else(|| NO_LIMIT.to_owned(), |kb| kb.to_string()),
            Some("kB"),
        ),
        _ => (value.to_owned(), None),
    };
    SettingRow {
        name: d.name.to_owned(),
        setting,
        unit,
        description: d.description.to_owned(),
        context: match d.context {
            Context::Internal => "internal",
            Context::Superuser => "superuser",
            Context::User => "user",
        },
        kind: match d.kind {
            Kind::Bool => "bool",
            Kind::Milliseconds
            | Kind::Bytes
            | Kind::Kilobytes
            | Kind::KilobytesLimit
            | Kind::Integer { .. } => "integer",
            Kind::Enum(_) => "enum",
            Kind::Cost => "real",
            _ => "string",
        },
        source: if value == d.default {
            "default"
        } else {
            "session"
        },
        boot_value: d.default.to_owned(),
        reset_value: d.default.to_owned(),
    }
}

fn display_name(name: &str) -> String {
    definition(name).map_or_else(|| name.to_lowercase(), |d| d.name.to_owned())
}

fn unrecognized(name: &str) -> Error {
    Error::new(
        "42704",
        format!("unrecognized configuration parameter \"{name}\""),
    )
}

fn read_only(name: &str) -> Error {
    Error::new("55P02", format!("parameter \"{name}\" cannot be changed"))
}

/// Whether only a superuser may change the setting.
pub(crate) fn is_for_superusers(name: &str) -> bool {
    definition(name).is_some_and(|d| d.context == Context::Superuser)
}
