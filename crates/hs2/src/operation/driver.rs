//! The task behind an operation: runs the statement, reads its rows ahead, hands them out.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use forebay_server::{Notice, Parsed, Prepared, QueryId, Response, Rows, Server, Session};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::receipt::{Awaited, Receipt, received};
use super::results::Results;
use super::{Delivery, Fetch, Operation, Progress, Request, add_line};
use crate::error::{self, Error};
use crate::session::ClientSession;
use crate::session::options::{self, QueryOptions};
use crate::wire::idl::TOperationType;

/// What an operation does.
pub(crate) enum Work {
    /// Runs a statement.
    Statement {
        parsed: Arc<Parsed>,
        prepared: Arc<Prepared>,
        /// What it answers when it is done and has no rows of its own.
        summary: Option<fn(&str) -> RecordBatch>,
    },
    /// Hands out rows that were made without a plan, or none.
    Made {
        text: Arc<str>,
        statement_type: &'static str,
        rows: Option<RecordBatch>,
    },
}

/// What is needed to begin an operation.
pub(crate) struct Beginning {
    pub(crate) id: QueryId,
    pub(crate) client: Arc<ClientSession>,
    pub(crate) session: Session,
    pub(crate) work: Work,
    pub(crate) operation_type: TOperationType,
    pub(crate) schema: Option<SchemaRef>,
    pub(crate) options: QueryOptions,
    /// Rows that are kept to be fetched again.
    pub(crate) cached_rows: usize,
}

/// Begins an operation. Whoever waits for the second part of the answer, however that ends, finds
/// its query in the registry or behind it: clients ask for a profile at once.
pub(crate) fn begin(
    server: Server,
    beginning: Beginning,
) -> (Arc<Operation>, oneshot::Receiver<()>) {
    let (unregistered, registered) = oneshot::channel();
    let (progress, seen) = watch::channel(Progress::Running);
    let (requests, asked) = mpsc::channel(1);
    let cancelled = beginning.client.over.child_token();
    let done = CancellationToken::new();
    let log = Arc::new(Mutex::new(String::new()));
    let operation = Arc::new(Operation {
        id: beginning.id,
        session: Arc::clone(&beginning.client),
        operation_type: beginning.operation_type.inner(),
        schema: beginning.schema,
        options: beginning.options.clone(),
        progress: seen,
        requests,
        cancelled: cancelled.clone(),
        done: done.clone(),
        log: Arc::clone(&log),
    });
    let limit = beginning.options.number(options::ROWS_LIMIT);
    let driver = Driver {
        id: beginning.id,
        server,
        session: Some(beginning.session),
        unregistered: Some(unregistered),
        rows: None,
        taken: None,
        receipt: None,
        answered: None,
        results: Results::new(beginning.cached_rows),
        patience: beginning.options.seconds(options::QUERY_TIMEOUT),
        rows_left: (limit > 0).then_some(limit),
        rows_limit: limit,
        progress,
        cancelled,
        done,
        log,
    };
    tokio::spawn(driver.run(beginning.work, asked));
    (operation, registered)
}

/// A statement whose rows have all been read. It holds nothing any more; its query can still be
/// cancelled, and is told how its rows were fetched.
struct Taken {
    rows: Rows,
    session: Session,
}

struct Driver {
    id: QueryId,
    server: Server,
    /// `None` once the statement has ended.
    session: Option<Session>,
    /// Dropped when the query is registered.
    unregistered: Option<oneshot::Sender<()>>,
    rows: Option<Rows>,
    /// The statement after its plan has ended, until its client has taken the last row.
    taken: Option<Taken>,
    /// There while the reply with the last rows is being made.
    receipt: Option<Awaited>,
    /// When the client was answered last.
    answered: Option<Instant>,
    results: Results,
    /// How long a client may leave the operation alone.
    patience: Option<Duration>,
    /// Rows that the plan may still give.
    rows_left: Option<u64>,
    rows_limit: u64,
    progress: watch::Sender<Progress>,
    cancelled: CancellationToken,
    /// Cancelled when the statement has ended.
    done: CancellationToken,
    log: Arc<Mutex<String>>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.done.cancel();
    }
}

impl Driver {
    async fn run(mut self, work: Work, mut asked: mpsc::Receiver<Request>) {
        if let Err(error) = self.start(work).await {
            self.fail(&error);
        }
        self.unregistered = None;
        self.serve(&mut asked).await;
    }

