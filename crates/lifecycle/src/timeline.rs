//! What happened to a query, and when.

use std::borrow::Cow;
use std::time::Duration;

/// How many events a timeline keeps. A cursor that is fetched for days must not grow without bound;
/// the events of the end are kept in any case.
const MAX_EVENTS: usize = 256;

/// Most statements have five to nine events, so that one allocation holds them.
const FIRST_CAPACITY: usize = 10;

/// Something that happened to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineEvent {
    /// What happened.
    pub label: Cow<'static, str>,
    /// When, in microseconds since the query was registered.
    pub at_micros: u64,
}

/// The events of one query, oldest first.
pub(crate) struct Timeline {
    events: Vec<TimelineEvent>,
}

impl Timeline {
    /// Begins with an event now.
    pub(crate) fn new(label: &'static str) -> Self {
        let mut timeline = Self {
            events: Vec::with_capacity(FIRST_CAPACITY),
        };
        timeline.note(Duration::ZERO, label.into());
        timeline
    }

    pub(crate) fn events(&self) -> &[TimelineEvent] {
        &self.events
    }

    /// Notes an event, unless there are too many.
    pub(crate) fn note(&mut self, since_start: Duration, label: Cow<'static, str>) {
        if self.events.len() < MAX_EVENTS {
            self.push(since_start, label);
        }
    }

    /// Notes the last events, all at the moment of the end.
    pub(crate) fn end(
        &mut self,
        since_start: Duration,
        labels: impl IntoIterator<Item = &'static str>,
    ) {
        for label in labels {
            self.push(since_start, label.into());
        }
    }

    fn push(&mut self, since_start: Duration, label: Cow<'static, str>) {
        let at_micros = whole_micros(since_start);
        self.events.push(TimelineEvent { label, at_micros });
    }
}

pub(crate) fn whole_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_is_bounded_and_keeps_the_end() {
        let mut timeline = Timeline::new("first");
        for _ in 0..10 * MAX_EVENTS {
            timeline.note(Duration::ZERO, "Fetched".into());
        }
        timeline.end(Duration::from_micros(7), ["Finished", "gone"]);
        let events = timeline.events();
        assert_eq!(events.len(), MAX_EVENTS + 2);
        assert_eq!(
            events.last().map(|e| (&*e.label, e.at_micros)),
            Some(("gone", 7))
        );
    }
}
