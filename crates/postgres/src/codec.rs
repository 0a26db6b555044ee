//! Messages as bytes: lengths and forms are checked before anything is decoded.
//!
//! Depends on `pgwire` and `form.rs` alone, so that both can be fuzzed (`fuzz/`).

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::{Buf, BytesMut};
use pgwire::error::PgWireError;
use pgwire::messages::startup::{PasswordMessageFamily, SASLInitialResponse};
use pgwire::messages::{
    DecodeContext, PgWireBackendMessage, PgWireFrontendMessage, ProtocolVersion,
    SslNegotiationMetaMessage,
};
use tokio_util::codec::{Decoder, Encoder};

use crate::form::{self, BadForm};

/// Bytes that are collected before they are sent.
pub(crate) const FLUSH_BYTES: usize = 64 * 1024;

/// PostgreSQL's own limit on what comes before authentication.
const MAX_STARTUP_BYTES: usize = 10_000;

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

/// Finds and checks the messages of one connection.
pub(crate) struct Codec {
    /// What comes next.
    pub(crate) phase: Phase,
    max_message_bytes: usize,
    context: DecodeContext,
}

/// What came from the client.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A message in order.
    Message(PgWireFrontendMessage),
    /// A whole message whose inside is wrong; what follows it is unharmed.
    Malformed {
        /// Whether it belongs to the extended protocol, which then waits for `Sync`.
        extended: bool,
        /// What is wrong.
        error: BadForm,
    },
}

impl Decoder for Codec {
    type Item = Incoming;
    type Error = PgWireError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Self::Item>, PgWireError> {
        // What comes first has no type, but at least a code behind its length.
        let (offset, least, limit) = match self.phase {
            Phase::Negotiation | Phase::Startup => (0, 8, MAX_STARTUP_BYTES),
            Phase::Authentication => (1, 4, MAX_STARTUP_BYTES),
            Phase::Session => (1, 4, self.max_message_bytes),
        };
        let Some(mut length) = source.get(offset..offset + 4) else {
            return Ok(None);
        };
        // The length counts itself. Checked before a byte of the body is waited for.
        let length = match usize::try_from(length.get_i32()) {
            Ok(length) if (least..=limit).contains(&length) => offset + length,
            Ok(length) => return Err(PgWireError::MessageTooLarge(limit, length)),
            Err(_) => return Err(PgWireError::MessageTooLarge(limit, usize::MAX)),
        };
        if source.len() < length {
            source.reserve((length - source.len()).min(FLUSH_BYTES));
            return Ok(None);
        }
        self.context.awaiting_frontend_ssl = self.phase == Phase::Negotiation;
        self.context.awaiting_frontend_startup = self.phase == Phase::Startup;
        if self.phase == Phase::Negotiation && !is_encryption_request(source) {
            // Not consumed: it is read again as what it is.
            let nothing = PgWireFrontendMessage::SslNegotiation(SslNegotiationMetaMessage::None);
            return Ok(Some(Incoming::Message(nothing)));
        }
        self.decode_frame(source.split_to(length))
    }
}

/// Codes of the two encryption requests, behind their length of 8.
const ENCRYPTION_CODES: [[u8; 4]; 2] = [80_877_103_i32.to_be_bytes(), 80_877_104_i32.to_be_bytes()];

fn is_encryption_request(message: &[u8]) -> bool {
    message.len() >= 8
        && message[..4] == 8_i32.to_be_bytes()
        && ENCRYPTION_CODES.iter().any(|c| message[4..8] == *c)
}

impl Codec {
    pub(crate) fn new(max_message_bytes: usize) -> Self {
        Self {
            phase: Phase::Negotiation,
            max_message_bytes,
            context: DecodeContext::new(ProtocolVersion::default()),
        }
    }

    /// Decodes one message from its own bytes only: whatever its inner lengths claim, it cannot
    /// reach into the next one.
    fn decode_frame(&self, frame: BytesMut) -> Result<Option<Incoming>, PgWireError> {
        let kind = frame[0];
        let checked = match self.phase {
            // Nobody who has not logged in has anything else to say.
            Phase::Authentication if kind != PASSWORD_KIND => {
                return Err(PgWireError::InvalidMessageType(kind));
            }
            Phase::Session if !FRONTEND_KINDS.contains(&kind) => {
                return Err(PgWireError::InvalidMessageType(kind));
            }
            Phase::Session => form::check(kind, &frame[5..]),
            Phase::Startup => form::check_startup(&frame),
            Phase::Negotiation | Phase::Authentication => Ok(()),
        };
        Ok(Some(
            match checked.and_then(|()| self.decode_whole(frame)) {
                Ok(message) => Incoming::Message(message),
                Err(error) => Incoming::Malformed {
                    extended: b"BCDEHPS".contains(&kind),
                    error,
                },
            },
        ))
    }

    /// The library trusts some lengths and panics where they are wrong; what `form` lets through
    /// is sound, and should it not be, the connection survives it.
    fn decode_whole(&self, mut frame: BytesMut) -> Result<PgWireFrontendMessage, BadForm> {
        let decode = AssertUnwindSafe(|| {
            let message = PgWireFrontendMessage::decode(&mut frame, &self.context);
            (message, frame.is_empty())
        });
        match catch_unwind(decode) {
            Ok((Ok(Some(message)), true)) => Ok(message),
            _ => Err(form::invalid()),
        }
    }
}

/// Takes a password message for the first one of a SASL exchange.
pub(crate) fn sasl_initial_response(
    message: PasswordMessageFamily,
) -> Result<SASLInitialResponse, BadForm> {
    if let PasswordMessageFamily::Raw(body) = &message {
        form::check_sasl_initial_response(body)?;
    }
    message
        .into_sasl_initial_response()
        .map_err(|_| form::invalid())
}

/// Type of passwords, in whatever form.
const PASSWORD_KIND: u8 = b'p';

/// Types of the messages that a client may send.
const FRONTEND_KINDS: &[u8] = b"BCDEFHPQSXcdfp";

impl Encoder<PgWireBackendMessage> for Codec {
    type Error = io::Error;

    fn encode(&mut self, message: PgWireBackendMessage, buffer: &mut BytesMut) -> io::Result<()> {
        let start = buffer.len();
        message.encode(buffer).map_err(|error| {
            // Half a message must not be sent.
            buffer.truncate(start);
            io::Error::other(error)
        })
    }
}
