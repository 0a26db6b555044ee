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
    put_digits::<4>(out, year);
    out.put_u8(b'-');
    put_digits::<2>(out, date.month());
    out.put_u8(b'-');
    put_digits::<2>(out, date.day());
    true
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
        }
        let time = NaiveTime::from_hms_opt(7, 5, 59).expect("a time");
        assert_eq!(written(|out| put_time(out, time)), "07:05:59");
    }
}
