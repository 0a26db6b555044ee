//! Finds the end of a message in the bytes that have arrived.
//!
//! A message of the binary protocol without a frame does not say how long it is: its end is where
//! its outermost struct ends. So the bytes are walked through as they come, and decoded only once all
//! of them are there. Nothing is allocated for a length that a client only claims, each byte is
//! looked at once however it arrives, and depth, size and count are limited.

use bytes::Bytes;

/// Containers in containers.
const MAX_DEPTH: usize = 32;

/// Longest name of a method.
const MAX_NAME_BYTES: usize = 128;

/// The version of the binary protocol, in the upper half of a message's first word.
const VERSION_1: u32 = 0x8001_0000;
const VERSION_MASK: u32 = 0xffff_0000;

/// Type codes of the binary protocol, on which scanning depends.
const STOP: u8 = 0;
const BINARY: u8 = 11;
const STRUCT: u8 = 12;
const MAP: u8 = 13;
const SET: u8 = 14;
const LIST: u8 = 15;

/// Bytes that are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("not a message of Thrift's binary protocol")]
    Version,
    #[error("the name of the method is too long or not plain")]
    Name,
    #[error("a value of the unknown type {0}")]
    Type(u8),
    #[error("a negative length")]
    Negative,
    #[error("values are nested more than {MAX_DEPTH} deep")]
    Depth,
    #[error("the message is longer than {0} bytes")]
    Size(usize),
}

/// A whole message, still in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) bytes: Bytes,
    /// Whether all its containers hold texts, as those of the calls do that are served. The code made
    /// of the IDL does not look at the types of elements.
    pub(crate) only_texts: bool,
}

/// Where a walk through a message stands.
#[derive(Debug)]
pub(crate) struct Scanner {
    max_bytes: usize,
    /// Everything before is walked through.
    at: usize,
    /// Bytes behind `at` that are no structure.
    skip: usize,
    /// What is open, outermost first; empty before the message's body.
    open: Vec<Open>,
    only_texts: bool,
}

#[derive(Debug, Clone, Copy)]
enum Open {
    Struct,
    /// Elements that are still to come.
    List {
        element: u8,
        left: usize,
    },
    /// Keys and values that are still to come, together; a key comes where the number is even.
    Map {
        key: u8,
        value: u8,
        left: usize,
    },
}

