//! A client of HiveServer2 that counts rows and drops them.
//!
//! It reads Thrift's binary protocol from the connection, as clients do, since a reply does not say
//! how long it is; values that nobody asks for are skipped.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context, bail, ensure};

use super::Fetched;
use super::postgres::discard;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Rows of one call, as impyla asks for.
const FETCH_ROWS: i64 = 10_240;

/// Type codes.
const BOOL: u8 = 2;
const BYTE: u8 = 3;
const DOUBLE: u8 = 4;
const I16: u8 = 6;
const I32: u8 = 8;
const I64: u8 = 10;
const BINARY: u8 = 11;
const STRUCT: u8 = 12;
const MAP: u8 = 13;
const SET: u8 = 14;
const LIST: u8 = 15;

/// `FINISHED` and `ERROR` of `TOperationState`.
const FINISHED: i64 = 2;
const FAILED: i64 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Binary,
    Http,
}

/// A session on a connection of its own.
pub(super) struct Hive {
    stream: BufReader<TcpStream>,
    transport: Transport,
    /// Bytes that were read.
    read: u64,
    session: Vec<u8>,
}

/// A value of a reply, of a kind that is looked at.
enum Value {
    Number(i64),
    Bytes(Vec<u8>),
    Struct(Fields),
    /// What was skipped.
    Skipped,
}

#[derive(Default)]
struct Fields(BTreeMap<i16, Value>);

impl Fields {
    fn number(&self, id: i16) -> Option<i64> {
        match self.0.get(&id) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    fn bytes(&self, id: i16) -> anyhow::Result<&[u8]> {
        match self.0.get(&id) {
            Some(Value::Bytes(bytes)) => Ok(bytes),
            _ => bail!("the reply has no text in field {id}"),
        }
    }

    fn of(&self, id: i16) -> anyhow::Result<&Fields> {
        match self.0.get(&id) {
            Some(Value::Struct(fields)) => Ok(fields),
            _ => bail!("the reply has no struct in field {id}"),
        }
    }
}

/// A struct that is being written.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn field(mut self, kind: u8, id: i16, value: &[u8]) -> Self {
        self.0.push(kind);
        self.0.extend(id.to_be_bytes());
        self.0.extend(value);
        self
    }

    fn number(self, id: i16, value: i32) -> Self {
        self.field(I32, id, &value.to_be_bytes())
    }

    fn text(self, id: i16, text: &[u8]) -> Self {
        self.field(BINARY, id, &text_bytes(text))
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(0);
        self.0
    }
}

fn text_bytes(text: &[u8]) -> Vec<u8> {
    let length = i32::try_from(text.len()).expect("requests are short");
    [&length.to_be_bytes(), text].concat()
}

/// `THandleIdentifier` in the field 1 of a struct.
fn handle_bytes(fields: &Fields) -> anyhow::Result<Vec<u8>> {
    let identifier = Writer::default()
        .text(1, fields.bytes(1)?)
        .text(2, fields.bytes(2)?);
    Ok(identifier.end())
}

