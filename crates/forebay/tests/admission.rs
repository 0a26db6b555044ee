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

/// A server with a queue of one slot and another one, and three roles: `a` and `b` in the first,
/// `c` in the second, and `a` may become `c`.
async fn queues(first: &str) -> (Server, Arc<Client>) {
    let (server, admin) = stage().await;
    let create = format!("CREATE RESOURCE QUEUE narrow WITH ({first})");
    run(&admin, &create).await;
    run(
        &admin,
        "CREATE RESOURCE QUEUE other WITH (ACTIVE_STATEMENTS=1)",
    )
    .await;
    for (role, queue) in [("a", "narrow"), ("b", "narrow"), ("c", "other")] {
        let create = format!("CREATE ROLE {role} LOGIN RESOURCE QUEUE {queue}");
        run(&admin, &create).await;
    }
    (server, admin)
}

async fn actor(server: &Server, admin: &Arc<Client>, role: &str) -> Actor {
    let mut config = server.client_config();
    config.user(role);
    let client = common::connect(&config).await.expect("the role logs in");
    Actor::of(client, admin).await
}

const CURSOR: &str = "BEGIN; DECLARE one CURSOR FOR SELECT * FROM region";

#[tokio::test]
async fn a_slot_is_waited_for_and_seen() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1").await;
    let (one, two) = (
        actor(&server, &admin, "a").await,
        actor(&server, &admin, "b").await,
    );
    let three = actor(&server, &admin, "b").await;
    one.run(CURSOR).await;
    let step = two.waits("ResourceQueue", "SELECT * FROM region").await;
    assert_eq!(two.wait().await, "ResourceQueue narrow");
    // The administrator, the catalogs, and who only sets something, do not wait.
    run(&admin, "SELECT * FROM region").await;
    three
        .run("SELECT * FROM pg_class; SET work_mem.x = 1; SHOW search_path")
        .await;
    three.run("EXPLAIN SELECT * FROM region").await;
    one.run("CLOSE one").await;
    goes_on(step).await;
    server.stop();
}

/// The deadlock of the old Greenplum: one session has the table and wants the slot, the other one
/// has the slot and wants the table.
#[tokio::test]
async fn slot_and_table_do_not_deadlock() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1").await;
    let (one, two) = (
        actor(&server, &admin, "a").await,
        actor(&server, &admin, "b").await,
    );
    one.run("BEGIN; LOCK TABLE region").await;
    let waits_for_table = two.waits("Lock", "SELECT * FROM region").await;
    // The slot is taken by one who waits for this transaction.
    one.run("SELECT * FROM nation").await;
    one.run("COMMIT").await;
    goes_on(waits_for_table).await;
    server.stop();
}

#[tokio::test]
async fn two_cursors_that_want_each_others_slot() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1").await;
    run(&admin, "ALTER ROLE a SUPERUSER").await;
    let (one, two) = (
        actor(&server, &admin, "a").await,
        actor(&server, &admin, "a").await,
    );
    one.run("BEGIN; SET ROLE b; DECLARE x CURSOR FOR SELECT * FROM region")
        .await;
    two.run("BEGIN; SET ROLE c; DECLARE x CURSOR FOR SELECT * FROM region")
        .await;
    one.run("SET ROLE c").await;
    two.run("SET ROLE b").await;
    let step = one
        .waits("ResourceQueue", "DECLARE y CURSOR FOR SELECT * FROM region")
        .await;
    let other = two.begin("DECLARE y CURSOR FOR SELECT * FROM region");
    // Nobody is aborted: one of them gets a slot beyond the limit.
    eventually("one goes on", async || {
        step.is_finished() || other.is_finished()
    })
    .await;
    let (first, second) = match step.is_finished() {
        true => ((one, step), (two, other)),
        false => ((two, other), (one, step)),
    };
    for (actor, step) in [first, second] {
        goes_on(step).await;
        actor.run("COMMIT").await;
    }
    server.stop();
}

