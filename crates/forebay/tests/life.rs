//! What remains of queries: history, profile log, audit log. Read as an operator would read them.

#[path = "common/mod.rs"]
mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Server, eventually, failure, value};
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
        "First row available",
        "RowsReturned: 5",
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
