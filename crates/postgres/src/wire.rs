//! A connection as messages, encrypted or not.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use futures::{FutureExt, SinkExt, StreamExt};
use pgwire::error::PgWireError;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::startup::ParameterStatus;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::codec::Framed;

pub(crate) use crate::codec::{FLUSH_BYTES, Incoming, Phase};

use crate::codec::Codec;
use crate::tls::Current;

/// How often a client that has sent ahead is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// First byte of a TLS handshake, which no message of the protocol begins with.
const TLS_HANDSHAKE: u8 = 0x16;

/// The client cannot be talked to any more.
#[derive(Debug)]
pub(crate) struct Gone;

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// A connection as messages.
pub(crate) struct Wire {
    framed: Framed<Stream, Codec>,
    check_interval: Option<Duration>,
    /// What a password can be bound to, if the connection is encrypted.
    end_point: Option<Vec<u8>>,
}

impl Wire {
    pub(crate) fn new(socket: TcpStream, max_message_bytes: usize) -> Self {
        // Answers are small and waited for; a peer whose machine is gone must be noticed some
        // day. A failure to set these only costs time.
        let _ = socket.set_nodelay(true);
        let _ = SockRef::from(&socket).set_keepalive(true);
        let mut framed = Framed::new(Stream::Plain(socket), Codec::new(max_message_bytes));
        framed.set_backpressure_boundary(FLUSH_BYTES);
        Self {
            framed,
            check_interval: None,
            end_point: None,
        }
    }

    pub(crate) fn expect(&mut self, phase: Phase) {
        self.framed.codec_mut().phase = phase;
    }

    /// Sets how often [`Wire::gone`] asks a client that has stopped sending (`None`: never).
    pub(crate) fn check_every(&mut self, interval: Option<Duration>) {
        self.check_interval = interval;
    }

    /// The next message; `None` when the client has closed the connection. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Result<Incoming, PgWireError>> {
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

    /// Whether the client begins with a TLS handshake, without asking first. Nothing is read.
    pub(crate) async fn begins_with_tls(&self) -> Result<bool, Gone> {
        let mut first = [0];
        let peeked = self.framed.get_ref().socket()?.peek(&mut first).await?;
        Ok(peeked == 1 && first[0] == TLS_HANDSHAKE)
    }

    /// Whether bytes have come that were not asked for yet.
    pub(crate) fn has_read_ahead(&self) -> bool {
        !self.framed.read_buffer().is_empty()
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self.framed.get_ref(), Stream::Tls(_))
    }

    /// What a password can be bound to: the hash of the certificate that the client was shown.
    pub(crate) fn end_point(&self) -> Option<&[u8]> {
        self.end_point.as_deref()
    }

    /// Encrypts from here on. Gives the protocol that both sides agreed on (ALPN), if they did.
    pub(crate) async fn encrypt(&mut self, tls: &Current) -> Result<Option<Vec<u8>>, Gone> {
        let stream = std::mem::replace(self.framed.get_mut(), Stream::Closed);
        let Stream::Plain(socket) = stream else {
            return Err(Gone);
        };
        let stream = tls.acceptor().accept(socket).await.inspect_err(|error| {
            tracing::debug!(%error, "a TLS handshake failed");
        })?;
        let protocol = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        *self.framed.get_mut() = Stream::Tls(Box::new(stream));
        self.end_point.clone_from(&tls.end_point);
        Ok(protocol)
    }

    /// Says goodbye in TLS, whose clients take a connection that just ends for an attack.
    pub(crate) async fn close(&mut self) {
        if self.is_encrypted() {
            let _ = self.framed.get_mut().shutdown().await;
        }
    }

    /// Waits until the client is gone. Nothing is read; cancel safe.
    ///
    /// A client that has shut down its sending side may still wait for its answers, and to a socket
    /// it looks the same as one that has closed the connection, until something is sent: only the
    /// latter's machine rejects it. So a client that has stopped sending is sent a message that says
    /// nothing new, every `client_connection_check_interval`.
    pub(crate) async fn gone(&mut self) {
        if self.sending_ended().await.is_err() {
            return;
        }
        loop {
            let Ok(socket) = self.framed.get_ref().socket() else {
                return;
            };
            let interval = async {
                match self.check_interval {
                    Some(interval) => tokio::time::sleep(interval).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = socket.ready(Interest::ERROR) => return,
                () = interval => {}
            }
            let nothing_new = ParameterStatus::new("server_encoding".into(), "UTF8".into());
            let message = PgWireBackendMessage::ParameterStatus(nothing_new);
            if self.send(message).await.is_err() {
                return;
            }
        }
    }

    /// Waits until no more can come from the client; an error means that it is gone.
    async fn sending_ended(&self) -> Result<(), Gone> {
        let socket = self.framed.get_ref().socket()?;
        loop {
            let ready = socket.ready(Interest::READABLE).await?;
            if socket.ready(Interest::ERROR).now_or_never().is_some() {
                return Err(Gone);
            }
            if ready.is_read_closed() {
                return Ok(());
            }
            // It has sent ahead: the socket stays readable, so look again after a while.
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

/// What the messages go through.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// A handshake has failed.
    Closed,
}

impl Stream {
    fn socket(&self) -> io::Result<&TcpStream> {
        match self {
            Self::Plain(socket) => Ok(socket),
            Self::Tls(stream) => Ok(stream.get_ref().0),
            Self::Closed => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Closed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Closed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
            Self::Closed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Closed => Poll::Ready(Ok(())),
        }
    }
}
