//! Large results over every protocol: rows a second, and what a client waits for at the end.
//!
//! All clients here walk through what arrives and keep nothing of it, so that the servers are what is
//! measured: they count rows where the protocol says how many there are.

mod hive;
mod postgres;

use std::time::Instant;

use anyhow::{Context, ensure};

use self::hive::{Hive, Transport};
use self::postgres::Postgres;
use super::memory::MemoryWatch;
use super::server::ServerUnderTest;
use super::{deviation_percent, quantile, table};
use crate::cli::{BenchFetch, Peer};

/// What is fetched.
const RESULTS: [(&str, &str); 3] = [
    ("numbers", "SELECT l_orderkey, l_linenumber FROM lineitem"),
    (
        "narrow",
        "SELECT l_orderkey, l_extendedprice, l_shipdate FROM lineitem",
    ),
    ("wide", "SELECT * FROM lineitem"),
];

/// How rows travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    HiveBinary,
    HiveHttp,
    PostgresText,
    PostgresBinary,
}

impl Way {
    const ALL: [Way; 4] = [
        Way::HiveBinary,
        Way::HiveHttp,
        Way::PostgresText,
        Way::PostgresBinary,
    ];

    fn name(self) -> &'static str {
        match self {
            Way::HiveBinary => "HiveServer2",
            Way::HiveHttp => "HiveServer2, HTTP",
            Way::PostgresText => "PostgreSQL, text",
            Way::PostgresBinary => "PostgreSQL, binary",
        }
    }

    /// Whether others than Forebay speak it.
    fn is_of_postgres(self) -> bool {
        matches!(self, Way::PostgresText | Way::PostgresBinary)
    }
}

/// What has arrived.
#[derive(Debug, Clone, Copy, Default)]
struct Fetched {
    rows: u64,
    bytes: u64,
}

/// One contestant with one result.
struct Measured {
    server: String,
    way: Way,
    fetched: Fetched,
    seconds: Vec<f64>,
    /// Bytes that the server's memory has grown by, at most; where it is ours.
    growth: Vec<f64>,
}

/// Runs the benchmark and prints its tables.
pub fn run(options: &BenchFetch) -> anyhow::Result<()> {
    let server = ServerUnderTest::start_with_hs2(Some(&options.data), &[])?;
    super::print_setting();
    for (name, sql) in RESULTS {
        let mut measured = contestants(options);
        for iteration in 0..=options.iterations {
            for one in &mut measured {
                // The first time fills caches.
                one.measure(&server, options, sql, iteration > 0)?;
            }
            eprint!("\r{name}: iteration {iteration} of {}", options.iterations);
        }
        eprintln!();
        print(name, sql, &mut measured, options.iterations);
    }
    drop(server);
    close(options)
}

fn contestants(options: &BenchFetch) -> Vec<Measured> {
    let ours = Way::ALL.map(|way| ("forebay".to_owned(), way));
    let peers = options.against.iter().flat_map(|peer| {
        let ways = Way::ALL.into_iter().filter(|way| way.is_of_postgres());
        ways.map(|way| (peer.to_string(), way))
    });
    let all = ours.into_iter().chain(peers);
    all.map(|(server, way)| Measured {
        server,
        way,
        fetched: Fetched::default(),
        seconds: Vec::new(),
        growth: Vec::new(),
    })
    .collect()
}

impl Measured {
    fn is_ours(&self) -> bool {
        self.server == "forebay"
    }

    fn measure(
        &mut self,
        server: &ServerUnderTest,
        options: &BenchFetch,
        sql: &str,
        counts: bool,
    ) -> anyhow::Result<()> {
        let url = match self.is_ours() {
            true => server.url()?,
            false => peer_url(options)?.to_owned(),
        };
        let watch = MemoryWatch::start(server.process_id())?;
        let start = Instant::now();
        self.fetched = match self.way {
            Way::HiveBinary => Hive::connect(server.hs2()?, Transport::Binary)?.fetch(sql)?,
            Way::HiveHttp => Hive::connect(server.hs2_http()?, Transport::Http)?.fetch(sql)?,
            Way::PostgresText => Postgres::connect(&url)?.fetch_text(sql)?,
            Way::PostgresBinary => Postgres::connect(&url)?.fetch_binary(sql)?,
        };
        let seconds = start.elapsed().as_secs_f64();
        ensure!(self.fetched.rows > 0, "{sql} has no rows");
        if counts {
            self.seconds.push(seconds);
            let (_, growth) = watch.end()?;
            self.growth.push(growth as f64);
        }
        Ok(())
    }
}

