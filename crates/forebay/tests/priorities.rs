//! The priority of a resource queue, as the operating system has it. The server has no privileges:
//! it cannot take back a nice value that it has given.
#![cfg(target_os = "linux")]

#[path = "common/mod.rs"]
mod common;

use std::sync::Arc;

use common::{Server, Thread, eventually, rows, value};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error};

/// Runs until it is stopped.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 100) AS a(i), \
    generate_series(1, 1000000000000) AS b(j) WHERE i + j < 0";

/// Every priority with its nice value. The least comes first: threads of a better one are made
/// when there are nicer ones already.
const PRIORITIES: [(&str, i32); 5] = [
    ("min", 19),
    ("low", 16),
    ("medium", 12),
    ("high", 9),
    ("max", 0),
];

/// Enough to tell a statement that runs from a thread that wakes up now and then.
const BUSY_NS: u64 = 50_000_000;

async fn run(client: &Client, sql: &str) {
    if let Err(error) = client.batch_execute(sql).await {
        panic!("{sql}: {}", common::explain(&error));
    }
}

/// A statement that another task runs.
fn begin(client: &Arc<Client>, sql: &'static str) -> JoinHandle<Result<(), Error>> {
    let client = Arc::clone(client);
    tokio::spawn(async move { client.batch_execute(sql).await })
}

async fn client_as(server: &Server, user: &str) -> Arc<Client> {
    let mut config = server.client_config();
    config.user(user);
    Arc::new(common::connect(&config).await.expect("the role logs in"))
}

/// A queue and a role of one name.
async fn queue(server: &Server, admin: &Client, name: &str, attributes: &str) -> Arc<Client> {
    for sql in [
        format!("CREATE RESOURCE QUEUE {name} WITH ({attributes})"),
        format!("CREATE ROLE {name} LOGIN RESOURCE QUEUE {name}"),
    ] {
        run(admin, &sql).await;
    }
    client_as(server, name).await
}

async fn pid(client: &Client) -> String {
    value(client, "SELECT pg_backend_pid()").await
}

/// The threads of the runtime `label`.
fn threads(server: &Server, label: &str) -> Vec<Thread> {
    let mut threads = server.threads();
    let name = format!("{label}-");
    threads.retain(|thread| thread.name.starts_with(&name));
    threads
}

fn nices(server: &Server, label: &str) -> Vec<i32> {
    threads(server, label).iter().map(|t| t.nice).collect()
}

fn busy_ns(server: &Server, label: &str) -> u64 {
    threads(server, label).iter().map(|t| t.busy_ns).sum()
}

fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Priority and weight of the statement of a session, as an administrator sees it.
async fn shown(admin: &Client, pid: &str) -> String {
    let sql = format!(
        "SELECT b.rqppriority || ' ' || s.rqpweight::text FROM gp_toolkit.gp_resq_priority_backend b \
         JOIN gp_toolkit.gp_resq_priority_statement s ON b.rqpsession = s.rqpsession \
         WHERE b.rqpsession = {pid}"
    );
    rows(admin, &sql).await.concat().concat()
}

async fn cancelled(admin: &Client, pid: &str, step: JoinHandle<Result<(), Error>>) {
    run(admin, &format!("SELECT pg_cancel_backend({pid})")).await;
    let error = step.await.expect("no panic").expect_err("it is cancelled");
    assert_eq!(error.code().map(|c| c.code()), Some("57014"));
}

#[tokio::test]
async fn the_threads_of_a_queue_have_its_priority() {
    let server = Server::unprivileged();
    let admin = server.client().await;
    let file = server.folder().join("numbers.csv");
    std::fs::write(&file, "n\n1\n2\n").expect("a file");
    let table = format!(
        "CREATE EXTERNAL TABLE numbers (n int) STORED AS CSV LOCATION '{}' \
         OPTIONS ('format.has_header' 'true')",
        file.display()
    );
    run(&admin, &table).await;
    for (priority, nice) in PRIORITIES {
        let name = format!("of_{priority}");
        let attributes = format!("ACTIVE_STATEMENTS=5, PRIORITY={priority}");
        let client = queue(&server, &admin, &name, &attributes).await;
        let label = format!("q:{name}");
        assert!(threads(&server, &label).is_empty(), "nothing ran yet");
        assert_eq!(value(&client, "SELECT sum(n) FROM numbers").await, "3");
        eventually(
            "workers and those who read have the nice value",
            async || {
                let nices = nices(&server, &label);
                nices.len() > workers() && nices.iter().all(|n| *n == nice)
            },
        )
        .await;
    }
    for thread in server.threads() {
        let of_queue = thread.name.starts_with("q:");
        assert!(of_queue || thread.nice == 0, "{thread:?}");
    }
    assert!(nices(&server, "query").len() >= workers());
    server.stop();
}

