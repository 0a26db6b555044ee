//! `to_char` of dates, times and intervals.

use std::fmt::Write;

use chrono::{Datelike, NaiveDate};

use super::datetime::{Field, Item, Letters, Written};
use crate::EngineError;

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

pub(super) const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

pub(super) const ROMAN_MONTHS: [&str; 12] = [
    "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII",
];

/// Days from 4714 BC, where Julian days begin, to the year 1.
const JULIAN_YEAR_1: i32 = 1_721_426;

/// A moment, or a length of time, in parts.
#[derive(Debug, Clone, Default)]
pub(super) struct Parts {
    /// Astronomical: 0 is 1 BC. Of an interval, its years.
    pub year: i64,
    pub month: i64,
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    pub micros: i64,
    /// The day, unless these are the parts of an interval.
    pub date: Option<NaiveDate>,
    /// Seconds east of Greenwich, and the zone's name.
    pub zone: Option<(i64, String)>,
}

impl Parts {
    fn is_interval(&self) -> bool {
        self.date.is_none()
    }

    /// Years as they are written: without a year 0.
    fn shown_year(&self, year: i64) -> i64 {
        if self.is_interval() || year > 0 {
            year
        } else {
            1 - year
        }
    }
}

/// The parts in the template's form.
pub(super) fn write(items: &[Item], parts: &Parts) -> Result<String, EngineError> {
    let mut out = String::new();
    for item in items {
        match item {
            Item::Separator(c) | Item::Text(c) => out.push(*c),
            Item::Field(written) => {
                if parts.is_interval() && is_of_calendar(written.field) {
                    let message = "invalid format specification for an interval value";
                    let error = EngineError::new("22007", message);
                    return Err(
                        error.with_hint("Intervals are not tied to specific calendar dates.")
                    );
                }
                let start = out.len();
                field(&mut out, *written, parts);
                if let Some(lower) = written.ordinal.filter(|_| takes_ordinal(written.field)) {
                    let suffix = super::ordinal_suffix(&out[start..], lower);
                    out.push_str(suffix);
                }
            }
        }
    }
    Ok(out)
}

/// Fields that an interval has not.
fn is_of_calendar(field: Field) -> bool {
    matches!(
        field,
        Field::Era(..)
            | Field::Day(_)
            | Field::Dy(_)
            | Field::DayOfWeek
            | Field::IsoDayOfWeek
            | Field::Month(_)
            | Field::Mon(_)
            | Field::Offset
            | Field::Zone(_)
            | Field::ZoneHour
            | Field::ZoneMinute
    )
}

fn takes_ordinal(field: Field) -> bool {
    field.is_number() && !matches!(field, Field::ZoneMinute)
}

fn field(out: &mut String, written: Written, parts: &Parts) {
    let unpadded = written.fill;
    let two = |out: &mut String, n: i64| number(out, n, if unpadded { 0 } else { 2 });
    let date = parts.date.unwrap_or_default();
    match written.field {
        Field::Meridiem(letters, dots) => {
            let word = if parts.hour.rem_euclid(24) >= 12 {
                "PM"
            } else {
                "AM"
            };
            out.push_str(&dotted(word, letters, dots));
        }
        Field::Era(letters, dots) => {
            let word = if parts.year <= 0 { "BC" } else { "AD" };
            out.push_str(&dotted(word, letters, dots));
        }
        Field::Hour12 => two(
            out,
            if parts.hour % 12 == 0 {
                12
            } else {
                parts.hour % 12
            },
        ),
        Field::Hour24 => two(out, parts.hour),
        Field::Minute => two(out, parts.minute),
        Field::Second => two(out, parts.second),
        Field::Fraction(digits) => fraction(out, parts.micros, u32::from(digits)),
        Field::Millisecond => fraction(out, parts.micros, 3),
        Field::Microsecond => fraction(out, parts.micros, 6),
        Field::SecondOfDay => {
            number(out, parts.hour * 3600 + parts.minute * 60 + parts.second, 0);
        }
        Field::Zone(letters) => {
            if let Some((_, name)) = &parts.zone {
                out.push_str(&lettered(name, letters));
            }
        }
        Field::ZoneHour => {
            let seconds = parts.zone.as_ref().map_or(0, |z| z.0);
            out.push(if seconds < 0 { '-' } else { '+' });
            number(out, seconds.abs() / 3600, 2);
        }
        Field::ZoneMinute => {
            let seconds = parts.zone.as_ref().map_or(0, |z| z.0);
            number(out, seconds.abs() % 3600 / 60, 2);
        }
        Field::Offset => {
            let seconds = parts.zone.as_ref().map_or(0, |z| z.0);
            out.push(if seconds < 0 { '-' } else { '+' });
            two(out, seconds.abs() / 3600);
            if seconds.abs() % 3600 != 0 {
                out.push(':');
                number(out, seconds.abs() % 3600 / 60, 2);
            }
        }
        Field::Month(_) | Field::Mon(_) | Field::RomanMonth(_) => month(out, written, parts.month),
        Field::MonthNumber => two(out, parts.month),
        Field::Day(letters) => {
            let name = DAYS[date.weekday().num_days_from_sunday() as usize];
            padded(out, &lettered(name, letters), written, 9);
        }
        Field::Dy(letters) => {
            let name = &DAYS[date.weekday().num_days_from_sunday() as usize][..3];
            out.push_str(&lettered(name, letters));
        }
        Field::DayOfYear | Field::IsoDayOfYear => {
            let day = if parts.is_interval() {
                parts.year * 365 + parts.month * 30 + parts.day
            } else if written.field == Field::DayOfYear {
                i64::from(date.ordinal())
            } else {
                let iso = date.iso_week();
                i64::from(iso.week0() * 7 + date.weekday().num_days_from_monday() + 1)
            };
            signed(out, day, if unpadded { 0 } else { 3 });
        }
        Field::DayOfMonth => signed(out, parts.day, if unpadded { 0 } else { 2 }),
        Field::DayOfWeek => {
            number(out, i64::from(date.weekday().number_from_sunday()), 0);
        }
        Field::IsoDayOfWeek => {
            number(out, i64::from(date.weekday().number_from_monday()), 0);
        }
        Field::WeekOfYear => {
            let day = parts
                .date
                .map_or(parts.year * 365 + parts.month * 30 + parts.day, |d| {
                    i64::from(d.ordinal())
                });
            signed(out, (day - 1) / 7 + 1, if unpadded { 0 } else { 2 });
        }
        Field::IsoWeek => two(out, i64::from(date.iso_week().week())),
        Field::Quarter => {
            if parts.month != 0 {
                number(out, (parts.month - 1) / 3 + 1, 0);
            }
        }
        Field::Century => century(out, parts, unpadded),
        Field::YearWithComma => {
            let year = parts.shown_year(parts.year);
            let _ = write!(out, "{},{:03}", year / 1000, year % 1000);
        }
        Field::Year(digits) => year(out, parts, parts.year, digits, unpadded),
        Field::IsoYear(digits) => {
            let iso = parts
                .date
                .map_or(parts.year, |d| i64::from(d.iso_week().year()));
            year(out, parts, iso, digits, unpadded);
        }
        Field::WeekOfMonth => number(out, (parts.day - 1) / 7 + 1, 0),
        Field::Julian => {
            let days = date.num_days_from_ce() + JULIAN_YEAR_1 - 1;
            number(out, i64::from(days), 0);
        }
        Field::Exact => {}
    }
}

