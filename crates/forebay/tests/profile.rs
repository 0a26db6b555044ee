//! `forebay profile`: profiles out of a log, as an operator reads them.

mod common;
#[path = "web/http.rs"]
mod http;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Server, rows};
use tempfile::TempDir;

const STATEMENTS: [&str; 3] = [
    "SELECT count(*) FROM nation WHERE n_regionkey = 1",
    "SELECT 1 / 0",
    "SELECT 'the last one'",
];

/// Runs the program; gives what it prints, or what it complains about.
fn profile(arguments: &[&str]) -> Result<String, String> {
    let ran = Command::new(env!("CARGO_BIN_EXE_forebay"))
        .arg("profile")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    match ran.status.success() {
        true => Ok(text(ran.stdout)),
        false => Err(text(ran.stderr)),
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A data directory in which these statements have run, with the ids of their queries.
async fn data_directory(folder: &TempDir) -> (PathBuf, Vec<String>) {
    let tpch = common::tpch();
    // One thread archives them in the order in which they ended.
    let arguments = [path(&tpch), "--unregistration-thread-pool-size", "1"];
    let server = Server::start_in(folder.path(), &arguments).unwrap_or_else(|e| panic!("{e}"));
    let client = server.client().await;
    for sql in STATEMENTS {
        let _ = client.simple_query(sql).await;
    }
    drop(client);
    server.stop();
    let data = folder.path().join("data");
    let log = fs::read_to_string(data.join("profiles/profile.log")).expect("a profile log");
    let ids = log
        .lines()
        .map(|line| line.split(' ').nth(1).expect("an id").to_owned());
    let ids = ids.collect();
    (data, ids)
}

#[tokio::test]
async fn profiles_are_printed_by_file_and_by_id() {
    let folder = TempDir::new().expect("a folder");
    let (data, ids) = data_directory(&folder).await;
    let log = data.join("profiles/profile.log");

    let all = profile(&[path(&log)]).expect("profiles");
    let places: Vec<_> = STATEMENTS
        .iter()
        .map(|sql| all.find(&format!("Sql Statement: {sql}\n")).expect(sql))
        .collect();
    assert!(places.is_sorted(), "oldest first");
    for part in [
        "Query Timeline:",
        "- Planning finished: ",
        "ExecSummary:",
        "ComputeTime: (Avg: ",
        "Est. Peak Mem",
        "Query Status: division by zero",
    ] {
        assert!(all.contains(part), "no {part} in {all}");
    }

    let json = profile(&[path(&log), "--format", "json"]).expect("profiles");
    assert_eq!(json.lines().count(), STATEMENTS.len());
    for (line, id) in json.lines().zip(&ids) {
        let read: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(read["contents"]["profile_name"], format!("Query (id={id})"));
    }

    let one = profile(&[&ids[1], "--data-dir", path(&data)]).expect("a profile");
    assert!(one.starts_with(&format!("Query (id={}):", ids[1])), "{one}");
    assert_eq!(profile(&[path(&log), "--query-id", &ids[1]]), Ok(one));

    // The log as it is after a rotation, and its older file elsewhere under another name.
    let text = fs::read_to_string(&log).expect("a profile log");
    let (older, newer) = text.split_at(text.find('\n').expect("a line") + 1);
    fs::write(data.join("profiles/profile.log.00000001"), older).expect("a file");
    fs::write(&log, newer).expect("a file");
    assert_eq!(profile(&[path(&log)]).as_deref(), Ok(all.as_str()));
    assert!(profile(&[&ids[0], "--data-dir", path(&data)]).is_ok());
    let copy = folder.path().join("from a customer");
    fs::copy(data.join("profiles/profile.log.00000001"), &copy).expect("a copy");
    let copied = profile(&[path(&copy)]).expect("a profile");
    assert!(all.starts_with(&copied), "{copied}");
}

#[tokio::test]
async fn what_cannot_be_printed_is_told() {
    let folder = TempDir::new().expect("a folder");
    let (data, ids) = data_directory(&folder).await;
    let log = data.join("profiles/profile.log");
    let unknown = "0123456789abcdef:0123456789abcdef";
    let garbage = folder.path().join("garbage");
    fs::write(
        &garbage,
        "no profile\n5 0000000000000007:0000000000000001 YQ==\n",
    )
    .expect("a file");
    for (arguments, expected) in [
        (vec!["nosuch.log"], "there is no profile log nosuch.log"),
        (vec!["12:34"], "\"12:34\" is neither a file nor a query id"),
        (
            vec![path(&data)],
            "is a folder; a server writes its profile log into",
        ),
        (
            vec![unknown, "--data-dir", path(&data)],
            "query 0123456789abcdef:0123456789abcdef is not in",
        ),
        (
            vec![unknown, "--data-dir", "/nosuch"],
            "there is no profile log /nosuch/profiles/profile.log",
        ),
        (
            vec![path(&log), "--query-id", unknown],
            "it has not ended yet, or its file was removed",
        ),
        (
            vec![unknown, "--query-id", &ids[0]],
            "--query-id names another query",
        ),
        (
            vec![path(&log), "--query-id", "x"],
            "a query id is two halves",
        ),
        (
            vec![path(&garbage)],
            "is not a profile log: none of its 2 lines is a profile",
        ),
        (
            vec![path(&log), "--format", "xml"],
            "possible values: text, json",
        ),
    ] {
        let complaint = profile(&arguments).expect_err("an error");
        assert!(complaint.contains(expected), "{arguments:?}: {complaint}");
    }
    // One bad line does not hide the others.
    let mut text = fs::read_to_string(&log).expect("a profile log");
    text.insert_str(0, "no profile\n");
    fs::write(&log, text).expect("a file");
    let printed = profile(&[path(&log), "--format", "json"]).expect("profiles");
    assert_eq!(printed.lines().count(), STATEMENTS.len());
}

#[tokio::test]
async fn an_archived_profile_is_what_the_pages_showed() {
    let server = Server::start(&[]);
    let client = server.client().await;
    drop(rows(&client, "SELECT 'compared'").await);
    drop(client);
    let folder = server.folder().join("data");
    let log = folder.join("profiles/profile.log");
    common::eventually("it is archived", async || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains('\n'))
    })
    .await;
    // A server that runs does not keep others from reading.
    let printed = profile(&[path(&log)]).expect("a profile");
    assert!(
        printed.contains("Sql Statement: SELECT 'compared'"),
        "{printed}"
    );
    let line = fs::read_to_string(&log).expect("a profile log");
    let [_, id, payload] = line.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("not one line: {line}");
    };
    let page = |form: &str| format!("/query_profile_{form}?query_id={id}");
    assert_eq!(http::get(&server, &page("encoded")).await.body, payload);
    assert_eq!(http::get(&server, &page("plain_text")).await.body, printed);
    server.stop();
}

