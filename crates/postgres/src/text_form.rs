//! Text forms of values where the library's differ from PostgreSQL's.

use bytes::BytesMut;
use pgwire::api::Type;

/// Corrects the text of one value of type `data_type`, which begins at `start` and ends the
/// buffer.
pub(crate) fn correct(buffer: &mut BytesMut, start: usize, data_type: &Type) {
    match *data_type {
        Type::DATE => spell_year(buffer, start),
        Type::TIMESTAMP | Type::TIMESTAMPTZ => {
            shorten_time(buffer, start);
            spell_year(buffer, start);
        }
        Type::TIME => shorten_time(buffer, start),
        Type::FLOAT4 => spell_float(buffer, start, FLOAT4_DIGITS),
        Type::FLOAT8 => spell_float(buffer, start, FLOAT8_DIGITS),
        Type::INTERVAL => shorten_seconds(buffer, start),
        _ => {}
    }
}

/// `12:00:00.500000+00:00` is `12:00:00.5+00`: no trailing zeros, no empty minutes of a zone.
fn shorten_time(buffer: &mut BytesMut, start: usize) {
    let text = &buffer[start..];
    // The most usual form: no fraction, no zone.
    if text.len() == "2024-02-29 12:00:00".len() {
        return;
    }
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

/// The year before 1 is `0001 BC`, not `0000`; years of five digits have no sign.
fn spell_year(buffer: &mut BytesMut, start: usize) {
    // Years from 1 to 9999 are as they should be.
    if let [b'0'..=b'9', ..] = buffer[start..]
        && buffer[start..].get(4) == Some(&b'-')
        && !buffer[start..].starts_with(b"0000")
    {
        return;
    }
    let text = String::from_utf8_lossy(&buffer[start..]).into_owned();
    let (before_christ, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (
            text.starts_with("0000-"),
            text.strip_prefix('+').unwrap_or(&text),
        ),
    };
    let spelled = match unsigned.split_once('-') {
        Some((year, rest)) if before_christ => {
            let year = year.parse::<u32>().unwrap_or(0) + 1;
            format!("{year:04}-{rest} BC")
        }
        _ if unsigned.len() < text.len() => unsigned.to_owned(),
        _ => return,
    };
    buffer.truncate(start);
    buffer.extend_from_slice(spelled.as_bytes());
}

/// Digits in front of the point that a float may have before it gets an exponent.
const FLOAT8_DIGITS: i32 = 15;
const FLOAT4_DIGITS: i32 = 6;

/// `1.0` is `1`, `1e20` is `1e+20`, and infinity is written out.
fn spell_float(buffer: &mut BytesMut, start: usize, max_digits: i32) {
    let text = String::from_utf8_lossy(&buffer[start..]).into_owned();
    let spelled = match text.as_str() {
        "inf" => "Infinity".to_owned(),
        "-inf" => "-Infinity".to_owned(),
        "NaN" | "Infinity" | "-Infinity" => return,
        number => laid_out(number, max_digits),
    };
    buffer.truncate(start);
    buffer.extend_from_slice(spelled.as_bytes());
}

/// The digits of a number, with an exponent where there would be many zeros: when it has more than
/// `max_digits` digits in front of the point, or begins more than four behind it.
fn laid_out(number: &str, max_digits: i32) -> String {
    let (sign, unsigned) = match number.strip_prefix('-') {
        Some(unsigned) => ("-", unsigned),
        None => ("", number),
    };
    let (mantissa, exponent) = unsigned.split_once('e').unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    let length = |text: &str| i32::try_from(text.len()).unwrap_or(i32::MAX);
    // The power of ten of the first digit that is not zero.
    let leading_zeros = length(&all) - length(digits);
    let exponent = exponent.parse::<i32>().unwrap_or(0) + length(whole) - leading_zeros - 1;
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() {
        return format!("{sign}0");
    }
    if !(-4..max_digits).contains(&exponent) {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let plus = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{first}{point}{rest}e{plus}{:02}", exponent.abs());
    }
    let Ok(point) = usize::try_from(exponent + 1) else {
        let zeros = "0".repeat((-exponent - 1).unsigned_abs() as usize);
        return format!("{sign}0.{zeros}{digits}");
    };
    match digits.split_at_checked(point) {
        Some(("", fraction)) => format!("{sign}0.{fraction}"),
        Some((whole, fraction)) if !fraction.is_empty() => format!("{sign}{whole}.{fraction}"),
        _ => format!("{sign}{digits:0<point$}"),
    }
}

/// No zeros at the end of seconds.
fn shorten_seconds(buffer: &mut BytesMut, start: usize) {
    let text = &buffer[start..];
    if !text.contains(&b'.') || !text.ends_with(b"0") {
        return;
    }
    let kept = text.iter().rposition(|b| *b != b'0').unwrap_or(0);
    let kept = if text[kept] == b'.' { kept } else { kept + 1 };
    buffer.truncate(start + kept);
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
            ("1000000000000000.0", Type::FLOAT8, "1e+15"),
            ("100000000000000.0", Type::FLOAT8, "100000000000000"),
            ("0.00001", Type::FLOAT8, "1e-05"),
            ("0.0001", Type::FLOAT8, "0.0001"),
            ("-1234567.0", Type::FLOAT4, "-1.234567e+06"),
            ("0.5", Type::FLOAT8, "0.5"),
            ("-0.0", Type::FLOAT8, "-0"),
            ("04:05:06.789000", Type::INTERVAL, "04:05:06.789"),
            ("1 day 00:00:10", Type::INTERVAL, "1 day 00:00:10"),
            ("-0043-03-15", Type::DATE, "0044-03-15 BC"),
            (
                "0000-01-01 00:00:00.000000",
                Type::TIMESTAMP,
                "0001-01-01 00:00:00 BC",
            ),
            ("+12345-01-01", Type::DATE, "12345-01-01"),
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
            ("-2.5", Type::FLOAT8, "-2.5"),
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
