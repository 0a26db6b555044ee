//! `to_date` and `to_timestamp`.

use super::datetime::{Calendar, Field, Item, Written};
use super::datetime_fields::{Fields, Moment};
use super::datetime_write::{DAYS, MONTHS, ROMAN_MONTHS};
use crate::EngineError;

/// SQLSTATE of a text that is not as its template.
pub(super) const MALFORMED: &str = "22007";
const OUT_OF_RANGE: &str = "22008";

/// What `text` says where the template has its fields.
pub(super) fn read(items: &[Item], text: &str) -> Result<Moment, EngineError> {
    let exact = items
        .iter()
        .any(|i| matches!(i, Item::Field(w) if w.field == Field::Exact));
    let mut reader = Reader {
        rest: text,
        exact,
        extra: 0,
        calendar: None,
        fields: Fields::default(),
    };
    for (i, item) in items.iter().enumerate() {
        if reader.rest.is_empty() {
            break;
        }
        match item {
            Item::Separator(_) => reader.separator(),
            Item::Text(_) => reader.literal(),
            Item::Field(written) => {
                if !exact {
                    let trimmed = reader.rest.trim_start_matches(is_space);
                    reader.extra += count(reader.rest) - count(trimmed);
                    reader.rest = trimmed;
                    if trimmed.is_empty() {
                        break;
                    }
                }
                let open_end = written.fill || ends_number(written, &items[i + 1..]);
                reader.field(*written, open_end)?;
            }
        }
    }
    reader.fields.moment(text)
}

fn count(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}

fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\u{b}'
}

fn is_separator(c: char) -> bool {
    c.is_ascii_graphic() && !c.is_ascii_alphanumeric()
}

/// Whether what follows a number in the template cannot be part of it.
fn ends_number(written: &Written, following: &[Item]) -> bool {
    if written.ordinal.is_some() {
        return true;
    }
    match following.first() {
        None | Some(Item::Separator(_)) => true,
        Some(Item::Text(c)) => !c.is_ascii_digit(),
        Some(Item::Field(next)) => !next.field.is_number(),
    }
}

struct Reader<'a> {
    rest: &'a str,
    exact: bool,
    /// Characters skipped beyond what the template has; literals need not be there for them.
    extra: i64,
    calendar: Option<Calendar>,
    fields: Fields,
}

impl<'a> Reader<'a> {
    fn check_calendar(&mut self, field: Field) -> Result<(), EngineError> {
        let calendar = field.calendar();
        if calendar.is_some() && self.calendar.is_some() && calendar != self.calendar {
            let message = "invalid combination of date conventions";
            return Err(EngineError::new(MALFORMED, message).with_hint(
                "Do not mix Gregorian and ISO week date conventions in a formatting template.",
            ));
        }
        self.calendar = self.calendar.or(calendar);
        Ok(())
    }

    fn skip_one(&mut self) {
        let length = self.rest.chars().next().map_or(0, char::len_utf8);
        self.rest = &self.rest[length..];
    }

    fn separator(&mut self) {
        if self.exact {
            self.skip_one();
            return;
        }
        self.extra -= 1;
        if self.rest.starts_with(|c| is_space(c) || is_separator(c)) {
            self.skip_one();
            self.extra += 1;
        }
    }

    fn literal(&mut self) {
        if !self.exact && self.extra > 0 {
            self.extra -= 1;
        } else {
            self.skip_one();
        }
    }

