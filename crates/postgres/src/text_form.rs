//! Text forms of values where the library's differ from PostgreSQL's.

use bytes::BytesMut;
use pgwire::api::Type;

/// Corrects the text of one value of type `data_type`, which begins at `start` and ends the
/// buffer.
pub(crate) fn correct(buffer: &mut BytesMut, start: usize, data_type: &Type) {
    match *data_type {
        Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::TIME => shorten_time(buffer, start),
        Type::FLOAT4 | Type::FLOAT8 => spell_float(buffer, start),
        _ => {}
    }
}

/// `12:00:00.500000+00:00` is `12:00:00.5+00`: no trailing zeros, no empty minutes of a zone.
fn shorten_time(buffer: &mut BytesMut, start: usize) {
    let text = &buffer[start..];
    let zone = text
        .iter()
        .rposition(|b| matches!(b, b'+' | b'-'))
        .filter(|i| *i > 10);
    let mut short = Vec::with_capacity(text.len());
    let (time, zone) = text.split_at(zone.unwrap_or(text.len()));
    match time.iter().position(|b| *b == b'.') {
        Some(point) => {
            let last = time.iter().rposition(|b| *b != b'0').unwrap_or(point);
            short.extend_from_slice(&time[..=last]);
            if last == point {
                short.pop();
            }
        }
        None => short.extend_from_slice(time),
    }
    short.extend_from_slice(zone.strip_suffix(b":00").unwrap_or(zone));
    buffer.truncate(start);
    buffer.extend_from_slice(&short);
}

/// `1.0` is `1`, `1e20` is `1e+20`, and infinity is written out.
fn spell_float(buffer: &mut BytesMut, start: usize) {
    let text = &buffer[start..];
    let spelled: Vec<u8> = match text {
        b"inf" => b"Infinity".to_vec(),
        b"-inf" => b"-Infinity".to_vec(),
        _ => match text.iter().position(|b| *b == b'e') {
            Some(e) => spell_exponent(&text[..e], &text[e + 1..]),
            None => match text.strip_suffix(b".0") {
                Some(whole) => whole.to_vec(),
                None => return,
            },
        },
    };
    buffer.truncate(start);
    buffer.extend_from_slice(&spelled);
}

/// An exponent has a sign and at least two digits.
fn spell_exponent(mantissa: &[u8], exponent: &[u8]) -> Vec<u8> {
    let (sign, digits) = match exponent {
        [b'-', digits @ ..] => (b'-', digits),
        [b'+', digits @ ..] | digits => (b'+', digits),
    };
    let mut text = mantissa.strip_suffix(b".0").unwrap_or(mantissa).to_vec();
    text.extend_from_slice(&[b'e', sign]);
    if digits.len() < 2 {
        text.push(b'0');
    }
    text.extend_from_slice(digits);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corrected(text: &str, data_type: &Type) -> String {
        let mut buffer = BytesMut::from("before");
        buffer.extend_from_slice(text.as_bytes());
        correct(&mut buffer, 6, data_type);
        String::from_utf8(buffer[6..].to_vec()).unwrap()
    }

    #[test]
    fn values_look_as_postgresql_prints_them() {
        let cases = [
            (
                "2024-02-29 12:00:00.000000",
                Type::TIMESTAMP,
                "2024-02-29 12:00:00",
            ),
            (
                "2024-02-29 12:00:00.120000",
                Type::TIMESTAMP,
                "2024-02-29 12:00:00.12",
            ),
            (
                "2024-02-29 12:00:00",
                Type::TIMESTAMP,
                "2024-02-29 12:00:00",
            ),
            (
                "2024-02-29 12:00:00.500000+00:00",
                Type::TIMESTAMPTZ,
                "2024-02-29 12:00:00.5+00",
            ),
            (
                "2024-02-29 12:00:00-03:30",
                Type::TIMESTAMPTZ,
                "2024-02-29 12:00:00-03:30",
            ),
            ("10:20:30.000000", Type::TIME, "10:20:30"),
            ("1.0", Type::FLOAT8, "1"),
            ("-2.50", Type::FLOAT8, "-2.50"),
            ("1e20", Type::FLOAT8, "1e+20"),
            ("1.5e-7", Type::FLOAT8, "1.5e-07"),
            ("inf", Type::FLOAT8, "Infinity"),
            ("-inf", Type::FLOAT4, "-Infinity"),
            ("NaN", Type::FLOAT8, "NaN"),
            ("1.0", Type::TEXT, "1.0"),
        ];
        for (text, data_type, expected) in cases {
            assert_eq!(corrected(text, &data_type), expected, "{text}");
        }
    }
}
