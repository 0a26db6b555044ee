//! The web pages over HTTP, while queries run, wait and fail.

#[path = "common/mod.rs"]
mod common;
#[path = "web/http.rs"]
mod http;

use common::{Server, eventually, rows, value};
use http::{Answer, get, json, post, request, token};
use serde_json::Value;
use tokio_postgres::Client;

/// Every page, each of which has a JSON form too.
const PAGES: [&str; 10] = [
    "/",
    "/queries",
    "/admission",
    "/locks",
    "/sessions",
    "/audit",
    "/logs",
    "/varz",
    "/memz",
    "/metrics",
];

/// A statement that does not end by itself.
const ENDLESS: &str = "SELECT pg_sleep(3600)";

/// A page as a browser asks for it.
async fn page(server: &Server, path: &str) -> Answer {
    let answer = request(server, "GET", path, &[("Accept", "text/html")], "").await;
    assert_eq!(
        answer.header("content-type"),
        "text/html; charset=utf-8",
        "{path}"
    );
    answer
}

/// The queries in flight whose statement is `text`.
async fn in_flight(server: &Server, text: &str) -> Vec<Value> {
    let queries = json(server, "/queries").await;
    let list = queries["in_flight_queries"].as_array().expect("a list");
    list.iter().filter(|q| q["stmt"] == text).cloned().collect()
}

fn texts<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    let list = list.as_array().expect("a list");
    list.iter()
        .map(|entry| entry[key].as_str().expect("a text"))
        .collect()
}

/// Starts a statement that goes on in the background, and waits until the pages show it.
async fn start(
    server: &Server,
    client: Client,
    statement: &'static str,
) -> (
    tokio::task::JoinHandle<Result<(), tokio_postgres::Error>>,
    Value,
) {
    let running = tokio::spawn(async move { client.batch_execute(statement).await });
    let mut found = Vec::new();
    eventually("the statement is shown", async || {
        found = in_flight(server, statement).await;
        !found.is_empty()
    })
    .await;
    (running, found.remove(0))
}

