//! The 22 TPC-H queries through the server, and through its peers.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail};
use tokio::runtime::Runtime;

use super::duckdb::DuckDb;
use super::in_process::InProcess;
use super::server::ServerUnderTest;
use super::{average, client_runtime, connect, deviation_percent, geometric_mean, table};
use crate::cli::{BenchTpch, Peer};

/// The queries, with the parameters that the specification's answers are for.
pub(super) const QUERIES: [&str; 22] = [
    include_str!("../../../../bench/tpch/q01.sql"),
    include_str!("../../../../bench/tpch/q02.sql"),
    include_str!("../../../../bench/tpch/q03.sql"),
    include_str!("../../../../bench/tpch/q04.sql"),
    include_str!("../../../../bench/tpch/q05.sql"),
    include_str!("../../../../bench/tpch/q06.sql"),
    include_str!("../../../../bench/tpch/q07.sql"),
    include_str!("../../../../bench/tpch/q08.sql"),
    include_str!("../../../../bench/tpch/q09.sql"),
    include_str!("../../../../bench/tpch/q10.sql"),
    include_str!("../../../../bench/tpch/q11.sql"),
    include_str!("../../../../bench/tpch/q12.sql"),
    include_str!("../../../../bench/tpch/q13.sql"),
    include_str!("../../../../bench/tpch/q14.sql"),
    include_str!("../../../../bench/tpch/q15.sql"),
    include_str!("../../../../bench/tpch/q16.sql"),
    include_str!("../../../../bench/tpch/q17.sql"),
    include_str!("../../../../bench/tpch/q18.sql"),
    include_str!("../../../../bench/tpch/q19.sql"),
    include_str!("../../../../bench/tpch/q20.sql"),
    include_str!("../../../../bench/tpch/q21.sql"),
    include_str!("../../../../bench/tpch/q22.sql"),
];

/// Runs the benchmark and prints its table.
pub fn run(options: &BenchTpch) -> anyhow::Result<()> {
    let client = client_runtime()?;
    let server = ServerUnderTest::start(Some(&options.data))?;
    let url = server.url()?;
    let mut contestants = vec![Contestant::connect("forebay", &client, &url)?];
    for peer in &options.against {
        contestants.push(Contestant::of(peer, &client, &options.data)?);
    }
    super::print_setting();
    let times = measure(&mut contestants, options.iterations)?;
    print(&contestants, &times, options.iterations);
    Ok(())
}

/// Times in seconds: by contestant, query, iteration.
type Times = Vec<Vec<Vec<f64>>>;

/// Each query runs once uncounted, then in turns.
fn measure(contestants: &mut [Contestant<'_>], iterations: usize) -> anyhow::Result<Times> {
    let mut times: Times = vec![vec![Vec::new(); QUERIES.len()]; contestants.len()];
    for (q, sql) in QUERIES.iter().enumerate() {
        for iteration in 0..=iterations {
            for (c, contestant) in contestants.iter_mut().enumerate() {
                let seconds = contestant
                    .seconds(sql)
                    .with_context(|| format!("query {} of {}", q + 1, contestant.name()))?;
                if iteration > 0 {
                    times[c][q].push(seconds);
                }
            }
        }
        eprint!("\rquery {} of {}", q + 1, QUERIES.len());
    }
    eprintln!();
    Ok(times)
}

fn print(contestants: &[Contestant<'_>], times: &Times, iterations: usize) {
    let mut header = vec!["query".to_owned()];
    for (c, contestant) in contestants.iter().enumerate() {
        let name = contestant.name();
        header.push(format!("{name} avg ms"));
        header.push("geomean ms".to_owned());
        header.push("stddev".to_owned());
        if c > 0 {
            header.push("ratio".to_owned());
        }
    }
    let mut table = table(header);
    for q in 0..QUERIES.len() {
        let mut row = vec![format!("Q{}", q + 1)];
        for (c, of_contestant) in times.iter().enumerate() {
            let seconds = &of_contestant[q];
            row.push(milliseconds(average(seconds)));
            row.push(milliseconds(geometric_mean(seconds)));
            row.push(format!("{:.1} %", deviation_percent(seconds)));
            if c > 0 {
                row.push(ratio(geometric_mean(&times[0][q]), geometric_mean(seconds)));
            }
        }
        table.add_row(row);
    }
    table.add_row(total_row(times));
    println!("{iterations} iterations; a ratio is forebay's geometric mean over the peer's");
    println!("{table}");
}

/// Averages, and geometric means over the queries' geometric means.
fn total_row(times: &Times) -> Vec<String> {
    let geomean = |of_contestant: &Vec<Vec<f64>>| {
        let means: Vec<f64> = of_contestant.iter().map(|s| geometric_mean(s)).collect();
        geometric_mean(&means)
    };
    let mut row = vec!["all".to_owned()];
    for (c, of_contestant) in times.iter().enumerate() {
        let averages: Vec<f64> = of_contestant.iter().map(|s| average(s)).collect();
        row.push(milliseconds(average(&averages)));
        row.push(milliseconds(geomean(of_contestant)));
        row.push(String::new());
        if c > 0 {
            row.push(ratio(geomean(&times[0]), geomean(of_contestant)));
        }
    }
    row
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.1}", seconds * 1000.0)
}

fn ratio(ours: f64, theirs: f64) -> String {
    format!("{:.3}", ours / theirs)
}

/// Somebody who runs the queries.
enum Contestant<'a> {
    Postgres {
        name: &'static str,
        runtime: &'a Runtime,
        client: tokio_postgres::Client,
    },
    DataFusion(InProcess),
    DuckDb(DuckDb),
}

impl<'a> Contestant<'a> {
    fn of(peer: &Peer, runtime: &'a Runtime, data: &Path) -> anyhow::Result<Self> {
        match peer {
            Peer::DuckDb => Ok(Self::DuckDb(DuckDb::start(data)?)),
            Peer::DataFusion => Ok(Self::DataFusion(InProcess::open(data)?)),
            Peer::Postgres(url) => Self::connect("postgres", runtime, url),
        }
    }

    fn connect(name: &'static str, runtime: &'a Runtime, url: &str) -> anyhow::Result<Self> {
        let client = runtime.block_on(connect(url))?;
        Ok(Self::Postgres {
            name,
            runtime,
            client,
        })
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Postgres { name, .. } => name,
            Self::DataFusion(_) => "datafusion",
            Self::DuckDb(_) => "duckdb",
        }
    }

    /// Runs `sql` to its last row; gives the seconds that it took.
    fn seconds(&mut self, sql: &str) -> anyhow::Result<f64> {
        match self {
            Self::Postgres {
                runtime, client, ..
            } => runtime.block_on(async {
                let start = Instant::now();
                let messages = client.simple_query(sql).await?;
                if messages.is_empty() {
                    bail!("no answer");
                }
                Ok(start.elapsed().as_secs_f64())
            }),
            Self::DataFusion(datafusion) => datafusion.seconds(sql),
            Self::DuckDb(duckdb) => duckdb.seconds(sql),
        }
    }
}
