//! What remains of queries: history, profile log, audit log. Read as an operator would read them.

#[path = "common/mod.rs"]
mod common;
#[path = "web/http.rs"]
mod http;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use common::{Server, eventually, failure, rows, value};
use forebay_lifecycle::ProfileReader;
use forebay_lifecycle::profile::FrozenProfile;
use tempfile::TempDir;

/// Statements of one session, with what the history says of them.
const STATEMENTS: [(&str, &str); 5] = [
    ("CREATE ROLE eve PASSWORD 'secret'", "FINISHED"),
    ("SELECT r_name FROM region", "FINISHED"),
    ("SELECT nosuch FROM region", "EXCEPTION"),
    ("SELECT 1 / 0", "EXCEPTION"),
    ("SELECT /* it's Unicode: \u{202e} */ 1", "FINISHED"),
];

async fn run_all(server: &Server) {
    let client = server.client().await;
    for (sql, state) in STATEMENTS {
        match state {
            "FINISHED" => drop(client.simple_query(sql).await.expect(sql)),
            _ => drop(failure(&client, sql).await),
        }
    }
}

/// The data directory of a server that was started in `folder`.
fn data(folder: &TempDir) -> PathBuf {
    folder.path().join("data")
}

/// Reads the history's Parquet files through another server.
async fn history(folder: &Path, sql: &str) -> String {
    let history = folder.join("history");
    let reader = Server::start(&[history.to_str().expect("a path in UTF-8")]);
    let client = reader.client().await;
    let answer = value(&client, sql).await;
    reader.stop();
    answer
}

#[tokio::test]
async fn a_clean_stop_leaves_every_query_in_every_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let tpch = common::tpch();
    let arguments = [tpch.to_str().expect("a path"), "--audit-log", "on"];
    let server = Server::start_in(folder.path(), &arguments).expect("it starts");
    run_all(&server).await;
    server.stop();

    let states = "SELECT string_agg(state, ',' ORDER BY start_time) FROM history";
    let expected: Vec<&str> = STATEMENTS.iter().map(|(_, state)| *state).collect();
    assert_eq!(history(&data(&folder), states).await, expected.join(","));
    let counted = "SELECT rows_returned || ' ' || rows_read || ' ' || (bytes_read > 0) || ' ' || tables::text \
                 FROM history WHERE statement LIKE 'SELECT r_name%'";
    assert_eq!(history(&data(&folder), counted).await, "5 5 true {region}");

    let audit = fs::read_to_string(data(&folder).join("audit/audit.log")).expect("an audit log");
    assert_eq!(audit.lines().count(), STATEMENTS.len());
    assert!(!audit.contains("secret"), "{audit}");
    assert!(audit.contains("PASSWORD '***'"), "{audit}");

    let profiles = data(&folder).join("profiles/profile.log");
    let entries = ProfileReader::open(&profiles).expect("a profile log");
    let texts: Vec<String> = entries
        .map(|entry| {
            let payload = entry.expect("an entry").payload;
            FrozenProfile::decode(&payload)
                .expect("a profile")
                .to_text()
        })
        .collect();
    assert_eq!(texts.len(), STATEMENTS.len());
    let scan = texts.iter().find(|text| text.contains("r_name"));
    let scan = scan.expect("the profile of the scan");
    for part in [
        "Query State: FINISHED",
        "ExecSummary:",
        "Query Timeline:",
        "Rows available",
        "RowsReturned: 5 (5)",
    ] {
        assert!(scan.contains(part), "no {part} in {scan}");
    }
    assert!(!texts.iter().any(|text| text.contains("secret")));
}

