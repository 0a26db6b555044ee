//! The web pages with a full query log: how long each takes, and how large it is.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context, ensure};

use super::server::ServerUnderTest;
use super::{client_runtime, connect, print_setting, quantile, table};
use crate::cli::BenchPages;

/// What is asked for.
const PAGES: [&str; 8] = [
    "/",
    "/queries",
    "/queries?page=100",
    "/queries?sort=duration",
    "/queries?text=l_quantity",
    "/queries?json",
    "/audit?text=nowhere",
    "/metrics_prometheus",
];

/// Connections that fill the query log.
const CONNECTIONS: usize = 8;

/// Runs the benchmark and prints its table.
pub fn run(options: &BenchPages) -> anyhow::Result<()> {
    let log_size = options.queries.to_string();
    let server = ServerUnderTest::start_with_pages(&[
        "--query-log-size",
        &log_size,
        "--query-log-size-in-bytes",
        "4GB",
        "--audit-log",
        "on",
    ])?;
    client_runtime()?.block_on(fill(&server.url()?, options.queries))?;
    print_setting();
    println!(
        "{} queries in the log, each page {} times",
        options.queries, options.iterations
    );
    let mut table = table(vec!["page", "KB", "p50 ms", "p99 ms"]);
    for page in PAGES {
        let mut seconds = Vec::new();
        let mut bytes = 0;
        // The first time is not counted.
        for iteration in 0..=options.iterations {
            let start = Instant::now();
            bytes = get(server.pages()?, page)?;
            if iteration > 0 {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
        table.add_row(vec![
            page.to_owned(),
            (bytes >> 10).to_string(),
            format!("{:.1}", quantile(&mut seconds, 0.5) * 1e3),
            format!("{:.1}", quantile(&mut seconds, 0.99) * 1e3),
        ]);
    }
    println!("{table}");
    Ok(())
}

/// Runs statements that differ, as many as the log keeps.
async fn fill(url: &str, queries: usize) -> anyhow::Result<()> {
    let run = |first: usize| async move {
        let client = connect(url).await?;
        for number in (first..queries).step_by(CONNECTIONS) {
            let statement = format!(
                "SELECT count(*), sum(l_quantity) FROM (VALUES ({number}, 2)) \
                 AS lineitem (l_quantity, l_tax) WHERE l_quantity > {first}"
            );
            client.simple_query(&statement).await?;
        }
        anyhow::Ok(())
    };
    futures::future::try_join_all((0..CONNECTIONS).map(run)).await?;
    Ok(())
}

/// Asks for a page as a program does; how many bytes it has.
fn get(address: SocketAddr, page: &str) -> anyhow::Result<usize> {
    let mut stream = TcpStream::connect(address).context("the pages do not answer")?;
    let accept = match page.contains("json") {
        true => "application/json",
        false => "text/html",
    };
    write!(
        stream,
        "GET {page} HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    ensure!(
        answer.starts_with(b"HTTP/1.1 200 "),
        "{page}: {}",
        String::from_utf8_lossy(&answer[..answer.len().min(200)])
    );
    Ok(answer.len())
}
