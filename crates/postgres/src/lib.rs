//! The PostgreSQL front end.
//!
//! Messages come from `pgwire` (their forms, not its connection handling), values from
//! `arrow-pg`; sessions and statements are the server's. A connection is one task:
//!
//! - `wire.rs`, `form.rs`: bytes to messages and back, size limits, noticing that a client has
//!   gone;
//! - `startup.rs`, `scram.rs`: from the first byte to a session;
//! - `connection.rs`: the loop, and what both query protocols share;
//! - `simple.rs`, `extended.rs`: the two protocols;
//! - `encode.rs`, `text_form.rs`, `copy.rs`, `types.rs`: results and parameters.
//!
//! Invariants: rows are encoded straight into the socket's buffer, which is flushed every
//! [`FLUSH_BYTES`](wire::FLUSH_BYTES), so a slow client slows its plan down instead of filling
//! memory; while a statement runs, the socket is watched, so a client that goes away takes its
//! statement with it.

mod connection;
mod copy;
mod encode;
mod extended;
mod form;
mod portal;
mod scram;
mod simple;
mod startup;
mod text_form;
mod types;
mod wire;

use std::sync::Arc;

use forebay_server::Server;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The protocol's name in profiles and pages.
const PROTOCOL: &str = "postgresql";

/// The operator's choices about connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest message that a client may send, in bytes. A larger one ends the connection.
    pub max_message_bytes: usize,
}

/// Serves connections until `stop` is cancelled; those that are open live on.
pub async fn serve(server: Server, listener: TcpListener, limits: Limits, stop: CancellationToken) {
    let startup = Arc::new(startup::Startup::new(server, limits));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, address)) => {
                tokio::spawn(connection::serve(Arc::clone(&startup), socket, address));
            }
            Err(error) => {
                // Out of file descriptors, most likely: give others time to close theirs.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}
