//! The HiveServer2 front end: what `impala-shell`, impyla and Hue speak, over TCP and over HTTP.
//!
//! Sessions, statements and their life are the server's, as for every front end. Where to look:
//!
//! - `wire/`: messages as bytes. `scan.rs` finds where one ends, `call.rs` is what is around a request
//!   and a response, and the types are made of `idl/hs2.thrift` when this is built;
//! - `transport/`: TCP with and without SASL (`binary.rs`, `sasl.rs`), HTTP (`http.rs`), TLS below both;
//! - `front.rs`, `session/`: what all connections share, and sessions, which outlive connections;
//! - `operation/`: statements that are open, each with a task of its own (`driver.rs`);
//! - `service/`: the calls, one file for each kind;
//! - `rows/`: Arrow's types and batches as the protocol's.
//!
//! Invariants: an operation is one statement in a transaction of its own; of a result at most two
//! batches are read ahead of its client, unless the client asks for a bounded cache; rows go from
//! Arrow's buffers into the reply's without another form in between; nothing that a client claims is
//! believed before its bytes are there.

mod error;
mod front;
mod operation;
mod rows;
mod service;
mod session;
mod transport;
mod wire;

pub use transport::TlsSource;

use std::sync::Arc;
use std::time::Duration;

use forebay_server::Server;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use front::Front;

/// The operator's choices about connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest message that a client may send, in bytes. A larger one ends the connection.
    pub max_message_bytes: usize,
    /// How long a client may take to log in, or a message that has begun may stand still, before the
    /// connection is cut off.
    pub authentication_timeout: Duration,
    /// Connections at once, for each of the two listeners.
    pub max_connections: usize,
}

/// What the front end is made of.
pub struct Options {
    /// The server.
    pub server: Server,
    /// Limits on connections.
    pub limits: Limits,
    /// Where encrypted connections get their certificate, if there is one.
    pub tls: Option<TlsSource>,
    /// The address of the web pages, as clients are told of it: `http://host:port`.
    pub pages: String,
}

/// Serves the binary protocol on one listener and HTTP on another, until `stop` is cancelled. Both
/// share sessions and operations.
pub async fn serve(
    options: Options,
    binary: Option<TcpListener>,
    http: Option<TcpListener>,
    stop: CancellationToken,
) {
    let front = Front::new(options.server, options.limits, options.pages, stop);
    let binary = async {
        if let Some(listener) = binary {
            transport::serve_binary(Arc::clone(&front), listener, options.tls.clone()).await;
        }
    };
    let http = async {
        if let Some(listener) = http {
            transport::serve_http(Arc::clone(&front), listener, options.tls.clone()).await;
        }
    };
    tokio::join!(binary, http);
}