/// The profile of the query with this statement, wherever it is.
async fn profile_of(server: &Server, statement: &str) -> String {
    let path = format!("/queries?text={}", statement.replace(' ', "%20"));
    let lists = http::json(server, &path).await;
    let entries = ["in_flight_queries", "completed_queries"].map(|list| lists[list][0].clone());
    let entry = entries.into_iter().find(|entry| !entry.is_null());
    let Some(id) = entry.as_ref().and_then(|entry| entry["query_id"].as_str()) else {
        return String::new();
    };
    let path = format!("/query_profile_plain_text?query_id={id}");
    http::get(server, &path).await.body
}

/// A line of a profile without what stands in front of it.
fn line<'a>(profile: &'a str, name: &str) -> &'a str {
    let mut lines = profile.lines().map(str::trim_start);
    let found = lines.find_map(|line| line.strip_prefix(&format!("{name}: ")));
    found.unwrap_or_default()
}

#[tokio::test]
async fn a_profile_tells_how_admission_went() {
    const RESULT: &str = "Admission result";
    let server = Server::start(&[]);
    let admin = server.client().await;
    let run = async |sql: &str| admin.batch_execute(sql).await.expect(sql);
    run("CREATE RESOURCE QUEUE narrow WITH (ACTIVE_STATEMENTS=1)").await;
    run("CREATE ROLE ada LOGIN RESOURCE QUEUE narrow").await;
    let mut config = server.client_config();
    config.user("ada");
    let client = async || common::connect(&config).await.expect("a session");
    let shows = async |statement: &str, result: &str| {
        common::eventually(result, async || {
            line(&profile_of(&server, statement).await, RESULT) == result
        })
        .await;
        profile_of(&server, statement).await
    };

    let holder = client().await;
    let hold = "BEGIN; SET exec_time_limit = '1h'; DECLARE c CURSOR FOR SELECT 'held'";
    holder.batch_execute(hold).await.expect("a cursor");
    let held = shows("CURSOR FOR SELECT 'held'", "Admitted immediately").await;
    assert_eq!(line(&held, "Request Pool"), "narrow");
    let options = line(&held, "Query Options (set by configuration)");
    assert!(options.contains("exec_time_limit=1h"), "{options}");

    let begin = |waiter: tokio_postgres::Client, sql: &'static str| {
        let cancel = waiter.cancel_token();
        (
            cancel,
            tokio::spawn(async move { waiter.simple_query(sql).await.is_ok() }),
        )
    };
    let (_, admitted) = begin(client().await, "SELECT 'admitted'");
    let waiting = shows("SELECT 'admitted'", "Queued").await;
    let reason = line(&waiting, "Initial admission queue reason");
    assert!(
        reason.starts_with("place 1; all 1 slots are taken"),
        "{reason}"
    );
    assert_eq!(line(&waiting, "Waits For"), reason);
    assert_eq!(line(&waiting, "Impala Query State"), "PENDING");
    assert!(waiting.contains("- Queued: "), "{waiting}");
    assert!(!waiting.contains("- Completed admission: "), "{waiting}");

    let (cancel, cancelled) = begin(client().await, "SELECT 'cancelled'");
    shows("SELECT 'cancelled'", "Queued").await;
    cancel
        .cancel_query(tokio_postgres::NoTls)
        .await
        .expect("a cancel");
    assert!(!cancelled.await.expect("no panic"));
    shows("SELECT 'cancelled'", "Cancelled (queued)").await;

    run("ALTER RESOURCE QUEUE narrow WITH (QUEUE_TIMEOUT='10ms')").await;
    common::failure(&client().await, "SELECT 'late'").await;
    shows("SELECT 'late'", "Timed out (queued)").await;
    run("ALTER RESOURCE QUEUE narrow WITH (MAX_QUEUED=1)").await;
    common::failure(&client().await, "SELECT 'refused'").await;
    let refused = shows("SELECT 'refused'", "Rejected").await;
    assert_eq!(line(&refused, "Query State"), "EXCEPTION");
    assert_eq!(line(&refused, "Errors"), line(&refused, "Query Status"));

    holder.batch_execute("COMMIT").await.expect("its end");
    assert!(admitted.await.expect("no panic"));
    let ended = shows("SELECT 'admitted'", "Admitted (queued)").await;
    assert_eq!(line(&ended, "Latest admission queue reason"), reason);
    let summary = ended.split("ImpalaServer:").next().unwrap_or_default();
    let events: Vec<&str> = summary
        .lines()
        .filter_map(|line| line.strip_prefix("       - "))
        .filter_map(|event| event.split(':').next())
        .collect();
    assert_eq!(
        events,
        [
            "Planning finished",
            "Query submitted",
            "Submit for admission",
            "Queued",
            "Completed admission",
            "Planning finished",
            "Execution started",
            "Rows available",
            "Last row fetched",
            "Released admission control resources",
            "Unregister query",
        ]
    );
    server.stop();
}

