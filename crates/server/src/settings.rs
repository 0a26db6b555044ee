//! Settings of a session: what `SET`, `SHOW` and `RESET` work on.
//!
//! To add a setting, add a row to [`DEFINITIONS`].

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use forebay_engine::SettingRow;

use crate::{Error, Result};

/// What values a setting takes, and how they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    /// Milliseconds; 0 switches the limit off. Written with the largest unit that fits.
    Milliseconds,
    /// Bytes; 0 switches the limit off. Written with the largest unit that fits.
    Bytes,
    /// Kilobytes of 1024 bytes. Written with the largest unit that fits.
    Kilobytes,
    /// The same, or -1 for no limit.
    KilobytesLimit,
    Integer {
        min: i64,
        max: i64,
    },
    /// A number that is not negative, finite.
    Cost,
    Enum(&'static [&'static str]),
    Text,
    /// A comma-separated list of identifiers.
    Identifiers,
    TimeZone,
    DateStyle,
    Encoding,
}

/// Who may change a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Context {
    /// Nobody: it tells what is so.
    Internal,
    Superuser,
    User,
}

struct Definition {
    /// As `SHOW ALL` prints it; looked up in any letter case.
    name: &'static str,
    kind: Kind,
    default: &'static str,
    context: Context,
    /// Clients are told of changes (`ParameterStatus`).
    reported: bool,
    description: &'static str,
}

impl Definition {
    /// Whether it says how statements are to be run. The rest tells of the session or its transaction.
    fn is_option(&self) -> bool {
        let told_elsewhere = [
            "application_name",
            TRANSACTION_ISOLATION,
            TRANSACTION_READ_ONLY,
        ];
        self.context != Context::Internal && !told_elsewhere.contains(&self.name)
    }
}

const fn user(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    description: &'static str,
) -> Definition {
    Definition {
        name,
        kind,
        default,
        context: Context::User,
        reported: false,
        description,
    }
}

const fn internal(
    name: &'static str,
    default: &'static str,
    description: &'static str,
) -> Definition {
    Definition {
        name,
        kind: Kind::Text,
        default,
        context: Context::Internal,
        reported: false,
        description,
    }
}

const fn superuser(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    description: &'static str,
) -> Definition {
    Definition {
        context: Context::Superuser,
        ..user(name, kind, default, description)
    }
}

const fn reported(definition: Definition) -> Definition {
    Definition {
        reported: true,
        ..definition
    }
}

/// The version of PostgreSQL whose behaviour clients may expect.
pub const SERVER_VERSION: &str = concat!("15.0 (Forebay ", env!("CARGO_PKG_VERSION"), ")");

const ISOLATION: Kind = Kind::Enum(&[
    "serializable",
    "repeatable read",
    "read committed",
    "read uncommitted",
]);
const COUNT: Kind = Kind::Integer {
    min: 1,
    max: 1_000_000,
};
const MESSAGE_LEVEL: Kind = Kind::Enum(&[
    "debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error",
]);

