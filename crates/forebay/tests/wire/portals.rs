//! Portals and cursors: one table. The answers are what PostgreSQL 15 says to the same messages.

use super::common::raw::{self, Raw, told};
use super::common::{all_given_back, value};
use super::{eventually, server};

/// Six rows.
const ROWS: &str = "SELECT n FROM generate_series(1, 6) AS g(n)";

/// What is sent: a simple query, or messages with a `Sync` behind them.
enum Sent<'a> {
    Sql(&'a str),
    Messages(Vec<Vec<u8>>),
}
use Sent::{Messages, Sql};

fn check(raw: &mut Raw, dialogue: Vec<(Sent<'_>, &str)>) {
    for (i, (sent, expected)) in dialogue.into_iter().enumerate() {
        let (what, answer) = match sent {
            Sql(sql) => (sql.to_owned(), raw.query(sql)),
            Messages(messages) => (format!("messages at {i}"), raw.sync(&messages)),
        };
        assert_eq!(told(&answer), expected, "{what}");
    }
}

fn bound(portal: &str) -> Vec<Vec<u8>> {
    vec![raw::parse("", ROWS), raw::bind(portal, "", &[])]
}

fn bound_and_executed(portal: &str, rows: i32) -> Vec<Vec<u8>> {
    [bound(portal), vec![raw::execute(portal, rows)]].concat()
}

#[tokio::test]
async fn fetch_and_execute_read_the_same_portal() {
    let (server, at_rest) = server(&[]).await;
    let mut raw = Raw::log_in(&server);
    let declare = format!("DECLARE c CURSOR FOR {ROWS}");
    check(
        &mut raw,
        vec![
            (Sql("BEGIN"), "C[BEGIN] ZT"),
            (Messages(bound_and_executed("p", 1)), "1 2 D(1) s ZT"),
            (Sql("FETCH 2 FROM p"), "T D(2) D(3) C[FETCH 2] ZT"),
            (Sql("MOVE 1 FROM p"), "C[MOVE 1] ZT"),
            (
                Messages(vec![raw::execute("p", 0)]),
                "D(5) D(6) C[SELECT 2] ZT",
            ),
            (Messages(vec![raw::execute("p", 0)]), "C[SELECT 0] ZT"),
            (Sql("FETCH p"), "T C[FETCH 0] ZT"),
            (Sql("CLOSE p"), "C[CLOSE CURSOR] ZT"),
            (
                Messages(vec![raw::execute("p", 0)]),
                "E[34000 portal \"p\" does not exist] ZE",
            ),
            (Sql("ROLLBACK"), "C[ROLLBACK] ZI"),
            // FETCH begins a portal that was only bound.
            (Sql("BEGIN"), "C[BEGIN] ZT"),
            (Messages(bound("q")), "1 2 ZT"),
            (Sql("FETCH 2 FROM q"), "T D(1) D(2) C[FETCH 2] ZT"),
            (Messages(vec![raw::execute("q", 2)]), "D(3) D(4) s ZT"),
            (Sql("FETCH ALL q"), "T D(5) D(6) C[FETCH 2] ZT"),
            (Sql("COMMIT"), "C[COMMIT] ZI"),
            // The protocol reads a cursor of SQL, and closes it.
            (Sql("BEGIN"), "C[BEGIN] ZT"),
            (Sql(&declare), "C[DECLARE CURSOR] ZT"),
            (
                Messages(vec![raw::describe('P', "c"), raw::execute("c", 2)]),
                "T D(1) D(2) s ZT",
            ),
            (Sql("FETCH c"), "T D(3) C[FETCH 1] ZT"),
            (
                Messages(vec![raw::execute("c", 0)]),
                "D(4) D(5) D(6) C[SELECT 3] ZT",
            ),
            (Messages(vec![raw::execute("c", 0)]), "C[SELECT 0] ZT"),
            (Messages(vec![raw::close('P', "c")]), "3 ZT"),
            (Sql("FETCH c"), "E[34000 cursor \"c\" does not exist] ZE"),
            (Sql("ROLLBACK"), "C[ROLLBACK] ZI"),
        ],
    );
    drop(raw);
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn portals_and_cursors_share_their_names() {
    let (server, at_rest) = server(&[]).await;
    let mut raw = Raw::log_in(&server);
    let declare = format!("DECLARE c CURSOR FOR {ROWS}");
    check(
        &mut raw,
        vec![
            (Sql("BEGIN"), "C[BEGIN] ZT"),
            (Sql(&declare), "C[DECLARE CURSOR] ZT"),
            (
                Messages(bound("c")),
                "1 E[42P03 cursor \"c\" already exists] ZE",
            ),
            (Sql("ROLLBACK"), "C[ROLLBACK] ZI"),
            (Sql("BEGIN"), "C[BEGIN] ZT"),
            (Messages(bound("x")), "1 2 ZT"),
            (
                Sql("DECLARE x CURSOR FOR SELECT 1"),
                "E[42P03 cursor \"x\" already exists] ZE",
            ),
            (Sql("ROLLBACK"), "C[ROLLBACK] ZI"),
            // The unnamed portal is replaced by the next, also by a simple query.
            (Sql("BEGIN"), "C[BEGIN] ZT"),
            (
                Messages([bound_and_executed("", 1), bound_and_executed("", 2)].concat()),
                "1 2 D(1) s 1 2 D(1) D(2) s ZT",
            ),
            (Sql("SELECT 1"), "T D(1) C[SELECT 1] ZT"),
            (
                Messages(vec![raw::execute("", 1)]),
                "E[34000 portal \"\" does not exist] ZE",
            ),
            (Sql("ROLLBACK"), "C[ROLLBACK] ZI"),
        ],
    );
    // Both are listed.
    let list =
        "SELECT name, statement, is_holdable, is_binary, is_scrollable FROM pg_cursors ORDER BY 1";
    let listed = |name: &str, text: &str, hold: char| format!("D({name},{text},{hold},f,f)");
    raw.query("BEGIN");
    let hold = "DECLARE h NO SCROLL CURSOR WITH HOLD FOR SELECT 1";
    raw.query(hold);
    raw.sync(&bound("p"));
    let both = [listed("h", hold, 't'), listed("p", ROWS, 'f')].join(" ");
    assert_eq!(told(&raw.query(list)), format!("T {both} C[SELECT 2] ZT"));
    // The statement that asks is in a portal itself.
    let answer = raw.sync(&[
        raw::parse("", "SELECT name FROM pg_cursors ORDER BY 1"),
        raw::bind("", "", &[]),
        raw::execute("", 0),
    ]);
    assert_eq!(told(&answer), "1 2 D() D(h) D(p) C[SELECT 3] ZT");
    raw.query("COMMIT");
    let only = listed("h", hold, 't');
    assert_eq!(told(&raw.query(list)), format!("T {only} C[SELECT 1] ZI"));
    assert_eq!(
        told(&raw.sync(&[raw::execute("h", 0)])),
        "D(1) C[SELECT 1] ZI"
    );
    drop(raw);
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn portals_end_with_their_transaction() {
    let (server, at_rest) = server(&[]).await;
    let mut raw = Raw::log_in(&server);
    let no_relation = "E[42P01 relation \"nowhere\" does not exist] ZE";
    let gone = "E[34000 portal \"p\" does not exist]";
    let execute = |portal: &str| Messages(vec![raw::execute(portal, 1)]);
    let declare = format!("DECLARE c CURSOR FOR {ROWS}");
    let hold = format!("DECLARE h CURSOR WITH HOLD FOR {ROWS}");
    check(
        &mut raw,
        vec![
            // Without a block a Sync ends it, whether anything was run or not.
            (Messages(bound("p")), "1 2 ZI"),
            (execute("p"), &format!("{gone} ZI")),
            (Messages(bound_and_executed("p", 1)), "1 2 D(1) s ZI"),
            (execute("p"), &format!("{gone} ZI")),
            // A commit ends it at once, itself included.
            (Sql("BEGIN"), "C[BEGIN] ZT"),
            (
                Messages(vec![
                    raw::parse("", "COMMIT"),
                    raw::bind("p", "", &[]),
                    raw::execute("p", 0),
                    raw::execute("p", 0),
                ]),
                &format!("1 2 C[COMMIT] {gone} ZI"),
            ),
            // A savepoint takes back what was made after it.
            (Sql("BEGIN"), "C[BEGIN] ZT"),
            (Sql("SAVEPOINT a"), "C[SAVEPOINT] ZT"),
            (Sql(&declare), "C[DECLARE CURSOR] ZT"),
            // Released, what was made in it belongs to what is around it.
            (Sql("RELEASE a"), "C[RELEASE] ZT"),
            (Sql("SAVEPOINT b"), "C[SAVEPOINT] ZT"),
            (Messages(bound_and_executed("p", 1)), "1 2 D(1) s ZT"),
            (Sql("ROLLBACK TO b"), "C[ROLLBACK] ZT"),
            (Sql("FETCH c"), "T D(1) C[FETCH 1] ZT"),
            (Sql("LOCK nowhere"), no_relation),
            (Sql("ROLLBACK TO b"), "C[ROLLBACK] ZT"),
            (Sql("FETCH c"), "T D(2) C[FETCH 1] ZT"),
            (execute("p"), &format!("{gone} ZE")),
            (Sql("ROLLBACK"), "C[ROLLBACK] ZI"),
            // WITH HOLD belongs to the session, once its transaction has committed.
            (Sql("BEGIN"), "C[BEGIN] ZT"),
            (Sql(&hold), "C[DECLARE CURSOR] ZT"),
            (Sql("ROLLBACK"), "C[ROLLBACK] ZI"),
            (Sql("FETCH h"), "E[34000 cursor \"h\" does not exist] ZI"),
            (
                Messages(vec![
                    raw::parse("", &hold),
                    raw::bind("", "", &[]),
                    raw::execute("", 0),
                    raw::parse("", "FETCH h"),
                    raw::bind("", "", &[]),
                    raw::execute("", 0),
                ]),
                "1 2 C[DECLARE CURSOR] 1 2 D(1) C[FETCH 1] ZI",
            ),
            (execute("h"), "D(2) s ZI"),
            (Sql("BEGIN"), "C[BEGIN] ZT"),
            (Sql("LOCK nowhere"), no_relation),
            (
                Sql("FETCH h"),
                "E[25P02 current transaction is aborted, commands ignored until end of transaction block] ZE",
            ),
            (Sql("ROLLBACK"), "C[ROLLBACK] ZI"),
            (Sql("FETCH h"), "T D(3) C[FETCH 1] ZI"),
            (Sql("CLOSE ALL"), "C[CLOSE CURSOR ALL] ZI"),
            (Sql("FETCH h"), "E[34000 cursor \"h\" does not exist] ZI"),
        ],
    );
    drop(raw);
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn portals_that_cannot_be_read() {
    let (server, at_rest) = server(&[]).await;
    let mut raw = Raw::log_in(&server);
    let portal = |sql: &str, times: usize| {
        let mut messages = vec![raw::parse("", sql), raw::bind("z", "", &[])];
        messages.extend(std::iter::repeat_n(raw::execute("z", 0), times));
        Messages(messages)
    };
    let declare = "DECLARE c CURSOR FOR SELECT 1 / (3 - n) FROM generate_series(1, 6) AS g(n)";
    check(
        &mut raw,
        vec![
            (Sql("BEGIN"), "C[BEGIN] ZT"),
            (
                portal("DEALLOCATE ALL", 2),
                "1 2 C[DEALLOCATE ALL] E[55000 portal \"z\" cannot be run] ZE",
            ),
            (Sql("ROLLBACK"), "C[ROLLBACK] ZI"),
            (Sql("BEGIN"), "C[BEGIN] ZT"),
            (
                portal("CLOSE z", 1),
                "1 2 E[24000 cannot drop active portal \"z\"] ZE",
            ),
            (Sql("ROLLBACK"), "C[ROLLBACK] ZI"),
            (Sql("BEGIN"), "C[BEGIN] ZT"),
            (
                portal("FETCH z", 1),
                "1 2 E[55000 portal \"z\" cannot be run] ZE",
            ),
            (Sql("ROLLBACK"), "C[ROLLBACK] ZI"),
            // A command is not run for a FETCH.
            (Sql("BEGIN"), "C[BEGIN] ZT"),
            (portal("ROLLBACK", 0), "1 2 ZT"),
            (
                Sql("FETCH z"),
                "E[24000 cannot fetch from portal \"z\": its statement is no query] ZE",
            ),
            (Sql("ROLLBACK"), "C[ROLLBACK] ZI"),
            // A FETCH may be prepared before its cursor is there, and returns what that returns then.
            (Messages(vec![raw::parse("f", "FETCH ALL c")]), "1 ZI"),
            (Messages(vec![raw::describe('S', "f")]), "t n ZI"),
            (Sql("BEGIN"), "C[BEGIN] ZT"),
            (
                Sql("DECLARE c CURSOR FOR VALUES (1)"),
                "C[DECLARE CURSOR] ZT",
            ),
            (
                Messages(vec![
                    raw::describe('S', "f"),
                    raw::bind("", "f", &[]),
                    raw::describe('P', ""),
                    raw::execute("", 0),
                ]),
                "t T 2 T D(1) C[FETCH 1] ZT",
            ),
            (Sql("ROLLBACK"), "C[ROLLBACK] ZI"),
            // CLOSE ALL leaves the portal that it is in.
            (Sql("BEGIN"), "C[BEGIN] ZT"),
            (Messages(bound_and_executed("pa", 1)), "1 2 D(1) s ZT"),
            (portal("CLOSE ALL", 1), "1 2 C[CLOSE CURSOR ALL] ZT"),
            (
                Messages(vec![raw::execute("pa", 1)]),
                "E[34000 portal \"pa\" does not exist] ZE",
            ),
            (Sql("ROLLBACK"), "C[ROLLBACK] ZI"),
            // What has failed stays failed, also when a savepoint saves its transaction.
            (Sql("BEGIN"), "C[BEGIN] ZT"),
            (Sql(declare), "C[DECLARE CURSOR] ZT"),
            (Sql("SAVEPOINT s"), "C[SAVEPOINT] ZT"),
            (Sql("FETCH ALL FROM c"), "T E[22012 division by zero] ZE"),
            (Sql("ROLLBACK TO s"), "C[ROLLBACK] ZT"),
            (Sql("FETCH c"), "E[55000 portal \"c\" cannot be run] ZE"),
            // In a failed transaction nothing but its end is bound.
            (
                Messages(bound("late")),
                "E[25P02 current transaction is aborted, commands ignored until end of transaction block] ZE",
            ),
            (portal("ROLLBACK", 1), "1 2 C[ROLLBACK] ZI"),
        ],
    );
    drop(raw);
    all_given_back(&server, at_rest).await;
    server.stop();
}

/// A portal keeps what its statement holds until it is closed, has failed, or its end is read.
#[tokio::test]
async fn what_a_portal_holds_is_given_back() {
    let (server, at_rest) = server(&[]).await;
    let mut raw = Raw::log_in(&server);
    let big = "SELECT l.* FROM lineitem AS l CROSS JOIN generate_series(1, 20) AS g(i)";
    for end in ["COMMIT", "ROLLBACK", "CLOSE ALL", "CLOSE c", "SELECT 1 / 0"] {
        raw.query("BEGIN");
        raw.query(&format!("DECLARE c CURSOR FOR {big}"));
        raw.query("FETCH c");
        raw.sync(&[
            raw::parse("", big),
            raw::bind("p", "", &[]),
            raw::execute("p", 1),
        ]);
        raw.query(end);
        raw.query("ROLLBACK");
        let listed = told(&raw.query("SELECT count(*) FROM pg_cursors"));
        assert_eq!(listed, "T D(0) C[SELECT 1] ZI", "{end}");
    }
    drop(raw);
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn a_portal_that_nobody_reads_is_ended() {
    let (server, at_rest) = server(&[]).await;
    let mut raw = Raw::log_in(&server);
    let client = server.client().await;
    raw.query("SET idle_cursor_timeout = '20ms'");
    raw.query("BEGIN");
    raw.query(&format!("DECLARE c CURSOR FOR {ROWS}"));
    raw.sync(&bound_and_executed("p", 1));
    raw.sync(&bound("new"));
    // The session itself lives on, idle in its transaction. Both have ended when each says so.
    let session = format!(
        "SELECT state FROM pg_stat_activity WHERE pid = {}",
        raw.key.0
    );
    assert_eq!(value(&client, &session).await, "idle in transaction");
    raw.query("SAVEPOINT s");
    let mut ended = |sent: &dyn Fn(&mut Raw) -> Vec<raw::Message>| {
        let answer = told(&sent(&mut raw));
        raw.query("ROLLBACK TO s");
        answer.contains("E[57014 canceling portal due to idle-cursor timeout]")
    };
    eventually("the cursor ends", async || {
        ended(&|raw| raw.query("FETCH 0 FROM c; FETCH c"))
    })
    .await;
    eventually("the portal ends", async || {
        ended(&|raw| raw.sync(&[raw::execute("p", 1)]))
    })
    .await;
    // What has not begun holds nothing that could be given back.
    assert_eq!(told(&raw.query("FETCH new")), "T D(1) C[FETCH 1] ZT");
    raw.query("ROLLBACK");
    drop((raw, client));
    all_given_back(&server, at_rest).await;
    server.stop();
}
