//! The query log: the last queries that ended, newest first, in memory, bounded by number and bytes.

use crate::sync::Mutex;
use crate::{Query, QueryId};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// A bounded log with a look-up by id that does not depend on its length.
pub(crate) struct QueryLog {
    limits: QueryLogLimits,
    entries: Mutex<Entries>,
}

/// How much the query log keeps. With 0 of either it keeps nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryLogLimits {
    /// Queries.
    pub query_log_size: usize,
    /// Bytes of their texts and profiles together.
    pub query_log_size_in_bytes: usize,
}

impl Default for QueryLogLimits {
    /// The last 200 queries, as in Impala, as long as they fit into 256 MiB.
    fn default() -> Self {
        Self {
            query_log_size: 200,
            query_log_size_in_bytes: 256 << 20,
        }
    }
}

#[derive(Default)]
struct Entries {
    /// The newest in front.
    newest_first: VecDeque<Arc<Query>>,
    by_id: HashMap<QueryId, Arc<Query>>,
    bytes: usize,
}

impl QueryLog {
    pub(crate) fn new(limits: QueryLogLimits) -> Self {
        QueryLog {
            limits,
            entries: Mutex::default(),
        }
    }

    pub(crate) fn push(&self, query: Arc<Query>) {
        // What ages out is freed after the lock: a statement's text may be megabytes.
        let _aged_out = self.entries.lock().push(query, self.limits);
    }

    pub(crate) fn get(&self, id: &QueryId) -> Option<Arc<Query>> {
        self.entries.lock().by_id.get(id).cloned()
    }

    /// All entries, newest first.
    pub(crate) fn list(&self) -> Vec<Arc<Query>> {
        self.entries.lock().newest_first.iter().cloned().collect()
    }

    /// How many entries there are, and their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let entries = self.entries.lock();
        (entries.newest_first.len(), entries.bytes)
    }
}

impl Entries {
    /// Adds `query` and returns what no longer has a place.
    fn push(&mut self, query: Arc<Query>, limits: QueryLogLimits) -> Vec<Arc<Query>> {
        self.bytes += query.size_bytes();
        self.by_id.insert(query.id(), Arc::clone(&query));
        self.newest_first.push_front(query);
        let mut aged_out = Vec::new();
        while self.newest_first.len() > limits.query_log_size
            || self.bytes > limits.query_log_size_in_bytes
        {
            let Some(oldest) = self.newest_first.pop_back() else {
                break;
            };
            self.bytes -= oldest.size_bytes();
            self.by_id.remove(&oldest.id());
            aged_out.push(oldest);
        }
        aged_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NewQuery;

    #[test]
    fn keeps_the_newest_and_forgets_the_oldest() {
        let log = QueryLog::new(QueryLogLimits {
            query_log_size: 3,
            ..QueryLogLimits::default()
        });
        let queries: Vec<_> = (0..5)
            .map(|_| Arc::new(Query::new(NewQuery::default(), 1)))
            .collect();
        for query in &queries {
            log.push(Arc::clone(query));
        }
        let listed: Vec<_> = log.list().iter().map(|query| query.id()).collect();
        assert_eq!(listed, [queries[4].id(), queries[3].id(), queries[2].id()]);
        assert!(log.get(&queries[1].id()).is_none());
        assert!(log.get(&queries[2].id()).is_some());
        assert_eq!(log.size().0, 3);
    }

    #[test]
    fn keeps_no_more_bytes_than_it_may() {
        let of_bytes = |bytes: usize| {
            let statement = "x".repeat(bytes).into();
            let info = NewQuery {
                statement,
                ..NewQuery::default()
            };
            Arc::new(Query::new(info, 1))
        };
        let log = QueryLog::new(QueryLogLimits {
            query_log_size_in_bytes: 10_000,
            ..QueryLogLimits::default()
        });
        for _ in 0..10 {
            log.push(of_bytes(3000));
        }
        let (queries, bytes) = log.size();
        assert!((2..=3).contains(&queries) && bytes <= 10_000, "{bytes}");
        log.push(of_bytes(10_001));
        assert_eq!(log.size(), (0, 0), "too large for the whole log");
    }

    #[test]
    fn a_log_without_room_keeps_nothing() {
        let log = QueryLog::new(QueryLogLimits {
            query_log_size: 0,
            ..QueryLogLimits::default()
        });
        let query = Arc::new(Query::new(NewQuery::default(), 1));
        log.push(Arc::clone(&query));
        assert!(log.get(&query.id()).is_none());
        assert_eq!(log.size(), (0, 0));
    }
}
