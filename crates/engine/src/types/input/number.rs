//! Numbers and truth values.

use std::str::FromStr;

use datafusion::arrow::datatypes::DataType;

use super::{invalid, name_of};
use crate::EngineError;
use crate::types::numeric;
use crate::types::rounding::Mode;

const INVALID: &str = "22P02";

/// White space as C's `isspace` has it.
const SPACE: [char; 6] = [' ', '\t', '\n', '\r', '\u{b}', '\u{c}'];

pub(super) fn integer<T: TryFrom<i64>>(text: &str, to: &DataType) -> Result<T, EngineError> {
    let trimmed = text.trim_matches(SPACE);
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(invalid(INVALID, name_of(to), text));
    }
    let value = trimmed.parse::<i64>().ok();
    let value = value.and_then(|v| T::try_from(v).ok());
    value.ok_or_else(|| {
        let message = format!("value \"{text}\" is out of range for type {}", name_of(to));
        EngineError::new("22003", message)
    })
}

/// A floating number that text can be read as.
pub(super) trait Float: FromStr + Copy {
    fn is_infinite(self) -> bool;
    fn is_zero(self) -> bool;
}

impl Float for f32 {
    fn is_infinite(self) -> bool {
        self.is_infinite()
    }

    fn is_zero(self) -> bool {
        self == 0.0
    }
}

impl Float for f64 {
    fn is_infinite(self) -> bool {
        self.is_infinite()
    }

    fn is_zero(self) -> bool {
        self == 0.0
    }
}

pub(super) fn float<T: Float>(text: &str, to: &DataType) -> Result<T, EngineError> {
    let trimmed = text.trim_matches(SPACE);
    let value: T = trimmed
        .parse()
        .map_err(|_| invalid(INVALID, name_of(to), text))?;
    let mantissa = trimmed.split(['e', 'E']).next().unwrap_or_default();
    let is_number = mantissa.bytes().any(|b| b.is_ascii_digit());
    let has_digit = mantissa.bytes().any(|b| (b'1'..=b'9').contains(&b));
    if is_number && (value.is_infinite() || value.is_zero() && has_digit) {
        let message = format!("\"{trimmed}\" is out of range for type {}", name_of(to));
        return Err(EngineError::new("22003", message));
    }
    Ok(value)
}

/// A decimal number, in units of its last digit at `scale`.
pub(super) fn numeric(text: &str, precision: u8, scale: i8) -> Result<i128, EngineError> {
    let trimmed = text.trim_matches(SPACE);
    let bad = || invalid(INVALID, "numeric", text);
    if ["nan", "infinity", "-infinity", "inf", "-inf"].contains(&&*trimmed.to_ascii_lowercase()) {
        let message = format!("numeric \"{trimmed}\" is not supported");
        return Err(EngineError::new("0A000", message));
    }
    let (negative, unsigned) = match trimmed.strip_prefix(['+', '-']) {
        Some(rest) => (trimmed.starts_with('-'), rest),
        None => (false, trimmed),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i16>().map_err(|_| bad())?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let value = units(&digits, fraction.len(), i64::from(exponent), scale);
    let value = value.filter(|v| v.unsigned_abs() < 10_u128.pow(u32::from(precision)));
    let value = value.ok_or_else(|| too_large(precision, scale))?;
    Ok(if negative { -value } else { value })
}

/// `digits`, of which `decimals` stand behind the point, times ten to the power of `exponent`.
fn units(digits: &str, decimals: usize, exponent: i64, scale: i8) -> Option<i128> {
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let from = i64::try_from(decimals).ok()? - exponent;
    // Digits far behind the last that is kept cannot change it.
    let surplus = usize::try_from(from - i64::from(scale)).unwrap_or(0);
    let dropped = surplus.saturating_sub(1).min(digits.len());
    let kept = &digits[..digits.len() - dropped];
    let from = from - i64::try_from(dropped).ok()?;
    let kept: i128 = if kept.is_empty() {
        0
    } else {
        kept.parse().ok()?
    };
    match u32::try_from(i64::from(scale) - from) {
        Ok(more) => kept.checked_mul(numeric::power_of_ten(more)?),
        Err(_) => Some(Mode::HalfAway.cut(kept, u32::try_from(from - i64::from(scale)).ok()?)),
    }
}

/// A number that does not fit `numeric(precision, scale)`.
fn too_large(precision: u8, scale: i8) -> EngineError {
    let whole = i16::from(precision) - i16::from(scale);
    EngineError::new("22003", "numeric field overflow").with_detail(format!(
        "A field with precision {precision}, scale {scale} must round to an absolute value less than 10^{whole}."
    ))
}

/// Any beginning of a word for true or false that cannot be taken for another.
pub(super) fn boolean(text: &str) -> Result<bool, EngineError> {
    const WORDS: [(&str, usize, bool); 8] = [
        ("true", 1, true),
        ("false", 1, false),
        ("yes", 1, true),
        ("no", 1, false),
        ("on", 2, true),
        ("off", 2, false),
        ("1", 1, true),
        ("0", 1, false),
    ];
    let word = text.trim_matches(SPACE).to_ascii_lowercase();
    WORDS
        .iter()
        .find(|(full, least, _)| word.len() >= *least && full.starts_with(&word))
        .map(|(_, _, value)| *value)
        .ok_or_else(|| invalid(INVALID, "boolean", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numerics_are_rounded_to_their_scale() {
        let read = |text| numeric(text, 10, 2).map_err(|e| e.sqlstate);
        let cases = [
            ("1.005", Ok(101)),
            ("-1.005", Ok(-101)),
            ("1.00499999999999999999999999999999999999999999", Ok(100)),
            (" +12e3 ", Ok(1_200_000)),
            ("123e-4", Ok(1)),
            ("9e-400", Ok(0)),
            (".5", Ok(50)),
            ("5.", Ok(500)),
            ("99999999.994", Ok(9_999_999_999)),
            ("99999999.995", Err("22003")),
            ("1e30", Err("22003")),
            ("", Err("22P02")),
            (".", Err("22P02")),
            ("1e", Err("22P02")),
            ("1 2", Err("22P02")),
            ("--1", Err("22P02")),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn integers_and_floats_tell_size_from_form() {
        let integer = |text| integer::<i32>(text, &DataType::Int32).map_err(|e| e.sqlstate);
        assert_eq!(integer(" -2147483648\n"), Ok(i32::MIN));
        assert_eq!(integer("2147483648"), Err("22003"));
        assert_eq!(integer("99999999999999999999999"), Err("22003"));
        assert_eq!(integer("+"), Err("22P02"));
        assert_eq!(integer("1.5"), Err("22P02"));
        let float = |text| float::<f64>(text, &DataType::Float64).map_err(|e| e.sqlstate);
        assert_eq!(float("1e400"), Err("22003"));
        assert_eq!(float("1e-400"), Err("22003"));
        assert_eq!(float("0e-400"), Ok(0.0));
        assert_eq!(float("-Infinity"), Ok(f64::NEG_INFINITY));
        assert_eq!(float("0x10"), Err("22P02"));
    }

    #[test]
    fn truth_values_may_be_shortened() {
        for (text, expected) in [("T", true), (" fal ", false), ("on", true), ("of", false)] {
            assert_eq!(boolean(text).ok(), Some(expected), "{text}");
        }
        for text in ["", "o", "truee", "2"] {
            assert_eq!(
                boolean(text).map_err(|e| e.sqlstate),
                Err("22P02"),
                "{text}"
            );
        }
    }
}
