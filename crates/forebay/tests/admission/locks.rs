//! Relation locks.

use super::common::failure;
use super::*;

#[tokio::test]
async fn a_lock_is_waited_for_and_seen() {
    let (server, admin) = stage().await;
    let one = Actor::superuser(&server, &admin).await;
    let two = Actor::superuser(&server, &admin).await;
    one.run("BEGIN; LOCK TABLE region IN EXCLUSIVE MODE").await;
    // Readers do not mind.
    two.run("SELECT * FROM region").await;
    let step = two.waits("Lock", "BEGIN; LOCK TABLE region").await;
    assert_eq!(two.wait().await, "Lock region");
    one.run("COMMIT").await;
    goes_on(step).await;
    assert_eq!(two.wait().await, "Client ClientRead");
    server.stop();
}

#[tokio::test]
async fn nowait_and_lock_timeout_do_not_wait() {
    let (server, admin) = stage().await;
    let one = Actor::superuser(&server, &admin).await;
    let two = Actor::superuser(&server, &admin).await;
    one.run("BEGIN; LOCK TABLE region").await;
    two.run("BEGIN").await;
    let error = failure(&two.client, "LOCK TABLE region NOWAIT").await;
    assert_eq!(error.code(), "55P03");
    two.run("ROLLBACK; SET lock_timeout = '10ms'").await;
    let error = failure(&two.client, "SELECT * FROM region").await;
    assert_eq!(error.code(), "55P03");
    two.run("SET lock_timeout = 0; SET statement_timeout = '10ms'")
        .await;
    let error = failure(&two.client, "SELECT * FROM region").await;
    assert_eq!(error.code(), "57014", "the wait counts");
    server.stop();
}

#[tokio::test]
async fn a_cycle_of_locks_ends_the_one_that_closed_it() {
    let (server, admin) = stage().await;
    let one = Actor::superuser(&server, &admin).await;
    let two = Actor::superuser(&server, &admin).await;
    one.run("BEGIN; LOCK TABLE region").await;
    two.run("BEGIN; LOCK TABLE nation").await;
    let step = one.waits("Lock", "LOCK TABLE nation").await;
    let error = fails(two.begin("LOCK TABLE region")).await;
    let error = error.as_db_error().expect("an error of the server");
    assert_eq!(error.code().code(), "40P01");
    let detail = error.detail().expect("the cycle").to_owned();
    for told in [&one.pid, &two.pid] {
        assert!(
            detail.contains(&format!("process {told} waits")),
            "{detail}"
        );
    }
    goes_on(step).await;
    server.stop();
}

/// PostgreSQL moves a request up that would otherwise wait for one that waits for it.
#[tokio::test]
async fn nobody_queues_behind_who_waits_for_him() {
    let (server, admin) = stage().await;
    let one = Actor::superuser(&server, &admin).await;
    let two = Actor::superuser(&server, &admin).await;
    one.run("BEGIN; SELECT count(*) FROM region").await;
    let step = two.waits("Lock", "BEGIN; LOCK TABLE region").await;
    one.run("LOCK TABLE region IN ROW EXCLUSIVE MODE").await;
    one.run("COMMIT").await;
    goes_on(step).await;
    server.stop();
}

#[tokio::test]
async fn waiters_can_be_cancelled_and_terminated() {
    let (server, admin) = stage().await;
    let holder = Actor::superuser(&server, &admin).await;
    let waiter = Actor::superuser(&server, &admin).await;
    let behind = Actor::superuser(&server, &admin).await;
    holder.run("BEGIN; LOCK TABLE region IN SHARE MODE").await;
    let step = waiter.waits("Lock", "BEGIN; LOCK TABLE region").await;
    // It stands behind the waiter, not behind the holder.
    let second = behind.waits("Lock", "SELECT * FROM region").await;
    waiter.signal("pg_cancel_backend").await;
    fails_with(step, "57014").await;
    goes_on(second).await;
    waiter.run("ROLLBACK").await;
    let step = waiter.waits("Lock", "BEGIN; LOCK TABLE region").await;
    waiter.signal("pg_terminate_backend").await;
    fails_with(step, "57P01").await;
    // Nothing of it is left before the next one.
    behind.run("SELECT * FROM region").await;
    server.stop();
}

#[tokio::test]
async fn a_holder_that_vanishes_holds_nothing() {
    let (server, admin) = stage().await;
    let holder = Actor::superuser(&server, &admin).await;
    let waiter = Actor::superuser(&server, &admin).await;
    holder.run("BEGIN; LOCK TABLE region").await;
    let step = waiter.waits("Lock", "SELECT * FROM region").await;
    drop(holder);
    goes_on(step).await;
    server.stop();
}

#[tokio::test]
async fn a_savepoint_gives_back_the_locks_taken_after_it() {
    let (server, admin) = stage().await;
    let one = Actor::superuser(&server, &admin).await;
    let two = Actor::superuser(&server, &admin).await;
    one.run("BEGIN; LOCK TABLE nation IN SHARE MODE; SAVEPOINT s; LOCK TABLE region")
        .await;
    let step = two.waits("Lock", "SELECT * FROM region").await;
    one.run("ROLLBACK TO s").await;
    goes_on(step).await;
    let step = two.waits("Lock", "BEGIN; LOCK TABLE nation").await;
    one.run("COMMIT").await;
    goes_on(step).await;
    server.stop();
}

/// What a name means is decided after the wait.
#[tokio::test]
async fn a_view_made_anew_is_seen_after_its_lock() {
    let (server, admin) = stage().await;
    let one = Actor::superuser(&server, &admin).await;
    let two = Actor::superuser(&server, &admin).await;
    one.run("CREATE VIEW v AS SELECT 1 AS x").await;
    one.run("BEGIN; DROP VIEW v; CREATE VIEW v AS SELECT 2 AS x")
        .await;
    let client = Arc::clone(&two.client);
    let step = tokio::spawn(async move { value(&client, "SELECT x FROM v").await });
    eventually("it waits", async || two.wait().await == "Lock v").await;
    one.run("COMMIT").await;
    assert_eq!(step.await.expect("it runs"), "2");
    server.stop();
}
