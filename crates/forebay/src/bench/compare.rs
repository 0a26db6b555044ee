//! One configuration of the server against another: TPC-H query by query, and short queries.

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::runtime::Runtime;

use super::server::ServerUnderTest;
use super::statistics::{mann_whitney_z, t_value};
use super::tpch::QUERIES;
use super::{average, client_runtime, connect, deviation_percent, geometric_mean, quantile, table};
use crate::cli::BenchCompare;

/// Values beyond this have 5 % error, of Z and, with enough iterations, of t.
const SIGNIFICANT: f64 = 1.96;

/// A server with its options.
struct Side {
    name: &'static str,
    options: String,
    server: ServerUnderTest,
    client: tokio_postgres::Client,
    /// Seconds by query and iteration.
    seconds: Vec<Vec<f64>>,
}

impl Side {
    fn start(
        name: &'static str,
        options: &str,
        bench: &BenchCompare,
        runtime: &Runtime,
    ) -> anyhow::Result<Self> {
        let arguments: Vec<&str> = options.split_whitespace().collect();
        let server = ServerUnderTest::start_with(Some(&bench.data), &arguments)
            .with_context(|| format!("the {name} server"))?;
        let client = runtime.block_on(connect(&server.url()?))?;
        Ok(Self {
            name,
            options: options.to_owned(),
            server,
            client,
            seconds: vec![Vec::new(); QUERIES.len()],
        })
    }

    async fn time(&self, sql: &str) -> anyhow::Result<f64> {
        let start = Instant::now();
        self.client.simple_query(sql).await?;
        Ok(start.elapsed().as_secs_f64())
    }
}

/// Runs the benchmark and prints its tables.
pub fn run(options: &BenchCompare) -> anyhow::Result<()> {
    let runtime = client_runtime()?;
    let mut new = Side::start("new", &options.new, options, &runtime)?;
    let mut base = Side::start("base", &options.base, options, &runtime)?;
    super::print_setting();
    for side in [&base, &new] {
        println!("{}: serve {}", side.name, side.options);
    }
    for (q, sql) in QUERIES.iter().enumerate() {
        for iteration in 0..=options.iterations {
            for side in [&mut new, &mut base] {
                let seconds = runtime.block_on(side.time(sql))?;
                if iteration > 0 {
                    side.seconds[q].push(seconds);
                }
            }
        }
        eprint!("\rquery {} of {}", q + 1, QUERIES.len());
    }
    eprintln!();
    print_queries(&new, &base);
    print_short(&[base, new], options, &runtime)
}

/// The table of the change that made unregistration asynchronous in Impala, IMPALA-9380.
fn print_queries(new: &Side, base: &Side) {
    let header = [
        "Query",
        "Avg(ms)",
        "Base Avg(ms)",
        "Delta(Avg)",
        "StdDev(%)",
        "Base StdDev(%)",
        "Iters",
        "Median Diff(%)",
        "MW Zval",
        "Tval",
        "",
    ];
    let mut table = table(header.to_vec());
    for (q, (ours, theirs)) in new.seconds.iter().zip(&base.seconds).enumerate() {
        let (z, t) = (mann_whitney_z(ours, theirs), t_value(ours, theirs));
        table.add_row(vec![
            format!("Q{}", q + 1),
            format!("{:.2}", average(ours) * 1e3),
            format!("{:.2}", average(theirs) * 1e3),
            percent(average(ours), average(theirs)),
            format!("{:.2}%", deviation_percent(ours)),
            format!("{:.2}%", deviation_percent(theirs)),
            ours.len().to_string(),
            percent(median(ours), median(theirs)),
            format!("{z:.2}"),
            format!("{t:.2}"),
            mark(z, t).to_owned(),
        ]);
    }
    let geomean = |side: &Side| {
        let means: Vec<f64> = side.seconds.iter().map(|s| geometric_mean(s)).collect();
        geometric_mean(&means)
    };
    println!("{table}");
    println!(
        "GeoMean(ms): {:.2}, base {:.2}, Delta(GeoMean) {}",
        geomean(new) * 1e3,
        geomean(base) * 1e3,
        percent(geomean(new), geomean(base))
    );
}

fn median(values: &[f64]) -> f64 {
    quantile(&mut values.to_vec(), 0.5)
}

fn percent(new: f64, base: f64) -> String {
    format!("{:+.2}%", 100.0 * (new - base) / base)
}

/// `(R)` for a regression and `(I)` for an improvement that both tests call significant.
fn mark(z: f64, t: f64) -> &'static str {
    match () {
        () if z > SIGNIFICANT && t > SIGNIFICANT => "(R)",
        () if z < -SIGNIFICANT && t < -SIGNIFICANT => "(I)",
        () => "",
    }
}

/// Short queries over many connections, the sides in turns.
fn print_short(sides: &[Side], options: &BenchCompare, runtime: &Runtime) -> anyhow::Result<()> {
    let mut measured = vec![(Vec::new(), Vec::new()); sides.len()];
    for _ in 0..options.rounds {
        for (side, (latencies, per_second)) in sides.iter().zip(&mut measured) {
            let url = side.server.url()?;
            let mut seconds = runtime.block_on(short_queries(&url, options))?;
            per_second.push(seconds.len() as f64 / options.seconds as f64);
            latencies.append(&mut seconds);
        }
    }
    let header = ["server", "statements/s", "p50 us", "p99 us", "p99.9 us"];
    let mut table = table(header.to_vec());
    for (side, (mut latencies, mut per_second)) in sides.iter().zip(measured) {
        let mut micros = |share| format!("{:.0}", quantile(&mut latencies, share) * 1e6);
        table.add_row(vec![
            side.name.to_owned(),
            format!("{:.0}", quantile(&mut per_second, 0.5)),
            micros(0.5),
            micros(0.99),
            micros(0.999),
        ]);
    }
    println!("short queries over {} connections", options.connections);
    println!("{table}");
    Ok(())
}

/// Seconds of each short query that many connections ask for a while.
async fn short_queries(url: &str, options: &BenchCompare) -> anyhow::Result<Vec<f64>> {
    let time = Duration::from_secs(options.seconds as u64);
    let mut clients = Vec::with_capacity(options.connections);
    for _ in 0..options.connections {
        clients.push(connect(url).await?);
    }
    let start = Instant::now();
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|client| {
            tokio::spawn(async move {
                let mut seconds = Vec::new();
                while start.elapsed() < time {
                    let one = Instant::now();
                    client.simple_query("SELECT count(*) FROM region").await?;
                    seconds.push(one.elapsed().as_secs_f64());
                }
                Ok::<_, tokio_postgres::Error>(seconds)
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.append(&mut task.await??);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_both_tests_call_significant_is_marked() {
        assert_eq!(mark(2.5, 3.0), "(R)");
        assert_eq!(mark(-2.5, -3.0), "(I)");
        assert_eq!(mark(2.5, 1.0), "");
        assert_eq!(mark(-2.5, 3.0), "");
        assert_eq!(percent(3.0, 2.0), "+50.00%");
    }
}
