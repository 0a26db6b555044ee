//! A whole table to one client: rows a second, and the server's memory meanwhile.

use std::time::Instant;

use anyhow::bail;
use futures::{StreamExt, pin_mut};

use super::server::ServerUnderTest;
use super::{client_runtime, connect, table};
use crate::cli::{BenchStream, Peer};

const MEGABYTE: f64 = 1024.0 * 1024.0;

/// Runs the benchmark and prints its table.
pub fn run(options: &BenchStream) -> anyhow::Result<()> {
    let runtime = client_runtime()?;
    let server = ServerUnderTest::start(Some(&options.data))?;
    super::print_setting();
    let sql = format!("SELECT * FROM {}", options.table);
    let header = [
        "server",
        "form",
        "rows",
        "seconds",
        "rows/s",
        "memory before MB",
        "peak MB",
        "growth MB",
    ];
    let mut table = table(header.to_vec());
    for binary in [false, true] {
        // Once beforehand: footers and code pages are loaded once and stay.
        runtime.block_on(stream(&server.url()?, &format!("{sql} LIMIT 1000"), binary))?;
        let (before, _) = server.memory_bytes()?;
        let (rows, seconds) = runtime.block_on(stream(&server.url()?, &sql, binary))?;
        let (_, peak) = server.memory_bytes()?;
        let mut row = speed_row("forebay", binary, rows, seconds);
        for bytes in [before as f64, peak as f64, peak as f64 - before as f64] {
            row.push(format!("{:.0}", bytes / MEGABYTE));
        }
        table.add_row(row);
    }
    for peer in &options.against {
        let Peer::Postgres(url) = peer else {
            bail!("{peer} has no connections to measure; use pg:URL");
        };
        for binary in [false, true] {
            let (rows, seconds) = runtime.block_on(stream(url, &sql, binary))?;
            table.add_row(speed_row(&peer.to_string(), binary, rows, seconds));
        }
    }
    println!("{sql}");
    println!("{table}");
    Ok(())
}

fn speed_row(name: &str, binary: bool, rows: u64, seconds: f64) -> Vec<String> {
    vec![
        name.to_owned(),
        if binary { "binary" } else { "text" }.to_owned(),
        rows.to_string(),
        format!("{seconds:.1}"),
        format!("{:.0}", rows as f64 / seconds),
    ]
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
