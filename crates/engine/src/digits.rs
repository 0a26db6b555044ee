//! Dates, times and decimals as text, digit by digit.
//!
//! Results are full of them, and a formatter takes longer for one than everything else that is done for
//! its row. Both front ends write these forms; where a protocol wants another one, it writes its own.

use bytes::BufMut;
use chrono::{Datelike, NaiveDate, NaiveTime, Timelike};

/// The last `N` digits of a number.
pub fn put_digits<const N: usize>(out: &mut impl BufMut, mut number: u32) {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    out.put_slice(&digits);
}

/// `YYYY-MM-DD`. False, and nothing is written, for a year before 1 or after 9999, which each protocol
/// writes in its own way.
#[must_use]
pub fn put_date(out: &mut impl BufMut, date: NaiveDate) -> bool {
    let Ok(year @ 1..=9999) = u32::try_from(date.year()) else {
        return false;
    };
    put_fields(out, year, date.month(), date.day());
    true
}

/// As [`put_date`], for a day that is counted from 1970-01-01.
#[must_use]
pub fn put_day(out: &mut impl BufMut, day: i32) -> bool {
    let Some((year, month, day)) = calendar_date(day) else {
        return false;
    };
    put_fields(out, year, month, day);
    true
}

fn put_fields(out: &mut impl BufMut, year: u32, month: u32, day: u32) {
    put_digits::<4>(out, year);
    out.put_u8(b'-');
    put_digits::<2>(out, month);
    out.put_u8(b'-');
    put_digits::<2>(out, day);
}

/// Year, month and day of the month of a day from 1970-01-01; `None` outside of the years 1 to 9999.
///
/// Years are counted from March here, so that the leap day is the last of its year, and days from the
/// beginning of an era of 400 such years, in which the calendar repeats itself.
fn calendar_date(day: i32) -> Option<(u32, u32, u32)> {
    /// Days from 0000-03-01 to 1970-01-01, to 0001-01-01 and to 10000-01-01.
    const TO_1970: i32 = 719_468;
    const FIRST: u32 = 306;
    const END: u32 = 3_652_365;
    const ERA_DAYS: u32 = 146_097;
    const ERA_YEARS: u32 = 400;
    const MARCH: u32 = 3;
    let day = u32::try_from(day.checked_add(TO_1970)?).ok()?;
    if !(FIRST..END).contains(&day) {
        return None;
    }
    let (era, day) = (day / ERA_DAYS, day % ERA_DAYS);
    // Without the leap days before it: every 4 years, but not every 100, but every 400.
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Five months from March have 153 days, and so have the next five.
    let month = (5 * day + 2) / 153;
    let of_month = day - (153 * month + 2) / 5 + 1;
    let year = year + era * ERA_YEARS;
    Some(match month {
        0..10 => (year, month + MARCH, of_month),
        _ => (year + 1, month + MARCH - 12, of_month),
    })
}

/// `HH:MM:SS`, without what is below a second.
pub fn put_time(out: &mut impl BufMut, time: NaiveTime) {
    put_digits::<2>(out, time.hour());
    out.put_u8(b':');
    put_digits::<2>(out, time.minute());
    out.put_u8(b':');
    put_digits::<2>(out, time.second());
}

/// A number in units of its last decimal, of which `scale` stand behind the point.
pub fn put_decimal(out: &mut impl BufMut, value: i128, scale: usize) {
    let mut buffer = itoa::Buffer::new();
    // Nearly all fit, and are much quicker then.
    let number = match i64::try_from(value) {
        Ok(value) => buffer.format(value),
        Err(_) => buffer.format(value),
    };
    let digits = number.trim_start_matches('-');
    if digits.len() < number.len() {
        out.put_u8(b'-');
    }
    let (whole, fraction) = digits.split_at(digits.len().saturating_sub(scale));
    out.put_slice(if whole.is_empty() {
        b"0"
    } else {
        whole.as_bytes()
    });
    if scale > 0 {
        out.put_u8(b'.');
        out.put_bytes(b'0', scale - fraction.len());
        out.put_slice(fraction.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("digits")
    }

    fn days(date: NaiveDate) -> i32 {
        let days = date.signed_duration_since(NaiveDate::default()).num_days();
        i32::try_from(days).expect("years of four digits")
    }

    #[test]
    fn decimals_have_all_their_digits() {
        for (value, scale, expected) in [
            (0, 0, "0"),
            (0, 2, "0.00"),
            (-5, 2, "-0.05"),
            (150, 2, "1.50"),
            (-12_345, 0, "-12345"),
            (7, 38, "0.00000000000000000000000000000000000007"),
            (i128::MIN, 2, "-1701411834604692317316873037158841057.28"),
        ] {
            assert_eq!(written(|out| put_decimal(out, value, scale)), expected);
        }
    }

    #[test]
    fn dates_and_times_are_those_of_the_library() {
        let first = NaiveDate::from_ymd_opt(1, 1, 1).expect("a day");
        let last = NaiveDate::from_ymd_opt(9999, 12, 31).expect("a day");
        for day in first.iter_days().step_by(97).take_while(|day| *day <= last) {
            assert_eq!(written(|out| assert!(put_date(out, day))), day.to_string());
        }
        for beyond in [first.pred_opt(), last.succ_opt()] {
            let beyond = beyond.expect("a day");
            assert_eq!(written(|out| assert!(!put_date(out, beyond))), "");
            assert_eq!(calendar_date(days(beyond)), None);
        }
        for beyond in [i32::MIN, i32::MAX] {
            assert_eq!(calendar_date(beyond), None);
        }
        for day in first.iter_days().take_while(|day| *day <= last) {
            let fields = (day.year().unsigned_abs(), day.month(), day.day());
            assert_eq!(calendar_date(days(day)), Some(fields));
        }
        let time = NaiveTime::from_hms_opt(7, 5, 59).expect("a time");
        assert_eq!(written(|out| put_time(out, time)), "07:05:59");
    }
}
