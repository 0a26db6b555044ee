//! Stopping a statement or a session from outside.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::settings;

/// Why a statement or a session was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// `CancelRequest` or `pg_cancel_backend`.
    Cancel,
    /// `statement_timeout` ran out, which is this long.
    StatementTimeout(Duration),
    /// `exec_time_limit` ran out, which is this long.
    ExecTimeLimit(Duration),
    /// The plan has read more bytes of files than `scan_bytes_limit` allows.
    ScanBytesLimit {
        /// Bytes that it may read.
        limit: u64,
        /// Bytes that it has read.
        read: u64,
    },
    /// The plan has kept threads busy for longer than `cpu_limit` allows.
    CpuLimit {
        /// How long it may.
        limit: Duration,
        /// How long its tasks have, all together.
        used: Duration,
    },
    /// `pg_terminate_backend`.
    Terminate,
    /// The server stops.
    Shutdown,
    /// `idle_in_transaction_session_timeout` ran out, which is this long.
    IdleInTransactionTimeout(Duration),
    /// `idle_session_timeout` ran out, which is this long.
    IdleSessionTimeout(Duration),
    /// `idle_cursor_timeout` ran out.
    IdleCursorTimeout,
    /// `idle_cursor_timeout`, which is this long, ran out while a result was being sent. No error
    /// would reach the client, so its session ends.
    UnreadResult(Duration),
}

impl From<Interrupt> for Error {
    fn from(interrupt: Interrupt) -> Self {
        match interrupt {
            Interrupt::Cancel => Self::new("57014", "canceling statement due to user request"),
            Interrupt::StatementTimeout(limit) => {
                Self::new("57014", "canceling statement due to statement timeout").with_detail(
                    beyond(
                        "The statement, with its waits, took",
                        limit,
                        "statement_timeout",
                    ),
                )
            }
            Interrupt::ExecTimeLimit(limit) => {
                Self::new("57014", "canceling statement due to execution time limit")
                    .with_detail(beyond("The plan ran for", limit, "exec_time_limit"))
            }
            Interrupt::ScanBytesLimit { limit, read } => {
                let limit = settings::show_bytes(limit);
                let message = format!("statement terminated due to scan bytes limit of {limit}");
                Self::new("53400", message)
                    .with_detail(format!(
                        "It has read {read} bytes of files, more than \"scan_bytes_limit\" allows."
                    ))
                    .with_hint("Read less, or raise \"scan_bytes_limit\".")
            }
            Interrupt::CpuLimit { limit, used } => {
                let limit = settings::show_duration(limit);
                let message = format!("statement terminated due to CPU limit of {limit}");
                Self::new("53400", message)
                    .with_detail(format!(
                        "It has kept threads busy for {}ms, longer than \"cpu_limit\" allows.",
                        used.as_millis()
                    ))
                    .with_hint("Compute less, or raise \"cpu_limit\".")
            }
            Interrupt::Terminate | Interrupt::Shutdown => Self::fatal(
                "57P01",
                "terminating connection due to administrator command",
            ),
            Interrupt::IdleInTransactionTimeout(limit) => Self::fatal(
                "25P03",
                "terminating connection due to idle-in-transaction timeout",
            )
            .with_detail(beyond(
                "The transaction waited for its client for",
                limit,
                "idle_in_transaction_session_timeout",
            )),
            Interrupt::IdleCursorTimeout => {
                Self::new("57014", "canceling portal due to idle-cursor timeout")
            }
            Interrupt::UnreadResult(limit) => Self::fatal(
                "57P05",
                "terminating connection because its client does not read the result",
            )
            .with_detail(beyond(
                "The client took nothing of it for",
                limit,
                "idle_cursor_timeout",
            )),
            Interrupt::IdleSessionTimeout(limit) => Self::fatal(
                "57P05",
                "terminating connection due to idle-session timeout",
            )
            .with_detail(beyond(
                "The session waited for its client for",
                limit,
                "idle_session_timeout",
            )),
        }
    }
}

/// Which limit was passed, and how long it is.
fn beyond(what: &str, limit: Duration, setting: &str) -> String {
    let limit = settings::show_duration(limit);
    format!("{what} more than {limit}, the limit that \"{setting}\" sets.")
}

/// A switch that is thrown at most once, with a reason.
#[derive(Debug, Default)]
pub struct Interruptor {
    reason: OnceLock<Interrupt>,
    token: CancellationToken,
}

impl Interruptor {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Throws the switch; the first reason stays.
    pub(crate) fn interrupt(&self, reason: Interrupt) {
        let _ = self.reason.set(reason);
        self.token.cancel();
    }

    pub(crate) fn is_thrown(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until the switch is thrown. Cancel safe.
    pub(crate) async fn interrupted(&self) -> Interrupt {
        self.token.cancelled().await;
        self.reason.get().copied().unwrap_or(Interrupt::Cancel)
    }
}
