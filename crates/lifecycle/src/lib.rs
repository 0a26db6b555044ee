//! A query's life: its id, its states and timeline, the registry of everything that is not archived
//! yet, and the log of what is.
//!
//! What outlives the process goes into files: [`AuditLog`], [`ProfileLog`] and [`History`]; a
//! [`Redactor`] takes out of statements what must not be there.
//!
//! What always holds:
//!
//! - **Visible in one place.** From [`Registry::register`] until it ages out of the query log, every
//!   look-up finds a query exactly once. The registry is asked first, then the log; a query is put
//!   into the log *before* it leaves the registry.
//! - **Finalize once.** However many callers end the same query at the same moment, one wins and the
//!   others get [`UnknownQuery`], the same words that a query which never existed gets.
//! - **Always finalized.** [`Registry::register`] hands out a [`RegisteredQuery`]; whoever drops it
//!   without having ended the query (a panic, a vanished client) ends it.
//!
//! Registering and ending cost a few hundred nanoseconds and take no lock that all statements share,
//! but for the moment in which the ended query enters the log.
//!
//! ```
//! use forebay_lifecycle::{NewQuery, Outcome, Registry};
//!
//! let registry = Registry::default();
//! let query = registry.register(NewQuery {
//!     statement: "SELECT 1".into(),
//!     statement_type: "SELECT",
//!     ..NewQuery::default()
//! });
//! query.set_running();
//! let id = query.id();
//! registry.unregister(&id, Outcome::Finished).unwrap();
//!
//! let again = registry.unregister(&id, Outcome::Finished).unwrap_err();
//! assert_eq!(again.to_string(), format!("Invalid or unknown query handle: {id}"));
//! ```

mod archive;
mod audit;
mod audit_search;
mod backwards;
mod columns;
mod disk;
mod facts;
mod fetches;
mod files;
mod histogram;
mod history;
mod id;
mod lines;
mod log;
mod outage;
mod pool;
pub mod profile;
mod profile_log;
mod query;
mod record;
mod redact;
mod registry;
mod rotated;
mod row;
mod state;
mod sync;
mod timeline;

pub use archive::{Archive, KeepNothing};
pub use audit::{AuditEvent, AuditLog, AuditObject};
pub use audit_search::{AuditFound, AuditRecord, AuditSearch, AuditedObject};
pub use columns::{COLUMNS, Column};
pub use facts::{AdmissionState, ClauseColumns, Facts, QueueReasons};
pub use fetches::Fetches;
pub use files::{ArchiveFiles, ArchiveHealth, ArchiveOptions, OnAuditFailure};
pub use histogram::{DurationCounts, Histogram};
pub use history::{
    Health, History, HistoryFile, HistoryOptions, Opened, Retention, Snapshot, Trouble,
};
pub use id::{ParseQueryIdError, QueryId};
pub use log::QueryLogLimits;
pub use outage::LogHealth;
pub use pool::{PoolSettings, PoolStatus};
pub use profile_log::{ProfileEntry, ProfileLog, ProfileReader};
pub use query::{NewQuery, Outcome, Query, SQLSTATE_CANCELLED};
pub use record::QueryRecord;
pub use redact::{RedactionError, Redactor};
pub use registry::{Counters, Listing, PushBack, RegisteredQuery, Registry, UnknownQuery};
pub use rotated::{RotatedFile, Rotation, files_of_log};
pub use state::QueryState;
pub use timeline::TimelineEvent;
