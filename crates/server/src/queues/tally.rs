//! What of the waits and statements of a queue admission does not count, because it has no clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use dashmap::DashMap;
use forebay_admission::QueueId;
use forebay_lifecycle::Histogram;

/// Times of each queue, of those whom none governs, and of waits for locks.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    queues: DashMap<QueueId, Arc<Counted>>,
    ungoverned: Counted,
    locks: Arc<Counted>,
}

/// What is counted of one queue.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// The waits that are over.
    pub(crate) waits: Histogram,
    /// Waits that reached `QUEUE_TIMEOUT`, or `lock_timeout`.
    timed_out: AtomicU64,
    /// The statements that have ended, from registering to their end.
    pub(crate) statements: Histogram,
}

impl Counted {
    pub(crate) fn timed_out(&self) -> u64 {
        self.timed_out.load(Ordering::Relaxed)
    }
}

impl Tally {
    pub(crate) fn of(&self, queue: QueueId) -> Arc<Counted> {
        let known = self.queues.get(&queue).map(|counted| Arc::clone(&counted));
        known.unwrap_or_else(|| Arc::clone(&self.queues.entry(queue).or_default()))
    }

    /// Statements that no queue governs.
    pub(crate) fn ungoverned(&self) -> &Counted {
        &self.ungoverned
    }

    /// Waits for locks of relations.
    pub(crate) fn locks(&self) -> &Counted {
        &self.locks
    }

    /// A queue that is gone.
    pub(crate) fn forget(&self, queue: QueueId) {
        self.queues.remove(&queue);
    }

    /// A wait for a queue that begins now and ends when the answer is dropped.
    pub(crate) fn begin_wait(&self, queue: QueueId) -> CountedWait {
        CountedWait::new(self.of(queue))
    }

    /// A wait for locks that begins now and ends when the answer is dropped.
    pub(crate) fn begin_lock_wait(&self) -> CountedWait {
        CountedWait::new(Arc::clone(&self.locks))
    }

    /// A statement of `queue` that began at `began` has ended.
    pub(crate) fn ended(&self, queue: Option<QueueId>, began: Instant) {
        let duration = began.elapsed();
        match queue {
            Some(queue) => self.of(queue).statements.record(duration),
            None => self.ungoverned.statements.record(duration),
        }
    }
}

/// A wait that is counted when it is dropped, however it ends.
#[derive(Debug)]
pub(crate) struct CountedWait {
    counted: Arc<Counted>,
    began: Instant,
}

impl CountedWait {
    fn new(counted: Arc<Counted>) -> Self {
        Self {
            counted,
            began: Instant::now(),
        }
    }

    pub(crate) fn timed_out(&self) {
        self.counted.timed_out.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for CountedWait {
    fn drop(&mut self) {
        self.counted.waits.record(self.began.elapsed());
    }
}
