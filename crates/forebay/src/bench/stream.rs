//! A whole table to one client: rows a second, and the server's memory meanwhile.

use std::path::Path;
use std::time::Instant;

use futures::{StreamExt, pin_mut};
use tokio::runtime::Runtime;

use super::duckdb::DuckDb;
use super::in_process::InProcess;
use super::memory::MemoryWatch;
use super::server::ServerUnderTest;
use super::{client_runtime, connect, deviation_percent, quantile, table};
use crate::cli::{BenchStream, Peer};

const MEGABYTE: f64 = 1024.0 * 1024.0;

/// What one contestant needed for one form of the rows, by iteration.
struct Measured {
    name: String,
    form: &'static str,
    rows: u64,
    seconds: Vec<f64>,
    /// Bytes before the statement and the growth to their peak; empty where they are not known.
    memory: Vec<(f64, f64)>,
}

/// Runs the benchmark and prints its table.
pub fn run(options: &BenchStream) -> anyhow::Result<()> {
    let runtime = client_runtime()?;
    let sql = format!("SELECT * FROM {}", options.table);
    let mut measured: Vec<Measured> = Vec::new();
    for iteration in 0..options.iterations {
        let mut round = Vec::new();
        for binary in [false, true] {
            round.push(forebay(&options.data, &runtime, &sql, binary)?);
        }
        for peer in &options.against {
            against(peer, options, &runtime, &sql, &mut round)?;
        }
        merge(&mut measured, round);
        eprint!("\riteration {} of {}", iteration + 1, options.iterations);
    }
    eprintln!();
    super::print_setting();
    print(&sql, &mut measured, options.iterations);
    Ok(())
}

/// A server that has done nothing yet but answer one `SELECT 1`.
fn forebay(data: &Path, runtime: &Runtime, sql: &str, binary: bool) -> anyhow::Result<Measured> {
    let server = ServerUnderTest::start(Some(data))?;
    let url = server.url()?;
    runtime.block_on(stream(&url, "SELECT 1", binary))?;
    let watch = MemoryWatch::start(server.process_id())?;
    let (rows, seconds) = runtime.block_on(stream(&url, sql, binary))?;
    let memory = watch.end()?;
    Ok(Measured::once("forebay", form(binary), rows, seconds).with_memory(memory))
}

fn against(
    peer: &Peer,
    options: &BenchStream,
    runtime: &Runtime,
    sql: &str,
    round: &mut Vec<Measured>,
) -> anyhow::Result<()> {
    match peer {
        Peer::Postgres(url) => {
            for binary in [false, true] {
                let (rows, seconds) = runtime.block_on(stream(url, sql, binary))?;
                round.push(Measured::once("postgres", form(binary), rows, seconds));
            }
        }
        Peer::DataFusion => {
            let datafusion = InProcess::open(&options.data)?;
            let watch = MemoryWatch::start(std::process::id())?;
            let (rows, seconds) = datafusion.stream(sql)?;
            let memory = watch.end()?;
            round.push(Measured::once("datafusion", "batches", rows, seconds).with_memory(memory));
        }
        Peer::DuckDb => {
            let rows = round.first().map_or(0, |m| m.rows);
            let mut duckdb = DuckDb::start(&options.data)?;
            duckdb.seconds("SELECT 1")?;
            let watch = MemoryWatch::start(duckdb.process_id())?;
            let seconds = duckdb.seconds(&format!("COPY ({sql}) TO '/dev/null' (FORMAT csv)"))?;
            let memory = watch.end()?;
            round.push(Measured::once("duckdb", "csv", rows, seconds).with_memory(memory));
        }
    }
    Ok(())
}

impl Measured {
    fn once(name: &str, form: &'static str, rows: u64, seconds: f64) -> Self {
        Self {
            name: name.to_owned(),
            form,
            rows,
            seconds: vec![seconds],
            memory: Vec::new(),
        }
    }

    fn with_memory(mut self, (before, growth): (u64, u64)) -> Self {
        self.memory = vec![(before as f64, growth as f64)];
        self
    }
}

/// Contestants come in the same order in every round.
fn merge(measured: &mut Vec<Measured>, round: Vec<Measured>) {
    if measured.is_empty() {
        *measured = round;
        return;
    }
    for (all, one) in measured.iter_mut().zip(round) {
        all.seconds.extend(one.seconds);
        all.memory.extend(one.memory);
    }
}

fn print(sql: &str, measured: &mut [Measured], iterations: usize) {
    println!("{sql}, {iterations} times; medians, and the largest growth of memory");
    let header = [
        "server",
        "form",
        "rows",
        "seconds",
        "stddev",
        "rows/s",
        "memory before MB",
        "growth MB",
        "largest growth MB",
    ];
    let mut table = table(header.to_vec());
    for m in measured {
        let deviation = deviation_percent(&m.seconds);
        let seconds = quantile(&mut m.seconds, 0.5);
        let mut row = vec![
            m.name.clone(),
            m.form.to_owned(),
            m.rows.to_string(),
            format!("{seconds:.2}"),
            format!("{deviation:.1} %"),
            format!("{:.0}", m.rows as f64 / seconds),
        ];
        if !m.memory.is_empty() {
            let (mut before, mut growth): (Vec<f64>, Vec<f64>) = m.memory.iter().copied().unzip();
            for bytes in [
                quantile(&mut before, 0.5),
                quantile(&mut growth, 0.5),
                quantile(&mut growth, 1.0),
            ] {
                row.push(format!("{:.0}", bytes / MEGABYTE));
            }
        }
        table.add_row(row);
    }
    println!("{table}");
}

fn form(binary: bool) -> &'static str {
    if binary { "binary" } else { "text" }
}

/// Fetches all rows and forgets them; gives their number and the seconds.
async fn stream(url: &str, sql: &str, binary: bool) -> anyhow::Result<(u64, f64)> {
    let client = connect(url).await?;
    let start = Instant::now();
    let mut rows = 0;
    if binary {
        let stream = client.query_raw::<_, i32, _>(sql, []).await?;
        pin_mut!(stream);
        while let Some(row) = stream.next().await {
            row?;
            rows += 1;
        }
    } else {
        let stream = client.simple_query_raw(sql).await?;
        pin_mut!(stream);
        while let Some(message) = stream.next().await {
            rows += u64::from(matches!(
                message?,
                tokio_postgres::SimpleQueryMessage::Row(_)
            ));
        }
    }
    Ok((rows, start.elapsed().as_secs_f64()))
}
