//! The configuration of `forebay serve`: one table of settings, four places where a value can come
//! from, and one struct with what came of it.
//!
//! A new setting is one row in [`SETTINGS`] and one field in [`Config`]. Its flag, its environment
//! variable, its key in the file, its help, its error messages and its line in `forebay config`
//! follow from the row.

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgAction, ArgMatches, FromArgMatches};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the server is told to do, ready to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The files and folders to serve as tables.
    pub paths: Vec<PathBuf>,
    /// Sample data to make, where it is not there yet, and to serve.
    pub sample: Option<Sample>,
    /// Where everything durable is kept.
    pub data_dir: PathBuf,
    /// Where PostgreSQL clients connect; port 0 is any free port.
    pub pg_listen: SocketAddr,
    /// Where the web pages are; `None` for no pages. Port 0 is any free port.
    pub web_listen: Option<SocketAddr>,
    /// The certificate that PostgreSQL clients are shown, if connections may be encrypted.
    pub tls_cert: Option<PathBuf>,
    /// The private key of the certificate.
    pub tls_key: Option<PathBuf>,
    /// How many clients may be connected at once.
    pub max_connections: usize,
    /// How many more there may be for superusers.
    pub superuser_reserved_connections: usize,
    /// How many clients may be logging in at once.
    pub max_pending_connections: usize,
    /// Threads that archive ended queries; 0: whoever ends a query archives it.
    pub unregistration_thread_pool_size: usize,
    /// How many ended queries may wait for one of them.
    pub unregistration_thread_pool_queue_depth: usize,
    /// How many ended queries the query log keeps in memory.
    pub query_log_size: usize,
    /// How many bytes of them, at most.
    pub query_log_size_in_bytes: usize,
    /// Whether profiles of ended queries are written into the profile log.
    pub profile_log: bool,
    /// Whether statements are written into the audit log.
    pub audit_log: bool,
    /// Whether the server stops when an audit event cannot be written.
    pub abort_on_failed_audit_event: bool,
    /// For how many days ended queries are kept; 0: none is.
    pub query_history_days: usize,
    /// How large the history of queries may become, in bytes.
    pub query_history_size_bytes: usize,
    /// How long a client may take to log in.
    pub authentication_timeout: Duration,
    /// The longest message that a client may send, in bytes.
    pub max_message_size_bytes: usize,
    /// Into how many parallel pieces a plan is cut.
    pub target_partitions: usize,
    /// Rows in a batch between operators.
    pub batch_size: usize,
    /// What the operators of all statements together may use, in bytes; `None` is 80 % of what the
    /// machine or the control group has.
    pub memory_limit_bytes: Option<usize>,
    /// How long a shutdown lets running statements go on.
    pub shutdown_grace: Duration,
    /// What is logged: a filter of `tracing`.
    pub log: String,
}

/// A data set that Forebay can make by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// TPC-H at scale 0.1.
    Tpch,
}

/// One row of the table of settings.
struct Setting {
    /// The name in kebab case, as it stands in its flag.
    name: &'static str,
    /// What stands for the value in the help.
    value_name: &'static str,
    /// One sentence for the help.
    help: &'static str,
    /// What a value may be; for error messages.
    allowed: &'static str,
    /// The value when nobody sets one, as it would be written; empty for none.
    default: &'static str,
    /// Whether it is the command line's list of positional arguments.
    positional: bool,
    /// Puts the value into its field. False if it is not one of the allowed.
    set: fn(&mut Config, &[String]) -> bool,
}

const fn setting(
    name: &'static str,
    value_name: &'static str,
    default: &'static str,
    help: &'static str,
    allowed: &'static str,
    set: fn(&mut Config, &[String]) -> bool,
) -> Setting {
    Setting {
        name,
        value_name,
        help,
        allowed,
        default,
        positional: false,
        set,
    }
}

