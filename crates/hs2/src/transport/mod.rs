//! How messages come and go: over TCP, with or without SASL's frames, and over HTTP.

mod binary;
mod head;
mod http;
mod sasl;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutWriter;
use tokio_rustls::TlsAcceptor;

use crate::front::Front;

pub(crate) use binary::serve as serve_binary;
pub(crate) use http::serve as serve_http;

/// Gives what accepts encrypted connections, as the certificate is now.
pub type TlsSource = Arc<dyn Fn() -> TlsAcceptor + Send + Sync>;

/// The first byte of a connection that is encrypted from its beginning.
const TLS_HANDSHAKE: u8 = 0x16;

/// How long a connection may stay without a request (HTTP), and an answer may stand still because its
/// client does not read: as long as a session without a connection.
const MAX_IDLE: Duration = Duration::from_secs(60 * 60);

/// A connection, encrypted or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The connection; writing to it fails when nothing could be written for so long.
fn impatient<S: Stream + 'static>(stream: S, patience: Duration) -> Box<dyn Stream> {
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(patience));
    Box::new(Box::pin(stream))
}

/// A connection that has been accepted.
pub(crate) struct Accepted {
    stream: Box<dyn Stream>,
    address: SocketAddr,
    is_encrypted: bool,
    /// Its place among all connections of the listener.
    place: OwnedSemaphorePermit,
}

/// Accepts connections until the server stops, and hands each to `served` in a task of its own.
async fn accept<F: Future<Output = ()> + Send>(
    front: Arc<Front>,
    listener: TcpListener,
    tls: Option<TlsSource>,
    served: impl Fn(Arc<Front>, Accepted) -> F + Clone + Send + 'static,
) {
    let places = Arc::new(Semaphore::new(front.limits.max_connections));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let place = place.expect("nobody closes the places");
        let accepted = tokio::select! {
            () = front.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, address)) => {
                let (front, tls, served) = (Arc::clone(&front), tls.clone(), served.clone());
                tokio::spawn(async move {
                    let begun = begin(socket, tls);
                    let begun = tokio::time::timeout(front.limits.authentication_timeout, begun);
                    if let Ok(Some((stream, is_encrypted))) = begun.await {
                        let accepted = Accepted {
                            stream,
                            address,
                            is_encrypted,
                            place,
                        };
                        served(front, accepted).await;
                    }
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: give others time to close theirs.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Sees by the first byte whether the client wants encryption. `None` for a client that has gone, or
/// wants what there is not.
async fn begin(socket: TcpStream, tls: Option<TlsSource>) -> Option<(Box<dyn Stream>, bool)> {
    let _ = socket.set_nodelay(true);
    let mut first = [0];
    if socket.peek(&mut first).await.ok()? == 0 {
        return None;
    }
    if first[0] != TLS_HANDSHAKE {
        return Some((impatient(socket, MAX_IDLE), false));
    }
    let acceptor = tls?();
    let stream = acceptor.accept(socket).await.ok()?;
    Some((impatient(stream, MAX_IDLE), true))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn an_answer_that_nobody_reads_is_given_up() {
        let (ours, mut theirs) = tokio::io::duplex(4);
        let mut stream = impatient(ours, Duration::from_millis(1));
        let error = stream.write_all(b"an answer").await.expect_err("too long");
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        let mut read = [0; 4];
        theirs.read_exact(&mut read).await.expect("what fitted");
        assert_eq!(&read, b"an a");
        stream
            .write_all(b"more")
            .await
            .expect("there is room again");
    }
}
