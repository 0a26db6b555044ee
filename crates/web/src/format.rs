//! How numbers, times and foreign texts are shown.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, Utc};
use forebay_server::ScanProgress;
use maud::{Escaper, Render};

/// Text that somebody else wrote: a statement, a name, a message. It is shown as text, whatever is in
/// it: HTML is escaped, and characters that cannot be seen, or that turn the text around them, are
/// shown as what they are.
pub(crate) struct Foreign<'a>(pub(crate) &'a str);

impl Render for Foreign<'_> {
    fn render_to(&self, out: &mut String) {
        let _ = write!(Escaper::new(out), "{}", visible(self.0));
    }
}

/// The text with every character in it to be seen.
pub(crate) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            // The pictures of control characters.
            '\0'..='\x1f' => out.push(char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}')),
            '\x7f' => out.push('\u{2421}'),
            _ if is_hidden(c) => {
                let _ = write!(out, "[U+{:04X}]", c as u32);
            }
            _ => out.push(c),
        }
    }
    out
}

/// Controls of the second half of Latin-1, marks and overrides of direction, invisible characters,
/// separators of lines that are none to SQL.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// The beginning of a text, at most `limit` bytes, with dots where something is missing.
pub(crate) fn shortened(text: &str, limit: usize) -> String {
    let end = text.floor_char_boundary(limit);
    match end == text.len() {
        true => text.to_owned(),
        false => format!("{}…", &text[..end]),
    }
}

/// The beginning of a text on one line.
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    let start = &text[..text.floor_char_boundary(limit.saturating_mul(4))];
    let words: Vec<&str> = start.split_whitespace().collect();
    let line = words.join(" ");
    match line.len() <= limit && start.len() == text.len() {
        true => line,
        false => format!("{}…", &line[..line.floor_char_boundary(limit)]),
    }
}

/// A duration as Impala's pages write it: `1h2m`, `3m4s`, `5s678ms`, `91.2ms`, `345us`.
pub(crate) fn duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    match seconds {
        _ if micros < 1000 => format!("{micros}us"),
        0 => format!("{:.1}ms", micros as f64 / 1000.0),
        1..60 => format!("{seconds}s{millis:03}ms"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// How long ago.
pub(crate) fn since(moment: DateTime<Utc>) -> String {
    duration((Utc::now() - moment).to_std().unwrap_or_default())
}

/// Bytes with a unit, as people say it.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    match unit {
        "B" => format!("{bytes} B"),
        _ if value < 10.0 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// A whole number with its thousands apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// How far scans are, as Impala's pages write it: `2 / 10 (  20%)`.
pub(crate) fn progress(progress: Option<ScanProgress>) -> String {
    let Some(ScanProgress { done, total }) = progress else {
        return "N/A".to_owned();
    };
    let percent = (100 * done).checked_div(total).unwrap_or(0);
    format!("{done} / {total} ({percent:>4}%)")
}

/// A plan cost.
pub(crate) fn cost(cost: f64) -> String {
    match cost.fract() == 0.0 || cost.abs() >= 1000.0 {
        true => count(cost.max(0.0) as u64),
        false => format!("{cost:.2}"),
    }
}

/// A moment for people.
pub(crate) fn moment(moment: DateTime<Utc>) -> String {
    moment.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// A moment as Impala's JSON has it, to the nanosecond.
pub(crate) fn exact_moment(moment: DateTime<Utc>) -> String {
    moment.format("%Y-%m-%d %H:%M:%S%.9f").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use maud::html;

    #[test]
    fn foreign_text_is_text() {
        let hostile = "<script>alert('a')</script> \"&\" \0 \u{202e}abc\u{200f}\r\u{1b}[31m";
        let shown = html! { p title=(Foreign(hostile)) { (Foreign(hostile)) } }.into_string();
        assert!(!shown.contains("<script"), "{shown}");
        assert!(!shown.contains('\u{202e}') && !shown.contains('\0') && !shown.contains('\r'));
        let inner =
            "&lt;script&gt;alert('a')&lt;/script&gt; &quot;&amp;&quot; ␀ [U+202E]abc[U+200F]␍␛[31m";
        assert_eq!(shown, format!("<p title=\"{inner}\">{inner}</p>"));
    }

    #[test]
    fn shortening_keeps_characters_whole() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("aäb", 2), "a…");
        assert_eq!(one_line("SELECT\n  1", 20), "SELECT 1");
        assert_eq!(one_line(&"ä ".repeat(1_000_000), 5), "ä ä…");
        assert_eq!(one_line("", 5), "");
    }

    #[test]
    fn durations() {
        let of = |micros| duration(Duration::from_micros(micros));
        assert_eq!(of(7), "7us");
        assert_eq!(of(91_234), "91.2ms");
        assert_eq!(of(5_067_000), "5s067ms");
        assert_eq!(of(184_000_000), "3m4s");
        assert_eq!(of(3_720_000_000), "1h2m");
        assert_eq!(of(90_000_000_000), "1d1h");
    }

    #[test]
    fn sizes_and_counts() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 kB");
        assert_eq!(bytes(20 << 20), "20 MB");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(cost(0.5), "0.50");
    }

    #[test]
    fn progress_is_written_as_impala_does() {
        let text = |done, total| progress(Some(ScanProgress { done, total }));
        assert_eq!(text(2, 10), "2 / 10 (  20%)");
        assert_eq!(text(0, 3), "0 / 3 (   0%)");
        assert_eq!(text(1, 3), "1 / 3 (  33%)");
        assert_eq!(text(3, 3), "3 / 3 ( 100%)");
        assert_eq!(text(0, 0), "0 / 0 (   0%)");
        assert_eq!(progress(None), "N/A");
    }
}
