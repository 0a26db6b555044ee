//! What values mean, and how they are written.

use std::time::Duration;

use super::definitions::{Context, Kind, definition};
use super::{read_only, unrecognized};
use crate::{Error, Result};

/// Longest `application_name`; longer ones are cut, as PostgreSQL does it.
const MAX_APPLICATION_NAME_BYTES: usize = 63;

fn invalid(name: &str, value: &str) -> Error {
    Error::new(
        "22023",
        format!("invalid value for parameter \"{name}\": \"{value}\""),
    )
}

/// The value as it is stored and shown.
pub(crate) fn canonical(name: &str, values: &[String]) -> Result<String> {
    let joined = values.join(", ");
    let Some(d) = definition(name) else {
        return if name.contains('.') {
            Ok(joined)
        } else {
            Err(unrecognized(name))
        };
    };
    if d.context == Context::Internal {
        return Err(read_only(d.name));
    }
    if values.len() != 1 && !matches!(d.kind, Kind::Identifiers | Kind::DateStyle) {
        return Err(Error::new(
            "22023",
            format!("SET {name} takes only one argument"),
        ));
    }
    let bad = || invalid(d.name, &joined);
    match d.kind {
        Kind::Text if d.name == "application_name" => {
            Ok(joined[..joined.floor_char_boundary(MAX_APPLICATION_NAME_BYTES)].to_owned())
        }
        Kind::Text => Ok(joined),
        Kind::Bool => parse_bool(&joined)
            .map(|b| if b { "on" } else { "off" }.to_owned())
            .ok_or_else(|| {
                Error::new(
                    "22023",
                    format!("parameter \"{name}\" requires a Boolean value"),
                )
            }),
        Kind::Milliseconds => parse_milliseconds(&joined)
            .map(show_milliseconds)
            .map_err(|()| bad()),
        Kind::Bytes => parse_bytes(&joined).map(show_bytes).ok_or_else(bad),
        Kind::Kilobytes => parse_kilobytes(&joined).map(show_kilobytes).ok_or_else(bad),
        Kind::KilobytesLimit if joined.trim() == NO_LIMIT => Ok(NO_LIMIT.to_owned()),
        Kind::KilobytesLimit => parse_kilobytes(&joined).map(show_kilobytes).ok_or_else(bad),
        Kind::Integer { min, max } => {
            let number: i64 = joined.trim().parse().map_err(|_| bad())?;
            if !(min..=max).contains(&number) {
                return Err(Error::new(
                    "22023",
                    format!(
                        "{number} is outside the valid range for parameter \"{name}\" ({min} .. {max})"
                    ),
                ));
            }
            Ok(number.to_string())
        }
        Kind::Cost => {
            let number: f64 = joined.trim().parse().map_err(|_| bad())?;
            if number.is_nan() {
                return Err(bad());
            }
            if !(0.0..=f64::MAX).contains(&number) {
                return Err(Error::new(
                    "22023",
                    format!(
                        "{} is outside the valid range for parameter \"{name}\" (0 .. 1.79769e+308)",
                        show_cost(number)
                    ),
                ));
            }
            Ok(show_cost(number))
        }
        Kind::Enum(allowed) => {
            let value = joined.to_lowercase();
            if allowed.contains(&value.as_str()) {
                return Ok(value);
            }
            Err(bad().with_hint(format!("Available values: {}.", allowed.join(", "))))
        }
        Kind::Identifiers => Ok(values
            .iter()
            .map(|v| quoted(v))
            .collect::<Vec<_>>()
            .join(", ")),
        Kind::TimeZone => time_zone(&joined).ok_or_else(bad),
        Kind::DateStyle => date_style(&joined).ok_or_else(bad),
        Kind::Encoding => match encoding_key(&joined).as_str() {
            "UTF8" | "UNICODE" | "SQLASCII" => Ok("UTF8".to_owned()),
            _ => Err(bad().with_detail("Only UTF8 is supported.")),
        },
    }
}

/// PostgreSQL compares names of encodings by their letters and digits only.
fn encoding_key(name: &str) -> String {
    let significant = name.chars().filter(char::is_ascii_alphanumeric);
    significant.map(|c| c.to_ascii_uppercase()).collect()
}

fn parse_bool(value: &str) -> Option<bool> {
    match value.trim().to_lowercase().as_str() {
        "on" | "true" | "yes" | "t" | "y" | "1" => Some(true),
        "off" | "false" | "no" | "f" | "n" | "0" => Some(false),
        _ => None,
    }
}