const SETTINGS: &[Setting] = &[
    Setting {
        positional: true,
        ..setting(
            "paths",
            "PATH",
            "",
            "Files and folders to serve: Parquet, CSV or newline-delimited JSON",
            "a list of files and folders",
            |config, values| {
                config.paths = values.iter().map(PathBuf::from).collect();
                values.iter().all(|path| !path.is_empty())
            },
        )
    },
    setting(
        "sample",
        "NAME",
        "",
        "Make this sample data at first start, and serve it: tpch (TPC-H at scale 0.1)",
        "tpch",
        |config, values| {
            config.sample = (single(values) == Some("tpch")).then_some(Sample::Tpch);
            config.sample.is_some()
        },
    ),
    setting(
        "data-dir",
        "DIR",
        "./forebay-data",
        "Where the catalog and everything else durable is kept",
        "a folder",
        |config, values| {
            let folder = single(values).filter(|folder| !folder.is_empty());
            put(&mut config.data_dir, folder.map(PathBuf::from))
        },
    ),
    setting(
        "pg-listen",
        "ADDRESS",
        "127.0.0.1:5432",
        "The address and port that PostgreSQL clients connect to",
        "an IP address and a port, for example 127.0.0.1:5432, 0.0.0.0:5433 or [::1]:5432",
        |config, values| {
            put(
                &mut config.pg_listen,
                single(values).and_then(parse_address),
            )
        },
    ),
    setting(
        "web-listen",
        "ADDRESS",
        "127.0.0.1:25000",
        "The address and port of the web pages, their JSON and the metrics; off for none",
        "an IP address and a port, for example 127.0.0.1:25000 or 0.0.0.0:25000, or off",
        |config, values| {
            let text = single(values).map(str::trim);
            config.web_listen = text.and_then(parse_address);
            config.web_listen.is_some() || text.is_some_and(|t| t.is_empty() || t == "off")
        },
    ),
    setting(
        "tls-cert",
        "FILE",
        "",
        "The certificate for encrypted connections, in PEM, with those that vouch for it behind it",
        "a file",
        |config, values| {
            config.tls_cert = single(values).filter(|f| !f.is_empty()).map(PathBuf::from);
            config.tls_cert.is_some()
        },
    ),
    setting(
        "tls-key",
        "FILE",
        "",
        "The private key of the certificate, in PEM; SIGHUP reads both files again",
        "a file",
        |config, values| {
            config.tls_key = single(values).filter(|f| !f.is_empty()).map(PathBuf::from);
            config.tls_key.is_some()
        },
    ),
    setting(
        "max-connections",
        "N",
        "1000",
        "How many clients may be connected at once",
        "a whole number from 1 to 1000000",
        |config, values| {
            put(
                &mut config.max_connections,
                whole_number(values, 1, 1_000_000),
            )
        },
    ),
    setting(
        "superuser-reserved-connections",
        "N",
        "3",
        "How many more clients may be connected when they are superusers",
        "a whole number from 0 to 1000000",
        |config, values| {
            put(
                &mut config.superuser_reserved_connections,
                whole_number(values, 0, 1_000_000),
            )
        },
    ),
    setting(
        "max-pending-connections",
        "N",
        "256",
        "How many clients may be logging in at once; one more cuts off the slowest of them",
        "a whole number from 1 to 1000000",
        |config, values| {
            put(
                &mut config.max_pending_connections,
                whole_number(values, 1, 1_000_000),
            )
        },
    ),
    setting(
        "unregistration-thread-pool-size",
        "N",
        "4",
        "Threads that archive ended queries; 0: whoever ends a query archives it",
        "a whole number from 0 to 1024",
        |config, values| {
            put(
                &mut config.unregistration_thread_pool_size,
                whole_number(values, 0, 1024),
            )
        },
    ),
    setting(
        "unregistration-thread-pool-queue-depth",
        "N",
        "16",
        "How many ended queries may wait for one of these threads",
        "a whole number from 1 to 1000000",
        |config, values| {
            put(
                &mut config.unregistration_thread_pool_queue_depth,
                whole_number(values, 1, 1_000_000),
            )
        },
    ),
    setting(
        "query-log-size",
        "N",
        "200",
        "How many ended queries the query log keeps in memory",
        "a whole number from 0 to 1000000",
        |config, values| {
            put(
                &mut config.query_log_size,
                whole_number(values, 0, 1_000_000),
            )
        },
    ),
    setting(
        "query-log-size-in-bytes",
        "SIZE",
        "256MB",
        "How many bytes of them, with their profiles, at most",
        "a size, in bytes or with the unit kB, MB or GB",
        |config, values| {
            let bytes = single(values).and_then(parse_size_bytes);
            put(&mut config.query_log_size_in_bytes, bytes)
        },
    ),
    setting(
        "profile-log",
        "on|off",
        "on",
        "Whether profiles of ended queries are written into profiles/ of the data directory",
        "on or off",
        |config, values| put(&mut config.profile_log, on_or_off(values)),
    ),
    setting(
        "audit-log",
        "on|off",
        "off",
        "Whether an event for each statement is written into audit/ of the data directory",
        "on or off",
        |config, values| put(&mut config.audit_log, on_or_off(values)),
    ),
    setting(
        "abort-on-failed-audit-event",
        "on|off",
        "off",
        "Whether the server stops when such an event cannot be written",
        "on or off",
        |config, values| put(&mut config.abort_on_failed_audit_event, on_or_off(values)),
    ),
    setting(
        "query-history-days",
        "N",
        "30",
        "For how many days ended queries are kept in history/ of the data directory; 0: none is",
        "a whole number from 0 to 36500",
        |config, values| {
            put(
                &mut config.query_history_days,
                whole_number(values, 0, 36_500),
            )
        },
    ),
    setting(
        "query-history-size",
        "SIZE",
        "10GB",
        "How large the history may become; the oldest queries go first",
        "a size, in bytes or with the unit kB, MB or GB",
        |config, values| {
            let bytes = single(values).and_then(parse_size_bytes);
            put(&mut config.query_history_size_bytes, bytes)
        },
    ),
    setting(
        "authentication-timeout",
        "TIME",
        "1min",
        "How long a client may take to log in before it is cut off",
        "a time from 1s to 10min with its unit, for example 10s or 1min",
        |config, values| {
            let time = single(values).and_then(|text| humantime::parse_duration(text).ok());
            let allowed = Duration::from_secs(1)..=Duration::from_secs(600);
            put(
                &mut config.authentication_timeout,
                time.filter(|time| allowed.contains(time)),
            )
        },
    ),
    setting(
        "max-message-size",
        "SIZE",
        "64MB",
        "The longest message a client may send; a longer statement or parameter ends its connection",
        "a size from 16kB to 1GB, in bytes or with the unit kB, MB or GB",
        |config, values| {
            let bytes = single(values).and_then(parse_size_bytes);
            let allowed = (16 << 10)..=(1 << 30);
            put(
                &mut config.max_message_size_bytes,
                bytes.filter(|bytes| allowed.contains(bytes)),
            )
        },
    ),
    setting(
        "target-partitions",
        "N",
        "auto",
        "Into how many parallel pieces a plan is cut; auto is one for each core",
        "auto, or a whole number from 1 to 1024",
        |config, values| {
            let pieces = match single(values) {
                Some("auto") => Some(core_count()),
                _ => whole_number(values, 1, 1024),
            };
            put(&mut config.target_partitions, pieces)
        },
    ),
    setting(
        "batch-size",
        "ROWS",
        "8192",
        "How many rows operators hand on at a time",
        "a whole number from 1 to 1048576",
        |config, values| put(&mut config.batch_size, whole_number(values, 1, 1 << 20)),
    ),
    setting(
        "memory-limit",
        "SIZE",
        "auto",
        "What running statements may use together; auto is 80 % of the machine's or cgroup's memory",
        "auto, or a size from 16MB on, in bytes or with the unit kB, MB or GB",
        |config, values| {
            const LEAST_BYTES: usize = 16 << 20;
            config.memory_limit_bytes = single(values).and_then(parse_size_bytes);
            match config.memory_limit_bytes {
                Some(bytes) => bytes >= LEAST_BYTES,
                None => single(values) == Some("auto"),
            }
        },
    ),
    setting(
        "shutdown-grace",
        "TIME",
        "30s",
        "How long a shutdown lets running statements go on before it cancels them",
        "a time from 0s to 7d with its unit, for example 500ms, 30s, 2min or 1h 30min",
        |config, values| {
            let time = single(values).and_then(|text| humantime::parse_duration(text).ok());
            let longest = Duration::from_secs(7 * 24 * 60 * 60);
            put(
                &mut config.shutdown_grace,
                time.filter(|time| *time <= longest),
            )
        },
    ),
    setting(
        "log",
        "FILTER",
        "info",
        "What to log: a level, or levels for parts, like info,forebay_postgres=debug",
        "error, warn, info, debug, trace or off, or a list of target=level",
        |config, values| {
            let filter = single(values).filter(|text| is_log_filter(text));
            put(&mut config.log, filter.map(str::to_owned))
        },
    ),
];

