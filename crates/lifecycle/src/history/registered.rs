//! Which queries were registered, told to the journal by the thread of the history.
//!
//! Whoever registers a query only says so here, without a lock and without a file. A query that ends
//! soon is told of by the line of its row. Those that live longer than [`NOTE_AFTER`] are told of by a
//! line of their own, so that a start after `kill -9` knows how many were lost.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::Duration;

/// How long after a query was registered the journal knows of it at the latest.
pub(super) const NOTE_AFTER: Duration = Duration::from_millis(20);

/// The largest serial number that was given out, and who is to write it down.
#[derive(Default)]
pub(super) struct Registered {
    largest: AtomicU64,
    /// Whether the thread knows that there is something to write down.
    told: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Registered {
    /// Names the thread that is woken.
    pub(super) fn watched_by(&self, thread: Thread) {
        let _ = self.thread.set(thread);
    }

    /// Queries up to this number have been registered. The first one after a while wakes the thread.
    pub(super) fn note(&self, serial: u64) {
        self.largest.fetch_max(serial, Ordering::Relaxed);
        if !self.told.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// Wakes the thread, now or when it next goes to sleep.
    pub(super) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Whether something was noted that nobody has taken.
    pub(super) fn is_told(&self) -> bool {
        self.told.load(Ordering::Acquire)
    }

    /// The largest number. What is noted later wakes the thread again.
    pub(super) fn take(&self) -> u64 {
        // Whoever was not the first sees the thread told, and has put its number there before.
        self.told.swap(false, Ordering::AcqRel);
        self.largest()
    }

    /// The largest number now.
    pub(super) fn largest(&self) -> u64 {
        self.largest.load(Ordering::Relaxed)
    }
}