/// Who was in a deadlock and gave up goes on beside one who has a slot beyond the limit. Reading from
/// a cursor is running it, so that has to wait for the other one.
#[tokio::test]
async fn reading_a_cursor_waits_for_who_runs_beyond_the_limit() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1").await;
    run(&admin, "ALTER ROLE a SUPERUSER").await;
    let (one, two) = (
        actor(&server, &admin, "a").await,
        actor(&server, &admin, "a").await,
    );
    two.run("BEGIN; SET ROLE c; DECLARE x CURSOR FOR SELECT * FROM region")
        .await;
    two.run("FETCH 1 FROM x; SET ROLE b; SAVEPOINT s").await;
    one.run("BEGIN; SET ROLE b; DECLARE x CURSOR FOR SELECT * FROM region")
        .await;
    one.run("SET ROLE c").await;
    let declare = "DECLARE y CURSOR FOR SELECT * FROM region";
    let granted = one.waits("ResourceQueue other", declare).await;
    let gives_up = two.waits("ResourceQueue narrow", declare).await;
    goes_on(granted).await;
    two.signal("pg_cancel_backend").await;
    fails_with(gives_up, "57014").await;
    two.run("ROLLBACK TO s").await;
    let fetch = two.waits("ResourceQueue other", "FETCH 1 FROM x").await;
    two.signal("pg_cancel_backend").await;
    fails_with(fetch, "57014").await;
    two.run("ROLLBACK TO s").await;
    let fetch = two.waits("ResourceQueue other", "FETCH 1 FROM x").await;
    one.run("CLOSE y").await;
    goes_on(fetch).await;
    two.run("MOVE ALL FROM x; COMMIT").await;
    one.run("FETCH ALL FROM x; COMMIT").await;
    server.stop();
}

#[tokio::test]
async fn cursors_of_a_transaction_share_a_slot() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1").await;
    let (one, two) = (
        actor(&server, &admin, "a").await,
        actor(&server, &admin, "b").await,
    );
    one.run(CURSOR).await;
    one.run("DECLARE two CURSOR FOR SELECT * FROM nation; SELECT * FROM nation")
        .await;
    one.run("CLOSE one").await;
    let step = two.waits("ResourceQueue", "SELECT 1").await;
    one.run("CLOSE two").await;
    goes_on(step).await;
    server.stop();
}

#[tokio::test]
async fn a_transaction_has_a_limit_of_governed_cursors() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1").await;
    run(&admin, "ALTER ROLE a SUPERUSER").await;
    let one = actor(&server, &admin, "a").await;
    let declare = |name: &str| format!("DECLARE {name} CURSOR FOR SELECT * FROM region");
    one.run("SET max_resource_portals_per_transaction = 2; BEGIN")
        .await;
    // A superuser's cursor takes no slot.
    one.run(&declare("free")).await;
    one.run("SET ROLE b").await;
    one.run(&declare("first")).await;
    one.run(&declare("second")).await;
    one.run("SAVEPOINT s").await;
    let error = failure(&one.client, &declare("third")).await;
    assert_eq!(error.code(), "53400");
    one.run("ROLLBACK TO s; CLOSE first").await;
    one.run(&declare("third")).await;
    // At its end a statement gives back its part of the slot.
    one.run("FETCH ALL FROM second").await;
    one.run(&declare("fourth")).await;
    one.run("COMMIT").await;
    server.stop();
}

/// A cursor that outlives its transaction keeps its slot, and the session does not wait for itself.
#[tokio::test]
async fn a_holdable_cursor_keeps_its_slot() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1").await;
    let (one, two) = (
        actor(&server, &admin, "a").await,
        actor(&server, &admin, "b").await,
    );
    one.run("DECLARE one CURSOR WITH HOLD FOR SELECT * FROM region")
        .await;
    one.run("SELECT * FROM region").await;
    let step = two.waits("ResourceQueue", "SELECT 1").await;
    one.signal("pg_terminate_backend").await;
    goes_on(step).await;
    server.stop();
}

