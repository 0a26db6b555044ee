//! Dashboards beside statements that never stop coming: how long the dashboards wait, and how many
//! of the others get done.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::task::JoinHandle;

use super::server::ServerUnderTest;
use super::{client_runtime, connect, duckdb, quantile, table, tpch};
use crate::cli::{BenchOverload, Peer};

/// What a dashboard asks: TPC-H's Q6.
const SHORT: usize = 6;

/// What a loop asks: TPC-H's Q9.
const HEAVY: usize = 9;

/// How dashboards and loops share the server.
struct Setup {
    name: &'static str,
    /// Attributes of the dashboards' resource queue.
    dashboards: &'static str,
    loops: Loops,
}

enum Loops {
    None,
    InTheSameQueue,
    /// In a queue of their own, with these attributes.
    Apart(&'static str),
}

const SETUPS: [Setup; 5] = [
    Setup {
        name: "dashboards alone",
        dashboards: "ACTIVE_STATEMENTS=100",
        loops: Loops::None,
    },
    Setup {
        name: "one queue",
        dashboards: "ACTIVE_STATEMENTS=100",
        loops: Loops::InTheSameQueue,
    },
    Setup {
        name: "slots",
        dashboards: "ACTIVE_STATEMENTS=100",
        loops: Loops::Apart("ACTIVE_STATEMENTS=1"),
    },
    Setup {
        name: "priorities",
        dashboards: "ACTIVE_STATEMENTS=100, PRIORITY=MAX",
        loops: Loops::Apart("ACTIVE_STATEMENTS=100, PRIORITY=MIN"),
    },
    Setup {
        name: "slots and priorities",
        dashboards: "ACTIVE_STATEMENTS=100, PRIORITY=MAX",
        loops: Loops::Apart("ACTIVE_STATEMENTS=1, PRIORITY=MIN"),
    },
];

/// What came out of one setup.
#[derive(Default)]
struct Measured {
    /// Seconds that each dashboard's answer took.
    answers: Vec<f64>,
    /// Loops' statements done a minute, by round; empty without loops.
    per_minute: Vec<f64>,
}

/// Runs the benchmark and prints its table.
pub fn run(options: &BenchOverload) -> anyhow::Result<()> {
    let against_duckdb = match options.against.as_slice() {
        [] => false,
        [Peer::DuckDb] => true,
        _ => bail!("the only peer of this benchmark is duckdb"),
    };
    let runtime = client_runtime()?;
    let server = ServerUnderTest::start(Some(&options.data))?;
    runtime.block_on(prepare(&server))?;
    let mut names: Vec<&str> = SETUPS.iter().map(|setup| setup.name).collect();
    if against_duckdb {
        names.extend(["duckdb, dashboards alone", "duckdb"]);
    }
    let mut measured: Vec<Measured> = names.iter().map(|_| Measured::default()).collect();
    for round in 0..options.rounds {
        eprint!("\rround {} of {}", round + 1, options.rounds);
        for (i, setup) in SETUPS.iter().enumerate() {
            let round = measure(&server, i, setup, options);
            measured[i].add(runtime.block_on(round)?, options);
        }
        if against_duckdb {
            for (i, loops) in [0, options.loops].into_iter().enumerate() {
                measured[SETUPS.len() + i].add(measure_duckdb(loops, options)?, options);
            }
        }
    }
    eprintln!();
    super::print_setting();
    print(&names, &mut measured, options);
    Ok(())
}

/// Queues and roles of all setups; and each statement once, uncounted.
async fn prepare(server: &ServerUnderTest) -> anyhow::Result<()> {
    let admin = connect(&server.url()?).await?;
    let make = async |name: String, attributes: &str| {
        let sql = format!(
            "CREATE RESOURCE QUEUE {name} WITH ({attributes}); \
             CREATE ROLE {name} LOGIN RESOURCE QUEUE {name}"
        );
        for sql in sql.split("; ") {
            admin.batch_execute(sql).await.context(sql.to_owned())?;
        }
        anyhow::Ok(())
    };
    for (i, setup) in SETUPS.iter().enumerate() {
        make(dashboards_role(i), setup.dashboards).await?;
        if let Loops::Apart(attributes) = setup.loops {
            make(loops_role(i), attributes).await?;
        }
    }
    for query in [SHORT, HEAVY] {
        admin.simple_query(tpch::QUERIES[query - 1]).await?;
    }
    Ok(())
}

fn dashboards_role(setup: usize) -> String {
    format!("dashboards_{setup}")
}

fn loops_role(setup: usize) -> String {
    format!("loops_{setup}")
}

/// Seconds of the dashboards' answers, and statements that the loops got done.
type Round = (Vec<f64>, usize);

async fn measure(
    server: &ServerUnderTest,
    setup_number: usize,
    setup: &Setup,
    options: &BenchOverload,
) -> anyhow::Result<Round> {
    let dashboards = server.url_as(&dashboards_role(setup_number));
    let loops = match setup.loops {
        Loops::None => None,
        Loops::InTheSameQueue => Some(dashboards.clone()),
        Loops::Apart(_) => Some(server.url_as(&loops_role(setup_number))),
    };
    let end = Instant::now() + Duration::from_secs(options.seconds as u64);
    let loops: Vec<JoinHandle<anyhow::Result<Vec<f64>>>> = loops
        .iter()
        .flat_map(|url| std::iter::repeat_n(url, options.loops))
        .map(|url| tokio::spawn(ask_until(end, url.clone(), HEAVY, Duration::ZERO)))
        .collect();
    let pause = Duration::from_millis(options.pause_ms as u64);
    let dashboards: Vec<_> = (0..options.dashboards)
        .map(|_| tokio::spawn(ask_until(end, dashboards.clone(), SHORT, pause)))
        .collect();
    let mut answers = Vec::new();
    for dashboard in dashboards {
        answers.extend(dashboard.await??);
    }
    let mut done = 0;
    for one in loops {
        done += one.await??.len();
    }
    Ok((answers, done))
}

/// Asks again and again, with a pause after each answer; gives the seconds that each took. What a
/// loop gets done after the end does not count; a late answer to a dashboard does, because late
/// answers are what is looked for.
async fn ask_until(
    end: Instant,
    url: String,
    query: usize,
    pause: Duration,
) -> anyhow::Result<Vec<f64>> {
    let client = connect(&url).await?;
    let mut answers = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        client.simple_query(tpch::QUERIES[query - 1]).await?;
        if query == SHORT || Instant::now() < end {
            answers.push(start.elapsed().as_secs_f64());
        }
        tokio::time::sleep(pause).await;
    }
    Ok(answers)
}

