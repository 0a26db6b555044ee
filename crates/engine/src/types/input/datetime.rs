//! Dates and times, as PostgreSQL reads them with `DateStyle` `ISO, MDY`.
//!
//! A text is cut into words at white space; each word is a date, a time, a number, a month, a zone
//! and so on, in any order. What cannot be read is 22007, a field out of its range is 22008.

use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::datatypes::TimeUnit;

use chrono::{
    Days, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc,
};

use super::invalid;
use crate::EngineError;

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

const WEEKDAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

/// Abbreviations of zones that PostgreSQL knows by default and people write, in hours east.
const ABBREVIATIONS: [(&str, i32); 19] = [
    ("z", 0),
    ("zulu", 0),
    ("utc", 0),
    ("gmt", 0),
    ("ut", 0),
    ("wet", 0),
    ("west", 1),
    ("bst", 1),
    ("cet", 1),
    ("cest", 2),
    ("eet", 2),
    ("eest", 3),
    ("msk", 3),
    ("est", -5),
    ("edt", -4),
    ("cst", -6),
    ("cdt", -5),
    ("pst", -8),
    ("pdt", -7),
];

const SECONDS_PER_DAY: i64 = 86_400;
const MICROSECONDS_PER_SECOND: i64 = 1_000_000;

/// Days from 1970-01-01.
pub(super) fn date(text: &str) -> Result<i32, EngineError> {
    let name = "date";
    let fields = Fields::read(text, name)?;
    let date = fields.date(text)?.ok_or_else(|| bad_syntax(name, text))?;
    let days = date.signed_duration_since(NaiveDate::default()).num_days();
    i32::try_from(days).map_err(|_| out_of_range(text))
}

/// Nanoseconds from midnight.
pub(super) fn time(text: &str) -> Result<i64, EngineError> {
    let name = "time";
    let fields = Fields::read(text, name)?;
    let time = fields.clock(text)?.ok_or_else(|| bad_syntax(name, text))?;
    fields.date(text)?;
    // The end of a day, 24:00, is beyond what Arrow's times hold.
    if time >= SECONDS_PER_DAY * MICROSECONDS_PER_SECOND {
        return Err(out_of_range(text));
    }
    Ok(time * 1000)
}

/// Units from 1970-01-01: of universal time for a `zone`, else of whatever clock was read.
pub(super) fn timestamp(
    text: &str,
    zone: Option<Zone>,
    unit: TimeUnit,
) -> Result<i64, EngineError> {
    let name = match zone {
        Some(_) => "timestamp with time zone",
        None => "timestamp",
    };
    let fields = Fields::read(text, name)?;
    let date = fields.date(text)?.ok_or_else(|| bad_syntax(name, text))?;
    let clock = fields.clock(text)?.unwrap_or(0);
    let local = NaiveDateTime::new(date, NaiveTime::MIN)
        .checked_add_signed(TimeDelta::microseconds(clock))
        .ok_or_else(|| out_of_range(text))?;
    let micros = match zone {
        Some(session) => fields.zone.unwrap_or(session).instant(local),
        None => Some(local.and_utc().timestamp_micros()),
    };
    let micros = micros.ok_or_else(|| out_of_range(text))?;
    let units = match unit {
        TimeUnit::Second => Some((micros + 500_000).div_euclid(MICROSECONDS_PER_SECOND)),
        TimeUnit::Millisecond => Some((micros + 500).div_euclid(1000)),
        TimeUnit::Microsecond => Some(micros),
        TimeUnit::Nanosecond => micros.checked_mul(1000),
    };
    units.ok_or_else(|| EngineError::new("22008", format!("timestamp out of range: \"{text}\"")))
}

/// A time zone: the rules of a place, or a fixed distance.
#[derive(Debug, Clone, Copy)]
pub(in crate::types) struct Zone(Tz);

impl Zone {
    /// The zone of an Arrow type, or one that a user named.
    pub(in crate::types) fn named(name: Option<&str>) -> Result<Option<Self>, EngineError> {
        let Some(name) = name else {
            return Ok(None);
        };
        let zone = name.parse::<Tz>().ok().map(Self);
        let zone = zone.or_else(|| abbreviation(&name.to_lowercase()));
        zone.map(Some).ok_or_else(|| {
            EngineError::new("22023", format!("time zone \"{name}\" not recognized"))
        })
    }

