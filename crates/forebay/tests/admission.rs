//! Scripts of sessions that stand in each other's way: step, wait, expect.

#[path = "common/mod.rs"]
mod common;

use std::sync::Arc;

use common::{Server, eventually, failure, value};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error};

async fn run(client: &Client, sql: &str) {
    if let Err(error) = client.batch_execute(sql).await {
        panic!("{sql}: {}", common::explain(&error));
    }
}

/// A session, and an administrator who looks at it.
struct Actor {
    client: Arc<Client>,
    admin: Arc<Client>,
    pid: String,
}

/// A statement that another task runs.
type Step = JoinHandle<Result<(), Error>>;

impl Actor {
    async fn superuser(server: &Server, admin: &Arc<Client>) -> Self {
        Self::of(server.client().await, admin).await
    }

    async fn of(client: Client, admin: &Arc<Client>) -> Self {
        Self {
            pid: value(&client, "SELECT pg_backend_pid()").await,
            client: Arc::new(client),
            admin: Arc::clone(admin),
        }
    }

    async fn run(&self, sql: &str) {
        run(&self.client, sql).await;
    }

    /// Begins a statement without waiting for its end.
    fn begin(&self, sql: &str) -> Step {
        let (client, sql) = (Arc::clone(&self.client), sql.to_owned());
        tokio::spawn(async move { client.batch_execute(&sql).await })
    }

    /// Begins a statement that has to wait, and returns when it does.
    async fn waits(&self, event_type: &str, sql: &str) -> Step {
        let step = self.begin(sql);
        eventually(sql, async || self.wait().await.starts_with(event_type)).await;
        step
    }

    /// What `pg_stat_activity` says it waits for.
    async fn wait(&self) -> String {
        let sql = format!(
            "SELECT coalesce(wait_event_type || ' ' || wait_event, '') FROM pg_stat_activity \
             WHERE pid = {}",
            self.pid
        );
        value(&self.admin, &sql).await
    }

    async fn signal(&self, function: &str) {
        run(&self.admin, &format!("SELECT {function}({})", self.pid)).await;
    }
}

async fn goes_on(step: Step) {
    let done = step.await.expect("the step is not aborted");
    if let Err(error) = done {
        panic!("{}", common::explain(&error));
    }
}

async fn fails(step: Step) -> Error {
    let done = step.await.expect("the step is not aborted");
    done.expect_err("the statement fails")
}

async fn fails_with(step: Step, code: &str) {
    let error = fails(step).await;
    let found = error.code().map(|c| c.code().to_owned());
    assert_eq!(found.as_deref(), Some(code), "{}", common::explain(&error));
}

async fn stage() -> (Server, Arc<Client>) {
    let server = Server::with_tpch(&[]);
    let admin = Arc::new(server.client().await);
    (server, admin)
}

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
