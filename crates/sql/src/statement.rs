//! The statements that the server acts on.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion_sql::parser::{CreateExternalTable, Statement as DfStatement};
use sqlparser::ast::{DataType, Expr};

use crate::classify::LockMode;

/// One statement of a query string.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The statement as it was written, comments included, without the closing `;`.
    pub text: Arc<str>,
    /// How many characters of the whole query string come before [`Parsed::text`].
    pub position: usize,
    /// Line and column, both from 1, at which [`Parsed::text`] begins in the whole query string.
    /// Places in the statement's tree are counted in the same way.
    pub start: (u64, u64),
    /// What it says.
    pub statement: Statement,
}

/// A statement, by what the server has to do for it.
///
/// Names are folded to lower case unless they were quoted. A relation's name has one to three
/// parts: table, or schema and table, or database, schema and table.
#[derive(Clone, Debug)]
pub enum Statement {
    /// Whatever DataFusion plans and runs as it is: queries, `INSERT`, `CREATE TABLE AS`,
    /// `SHOW TABLES`, `DESCRIBE`, and statements that only DataFusion can refuse.
    Plan(Box<DfStatement>),
    /// `EXPLAIN`, in DataFusion's and in PostgreSQL's spelling.
    Explain(Explain),
    /// `CREATE EXTERNAL TABLE … STORED AS … LOCATION …`.
    CreateExternalTable(Box<CreateExternalTable>),
    /// `CREATE VIEW`.
    CreateView(CreateView),
    /// `CREATE SCHEMA`.
    CreateSchema {
        /// The schema to create.
        name: String,
        /// Whether an existing schema is no error.
        if_not_exists: bool,
    },
    /// `DROP TABLE`, `DROP VIEW`, `DROP SCHEMA`, `DROP EXTERNAL TABLE`.
    Drop {
        /// What kind of thing goes.
        kind: DropKind,
        /// The things, in the order written; a schema's name has one or two parts.
        names: Vec<Vec<String>>,
        /// Whether a missing thing is no error.
        if_exists: bool,
        /// Whether dependent things go too.
        cascade: bool,
        /// Whether it is Impala's: views that read what goes stay, though they cannot be read until
        /// there is such a relation again, and with `IF EXISTS` a thing of another kind is passed over.
        leaves_views: bool,
    },
    /// `CREATE TABLE` of Impala's clients: over files that are there, or with files of its own.
    CreateTable(Box<CreateTable>),
    /// `ALTER TABLE` and `ALTER VIEW … RENAME TO` of Impala's clients.
    RenameRelation {
        /// What it is.
        kind: DropKind,
        /// Its name so far.
        name: Vec<String>,
        /// Its name from now on.
        new_name: Vec<String>,
    },
    /// `TRUNCATE TABLE` of Impala's clients.
    Truncate {
        /// The table.
        name: Vec<String>,
        /// Whether a missing table is no error.
        if_exists: bool,
    },
    /// `COMMENT ON TABLE`, `VIEW` and `COLUMN` of Impala's clients.
    CommentOnRelation {
        /// The table or view.
        name: Vec<String>,
        /// Its column, if that is what the text is about.
        column: Option<String>,
        /// The text; `None` takes it away.
        comment: Option<String>,
    },
    /// `COPY`, in both directions.
    Copy(Box<Copy>),
    /// `BEGIN` or `START TRANSACTION`.
    Begin {
        /// Whether it was written `START TRANSACTION`, which its tag repeats.
        start: bool,
        /// What it says of the transaction.
        modes: TransactionModes,
    },
    /// `COMMIT` or `END`.
    Commit {
        /// Whether a new transaction begins at once (`AND CHAIN`).
        chain: bool,
    },
    /// `ROLLBACK` or `ABORT`.
    Rollback {
        /// Whether a new transaction begins at once (`AND CHAIN`).
        chain: bool,
    },
    /// `SAVEPOINT name`.
    Savepoint(String),
    /// `ROLLBACK TO SAVEPOINT name`.
    RollbackTo(String),
    /// `RELEASE SAVEPOINT name`.
    Release(String),
    /// `SET name = value` and its special spellings (`SET TIME ZONE`, `SET NAMES`, `SET SCHEMA`).
    Set {
        /// The setting, in lower case, with its dots.
        name: String,
        /// The values as text, without quotes; `None` is `DEFAULT`.
        value: Option<Vec<String>>,
        /// Whether it ends with the transaction (`SET LOCAL`).
        local: bool,
    },
    /// `SET TRANSACTION …` and `SET SESSION CHARACTERISTICS AS TRANSACTION …`.
    SetTransaction {
        /// What is to change.
        modes: TransactionModes,
        /// Whether it is for all transactions of the session.
        session: bool,
    },
    /// `SET ROLE` and `RESET ROLE`.
    SetRole {
        /// The role; `None` is `NONE`, the session's own.
        role: Option<String>,
        /// Whether it was written `RESET ROLE`, which its tag repeats.
        reset: bool,
        /// Whether it ends with the transaction.
        local: bool,
    },
    /// `SET SESSION AUTHORIZATION` and `RESET SESSION AUTHORIZATION`.
    SetSessionAuthorization {
        /// The role; `None` is `DEFAULT`, the one that connected.
        role: Option<String>,
        /// Whether it was written `RESET SESSION AUTHORIZATION`, which its tag repeats.
        reset: bool,
        /// Whether it ends with the transaction.
        local: bool,
    },
    /// `SHOW name`, in lower case; `None` is `SHOW ALL`.
    Show(Option<String>),
    /// `RESET name`, in lower case; `None` is `RESET ALL`.
    Reset(Option<String>),
    /// `DISCARD`.
    Discard(DiscardKind),
    /// `PREPARE name (types) AS statement`.
    Prepare {
        /// The prepared statement's name.
        name: String,
        /// The declared parameter types; parameters beyond them are inferred.
        types: Vec<DataType>,
        /// What is prepared: always a [`Statement::Plan`].
        statement: Box<Parsed>,
    },
    /// `EXECUTE name (values)`.
    Execute {
        /// The prepared statement's name.
        name: String,
        /// The parameter values as expressions.
        params: Vec<Expr>,
    },
    /// `DEALLOCATE name`; `None` is `ALL`.
    Deallocate(Option<String>),
    /// `DECLARE name CURSOR FOR query`.
    DeclareCursor {
        /// The cursor's name.
        name: String,
        /// Whether it outlives its transaction (`WITH HOLD`).
        hold: bool,
        /// `SCROLL` is `Some(true)`, `NO SCROLL` is `Some(false)`.
        scroll: Option<bool>,
        /// Whether it returns values in binary form.
        binary: bool,
        /// The query: always a [`Statement::Plan`].
        query: Box<Parsed>,
    },
    /// `FETCH` and `MOVE`.
    Fetch(Fetch),
    /// `CLOSE name`; `None` is `ALL`.
    Close(Option<String>),
    /// `CREATE ROLE`, `CREATE USER` (which means `LOGIN`), `CREATE GROUP`.
    CreateRole {
        /// The role to create.
        name: String,
        /// What was said about it.
        options: RoleOptions,
        /// Whether an existing role is no error.
        if_not_exists: bool,
    },
    /// `ALTER ROLE name options`.
    AlterRole {
        /// The role; `current_user` and `session_user` come as they were written.
        name: String,
        /// What was said about it; what is `None` stays.
        options: RoleOptions,
    },
    /// `ALTER ROLE name SET setting = value` and `ALTER ROLE name RESET setting`.
    AlterRoleSet {
        /// The role.
        name: String,
        /// The setting in lower case; `all` for `RESET ALL`.
        setting: String,
        /// The values as text; `None` forgets the setting.
        value: Option<Vec<String>>,
    },
    /// `ALTER ROLE name RENAME TO new_name`.
    RenameRole {
        /// The role as it is called now.
        name: String,
        /// What it shall be called.
        new_name: String,
    },
    /// `DROP ROLE`, `DROP USER`, `DROP GROUP`.
    DropRole {
        /// The roles, in the order written.
        names: Vec<String>,
        /// Whether a missing role is no error.
        if_exists: bool,
    },
    /// `CREATE RESOURCE QUEUE`.
    CreateResourceQueue {
        /// The queue to create.
        name: String,
        /// Its attributes, in the order written.
        options: Vec<QueueOption>,
    },
    /// `ALTER RESOURCE QUEUE`.
    AlterResourceQueue {
        /// The queue.
        name: String,
        /// What changes, in the order written.
        options: Vec<QueueOption>,
    },
    /// `DROP RESOURCE QUEUE`.
    DropResourceQueue {
        /// The queue.
        name: String,
        /// Whether a missing queue is no error.
        if_exists: bool,
    },
    /// `COMMENT ON RESOURCE QUEUE`.
    CommentOnResourceQueue {
        /// The queue.
        name: String,
        /// The text; `None` is `NULL`, which takes the comment away.
        comment: Option<String>,
    },
    /// `LOCK TABLE`.
    LockTable {
        /// The relations, in the order written.
        names: Vec<Vec<String>>,
        /// The mode; `ACCESS EXCLUSIVE` where none was given.
        mode: LockMode,
        /// Whether waiting is an error.
        nowait: bool,
    },
    /// `UNLISTEN`: connection pools send it when they reset a session; there is nothing to do.
    Unlisten,
}