/// A number of at least so many characters, its sign counted.
fn signed(out: &mut String, value: i64, width: usize) {
    let _ = write!(out, "{value:0width$}");
}

/// A number of at least so many digits, its sign not counted.
fn number(out: &mut String, value: i64, digits: usize) {
    if value < 0 {
        let _ = write!(out, "-{:0digits$}", value.unsigned_abs());
    } else {
        let _ = write!(out, "{value:0digits$}");
    }
}

/// The first digits of the microseconds.
fn fraction(out: &mut String, micros: i64, digits: u32) {
    signed(out, micros / 10_i64.pow(6 - digits), digits as usize);
}

fn dotted(word: &str, letters: Letters, dots: bool) -> String {
    let word = lettered(word, letters);
    if dots {
        word.chars().flat_map(|c| [c, '.']).collect()
    } else {
        word
    }
}

fn lettered(name: &str, letters: Letters) -> String {
    match letters {
        Letters::Upper => name.to_uppercase(),
        Letters::Capital => name.to_owned(),
        Letters::Lower => name.to_lowercase(),
    }
}

fn padded(out: &mut String, name: &str, written: Written, width: usize) {
    if written.fill || written.localized {
        out.push_str(name);
    } else {
        let _ = write!(out, "{name:<width$}");
    }
}

fn month(out: &mut String, written: Written, month: i64) {
    let index = usize::try_from(month - 1).ok().filter(|i| *i < 12);
    let Some(index) = index else {
        return;
    };
    match written.field {
        Field::Month(letters) => padded(out, &lettered(MONTHS[index], letters), written, 9),
        Field::Mon(letters) => out.push_str(&lettered(&MONTHS[index][..3], letters)),
        Field::RomanMonth(letters) => {
            let name = ROMAN_MONTHS[index];
            let name = if letters == Letters::Lower {
                name.to_lowercase()
            } else {
                name.to_owned()
            };
            padded(
                out,
                &name,
                Written {
                    localized: false,
                    ..written
                },
                4,
            );
        }
        _ => {}
    }
}

fn century(out: &mut String, parts: &Parts, unpadded: bool) {
    let century = if parts.is_interval() {
        parts.year / 100
    } else if parts.year > 0 {
        (parts.year - 1) / 100 + 1
    } else {
        parts.year / 100 - 1
    };
    number(
        out,
        century,
        if unpadded || century.abs() > 99 { 0 } else { 2 },
    );
}

/// The last digits of a year, or with four the year as a whole.
fn year(out: &mut String, parts: &Parts, year: i64, digits: u8, unpadded: bool) {
    let year = parts.shown_year(year);
    let width = if unpadded { 0 } else { usize::from(digits) };
    if digits == 4 {
        number(out, year, width);
    } else {
        signed(out, year % 10_i64.pow(u32::from(digits)), width);
    }
}
