//! The web pages: what a server does, for people (HTML), for programs (JSON) and for Prometheus.
//!
//! Where to look: `app.rs` is what all pages share, `access.rs` who may come in, `respond.rs` how a
//! page becomes HTML, JSON or a stream of events, `pages/` the pages, `draw.rs` the drawings.
//!
//! Invariants:
//! - nothing changes by `GET`; every `POST` carries the token of this server's forms;
//! - text that comes from anywhere else is shown as text ([`format::Foreign`]), and the pages run no
//!   script but their own;
//! - pages are made on threads that may block: never on those that serve clients;
//! - everything is read from [`forebay_server::Server`] when somebody looks, apart from the samples
//!   of the last hour.

mod access;
mod app;
mod assets;
mod draw;
mod format;
mod history;
mod layout;
mod listener;
mod logs;
mod pages;
mod process;
mod prometheus;
mod respond;

pub use app::{Options, Setting};
pub use logs::{LogLayer, Logs};
pub use process::Figure;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use app::App;
use listener::{Limited, Peer};

/// How long open connections have to end once the server stops.
const PATIENCE: Duration = Duration::from_secs(2);

/// Serves the pages until `stop`.
///
/// # Errors
/// When the listener's own address cannot be told.
pub async fn serve(
    listener: TcpListener,
    options: Options,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let address = listener.local_addr()?;
    let app = Arc::new(App::new(options, address, stop.clone()));
    let sampling = tokio::spawn(history::sample(Arc::clone(&app)));
    let service = pages::router(&app).into_make_service_with_connect_info::<Peer>();
    let serving = axum::serve(Limited::new(listener), service)
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(PATIENCE).await;
    };
    // A client that neither reads nor goes away does not hold up the end.
    tokio::select! {
        result = serving => result?,
        () = late => {}
    }
    sampling.abort();
    Ok(())
}
