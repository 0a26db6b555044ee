//! Scripts of sessions that stand in each other's way: step, wait, expect.

mod common;
#[path = "admission/costs.rs"]
mod costs;
#[path = "admission/lessons.rs"]
mod lessons;
#[path = "admission/locks.rs"]
mod locks;
#[path = "admission/queues.rs"]
mod queues;

use std::sync::Arc;

use common::{Server, eventually, value};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error};

async fn run(client: &Client, sql: &str) {
    if let Err(error) = client.batch_execute(sql).await {
        panic!("{sql}: {}", common::explain(&error));
    }
}

/// A session, and an administrator who looks at it.
struct Actor {
    client: Arc<Client>,
    admin: Arc<Client>,
    pid: String,
}

/// A statement that another task runs.
type Step = JoinHandle<Result<(), Error>>;

impl Actor {
    async fn superuser(server: &Server, admin: &Arc<Client>) -> Self {
        Self::of(server.client().await, admin).await
    }

    async fn of(client: Client, admin: &Arc<Client>) -> Self {
        Self {
            pid: value(&client, "SELECT pg_backend_pid()").await,
            client: Arc::new(client),
            admin: Arc::clone(admin),
        }
    }

    async fn run(&self, sql: &str) {
        run(&self.client, sql).await;
    }

    /// Begins a statement without waiting for its end.
    fn begin(&self, sql: &str) -> Step {
        let (client, sql) = (Arc::clone(&self.client), sql.to_owned());
        tokio::spawn(async move { client.batch_execute(&sql).await })
    }

    /// Begins a statement that has to wait, and returns when it does.
    async fn waits(&self, event_type: &str, sql: &str) -> Step {
        let step = self.begin(sql);
        eventually(sql, async || self.wait().await.starts_with(event_type)).await;
        step
    }

    async fn wait(&self) -> String {
        wait_of(&self.admin, &self.pid).await
    }

    async fn signal(&self, function: &str) {
        run(&self.admin, &format!("SELECT {function}({})", self.pid)).await;
    }
}

/// What `pg_stat_activity` says that a session waits for.
async fn wait_of(admin: &Client, pid: &str) -> String {
    let sql = format!(
        "SELECT coalesce(wait_event_type || ' ' || wait_event, '') FROM pg_stat_activity \
         WHERE pid = {pid}"
    );
    value(admin, &sql).await
}

/// How many statements a queue has admitted, and how many waits began in it.
async fn admitted_and_waited(admin: &Client, queue: &str) -> String {
    let sql = format!(
        "SELECT admitted || ' ' || waited FROM pg_stat_resqueues WHERE queuename = '{queue}'"
    );
    value(admin, &sql).await
}

async fn goes_on(step: Step) {
    let done = step.await.expect("the step is not aborted");
    if let Err(error) = done {
        panic!("{}", common::explain(&error));
    }
}

async fn fails(step: Step) -> Error {
    let done = step.await.expect("the step is not aborted");
    done.expect_err("the statement fails")
}

async fn fails_with(step: Step, code: &str) {
    let error = fails(step).await;
    let found = error.code().map(|c| c.code().to_owned());
    assert_eq!(found.as_deref(), Some(code), "{}", common::explain(&error));
}

async fn stage() -> (Server, Arc<Client>) {
    let server = Server::with_tpch(&[]);
    let admin = Arc::new(server.client().await);
    (server, admin)
}

/// A server with a queue of one slot and another one, and three roles: `a` and `b` in the first,
/// `c` in the second, and `a` may become `c`.
async fn queues(first: &str) -> (Server, Arc<Client>) {
    let (server, admin) = stage().await;
    let create = format!("CREATE RESOURCE QUEUE narrow WITH ({first})");
    run(&admin, &create).await;
    run(
        &admin,
        "CREATE RESOURCE QUEUE other WITH (ACTIVE_STATEMENTS=1)",
    )
    .await;
    for (role, queue) in [("a", "narrow"), ("b", "narrow"), ("c", "other")] {
        let create = format!("CREATE ROLE {role} LOGIN RESOURCE QUEUE {queue}");
        run(&admin, &create).await;
    }
    (server, admin)
}

async fn actor(server: &Server, admin: &Arc<Client>, role: &str) -> Actor {
    let mut config = server.client_config();
    config.user(role);
    let client = common::connect(&config).await.expect("the role logs in");
    Actor::of(client, admin).await
}

const CURSOR: &str = "BEGIN; DECLARE one CURSOR FOR SELECT * FROM region";

/// Some 390,000 rows, at a cost of some 900.
const COSTLY: &str = "SELECT a.n_nationkey AS x FROM nation a, nation b, nation c, nation d";