    fn field(&mut self, written: Written, open_end: bool) -> Result<(), EngineError> {
        let field = &written;
        let number = |reader: &mut Self, digits| reader.number(field, digits, open_end);
        self.check_calendar(field.field)?;
        match field.field {
            Field::Exact => {}
            Field::Meridiem(_, dots) => {
                let words = if dots { ["a.m.", "p.m."] } else { ["am", "pm"] };
                let afternoon = self.one_of(field, &words)? == 1;
                set(&mut self.fields.afternoon, afternoon, field)?;
                self.fields.twelve_hours = true;
            }
            Field::Era(_, dots) => {
                let words = if dots { ["a.d.", "b.c."] } else { ["ad", "bc"] };
                let before = self.one_of(field, &words)? == 1;
                set(&mut self.fields.before_christ, before, field)?;
            }
            Field::Hour12 => {
                let hour = number(self, 2)?.0;
                set(&mut self.fields.hour, hour, field)?;
                self.fields.twelve_hours = true;
            }
            Field::Hour24 => {
                let hour = number(self, 2)?.0;
                set(&mut self.fields.hour, hour, field)?;
            }
            Field::Minute => {
                let minute = number(self, 2)?.0;
                set(&mut self.fields.minute, minute, field)?;
            }
            Field::Second => {
                let second = number(self, 2)?.0;
                set(&mut self.fields.second, second, field)?;
            }
            Field::Millisecond => {
                let micros = self.fraction(field, 3, open_end)?;
                set(&mut self.fields.millis, micros, field)?;
            }
            Field::Microsecond | Field::Fraction(_) => {
                let digits = match field.field {
                    Field::Fraction(digits) => usize::from(digits),
                    _ => 6,
                };
                let micros = self.fraction(field, digits, open_end)?;
                set(&mut self.fields.micros, micros, field)?;
            }
            Field::SecondOfDay => {
                let second = number(self, written.name.len())?.0;
                set(&mut self.fields.second_of_day, second, field)?;
            }
            Field::Zone(_) | Field::Offset => {
                let message = format!(
                    "formatting field \"{}\" is only supported in to_char",
                    field.shown_name()
                );
                return Err(EngineError::new("0A000", message));
            }
            Field::ZoneHour => {
                self.fields.zone_negative = self.rest.starts_with('-');
                if self.rest.starts_with(['+', '-', ' ']) {
                    self.skip_one();
                }
                let hour = number(self, 2)?.0;
                set(&mut self.fields.zone_hour, hour, field)?;
            }
            Field::ZoneMinute => {
                let minute = number(self, 2)?.0;
                set(&mut self.fields.zone_minute, minute, field)?;
            }
            Field::Month(_) => {
                let month = self.one_of(field, &MONTHS)?;
                set(&mut self.fields.month, index(month) + 1, field)?;
            }
            Field::Mon(_) => {
                let month = self.one_of(field, &MONTHS.map(|m| &m[..3]))?;
                set(&mut self.fields.month, index(month) + 1, field)?;
            }
            Field::MonthNumber => {
                let month = number(self, 2)?.0;
                set(&mut self.fields.month, month, field)?;
            }
            Field::RomanMonth(_) => {
                // Longer ones first, as each begins with a shorter one.
                let mut names: Vec<(usize, &str)> =
                    ROMAN_MONTHS.iter().copied().enumerate().collect();
                names.sort_by_key(|(_, name)| std::cmp::Reverse(name.len()));
                let words: Vec<&str> = names.iter().map(|(_, name)| *name).collect();
                let found = self.one_of(field, &words)?;
                set(&mut self.fields.month, index(names[found].0) + 1, field)?;
            }
            Field::Day(_) => {
                let day = self.one_of(field, &DAYS)?;
                set(&mut self.fields.day_of_week, index(day), field)?;
            }
            Field::Dy(_) => {
                let day = self.one_of(field, &DAYS.map(|d| &d[..3]))?;
                set(&mut self.fields.day_of_week, index(day), field)?;
            }
            Field::DayOfYear => {
                let day = number(self, 3)?.0;
                set(&mut self.fields.day_of_year, day, field)?;
            }
            Field::IsoDayOfYear => {
                let day = number(self, 3)?.0;
                set(&mut self.fields.iso_day_of_year, day, field)?;
            }
            Field::DayOfMonth => {
                let day = number(self, 2)?.0;
                set(&mut self.fields.day, day, field)?;
            }
            Field::DayOfWeek => {
                let day = number(self, 1)?.0;
                set(&mut self.fields.day_of_week, day - 1, field)?;
            }
            Field::IsoDayOfWeek => {
                let day = number(self, 1)?.0;
                set(&mut self.fields.iso_day_of_week, day, field)?;
            }
            Field::WeekOfYear => {
                let week = number(self, 2)?.0;
                set(&mut self.fields.week_of_year, week, field)?;
            }
            Field::IsoWeek => {
                let week = number(self, 2)?.0;
                set(&mut self.fields.iso_week, week, field)?;
            }
            Field::WeekOfMonth => {
                let week = number(self, 1)?.0;
                set(&mut self.fields.week_of_month, week, field)?;
            }
            // A quarter alone does not tell a day; PostgreSQL reads and forgets it.
            Field::Quarter => {
                number(self, 1)?;
            }
            Field::Century => {
                let century = number(self, 2)?.0;
                set(&mut self.fields.century, century, field)?;
            }
            Field::YearWithComma => self.year_with_comma(field)?,
            Field::Year(digits) => {
                let (year, read) = number(self, usize::from(digits))?;
                self.fields.short_year = digits < 4;
                let year = completed(year, digits, read);
                set(&mut self.fields.year, year, field)?;
            }
            Field::IsoYear(digits) => {
                let (year, read) = number(self, usize::from(digits))?;
                set(
                    &mut self.fields.iso_year,
                    completed(year, digits, read),
                    field,
                )?;
            }
            Field::Julian => {
                let day = number(self, 1)?.0;
                set(&mut self.fields.julian, day, field)?;
            }
        }
        if written.ordinal.is_some() {
            let rest = self.rest.chars().skip(2);
            self.rest = &self.rest[self.rest.len() - rest.map(char::len_utf8).sum::<usize>()..];
        }
        Ok(())
    }