#[tokio::test]
async fn a_crash_loses_no_archived_query() {
    let folder = tempfile::tempdir().expect("a folder");
    let tpch = common::tpch();
    let arguments = [tpch.to_str().expect("a path")];
    let mut server = Server::start_in(folder.path(), &arguments).expect("it starts");
    run_all(&server).await;
    let profiles = data(&folder).join("profiles/profile.log");
    eventually("all queries are archived", async || {
        fs::read_to_string(&profiles).is_ok_and(|log| log.lines().count() == STATEMENTS.len())
    })
    .await;
    // The history's journal follows the profile log; a row of it may be the last thing to come.
    let journal = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().contains("journal");
    eventually("the journal has them", async || {
        let entries = fs::read_dir(data(&folder).join("history")).expect("a folder");
        let journals = entries.flatten().filter(journal);
        let lines = journals.map(|j| fs::read_to_string(j.path()).unwrap_or_default());
        lines
            .map(|text| text.matches("\"query_id\"").count())
            .sum::<usize>()
            >= STATEMENTS.len()
    })
    .await;
    server.kill();
    drop(server);
    let server = Server::start_in(folder.path(), &arguments).expect("it starts again");
    assert!(server.log().contains("recovered"), "{}", server.log());
    server.stop();
    let count = "SELECT count(*) FROM history";
    assert_eq!(
        history(&data(&folder), count).await,
        STATEMENTS.len().to_string()
    );
}

/// Clients that ask as fast as they are answered.
const ASKING: usize = 8;

/// What clients were answered.
type Answered = Arc<Mutex<Vec<String>>>;

/// Asks one statement after the other until the server is gone. Each has a text of its own.
async fn ask(client: tokio_postgres::Client, name: usize, answered: Answered) {
    for number in 0.. {
        let statement = format!("SELECT count(*) /* {name}-{number} */ FROM region");
        if client.simple_query(&statement).await.is_err() {
            return;
        }
        answered.lock().expect("nobody panics").push(statement);
    }
}

/// A server under load, what its clients were answered, and the clients.
async fn under_load(
    folder: &TempDir,
    arguments: &[&str],
) -> (Server, Answered, Vec<tokio::task::JoinHandle<()>>) {
    let server = Server::start_in(folder.path(), arguments).expect("it starts");
    let answered = Answered::default();
    let mut asking = Vec::new();
    for name in 0..ASKING {
        let client = server.client().await;
        asking.push(tokio::spawn(ask(client, name, Arc::clone(&answered))));
    }
    eventually("the clients are answered", async || {
        answered.lock().expect("nobody panics").len() >= 200
    })
    .await;
    (server, answered, asking)
}