#[tokio::test]
async fn every_page_has_html_and_json() {
    let server = Server::start(&[]);
    let client = server.client().await;
    value(&client, "SELECT 1").await;
    for path in PAGES {
        let answer = page(&server, path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert!(answer.body.starts_with("<!DOCTYPE html>"), "{path}");
        assert!(json(&server, path).await.is_object(), "{path}");
    }
    assert_eq!(get(&server, "/healthz").await.body, "OK\n");
    let missing = page(&server, "/nothing/%3Cb%3E").await;
    assert_eq!(missing.status, 404);
    assert!(!missing.body.contains("<b>"));
    server.stop();
}

#[tokio::test]
async fn nothing_from_elsewhere_and_nothing_in_frames() {
    let server = Server::start(&[]);
    for path in PAGES {
        let answer = page(&server, path).await;
        let policy = answer.header("content-security-policy").to_owned();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert_eq!(answer.header("cache-control"), "no-store");
        for foreign in ["http://", "https://", "style=\"", "onclick", "javascript:"] {
            assert!(!answer.body.contains(foreign), "{path} has {foreign}");
        }
        // Style and script are there, and a browser may keep them.
        for part in answer.body.split("\"/assets/").skip(1) {
            let name = part.split('"').next().expect("a name");
            let asset = get(&server, &format!("/assets/{name}")).await;
            assert_eq!(asset.status, 200, "{name}");
            assert!(asset.header("cache-control").contains("immutable"));
        }
    }
    assert_eq!(get(&server, "/assets/style.css").await.status, 404);
    server.stop();
}

#[tokio::test]
async fn a_query_is_shown_while_it_runs_and_after() {
    let server = Server::start(&[]);
    let (running, shown) = start(&server, server.client().await, ENDLESS).await;
    for (key, wanted) in [
        ("stmt_type", "SELECT"),
        ("default_db", "forebay"),
        ("state", "RUNNING"),
        ("end_time", ""),
        // It scans no files.
        ("progress", "0 / 0 (   0%)"),
    ] {
        eventually(key, async || {
            in_flight(&server, ENDLESS).await[0][key] == wanted
        })
        .await;
    }
    assert_eq!(shown["effective_user"], common::superuser());
    assert_eq!(shown["waiting"], false);
    assert_eq!(shown["executing"], true);
    let id = shown["query_id"].as_str().expect("an id").to_owned();

    let queries = json(&server, "/queries").await;
    assert_eq!(queries["num_in_flight_queries"], 1);
    assert_eq!(queries["num_executing_queries"], 1);
    assert_eq!(queries["num_waiting_queries"], 0);
    let one = json(&server, &format!("/query?query_id={id}")).await;
    assert_eq!(one["stmt"], ENDLESS);
    assert_eq!(one["timeline"][0]["event"], "Query submitted");
    for path in ["/", "/queries", "/sessions"] {
        assert!(page(&server, path).await.body.contains(ENDLESS), "{path}");
    }

    let token = token(&server).await;
    let form = format!("token={token}&query_id={id}");
    let cancelled = post(&server, "/cancel_query", &form).await;
    assert_eq!(cancelled.status, 303, "{}", cancelled.body);
    assert_eq!(
        cancelled.header("location"),
        format!("/query?query_id={id}")
    );
    let error = running
        .await
        .expect("no panic")
        .expect_err("it is cancelled");
    assert_eq!(
        common::explain(&error),
        "57014: canceling statement due to user request"
    );

    eventually("it is archived", async || {
        json(&server, "/queries").await["num_in_flight_queries"] == 0
    })
    .await;
    let queries = json(&server, "/queries").await;
    let ended = &queries["completed_queries"][0];
    assert_eq!(ended["query_id"], id.as_str());
    assert_eq!(ended["state"], "CANCELLED");
    assert_ne!(ended["end_time"], "");
    let again = post(&server, "/cancel_query?json", &form).await;
    assert_eq!(again.status, 404);
    let words = format!("Invalid or unknown query handle: {id}");
    assert!(again.body.contains(&words), "{}", again.body);
    server.stop();
}

#[tokio::test]
async fn a_cursor_waits_to_be_closed_and_can_be_cancelled() {
    let server = Server::start(&[]);
    let client = server.client().await;
    const DECLARE: &str = "DECLARE c CURSOR FOR SELECT * FROM generate_series(1, 1000000)";
    client.batch_execute("BEGIN").await.expect("a block");
    client.batch_execute(DECLARE).await.expect("a cursor");
    assert_eq!(rows(&client, "FETCH 3 FROM c").await.len(), 3);
    let shown = in_flight(&server, DECLARE).await;
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0]["waiting"], true);
    assert_eq!(shown[0]["executing"], false);
    // The FETCH that was just answered may still be on its way to the archive.
    eventually("only the cursor waits", async || {
        json(&server, "/queries").await["num_waiting_queries"] == 1
    })
    .await;
    let id = shown[0]["query_id"].as_str().expect("an id");
    let form = format!("token={}&query_id={id}", token(&server).await);
    assert_eq!(post(&server, "/cancel_query", &form).await.status, 303);
    eventually("the cursor has ended", async || {
        in_flight(&server, DECLARE).await.is_empty()
    })
    .await;
    let one = json(&server, &format!("/query?query_id={id}")).await;
    assert_eq!(one["state"], "CANCELLED");
    common::failure(&client, "FETCH 3 FROM c").await;
    client
        .batch_execute("ROLLBACK")
        .await
        .expect("the session lives");
    server.stop();
}