    /// The moment at which clocks there show `local`, in microseconds. What the clocks skip is
    /// read with the distance before, what they show twice is the later one.
    pub(in crate::types) fn instant(self, local: NaiveDateTime) -> Option<i64> {
        let moment = match self.0.from_local_datetime(&local) {
            MappedLocalTime::Single(moment) | MappedLocalTime::Ambiguous(_, moment) => {
                moment.with_timezone(&Utc)
            }
            MappedLocalTime::None => {
                let before = local.checked_sub_signed(TimeDelta::hours(12))?;
                let before = self.0.from_local_datetime(&before).earliest()?;
                before.with_timezone(&Utc) + TimeDelta::hours(12)
            }
        };
        Some(moment.timestamp_micros())
    }

    /// What clocks there show at a moment.
    pub(in crate::types) fn local(self, micros: i64) -> Option<NaiveDateTime> {
        let moment = chrono::DateTime::from_timestamp_micros(micros)?;
        Some(moment.with_timezone(&self.0).naive_local())
    }

    /// Seconds east of universal time at a moment.
    pub(in crate::types) fn seconds_east(self, micros: i64) -> Option<i64> {
        let utc = chrono::DateTime::from_timestamp_micros(micros)?.naive_utc();
        Some((self.local(micros)? - utc).num_seconds())
    }
}

fn abbreviation(word: &str) -> Option<Zone> {
    let (_, hours) = ABBREVIATIONS.iter().find(|(name, _)| *name == word)?;
    let zone = format!("{hours:+03}:00");
    zone.parse().ok().map(Zone)
}

fn bad_syntax(name: &str, text: &str) -> EngineError {
    invalid("22007", name, text)
}

fn out_of_range(text: &str) -> EngineError {
    let message = format!("date/time field value out of range: \"{text}\"");
    EngineError::new("22008", message)
}

/// What was found in a text.
#[derive(Debug, Default)]
struct Fields {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    /// Hours, minutes, and microseconds of the last minute.
    clock: Option<(u32, u32, i64)>,
    afternoon: Option<bool>,
    before_christ: bool,
    zone: Option<Zone>,
    /// A moment that a word names, in universal time.
    named_day: Option<NaiveDateTime>,
}

impl Fields {
    fn read(text: &str, name: &str) -> Result<Self, EngineError> {
        let mut fields = Self::default();
        let bad = || bad_syntax(name, text);
        if text.trim().is_empty() {
            return Err(bad());
        }
        for word in text.split(|c: char| c.is_whitespace() || c == ',') {
            if !word.is_empty() {
                fields.word(&word.to_lowercase()).ok_or_else(bad)?;
            }
        }
        Ok(fields)
    }

    /// Takes one word; `None` when it makes no sense.
    fn word(&mut self, word: &str) -> Option<()> {
        let first = word.chars().next()?;
        if word.contains(':') {
            return self.with_colon(word);
        }
        if matches!(first, '+' | '-') {
            return self.set_zone(word);
        }
        if first.is_ascii_digit() {
            if word.bytes().all(|b| b.is_ascii_digit()) {
                return self.digits(word);
            }
            if let Some((date, clock)) = word.split_once('t')
                && clock.starts_with(|c: char| c.is_ascii_digit())
            {
                self.word(date)?;
                return self.word(clock);
            }
            if word.contains(['-', '/', '.']) {
                return self.parts(word);
            }
            return self.number_and_letters(word);
        }
        self.letters(word)
    }

    /// A time, perhaps with its date in front (`2024-02-29T12:00`) or a zone behind.
    fn with_colon(&mut self, word: &str) -> Option<()> {
        if let Some((date, clock)) = word.split_once('t')
            && date.contains(['-', '/', '.'])
        {
            self.word(date)?;
            return self.with_colon(clock);
        }
        if word.starts_with(['+', '-']) {
            return self.set_zone(word);
        }
        let end = word.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.');
        let (clock, rest) = word.split_at(end.unwrap_or(word.len()));
        self.set_clock(clock)?;
        if rest.is_empty() {
            Some(())
        } else {
            self.suffix(rest)
        }
    }