/// The same in one DuckDB process, in which all threads are equal.
fn measure_duckdb(loops: usize, options: &BenchOverload) -> anyhow::Result<Round> {
    let query = |number: usize| format!("bench/tpch/q{number:02}.sql");
    let output = Command::new(duckdb::python()?)
        .arg("bench/duckdb_overload.py")
        .arg(&options.data)
        .args([query(SHORT), query(HEAVY)])
        .args([options.dashboards, options.pause_ms, loops, options.seconds].map(|n| n.to_string()))
        .output()
        .context("cannot start bench/duckdb_overload.py")?;
    if !output.status.success() {
        bail!("DuckDB: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut lines = std::str::from_utf8(&output.stdout)?.lines();
    let done = lines.next().context("DuckDB told nothing")?.parse()?;
    let answers = lines.map(str::parse).collect::<Result<_, _>>()?;
    Ok((answers, done))
}

impl Measured {
    fn add(&mut self, (answers, done): Round, options: &BenchOverload) {
        self.answers.extend(answers);
        self.per_minute
            .push(done as f64 * 60.0 / options.seconds as f64);
    }
}

fn print(names: &[&str], measured: &mut [Measured], options: &BenchOverload) {
    println!(
        "{} dashboards ask Q{SHORT} and pause {} ms, beside {} endless loops of Q{HEAVY}; {} rounds of {} s, in turns",
        options.dashboards, options.pause_ms, options.loops, options.rounds, options.seconds
    );
    let header = [
        "setup",
        "answers",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "loops/min",
    ];
    let mut table = table(header.to_vec());
    for (name, m) in names.iter().zip(measured) {
        let milliseconds = |share| format!("{:.0}", 1000.0 * quantile(&mut m.answers, share));
        let quantiles = [0.5, 0.95, 0.99].map(milliseconds);
        let mut row = vec![(*name).to_owned(), m.answers.len().to_string()];
        row.extend(quantiles);
        row.push(format!("{:.0}", super::average(&m.per_minute)));
        table.add_row(row);
    }
    println!("{table}");
}