#[tokio::test]
async fn a_waiter_says_why_and_a_failure_says_what() {
    let server = Server::start(&[]);
    let admin = server.client().await;
    for statement in [
        "CREATE RESOURCE QUEUE \"narrow <one>\" WITH (ACTIVE_STATEMENTS=1)",
        "CREATE ROLE ann LOGIN RESOURCE QUEUE \"narrow <one>\"",
    ] {
        admin.batch_execute(statement).await.expect("a queue");
    }
    let ann = async || {
        let mut config = server.client_config();
        config.user("ann");
        common::connect(&config).await.expect("ann")
    };
    let (holder, _) = start(&server, ann().await, ENDLESS).await;
    const SECOND: &str = "SELECT 2, pg_sleep(0)";
    let (waiter, _) = start(&server, ann().await, SECOND).await;
    eventually("it waits", async || {
        in_flight(&server, SECOND).await[0]["state"] == "PENDING"
    })
    .await;
    let shown = in_flight(&server, SECOND).await.remove(0);
    assert_eq!(shown["resource_pool"], "narrow <one>");
    let reason = shown["pending_reason"].as_str().expect("a reason");
    assert!(
        reason.starts_with("place 1; all 1 slots are taken by process "),
        "{reason}"
    );

    let admission = json(&server, "/admission").await;
    let pools = admission["resource_pools"].as_array().expect("pools");
    let pool = pools
        .iter()
        .find(|p| p["pool_name"] == "narrow <one>")
        .expect("the queue");
    assert_eq!(pool["pool_max_requests"], 1);
    assert_eq!(pool["agg_num_running"], 1);
    assert_eq!(pool["agg_num_queued"], 1);
    assert_eq!(pool["running"].as_array().expect("holders").len(), 1);
    assert_eq!(pool["queued_queries"][0]["query_id"], shown["query_id"]);
    assert_eq!(pool["queued_queries"][0]["reason"], "slots");
    for path in [
        "/",
        "/admission",
        "/admission?queue=narrow%20%3Cone%3E",
        "/locks",
        "/queries",
    ] {
        let body = page(&server, path).await.body;
        assert!(body.contains("narrow &lt;one&gt;"), "{path}");
        assert!(!body.contains("narrow <one>"), "{path}");
    }
    let metrics = get(&server, "/metrics").await.body;
    for line in [
        "forebay_queue_slots{queue=\"narrow <one>\"} 1.0",
        "forebay_queue_slots_limit{queue=\"narrow <one>\"} 1.0",
        "forebay_queue_waiting{queue=\"narrow <one>\"} 1.0",
        "forebay_queue_waited_total{queue=\"narrow <one>\"} 1.0",
    ] {
        assert!(
            metrics.lines().any(|l| l == line),
            "{line} is not in\n{metrics}"
        );
    }

    let pid = pool["running"][0]["session_id"].to_string();
    let form = format!("token={}&session_id={pid}", token(&server).await);
    assert_eq!(post(&server, "/close_session", &form).await.status, 303);
    assert!(holder.await.expect("no panic").is_err());
    waiter.await.expect("no panic").expect("its turn has come");
    let metrics = get(&server, "/metrics").await.body;
    for line in [
        "forebay_queue_wait_duration_seconds_count{queue=\"narrow <one>\"} 1",
        "forebay_query_duration_seconds_count{queue=\"narrow <one>\"} 2",
    ] {
        assert!(
            metrics.lines().any(|l| l == line),
            "{line} is not in\n{metrics}"
        );
    }
    assert!(metrics.ends_with("# EOF\n"));

    common::failure(&admin, "SELECT * FROM nowhere").await;
    const FAILED: &str = "/queries?text=nowhere&state=EXCEPTION";
    eventually("it is archived", async || {
        json(&server, FAILED).await["completed_log_size"] == 1
    })
    .await;
    let failed = json(&server, FAILED).await;
    let failed = &failed["completed_queries"];
    assert_eq!(texts(failed, "sqlstate"), ["42P01"]);
    assert_eq!(
        texts(failed, "error"),
        ["relation \"nowhere\" does not exist"]
    );
    let all = json(&server, "/queries?sort=start").await;
    let newest = json(&server, "/queries?sort=start&limit=2").await;
    assert_eq!(newest["completed_log_size"], all["completed_log_size"]);
    let ids = texts(&newest["completed_queries"], "query_id");
    assert_eq!(ids, texts(&all["completed_queries"], "query_id")[..2]);
    server.stop();
}