#[tokio::test]
async fn altering_a_queue_acts_at_once() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1").await;
    let (one, two) = (
        actor(&server, &admin, "a").await,
        actor(&server, &admin, "b").await,
    );
    one.run(CURSOR).await;
    let step = two.waits("ResourceQueue", "SELECT 1").await;
    run(
        &admin,
        "ALTER RESOURCE QUEUE narrow WITH (ACTIVE_STATEMENTS=2)",
    )
    .await;
    goes_on(step).await;
    run(
        &admin,
        "ALTER RESOURCE QUEUE narrow WITH (ACTIVE_STATEMENTS=1)",
    )
    .await;
    let step = two.waits("ResourceQueue", "SELECT 1").await;
    one.run("COMMIT").await;
    goes_on(step).await;
    server.stop();
}

#[tokio::test]
async fn full_and_slow_queues_refuse() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1, MAX_QUEUED=1").await;
    let (one, two) = (
        actor(&server, &admin, "a").await,
        actor(&server, &admin, "b").await,
    );
    let three = actor(&server, &admin, "b").await;
    one.run(CURSOR).await;
    let step = two.waits("ResourceQueue", "SELECT 1").await;
    let error = failure(&three.client, "SELECT 1").await;
    assert_eq!(error.code(), "53300");
    two.signal("pg_cancel_backend").await;
    fails_with(step, "57014").await;
    run(
        &admin,
        "ALTER RESOURCE QUEUE narrow WITH (QUEUE_TIMEOUT='10ms')",
    )
    .await;
    let error = failure(&three.client, "SELECT 1").await;
    assert_eq!(error.code(), "57014");
    run(&admin, "SET resource_scheduler = off").await;
    server.stop();
}

/// Waiters, holders and both are ended at the same moment; nothing stays.
#[tokio::test]
async fn ending_waiters_and_holders_leaves_nothing() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1").await;
    for signals in [["one", "two"], ["two", "one"]] {
        let (one, two) = (
            actor(&server, &admin, "a").await,
            actor(&server, &admin, "b").await,
        );
        let three = actor(&server, &admin, "b").await;
        one.run(CURSOR).await;
        let step = two.waits("ResourceQueue", "SELECT 1").await;
        for signalled in signals {
            let actor = if signalled == "one" { &one } else { &two };
            actor.signal("pg_terminate_backend").await;
        }
        // It may have been granted before it was ended.
        let _ = step.await.expect("the step is not aborted");
        three.run("SELECT * FROM region").await;
    }
    server.stop();
}

#[tokio::test]
async fn what_is_prepared_waits_like_any_statement() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1").await;
    let (one, two) = (
        actor(&server, &admin, "a").await,
        actor(&server, &admin, "b").await,
    );
    one.run(CURSOR).await;
    two.run("PREPARE p AS SELECT * FROM region").await;
    let step = two.waits("ResourceQueue", "EXECUTE p").await;
    one.run("ROLLBACK").await;
    goes_on(step).await;
    server.stop();
}

#[tokio::test]
async fn the_role_in_force_decides_the_queue() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1").await;
    run(&admin, "ALTER ROLE a SUPERUSER").await;
    let (one, two) = (
        actor(&server, &admin, "a").await,
        actor(&server, &admin, "b").await,
    );
    one.run("SET ROLE b; BEGIN; DECLARE one CURSOR FOR SELECT * FROM region")
        .await;
    let step = two.waits("ResourceQueue", "SELECT 1").await;
    one.run("SET ROLE c; SELECT 1; RESET ROLE; SELECT 1").await;
    one.run("COMMIT").await;
    goes_on(step).await;
    server.stop();
}

