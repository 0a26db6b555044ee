//! The PostgreSQL front end.
//!
//! Messages come from `pgwire` (their forms, not its connection handling), values from
//! `arrow-pg`; sessions and statements are the server's. A connection is one task:
//!
//! - `wire.rs`, `codec.rs`, `form.rs`: bytes to messages and back, size limits, noticing that a
//!   client has gone;
//! - `startup.rs`, `pending.rs`, `tls.rs`, `scram.rs`: from the first byte to a session;
//! - `connection.rs`: the loop, and what both query protocols share;
//! - `simple.rs`, `extended.rs`: the two protocols;
//! - `encode.rs`, `text_form.rs`, `copy.rs`, `types.rs`: results and parameters.
//!
//! Invariants: rows are encoded straight into the socket's buffer, which is flushed every
//! [`FLUSH_BYTES`](codec::FLUSH_BYTES), so a slow client slows its plan down instead of filling
//! memory; while a statement runs, the socket is watched, so a client that goes away takes its
//! statement with it.

mod cell;
mod codec;
mod connection;
mod copy;
mod encode;
mod extended;
mod form;
mod pending;
mod scram;
mod simple;
mod startup;
mod text_form;
mod tls;
mod types;
mod wire;

pub use tls::{Tls, TlsError};

use std::sync::Arc;
use std::time::Duration;

use forebay_server::Server;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use pending::Pending;

/// The protocol's name in profiles and pages.
const PROTOCOL: &str = "postgresql";

/// The operator's choices about connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest message that a client may send, in bytes. A larger one ends the connection.
    pub max_message_bytes: usize,
    /// How long a client may take to log in before it is cut off.
    pub authentication_timeout: Duration,
    /// How many clients may be logging in at once; one more cuts off the one that has been at it
    /// for longest.
    pub max_pending_connections: usize,
}

/// Serves connections until `stop` is cancelled; those that are open live on. Without `tls` clients
/// that want encryption are told that there is none.
pub async fn serve(
    server: Server,
    listener: TcpListener,
    limits: Limits,
    tls: Option<Arc<Tls>>,
    stop: CancellationToken,
) {
    let pending = Pending::new(limits.max_pending_connections);
    let startup = Arc::new(startup::Startup::new(server, limits, tls));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, address)) => {
                let startup = Arc::clone(&startup);
                tokio::spawn(connection::serve(startup, socket, address, pending.place()));
            }
            Err(error) => {
                // Out of file descriptors, most likely: give others time to close theirs.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