#[tokio::test]
async fn locks_are_drawn_when_somebody_waits() {
    let server = Server::start(&[]);
    let admin = server.client().await;
    admin
        .batch_execute("CREATE VIEW v AS SELECT 1 AS x")
        .await
        .expect("a view");
    assert!(
        !page(&server, "/locks")
            .await
            .body
            .contains("class=\"waits\"")
    );
    let holder = server.client().await;
    holder
        .batch_execute("BEGIN; LOCK TABLE v")
        .await
        .expect("the lock");
    let (waiter, _) = start(&server, server.client().await, "SELECT x FROM v").await;
    eventually("it waits", async || {
        let locks = json(&server, "/locks").await;
        locks["waits"][0]["reason"] == "lock"
    })
    .await;
    let locks = json(&server, "/locks").await;
    assert_eq!(locks["waits"][0]["waits_for"], "v");
    assert_eq!(locks["waits"][0]["kind"], "relation");
    let modes = texts(&locks["locks"], "mode");
    assert!(
        modes.contains(&"AccessExclusiveLock") && modes.contains(&"AccessShareLock"),
        "{modes:?}"
    );
    let body = page(&server, "/locks").await.body;
    assert!(
        body.contains("class=\"waits\"") && body.contains("waits for v"),
        "{body}"
    );
    holder.batch_execute("ROLLBACK").await.expect("the end");
    waiter.await.expect("no panic").expect("the rows");
    server.stop();
}

/// Names and statements that mean harm are text on every page, and whole in JSON.
#[tokio::test]
async fn hostile_texts_are_text() {
    let server = Server::start(&["--audit-log", "on"]);
    let admin = server.client().await;
    let name = "</td><script>alert('role')</script>\"'& \u{202e}evil";
    let quoted = name.replace('"', "\"\"");
    admin
        .batch_execute(&format!("CREATE ROLE \"{quoted}\" LOGIN"))
        .await
        .expect("a role");
    let mut config = server.client_config();
    config
        .user(name)
        .application_name("<img src=x onerror=alert(1)>");
    let client = common::connect(&config).await.expect("a session");
    let long = "x".repeat(1 << 20);
    let statement = format!("SELECT '<script>alert(1)</script> \u{202e}\u{7} \"', '{long}'");
    client.simple_query(&statement).await.expect("an answer");
    common::failure(&client, "SELECT * FROM \"<script>alert(2)</script>\"").await;
    const FOUND: &str = "/queries?text=alert(1)";
    eventually("it is archived", async || {
        json(&server, FOUND).await["completed_log_size"] == 1
    })
    .await;
    let queries = json(&server, FOUND).await;
    let query = &queries["completed_queries"][0];
    assert_eq!(query["effective_user"], name);
    assert!(query["stmt"].as_str().expect("a text").len() < 300);
    let id = query["query_id"].as_str().expect("an id");
    for path in [
        "/",
        "/queries",
        "/sessions",
        "/audit",
        "/audit?text=<script>&role=\"><script>",
        "/queries?text=<script>&role=\"><script>",
        &format!("/query_plan?query_id={id}"),
        &format!("/query?query_id={id}"),
        &format!("/query_stmt?query_id={id}"),
        &format!("/query_profile?query_id={id}"),
        &format!("/query_summary?query_id={id}"),
        "/query?query_id=<script>",
        "/admission?queue=<script>",
        "/cancel_query?query_id=<script>",
        "/close_session?session_id=<script>",
    ] {
        let path = path
            .replace('<', "%3C")
            .replace('>', "%3E")
            .replace('"', "%22");
        let answer = page(&server, &path).await;
        for harm in ["<script>", "<img", "\u{202e}", "\u{7}"] {
            assert!(!answer.body.contains(harm), "{path} has {harm:?}");
        }
    }
    let whole = json(&server, &format!("/query_stmt?query_id={id}")).await;
    assert_eq!(whole["stmt"], statement.as_str());
    let list = page(&server, "/queries").await;
    assert!(
        list.body.len() < 100_000,
        "a list has only the beginning of a statement"
    );
    server.stop();
}

