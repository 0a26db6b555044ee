//! Rules that hold across statements: who may do what, what a transaction undoes, what an
//! interrupt stops, and that nobody can keep the others out.

#[path = "common/mod.rs"]
mod common;

use common::{Server, eventually, failure, value};
use tokio_postgres::{Client, SimpleQueryMessage};

async fn run(client: &Client, sql: &str) {
    if let Err(error) = client.batch_execute(sql).await {
        panic!("{sql}: {}", common::explain(&error));
    }
}

async fn code(client: &Client, sql: &str) -> String {
    failure(client, sql).await.code().to_owned()
}

/// A client that logs in as `user`.
async fn client_as(server: &Server, user: &str) -> Client {
    let mut config = server.client_config();
    config.user(user);
    common::connect(&config).await.expect("the role logs in")
}

/// Wrapping a statement does not give rights.
#[tokio::test]
async fn only_superusers_write_files() {
    let server = Server::with_tpch(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("out.csv");
    let admin = server.client().await;
    run(&admin, "CREATE ROLE bob LOGIN").await;
    let bob = client_as(&server, "bob").await;
    let copy = format!("COPY (SELECT 1) TO '{}'", file.display());
    for sql in [
        copy.clone(),
        format!("EXPLAIN ANALYZE {copy}"),
        "INSERT INTO region SELECT * FROM region".to_owned(),
        "EXPLAIN ANALYZE INSERT INTO region SELECT * FROM region".to_owned(),
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'".to_owned(),
        "SET datafusion.execution.parquet.pushdown_filters = true".to_owned(),
    ] {
        assert_eq!(code(&bob, &sql).await, "42501", "{sql}");
    }
    assert!(!file.exists());
    assert_eq!(value(&admin, "SELECT count(*) FROM region").await, "5");
    assert_eq!(
        code(&bob, "SET datafusion.execution.target_partitions = 200000").await,
        "22023"
    );
    run(&admin, &copy).await;
    assert!(file.exists());
    server.stop();
}

/// What `SET` refuses cannot be had by another way.
#[tokio::test]
async fn settings_are_checked_however_they_are_made() {
    let server = Server::start(&[]);
    let admin = server.client().await;
    run(&admin, "CREATE ROLE bob LOGIN").await;
    for (setting, value, sqlstate) in [
        ("datafusion.execution.target_partitions", "200000", "22023"),
        (
            "datafusion.execution.parquet.pushdown_filters",
            "true",
            "42501",
        ),
        (
            "datafusion.execution.parquet.compression",
            "zstd(22)",
            "42501",
        ),
        ("datafusion.execution.parquet.compression", "rot13", "22023"),
        ("max_portals", "5", "42501"),
        ("scan_bytes_limit", "much", "22023"),
    ] {
        let bob = client_as(&server, "bob").await;
        for sql in [
            format!("SET {setting} = '{value}'"),
            format!("ALTER ROLE bob SET {setting} = '{value}'"),
        ] {
            assert_eq!(code(&bob, &sql).await, sqlstate, "{sql}");
        }
        let mut config = server.client_config();
        config.user("bob").options(format!("-c {setting}={value}"));
        let refused = common::connect(&config).await.err();
        let refused = refused.and_then(|error| error.code().map(|code| code.code().to_owned()));
        assert_eq!(refused.as_deref(), Some(sqlstate), "{setting}={value}");
    }
    let bob = client_as(&server, "bob").await;
    run(
        &bob,
        "ALTER ROLE bob SET datafusion.execution.parquet.compression = 'zstd(9)'",
    )
    .await;
    let bob = client_as(&server, "bob").await;
    let shown = value(&bob, "SHOW datafusion.execution.parquet.compression").await;
    assert_eq!(shown, "zstd(9)");
    server.stop();
}

/// A view means the same to everybody, whatever options the first who read it had set.
#[tokio::test]
async fn options_of_one_session_do_not_reach_others() {
    let server = Server::start(&[]);
    let admin = server.client().await;
    let other = server.client().await;
    run(&admin, "CREATE VIEW one_and_a_half AS SELECT 1.5 AS x").await;
    run(
        &admin,
        "SET datafusion.sql_parser.parse_float_as_decimal = false",
    )
    .await;
    let sql = "SELECT arrow_typeof(x) FROM one_and_a_half";
    let first = value(&admin, sql).await;
    assert_eq!(value(&other, sql).await, first);
    assert!(first.starts_with("Decimal128"), "{first}");
    server.stop();
}

#[tokio::test]
async fn a_read_only_transaction_changes_nothing() {
    let server = Server::with_tpch(&[]);
    let client = server.client().await;
    for begin in [
        "BEGIN READ ONLY",
        "BEGIN; SET TRANSACTION READ ONLY",
        "BEGIN",
    ] {
        if begin == "BEGIN" {
            let session = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY";
            run(&client, session).await;
        }
        for change in [
            "CREATE VIEW v AS SELECT 1",
            "INSERT INTO region SELECT * FROM region",
        ] {
            run(&client, begin).await;
            assert_eq!(code(&client, change).await, "25006", "{begin}; {change}");
            run(&client, "ROLLBACK").await;
        }
    }
    server.stop();
}

/// Statements of one message are one transaction, unless one of them ends it.
#[tokio::test]
async fn ends_within_a_message_really_end_it() {
    let server = Server::start(&[]);
    let client = server.client().await;
    run(&client, "CREATE VIEW undone AS SELECT 1; ROLLBACK").await;
    assert_eq!(code(&client, "SELECT * FROM undone").await, "42P01");
    assert_eq!(
        code(&client, "CREATE VIEW kept AS SELECT 1; COMMIT; SELECT 1/0").await,
        "22012"
    );
    assert_eq!(value(&client, "SELECT * FROM kept").await, "1");
    assert_eq!(
        code(&client, "CREATE VIEW lost AS SELECT 1; SELECT 1/0").await,
        "22012"
    );
    assert_eq!(code(&client, "SELECT * FROM lost").await, "42P01");
    server.stop();
}

#[tokio::test]
async fn cursors_follow_savepoints() {
    let server = Server::start(&[]);
    let client = server.client().await;
    run(&client, "BEGIN; DECLARE c CURSOR FOR SELECT 7; SAVEPOINT s").await;
    assert_eq!(code(&client, "SELECT 1/0").await, "22012");
    run(&client, "ROLLBACK TO s").await;
    assert_eq!(value(&client, "FETCH c").await, "7");
    run(&client, "DECLARE d CURSOR FOR SELECT 8; ROLLBACK TO s").await;
    assert_eq!(code(&client, "FETCH d").await, "34000");
    run(&client, "ROLLBACK").await;
    server.stop();
}

/// What `SET LOCAL` did ends with the commit, even where a time limit has just run out.
#[tokio::test]
async fn a_commit_is_not_interrupted_half_way() {
    let server = Server::start(&[]);
    let client = server.client().await;
    run(
        &client,
        "BEGIN; CREATE VIEW committed AS SELECT 1; SET LOCAL application_name = 'local'; \
         SET LOCAL statement_timeout = 1",
    )
    .await;
    run(&client, "COMMIT").await;
    assert_eq!(value(&client, "SHOW application_name").await, "");
    assert_eq!(value(&client, "SHOW statement_timeout").await, "0");
    assert_eq!(value(&client, "SELECT * FROM committed").await, "1");
    server.stop();
}

#[tokio::test]
async fn arguments_of_execute_are_values_and_can_be_cancelled() {
    let server = Server::with_tpch(&[]);
    let client = server.client().await;
    run(&client, "PREPARE p AS SELECT $1::text").await;
    assert_eq!(
        code(&client, "EXECUTE p((SELECT count(*) FROM lineitem))").await,
        "0A000"
    );
    run(&client, "SET statement_timeout = 100").await;
    assert_eq!(code(&client, "EXECUTE p(pg_sleep(1000))").await, "57014");
    server.stop();
}

/// Joins without an end leave room for others on every query thread, and a cancel ends them.
#[tokio::test]
async fn endless_joins_keep_nobody_out() {
    const ENDLESS: &str = "SELECT sum(a.l_quantity * b.l_quantity * c.l_quantity) \
                           FROM lineitem a, lineitem b, lineitem c";
    let server = Server::with_tpch(&[]);
    let watcher = server.client().await;
    let mut busy = Vec::new();
    for _ in 0..4 {
        let client = server.client().await;
        busy.push(tokio::spawn(async move { failure(&client, ENDLESS).await }));
    }
    let active = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT sum%'";
    eventually("all of them run", async || {
        value(&watcher, active).await == "4"
    })
    .await;
    assert_eq!(value(&watcher, "SELECT count(*) FROM region").await, "5");
    let cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity \
                  WHERE query LIKE 'SELECT sum%' AND state = 'active'";
    value(&watcher, cancel).await;
    for task in busy {
        assert_eq!(task.await.expect("no panic").code(), "57014");
    }
    server.stop();
}

/// Planning a long sum takes time that grows with its length, not with its cube.
#[tokio::test]
async fn long_statements_are_planned() {
    let server = Server::with_tpch(&[]);
    let client = server.client().await;
    let sum = format!(
        "SELECT n_nationkey{} FROM nation LIMIT 1",
        " + 1".repeat(300)
    );
    let alternatives = format!(
        "SELECT count(*) FROM nation WHERE n_nationkey = 0{}",
        " OR n_nationkey = 1".repeat(1000)
    );
    let nested = format!("SELECT {}1{}", "(".repeat(100), ")".repeat(100));
    for sql in [sum, alternatives, nested] {
        let answer = client.simple_query(&sql).await.expect("it is planned");
        let rows = answer
            .iter()
            .filter(|m| matches!(m, SimpleQueryMessage::Row(_)));
        assert_eq!(rows.count(), 1);
    }
    let too_deep = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert_eq!(code(&client, &too_deep).await, "54001");
    server.stop();
}

#[tokio::test]
async fn an_expired_password_opens_nothing() {
    let server = Server::start(&[]);
    let client = server.client().await;
    run(
        &client,
        "CREATE ROLE gone LOGIN PASSWORD 'p' VALID UNTIL '2001-01-01'; \
         CREATE ROLE here LOGIN PASSWORD 'p' VALID UNTIL '2999-01-01'",
    )
    .await;
    let mut config = server.client_config();
    config.password("p").user("here");
    common::connect(&config).await.expect("a valid password");
    config.user("gone");
    let error = common::connect(&config)
        .await
        .expect_err("an expired password");
    assert_eq!(error.code().map(|c| c.code()), Some("28P01"));
    server.stop();
}

/// The system's schemas stay, whoever asks, and nothing is put into them.
#[tokio::test]
async fn system_schemas_are_not_dropped() {
    let server = Server::with_tpch(&[]);
    let admin = server.client().await;
    for schema in ["pg_catalog", "information_schema", "gp_toolkit", "forebay"] {
        for sql in ["DROP SCHEMA", "DROP SCHEMA IF EXISTS"] {
            let sql = format!("{sql} {schema} CASCADE");
            assert_eq!(code(&admin, &sql).await, "2BP01", "{sql}");
        }
        let view = format!("CREATE VIEW {schema}.v AS SELECT 1");
        assert_eq!(code(&admin, &view).await, "42501", "{view}");
    }
    assert_eq!(
        value(&admin, "SELECT count(*) FROM forebay.waiters").await,
        "0"
    );
    server.stop();
}