/// What has begun keeps its priority, a cursor too; what begins has the new one.
#[tokio::test]
async fn a_changed_priority_is_for_what_begins() {
    let server = Server::unprivileged();
    let admin = server.client().await;
    let one = queue(
        &server,
        &admin,
        "adhoc",
        "ACTIVE_STATEMENTS=9, PRIORITY=LOW",
    )
    .await;
    let two = client_as(&server, "adhoc").await;
    let (first, second) = (pid(&one).await, pid(&two).await);
    run(&one, &format!("BEGIN; DECLARE c CURSOR FOR {ENDLESS}")).await;
    run(&admin, "ALTER RESOURCE QUEUE adhoc WITH (PRIORITY=HIGH)").await;
    let fetch = begin(&one, "FETCH c");
    let other = begin(&two, ENDLESS);
    for (pid, wanted) in [(&first, "LOW 2"), (&second, "HIGH 9")] {
        eventually(wanted, async || shown(&admin, pid).await == wanted).await;
    }
    for nice in [16, 9] {
        let nices = nices(&server, "q:adhoc");
        let found = nices.iter().filter(|n| **n == nice).count();
        assert!(found >= workers(), "{nices:?}");
    }
    cancelled(&admin, &first, fetch).await;
    cancelled(&admin, &second, other).await;
    run(&one, "ROLLBACK").await;
    assert_eq!(shown(&admin, &first).await, "", "nothing runs");
    eventually("the old threads end with the cursor", async || {
        nices(&server, "q:adhoc").iter().all(|n| *n == 9)
    })
    .await;
    server.stop();
}

#[tokio::test]
async fn threads_do_not_pile_up() {
    let server = Server::unprivileged();
    let admin = server.client().await;
    let client = queue(
        &server,
        &admin,
        "adhoc",
        "ACTIVE_STATEMENTS=9, PRIORITY=LOW",
    )
    .await;
    assert_eq!(value(&client, "SELECT 1").await, "1");
    let at_rest = server.threads().len();
    for turn in 0..50 {
        let priority = ["MIN", "MAX", "LOW", "HIGH", "MEDIUM"][turn % 5];
        let alter = format!("ALTER RESOURCE QUEUE adhoc WITH (PRIORITY={priority})");
        run(&admin, &alter).await;
        assert_eq!(value(&client, "SELECT 1").await, "1");
    }
    eventually("one runtime is left", async || {
        threads(&server, "q:adhoc").len() == workers() && server.threads().len() <= at_rest
    })
    .await;
    run(&admin, "ALTER ROLE adhoc RESOURCE QUEUE pg_default").await;
    run(&admin, "DROP RESOURCE QUEUE adhoc").await;
    eventually("a queue that is no more has no threads", async || {
        threads(&server, "q:adhoc").is_empty()
    })
    .await;
    assert_eq!(value(&client, "SELECT 1").await, "1");
    server.stop();
}

/// Takes no slot: it reads system views only.
const ENDLESS_CATALOG: &str = "SELECT count(*) FROM pg_attribute AS a, pg_attribute AS b, \
    pg_attribute AS c, pg_attribute AS d WHERE a.attnum + b.attnum + c.attnum + d.attnum < -99999";

