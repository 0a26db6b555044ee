//! What a grant of memory means while a statement runs.

#[path = "common/mod.rs"]
mod common;

use std::path::Path;

use common::{Server, eventually, failure, rows, value};
use tempfile::TempDir;
use tokio_postgres::Client;

/// A million rows on either side that no merge join can join, so that a table is made of one.
const JOIN: &str = "SELECT count(*) FROM generate_series(1, 1000000) AS a(n) \
    JOIN generate_series(1, 1000000) AS b(n) ON a.n::double precision = b.n::double precision";

/// 15 MB of rows.
const SORT: &str = "SELECT * FROM lineitem ORDER BY l_comment, l_orderkey, l_linenumber";

/// What statements use: bytes set aside, bytes in use, files, bytes in files.
const IN_USE: &str = "SELECT granted_bytes || ' ' || granted_used_bytes + other_used_bytes || ' ' \
    || temp_files || ' ' || temp_bytes FROM forebay.memory";

/// A server with two queues: `small` gives each of its two statements 10 MB, `large` its only
/// one 100 MB. `ann` belongs to the first, `ben` to the second, `cid` to the default queue.
struct Stage {
    server: Server,
    admin: Client,
    folder: TempDir,
}

impl Stage {
    async fn new(arguments: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let tpch = common::tpch();
        let tpch = tpch.to_str().expect("a path in UTF-8");
        let arguments = [&[tpch, "--target-partitions", "2"], arguments].concat();
        let server = Server::start_in(folder.path(), &arguments).expect("a server");
        let admin = server.client().await;
        for sql in [
            "CREATE RESOURCE QUEUE small WITH (ACTIVE_STATEMENTS=2, MEMORY_LIMIT='20MB')",
            "CREATE RESOURCE QUEUE large WITH (ACTIVE_STATEMENTS=1, MEMORY_LIMIT='100MB')",
            "CREATE ROLE ann LOGIN RESOURCE QUEUE small",
            "CREATE ROLE ben LOGIN RESOURCE QUEUE large",
            "CREATE ROLE cid LOGIN",
        ] {
            run(&admin, sql).await;
        }
        Self {
            server,
            admin,
            folder,
        }
    }

    async fn role(&self, name: &str) -> Client {
        let mut config = self.server.client_config();
        config.user(name);
        common::connect(&config).await.expect("a session")
    }

    /// Waits until no statement has anything, in memory or on disk.
    async fn all_given_back(&self) {
        eventually("everything is given back", async || {
            value(&self.admin, IN_USE).await == "0 0 0 0"
        })
        .await;
        assert_eq!(spilled_files(self.folder.path()), 0);
    }

    async fn granted(&self) -> String {
        value(&self.admin, "SELECT granted_bytes FROM forebay.memory").await
    }
}

fn spilled_files(folder: &Path) -> usize {
    let files = std::fs::read_dir(folder.join("data").join("temp"));
    files.expect("the folder for spilled data").count()
}

async fn run(client: &Client, sql: &str) {
    if let Err(error) = client.batch_execute(sql).await {
        panic!("{sql}: {}", common::explain(&error));
    }
}

#[tokio::test]
async fn a_statement_beyond_its_grant_fails_alone() {
    let stage = Stage::new(&[]).await;
    let (ann, ben) = (stage.role("ann").await, stage.role("ben").await);
    run(&ben, &format!("BEGIN; DECLARE c CURSOR FOR {SORT}")).await;
    assert_eq!(rows(&ben, "FETCH 1 FROM c").await.len(), 1);
    let error = ann.simple_query(JOIN).await.expect_err("it does not fit");
    let error = error.as_db_error().expect("an error of the server");
    assert_eq!(error.code().code(), "53200");
    let message = error.message();
    assert!(
        message.starts_with("out of memory: HashJoinInput"),
        "{message}"
    );
    assert!(
        message.contains("the statement may use 10.0 MB"),
        "{message}"
    );
    assert!(
        error.detail().is_some_and(|d| d.contains("HashJoinInput")),
        "{error:?}"
    );
    assert!(
        error.hint().is_some_and(|h| h.contains("statement_mem")),
        "{error:?}"
    );
    // The session goes on, and so does the neighbour.
    assert_eq!(value(&ann, "SELECT 1").await, "1");
    assert_eq!(rows(&ben, "FETCH ALL FROM c").await.len(), 60_174);
    run(&ben, "COMMIT").await;
    stage.all_given_back().await;
    // What the hint says helps.
    assert_eq!(value(&ben, JOIN).await, "1000000");
    stage.server.stop();
}

