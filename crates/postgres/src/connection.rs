//! The loop of a connection, and what both query protocols share.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use forebay_server::{Error, Notice, Notices, Parsed, Session, Severity, TransactionStatus};
use futures::FutureExt;
use pgwire::error::ErrorInfo;
use pgwire::messages::response::{CommandComplete, ReadyForQuery, TransactionStatus as WireStatus};
use pgwire::messages::startup::ParameterStatus;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use tokio::net::TcpStream;

use crate::form::BadForm;
use crate::pending::Place;
use crate::startup::{NoSession, Startup};
use crate::wire::{Gone, Incoming, Wire};

/// How long a client that is being thrown out may take to read why.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why handling a message stopped.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The statement failed; the client is told.
    Statement(Box<Error>),
    /// There is nobody to tell.
    Gone,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Statement(Box::new(error))
    }
}

impl From<Gone> for Failure {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

/// A client with its session.
pub(crate) struct Connection {
    pub(crate) notices: Arc<Notices>,
    pub(crate) wire: Wire,
    pub(crate) session: Session,
    /// After an error in the extended protocol everything up to `Sync` is skipped.
    pub(crate) skip_to_sync: bool,
}

/// Serves one connection from its first byte to its last.
pub(crate) async fn serve(
    startup: Arc<Startup>,
    socket: TcpStream,
    address: SocketAddr,
    place: Place,
) {
    let mut wire = Wire::new(socket, startup.limits.max_message_bytes);
    let session = tokio::select! {
        biased;
        () = place.lost.cancelled() => return refuse(&mut wire),
        session = startup.session(&mut wire, address) => session,
    };
    match session {
        Ok(session) => {
            drop(place);
            let mut connection = Connection {
                notices: Arc::clone(session.notices()),
                wire,
                session,
                skip_to_sync: false,
            };
            // What the client has not read when it goes is of no use to anybody.
            let _: Result<(), Gone> = connection.run().await;
            wire = connection.wire;
            connection.session.settle().await;
            drop(connection.session);
        }
        Err(NoSession::Silent) => {}
        Err(NoSession::Refused(error)) => farewell(&mut wire, &error).await,
    }
    let _ = tokio::time::timeout(FAREWELL, wire.close()).await;
}

/// Tells a client that is still logging in that it must make room, if that takes no time.
fn refuse(wire: &mut Wire) {
    let error = Error::fatal("53300", "sorry, too many clients already");
    let _ = wire.send(error_message(&error)).now_or_never();
}

/// Tells a client why it is thrown out, if it listens.
async fn farewell(wire: &mut Wire, error: &Error) {
    let _ = tokio::time::timeout(FAREWELL, wire.send(error_message(error))).await;
}

impl Connection {
    async fn run(&mut self) -> Result<(), Gone> {
        self.ready_for_query().await?;
        loop {
            let message = tokio::select! {
                biased;
                error = self.session.idle_interrupted() => {
                    farewell(&mut self.wire, &error).await;
                    return Err(Gone);
                }
                message = self.wire.next() => message,
            };
            match message {
                None | Some(Ok(Incoming::Message(PgWireFrontendMessage::Terminate(_)))) => {
                    return Ok(());
                }
                Some(Ok(incoming)) => self.handle_unless_terminated(incoming).await?,
                Some(Err(error)) => {
                    farewell(&mut self.wire, &protocol_error(error.to_string())).await;
                    return Err(Gone);
                }
            }
        }
    }

    /// A session that is to end gets a while to say so, and is then cut off, whatever it does: its
    /// client may have stopped reading.
    async fn handle_unless_terminated(&mut self, incoming: Incoming) -> Result<(), Gone> {
        let terminated = self.session.terminated();
        tokio::select! {
            biased;
            handled = self.handle(incoming) => handled,
            () = async { terminated.await; tokio::time::sleep(FAREWELL * 2).await } => Err(Gone),
        }
    }

    async fn handle(&mut self, incoming: Incoming) -> Result<(), Gone> {
        self.wire.check_every(self.session.client_check_interval());
        let message = match incoming {
            Incoming::Message(message) => message,
            Incoming::Malformed { .. } if self.skip_to_sync => return Ok(()),
            Incoming::Malformed { extended, error } => {
                self.skip_to_sync = extended;
                self.report(&error.into()).await?;
                return match extended {
                    true => self.wire.flush().await,
                    false => self.ready_for_query().await,
                };
            }
        };
        match message {
            PgWireFrontendMessage::Query(query) if !self.skip_to_sync => {
                // As PostgreSQL: a simple query ends the life of the unnamed statement.
                self.session.forget_prepared("");
                self.query(&query.query).await
            }
            PgWireFrontendMessage::Sync(_) => self.sync().await,
            PgWireFrontendMessage::Flush(_) => self.wire.flush().await,
            _ if self.skip_to_sync => Ok(()),
            message if message.is_extended_query() => self.extended(message).await,
            // Left over from a COPY that has failed: ignored, as PostgreSQL does.
            PgWireFrontendMessage::CopyData(_)
            | PgWireFrontendMessage::CopyDone(_)
            | PgWireFrontendMessage::CopyFail(_) => Ok(()),
            _ => {
                farewell(&mut self.wire, &protocol_error("unexpected message")).await;
                Err(Gone)
            }
        }
    }

