//! `bytea`: hexadecimal digits, or text with octal escapes.

use super::invalid;
use crate::EngineError;

pub(super) fn bytes(text: &str) -> Result<Vec<u8>, EngineError> {
    match text.strip_prefix("\\x") {
        Some(digits) => hexadecimal(digits),
        None => escaped(text),
    }
}

/// Pairs of digits; white space may stand between pairs.
fn hexadecimal(digits: &str) -> Result<Vec<u8>, EngineError> {
    let mut bytes = Vec::with_capacity(digits.len() / 2);
    let mut digits = digits.chars().filter(|c| !c.is_ascii_whitespace());
    while let Some(high) = digits.next() {
        let Some(low) = digits.next() else {
            let message = "invalid hexadecimal data: odd number of digits";
            return Err(EngineError::new("22023", message));
        };
        bytes.push(digit(high)? << 4 | digit(low)?);
    }
    Ok(bytes)
}

fn digit(c: char) -> Result<u8, EngineError> {
    c.to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
        .ok_or_else(|| EngineError::new("22023", format!("invalid hexadecimal digit: \"{c}\"")))
}

/// `\\` is a backslash, `\000` to `\377` is a byte.
fn escaped(text: &str) -> Result<Vec<u8>, EngineError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'\\', [b'\\', after @ ..]) => {
                bytes.push(b'\\');
                after
            }
            (
                b'\\',
                [
                    a @ b'0'..=b'3',
                    b @ b'0'..=b'7',
                    c @ b'0'..=b'7',
                    after @ ..,
                ],
            ) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                after
            }
            (b'\\', _) => return Err(invalid("22P02", "bytea", text)),
            (byte, after) => {
                bytes.push(*byte);
                after
            }
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let read = |text| bytes(text).map_err(|e| e.sqlstate);
        assert_eq!(read("\\x00 fF"), Ok(vec![0, 255]));
        assert_eq!(read("a\\\\b\\001"), Ok(b"a\\b\x01".to_vec()));
        assert_eq!(read("\\x0"), Err("22023"));
        assert_eq!(read("\\x0g"), Err("22023"));
        assert_eq!(read("\\9"), Err("22P02"));
        assert_eq!(read(""), Ok(vec![]));
    }
}