/// Six significant digits, as PostgreSQL shows them (`%g` in C).
fn show_cost(number: f64) -> String {
    const DIGITS: i32 = 6;
    if number == 0.0 || !number.is_finite() {
        return if number == 0.0 {
            "0".to_owned()
        } else {
            number.to_string()
        };
    }
    let scientific = format!("{number:.5e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("an exponent");
    let exponent: i32 = exponent.parse().expect("a number");
    let trimmed = |text: &str| {
        let text = if text.contains('.') {
            text.trim_end_matches('0')
        } else {
            text
        };
        text.trim_end_matches('.').to_owned()
    };
    if (-4..DIGITS).contains(&exponent) {
        let decimals = usize::try_from(DIGITS - 1 - exponent).unwrap_or(0);
        return trimmed(&format!("{number:.decimals$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs())
}

const UNITS: [(&str, f64); 6] = [
    ("us", 0.001),
    ("ms", 1.0),
    ("s", 1_000.0),
    ("min", 60_000.0),
    ("h", 3_600_000.0),
    ("d", 86_400_000.0),
];

pub(super) fn parse_milliseconds(value: &str) -> Result<u64, ()> {
    let value = value.trim();
    let digits = value
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(value.len());
    let number: f64 = value[..digits].parse().map_err(|_| ())?;
    let unit = value[digits..].trim();
    let factor = match unit {
        "" => 1.0,
        unit => UNITS.iter().find(|(name, _)| *name == unit).ok_or(())?.1,
    };
    let milliseconds = (number * factor).round();
    if !(0.0..=f64::from(i32::MAX)).contains(&milliseconds) {
        return Err(());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked above"
    )]
    Ok(milliseconds as u64)
}

/// 90000 is `90s`, 120000 is `2min`.
fn show_milliseconds(milliseconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "min"),
        (1_000, "s"),
    ];
    if milliseconds == 0 {
        return "0".to_owned();
    }
    UNITS
        .iter()
        .find(|(factor, _)| milliseconds.is_multiple_of(*factor))
        .map_or_else(
            || format!("{milliseconds}ms"),
            |(factor, unit)| format!("{}{unit}", milliseconds / factor),
        )
}

/// The time as its setting shows it.
pub(crate) fn show_duration(time: Duration) -> String {
    show_milliseconds(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// What stands for no limit.
pub(super) const NO_LIMIT: &str = "-1";

const SIZES: [(&str, u64); 4] = [("TB", 1 << 30), ("GB", 1 << 20), ("MB", 1 << 10), ("kB", 1)];

/// A whole number of kilobytes, or of a larger unit; units are sensitive to case, as in PostgreSQL.
pub(super) fn parse_kilobytes(value: &str) -> Option<u64> {
    let value = value.trim();
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at(digits);
    let factor = match unit.trim_start() {
        "" => 1,
        unit => SIZES.iter().find(|(name, _)| *name == unit)?.1,
    };
    let kilobytes = number.parse::<u64>().ok()?.checked_mul(factor)?;
    (kilobytes <= i32::MAX.unsigned_abs().into()).then_some(kilobytes)
}

/// A whole number of bytes, or of a larger unit; at most what PostgreSQL's `bigint` holds.
pub(super) fn parse_bytes(value: &str) -> Option<u64> {
    let value = value.trim();
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at(digits);
    let factor = match unit.trim_start() {
        "" | "B" => 1,
        unit => SIZES.iter().find(|(name, _)| *name == unit)?.1 * 1024,
    };
    let bytes = number.parse::<u64>().ok()?.checked_mul(factor)?;
    (bytes <= i64::MAX.unsigned_abs()).then_some(bytes)
}

/// 2048 is `2kB`, 2049 is `2049B`.
pub(crate) fn show_bytes(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        bytes if bytes.is_multiple_of(1024) => show_kilobytes(bytes / 1024),
        bytes => format!("{bytes}B"),
    }
}

/// 2048 is `2MB`.
fn show_kilobytes(kilobytes: u64) -> String {
    let fits = |(_, factor): &&(&str, u64)| kilobytes > 0 && kilobytes.is_multiple_of(*factor);
    let (unit, factor) = SIZES.iter().find(fits).unwrap_or(&SIZES[3]);
    format!("{}{unit}", kilobytes / factor)
}

/// Zones by name in any letter case, and fixed offsets (`+2`, `-03:30`).
fn time_zone(value: &str) -> Option<String> {
    let value = value.trim();
    if let Some(offset) = fixed_offset(value) {
        return Some(offset);
    }
    let zone = chrono_tz::TZ_VARIANTS
        .iter()
        .find(|z| z.name().eq_ignore_ascii_case(value))?;
    Some(zone.name().to_owned())
}

fn fixed_offset(value: &str) -> Option<String> {
    let sign = value
        .chars()
        .next()
        .filter(|c| matches!(c, '+' | '-' | '0'..='9'))?;
    let digits = value.trim_start_matches(['+', '-']);
    let (hours, minutes) = digits.split_once(':').unwrap_or((digits, "0"));
    let hours: u8 = hours.parse().ok().filter(|h| *h <= 15)?;
    let minutes: u8 = minutes.parse().ok().filter(|m| *m < 60)?;
    let sign = if sign == '-' { '-' } else { '+' };
    Some(format!("{sign}{hours:02}:{minutes:02}"))
}

/// Only ISO output exists; the order of day and month is kept as asked.
fn date_style(value: &str) -> Option<String> {
    let mut order = "MDY";
    for word in value.split(',').map(|w| w.trim().to_uppercase()) {
        match word.as_str() {
            "ISO" => {}
            "MDY" | "US" | "NONEURO" | "NONEUROPEAN" => order = "MDY",
            "DMY" | "EURO" | "EUROPEAN" => order = "DMY",
            "YMD" => order = "YMD",
            _ => return None,
        }
    }
    Some(format!("ISO, {order}"))
}

fn quoted(identifier: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !identifier.is_empty() && identifier.chars().all(plain) {
        identifier.to_owned()
    } else {
        format!("\"{}\"", identifier.replace('"', "\"\""))
    }
}

/// The names of a comma-separated list, quotes taken off.
pub(crate) fn split_identifiers(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut in_quotes = false;
    for c in list.chars() {
        match c {
            '"' => in_quotes = !in_quotes,
            ',' if !in_quotes => names.push(std::mem::take(&mut name)),
            c if c.is_whitespace() && !in_quotes => {}
            c => name.push(c),
        }
    }
    names.push(name);
    names.retain(|n| !n.is_empty());
    names
}