impl Hive {
    pub(super) fn connect(address: SocketAddr, transport: Transport) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).context("cannot connect")?;
        stream.set_nodelay(true)?;
        let mut client = Self {
            stream: BufReader::with_capacity(BUFFER_BYTES, stream),
            transport,
            read: 0,
            session: Vec::new(),
        };
        let user = whoami::username().context("cannot tell the user's name")?;
        let open = Writer::default().number(1, 5).text(2, user.as_bytes());
        let (reply, _) = client.call("OpenSession", &open.end())?;
        let session = handle_bytes(reply.of(3)?.of(1)?)?;
        client.session = Writer::default().field(STRUCT, 1, &session).end();
        Ok(client)
    }

    /// Runs a statement, fetches all its rows, and closes it.
    pub(super) fn fetch(&mut self, sql: &str) -> anyhow::Result<Fetched> {
        let before = self.read;
        let operation = self.execute(sql)?;
        let rows = self.fetch_all(&operation)?;
        self.close(&operation)?;
        Ok(Fetched {
            rows,
            bytes: self.read - before,
        })
    }

    /// Runs a statement until it has finished, and gives the seconds that fetching and closing it take
    /// then, and how large its profile is.
    pub(super) fn close_finished(&mut self, sql: &str) -> anyhow::Result<(f64, usize)> {
        let operation = self.execute(sql)?;
        let status = Writer::default().field(STRUCT, 1, &operation).end();
        loop {
            let (reply, _) = self.call("GetOperationStatus", &status)?;
            match reply.number(2) {
                Some(FINISHED) => break,
                Some(FAILED) => bail!("{sql}: {}", String::from_utf8_lossy(reply.bytes(5)?)),
                _ => {}
            }
        }
        let start = Instant::now();
        self.fetch_all(&operation)?;
        self.close(&operation)?;
        let seconds = start.elapsed().as_secs_f64();
        let profile =
            Writer::default()
                .field(STRUCT, 1, &operation)
                .field(STRUCT, 2, &self.session);
        let (reply, _) = self.call("GetRuntimeProfile", &profile.end())?;
        Ok((seconds, reply.bytes(2)?.len()))
    }

    fn execute(&mut self, sql: &str) -> anyhow::Result<Vec<u8>> {
        let execute = Writer::default()
            .field(STRUCT, 1, &self.session)
            .text(2, sql.as_bytes());
        let (reply, _) = self.call("ExecuteStatement", &execute.end())?;
        let operation = reply.of(2)?;
        let kind = operation.number(2).context("a handle without its kind")?;
        let handle = Writer::default()
            .field(STRUCT, 1, &handle_bytes(operation.of(1)?)?)
            .number(2, i32::try_from(kind)?)
            .field(BOOL, 3, &[1]);
        Ok(handle.end())
    }

    fn fetch_all(&mut self, operation: &[u8]) -> anyhow::Result<u64> {
        let fetch = Writer::default()
            .field(STRUCT, 1, operation)
            .number(2, 0)
            .field(I64, 3, &FETCH_ROWS.to_be_bytes())
            .end();
        let mut rows = 0;
        loop {
            let (reply, fetched) = self.call("FetchResults", &fetch)?;
            rows += fetched;
            if reply.number(2) == Some(0) {
                return Ok(rows);
            }
        }
    }

    fn close(&mut self, operation: &[u8]) -> anyhow::Result<()> {
        let close = Writer::default().field(STRUCT, 1, operation).end();
        self.call("CloseImpalaOperation", &close).map(drop)
    }

    /// Calls a method; gives the fields of the response, and how many rows it has.
    fn call(&mut self, method: &str, request: &[u8]) -> anyhow::Result<(Fields, u64)> {
        let mut message = 0x8001_0001_u32.to_be_bytes().to_vec();
        message.extend(text_bytes(method.as_bytes()));
        message.extend(0_i32.to_be_bytes());
        message.extend(Writer::default().field(STRUCT, 1, request).end());
        self.send(&message)?;
        let _version = self.take::<4>()?;
        let _name = self.bytes()?;
        let _sequence = self.take::<4>()?;
        let mut rows = 0;
        let mut result = self.fields(&mut rows)?;
        let Some(Value::Struct(response)) = result.0.remove(&0) else {
            bail!("{method}: {}", String::from_utf8_lossy(result.bytes(1)?));
        };
        let status = response.of(1)?;
        let code = status.number(1).unwrap_or_default();
        // SUCCESS, SUCCESS_WITH_INFO and STILL_EXECUTING.
        if !(0..=2).contains(&code) {
            bail!("{method}: {}", String::from_utf8_lossy(status.bytes(5)?));
        }
        Ok((response, rows))
    }

    fn send(&mut self, message: &[u8]) -> anyhow::Result<()> {
        if self.transport == Transport::Binary {
            return Ok(self.stream.get_mut().write_all(message)?);
        }
        let length = message.len();
        let head = format!(
            "POST /cliservice HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-thrift\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        let request = [head.as_bytes(), message].concat();
        self.stream.get_mut().write_all(&request)?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        ensure!(line.contains(" 200 "), "the server says: {line}");
        let mut has_length = false;
        while line.trim_end() != "" {
            line.clear();
            self.read += self.stream.read_line(&mut line)? as u64;
            has_length |= line.to_ascii_lowercase().starts_with("content-length:");
        }
        ensure!(has_length, "the reply does not say how long it is");
        Ok(())
    }

    /// The fields of a struct. Only rows have lists in lists: how many is told in `rows`.
    fn fields(&mut self, rows: &mut u64) -> anyhow::Result<Fields> {
        let mut fields = Fields::default();
        loop {
            let [kind] = self.take()?;
            if kind == 0 {
                return Ok(fields);
            }
            let id = i16::from_be_bytes(self.take()?);
            let value = match kind {
                BOOL => Value::Number(i64::from(self.take::<1>()?[0])),
                I32 => Value::Number(i64::from(i32::from_be_bytes(self.take()?))),
                I64 => Value::Number(i64::from_be_bytes(self.take()?)),
                BINARY => Value::Bytes(self.bytes()?),
                STRUCT => Value::Struct(self.fields(rows)?),
                _ => {
                    self.skip(kind, 0, rows)?;
                    Value::Skipped
                }
            };
            fields.0.insert(id, value);
        }
    }

    /// Skips a value in `lists` lists.
    fn skip(&mut self, kind: u8, lists: usize, rows: &mut u64) -> anyhow::Result<()> {
        match kind {
            BINARY => {
                let length = self.length()?;
                self.discard(length)
            }
            STRUCT => loop {
                let [kind] = self.take()?;
                if kind == 0 {
                    return Ok(());
                }
                self.discard(2)?;
                self.skip(kind, lists, rows)?;
            },
            LIST | SET => {
                let [kind] = self.take()?;
                let length = self.length()?;
                if lists == 1 {
                    *rows = length as u64;
                }
                match fixed_bytes(kind) {
                    Some(bytes) => self.discard(length * bytes),
                    None if kind == BINARY => self.skip_texts(length),
                    None => (0..length).try_for_each(|_| self.skip(kind, lists + 1, rows)),
                }
            }
            MAP => {
                let kinds: [u8; 2] = self.take()?;
                let length = self.length()?;
                for kind in (0..length).flat_map(|_| kinds) {
                    self.skip(kind, lists, rows)?;
                }
                Ok(())
            }
            _ => {
                let bytes = fixed_bytes(kind).with_context(|| format!("an unknown type {kind}"))?;
                self.discard(bytes)
            }
        }
    }

    /// Skips so many texts, as many at a time as have arrived.
    fn skip_texts(&mut self, mut texts: usize) -> anyhow::Result<()> {
        while texts > 0 {
            let arrived = self.stream.buffer();
            let mut at = 0;
            while texts > 0
                && let Some(length) = arrived[at..].first_chunk::<4>()
            {
                let end = at + 4 + usize::try_from(i32::from_be_bytes(*length))?;
                if end > arrived.len() {
                    break;
                }
                at = end;
                texts -= 1;
            }
            self.discard(at)?;
            // The next one has not arrived whole.
            if texts > 0 {
                let length = self.length()?;
                self.discard(length)?;
                texts -= 1;
            }
        }
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> anyhow::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes)?;
        self.read += N as u64;
        Ok(bytes)
    }

    fn length(&mut self) -> anyhow::Result<usize> {
        Ok(usize::try_from(i32::from_be_bytes(self.take()?))?)
    }

    fn bytes(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = vec![0; self.length()?];
        self.stream.read_exact(&mut bytes)?;
        self.read += bytes.len() as u64;
        Ok(bytes)
    }

    fn discard(&mut self, bytes: usize) -> anyhow::Result<()> {
        self.read += bytes as u64;
        discard(&mut self.stream, bytes)
    }
}

/// How many bytes a value of a type takes, if all take as many.
fn fixed_bytes(kind: u8) -> Option<usize> {
    match kind {
        BOOL | BYTE => Some(1),
        I16 => Some(2),
        I32 => Some(4),
        I64 | DOUBLE => Some(8),
        _ => None,
    }
}