/// Cancelling, closing and setting need a `POST` with the token; nothing else changes anything.
#[tokio::test]
async fn nothing_changes_without_the_token() {
    let server = Server::start(&[]);
    let client = server.client().await;
    let pid = value(&client, "SELECT pg_backend_pid()").await;
    let (running, shown) = start(&server, client, ENDLESS).await;
    let id = shown["query_id"].as_str().expect("an id");
    let token = token(&server).await;
    let actions = [
        ("/cancel_query", format!("query_id={id}")),
        ("/close_session", format!("session_id={pid}")),
        ("/set_log_level", "filter=off".to_owned()),
    ];
    for (path, fields) in &actions {
        let asked = page(&server, &format!("{path}?{fields}&token={token}")).await;
        assert_eq!(
            asked.status,
            if *path == "/set_log_level" { 405 } else { 200 },
            "{path}"
        );
        for body in [
            fields.clone(),
            format!("{fields}&token="),
            format!("{fields}&token=0"),
        ] {
            let refused = post(&server, path, &body).await;
            assert_eq!(refused.status, 403, "{path} {body}: {}", refused.body);
        }
        let right = format!("{fields}&token={token}");
        let form = ("Content-Type", "application/x-www-form-urlencoded");
        let origin = ("Origin", "http://evil.example");
        let foreign = request(&server, "POST", path, &[form, origin], &right).await;
        assert_eq!(foreign.status, 403, "{path}: {}", foreign.body);
        let no_form = request(&server, "POST", path, &[], &right).await;
        assert_eq!(no_form.status, 415, "{path}: {}", no_form.body);
        for method in ["PUT", "DELETE", "PATCH"] {
            let other = request(&server, method, path, &[form], &right).await;
            assert_eq!(other.status, 405, "{method} {path}");
        }
    }
    assert_eq!(in_flight(&server, ENDLESS).await.len(), 1);
    assert_eq!(json(&server, "/logs").await["filter"], "info");
    let asked = page(&server, &format!("/cancel_query?query_id={id}"))
        .await
        .body;
    assert!(asked.contains("Cancel this query?") && asked.contains("method=\"post\""));
    let set = post(
        &server,
        "/set_log_level",
        &format!("filter=debug&token={token}"),
    )
    .await;
    assert_eq!(set.status, 303, "{}", set.body);
    assert_eq!(json(&server, "/logs").await["filter"], "debug");
    let bad = post(
        &server,
        "/set_log_level",
        &format!("filter=forebay%3Dloud&token={token}"),
    )
    .await;
    assert_eq!(bad.status, 400, "{}", bad.body);
    let form = format!("token={token}&session_id={pid}");
    assert_eq!(
        post(&server, "/close_session?json", &form).await.status,
        200
    );
    running
        .await
        .expect("no panic")
        .expect_err("its session is closed");
    eventually("the session is gone", async || {
        json(&server, "/sessions").await["num_sessions"] == 0
    })
    .await;
    server.stop();
}

/// A stranger's page that resolves its own name to this machine does not get in.
#[tokio::test]
async fn only_names_of_this_machine_are_answered() {
    let server = Server::start(&[]);
    for (host, status) in [
        ("localhost:1", 200),
        ("127.0.0.1", 200),
        ("[::1]:25000", 200),
        ("evil.example", 421),
        ("localhost.evil.example:25000", 421),
        ("", 421),
    ] {
        let answer = request(&server, "GET", "/queries?json", &[("Host", host)], "").await;
        assert_eq!(answer.status, status, "{host}: {}", answer.body);
    }
    server.stop();
}

