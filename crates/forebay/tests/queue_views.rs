//! What the views of locks, waits and queues say while sessions stand in each other's way.

#[path = "common/mod.rs"]
mod common;

use common::{Server, eventually, value};

const WAITERS: &str = "SELECT pid::text || '|' || wait_event_type || '|' || waits_for || '|' || \
    reason || '|' || place::text || '|' || coalesce(ahead[1], 0)::text || '|' || holders[1]::text \
    FROM forebay.waiters ORDER BY since, place";

/// Each waiter names what it waits for, its place, who is ahead of it and who holds.
#[tokio::test]
async fn waiters_explain_themselves() {
    let server = Server::with_tpch(&[]);
    let admin = server.client().await;
    let holder = server.client().await;
    let held_by = value(&holder, "SELECT pg_backend_pid()").await;
    holder
        .batch_execute("BEGIN; LOCK TABLE region IN SHARE MODE")
        .await
        .expect("the lock");
    let mut steps = Vec::new();
    let mut pids = Vec::new();
    for n in 1..=2 {
        let client = server.client().await;
        pids.push(value(&client, "SELECT pg_backend_pid()").await);
        steps.push(tokio::spawn(async move {
            client
                .batch_execute("BEGIN; LOCK TABLE region; COMMIT")
                .await
        }));
        let waiting = format!("SELECT (count(*) = {n})::text FROM forebay.waiters");
        eventually("it waits", async || value(&admin, &waiting).await == "true").await;
    }
    let rows: Vec<String> = admin
        .query(WAITERS, &[])
        .await
        .expect("the waiters")
        .iter()
        .map(|row| row.get(0))
        .collect();
    let [first, second] = [&pids[0], &pids[1]];
    assert_eq!(
        rows,
        [
            format!("{first}|Lock|region|lock|1|0|{held_by}"),
            format!("{second}|Lock|region|lock|2|{first}|{held_by}"),
        ]
    );
    let explanation = format!("SELECT explanation FROM forebay.waiters WHERE pid = {first}");
    assert_eq!(
        value(&admin, &explanation).await,
        format!(
            "place 1; AccessExclusiveLock on relation \"region\" is kept from it by process {held_by}"
        )
    );
    // Its query is the one that `pg_stat_activity` shows.
    let same_query = "SELECT bool_and(w.query_id = a.query_id)::text \
        FROM forebay.waiters w JOIN pg_stat_activity a ON a.pid = w.pid";
    assert_eq!(value(&admin, same_query).await, "true");
    let locks = "SELECT string_agg(mode || ' ' || granted::text || ' ' || \
        (waitstart IS NULL)::text, ', ' ORDER BY granted DESC, mode) \
        FROM pg_locks WHERE relation = 'region'::regclass";
    assert_eq!(
        value(&admin, locks).await,
        "ShareLock true true, AccessExclusiveLock false false, AccessExclusiveLock false false"
    );
    holder.batch_execute("COMMIT").await.expect("the end");
    for step in steps {
        step.await.expect("no panic").expect("the lock comes");
    }
    for view in ["forebay.waiters", "pg_locks WHERE locktype = 'relation'"] {
        let empty = format!("SELECT (count(*) = 0)::text FROM {view}");
        eventually(view, async || value(&admin, &empty).await == "true").await;
    }
    server.stop();
}

/// Others' query ids and statements are for superusers.
#[tokio::test]
async fn what_others_run_is_private() {
    let server = Server::with_tpch(&[]);
    let holder = server.client().await;
    holder
        .batch_execute("CREATE ROLE curious LOGIN")
        .await
        .expect("the role");
    holder
        .batch_execute("BEGIN; LOCK TABLE region")
        .await
        .expect("the lock");
    let holder_pid = value(&holder, "SELECT pg_backend_pid()").await;
    let waiter = server.client().await;
    let waiter_pid = value(&waiter, "SELECT pg_backend_pid()").await;
    let step = tokio::spawn(async move { waiter.batch_execute("SELECT * FROM region").await });
    let admin = server.client().await;
    let sees = "SELECT coalesce(max((query_id IS NULL)::text), 'nothing') FROM forebay.waiters";
    eventually("it waits", async || value(&admin, sees).await == "false").await;
    admin
        .batch_execute("SET SESSION AUTHORIZATION curious")
        .await
        .expect("another role");
    assert_eq!(value(&admin, sees).await, "true");
    let query = format!(
        "SELECT lorcurrentquery FROM gp_toolkit.gp_locks_on_relation WHERE lorpid = {waiter_pid}"
    );
    assert_eq!(value(&admin, &query).await, "<insufficient privilege>");
    let granted =
        format!("SELECT lormode FROM gp_toolkit.gp_locks_on_relation WHERE lorpid = {holder_pid}");
    assert_eq!(value(&admin, &granted).await, "AccessExclusiveLock");
    holder.batch_execute("ROLLBACK").await.expect("the end");
    step.await.expect("no panic").expect("the rows");
    server.stop();
}
