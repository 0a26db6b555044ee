//! A client of PostgreSQL's protocol that counts rows and drops them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::str::FromStr;

use anyhow::{Context, bail};
use tokio_postgres::config::{Config, Host};

use super::Fetched;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// A connection of a user who needs no password.
pub(super) struct Postgres {
    stream: BufReader<TcpStream>,
}

impl Postgres {
    pub(super) fn connect(url: &str) -> anyhow::Result<Self> {
        let config = Config::from_str(url)?;
        let Some(Host::Tcp(host)) = config.get_hosts().first() else {
            bail!("the server must be reached over TCP");
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let stream = TcpStream::connect((host.as_str(), port)).context("cannot connect")?;
        stream.set_nodelay(true)?;
        let mut client = Self {
            stream: BufReader::with_capacity(BUFFER_BYTES, stream),
        };
        let mut body = 196_608_i32.to_be_bytes().to_vec();
        let user = config.get_user().context("the URL names no user")?;
        let database = config.get_dbname().unwrap_or(user);
        for text in ["user", user, "database", database] {
            text_into(&mut body, text);
        }
        body.push(0);
        client.send(&framed(None, &body))?;
        client.until_ready()?;
        Ok(client)
    }

    pub(super) fn fetch_text(&mut self, sql: &str) -> anyhow::Result<Fetched> {
        let mut body = Vec::new();
        text_into(&mut body, sql);
        self.send(&framed(Some(b'Q'), &body))?;
        self.until_ready()
    }

    pub(super) fn fetch_binary(&mut self, sql: &str) -> anyhow::Result<Fetched> {
        let mut parse = vec![0];
        text_into(&mut parse, sql);
        parse.extend([0, 0]);
        // Unnamed portal and statement, no parameters, all results in the form 1.
        let bind = [0, 0, 0, 0, 0, 0, 0, 1, 0, 1];
        // All rows of the unnamed portal.
        let execute = [0; 5];
        let messages = [
            framed(Some(b'P'), &parse),
            framed(Some(b'B'), &bind),
            framed(Some(b'E'), &execute),
            framed(Some(b'S'), &[]),
        ];
        self.send(&messages.concat())?;
        self.until_ready()
    }

    fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.get_mut().write_all(bytes)?)
    }

    /// Reads up to `ReadyForQuery`.
    fn until_ready(&mut self) -> anyhow::Result<Fetched> {
        let mut fetched = Fetched::default();
        loop {
            let mut header = [0; 5];
            self.stream.read_exact(&mut header)?;
            let [kind, length @ ..] = header;
            let length = usize::try_from(i32::from_be_bytes(length))?;
            let body = length.checked_sub(4).context("a length below 4")?;
            fetched.bytes += length as u64 + 1;
            match kind {
                b'E' => {
                    let mut message = vec![0; body];
                    self.stream.read_exact(&mut message)?;
                    bail!("the server says: {}", String::from_utf8_lossy(&message));
                }
                b'R' => {
                    let mut request = vec![0; body];
                    self.stream.read_exact(&mut request)?;
                    let is_ok = request.iter().all(|byte| *byte == 0);
                    anyhow::ensure!(is_ok, "the server asks for a password");
                }
                _ => {
                    fetched.rows += u64::from(kind == b'D');
                    discard(&mut self.stream, body)?;
                }
            }
            if kind == b'Z' {
                return Ok(fetched);
            }
        }
    }
}

/// Drops the next bytes.
pub(super) fn discard(stream: &mut impl BufRead, mut bytes: usize) -> anyhow::Result<()> {
    while bytes > 0 {
        let there = stream.fill_buf()?.len().min(bytes);
        anyhow::ensure!(there > 0, "the server has closed the connection");
        stream.consume(there);
        bytes -= there;
    }
    Ok(())
}

fn text_into(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(text.as_bytes());
    bytes.push(0);
}

/// A message with its length in front; the first one of a connection has no kind.
fn framed(kind: Option<u8>, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("requests are short");
    let mut bytes: Vec<u8> = kind.into_iter().collect();
    bytes.extend(length.to_be_bytes());
    bytes.extend(body);
    bytes
}
