//! Intervals: `1 day 02:03:04`, `1-2`, `P1Y2M3DT4H`, `3 hours ago`.

use datafusion::arrow::datatypes::IntervalMonthDayNano;

use super::invalid;
use crate::EngineError;

const NANOSECONDS_PER_SECOND: f64 = 1e9;
const NANOSECONDS_PER_DAY: f64 = 86_400e9;
const DAYS_PER_MONTH: f64 = 30.0;

pub(super) fn interval(text: &str) -> Result<IntervalMonthDayNano, EngineError> {
    let lower = text.trim().to_lowercase();
    let parts = match lower.strip_prefix('p') {
        Some(iso) => Parts::of_iso(iso),
        None => Parts::of_words(&lower),
    };
    let parts = parts.ok_or_else(|| invalid("22007", "interval", text))?;
    parts.interval().ok_or_else(|| {
        EngineError::new(
            "22015",
            format!("interval field value out of range: \"{text}\""),
        )
    })
}

/// Sums of what was found.
#[derive(Debug, Default)]
struct Parts {
    months: i64,
    days: i64,
    nanoseconds: i128,
    found: bool,
}

/// What a unit counts.
enum Unit {
    Months(i64),
    Days(i64),
    Nanoseconds(i64),
}

impl Unit {
    fn named(word: &str) -> Option<Self> {
        const SECOND: i64 = 1_000_000_000;
        Some(match word {
            "us" | "usec" | "usecs" | "microsecond" | "microseconds" => Self::Nanoseconds(1000),
            "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => {
                Self::Nanoseconds(1_000_000)
            }
            "s" | "sec" | "secs" | "second" | "seconds" => Self::Nanoseconds(SECOND),
            "m" | "min" | "mins" | "minute" | "minutes" => Self::Nanoseconds(60 * SECOND),
            "h" | "hr" | "hrs" | "hour" | "hours" => Self::Nanoseconds(3600 * SECOND),
            "d" | "day" | "days" => Self::Days(1),
            "w" | "week" | "weeks" => Self::Days(7),
            "mon" | "mons" | "month" | "months" => Self::Months(1),
            "y" | "yr" | "yrs" | "year" | "years" => Self::Months(12),
            "decade" | "decades" | "dec" | "decs" => Self::Months(120),
            "c" | "cent" | "century" | "centuries" => Self::Months(1200),
            "mil" | "mils" | "millennium" | "millennia" => Self::Months(12_000),
            _ => return None,
        })
    }
}

/// A number with a fraction, apart, so that large numbers stay exact.
#[derive(Clone, Copy)]
struct Amount {
    whole: i64,
    fraction: f64,
}

impl Amount {
    fn read(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if unsigned.is_empty() || unsigned == "." || !digits(whole) || !digits(fraction) {
            return None;
        }
        let sign = if text.starts_with('-') { -1 } else { 1 };
        let whole: i64 = if whole.is_empty() {
            0
        } else {
            whole.parse().ok()?
        };
        let fraction: f64 = format!("0.{fraction}0").parse().ok()?;
        Some(Self {
            whole: whole * sign,
            fraction: if sign < 0 { -fraction } else { fraction },
        })
    }
}

impl Parts {
    fn of_words(text: &str) -> Option<Self> {
        let mut parts = Self::default();
        let spaced = apart(text);
        let mut words = spaced.split_whitespace().peekable();
        let mut ago = false;
        while let Some(word) = words.next() {
            if ago {
                return None;
            }
            if word == "@" {
                continue;
            }
            if word == "ago" {
                ago = true;
            } else if word.contains(':') {
                parts.add_clock(word)?;
            } else if let Some(unit) = words.peek().and_then(|w| Unit::named(w)) {
                words.next();
                parts.add(Amount::read(word)?, &unit)?;
            } else if let Some((years, months)) = years_and_months(word) {
                parts.add(years, &Unit::Months(12))?;
                parts.add(months, &Unit::Months(1))?;
            } else {
                // A number alone is seconds, or days in front of a time.
                let unit = match words.peek() {
                    Some(next) if next.contains(':') => Unit::Days(1),
                    Some(&"ago") | None => Unit::Nanoseconds(1_000_000_000),
                    Some(_) => return None,
                };
                parts.add(Amount::read(word)?, &unit)?;
            }
        }
        if ago {
            parts.months = -parts.months;
            parts.days = -parts.days;
            parts.nanoseconds = -parts.nanoseconds;
        }
        parts.found.then_some(parts)
    }

    /// `1y2m3dt4h5m6.7s`, the leading `p` taken off.
    fn of_iso(text: &str) -> Option<Self> {
        let mut parts = Self::default();
        let (date, time) = text.split_once('t').unwrap_or((text, ""));
        for (part, is_time) in [(date, false), (time, true)] {
            let mut rest = part;
            while !rest.is_empty() {
                let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
                let unit = match (&rest[end..=end], is_time) {
                    ("m", false) => Unit::Months(1),
                    ("y" | "w" | "d", false) | ("h" | "m" | "s", true) => {
                        Unit::named(&rest[end..=end])?
                    }
                    _ => return None,
                };
                parts.add(Amount::read(&rest[..end])?, &unit)?;
                rest = &rest[end + 1..];
            }
        }
        parts.found.then_some(parts)
    }

