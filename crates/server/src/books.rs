//! The registry and the history, as the tables `forebay.query_live` and `forebay.query_log` show
//! them.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use forebay_engine::{QueryBooks, QueryReading};
use forebay_lifecycle::{History, Query, QueryRecord, Registry, Snapshot};

/// Where queries are found.
pub(crate) struct Books {
    pub(crate) registry: Registry,
    /// Without it the log is the one in memory.
    pub(crate) history: Option<Arc<History>>,
}

impl QueryBooks for Books {
    fn schema(&self) -> SchemaRef {
        QueryRecord::schema()
    }

    fn read(&self) -> Arc<dyn QueryReading> {
        let Some(history) = &self.history else {
            let listing = self.registry.all();
            return Arc::new(Reading {
                live: listing.in_flight,
                logged: Logged::InMemory(listing.completed),
            });
        };
        // The registry first: what has left it by then is in the history already. What is in both
        // is told by the history alone, because its files cannot leave out a row.
        let mut live = self.registry.in_flight();
        let snapshot = history.snapshot();
        live.retain(|query| !snapshot.has(query));
        Arc::new(Reading {
            live,
            logged: Logged::Durable(snapshot),
        })
    }
}

impl fmt::Debug for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Books")
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

/// Every query at one moment.
struct Reading {
    live: Vec<Arc<Query>>,
    logged: Logged,
}

enum Logged {
    Durable(Snapshot),
    InMemory(Vec<Arc<Query>>),
}

impl QueryReading for Reading {
    fn live(&self, columns: &[usize], owner: Option<&str>) -> RecordBatch {
        of_queries(&self.live, columns, owner)
    }

    fn logged(&self, columns: &[usize], owner: Option<&str>) -> RecordBatch {
        match &self.logged {
            Logged::InMemory(queries) => of_queries(queries, columns, owner),
            Logged::Durable(snapshot) => {
                let rows = snapshot.pending.iter();
                let rows = rows.filter(|row| owner.is_none_or(|owner| row.role == owner));
                let rows: Vec<&QueryRecord> = rows.map(AsRef::as_ref).collect();
                QueryRecord::project(&rows, columns)
            }
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        match &self.logged {
            Logged::Durable(snapshot) => snapshot.paths(),
            Logged::InMemory(_) => Vec::new(),
        }
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading")
            .field("live", &self.live.len())
            .field("files", &self.files())
            .finish_non_exhaustive()
    }
}

fn of_queries(queries: &[Arc<Query>], columns: &[usize], owner: Option<&str>) -> RecordBatch {
    let queries = queries.iter();
    let seen = queries.filter(|query| owner.is_none_or(|owner| *query.info().role == *owner));
    let records: Vec<QueryRecord> = seen.map(|query| query.record()).collect();
    QueryRecord::project(&records, columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs::File;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::Duration;

    use datafusion::arrow::array::AsArray;
    use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use forebay_lifecycle::{
        ArchiveFiles, ArchiveOptions, HistoryOptions, NewQuery, Outcome, PoolSettings,
        QueryLogLimits,
    };
    use parking_lot::Mutex;

    /// How often each query is in a reading, by its id.
    fn found(books: &Books) -> BTreeMap<String, usize> {
        let reading = books.read();
        let mut batches = vec![reading.live(&[0], None), reading.logged(&[0], None)];
        for path in reading.files() {
            let file = File::open(path).expect("a file that stays");
            let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a footer");
            let reader = reader.build().expect("a reader");
            batches.extend(reader.map(|batch| batch.expect("rows")));
        }
        let mut found = BTreeMap::new();
        for batch in batches {
            for id in batch.column(0).as_string::<i32>().iter().flatten() {
                *found.entry(id.to_owned()).or_default() += 1;
            }
        }
        found
    }

    fn registry(history: Option<HistoryOptions>) -> (tempfile::TempDir, Books) {
        let folder = tempfile::tempdir().expect("a folder");
        let options = ArchiveOptions {
            history,
            ..ArchiveOptions::default()
        };
        let archive = ArchiveFiles::open(folder.path(), options, Box::new(|_| {}));
        let archive = archive.expect("an archive");
        let history = archive.history().cloned();
        let limits = QueryLogLimits {
            query_log_size: usize::MAX,
            ..QueryLogLimits::default()
        };
        let registry = Registry::new(limits, PoolSettings::default(), Box::new(archive));
        (folder, Books { registry, history })
    }

    /// Registers and ends queries while they are read, with files written and merged all the time.
    fn every_query_is_found_once(history: Option<HistoryOptions>) {
        const CLOSERS: usize = 3;
        const QUERIES: usize = 400;
        let (_folder, books) = registry(history);
        let known = Mutex::new(BTreeSet::new());
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let closers: Vec<_> = (0..CLOSERS)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..QUERIES {
                            let query = books.registry.register(NewQuery::default());
                            let id = query.id();
                            known.lock().insert(id.to_string());
                            let ended = books.registry.unregister(&id, Outcome::Finished);
                            ended.expect("nobody else ends it");
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    let before = known.lock().clone();
                    let found = found(&books);
                    let twice: Vec<_> = found.iter().filter(|(_, n)| **n > 1).collect();
                    assert!(twice.is_empty(), "{twice:?}");
                    let missing = before.iter().find(|id| !found.contains_key(*id));
                    assert_eq!(missing, None, "{} of {}", found.len(), before.len());
                }
            });
            for closer in closers {
                closer.join().expect("no panic");
            }
            done.store(true, Ordering::Release);
        });
        books.registry.drain();
        assert_eq!(found(&books).len(), CLOSERS * QUERIES);
        assert_eq!(books.read().live(&[], None).num_rows(), 0);
    }

    #[test]
    fn while_files_are_written_and_merged() {
        every_query_is_found_once(Some(HistoryOptions {
            flush_rows: 7,
            flush_interval: Duration::from_millis(1),
            merge_files: 3,
            ..HistoryOptions::default()
        }));
    }

    #[test]
    fn without_a_history() {
        every_query_is_found_once(None);
    }
}
