//! Many ways to end the same query at the same moment, and an unregistration pool without room: one
//! ending each, each query in one place at every moment, nothing dropped, nothing left behind.
//!
//! `FOREBAY_RACE_ROUNDS` sets how often each way is tried (40).

mod common;
#[path = "web/http.rs"]
mod http;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Server, eventually, value};
use http::{json, metric, post, token};
use serde_json::Value;
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// The statement whose end is raced for: it ends by itself when the others come.
const VICTIM: &str = "SELECT pg_sleep(0.003)";

/// Who ends it, if it does not end before.
#[derive(Debug, Clone, Copy)]
enum Ender {
    CancelRequest,
    CancelBackend,
    TerminateBackend,
    WebPage,
    StatementTimeout,
    ExecTimeLimit,
    Disconnect,
    /// Several at once.
    Everybody,
}

const ENDERS: [Ender; 8] = [
    Ender::CancelRequest,
    Ender::CancelBackend,
    Ender::TerminateBackend,
    Ender::WebPage,
    Ender::StatementTimeout,
    Ender::ExecTimeLimit,
    Ender::Disconnect,
    Ender::Everybody,
];

/// A client whose connection can be cut.
struct Victim {
    client: Arc<Client>,
    connection: tokio::task::JoinHandle<()>,
    pid: String,
}

impl Victim {
    async fn connect(server: &Server) -> Self {
        let mut config = server.client_config();
        config.user("ann");
        let (client, connection) = config.connect(NoTls).await.expect("a session");
        let connection = tokio::spawn(async move {
            // It is cut, or the session is ended.
            let _ = connection.await;
        });
        let pid = value(&client, "SELECT pg_backend_pid()").await;
        Self {
            client: Arc::new(client),
            connection,
            pid,
        }
    }

    async fn set(&self, setting: &str) {
        let set = format!("SET {setting} = '3ms'");
        self.client.batch_execute(&set).await.expect("a setting");
    }
}

/// Ends the victim's query in its way. Whether it comes in time is a matter of luck.
async fn end(ender: Ender, victim: &Victim, server: &Server, admin: &Client, token: &str) {
    match ender {
        Ender::CancelRequest => {
            // The server closes the connection without a word, as it should.
            let _ = victim.client.cancel_token().cancel_query(NoTls).await;
        }
        Ender::CancelBackend => {
            value(admin, &format!("SELECT pg_cancel_backend({})", victim.pid)).await;
        }
        Ender::TerminateBackend => {
            value(
                admin,
                &format!("SELECT pg_terminate_backend({})", victim.pid),
            )
            .await;
        }
        Ender::WebPage => cancel_on_page(victim, server, token).await,
        Ender::Disconnect => victim.connection.abort(),
        // They come by themselves.
        Ender::StatementTimeout | Ender::ExecTimeLimit => {}
        Ender::Everybody => {
            let cancel = victim.client.cancel_token();
            let terminate = format!("SELECT pg_terminate_backend({})", victim.pid);
            let _ = tokio::join!(
                cancel.cancel_query(NoTls),
                cancel_on_page(victim, server, token),
                value(admin, &terminate),
            );
            victim.connection.abort();
        }
    }
}

async fn cancel_on_page(victim: &Victim, server: &Server, token: &str) {
    let queries = json(server, "/queries").await;
    let running = queries["in_flight_queries"].as_array().expect("a list");
    let pid: i64 = victim.pid.parse().expect("a number");
    let its = |q: &&Value| q["session_id"] == pid && q["stmt"] == VICTIM;
    if let Some(query) = running.iter().find(its) {
        let id = query["query_id"].as_str().expect("an id");
        let form = format!("token={token}&query_id={id}");
        let answer = post(server, "/cancel_query?json", &form).await;
        let unknown = format!("Invalid or unknown query handle: {id}");
        let told = answer.status == 200 || answer.body.contains(&unknown);
        assert!(told, "{}", answer.body);
    }
}

/// One race.
async fn race(ender: Ender, round: usize, server: &Server, admin: &Client, token: &str) {
    let victim = Victim::connect(server).await;
    match ender {
        Ender::StatementTimeout => victim.set("statement_timeout").await,
        Ender::ExecTimeLimit => victim.set("exec_time_limit").await,
        Ender::Everybody => victim.set("statement_timeout").await,
        _ => {}
    }
    let client = Arc::clone(&victim.client);
    let running = tokio::spawn(async move { client.simple_query(VICTIM).await.map(drop) });
    // Each round at another moment.
    for _ in 0..round * 7 % 61 {
        tokio::task::yield_now().await;
    }
    end(ender, &victim, server, admin, token).await;
    // It ends in one way or another.
    let _ = running.await.expect("no panic");
    victim.connection.abort();
}

