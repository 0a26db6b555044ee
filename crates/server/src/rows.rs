//! A result on its way to the client.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use forebay_admission::{QueueId, Slot};
use forebay_engine::ResultStream;
use tokio::time::Instant;

use crate::copy::CopyOut;
use crate::portals::PortalRows;
use crate::running::Running;
use crate::{Error, Result, Session};

/// What a statement answers.
#[derive(Debug)]
pub enum Response {
    /// Rows, to be pulled.
    Rows(Rows),
    /// Rows in the form of `COPY … TO STDOUT`, to be pulled.
    CopyOut(CopyOut),
    /// A command tag.
    Done(String),
}

/// The rows of a statement. Dropping them stops the statement.
#[derive(Debug)]
pub struct Rows {
    schema: SchemaRef,
    source: Source,
    /// The rest of a batch that a row limit cut.
    rest: Option<RecordBatch>,
    pub(crate) running: Option<Running>,
    /// The reader's share of the statement's slot, when the statement goes on after a pause.
    share: Option<Slot>,
    verb: &'static str,
    counts_rows: bool,
    returned: u64,
    /// Since when they wait for their client; `None` while they are read.
    suspended: Option<Instant>,
    /// When the last of them were handed out.
    handed_out: Option<std::time::Instant>,
    /// They are read before their client asks for them.
    pub(crate) ahead: bool,
    failed: bool,
}

#[derive(Debug)]
enum Source {
    Plan(ResultStream),
    Batches(VecDeque<RecordBatch>),
    /// Rows of a portal, at most this many; the statement of the portal goes on elsewhere.
    Portal(Arc<PortalRows>, Option<u64>),
}

impl Rows {
    fn new(schema: SchemaRef, source: Source, running: Running, verb: &'static str) -> Self {
        Self {
            schema,
            source,
            rest: None,
            running: Some(running),
            share: None,
            verb,
            counts_rows: matches!(verb, "SELECT" | "FETCH"),
            returned: 0,
            suspended: None,
            handed_out: None,
            ahead: false,
            failed: false,
        }
    }

    pub(crate) fn of_plan(stream: ResultStream, running: Running, verb: &'static str) -> Self {
        let schema = Arc::clone(stream.schema());
        Self::new(schema, Source::Plan(stream), running, verb)
    }

    pub(crate) fn of_batch(batch: RecordBatch, running: Running, verb: &'static str) -> Self {
        let schema = batch.schema();
        Self::new(schema, Source::Batches([batch].into()), running, verb)
    }

    pub(crate) fn of_portal(portal: Arc<PortalRows>, limit: Option<u64>, running: Running) -> Self {
        let schema = Arc::clone(portal.schema());
        Self::new(schema, Source::Portal(portal, limit), running, "FETCH")
    }

    /// The columns, named as PostgreSQL names them.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows returned so far.
    #[must_use]
    pub fn returned(&self) -> u64 {
        self.returned
    }

    /// The next batch of at most `limit` rows; `None` at the end, with which the statement ends
    /// too. Cancel safe.
    ///
    /// # Errors
    /// What the plan failed with, or the interrupt that stopped it; nothing follows an error.
    pub async fn next(&mut self, limit: Option<usize>) -> Result<Option<RecordBatch>> {
        let Some(running) = &mut self.running else {
            return Ok(self.take_rest(limit));
        };
        self.suspended = None;
        running.resume();
        let watch = running.watch();
        let next = watch.over(pin!(self.next_unwatched(limit))).await;
        next.inspect_err(|error| self.fail(error))
    }

    /// The resource queue that their statement has a slot of.
    pub(crate) fn queue(&self) -> Option<QueueId> {
        self.running.as_ref().and_then(Running::queue)
    }

    /// Goes on after a pause: takes `session`'s share of the slot until the next one.
    ///
    /// # Errors
    /// When the wait for it was interrupted, which ends the statement.
    pub(crate) async fn go_on(&mut self, session: &Session) -> Result<()> {
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        running.resume();
        let share = session.share(running.queue(), running);
        let share = running.watch().over(pin!(share)).await;
        match share {
            Ok(share) => {
                self.share = share;
                Ok(())
            }
            Err(error) => {
                self.fail(&error);
                Err(error)
            }
        }
    }

