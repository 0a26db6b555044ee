//! The queue of the unregistration pool: many close queries, few archive them, and closing must not
//! cost a wake-up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Query;

/// How long a thread that has nothing left to archive waits for more before it has to be woken.
///
/// Waking a thread costs more than all the rest of closing a query, and then the thread takes a
/// processor from those who answer clients. In a stream of short queries it wakes by itself and
/// archives those of the last moments together.
const LINGER: Duration = Duration::from_millis(2);

/// An ended query that waits for a thread.
pub(super) struct Job {
    pub(super) query: Arc<Query>,
    /// Since when.
    pub(super) since: Instant,
}

/// A bounded queue of ended queries.
pub(super) struct Queue {
    /// Who waits for one of them may give up, and then archives the query itself: so a query is
    /// queued when there is a place for it, in one step, and never before.
    places: Arc<Semaphore>,
    state: Mutex<State>,
    wake: Condvar,
    /// Queries that may wait before a second thread is woken.
    few: usize,
}

#[derive(Default)]
struct State {
    /// Each with its place, which it gives back when a thread takes it.
    jobs: VecDeque<(Job, OwnedSemaphorePermit)>,
    /// Whether some thread will look at the queue without being woken: it archives, or lingers.
    is_attended: bool,
    is_closed: bool,
}

impl Queue {
    /// A queue of `depth` places, at least one.
    pub(super) fn new(depth: usize) -> Self {
        let depth = depth.max(1);
        Self {
            places: Arc::new(Semaphore::new(depth)),
            state: Mutex::default(),
            wake: Condvar::new(),
            few: depth.div_ceil(2),
        }
    }

    /// A place, if there is one.
    pub(super) fn try_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Waits for a place. Cancel safe.
    pub(super) async fn place(&self) -> OwnedSemaphorePermit {
        let place = Arc::clone(&self.places).acquire_owned().await;
        place.expect("nobody closes the semaphore")
    }

    /// Queues a query. Gives it back when the queue is closed.
    pub(super) fn push(
        &self,
        query: Arc<Query>,
        since: Instant,
        place: OwnedSemaphorePermit,
    ) -> Result<(), Arc<Query>> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(query);
        }
        state.jobs.push_back((Job { query, since }, place));
        let must_wake = state.lacks_thread(self.few);
        drop(state);
        if must_wake {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.state.lock().jobs.len()
    }

    /// Takes no more queries. The threads end once they have taken those that are there.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.wake.notify_all();
    }

    /// Runs `archive` on each query until the queue is closed and empty.
    pub(super) fn work(&self, mut archive: impl FnMut(Job)) {
        let mut state = self.state.lock();
        // One thread attends to the queue. The others come when it has too much to do.
        let mut attends = false;
        loop {
            if let Some((job, place)) = state.jobs.pop_front() {
                attends |= !std::mem::replace(&mut state.is_attended, true);
                MutexGuard::unlocked(&mut state, || {
                    drop(place);
                    archive(job);
                });
            } else if state.is_closed {
                return;
            } else if attends {
                self.wake.wait_for(&mut state, LINGER);
                attends = !state.jobs.is_empty();
                state.is_attended = attends;
            } else {
                self.wake.wait(&mut state);
            }
        }
    }
}

impl State {
    /// Whether nobody attends to the queue, or who does is overwhelmed, or held up by a large profile
    /// or a slow disk.
    fn lacks_thread(&self, few: usize) -> bool {
        let waits_long = |(job, _): &(Job, _)| job.since.elapsed() > 2 * LINGER;
        !self.is_attended || self.jobs.len() >= few || self.jobs.front().is_some_and(waits_long)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread;

    use super::*;
    use crate::NewQuery;

    /// What threads archive, in their order; the first query only when it is let go.
    struct Threads {
        queue: Arc<Queue>,
        archived: Receiver<u64>,
        let_go: Sender<()>,
    }

    impl Threads {
        fn start(depth: usize, threads: usize) -> Self {
            let queue = Arc::new(Queue::new(depth));
            let (archive, archived) = channel();
            let (let_go, may_go) = channel::<()>();
            let may_go = Arc::new(Mutex::new(may_go));
            for _ in 0..threads {
                let (queue, archive) = (Arc::clone(&queue), archive.clone());
                let may_go = Arc::clone(&may_go);
                thread::spawn(move || {
                    queue.work(|job| {
                        archive.send(job.query.serial()).expect("the test reads");
                        if job.query.serial() == 1 {
                            may_go.lock().recv().expect("the test lets it go");
                        }
                    });
                });
            }
            Self {
                queue,
                archived,
                let_go,
            }
        }

        fn push(&self, serial: u64) {
            let query = Arc::new(Query::new(NewQuery::default(), serial));
            let place = self.queue.try_place().expect("there is room");
            assert!(self.queue.push(query, Instant::now(), place).is_ok());
        }

        fn next(&self) -> u64 {
            self.archived.recv().expect("a thread lives")
        }
    }

    #[test]
    fn each_comes_in_its_turn() {
        let threads = Threads::start(1000, 1);
        threads.let_go.send(()).expect("a thread lives");
        for serial in 1..=100 {
            threads.push(serial);
        }
        assert!((1..=100).all(|serial| threads.next() == serial));
        // It lingers, or sleeps: either way it comes.
        threads.push(101);
        assert_eq!(threads.next(), 101);
    }

    #[test]
    fn a_thread_is_woken_when_none_attends_or_when_too_much_waits() {
        let queue = Queue::new(6);
        assert_eq!(queue.few, 3);
        let job = |since| {
            let query = Arc::new(Query::new(NewQuery::default(), 1));
            (Job { query, since }, queue.try_place().expect("a place"))
        };
        // A moment that is not long ago for as long as the test takes.
        let now = Instant::now() + Duration::from_secs(3600);
        let mut state = State::default();
        state.jobs.push_back(job(now));
        assert!(state.lacks_thread(3), "nobody attends");
        state.is_attended = true;
        assert!(!state.lacks_thread(3));
        state.jobs.push_back(job(now));
        assert!(!state.lacks_thread(3));
        state.jobs.push_back(job(now));
        assert!(state.lacks_thread(3), "three wait");
        state.jobs.clear();
        state.jobs.push_back(job(Instant::now() - 3 * LINGER));
        assert!(state.lacks_thread(3), "one waits long");
    }

    #[test]
    fn what_is_queued_when_it_closes_is_archived() {
        let threads = Threads::start(1000, 1);
        threads.push(1);
        assert_eq!(threads.next(), 1);
        threads.push(2);
        threads.queue.close();
        let query = Arc::new(Query::new(NewQuery::default(), 3));
        let place = threads.queue.try_place().expect("there is room");
        let given_back = threads.queue.push(query, Instant::now(), place);
        assert_eq!(given_back.expect_err("it is closed").serial(), 3);
        threads.let_go.send(()).expect("a thread lives");
        assert_eq!(threads.next(), 2);
        assert!(threads.archived.recv().is_err(), "the thread has ended");
    }
}