/// Looks at all queries again and again: none may be in two lists, and none may get lost.
async fn watch(server: Arc<Server>, stop: Arc<AtomicBool>) -> usize {
    let mut known: HashSet<String> = HashSet::new();
    let mut readings = 0;
    loop {
        // One last look after everything has ended.
        let is_last = stop.load(Ordering::SeqCst);
        let queries = json(&server, "/queries").await;
        let lists = ["in_flight_queries", "completed_queries"];
        let lists = lists.map(|list| queries[list].as_array().expect("a list").clone());
        let mut found = HashSet::new();
        for query in lists.iter().flatten() {
            let id = query["query_id"].as_str().expect("an id").to_owned();
            assert!(found.insert(id), "it is shown twice: {query}");
        }
        let lost: Vec<_> = known.difference(&found).collect();
        assert!(lost.is_empty(), "in no list any more: {lost:?}");
        known = found;
        readings += 1;
        if is_last {
            return readings;
        }
    }
}

/// How a query has ended, as its timeline has it.
fn endings(query: &Value) -> Vec<&str> {
    let events = query["timeline"].as_array().expect("a timeline");
    let labels = events.iter().map(|e| e["event"].as_str().expect("a text"));
    labels
        .filter(|label| *label == "Unregister query")
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_end_a_query_it_ends_once() {
    let rounds: usize = std::env::var("FOREBAY_RACE_ROUNDS").map_or(40, |rounds| {
        rounds.parse().expect("FOREBAY_RACE_ROUNDS is a number")
    });
    let folder = TempDir::new().expect("a folder");
    let arguments = [
        "--query-log-size",
        "100000",
        "--query-log-size-in-bytes",
        "1GB",
        "--unregistration-thread-pool-size",
        "2",
        "--unregistration-thread-pool-queue-depth",
        "2",
    ];
    let server = Server::start_in(folder.path(), &arguments).unwrap_or_else(|e| panic!("{e}"));
    let server = Arc::new(server);
    let admin = server.client().await;
    // Some of the queries wait when they are ended.
    for statement in [
        "CREATE RESOURCE QUEUE narrow WITH (ACTIVE_STATEMENTS=2)",
        "CREATE ROLE ann LOGIN RESOURCE QUEUE narrow",
    ] {
        admin.batch_execute(statement).await.expect("a queue");
    }
    let stop = Arc::new(AtomicBool::new(false));
    let watching = tokio::spawn(watch(Arc::clone(&server), Arc::clone(&stop)));
    let token = token(&server).await;
    let mut racing = Vec::new();
    for ender in ENDERS {
        let (server, token) = (Arc::clone(&server), token.clone());
        racing.push(tokio::spawn(async move {
            let admin = server.client().await;
            for round in 0..rounds {
                race(ender, round, &server, &admin, &token).await;
            }
        }));
    }
    for races in racing {
        races.await.expect("every round is as it should be");
    }
    eventually("everything is archived", async || {
        metric(&server, "forebay_queries_in_flight").await == 0.0
    })
    .await;
    stop.store(true, Ordering::SeqCst);
    let readings = watching.await.expect("each query is in one place");
    assert!(readings > 10, "only {readings} readings");

    let queries = json(&server, "/queries").await;
    let completed = queries["completed_queries"].as_array().expect("a list");
    let victims: Vec<_> = completed.iter().filter(|q| q["stmt"] == VICTIM).collect();
    assert!(
        victims.len() >= ENDERS.len() * rounds / 2,
        "only {}",
        victims.len()
    );
    let mut states: Vec<&str> = Vec::new();
    for victim in &victims {
        let id = victim["query_id"].as_str().expect("an id");
        let one = json(&server, &format!("/query?query_id={id}")).await;
        assert_eq!(endings(&one).len(), 1, "{one}");
        states.push(victim["state"].as_str().expect("a state"));
    }
    assert!(
        states.contains(&"FINISHED") && states.contains(&"CANCELLED"),
        "{states:?}"
    );

    let registered = metric(&server, "forebay_queries_registered_total").await;
    let mut ended = 0.0;
    for state in ["finished", "exception", "cancelled"] {
        let name = format!("forebay_queries_ended_total{{state=\"{state}\"}}");
        ended += metric(&server, &name).await;
    }
    assert_eq!(ended, registered, "each has ended once");
    assert_eq!(completed.len().to_string(), registered.to_string());
    for name in [
        "forebay_queries_waiting",
        "forebay_slots_held",
        "forebay_charges_held",
        "forebay_relation_locks_held",
        "forebay_queue_slots{queue=\"narrow\"}",
        "forebay_queue_waiting{queue=\"narrow\"}",
        "forebay_unregistration_queued",
    ] {
        assert_eq!(metric(&server, name).await, 0.0, "{name}");
    }
    drop(admin);
    let server = Arc::into_inner(server).expect("nobody else has it");
    server.stop();
    for count in ["count(*)", "count(DISTINCT query_id)"] {
        let counted = of_history(folder.path(), count).await;
        assert_eq!(counted, registered.to_string(), "{count}");
    }
}

/// Something of the history of a server that has ended.
async fn of_history(folder: &Path, what: &str) -> String {
    let history = folder.join("data/history");
    let reader = Server::start(&[history.to_str().expect("a path in UTF-8")]);
    let answer = value(
        &reader.client().await,
        &format!("SELECT {what} FROM history"),
    )
    .await;
    reader.stop();
    answer
}

/// A pool of one thread, with room for one query, whose profile log is a pipe that nobody reads.
fn with_blocked_archive(folder: &Path) -> Server {
    let profiles = folder.join("data/profiles");
    fs::create_dir_all(&profiles).expect("a folder");
    let made = Command::new("mkfifo")
        .arg(profiles.join("profile.log"))
        .status();
    assert!(made.is_ok_and(|status| status.success()), "no pipe");
    let arguments = [
        "--unregistration-thread-pool-size",
        "1",
        "--unregistration-thread-pool-queue-depth",
        "1",
    ];
    Server::start_in(folder, &arguments).unwrap_or_else(|e| panic!("{e}"))
}

/// Asks until the pipe is full; the statement after that waits until it is read.
async fn ask_until_it_waits(server: &Server) -> tokio::task::JoinHandle<()> {
    let client = server.client().await;
    let (told, stop) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (is_told, asked) = (Arc::clone(&told), Arc::clone(&stop));
    let asking = tokio::spawn(async move {
        while !asked.load(Ordering::SeqCst) {
            value(&client, "SELECT 1").await;
        }
        is_told.store(true, Ordering::SeqCst);
    });
    eventually("the pool is full", async || {
        metric(server, "forebay_unregistration_pushed_back_total").await >= 1.0
            && metric(server, "forebay_unregistration_queued").await == 1.0
            && json(server, "/queries").await["num_in_flight_queries"] == 3
    })
    .await;
    stop.store(true, Ordering::SeqCst);
    assert!(!told.load(Ordering::SeqCst));
    asking
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_pool_holds_up_who_closes_and_drops_nothing() {
    const CLIENTS: usize = 4;
    let folder = TempDir::new().expect("a folder");
    let server = with_blocked_archive(folder.path());
    let filling = ask_until_it_waits(&server).await;

    // Each is answered, and then held up before its next statement.
    let mut held_up = Vec::new();
    for number in 0..CLIENTS {
        let client = server.client().await;
        assert_eq!(
            value(&client, &format!("SELECT {number}")).await,
            number.to_string()
        );
        held_up.push(tokio::spawn(async move {
            value(&client, "SELECT 'later'").await
        }));
    }
    // Those who go away hold up nobody else.
    for _ in 0..CLIENTS {
        let client = server.client().await;
        assert_eq!(value(&client, "SELECT 'gone'").await, "gone");
    }
    let client = server.client().await;
    assert_eq!(value(&client, "SELECT 'alive'").await, "alive");
    let queries = json(&server, "/queries").await;
    let in_flight = queries["in_flight_queries"].as_array().expect("a list");
    // The pool has two, and each session at most one.
    assert_eq!(in_flight.len(), 3 + 2 * CLIENTS + 1, "{queries}");
    for query in in_flight {
        assert_eq!(
            (&query["state"], &query["waiting"]),
            (&"FINISHED".into(), &true.into())
        );
        assert_ne!(query["stmt"], "SELECT 'later'", "it must wait");
    }
    assert!(held_up.iter().all(|asking| !asking.is_finished()));
    assert!(!filling.is_finished());

    // Somebody reads the pipe, to the end of the server.
    let pipe = folder.path().join("data/profiles/profile.log");
    let reading = std::thread::spawn(move || {
        let mut profiles = String::new();
        let read = File::open(pipe).and_then(|mut pipe| pipe.read_to_string(&mut profiles));
        read.map(|_| profiles)
    });
    for asking in held_up {
        assert_eq!(asking.await.expect("no panic"), "later");
    }
    filling.await.expect("no panic");
    drop(client);
    eventually("everything is archived", async || {
        json(&server, "/queries").await["num_in_flight_queries"] == 0
    })
    .await;
    let registered = metric(&server, "forebay_queries_registered_total")
        .await
        .to_string();
    server.stop();
    let profiles = reading.join().expect("no panic").expect("text");
    assert_eq!(profiles.lines().count().to_string(), registered);
    assert!(profiles.ends_with('\n'));
    assert_eq!(of_history(folder.path(), "count(*)").await, registered);
}