    /// As [`Rows::next`], for a caller that watches for interrupts itself.
    pub(crate) async fn next_unwatched(
        &mut self,
        limit: Option<usize>,
    ) -> Result<Option<RecordBatch>> {
        if let (Some(since), Some(running)) = (self.handed_out.take(), &self.running) {
            running.waited_for_client(since.elapsed());
        }
        if let Some(rest) = self.take_rest(limit) {
            return Ok(Some(rest));
        }
        if let (Source::Plan(stream), Some(running)) = (&self.source, &self.running) {
            running.runs_at(stream.priority());
        }
        let mut next = next_of(&mut self.source).await;
        if let Some(Err(passed)) = self.running.as_ref().map(Running::check_usage) {
            next = next.and(Err(passed));
        }
        match next {
            Ok(Some(batch)) => {
                if let Some(running) = &mut self.running {
                    running.returned_rows();
                }
                Ok(Some(self.cut(batch, limit)))
            }
            Ok(None) => {
                self.end(Ok(()));
                Ok(None)
            }
            Err(error) => {
                self.end(Err(&error));
                Err(error)
            }
        }
    }

    fn take_rest(&mut self, limit: Option<usize>) -> Option<RecordBatch> {
        let rest = self.rest.take()?;
        Some(self.cut(rest, limit))
    }

    fn cut(&mut self, batch: RecordBatch, limit: Option<usize>) -> RecordBatch {
        let rows = limit.unwrap_or(usize::MAX).min(batch.num_rows());
        if rows < batch.num_rows() {
            self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        self.returned += rows as u64;
        if let Some(running) = &self.running
            && !self.ahead
        {
            running.count_rows(rows as u64);
            self.handed_out = Some(std::time::Instant::now());
        }
        batch.slice(0, rows)
    }

    fn end(&mut self, outcome: Result<(), &Error>) {
        self.share = None;
        self.failed |= outcome.is_err();
        self.source = Source::Batches(VecDeque::new());
        match &mut self.running {
            Some(running) if self.ahead && outcome.is_ok() => running.release(),
            running => {
                if let Some(running) = running.take() {
                    running.finish(outcome);
                }
            }
        }
    }

    /// The client has what it asked for now and will come back for more: until then no cancel
    /// and no timeout concerns this statement.
    pub fn suspend(&mut self) {
        self.share = None;
        if let Some(running) = &mut self.running {
            running.suspend();
            self.suspended = Some(Instant::now());
        }
    }

    /// Since when they hold what their statement holds without being read.
    pub(crate) fn suspended_since(&self) -> Option<Instant> {
        self.suspended.filter(|_| self.running.is_some())
    }

    /// Whether somebody has cancelled their statement.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.running.as_ref().is_some_and(Running::is_cancelled)
    }

    /// Whether they ended with an error.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Ends the statement early: nobody wants the rest.
    pub(crate) fn stop(&mut self) {
        self.rest = None;
        self.share = None;
        self.running = None;
        self.source = Source::Batches(VecDeque::new());
    }

    /// Waits until the statement is interrupted, for as long as its client asks for nothing. Never
    /// returns once the statement has ended.
    pub async fn interrupted(&self) -> Error {
        match &self.running {
            Some(running) => running.interrupted().await,
            None => std::future::pending().await,
        }
    }

    /// As [`Rows::interrupted`], for as long as a slow client is being written to: one that takes
    /// nothing for `idle_cursor_timeout`, counted anew with each call, is an interrupt that ends its
    /// session.
    pub async fn interrupted_while_unread(&self) -> Error {
        match &self.running {
            Some(running) => running.interrupted_while_unread().await,
            None => std::future::pending().await,
        }
    }

    /// Ends the statement early with an error of the front end.
    pub fn fail(&mut self, error: &Error) {
        self.end(Err(error));
    }

    /// The command tag for `rows` rows.
    #[must_use]
    pub fn tag(&self, rows: u64) -> String {
        if self.counts_rows {
            format!("{} {rows}", self.verb)
        } else {
            self.verb.to_owned()
        }
    }
}

async fn next_of(source: &mut Source) -> Result<Option<RecordBatch>> {
    match source {
        Source::Plan(stream) => loop {
            match stream.next().await? {
                Some(batch) if batch.num_rows() == 0 => {}
                batch => return Ok(batch),
            }
        },
        Source::Batches(batches) => Ok(batches.pop_front()),
        Source::Portal(portal, limit) => {
            let batch = portal.next(*limit).await?;
            if let (Some(left), Some(batch)) = (limit.as_mut(), &batch) {
                *left -= batch.num_rows() as u64;
            }
            Ok(batch)
        }
    }
}