/// Whatever the queues do, superusers go past them, on threads of their own, at the server's own
/// priority; and nobody waits for a slot who asks the catalog or needs no plan.
#[tokio::test]
async fn administrators_always_get_in() {
    let server = Server::unprivileged();
    let admin = server.client().await;
    let boss = Arc::new(server.client().await);
    let slots = queue(
        &server,
        &admin,
        "slots",
        "ACTIVE_STATEMENTS=1, PRIORITY=MIN",
    )
    .await;
    let cost = "MAX_COST=100, COST_OVERCOMMIT=TRUE, PRIORITY=MIN";
    let cost = queue(&server, &admin, "cost", cost).await;
    let mut busy = Vec::new();
    for (client, role) in [(&slots, "slots"), (&cost, "cost")] {
        let other = client_as(&server, role).await;
        let (pid, other_pid) = (pid(client).await, pid(&other).await);
        let running = begin(client, ENDLESS);
        eventually("it runs", async || shown(&admin, &pid).await == "MIN 1").await;
        let label = format!("q:{role}");
        eventually("on threads of its queue", async || {
            busy_ns(&server, &label) > BUSY_NS
        })
        .await;
        busy.push((pid, running));
        // The queue is full now.
        let waiting = begin(&other, ENDLESS);
        let waits = format!("SELECT count(*) FROM forebay.waiters WHERE pid = {other_pid}");
        eventually("it waits", async || value(&admin, &waits).await == "1").await;
        assert_eq!(shown(&admin, &other_pid).await, "", "it does not run");
        cancelled(&admin, &other_pid, waiting).await;
        // What asks the catalog takes no slot, and has its queue's priority.
        let catalog = "SELECT rqppriority FROM gp_toolkit.gp_resq_priority_backend \
            WHERE rqpsession = pg_backend_pid()";
        assert_eq!(value(&other, catalog).await, "MIN");
        assert_eq!(value(&other, "SHOW search_path").await, "\"$user\", public");
    }
    let before = busy_ns(&server, "query");
    let pid = pid(&boss).await;
    let running = begin(&boss, ENDLESS);
    eventually("a superuser's runs beside", async || {
        busy_ns(&server, "query") > before + BUSY_NS
    })
    .await;
    assert_eq!(shown(&admin, &pid).await, "MAX 68");
    assert!(nices(&server, "query").iter().all(|n| *n == 0));
    busy.push((pid, running));
    for (pid, running) in busy {
        assert!(!running.is_finished(), "it runs still");
        cancelled(&admin, &pid, running).await;
    }
    server.stop();
}

/// Without a slot, but not without a limit: what asks the catalog runs on the threads of its role's
/// queue.
#[tokio::test]
async fn a_question_to_the_catalog_has_the_priority_of_its_role() {
    let server = Server::unprivileged();
    let admin = server.client().await;
    let one = queue(
        &server,
        &admin,
        "adhoc",
        "ACTIVE_STATEMENTS=1, PRIORITY=MIN",
    )
    .await;
    let two = client_as(&server, "adhoc").await;
    let pid = pid(&one).await;
    let running = begin(&one, ENDLESS_CATALOG);
    eventually("it runs", async || shown(&admin, &pid).await == "MIN 1").await;
    eventually("on threads of its queue", async || {
        busy_ns(&server, "q:adhoc") > BUSY_NS
    })
    .await;
    let slots = "SELECT rsqcountvalue FROM pg_resqueue_status WHERE rsqname = 'adhoc'";
    assert_eq!(value(&admin, slots).await, "0");
    assert_eq!(value(&two, "SELECT 1").await, "1", "the slot is free");
    cancelled(&admin, &pid, running).await;
    server.stop();
}

/// Joins whose filters refuse every pair of rows: nested loops, and of equal keys by hash and by merge.
const FRUITLESS: [&str; 4] = [
    "SELECT count(*) FROM generate_series(1, 300000) AS a(i), generate_series(1, 300000) AS b(j) \
     WHERE i + j < 0",
    "SELECT count(*) FROM generate_series(1, 300000) AS a(i) \
     JOIN generate_series(1, 300000) AS b(j) ON i / 1000000 = j / 1000000 AND i + j < 0",
    "SET datafusion.optimizer.prefer_hash_join = false; \
     SELECT count(*) FROM generate_series(1, 300000) AS a(i) \
     JOIN generate_series(1, 300000) AS b(j) ON i / 1000000 = j / 1000000 AND i + j < 0",
    "SELECT count(*) FROM generate_series(1, 300000) AS a(i) \
     LEFT JOIN generate_series(1, 300000) AS b(j) ON i + j < 0",
];

/// Such a join makes no rows for minutes, in one poll. More of them than there are threads leave
/// the others their turn, and end when they are cancelled.
#[tokio::test]
async fn joins_without_rows_leave_the_threads_to_others() {
    let server = Server::unprivileged();
    let admin = server.client().await;
    for sql in FRUITLESS {
        let mut busy = Vec::new();
        for _ in 0..workers() + 1 {
            let client = Arc::new(server.client().await);
            let pid = pid(&client).await;
            let before = busy_ns(&server, "query");
            busy.push((pid, begin(&client, sql)));
            eventually("it works", async || {
                busy_ns(&server, "query") > before + 20 * BUSY_NS
            })
            .await;
        }
        let other = "SELECT count(*) FROM generate_series(1, 10) AS a(i) WHERE i > 5";
        for _ in 0..10 {
            assert_eq!(value(&admin, other).await, "5", "beside {sql}");
        }
        for (pid, running) in busy {
            assert!(!running.is_finished(), "it runs still: {sql}");
            cancelled(&admin, &pid, running).await;
        }
        server.comes_to_rest(sql).await;
    }
    server.stop();
}
