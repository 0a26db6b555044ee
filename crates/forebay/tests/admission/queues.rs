//! Slots of resource queues.

use super::common::failure;
use super::common::raw::{self, Raw, told};
use super::*;

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
    let beyond = "SELECT coalesce(string_agg(statement, ' '), '') FROM forebay.query_log \
                  WHERE overcommitted";
    let declared = "DECLARE y CURSOR FOR SELECT * FROM region";
    eventually("the log tells of that slot", async || {
        value(&admin, beyond).await == declared
    })
    .await;
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
    // Who reads on is no new statement, though it may have to wait.
    assert_eq!(admitted_and_waited(&admin, "other").await, "2 3");
    server.stop();
}

/// The same by messages: an `Execute` goes on with a suspended portal.
#[tokio::test]
async fn going_on_with_a_portal_waits_for_who_runs_beyond_the_limit() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1").await;
    run(&admin, "ALTER ROLE a SUPERUSER").await;
    let one = actor(&server, &admin, "a").await;
    let mut two = Raw::connect(&server);
    two.start_up_as("a");
    let pid = two.key.0.to_string();
    let waits = async |event: &str| {
        eventually(event, async || wait_of(&admin, &pid).await == event).await;
    };
    two.query("BEGIN; SET ROLE c");
    let suspended = two.sync(&[
        raw::parse("", "SELECT n FROM generate_series(1, 6) AS g(n)"),
        raw::bind("x", "", &[]),
        raw::execute("x", 1),
        raw::bind("y", "", &[]),
        raw::execute("y", 1),
    ]);
    assert_eq!(told(&suspended), "1 2 D(1) s 2 D(1) s ZT");
    two.query("SET ROLE b; SAVEPOINT s");
    one.run("BEGIN; SET ROLE b; DECLARE x CURSOR FOR SELECT * FROM region")
        .await;
    one.run("SET ROLE c").await;
    let declare = "DECLARE z CURSOR FOR SELECT * FROM region";
    let granted = one.waits("ResourceQueue other", declare).await;
    two.send(&raw::query(declare));
    goes_on(granted).await;
    waits("ResourceQueue narrow").await;
    run(&admin, &format!("SELECT pg_cancel_backend({pid})")).await;
    let cancelled = "E[57014 canceling statement due to user request] ZE";
    assert_eq!(told(&two.until('Z')), cancelled);
    two.query("ROLLBACK TO s");

    let go_on = |portal| [raw::execute(portal, 2), raw::sync()].concat();
    two.send(&go_on("x"));
    waits("ResourceQueue other").await;
    Raw::connect(&server).send(&raw::cancel(two.key));
    assert_eq!(told(&two.until('Z')), cancelled);
    two.query("ROLLBACK TO s");
    // The wait was the portal's own, so its statement has ended.
    let ended = "E[55000 portal \"x\" cannot be run] ZE";
    assert_eq!(told(&two.sync(&[raw::execute("x", 2)])), ended);
    two.query("ROLLBACK TO s");
    two.send(&go_on("y"));
    waits("ResourceQueue other").await;
    one.run("CLOSE z").await;
    assert_eq!(told(&two.until('Z')), "D(2) D(3) s ZT");
    let rest = two.sync(&[raw::execute("y", 0)]);
    assert_eq!(told(&rest), "D(4) D(5) D(6) C[SELECT 3] ZT");
    assert_eq!(told(&two.query("COMMIT")), "C[COMMIT] ZI");
    one.run("COMMIT").await;
    assert_eq!(admitted_and_waited(&admin, "other").await, "3 3");
    server.stop();
}

/// A view with a name like the catalog's is governed as what it reads.
#[tokio::test]
async fn only_the_catalogs_own_views_need_no_slot() {
    let (server, admin) = queues("ACTIVE_STATEMENTS=1").await;
    run(&admin, "CREATE VIEW pg_mine AS SELECT * FROM region").await;
    let (one, two) = (
        actor(&server, &admin, "a").await,
        actor(&server, &admin, "b").await,
    );
    one.run(CURSOR).await;
    two.run("SELECT * FROM pg_class, pg_namespace; EXPLAIN ANALYZE SELECT * FROM pg_class")
        .await;
    for sql in [
        "SELECT * FROM pg_mine",
        "EXPLAIN ANALYZE SELECT * FROM pg_mine",
    ] {
        let step = two.waits("ResourceQueue narrow", sql).await;
        two.signal("pg_cancel_backend").await;
        fails_with(step, "57014").await;
    }
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
