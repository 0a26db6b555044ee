//! What lets others look into a server: its log and its web pages.

use std::net::SocketAddr;

use anyhow::Context;
use forebay_server::Server;
use forebay_web::{Figure, LogLayer, Logs, Options, Setting};
use tikv_jemalloc_ctl::{epoch, stats};
use tokio::net::TcpListener;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, reload};

/// Logs to the standard error stream, and keeps the last lines for the web pages.
pub fn start_logging(filter: &str) -> anyhow::Result<Logs> {
    let wanted =
        EnvFilter::try_new(filter).with_context(|| format!("invalid log filter \"{filter}\""))?;
    let (wanted, handle) = reload::Layer::new(wanted);
    let kept = LogLayer::new();
    let logs = kept.logs(filter, move |filter| {
        let filter = EnvFilter::builder()
            .parse(filter)
            .map_err(|error| error.to_string())?;
        handle.reload(filter).map_err(|error| error.to_string())
    });
    let written = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(written.and_then(kept).with_filter(wanted))
        .init();
    Ok(logs)
}

/// The listener of the web pages, if there are to be any.
pub async fn listen(address: Option<SocketAddr>) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = address else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen on {address} for the web pages; choose another address with \
             --web-listen, or off"
        )
    })?;
    if !address.ip().to_canonical().is_loopback() {
        tracing::warn!(
            "the web pages at {address} can be reached from other machines: they ask for a \
             superuser's password, which is sent without encryption"
        );
    }
    Ok(Some(listener))
}

/// What the web pages show.
pub fn options(server: Server, logs: Logs, configuration: Vec<Setting>) -> Options {
    Options {
        server,
        logs,
        configuration,
        allocator,
    }
}

/// What jemalloc counts; nothing that it does not tell.
fn allocator() -> Vec<Figure> {
    // Its numbers are those of the last epoch.
    let _ = epoch::advance();
    let figure = |name, help, bytes: tikv_jemalloc_ctl::Result<usize>| {
        let bytes = u64::try_from(bytes.ok()?).ok()?;
        Some(Figure { name, help, bytes })
    };
    let figures = [
        figure(
            "allocated",
            "Memory that the program has asked for",
            stats::allocated::read(),
        ),
        figure(
            "active",
            "Pages that have some of it",
            stats::active::read(),
        ),
        figure(
            "metadata",
            "What the allocator needs for itself",
            stats::metadata::read(),
        ),
        figure(
            "resident",
            "Pages that are in memory, those that nobody uses among them",
            stats::resident::read(),
        ),
        figure(
            "mapped",
            "Addresses that stand for them",
            stats::mapped::read(),
        ),
        figure(
            "retained",
            "Addresses that are kept for later, without memory",
            stats::retained::read(),
        ),
    ];
    figures.into_iter().flatten().collect()
}
