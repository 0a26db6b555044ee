//! Texts that a client repeats are kept, like prepared statements. Nobody may notice but by speed.

use super::common::value;
use super::server;

/// How often each text is sent: the second time it is kept, from the third on it is used.
const TIMES: usize = 4;

#[tokio::test]
async fn what_changes_between_two_runs_of_a_text_is_seen() {
    let (server, _) = server(&[]).await;
    let client = server.client().await;
    let run = async |sql: &str| client.batch_execute(sql).await.expect(sql);
    run(
        "CREATE SCHEMA other; CREATE VIEW v AS SELECT 1 AS n; CREATE VIEW other.v AS SELECT 2 AS n",
    )
    .await;
    for _ in 0..TIMES {
        assert_eq!(value(&client, "SELECT n FROM v").await, "1");
        run("SET search_path = other").await;
        assert_eq!(value(&client, "SELECT n FROM v").await, "2");
        run("RESET search_path").await;
    }
    run("CREATE OR REPLACE VIEW v AS SELECT 3 AS n").await;
    assert_eq!(value(&client, "SELECT n FROM v").await, "3");
    run("DROP VIEW v").await;
    let gone = client.simple_query("SELECT n FROM v").await.unwrap_err();
    assert_eq!(gone.code().map(|c| c.code()), Some("42P01"));
    run("CREATE VIEW v AS SELECT 'text' AS n").await;
    assert_eq!(value(&client, "SELECT n FROM v").await, "text");

    let setting = "SELECT current_setting('application_name')";
    for name in ["a", "b", "c", "d"] {
        run(&format!("SET application_name = {name}")).await;
        assert_eq!(value(&client, setting).await, name);
    }
    run("DISCARD PLANS").await;
    assert_eq!(value(&client, setting).await, "d");
    server.stop();
}

#[tokio::test]
async fn a_repeated_text_has_the_time_of_its_transaction() {
    let (server, _) = server(&[]).await;
    let client = server.client().await;
    client
        .batch_execute("CREATE VIEW moment AS SELECT now() AS t")
        .await
        .unwrap();
    let prepared = client.prepare("SELECT now()::text").await.unwrap();
    for text in [
        "SELECT now()::text",
        "SELECT 'now'::timestamp::text",
        "SELECT t::text FROM moment",
        "SELECT clock_timestamp()::text",
        "SELECT random()::text",
    ] {
        let mut seen = Vec::new();
        for _ in 0..TIMES {
            seen.push(value(&client, text).await);
            let row = client.query_one(&prepared, &[]).await.unwrap();
            seen.push(row.get(0));
        }
        let answers = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), answers, "{text}");
    }
    client.batch_execute("BEGIN").await.unwrap();
    let first = value(&client, "SELECT now()::text").await;
    for _ in 0..TIMES {
        assert_eq!(value(&client, "SELECT now()::text").await, first);
    }
    server.stop();
}

#[tokio::test]
async fn a_repeated_text_fails_alike_each_time() {
    let (server, _) = server(&[]).await;
    let client = server.client().await;
    for text in [
        "SELECT nosuch FROM region",
        "SELECT 1 / 0",
        "SELECT $1",
        "SELECT 1; SELECT 1 / 0",
    ] {
        let mut told = Vec::new();
        for _ in 0..TIMES {
            let error = client.simple_query(text).await.expect_err(text);
            let error = error.as_db_error().expect(text);
            told.push(format!("{error:?}"));
        }
        told.dedup();
        assert_eq!(told.len(), 1, "{told:#?}");
    }
    server.stop();
}