#[tokio::test]
async fn a_sort_spills_inside_its_grant_and_gives_the_right_rows() {
    let stage = Stage::new(&[]).await;
    let ann = stage.role("ann").await;
    let plan = rows(&ann, &format!("EXPLAIN ANALYZE {SORT}"))
        .await
        .concat();
    let spilled = |line: &String| line.contains("spill_count=") && !line.contains("spill_count=0");
    assert!(plan.iter().any(spilled), "{plan:#?}");
    let memory = plan.last().expect("a line");
    assert!(
        memory.starts_with("Memory: ") && memory.ends_with(" of 10.0 MB"),
        "{memory}"
    );
    assert_eq!(rows(&ann, SORT).await, rows(&stage.admin, SORT).await);
    // A join that would not fit is made in another way.
    let join = "SELECT a.*, b.* FROM lineitem AS a JOIN lineitem AS b \
        ON a.l_orderkey = b.l_orderkey AND a.l_linenumber = b.l_linenumber \
        WHERE a.l_shipmode <> 'RAIL' ORDER BY a.l_orderkey, a.l_linenumber";
    let plan = rows(&ann, &format!("EXPLAIN {join}")).await.concat();
    assert!(
        plan.iter().any(|l| l.contains("SortMergeJoin")),
        "{plan:#?}"
    );
    assert_eq!(rows(&ann, join).await, rows(&stage.admin, join).await);
    stage.all_given_back().await;
    stage.server.stop();
}

#[tokio::test]
async fn what_is_granted_is_what_the_session_asks_for_up_to_the_queues_limit() {
    let stage = Stage::new(&[]).await;
    let ann = stage.role("ann").await;
    let charged = "SELECT rsqmemoryvalue::bigint FROM gp_toolkit.gp_resqueue_status \
        WHERE rsqname = 'small'";
    for (setting, granted) in [("0", 10), ("5MB", 5), ("15MB", 15), ("500MB", 20)] {
        run(&ann, &format!("SET statement_mem = '{setting}'")).await;
        run(&ann, &format!("BEGIN; DECLARE c CURSOR FOR {SORT}")).await;
        assert_eq!(rows(&ann, "FETCH 1 FROM c").await.len(), 1);
        let bytes = (granted << 20).to_string();
        assert_eq!(value(&stage.admin, charged).await, bytes, "{setting}");
        assert_eq!(stage.granted().await, bytes, "{setting}");
        run(&ann, "COMMIT").await;
    }
    // Other ways to run a statement.
    let mut raw = common::raw::Raw::connect(&stage.server);
    raw.start_up_as("ann");
    raw.query(&format!("SET statement_mem = '6MB'; PREPARE p AS {JOIN}"));
    for sql in [
        "EXECUTE p".to_owned(),
        format!("COPY ({JOIN}) TO STDOUT"),
        format!("EXPLAIN ANALYZE {JOIN}"),
        format!("DECLARE c CURSOR FOR {JOIN}; FETCH c"),
    ] {
        let answer = raw.query(&sql);
        let error = answer.iter().find(|message| message.kind == 'E');
        let error = error.unwrap_or_else(|| panic!("{sql}: no error"));
        assert_eq!(error.field('C').as_deref(), Some("53200"), "{sql}");
        let message = error.field('M').unwrap_or_default();
        assert!(
            message.contains("the statement may use 6.0 MB"),
            "{sql}: {message}"
        );
        stage.all_given_back().await;
    }
    run(&ann, "SET statement_mem = '6MB'").await;
    let error = ann.query(JOIN, &[]).await.expect_err("it does not fit");
    assert_eq!(error.code().map(|c| c.code()), Some("53200"));
    // Without a queue nothing is granted.
    run(&stage.admin, "ALTER ROLE ann SET resource_scheduler = off").await;
    let ann = stage.role("ann").await;
    run(&ann, &format!("BEGIN; DECLARE c CURSOR FOR {SORT}")).await;
    assert_eq!(rows(&ann, "FETCH 1 FROM c").await.len(), 1);
    assert_eq!(stage.granted().await, "0");
    assert_eq!(value(&ann, JOIN).await, "1000000");
    run(&ann, "COMMIT").await;
    stage.all_given_back().await;
    stage.server.stop();
}

