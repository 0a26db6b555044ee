//! The binary protocol over TCP: one message behind the other, or in SASL's frames.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{Accepted, Stream, TlsSource, sasl};
use crate::front::{Caller, Front};
use crate::session::Attached;
use crate::wire::scan::{Malformed, Message, Scanner};

/// What is read ahead of a client that sends more while a call of it is under way.
const MAX_READ_AHEAD_BYTES: usize = 64 * 1024;

/// The buffer of a message above this size is not kept for the next one: most connections are idle.
const MAX_KEPT_BYTES: usize = 16 * 1024;

/// Serves connections until the server stops.
pub(crate) async fn serve(front: Arc<Front>, listener: TcpListener, tls: Option<TlsSource>) {
    super::accept(front, listener, tls, connection).await;
}

/// Serves one connection to its end.
async fn connection(front: Arc<Front>, accepted: Accepted) {
    let _place = accepted.place;
    let mut incoming = Incoming {
        stream: accepted.stream,
        raw: BytesMut::new(),
        payload: BytesMut::new(),
        frame_left: None,
        max_bytes: front.limits.max_message_bytes,
        patience: front.limits.authentication_timeout,
    };
    let mut caller = Caller {
        user: None,
        address: accepted.address,
        http_origin: None,
        attached: Some(Arc::new(Attached::default())),
    };
    let logged_in = log_in(&front, &mut incoming, &mut caller);
    let logged_in = tokio::time::timeout(front.limits.authentication_timeout, logged_in);
    if let Ok(Ok(true)) = logged_in.await {
        // Sessions outlive the connection; what it had not read is lost.
        let ended = talk(&front, &mut incoming, &caller).await;
        if let Err(End::Malformed(error)) = ended {
            tracing::debug!(address = %caller.address, %error, "a connection was cut off");
        }
    }
    let _ = incoming.stream.shutdown().await;
}

/// Why a connection ends before its client closes it.
enum End {
    Gone,
    Malformed(String),
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

impl From<Malformed> for End {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Waits for the first byte, which tells whether the client logs in.
async fn log_in(front: &Front, incoming: &mut Incoming, caller: &mut Caller) -> io::Result<bool> {
    if incoming.stream.read_buf(&mut incoming.raw).await? == 0 {
        return Ok(false);
    }
    if incoming.raw[0] != sasl::START {
        incoming.payload = incoming.raw.split();
        return Ok(true);
    }
    let stream = incoming.stream.as_mut();
    let Some(credentials) = sasl::credentials(stream, &mut incoming.raw).await? else {
        return Ok(false);
    };
    let user = credentials.user;
    if !front
        .authenticate(&user, credentials.password, caller.address)
        .await
    {
        let why = format!("password authentication failed for user \"{user}\"");
        sasl::refuse(stream, &why).await?;
        return Ok(false);
    }
    sasl::accept(stream).await?;
    caller.user = Some(user);
    incoming.frame_left = Some(0);
    incoming.unframe()?;
    Ok(true)
}

/// Answers calls, one after the other.
async fn talk(front: &Arc<Front>, incoming: &mut Incoming, caller: &Caller) -> Result<(), End> {
    while let Some(message) = incoming.next().await? {
        let reply = {
            // On the heap, and gone with the answer: most connections are idle.
            let mut answered = Box::pin(front.answer(caller, message));
            loop {
                tokio::select! {
                    biased;
                    reply = &mut answered => break reply,
                    // Nobody waits for the answer any more.
                    there = incoming.fill(), if incoming.payload.len() < MAX_READ_AHEAD_BYTES => {
                        if !there? {
                            return Err(End::Gone);
                        }
                    }
                }
            }
        };
        let reply = reply.map_err(|error| End::Malformed(error.to_string()))?;
        incoming.send(&reply).await?;
    }
    Ok(())
}

/// A connection with what has been read of it.
struct Incoming {
    stream: Box<dyn Stream>,
    /// As it comes.
    raw: BytesMut,
    /// Messages, without frames.
    payload: BytesMut,
    /// Bytes of the current frame that are to come; `None` without frames.
    frame_left: Option<usize>,
    max_bytes: usize,
    /// How long a message that has begun may stand still.
    patience: Duration,
}

impl Incoming {
    /// The next message; `None` when the client has closed the connection.
    async fn next(&mut self) -> Result<Option<Message>, End> {
        let mut scanner = Scanner::new(self.max_bytes);
        loop {
            if let Some((length, only_texts)) = scanner.advance(&self.payload)? {
                let bytes = self.payload.split_to(length).freeze();
                if length > MAX_KEPT_BYTES && self.payload.is_empty() {
                    self.payload = BytesMut::new();
                }
                return Ok(Some(Message { bytes, only_texts }));
            }
            let filled = if self.has_begun() {
                let filled = tokio::time::timeout(self.patience, self.fill()).await;
                filled.map_err(|_| End::Malformed("a message stands still".to_owned()))?
            } else {
                self.fill().await
            };
            if !filled? {
                return Ok(None);
            }
        }
    }

    /// Whether a part of a message is there.
    fn has_begun(&self) -> bool {
        !self.payload.is_empty() || !self.raw.is_empty() || self.frame_left.is_some_and(|n| n > 0)
    }

    /// Reads more; false at the end. Cancel safe.
    async fn fill(&mut self) -> io::Result<bool> {
        if self.frame_left.is_none() {
            return Ok(self.stream.read_buf(&mut self.payload).await? > 0);
        }
        let read = self.stream.read_buf(&mut self.raw).await?;
        self.unframe()?;
        Ok(read > 0)
    }

    /// Takes what has come out of its frames.
    fn unframe(&mut self) -> io::Result<()> {
        let Some(mut left) = self.frame_left else {
            return Ok(());
        };
        loop {
            if left > 0 {
                let there = left.min(self.raw.len());
                self.payload.extend_from_slice(&self.raw[..there]);
                self.raw.advance(there);
                left -= there;
            }
            if left > 0 || self.raw.len() < 4 {
                break;
            }
            left = self.raw.get_u32() as usize;
            if left > self.max_bytes {
                return Err(io::Error::other("a frame is too long"));
            }
        }
        self.frame_left = Some(left);
        Ok(())
    }

    async fn send(&mut self, reply: &[u8]) -> io::Result<()> {
        if self.frame_left.is_some() {
            let length = u32::try_from(reply.len())
                .map_err(|_| io::Error::other("a reply of more than 4 GiB"))?;
            self.stream.write_all(&length.to_be_bytes()).await?;
        }
        self.stream.write_all(reply).await?;
        self.stream.flush().await
    }
}
