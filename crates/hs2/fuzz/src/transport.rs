//! As much of the crate's module of this name as `sasl.rs` needs.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

#[allow(dead_code, reason = "only the reading part is looked at")]
#[path = "../../src/transport/sasl.rs"]
mod sasl;

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// User, password, and the bytes that the login has left; and what the client is answered.
pub(crate) type LogIn = (Option<(String, String, Vec<u8>)>, Vec<u8>);

/// Logs in with bytes that come in pieces.
pub(crate) fn credentials(input: &[u8], piece: usize) -> LogIn {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers");
    runtime.block_on(async {
        // A pipe that holds one piece at a time.
        let (mut client, mut server) = tokio::io::duplex(piece);
        let (mut answers, mut sending) = tokio::io::split(&mut client);
        let send = async {
            let _ = sending.write_all(input).await;
            let _ = sending.shutdown().await;
        };
        let read = async {
            let mut buffer = BytesMut::new();
            let read = sasl::credentials(&mut server, &mut buffer).await;
            let found = read
                .ok()
                .flatten()
                .map(|found| (found.user, found.password));
            let mut left = buffer.to_vec();
            let _ = server.read_to_end(&mut left).await;
            drop(server);
            found.map(|(user, password)| (user, password, left))
        };
        let mut answer = Vec::new();
        let (found, (), _) = tokio::join!(read, send, answers.read_to_end(&mut answer));
        (found, answer)
    })
}