impl Scanner {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            at: 0,
            skip: 0,
            open: Vec::new(),
            only_texts: true,
        }
    }

    /// Walks on. `bytes` is all that has arrived since the message's first byte. The answer is the
    /// message's length, once its end is there, and whether its containers hold nothing but texts.
    ///
    /// # Errors
    /// [`Malformed`]; the scanner is of no use afterwards.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<Option<(usize, bool)>, Malformed> {
        if self.open.is_empty() && !self.header(bytes)? {
            return Ok(None);
        }
        loop {
            let there = self.skip.min(bytes.len() - self.at);
            self.at += there;
            self.skip -= there;
            if self.skip > 0 {
                return Ok(None);
            }
            let Some(innermost) = self.open.last().copied() else {
                return Ok(Some((self.at, self.only_texts)));
            };
            if !self.step(innermost, &bytes[self.at..])? {
                return Ok(None);
            }
        }
    }

    /// Walks over version, name and sequence number, once they are there.
    fn header(&mut self, bytes: &[u8]) -> Result<bool, Malformed> {
        let Some(version) = word(bytes) else {
            // A client of another protocol is not waited for.
            let begin = VERSION_1.to_be_bytes();
            let begins = bytes.iter().zip(begin).take(2).all(|(a, b)| *a == b);
            return if begins {
                Ok(false)
            } else {
                Err(Malformed::Version)
            };
        };
        if version & VERSION_MASK != VERSION_1 {
            return Err(Malformed::Version);
        }
        let Some(length) = word(&bytes[4..]) else {
            return Ok(false);
        };
        let length = length as usize;
        if length > MAX_NAME_BYTES {
            return Err(Malformed::Name);
        }
        let Some(name) = bytes.get(8..8 + length) else {
            return Ok(false);
        };
        if !name.iter().all(|byte| byte.is_ascii_graphic()) {
            return Err(Malformed::Name);
        }
        if bytes.len() < 8 + length + 4 {
            return Ok(false);
        }
        self.at = 8 + length + 4;
        self.open.push(Open::Struct);
        Ok(true)
    }

    /// Walks over one field's or element's beginning; false while it is not there.
    fn step(&mut self, innermost: Open, rest: &[u8]) -> Result<bool, Malformed> {
        match innermost {
            Open::Struct => match rest {
                [] => Ok(false),
                [STOP, ..] => {
                    self.open.pop();
                    self.jump(1)
                }
                // The type, and two bytes of the field's number.
                [kind, _, _, rest @ ..] => self.value(*kind, 3, rest),
                _ => Ok(false),
            },
            Open::List { left: 0, .. } | Open::Map { left: 0, .. } => {
                self.open.pop();
                Ok(true)
            }
            Open::List { element, left } => {
                let next = Open::List {
                    element,
                    left: left - 1,
                };
                self.element(element, next, rest)
            }
            Open::Map { key, value, left } => {
                let kind = if left % 2 == 0 { key } else { value };
                let next = Open::Map {
                    key,
                    value,
                    left: left - 1,
                };
                self.element(kind, next, rest)
            }
        }
    }

    fn element(&mut self, kind: u8, next: Open, rest: &[u8]) -> Result<bool, Malformed> {
        let container = self.open.len() - 1;
        let there = self.value(kind, 0, rest)?;
        if there {
            self.open[container] = next;
        }
        Ok(there)
    }

    /// Walks over a value's beginning, which comes `before` bytes from here; false while it is not
    /// there.
    fn value(&mut self, kind: u8, before: usize, rest: &[u8]) -> Result<bool, Malformed> {
        if let Some(size) = fixed_size(kind) {
            return self.jump(before + size);
        }
        match kind {
            STRUCT => {
                self.enter(Open::Struct)?;
                self.jump(before)
            }
            BINARY => match length(rest)? {
                Some(length) => self.jump(before + 4 + length),
                None => Ok(false),
            },
            LIST | SET => {
                let [element, rest @ ..] = rest else {
                    return Ok(false);
                };
                let Some(left) = length(rest)? else {
                    return Ok(false);
                };
                self.only_texts &= *element == BINARY;
                self.check_room(before + 5, least_size(*element)?, left)?;
                self.enter(Open::List {
                    element: *element,
                    left,
                })?;
                self.jump(before + 5)
            }
            MAP => {
                let [key, value, rest @ ..] = rest else {
                    return Ok(false);
                };
                let Some(entries) = length(rest)? else {
                    return Ok(false);
                };
                self.jump(before + 6)?;
                if entries == 0 {
                    // An empty map may leave its types out.
                    return Ok(true);
                }
                self.only_texts &= *key == BINARY && *value == BINARY;
                self.check_room(0, least_size(*key)? + least_size(*value)?, entries)?;
                self.enter(Open::Map {
                    key: *key,
                    value: *value,
                    left: entries * 2,
                })?;
                Ok(true)
            }
            other => Err(Malformed::Type(other)),
        }
    }

    /// Refuses a count that no message of the allowed size can hold.
    fn check_room(&self, before: usize, each: usize, count: usize) -> Result<(), Malformed> {
        let needed = each.saturating_mul(count);
        let room = self.max_bytes.saturating_sub(self.at + self.skip + before);
        if needed > room {
            return Err(Malformed::Size(self.max_bytes));
        }
        Ok(())
    }

    fn enter(&mut self, container: Open) -> Result<(), Malformed> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Malformed::Depth);
        }
        self.open.push(container);
        Ok(())
    }

    fn jump(&mut self, bytes: usize) -> Result<bool, Malformed> {
        self.skip += bytes;
        if self.at + self.skip > self.max_bytes {
            return Err(Malformed::Size(self.max_bytes));
        }
        Ok(true)
    }
}

/// Bytes of a value whose type tells how many.
fn fixed_size(kind: u8) -> Option<usize> {
    match kind {
        2 | 3 => Some(1),  // bool, i8
        6 => Some(2),      // i16
        8 => Some(4),      // i32
        4 | 10 => Some(8), // double, i64
        16 => Some(16),    // uuid
        _ => None,
    }
}

/// The least that a value of this type takes.
fn least_size(kind: u8) -> Result<usize, Malformed> {
    match kind {
        STRUCT => Ok(1),
        BINARY => Ok(4),
        LIST | SET => Ok(5),
        MAP => Ok(6),
        kind => fixed_size(kind).ok_or(Malformed::Type(kind)),
    }
}

fn word(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|four| u32::from_be_bytes(*four))
}

fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let Some(length) = word(bytes) else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(length.to_be_bytes());
    usize::try_from(length)
        .map(Some)
        .map_err(|_| Malformed::Negative)
}