/// The name of the setting that names the file itself. It is no row of the table, because a file
/// cannot name itself.
const CONFIG_FILE_KEY: &str = "config";

impl Setting {
    fn flag(&self) -> String {
        match self.positional {
            true => self.value_name.to_owned(),
            false => format!("--{}", self.name),
        }
    }

    /// The name in snake case, as it stands in the file and in messages.
    fn key(&self) -> String {
        self.name.replace('-', "_")
    }

    fn variable(&self) -> String {
        variable(&self.key())
    }

    fn is_named(&self, key: &str) -> bool {
        key == self.name || key == self.key()
    }
}

fn variable(key: &str) -> String {
    format!("FOREBAY_{}", key.to_uppercase())
}

// Reading values. -------------------------------------------------------------------------------

fn put<T>(field: &mut T, value: Option<T>) -> bool {
    match value {
        Some(value) => {
            *field = value;
            true
        }
        None => false,
    }
}

/// The value, if there is exactly one.
fn single(values: &[String]) -> Option<&str> {
    match values {
        [value] => Some(value),
        _ => None,
    }
}

fn on_or_off(values: &[String]) -> Option<bool> {
    match single(values)? {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

fn whole_number(values: &[String], least: usize, most: usize) -> Option<usize> {
    let number = single(values)?.parse().ok()?;
    (least..=most).contains(&number).then_some(number)
}

fn parse_address(text: &str) -> Option<SocketAddr> {
    // No name but this one: others would need a look-up that can fail later.
    if let Some(port) = text.strip_prefix("localhost:") {
        return Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().ok()?)));
    }
    text.parse().ok()
}

