//! The table of settings.

use std::path::PathBuf;
use std::time::Duration;

use super::values::{
    core_count, is_log_filter, on_or_off, parse_address, parse_size_bytes, put, put_listener,
    single, whole_number,
};
use super::{Config, Sample};

/// One row of the table of settings.
pub(super) struct Setting {
    /// The name in kebab case, as it stands in its flag.
    pub(super) name: &'static str,
    /// What stands for the value in the help.
    pub(super) value_name: &'static str,
    /// One sentence for the help.
    pub(super) help: &'static str,
    /// What a value may be; for error messages.
    pub(super) allowed: &'static str,
    /// The value when nobody sets one, as it would be written; empty for none.
    pub(super) default: &'static str,
    /// Whether it is the command line's list of positional arguments.
    pub(super) positional: bool,
    /// Puts the value into its field. False if it is not one of the allowed.
    pub(super) set: fn(&mut Config, &[String]) -> bool,
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

/// Every setting, in the order in which they are shown.
pub(super) const SETTINGS: &[Setting] = &[
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
        "hs2-listen",
        "ADDRESS",
        "127.0.0.1:21050",
        "The address and port that Impala's clients connect to (HiveServer2); off for none",
        "an IP address and a port, for example 127.0.0.1:21050 or 0.0.0.0:21050, or off",
        |config, values| put_listener(&mut config.hs2_listen, values),
    ),
    setting(
        "hs2-http-listen",
        "ADDRESS",
        "127.0.0.1:28000",
        "The same over HTTP; off for none",
        "an IP address and a port, for example 127.0.0.1:28000 or 0.0.0.0:28000, or off",
        |config, values| put_listener(&mut config.hs2_http_listen, values),
    ),
    setting(
        "web-listen",
        "ADDRESS",
        "127.0.0.1:25000",
        "The address and port of the web pages, their JSON and the metrics; off for none",
        "an IP address and a port, for example 127.0.0.1:25000 or 0.0.0.0:25000, or off",
        |config, values| put_listener(&mut config.web_listen, values),
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
        "archive-log-file-size",
        "SIZE",
        "100MB",
        "How large a file of the profile log or of the audit log becomes before the next one begins",
        "a size from 4kB on, in bytes or with the unit kB, MB or GB",
        |config, values| {
            let bytes = single(values).and_then(parse_size_bytes);
            put(
                &mut config.archive_log_file_size_bytes,
                bytes.filter(|bytes| *bytes >= 4 << 10),
            )
        },
    ),
    setting(
        "archive-log-files",
        "N",
        "10",
        "How many files each of these logs has at most; the oldest goes first",
        "a whole number from 1 to 1000000",
        |config, values| {
            put(
                &mut config.archive_log_files,
                whole_number(values, 1, 1_000_000),
            )
        },
    ),
    setting(
        "redaction-rules-file",
        "FILE",
        "",
        "JSON rules that take secrets out of statements before anything keeps or shows them",
        "a file",
        |config, values| {
            let file = single(values).filter(|file| !file.is_empty());
            config.redaction_rules_file = file.map(PathBuf::from);
            config.redaction_rules_file.is_some()
        },
    ),
    setting(
        "max-kept-statement-size",
        "SIZE",
        "2MB",
        "How much of a statement's text is kept and shown; the rest of a longer one is cut off",
        "a size from 1kB on, in bytes or with the unit kB, MB or GB",
        |config, values| {
            let bytes = single(values).and_then(parse_size_bytes);
            put(
                &mut config.max_kept_statement_size_bytes,
                bytes.filter(|bytes| *bytes >= 1 << 10),
            )
        },
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

impl Setting {
    /// How it is given on the command line.
    pub(super) fn flag(&self) -> String {
        match self.positional {
            true => self.value_name.to_owned(),
            false => format!("--{}", self.name),
        }
    }

    /// The name in snake case, as it stands in the file and in messages.
    pub(super) fn key(&self) -> String {
        self.name.replace('-', "_")
    }

    /// Its environment variable.
    pub(super) fn variable(&self) -> String {
        variable(&self.key())
    }

    /// Whether a file means it by this key; either spelling will do.
    pub(super) fn is_named(&self, key: &str) -> bool {
        key == self.name || key == self.key()
    }
}

/// The environment variable of a key.
pub(super) fn variable(key: &str) -> String {
    format!("FOREBAY_{}", key.to_uppercase())
}