/// As soon as the bootstrap role has a password, the pages want a superuser's.
#[tokio::test]
async fn a_password_of_the_superuser_closes_the_pages() {
    let server = Server::start(&[]);
    let client = server.client().await;
    let me = common::superuser();
    let roles = format!(
        "CREATE ROLE plain LOGIN PASSWORD 'plain'; \
         CREATE ROLE other SUPERUSER LOGIN PASSWORD 'other'; \
         ALTER ROLE \"{me}\" PASSWORD 's3cret'"
    );
    client.batch_execute(&roles).await.expect("roles");
    let closed = get(&server, "/queries?json").await;
    assert_eq!(closed.status, 401);
    assert!(closed.header("www-authenticate").starts_with("Basic "));
    assert_eq!(get(&server, "/healthz").await.status, 200);
    for (user, password, status) in [
        (me.as_str(), "s3cret", 200),
        (me.as_str(), "wrong", 401),
        (me.as_str(), "", 401),
        ("other", "other", 200),
        ("plain", "plain", 401),
        ("nobody", "x", 401),
    ] {
        let credentials = http::basic(user, password);
        let headers = [("Authorization", credentials.as_str())];
        let answer = request(&server, "GET", "/queries?json", &headers, "").await;
        assert_eq!(answer.status, status, "{user} {password}");
    }
    server.stop();
}

/// What moves on a page is sent as it changes.
#[tokio::test]
async fn a_page_is_sent_again_when_it_has_changed() {
    let server = Server::start(&[]);
    let mut events = http::Events::of(&server, "/queries?live").await;
    assert!(events.next().await.contains("Nothing runs or waits."));
    let (running, shown) = start(&server, server.client().await, ENDLESS).await;
    while !events.next().await.contains(ENDLESS) {}
    let id = shown["query_id"].as_str().expect("an id");
    let form = format!("token={}&query_id={id}", token(&server).await);
    assert_eq!(post(&server, "/cancel_query", &form).await.status, 303);
    running
        .await
        .expect("no panic")
        .expect_err("it is cancelled");
    while !events.next().await.contains("CANCELLED") {}
    // It ends with the server, and does not hold it up.
    server.stop();
}

/// Who did what: the newest first, page by page, and what is looked for.
#[tokio::test]
async fn the_audit_log_is_read_backwards_and_searched() {
    let server = Server::with_tpch(&["--audit-log", "on"]);
    let admin = server.client().await;
    admin
        .batch_execute("CREATE ROLE eve LOGIN")
        .await
        .expect("a role");
    let mut config = server.client_config();
    config.user("eve");
    let eve = common::connect(&config).await.expect("eve");
    common::failure(&eve, "CREATE ROLE mallory").await;
    rows(&admin, "SELECT * FROM region").await;
    for number in 0..60 {
        value(&admin, &format!("SELECT {number} AS \"Number\"")).await;
    }
    eventually("all events are there", async || {
        let first = json(&server, "/audit").await;
        first["events"][0]["statement"] == "SELECT 59 AS \"Number\""
    })
    .await;
    let first = json(&server, "/audit").await;
    assert_eq!(
        (&first["enabled"], &first["more"]),
        (&true.into(), &true.into())
    );
    assert_eq!(texts(&first["events"], "statement").len(), 50);
    let second = json(&server, "/audit?page=2").await;
    assert_eq!(second["more"], false);
    let second = texts(&second["events"], "statement");
    assert_eq!(second[0], "SELECT 9 AS \"Number\"");
    assert_eq!(second.len(), 13);

    let found = json(&server, "/audit?role=eve").await;
    assert_eq!(
        texts(&found["events"], "statement"),
        ["CREATE ROLE mallory"]
    );
    let event = &found["events"][0];
    assert_eq!(
        (&event["allowed"], &event["sqlstate"]),
        (&false.into(), &"42501".into())
    );
    let found = json(&server, "/audit?text=REGION").await;
    assert_eq!(found["events"][0]["objects"][0]["name"], "region");
    for (search, events) in [
        ("text=REGION", 1),
        ("refused=on", 1),
        ("refused=on&role=nobody", 0),
        ("text=number", 50),
        ("text=number&page=2", 10),
        ("text=number&page=99999999", 0),
    ] {
        let found = json(&server, &format!("/audit?{search}")).await;
        assert_eq!(texts(&found["events"], "role").len(), events, "{search}");
    }
    let body = page(&server, "/audit?text=number&page=2").await.body;
    assert!(body.contains("/audit?page=1&amp;text=number"), "{body}");
    assert!(
        page(&server, "/audit?refused=on")
            .await
            .body
            .contains("NOT ALLOWED")
    );
    server.stop();
    let without = Server::start(&[]);
    assert_eq!(json(&without, "/audit").await["enabled"], false);
    assert!(
        page(&without, "/audit")
            .await
            .body
            .contains("--audit-log on")
    );
    without.stop();
}