/// Reads a size; units are powers of 1024 as in PostgreSQL, in any letter case.
fn parse_size_bytes(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: usize = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1 << 10,
        "mb" => 1 << 20,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(factor)
}

fn is_log_filter(text: &str) -> bool {
    tracing_subscriber::EnvFilter::builder().parse(text).is_ok()
}

fn core_count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

// The command line. -----------------------------------------------------------------------------

/// The settings that were given on the command line, not looked at yet.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// The value of `--config`.
    file: Option<PathBuf>,
    /// Values by the setting's name.
    values: BTreeMap<&'static str, Vec<String>>,
}

impl clap::Args for Flags {
    fn augment_args(command: clap::Command) -> clap::Command {
        let command = command.arg(
            Arg::new(CONFIG_FILE_KEY)
                .long(CONFIG_FILE_KEY)
                .value_name("FILE")
                .value_parser(clap::value_parser!(PathBuf))
                .help(format!(
                    "Read settings from this TOML file [env: {}]",
                    variable(CONFIG_FILE_KEY)
                )),
        );
        SETTINGS
            .iter()
            .fold(command, |command, setting| command.arg(argument(setting)))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

fn argument(setting: &Setting) -> Arg {
    let mut help = format!("{} [env: {}]", setting.help, setting.variable());
    if !setting.default.is_empty() {
        help += &format!(" [default: {}]", setting.default);
    }
    let argument = Arg::new(setting.name)
        .value_name(setting.value_name)
        .help(help);
    match setting.positional {
        true => argument.num_args(0..),
        false => argument.long(setting.name).action(ArgAction::Set),
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Flags::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.file = matches.get_one::<PathBuf>(CONFIG_FILE_KEY).cloned();
        for setting in SETTINGS {
            if let Some(values) = matches.get_many::<String>(setting.name) {
                self.values.insert(setting.name, values.cloned().collect());
            }
        }
        Ok(())
    }
}

// Putting it together. --------------------------------------------------------------------------

/// A configuration with the story of each value. Its `Display` is what `forebay config` prints.
#[derive(Debug)]
pub struct Effective {
    /// The values.
    pub config: Config,
    /// For each row of the table: what was written, and where. In the table's order.
    sources: Vec<(Vec<String>, Origin)>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Flag(String),
    Variable(String),
    File(PathBuf),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(flag) => write!(f, "from {flag}"),
            Origin::Variable(name) => write!(f, "from {name}"),
            Origin::File(file) => write!(f, "from {}", file.display()),
            Origin::Default => f.write_str("default"),
        }
    }
}

impl Effective {
    /// Every setting with its value and the origin of it, for the web pages.
    #[must_use]
    pub fn settings(&self) -> Vec<forebay_web::Setting> {
        let settings = SETTINGS.iter().zip(&self.sources);
        settings
            .map(|(setting, (values, origin))| forebay_web::Setting {
                name: setting.key(),
                value: (!values.is_empty()).then(|| values.join(", ")),
                origin: origin.to_string(),
                help: setting.help,
            })
            .collect()
    }
}

/// The effective configuration of these flags, this process's environment, and the file that either
/// of them names.
///
/// # Errors
///
/// A file that cannot be read or is no TOML, a key that is no setting, a value that is not allowed.
pub fn load(flags: &Flags) -> Result<Effective> {
    resolve(flags, &|name| std::env::var_os(name))
}

type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

fn resolve(flags: &Flags, environment: Environment) -> Result<Effective> {
    let file = match config_file(flags, environment) {
        Some(path) => {
            let values = read_file(&path)?;
            Some((path, values))
        }
        None => None,
    };
    let mut config = blank();
    let mut sources = Vec::with_capacity(SETTINGS.len());
    for setting in SETTINGS {
        let (values, origin) = look_up(setting, flags, environment, file.as_ref())?;
        if origin != Origin::Default || !values.is_empty() {
            apply(setting, &mut config, &values, &origin)?;
        }
        sources.push((values, origin));
    }
    Ok(Effective { config, sources })
}

