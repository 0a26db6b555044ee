//! How writing a log goes, and what the operator is told of it.

use std::io;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use crate::{QueryId, Trouble};

/// Between two messages about an outage that goes on: a server may end thousands of queries a second.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

/// How a log is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogHealth {
    /// Lines that could not be written since the start, and are missing.
    pub failures: u64,
    /// Since when none can be written; `None` while all is well.
    pub failing_since: Option<DateTime<Utc>>,
    /// The last time that a line could not be written.
    pub last_trouble: Option<Trouble>,
}

/// Counts the lines that a log lacks. The first one is told at once, then from time to time how many
/// they are, and in the end that it is over.
pub(crate) struct Outage {
    /// What a line is about, in the plural.
    what: &'static str,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    health: LogHealth,
    /// Lines that are missing since the outage began.
    missing: u64,
    told: Option<Instant>,
}

impl Outage {
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            state: Mutex::default(),
        }
    }

    /// Notes how writing the line of a query went.
    pub(crate) fn note(&self, query: QueryId, written: Result<(), &io::Error>) {
        let mut state = self.state.lock();
        match written {
            Ok(()) => {
                if state.health.failing_since.take().is_some() {
                    let (what, missing) = (self.what, state.missing);
                    tracing::warn!("{what} are written again; {missing} of them are missing");
                    state.missing = 0;
                    state.told = None;
                }
            }
            Err(error) => self.failed(&mut state, query, error),
        }
    }

    fn failed(&self, state: &mut State, query: QueryId, error: &io::Error) {
        let now = Utc::now();
        state.missing += 1;
        state.health.failures += 1;
        state.health.failing_since.get_or_insert(now);
        state.health.last_trouble = Some(Trouble {
            time: now,
            error: error.to_string(),
        });
        if state
            .told
            .is_none_or(|told| told.elapsed() >= TELL_INTERVAL)
        {
            let (what, missing) = (self.what, state.missing);
            tracing::error!(
                "{what} cannot be written, {missing} so far, the last of query {query}: {error}"
            );
            state.told = Some(Instant::now());
        }
    }

    pub(crate) fn health(&self) -> LogHealth {
        self.state.lock().health.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_begins_is_counted_and_ends() {
        let outage = Outage::new("audit events");
        let id = QueryId::random();
        outage.note(id, Ok(()));
        assert_eq!(outage.health(), LogHealth::default());

        let full = io::Error::new(io::ErrorKind::StorageFull, "no room");
        outage.note(id, Err(&full));
        let since = outage.health().failing_since;
        assert!(since.is_some());
        outage.note(id, Err(&full));
        let health = outage.health();
        assert_eq!((health.failures, health.failing_since), (2, since));
        assert_eq!(health.last_trouble.unwrap().error, "no room");

        outage.note(id, Ok(()));
        let health = outage.health();
        assert_eq!((health.failures, health.failing_since), (2, None));
        assert!(health.last_trouble.is_some());
        outage.note(id, Err(&full));
        assert_eq!(outage.health().failures, 3);
        assert!(outage.health().failing_since >= since);
    }
}
