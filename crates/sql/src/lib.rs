//! The language room of Forebay: text in, statements out.
//!
//! [`parse`] splits a query string into statements and parses each of them. Everything that
//! DataFusion plans stays a [`Statement::Plan`] and keeps DataFusion's own syntax tree; the
//! statements that make up a PostgreSQL session (transactions, settings, cursors, prepared
//! statements, roles, resource queues, locks, `COPY`) have variants of their own, with names already folded the
//! way PostgreSQL folds them.
//!
//! [`Statement::classify`] then says what the rest of the server must know before anything is
//! planned: which relations in which lock modes, whether a resource queue governs the statement,
//! whether it may run in a failed transaction, and so on.
//!
//! ```
//! let parsed = forebay_sql::parse("begin; select * from orders where id = $1").unwrap();
//! assert_eq!(parsed[1].position, 7);
//! let class = parsed[1].statement.classify();
//! assert_eq!(class.statement_type, "SELECT");
//! assert_eq!(class.relations[0].name, ["orders"]);
//! assert_eq!(parsed[1].statement.parameters(), 1);
//! ```
//!
//! # What always holds
//!
//! - Parsing is pure: no catalog, no session, no clock.
//! - No input makes it panic or run out of stack: nesting and operator chains have limits, and
//!   beyond them the answer is an error with SQLSTATE `54001`. Threads that clone or plan what was
//!   parsed should have [`STACK_BYTES`] of stack.
//! - Statements are all parsed or none: an error in the third statement is found before the first
//!   one runs, as in PostgreSQL.
//! - [`Parsed::text`] is a verbatim slice of the input at [`Parsed::position`].
//!
//! # What is deliberately absent
//!
//! Names are not resolved and types are not checked here; `engine` does that when it plans.

mod classify;
mod dialect;
mod error;
mod impala;
mod limits;
mod parser;
mod relations;
mod reserved;
mod source;
mod split;
mod statement;

pub use classify::{Class, LockMode, RelationUse};
pub use datafusion_sql::parser::{CreateExternalTable, Statement as DfStatement};
pub use error::ParseError;
pub use impala::{
    IMPALA_VERSION, ImpalaStatement, PartitionedTable, RelationView, impala_functions,
    is_impala_word, parse_impala, partition_target, settle_partition,
};
pub use limits::STACK_BYTES;
pub use parser::parse;
pub use sqlparser::ast::{DataType, Expr};
pub use statement::{
    Copy, CopyColumns, CopyDirection, CopyInput, CopyOptions, CopySource, CopyTarget, CreateTable,
    CreateView, DiscardKind, DropKind, Explain, Fetch, FetchDirection, IsolationLevel, Parsed,
    QueueOption, RoleOptions, Statement, TableColumn, TransactionModes,
};
