//! SASL with the mechanism PLAIN, as Thrift frames it: a status byte, a length, a body.

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Stream;

/// Statuses of frames.
pub(super) const START: u8 = 1;
const OK: u8 = 2;
const BAD: u8 = 3;
const ERROR: u8 = 4;
const COMPLETE: u8 = 5;

const PLAIN: &str = "PLAIN";

/// Longest body: a mechanism's name, or a user's name with a password.
const MAX_BODY_BYTES: usize = 4096;

/// What a client says of itself.
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

/// Reads the two frames with which a client logs in. `None` when it has gone, or was refused because
/// it does not keep to the rules.
pub(super) async fn credentials(
    stream: &mut dyn Stream,
    buffer: &mut BytesMut,
) -> std::io::Result<Option<Credentials>> {
    let Some((status, mechanism)) = frame(stream, buffer).await? else {
        return Ok(None);
    };
    if status != START {
        send(stream, ERROR, b"Expecting START status").await?;
        return Ok(None);
    }
    if mechanism != PLAIN {
        let name = String::from_utf8_lossy(&mechanism);
        let refusal = format!("Unsupported mechanism type {name}");
        send(stream, BAD, refusal.as_bytes()).await?;
        return Ok(None);
    }
    let Some((status, response)) = frame(stream, buffer).await? else {
        return Ok(None);
    };
    let credentials = parse(&response).filter(|_| status == OK || status == COMPLETE);
    if credentials.is_none() {
        send(stream, ERROR, b"Malformed PLAIN response").await?;
    }
    Ok(credentials)
}

/// Lets the client in.
pub(super) async fn accept(stream: &mut dyn Stream) -> std::io::Result<()> {
    send(stream, COMPLETE, b"").await
}

/// Sends the client away.
pub(super) async fn refuse(stream: &mut dyn Stream, why: &str) -> std::io::Result<()> {
    send(stream, ERROR, why.as_bytes()).await
}

/// Who one acts as (which is not looked at), NUL, user, NUL, password.
fn parse(response: &Bytes) -> Option<Credentials> {
    let text = std::str::from_utf8(response).ok()?;
    let mut parts = text.split('\0').skip(1);
    let (user, password) = (parts.next()?, parts.next()?);
    let sound = parts.next().is_none() && !user.is_empty();
    sound.then(|| Credentials {
        user: user.to_owned(),
        password: password.to_owned(),
    })
}

async fn frame(
    stream: &mut dyn Stream,
    buffer: &mut BytesMut,
) -> std::io::Result<Option<(u8, Bytes)>> {
    loop {
        if let [status, a, b, c, d, ..] = buffer[..] {
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            if length > MAX_BODY_BYTES {
                return Ok(None);
            }
            if buffer.len() >= 5 + length {
                buffer.advance(5);
                return Ok(Some((status, buffer.split_to(length).freeze())));
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

async fn send(stream: &mut dyn Stream, status: u8, body: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut frame = vec![status];
    frame.extend(length.to_be_bytes());
    frame.extend(body);
    stream.write_all(&frame).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_clients_are_read() {
        for (text, user, password) in [
            ("\0ada\0s3cret", "ada", "s3cret"),
            ("ada\0ada\0s3cret", "ada", "s3cret"),
            ("\0ada\0", "ada", ""),
        ] {
            let read = parse(&Bytes::copy_from_slice(text.as_bytes())).unwrap();
            assert_eq!(
                (read.user.as_str(), read.password.as_str()),
                (user, password)
            );
        }
        for text in ["", "ada", "\0ada", "\0\0x", "\0a\0b\0c"] {
            assert!(
                parse(&Bytes::copy_from_slice(text.as_bytes())).is_none(),
                "{text:?}"
            );
        }
        assert!(parse(&Bytes::from_static(&[0, 0xff, 0, 1])).is_none());
    }
}