/// Whoever waits longer than `queue_notice_after` is told his place, while he waits.
#[tokio::test]
async fn a_waiter_is_told_its_place() {
    use futures::StreamExt;
    let (server, admin) = queues("ACTIVE_STATEMENTS=1").await;
    let one = actor(&server, &admin, "a").await;
    one.run(CURSOR).await;
    let mut config = server.client_config();
    config.user("b").options("-c queue_notice_after=10ms");
    let (client, mut connection) = config.connect(tokio_postgres::NoTls).await.expect("login");
    let (told, mut notices) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let messages = futures::stream::poll_fn(|context| connection.poll_message(context));
        let mut messages = std::pin::pin!(messages);
        while let Some(Ok(message)) = messages.next().await {
            if let tokio_postgres::AsyncMessage::Notice(notice) = message {
                let _ = told.send(notice.message().to_owned());
            }
        }
    });
    let waits = tokio::spawn(async move { client.batch_execute("SELECT 1").await });
    let notice = notices.recv().await.expect("a notice");
    let expected = format!(
        "waiting in resource queue \"narrow\": place 1; all 1 slots are taken by process {}",
        one.pid
    );
    assert_eq!(notice, expected);
    one.run("COMMIT").await;
    goes_on(waits).await;
    server.stop();
}

/// Some 390,000 rows, at a cost of some 5,100.
const COSTLY: &str = "SELECT a.n_nationkey AS x FROM nation a, nation b, nation c, nation d";

#[tokio::test]
async fn what_costs_less_than_min_cost_never_waits() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1, MIN_COST=100").await;
    let (one, two) = (
        actor(&server, &admin, "a").await,
        actor(&server, &admin, "b").await,
    );
    one.run(&format!("BEGIN; DECLARE one CURSOR FOR {COSTLY}"))
        .await;
    two.run("SELECT * FROM region").await;
    let sum = format!("SELECT sum(x) FROM ({COSTLY}) AS rows");
    let step = two.waits("ResourceQueue", &sum).await;
    one.run("COMMIT").await;
    goes_on(step).await;
    server.stop();
}

#[tokio::test]
async fn cost_is_charged_and_waited_for() {
    let (server, admin) = queues("MAX_COST=9000").await;
    let (one, two) = (
        actor(&server, &admin, "a").await,
        actor(&server, &admin, "b").await,
    );
    one.run(&format!("BEGIN; DECLARE one CURSOR FOR {COSTLY}"))
        .await;
    let sum = format!("SELECT sum(x) FROM ({COSTLY}) AS rows");
    let step = two.waits("ResourceQueue", &sum).await;
    // It has stepped aside: somebody behind it keeps his place there.
    let three = actor(&server, &admin, "c").await;
    three.run("SELECT * FROM region").await;
    one.run("COMMIT").await;
    goes_on(step).await;
    run(&admin, "ALTER RESOURCE QUEUE narrow WITH (MAX_COST=100)").await;
    let error = failure(&two.client, &sum).await;
    assert_eq!(error.code(), "53400");
    run(
        &admin,
        "ALTER RESOURCE QUEUE narrow WITH (COST_OVERCOMMIT=TRUE)",
    )
    .await;
    two.run(&sum).await;
    server.stop();
}

/// A statement that stepped aside plans again if the catalog has changed while it waited.
#[tokio::test]
async fn a_plan_from_before_a_wait_is_made_anew_when_the_catalog_changed() {
    let (server, admin) = queues("MAX_COST=9000").await;
    let (one, two) = (
        actor(&server, &admin, "a").await,
        actor(&server, &admin, "b").await,
    );
    run(
        &admin,
        &format!("CREATE VIEW v AS SELECT x + 1 AS y FROM ({COSTLY}) AS rows"),
    )
    .await;
    one.run(&format!("BEGIN; DECLARE one CURSOR FOR {COSTLY}"))
        .await;
    let client = Arc::clone(&two.client);
    let step = tokio::spawn(async move { value(&client, "SELECT max(y) FROM v").await });
    eventually("it waits", async || {
        two.wait().await == "ResourceQueue narrow"
    })
    .await;
    // Its locks went back with its slot, so the view can be replaced meanwhile.
    run(
        &admin,
        &format!("CREATE OR REPLACE VIEW v AS SELECT x + 2 AS y FROM ({COSTLY}) AS rows"),
    )
    .await;
    one.run("COMMIT").await;
    assert_eq!(step.await.expect("it runs"), "26");
    server.stop();
}
