//! The PostgreSQL protocol by hand: whatever bytes a test wants to send.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use super::{DEADLINE, Server, superuser};

/// Protocol 3.0.
pub const VERSION: i32 = 196_608;
/// What asks for TLS.
pub const SSL_REQUEST: i32 = 80_877_103;
/// What asks for GSSAPI encryption.
pub const GSS_REQUEST: i32 = 80_877_104;
/// What asks to cancel another session's statement.
pub const CANCEL_REQUEST: i32 = 80_877_102;

/// A message from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub kind: char,
    pub body: Vec<u8>,
}

impl Message {
    /// A field of an error or a notice: `C` is the SQLSTATE, `S` the severity, `M` the text.
    pub fn field(&self, wanted: char) -> Option<String> {
        let fields = self.body.split(|b| *b == 0);
        let mut fields = fields.filter_map(|f| f.split_first());
        let (_, text) = fields.find(|(kind, _)| char::from(**kind) == wanted)?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// A command's tag.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body)
            .trim_end_matches('\0')
            .to_owned()
    }
}

/// A connection.
pub struct Raw {
    stream: TcpStream,
    /// What a cancel request needs to know; after the start-up.
    pub key: (i32, i32),
}

impl Raw {
    /// Only connects.
    pub fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(server.address()).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self {
            stream,
            key: (0, 0),
        }
    }

    /// Connects and logs in.
    pub fn log_in(server: &Server) -> Self {
        let mut raw = Self::connect(server);
        raw.start_up();
        raw
    }

    /// Logs in, up to the server's `ReadyForQuery`.
    pub fn start_up(&mut self) {
        self.start_up_as(&superuser());
    }

    /// Logs in as somebody else.
    pub fn start_up_as(&mut self, user: &str) {
        self.send(&startup(user));
        for message in self.until('Z') {
            if message.kind == 'K' {
                let word = |i: usize| {
                    let bytes = message.body[i..i + 4].try_into().expect("four bytes");
                    i32::from_be_bytes(bytes)
                };
                self.key = (word(0), word(4));
            }
        }
    }

    /// Sends bytes, which the server must take.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// Sends bytes, which the server may refuse by closing the connection.
    pub fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// No more comes from this side.
    pub fn finish_sending(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// One byte, as encryption requests are answered.
    pub fn byte(&mut self) -> u8 {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).expect("an answer");
        byte[0]
    }

    /// The next message; `None` when the server has closed the connection.
    pub fn message(&mut self) -> Option<Message> {
        let mut header = [0; 5];
        if !self.read_all(&mut header) {
            return None;
        }
        let length = i32::from_be_bytes(header[1..].try_into().expect("four bytes"));
        let length = usize::try_from(length).expect("a length") - 4;
        let mut body = vec![0; length];
        assert!(
            self.read_all(&mut body),
            "the server stopped within a message"
        );
        Some(Message {
            kind: header[0].into(),
            body,
        })
    }

    /// False at the end of the connection, however it ended. Waiting in vain is a failure.
    fn read_all(&mut self, bytes: &mut [u8]) -> bool {
        match self.stream.read_exact(bytes) {
            Ok(()) => true,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the server neither answers nor closes the connection")
            }
            Err(_) => false,
        }
    }

    /// All messages up to the first of `kind`, that one included.
    pub fn until(&mut self, kind: char) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            match self.message() {
                Some(message) => messages.push(message),
                None => panic!("the server closed the connection after {messages:?}"),
            }
            if messages.last().is_some_and(|m| m.kind == kind) {
                return messages;
            }
        }
    }

    /// All messages up to the end of the connection, which the server must bring about.
    pub fn until_closed(&mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.message()).collect()
    }

    /// All bytes up to the end of the connection, which the server must bring about.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the server does not close the connection")
            }
            _ => bytes,
        }
    }

    /// How many whole messages still come before the connection ends, be it within a message.
    pub fn until_closed_or_cut(&mut self) -> usize {
        let mut count = 0;
        let mut header = [0; 5];
        while self.read_all(&mut header) {
            let length = i32::from_be_bytes(header[1..].try_into().expect("four bytes"));
            let mut body = vec![0; usize::try_from(length).expect("a length") - 4];
            if !self.read_all(&mut body) {
                break;
            }
            count += 1;
        }
        count
    }

    /// Sends messages and a `Sync`; the answers up to `ReadyForQuery`.
    pub fn sync(&mut self, messages: &[Vec<u8>]) -> Vec<Message> {
        self.send(&messages.concat());
        self.send(&sync());
        self.until('Z')
    }

    /// Runs a simple query.
    pub fn query(&mut self, sql: &str) -> Vec<Message> {
        self.send(&query(sql));
        self.until('Z')
    }
}

