//! `forebay bench`: measurements through the server, side by side with peers in one run.
//!
//! The server under test is a process of its own, started for the measurement on a free port
//! and an empty data directory; the client is this process. Peers take turns with it, so that
//! what else the machine does hits all of them alike.
#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]

mod admission;
mod close;
mod compare;
mod cost;
mod duckdb;
mod fetch;
mod in_process;
mod latency;
mod memory;
mod overload;
mod pages;
mod server;
mod statistics;
mod stream;
mod tpch;

pub use admission::run as admission;
pub use close::run as close;
pub use compare::run as compare;
pub use cost::run as cost;
pub use fetch::run as fetch;
pub use latency::run as latency;
pub use overload::run as overload;
pub use pages::run as pages;
pub use stream::run as stream;
pub use tpch::run as tpch;

use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets};
use tokio::runtime::Runtime;

/// The client's runtime: one thread, so that it takes little from the server.
fn client_runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the client's runtime")
}

/// Connects to a server that speaks PostgreSQL's protocol.
async fn connect(url: &str) -> anyhow::Result<tokio_postgres::Client> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .context("cannot connect")?;
    tokio::spawn(async move {
        // The client reports what goes wrong with the connection.
        let _ = connection.await;
    });
    Ok(client)
}

/// What the numbers below were measured with.
fn print_setting() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "forebay {} ({} build), DataFusion {}, {cores} cores",
        env!("CARGO_PKG_VERSION"),
        if cfg!(debug_assertions) {
            "dev"
        } else {
            "release"
        },
        datafusion::DATAFUSION_VERSION,
    );
}

/// A table with the first column on the left and numbers on the right.
fn table<T: Into<comfy_table::Cell>>(header: Vec<T>) -> Table {
    let mut table = Table::new();
    let columns = header.len();
    table
        .load_preset(presets::ASCII_MARKDOWN)
        .set_header(header);
    for column in 1..columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn average(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / count(values)
}

fn geometric_mean(values: &[f64]) -> f64 {
    (values.iter().map(|v| v.ln()).sum::<f64>() / count(values)).exp()
}

/// Standard deviation in percent of the average.
fn deviation_percent(values: &[f64]) -> f64 {
    let average = average(values);
    let squares = values.iter().map(|v| (v - average).powi(2)).sum::<f64>();
    100.0 * (squares / count(values)).sqrt() / average
}

/// The value below which `share` (0 to 1) of the values lie.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let index = ((values.len() - 1) as f64 * share).round() as usize;
    values[index]
}

fn count(values: &[f64]) -> f64 {
    values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_quantiles() {
        assert!((average(&[1.0, 3.0]) - 2.0).abs() < 1e-12);
        assert!((geometric_mean(&[1.0, 4.0]) - 2.0).abs() < 1e-12);
        assert!((deviation_percent(&[1.0, 3.0]) - 50.0).abs() < 1e-12);
        let mut values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert!((quantile(&mut values, 0.5) - 3.0).abs() < 1e-12);
        assert!((quantile(&mut values, 1.0) - 5.0).abs() < 1e-12);
    }
}
