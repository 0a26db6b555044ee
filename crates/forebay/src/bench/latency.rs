//! `SELECT 1`: how long one takes, and how many fit into a second.

use std::time::{Duration, Instant};

use anyhow::bail;

use super::server::ServerUnderTest;
use super::{client_runtime, connect, quantile, table};
use crate::cli::{BenchLatency, Peer};

const QUERY: &str = "SELECT 1";

#[derive(Default)]
struct Measured {
    /// Seconds of each statement over one connection.
    simple: Vec<f64>,
    prepared: Vec<f64>,
    /// Statements a second over many connections, by round.
    per_second: Vec<f64>,
}

/// Runs the benchmark and prints its table.
pub fn run(options: &BenchLatency) -> anyhow::Result<()> {
    let server = ServerUnderTest::start(None)?;
    let mut contestants = vec![("forebay".to_owned(), server.url()?)];
    for peer in &options.against {
        match peer {
            Peer::Postgres(url) => contestants.push((peer.to_string(), url.clone())),
            other => bail!("{other} has no connections to measure; use pg:URL"),
        }
    }
    let runtime = client_runtime()?;
    let mut measured: Vec<Measured> = contestants.iter().map(|_| Measured::default()).collect();
    for _ in 0..options.rounds {
        for ((_, url), measured) in contestants.iter().zip(&mut measured) {
            runtime.block_on(measure(url, options, measured))?;
        }
    }
    print(&contestants, &mut measured, options);
    Ok(())
}

async fn measure(url: &str, options: &BenchLatency, measured: &mut Measured) -> anyhow::Result<()> {
    let time = Duration::from_secs(options.seconds as u64);
    let client = connect(url).await?;
    let start = Instant::now();
    while start.elapsed() < time {
        let one = Instant::now();
        client.simple_query(QUERY).await?;
        measured.simple.push(one.elapsed().as_secs_f64());
    }
    let statement = client.prepare(QUERY).await?;
    let start = Instant::now();
    while start.elapsed() < time {
        let one = Instant::now();
        client.query(&statement, &[]).await?;
        measured.prepared.push(one.elapsed().as_secs_f64());
    }
    measured
        .per_second
        .push(throughput(url, options.connections, time).await?);
    Ok(())
}

async fn throughput(url: &str, connections: usize, time: Duration) -> anyhow::Result<f64> {
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        clients.push(connect(url).await?);
    }
    let start = Instant::now();
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|client| {
            tokio::spawn(async move {
                let mut statements = 0_u32;
                while start.elapsed() < time {
                    client.simple_query(QUERY).await?;
                    statements += 1;
                }
                Ok::<_, tokio_postgres::Error>(statements)
            })
        })
        .collect();
    let mut statements = 0.0;
    for task in tasks {
        statements += f64::from(task.await??);
    }
    Ok(statements / start.elapsed().as_secs_f64())
}

fn print(contestants: &[(String, String)], measured: &mut [Measured], options: &BenchLatency) {
    super::print_setting();
    println!(
        "{QUERY}, {} rounds of {} s for each part, in turns; a ratio is forebay's over the peer's",
        options.rounds, options.seconds
    );
    let header = [
        "server",
        "simple p50 us",
        "ratio",
        "p99 us",
        "prepared p50 us",
        "ratio",
        "p99 us",
        "statements/s",
        "ratio",
    ];
    let mut table = table(header.to_vec());
    let mut first: Option<(f64, f64, f64)> = None;
    for ((name, _), m) in contestants.iter().zip(measured) {
        let simple = quantile(&mut m.simple, 0.5) * 1e6;
        let prepared = quantile(&mut m.prepared, 0.5) * 1e6;
        let per_second = quantile(&mut m.per_second, 0.5);
        let ours = *first.get_or_insert((simple, prepared, per_second));
        table.add_row(vec![
            name.clone(),
            format!("{simple:.0}"),
            format!("{:.2}", ours.0 / simple),
            format!("{:.0}", quantile(&mut m.simple, 0.99) * 1e6),
            format!("{prepared:.0}"),
            format!("{:.2}", ours.1 / prepared),
            format!("{:.0}", quantile(&mut m.prepared, 0.99) * 1e6),
            format!("{per_second:.0}"),
            format!("{:.2}", ours.2 / per_second),
        ]);
    }
    println!("throughput over {} connections", options.connections);
    println!("{table}");
}
