//! `SELECT 1`: how long one takes, and how many fit into a second.

use std::time::{Duration, Instant};

use anyhow::bail;

use super::server::ServerUnderTest;
use super::{client_runtime, connect, quantile, table};
use crate::cli::{BenchLatency, Peer};

const QUERY: &str = "SELECT 1";

/// How a statement is sent over one connection.
const FORMS: [&str; 3] = ["repeated", "new", "prepared"];

/// The text of a simple query: always the same, or one that was never sent before.
#[derive(Clone, Copy)]
pub(super) enum Text {
    Repeated,
    New,
}

impl Text {
    fn of(self, number: u32) -> String {
        match self {
            Self::Repeated => QUERY.to_owned(),
            Self::New => format!("SELECT {number}"),
        }
    }
}

#[derive(Default)]
struct Measured {
    /// Seconds of each statement over one connection, by form.
    latencies: [Vec<f64>; FORMS.len()],
    /// Statements a second over many connections, by round, of repeated and of new texts.
    per_second: [Vec<f64>; 2],
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
    let [repeated, new, prepared] = &mut measured.latencies;
    for (text, seconds) in [(Text::Repeated, repeated), (Text::New, new)] {
        let (start, mut number) = (Instant::now(), 0);
        while start.elapsed() < time {
            number += 1;
            let sql = text.of(number);
            let one = Instant::now();
            client.simple_query(&sql).await?;
            seconds.push(one.elapsed().as_secs_f64());
        }
    }
    let statement = client.prepare(QUERY).await?;
    let start = Instant::now();
    while start.elapsed() < time {
        let one = Instant::now();
        client.query(&statement, &[]).await?;
        prepared.push(one.elapsed().as_secs_f64());
    }
    for (text, per_second) in [Text::Repeated, Text::New]
        .into_iter()
        .zip(&mut measured.per_second)
    {
        per_second.push(throughput(url, text, options.connections, time).await?);
    }
    Ok(())
}

/// Statements a second over many connections at once.
pub(super) async fn throughput(
    url: &str,
    text: Text,
    connections: usize,
    time: Duration,
) -> anyhow::Result<f64> {
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
                    statements += 1;
                    client.simple_query(&text.of(statements)).await?;
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
    println!("throughput over {} connections", options.connections);
    let parts = ["repeated", "new"].map(|text| format!("{text}/s"));
    let latencies = FORMS.iter().flat_map(|form| {
        let median = format!("{form} p50 us");
        [median, "ratio".to_owned(), "p99 us".to_owned()]
    });
    let throughputs = parts
        .into_iter()
        .flat_map(|part| [part, "ratio".to_owned()]);
    let header = std::iter::once("server".to_owned()).chain(latencies);
    let mut table = table(header.chain(throughputs).collect());
    let mut ours: Option<Vec<f64>> = None;
    for ((name, _), measured) in contestants.iter().zip(measured) {
        let mut all = measured
            .latencies
            .iter_mut()
            .chain(&mut measured.per_second);
        let medians: Vec<f64> = all.by_ref().map(|part| quantile(part, 0.5)).collect();
        let ours = ours.get_or_insert_with(|| medians.clone());
        let mut row = vec![name.clone()];
        for (i, median) in medians.iter().enumerate() {
            let is_latency = i < FORMS.len();
            row.push(format!(
                "{:.0}",
                median * if is_latency { 1e6 } else { 1.0 }
            ));
            row.push(format!("{:.2}", ours[i] / median));
            if is_latency {
                let slow = quantile(&mut measured.latencies[i], 0.99) * 1e6;
                row.push(format!("{slow:.0}"));
            }
        }
        table.add_row(row);
    }
    println!("{table}");
}