    /// What may follow a time without white space.
    fn suffix(&mut self, rest: &str) -> Option<()> {
        if rest.starts_with(['+', '-']) {
            self.set_zone(rest)
        } else {
            self.letters(rest)
        }
    }

    fn set_clock(&mut self, clock: &str) -> Option<()> {
        let mut parts = clock.split(':');
        let hours = parts.next()?.parse().ok()?;
        let minutes = parts.next()?.parse().ok()?;
        let micros = match parts.next() {
            Some(seconds) => microseconds(seconds)?,
            None => 0,
        };
        let last = parts.next().is_none() && self.clock.is_none();
        self.clock = Some((hours, minutes, micros));
        last.then_some(())
    }

    fn set_zone(&mut self, word: &str) -> Option<()> {
        if self.zone.is_some() {
            return None;
        }
        let (sign, rest) = word.split_at(1);
        let digits: String = rest.chars().filter(char::is_ascii_digit).collect();
        if rest.chars().any(|c| !c.is_ascii_digit() && c != ':') {
            return None;
        }
        let (hours, minutes) = match (digits.len(), rest.split_once(':')) {
            (_, Some((hours, minutes))) => (hours.parse::<u8>().ok()?, minutes.get(..2)?),
            (1 | 2, None) => (digits.parse().ok()?, "0"),
            (4, None) => (digits[..2].parse().ok()?, &digits[2..]),
            _ => return None,
        };
        let minutes: u8 = minutes.parse().ok()?;
        if hours > 15 || minutes > 59 {
            return None;
        }
        self.zone = Some(Zone(format!("{sign}{hours:02}:{minutes:02}").parse().ok()?));
        Some(())
    }

    /// `20240229`, `240229`, a time `123456` behind a date, or a day or year beside a month.
    fn digits(&mut self, word: &str) -> Option<()> {
        match word.len() {
            8 if self.year.is_none() => self.set_date(&word[..4], &word[4..6], &word[6..]),
            6 if self.year.is_none() => self.set_date(&word[..2], &word[2..4], &word[4..]),
            6 if self.clock.is_none() => {
                let clock = format!("{}:{}:{}", &word[..2], &word[2..4], &word[4..]);
                self.set_clock(&clock)
            }
            4 if self.year.is_some() && self.clock.is_none() => {
                self.set_clock(&format!("{}:{}", &word[..2], &word[2..]))
            }
            1 | 2 if self.day.is_none() => {
                self.day = Some(word.parse().ok()?);
                Some(())
            }
            _ if self.year.is_none() => {
                self.year = Some(year(word)?);
                Some(())
            }
            _ => None,
        }
    }

    /// A date whose parts are separated: `2024-02-29`, `2/29/2024`, `29-Feb-2024`.
    fn parts(&mut self, word: &str) -> Option<()> {
        // A zone may follow the date: `2024-02-29+02`.
        if let Some((date, zone)) = word.split_once('+') {
            self.parts(date)?;
            return self.set_zone(&format!("+{zone}"));
        }
        let separator = word.find(['-', '/', '.'])?;
        let separator = word[separator..].chars().next()?;
        let parts: Vec<&str> = word.split(separator).collect();
        match parts.as_slice() {
            [y, m, d] if y.len() > 2 => self.set_date(y, m, d),
            [d, m, y] if month(m).is_some() => self.set_date(y, m, d),
            [m, d, y] => self.set_date(y, m, d),
            // `2024.060` is a day of a year.
            _ => None,
        }
    }

    fn set_date(&mut self, y: &str, m: &str, d: &str) -> Option<()> {
        if self.year.is_some() || self.day.is_some() {
            return None;
        }
        self.year = Some(year(y)?);
        self.month = Some(match month(m) {
            Some(month) => month,
            None => m.parse().ok()?,
        });
        let digits = d.bytes().all(|b| b.is_ascii_digit());
        self.day = Some(d.parse().ok().filter(|_| digits)?);
        Some(())
    }

