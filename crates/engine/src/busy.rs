//! How long the tasks of a plan keep threads busy.
//!
//! Operators measure what they compute, but not every one does, and none measures everything: a
//! nested loop may go on for minutes and have measured nothing. So polls are timed: those of the
//! task that drives a plan, and those of the tasks that DataFusion starts for it. These are found by a
//! tracer, to which it shows each task that it starts: the task gets the clock of whoever starts it.
//! A poll that is still under way counts up to now. Waiting is no poll.

use std::any::Any;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::common::runtime::{JoinSetTracer, set_join_set_tracer};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;

tokio::task_local! {
    /// The clock of the plan that the current task works for.
    static CLOCK: Arc<BusyClock>;
}

/// Adds up the polls of all tasks of a plan.
#[derive(Debug)]
pub(crate) struct BusyClock {
    origin: Instant,
    polls: Mutex<Polls>,
}

#[derive(Debug, Default)]
struct Polls {
    /// How many are under way.
    under_way: i128,
    /// What those took that are over, less the times at which the others began. In nanoseconds; times
    /// are counted from the clock's origin.
    balance_ns: i128,
}

impl BusyClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            origin: Instant::now(),
            polls: Mutex::default(),
        })
    }

    /// How long threads have been busy, all together.
    pub(crate) fn busy(&self) -> Duration {
        let polls = self.polls.lock();
        let nanoseconds = polls.balance_ns + polls.under_way * self.now_ns();
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
    }

    fn now_ns(&self) -> i128 {
        i128::try_from(self.origin.elapsed().as_nanos()).unwrap_or(i128::MAX)
    }

    fn begin(&self) -> Poll<'_> {
        let mut polls = self.polls.lock();
        polls.under_way += 1;
        polls.balance_ns -= self.now_ns();
        Poll(self)
    }
}

/// A poll that is under way. Dropping it ends it.
struct Poll<'a>(&'a BusyClock);

impl Drop for Poll<'_> {
    fn drop(&mut self) {
        let mut polls = self.0.polls.lock();
        polls.under_way -= 1;
        polls.balance_ns += self.0.now_ns();
    }
}

/// Does `work`, and times it and all tasks that it starts.
pub(crate) async fn timed<F: Future>(clock: Arc<BusyClock>, work: F) -> F::Output {
    let mut work = pin!(CLOCK.scope(Arc::clone(&clock), work));
    poll_fn(|context| {
        let _poll = clock.begin();
        work.as_mut().poll(context)
    })
    .await
}

/// From now on every task that DataFusion starts in this process is timed by the clock of whoever
/// starts it, if that has one.
pub(crate) fn follow_tasks() {
    // Another engine of this process may have said so already.
    let _ = set_join_set_tracer(&Tracer);
}

type Anything = Box<dyn Any + Send>;

struct Tracer;

impl JoinSetTracer for Tracer {
    fn trace_future(&self, work: BoxFuture<'static, Anything>) -> BoxFuture<'static, Anything> {
        match CLOCK.try_with(Arc::clone) {
            Ok(clock) => timed(clock, work).boxed(),
            Err(_) => work,
        }
    }

    fn trace_block(
        &self,
        work: Box<dyn FnOnce() -> Anything + Send>,
    ) -> Box<dyn FnOnce() -> Anything + Send> {
        match CLOCK.try_with(Arc::clone) {
            Ok(clock) => Box::new(move || {
                let _poll = clock.begin();
                work()
            }),
            Err(_) => work,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use datafusion::common::runtime::SpawnedTask;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_poll_counts_while_it_is_under_way_also_of_a_task_that_was_started() {
        follow_tasks();
        let clock = BusyClock::new();
        let enough = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&enough);
        let work = timed(Arc::clone(&clock), async move {
            let busy = SpawnedTask::spawn(async move {
                while !until.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
            });
            busy.join().await.expect("the task ends");
        });
        let work = tokio::spawn(work);
        // The one poll of the started task has not ended when this does.
        while clock.busy() < Duration::from_millis(5) {
            tokio::task::yield_now().await;
        }
        enough.store(true, Ordering::Relaxed);
        work.await.expect("the work ends");
        let total = clock.busy();
        assert!(total >= Duration::from_millis(5));
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(clock.busy(), total, "nothing is under way");
    }
}
