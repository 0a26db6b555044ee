//! What of a queue's history admission does not count, because it has no clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use forebay_admission::QueueId;

/// Waiting times and time-outs of each queue.
#[derive(Debug, Default)]
pub(crate) struct Tally(DashMap<QueueId, Counted>);

/// What is counted of one queue.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counted {
    /// How long all the waits that are over took together.
    pub(crate) waited: Duration,
    /// Waits that reached `QUEUE_TIMEOUT`.
    pub(crate) timed_out: u64,
}

impl Tally {
    pub(crate) fn of(&self, queue: QueueId) -> Counted {
        self.0.get(&queue).map(|c| *c).unwrap_or_default()
    }

    /// A queue that is gone.
    pub(crate) fn forget(&self, queue: QueueId) {
        self.0.remove(&queue);
    }

    /// A wait that begins now and ends when the answer is dropped.
    pub(crate) fn begin_wait(self: &Arc<Self>, queue: QueueId) -> CountedWait {
        CountedWait {
            tally: Arc::clone(self),
            queue,
            began: Instant::now(),
            timed_out: false,
        }
    }
}

/// A wait that is counted when it is dropped, however it ends.
#[derive(Debug)]
pub(crate) struct CountedWait {
    tally: Arc<Tally>,
    queue: QueueId,
    began: Instant,
    timed_out: bool,
}

impl CountedWait {
    pub(crate) fn timed_out(&mut self) {
        self.timed_out = true;
    }
}

impl Drop for CountedWait {
    fn drop(&mut self) {
        let mut counted = self.tally.0.entry(self.queue).or_default();
        counted.waited += self.began.elapsed();
        counted.timed_out += u64::from(self.timed_out);
    }
}
