//! Two hundred sessions do at random what sessions do: transactions over eight tables and five
//! resource queues, with locks in any order, cursors, savepoints, changes of role, cancels and lost
//! connections. Nobody may be stuck, nobody may be aborted because of a queue, and at the end
//! nothing may be left.
//!
//! `FOREBAY_SOAK_SECONDS` (120) says for how long; `FOREBAY_SOAK_SEED` repeats the choices of a run.

#![expect(clippy::print_stdout, reason = "a long test tells what it has done")]

#[path = "common/mod.rs"]
mod common;

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Server, eventually, rows, value};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tokio::task::{JoinHandle, JoinSet};
use tokio_postgres::{Client, Config, Error, NoTls};

const SESSIONS: u64 = 200;

const TABLES: [&str; 8] = [
    "customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier",
];

/// Queues, each with a role of the same name.
const QUEUES: [(&str, &str); 5] = [
    ("single", "ACTIVE_STATEMENTS=1"),
    ("few", "ACTIVE_STATEMENTS=3"),
    ("costly", "MAX_COST=2000, COST_OVERCOMMIT=TRUE"),
    (
        "both",
        "ACTIVE_STATEMENTS=4, MAX_COST=4000, COST_OVERCOMMIT=TRUE, MIN_COST=3",
    ),
    (
        "memory",
        "ACTIVE_STATEMENTS=5, MEMORY_LIMIT='500MB', PRIORITY=LOW",
    ),
];

/// What an administrator changes meanwhile.
const CHANGES: [&str; 6] = [
    "few WITH (ACTIVE_STATEMENTS=1)",
    "few WITH (ACTIVE_STATEMENTS=5)",
    "costly WITH (MAX_COST=500)",
    "costly WITH (MAX_COST=5000)",
    "both WITHOUT (MIN_COST)",
    "both WITH (MIN_COST=3)",
];

const MODES: [&str; 8] = [
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
];

/// How long the last transactions may take after the end. Far more than they need: who needs more
/// is stuck.
const DRAIN: Duration = Duration::from_secs(300);

/// What has happened, in all sessions together.
#[derive(Debug, Default)]
struct Tally {
    statements: AtomicUsize,
    transactions: AtomicUsize,
    cancels: AtomicUsize,
    cancelled: AtomicUsize,
    deadlocks: AtomicUsize,
    not_available: AtomicUsize,
    disconnects: AtomicUsize,
}

impl Tally {
    fn count(counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Only a cancel, a lock that was not waited for, and a cycle of relation locks may fail a
    /// statement.
    fn failed(&self, sql: &str, error: &Error) {
        let code = error.code().map_or("", |code| code.code());
        match code {
            "57014" => Self::count(&self.cancelled),
            "55P03" => Self::count(&self.not_available),
            "40P01" => {
                Self::count(&self.deadlocks);
                let cycle = error.as_db_error().and_then(|e| e.detail()).unwrap_or("");
                let of_locks = |line: &str| line.contains("waits for relation");
                assert!(!cycle.is_empty() && cycle.lines().all(of_locks), "{cycle}");
            }
            _ => panic!("{sql}: {}", common::explain(error)),
        }
    }
}

/// A connection that can be cut.
struct Connected {
    client: Client,
    connection: JoinHandle<()>,
}

impl Connected {
    async fn open(config: &Config) -> Self {
        let (client, connection) = config.connect(NoTls).await.expect("it connects");
        let connection = tokio::spawn(async move {
            // Its errors reach the client too.
            let _ = connection.await;
        });
        Self { client, connection }
    }
}

/// One session after the other, until the end.
struct Actor {
    config: Config,
    random: SmallRng,
    tally: Arc<Tally>,
    until: Instant,
}

/// The connection is gone.
struct Gone;

impl Actor {
    async fn act(mut self) {
        while Instant::now() < self.until {
            let session = Connected::open(&self.config).await;
            let prepare = "PREPARE p AS SELECT count(*) FROM nation, region";
            session.client.batch_execute(prepare).await.expect(prepare);
            for _ in 0..self.random.random_range(1..20) {
                if Instant::now() >= self.until || self.transaction(&session).await.is_err() {
                    break;
                }
            }
        }
    }

