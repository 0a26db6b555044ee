//! A small HTTP client: it sends what a test wants to send, also what no browser would.
#![allow(dead_code, reason = "each test file uses a part of this")]

use std::fmt::Write as _;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::common::{DEADLINE, Server};

/// What a server has answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// A header by its lower-case name; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map_or("", |(_, value)| value)
    }
}

pub async fn get(server: &Server, path: &str) -> Answer {
    request(server, "GET", path, &[], "").await
}

/// Sends a form.
pub async fn post(server: &Server, path: &str, form: &str) -> Answer {
    let kind = ("Content-Type", "application/x-www-form-urlencoded");
    request(server, "POST", path, &[kind], form).await
}

/// Sends a request of any kind; without a `Host` among the headers, it is the server's address.
pub async fn request(
    server: &Server,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut stream = send(server, method, path, headers, body).await;
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes));
    read.await.expect("an answer in time").expect("an answer");
    let text = String::from_utf8(bytes).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let mut lines = head.lines();
    let status = lines
        .next()
        .expect("a status")
        .split(' ')
        .nth(1)
        .expect("a number");
    let header = |line: &str| {
        let (name, value) = line.split_once(':').expect("a header");
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    Answer {
        status: status.parse().expect("a number"),
        headers: lines.map(header).collect(),
        body: body.to_owned(),
    }
}

async fn send(
    server: &Server,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> TcpStream {
    let address = server.web_address();
    let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        let _ = write!(text, "Host: {address}\r\n");
    }
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    let _ = write!(text, "Content-Length: {}\r\n\r\n{body}", body.len());
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(text.as_bytes()).await.expect("a request");
    stream
}

/// What a page says in JSON.
pub async fn json(server: &Server, path: &str) -> serde_json::Value {
    let separator = if path.contains('?') { '&' } else { '?' };
    let answer = get(server, &format!("{path}{separator}json")).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    assert_eq!(answer.header("content-type"), "application/json");
    serde_json::from_str(&answer.body).unwrap_or_else(|e| panic!("{path}: {e}\n{}", answer.body))
}

/// The value of a metric, which is named with its labels as Prometheus reads it.
pub async fn metric(server: &Server, name: &str) -> f64 {
    let text = get(server, "/metrics_prometheus").await.body;
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
    let value = line.unwrap_or_else(|| panic!("{name} is not in\n{text}"));
    value.parse().expect("a number")
}

/// The token that stands in the forms.
pub async fn token(server: &Server) -> String {
    let logs = request(server, "GET", "/logs", &[("Accept", "text/html")], "").await;
    let (_, rest) = logs
        .body
        .split_once("name=\"token\" value=\"")
        .expect("a token");
    rest.split_once('"').expect("its end").0.to_owned()
}

/// The header of a log-in by name and password.
pub fn basic(user: &str, password: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes = format!("{user}:{password}").into_bytes();
    let mut out = "Basic ".to_owned();
    for group in bytes.chunks(3) {
        let number = (0..3).fold(0, |n, i| {
            n << 8 | u32::from(group.get(i).copied().unwrap_or(0))
        });
        for digit in 0..4 {
            let value = number >> (18 - 6 * digit) & 63;
            let is_there = digit <= group.len();
            out.push(if is_there {
                char::from(DIGITS[value as usize])
            } else {
                '='
            });
        }
    }
    out
}

/// A stream of server-sent events.
pub struct Events {
    stream: TcpStream,
    read: String,
}

impl Events {
    pub async fn of(server: &Server, path: &str) -> Self {
        let accept = ("Accept", "text/event-stream");
        let stream = send(server, "GET", path, &[accept], "").await;
        Self {
            stream,
            read: String::new(),
        }
    }

    /// The next event as it is on the wire.
    pub async fn next(&mut self) -> String {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let event = event.to_owned();
                self.read = rest.to_owned();
                if event.contains("data:") {
                    return event;
                }
                continue;
            }
            let mut bytes = vec![0; 1 << 16];
            let read = tokio::time::timeout(DEADLINE, self.stream.read(&mut bytes));
            let count = read.await.expect("an event in time").expect("an event");
            assert!(count > 0, "the stream of events has ended");
            self.read += &String::from_utf8_lossy(&bytes[..count]);
        }
    }
}
