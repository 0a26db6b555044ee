//! What happened to others, over the wire: the README of `crates/admission` lists which test stands
//! for which of them.

use super::common::failure;
use super::*;

/// Slots, cost and memory that are taken of the queue, and who waits and holds.
const TAKEN: &str = "SELECT rsqcountvalue::text || '|' || rsqcostvalue::text || '|' || \
    rsqmemoryvalue::text || '|' || rsqwaiters::text || '|' || rsqholders::text \
    FROM gp_toolkit.gp_resqueue_status WHERE rsqname = 'narrow'";

/// As many rows as [`COSTLY`] has, of another table.
const COSTLY_TOO: &str = "SELECT sum(a.r_regionkey) FROM region a, region b, region c, region d, \
    region e, region f, region g, region h";

/// Sessions of one role. They ask for their process ids, so they begin before a queue is full.
async fn actors(server: &Server, admin: &Arc<Client>, role: &str, count: usize) -> Vec<Actor> {
    let mut actors = Vec::new();
    for _ in 0..count {
        actors.push(actor(server, admin, role).await);
    }
    actors
}

async fn nothing_is_taken(admin: &Client) {
    eventually("nothing is taken", async || {
        value(admin, TAKEN).await == "0|0|0|0|0"
    })
    .await;
}

/// Doris 68169: the client was gone, its query kept the slot.
#[tokio::test]
async fn lesson_a_client_that_disconnects_gives_its_slot_back() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1, MEMORY_LIMIT='100MB'").await;
    let one = actor(&server, &admin, "a").await;
    let two = actor(&server, &admin, "b").await;
    let three = actor(&server, &admin, "b").await;
    let mut config = server.client_config();
    config.user("a");
    // This one's connection is closed while its statement runs.
    let (gone, connection) = config.connect(tokio_postgres::NoTls).await.expect("login");
    let connection = tokio::spawn(connection);
    let pid = value(&gone, "SELECT pg_backend_pid()").await;
    let sleeps = tokio::spawn(async move { gone.batch_execute("SELECT pg_sleep(3600)").await });
    let runs = format!("SELECT state FROM pg_stat_activity WHERE pid = {pid}");
    eventually("it runs", async || value(&admin, &runs).await == "active").await;
    let waits = one.waits("ResourceQueue", "SELECT 1").await;
    let vanishes = two.waits("ResourceQueue", "SELECT 1").await;
    // A waiter goes, then the holder.
    two.signal("pg_terminate_backend").await;
    fails_with(vanishes, "57P01").await;
    connection.abort();
    goes_on(waits).await;
    let _ = sleeps.await;
    three.run("SELECT 1").await;
    nothing_is_taken(&admin).await;
    server.stop();
}

/// Doris 67503, Trino PR 14122: a result that nobody fetched held a slot for hours.
#[tokio::test]
async fn lesson_a_result_that_nobody_fetches_holds_no_slot_for_ever() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1").await;
    let (one, two) = (
        actor(&server, &admin, "a").await,
        actor(&server, &admin, "b").await,
    );
    one.run("SET idle_cursor_timeout = '10ms'").await;
    one.run(&format!("{CURSOR}; FETCH 1 FROM one")).await;
    two.run("SELECT 1").await;
    one.run("ROLLBACK; SET idle_cursor_timeout = 0").await;
    one.run("SET idle_in_transaction_session_timeout = '10ms'")
        .await;
    let _ = one.client.batch_execute(CURSOR).await;
    two.run("SELECT 1").await;
    nothing_is_taken(&admin).await;
    server.stop();
}

/// Doris PRs 46004, 37632, 20434, gpdb PRs 17022, 12890: a cancel that raced with the grant leaked
/// the slot, or panicked (gpdb 9649, PR 12952). Trino 19082, Presto PR 6733: then nothing ran.
#[tokio::test]
async fn lesson_cancels_that_race_with_grants_leak_nothing() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1, MAX_COST=1000").await;
    let actors = actors(&server, &admin, "a", 6).await;
    for _ in 0..10 {
        let steps: Vec<Step> = actors.iter().map(|actor| actor.begin("SELECT 1")).collect();
        for actor in actors.iter().step_by(2) {
            actor.signal("pg_cancel_backend").await;
        }
        for step in steps {
            if let Err(error) = step.await.expect("the step is not aborted") {
                assert_eq!(error.code().map(|c| c.code()), Some("57014"));
            }
        }
    }
    nothing_is_taken(&admin).await;
    // A cancel that came too late for its statement must not hit this one.
    for actor in &actors {
        eventually("it runs", async || {
            actor.client.batch_execute("SELECT 1").await.is_ok()
        })
        .await;
    }
    server.stop();
}

/// Trino 25093, Doris PR 23418: statements that came at the same moment all passed the limit.
/// Trino 2297, IMPALA-12146, gpdb PR 14351: a counter of a limit went wrong.
#[tokio::test]
async fn lesson_statements_of_one_moment_do_not_all_pass() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=2").await;
    let actors = actors(&server, &admin, "a", 12).await;
    let begin = |actor: &Actor| actor.begin("SELECT pg_sleep(0.01)");
    let steps: Vec<Step> = actors.iter().map(begin).collect();
    let mut most = 0.0f32;
    while !steps.iter().all(|step| step.is_finished()) {
        let sql = "SELECT rsqcountvalue FROM pg_resqueue_status WHERE rsqname = 'narrow'";
        let row = admin.query_one(sql, &[]).await.expect("the queue");
        most = most.max(row.get(0));
    }
    assert!(most <= 2.0, "{most} at once in a queue of 2");
    for step in steps {
        goes_on(step).await;
    }
    nothing_is_taken(&admin).await;
    server.stop();
}

