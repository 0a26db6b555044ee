//! What must hold for whatever bytes a client sends.
//!
//! [`check`] is called by libFuzzer with noise (`noise.rs`), and by the tests with all that it has
//! found before (`corpus/`).

#[allow(dead_code, reason = "replies are not looked at here")]
#[path = "../../src/wire/mod.rs"]
mod wire;

mod transport;

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use pilota::thrift::Message as ThriftMessage;
use pilota::thrift::binary::TBinaryProtocol;

use transport::credentials;
use wire::call::Call;
use wire::idl;
use wire::scan::{self, Message, Scanner};

/// Small, so that inputs reach it.
const MAX_MESSAGE_BYTES: usize = 1000;

/// Pieces in which bytes come, beside all at once.
const PIECES: [usize; 2] = [1, 7];

/// Checks one input. Its first byte says what the rest is.
///
/// # Panics
/// When something does not hold.
pub fn check(input: &[u8]) {
    match input.split_first() {
        Some((0, rest)) => log_in(rest),
        Some((_, rest)) => messages(rest),
        None => {}
    }
}

/// Messages end at the same places in whatever pieces they come, and not behind what is there; what is
/// decoded is the same when it is encoded and decoded again.
fn messages(input: &[u8]) {
    let found = walk(input, input.len().max(1));
    for piece in PIECES {
        assert_eq!(walk(input, piece), found, "in pieces of {piece}");
    }
    for message in found {
        let whole = scan::whole(message.bytes.clone(), MAX_MESSAGE_BYTES);
        assert_eq!(whole, Ok(Some(message.clone())));
        requests(message);
    }
}

/// The messages one behind the other, up to what is none.
fn walk(input: &[u8], piece: usize) -> Vec<Message> {
    let mut found = Vec::new();
    let mut there = BytesMut::new();
    let mut scanner = Scanner::new(MAX_MESSAGE_BYTES);
    for piece in input.chunks(piece) {
        there.extend_from_slice(piece);
        loop {
            match scanner.advance(&there) {
                Ok(None) => break,
                Ok(Some((length, only_texts))) => {
                    assert!(length <= there.len().min(MAX_MESSAGE_BYTES));
                    let bytes = there.split_to(length).freeze();
                    found.push(Message { bytes, only_texts });
                    scanner = Scanner::new(MAX_MESSAGE_BYTES);
                }
                Err(_) => return found,
            }
        }
    }
    found
}

/// Reads a message as the request of every call.
fn requests(message: Message) {
    let Ok(call) = Call::read(message) else {
        return;
    };
    request::<idl::TOpenSessionReq>(&call);
    request::<idl::TSessionReq>(&call);
    request::<idl::TGetInfoReq>(&call);
    request::<idl::TExecuteStatementReq>(&call);
    request::<idl::TGetSchemasReq>(&call);
    request::<idl::TGetTablesReq>(&call);
    request::<idl::TGetColumnsReq>(&call);
    request::<idl::TGetFunctionsReq>(&call);
    request::<idl::TOperationReq>(&call);
    request::<idl::TFetchResultsReq>(&call);
    request::<idl::TGetPrimaryKeysReq>(&call);
    request::<idl::TGetCrossReferenceReq>(&call);
    request::<idl::TGetExecSummaryReq>(&call);
    request::<idl::TGetRuntimeProfileReq>(&call);
}

fn request<M: ThriftMessage + PartialEq + Debug>(call: &Call) {
    let Ok(request) = call.request::<M>() else {
        return;
    };
    let mut bytes = BytesMut::new();
    let encoded = request.encode(&mut TBinaryProtocol::new(&mut bytes, false));
    encoded.expect("a buffer takes everything");
    let mut bytes: Bytes = bytes.freeze();
    let again = M::decode(&mut TBinaryProtocol::new(&mut bytes, false));
    assert_eq!(again.expect("it was encoded just now"), request);
    assert!(bytes.is_empty());
}

/// Who logs in is the same in whatever pieces the bytes come, and nothing behind them is read away.
fn log_in(input: &[u8]) {
    let found = credentials(input, input.len().max(1));
    for piece in PIECES {
        let in_pieces = credentials(input, piece);
        assert_eq!(in_pieces, found, "in pieces of {piece}");
    }
}
