//! Templates of dates and times: `DD Mon YYYY`, `FMHH12:MI am`, ….

/// One thing in a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    Field(Written),
    /// A sign that is neither letter nor digit, or a space.
    Separator(char),
    /// Anything else stands for itself.
    Text(char),
}

/// A field with what is written around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    pub field: Field,
    /// The field's name in the table, and whether the template has it in lower case.
    pub name: &'static str,
    pub lower: bool,
    /// `FM`: no padding.
    pub fill: bool,
    /// `TM`: no padding of names either.
    pub localized: bool,
    /// `TH`, in lower case or not.
    pub ordinal: Option<bool>,
}

/// How letters are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Letters {
    Upper,
    Capital,
    Lower,
}

use Letters::{Capital, Lower, Upper};

/// What can be asked of a date or a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// `AD`, `B.C.`: with dots or not.
    Era(Letters, bool),
    /// `AM`, `p.m.`.
    Meridiem(Letters, bool),
    Century,
    Day(Letters),
    Dy(Letters),
    DayOfYear,
    DayOfMonth,
    DayOfWeek,
    Fraction(u8),
    /// `FX`: the text must be exactly as the template.
    Exact,
    Hour24,
    Hour12,
    IsoDayOfYear,
    IsoDayOfWeek,
    IsoWeek,
    /// With so many digits.
    IsoYear(u8),
    Julian,
    Minute,
    MonthNumber,
    Month(Letters),
    Mon(Letters),
    Millisecond,
    Offset,
    Quarter,
    RomanMonth(Letters),
    SecondOfDay,
    Second,
    ZoneHour,
    ZoneMinute,
    Zone(Letters),
    Microsecond,
    WeekOfYear,
    WeekOfMonth,
    YearWithComma,
    Year(u8),
}

/// Fields as they are written; each also in lower case. Longer ones before their beginnings.
const FIELDS: [(&str, Field); 58] = [
    ("A.D.", Field::Era(Upper, true)),
    ("A.M.", Field::Meridiem(Upper, true)),
    ("AD", Field::Era(Upper, false)),
    ("AM", Field::Meridiem(Upper, false)),
    ("B.C.", Field::Era(Upper, true)),
    ("BC", Field::Era(Upper, false)),
    ("CC", Field::Century),
    ("DAY", Field::Day(Upper)),
    ("Day", Field::Day(Capital)),
    ("DDD", Field::DayOfYear),
    ("DD", Field::DayOfMonth),
    ("DY", Field::Dy(Upper)),
    ("Dy", Field::Dy(Capital)),
    ("D", Field::DayOfWeek),
    ("FF1", Field::Fraction(1)),
    ("FF2", Field::Fraction(2)),
    ("FF3", Field::Fraction(3)),
    ("FF4", Field::Fraction(4)),
    ("FF5", Field::Fraction(5)),
    ("FF6", Field::Fraction(6)),
    ("FX", Field::Exact),
    ("HH24", Field::Hour24),
    ("HH12", Field::Hour12),
    ("HH", Field::Hour12),
    ("IDDD", Field::IsoDayOfYear),
    ("ID", Field::IsoDayOfWeek),
    ("IW", Field::IsoWeek),
    ("IYYY", Field::IsoYear(4)),
    ("IYY", Field::IsoYear(3)),
    ("IY", Field::IsoYear(2)),
    ("I", Field::IsoYear(1)),
    ("J", Field::Julian),
    ("MI", Field::Minute),
    ("MM", Field::MonthNumber),
    ("MONTH", Field::Month(Upper)),
    ("Month", Field::Month(Capital)),
    ("MON", Field::Mon(Upper)),
    ("Mon", Field::Mon(Capital)),
    ("MS", Field::Millisecond),
    ("OF", Field::Offset),
    ("P.M.", Field::Meridiem(Upper, true)),
    ("PM", Field::Meridiem(Upper, false)),
    ("Q", Field::Quarter),
    ("RM", Field::RomanMonth(Upper)),
    ("SSSSS", Field::SecondOfDay),
    ("SSSS", Field::SecondOfDay),
    ("SS", Field::Second),
    ("TZH", Field::ZoneHour),
    ("TZM", Field::ZoneMinute),
    ("TZ", Field::Zone(Upper)),
    ("US", Field::Microsecond),
    ("WW", Field::WeekOfYear),
    ("W", Field::WeekOfMonth),
    ("Y,YYY", Field::YearWithComma),
    ("YYYY", Field::Year(4)),
    ("YYY", Field::Year(3)),
    ("YY", Field::Year(2)),
    ("Y", Field::Year(1)),
];

