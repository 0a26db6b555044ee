//! How well the estimated cost of a plan tells the CPU time of its statement.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::in_process::InProcess;
use super::server::ServerUnderTest;
use super::{average, client_runtime, connect, quantile, table, tpch};
use crate::cli::BenchCost;

/// A statement is repeated until it has taken this much, so that steps of 10 ms do not matter.
const MIN_CPU_MS: f64 = 200.0;

/// A statement is repeated at most so often.
const MAX_ITERATIONS: usize = 100;

/// One query, estimated and run.
struct Measured {
    name: String,
    /// How long an estimate takes, in microseconds; `None` where DataFusion alone cannot plan it.
    estimate_us: Option<f64>,
    /// The plan's estimated cost, in pages.
    cost: f64,
    /// CPU time that the server needs to plan it, in milliseconds.
    planning_ms: f64,
    /// CPU time that the server needs to run it, planning left out, in milliseconds.
    cpu_ms: f64,
}

/// Runs the benchmark and prints its tables.
pub fn run(options: &BenchCost) -> anyhow::Result<()> {
    let queries = match &options.queries {
        Some(folder) => read_queries(folder)?,
        None => tpch_queries(),
    };
    let runtime = client_runtime()?;
    let server = ServerUnderTest::start(Some(&options.data))?;
    let client = runtime.block_on(connect(&server.url()?))?;
    super::print_setting();

    let estimator = InProcess::open(&options.data)?;
    let mut measured = Vec::new();
    let mut failed = Vec::new();
    for (i, (name, sql)) in queries.iter().enumerate() {
        eprint!("\rquery {} of {} ", i + 1, queries.len());
        let measuring = measure(&client, &server, name, sql, options.iterations);
        match runtime.block_on(measuring) {
            Ok(query) => measured.push(Measured {
                estimate_us: estimator.estimate_seconds(sql).ok().map(|s| s * 1e6),
                ..query
            }),
            Err(error) => failed.push(format!("{name}: {error:#}")),
        }
    }
    eprintln!();
    let smallest = estimator.estimate_seconds("SELECT 1")? * 1e6;
    println!("an estimate of SELECT 1 takes {smallest:.1} us");
    print(&measured, &failed, options.iterations)
}

/// The estimated cost, and the CPU time of planning and of running. The first run is not counted.
///
/// `EXPLAIN` does all that the statement does before it runs: what the statement takes beyond
/// that is its running.
async fn measure(
    client: &Client,
    server: &ServerUnderTest,
    name: &str,
    sql: &str,
    iterations: usize,
) -> anyhow::Result<Measured> {
    let explain = format!("EXPLAIN {sql}");
    let cost = total_cost(&client.simple_query(&explain).await?)?;
    let planning_ms = average_cpu_ms(client, server, &explain, iterations).await?;
    client.simple_query(sql).await?;
    let whole_ms = average_cpu_ms(client, server, sql, iterations).await?;
    Ok(Measured {
        name: name.to_owned(),
        estimate_us: None,
        cost,
        planning_ms,
        cpu_ms: (whole_ms - planning_ms).max(0.0),
    })
}

/// CPU milliseconds of the server for one run of `sql`: the average of at least `iterations`.
async fn average_cpu_ms(
    client: &Client,
    server: &ServerUnderTest,
    sql: &str,
    iterations: usize,
) -> anyhow::Result<f64> {
    let before = cpu_ms(server.process_id())?;
    let mut runs = 0;
    loop {
        client.simple_query(sql).await?;
        runs += 1;
        let spent = cpu_ms(server.process_id())? - before;
        if runs >= iterations && (spent >= MIN_CPU_MS || runs >= MAX_ITERATIONS) {
            return Ok(spent / runs as f64);
        }
    }
}

/// `cost=startup..total` of a plan's first line.
fn total_cost(plan: &[SimpleQueryMessage]) -> anyhow::Result<f64> {
    let first = plan.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let first = first.context("EXPLAIN gave no row")?;
    let cost = first.rsplit_once("(cost=").map(|(_, rest)| rest);
    let cost = cost.and_then(|c| c.split_once("..")?.1.split(' ').next());
    let cost = cost.with_context(|| format!("no cost in: {first}"))?;
    cost.parse().with_context(|| format!("not a cost: {cost}"))
}

/// CPU time that all threads of a process have had, the ended ones included.
fn cpu_ms(process: u32) -> anyhow::Result<f64> {
    /// Linux shows times in hundredths of a second to programs, whatever it counts in.
    const MS_PER_TICK: f64 = 10.0;
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name, in parentheses, may have blanks; user and system time are the 12th and 13th
    // fields behind it.
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields);
    let ticks = fields.into_iter().flat_map(str::split_ascii_whitespace);
    let ticks = ticks.skip(11).take(2).map(str::parse::<f64>);
    let ticks: Vec<f64> = ticks.collect::<Result<_, _>>()?;
    if ticks.len() != 2 {
        bail!("{path} has another form than expected");
    }
    Ok(ticks.iter().sum::<f64>() * MS_PER_TICK)
}