/// What only asks the catalog takes no slot and no charge, and has a limit all the same.
#[tokio::test]
async fn a_question_to_the_catalog_is_limited() {
    let stage = Stage::new(&[]).await;
    // A table of many wide rows, for a join that cannot be made by sorting.
    let pairs = "SELECT a.attnum * 10000 + b.attnum AS k, repeat(a.attname, 100) AS t \
        FROM pg_attribute AS a, pg_attribute AS b";
    let join = format!(
        "SELECT max(x.t || y.t) FROM ({pairs}) AS x JOIN ({pairs}) AS y \
         ON x.k::double precision = y.k::double precision"
    );
    let small = "EXPLAIN ANALYZE SELECT relname FROM pg_class ORDER BY relname";
    for role in ["ann", "cid"] {
        let client = stage.role(role).await;
        // Without a limit of memory it would run for hours.
        run(&client, "SET statement_timeout = '1min'").await;
        for (setting, limit) in [("0", "125.0 MB"), ("8MB", "8.0 MB")] {
            run(&client, &format!("SET statement_mem = '{setting}'")).await;
            let error = client.simple_query(&join).await.expect_err("too much");
            let error = error.as_db_error().expect("an error of the server");
            assert_eq!(error.code().code(), "53200", "{error:?}");
            let limited = format!("the statement may use {limit}");
            assert!(error.message().contains(&limited), "{error:?}");
            let plan = rows(&client, small).await.concat();
            let memory = plan.last().expect("a line");
            assert!(memory.ends_with(&format!(" of {limit}")), "{memory}");
            assert_eq!(stage.granted().await, "0", "nothing is set aside");
        }
    }
    let plan = rows(&stage.admin, small).await.concat();
    let memory = plan.last().expect("a line");
    assert!(
        !memory.contains(" of "),
        "a superuser has no limit: {memory}"
    );
    stage.all_given_back().await;
    stage.server.stop();
}

/// Whatever ends a statement, nothing of it stays, in memory or on disk.
#[tokio::test]
async fn nothing_is_left() {
    let stage = Stage::new(&[]).await;
    let endless = "SELECT a.*, more FROM (SELECT l_orderkey AS more FROM lineitem) AS b, \
        lineitem AS a ORDER BY more, l_comment";
    let spilling = "SELECT (temp_files > 2)::text FROM forebay.memory";
    for end in ["cancel", "terminate", "disconnect", "timeout"] {
        let mut raw = common::raw::Raw::connect(&stage.server);
        raw.start_up_as("ann");
        if end == "timeout" {
            raw.query("SET statement_timeout = '3s'");
        }
        raw.send(&common::raw::query(endless));
        eventually("it spills", async || {
            value(&stage.admin, spilling).await == "true"
        })
        .await;
        assert!(spilled_files(stage.folder.path()) > 2);
        let signal =
            format!("SELECT pg_{end}_backend(pid) FROM pg_stat_activity WHERE usename = 'ann'");
        match end {
            "cancel" | "terminate" => run(&stage.admin, &signal).await,
            "disconnect" => drop(raw),
            _ => {}
        }
        stage.all_given_back().await;
    }
    let ann = stage.role("ann").await;
    run(&stage.admin, "ALTER ROLE ann SET temp_file_limit = '1MB'").await;
    let limited = stage.role("ann").await;
    assert_eq!(failure(&limited, endless).await.code(), "53400");
    assert_eq!(
        failure(&limited, "SET temp_file_limit = -1").await.code(),
        "42501"
    );
    let error = failure(
        &ann,
        "SELECT 1 / (l_tax * 0) FROM lineitem ORDER BY l_comment",
    )
    .await;
    assert_eq!(error.code(), "22012");
    stage.all_given_back().await;
    stage.server.stop();
}

