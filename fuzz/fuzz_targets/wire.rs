//! Whatever bytes a client sends, they become messages, complaints, or the end of the connection,
//! and the same ones in whatever pieces they arrive.
//!
//! The first byte of the input chooses what the server expects. Seeds are in `seeds/wire`.
#![no_main]

#[allow(dead_code, reason = "a part of the connection's decoder is used")]
#[path = "../../crates/postgres/src/codec.rs"]
mod codec;
#[allow(dead_code, reason = "as above")]
#[path = "../../crates/postgres/src/form.rs"]
mod form;

use bytes::BytesMut;
use codec::{Codec, Incoming, Phase, sasl_initial_response};
use libfuzzer_sys::fuzz_target;
use pgwire::messages::PgWireFrontendMessage;
use tokio_util::codec::Decoder;

/// Small, so that inputs reach it.
const MAX_MESSAGE_BYTES: usize = 1000;

const PHASES: [Phase; 4] = [
    Phase::Negotiation,
    Phase::Startup,
    Phase::Authentication,
    Phase::Session,
];

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else {
        return;
    };
    let phase = PHASES[usize::from(*choice) % PHASES.len()];
    let whole = decoded(phase, bytes, bytes.len().max(1));
    for piece in [1, 7] {
        assert_eq!(decoded(phase, bytes, piece), whole, "in pieces of {piece}");
    }
});

/// What comes of the bytes when so many arrive at a time.
fn decoded(phase: Phase, bytes: &[u8], piece: usize) -> Vec<String> {
    let mut codec = Codec::new(MAX_MESSAGE_BYTES);
    codec.phase = phase;
    let mut buffer = BytesMut::new();
    let mut found = Vec::new();
    for piece in bytes.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            let before = buffer.len();
            match codec.decode(&mut buffer) {
                Ok(None) => {
                    assert_eq!(buffer.len(), before, "bytes are lost");
                    break;
                }
                Ok(Some(incoming)) => {
                    found.push(format!("{incoming:?}"));
                    if let Incoming::Message(PgWireFrontendMessage::PasswordMessageFamily(
                        message,
                    )) = incoming
                    {
                        found.push(format!("{:?}", sasl_initial_response(message)));
                    } else if let Incoming::Malformed { error, .. } = &incoming {
                        assert_eq!(error.sqlstate.len(), 5);
                    }
                    // As the server does it: what is no request for encryption is read again.
                    if codec.phase == Phase::Negotiation && buffer.len() == before {
                        codec.phase = Phase::Startup;
                    } else {
                        assert!(buffer.len() < before, "nothing was read");
                    }
                }
                Err(error) => {
                    found.push(format!("the end: {error}"));
                    return found;
                }
            }
        }
    }
    found
}