impl Field {
    fn lower(self) -> Self {
        match self {
            Self::Era(_, dots) => Self::Era(Lower, dots),
            Self::Meridiem(_, dots) => Self::Meridiem(Lower, dots),
            Self::Day(_) => Self::Day(Lower),
            Self::Dy(_) => Self::Dy(Lower),
            Self::Month(_) => Self::Month(Lower),
            Self::Mon(_) => Self::Mon(Lower),
            Self::RomanMonth(_) => Self::RomanMonth(Lower),
            Self::Zone(_) => Self::Zone(Lower),
            other => other,
        }
    }

    /// Whether it is written in digits only.
    pub(super) fn is_number(self) -> bool {
        !matches!(
            self,
            Self::Era(..)
                | Self::Meridiem(..)
                | Self::Day(_)
                | Self::Dy(_)
                | Self::Exact
                | Self::Month(_)
                | Self::Mon(_)
                | Self::Offset
                | Self::RomanMonth(_)
                | Self::Zone(_)
                | Self::ZoneHour
        )
    }
}

/// Reads a template. Everything is one: what is no field stands for itself.
pub(super) fn read(text: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut fill = false;
        let mut localized = false;
        if let Some(after) = strip_any(rest, &["FM", "fm"]) {
            fill = true;
            rest = after;
        } else if let Some(after) = strip_any(rest, &["TM", "tm"]) {
            localized = true;
            rest = after;
        }
        if let Some((name, lower, field)) = field_at(rest) {
            rest = &rest[name.len()..];
            let mut ordinal = None;
            for (suffix, lower) in [("TH", false), ("th", true)] {
                if let Some(after) = rest.strip_prefix(suffix) {
                    ordinal = Some(lower);
                    rest = after;
                }
            }
            items.push(Item::Field(Written {
                field,
                name,
                lower,
                fill,
                localized,
                ordinal,
            }));
        } else if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted_text(quoted, &mut items);
        } else {
            let escaped = rest.strip_prefix('\\').filter(|r| r.starts_with('"'));
            rest = escaped.unwrap_or(rest);
            let Some(c) = rest.chars().next() else { break };
            let letter = c.is_ascii_alphanumeric() || !c.is_ascii() || c.is_ascii_control();
            items.push(if letter && !c.is_ascii_whitespace() {
                Item::Text(c)
            } else {
                Item::Separator(c)
            });
            rest = &rest[c.len_utf8()..];
        }
    }
    items
}

fn quoted_text<'a>(text: &'a str, items: &mut Vec<Item>) -> &'a str {
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        let c = match c {
            '"' => return &text[at + 1..],
            '\\' => match chars.next() {
                Some((_, escaped)) => escaped,
                None => c,
            },
            c => c,
        };
        items.push(Item::Text(c));
    }
    ""
}

fn strip_any<'a>(text: &'a str, prefixes: &[&str]) -> Option<&'a str> {
    prefixes.iter().find_map(|prefix| text.strip_prefix(prefix))
}

fn field_at(text: &str) -> Option<(&'static str, bool, Field)> {
    FIELDS.iter().find_map(|(name, field)| {
        if text.starts_with(name) {
            return Some((*name, false, *field));
        }
        let head = text.get(..name.len())?;
        (head == name.to_ascii_lowercase()).then(|| (*name, true, field.lower()))
    })
}

impl Written {
    /// As the template has it.
    pub(super) fn shown_name(&self) -> String {
        if self.lower {
            self.name.to_lowercase()
        } else {
            self.name.to_owned()
        }
    }
}

/// The calendar that a field belongs to; the two do not go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Calendar {
    Gregorian,
    IsoWeek,
}

impl Field {
    pub(super) fn calendar(self) -> Option<Calendar> {
        match self {
            Self::DayOfYear
            | Self::DayOfMonth
            | Self::DayOfWeek
            | Self::MonthNumber
            | Self::Month(_)
            | Self::Mon(_)
            | Self::RomanMonth(_)
            | Self::WeekOfYear
            | Self::WeekOfMonth
            | Self::YearWithComma
            | Self::Year(_) => Some(Calendar::Gregorian),
            Self::IsoDayOfYear | Self::IsoDayOfWeek | Self::IsoWeek | Self::IsoYear(_) => {
                Some(Calendar::IsoWeek)
            }
            _ => None,
        }
    }
}
