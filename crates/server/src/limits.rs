//! Limits on what a session may pile up: how many things, and how many bytes of what its client
//! has sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::settings::Settings;
use crate::{Error, Result};

/// Settings with the limits. The unnamed statement and the unnamed portal are exempt, or a session
/// at its limit could not even close something: there is one of each, no larger than a message.
pub(crate) const PORTALS: &str = "max_portals";
pub(crate) const RESOURCE_PORTALS: &str = "max_resource_portals_per_transaction";
pub(crate) const PREPARED_STATEMENTS: &str = "max_prepared_statements";
pub(crate) const SAVEPOINTS: &str = "max_savepoints";
pub(crate) const KEPT_SIZE: &str = "max_session_kept_size";

/// The error of who wants one thing more than `setting` allows.
pub(crate) fn too_many(things: &str, setting: &str, limit: usize) -> Error {
    Error::new("53400", format!("too many {things}"))
        .with_detail(format!(
            "The session has {limit}, the limit that \"{setting}\" sets."
        ))
        .with_hint(format!(
            "Close those that are not needed, or let a superuser raise \"{setting}\"."
        ))
}

/// The bytes that a session keeps of what its client has sent: texts of prepared statements and
/// values of portals.
#[derive(Debug, Default)]
pub(crate) struct KeptBytes(Arc<AtomicU64>);

impl KeptBytes {
    /// Takes note of `bytes` that are kept until the answer is dropped.
    ///
    /// # Errors
    /// When it would be more than `max_session_kept_size` allows.
    pub(crate) fn keep(&self, bytes: u64, settings: &Settings) -> Result<Kept> {
        let limit = settings.bytes(KEPT_SIZE);
        let kept = self.0.load(Ordering::Relaxed);
        if kept.saturating_add(bytes) > limit {
            return Err(Error::new(
                "53400",
                "too many bytes of prepared statements and bound values",
            )
            .with_detail(format!(
                "The session keeps {kept} bytes; {bytes} more are beyond the {limit} of \"{KEPT_SIZE}\"."
            ))
            .with_hint(format!(
                "Close prepared statements and portals that are not needed, or let a superuser raise \"{KEPT_SIZE}\"."
            )));
        }
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Ok(Kept {
            bytes,
            of: Some(Arc::clone(&self.0)),
        })
    }
}

impl Kept {
    /// How many.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Bytes that are kept. Dropping it takes them off the account.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    bytes: u64,
    of: Option<Arc<AtomicU64>>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(of) = &self.of {
            of.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}