#[tokio::test]
async fn the_server_has_a_limit_too() {
    let stage = Stage::new(&["--memory-limit", "32MB"]).await;
    let cid = stage.role("cid").await;
    let error = cid.simple_query(JOIN).await.expect_err("it does not fit");
    let error = error.as_db_error().expect("an error of the server");
    assert_eq!(error.code().code(), "53200");
    assert!(
        error.message().contains("the server has 32.0 MB"),
        "{error:?}"
    );
    assert!(
        error.hint().is_some_and(|h| h.contains("--memory-limit")),
        "{error:?}"
    );
    // A queue that grants more than there is.
    let ben = stage.role("ben").await;
    run(&ben, &format!("BEGIN; DECLARE c CURSOR FOR {SORT}")).await;
    assert_eq!(rows(&ben, "FETCH 1 FROM c").await.len(), 1);
    // Nothing is left for the others but superusers.
    let by_size = "SELECT * FROM nation ORDER BY n_comment";
    assert_eq!(failure(&cid, by_size).await.code(), "53200");
    assert_eq!(rows(&stage.admin, by_size).await.len(), 25);
    assert_eq!(rows(&ben, "FETCH ALL FROM c").await.len(), 60_174);
    run(&ben, "COMMIT").await;
    assert_eq!(rows(&cid, by_size).await.len(), 25);
    stage.all_given_back().await;
    // The sum of the queues' limits was more than this from the start.
    let Stage { server, folder, .. } = stage;
    server.stop();
    let server = Server::start_in(folder.path(), &["--memory-limit", "32MB"]).expect("a server");
    let warning = "the MEMORY_LIMITs of all resource queues together (120 MB) are more than the \
        server has for statements (32 MB)";
    assert!(server.log().contains(warning), "{}", server.log());
    server.stop();
}

#[tokio::test]
async fn whoever_promises_too_much_is_warned() {
    let server = Server::start(&["--memory-limit", "64MB"]);
    let mut raw = common::raw::Raw::log_in(&server);
    for (sql, warned) in [
        (
            "CREATE RESOURCE QUEUE a WITH (ACTIVE_STATEMENTS=1, MEMORY_LIMIT='40MB')",
            false,
        ),
        (
            "CREATE RESOURCE QUEUE b WITH (ACTIVE_STATEMENTS=1, MEMORY_LIMIT='30MB')",
            true,
        ),
        ("ALTER RESOURCE QUEUE b WITH (ACTIVE_STATEMENTS=2)", false),
        ("ALTER RESOURCE QUEUE b WITH (MEMORY_LIMIT='20MB')", false),
        ("ALTER RESOURCE QUEUE b WITH (MEMORY_LIMIT='25MB')", true),
        ("ALTER RESOURCE QUEUE b WITHOUT (MEMORY_LIMIT)", false),
    ] {
        let answer = raw.query(sql);
        let warning = answer.iter().find(|message| message.kind == 'N');
        assert_eq!(warning.is_some(), warned, "{sql}");
        if let Some(warning) = warning {
            assert_eq!(warning.field('S').as_deref(), Some("WARNING"));
            assert!(
                warning.field('M').is_some_and(|m| m.contains("64 MB")),
                "{sql}"
            );
        }
    }
    server.stop();
}

/// What an earlier server left behind goes when the next one starts.
#[tokio::test]
async fn a_crash_leaves_no_files_for_long() {
    let mut stage = Stage::new(&[]).await;
    let ann = stage.role("ann").await;
    run(&ann, &format!("BEGIN; DECLARE c CURSOR FOR {SORT}")).await;
    assert_eq!(rows(&ann, "FETCH 1 FROM c").await.len(), 1);
    assert!(spilled_files(stage.folder.path()) > 0);
    stage.server.kill();
    assert!(spilled_files(stage.folder.path()) > 0);
    let server = Server::start_in(stage.folder.path(), &[]).expect("a server");
    assert_eq!(spilled_files(stage.folder.path()), 0);
    server.stop();
}
