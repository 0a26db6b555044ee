//! `forebay.query_live` and `forebay.query_log`: every query is a row of exactly one of them.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Server, connect, eventually, rows, value};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

const ENDLESS: &str = "SELECT pg_sleep(3600)";

/// Both tables together.
const ALL: &str = "(SELECT * FROM forebay.query_live UNION ALL SELECT * FROM forebay.query_log)";

/// How many rows of `table` are of statements with this beginning.
async fn count(client: &Client, table: &str, beginning: &str) -> String {
    let beginning = beginning.replace('\'', "''");
    let sql = format!("SELECT count(*) FROM {table} q WHERE starts_with(statement, '{beginning}')");
    value(client, &sql).await
}

/// Waits until a query has left the registry.
async fn logged(client: &Client, beginning: &str) {
    eventually("it is in the log", async || {
        count(client, "forebay.query_log", beginning).await == "1"
    })
    .await;
}

#[tokio::test]
async fn a_statement_is_live_while_it_runs_and_in_the_log_afterwards() {
    let server = Server::start(&[]);
    let (busy, client) = (server.client().await, server.client().await);
    let cancel = busy.cancel_token();
    let running = tokio::spawn(async move { busy.simple_query(ENDLESS).await.is_err() });
    eventually("it runs", async || {
        let sql = format!("SELECT count(*) FROM forebay.query_live WHERE statement = '{ENDLESS}' AND state = 'RUNNING'");
        value(&client, &sql).await == "1"
    })
    .await;
    assert_eq!(count(&client, "forebay.query_log", ENDLESS).await, "0");
    assert_eq!(count(&client, ALL, ENDLESS).await, "1");
    cancel.cancel_query(NoTls).await.expect("a cancel");
    assert!(running.await.expect("no panic"));
    logged(&client, ENDLESS).await;
    assert_eq!(count(&client, "forebay.query_live", ENDLESS).await, "0");
    let row = "SELECT state, sqlstate, protocol, statement_type, end_time > start_time, unregister_us > 0 \
               FROM forebay.query_log WHERE statement = 'SELECT pg_sleep(3600)'";
    assert_eq!(
        rows(&client, row).await,
        [["CANCELLED", "57014", "postgresql", "SELECT", "t", "t"]]
    );
    // Who asks sees itself.
    let own = "SELECT state FROM forebay.query_live \
               WHERE session_id = pg_backend_pid() AND end_time IS NULL";
    assert_eq!(rows(&client, own).await.len(), 1);
    server.stop();
}

#[tokio::test]
async fn no_query_is_shown_twice_or_not_at_all_under_load() {
    const WRITERS: usize = 4;
    const READINGS: usize = 60;
    let server = Server::start(&[]);
    let acknowledged = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicU64::new(0));
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let client = server.client().await;
        let (acknowledged, stop) = (Arc::clone(&acknowledged), Arc::clone(&stop));
        writers.push(tokio::spawn(async move {
            for i in 0.. {
                let sql = format!("SELECT 'load {writer} {i}'");
                client.simple_query(&sql).await.expect("an answer");
                acknowledged.fetch_add(1, Ordering::SeqCst);
                if stop.load(Ordering::SeqCst) > 0 {
                    break;
                }
            }
        }));
    }
    let client = server.client().await;
    let sql = format!(
        "SELECT count(*), count(DISTINCT query_id), count(DISTINCT statement) \
         FROM {ALL} q WHERE starts_with(statement, 'SELECT ''load ')"
    );
    for _ in 0..READINGS {
        let before = acknowledged.load(Ordering::SeqCst);
        let found = rows(&client, &sql).await.remove(0);
        assert!(found.iter().all(|n| *n == found[0]), "{found:?}");
        let found: u64 = found[0].parse().expect("a number");
        assert!(found >= before, "{found} of {before}");
    }
    stop.store(1, Ordering::SeqCst);
    for writer in writers {
        writer.await.expect("no panic");
    }
    let all = acknowledged.load(Ordering::SeqCst).to_string();
    assert_eq!(count(&client, ALL, "SELECT 'load ").await, all);
    server.stop();
}