/// Every setting with a fixed name, in alphabetical order. Names with a dot are free
/// (`datafusion.*` reaches DataFusion, others are kept for whoever set them).
const DEFINITIONS: &[Definition] = &[
    reported(user(
        "application_name",
        Kind::Text,
        "",
        "Name of the program, shown in pg_stat_activity.",
    )),
    user(
        "array_nulls",
        Kind::Bool,
        "on",
        "NULL in array input means a null element.",
    ),
    user(
        "bytea_output",
        Kind::Enum(&["hex", "escape"]),
        "hex",
        "Text form of bytea.",
    ),
    user(
        "client_connection_check_interval",
        Kind::Milliseconds,
        "1s",
        "How often a running statement asks a client that has stopped sending whether it is there.",
    ),
    reported(user(
        "client_encoding",
        Kind::Encoding,
        "UTF8",
        "Encoding of what the client sends and gets.",
    )),
    user(
        "client_min_messages",
        MESSAGE_LEVEL,
        "notice",
        "Least severe message that is sent to the client.",
    ),
    user(
        "cpu_index_tuple_cost",
        Kind::Cost,
        "0.005",
        "Estimated cost of looking whether one file can be skipped.",
    ),
    user(
        "cpu_limit",
        Kind::Milliseconds,
        "0",
        "A plan whose operators have computed for longer, all together, is ended.",
    ),
    user(
        "cpu_operator_cost",
        Kind::Cost,
        "0.0025",
        "Estimated cost of evaluating one operator or function.",
    ),
    user(
        "cpu_tuple_cost",
        Kind::Cost,
        "0.01",
        "Estimated cost of handling one row.",
    ),
    reported(user(
        "DateStyle",
        Kind::DateStyle,
        "ISO, MDY",
        "Text form of dates, and how ambiguous ones are read.",
    )),
    user(
        "default_transaction_isolation",
        ISOLATION,
        "read committed",
        "Isolation of new transactions.",
    ),
    user(
        "default_transaction_read_only",
        Kind::Bool,
        "off",
        "Whether new transactions are read only.",
    ),
    user(
        "exec_time_limit",
        Kind::Milliseconds,
        "0",
        "A plan that runs longer is cancelled; its waits and its planning do not count.",
    ),
    user(
        "extra_float_digits",
        Kind::Integer { min: -15, max: 3 },
        "1",
        "Digits of floating-point numbers in text form.",
    ),
    user(
        "idle_cursor_timeout",
        Kind::Milliseconds,
        "1h",
        "A cursor, portal or result that is not read from for longer is ended.",
    ),
    user(
        "idle_in_transaction_session_timeout",
        Kind::Milliseconds,
        "0",
        "A session that is idle inside a transaction for longer is ended.",
    ),
    user(
        "idle_session_timeout",
        Kind::Milliseconds,
        "0",
        "A session that is idle outside a transaction for longer is ended.",
    ),
    reported(internal(
        "in_hot_standby",
        "off",
        "Whether the server is a standby.",
    )),
    reported(internal(
        "integer_datetimes",
        "on",
        "Whether times are stored as integers.",
    )),
    reported(user(
        "IntervalStyle",
        Kind::Enum(&["postgres", "postgres_verbose", "sql_standard", "iso_8601"]),
        "postgres",
        "Text form of intervals.",
    )),
    reported(internal(
        "is_superuser",
        "off",
        "Whether the current role is a superuser.",
    )),
    internal("lc_collate", "C", "Sort order of text."),
    internal("lc_ctype", "C", "Character classes of text."),
    user("lc_messages", Kind::Text, "C", "Language of messages."),
    user("lc_monetary", Kind::Text, "C", "Form of money."),
    user("lc_numeric", Kind::Text, "C", "Form of numbers."),
    user("lc_time", Kind::Text, "C", "Form of dates."),
    user(
        "lock_timeout",
        Kind::Milliseconds,
        "0",
        "A statement that waits longer for a lock is cancelled.",
    ),
    internal(
        "max_identifier_length",
        "63",
        "Characters of an identifier.",
    ),
    internal(
        "max_index_keys",
        "32",
        "Columns of an index, if there were any.",
    ),
    superuser(
        "max_portals",
        COUNT,
        "1000",
        "Portals and cursors that a session may have open.",
    ),
    superuser(
        "max_prepared_statements",
        COUNT,
        "1000",
        "Prepared statements that a session may have.",
    ),
    superuser(
        "max_resource_portals_per_transaction",
        COUNT,
        "64",
        "Cursors with a slot of a resource queue that a transaction may have open.",
    ),
    superuser(
        "max_savepoints",
        COUNT,
        "10000",
        "Savepoints that a transaction may have open.",
    ),
    superuser(
        "max_session_kept_size",
        Kind::Kilobytes,
        "128MB",
        "Bytes that a session may keep of texts of prepared statements and of bound values.",
    ),
    superuser(
        "max_statement_mem",
        Kind::Kilobytes,
        "2000MB",
        "The largest statement_mem that has an effect.",
    ),
    user(
        "parallel_tuple_cost",
        Kind::Cost,
        "0.1",
        "Estimated cost of handing a batch of rows to another thread.",
    ),
    user(
        "queue_notice_after",
        Kind::Milliseconds,
        "2s",
        "A statement that waits longer in its resource queue tells its client its place.",
    ),
    user(
        "random_page_cost",
        Kind::Cost,
        "4",
        "Estimated cost of reading a page somewhere else.",
    ),
    superuser(
        "resource_scheduler",
        Kind::Bool,
        "on",
        "Whether resource queues govern statements.",
    ),
    superuser(
        "resource_select_only",
        Kind::Bool,
        "on",
        "Resource queues govern queries only; off: INSERT, UPDATE, DELETE and COPY FROM as well.",
    ),
    internal("role", "none", "The role that SET ROLE chose."),
    user(
        "row_security",
        Kind::Bool,
        "on",
        "Whether row security applies.",
    ),
    user(
        "scan_bytes_limit",
        Kind::Bytes,
        "0",
        "A plan that has read more bytes of files is ended.",
    ),
    user(
        "search_path",
        Kind::Identifiers,
        "\"$user\", public",
        "Schemas in which unqualified names are looked up.",
    ),
    user(
        "seq_page_cost",
        Kind::Cost,
        "1",
        "Estimated cost of reading a page of 8 kB in sequence; the unit of all costs.",
    ),
    reported(internal(
        "server_encoding",
        "UTF8",
        "Encoding of stored text.",
    )),
    reported(internal(
        "server_version",
        SERVER_VERSION,
        "Version of PostgreSQL that clients may expect.",
    )),
    internal("server_version_num", "150000", "The same as a number."),
    reported(internal(
        "session_authorization",
        "",
        "The role that the session runs as.",
    )),
    reported(user(
        "standard_conforming_strings",
        Kind::Enum(&["on"]),
        "on",
        "Backslashes in ordinary strings are plain characters.",
    )),
    user(
        "statement_mem",
        Kind::Kilobytes,
        "0kB",
        "Memory of each statement in its resource queue; 0 is what the queue gives.",
    ),
    user(
        "statement_timeout",
        Kind::Milliseconds,
        "0",
        "A statement that takes longer is cancelled.",
    ),
    user(
        "synchronous_commit",
        Kind::Enum(&["on", "off", "local", "remote_write", "remote_apply"]),
        "on",
        "Accepted for compatibility; commits are always synchronous.",
    ),
    superuser(
        "temp_file_limit",
        Kind::KilobytesLimit,
        "-1",
        "Bytes that a statement may have spilled to disk at one time; -1 is no limit.",
    ),
    reported(user(
        "TimeZone",
        Kind::TimeZone,
        "UTC",
        "Time zone of times that are shown.",
    )),
    user(
        "transaction_isolation",
        ISOLATION,
        "read committed",
        "Isolation of the current transaction.",
    ),
    user(
        "transaction_read_only",
        Kind::Bool,
        "off",
        "Whether the current transaction is read only.",
    ),
];

