//! The last lines of the log, and what is logged.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::format::shortened;

/// Lines that are kept.
const MAX_LINES: usize = 1000;

/// Bytes of a line that are kept.
const MAX_LINE_BYTES: usize = 2000;

/// A line of the log.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) at: DateTime<Utc>,
    pub(crate) level: Level,
    pub(crate) target: &'static str,
    pub(crate) message: String,
}

/// Changes what is logged; the error says what is wrong with the filter.
type SetFilter = dyn Fn(&str) -> Result<(), String> + Send + Sync;

/// What is logged, and the last lines of it.
#[derive(Clone)]
pub struct Logs {
    lines: Arc<Mutex<VecDeque<Line>>>,
    filter: Arc<Mutex<String>>,
    set_filter: Arc<SetFilter>,
}

/// Keeps what is logged for [`Logs`].
pub struct LogLayer(Arc<Mutex<VecDeque<Line>>>);

impl LogLayer {
    /// A layer that keeps the last lines.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::default())
    }

    /// The lines for the pages. `filter` is what is logged now, and `set_filter` changes it.
    pub fn logs(
        &self,
        filter: &str,
        set_filter: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static,
    ) -> Logs {
        Logs {
            lines: Arc::clone(&self.0),
            filter: Arc::new(Mutex::new(filter.to_owned())),
            set_filter: Arc::new(set_filter),
        }
    }
}

impl Default for LogLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let line = Line {
            at: Utc::now(),
            level: *event.metadata().level(),
            target: event.metadata().target(),
            message: shortened(&text.whole(), MAX_LINE_BYTES),
        };
        let mut lines = self.0.lock();
        if lines.len() >= MAX_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// The message of an event, and its fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn whole(mut self) -> String {
        self.message += &self.fields;
        self.message
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

impl Logs {
    /// The last lines, newest first.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.lines.lock().iter().rev().cloned().collect()
    }

    /// What is logged.
    pub(crate) fn filter(&self) -> String {
        self.filter.lock().clone()
    }

    pub(crate) fn set_filter(&self, filter: &str) -> Result<(), String> {
        // Held over both, so that what is shown is what is in force.
        let mut current = self.filter.lock();
        (self.set_filter)(filter)?;
        filter.clone_into(&mut current);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt as _;

    #[test]
    fn the_last_lines_are_kept() {
        let layer = LogLayer::new();
        let logs = layer.logs("info", |_| Ok(()));
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            for n in 0..MAX_LINES + 10 {
                tracing::info!(n, "line");
            }
            tracing::warn!("{}", "x".repeat(2 * MAX_LINE_BYTES));
        });
        let lines = logs.lines();
        assert_eq!(lines.len(), MAX_LINES);
        assert_eq!(lines[0].level, Level::WARN);
        assert!(lines[0].message.len() < MAX_LINE_BYTES + 10);
        assert_eq!(lines[1].message, format!("line n={}", MAX_LINES + 9));
    }

    #[test]
    fn a_filter_that_is_refused_is_not_shown() {
        let refuse = |filter: &str| match filter {
            "bad" => Err("no filter".to_owned()),
            _ => Ok(()),
        };
        let logs = LogLayer::new().logs("info", refuse);
        assert_eq!(logs.set_filter("bad"), Err("no filter".to_owned()));
        assert_eq!(logs.filter(), "info");
        assert_eq!(logs.set_filter("debug"), Ok(()));
        assert_eq!(logs.filter(), "debug");
    }
}
