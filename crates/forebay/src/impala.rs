//! Wires the front end of Impala's clients.
#![allow(
    clippy::print_stdout,
    reason = "the operator reads what is served here"
)]

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use forebay_hs2::{Limits, Options, TlsSource};
use forebay_postgres::Tls;
use forebay_server::Server;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// What HTTP's clients name in TLS.
const HTTP_ALPN: &[u8] = b"http/1.1";

/// Where Impala's clients connect, if they may.
pub struct Listeners {
    binary: Option<TcpListener>,
    http: Option<TcpListener>,
}

/// Listens where the configuration says.
pub async fn listen(config: &Config) -> anyhow::Result<Listeners> {
    Ok(Listeners {
        binary: bind(config.hs2_listen, "--hs2-listen").await?,
        http: bind(config.hs2_http_listen, "--hs2-http-listen").await?,
    })
}

async fn bind(address: Option<SocketAddr>, flag: &str) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = address else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen on {address} for Impala's clients; choose another address with {flag}, \
             or off"
        )
    })?;
    Ok(Some(listener))
}

impl Listeners {
    /// Tells the operator where they are.
    pub fn print(&self) -> anyhow::Result<()> {
        if let Some(listener) = &self.binary {
            let address = listener.local_addr()?;
            println!("  HiveServer2     {address}   (impala-shell -i {address})");
        }
        if let Some(listener) = &self.http {
            let address = listener.local_addr()?;
            println!(
                "  the same, HTTP  {address}   (impala-shell --protocol=hs2-http -i {address})"
            );
        }
        Ok(())
    }

    /// The address of one of them.
    pub fn address(&self) -> Option<SocketAddr> {
        let listener = self.binary.as_ref().or(self.http.as_ref())?;
        listener.local_addr().ok()
    }

    /// Serves until `stop`.
    pub async fn serve(self, options: Options, stop: CancellationToken) {
        forebay_hs2::serve(options, self.binary, self.http, stop).await;
    }
}

/// What the front end is made of.
pub fn options(
    server: &Server,
    config: &Config,
    tls: Option<Arc<Tls>>,
    pages: Option<SocketAddr>,
) -> Options {
    let tls = tls.map(|tls| -> TlsSource { Arc::new(move || tls.acceptor_for(&[HTTP_ALPN])) });
    Options {
        server: server.clone(),
        limits: Limits {
            max_message_bytes: config.max_message_size_bytes,
            authentication_timeout: config.authentication_timeout,
            max_connections: config.max_connections,
        },
        tls,
        pages: pages.map_or_else(String::new, |address| format!("http://{address}")),
    }
}