/// Settings that are reported although other state holds their value.
pub(crate) const IS_SUPERUSER: &str = "is_superuser";
pub(crate) const SESSION_AUTHORIZATION: &str = "session_authorization";
pub(crate) const ROLE: &str = "role";

/// Whether the current transaction may change anything.
pub(crate) const TRANSACTION_READ_ONLY: &str = "transaction_read_only";

/// How the current transaction is isolated from others.
pub(crate) const TRANSACTION_ISOLATION: &str = "transaction_isolation";

/// Longest `application_name`; longer ones are cut, as PostgreSQL does it.
const MAX_APPLICATION_NAME_BYTES: usize = 63;

fn definition(name: &str) -> Option<&'static Definition> {
    DEFINITIONS
        .iter()
        .find(|d| d.name.eq_ignore_ascii_case(name))
}

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
            Kind::Milliseconds | Kind::Kilobytes | Kind::KilobytesLimit | Kind::Integer { .. } => {
                "integer"
            }
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

fn invalid(name: &str, value: &str) -> Error {
    Error::new(
        "22023",
        format!("invalid value for parameter \"{name}\": \"{value}\""),
    )
}

/// The value as it is stored and shown.
pub(crate) fn canonical(name: &str, values: &[String]) -> Result<String> {
    let joined = values.join(", ");
    let Some(d) = definition(name) else {
        return if name.contains('.') {
            Ok(joined)
        } else {
            Err(unrecognized(name))
        };
    };
    if d.context == Context::Internal {
        return Err(read_only(d.name));
    }
    if values.len() != 1 && !matches!(d.kind, Kind::Identifiers | Kind::DateStyle) {
        return Err(Error::new(
            "22023",
            format!("SET {name} takes only one argument"),
        ));
    }
    let bad = || invalid(d.name, &joined);
    match d.kind {
        Kind::Text if d.name == "application_name" => {
            Ok(joined[..joined.floor_char_boundary(MAX_APPLICATION_NAME_BYTES)].to_owned())
        }
        Kind::Text => Ok(joined),
        Kind::Bool => parse_bool(&joined)
            .map(|b| if b { "on" } else { "off" }.to_owned())
            .ok_or_else(|| {
                Error::new(
                    "22023",
                    format!("parameter \"{name}\" requires a Boolean value"),
                )
            }),
        Kind::Milliseconds => parse_milliseconds(&joined)
            .map(show_milliseconds)
            .map_err(|()| bad()),
        Kind::Bytes => parse_bytes(&joined).map(show_bytes).ok_or_else(bad),
        Kind::Kilobytes => parse_kilobytes(&joined).map(show_kilobytes).ok_or_else(bad),
        Kind::KilobytesLimit if joined.trim() == NO_LIMIT => Ok(NO_LIMIT.to_owned()),
        Kind::KilobytesLimit => parse_kilobytes(&joined).map(show_kilobytes).ok_or_else(bad),
        Kind::Integer { min, max } => {
            let number: i64 = joined.trim().parse().map_err(|_| bad())?;
            if !(min..=max).contains(&number) {
                return Err(Error::new(
                    "22023",
                    format!(
                        "{number} is outside the valid range for parameter \"{name}\" ({min} .. {max})"
                    ),
                ));
            }
            Ok(number.to_string())
        }
        Kind::Cost => {
            let number: f64 = joined.trim().parse().map_err(|_| bad())?;
            if number.is_nan() {
                return Err(bad());
            }
            if !(0.0..=f64::MAX).contains(&number) {
                return Err(Error::new(
                    "22023",
                    format!(
                        "{} is outside the valid range for parameter \"{name}\" (0 .. 1.79769e+308)",
                        show_cost(number)
                    ),
                ));
            }
            Ok(show_cost(number))
        }
        Kind::Enum(allowed) => {
            let value = joined.to_lowercase();
            if allowed.contains(&value.as_str()) {
                return Ok(value);
            }
            Err(bad().with_hint(format!("Available values: {}.", allowed.join(", "))))
        }
        Kind::Identifiers => Ok(values
            .iter()
            .map(|v| quoted(v))
            .collect::<Vec<_>>()
            .join(", ")),
        Kind::TimeZone => time_zone(&joined).ok_or_else(bad),
        Kind::DateStyle => date_style(&joined).ok_or_else(bad),
        Kind::Encoding => match encoding_key(&joined).as_str() {
            "UTF8" | "UNICODE" | "SQLASCII" => Ok("UTF8".to_owned()),
            _ => Err(bad().with_detail("Only UTF8 is supported.")),
        },
    }
}

