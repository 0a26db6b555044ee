//! Operations: statements that clients have begun and not closed yet.
//!
//! An [`Operation`] is what calls look at. Behind it is one task, the driver (`driver.rs`), which
//! owns the session and the rows of the statement; calls ask it for rows through a channel.

pub(crate) mod driver;
mod receipt;
mod results;

pub(crate) use receipt::Receipt;

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use forebay_server::QueryId;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::session::ClientSession;
use crate::session::options::QueryOptions;
use crate::wire::idl::{TOperationHandle, TOperationState};

/// Lines that `GetLog` keeps.
const MAX_LOG_BYTES: usize = 64 * 1024;

/// A statement that a client has begun.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) id: QueryId,
    pub(crate) session: Arc<ClientSession>,
    /// As the handle says it.
    pub(crate) operation_type: i32,
    /// What it returns; `None` when it returns no rows.
    pub(crate) schema: Option<SchemaRef>,
    pub(crate) options: QueryOptions,
    pub(crate) progress: watch::Receiver<Progress>,
    /// Where rows are asked for.
    requests: mpsc::Sender<Request>,
    /// Thrown to end the statement.
    pub(crate) cancelled: CancellationToken,
    /// Cancelled when the statement has ended.
    done: CancellationToken,
    /// Messages for the client that are no errors.
    log: Arc<Mutex<String>>,
}

/// How far a statement has come.
#[derive(Debug, Clone, Default)]
pub(crate) enum Progress {
    /// Rows are not there yet, or the statement is not done.
    #[default]
    Running,
    /// The first rows are there, or the statement is done.
    Finished {
        /// Rows that it has written, if that is what it does.
        written: Option<i64>,
    },
    /// It has failed or was cancelled.
    Failed(Error),
}

impl Progress {
    pub(crate) fn is_running(&self) -> bool {
        matches!(self, Self::Running)
    }
}

/// What calls ask of the driver.
#[derive(Debug)]
enum Request {
    Fetch(Fetch),
    /// Nobody wants anything more.
    Close,
}

/// A call that asks for rows.
#[derive(Debug)]
pub(crate) struct Fetch {
    /// At most so many.
    pub(crate) max_rows: usize,
    /// From the first one again.
    pub(crate) from_start: bool,
    /// Until then rows are waited for.
    pub(crate) until: Option<Instant>,
    pub(crate) answer: oneshot::Sender<Result<Delivery, Error>>,
}

/// Rows for a call.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) batches: Vec<RecordBatch>,
    /// Rows that were delivered before.
    pub(crate) offset: u64,
    pub(crate) has_more: bool,
    /// There where these are the last rows.
    pub(crate) receipt: Option<Receipt>,
}

impl Operation {
    pub(crate) fn handle(&self) -> TOperationHandle {
        crate::session::handle::operation_handle(
            self.id,
            self.session.secret,
            self.operation_type,
            self.schema.is_some(),
        )
    }

    /// Asks for rows.
    ///
    /// # Errors
    /// What the statement has failed with.
    pub(crate) async fn fetch(
        &self,
        max_rows: usize,
        from_start: bool,
        until: Option<Instant>,
    ) -> Result<Delivery, Error> {
        let (answer, delivered) = oneshot::channel();
        let request = Request::Fetch(Fetch {
            max_rows,
            from_start,
            until,
            answer,
        });
        // A driver that is gone has left its last word.
        if self.requests.send(request).await.is_err() {
            return Err(self.failure());
        }
        delivered.await.unwrap_or_else(|_| Err(self.failure()))
    }

    /// Ends the operation, whatever it does, and waits for its end. The answer is how far it had come.
    pub(crate) async fn close(&self) -> Progress {
        let reached = self.progress.borrow().clone();
        if reached.is_running() {
            self.cancelled.cancel();
        }
        // A driver that is gone has nothing to close.
        let _ = self.requests.send(Request::Close).await;
        let mut progress = self.progress.clone();
        while progress.changed().await.is_ok() {}
        reached
    }

    /// Waits until the statement has ended and holds nothing any more.
    pub(crate) async fn ended(&self) {
        self.done.cancelled().await;
    }

    fn failure(&self) -> Error {
        match &*self.progress.borrow() {
            Progress::Failed(error) => error.clone(),
            _ => Error::unknown_operation(self.id),
        }
    }

    /// Waits until the statement runs no more, or `until`. Cancel safe.
    pub(crate) async fn settled(&self, until: Option<Instant>) -> Progress {
        let mut progress = self.progress.clone();
        let settled = progress.wait_for(|progress| !progress.is_running());
        let waited = match until {
            Some(until) => tokio::time::timeout_at(until, settled).await.is_ok(),
            None => settled.await.is_ok(),
        };
        if waited || self.progress.has_changed().is_ok() {
            return self.progress.borrow().clone();
        }
        // The driver has gone without a word: it has panicked.
        match self.progress.borrow().clone() {
            Progress::Running => Progress::Failed(Error::of_query(
                self.id,
                "The statement has ended unexpectedly.",
            )),
            settled => settled,
        }
    }

    /// The state as clients know it. `is_pending` tells of a query that waits to be admitted.
    pub(crate) fn state(&self, progress: &Progress, is_pending: bool) -> TOperationState {
        match progress {
            Progress::Running if is_pending => TOperationState::PENDING,
            Progress::Running => TOperationState::RUNNING,
            Progress::Finished { .. } => TOperationState::FINISHED,
            Progress::Failed(_) => TOperationState::ERROR,
        }
    }

    /// What has come up, in lines.
    pub(crate) fn log(&self) -> String {
        self.log.lock().clone()
    }
}

/// Adds a line, unless there are enough.
fn add_line(log: &Mutex<String>, line: &str) {
    let mut log = log.lock();
    if log.len() + line.len() <= MAX_LOG_BYTES {
        log.push_str(line);
        log.push('\n');
    }
}