    fn add(&mut self, amount: Amount, unit: &Unit) -> Option<()> {
        self.found = true;
        match unit {
            Unit::Months(months) => {
                self.months = self
                    .months
                    .checked_add(amount.whole.checked_mul(*months)?)?;
                let fraction = amount.fraction * *months as f64;
                self.months = self.months.saturating_add(fraction.trunc() as i64);
                self.add_days(fraction.fract() * DAYS_PER_MONTH);
            }
            Unit::Days(days) => {
                self.days = self.days.checked_add(amount.whole.checked_mul(*days)?)?;
                self.add_days(amount.fraction * *days as f64);
            }
            Unit::Nanoseconds(nanoseconds) => {
                self.nanoseconds += i128::from(amount.whole) * i128::from(*nanoseconds);
                self.add_nanoseconds(amount.fraction * *nanoseconds as f64);
            }
        }
        Some(())
    }

    /// Days that are no whole number: a fraction becomes hours.
    fn add_days(&mut self, days: f64) {
        // Sums like 0.1 * 30 miss a whole number by a hair.
        let days = (days * 1e9).round() / 1e9;
        self.days = self.days.saturating_add(days.trunc() as i64);
        self.add_nanoseconds(days.fract() * NANOSECONDS_PER_DAY);
    }

    /// Rounded to microseconds, which is all that PostgreSQL keeps.
    fn add_nanoseconds(&mut self, nanoseconds: f64) {
        self.nanoseconds += (nanoseconds / 1000.0).round_ties_even() as i128 * 1000;
    }

    /// `-02:03:04.5`: the sign is that of all parts.
    fn add_clock(&mut self, word: &str) -> Option<()> {
        let negative = word.starts_with('-');
        let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
        let mut parts = unsigned.split(':');
        let hours: i64 = parts.next()?.parse().ok()?;
        let minutes: i64 = parts.next()?.parse().ok()?;
        let seconds = match parts.next() {
            Some(seconds) if seconds.starts_with(|c: char| c.is_ascii_digit()) => {
                Amount::read(seconds)?
            }
            Some(_) => return None,
            None => Amount::read("0")?,
        };
        if parts.next().is_some() || minutes > 59 || seconds.whole > 60 {
            return None;
        }
        let seconds_of_minutes = i128::from(hours) * 3600 + i128::from(minutes) * 60;
        let mut clock = Self {
            nanoseconds: (seconds_of_minutes + i128::from(seconds.whole)) * 1_000_000_000,
            ..Self::default()
        };
        clock.add_nanoseconds(seconds.fraction * NANOSECONDS_PER_SECOND);
        self.found = true;
        self.nanoseconds += if negative {
            -clock.nanoseconds
        } else {
            clock.nanoseconds
        };
        Some(())
    }

    fn interval(&self) -> Option<IntervalMonthDayNano> {
        Some(IntervalMonthDayNano::new(
            i32::try_from(self.months).ok()?,
            i32::try_from(self.days).ok()?,
            i64::try_from(self.nanoseconds).ok()?,
        ))
    }
}

/// `1day2h` is `1 day 2 h`.
fn apart(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len() + 8);
    let mut before = ' ';
    for c in text.chars() {
        let number = |c: char| c.is_ascii_digit() || c == '.';
        let starts_word = c.is_alphabetic() && number(before);
        let starts_number = (number(c) || matches!(c, '+' | '-')) && before.is_alphabetic();
        if starts_word || starts_number {
            spaced.push(' ');
        }
        spaced.push(c);
        before = c;
    }
    spaced
}

/// `1-2` is one year and two months; a sign is that of both.
fn years_and_months(word: &str) -> Option<(Amount, Amount)> {
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let (years, months) = unsigned.split_once('-')?;
    let sign = if word.starts_with('-') { "-" } else { "" };
    let years = Amount::read(&format!("{sign}{years}"))?;
    let months = Amount::read(&format!("{sign}{months}"))?;
    (months.whole.abs() < 12).then_some((years, months))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read_in_many_forms() {
        const SECOND: i64 = 1_000_000_000;
        const HOUR: i64 = 3600 * SECOND;
        let cases = [
            ("1 day 02:03:04", (0, 1, 7384 * SECOND)),
            ("1 year 2 mons -3 days", (14, -3, 0)),
            ("1-2", (14, 0, 0)),
            ("-1-2", (-14, 0, 0)),
            ("1 02:00", (0, 1, 2 * HOUR)),
            ("-1 day +02:00", (0, -1, 2 * HOUR)),
            ("-02:00:00.5", (0, 0, -2 * HOUR - SECOND / 2)),
            ("1.5 days", (0, 1, 12 * HOUR)),
            ("1.5 months", (1, 15, 0)),
            ("1.1 years", (13, 6, 0)),
            ("1.5 weeks", (0, 10, 12 * HOUR)),
            ("1day2h", (0, 1, 2 * HOUR)),
            ("@ 3 hours ago", (0, 0, -3 * HOUR)),
            ("90", (0, 0, 90 * SECOND)),
            ("100 hours", (0, 0, 100 * HOUR)),
            ("P1Y2M3DT4H5M6S", (14, 3, 4 * HOUR + 306 * SECOND)),
            ("PT0.5S", (0, 0, SECOND / 2)),
        ];
        for (text, (months, days, nanoseconds)) in cases {
            let expected = IntervalMonthDayNano::new(months, days, nanoseconds);
            assert_eq!(interval(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "day",
            "1 fortnight",
            "1 2 3",
            "1:2:3:4",
            "P1",
            "1 day ago 2",
            "x",
        ] {
            assert_eq!(
                interval(text).map_err(|e| e.sqlstate),
                Err("22007"),
                "{text}"
            );
        }
        let large = interval("3000000000 days").map_err(|e| e.sqlstate);
        assert_eq!(large, Err("22015"));
    }
}