#[tokio::test]
async fn the_log_survives_a_restart_and_is_read_from_its_files() {
    let folder = TempDir::new().expect("a folder");
    let start = || Server::start_in(folder.path(), &[]).unwrap_or_else(|e| panic!("{e}"));
    let server = start();
    let client = server.client().await;
    for i in 0..20 {
        drop(rows(&client, &format!("SELECT 'before', {i}")).await);
    }
    drop(client);
    server.stop();
    let server = start();
    let client = server.client().await;
    drop(rows(&client, "SELECT 'after'").await);
    logged(&client, "SELECT 'after'").await;
    // Twenty from a file, and those of this server from memory.
    let log = "forebay.query_log";
    assert_eq!(count(&client, log, "SELECT 'before'").await, "20");
    assert_eq!(count(&client, ALL, "SELECT 'before'").await, "20");
    let plan = rows(
        &client,
        "EXPLAIN SELECT statement FROM forebay.query_log WHERE start_time > now()",
    )
    .await;
    let plan: String = plan.concat().join("\n");
    assert!(plan.contains(".parquet"), "{plan}");
    assert!(plan.contains("predicate=start_time"), "{plan}");
    let types = "SELECT string_agg(data_type, ',' ORDER BY column_name) FROM information_schema.columns \
                 WHERE table_schema = 'forebay' AND table_name = 'query_log' \
                 AND column_name IN ('estimated_cost', 'overcommitted', 'start_time', 'tables', 'total_us')";
    assert_eq!(
        value(&client, types).await,
        "double precision,boolean,timestamp with time zone,ARRAY,bigint"
    );
    // Every column of files and of memory.
    let all = rows(&client, &format!("SELECT * FROM {ALL} q")).await;
    assert!(all.len() > 20 && all.iter().all(|row| row.len() == 41));
    server.stop();
}

#[tokio::test]
async fn everybody_sees_only_what_his_role_has_run() {
    let folder = TempDir::new().expect("a folder");
    let start = || Server::start_in(folder.path(), &[]).unwrap_or_else(|e| panic!("{e}"));
    let server = start();
    let boss = server.client().await;
    drop(rows(&boss, "CREATE ROLE eve LOGIN PASSWORD 'x'").await);
    drop(rows(&boss, "SELECT 'of the boss'").await);
    let eves = |server: &Server| {
        let mut config = server.client_config();
        config.user("eve").password("x");
        config
    };
    let eve = connect(&eves(&server)).await.expect("eve logs in");
    drop(rows(&eve, "SELECT 'of eve'").await);
    logged(&boss, "SELECT 'of eve'").await;
    assert_eq!(count(&eve, ALL, "SELECT 'of eve'").await, "1");
    assert_eq!(count(&eve, ALL, "SELECT 'of the boss'").await, "0");
    let others = format!("SELECT count(*) FROM {ALL} q WHERE role <> 'eve'");
    assert_eq!(value(&eve, &others).await, "0");
    drop((boss, eve));
    server.stop();

    // The same from files. A condition that fails for others' rows must not tell of them.
    let server = start();
    let eve = connect(&eves(&server)).await.expect("eve logs in");
    let boss = server.client().await;
    assert_eq!(value(&eve, &others).await, "0");
    assert_eq!(count(&eve, ALL, "SELECT 'of the boss'").await, "0");
    assert_eq!(count(&eve, ALL, "SELECT 'of eve'").await, "1");
    let oracle = "SELECT count(*) > 0 FROM forebay.query_log \
                  WHERE 1 / (CASE WHEN role = 'eve' THEN 1 ELSE 0 END) = 1 AND total_us > 0";
    assert_eq!(value(&eve, oracle).await, "t");
    assert!(
        boss.simple_query(oracle).await.is_err(),
        "others' rows are there"
    );
    assert_eq!(count(&boss, ALL, "SELECT 'of the boss'").await, "1");
    server.stop();
}

#[tokio::test]
async fn a_row_tells_what_the_plan_was_and_did() {
    let server = Server::with_tpch(&[]);
    let client = server.client().await;
    let sql = "SELECT n_name FROM nation JOIN region ON n_regionkey = r_regionkey \
               WHERE r_name = 'ASIA' ORDER BY n_name";
    for _ in 0..4 {
        assert_eq!(rows(&client, sql).await.len(), 5);
    }
    drop(rows(&client, "SHOW server_version").await);
    logged(&client, "SHOW").await;
    eventually("all are in the log", async || {
        count(&client, "forebay.query_log", "SELECT n_name").await == "4"
    })
    .await;
    let told = "SELECT columns_used, cache_hits, fetch_us > 0, memory_estimate_bytes > 0, \
                planning_us > 0, execution_us >= fetch_us, workers \
                FROM forebay.query_log WHERE statement LIKE 'SELECT n_name%' ORDER BY start_time";
    let columns = "{nation.n_name,nation.n_regionkey,region.r_name,region.r_regionkey}";
    let row = |hits: &str| -> Vec<String> {
        let values = [columns, hits, "t", "t", "t", "t", "NULL"];
        values.map(str::to_owned).to_vec()
    };
    // From the second time on the text is known, and from the third on what was made of it.
    assert_eq!(
        rows(&client, told).await,
        [row("0"), row("0"), row("2"), row("2")]
    );
    let none = "SELECT columns_used, cache_hits, fetch_us, memory_estimate_bytes \
                FROM forebay.query_log WHERE statement LIKE 'SHOW%'";
    assert_eq!(
        rows(&client, none).await,
        [["NULL", "NULL", "NULL", "NULL"]]
    );
    server.stop();
}