/// What the table fills in; every row with a default overwrites its field.
fn blank() -> Config {
    Config {
        paths: Vec::new(),
        sample: None,
        data_dir: PathBuf::new(),
        pg_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        web_listen: None,
        tls_cert: None,
        tls_key: None,
        max_connections: 0,
        superuser_reserved_connections: 0,
        max_pending_connections: 0,
        unregistration_thread_pool_size: 0,
        unregistration_thread_pool_queue_depth: 0,
        query_log_size: 0,
        query_log_size_in_bytes: 0,
        profile_log: false,
        audit_log: false,
        abort_on_failed_audit_event: false,
        query_history_days: 0,
        query_history_size_bytes: 0,
        authentication_timeout: Duration::ZERO,
        max_message_size_bytes: 0,
        target_partitions: 0,
        batch_size: 0,
        memory_limit_bytes: None,
        shutdown_grace: Duration::ZERO,
        log: String::new(),
    }
}

fn config_file(flags: &Flags, environment: Environment) -> Option<PathBuf> {
    let from_environment = || non_empty(environment(&variable(CONFIG_FILE_KEY))).map(PathBuf::from);
    flags.file.clone().or_else(from_environment)
}

/// An empty variable is as good as none.
fn non_empty(value: Option<OsString>) -> Option<OsString> {
    value.filter(|value| !value.is_empty())
}

type FileValues = BTreeMap<&'static str, Vec<String>>;

/// The first place that has a value: flag, environment, file, default.
fn look_up(
    setting: &Setting,
    flags: &Flags,
    environment: Environment,
    file: Option<&(PathBuf, FileValues)>,
) -> Result<(Vec<String>, Origin)> {
    if let Some(values) = flags.values.get(setting.name) {
        return Ok((values.clone(), Origin::Flag(setting.flag())));
    }
    let variable = setting.variable();
    if let Some(value) = non_empty(environment(&variable)) {
        let values = split_variable(setting, value, &variable)?;
        return Ok((values, Origin::Variable(variable)));
    }
    if let Some((path, values)) = file
        && let Some(values) = values.get(setting.name)
    {
        return Ok((values.clone(), Origin::File(path.clone())));
    }
    let default = (!setting.default.is_empty()).then(|| setting.default.to_owned());
    Ok((default.into_iter().collect(), Origin::Default))
}

/// A list of paths is written in a variable as `PATH` is.
fn split_variable(setting: &Setting, value: OsString, name: &str) -> Result<Vec<String>> {
    let text = |value: OsString| match value.into_string() {
        Ok(text) => Ok(text),
        Err(value) => bail!("{name} is not valid UTF-8: {value:?}"),
    };
    match setting.positional {
        true => std::env::split_paths(&value)
            .map(|path| text(path.into_os_string()))
            .collect(),
        false => Ok(vec![text(value)?]),
    }
}

fn apply(setting: &Setting, config: &mut Config, values: &[String], origin: &Origin) -> Result<()> {
    if (setting.set)(config, values) {
        return Ok(());
    }
    let (key, allowed) = (setting.key(), setting.allowed);
    let value = values.join(", ");
    bail!("invalid value \"{value}\" for {key} ({origin}): it must be {allowed}")
}

fn read_file(path: &Path) -> Result<FileValues> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
    let table: toml::Table =
        toml::from_str(&text).with_context(|| format!("{} is not valid TOML", path.display()))?;
    let mut values = FileValues::new();
    for (key, value) in table {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.is_named(&key)) else {
            let known: Vec<_> = SETTINGS.iter().map(Setting::key).collect();
            bail!(
                "unknown key \"{key}\" in {}; known are {}",
                path.display(),
                known.join(", ")
            );
        };
        let Some(written) = written_values(&value) else {
            let (path, allowed) = (path.display(), setting.allowed);
            bail!("invalid value {value} for {key} (from {path}): it must be {allowed}");
        };
        if values.insert(setting.name, written).is_some() {
            bail!("{} is set twice in {}", setting.key(), path.display());
        }
    }
    Ok(values)
}

/// A TOML value as it would be written on the command line; nothing for tables and dates.
fn written_values(value: &toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::Array(list) => list.iter().map(written_value).collect(),
        value => Some(vec![written_value(value)?]),
    }
}

fn written_value(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(value) => Some(value.to_string()),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}

// Printing it. ----------------------------------------------------------------------------------

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = SETTINGS.iter().zip(&self.sources).map(line).collect();
        let width = lines
            .iter()
            .map(|(left, _)| left.chars().count())
            .max()
            .unwrap_or(0);
        lines
            .iter()
            .try_for_each(|(left, origin)| writeln!(f, "{left:width$}  # {origin}"))
    }
}

fn line<'a>((setting, source): (&Setting, &'a (Vec<String>, Origin))) -> (String, &'a Origin) {
    let (values, origin) = source;
    let left = match values.as_slice() {
        _ if setting.positional => format!("{} = [{}]", setting.key(), toml_list(values)),
        // A comment, because TOML has no way to write that there is no value.
        [] => format!("# {} is not set", setting.key()),
        values => format!("{} = {}", setting.key(), toml_list(values)),
    };
    (left, origin)
}

