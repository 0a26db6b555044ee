//! Limits on what clients may pile up.

use super::common::raw::{self, Raw, kinds, sqlstate, told};
use super::common::{self, all_given_back, eventually, value};
use super::server;

fn detail(answer: &[raw::Message]) -> String {
    let error = answer.iter().find(|m| m.kind == 'E').expect("an error");
    error.field('D').expect("a detail")
}

#[tokio::test]
async fn too_many_clients_are_refused() {
    let limits = [
        "--max-connections",
        "5",
        "--superuser-reserved-connections",
        "2",
    ];
    let (server, at_rest) = server(&limits).await;
    let client = server.client().await;
    client
        .simple_query("CREATE ROLE guest LOGIN; CREATE ROLE pair LOGIN CONNECTION LIMIT 2")
        .await
        .expect("roles");
    drop(client);
    eventually("nobody is connected", async || server.sockets() <= at_rest).await;
    let connect = |user: &str| {
        let mut raw = Raw::connect(&server);
        raw.start_up_as(user);
        raw
    };
    let refused = |user: &str| {
        let mut raw = Raw::connect(&server);
        raw.send(&raw::startup(user));
        told(&raw.until_closed())
    };
    const FULL: &str = "E[53300 sorry, too many clients already]";
    let pair = [connect("pair"), connect("pair")];
    assert_eq!(
        refused("pair"),
        "E[53300 too many connections for role \"pair\"]"
    );
    let mut held: Vec<Raw> = (0..3).map(|_| connect("guest")).collect();
    assert_eq!(refused("guest"), FULL);
    // Somebody must be able to look into it, but not everybody at once.
    let client = server.client().await;
    assert_eq!(
        value(&client, "SELECT count(*) FROM pg_stat_activity").await,
        "6"
    );
    let second = connect(&common::superuser());
    for user in ["guest", &common::superuser()] {
        assert_eq!(refused(user), FULL);
    }
    drop((client, second));
    // A place that is given back can be had again.
    held.pop();
    let mut config = server.client_config();
    config.user("guest");
    eventually("a place is free again", async || {
        common::connect(&config).await.is_ok()
    })
    .await;
    drop((pair, held));
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn connections_that_do_not_log_in_make_room() {
    let (server, at_rest) = server(&["--max-pending-connections", "3"]).await;
    let mut silent: Vec<Raw> = (0..10).map(|_| Raw::connect(&server)).collect();
    // However many are silent, others come in, and are not counted once they have.
    let mut sessions: Vec<Raw> = (0..5).map(|_| Raw::log_in(&server)).collect();
    // The oldest were told that they had to go.
    for raw in &mut silent[..7] {
        assert_eq!(
            told(&raw.until_closed()),
            "E[53300 sorry, too many clients already]"
        );
    }
    for raw in &mut sessions {
        assert_eq!(kinds(&raw.query("SELECT 1")), "TDCZ");
    }
    drop((silent, sessions));
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn logging_in_takes_its_time_at_most() {
    let (server, at_rest) = server(&["--authentication-timeout", "1s"]).await;
    let mut silent = Raw::connect(&server);
    let mut half = Raw::connect(&server);
    half.send(&raw::startup(&common::superuser())[..9]);
    assert_eq!(silent.until_closed(), []);
    assert_eq!(half.until_closed(), []);
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn a_session_keeps_only_so_much() {
    let (server, at_rest) = server(&[]).await;
    let mut raw = Raw::log_in(&server);
    // Prepared statements, of the protocol, of SQL, and empty ones.
    raw.query("SET max_prepared_statements = 3");
    assert_eq!(
        kinds(&raw.sync(&[raw::parse("a", "SELECT 1"), raw::parse("b", "")])),
        "11Z"
    );
    assert_eq!(kinds(&raw.query("PREPARE c AS SELECT 1")), "CZ");
    let answer = raw.sync(&[raw::parse("d", "SELECT 1")]);
    assert_eq!(told(&answer), "E[53400 too many prepared statements] ZI");
    assert!(detail(&answer).contains("\"max_prepared_statements\""));
    assert_eq!(sqlstate(&raw.query("PREPARE d AS SELECT 1")), "53400");
    // The unnamed one is always there, to close others with.
    let close = |sql: &str| {
        [
            raw::parse("", sql),
            raw::bind("", "", &[]),
            raw::execute("", 0),
        ]
    };
    assert_eq!(kinds(&raw.sync(&close("DEALLOCATE b"))), "12CZ");
    assert_eq!(kinds(&raw.sync(&[raw::parse("d", "SELECT 1")])), "1Z");
    assert_eq!(sqlstate(&raw.sync(&[raw::parse("e", "SELECT 1")])), "53400");
    raw.query("DEALLOCATE ALL");
    // Portals and cursors together.
    raw.query("SET max_portals = 2");
    raw.query("BEGIN");
    raw.query("DECLARE c CURSOR FOR SELECT 1");
    let bind = |portal: &str| vec![raw::parse("", "SELECT 1"), raw::bind(portal, "", &[])];
    assert_eq!(kinds(&raw.sync(&bind("p"))), "12Z");
    raw.query("SAVEPOINT s");
    let answer = raw.sync(&bind("q"));
    assert_eq!(told(&answer), "1 E[53400 too many portals and cursors] ZE");
    assert!(detail(&answer).contains("\"max_portals\""));
    raw.query("ROLLBACK TO s");
    assert_eq!(
        sqlstate(&raw.query("DECLARE d CURSOR FOR SELECT 1")),
        "53400"
    );
    raw.query("ROLLBACK TO s");
    assert_eq!(kinds(&raw.sync(&close("CLOSE p"))), "12CZ");
    assert_eq!(kinds(&raw.sync(&bind("q"))), "12Z");
    raw.query("SET LOCAL max_savepoints = 2; SAVEPOINT t");
    let answer = raw.query("SAVEPOINT u");
    assert_eq!(told(&answer), "E[53400 too many savepoints] ZE");
    assert!(detail(&answer).contains("\"max_savepoints\""));
    raw.query("ROLLBACK");
    // Bytes.
    raw.query("RESET ALL");
    raw.query("SET max_session_kept_size = '64kB'");
    let long = "x".repeat(50_000);
    let bind = |portal: &str| {
        let statement = raw::parse("s", "SELECT length($1)");
        vec![
            statement,
            raw::bind(portal, "s", &[&long]),
            raw::close('S', "s"),
        ]
    };
    raw.query("BEGIN");
    assert_eq!(kinds(&raw.sync(&bind("p"))), "123Z");
    let answer = raw.sync(&bind("q"));
    assert_eq!(sqlstate(&answer), "53400");
    assert!(detail(&answer).contains("\"max_session_kept_size\""));
    raw.query("ROLLBACK");
    // An unnamed statement counts for the portals that keep it behind its back.
    let text = format!("SELECT '{long}'");
    let bind = |portal: &str| vec![raw::parse("", &text), raw::bind(portal, "", &[])];
    raw.query("DEALLOCATE s");
    raw.query("BEGIN");
    for portal in ["", "", "p"] {
        assert_eq!(kinds(&raw.sync(&bind(portal))), "12Z", "{portal}");
    }
    assert_eq!(told(&raw.sync(&bind("q")))[..9], *"1 E[53400");
    raw.query("ROLLBACK");
    assert_eq!(kinds(&raw.sync(&[raw::parse("a", &text)])), "1Z");
    assert_eq!(sqlstate(&raw.sync(&[raw::parse("b", &text)])), "53400");
    // A simple query keeps nothing.
    assert_eq!(kinds(&raw.query(&text)), "TDCZ");
    drop(raw);
    all_given_back(&server, at_rest).await;
    server.stop();
}

/// A limit that everybody could lift would be none.
#[tokio::test]
async fn limits_are_for_superusers_to_set() {
    let (server, at_rest) = server(&[]).await;
    let mut raw = Raw::log_in(&server);
    raw.query("CREATE ROLE guest LOGIN; ALTER ROLE guest SET max_portals = 7");
    let mut guest = Raw::connect(&server);
    guest.start_up_as("guest");
    assert_eq!(told(&guest.query("SHOW max_portals")), "T D(7) C[SHOW] ZI");
    for sql in [
        "SET max_portals = 8",
        "RESET max_portals",
        "SET LOCAL max_session_kept_size = '1GB'",
        "ALTER ROLE guest SET max_prepared_statements = 100000",
        "ALTER ROLE guest RESET max_portals",
    ] {
        assert_eq!(sqlstate(&guest.query(sql)), "42501", "{sql}");
    }
    let mut other = Raw::connect(&server);
    let parameters = b"user\0guest\0database\0forebay\0max_portals\x0099\0\0";
    other.send(&raw::framed(
        &[&raw::VERSION.to_be_bytes()[..], parameters].concat(),
    ));
    assert_eq!(sqlstate(&other.until_closed()), "42501");
    drop((raw, guest, other));
    all_given_back(&server, at_rest).await;
    server.stop();
}

/// Who is stopped for taking too long is told which limit it was, and how long it is.
#[tokio::test]
async fn limits_of_time_name_themselves() {
    let (server, at_rest) = server(&[]).await;
    let sleep = "SELECT pg_sleep(60)";
    for (setting, expected) in [
        (
            "statement_timeout",
            "The statement, with its waits, took more than 50ms, the limit that \"statement_timeout\" sets.",
        ),
        (
            "exec_time_limit",
            "The plan ran for more than 50ms, the limit that \"exec_time_limit\" sets.",
        ),
    ] {
        let client = server.client().await;
        let set = format!("SET {setting} = '50ms'");
        client.batch_execute(&set).await.expect(&set);
        let error = client.simple_query(sleep).await.expect_err(setting);
        let error = error.as_db_error().expect(setting);
        assert_eq!(error.code().code(), "57014", "{setting}");
        assert_eq!(error.detail(), Some(expected), "{setting}");
        assert_eq!(value(&client, "SELECT 1").await, "1");
    }
    for (begin, setting, sqlstate, what) in [
        ("", "idle_session_timeout", "57P05", "session"),
        (
            "BEGIN",
            "idle_in_transaction_session_timeout",
            "25P03",
            "transaction",
        ),
    ] {
        let mut raw = Raw::log_in(&server);
        raw.query(&format!("SET {setting} = '50ms'; {begin}"));
        let told = raw.until_closed();
        assert_eq!(self::sqlstate(&told), sqlstate, "{setting}");
        let expected = format!(
            "The {what} waited for its client for more than 50ms, the limit that \"{setting}\" sets."
        );
        assert_eq!(detail(&told), expected);
    }
    all_given_back(&server, at_rest).await;
    server.stop();
}

/// Who is stopped for using too much is told what, how much it was and how much it may be.
#[tokio::test]
async fn limits_of_use_name_themselves() {
    let (server, at_rest) = server(&[]).await;
    let endless = "generate_series(1, 1000000000000) AS g(x)";
    let sum = format!("SELECT sum(x % 7) FROM {endless}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("none.csv");
    let copied = format!(
        "COPY (SELECT x FROM {endless} WHERE x < 0) TO '{}'",
        file.display()
    );
    for (set, statement, message, limit) in [
        (
            "scan_bytes_limit = '4kB'",
            "SELECT count(DISTINCT l_comment) FROM lineitem",
            "statement terminated due to scan bytes limit of 4kB",
            "\"scan_bytes_limit\"",
        ),
        (
            "scan_bytes_limit = 100",
            "SELECT * FROM lineitem LIMIT 1",
            "statement terminated due to scan bytes limit of 100B",
            "\"scan_bytes_limit\"",
        ),
        (
            "cpu_limit = '50ms'",
            &sum,
            "statement terminated due to CPU limit of 50ms",
            "\"cpu_limit\"",
        ),
        // What no operator measures counts as well.
        (
            "cpu_limit = '50ms'",
            "SELECT count(*) FROM lineitem a, lineitem b WHERE a.l_comment < b.l_comment",
            "statement terminated due to CPU limit of 50ms",
            "\"cpu_limit\"",
        ),
        (
            "cpu_limit = '50ms'",
            "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
            "statement terminated due to CPU limit of 50ms",
            "\"cpu_limit\"",
        ),
        (
            "cpu_limit = '50ms'",
            &copied,
            "statement terminated due to CPU limit of 50ms",
            "\"cpu_limit\"",
        ),
    ] {
        let client = server.client().await;
        client
            .batch_execute(&format!("SET {set}"))
            .await
            .expect(set);
        let error = client.simple_query(statement).await.expect_err(statement);
        let error = error.as_db_error().expect(statement);
        assert_eq!(error.code().code(), "53400", "{statement}");
        assert_eq!(error.message(), message, "{statement}");
        assert!(
            error.detail().is_some_and(|d| d.contains(limit)),
            "{error:?}"
        );
        assert!(error.hint().is_some_and(|h| h.contains(limit)), "{error:?}");
        // It is over for good; what uses less goes on.
        assert_eq!(value(&client, "SELECT count(*) FROM region").await, "5");
    }
    all_given_back(&server, at_rest).await;
    server.stop();
}

/// What is within its limits is not disturbed by them, and a wait uses nothing.
#[tokio::test]
async fn limits_that_are_not_reached_change_nothing() {
    let (server, at_rest) = server(&[]).await;
    let client = server.client().await;
    let limits = "SET scan_bytes_limit = '10GB'; SET cpu_limit = '100ms'";
    client.batch_execute(limits).await.expect(limits);
    assert_eq!(value(&client, "SELECT count(pg_sleep(1))").await, "1");
    assert_eq!(value(&client, "SELECT count(*) FROM region").await, "5");
    client
        .batch_execute("SET scan_bytes_limit = 0; RESET cpu_limit")
        .await
        .expect("no limits");
    assert_eq!(value(&client, "SHOW scan_bytes_limit").await, "0");
    let most = "SELECT count(DISTINCT l_comment) > 0 FROM lineitem";
    assert_eq!(value(&client, most).await, "t");
    drop(client);
    all_given_back(&server, at_rest).await;
    server.stop();
}

/// Waiting for a lock is not running.
#[tokio::test]
async fn a_wait_does_not_count_as_execution() {
    let (server, at_rest) = server(&[]).await;
    let (holder, waiter) = (server.client().await, server.client().await);
    let observer = server.client().await;
    holder
        .batch_execute("BEGIN; LOCK TABLE region")
        .await
        .expect("the lock");
    let set = "SET exec_time_limit = '1s'";
    waiter.batch_execute(set).await.expect(set);
    let pid = value(&waiter, "SELECT pg_backend_pid()").await;
    let waits = tokio::spawn(async move { value(&waiter, "SELECT count(*) FROM region").await });
    // It goes on waiting for longer than the limit.
    let for_longer = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND wait_event_type = 'Lock' \
         AND clock_timestamp() - query_start > interval '1.5 seconds'"
    );
    eventually("it has waited for longer than the limit", async || {
        value(&observer, &for_longer).await == "1"
    })
    .await;
    holder.batch_execute("COMMIT").await.expect("the commit");
    assert_eq!(waits.await.expect("the waiter"), "5");
    drop((holder, observer));
    all_given_back(&server, at_rest).await;
    server.stop();
}