    /// `8th` is no date, `3pm` is no time; `12z` is not read either.
    fn number_and_letters(&mut self, word: &str) -> Option<()> {
        let letters = word.find(|c: char| !c.is_ascii_digit())?;
        let (digits, rest) = word.split_at(letters);
        if self.year.is_some() && matches!(digits.len(), 4 | 6) {
            self.digits(digits)?;
            return self.suffix(rest);
        }
        None
    }

    fn letters(&mut self, word: &str) -> Option<()> {
        match word {
            "am" | "pm" => self.afternoon = Some(word == "pm"),
            "bc" => self.before_christ = true,
            "ad" | "on" | "at" => {}
            "now" | "today" | "tomorrow" | "yesterday" | "epoch" => self.name_day(word)?,
            _ if month(word).is_some() => {
                if self.month.replace(month(word)?).is_some() {
                    return None;
                }
            }
            _ if word.len() >= 3 && WEEKDAYS.iter().any(|d| d.starts_with(word)) => {}
            _ => {
                let zone = abbreviation(word).or_else(|| place(word))?;
                if self.zone.replace(zone).is_some() {
                    return None;
                }
            }
        }
        Some(())
    }

    fn name_day(&mut self, word: &str) -> Option<()> {
        let now = Utc::now().naive_utc();
        let midnight = now.date().and_time(NaiveTime::MIN);
        let day = match word {
            "now" => now,
            "today" => midnight,
            "tomorrow" => midnight.checked_add_days(Days::new(1))?,
            "yesterday" => midnight.checked_sub_days(Days::new(1))?,
            _ => NaiveDateTime::default(),
        };
        self.named_day.replace(day).is_none().then_some(())
    }

    /// The date; `None` when there is none.
    fn date(&self, text: &str) -> Result<Option<NaiveDate>, EngineError> {
        if let Some(day) = self.named_day {
            return Ok(Some(day.date()));
        }
        let (Some(year), Some(month), Some(day)) = (self.year, self.month, self.day) else {
            return Ok(None);
        };
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            let hint = "Perhaps you need a different \"datestyle\" setting.";
            return Err(out_of_range(text).with_hint(hint));
        }
        // The year before 1 is 1 BC.
        let year = if self.before_christ { 1 - year } else { year };
        let date = NaiveDate::from_ymd_opt(year, month, day);
        let exists = self.before_christ || year != 0;
        date.filter(|_| exists)
            .map(Some)
            .ok_or_else(|| out_of_range(text))
    }

    /// Microseconds from midnight; `None` when there is no time.
    fn clock(&self, text: &str) -> Result<Option<i64>, EngineError> {
        if let Some(day) = self.named_day {
            let time = day.time().signed_duration_since(NaiveTime::MIN);
            return Ok(time.num_microseconds());
        }
        let Some((hours, minutes, micros)) = self.clock else {
            return Ok(None);
        };
        let hours = match self.afternoon {
            Some(_) if hours > 12 || hours == 0 => return Err(out_of_range(text)),
            Some(afternoon) => hours % 12 + 12 * u32::from(afternoon),
            None => hours,
        };
        let end_of_day = hours == 24 && minutes == 0 && micros == 0;
        let minute = 60 * MICROSECONDS_PER_SECOND;
        if hours > 23 && !end_of_day || minutes > 59 || micros > minute {
            return Err(out_of_range(text));
        }
        let minutes = i64::from(hours) * 60 + i64::from(minutes);
        Ok(Some(minutes * minute + micros))
    }
}

/// Years of two digits lie between 1970 and 2069.
fn year(digits: &str) -> Option<i32> {
    if !digits.bytes().all(|b| b.is_ascii_digit()) || digits.len() > 6 {
        return None;
    }
    let year: i32 = digits.parse().ok()?;
    Some(match (digits.len(), year) {
        (..=2, 0..70) => 2000 + year,
        (..=2, _) => 1900 + year,
        _ => year,
    })
}

/// The number of a month by its name or the beginning of it.
fn month(word: &str) -> Option<u32> {
    let found = MONTHS.iter().position(|m| *m == word || word == &m[..3]);
    let found = found.or_else(|| (word == "sept").then_some(8))?;
    u32::try_from(found + 1).ok()
}