/// `EXPLAIN [ANALYZE] [VERBOSE] statement`.
#[derive(Clone, Debug)]
pub struct Explain {
    /// Whether the statement runs.
    pub analyze: bool,
    /// Whether every detail is wanted.
    pub verbose: bool,
    /// Whether estimated costs are wanted.
    pub costs: bool,
    /// The output format in lower case (`text`, `json`, `tree`, …), unchecked.
    pub format: Option<String>,
    /// What is explained: never an `EXPLAIN` itself.
    pub statement: Box<DfStatement>,
}

/// What `BEGIN` and `SET TRANSACTION` say of a transaction; `None` where they say nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransactionModes {
    /// `ISOLATION LEVEL …`.
    pub isolation: Option<IsolationLevel>,
    /// `READ ONLY` is `Some(true)`, `READ WRITE` is `Some(false)`.
    pub read_only: Option<bool>,
}

/// An isolation level of SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsolationLevel {
    /// `READ UNCOMMITTED`.
    ReadUncommitted,
    /// `READ COMMITTED`.
    ReadCommitted,
    /// `REPEATABLE READ`.
    RepeatableRead,
    /// `SERIALIZABLE`.
    Serializable,
}

impl IsolationLevel {
    /// As `SHOW transaction_isolation` writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadUncommitted => "read uncommitted",
            Self::ReadCommitted => "read committed",
            Self::RepeatableRead => "repeatable read",
            Self::Serializable => "serializable",
        }
    }
}

