//! Kill -9 while clients change the catalog: it always reopens, and whatever was acknowledged is
//! there.
//!
//! `FOREBAY_CRASH_ROUNDS` sets how often (10).

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use common::{Server, eventually, rows};
use tempfile::TempDir;
use tokio_postgres::Client;

/// Clients that change the catalog at the same time.
const WRITERS: usize = 4;

/// Changes that must be acknowledged before a kill, so that every round has something to lose.
const CHANGES_A_ROUND: u64 = 25;

/// What clients know of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Exists,
    Gone,
    /// The server died before it answered: both is right.
    Unknown,
}

/// What the clients were told, by name; views and roles apart.
#[derive(Debug, Default)]
struct Told {
    views: BTreeMap<String, Known>,
    roles: BTreeMap<String, Known>,
}

type Shared = Arc<Mutex<Told>>;

#[derive(Debug, Clone, Copy)]
enum Kind {
    View,
    Role,
}

fn write_down(told: &Shared, kind: Kind, name: &str, known: Known) {
    let mut told = told.lock().expect("no writer panics");
    let objects = match kind {
        Kind::View => &mut told.views,
        Kind::Role => &mut told.roles,
    };
    objects.insert(name.to_owned(), known);
}

/// Runs one change; false when the server is gone.
async fn change(
    client: &Client,
    told: &Shared,
    kind: Kind,
    name: &str,
    sql: &str,
    then: Known,
) -> bool {
    // Written down before it is sent: whatever happens from here on, the object is in doubt.
    write_down(told, kind, name, Known::Unknown);
    match client.simple_query(sql).await {
        Ok(_) => {
            write_down(told, kind, name, then);
            true
        }
        Err(error) if error.as_db_error().is_none() => false,
        Err(error) => panic!("{sql}: {}", common::explain(&error)),
    }
}

/// Creates and drops objects until the server is gone.
async fn write(client: Client, told: Shared, acknowledged: Arc<AtomicU64>, prefix: String) {
    for i in 0.. {
        let (view, role) = (format!("v_{prefix}_{i}"), format!("r_{prefix}_{i}"));
        let create_view = format!("CREATE VIEW {view} AS SELECT {i} AS x");
        let create_role = format!("CREATE ROLE {role}");
        let mut changes = vec![
            (Kind::View, &view, create_view, Known::Exists),
            (Kind::Role, &role, create_role, Known::Exists),
        ];
        // Every other one goes again.
        if i % 2 == 0 {
            changes.push((Kind::View, &view, format!("DROP VIEW {view}"), Known::Gone));
            changes.push((Kind::Role, &role, format!("DROP ROLE {role}"), Known::Gone));
        }
        for (kind, name, sql, then) in changes {
            if !change(&client, &told, kind, name, &sql, then).await {
                return;
            }
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Compares what is there with what was acknowledged, and settles what was in doubt.
fn check(what: &str, told: &mut BTreeMap<String, Known>, found: &BTreeSet<String>) {
    for (name, known) in told.iter_mut() {
        let exists = found.contains(name);
        match known {
            Known::Exists => assert!(exists, "{what} {name} was acknowledged and is lost"),
            Known::Gone => assert!(!exists, "{what} {name} was dropped and is back"),
            Known::Unknown => *known = if exists { Known::Exists } else { Known::Gone },
        }
    }
    for name in found {
        assert!(told.contains_key(name), "{what} {name} was never made");
    }
}

async fn column(client: &Client, sql: &str) -> BTreeSet<String> {
    rows(client, sql)
        .await
        .into_iter()
        .map(|row| row[0].clone())
        .collect()
}

async fn check_all(server: &Server, told: &Shared) {
    let client = server.client().await;
    let views = column(
        &client,
        "SELECT relname FROM pg_class WHERE relname LIKE 'v\\_%'",
    )
    .await;
    let roles = column(
        &client,
        "SELECT rolname FROM pg_roles WHERE rolname LIKE 'r\\_%'",
    )
    .await;
    let some_view = views.last().cloned();
    {
        let mut told = told.lock().expect("no writer panics");
        check("view", &mut told.views, &views);
        check("role", &mut told.roles, &roles);
    }
    // Not only its name is there.
    if let Some(view) = some_view {
        let number = view.rsplit('_').next().expect("a number").to_owned();
        assert_eq!(
            common::value(&client, &format!("SELECT x FROM {view}")).await,
            number
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_changes_survive_a_kill() {
    let rounds = std::env::var("FOREBAY_CRASH_ROUNDS").map_or(10, |rounds| {
        rounds.parse().expect("FOREBAY_CRASH_ROUNDS is a number")
    });
    let folder = TempDir::new().expect("a temporary directory");
    let told = Shared::default();
    for round in 0..rounds {
        let mut server =
            Server::start_in(folder.path(), &[]).unwrap_or_else(|e| panic!("round {round}: {e}"));
        check_all(&server, &told).await;
        let acknowledged = Arc::new(AtomicU64::new(0));
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let prefix = format!("{round}_{writer}");
            let client = server.client().await;
            let work = write(client, Arc::clone(&told), Arc::clone(&acknowledged), prefix);
            writers.push(tokio::spawn(work));
        }
        // A different number each round, so that the kill hits different moments.
        let enough = CHANGES_A_ROUND + round;
        eventually("the clients make progress", async || {
            acknowledged.load(Ordering::Relaxed) >= enough
                || writers.iter().any(tokio::task::JoinHandle::is_finished)
        })
        .await;
        server.kill();
        for writer in writers {
            writer
                .await
                .expect("a writer that met no error but the kill");
        }
        assert!(
            acknowledged.load(Ordering::Relaxed) >= enough,
            "round {round}: the server died by itself"
        );
    }
    let server = Server::start_in(folder.path(), &[]).unwrap_or_else(|e| panic!("{e}"));
    check_all(&server, &told).await;
    let told = told.lock().expect("no writer panics").views.len();
    assert!(told > 0, "nothing was ever written");
    server.stop();
}

#[tokio::test]
async fn two_servers_do_not_share_a_data_directory() {
    let folder = TempDir::new().expect("a temporary directory");
    let first = Server::start_in(folder.path(), &[]).unwrap_or_else(|e| panic!("{e}"));
    let second = Server::start_in(folder.path(), &[]);
    let why = second.err().expect("the second must not start");
    assert!(why.contains("cannot open"), "{why}");
    let client = first.client().await;
    assert_eq!(common::value(&client, "SELECT 1").await, "1");
    drop(client);
    first.stop();
    // Now it is free.
    Server::start_in(folder.path(), &[])
        .unwrap_or_else(|e| panic!("{e}"))
        .stop();
}
