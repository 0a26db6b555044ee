//! Several statements in one message, tags, notices, and clients that send no more. The answers
//! are what PostgreSQL 15 says to the same messages.

use super::common::raw::{self, Raw, kinds, told};
use super::common::{all_given_back, value};
use super::{server, session_active, session_gone};

#[tokio::test]
async fn statements_of_one_message_are_a_block() {
    let (server, at_rest) = server(&[]).await;
    let mut raw = Raw::log_in(&server);
    for (sql, expected) in [
        (
            "DECLARE c CURSOR FOR SELECT n FROM (VALUES (1), (2), (3)) AS v(n); FETCH 2 FROM c; CLOSE c",
            "C[DECLARE CURSOR] T D(1) D(2) C[FETCH 2] C[CLOSE CURSOR] ZI",
        ),
        (
            "DECLARE c CURSOR FOR SELECT 1; LOCK TABLE region IN ACCESS SHARE MODE; FETCH c",
            "C[DECLARE CURSOR] C[LOCK TABLE] T D(1) C[FETCH 1] ZI",
        ),
        ("FETCH c", "E[34000 cursor \"c\" does not exist] ZI"),
        (
            "LOCK TABLE region",
            "E[25P01 LOCK TABLE can only be used in transaction blocks] ZI",
        ),
        (
            "SELECT 1; COMMIT; DECLARE c CURSOR FOR SELECT 1; FETCH c",
            "T D(1) C[SELECT 1] N[25P01 there is no transaction in progress] C[COMMIT] \
             C[DECLARE CURSOR] T D(1) C[FETCH 1] ZI",
        ),
        (
            "SELECT 1; BEGIN; SELECT 2; COMMIT; LOCK TABLE region IN ACCESS SHARE MODE",
            "T D(1) C[SELECT 1] C[BEGIN] T D(2) C[SELECT 1] C[COMMIT] C[LOCK TABLE] ZI",
        ),
        (
            "SELECT 1; DISCARD ALL",
            "T D(1) C[SELECT 1] E[25001 DISCARD ALL cannot run inside a transaction block] ZI",
        ),
        (
            "SELECT 1; COMMIT AND CHAIN",
            "T D(1) C[SELECT 1] E[25P01 COMMIT AND CHAIN can only be used in transaction blocks] ZI",
        ),
        (
            "SELECT 1; SET LOCAL statement_timeout = 1000",
            "T D(1) C[SELECT 1] C[SET] ZI",
        ),
        (
            "SET LOCAL statement_timeout = 1000",
            "N[25P01 SET LOCAL can only be used in transaction blocks] C[SET] ZI",
        ),
        (
            "SET TRANSACTION READ ONLY",
            "N[25P01 SET TRANSACTION can only be used in transaction blocks] C[SET] ZI",
        ),
        (
            "SELECT 1; SET TRANSACTION READ ONLY",
            "T D(1) C[SELECT 1] C[SET] ZI",
        ),
    ] {
        assert_eq!(told(&raw.query(sql)), expected, "{sql}");
    }
    // Savepoints want a BEGIN.
    for (sql, what) in [
        ("SAVEPOINT x", "SAVEPOINT"),
        ("ROLLBACK TO x", "ROLLBACK TO SAVEPOINT"),
        ("RELEASE x", "RELEASE SAVEPOINT"),
    ] {
        let error = format!("E[25P01 {what} can only be used in transaction blocks] ZI");
        assert_eq!(told(&raw.query(sql)), error);
        let answer = told(&raw.query(&format!("SELECT 1; {sql}")));
        assert_eq!(answer, format!("T D(1) C[SELECT 1] {error}"));
    }
    // A message of the extended protocol is one of its own.
    let answer = raw.sync(&[
        raw::parse("", "DECLARE c CURSOR FOR SELECT 1"),
        raw::bind("", "", &[]),
        raw::execute("", 0),
    ]);
    assert_eq!(
        told(&answer),
        "1 2 E[25P01 DECLARE CURSOR can only be used in transaction blocks] ZI"
    );
    drop(raw);
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn tags_say_what_was_written() {
    let (server, at_rest) = server(&[]).await;
    let mut raw = Raw::log_in(&server);
    for (sql, expected) in [
        ("RESET ROLE", "C[RESET] ZI"),
        ("/* so */ reset session authorization", "C[RESET] ZI"),
        ("SET ROLE NONE", "C[SET] ZI"),
        ("SET SESSION AUTHORIZATION DEFAULT", "C[SET] ZI"),
        ("-- a comment\nSTART TRANSACTION", "C[START TRANSACTION] ZT"),
        ("/* x */ ROLLBACK", "C[ROLLBACK] ZI"),
        (" begin", "C[BEGIN] ZT"),
        ("ABORT", "C[ROLLBACK] ZI"),
    ] {
        assert_eq!(told(&raw.query(sql)), expected, "{sql}");
    }
    drop(raw);
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn functions_warn_the_client() {
    let (server, at_rest) = server(&[]).await;
    let mut raw = Raw::log_in(&server);
    let warning = |pid: i32| format!("N[01000 PID {pid} is not a PostgreSQL backend process]");
    let sql = "SELECT pg_cancel_backend(999999), pg_terminate_backend(0)";
    let warnings = format!("{} {}", warning(999_999), warning(0));
    assert_eq!(
        told(&raw.query(sql)),
        format!("T {warnings} D(f,f) C[SELECT 1] ZI")
    );
    let answer = raw.sync(&[
        raw::parse("", sql),
        raw::bind("", "", &[]),
        raw::execute("", 0),
    ]);
    assert_eq!(
        told(&answer),
        format!("1 2 {warnings} D(f,f) C[SELECT 1] ZI")
    );
    raw.query("SET client_min_messages = error");
    assert_eq!(told(&raw.query(sql)), "T D(f,f) C[SELECT 1] ZI");
    // However many there are to say, they are not all kept.
    raw.query("RESET client_min_messages");
    let answer =
        raw.query("SELECT count(pg_cancel_backend(-1 - i)) FROM generate_series(1, 5000) AS g(i)");
    let notices: Vec<&raw::Message> = answer.iter().filter(|m| m.kind == 'N').collect();
    assert_eq!(notices.len(), 1001);
    let last = notices[1000].field('M');
    assert_eq!(last.as_deref(), Some("4000 more messages were dropped"));
    drop(raw);
    all_given_back(&server, at_rest).await;
    server.stop();
}

/// The client shuts down its sending side behind its last message, and waits for the answers.
#[tokio::test]
async fn a_client_that_sends_no_more_gets_its_answers() {
    let (server, at_rest) = server(&[]).await;
    let mut raw = Raw::log_in(&server);
    raw.send(&raw::query("SELECT 1; SELECT pg_sleep(0.3), 2"));
    raw.finish_sending();
    assert_eq!(
        told(&raw.until_closed()),
        "T D(1) C[SELECT 1] T D(,2) C[SELECT 1] ZI"
    );
    // While a statement runs, such a client is asked whether it is there, by telling it what it
    // knows already; it may be asked often, and before, between and behind its rows.
    let mut raw = Raw::log_in(&server);
    raw.query("SET client_connection_check_interval = '20ms'");
    raw.send(&raw::query("SELECT pg_sleep(0.5), 1; SELECT 2"));
    raw.send(&raw::query("SELECT pg_sleep(0.5), 3"));
    raw.finish_sending();
    let answer = raw.until_closed();
    let (asked, answers): (Vec<_>, Vec<_>) = answer.into_iter().partition(|m| m.kind == 'S');
    assert_eq!(kinds(&answers), "TDCTDCZTDCZ");
    assert!(!asked.is_empty());
    assert!(asked.iter().all(|m| m.text() == "server_encoding\0UTF8"));
    all_given_back(&server, at_rest).await;
    server.stop();
}

/// To a socket it looks the same at first when the client is gone for good.
#[tokio::test]
async fn a_client_that_is_gone_takes_its_statement_along() {
    let (server, at_rest) = server(&[]).await;
    for interval in ["20ms", "1s"] {
        let mut raw = Raw::log_in(&server);
        raw.query(&format!(
            "SET client_connection_check_interval = '{interval}'"
        ));
        raw.send(&raw::query("SELECT pg_sleep(3600)"));
        session_active(&server, raw.key.0).await;
        raw.finish_sending();
        let pid = raw.key.0;
        session_active(&server, pid).await;
        drop(raw);
        session_gone(&server, pid).await;
    }
    // Not asked, it keeps its statement, as in PostgreSQL, until it is written to.
    let mut raw = Raw::log_in(&server);
    raw.query("SET client_connection_check_interval = 0");
    raw.send(&raw::query("SELECT pg_sleep(3600)"));
    let pid = raw.key.0;
    session_active(&server, pid).await;
    drop(raw);
    let client = server.client().await;
    session_active(&server, pid).await;
    assert_eq!(
        value(&client, &format!("SELECT pg_terminate_backend({pid})")).await,
        "t"
    );
    session_gone(&server, pid).await;
    drop(client);
    all_given_back(&server, at_rest).await;
    server.stop();
}