/// `CREATE VIEW name (columns) AS query`.
#[derive(Clone, Debug)]
pub struct CreateView {
    /// The view's name.
    pub name: Vec<String>,
    /// Whether an existing view is replaced.
    pub or_replace: bool,
    /// Whether an existing view is no error.
    pub if_not_exists: bool,
    /// Whether the view ends with the session.
    pub temporary: bool,
    /// Names for the view's columns; empty where the query's own names stay.
    pub columns: Vec<String>,
    /// The query as it was written, without trailing comments.
    pub query: String,
    /// The same query as a tree.
    pub body: Box<DfStatement>,
    /// The query in the client's own words, where these were of another dialect.
    pub original: Option<String>,
    /// What is said about it.
    pub comment: Option<String>,
}

/// `CREATE [EXTERNAL] TABLE` as Impala's clients write it.
#[derive(Clone, Debug, Default)]
pub struct CreateTable {
    /// The table's name.
    pub name: Vec<String>,
    /// Whether an existing table is no error.
    pub if_not_exists: bool,
    /// Whether it was written `EXTERNAL`.
    pub external: bool,
    /// The columns in the files.
    pub columns: Vec<TableColumn>,
    /// The columns that the names of folders give. Those of `CREATE TABLE AS` have no type.
    pub partition_columns: Vec<TableColumn>,
    /// What is said about it.
    pub comment: Option<String>,
    /// `PARQUET`, `CSV`, `JSON`, …; `None` where nothing was said.
    pub format: Option<String>,
    /// Options of the format, by DataFusion's names.
    pub options: BTreeMap<String, String>,
    /// `TBLPROPERTIES` without an effect.
    pub properties: BTreeMap<String, String>,
    /// Where its files are; `None` for files of its own.
    pub location: Option<String>,
    /// The query whose rows it gets (`CREATE TABLE AS`).
    pub query: Option<Box<DfStatement>>,
}

/// A column of a [`CreateTable`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// Its type in PostgreSQL's spelling; empty where the query gives it.
    pub data_type: String,
    /// What is said about it.
    pub comment: Option<String>,
}

/// What a [`Statement::Drop`] drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropKind {
    /// A table, external or not.
    Table,
    /// A view.
    View,
    /// A schema.
    Schema,
}

/// What a [`Statement::Discard`] forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DiscardKind {
    /// Everything the session has: as if it had just connected.
    All,
    /// Cached plans.
    Plans,
    /// Cached sequence state.
    Sequences,
    /// Temporary tables.
    Temp,
}

