//! The unregistration pool: threads that archive ended queries behind their clients' backs.
//!
//! Ending a query is two steps. *Finalizing* is synchronous: the state is fixed, and who closes the
//! query is answered. *Archiving* is what this pool does afterwards. Its queue is bounded. When it is
//! full, nothing is dropped and nothing piles up: [`Handover::Full`] gives the query back to the one
//! who closed it, who waits for a place before asking for more ([`UnregistrationPool::hand_over`]) or
//! archives it on the spot.

mod queue;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use parking_lot::Mutex;

use crate::Query;
use crate::histogram::{DurationCounts, Histogram};
use queue::{Job, Queue};

/// How ended queries are archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    /// Threads that archive; with 0 whoever closes a query archives it before going on.
    pub unregistration_thread_pool_size: usize,
    /// Queries that may wait for one of them, at least 1.
    pub unregistration_thread_pool_queue_depth: usize,
}

impl Default for PoolSettings {
    /// Impala's defaults.
    fn default() -> Self {
        Self {
            unregistration_thread_pool_size: 4,
            unregistration_thread_pool_queue_depth: 16,
        }
    }
}

/// What the pool has done, and has to do.
#[derive(Debug, Clone, Default)]
pub struct PoolStatus {
    /// Queries that wait for a thread now.
    pub queued: usize,
    /// Queries that were archived by the pool.
    pub archived: u64,
    /// How often the queue was full when a query was closed.
    pub pushed_back: u64,
    /// How long queries waited for a thread.
    pub time_in_queue: DurationCounts,
    /// How long archiving one took.
    pub time_to_archive: DurationCounts,
}

/// What became of a query that was handed to the pool.
#[must_use]
pub(crate) enum Handover {
    /// A thread will archive it.
    Taken,
    /// There is no pool: whoever closed it archives it.
    Synchronous(Arc<Query>),
    /// The queue is full.
    Full(Arc<Query>),
}

/// What a thread does with a query.
pub(crate) type ArchiveQuery = dyn Fn(&Arc<Query>) + Send + Sync;

pub(crate) struct UnregistrationPool {
    /// `None` when the pool has no threads.
    queue: Option<Arc<Queue>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    meters: Arc<Meters>,
}

struct Meters {
    pushed_back: AtomicU64,
    time_in_queue: Histogram,
    time_to_archive: Histogram,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            pushed_back: AtomicU64::default(),
            time_in_queue: Histogram::of_background_work(),
            time_to_archive: Histogram::of_background_work(),
        }
    }
}

impl UnregistrationPool {
    /// Starts the threads.
    ///
    /// # Panics
    /// When the operating system gives no threads.
    pub(crate) fn start(settings: PoolSettings, archive: Arc<ArchiveQuery>) -> Self {
        let meters = Arc::new(Meters::default());
        let queue = Arc::new(Queue::new(settings.unregistration_thread_pool_queue_depth));
        let spawn = |number| {
            let (queue, meters) = (Arc::clone(&queue), Arc::clone(&meters));
            let archive = Arc::clone(&archive);
            thread::Builder::new()
                .name(format!("unregister-{number}"))
                .spawn(move || queue.work(|job| meters.measure(&job, archive.as_ref())))
                .expect("a thread of the unregistration pool")
        };
        let threads: Vec<_> = (0..settings.unregistration_thread_pool_size)
            .map(spawn)
            .collect();
        Self {
            queue: (!threads.is_empty()).then_some(queue),
            threads: Mutex::new(threads),
            meters,
        }
    }

    /// Hands a finalized query to a thread, if there is room in the queue.
    pub(crate) fn try_hand_over(&self, query: Arc<Query>) -> Handover {
        let Some(queue) = &self.queue else {
            return Handover::Synchronous(query);
        };
        let Some(place) = queue.try_place() else {
            self.meters.pushed_back.fetch_add(1, Ordering::Relaxed);
            return Handover::Full(query);
        };
        match queue.push(query, Instant::now(), place) {
            Ok(()) => Handover::Taken,
            Err(query) => Handover::Synchronous(query),
        }
    }

    /// Waits for room in the queue. Gives the query back when there are no threads any more. When
    /// the future is dropped, so is its share of the query: keep another one.
    pub(crate) async fn hand_over(&self, query: Arc<Query>) -> Result<(), Arc<Query>> {
        let Some(queue) = &self.queue else {
            return Err(query);
        };
        let since = Instant::now();
        queue.push(query, since, queue.place().await)
    }

    pub(crate) fn status(&self) -> PoolStatus {
        let time_to_archive = self.meters.time_to_archive.counts();
        PoolStatus {
            queued: self.queue.as_ref().map_or(0, |queue| queue.len()),
            archived: time_to_archive.count(),
            pushed_back: self.meters.pushed_back.load(Ordering::Relaxed),
            time_in_queue: self.meters.time_in_queue.counts(),
            time_to_archive,
        }
    }

    /// Archives what is queued, and ends the threads. Whatever is closed afterwards is archived by
    /// the one who closes it.
    pub(crate) fn close(&self) {
        self.close_queue();
        for thread in self.threads.lock().drain(..) {
            // A panic of an archiver has been told where it happened.
            let _ = thread.join();
        }
    }

    fn close_queue(&self) {
        if let Some(queue) = &self.queue {
            queue.close();
        }
    }
}

impl Drop for UnregistrationPool {
    fn drop(&mut self) {
        // The last share may be dropped by a thread of the pool itself, which cannot join itself.
        self.close_queue();
    }
}

impl Meters {
    fn measure(&self, job: &Job, archive: &ArchiveQuery) {
        self.time_in_queue.record(job.since.elapsed());
        let start = Instant::now();
        archive(&job.query);
        self.time_to_archive.record(start.elapsed());
    }
}