    /// Parses a client's text. A long one is parsed on the query runtime: it takes a while.
    pub(crate) async fn parse(&mut self, text: &str) -> Result<Vec<Parsed>, Failure> {
        let work = self.session.parse(text);
        Self::unless_gone(&mut self.wire, &self.notices, pin!(work)).await
    }

    /// Waits for `work` of the session, unless the client goes away meanwhile. What the client
    /// should know before the work is done is sent at once. Pinned work: by value it would take its
    /// room twice, in every connection.
    pub(crate) async fn unless_gone<T>(
        wire: &mut Wire,
        notices: &Notices,
        mut work: Pin<&mut impl Future<Output = Result<T, Error>>>,
    ) -> Result<T, Failure> {
        loop {
            tokio::select! {
                biased;
                result = &mut work => return Ok(result?),
                () = wire.gone() => return Err(Failure::Gone),
                () = notices.urgent() => {
                    for notice in notices.take() {
                        wire.feed(notice_message(notice)).await?;
                    }
                    wire.flush().await?;
                }
            }
        }
    }

    /// Reports an error of a statement and lets the transaction fail with it.
    pub(crate) async fn report(&mut self, error: &Error) -> Result<(), Gone> {
        self.session.fail();
        self.send_notices().await?;
        if error.severity == Severity::Fatal {
            farewell(&mut self.wire, error).await;
            return Err(Gone);
        }
        self.wire.feed(error_message(error)).await
    }

    pub(crate) async fn send_notices(&mut self) -> Result<(), Gone> {
        for notice in self.session.take_notices() {
            self.wire.feed(notice_message(notice)).await?;
        }
        Ok(())
    }

    pub(crate) async fn complete(&mut self, tag: String) -> Result<(), Gone> {
        self.send_notices().await?;
        let complete = CommandComplete::new(tag);
        self.wire
            .feed(PgWireBackendMessage::CommandComplete(complete))
            .await
    }

    /// The session waits for the client; everything is sent.
    pub(crate) async fn ready_for_query(&mut self) -> Result<(), Gone> {
        self.send_notices().await?;
        for status in parameter_statuses(&mut self.session) {
            self.wire.feed(status).await?;
        }
        let status = match self.session.transaction_status() {
            TransactionStatus::Idle => WireStatus::Idle,
            TransactionStatus::InBlock => WireStatus::Transaction,
            TransactionStatus::Failed => WireStatus::Error,
        };
        self.session.idle();
        let ready = ReadyForQuery::new(status);
        self.wire
            .send(PgWireBackendMessage::ReadyForQuery(ready))
            .await
    }
}

impl From<BadForm> for Error {
    fn from(bad: BadForm) -> Self {
        Self::new(bad.sqlstate, bad.message)
    }
}

/// A violation of the protocol: the connection ends with it.
pub(crate) fn protocol_error(message: impl Into<String>) -> Error {
    Error::fatal("08P01", message)
}

/// The settings that the client must be told of.
pub(crate) fn parameter_statuses(session: &mut Session) -> Vec<PgWireBackendMessage> {
    let changed = session.take_changed_settings().into_iter();
    changed
        .map(|(name, value)| {
            PgWireBackendMessage::ParameterStatus(ParameterStatus::new(name.to_owned(), value))
        })
        .collect()
}

fn error_message(error: &Error) -> PgWireBackendMessage {
    let severity = match error.severity {
        Severity::Error => "ERROR",
        Severity::Fatal => "FATAL",
    };
    let mut info = info(severity, error.sqlstate, error.message.clone());
    info.detail.clone_from(&error.detail);
    info.hint.clone_from(&error.hint);
    info.position = error.position.map(|p| p.to_string());
    PgWireBackendMessage::ErrorResponse(info.into())
}

fn notice_message(notice: Notice) -> PgWireBackendMessage {
    let info = info(notice.severity, notice.sqlstate, notice.message);
    PgWireBackendMessage::NoticeResponse(info.into())
}

fn info(severity: &str, sqlstate: &str, message: String) -> ErrorInfo {
    // A zero byte would end the field early and garble the rest of the message.
    let message = message.replace('\0', "");
    let mut info = ErrorInfo::new(severity.to_owned(), sqlstate.to_owned(), message);
    info.severity_nonlocalized = Some(severity.to_owned());
    info
}

/// The settings that decide how values look in text form.
pub(crate) fn format_options(session: &Session) -> pgwire::types::format::FormatOptions {
    let names = [
        "datestyle",
        "intervalstyle",
        "bytea_output",
        "extra_float_digits",
    ];
    let values: HashMap<String, String> = names
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), session.show(name)?.to_owned())))
        .collect();
    pgwire::types::format::FormatOptions::from_client_metadata(&values)
}