/// The plan with its numbers, what it has read of its files, and what memory it had.
#[tokio::test]
async fn a_plan_is_shown_with_its_progress_and_memory() {
    let server = Server::with_tpch(&[]);
    let client = server.client().await;
    const GROUPED: &str = "SELECT l_returnflag, count(*) FROM lineitem GROUP BY 1 ORDER BY 1";
    const JOINED: &str = "SELECT count(*) FROM lineitem JOIN orders ON l_orderkey = o_orderkey";
    rows(&client, GROUPED).await;
    rows(&client, JOINED).await;
    common::failure(&client, "SELECT * FROM nowhere").await;
    eventually("all are archived", async || {
        json(&server, "/queries").await["completed_log_size"] == 3
    })
    .await;
    let queries = json(&server, "/queries").await;
    let list = queries["completed_queries"].as_array().expect("a list");
    let of = |statement: &str| list.iter().find(|q| q["stmt"] == statement).expect("it");
    let query = of(GROUPED);
    let progress = query["progress"].as_str().expect("a text");
    let (done, rest) = progress.split_once(" / ").expect("a part of all");
    let (total, percent) = rest.split_once(' ').expect("percent");
    assert_eq!((done, percent), (total, "( 100%)"));
    assert_ne!(total, "0");

    let id = query["query_id"].as_str().expect("an id");
    let plan = json(&server, &format!("/query_plan?query_id={id}")).await;
    assert_eq!(
        (&plan["stmt"], &plan["status"]),
        (&GROUPED.into(), &"OK".into())
    );
    let mut scan = &plan["plan_json"]["plan_nodes"][0];
    while scan["children"][0].is_object() {
        scan = &scan["children"][0];
    }
    assert_eq!(scan["label"], "DataSource");
    let read = value(&client, "SELECT count(*) FROM lineitem").await;
    assert_eq!(scan["output_card"].to_string(), read);
    assert!(
        plan["plan"]
            .as_str()
            .expect("a text")
            .contains("DataSource")
    );
    let body = page(&server, &format!("/query_plan?query_id={id}"))
        .await
        .body;
    assert!(
        body.contains("class=\"plan\"") && body.contains("rows</text>"),
        "{body}"
    );
    let body = page(&server, &format!("/query?query_id={id}")).await.body;
    for part in ["Scan ranges", progress] {
        assert!(body.contains(part), "no {part} in {body}");
    }
    let id = of(JOINED)["query_id"].as_str().expect("an id");
    let body = page(&server, &format!("/query?query_id={id}")).await.body;
    assert!(body.contains("Most reserved"), "{body}");

    let failed = of("SELECT * FROM nowhere");
    assert_eq!(failed["progress"], "N/A");
    let id = failed["query_id"].as_str().expect("an id");
    let plan = json(&server, &format!("/query_plan?query_id={id}")).await;
    assert_eq!(
        plan["plan_json"]["plan_nodes"].as_array().map(Vec::len),
        Some(0)
    );
    let body = page(&server, &format!("/query_plan?query_id={id}"))
        .await
        .body;
    assert!(body.contains("It has run no plan."), "{body}");
    let unknown = get(&server, "/query_plan?query_id=1:2&json").await;
    assert_eq!(unknown.status, 404);
    server.stop();
}
