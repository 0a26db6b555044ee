//! Bytes to messages and back.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures::{SinkExt, StreamExt};
use pgwire::error::PgWireError;
use pgwire::messages::{
    DecodeContext, PgWireBackendMessage, PgWireFrontendMessage, ProtocolVersion,
};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio_util::codec::{Decoder, Encoder, Framed};

/// Bytes that are collected before they are sent.
pub(crate) const FLUSH_BYTES: usize = 64 * 1024;

/// PostgreSQL's own limit on what comes before authentication.
const MAX_STARTUP_BYTES: usize = 10_000;

/// How often a client that has sent ahead is checked for having gone.
const GONE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The client cannot be talked to any more.
#[derive(Debug)]
pub(crate) struct Gone;

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// What is expected next from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// An encryption request, a cancel request or a start-up message.
    Negotiation,
    /// A start-up message or a cancel request.
    Startup,
    /// Typed messages of an unauthenticated client.
    Authentication,
    /// Typed messages.
    Session,
}

struct Codec {
    phase: Phase,
    max_message_bytes: usize,
    context: DecodeContext,
}

impl Decoder for Codec {
    type Item = PgWireFrontendMessage;
    type Error = PgWireError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Self::Item>, PgWireError> {
        let (offset, limit) = match self.phase {
            Phase::Negotiation | Phase::Startup => (0, MAX_STARTUP_BYTES),
            Phase::Authentication => (1, MAX_STARTUP_BYTES),
            Phase::Session => (1, self.max_message_bytes),
        };
        let Some(mut length) = source.get(offset..offset + 4) else {
            return Ok(None);
        };
        // The length counts itself. Checked before a byte of the body is waited for.
        let length = length.get_i32();
        match usize::try_from(length) {
            Ok(length) if (4..=limit).contains(&length) => {
                source.reserve(
                    (offset + length)
                        .saturating_sub(source.len())
                        .min(FLUSH_BYTES),
                );
            }
            Ok(length) => return Err(PgWireError::MessageTooLarge(limit, length)),
            Err(_) => return Err(PgWireError::MessageTooLarge(limit, usize::MAX)),
        }
        self.context.awaiting_frontend_ssl = self.phase == Phase::Negotiation;
        self.context.awaiting_frontend_startup = self.phase == Phase::Startup;
        PgWireFrontendMessage::decode(source, &self.context)
    }
}

impl Encoder<PgWireBackendMessage> for Codec {
    type Error = io::Error;

    fn encode(&mut self, message: PgWireBackendMessage, buffer: &mut BytesMut) -> io::Result<()> {
        message.encode(buffer).map_err(io::Error::other)
    }
}

/// A connection as messages.
pub(crate) struct Wire {
    framed: Framed<TcpStream, Codec>,
}

impl Wire {
    pub(crate) fn new(socket: TcpStream, max_message_bytes: usize) -> Self {
        let codec = Codec {
            phase: Phase::Negotiation,
            max_message_bytes,
            context: DecodeContext::new(ProtocolVersion::default()),
        };
        let mut framed = Framed::new(socket, codec);
        framed.set_backpressure_boundary(FLUSH_BYTES);
        Self { framed }
    }

    pub(crate) fn expect(&mut self, phase: Phase) {
        self.framed.codec_mut().phase = phase;
    }

    /// The next message; `None` when the client has closed the connection. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Result<PgWireFrontendMessage, PgWireError>> {
        self.framed.next().await
    }

    /// Puts a message into the buffer, sending what is there if that is much.
    pub(crate) async fn feed(&mut self, message: PgWireBackendMessage) -> Result<(), Gone> {
        Ok(self.framed.feed(message).await?)
    }

    /// Puts a message into the buffer and sends everything.
    pub(crate) async fn send(&mut self, message: PgWireBackendMessage) -> Result<(), Gone> {
        Ok(self.framed.send(message).await?)
    }

    /// Sends everything that is buffered.
    pub(crate) async fn flush(&mut self) -> Result<(), Gone> {
        Ok(SinkExt::<PgWireBackendMessage>::flush(&mut self.framed).await?)
    }

    /// What will be sent next; rows are written straight into it.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        self.framed.write_buffer_mut()
    }

    /// Waits until the client has closed its side. Nothing is read; cancel safe.
    pub(crate) async fn gone(&self) {
        let socket = self.framed.get_ref();
        loop {
            match socket.ready(Interest::READABLE).await {
                Ok(ready) if ready.is_read_closed() || ready.is_error() => return,
                // It has sent ahead: the socket stays readable, so look again after a while.
                Ok(_) => tokio::time::sleep(GONE_CHECK_INTERVAL).await,
                Err(_) => return,
            }
        }
    }
}