    /// Runs the statement until its first rows are there.
    async fn start(&mut self, work: Work) -> Result<(), forebay_server::Error> {
        match work {
            Work::Made {
                text,
                statement_type,
                rows,
            } => {
                let session = self.session.as_mut().expect("nothing has ended yet");
                let has_rows = rows.is_some();
                let rows =
                    rows.unwrap_or_else(|| RecordBatch::new_empty(Arc::new(Schema::empty())));
                let mut rows = session.answer_with(self.id, &text, statement_type, rows);
                if has_rows {
                    rows.read_ahead();
                }
                self.rows = Some(rows);
                self.unregistered = None;
                while !self.results.ended {
                    self.read().await?;
                }
                if !has_rows {
                    self.results.clear();
                    self.finish().await;
                }
                self.finished(None);
            }
            Work::Statement {
                parsed,
                prepared,
                summary,
            } => match self.execute(&parsed, &prepared).await? {
                Response::Done(tag) => {
                    self.end().await?;
                    if let Some(summary) = summary {
                        self.results.push(summary(&tag));
                    }
                    self.finished(written_rows(&tag));
                }
                Response::Rows(mut rows) => {
                    rows.read_ahead();
                    self.rows = Some(rows);
                    self.read().await?;
                    self.finished(None);
                }
                // The dialect has no such statement.
                Response::CopyOut(_) => {
                    let message = "COPY … TO STDOUT is for PostgreSQL's clients";
                    return Err(forebay_server::Error::new("0A000", message));
                }
            },
        }
        Ok(())
    }

    async fn execute(
        &mut self,
        parsed: &Arc<Parsed>,
        prepared: &Arc<Prepared>,
    ) -> Result<Response, forebay_server::Error> {
        let session = self.session.as_mut().expect("nothing has ended yet");
        let notices = Arc::clone(session.notices());
        let mut work = pin!(session.execute_as(self.id, prepared, parsed));
        let (server, id, unregistered) = (&self.server, self.id, &mut self.unregistered);
        let mut work = poll_fn(|context| {
            let polled = work.as_mut().poll(context);
            unregistered.take_if(|_| server.query(&id).is_some());
            polled
        });
        let mut asked_to_stop = false;
        let response = loop {
            tokio::select! {
                biased;
                response = &mut work => break response,
                () = self.cancelled.cancelled(), if !asked_to_stop => {
                    asked_to_stop = true;
                    // It ends by itself with the right words, unless nobody knows of it yet.
                    if server.cancel_query(&id).is_err() {
                        break Err(cancelled());
                    }
                }
                () = notices.urgent() => add_notices(&self.log, notices.take()),
            }
        };
        add_notices(&self.log, notices.take());
        response
    }

    /// Reads one batch.
    async fn read(&mut self) -> Result<(), forebay_server::Error> {
        let Some(rows) = &mut self.rows else {
            return Ok(());
        };
        let next = tokio::select! {
            biased;
            next = rows.next(None) => next?,
            () = self.cancelled.cancelled() => {
                let error = cancelled();
                rows.fail(&error);
                return Err(error);
            }
        };
        match next {
            Some(batch) => {
                self.check_limit(batch.num_rows())?;
                self.results.push(batch);
                Ok(())
            }
            None => self.end().await,
        }
    }

    /// `NUM_ROWS_PRODUCED_LIMIT`.
    fn check_limit(&mut self, rows: usize) -> Result<(), forebay_server::Error> {
        let Some(left) = &mut self.rows_left else {
            return Ok(());
        };
        match left.checked_sub(rows as u64) {
            Some(rest) => {
                *left = rest;
                Ok(())
            }
            None => {
                let message = format!(
                    "Query {} terminated due to rows produced limit of {}.",
                    self.id, self.rows_limit
                );
                let error = forebay_server::Error::new("53400", message).with_hint(
                    "Unset or increase NUM_ROWS_PRODUCED_LIMIT query option to produce more rows.",
                );
                if let Some(rows) = &mut self.rows {
                    rows.fail(&error);
                }
                Err(error)
            }
        }
    }

    /// The statement has given its last row: its transaction ends, and with it what it holds.
    async fn end(&mut self) -> Result<(), forebay_server::Error> {
        let rows = self.rows.take();
        self.results.ended = true;
        let Some(mut session) = self.session.take() else {
            return Ok(());
        };
        let ended = session.end_implicit_transaction(true).await;
        add_notices(&self.log, session.take_notices());
        match (rows, &ended) {
            (Some(mut rows), Ok(())) => {
                rows.suspend();
                session.rest();
                self.taken = Some(Taken { rows, session });
            }
            (Some(mut rows), Err(error)) => rows.fail(error),
            (None, _) => session.settle().await,
        }
        self.done.cancel();
        ended
    }

    /// The client has taken the last row, or wants no more: the query ends, if it has not yet.
    async fn finish(&mut self) {
        // Dropped when the query has ended.
        let _receipt = self.receipt.take();
        if let Some(mut taken) = self.taken.take() {
            taken.rows.finish(!self.results.is_empty());
            taken.session.settle().await;
        }
    }

    /// The client wants no more, or has gone. Whoever says so leaves a plan in its midst with what was
    /// asked for.
    async fn close(&mut self, request: Option<Request>) {
        if let (Some(_), Some(mut rows)) = (request, self.rows.take()) {
            rows.finish(true);
            // Its locks go back before the archive is waited for.
            if let Some(mut session) = self.session.take() {
                let _ = session.end_implicit_transaction(true).await;
                session.settle().await;
            }
        }
        self.finish().await;
    }

    fn finished(&mut self, written: Option<i64>) {
        self.answered = Some(Instant::now());
        self.progress.send_replace(Progress::Finished { written });
    }