/// The names under which a profile has the columns of each clause.
const CLAUSES: [&str; 5] = [
    "Select Columns",
    "Where Columns",
    "Join Columns",
    "Aggregate Columns",
    "OrderBy Columns",
];

#[tokio::test]
async fn a_profile_tells_the_columns_of_each_clause() {
    let server = Server::with_tpch(&[]);
    let client = server.client().await;
    let run = async |sql: &str| client.batch_execute(sql).await.expect(sql);
    run("CREATE SCHEMA other").await;
    run("CREATE VIEW names AS SELECT n_name AS name, n_regionkey + n_nationkey AS keys FROM nation WHERE n_comment <> 'x'").await;
    run("SET search_path = other").await;
    run("CREATE VIEW nation AS SELECT name AS n_name, keys AS n_nationkey FROM public.names").await;
    run("CREATE VIEW own AS SELECT n_nationkey AS k FROM nation").await;
    run("SET search_path = public").await;

    const NATION: &str = "public.nation.";
    for (number, (sql, expected)) in [
        ("SELECT 1", ["", "", "", "", ""]),
        ("SELECT * FROM region", ["r_comment,r_name,r_regionkey", "", "", "", ""]),
        ("SELECT count(*) FROM nation", ["", "", "", "", ""]),
        // A column that only orders is none of the result, one that is computed stands for its parts.
        (
            "SELECT upper(n_name) || n_comment FROM nation n WHERE n.n_nationkey > 1 ORDER BY n_regionkey",
            ["n_comment,n_name", "n_nationkey", "", "", "n_regionkey"],
        ),
        (
            "SELECT a.n_name FROM nation a JOIN region b ON a.n_regionkey = b.r_regionkey AND r_comment <> n_comment",
            ["n_name", "", "n_comment,n_regionkey,r_comment,r_regionkey", "", ""],
        ),
        (
            "SELECT n_name FROM nation, region WHERE n_regionkey = r_regionkey",
            ["n_name", "n_regionkey,r_regionkey", "", "", ""],
        ),
        (
            "SELECT n_name FROM nation \
             JOIN (SELECT r_regionkey AS n_regionkey FROM region) r USING (n_regionkey)",
            ["n_name", "", "n_regionkey,r_regionkey", "", ""],
        ),
        (
            "SELECT n_regionkey, sum(n_nationkey) AS s FROM nation GROUP BY n_regionkey \
             HAVING max(n_name) > 'A' ORDER BY s",
            ["n_nationkey,n_regionkey", "", "", "n_name,n_regionkey", "n_nationkey"],
        ),
        (
            "SELECT n_regionkey, count(n_name) FROM nation GROUP BY ROLLUP (n_regionkey, n_comment)",
            ["n_comment,n_name,n_regionkey", "", "", "n_comment,n_regionkey", ""],
        ),
        // Through derived tables, common table expressions and what a window has.
        (
            "WITH w AS (SELECT n_name AS a, n_comment AS b FROM nation WHERE n_nationkey < 9) \
             SELECT d.x FROM (SELECT a || 'x' AS x, b FROM w) d WHERE d.b > 'a' ORDER BY d.x",
            ["n_name", "n_comment,n_nationkey", "", "", "n_name"],
        ),
        (
            "SELECT rank() OVER (PARTITION BY n_regionkey ORDER BY n_name) FROM nation",
            ["n_name,n_regionkey", "", "", "", ""],
        ),
        // Sub-queries, with what they read of the row around them.
        (
            "SELECT n_name FROM nation n WHERE EXISTS \
             (SELECT 1 FROM region WHERE r_regionkey = n.n_regionkey)",
            ["n_name", "n_regionkey,r_regionkey", "", "", ""],
        ),
        (
            "SELECT n_name FROM nation WHERE n_regionkey IN (SELECT r_regionkey FROM region WHERE r_name > 'A')",
            ["n_name,r_regionkey", "n_regionkey,r_name", "", "", ""],
        ),
        (
            "SELECT (SELECT max(r_name) FROM region WHERE r_regionkey = n_regionkey) FROM nation",
            ["r_name", "n_regionkey,r_regionkey", "", "", ""],
        ),
        // Set operations compare rows, and join nothing.
        (
            "SELECT n_name FROM nation INTERSECT SELECT r_name FROM region",
            ["n_name,r_name", "", "", "", ""],
        ),
        (
            "SELECT n_name FROM nation UNION ALL SELECT r_name FROM region ORDER BY 1",
            ["n_name,r_name", "", "", "", "n_name,r_name"],
        ),
        // A view is what it reads, as its own search path finds it.
        (
            "SELECT v.name FROM names v WHERE keys > 1",
            ["n_name", "n_comment,n_nationkey,n_regionkey", "", "", ""],
        ),
        (
            "SELECT k FROM other.own",
            ["n_nationkey,n_regionkey", "n_comment", "", "", ""],
        ),
        (
            "SELECT g, relname FROM generate_series(1, 2) AS t(g), pg_class WHERE relname = 'x' AND g = 1",
            ["pg_catalog.pg_class.relname", "pg_catalog.pg_class.relname", "", "", ""],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let marked = format!("/*c{number}*/ {sql}");
        drop(rows(&client, &marked).await);
        let profile = profile_of(&server, &format!("/*c{number}*/")).await;
        let found = CLAUSES.map(|clause| line(&profile, clause));
        let full = |column: &str| match column.split_at(2) {
            _ if column.contains('.') => column.to_owned(),
            ("n_", _) => format!("{NATION}{column}"),
            _ => format!("public.region.{column}"),
        };
        let expected = expected.map(|columns| {
            let named = columns.split(',').filter(|column| !column.is_empty()).map(full);
            named.collect::<Vec<_>>().join(",")
        });
        assert_eq!(found, expected, "{sql}");
    }
    server.stop();
}

#[tokio::test]
async fn a_profile_tells_who_served_it() {
    let server = Server::start(&[]);
    let client = server.client().await;
    drop(rows(&client, "SELECT 'served'").await);
    let profile = profile_of(&server, "SELECT 'served'").await;
    let config = server.client_config();
    let port = config.get_ports()[0];
    assert_eq!(line(&profile, "Coordinator"), format!("127.0.0.1:{port}"));
    let version = line(&profile, "Impala Version");
    let own = format!("(build Forebay {})", env!("CARGO_PKG_VERSION"));
    assert!(
        version.starts_with("impalad version ") && version.ends_with(&own),
        "{version}"
    );
    // That is for those who speak it, and this for those who write.
    assert!(!profile.contains("HiveServer2"), "{profile}");
    assert!(!profile.contains("NumModifiedRows"), "{profile}");
    server.stop();
}