fn peer_url(options: &BenchFetch) -> anyhow::Result<&str> {
    let urls = options.against.iter().find_map(|peer| match peer {
        Peer::Postgres(url) => Some(url.as_str()),
        Peer::DataFusion | Peer::DuckDb => None,
    });
    urls.context("only a server that speaks PostgreSQL's protocol can be fetched from: pg:URL")
}

fn print(name: &str, sql: &str, measured: &mut [Measured], iterations: usize) {
    println!("{name}: {sql}, {iterations} times in turns; medians");
    let header = [
        "server, protocol",
        "rows",
        "bytes a row",
        "seconds",
        "stddev",
        "rows/s",
        "largest growth MB",
        "of the peer's text",
    ];
    let mut table = table(header.to_vec());
    let rate = |one: &mut Measured| {
        let seconds = quantile(&mut one.seconds, 0.5);
        one.fetched.rows as f64 / seconds
    };
    let is_peers_text = |one: &Measured| !one.is_ours() && one.way == Way::PostgresText;
    let peer = measured.iter_mut().find(|one| is_peers_text(one));
    let peer = peer.map(rate);
    for one in measured {
        let (rows, bytes) = (one.fetched.rows, one.fetched.bytes);
        let rate = rate(one);
        let growth = match one.is_ours() {
            true => format!("{:.0}", quantile(&mut one.growth, 1.0) / f64::from(1 << 20)),
            false => String::new(),
        };
        table.add_row(vec![
            format!("{}, {}", one.server, one.way.name()),
            rows.to_string(),
            format!("{:.1}", bytes as f64 / rows as f64),
            format!("{:.3}", quantile(&mut one.seconds, 0.5)),
            format!("{:.1} %", deviation_percent(&one.seconds)),
            format!("{rate:.0}"),
            growth,
            peer.map_or_else(String::new, |peer| format!("{:.2} x", rate / peer)),
        ]);
    }
    println!("{table}");
}

/// Selects that are put together, which makes a plan, and so a profile, of some size.
const BRANCHES: [usize; 3] = [1, 50, 200];

/// Statements of each size and kind of pool.
const CLOSED: usize = 100;

/// What a client waits for when its statement has finished: fetching its rows and closing it, with
/// archiving in its way and behind its back.
fn close(options: &BenchFetch) -> anyhow::Result<()> {
    let start = |threads: &str| {
        let pool = ["--unregistration-thread-pool-size", threads];
        ServerUnderTest::start_with_hs2(Some(&options.data), &pool)
    };
    let (at_once, by_pool) = (start("0")?, start("4")?);
    println!("fetching the last rows and closing over HiveServer2, {CLOSED} times each, in turns");
    let mut table = table(vec![
        "profile KB",
        "synchronous p50 ms",
        "p99 ms",
        "asynchronous p50 ms",
        "p99 ms",
        "ratio of p50",
    ]);
    for branches in BRANCHES {
        let selects: Vec<String> = (0..branches).map(|i| format!("SELECT {i} AS n")).collect();
        let sql = format!("SELECT sum(n) FROM ({}) t", selects.join(" UNION ALL "));
        let mut clients = [&at_once, &by_pool]
            .map(|server| Hive::connect(server.hs2().expect("it has one"), Transport::Binary));
        let mut seconds = [Vec::new(), Vec::new()];
        let mut profile_bytes = 0;
        for _ in 0..CLOSED {
            for (client, seconds) in clients.iter_mut().zip(&mut seconds) {
                let client = client
                    .as_mut()
                    .map_err(|error| anyhow::anyhow!("{error:#}"))?;
                let (waited, profile) = client.close_finished(&sql)?;
                seconds.push(waited);
                profile_bytes = profile;
            }
        }
        let mut row = vec![(profile_bytes >> 10).to_string()];
        for seconds in &mut seconds {
            row.push(format!("{:.2}", quantile(seconds, 0.5) * 1e3));
            row.push(format!("{:.2}", quantile(seconds, 0.99) * 1e3));
        }
        let [at_once, by_pool] = &mut seconds;
        let ratio = quantile(by_pool, 0.5) / quantile(at_once, 0.5);
        row.push(format!("{ratio:.3}"));
        table.add_row(row);
    }
    println!("{table}");
    Ok(())
}