    /// The rows, as long as their query has not ended.
    fn open_rows(&mut self) -> Option<&mut Rows> {
        let taken = self.taken.as_mut().map(|taken| &mut taken.rows);
        self.rows.as_mut().or(taken)
    }

    fn fail(&mut self, error: &forebay_server::Error) {
        if let Some(rows) = self.open_rows() {
            rows.fail(error);
        }
        self.rows = None;
        self.taken = None;
        self.results.clear();
        // What it holds is given back before anybody is told.
        self.session = None;
        self.done.cancel();
        let failure = Error::of_query(self.id, &error::text_of(self.id, error));
        self.progress.send_replace(Progress::Failed(failure));
    }

    /// Hands out rows until the operation is closed.
    async fn serve(mut self, asked: &mut mpsc::Receiver<Request>) {
        let mut last_used = Instant::now();
        loop {
            let wants_more = self.rows.is_some() && self.results.has_room();
            if !wants_more && let Some(rows) = &mut self.rows {
                rows.suspend();
            }
            let is_open = self.is_open();
            let taken = self.taken.as_mut().map(|taken| &mut taken.rows);
            let open_rows = self.rows.as_mut().or(taken);
            let expiry = self.patience.map(|patience| last_used + patience);
            tokio::select! {
                biased;
                request = asked.recv() => {
                    let Some(Request::Fetch(fetch)) = request else {
                        self.close(request).await;
                        return;
                    };
                    self.answer(fetch).await;
                    last_used = Instant::now();
                }
                () = received(self.receipt.as_mut()) => self.finish().await,
                () = self.cancelled.cancelled(), if is_open => {
                    self.fail(&cancelled());
                }
                () = until(expiry), if is_open => {
                    let patience = self.patience.unwrap_or_default().as_secs();
                    let message = format!(
                        "Query {} expired due to client inactivity (timeout is {patience}s000ms)",
                        self.id
                    );
                    self.fail(&forebay_server::Error::new("57014", message));
                }
                read = read_ahead(open_rows, wants_more) => {
                    if let Err(error) = self.take_read(read).await {
                        self.fail(&error);
                    }
                }
            }
        }
    }

    /// Whether there is still something that a cancel or a time limit ends.
    fn is_open(&self) -> bool {
        let waits_for_client = self.taken.is_some() && self.receipt.is_none();
        matches!(&*self.progress.borrow(), Progress::Finished { .. })
            && (waits_for_client || !(self.results.ended && self.results.is_empty()))
    }

    async fn take_read(
        &mut self,
        read: Result<Option<RecordBatch>, forebay_server::Error>,
    ) -> Result<(), forebay_server::Error> {
        match read? {
            Some(batch) => {
                self.check_limit(batch.num_rows())?;
                self.results.push(batch);
                Ok(())
            }
            None => self.end().await,
        }
    }

    async fn answer(&mut self, request: Fetch) {
        if let (Some(answered), Some(rows)) = (self.answered.take(), self.open_rows()) {
            rows.client_waited(answered.elapsed());
        }
        if request.from_start && !self.results.restart() {
            let error = Error::of_query(
                self.id,
                "Restarting of fetch requires enabling of query result caching.",
            );
            let _ = request.answer.send(Err(error));
            return;
        }
        if self.results.is_empty() && self.rows.is_some() {
            let read = match request.until {
                Some(until) => tokio::time::timeout_at(until, self.read())
                    .await
                    .unwrap_or(Ok(())),
                None => self.read().await,
            };
            if let Err(error) = read {
                self.fail(&error);
            }
        }
        let failed = match &*self.progress.borrow() {
            Progress::Failed(error) => Some(error.clone()),
            _ => None,
        };
        let _ = request.answer.send(match failed {
            Some(error) => Err(error),
            None => Ok(self.deliver(request.max_rows)),
        });
        self.answered = Some(Instant::now());
    }

    fn deliver(&mut self, max_rows: usize) -> Delivery {
        let delivery = self.results.take(max_rows);
        if self.taken.is_none() || self.receipt.is_some() || delivery.has_more {
            return delivery;
        }
        let (receipt, awaited) = Receipt::new();
        self.receipt = Some(awaited);
        Delivery {
            receipt: Some(receipt),
            ..delivery
        }
    }
}

fn cancelled() -> forebay_server::Error {
    forebay_server::Error::new("57014", "canceling statement due to user request")
}

/// The next batch, where one is wanted; else what ends rows that nobody reads.
async fn read_ahead(
    rows: Option<&mut Rows>,
    wants_more: bool,
) -> Result<Option<RecordBatch>, forebay_server::Error> {
    match rows {
        Some(rows) if wants_more => rows.next(None).await,
        Some(rows) => {
            let error = rows.interrupted().await;
            rows.fail(&error);
            Err(error)
        }
        None => std::future::pending().await,
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn add_notices(log: &Mutex<String>, notices: Vec<Notice>) {
    for notice in notices {
        add_line(log, &format!("{}: {}", notice.severity, notice.message));
    }
}

/// The number of rows in the tag of a statement that writes.
fn written_rows(tag: &str) -> Option<i64> {
    let (_, rows) = tag.rsplit_once(' ')?;
    rows.parse().ok()
}
