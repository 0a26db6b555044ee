//! The unregistration pool: threads that archive ended queries behind their clients' backs.
//!
//! Ending a query is two steps. *Finalizing* is synchronous: the state is fixed, and who closes the
//! query is answered. *Archiving* is what this pool does afterwards. Its queue is bounded. When it is
//! full, nothing is dropped and nothing piles up: [`Handover::Full`] gives the query back to the one
//! who closed it, who waits for a place before asking for more ([`UnregistrationPool::hand_over`]) or
//! archives it on the spot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use flume::{Receiver, Sender};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Query;
use crate::histogram::{Histogram, HistogramSnapshot};

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
    pub time_in_queue: HistogramSnapshot,
    /// How long archiving one took.
    pub time_to_archive: HistogramSnapshot,
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

struct Job {
    query: Arc<Query>,
    since: Instant,
    /// Given back when a thread takes the job.
    place: OwnedSemaphorePermit,
}

/// What a thread does with a query.
pub(crate) type ArchiveQuery = dyn Fn(&Arc<Query>) + Send + Sync;

pub(crate) struct UnregistrationPool {
    /// `None` when the pool has no threads, or is closed.
    sender: Mutex<Option<Sender<Job>>>,
    /// Places in the queue. They are its bound, and not the channel's own, because who waits for one
    /// may give up: a channel may have taken the query by then, and it would be archived twice.
    places: Arc<Semaphore>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    meters: Arc<Meters>,
}

#[derive(Default)]
struct Meters {
    pushed_back: AtomicU64,
    time_in_queue: Histogram,
    time_to_archive: Histogram,
}

impl UnregistrationPool {
    /// Starts the threads.
    ///
    /// # Panics
    /// When the operating system gives no threads.
    pub(crate) fn start(settings: PoolSettings, archive: Arc<ArchiveQuery>) -> Self {
        let meters = Arc::new(Meters::default());
        let depth = settings.unregistration_thread_pool_queue_depth.max(1);
        let (sender, receiver) = flume::unbounded();
        let spawn = |number| {
            let (receiver, meters) = (receiver.clone(), Arc::clone(&meters));
            let archive = Arc::clone(&archive);
            thread::Builder::new()
                .name(format!("unregister-{number}"))
                .spawn(move || work(&receiver, &meters, archive.as_ref()))
                .expect("a thread of the unregistration pool")
        };
        let threads: Vec<_> = (0..settings.unregistration_thread_pool_size)
            .map(spawn)
            .collect();
        Self {
            sender: Mutex::new((!threads.is_empty()).then_some(sender)),
            places: Arc::new(Semaphore::new(depth)),
            threads: Mutex::new(threads),
            meters,
        }
    }

    /// Hands a finalized query to a thread, if there is room in the queue.
    pub(crate) fn try_hand_over(&self, query: Arc<Query>) -> Handover {
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => match self.send(query, Instant::now(), place) {
                Ok(()) => Handover::Taken,
                Err(query) => Handover::Synchronous(query),
            },
            Err(_) => {
                self.meters.pushed_back.fetch_add(1, Ordering::Relaxed);
                Handover::Full(query)
            }
        }
    }

    /// Waits for room in the queue. Gives the query back when there are no threads any more. When
    /// the future is dropped, so is its share of the query: keep another one.
    pub(crate) async fn hand_over(&self, query: Arc<Query>) -> Result<(), Arc<Query>> {
        let since = Instant::now();
        let place = Arc::clone(&self.places).acquire_owned().await;
        self.send(query, since, place.expect("nobody closes the semaphore"))
    }

    fn send(
        &self,
        query: Arc<Query>,
        since: Instant,
        place: OwnedSemaphorePermit,
    ) -> Result<(), Arc<Query>> {
        let Some(sender) = &*self.sender.lock() else {
            return Err(query);
        };
        let job = Job {
            query,
            since,
            place,
        };
        sender.send(job).map_err(|error| error.into_inner().query)
    }

    pub(crate) fn status(&self) -> PoolStatus {
        let sender = self.sender.lock();
        let queued = sender.as_ref().map_or(0, Sender::len);
        let time_to_archive = self.meters.time_to_archive.snapshot();
        PoolStatus {
            queued,
            archived: time_to_archive.count(),
            pushed_back: self.meters.pushed_back.load(Ordering::Relaxed),
            time_in_queue: self.meters.time_in_queue.snapshot(),
            time_to_archive,
        }
    }

    /// Archives what is queued, and ends the threads. Whatever is closed afterwards is archived by
    /// the one who closes it.
    pub(crate) fn close(&self) {
        self.sender.lock().take();
        for thread in self.threads.lock().drain(..) {
            // A panic of an archiver has been told where it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for UnregistrationPool {
    fn drop(&mut self) {
        // The last share may be dropped by a thread of the pool itself, which cannot join itself.
        self.sender.lock().take();
    }
}

fn work(receiver: &Receiver<Job>, meters: &Meters, archive: &ArchiveQuery) {
    for job in receiver {
        drop(job.place);
        meters.time_in_queue.record(job.since.elapsed());
        let start = Instant::now();
        archive(&job.query);
        meters.time_to_archive.record(start.elapsed());
    }
}