/// PostgreSQL compares names of encodings by their letters and digits only.
fn encoding_key(name: &str) -> String {
    let significant = name.chars().filter(char::is_ascii_alphanumeric);
    significant.map(|c| c.to_ascii_uppercase()).collect()
}

fn parse_bool(value: &str) -> Option<bool> {
    match value.trim().to_lowercase().as_str() {
        "on" | "true" | "yes" | "t" | "y" | "1" => Some(true),
        "off" | "false" | "no" | "f" | "n" | "0" => Some(false),
        _ => None,
    }
}

/// Six significant digits, as PostgreSQL shows them (`%g` in C).
fn show_cost(number: f64) -> String {
    const DIGITS: i32 = 6;
    if number == 0.0 || !number.is_finite() {
        return if number == 0.0 {
            "0".to_owned()
        } else {
            number.to_string()
        };
    }
    let scientific = format!("{number:.5e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("an exponent");
    let exponent: i32 = exponent.parse().expect("a number");
    let trimmed = |text: &str| {
        let text = if text.contains('.') {
            text.trim_end_matches('0')
        } else {
            text
        };
        text.trim_end_matches('.').to_owned()
    };
    if (-4..DIGITS).contains(&exponent) {
        let decimals = usize::try_from(DIGITS - 1 - exponent).unwrap_or(0);
        return trimmed(&format!("{number:.decimals$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs())
}

const UNITS: [(&str, f64); 6] = [
    ("us", 0.001),
    ("ms", 1.0),
    ("s", 1_000.0),
    ("min", 60_000.0),
    ("h", 3_600_000.0),
    ("d", 86_400_000.0),
];

fn parse_milliseconds(value: &str) -> Result<u64, ()> {
    let value = value.trim();
    let digits = value
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(value.len());
    let number: f64 = value[..digits].parse().map_err(|_| ())?;
    let unit = value[digits..].trim();
    let factor = match unit {
        "" => 1.0,
        unit => UNITS.iter().find(|(name, _)| *name == unit).ok_or(())?.1,
    };
    let milliseconds = (number * factor).round();
    if !(0.0..=f64::from(i32::MAX)).contains(&milliseconds) {
        return Err(());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked above"
    )]
    Ok(milliseconds as u64)
}

/// 90000 is `90s`, 120000 is `2min`.
fn show_milliseconds(milliseconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "min"),
        (1_000, "s"),
    ];
    if milliseconds == 0 {
        return "0".to_owned();
    }
    UNITS
        .iter()
        .find(|(factor, _)| milliseconds.is_multiple_of(*factor))
        .map_or_else(
            || format!("{milliseconds}ms"),
            |(factor, unit)| format!("{}{unit}", milliseconds / factor),
        )
}

/// The time as its setting shows it.
pub(crate) fn show_duration(time: Duration) -> String {
    show_milliseconds(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// What stands for no limit.
const NO_LIMIT: &str = "-1";

const SIZES: [(&str, u64); 4] = [("TB", 1 << 30), ("GB", 1 << 20), ("MB", 1 << 10), ("kB", 1)];

/// A whole number of kilobytes, or of a larger unit; units are sensitive to case, as in PostgreSQL.
fn parse_kilobytes(value: &str) -> Option<u64> {
    let value = value.trim();
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at(digits);
    let factor = match unit.trim_start() {
        "" => 1,
        unit => SIZES.iter().find(|(name, _)| *name == unit)?.1,
    };
    let kilobytes = number.parse::<u64>().ok()?.checked_mul(factor)?;
    (kilobytes <= i32::MAX.unsigned_abs().into()).then_some(kilobytes)
}

/// A whole number of bytes, or of a larger unit; at most what PostgreSQL's `bigint` holds.
fn parse_bytes(value: &str) -> Option<u64> {
    let value = value.trim();
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at(digits);
    let factor = match unit.trim_start() {
        "" | "B" => 1,
        unit => SIZES.iter().find(|(name, _)| *name == unit)?.1 * 1024,
    };
    let bytes = number.parse::<u64>().ok()?.checked_mul(factor)?;
    (bytes <= i64::MAX.unsigned_abs()).then_some(bytes)
}

/// 2048 is `2kB`, 2049 is `2049B`.
pub(crate) fn show_bytes(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        bytes if bytes.is_multiple_of(1024) => show_kilobytes(bytes / 1024),
        bytes => format!("{bytes}B"),
    }
}

/// 2048 is `2MB`.
fn show_kilobytes(kilobytes: u64) -> String {
    let fits = |(_, factor): &&(&str, u64)| kilobytes > 0 && kilobytes.is_multiple_of(*factor);
    let (unit, factor) = SIZES.iter().find(fits).unwrap_or(&SIZES[3]);
    format!("{}{unit}", kilobytes / factor)
}

/// Zones by name in any letter case, and fixed offsets (`+2`, `-03:30`).
fn time_zone(value: &str) -> Option<String> {
    let value = value.trim();
    if let Some(offset) = fixed_offset(value) {
        return Some(offset);
    }
    let zone = chrono_tz::TZ_VARIANTS
        .iter()
        .find(|z| z.name().eq_ignore_ascii_case(value))?;
    Some(zone.name().to_owned())
}

fn fixed_offset(value: &str) -> Option<String> {
    let sign = value
        .chars()
        .next()
        .filter(|c| matches!(c, '+' | '-' | '0'..='9'))?;
    let digits = value.trim_start_matches(['+', '-']);
    let (hours, minutes) = digits.split_once(':').unwrap_or((digits, "0"));
    let hours: u8 = hours.parse().ok().filter(|h| *h <= 15)?;
    let minutes: u8 = minutes.parse().ok().filter(|m| *m < 60)?;
    let sign = if sign == '-' { '-' } else { '+' };
    Some(format!("{sign}{hours:02}:{minutes:02}"))
}

/// Only ISO output exists; the order of day and month is kept as asked.
fn date_style(value: &str) -> Option<String> {
    let mut order = "MDY";
    for word in value.split(',').map(|w| w.trim().to_uppercase()) {
        match word.as_str() {
            "ISO" => {}
            "MDY" | "US" | "NONEURO" | "NONEUROPEAN" => order = "MDY",
            "DMY" | "EURO" | "EUROPEAN" => order = "DMY",
            "YMD" => order = "YMD",
            _ => return None,
        }
    }
    Some(format!("ISO, {order}"))
}

fn quoted(identifier: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !identifier.is_empty() && identifier.chars().all(plain) {
        identifier.to_owned()
    } else {
        format!("\"{}\"", identifier.replace('"', "\"\""))
    }
}

/// The names of a comma-separated list, quotes taken off.
pub(crate) fn split_identifiers(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut in_quotes = false;
    for c in list.chars() {
        match c {
            '"' => in_quotes = !in_quotes,
            ',' if !in_quotes => names.push(std::mem::take(&mut name)),
            c if c.is_whitespace() && !in_quotes => {}
            c => name.push(c),
        }
    }
    names.push(name);
    names.retain(|n| !n.is_empty());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, values: &[&str]) -> Result<String, &'static str> {
        let mut settings = Settings::new();
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        settings.set(name, &values, false).map_err(|e| e.sqlstate)?;
        Ok(settings.get(name).unwrap().to_owned())
    }

    #[test]
    fn values_are_checked_and_shown_as_postgresql_shows_them() {
        let cases = [
            ("statement_timeout", &["90000"][..], Ok("90s")),
            ("Statement_Timeout", &["2min"], Ok("2min")),
            ("statement_timeout", &["1.5s"], Ok("1500ms")),
            ("statement_timeout", &["-1"], Err("22023")),
            ("statement_timeout", &["1 fortnight"], Err("22023")),
            (
                "search_path",
                &["$user", "a b", "c"],
                Ok("\"$user\", \"a b\", c"),
            ),
            ("timezone", &["europe/berlin"], Ok("Europe/Berlin")),
            ("timezone", &["-3:30"], Ok("-03:30")),
            ("timezone", &["Mars/Olympus"], Err("22023")),
            ("datestyle", &["ISO", "dmy"], Ok("ISO, DMY")),
            ("client_encoding", &["utf-8"], Ok("UTF8")),
            ("client_encoding", &["latin1"], Err("22023")),
            ("client_min_messages", &["WARNING"], Ok("warning")),
            ("server_version", &["16"], Err("55P02")),
            ("no_such_thing", &["1"], Err("42704")),
            ("my.own", &["1"], Ok("1")),
            ("max_session_kept_size", &["2048"], Ok("2MB")),
            ("max_session_kept_size", &["3 GB"], Ok("3GB")),
            ("max_session_kept_size", &["0"], Ok("0kB")),
            ("max_session_kept_size", &["1mb"], Err("22023")),
            (
                "max_session_kept_size",
                &["9999999999999999TB"],
                Err("22023"),
            ),
            ("scan_bytes_limit", &["0"], Ok("0")),
            ("scan_bytes_limit", &["1536"], Ok("1536B")),
            ("scan_bytes_limit", &["1536 kB"], Ok("1536kB")),
            ("scan_bytes_limit", &["8192B"], Ok("8kB")),
            ("scan_bytes_limit", &["5000TB"], Ok("5000TB")),
            ("scan_bytes_limit", &["-1"], Err("22023")),
            ("scan_bytes_limit", &["9000000TB"], Err("22023")),
            ("cpu_limit", &["1500"], Ok("1500ms")),
            ("temp_file_limit", &["-1"], Ok("-1")),
            ("temp_file_limit", &["1GB"], Ok("1GB")),
            ("temp_file_limit", &["-2"], Err("22023")),
            ("max_portals", &["0"], Err("22023")),
            ("extra_float_digits", &["4"], Err("22023")),
            ("row_security", &["maybe"], Err("22023")),
            ("seq_page_cost", &["0.000012345678"], Ok("1.23457e-05")),
            ("seq_page_cost", &["1234567"], Ok("1.23457e+06")),
            ("seq_page_cost", &["1.50"], Ok("1.5")),
            ("seq_page_cost", &["100000"], Ok("100000")),
            ("seq_page_cost", &["0"], Ok("0")),
            ("seq_page_cost", &["-0.5"], Err("22023")),
            ("seq_page_cost", &["inf"], Err("22023")),
            ("seq_page_cost", &["NaN"], Err("22023")),
            ("seq_page_cost", &["cheap"], Err("22023")),
        ];
        for (name, values, expected) in cases {
            let expected = expected.map(ToOwned::to_owned);
            assert_eq!(set(name, values), expected, "{name} {values:?}");
        }
    }

    #[test]
    fn local_values_end_with_the_transaction() {
        let mut settings = Settings::new();
        let value = |s: &Settings| s.get("application_name").unwrap().to_owned();
        settings
            .set("application_name", &["a".into()], false)
            .unwrap();
        settings
            .set("application_name", &["b".into()], true)
            .unwrap();
        settings
            .set("application_name", &["c".into()], true)
            .unwrap();
        assert_eq!(value(&settings), "c");
        settings.end_transaction();
        assert_eq!(value(&settings), "a");
        settings
            .set("application_name", &["b".into()], true)
            .unwrap();
        settings
            .set("application_name", &["d".into()], false)
            .unwrap();
        settings.end_transaction();
        assert_eq!(value(&settings), "d");
    }

    #[test]
    fn definitions_are_in_order_and_have_valid_defaults() {
        for pair in DEFINITIONS.windows(2) {
            assert!(
                pair[0].name.to_lowercase() < pair[1].name.to_lowercase(),
                "{}",
                pair[1].name
            );
        }
        for d in DEFINITIONS
            .iter()
            .filter(|d| d.context != Context::Internal)
        {
            let values = if d.kind == Kind::Identifiers {
                split_identifiers(d.default)
            } else {
                vec![d.default.to_owned()]
            };
            assert_eq!(canonical(d.name, &values).unwrap(), d.default, "{}", d.name);
        }
    }

    #[test]
    fn costs_have_the_defaults_of_the_engine() {
        let settings = Settings::new();
        let constants = forebay_engine::CostConstants::of_settings(settings.all());
        assert_eq!(constants, forebay_engine::CostConstants::default());
        let costs = DEFINITIONS.iter().filter(|d| d.kind == Kind::Cost);
        let doubled = costs.map(|d| {
            let number: f64 = d.default.parse().unwrap();
            (d.name.to_owned(), (number * 2.0).to_string())
        });
        let doubled = forebay_engine::CostConstants::of_settings(&doubled.collect());
        assert_eq!(doubled.cpu_operator_cost, constants.cpu_operator_cost * 2.0);
        assert_eq!(doubled.random_page_cost, constants.random_page_cost * 2.0);
        assert_eq!(
            doubled.parallel_tuple_cost,
            constants.parallel_tuple_cost * 2.0
        );
        assert_eq!(
            doubled.cpu_index_tuple_cost,
            constants.cpu_index_tuple_cost * 2.0
        );
    }

    #[test]
    fn quoted_names_split_again() {
        assert_eq!(
            split_identifiers("\"$user\", public,\"a,b\""),
            ["$user", "public", "a,b"]
        );
    }
}