fn tpch_queries() -> Vec<(String, String)> {
    let numbered = tpch::QUERIES.iter().enumerate();
    let queries = numbered.map(|(i, sql)| (format!("Q{}", i + 1), without_end(sql)));
    queries.collect()
}

/// The `.sql` files of a folder, one query each.
fn read_queries(folder: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let mut queries = Vec::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "sql") {
            let name = path.file_stem().unwrap_or_default();
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            queries.push((name.to_string_lossy().into_owned(), without_end(&text)));
        }
    }
    if queries.is_empty() {
        bail!("there is no .sql file in {}", folder.display());
    }
    queries.sort();
    Ok(queries)
}

fn without_end(sql: &str) -> String {
    sql.trim().trim_end_matches(';').to_owned()
}

fn print(measured: &[Measured], failed: &[String], iterations: usize) -> anyhow::Result<()> {
    if measured.len() < 3 {
        bail!("too few queries ran: {}", failed.join("; "));
    }
    let costs: Vec<f64> = measured.iter().map(|m| m.cost).collect();
    let times: Vec<f64> = measured.iter().map(|m| m.cpu_ms).collect();
    let (cost_ranks, time_ranks) = (ranks(&costs), ranks(&times));
    // How much more a page's worth of cost took than it took in the median query.
    let mut per_cost: Vec<f64> = measured
        .iter()
        .map(|m| m.cpu_ms / m.cost.max(1.0))
        .collect();
    let usual = quantile(&mut per_cost, 0.5);

    println!(
        "{} queries, {iterations} iterations; Spearman's rank correlation of cost and CPU time: {:.3}",
        measured.len(),
        correlation(&cost_ranks, &time_ranks),
    );
    println!(
        "in the median query a cost of 1000 takes {:.2} ms of CPU",
        usual * 1000.0
    );
    println!("The most wrong first (CPU / expected: above 1 the estimate was too low):");
    let mut order: Vec<usize> = (0..measured.len()).collect();
    let wrong = |i: &usize| {
        let m = &measured[*i];
        (m.cpu_ms.max(1.0) / (m.cost.max(1.0) * usual)).ln().abs()
    };
    order.sort_by(|a, b| wrong(b).total_cmp(&wrong(a)));
    let mut table = table(vec![
        "query",
        "planning ms",
        "estimate us",
        "cost",
        "rank",
        "CPU ms",
        "rank",
        "ranks apart",
        "CPU / expected",
    ]);
    for i in order {
        let m = &measured[i];
        table.add_row(vec![
            m.name.clone(),
            format!("{:.0}", m.planning_ms),
            m.estimate_us
                .map_or_else(String::new, |us| format!("{us:.0}")),
            format!("{:.0}", m.cost),
            format!("{}", cost_ranks[i]),
            format!("{:.0}", m.cpu_ms),
            format!("{}", time_ranks[i]),
            format!("{}", time_ranks[i] - cost_ranks[i]),
            format!("{:.2}", m.cpu_ms / (m.cost.max(1.0) * usual)),
        ]);
    }
    println!("{table}");
    for failure in failed {
        println!("not measured: {failure}");
    }
    Ok(())
}

/// The rank of each value, from 1; equal values share the average of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let below = values.iter().filter(|v| *v < value).count() as f64;
        let equal = values.iter().filter(|v| *v == value).count() as f64;
        below + (equal + 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}

/// Pearson's correlation; of ranks it is Spearman's.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let (mean_a, mean_b) = (average(a), average(b));
    let pairs = || {
        a.iter()
            .map(|a| a - mean_a)
            .zip(b.iter().map(|b| b - mean_b))
    };
    let together: f64 = pairs().map(|(a, b)| a * b).sum();
    let of_a: f64 = pairs().map(|(a, _)| a * a).sum();
    let of_b: f64 = pairs().map(|(_, b)| b * b).sum();
    together / (of_a * of_b).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_and_their_correlation() {
        assert_eq!(ranks(&[5.0, 1.0, 5.0, 9.0]), [2.5, 1.0, 2.5, 4.0]);
        let same = correlation(&ranks(&[1.0, 10.0, 100.0]), &ranks(&[3.0, 4.0, 50.0]));
        assert!((same - 1.0).abs() < 1e-12);
        let turned = correlation(&ranks(&[1.0, 10.0, 100.0]), &ranks(&[9.0, 4.0, 1.0]));
        assert!((turned + 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_process_has_cpu_time() {
        let mut n = 0_u64;
        while cpu_ms(std::process::id()).unwrap() == 0.0 {
            n = std::hint::black_box(n.wrapping_mul(31).wrapping_add(7));
        }
    }
}