/// `COPY source TO target` or `COPY table FROM input`.
#[derive(Clone, Debug)]
pub struct Copy {
    /// What is copied, or the table that would be filled.
    pub source: CopySource,
    /// Whither or whence.
    pub direction: CopyDirection,
    /// How.
    pub options: CopyOptions,
}

/// The relational side of a [`struct@Copy`].
#[derive(Clone, Debug)]
pub enum CopySource {
    /// A query in parentheses.
    Query(Box<DfStatement>),
    /// A table, or some of its columns.
    Table {
        /// The table's name.
        name: Vec<String>,
        /// The columns; empty means all.
        columns: Vec<String>,
    },
}

/// The direction of a [`struct@Copy`], with its other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyDirection {
    /// `COPY … TO`.
    To(CopyTarget),
    /// `COPY … FROM`: parsed so that the server can say what it does not do.
    From(CopyInput),
}

/// Where a [`struct@Copy`] writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyTarget {
    /// To the client.
    Stdout,
    /// To a file or a URL that the server writes.
    File(String),
}

/// Where a [`struct@Copy`] would read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyInput {
    /// From the client.
    Stdin,
    /// From a file or a URL that the server reads.
    File(String),
}

/// The options of a [`struct@Copy`], from either of PostgreSQL's spellings or from DataFusion's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyOptions {
    /// `FORMAT`, `CSV`, `BINARY` or `STORED AS`, in lower case.
    pub format: Option<String>,
    /// What stands between two values.
    pub delimiter: Option<String>,
    /// What stands for NULL.
    pub null: Option<String>,
    /// Whether the first line names the columns.
    pub header: bool,
    /// The quoting character.
    pub quote: Option<String>,
    /// The character that escapes the quoting character.
    pub escape: Option<String>,
    /// The character encoding's name.
    pub encoding: Option<String>,
    /// The columns whose values are always quoted.
    pub force_quote: Option<CopyColumns>,
    /// The columns that become directories (`PARTITIONED BY`).
    pub partitioned_by: Vec<String>,
    /// Every other option, in the order written: name (in lower case unless quoted) and value.
    pub other: Vec<(String, String)>,
}

/// Some or all columns of a [`struct@Copy`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyColumns {
    /// `*`.
    All,
    /// These.
    Some(Vec<String>),
}

/// `FETCH` or `MOVE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The cursor's name.
    pub cursor: String,
    /// Which way and how far.
    pub direction: FetchDirection,
    /// Whether the rows are skipped and only counted (`MOVE`).
    pub mv: bool,
}

/// Which rows a [`Fetch`] wants. Numbers may be negative, which turns the direction round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchDirection {
    /// The next row.
    Next,
    /// The row before.
    Prior,
    /// The first row of all.
    First,
    /// The last row of all.
    Last,
    /// The row with this number, counting from 1, or from the end where negative.
    Absolute(i64),
    /// The row so many rows on.
    Relative(i64),
    /// The next so many rows; 0 is the current row again.
    Forward(i64),
    /// So many rows backwards.
    Backward(i64),
    /// All rows that are left.
    ForwardAll,
    /// All rows before, backwards.
    BackwardAll,
}

/// What `CREATE ROLE` and `ALTER ROLE` say about a role. `None` is "not mentioned".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleOptions {
    /// May connect.
    pub login: Option<bool>,
    /// May do everything.
    pub superuser: Option<bool>,
    /// May create databases.
    pub create_db: Option<bool>,
    /// May create roles.
    pub create_role: Option<bool>,
    /// Has the privileges of the roles it is a member of.
    pub inherit: Option<bool>,
    /// May replicate.
    pub replication: Option<bool>,
    /// Passes by row-level security.
    pub bypass_rls: Option<bool>,
    /// The password; `Some(None)` is `PASSWORD NULL`.
    pub password: Option<Option<String>>,
    /// How many sessions it may have at once; -1 is without limit.
    pub connection_limit: Option<i32>,
    /// Until when the password is good, as it was written.
    pub valid_until: Option<String>,
    /// The resource queue that its statements belong to; `Some(None)` is `NONE`.
    pub resource_queue: Option<Option<String>>,
}

/// One attribute of a resource queue, as text: the catalog knows what it may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueOption {
    /// The attribute in lower case; an old spelling (`ACTIVE THRESHOLD`) by its new name.
    pub name: String,
    /// The value without quotes; `None` takes the attribute away (`WITHOUT`).
    pub value: Option<String>,
}
