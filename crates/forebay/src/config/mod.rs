//! The configuration of `forebay serve`: one table of settings, four places where a value can come
//! from, and one struct with what came of it.
//!
//! A new setting is one row in [`table`] and one field in [`Config`]. Its flag, its environment
//! variable, its key in the file, its help, its error messages and its line in `forebay config`
//! follow from the row.
//!
//! `table.rs` has the settings, `values.rs` reads what was written for one, `flags.rs` is the command
//! line, `resolve.rs` finds the value of each setting, `file.rs` reads them from a file, `print.rs`
//! shows what came of it.

mod file;
mod flags;
mod print;
mod resolve;
mod table;
#[cfg(test)]
mod tests;
mod values;

pub use flags::Flags;
pub use resolve::{Effective, load};

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
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
    /// Where Impala's clients connect; `None` for nowhere. Port 0 is any free port.
    pub hs2_listen: Option<SocketAddr>,
    /// Where they connect by HTTP.
    pub hs2_http_listen: Option<SocketAddr>,
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
    /// How large a file of the profile log or of the audit log becomes, in bytes.
    pub archive_log_file_size_bytes: usize,
    /// How many files each of these logs has at most.
    pub archive_log_files: usize,
    /// Rules that take secrets out of statements.
    pub redaction_rules_file: Option<PathBuf>,
    /// How much of a statement's text is kept, in bytes.
    pub max_kept_statement_size_bytes: usize,
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

impl Config {
    /// What the table fills in; every row with a default overwrites its field.
    fn blank() -> Self {
        Self {
            paths: Vec::new(),
            sample: None,
            data_dir: PathBuf::new(),
            pg_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            hs2_listen: None,
            hs2_http_listen: None,
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
            archive_log_file_size_bytes: 0,
            archive_log_files: 0,
            redaction_rules_file: None,
            max_kept_statement_size_bytes: 0,
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
}