/// How often each statement that clients asked is in the history of a server that has ended.
async fn asked_in_history(folder: &TempDir) -> BTreeMap<String, usize> {
    let history = data(folder).join("history");
    let reader = Server::start(&[history.to_str().expect("a path in UTF-8")]);
    let client = reader.client().await;
    let found = rows(
        &client,
        "SELECT statement FROM history WHERE statement LIKE '%region'",
    )
    .await;
    reader.stop();
    let mut statements = BTreeMap::new();
    for row in found {
        *statements.entry(row[0].clone()).or_default() += 1;
    }
    statements
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_stop_under_load_keeps_every_answered_query() {
    let folder = tempfile::tempdir().expect("a folder");
    let tpch = common::tpch();
    let arguments = [tpch.to_str().expect("a path"), "--audit-log", "on"];
    let (server, answered, asking) = under_load(&folder, &arguments).await;
    let stopped = tokio::task::spawn_blocking(move || server.stop());
    stopped.await.expect("it stops cleanly");
    for client in asking {
        client.await.expect("no panic");
    }
    let history = asked_in_history(&folder).await;
    let audit = fs::read_to_string(data(&folder).join("audit/audit.log")).expect("an audit log");
    for statement in answered.lock().expect("nobody panics").iter() {
        assert_eq!(history.get(statement), Some(&1), "{statement}");
        assert_eq!(audit.matches(statement.as_str()).count(), 1, "{statement}");
    }
    let server = Server::start_in(folder.path(), &arguments).expect("it starts again");
    assert!(
        !server.log().contains("are not in the history"),
        "{}",
        server.log()
    );
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_under_load_loses_the_tail_at_most_and_says_so() {
    /// Queries that run when it crashes, beside the clients' own.
    const ENDLESS: usize = 3;
    /// Ended queries that may be in the unregistration pool, and one more of each client.
    const TAIL: usize = 16 + 4 + ASKING;
    let folder = tempfile::tempdir().expect("a folder");
    let tpch = common::tpch();
    let arguments = [tpch.to_str().expect("a path")];
    let (mut server, answered, asking) = under_load(&folder, &arguments).await;
    let mut endless = Vec::new();
    for _ in 0..ENDLESS {
        let client = server.client().await;
        endless.push(tokio::spawn(async move {
            client
                .simple_query("SELECT pg_sleep(3600)")
                .await
                .expect_err("it crashes");
        }));
    }
    eventually("they run", async || {
        let queries = http::json(&server, "/queries").await;
        let queries = queries["in_flight_queries"]
            .as_array()
            .expect("a list")
            .clone();
        let sleeps = |q: &&serde_json::Value| q["stmt"] == "SELECT pg_sleep(3600)";
        queries.iter().filter(sleeps).count() == ENDLESS
    })
    .await;
    // More than the pool can hold ends after they began: the journal knows of them.
    let enough = answered.lock().expect("nobody panics").len() + 2 * TAIL;
    eventually("the load goes on", async || {
        answered.lock().expect("nobody panics").len() >= enough
    })
    .await;
    server.kill();
    for client in asking.into_iter().chain(endless) {
        client.await.expect("no panic");
    }
    drop(server);
    let server = Server::start_in(folder.path(), &arguments).expect("it starts again");
    let log = server.log();
    let said = log
        .lines()
        .find(|line| line.contains("are not in the history"));
    let said = said.unwrap_or_else(|| panic!("it does not say what was lost:\n{log}"));
    let (before, _) = said
        .split_once(" queries of the last run")
        .expect("a number");
    let lost: usize = before
        .rsplit(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .expect("a number");
    // Those that ran are lost too, one of each client.
    assert!(
        (ENDLESS..=ENDLESS + ASKING + TAIL).contains(&lost),
        "{said}"
    );
    server.stop();
    let history = asked_in_history(&folder).await;
    assert!(history.values().all(|times| *times == 1));
    let answered = answered.lock().expect("nobody panics");
    let missing = answered
        .iter()
        .filter(|s| !history.contains_key(*s))
        .count();
    assert!(
        missing <= TAIL,
        "{missing} of {} are missing",
        answered.len()
    );
}

/// What rules take out of statements is nowhere: not in files, not on pages, not in other sessions.
#[tokio::test]
async fn what_rules_take_out_is_nowhere() {
    const CARD: &str = "4111-1111-2222-3333";
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("rules.json");
    let text = r#"{"version": 1, "rules": [{"description": "card numbers", "trigger": "-",
        "search": "\\d{4}-\\d{4}-\\d{4}-(\\d{4})", "replace": "XXXX-\\1"}]}"#;
    fs::write(&rules, text).expect("a file of rules");
    let tpch = common::tpch();
    let rules = rules.to_str().expect("a path");
    let arguments = [
        tpch.to_str().expect("a path"),
        "--audit-log",
        "on",
        "--redaction-rules-file",
        rules,
        "--max-kept-statement-size",
        "1kB",
    ];
    let server = Server::start_in(folder.path(), &arguments).expect("it starts");
    let client = server.client().await;
    let scan = format!("SELECT c_name FROM customer WHERE c_comment = '{CARD}'");
    assert_eq!(rows(&client, &scan).await.len(), 0);
    let told = client
        .simple_query(&format!("SELECT '{CARD}'::integer"))
        .await;
    let told = common::explain(&told.expect_err("no number"));
    assert!(
        told.contains(CARD),
        "its own client is told the truth: {told}"
    );
    let long = format!("SELECT 1 /* {} {CARD} */", "é".repeat(2000));
    value(&client, &long).await;
    eventually("all are archived", async || {
        http::json(&server, "/queries").await["completed_log_size"] == 3
    })
    .await;
    let queries = http::json(&server, "/queries").await;
    let ids: Vec<String> = queries["completed_queries"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|query| query["query_id"].as_str().expect("an id").to_owned())
        .collect();
    let mut pages: Vec<String> = ["/", "/queries", "/sessions", "/audit", "/audit?json"]
        .map(str::to_owned)
        .into();
    for page in [
        "query",
        "query_stmt",
        "query_plan",
        "query_summary",
        "query_profile",
    ] {
        pages.extend(ids.iter().map(|id| format!("/{page}?query_id={id}")));
    }
    let mut seen = String::new();
    for page in &pages {
        let text = http::get(&server, page).await.body;
        assert!(!text.contains(CARD), "{page}: {text}");
        seen += &text;
    }
    assert!(seen.contains("XXXX-3333"));
    let activity = "SELECT string_agg(query, ' ') FROM pg_stat_activity";
    let other = server.client().await;
    assert!(!value(&other, activity).await.contains(CARD));
    let kept = http::json(&server, &format!("/query_stmt?query_id={}", ids[0])).await;
    let kept = kept["stmt"].as_str().expect("a text").to_owned();
    assert!(kept.len() <= 1024 && kept.ends_with("é..."), "{kept}");
    assert!(!server.log().contains(CARD));
    server.stop();

    let profiles = ProfileReader::open(&data(&folder).join("profiles/profile.log"));
    for entry in profiles.expect("a profile log") {
        let profile = FrozenProfile::decode(&entry.expect("an entry").payload);
        assert!(!profile.expect("a profile").to_json().contains(CARD));
    }
    let audit = fs::read_to_string(data(&folder).join("audit/audit.log")).expect("an audit log");
    assert!(!audit.contains(CARD) && audit.contains("XXXX-3333"));
    let leaks = format!(
        "SELECT count(*) FROM history WHERE statement LIKE '%{CARD}%' OR error LIKE '%{CARD}%'"
    );
    assert_eq!(history(&data(&folder), &leaks).await, "0");
    let kept = "SELECT count(*) FROM history WHERE statement LIKE '%XXXX-3333%'";
    assert_eq!(history(&data(&folder), kept).await, "2");
}