/// A zone by the name of a place, in any case.
fn place(word: &str) -> Option<Zone> {
    if !word.contains('/') {
        return None;
    }
    let name = capitalised(word);
    name.parse().ok().map(Zone)
}

/// `america/new_york` is `America/New_York`.
fn capitalised(word: &str) -> String {
    let mut start = true;
    word.chars()
        .map(|c| {
            let c = if start { c.to_ascii_uppercase() } else { c };
            start = matches!(c, '/' | '_' | '-');
            c
        })
        .collect()
}

/// Seconds with a fraction, rounded to microseconds.
fn microseconds(seconds: &str) -> Option<i64> {
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    if whole.is_empty() || whole.len() > 2 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain("0000000".chars()).take(7).collect();
    let tenths: i64 = digits.parse().ok()?;
    Some(whole * MICROSECONDS_PER_SECOND + (tenths + 5) / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_many_forms() {
        let leap_day = date("2024-02-29").unwrap();
        for text in [
            " 2024-2-29 ",
            "20240229",
            "240229",
            "2024/02/29",
            "2/29/2024",
            "29-Feb-2024",
            "Feb 29, 2024",
            "February 29 2024",
            "29 feb 2024",
            "Thursday, 29 Feb 2024",
            "2024-02-29 23:59:59.9+02",
            "2024-02-29T01:00Z",
        ] {
            assert_eq!(date(text).ok(), Some(leap_day), "{text}");
        }
        assert_eq!(date("1970-01-01"), Ok(0));
        assert_eq!(date("0001-12-31 BC"), Ok(-719_163));
        for (text, code) in [
            ("2024-02-30", "22008"),
            ("2023-02-29", "22008"),
            ("2024-13-01", "22008"),
            ("0000-01-01", "22008"),
            ("", "22007"),
            ("yesterdayish", "22007"),
            ("12:00", "22007"),
            ("2024-02", "22007"),
            ("2024-02-29 x", "22007"),
        ] {
            let found = date(text).err().map(|e| e.sqlstate);
            assert_eq!(found, Some(code), "{text}");
        }
    }

    #[test]
    fn times_have_limits() {
        let seconds = |text| {
            time(text)
                .map(|t| t / 1_000_000_000)
                .map_err(|e| e.sqlstate)
        };
        assert_eq!(seconds("12:34"), Ok(45_240));
        assert_eq!(seconds("12:34:56 AM"), Ok(2096));
        assert_eq!(seconds("01:00 pm"), Ok(46_800));
        assert_eq!(time("00:00:00.0000005").ok(), Some(1000));
        for text in ["25:00", "12:60", "12:00:61", "13:00 pm"] {
            assert_eq!(seconds(text), Err("22008"), "{text}");
        }
        for text in ["12", "noon", "12:3x", "12:00:00:00"] {
            assert_eq!(seconds(text), Err("22007"), "{text}");
        }
    }

    #[test]
    fn zones_decide_on_the_moment() {
        let new_york = Zone::named(Some("America/New_York")).unwrap();
        let at = |text, zone| timestamp(text, zone, TimeUnit::Second).map_err(|e| e.sqlstate);
        let utc = |text| at(text, None);
        let cases = [
            ("2024-07-01 12:00", "2024-07-01 16:00"),
            ("2024-01-01 12:00", "2024-01-01 17:00"),
            ("2024-07-01 12:00+02", "2024-07-01 10:00"),
            ("2024-07-01 12:00:00 Europe/Berlin", "2024-07-01 10:00"),
            ("2024-07-01 12:00 PST", "2024-07-01 20:00"),
            // Skipped, and shown twice.
            ("2024-03-10 02:30", "2024-03-10 07:30"),
            ("2024-11-03 01:30", "2024-11-03 06:30"),
        ];
        for (local, expected) in cases {
            assert_eq!(at(local, new_york), utc(expected), "{local}");
        }
        assert_eq!(utc("2024-07-01 12:00+02"), utc("2024-07-01 12:00"));
        assert_eq!(utc("2024-07-01 24:00"), utc("2024-07-02"));
        assert_eq!(utc("2024-07-01 12:00 Nowhere/Town"), Err("22007"));
    }
}
