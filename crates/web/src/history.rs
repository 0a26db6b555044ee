//! The last hour, in samples.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::app::App;
use crate::process;

/// How often a sample is taken.
const INTERVAL: Duration = Duration::from_secs(5);

/// Samples that are kept: an hour of them.
pub(crate) const KEPT: usize = 720;

/// What a queue was like at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueSample {
    pub(crate) slots: usize,
    pub(crate) waiting: usize,
    pub(crate) memory_bytes: u64,
}

/// What the server was like at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// Processors kept busy since the sample before, 1.0 for each.
    pub(crate) processors: f64,
    pub(crate) resident_bytes: u64,
    pub(crate) running: usize,
    pub(crate) waiting: usize,
    pub(crate) queues: BTreeMap<String, QueueSample>,
}

/// The samples, oldest first.
#[derive(Default)]
pub(crate) struct History(Mutex<VecDeque<Arc<Sample>>>);

impl History {
    pub(crate) fn samples(&self) -> Vec<Arc<Sample>> {
        self.0.lock().iter().cloned().collect()
    }

    pub(crate) fn last(&self) -> Option<Arc<Sample>> {
        self.0.lock().back().cloned()
    }

    fn add(&self, sample: Sample) {
        let mut samples = self.0.lock();
        if samples.len() >= KEPT {
            samples.pop_front();
        }
        samples.push_back(Arc::new(sample));
    }
}

/// Takes samples for as long as it is not aborted.
pub(crate) async fn sample(app: Arc<App>) {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut clock = Clock::start();
    loop {
        interval.tick().await;
        let processors = clock.processors();
        let taken = Arc::clone(&app);
        let take = move || taken.history.add(now(&taken, processors));
        if tokio::task::spawn_blocking(take).await.is_err() {
            tracing::warn!("a sample for the web pages is missing");
        }
    }
}

fn now(app: &App, processors: f64) -> Sample {
    let queues = app.server.queues().into_iter().map(|queue| {
        let sample = QueueSample {
            slots: queue.slots,
            waiting: queue.waiting,
            memory_bytes: queue.memory_bytes,
        };
        (queue.name, sample)
    });
    let waiting = app.server.held().waiters;
    let in_flight = usize::try_from(app.server.registry().counters().in_flight);
    Sample {
        processors,
        resident_bytes: process::resident_bytes().unwrap_or_default(),
        running: in_flight.unwrap_or(usize::MAX).saturating_sub(waiting),
        waiting,
        queues: queues.collect(),
    }
}

/// Processor time between one look and the next.
struct Clock {
    at: Instant,
    used: Duration,
}

impl Clock {
    fn start() -> Self {
        Self {
            at: Instant::now(),
            used: process::processor_time().unwrap_or_default(),
        }
    }

    fn processors(&mut self) -> f64 {
        let before = std::mem::replace(self, Self::start());
        let elapsed = self.at.duration_since(before.at).as_secs_f64();
        let used = self.used.saturating_sub(before.used).as_secs_f64();
        // Times are in hundredths of a second: what is shorter cannot be told.
        match elapsed < 0.1 {
            true => 0.0,
            false => used / elapsed,
        }
    }
}