#[test]
fn rules_that_are_wrong_are_told_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("rules.json");
    let start = || {
        let rules = rules.to_str().expect("a path");
        let started = Server::start_in(folder.path(), &["--redaction-rules-file", rules]);
        started.err().expect("it does not start")
    };
    let missing = start();
    assert!(
        missing.contains("cannot read the redaction rules "),
        "{missing}"
    );
    let text = r#"{"version": 1, "rules": [{"search": "(", "replace": ""}]}"#;
    fs::write(&rules, text).expect("a file of rules");
    let wrong = start();
    assert!(wrong.contains("redaction rule 1: "), "{wrong}");
    assert!(wrong.contains("rules.json"), "{wrong}");
}

#[tokio::test]
async fn a_start_after_a_crash_says_how_many_queries_were_lost() {
    const LIVING: usize = 3;
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start_in(folder.path(), &[]).expect("it starts");
    let mut running = Vec::new();
    for _ in 0..LIVING {
        let client = server.client().await;
        running.push(tokio::spawn(async move {
            client.simple_query("SELECT pg_sleep(3600)").await.is_err()
        }));
    }
    let client = server.client().await;
    eventually("all run", async || {
        let sql = "SELECT count(*) FROM forebay.query_live WHERE statement LIKE 'SELECT pg_sleep%'";
        value(&client, sql).await == LIVING.to_string()
    })
    .await;
    // The journal knows of what was registered a moment ago, and has a row for what has ended.
    let highest = |text: &str| {
        let numbers = text.split("\"registered\":").skip(1);
        let numbers = numbers.filter_map(|rest| rest.split([',', '}']).next()?.parse().ok());
        numbers.max().unwrap_or(0_usize)
    };
    eventually("the journal knows of all", async || {
        let entries = fs::read_dir(data(&folder).join("history")).expect("a folder");
        let texts = entries.flatten().map(|j| fs::read_to_string(j.path()));
        let text: String = texts.filter_map(Result::ok).collect();
        let rows = text.matches("\"record\":").count();
        highest(&text) == rows + LIVING && rows > 0
    })
    .await;
    server.kill();
    for query in running {
        assert!(query.await.expect("no panic"), "its server is gone");
    }
    drop(server);
    let server = Server::start_in(folder.path(), &[]).expect("it starts again");
    let told = format!("{LIVING} queries of the last run are not in the history");
    assert!(server.log().contains(&told), "{}", server.log());
    server.stop();
}
