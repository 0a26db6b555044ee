//! A limit on the time that the head of an HTTP request takes.
//!
//! The HTTP library has none when it is used as it is here, and reads the head itself. So the
//! connection measures: from the first byte that comes while no request is answered, until the next
//! request begins to be answered. A connection on which nothing comes may stay for [`MAX_IDLE`]: the
//! beginning of a head may have come together with the request before, where nobody sees it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::MAX_IDLE;

/// What those who answer a connection's requests tell the one who reads it.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Requests whose head has been read.
    begun: AtomicUsize,
    /// Those of them that are answered.
    answered: AtomicUsize,
}

impl Activity {
    /// A request is answered until the answer is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Underway {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Underway(Arc::clone(self))
    }
}

/// A request that is answered now.
pub(super) struct Underway(Arc<Activity>);

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// Measures the heads of one connection's requests.
pub(super) struct HeadTimer {
    patience: Duration,
    activity: Arc<Activity>,
    /// Requests that had begun when the timer was looked at last.
    seen: usize,
    /// Whether a head is on its way.
    in_head: bool,
    /// Runs while no request is answered.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl HeadTimer {
    pub(super) fn new(patience: Duration, activity: Arc<Activity>) -> Self {
        Self {
            patience,
            activity,
            seen: 0,
            in_head: false,
            deadline: None,
        }
    }

    /// Whether a head has taken too long. `more` says that bytes have come. If not, `context` is
    /// woken when it will have.
    pub(super) fn is_over(&mut self, more: bool, context: &mut Context<'_>) -> bool {
        let begun = self.activity.begun.load(Ordering::Relaxed);
        if begun != self.seen {
            // The head that was measured has been read.
            self.seen = begun;
            self.in_head = false;
            self.deadline = None;
        }
        if self.activity.answered.load(Ordering::Relaxed) != begun {
            return false;
        }
        if more && !self.in_head {
            self.in_head = true;
            self.deadline = None;
        }
        let limit = if self.in_head {
            self.patience
        } else {
            MAX_IDLE
        };
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(limit)));
        deadline.as_mut().poll(context).is_ready()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::{Poll, Waker};

    use super::*;

    /// A timer, and what it is told by.
    fn timer() -> (HeadTimer, Arc<Activity>) {
        let activity = Arc::<Activity>::default();
        let patience = Duration::from_millis(1);
        (HeadTimer::new(patience, Arc::clone(&activity)), activity)
    }

    /// Looks at the timer; whether it measures a head.
    fn runs(timer: &mut HeadTimer, more: bool) -> bool {
        let _ = timer.is_over(more, &mut Context::from_waker(Waker::noop()));
        timer.in_head
    }

    /// Waits until the timer is over.
    async fn over(timer: &mut HeadTimer) {
        poll_fn(|context| match timer.is_over(false, context) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    #[tokio::test]
    async fn a_head_that_stands_still_is_over_after_a_while() {
        let (mut timer, _) = timer();
        assert!(runs(&mut timer, true));
        over(&mut timer).await;
    }

    #[tokio::test]
    async fn a_connection_without_a_request_is_not_measured() {
        let (mut timer, activity) = timer();
        assert!(!runs(&mut timer, false), "nothing has come yet");
        assert!(runs(&mut timer, true));
        drop(activity.begin());
        assert!(!runs(&mut timer, false), "the request was answered");
        assert!(runs(&mut timer, true), "the next one begins");
        over(&mut timer).await;
    }

    #[tokio::test]
    async fn a_connection_is_idle_between_requests() {
        let (mut timer, activity) = timer();
        assert!(!runs(&mut timer, false));
        assert!(timer.deadline.is_some(), "not for ever");
        assert!(runs(&mut timer, true));
        let underway = activity.begin();
        assert!(!runs(&mut timer, false));
        assert!(timer.deadline.is_none(), "for as long as the answer takes");
        drop(underway);
        assert!(!runs(&mut timer, false));
        assert!(timer.deadline.is_some());
    }

    #[tokio::test]
    async fn what_comes_while_a_request_is_answered_is_not_a_head() {
        let (mut timer, activity) = timer();
        assert!(runs(&mut timer, true));
        let underway = activity.begin();
        assert!(!runs(&mut timer, true), "the body");
        drop(underway);
        assert!(!runs(&mut timer, false));
        assert!(runs(&mut timer, true), "the next head");
    }
}
