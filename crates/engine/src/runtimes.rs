//! The query runtimes: one for each resource queue, and one for what no queue governs.

use std::collections::HashMap;
use std::sync::Arc;

use forebay_catalog::{Priority, ResourceQueue, Snapshot};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::EngineError;
use crate::runtime::QueryRuntime;

/// On whose threads a statement is planned and run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuAccount {
    /// Those of superusers and of all that no resource queue governs, at the server's own priority.
    Ungoverned,
    /// Those of the resource queue with this object id, at the priority of the queue.
    Queue(u32),
}

/// Owns every query runtime.
pub(crate) struct QueryRuntimes {
    /// Workers of each runtime.
    workers: usize,
    ungoverned: QueryRuntime,
    /// By object id: exactly the queues of the catalog.
    of_queues: Mutex<HashMap<u32, Arc<RuntimeOfQueue>>>,
}

/// The runtime of a resource queue, made when the first statement needs it.
struct RuntimeOfQueue {
    name: String,
    priority: Priority,
    made: OnceCell<QueryRuntime>,
}

impl RuntimeOfQueue {
    fn new(queue: &ResourceQueue) -> Self {
        Self {
            name: queue.name.clone(),
            priority: queue.attributes.priority,
            made: OnceCell::new(),
        }
    }
}

impl QueryRuntimes {
    /// Runtimes of `workers` threads each. The calling thread's nice value becomes that of
    /// [`CpuAccount::Ungoverned`].
    pub(crate) fn start(workers: usize) -> Result<Self, EngineError> {
        Ok(Self {
            workers,
            ungoverned: QueryRuntime::start("query".to_owned(), Priority::Max, workers)?,
            of_queues: Mutex::default(),
        })
    }

    /// Follows the catalog. A thread cannot go back to a better priority, so a queue whose
    /// priority has changed gets a new runtime; the old one ends with the last statement there, as
    /// does that of a queue which is no more.
    pub(crate) fn follow(&self, snapshot: &Snapshot) {
        let mut of_queues = self.of_queues.lock();
        let following = snapshot.resource_queues().map(|queue| {
            let kept = of_queues.remove(&queue.oid);
            let kept = kept.filter(|runtime| runtime.priority == queue.attributes.priority);
            let runtime = kept.unwrap_or_else(|| Arc::new(RuntimeOfQueue::new(queue)));
            (queue.oid, runtime)
        });
        *of_queues = following.collect();
    }

    /// The runtime for a statement that begins now. A queue that has been dropped meanwhile
    /// governs nobody.
    pub(crate) async fn of(&self, account: CpuAccount) -> Result<QueryRuntime, EngineError> {
        let queue = match account {
            CpuAccount::Ungoverned => None,
            CpuAccount::Queue(oid) => self.of_queues.lock().get(&oid).cloned(),
        };
        let Some(queue) = queue else {
            return Ok(self.ungoverned.clone());
        };
        let made = queue.made.get_or_try_init(|| self.make(&queue)).await?;
        Ok(made.clone())
    }

    /// A thread begins as nice as the one that makes it, and cannot become less nice. So threads
    /// are made by a runtime whose own never become nicer.
    async fn make(&self, queue: &RuntimeOfQueue) -> Result<QueryRuntime, EngineError> {
        let (label, priority) = (format!("q:{}", queue.name), queue.priority);
        let workers = self.workers;
        self.ungoverned
            .block(move || QueryRuntime::start(label, priority, workers))
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_catalog::{Catalog, Change, QueueChange};

    fn change(priority: &str) -> QueueChange {
        let mut change = QueueChange::default();
        for (name, value) in [("active_statements", "1"), ("priority", priority)] {
            change.add(name, Some(value)).unwrap();
        }
        change
    }

    /// Runtimes of one worker that follow a catalog with a queue `q` of low priority.
    async fn stage() -> (tempfile::TempDir, Catalog, Arc<QueryRuntimes>, CpuAccount) {
        let directory = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(directory.path(), "boss").await.unwrap();
        let runtimes = Arc::new(QueryRuntimes::start(1).unwrap());
        let follower = Arc::clone(&runtimes);
        catalog
            .observe(move |snapshot| follower.follow(snapshot))
            .await;
        let create = Change::CreateQueue {
            name: "q".to_owned(),
            change: change("low"),
        };
        let snapshot = catalog.commit(&[create]).await.unwrap();
        let queue = CpuAccount::Queue(snapshot.resource_queue("q").unwrap().oid);
        (directory, catalog, runtimes, queue)
    }

    async fn alter(catalog: &Catalog, priority: &str) {
        let alter = Change::AlterQueue {
            name: "q".to_owned(),
            change: change(priority),
        };
        catalog.commit(&[alter]).await.unwrap();
    }

    #[tokio::test]
    async fn a_runtime_is_kept_for_as_long_as_the_priority() {
        let (_directory, catalog, runtimes, queue) = stage().await;
        let first = runtimes.of(queue).await.unwrap();
        assert_eq!(first.priority(), Priority::Low);
        alter(&catalog, "low").await;
        assert!(runtimes.of(queue).await.unwrap().is(&first));
        alter(&catalog, "high").await;
        let second = runtimes.of(queue).await.unwrap();
        assert_eq!(second.priority(), Priority::High);
        assert_eq!(first.run(async { Ok(1) }).await.unwrap(), 1, "it goes on");
        let drop = Change::DropQueue {
            name: "q".to_owned(),
        };
        catalog.commit(&[drop]).await.unwrap();
        let left = runtimes.of(queue).await.unwrap();
        assert!(left.is(&runtimes.of(CpuAccount::Ungoverned).await.unwrap()));
        catalog.close().await;
    }

    /// Those who come at once share one.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn one_runtime_is_made() {
        let (_directory, catalog, runtimes, queue) = stage().await;
        let asking: Vec<_> = (0..8)
            .map(|_| {
                let runtimes = Arc::clone(&runtimes);
                tokio::spawn(async move { runtimes.of(queue).await.unwrap() })
            })
            .collect();
        let first = runtimes.of(queue).await.unwrap();
        for other in asking {
            assert!(other.await.unwrap().is(&first));
        }
        catalog.close().await;
    }

    /// Name and nice value of the calling thread.
    #[cfg(target_os = "linux")]
    fn here() -> (String, i32) {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (name, fields) = stat.split_once('(').unwrap().1.rsplit_once(')').unwrap();
        let nice = fields.split_whitespace().nth(16).unwrap();
        (name.to_owned(), nice.parse().unwrap())
    }

    /// Also those that wait for files.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn every_thread_has_the_priority() {
        let (_directory, catalog, runtimes, queue) = stage().await;
        let own = here().1;
        for (account, label, wanted) in [
            (queue, "q:q-", own.max(16)),
            (CpuAccount::Ungoverned, "query-", own),
        ] {
            let runtime = runtimes.of(account).await.unwrap();
            let work = async {
                let blocking = tokio::task::spawn_blocking(here).await.unwrap();
                Ok([here(), blocking])
            };
            for (name, nice) in runtime.run(work).await.unwrap() {
                assert!(name.starts_with(label), "{name}");
                assert_eq!(nice, wanted, "{name}");
            }
        }
        catalog.close().await;
    }
}
