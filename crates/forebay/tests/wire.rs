//! The wire, used badly: whatever bytes come, a session ends cleanly, and the server goes on.
//!
//! Every test has a server of its own. Behind each act of violence a well-behaved client must be
//! served, and at its end everything that the violent ones held must have been given back.

mod common;
#[path = "wire/encryption.rs"]
mod encryption;
#[path = "wire/limits.rs"]
mod limits;
#[path = "wire/portals.rs"]
mod portals;
#[path = "wire/repeated.rs"]
mod repeated;
#[path = "wire/scripts.rs"]
mod scripts;

use common::raw::{self, Raw, kinds, sqlstate};
use common::{Server, all_given_back, eventually, value};
use tokio_postgres::error::SqlState;

/// A server at rest, and how many sockets it has open then.
async fn server(arguments: &[&str]) -> (Server, usize) {
    let server = Server::with_tpch(arguments);
    let client = server.client().await;
    assert_eq!(value(&client, "SELECT count(*) FROM region").await, "5");
    drop(client);
    // One of them is the listener; others are the runtime's own.
    let at_rest = at_rest(&server).await;
    (server, at_rest)
}

/// Waits until no client is left, and counts the sockets that remain.
async fn at_rest(server: &Server) -> usize {
    let client = server.client().await;
    eventually("the first client is gone", async || {
        value(&client, "SELECT count(*) FROM pg_stat_activity").await == "1"
    })
    .await;
    server.sockets() - 1
}

async fn serves(server: &Server) {
    let client = server.client().await;
    assert_eq!(value(&client, "SELECT 1").await, "1");
}

/// Waits for a session to be gone.
async fn session_gone(server: &Server, pid: i32) {
    let client = server.client().await;
    let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
    eventually("the session ends", async || {
        value(&client, &sql).await == "0"
    })
    .await;
}

/// Waits for a session to run something.
async fn session_active(server: &Server, pid: i32) {
    let client = server.client().await;
    let sql =
        format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND state = 'active'");
    eventually("the session is active", async || {
        value(&client, &sql).await == "1"
    })
    .await;
}

fn startup_with(parameters: &[u8]) -> Vec<u8> {
    raw::framed(&[&raw::VERSION.to_be_bytes()[..], parameters].concat())
}