    async fn transaction(&mut self, session: &Connected) -> Result<(), Gone> {
        let role = self.role();
        // A late cancel may have hit it, or the end of the block before.
        if !self.step(session, &format!("{role}; BEGIN")).await? {
            self.step(session, "ROLLBACK").await?;
            return Ok(());
        }
        let mut cursors = 0;
        for _ in 0..self.random.random_range(1..7) {
            let sql = self.statement(&mut cursors);
            if !self.step(session, &sql).await? && !self.step(session, "ROLLBACK TO s").await? {
                break;
            }
        }
        let end = ["COMMIT", "COMMIT", "ROLLBACK"].choose(&mut self.random);
        let end = *end.expect("there are some");
        if !self.step(session, &format!("{end}; CLOSE ALL")).await? {
            self.step(session, "ROLLBACK").await?;
        }
        Tally::count(&self.tally.transactions);
        Ok(())
    }

    fn role(&mut self) -> String {
        let (role, _) = QUEUES.choose(&mut self.random).expect("there are some");
        format!("SET ROLE {role}")
    }

    fn statement(&mut self, cursors: &mut usize) -> String {
        let random = &mut self.random;
        let table = TABLES.choose(random).expect("there are some");
        let other = TABLES.choose(random).expect("there are some");
        match random.random_range(0..14) {
            0..4 => format!("SELECT count(*) FROM {table}"),
            4 => format!("SELECT (SELECT count(*) FROM {table}), count(*) FROM {other}"),
            5 => "EXECUTE p".to_owned(),
            6 | 7 => {
                let mode = MODES.choose(random).expect("there are some");
                let nowait = if random.random_bool(0.2) {
                    "NOWAIT"
                } else {
                    ""
                };
                format!("LOCK TABLE {table} IN {mode} MODE {nowait}")
            }
            8 | 9 => {
                *cursors += 1;
                let hold = if random.random_bool(0.3) {
                    "WITH HOLD"
                } else {
                    ""
                };
                format!("DECLARE c{cursors} CURSOR {hold} FOR SELECT * FROM {table}")
            }
            // These may name a cursor that is not there: a failure like any other.
            10 if *cursors > 0 => format!("SAVEPOINT s; FETCH 3 FROM c{cursors}"),
            11 if *cursors > 0 => format!("SAVEPOINT s; CLOSE c{cursors}"),
            12 => self.role(),
            _ => "SAVEPOINT s".to_owned(),
        }
    }