/// Presto 12739, 10002, Trino 20817, 28373: planning before queueing flooded the coordinator. What is
/// wrong with a statement that planning alone can tell is told only after its slot.
#[tokio::test]
async fn lesson_nothing_is_planned_before_it_has_a_slot() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1").await;
    let (one, two) = (
        actor(&server, &admin, "a").await,
        actor(&server, &admin, "b").await,
    );
    one.run(CURSOR).await;
    let step = two
        .waits("ResourceQueue", "SELECT nothing FROM region")
        .await;
    one.run("COMMIT").await;
    fails_with(step, "42703").await;
    nothing_is_taken(&admin).await;
    server.stop();
}

/// gpdb 16901, 9651, PR 739: locks that were taken before the slot. Whoever waits for a slot has locked
/// nothing, neither at first nor after it stepped aside.
#[tokio::test]
async fn lesson_who_waits_for_a_slot_has_locked_nothing() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1, MAX_COST=2100").await;
    let (one, two) = (
        actor(&server, &admin, "a").await,
        actor(&server, &admin, "b").await,
    );
    one.run("BEGIN; DECLARE one CURSOR FOR SELECT * FROM nation")
        .await;
    let step = two.waits("ResourceQueue", "SELECT * FROM region").await;
    run(&admin, "BEGIN; LOCK TABLE region NOWAIT; COMMIT").await;
    one.run("COMMIT").await;
    goes_on(step).await;
    run(
        &admin,
        "ALTER RESOURCE QUEUE narrow WITH (ACTIVE_STATEMENTS=2)",
    )
    .await;
    one.run(&format!("BEGIN; DECLARE one CURSOR FOR {COSTLY}"))
        .await;
    let step = two.waits("ResourceQueue", COSTLY_TOO).await;
    run(&admin, "BEGIN; LOCK TABLE region NOWAIT; COMMIT").await;
    one.run("COMMIT").await;
    goes_on(step).await;
    server.stop();
}

/// ClickHouse 79880, IMPALA-13201: the administrator could not get in. Here a queue is full, and he
/// looks, runs, cancels and alters.
#[tokio::test]
async fn lesson_the_administrator_gets_in_when_queues_are_full() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1, MAX_QUEUED=8").await;
    let one = actor(&server, &admin, "a").await;
    let late = actor(&server, &admin, "b").await;
    let actors = actors(&server, &admin, "b", 8).await;
    one.run(CURSOR).await;
    let mut waiting = Vec::new();
    for actor in actors {
        let step = actor.waits("ResourceQueue", "SELECT 1").await;
        waiting.push((actor, step));
    }
    assert_eq!(failure(&late.client, "SELECT 1").await.code(), "53300");
    assert_eq!(value(&admin, "SELECT count(*) FROM region").await, "5");
    assert_eq!(
        value(&admin, "SELECT count(*) FROM forebay.waiters").await,
        "8"
    );
    let (first, step) = waiting.remove(0);
    first.signal("pg_cancel_backend").await;
    fails_with(step, "57014").await;
    one.signal("pg_terminate_backend").await;
    for (_, step) in waiting {
        goes_on(step).await;
    }
    nothing_is_taken(&admin).await;
    server.stop();
}

/// StarRocks 49888, 29453, ClickHouse 48840: refused where waiting was expected.
#[tokio::test]
async fn lesson_a_full_queue_waits_by_default() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1, MEMORY_LIMIT='10MB'").await;
    let one = actor(&server, &admin, "a").await;
    let actors = actors(&server, &admin, "b", 8).await;
    one.run(CURSOR).await;
    let mut steps = Vec::new();
    for actor in &actors {
        steps.push(actor.waits("ResourceQueue", "SELECT * FROM region").await);
    }
    one.run("COMMIT").await;
    for step in steps {
        goes_on(step).await;
    }
    server.stop();
}

/// Cloudberry: an idle open transaction held a slot.
#[tokio::test]
async fn lesson_an_idle_transaction_holds_no_slot() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1").await;
    let (one, two) = (
        actor(&server, &admin, "a").await,
        actor(&server, &admin, "b").await,
    );
    one.run("BEGIN; SELECT * FROM region").await;
    two.run("SELECT * FROM region").await;
    nothing_is_taken(&admin).await;
    one.run("COMMIT").await;
    server.stop();
}

/// Trino 21590, ClickHouse's process list, Presto 2501, 4310: nobody could see why a query waits. Every
/// waiter of a crowd is explained, and the lists stay short.
#[tokio::test]
async fn lesson_every_waiter_of_a_crowd_is_explained() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1").await;
    let one = actor(&server, &admin, "a").await;
    let mut crowd = actors(&server, &admin, "b", 20).await;
    for _ in 0..2 {
        crowd.push(Actor::superuser(&server, &admin).await);
    }
    one.run("BEGIN; LOCK TABLE nation; DECLARE one CURSOR FOR SELECT * FROM region")
        .await;
    let begin = |actor: &Actor| actor.begin("SELECT * FROM nation");
    let steps: Vec<Step> = crowd.iter().map(begin).collect();
    let crowd = "SELECT (count(*) = 22)::text FROM forebay.waiters";
    eventually("all wait", async || value(&admin, crowd).await == "true").await;
    let explained = "SELECT count(*) FROM forebay.waiters WHERE explanation <> '' \
        AND cardinality(holders) = 1 AND cardinality(ahead) <= 16 AND place >= 1";
    assert_eq!(value(&admin, explained).await, "22");
    assert_eq!(
        value(&admin, "SELECT max(place) FROM forebay.waiters").await,
        "20"
    );
    one.run("COMMIT").await;
    for step in steps {
        goes_on(step).await;
    }
    server.stop();
}