#[tokio::test]
async fn malformed_startup_packets_end_the_connection() {
    let (server, at_rest) = server(&[]).await;
    let packets: Vec<(&str, Vec<u8>)> = vec![
        ("length 0", vec![0, 0, 0, 0]),
        ("length 3, shorter than itself", vec![0, 0, 0, 3, 0]),
        ("length 4, no version", vec![0, 0, 0, 4]),
        ("length 7, half a version", vec![0, 0, 0, 7, 0, 3, 0]),
        ("negative length", vec![0xff; 8]),
        ("smallest length", [&[0x80, 0, 0, 0][..], &[0; 4]].concat()),
        ("version 2", raw::framed(&[0, 2, 0, 0])),
        ("version 0", raw::framed(&[0, 0, 0, 0])),
        (
            "unknown request code",
            raw::framed(&80_877_199_i32.to_be_bytes()),
        ),
        ("no terminator", startup_with(b"user\0somebody")),
        ("a name without a value", startup_with(b"user\0")),
        ("no user", startup_with(b"database\0forebay\0\0")),
        ("nothing", startup_with(b"")),
        ("an empty user", startup_with(b"user\0\0\0")),
        ("not UTF-8", startup_with(b"user\0\xff\xfe\0\0")),
        (
            "a cancel request without its key",
            raw::framed(&raw::CANCEL_REQUEST.to_be_bytes()),
        ),
        (
            "an HTTP request",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        ),
        ("a TLS greeting", vec![0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3]),
        ("a message before the start-up", raw::query("SELECT 1")),
    ];
    for (what, packet) in packets {
        let mut raw = Raw::connect(&server);
        raw.try_send(&packet);
        // Nothing more is coming: a server that waits for it is stuck until its time-out.
        let answer = raw.until_closed();
        assert!(
            answer.iter().all(|m| m.kind == 'E'),
            "{what}: the server answered {answer:?}"
        );
        serves(&server).await;
    }
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn startup_refusals_carry_postgresqls_sqlstates() {
    let (server, at_rest) = server(&[]).await;
    for (packet, expected) in [
        (startup_with(b"database\0forebay\0\0"), "28000"),
        (startup_with(b"user\0\0\0"), "28000"),
        (raw::framed(&[0, 4, 0, 0]), "0A000"),
        (startup_with(b"user\0somebody"), "08P01"),
        (raw::startup("nobody-at-all"), "28000"),
        (
            startup_with(
                format!("user\0{}\0database\0nowhere\0\0", common::superuser()).as_bytes(),
            ),
            "3D000",
        ),
        (
            startup_with(format!("user\0{}\0nosuchsetting\0x\0\0", common::superuser()).as_bytes()),
            "42704",
        ),
    ] {
        let mut raw = Raw::connect(&server);
        raw.send(&packet);
        let answer = raw.until_closed();
        let error = answer.iter().find(|m| m.kind == 'E');
        let error = error.unwrap_or_else(|| panic!("no error for {packet:?}: {answer:?}"));
        // A role that may not come in must not be told from one with a wrong password.
        let state = error.field('C').expect("a SQLSTATE");
        assert!(
            state == expected || (expected == "28000" && state == "28P01"),
            "{packet:?}: {state} instead of {expected}"
        );
        assert_eq!(error.field('S').as_deref(), Some("FATAL"));
    }
    all_given_back(&server, at_rest).await;
    server.stop();
}

/// Before it has logged in, a client may send its password and nothing else, in a sound message.
#[tokio::test]
async fn malformed_passwords_end_the_connection() {
    let (server, at_rest) = server(&[]).await;
    let mut raw = Raw::log_in(&server);
    raw.query("CREATE ROLE ann LOGIN PASSWORD 'secret'");
    drop(raw);
    for (kind, body) in [
        ('p', &b"SCRAM-SHA-256\0\x7f\xff\xff\xffn,,n=,r=x"[..]),
        ('p', b"SCRAM-SHA-256\0\xff\xff\xff\xf0n,,n=,r=x"),
        ('p', b"SCRAM-SHA-256\0\0\0\0\x01n,,n=,r=x"),
        ('p', b"SCRAM-SHA-256\0\xff\xff\xff\xff"),
        ('p', b"SCRAM-SHA-256-PLUS\0\0\0\0\x09n,,n=,r=x"),
        ('p', b"SCRAM-SHA-256\0\0"),
        ('p', b"secret\0"),
        ('p', b""),
        ('Q', b"SELECT 1\0"),
        ('P', b"s\0SELECT $1\0\0\x7f"),
        ('B', b"\0"),
    ] {
        let mut raw = Raw::connect(&server);
        raw.send(&raw::startup("ann"));
        assert_eq!(kinds(&raw.until('R')), "R");
        raw.try_send(&raw::message(kind, body));
        let answer = raw.until_closed();
        assert_eq!(sqlstate(&answer), "08P01", "{kind} {body:?}");
        assert_eq!(answer[0].field('S').as_deref(), Some("FATAL"));
    }
    all_given_back(&server, at_rest).await;
    assert_no_panic(&server);
    server.stop();
}

#[tokio::test]
async fn huge_lengths_are_refused_before_the_body() {
    let (server, at_rest) = server(&[]).await;
    for length in [i32::MAX, 1 << 30, 1_000_000, 10_001] {
        // Before the start-up the limit is PostgreSQL's own, 10,000 bytes.
        let mut raw = Raw::connect(&server);
        raw.try_send(&[&length.to_be_bytes()[..], &raw::VERSION.to_be_bytes()].concat());
        raw.until_closed();
    }
    for length in [i32::MAX, 1 << 30, 65 << 20, -1, i32::MIN, 0, 3] {
        let mut raw = Raw::log_in(&server);
        raw.try_send(&[&b"Q"[..], &length.to_be_bytes()].concat());
        let answer = raw.until_closed();
        assert_eq!(sqlstate(&answer), "08P01", "length {length}");
        session_gone(&server, raw.key.0).await;
        serves(&server).await;
    }
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn a_message_above_the_limit_ends_its_connection_only() {
    let (server, at_rest) = server(&["--max-message-size", "64kB"]).await;
    let statement = |bytes: usize| format!("SELECT length('{}')", "x".repeat(bytes));
    let mut raw = Raw::log_in(&server);
    let answer = raw.query(&statement(60_000));
    assert_eq!(kinds(&answer), "TDCZ", "a message below the limit");
    raw.try_send(&raw::query(&statement(70_000)));
    let answer = raw.until_closed();
    // The rest of the message is still on its way, so the answer may be lost with the connection.
    if !answer.is_empty() {
        assert_eq!(sqlstate(&answer), "08P01");
    }
    session_gone(&server, raw.key.0).await;
    serves(&server).await;
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn unknown_and_misplaced_messages() {
    let (server, at_rest) = server(&[]).await;
    for kind in ['!', 'z', 'Z', 'R', 'T', '\0', '\x7f'] {
        let mut raw = Raw::log_in(&server);
        raw.try_send(&raw::message(kind, b"what is this?"));
        let answer = raw.until_closed();
        assert_eq!(sqlstate(&answer), "08P01", "message {kind:?}");
        serves(&server).await;
    }
    // Left over from a COPY that has ended: ignored.
    let mut raw = Raw::log_in(&server);
    raw.send(&[raw::message('d', b"data"), raw::message('c', b"")].concat());
    assert_eq!(kinds(&raw.query("SELECT 1")), "TDCZ");
    drop(raw);
    all_given_back(&server, at_rest).await;
    server.stop();
}

/// A message ends where its length says: what is missing is not taken from the next message, what
/// is too much is an error, and the session goes on at the next `Sync` as if nothing had been.
#[tokio::test]
async fn messages_with_broken_bodies() {
    let (server, at_rest) = server(&[]).await;
    let bodies: &[(char, &[u8], &str)] = &[
        ('Q', b"", "08P01"),
        ('Q', b"SELECT 1", "08P01"),
        ('Q', b"SELECT 1\0SELECT 2\0", "08P01"),
        ('Q', b"SELECT '\xff\xfe'\0", "22021"),
        ('P', b"", "08P01"),
        ('P', b"name", "08P01"),
        ('P', b"\0SELECT 1\0", "08P01"),
        ('P', b"\0SELECT 1\0\x7f\xff", "08P01"),
        ('P', b"\0SELECT 1\0\xff\xff", "08P01"),
        ('B', b"", "08P01"),
        ('B', b"\0s\0\x7f\xff", "08P01"),
        ('B', b"\0s\0\0\0\x7f\xff", "08P01"),
        ('B', b"\0s\0\0\0\0\x01\x7f\xff\xff\xff", "08P01"),
        ('B', b"\0s\0\0\0\0\x01\xff\xff\xff\xf0", "08P01"),
        ('B', b"\0s\0\0\0\0\x01\0\0\0\x01", "08P01"),
        ('B', b"\0s\0\0\0\0\x01\0\0\0\x011\x7f\xff", "08P01"),
        ('B', b"\0s\0\0\x01\0\x09\0\x01\0\0\0\x011\0\0", "22023"),
        ('D', b"", "08P01"),
        ('D', b"Q\0", "08P01"),
        ('D', b"S", "08P01"),
        ('E', b"", "08P01"),
        ('E', b"\0", "08P01"),
        ('E', b"\0\0\0", "08P01"),
        ('C', b"", "08P01"),
        ('C', b"?x\0", "08P01"),
        ('F', b"", "08P01"),
    ];
    let mut wrong = Vec::new();
    for (kind, body, expected) in bodies {
        let mut raw = Raw::log_in(&server);
        raw.sync(&[raw::parse("s", "SELECT $1::int")]);
        raw.try_send(&[raw::message(*kind, body), raw::sync(), raw::terminate()].concat());
        raw.finish_sending();
        let answer = raw.until_closed();
        // A Query and a function call are answered with a `ReadyForQuery` of their own, and the
        // `Sync` with another one.
        let shape = if matches!(kind, 'Q' | 'F') {
            "EZZ"
        } else {
            "EZ"
        };
        let state = answer
            .iter()
            .find_map(|m| m.field('C').filter(|_| m.kind == 'E'));
        if kinds(&answer) != shape || state.as_deref() != Some(expected) {
            let body = String::from_utf8_lossy(body).into_owned();
            wrong.push(format!(
                "{kind} {body:?}: {state:?} in {:?}",
                kinds(&answer)
            ));
        }
        serves(&server).await;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    all_given_back(&server, at_rest).await;
    assert_no_panic(&server);
    server.stop();
}

fn assert_no_panic(server: &Server) {
    let log = server.log();
    assert!(!log.contains("panicked"), "{log}");
}

/// Bytes that anybody might send: of no sense at all, or a good stream with a few bytes spoiled.
/// The same ones in each run (splitmix64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).expect("31 bits") % limit
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    fn spoiled(&mut self, mut good: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.below(6) {
            let at = self.below(good.len());
            match self.below(4) {
                0 => good[at] = self.bytes(1)[0],
                1 => good.truncate(at.max(1)),
                2 => {
                    let count = self.below(9);
                    let more = self.bytes(count);
                    good.splice(at..at, more);
                }
                _ => good[at] ^= 1 << self.below(8),
            }
        }
        good
    }
}

/// One of each message.
fn good_stream() -> Vec<u8> {
    [
        raw::query("SELECT r_name FROM region ORDER BY 1; SELECT 2"),
        raw::parse("s", "SELECT $1::int + 1"),
        raw::describe('S', "s"),
        raw::bind("p", "s", &["41"]),
        raw::describe('P', "p"),
        raw::execute("p", 1),
        raw::execute("p", 0),
        raw::close('P', "p"),
        raw::flush(),
        raw::sync(),
        raw::query("BEGIN; DECLARE c CURSOR FOR SELECT 1; FETCH c; ROLLBACK"),
        raw::query("COPY (SELECT 1) TO STDOUT"),
    ]
    .concat()
}

#[tokio::test]
async fn random_bytes() {
    const ROUNDS: usize = 150;
    let (server, at_rest) = server(&[]).await;
    let mut noise = Noise(7);
    for round in 0..ROUNDS {
        let (mut raw, bytes) = match round % 4 {
            0 => {
                let count = 1 + noise.below(400);
                (Raw::connect(&server), noise.bytes(count))
            }
            1 => {
                let good = raw::startup(&common::superuser());
                (Raw::connect(&server), noise.spoiled(good))
            }
            2 => {
                let count = 1 + noise.below(400);
                (Raw::log_in(&server), noise.bytes(count))
            }
            _ => (Raw::log_in(&server), noise.spoiled(good_stream())),
        };
        raw.try_send(&bytes);
        raw.finish_sending();
        // Whatever the server makes of it, it must come to an end, with whole messages; before
        // the start-up a single byte may answer a request for encryption.
        if round % 4 >= 2 {
            raw.until_closed();
        }
        if round % 25 == 0 {
            serves(&server).await;
        }
    }
    all_given_back(&server, at_rest).await;
    assert_no_panic(&server);
    server.stop();
}

#[tokio::test]
async fn encryption_is_declined_and_the_client_goes_on() {
    let (server, at_rest) = server(&[]).await;
    for requests in [
        vec![raw::SSL_REQUEST],
        vec![raw::GSS_REQUEST],
        vec![raw::GSS_REQUEST, raw::SSL_REQUEST],
        vec![raw::SSL_REQUEST, raw::GSS_REQUEST],
    ] {
        let mut raw = Raw::connect(&server);
        for code in requests {
            raw.send(&raw::request(code));
            assert_eq!(raw.byte(), b'N');
        }
        raw.start_up();
        assert_eq!(kinds(&raw.query("SELECT 1")), "TDCZ");
    }
    // Asking forever leads nowhere.
    let mut raw = Raw::connect(&server);
    raw.try_send(&raw::request(raw::SSL_REQUEST).repeat(50));
    raw.finish_sending();
    let answer = raw.rest();
    let declined = answer.iter().take_while(|b| **b == b'N').count();
    assert!(
        (1..10).contains(&declined),
        "{declined} requests were answered"
    );
    drop(raw);
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn cancel_requests() {
    let (server, at_rest) = server(&[]).await;
    let mut raw = Raw::log_in(&server);
    let (pid, secret) = raw.key;
    raw.send(&raw::query("SELECT pg_sleep(3600)"));
    session_active(&server, pid).await;
    // A cancel request is never answered; the server closes the connection.
    for wrong in [
        (pid, secret.wrapping_add(1)),
        (pid + 1, secret),
        (0, 0),
        (-1, -1),
    ] {
        let mut other = Raw::connect(&server);
        other.send(&raw::cancel(wrong));
        assert_eq!(other.until_closed(), []);
    }
    session_active(&server, pid).await;
    let mut other = Raw::connect(&server);
    other.send(&raw::cancel((pid, secret)));
    assert_eq!(other.until_closed(), []);
    let answer = raw.until('Z');
    assert_eq!(sqlstate(&answer), "57014");
    // The session lives on, and a cancel that finds nothing running does nothing.
    let mut other = Raw::connect(&server);
    other.send(&raw::cancel((pid, secret)));
    assert_eq!(other.until_closed(), []);
    assert_eq!(kinds(&raw.query("SELECT 1")), "TDCZ");
    // Also behind a declined request for encryption, as libpq sends it.
    raw.send(&raw::query("SELECT pg_sleep(3600)"));
    session_active(&server, pid).await;
    let mut other = Raw::connect(&server);
    other.send(&raw::request(raw::SSL_REQUEST));
    assert_eq!(other.byte(), b'N');
    other.send(&raw::cancel((pid, secret)));
    assert_eq!(other.until_closed(), []);
    assert_eq!(sqlstate(&raw.until('Z')), "57014");
    drop((raw, other));
    all_given_back(&server, at_rest).await;
    server.stop();
}

/// More rows than any buffer holds: 1.2 million, some 170 MB.
const BIG: &str = "SELECT l.* FROM lineitem AS l CROSS JOIN generate_series(1, 20) AS g(i)";

#[tokio::test]
async fn a_client_that_vanishes_within_a_result() {
    let (server, at_rest) = server(&[]).await;
    for sql in [
        BIG,
        "SELECT pg_sleep(3600)",
        "COPY (SELECT * FROM lineitem, generate_series(1, 20) AS g(i)) TO STDOUT",
    ] {
        let mut raw = Raw::log_in(&server);
        raw.send(&raw::query(sql));
        if sql == BIG {
            let rows = raw.until('D');
            assert_eq!(kinds(&rows), "TD");
        } else {
            session_active(&server, raw.key.0).await;
        }
        let pid = raw.key.0;
        drop(raw);
        session_gone(&server, pid).await;
        serves(&server).await;
    }
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn half_a_message_then_nothing() {
    let (server, at_rest) = server(&[]).await;
    let startup = raw::startup(&common::superuser());
    for cut in [1, 3, 4, 7, 8, startup.len() - 1] {
        let mut raw = Raw::connect(&server);
        raw.send(&startup[..cut]);
        drop(raw);
    }
    let stream = good_stream();
    for cut in (1..stream.len()).step_by(13) {
        let mut raw = Raw::log_in(&server);
        raw.try_send(&stream[..cut]);
        drop(raw);
    }
    all_given_back(&server, at_rest).await;
    assert_no_panic(&server);
    server.stop();
}

/// As much as the resident memory may grow behind a client that does not read.
const GROWTH_BYTES: u64 = 64 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_costs_no_memory() {
    let (server, at_rest) = server(&[]).await;
    let work = async || {
        let client = server.client().await;
        for _ in 0..20 {
            let sql = "SELECT count(*) FROM orders JOIN customer ON o_custkey = c_custkey";
            assert_eq!(value(&client, sql).await, "15000");
        }
    };
    // Warm: allocator, caches, and what a running scan needs anyway.
    work().await;
    let mut reader = Raw::log_in(&server);
    reader.send(&raw::query(BIG));
    for _ in 0..100_000 {
        assert!(reader.message().is_some());
    }
    drop(reader);
    let (client, sessions) = (
        server.client().await,
        "SELECT count(*) FROM pg_stat_activity",
    );
    eventually("the warm-up has ended", async || {
        value(&client, sessions).await == "1"
    })
    .await;
    let start = server.resident_bytes();

    let mut stuck = Raw::log_in(&server);
    stuck.send(&raw::query(BIG));
    session_active(&server, stuck.key.0).await;
    // A server that keeps on computing behind the client's back never comes to rest here before
    // it has the whole result.
    server
        .comes_to_rest("the server stops computing rows that nobody reads")
        .await;
    let grown = |when: &str| {
        let growth = server.resident_bytes().saturating_sub(start);
        assert!(growth < GROWTH_BYTES, "{when}: {} MB more", growth >> 20);
    };
    grown("at rest");
    session_active(&server, stuck.key.0).await;
    for _ in 0..3 {
        work().await;
        grown("while others work");
    }
    session_active(&server, stuck.key.0).await;
    let pid = stuck.key.0;
    assert_eq!(
        value(&client, &format!("SELECT pg_terminate_backend({pid})")).await,
        "t"
    );
    session_gone(&server, pid).await;
    // What was on its way may still arrive; then the connection must end.
    let rest = stuck.until_closed_or_cut();
    assert!(rest < 1_000_000, "the whole result arrived: {rest} rows");
    drop(client);
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn a_client_that_stops_reading_is_disconnected() {
    let (server, at_rest) = server(&[]).await;
    for sql in [BIG.to_owned(), format!("COPY ({BIG}) TO STDOUT")] {
        let mut stuck = Raw::log_in(&server);
        stuck.query("SET idle_cursor_timeout = '20ms'");
        stuck.send(&raw::query(&sql));
        session_gone(&server, stuck.key.0).await;
        let rest = stuck.until_closed_or_cut();
        assert!(rest < 1_000_000, "the whole result arrived: {rest} rows");
    }
    let client = server.client().await;
    let ended = "SELECT count(*) FROM forebay.query_log WHERE sqlstate = '57P05' \
                 AND error LIKE '%does not read the result%'";
    eventually("the log says why", async || {
        value(&client, ended).await == "2"
    })
    .await;
    drop(client);
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn thousands_come_and_go() {
    const CLIENTS: usize = 3_000;
    let (server, at_rest) = server(&[]).await;
    let before = server.resident_bytes();
    for i in 0..CLIENTS {
        let mut raw = Raw::connect(&server);
        match i % 6 {
            0 => {}
            1 => raw.try_send(&[0]),
            2 => raw.try_send(&raw::startup(&common::superuser())),
            3 => {
                raw.start_up();
                raw.try_send(&raw::terminate());
            }
            4 => raw.start_up(),
            _ => {
                raw.start_up();
                raw.try_send(&raw::query("SELECT count(*) FROM region"));
            }
        }
    }
    all_given_back(&server, at_rest).await;
    let growth = server.resident_bytes().saturating_sub(before);
    assert!(growth < GROWTH_BYTES, "{} MB are lost", growth >> 20);
    server.stop();
}

#[tokio::test]
async fn row_limits_suspend_a_portal() {
    let (server, at_rest) = server(&[]).await;
    let mut raw = Raw::log_in(&server);
    let answer = raw.sync(&[
        raw::parse("", "SELECT n_name FROM nation ORDER BY n_nationkey LIMIT 5"),
        raw::bind("p", "", &[]),
        raw::execute("p", 2),
        raw::execute("p", 2),
        raw::execute("p", 2),
        raw::execute("p", 2),
    ]);
    assert_eq!(kinds(&answer), "12DDsDDsDCCZ");
    let tags: Vec<String> = answer
        .iter()
        .filter(|m| m.kind == 'C')
        .map(raw::Message::text)
        .collect();
    assert_eq!(tags, ["SELECT 1", "SELECT 0"]);
    // Exactly as many rows as there are: PostgreSQL stops at the limit without looking further.
    let answer = raw.sync(&[
        raw::parse("", "SELECT r_name FROM region"),
        raw::bind("", "", &[]),
        raw::execute("", 5),
        raw::execute("", 5),
    ]);
    assert_eq!(kinds(&answer), "12DDDDDsCZ");
    // The end of the transaction closes the portal.
    let answer = raw.sync(&[raw::execute("p", 0)]);
    assert_eq!(sqlstate(&answer), "34000");
    // Inside a block it survives the Sync.
    assert_eq!(kinds(&raw.query("BEGIN")), "CZ");
    let answer = raw.sync(&[
        raw::parse("", "SELECT r_name FROM region"),
        raw::bind("q", "", &[]),
        raw::execute("q", 1),
    ]);
    assert_eq!(kinds(&answer), "12DsZ");
    assert_eq!(answer.last().map(|m| m.body.clone()), Some(b"T".to_vec()));
    assert_eq!(kinds(&raw.query("FETCH 2 FROM q")), "TDDCZ");
    assert_eq!(kinds(&raw.sync(&[raw::execute("q", 0)])), "DDCZ");
    assert_eq!(kinds(&raw.query("COMMIT")), "CZ");
    // A portal left open goes with its session.
    raw.query("BEGIN");
    let answer = raw.sync(&[
        raw::parse("", BIG),
        raw::bind("big", "", &[]),
        raw::execute("big", 1),
    ]);
    assert_eq!(kinds(&answer), "12DsZ");
    drop(raw);
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn after_an_error_everything_up_to_sync_is_skipped() {
    let (server, at_rest) = server(&[]).await;
    let mut raw = Raw::log_in(&server);
    let answer = raw.sync(&[
        raw::parse("", "SELECT nothing"),
        raw::bind("", "", &[]),
        raw::describe('P', ""),
        raw::execute("", 0),
        raw::close('S', ""),
    ]);
    assert_eq!(kinds(&answer), "EZ");
    assert_eq!(sqlstate(&answer), "42703");
    assert_eq!(answer[1].body, b"I");
    // An error of the execution, after successes; what follows is not run.
    let answer = raw.sync(&[
        raw::parse("a", "CREATE VIEW before AS SELECT 1 AS x"),
        raw::bind("", "a", &[]),
        raw::execute("", 0),
        raw::parse("b", "SELECT 1 / x FROM (VALUES (0)) AS v(x)"),
        raw::bind("", "b", &[]),
        raw::execute("", 0),
        raw::parse("c", "CREATE VIEW after AS SELECT 1 AS x"),
        raw::bind("", "c", &[]),
        raw::execute("", 0),
    ]);
    assert_eq!(kinds(&answer), "12C12EZ");
    assert_eq!(sqlstate(&answer), "22012");
    // One transaction up to Sync: the error undoes the view before it as well.
    for view in ["before", "after"] {
        let answer = raw.query(&format!("SELECT * FROM {view}"));
        assert_eq!(sqlstate(&answer), "42P01", "{view}");
    }
    // The next Sync starts afresh.
    let answer = raw.sync(&[
        raw::parse("", "SELECT 1"),
        raw::bind("", "", &[]),
        raw::execute("", 0),
    ]);
    assert_eq!(kinds(&answer), "12DCZ");
    // In a block the transaction stays failed.
    raw.query("BEGIN");
    assert_eq!(kinds(&raw.sync(&[raw::parse("", "SELECT nothing")])), "EZ");
    let answer = raw.sync(&[
        raw::parse("", "SELECT 1"),
        raw::bind("", "", &[]),
        raw::execute("", 0),
    ]);
    assert_eq!(kinds(&answer), "EZ");
    assert_eq!(sqlstate(&answer), "25P02");
    assert_eq!(answer.last().map(|m| m.body.clone()), Some(b"E".to_vec()));
    let answer = raw.sync(&[
        raw::parse("", "ROLLBACK"),
        raw::bind("", "", &[]),
        raw::execute("", 0),
    ]);
    assert_eq!(kinds(&answer), "12CZ");
    // A query message in the middle of a skip is skipped too: only Sync ends it.
    raw.send(
        &[
            raw::parse("", "SELECT nothing"),
            raw::query("SELECT 1"),
            raw::sync(),
        ]
        .concat(),
    );
    assert_eq!(kinds(&raw.until('Z')), "EZ");
    assert_eq!(kinds(&raw.query("SELECT 1")), "TDCZ");
    drop(raw);
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn flush_sends_what_is_there() {
    let (server, at_rest) = server(&[]).await;
    let mut raw = Raw::log_in(&server);
    raw.send(&[raw::parse("", "SELECT 1"), raw::flush()].concat());
    assert_eq!(kinds(&raw.until('1')), "1");
    raw.send(&[raw::bind("", "", &[]), raw::describe('P', ""), raw::flush()].concat());
    assert_eq!(kinds(&raw.until('T')), "2T");
    raw.send(&[raw::execute("", 0), raw::flush()].concat());
    assert_eq!(kinds(&raw.until('C')), "DC");
    assert_eq!(kinds(&raw.sync(&[])), "Z");
    // An error is sent at once, without Flush or Sync.
    raw.send(&[raw::parse("", "SELECT nothing"), raw::flush()].concat());
    assert_eq!(kinds(&raw.until('E')), "E");
    assert_eq!(kinds(&raw.sync(&[])), "Z");
    drop(raw);
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn unknown_and_closed_names() {
    let (server, at_rest) = server(&[]).await;
    let mut raw = Raw::log_in(&server);
    for (messages, expected) in [
        (vec![raw::bind("", "nothing", &[])], "26000"),
        (vec![raw::describe('S', "nothing")], "26000"),
        (vec![raw::describe('P', "nothing")], "34000"),
        (vec![raw::execute("nothing", 0)], "34000"),
        (vec![raw::parse("", "SELECT 1; SELECT 2")], "42601"),
        (vec![raw::parse("", "SELEC 1")], "42601"),
        (
            vec![raw::parse("two", "SELECT 1"), raw::parse("two", "SELECT 2")],
            "42P05",
        ),
        (
            vec![
                raw::parse("", "SELECT 1"),
                raw::bind("x", "", &[]),
                raw::bind("x", "", &[]),
            ],
            "42P03",
        ),
        (
            vec![raw::parse("", "SELECT $1::int"), raw::bind("", "", &[])],
            "08P01",
        ),
        (
            vec![raw::parse("", "SELECT 1"), raw::bind("", "", &["1"])],
            "08P01",
        ),
        (
            vec![raw::parse("", "SELECT $1::int"), raw::bind("", "", &["x"])],
            "22P02",
        ),
    ] {
        let answer = raw.sync(&messages);
        assert_eq!(sqlstate(&answer), expected, "{messages:?}");
    }
    // Closing what is not there is no error; what was closed is gone.
    let answer = raw.sync(&[
        raw::close('S', "nothing"),
        raw::close('P', "nothing"),
        raw::parse("s", "SELECT 1"),
        raw::bind("p", "s", &[]),
        raw::close('P', "p"),
        raw::close('S', "s"),
    ]);
    assert_eq!(kinds(&answer), "331233Z");
    assert_eq!(sqlstate(&raw.sync(&[raw::bind("", "s", &[])])), "26000");
    // A portal keeps its statement, also when that is closed.
    let answer = raw.sync(&[
        raw::parse("s", "SELECT 1"),
        raw::bind("p", "s", &[]),
        raw::close('S', "s"),
        raw::execute("p", 0),
    ]);
    assert_eq!(kinds(&answer), "123DCZ");
    // A statement of the protocol and one of SQL share their names.
    assert_eq!(kinds(&raw.sync(&[raw::parse("shared", "SELECT 7")])), "1Z");
    assert_eq!(kinds(&raw.query("EXECUTE shared")), "TDCZ");
    assert_eq!(kinds(&raw.query("DEALLOCATE shared")), "CZ");
    assert_eq!(
        sqlstate(&raw.sync(&[raw::bind("", "shared", &[])])),
        "26000"
    );
    drop(raw);
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn describe_tells_parameters_and_columns() {
    const INT4: i32 = 23;
    const TEXT: i32 = 25;
    let (server, at_rest) = server(&[]).await;
    let mut raw = Raw::log_in(&server);
    let answer = raw.sync(&[
        raw::parse("s", "SELECT $1::int AS n, $2::text AS t"),
        raw::describe('S', "s"),
    ]);
    assert_eq!(kinds(&answer), "1tTZ");
    let parameters = [
        &2_i16.to_be_bytes()[..],
        &INT4.to_be_bytes(),
        &TEXT.to_be_bytes(),
    ]
    .concat();
    assert_eq!(answer[1].body, parameters);
    let columns = &answer[2].body;
    assert_eq!(columns[..2], 2_i16.to_be_bytes());
    assert_eq!(&columns[2..4], b"n\0");
    // Behind the name: table (4 bytes) and column (2), which a computed value has not, and the type.
    assert_eq!(columns[4..10], [0; 6]);
    assert_eq!(columns[10..14], INT4.to_be_bytes());
    // A type that only the comparison tells.
    let answer = raw.sync(&[
        raw::parse("t", "SELECT r_regionkey FROM region WHERE r_name = $1"),
        raw::describe('S', "t"),
        raw::bind("", "t", &["ASIA"]),
        raw::execute("", 0),
    ]);
    assert_eq!(kinds(&answer), "1tT2DCZ");
    assert_eq!(
        answer[1].body,
        [&1_i16.to_be_bytes()[..], &TEXT.to_be_bytes()].concat()
    );
    // No rows, and nothing at all.
    let answer = raw.sync(&[raw::parse("", "BEGIN"), raw::describe('S', "")]);
    assert_eq!(kinds(&answer), "1tnZ");
    let answer = raw.sync(&[
        raw::parse("", ""),
        raw::bind("", "", &[]),
        raw::describe('P', ""),
        raw::execute("", 0),
    ]);
    assert_eq!(kinds(&answer), "12nIZ");
    assert_eq!(kinds(&raw.query("")), "IZ");
    assert_eq!(kinds(&raw.query(" ; ")), "IZ");
    assert_eq!(kinds(&raw.query("-- nothing")), "IZ");
    drop(raw);
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn several_statements_in_one_query_are_one_transaction() {
    let (server, at_rest) = server(&[]).await;
    let mut raw = Raw::log_in(&server);
    let answer = raw.query("SELECT 1; SELECT 2; SHOW DateStyle");
    assert_eq!(kinds(&answer), "TDCTDCTDCZ");
    let answer = raw.query("CREATE VIEW one AS SELECT 1 AS x; SELECT 1 / 0; SELECT 2");
    // Whether columns are described before the row fails is open.
    assert_eq!(kinds(&answer).replace('T', ""), "CEZ");
    assert_eq!(answer.last().map(|m| m.body.clone()), Some(b"I".to_vec()));
    assert_eq!(sqlstate(&raw.query("SELECT * FROM one")), "42P01");
    // A syntax error anywhere runs nothing.
    let answer = raw.query("CREATE VIEW one AS SELECT 1 AS x; SELEC 1");
    assert_eq!(kinds(&answer), "EZ");
    // An explicit block inside: what came before the BEGIN belongs to it.
    let answer = raw.query("SELECT 1; BEGIN; CREATE VIEW one AS SELECT 1 AS x");
    assert_eq!(answer.last().map(|m| m.body.clone()), Some(b"T".to_vec()));
    let answer = raw.query("ROLLBACK; SELECT 1");
    assert_eq!(kinds(&answer), "CTDCZ");
    assert_eq!(sqlstate(&raw.query("SELECT * FROM one")), "42P01");
    drop(raw);
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn command_tags_and_reported_settings() {
    let (server, at_rest) = server(&[]).await;
    let mut raw = Raw::log_in(&server);
    let mut tag = |sql: &str| {
        let answer = raw.query(sql);
        let complete = answer.iter().find(|m| m.kind == 'C');
        complete
            .unwrap_or_else(|| panic!("{sql}: {answer:?}"))
            .text()
    };
    for (sql, expected) in [
        ("SELECT * FROM region", "SELECT 5"),
        ("VALUES (1), (2)", "SELECT 2"),
        ("SHOW DateStyle", "SHOW"),
        ("SET search_path = public", "SET"),
        ("RESET search_path", "RESET"),
        ("BEGIN", "BEGIN"),
        ("SAVEPOINT s", "SAVEPOINT"),
        ("RELEASE s", "RELEASE"),
        (
            "DECLARE c CURSOR FOR SELECT * FROM region",
            "DECLARE CURSOR",
        ),
        ("FETCH 2 FROM c", "FETCH 2"),
        ("MOVE 2 FROM c", "MOVE 2"),
        ("CLOSE c", "CLOSE CURSOR"),
        ("COMMIT", "COMMIT"),
        ("START TRANSACTION", "START TRANSACTION"),
        ("END", "COMMIT"),
        ("BEGIN", "BEGIN"),
        ("ABORT", "ROLLBACK"),
        ("PREPARE p AS SELECT 1", "PREPARE"),
        ("EXECUTE p", "SELECT 1"),
        ("DEALLOCATE p", "DEALLOCATE"),
        ("DEALLOCATE ALL", "DEALLOCATE ALL"),
        ("DISCARD ALL", "DISCARD ALL"),
        ("CREATE ROLE r", "CREATE ROLE"),
        ("ALTER ROLE r LOGIN", "ALTER ROLE"),
        ("DROP ROLE r", "DROP ROLE"),
        ("CREATE SCHEMA s", "CREATE SCHEMA"),
        ("CREATE VIEW s.v AS SELECT 1 AS x", "CREATE VIEW"),
        ("DROP VIEW s.v", "DROP VIEW"),
        ("DROP SCHEMA s", "DROP SCHEMA"),
        ("COPY region TO STDOUT", "COPY 5"),
        ("EXPLAIN SELECT 1", "EXPLAIN"),
    ] {
        assert_eq!(tag(sql), expected, "{sql}");
    }
    // A failed block that is committed is rolled back, and says so.
    raw.query("BEGIN");
    raw.query("SELECT 1 / 0");
    let answer = raw.query("COMMIT");
    assert_eq!(answer[0].text(), "ROLLBACK");
    // Changes of what the client must know are reported, also when they are undone.
    let reports = |answer: &[raw::Message]| -> Vec<String> {
        let statuses = answer.iter().filter(|m| m.kind == 'S');
        statuses.map(|m| m.text().replace('\0', "=")).collect()
    };
    raw.query("BEGIN");
    assert_eq!(
        reports(&raw.query("SET TimeZone = 'Europe/Berlin'")),
        ["TimeZone=Europe/Berlin"]
    );
    assert_eq!(reports(&raw.query("ROLLBACK")), ["TimeZone=UTC"]);
    assert_eq!(
        reports(&raw.query("SET application_name = 'me'")),
        ["application_name=me"]
    );
    assert_eq!(reports(&raw.query("SELECT 1")), [""; 0]);
    drop(raw);
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn errors_carry_position_and_severity() {
    let (server, at_rest) = server(&[]).await;
    let mut raw = Raw::log_in(&server);
    let mut error = |sql: &str| {
        let answer = raw.query(sql);
        let error = answer.iter().find(|m| m.kind == 'E').cloned();
        error.unwrap_or_else(|| panic!("{sql}: {answer:?}"))
    };
    for (sql, position) in [
        ("SELECT nothing", Some("8")),
        ("SELECT 1; SELECT nothing", Some("18")),
        ("SELECT 1 FORM region x", None),
        ("SELECT * FROM nowhere", Some("15")),
        ("SELECT 'grün', nothing", Some("16")),
    ] {
        let error = error(sql);
        assert_eq!(error.field('S').as_deref(), Some("ERROR"), "{sql}");
        assert_eq!(error.field('V').as_deref(), Some("ERROR"), "{sql}");
        if let Some(position) = position {
            assert_eq!(error.field('P').as_deref(), Some(position), "{sql}");
        }
    }
    drop(raw);
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn a_terminated_session_is_told_why() {
    let (server, at_rest) = server(&[]).await;
    let client = server.client().await;
    let mut idle = Raw::log_in(&server);
    let mut busy = Raw::log_in(&server);
    busy.send(&raw::query("SELECT pg_sleep(3600)"));
    session_active(&server, busy.key.0).await;
    for raw in [&mut idle, &mut busy] {
        let pid = raw.key.0;
        let sql = format!("SELECT pg_terminate_backend({pid})");
        assert_eq!(value(&client, &sql).await, "t");
        let answer = raw.until_closed();
        assert_eq!(sqlstate(&answer), "57P01");
        session_gone(&server, pid).await;
    }
    drop((idle, busy, client));
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn timeouts_end_statements_and_sessions() {
    let (server, at_rest) = server(&[]).await;
    let client = server.client().await;
    client
        .simple_query("SET statement_timeout = '50ms'")
        .await
        .expect("SET");
    assert_eq!(
        common::failure(&client, "SELECT pg_sleep(3600)").await,
        SqlState::QUERY_CANCELED
    );
    let sql = "SET statement_timeout = 0; SELECT 1";
    assert_eq!(value(&client, sql).await, "1");
    let mut raw = Raw::log_in(&server);
    raw.query("SET idle_in_transaction_session_timeout = '50ms'");
    raw.query("BEGIN");
    let answer = raw.until_closed();
    assert_eq!(sqlstate(&answer), "25P03");
    drop((raw, client));
    all_given_back(&server, at_rest).await;
    server.stop();
}

#[tokio::test]
async fn a_shutdown_lets_statements_finish() {
    let (server, _) = server(&[]).await;
    let mut idle = Raw::log_in(&server);
    let mut busy = Raw::log_in(&server);
    busy.send(&raw::query("SELECT pg_sleep(1), 'done'"));
    session_active(&server, busy.key.0).await;
    let stopping = std::thread::spawn(move || server.stop());
    let answer = busy.until_closed();
    assert!(
        kinds(&answer).starts_with("TDC"),
        "the statement was not let finish: {answer:?}"
    );
    let answer = idle.until_closed();
    assert_eq!(sqlstate(&answer), "57P01");
    stopping.join().expect("a clean shutdown");
}
