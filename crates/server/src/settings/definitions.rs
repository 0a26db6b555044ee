//! Every setting that there is.
//!
//! To add one, add a row to [`DEFINITIONS`].

/// What values a setting takes, and how they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
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
pub(super) enum Context {
    /// Nobody: it tells what is so.
    Internal,
    Superuser,
    User,
}

pub(super) struct Definition {
    /// As `SHOW ALL` prints it; looked up in any letter case.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) default: &'static str,
    pub(super) context: Context,
    /// Clients are told of changes (`ParameterStatus`).
    pub(super) reported: bool,
    pub(super) description: &'static str,
}

impl Definition {
    /// Whether it says how statements are to be run. The rest tells of the session or its transaction.
    pub(super) fn is_option(&self) -> bool {
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
        context: Context::Internal,
        ..user(name, Kind::Text, default, description)
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
pub(super) const DEFINITIONS: &[Definition] = &[
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
        "A plan whose tasks have kept threads busy for longer, all together, is ended.",
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

/// The setting of that name, in any letter case.
pub(super) fn definition(name: &str) -> Option<&'static Definition> {
    DEFINITIONS
        .iter()
        .find(|d| d.name.eq_ignore_ascii_case(name))
}
