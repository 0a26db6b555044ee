//! A server that is killed at any moment leaves a catalog that opens, with everything in it that was acknowledged.
//!
//! The test starts its own binary again as the server to be killed. `FOREBAY_CRASH_ROUNDS` says how often (20).

#![cfg(unix)]

mod support;

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use forebay_catalog::{Catalog, Change, Snapshot};
use support::*;

/// Set for the process that is to be killed: its data directory.
const VICTIM: &str = "FOREBAY_CRASH_VICTIM";

/// Set for the process that is to be killed: the number of its first commit.
const FIRST_COMMIT: &str = "FOREBAY_CRASH_FIRST";

/// What commit `n` changes: several objects of every kind, and away with those of the one before.
fn changes(n: u64, snapshot: &Snapshot) -> Vec<Change> {
    let (role, schema) = (format!("r{n}"), format!("s{n}"));
    let mut changes = vec![
        create_role(&role),
        create_schema(&schema, &role),
        create(table(&schema, "t", &role, &format!("/data/{n}"))),
        replace(view("public", "last", BOSS, &format!("SELECT {n}, 0"))),
        set_system("last", Some(&n.to_string())),
        set_role(BOSS, "last", Some(&n.to_string())),
    ];
    if let Some(old) = n.checked_sub(3).map(|old| format!("s{old}"))
        && snapshot.schema(&old).is_some()
    {
        changes.push(drop_schema(&old, true));
    }
    changes
}

/// Not a test of its own: the process that [`killed_at_any_moment`] kills.
#[test]
fn victim() {
    let Ok(data_dir) = env::var(VICTIM) else {
        return;
    };
    let first: u64 = env::var(FIRST_COMMIT).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(commit_until_killed(Path::new(&data_dir), first));
}

async fn commit_until_killed(data_dir: &Path, first: u64) {
    let catalog = Catalog::open(data_dir, BOSS).await.unwrap();
    for n in first.. {
        catalog
            .commit(&changes(n, &catalog.snapshot()))
            .await
            .unwrap();
        let mut stdout = std::io::stdout();
        writeln!(stdout, "\nacknowledged {n}").unwrap();
        stdout.flush().unwrap();
    }
}

fn start_victim(data_dir: &Path, first: u64) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["victim", "--exact", "--nocapture", "--test-threads=1"])
        .env(VICTIM, data_dir)
        .env(FIRST_COMMIT, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Kills the victim after about `commits` commits and `pause` more; returns the last one that it acknowledged.
fn kill_after(mut victim: Child, commits: usize, pause: Duration) -> Option<u64> {
    let lines = BufReader::new(victim.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let mut acknowledged =
        lines.filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok());
    let mut last = acknowledged.by_ref().take(commits).last();
    thread::sleep(pause);
    victim.kill().unwrap();
    victim.wait().unwrap();
    // What was in the pipe when it died counts as well.
    last = acknowledged.last().or(last);
    last
}

/// Every commit up to `last` is there wholly, and there is at most one more, wholly or not at all.
fn check(snapshot: &Snapshot, last: Option<u64>) -> Option<u64> {
    let found: Option<u64> = snapshot
        .system_settings()
        .get("last")
        .map(|n| n.parse().unwrap());
    assert!(found >= last, "acknowledged {last:?}, found {found:?}");
    let at_most = last.map_or(0, |n| n + 1);
    assert!(
        found.is_none_or(|found| found <= at_most),
        "acknowledged {last:?}, found {found:?}"
    );
    let commits = found.map_or(0, |found| found + 1);
    assert_eq!(snapshot.version(), 1 + commits);
    assert_eq!(snapshot.roles().count() as u64, 1 + commits);
    assert_eq!(snapshot.schemas().count() as u64, 1 + commits.min(3));
    let Some(n) = found else {
        assert_eq!(snapshot.relations("public").count(), 0);
        return None;
    };
    let text = n.to_string();
    assert_eq!(snapshot.role(BOSS).unwrap().settings["last"], text);
    let newest = snapshot.relation(&format!("s{n}"), "t").unwrap();
    assert_eq!(
        (newest.owner.as_str(), newest.version),
        (format!("r{n}").as_str(), 1 + commits)
    );
    assert_eq!(
        snapshot.relation("public", "last").unwrap().version,
        1 + commits
    );
    assert!((0..commits).all(|n| snapshot.role(&format!("r{n}")).is_some()));
    found
}

#[tokio::test]
async fn killed_at_any_moment() {
    let rounds = env::var("FOREBAY_CRASH_ROUNDS").map_or(20, |rounds| rounds.parse().unwrap());
    let mut directory = tempfile::tempdir().unwrap();
    let mut last = None;
    for round in 0..rounds {
        // Now and then from the start, since a catalog can also die while it is made.
        if round % 4 == 0 {
            directory = tempfile::tempdir().unwrap();
            last = None;
        }
        let victim = start_victim(directory.path(), last.map_or(0, |n| n + 1));
        let pause = Duration::from_micros(rand::random_range(0..20_000));
        last = kill_after(victim, rand::random_range(0..25), pause).or(last);
        let catalog = open(&directory).await;
        last = check(&catalog.snapshot(), last);
        // Half of the rounds start from files that nobody has tidied up.
        if round % 2 == 0 {
            catalog.close().await;
        }
    }
}
