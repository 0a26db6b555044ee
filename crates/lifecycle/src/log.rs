//! The query log: the last queries that ended, newest first, in memory.

use crate::{Query, QueryId};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// A bounded log with a look-up by id that does not depend on its length.
pub(crate) struct QueryLog {
    capacity: usize,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    /// The newest in front.
    newest_first: VecDeque<Arc<Query>>,
    by_id: HashMap<QueryId, Arc<Query>>,
}

impl QueryLog {
    /// A log that keeps the last `capacity` queries. With a capacity of zero it keeps none.
    pub(crate) fn new(capacity: usize) -> Self {
        QueryLog {
            capacity,
            entries: Mutex::default(),
        }
    }

    pub(crate) fn push(&self, query: Arc<Query>) {
        // What ages out is freed after the lock: a statement's text may be megabytes.
        let _aged_out = self.entries.lock().push(query, self.capacity);
    }

    pub(crate) fn get(&self, id: &QueryId) -> Option<Arc<Query>> {
        self.entries.lock().by_id.get(id).cloned()
    }

    /// All entries, newest first.
    pub(crate) fn list(&self) -> Vec<Arc<Query>> {
        self.entries.lock().newest_first.iter().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.lock().newest_first.len()
    }
}

impl Entries {
    /// Adds `query` and returns what no longer has a place.
    fn push(&mut self, query: Arc<Query>, capacity: usize) -> Option<Arc<Query>> {
        self.by_id.insert(query.id(), Arc::clone(&query));
        self.newest_first.push_front(query);
        if self.newest_first.len() <= capacity {
            return None;
        }
        let oldest = self.newest_first.pop_back()?;
        self.by_id.remove(&oldest.id());
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NewQuery;

    #[test]
    fn keeps_the_newest_and_forgets_the_oldest() {
        let log = QueryLog::new(3);
        let queries: Vec<_> = (0..5)
            .map(|_| Arc::new(Query::new(NewQuery::default())))
            .collect();
        for query in &queries {
            log.push(Arc::clone(query));
        }
        let listed: Vec<_> = log.list().iter().map(|query| query.id()).collect();
        assert_eq!(listed, [queries[4].id(), queries[3].id(), queries[2].id()]);
        assert!(log.get(&queries[1].id()).is_none());
        assert!(log.get(&queries[2].id()).is_some());
        assert_eq!(log.len(), 3);
    }

    #[test]
    fn a_log_without_room_keeps_nothing() {
        let log = QueryLog::new(0);
        let query = Arc::new(Query::new(NewQuery::default()));
        log.push(Arc::clone(&query));
        assert!(log.get(&query.id()).is_none());
        assert_eq!(log.len(), 0);
    }
}
