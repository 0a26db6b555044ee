//! The names of sessions and operations, and the secrets that go with them.

use std::fmt;

use bytes::Bytes;
use forebay_server::QueryId;

use crate::error::Error;
use crate::wire::idl::{THandleIdentifier, TOperationHandle, TSessionHandle};

/// Bytes of either half of a handle.
const PART_BYTES: usize = 16;

/// The name of a session: as that of a query, 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SessionId(QueryId);

impl SessionId {
    pub(crate) fn random() -> Self {
        Self(QueryId::random())
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What only those know who were given a session's handle.
#[derive(Clone, Copy)]
pub(crate) struct Secret([u8; PART_BYTES]);

impl Secret {
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }

    /// Whether both are the same; takes the same time wherever they differ.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let differences = self.0.iter().zip(other.0).map(|(a, b)| a ^ b);
        std::hint::black_box(differences.fold(0, |all, one| all | one)) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A query's id is on the wire with the bytes of each half in the other order than in its text.
fn bytes_of(id: QueryId) -> [u8; PART_BYTES] {
    let (high, low) = id.halves();
    let mut bytes = [0; PART_BYTES];
    bytes[..8].copy_from_slice(&high.to_le_bytes());
    bytes[8..].copy_from_slice(&low.to_le_bytes());
    bytes
}

fn id_of(bytes: [u8; PART_BYTES]) -> QueryId {
    let (high, low) = bytes.split_at(8);
    let half = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    QueryId::from_halves(half(high), half(low))
}

fn write(id: QueryId, secret: Secret) -> THandleIdentifier {
    THandleIdentifier {
        guid: Bytes::copy_from_slice(&bytes_of(id)),
        secret: Bytes::copy_from_slice(&secret.0),
    }
}

fn read(handle: &THandleIdentifier) -> Result<(QueryId, Secret), Error> {
    let part = |bytes: &Bytes| <[u8; PART_BYTES]>::try_from(bytes.as_ref()).ok();
    match (part(&handle.guid), part(&handle.secret)) {
        (Some(guid), Some(secret)) => Ok((id_of(guid), Secret(secret))),
        _ => Err(Error::new(format!(
            "Malformed THandleIdentifier (guid size: {}, expected {PART_BYTES}, secret size: {}, \
             expected {PART_BYTES})",
            handle.guid.len(),
            handle.secret.len()
        ))),
    }
}

pub(crate) fn session_handle(id: SessionId, secret: Secret) -> TSessionHandle {
    TSessionHandle {
        session_id: write(id.0, secret),
    }
}

pub(crate) fn read_session(handle: &TSessionHandle) -> Result<(SessionId, Secret), Error> {
    let (id, secret) = read(&handle.session_id)?;
    Ok((SessionId(id), secret))
}

pub(crate) fn operation_handle(
    id: QueryId,
    secret: Secret,
    operation_type: i32,
    has_result_set: bool,
) -> TOperationHandle {
    TOperationHandle {
        operation_id: write(id, secret),
        operation_type,
        has_result_set,
        modified_row_count: None,
    }
}

pub(crate) fn read_operation(handle: &TOperationHandle) -> Result<(QueryId, Secret), Error> {
    read(&handle.operation_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_each_half_are_turned_round() {
        let id: QueryId = "0102030405060708:090a0b0c0d0e0f10".parse().unwrap();
        let expected = [8, 7, 6, 5, 4, 3, 2, 1, 16, 15, 14, 13, 12, 11, 10, 9];
        assert_eq!(bytes_of(id), expected);
        assert_eq!(id_of(expected), id);
    }

    #[test]
    fn handles_come_back_as_they_went() {
        let (id, secret) = (SessionId::random(), Secret::random());
        let (read_id, read_secret) = read_session(&session_handle(id, secret)).unwrap();
        assert_eq!(read_id, id);
        assert!(read_secret.is(&secret));
        assert!(!read_secret.is(&Secret::random()));
    }

    #[test]
    fn sizes_are_checked() {
        let handle = THandleIdentifier {
            guid: Bytes::from_static(b"short"),
            secret: Bytes::from_static(&[0; 17]),
        };
        assert_eq!(
            read(&handle).unwrap_err().message,
            "Malformed THandleIdentifier (guid size: 5, expected 16, secret size: 17, expected 16)"
        );
    }
}
