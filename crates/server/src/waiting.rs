//! Waits for admission, where all can see them: in the registry, in `pg_stat_activity`, told to the
//! client after a while, and limited in time.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_admission::{AdmissionError, QueueId, Reason, WaiterView};
use forebay_lifecycle::AdmissionState;

use crate::queues::tally::CountedWait;
use crate::queues::why::explanation;
use crate::running::Running;
use crate::sessions::SessionHandle;
use crate::{Error, Notice, Result, Session};

/// What a statement may have to wait for.
pub(crate) enum Wanted {
    /// Slot or charge of a resource queue.
    Queue {
        name: Arc<str>,
        timeout: Option<Duration>,
    },
    /// Locks on relations.
    Locks { timeout: Option<Duration> },
}

impl Session {
    /// Waits for what admission grants.
    ///
    /// # Errors
    /// The refusal, or that the wait took longer than it may.
    pub(crate) async fn admission_wait<T>(
        &self,
        running: &Running,
        wanted: &Wanted,
        wait: impl Future<Output = Result<T, AdmissionError>>,
    ) -> Result<T> {
        let mut wait = pin!(wait);
        running.asks_for(wanted);
        let admitted = |_: &T| running.answered(wanted, AdmissionState::Admitted);
        let refused = |error| {
            running.answered(wanted, AdmissionState::Rejected);
            self.admission_error(error)
        };
        // What is granted at once is no wait.
        tokio::select! {
            biased;
            granted = &mut wait => return granted.inspect(admitted).map_err(refused),
            () = std::future::ready(()) => {}
        }
        let start = Instant::now();
        let _shown = self.show_wait(running, wanted);
        let counted = self.count_wait(wanted);
        let outcome = tokio::select! {
            biased;
            granted = wait => granted.map_err(refused),
            error = self.waited_too_long(wanted) => {
                counted.iter().for_each(CountedWait::timed_out);
                running.answered(wanted, AdmissionState::TimedOut);
                Err(error)
            }
            () = self.tell_of_wait(wanted) => unreachable!("it tells and goes on waiting"),
        };
        running.waited(wanted, start.elapsed());
        outcome.inspect(admitted)
    }

    /// Shows the wait until the answer is dropped.
    fn show_wait(&self, running: &Running, wanted: &Wanted) -> ShownWait {
        let view = self.own_wait();
        running.pending(wanted, self.wait_text(view.as_ref()));
        let event = match wanted {
            Wanted::Queue { name, .. } => ("ResourceQueue", name.to_string()),
            Wanted::Locks { .. } => ("Lock", self.wanted_relation(view.as_ref())),
        };
        self.handle.status.lock().wait = Some(event);
        ShownWait(Arc::clone(&self.handle))
    }

    /// After `queue_notice_after`, tells the client where its statement stands in the queue.
    async fn tell_of_wait(&self, wanted: &Wanted) {
        if let Wanted::Queue { name, .. } = wanted
            && let Some(after) = self.settings.timeout("queue_notice_after")
        {
            tokio::time::sleep(after).await;
            let why = self.wait_text(self.own_wait().as_ref());
            let notice = Notice {
                severity: "NOTICE",
                sqlstate: "00000",
                message: format!("waiting in resource queue \"{name}\": {why}"),
            };
            let level = self.setting("client_min_messages");
            self.notices.add_urgent(notice, level);
        }
        std::future::pending().await
    }

    /// The error that ends a wait of its longest time.
    async fn waited_too_long(&self, wanted: &Wanted) -> Error {
        let (Wanted::Queue { timeout, .. } | Wanted::Locks { timeout }) = wanted;
        let Some(timeout) = *timeout else {
            return std::future::pending().await;
        };
        tokio::time::sleep(timeout).await;
        let why = self.wait_text(self.own_wait().as_ref());
        match wanted {
            Wanted::Queue { name, .. } => Error::new(
                "57014",
                format!("canceling statement due to the timeout of resource queue \"{name}\""),
            )
            .with_detail(format!("It waited {timeout:?}: {why}."))
            .with_hint("Run it again later, or raise QUEUE_TIMEOUT of the queue."),
            Wanted::Locks { .. } => Error::new("55P03", "canceling statement due to lock timeout")
                .with_detail(format!("It waited {timeout:?}: {why}.")),
        }
    }

    fn own_wait(&self) -> Option<WaiterView> {
        let owner = self.handle.owner.owner();
        let wait = self.server.inner.admission.explain(owner);
        wait.map(|(view, _)| view)
    }

    fn wanted_relation(&self, view: Option<&WaiterView>) -> String {
        match view.map(|view| &view.reason) {
            Some(Reason::Lock { relation, .. }) => {
                let snapshot = self.snapshot();
                let found = snapshot.relation_by_oid(relation.0);
                found.map_or_else(|| relation.0.to_string(), |r| r.name.clone())
            }
            _ => "relation".to_owned(),
        }
    }

    /// Place and reason of a wait in words.
    fn wait_text(&self, view: Option<&WaiterView>) -> String {
        let named = |relation| self.relation_name(relation);
        let process = |owner| self.server.inner.sessions.pid_of(owner);
        view.map_or_else(
            || "it is being granted".to_owned(),
            |view| explanation(view, named, process),
        )
    }

    /// Counts a wait until the answer is dropped.
    fn count_wait(&self, wanted: &Wanted) -> Option<CountedWait> {
        let tally = &self.server.inner.sessions.tally;
        let Wanted::Queue { name, .. } = wanted else {
            return Some(tally.begin_lock_wait());
        };
        let queue = QueueId(self.snapshot().resource_queue(name)?.oid);
        Some(tally.begin_wait(queue))
    }
}

/// A wait that `pg_stat_activity` shows until this is dropped.
struct ShownWait(Arc<SessionHandle>);

impl Drop for ShownWait {
    fn drop(&mut self) {
        self.0.status.lock().wait = None;
    }
}