/// The kinds of messages, in order.
pub fn kinds(messages: &[Message]) -> String {
    messages.iter().map(|m| m.kind).collect()
}

/// The SQLSTATE of the only error among messages.
pub fn sqlstate(messages: &[Message]) -> String {
    let errors: Vec<&Message> = messages.iter().filter(|m| m.kind == 'E').collect();
    match errors.as_slice() {
        [error] => error.field('C').expect("a SQLSTATE"),
        other => panic!("not one error but {other:?} in {}", kinds(messages)),
    }
}

/// A message with its length in front.
pub fn framed(body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len() + 4).expect("a short message");
    [&length.to_be_bytes()[..], body].concat()
}

/// A typed message.
pub fn message(kind: char, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(kind).expect("an ASCII letter")];
    bytes.extend(framed(body));
    bytes
}

/// The start-up message of `user`.
pub fn startup(user: &str) -> Vec<u8> {
    let parameters = format!("user\0{user}\0database\0forebay\0\0");
    framed(&[&VERSION.to_be_bytes()[..], parameters.as_bytes()].concat())
}

/// `SSLRequest`, `GSSENCRequest`.
pub fn request(code: i32) -> Vec<u8> {
    framed(&code.to_be_bytes())
}

/// `CancelRequest`.
pub fn cancel((pid, secret): (i32, i32)) -> Vec<u8> {
    let words = [CANCEL_REQUEST, pid, secret];
    framed(&words.map(i32::to_be_bytes).concat())
}

/// `Query`.
pub fn query(sql: &str) -> Vec<u8> {
    message('Q', format!("{sql}\0").as_bytes())
}

/// `Parse`, with no parameter types declared.
pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    message('P', format!("{name}\0{sql}\0\0\0").as_bytes())
}

/// `Bind` with parameters and results as text.
pub fn bind(portal: &str, statement: &str, values: &[&str]) -> Vec<u8> {
    let mut body = format!("{portal}\0{statement}\0").into_bytes();
    body.extend(0_i16.to_be_bytes());
    body.extend(
        i16::try_from(values.len())
            .expect("few values")
            .to_be_bytes(),
    );
    for value in values {
        body.extend(
            i32::try_from(value.len())
                .expect("a short value")
                .to_be_bytes(),
        );
        body.extend(value.as_bytes());
    }
    body.extend(0_i16.to_be_bytes());
    message('B', &body)
}

/// `Execute`; 0 rows means all.
pub fn execute(portal: &str, rows: i32) -> Vec<u8> {
    let body = [format!("{portal}\0").as_bytes(), &rows.to_be_bytes()].concat();
    message('E', &body)
}

/// `Describe` of a statement (`S`) or a portal (`P`).
pub fn describe(kind: char, name: &str) -> Vec<u8> {
    message('D', format!("{kind}{name}\0").as_bytes())
}

/// `Close` of a statement (`S`) or a portal (`P`).
pub fn close(kind: char, name: &str) -> Vec<u8> {
    message('C', format!("{kind}{name}\0").as_bytes())
}

/// `Flush`.
pub fn flush() -> Vec<u8> {
    message('H', &[])
}

/// `Sync`.
pub fn sync() -> Vec<u8> {
    message('S', &[])
}

/// `Terminate`.
pub fn terminate() -> Vec<u8> {
    message('X', &[])
}

/// Messages as one line: kinds, with what errors, notices, tags, rows and the state of the
/// transaction say.
pub fn told(messages: &[Message]) -> String {
    let told = messages.iter().map(|message| match message.kind {
        'E' | 'N' => {
            let field = |kind| message.field(kind).unwrap_or_default();
            format!("{}[{} {}]", message.kind, field('C'), field('M'))
        }
        'C' => format!("C[{}]", message.text()),
        'D' => format!("D({})", row(&message.body).join(",")),
        'Z' => format!("Z{}", message.text()),
        kind => kind.to_string(),
    });
    told.collect::<Vec<_>>().join(" ")
}

/// The values of a `DataRow` in text form.
fn row(body: &[u8]) -> Vec<String> {
    let mut values = Vec::new();
    let mut rest = &body[2..];
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = i32::from_be_bytes(*length);
        let (value, after) = after.split_at(usize::try_from(length).unwrap_or(0));
        values.push(match length {
            -1 => "NULL".to_owned(),
            _ => String::from_utf8_lossy(value).into_owned(),
        });
        rest = after;
    }
    values
}