    /// Runs a statement; says whether it succeeded. Now and then it is cancelled, or the
    /// connection is cut while it runs.
    async fn step(&mut self, session: &Connected, sql: &str) -> Result<bool, Gone> {
        Tally::count(&self.tally.statements);
        let statement = session.client.batch_execute(sql);
        tokio::pin!(statement);
        let patience = Duration::from_micros(self.random.random_range(0..50_000));
        let result = match self.random.random_range(0..100) {
            0..5 => {
                tokio::select! {
                    result = &mut statement => result,
                    () = tokio::time::sleep(patience) => {
                        Tally::count(&self.tally.cancels);
                        let cancel = session.client.cancel_token().cancel_query(NoTls).await;
                        cancel.expect("the server takes cancel requests");
                        statement.await
                    }
                }
            }
            5 => {
                tokio::select! {
                    result = &mut statement => result,
                    () = tokio::time::sleep(patience) => {
                        Tally::count(&self.tally.disconnects);
                        session.connection.abort();
                        return Err(Gone);
                    }
                }
            }
            _ => statement.await,
        };
        match result {
            Ok(()) => Ok(true),
            // The block has failed before, or its savepoint or cursor is gone.
            Err(error) if matches!(state(&error), "25P02" | "3B001" | "34000") => Ok(false),
            Err(error) => {
                self.tally.failed(sql, &error);
                Ok(false)
            }
        }
    }
}

fn state(error: &Error) -> &str {
    error.code().map_or("", |code| code.code())
}

/// Changes limits and looks at the waits.
async fn administer(admin: Arc<Client>, mut random: SmallRng, until: Instant) {
    while Instant::now() < until {
        let change = CHANGES.choose(&mut random).expect("there are some");
        let change = format!("ALTER RESOURCE QUEUE {change}");
        admin.batch_execute(&change).await.expect(&change);
        for view in ["forebay.waiters", "pg_locks", "gp_toolkit.gp_resq_activity"] {
            rows(&admin, &format!("SELECT * FROM {view}")).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn setting(name: &str, default: u64) -> u64 {
    let value = env::var(name).ok();
    value.map_or(default, |v| v.parse().expect("a whole number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_sessions_leave_nothing() {
    let seed = setting("FOREBAY_SOAK_SEED", rand::random());
    println!("FOREBAY_SOAK_SEED={seed}");
    let server = Server::with_tpch(&[]);
    let admin = Arc::new(server.client().await);
    for (name, attributes) in QUEUES {
        let create = format!(
            "CREATE RESOURCE QUEUE {name} WITH ({attributes}); \
             CREATE ROLE {name} RESOURCE QUEUE {name}"
        );
        for sql in create.split("; ") {
            admin.batch_execute(sql).await.expect(sql);
        }
    }
    let until = Instant::now() + Duration::from_secs(setting("FOREBAY_SOAK_SECONDS", 120));
    let tally = Arc::new(Tally::default());
    let mut actors = JoinSet::new();
    for number in 0..SESSIONS {
        let actor = Actor {
            config: server.client_config(),
            random: SmallRng::seed_from_u64(seed.wrapping_add(number)),
            tally: Arc::clone(&tally),
            until,
        };
        actors.spawn(actor.act());
    }
    let random = SmallRng::seed_from_u64(seed.wrapping_sub(1));
    actors.spawn(administer(Arc::clone(&admin), random, until));
    let all = async {
        while let Some(done) = actors.join_next().await {
            done.expect("an actor")
        }
    };
    let drained = tokio::time::timeout_at((until + DRAIN).into(), all).await;
    if drained.is_err() {
        for view in ["forebay.waiters", "pg_locks"] {
            println!(
                "{view}: {:#?}",
                rows(&admin, &format!("TABLE {view}")).await
            );
        }
        panic!("somebody is stuck: {tally:?}");
    }
    println!("{tally:?}");
    nothing_is_left(&admin).await;
    let cancelled = tally.cancelled.load(Ordering::Relaxed);
    assert!(
        cancelled <= tally.cancels.load(Ordering::Relaxed),
        "{tally:?}"
    );
    server.stop();
}

async fn nothing_is_left(admin: &Client) {
    eventually("only the administrator is left", async || {
        value(admin, "SELECT count(*) FROM pg_stat_activity").await == "1"
    })
    .await;
    let held = "SELECT rsqname, rsqcountvalue, rsqcostvalue, rsqmemoryvalue, rsqwaiters, rsqholders \
                FROM gp_toolkit.gp_resqueue_status ORDER BY rsqname";
    for row in rows(admin, held).await {
        let zero = |value: &String| value.parse() == Ok(0.0) || value == "NULL";
        assert!(row[1..].iter().all(zero), "{row:?}");
    }
    assert_eq!(
        value(admin, "SELECT count(*) FROM forebay.waiters").await,
        "0"
    );
    let others = "SELECT count(*) FROM pg_locks WHERE pid <> pg_backend_pid()";
    assert_eq!(value(admin, others).await, "0");
    let totals = "SELECT * FROM pg_stat_resqueues";
    println!("{:#?}", rows(admin, totals).await);
}
