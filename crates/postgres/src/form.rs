//! The form of the client's messages: every inner length fits, text is text, nothing is left over.
//!
//! Checked before a message is decoded, because the library takes lengths on trust and replaces
//! text that it cannot read.

/// The code of a `CancelRequest`, and its length with the 4-byte key of protocol 3.0.
const CANCEL: i32 = 80_877_102;
const CANCEL_LENGTH: usize = 16;

/// What is wrong with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadForm {
    /// Code of PostgreSQL's appendix A.
    pub(crate) sqlstate: &'static str,
    /// What a client is told.
    pub(crate) message: String,
}

impl BadForm {
    fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self {
            sqlstate,
            message: message.into(),
        }
    }
}

/// A message that is not what its type says.
pub(crate) fn invalid() -> BadForm {
    BadForm::new("08P01", "invalid message format")
}

/// Checks the body of a typed message.
pub(crate) fn check(kind: u8, body: &[u8]) -> Result<(), BadForm> {
    let mut body = Body(body);
    match kind {
        b'Q' => body.text()?,
        b'P' => {
            body.text()?;
            body.text()?;
            let types = body.count()?;
            body.skip(types * 4)?;
        }
        b'B' => check_bind(&mut body)?,
        b'E' => {
            body.text()?;
            body.skip(4)?;
        }
        b'C' | b'D' => {
            if !matches!(body.byte()?, b'S' | b'P') {
                return Err(invalid());
            }
            body.text()?;
        }
        b'f' => body.text()?,
        b'H' | b'S' | b'X' | b'c' => {}
        // Data of a COPY, passwords, and function calls, which nobody decodes.
        _ => return Ok(()),
    }
    body.end()
}

/// Checks the first message of a SASL exchange: a mechanism's name, and data that fill the rest.
pub(crate) fn check_sasl_initial_response(body: &[u8]) -> Result<(), BadForm> {
    let mut body = Body(body);
    body.text()?;
    match body.int()? {
        -1 => {}
        length => body.skip(usize::try_from(length).map_err(|_| invalid())?)?,
    }
    body.end()
}

fn check_bind(body: &mut Body<'_>) -> Result<(), BadForm> {
    body.text()?;
    body.text()?;
    let formats = body.count()?;
    body.skip(formats * 2)?;
    for _ in 0..body.count()? {
        match body.int()? {
            -1 => {}
            length => body.skip(usize::try_from(length).map_err(|_| invalid())?)?,
        }
    }
    let formats = body.count()?;
    body.skip(formats * 2)
}

/// Checks a start-up message or a cancel request.
pub(crate) fn check_startup(message: &[u8]) -> Result<(), BadForm> {
    let mut body = Body(&message[4..]);
    let code = body.int()?;
    if code == CANCEL {
        return if message.len() >= CANCEL_LENGTH {
            Ok(())
        } else {
            Err(invalid())
        };
    }
    let (major, minor) = (code >> 16, code & 0xffff);
    if major != 3 {
        return Err(BadForm::new(
            "0A000",
            format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0"),
        ));
    }
    match body.0.last() {
        Some(0) => Ok(()),
        _ => Err(BadForm::new(
            "08P01",
            "invalid startup packet layout: expected terminator as last byte",
        )),
    }
}

/// What is left of a message.
struct Body<'a>(&'a [u8]);

impl Body<'_> {
    fn skip(&mut self, bytes: usize) -> Result<(), BadForm> {
        self.0 = self.0.get(bytes..).ok_or_else(invalid)?;
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, BadForm> {
        let (first, rest) = self.0.split_first().ok_or_else(invalid)?;
        self.0 = rest;
        Ok(*first)
    }

    fn int(&mut self) -> Result<i32, BadForm> {
        let (first, rest) = self.0.split_first_chunk().ok_or_else(invalid)?;
        self.0 = rest;
        Ok(i32::from_be_bytes(*first))
    }

    /// A count of things that follow.
    fn count(&mut self) -> Result<usize, BadForm> {
        let (first, rest) = self.0.split_first_chunk().ok_or_else(invalid)?;
        self.0 = rest;
        Ok(usize::from(u16::from_be_bytes(*first)))
    }

    /// Text up to a zero byte.
    fn text(&mut self) -> Result<(), BadForm> {
        let end = self.0.iter().position(|b| *b == 0).ok_or_else(invalid)?;
        let text = &self.0[..end];
        if let Err(error) = str::from_utf8(text) {
            let byte = text[error.valid_up_to()];
            return Err(BadForm::new(
                "22021",
                format!("invalid byte sequence for encoding \"UTF8\": 0x{byte:02x}"),
            ));
        }
        self.skip(end + 1)
    }

    fn end(&self) -> Result<(), BadForm> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(invalid())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused() {
        let cases: [(u8, &[u8], Option<&str>); 14] = [
            (b'Q', b"SELECT 1\0", None),
            (b'Q', b"SELECT 1", Some("08P01")),
            (b'Q', b"SELECT 1\0SELECT 2\0", Some("08P01")),
            (b'Q', b"\xff\0", Some("22021")),
            (b'P', b"s\0SELECT 1\0\0\x01\0\0\0\x17", None),
            (b'P', b"s\0SELECT 1\0\0\x02\0\0\0\x17", Some("08P01")),
            (b'B', b"\0\0\0\0\0\x01\0\0\0\x021a\0\0", None),
            (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xff\0\0", None),
            (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xf0\0\0", Some("08P01")),
            (b'E', b"\0\0\0\0\0", None),
            (b'E', b"\0\0", Some("08P01")),
            (b'C', b"Sx\0", None),
            (b'C', b"?x\0", Some("08P01")),
            (b'S', b"", None),
        ];
        for (kind, body, expected) in cases {
            let found = check(kind, body).err().map(|e| e.sqlstate);
            assert_eq!(found, expected, "{} {body:?}", char::from(kind));
        }
    }

    #[test]
    fn a_sasl_exchange_begins_with_what_fits() {
        for (body, sound) in [
            (&b"SCRAM-SHA-256\0\0\0\0\x03n,,"[..], true),
            (b"SCRAM-SHA-256\0\xff\xff\xff\xff", true),
            (b"SCRAM-SHA-256\0\0\0\0\x04n,,", false),
            (b"SCRAM-SHA-256\0\0\0\0\x02n,,", false),
            (b"SCRAM-SHA-256\0\x7f\xff\xff\xffn,,", false),
            (b"SCRAM-SHA-256\0\xff\xff\xff\xf0n,,", false),
            (b"SCRAM-SHA-256\0\0\0", false),
            (b"SCRAM-SHA-256", false),
            (b"", false),
        ] {
            let found = check_sasl_initial_response(body);
            assert_eq!(found.is_ok(), sound, "{body:?}");
        }
    }

    #[test]
    fn only_protocol_3_starts_up() {
        let found = |message: &[u8]| check_startup(message).err().map(|e| e.sqlstate);
        assert_eq!(found(b"\0\0\0\x0f\0\x03\0\0user\0a\0"), None);
        assert_eq!(found(b"\0\0\0\x08\0\x04\0\0"), Some("0A000"));
        assert_eq!(found(b"\0\0\0\x0c\0\x03\0\0user"), Some("08P01"));
        assert_eq!(found(b"\0\0\0\x08\x04\xd2\x16\x2e"), Some("08P01"));
    }
}