    /// An integer: of exactly so many digits, or where the end is open, of as many as there are.
    fn number(
        &mut self,
        field: &Written,
        digits: usize,
        open_end: bool,
    ) -> Result<(i64, usize), EngineError> {
        if !self.exact {
            self.rest = self.rest.trim_start_matches(is_space);
        }
        let rest: &'a str = self.rest;
        let invalid = |text: &str, detail: String| {
            let message = format!("invalid value \"{text}\" for \"{}\"", field.shown_name());
            EngineError::new(MALFORMED, message).with_detail(detail)
        };
        let field_text = if open_end {
            rest
        } else {
            match rest.char_indices().nth(digits) {
                Some((end, _)) => &rest[..end],
                None if rest.chars().count() == digits => rest,
                None => {
                    let message = format!(
                        "source string too short for \"{}\" formatting field",
                        field.shown_name()
                    );
                    return Err(EngineError::new(MALFORMED, message)
                        .with_detail(format!(
                            "Field requires {digits} characters, but only {} remain.",
                            rest.chars().count()
                        ))
                        .with_hint(
                            "If your source string is not fixed-width, try using the \"FM\" modifier.",
                        ));
                }
            }
        };
        let signed = field_text.strip_prefix(['+', '-']).unwrap_or(field_text);
        let sign = field_text.len() - signed.len();
        let length = signed.bytes().take_while(u8::is_ascii_digit).count();
        let shown = || first_word(rest, digits);
        if length == 0 {
            return Err(invalid(shown(), "Value must be an integer.".to_owned()));
        }
        let used = sign + length;
        if !open_end && used < digits {
            let error = invalid(
                field_text,
                format!("Field requires {digits} characters, but only {used} could be parsed."),
            );
            return Err(error.with_hint(
                "If your source string is not fixed-width, try using the \"FM\" modifier.",
            ));
        }
        let Some(value) = field_text[..used].parse().ok().filter(in_range) else {
            let message = format!(
                "value for \"{}\" in source string is out of range",
                field.shown_name()
            );
            let detail = format!("Value must be in the range {} to {}.", i32::MIN, i32::MAX);
            return Err(EngineError::new(OUT_OF_RANGE, message).with_detail(detail));
        };
        self.rest = &rest[used..];
        Ok((value, used))
    }

    /// Microseconds of digits behind a decimal point: `5` is five tenths.
    fn fraction(
        &mut self,
        field: &Written,
        digits: usize,
        open_end: bool,
    ) -> Result<i64, EngineError> {
        let (value, read) = self.number(field, digits, open_end)?;
        let scale = 10_f64.powi(6 - i32::try_from(read).unwrap_or(6));
        Ok((value as f64 * scale).round() as i64)
    }

    fn year_with_comma(&mut self, field: &Written) -> Result<(), EngineError> {
        let invalid = || {
            let message = format!("invalid input string for \"{}\"", field.shown_name());
            EngineError::new(MALFORMED, message)
        };
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (thousands, rest) = self.rest.split_at(digits(self.rest));
        let rest = rest.strip_prefix(',').ok_or_else(invalid)?;
        let (years, rest) = rest.split_at(digits(rest).min(3));
        let parse = |text: &str| {
            text.parse::<i64>()
                .ok()
                .filter(in_range)
                .ok_or_else(invalid)
        };
        let year = parse(thousands)? * 1000 + parse(years)?;
        self.rest = rest;
        set(&mut self.fields.year, year, field)
    }

    /// Which of the words comes next, in any case.
    fn one_of(&mut self, field: &Written, words: &[&str]) -> Result<usize, EngineError> {
        let found = words.iter().position(|word| {
            let head = self.rest.get(..word.len());
            head.is_some_and(|head| head.eq_ignore_ascii_case(word))
        });
        let Some(found) = found else {
            let shown = self.rest.split(is_space).next().unwrap_or_default();
            let message = format!("invalid value \"{shown}\" for \"{}\"", field.shown_name());
            let detail = "The given value did not match any of the allowed values for this field.";
            return Err(EngineError::new(MALFORMED, message).with_detail(detail));
        };
        self.rest = &self.rest[words[found].len()..];
        Ok(found)
    }
}

fn index(i: usize) -> i64 {
    i64::try_from(i).unwrap_or(0)
}

fn in_range(value: &i64) -> bool {
    i32::try_from(*value).is_ok()
}

fn first_word(text: &str, length: usize) -> &str {
    let end = text
        .char_indices()
        .nth(length)
        .map_or(text.len(), |(end, _)| end);
    &text[..end]
}

/// A year of fewer than four digits means the one nearest to 2020.
fn completed(year: i64, digits: u8, read: usize) -> i64 {
    if digits == 4 || read >= 4 || year < 0 {
        return year;
    }
    match year {
        0..70 => year + 2000,
        70..100 => year + 1900,
        100..520 => year + 2000,
        520..1000 => year + 1000,
        _ => year,
    }
}

fn set<T: PartialEq>(slot: &mut Option<T>, value: T, field: &Written) -> Result<(), EngineError> {
    if slot.as_ref().is_some_and(|old| *old != value) {
        let message = format!(
            "conflicting values for \"{}\" field in formatting string",
            field.shown_name()
        );
        let detail = "This value contradicts a previous setting for the same field type.";
        return Err(EngineError::new(MALFORMED, message).with_detail(detail));
    }
    *slot = Some(value);
    Ok(())
}