fn toml_list(values: &[String]) -> String {
    let literals: Vec<_> = values.iter().map(|value| toml_literal(value)).collect();
    literals.join(", ")
}

/// Whole numbers bare, everything else as a string.
fn toml_literal(value: &str) -> String {
    match value.parse::<i64>() {
        Ok(number) => number.to_string(),
        Err(_) => toml::Value::String(value.to_owned()).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command};
    use std::fs;

    fn flags(args: &str) -> Flags {
        let command = Flags::augment_args(Command::new("serve"));
        let args = std::iter::once("serve").chain(args.split_whitespace());
        Flags::from_arg_matches(&command.try_get_matches_from(args).unwrap()).unwrap()
    }

    fn with_env(args: &str, variables: &[(&str, &str)]) -> Result<Effective> {
        let environment = |name: &str| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| OsString::from(value))
        };
        resolve(&flags(args), &environment)
    }

    fn error(args: &str, variables: &[(&str, &str)]) -> String {
        format!("{:#}", with_env(args, variables).unwrap_err())
    }

    /// A configuration file with this text, and its `--config` flag.
    fn file(text: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("forebay.toml");
        fs::write(&path, text).unwrap();
        let flag = format!("--config {}", path.display());
        (folder, flag)
    }

    #[test]
    fn defaults() {
        let config = with_env("", &[]).unwrap().config;
        let expected = Config {
            paths: vec![],
            sample: None,
            data_dir: "./forebay-data".into(),
            pg_listen: "127.0.0.1:5432".parse().unwrap(),
            web_listen: Some("127.0.0.1:25000".parse().unwrap()),
            tls_cert: None,
            tls_key: None,
            max_connections: 1000,
            superuser_reserved_connections: 3,
            max_pending_connections: 256,
            unregistration_thread_pool_size: 4,
            unregistration_thread_pool_queue_depth: 16,
            query_log_size: 200,
            query_log_size_in_bytes: 256 << 20,
            profile_log: true,
            audit_log: false,
            abort_on_failed_audit_event: false,
            query_history_days: 30,
            query_history_size_bytes: 10 << 30,
            authentication_timeout: Duration::from_secs(60),
            max_message_size_bytes: 64 << 20,
            target_partitions: core_count(),
            batch_size: 8192,
            memory_limit_bytes: None,
            shutdown_grace: Duration::from_secs(30),
            log: "info".into(),
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn flag_wins_over_environment_over_file_over_default() {
        let (_folder, from_file) = file("batch_size = 3");
        let variable = [("FOREBAY_BATCH_SIZE", "2")];
        let batch_size =
            |args: &str, variables: &[_]| with_env(args, variables).unwrap().config.batch_size;
        assert_eq!(batch_size("", &[]), 8192);
        assert_eq!(batch_size(&from_file, &[]), 3);
        assert_eq!(batch_size("", &variable), 2);
        assert_eq!(batch_size(&from_file, &variable), 2);
        assert_eq!(batch_size("--batch-size 1", &[]), 1);
        assert_eq!(batch_size(&format!("{from_file} --batch-size 1"), &[]), 1);
        assert_eq!(batch_size("--batch-size 1", &variable), 1);
        assert_eq!(
            batch_size(&format!("{from_file} --batch-size 1"), &variable),
            1
        );
    }

    #[test]
    fn every_setting_can_come_from_each_place() {
        let written = [
            ("paths", "a.csv"),
            ("sample", "tpch"),
            ("data_dir", "/var/lib/forebay"),
            ("pg_listen", "localhost:5433"),
            ("web_listen", "off"),
            ("tls_cert", "server.crt"),
            ("tls_key", "server.key"),
            ("max_connections", "7"),
            ("superuser_reserved_connections", "2"),
            ("max_pending_connections", "9"),
            ("unregistration_thread_pool_size", "0"),
            ("unregistration_thread_pool_queue_depth", "5"),
            ("query_log_size", "10000"),
            ("query_log_size_in_bytes", "1GB"),
            ("profile_log", "off"),
            ("audit_log", "on"),
            ("abort_on_failed_audit_event", "on"),
            ("query_history_days", "7"),
            ("query_history_size", "2GB"),
            ("authentication_timeout", "10s"),
            ("max_message_size", "1MB"),
            ("target_partitions", "3"),
            ("batch_size", "100"),
            ("memory_limit", "2GB"),
            ("shutdown_grace", "2min"),
            ("log", "debug,forebay_server=trace"),
        ];
        let keys: Vec<_> = SETTINGS.iter().map(Setting::key).collect();
        assert_eq!(
            written.map(|(key, _)| key).as_slice(),
            keys,
            "a setting is not tested"
        );

        let expected = Config {
            paths: vec!["a.csv".into()],
            sample: Some(Sample::Tpch),
            data_dir: "/var/lib/forebay".into(),
            pg_listen: "127.0.0.1:5433".parse().unwrap(),
            web_listen: None,
            tls_cert: Some("server.crt".into()),
            tls_key: Some("server.key".into()),
            max_connections: 7,
            superuser_reserved_connections: 2,
            max_pending_connections: 9,
            unregistration_thread_pool_size: 0,
            unregistration_thread_pool_queue_depth: 5,
            query_log_size: 10_000,
            query_log_size_in_bytes: 1 << 30,
            profile_log: false,
            audit_log: true,
            abort_on_failed_audit_event: true,
            query_history_days: 7,
            query_history_size_bytes: 2 << 30,
            authentication_timeout: Duration::from_secs(10),
            max_message_size_bytes: 1 << 20,
            target_partitions: 3,
            batch_size: 100,
            memory_limit_bytes: Some(2 << 30),
            shutdown_grace: Duration::from_secs(120),
            log: "debug,forebay_server=trace".into(),
        };
        let args =
            SETTINGS
                .iter()
                .zip(written)
                .map(|(setting, (_, value))| match setting.positional {
                    true => value.to_owned(),
                    false => format!("{} {value}", setting.flag()),
                });
        let args: Vec<_> = args.collect();
        assert_eq!(with_env(&args.join(" "), &[]).unwrap().config, expected);

        let variables = written.map(|(key, value)| (variable(key), value));
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
            .collect();
        assert_eq!(with_env("", &variables).unwrap().config, expected);

        for spell in [
            |key: &str| key.to_owned(),
            |key: &str| key.replace('_', "-"),
        ] {
            let lines = written.map(|(key, value)| format!("{} = {value:?}\n", spell(key)));
            let (_folder, flag) = file(&lines.concat());
            assert_eq!(with_env(&flag, &[]).unwrap().config, expected);
        }
    }

    #[test]
    fn the_file_can_be_named_by_the_environment() {
        let (folder, _) = file("batch-size = 3");
        let path = folder.path().join("forebay.toml");
        let effective = with_env("", &[("FOREBAY_CONFIG", path.to_str().unwrap())]).unwrap();
        assert_eq!(effective.config.batch_size, 3);
    }

    #[test]
    fn lists_of_paths() {
        let paths = |args: &str, variables: &[_]| with_env(args, variables).unwrap().config.paths;
        let expected = [PathBuf::from("a.csv"), PathBuf::from("b")];
        assert_eq!(paths("a.csv --batch-size 5 b", &[]), expected);
        let joined = std::env::join_paths(&expected).unwrap();
        assert_eq!(
            paths("", &[("FOREBAY_PATHS", joined.to_str().unwrap())]),
            expected
        );
        let (_folder, flag) = file("paths = ['a.csv', 'b']");
        assert_eq!(paths(&flag, &[]), expected);
    }

    #[test]
    fn an_empty_variable_is_as_good_as_none() {
        assert_eq!(
            with_env("", &[("FOREBAY_SAMPLE", "")])
                .unwrap()
                .config
                .sample,
            None
        );
    }

    #[test]
    fn a_bad_value_names_setting_value_place_and_what_is_allowed() {
        assert_eq!(
            error("--batch-size 0", &[]),
            "invalid value \"0\" for batch_size (from --batch-size): \
             it must be a whole number from 1 to 1048576"
        );
        assert_eq!(
            error("", &[("FOREBAY_SAMPLE", "tpcx")]),
            "invalid value \"tpcx\" for sample (from FOREBAY_SAMPLE): it must be tpch"
        );
        let (folder, flag) = file("pg-listen = 'nowhere'");
        let path = folder.path().join("forebay.toml");
        assert_eq!(
            error(&flag, &[]),
            format!(
                "invalid value \"nowhere\" for pg_listen (from {}): it must be an IP address and \
                 a port, for example 127.0.0.1:5432, 0.0.0.0:5433 or [::1]:5432",
                path.display()
            )
        );
    }

    #[test]
    fn bad_values_are_refused() {
        for (key, values) in [
            ("data_dir", [""].as_slice()),
            (
                "pg_listen",
                &["5432", "localhost", "127.0.0.1", "127.0.0.1:66000"],
            ),
            ("web_listen", &["25000", "localhost", "none"]),
            ("tls_cert", &[""]),
            ("tls_key", &[""]),
            ("max_connections", &["0", "-1", "many", "1000001", "1.5"]),
            ("superuser_reserved_connections", &["-1", "few"]),
            ("max_pending_connections", &["0", "-1"]),
            ("unregistration_thread_pool_size", &["-1", "1025"]),
            ("unregistration_thread_pool_queue_depth", &["0"]),
            ("query_log_size", &["-1", "all"]),
            ("query_log_size_in_bytes", &["-1", "1XB"]),
            ("profile_log", &["", "maybe"]),
            ("audit_log", &["1"]),
            ("abort_on_failed_audit_event", &["ON "]),
            ("query_history_days", &["-1", "36501"]),
            ("query_history_size", &["much"]),
            ("authentication_timeout", &["60", "0s", "999ms", "11min"]),
            (
                "max_message_size",
                &["", "MB", "1XB", "15kB", "2GB", "-1", "99999999999999GB"],
            ),
            ("target_partitions", &["0", "automatic", "1025"]),
            ("batch_size", &["0", "9999999"]),
            ("memory_limit", &["", "80%", "1MB", "much"]),
            (
                "shutdown_grace",
                &["30", "soon", "-1s", "8d", "9999999999999y"],
            ),
            ("log", &["nonsense=nonsense", "forebay=loud"]),
        ] {
            for value in values {
                let (_folder, flag) = file(&format!("{key} = {value:?}"));
                let message = error(&flag, &[]);
                assert!(
                    message.contains(&format!("invalid value \"{value}\" for {key}")),
                    "{message}"
                );
            }
        }
    }

    #[test]
    fn values_of_the_wrong_kind_are_refused() {
        for line in [
            "batch_size = {}",
            "batch_size = [1, 2]",
            "batch_size = 1979-05-27",
            "paths = [[]]",
        ] {
            let (_folder, flag) = file(line);
            let message = error(&flag, &[]);
            assert!(message.starts_with("invalid value "), "{line}: {message}");
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_its_file() {
        let (folder, flag) = file("pg_lissten = '127.0.0.1:5432'");
        let message = error(&flag, &[]);
        let path = folder.path().join("forebay.toml");
        let start = format!(
            "unknown key \"pg_lissten\" in {}; known are paths, ",
            path.display()
        );
        assert!(message.starts_with(&start), "{message}");
    }

    #[test]
    fn a_key_in_both_spellings_is_refused() {
        let (_folder, flag) = file("batch_size = 1\nbatch-size = 2");
        assert!(error(&flag, &[]).starts_with("batch_size is set twice in "));
    }

    #[test]
    fn a_file_that_is_missing_or_no_toml_is_named() {
        assert!(error("--config no/such.toml", &[]).contains("no/such.toml"));
        let (_folder, flag) = file("batch_size == 1");
        assert!(error(&flag, &[]).contains("forebay.toml is not valid TOML"));
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("123", Some(123)),
            ("16kB", Some(16 << 10)),
            ("64MB", Some(64 << 20)),
            ("64 mb", Some(64 << 20)),
            ("1GB", Some(1 << 30)),
            ("", None),
            ("kB", None),
            ("1.5MB", None),
            ("1 0MB", None),
            ("18446744073709551615GB", None),
        ] {
            assert_eq!(parse_size_bytes(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn prints_each_value_with_its_origin() {
        let (folder, flag) = file("shutdown_grace = '2min'");
        let path = folder.path().join("forebay.toml");
        let args = format!("a.csv b {flag} --pg-listen 0.0.0.0:5433");
        let effective = with_env(&args, &[("FOREBAY_BATCH_SIZE", "100")]).unwrap();
        let expected = format!(
            r#"paths = ["a.csv", "b"]             # from PATH
# sample is not set                # default
data_dir = "./forebay-data"        # default
pg_listen = "0.0.0.0:5433"         # from --pg-listen
web_listen = "127.0.0.1:25000"     # default
# tls_cert is not set              # default
# tls_key is not set               # default
max_connections = 1000             # default
superuser_reserved_connections = 3 # default
max_pending_connections = 256      # default
unregistration_thread_pool_size = 4 # default
unregistration_thread_pool_queue_depth = 16 # default
query_log_size = 200 # default
query_log_size_in_bytes = "256MB" # default
profile_log = "on" # default
audit_log = "off" # default
abort_on_failed_audit_event = "off" # default
query_history_days = 30 # default
query_history_size = "10GB" # default
authentication_timeout = "1min"    # default
max_message_size = "64MB"          # default
target_partitions = "auto"         # default
batch_size = 100                   # from FOREBAY_BATCH_SIZE
memory_limit = "auto"              # default
shutdown_grace = "2min"            # from {}
log = "info"                       # default
"#,
            path.display()
        );
        let printed = effective.to_string();
        let squeeze = |text: &str| {
            text.split(' ')
                .filter(|s| !s.is_empty())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(squeeze(&printed), squeeze(&expected));
    }

    #[test]
    fn what_it_prints_can_be_read_back() {
        let first = with_env("a.csv --sample tpch --max-connections 5 --log=debug", &[]).unwrap();
        let (_folder, flag) = file(&first.to_string());
        assert_eq!(with_env(&flag, &[]).unwrap().config, first.config);
    }
}
