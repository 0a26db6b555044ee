//! What resource queues cost: the memory of many connections that wait for one slot, and
//! `SELECT 1` with and without them.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use tokio_postgres::Client;

use super::latency::{Text, throughput};
use super::memory::resident;
use super::server::ServerUnderTest;
use super::{client_runtime, connect, quantile, table};
use crate::cli::BenchAdmission;

/// How many clients log in at the same time.
const LOGINS_AT_ONCE: usize = 32;

/// Connections beside those that wait: the administrator, and some room.
const OTHER_CONNECTIONS: usize = 16;

/// How often the server is asked whether all wait.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Runs both parts and prints their tables.
pub fn run(options: &BenchAdmission) -> anyhow::Result<()> {
    let runtime = client_runtime()?;
    super::print_setting();
    runtime.block_on(memory(options))?;
    runtime.block_on(statements(options))
}

/// Resident bytes of the server at one moment.
struct Moment {
    name: &'static str,
    bytes: u64,
}

async fn memory(options: &BenchAdmission) -> anyhow::Result<()> {
    let connections = (options.waiters + OTHER_CONNECTIONS).to_string();
    let server = ServerUnderTest::start_with(None, &["--max-connections", &connections])?;
    let admin = connect(&server.url()?).await?;
    let queue = "CREATE RESOURCE QUEUE narrow WITH (ACTIVE_STATEMENTS=1)";
    admin.batch_execute(queue).await?;
    let role = "CREATE ROLE waiter LOGIN RESOURCE QUEUE narrow";
    admin.batch_execute(role).await?;
    let url = server.url_as("waiter");
    let holder = connect(&url).await?;
    holder.batch_execute("SELECT 1").await?;
    let cursor = "BEGIN; DECLARE slot CURSOR FOR SELECT 1";
    holder.batch_execute(cursor).await?;
    waiting(&admin).await?;
    let mut moments = Vec::new();
    let mut note = |name| -> anyhow::Result<()> {
        let bytes = resident(server.process_id())?;
        moments.push(Moment { name, bytes });
        Ok(())
    };
    note("before")?;
    let logins = stream::iter(0..options.waiters).map(|_| connect(&url));
    let clients: Vec<Client> = logins.buffered(LOGINS_AT_ONCE).try_collect().await?;
    note("logged in, idle")?;
    let waits: Vec<_> = clients.into_iter().map(begin).collect();
    while waiting(&admin).await? < options.waiters {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    note("all wait for the slot")?;
    let start = Instant::now();
    holder.batch_execute("COMMIT").await?;
    let mut clients = Vec::new();
    for wait in waits {
        clients.push(wait.await??);
    }
    let seconds = start.elapsed().as_secs_f64();
    note("all have run, idle")?;
    print_memory(options, &moments, seconds);
    Ok(())
}

type Begun = tokio::task::JoinHandle<Result<Client, tokio_postgres::Error>>;

/// Sends a statement, and keeps the client until it has its answer.
fn begin(client: Client) -> Begun {
    tokio::spawn(async move {
        client.simple_query("SELECT 1").await?;
        Ok(client)
    })
}

/// How many wait in the queue.
async fn waiting(admin: &Client) -> anyhow::Result<usize> {
    let sql = "SELECT rsqwaiters FROM pg_resqueue_status WHERE rsqname = 'narrow'";
    let row = admin.query_one(sql, &[]).await?;
    usize::try_from(row.get::<_, i32>(0)).context("a number of waiters")
}

fn print_memory(options: &BenchAdmission, moments: &[Moment], seconds: f64) {
    let mut table = table(vec!["moment", "resident MB", "KB a connection"]);
    let first = moments.first().map_or(0, |moment| moment.bytes);
    for Moment { name, bytes } in moments {
        let each = bytes.saturating_sub(first) as f64 / options.waiters as f64;
        table.add_row(vec![
            (*name).to_owned(),
            format!("{:.1}", *bytes as f64 / 1024.0 / 1024.0),
            format!("{:.1}", each / 1024.0),
        ]);
    }
    println!("{} connections, one slot", options.waiters);
    println!("{table}");
    println!("all ran, one after the other, within {seconds:.1} s of the slot's return");
}

/// Who runs statements, and how queues concern him.
const ROLES: [(&str, &str, &[&str]); 3] = [
    (
        "ungoverned",
        "resource_scheduler off",
        &[
            "CREATE ROLE ungoverned LOGIN",
            "ALTER ROLE ungoverned SET resource_scheduler = off",
        ],
    ),
    (
        "roomy",
        "a slot for each",
        &[
            // At a lower priority the client and the network threads would go before its statements.
            "CREATE RESOURCE QUEUE roomy WITH (ACTIVE_STATEMENTS=10000, PRIORITY=MAX)",
            "ALTER RESOURCE QUEUE pg_default WITH (PRIORITY=MAX)",
            "CREATE ROLE roomy LOGIN RESOURCE QUEUE roomy",
        ],
    ),
    (
        "ordinary",
        "pg_default: 20 slots",
        &["CREATE ROLE ordinary LOGIN"],
    ),
];

async fn statements(options: &BenchAdmission) -> anyhow::Result<()> {
    let server = ServerUnderTest::start(None)?;
    let admin = connect(&server.url()?).await?;
    for (role, _, setup) in ROLES {
        for statement in setup {
            admin.batch_execute(statement).await?;
        }
        let client = connect(&server.url_as(role)).await?;
        let shown = client.query_one("SHOW resource_scheduler", &[]).await?;
        let governed = shown.get::<_, &str>(0) == "on";
        ensure!(governed == (role != "ungoverned"), "{role} is set up wrong");
    }
    let time = Duration::from_secs(options.seconds as u64);
    let mut measured = ROLES.map(|_| Vec::new());
    for round in 0..options.rounds {
        // Each is the first in turn.
        for i in 0..ROLES.len() {
            let i = (round + i) % ROLES.len();
            let url = server.url_as(ROLES[i].0);
            let per_second = throughput(&url, Text::Repeated, options.connections, time).await?;
            measured[i].push(per_second);
        }
        eprint!("\rround {} of {}", round + 1, options.rounds);
    }
    eprintln!();
    print_statements(options, &mut measured);
    Ok(())
}

fn print_statements(options: &BenchAdmission, measured: &mut [Vec<f64>; ROLES.len()]) {
    println!(
        "SELECT 1 over {} connections, {} rounds of {} s each, in turns; a ratio is to the first of \
         the same round",
        options.connections, options.rounds, options.seconds
    );
    let header = ["queue", "statements/s", "ratio", "least", "most"];
    let mut table = table(header.to_vec());
    let first = measured[0].clone();
    for ((_, name, _), per_second) in ROLES.iter().zip(measured) {
        let ratios = per_second
            .iter()
            .zip(&first)
            .map(|(ours, first)| ours / first);
        let mut ratios: Vec<f64> = ratios.collect();
        let mut row = vec![
            (*name).to_owned(),
            format!("{:.0}", quantile(per_second, 0.5)),
        ];
        row.extend([0.5, 0.0, 1.0].map(|share| format!("{:.3}", quantile(&mut ratios, share))));
        table.add_row(row);
    }
    println!("{table}");
}
