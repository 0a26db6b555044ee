//! From fields that have been read to the moment that they tell.

use chrono::{Datelike, NaiveDate, Weekday};

use super::datetime_read::MALFORMED;
use crate::EngineError;

const OUT_OF_RANGE: &str = "22008";

/// A moment as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub date: NaiveDate,
    /// Since midnight.
    pub micros: i64,
    /// Seconds east of Greenwich, if a zone was written.
    pub offset: Option<i64>,
}

/// Fields as far as they have been read.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub hour: Option<i64>,
    pub twelve_hours: bool,
    pub afternoon: Option<bool>,
    pub minute: Option<i64>,
    pub second: Option<i64>,
    pub second_of_day: Option<i64>,
    pub millis: Option<i64>,
    pub micros: Option<i64>,
    pub day_of_week: Option<i64>,
    pub day: Option<i64>,
    pub day_of_year: Option<i64>,
    pub month: Option<i64>,
    pub year: Option<i64>,
    /// Digits that the year was asked with; fewer than four leave the century open.
    pub short_year: bool,
    pub before_christ: Option<bool>,
    pub century: Option<i64>,
    pub week_of_year: Option<i64>,
    pub week_of_month: Option<i64>,
    pub julian: Option<i64>,
    pub iso_year: Option<i64>,
    pub iso_week: Option<i64>,
    pub iso_day_of_week: Option<i64>,
    pub iso_day_of_year: Option<i64>,
    pub zone_hour: Option<i64>,
    pub zone_minute: Option<i64>,
    pub zone_negative: bool,
}

impl Fields {
    /// The moment that the fields of `text` tell.
    pub(super) fn moment(&self, text: &str) -> Result<Moment, EngineError> {
        let out_of_range = || {
            let message = format!("date/time field value out of range: \"{text}\"");
            EngineError::new(OUT_OF_RANGE, message)
        };
        let micros = self.time(out_of_range)?;
        let date = self.date(out_of_range)?;
        let offset = self.offset(out_of_range)?;
        Ok(Moment {
            date,
            micros,
            offset,
        })
    }

    fn time(&self, out_of_range: impl Fn() -> EngineError) -> Result<i64, EngineError> {
        let mut hour = self.hour.unwrap_or(0);
        if self.twelve_hours {
            if !(1..=12).contains(&hour) {
                let message = format!("hour \"{hour}\" is invalid for the 12-hour clock");
                return Err(EngineError::new(MALFORMED, message)
                    .with_hint("Use the 24-hour clock, or give an hour between 1 and 12."));
            }
            if self.afternoon == Some(true) && hour < 12 {
                hour += 12;
            } else if self.afternoon == Some(false) && hour == 12 {
                hour = 0;
            }
        }
        let (mut minute, mut second) = (self.minute.unwrap_or(0), self.second.unwrap_or(0));
        if let Some(seconds) = self.second_of_day {
            (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        }
        let micros = self.millis.unwrap_or(0) + self.micros.unwrap_or(0);
        let valid = (0..24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..60).contains(&second)
            && (0..1_000_000).contains(&micros);
        if !valid {
            return Err(out_of_range());
        }
        Ok(((hour * 60 + minute) * 60 + second) * 1_000_000 + micros)
    }

    fn offset(&self, out_of_range: impl Fn() -> EngineError) -> Result<Option<i64>, EngineError> {
        if self.zone_hour.is_none() && self.zone_minute.is_none() {
            return Ok(None);
        }
        let (hour, minute) = (self.zone_hour.unwrap_or(0), self.zone_minute.unwrap_or(0));
        if !(0..=15).contains(&hour) || !(0..60).contains(&minute) {
            return Err(out_of_range());
        }
        let seconds = hour * 3600 + minute * 60;
        Ok(Some(if self.zone_negative {
            -seconds
        } else {
            seconds
        }))
    }

    /// The astronomical year.
    fn gregorian_year(&self) -> Option<i64> {
        let before = self.before_christ == Some(true);
        let year = match (self.year, self.century) {
            (Some(year), Some(century)) if self.short_year => {
                let within = year.rem_euclid(100);
                if within == 0 {
                    century * 100
                } else {
                    (century - 1) * 100 + within
                }
            }
            (Some(year), _) if self.year.is_some() => year,
            (None, Some(century)) => (century - 1) * 100 + 1,
            _ => return None,
        };
        Some(match (year, before) {
            (year, true) if year > 0 => 1 - year,
            (year, false) if year < 0 => year + 1,
            (year, _) => year,
        })
    }

    fn date(&self, out_of_range: impl Fn() -> EngineError) -> Result<NaiveDate, EngineError> {
        if let Some(julian) = self.julian {
            const JULIAN_YEAR_1: i64 = 1_721_426;
            let days = i32::try_from(julian - JULIAN_YEAR_1 + 1).ok();
            return days
                .and_then(NaiveDate::from_num_days_from_ce_opt)
                .ok_or_else(out_of_range);
        }
        let yearless = self.gregorian_year().is_none() && self.iso_year.is_none();
        let counted = self.day_of_year.is_some() || self.week_of_year.is_some();
        if counted && yearless && self.before_christ.is_none() {
            let message = "cannot calculate day of year without year information";
            return Err(EngineError::new(MALFORMED, message));
        }
        let date = if self.iso_week.is_some() || self.iso_day_of_year.is_some() {
            self.iso_date()
        } else {
            self.gregorian_date()
        };
        date.ok_or_else(out_of_range)
    }

    fn iso_date(&self) -> Option<NaiveDate> {
        let year = i32::try_from(self.iso_year.unwrap_or(0)).ok()?;
        if let Some(week) = self.iso_week {
            let monday = NaiveDate::from_isoywd_opt(year, 1, Weekday::Mon)?;
            let day = self.iso_day_of_week.unwrap_or(1);
            if !(1..=53).contains(&week) {
                return None;
            }
            return monday.checked_add_signed(chrono::Duration::days((week - 1) * 7 + day - 1));
        }
        let first = NaiveDate::from_isoywd_opt(year, 1, Weekday::Mon)?;
        let day = self.iso_day_of_year?;
        first.checked_add_signed(chrono::Duration::days(day - 1))
    }

    fn gregorian_date(&self) -> Option<NaiveDate> {
        let year = i32::try_from(self.gregorian_year().or(self.iso_year).unwrap_or(0)).ok()?;
        let day_of_year = self
            .day_of_year
            .or_else(|| self.week_of_year.map(|week| (week - 1) * 7 + 1));
        if let Some(day) = day_of_year
            && (self.month.is_none() || self.day.is_none())
        {
            return NaiveDate::from_yo_opt(year, u32::try_from(day).ok()?);
        }
        let month = u32::try_from(self.month.unwrap_or(1)).ok()?;
        let day = self
            .day
            .or_else(|| self.week_of_month.map(|week| (week - 1) * 7 + 1));
        let date = NaiveDate::from_ymd_opt(year, month, u32::try_from(day.unwrap_or(1)).ok()?)?;
        debug_assert_eq!(date.year(), year);
        Some(date)
    }
}
