//! The word that the last rows are in the form in which they go to the client.

use tokio::sync::oneshot;

/// What a call has that makes a reply of the last rows. One that is dropped gives the word too: whoever
/// was making the reply is gone.
#[derive(Debug)]
pub(crate) struct Receipt {
    received: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

/// What the driver has meanwhile. Whoever has given the word waits until this is dropped.
#[derive(Debug)]
pub(super) struct Awaited {
    received: oneshot::Receiver<()>,
    _ended: oneshot::Sender<()>,
}

impl Receipt {
    pub(super) fn new() -> (Self, Awaited) {
        let (received, was_received) = oneshot::channel();
        let (has_ended, ended) = oneshot::channel();
        let awaited = Awaited {
            received: was_received,
            _ended: has_ended,
        };
        (Self { received, ended }, awaited)
    }

    /// Gives the word, and waits until the query has ended.
    pub(crate) async fn give(self) {
        let _ = self.received.send(());
        // The sender is dropped, then.
        let _ = self.ended.await;
    }
}

/// Waits for the word; for ever where nobody is to give it. Cancel safe.
pub(super) async fn received(awaited: Option<&mut Awaited>) {
    match awaited {
        Some(awaited) => drop((&mut awaited.received).await),
        None => std::future::pending().await,
    }
}