/// The message that `bytes` are, all of them and nothing more.
///
/// # Errors
/// What is wrong with it; `Ok(None)` if it ends too early or goes on behind its end.
pub(crate) fn whole(bytes: Bytes, max_bytes: usize) -> Result<Option<Message>, Malformed> {
    let found = Scanner::new(max_bytes).advance(&bytes)?;
    Ok(match found {
        Some((length, only_texts)) if length == bytes.len() => Some(Message { bytes, only_texts }),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: usize = 1 << 20;

    /// A message's header and the fields of its struct, without the end.
    fn begun(fields: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x80, 1, 0, 1, 0, 0, 0, 1, b'M', 0, 0, 0, 7];
        bytes.extend_from_slice(fields);
        bytes
    }

    fn message(fields: &[u8]) -> Vec<u8> {
        let mut bytes = begun(fields);
        bytes.push(STOP);
        bytes
    }

    fn scan(bytes: &[u8]) -> Result<Option<(usize, bool)>, Malformed> {
        Scanner::new(MAX).advance(bytes)
    }

    /// All in one, and byte by byte.
    fn both_ways(bytes: &[u8]) -> Result<Option<(usize, bool)>, Malformed> {
        let at_once = scan(bytes);
        let mut scanner = Scanner::new(MAX);
        let mut slowly = Ok(None);
        for end in 0..=bytes.len() {
            slowly = scanner.advance(&bytes[..end]);
            if !matches!(slowly, Ok(None)) {
                break;
            }
        }
        assert_eq!(at_once, slowly);
        at_once
    }

    #[test]
    fn the_end_is_where_the_outermost_struct_ends() {
        let fields: [(&[u8], bool); 9] = [
            (&[], true),
            (&[2, 0, 1, 1], true),
            (&[10, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8], true),
            (&[11, 0, 1, 0, 0, 0, 2, b'h', b'i'], true),
            (&[12, 0, 1, 8, 0, 1, 0, 0, 0, 0, STOP], true),
            (
                &[15, 0, 1, 11, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, b'x'],
                true,
            ),
            (&[15, 0, 1, 12, 0, 0, 0, 2, STOP, STOP], false),
            (
                &[
                    13, 0, 1, 11, 11, 0, 0, 0, 1, 0, 0, 0, 1, b'k', 0, 0, 0, 1, b'v',
                ],
                true,
            ),
            (
                &[13, 0, 1, 8, 11, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, b'v'],
                false,
            ),
        ];
        for (fields, only_texts) in fields {
            let mut bytes = message(fields);
            let length = bytes.len();
            assert_eq!(
                both_ways(&bytes),
                Ok(Some((length, only_texts))),
                "{fields:?}"
            );
            bytes.extend_from_slice(b"the next message");
            assert_eq!(scan(&bytes), Ok(Some((length, only_texts))), "{fields:?}");
            for end in 0..length {
                assert_eq!(scan(&bytes[..end]), Ok(None), "{end} bytes of {fields:?}");
            }
        }
    }

    #[test]
    fn other_protocols_are_seen_at_once() {
        for bytes in [
            b"GE".as_slice(),
            b"P",
            &[0, 0, 0, 20],
            &[0x80, 2, 0, 1],
            &[1, 0, 0, 0, 5],
        ] {
            assert_eq!(scan(bytes), Err(Malformed::Version), "{bytes:?}");
        }
        assert_eq!(scan(&[]), Ok(None));
        assert_eq!(scan(&[0x80, 1]), Ok(None));
        let long = [0x80, 1, 0, 1, 0, 0, 1, 0];
        assert_eq!(scan(&long), Err(Malformed::Name));
        let odd = [0x80, 1, 0, 1, 0, 0, 0, 1, 0xff];
        assert_eq!(scan(&odd), Err(Malformed::Name));
    }

    #[test]
    fn claims_are_refused_before_anything_arrives() {
        let huge = [0x7f, 0xff, 0xff, 0xff];
        let negative = [0xff, 0xff, 0xff, 0xff];
        for (kind, more) in [
            (BINARY, vec![]),
            (LIST, vec![8]),
            (SET, vec![12]),
            (MAP, vec![11, 11]),
        ] {
            let with = |length: [u8; 4]| {
                let mut fields = vec![kind, 0, 1];
                fields.extend(&more);
                fields.extend(length);
                begun(&fields)
            };
            assert_eq!(both_ways(&with(huge)), Err(Malformed::Size(MAX)), "{kind}");
            assert_eq!(
                both_ways(&with(negative)),
                Err(Malformed::Negative),
                "{kind}"
            );
        }
    }

    #[test]
    fn depth_is_limited() {
        let nested: Vec<u8> = [STRUCT, 0, 1].repeat(MAX_DEPTH);
        assert_eq!(both_ways(&begun(&nested)), Err(Malformed::Depth));
        let lists: Vec<u8> = [&[LIST, 0, 1][..], &[LIST, 0, 0, 0, 1].repeat(MAX_DEPTH)].concat();
        assert_eq!(both_ways(&begun(&lists)), Err(Malformed::Depth));
    }

    #[test]
    fn unknown_types_are_refused() {
        for kind in [1, 5, 7, 9, 17, 255] {
            assert_eq!(both_ways(&begun(&[kind, 0, 1])), Err(Malformed::Type(kind)));
            let list = [LIST, 0, 1, kind, 0, 0, 0, 1];
            assert_eq!(both_ways(&begun(&list)), Err(Malformed::Type(kind)));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_go_beyond_them(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            for bytes in [noise.clone(), begun(&noise)] {
                if let Ok(Some((length, _))) = both_ways(&bytes) {
                    prop_assert!(length <= bytes.len());
                }
            }
        }
    }
}
