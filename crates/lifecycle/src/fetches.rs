//! How a query's rows go to a client that fetches them call by call.

use std::time::Duration;

use crate::{AdmissionState, Query};

/// What the calls about a query have come to, for a front end whose clients ask for rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fetches {
    /// Calls about the query until its end, with the one that began it.
    pub calls: u64,
    /// Making the protocol's form of the rows.
    pub materialization: Duration,
    /// Rows that were given once more, to a client that went back to the first one.
    pub rows_again: u64,
    /// Its client has closed it before it took the last row.
    pub closed_early: bool,
}

impl Query {
    /// A client has made a call about it. Ignored once the query has ended.
    pub fn count_call(&self) {
        self.learn(|facts| facts.fetches.get_or_insert_default().calls += 1);
    }

    /// Its client gets `rows` behind the first `offset` ones, for which the protocol's form was made in
    /// this time. Ignored once the query has ended.
    pub fn deliver(&self, offset: u64, rows: u64, materialization: Duration) {
        let mut is_first = false;
        self.learn(|facts| {
            let new = (offset + rows)
                .saturating_sub(facts.rows_returned)
                .min(rows);
            is_first = facts.rows_returned == 0 && new > 0;
            facts.rows_returned += new;
            let fetches = facts.fetches.get_or_insert_default();
            fetches.materialization += materialization;
            fetches.rows_again += rows - new;
        });
        if is_first {
            self.event("First row fetched");
        }
    }

    /// Its plan has given the last row, and what it held is free again, though its client has not taken
    /// all rows yet. Only the first call counts.
    pub fn release(&self) {
        let mut admitted = false;
        self.learn(|facts| {
            admitted = facts.admission == AdmissionState::Admitted && !facts.released;
            facts.released = true;
        });
        if admitted {
            self.event(crate::profile::RELEASED);
        }
        self.end_plan();
    }
}

#[cfg(test)]
mod tests {
    use crate::{AdmissionState, NewQuery, Outcome, Registry};
    use std::time::Duration;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn rows_are_counted_once_and_again() {
        let registry = Registry::default();
        let query = registry.register(NewQuery::default());
        query.count_call();
        query.deliver(0, 3, MS);
        query.deliver(3, 2, MS);
        // From the first row again, and beyond what was given before.
        query.deliver(0, 4, MS);
        query.deliver(4, 3, MS);
        let facts = query.facts();
        let fetches = facts.fetches.unwrap();
        assert_eq!((facts.rows_returned, fetches.rows_again), (7, 5));
        assert_eq!((fetches.calls, fetches.materialization), (1, 4 * MS));
        let first = |events: Vec<crate::TimelineEvent>| {
            events
                .iter()
                .filter(|e| e.label == "First row fetched")
                .count()
        };
        assert_eq!(first(query.timeline()), 1);
    }

    #[test]
    fn no_rows_are_not_the_first() {
        let registry = Registry::default();
        let query = registry.register(NewQuery::default());
        query.deliver(0, 0, MS);
        assert_eq!(query.timeline().len(), 1);
    }

    #[test]
    fn what_is_given_back_early_is_told_once() {
        let labels = |early: bool, closed_early: bool| {
            let registry = Registry::default();
            let registered = registry.register(NewQuery::default());
            let query = registered.query().clone();
            query.learn(|facts| facts.admission = AdmissionState::Admitted);
            if early {
                query.release();
                query.release();
            }
            query.deliver(0, 1, MS);
            query.learn(|facts| facts.fetches.as_mut().unwrap().closed_early = closed_early);
            drop(registered.unregister(Outcome::Finished));
            let labels = query.timeline().into_iter().skip(1);
            labels
                .map(|event| event.label.into_owned())
                .collect::<Vec<_>>()
        };
        const FIRST: &str = "First row fetched";
        const RELEASED: &str = "Released admission control resources";
        const GONE: &str = "Unregister query";
        assert_eq!(
            labels(true, false),
            [RELEASED, FIRST, "Last row fetched", GONE]
        );
        assert_eq!(
            labels(false, false),
            [FIRST, "Last row fetched", RELEASED, GONE]
        );
        assert_eq!(
            labels(true, true),
            [RELEASED, FIRST, "Request finished", GONE]
        );
    }
}
