//! `to_char` of numbers.

use super::number::{Anchor, Item, Place, Template};

/// Digits that a `float8` and a `float4` surely have.
const FLOAT8_DIGITS: usize = 15;
const FLOAT4_DIGITS: usize = 6;

/// A number to be written.
#[derive(Debug, Clone)]
pub(super) enum Number {
    /// Decimal digits, as printed: `-12.50`.
    Exact(String),
    Float8(f64),
    Float4(f32),
}

/// Rounded digits, without sign.
struct Digits {
    negative: bool,
    /// `12`, or `12.50`.
    text: String,
}

/// The number in the template's form.
pub(super) fn write(template: &Template, number: &Number) -> String {
    if template.roman {
        return Writer::new(template, roman_digits(number), 0).run();
    }
    if template.scientific {
        return scientific(template, number);
    }
    let shift = template.shift.unwrap_or(0);
    let whole = template.whole + shift;
    let (digits, decimals) = rounded(template, number, shift);
    let mut template = template.clone();
    template.whole = whole;
    template.decimals = decimals;
    let length = digits.text.split('.').next().map_or(0, str::len);
    if length > whole {
        // It does not fit: every digit becomes a `#`.
        let text = format!("{}.{}", "#".repeat(whole), "#".repeat(decimals));
        return Writer::new(&template, Digits { text, ..digits }, 0).run();
    }
    Writer::new(&template, digits, whole - length).run()
}

/// The digits, and how many of them are decimals.
fn rounded(template: &Template, number: &Number, shift: usize) -> (Digits, usize) {
    let decimals = template.decimals;
    match number {
        Number::Exact(text) => (round_text(text, shift, decimals), decimals),
        Number::Float8(value) => round_float(*value, shift, decimals, FLOAT8_DIGITS),
        Number::Float4(value) => round_float(f64::from(*value), shift, decimals, FLOAT4_DIGITS),
    }
}

/// Floats have no more digits than are sure.
fn round_float(value: f64, shift: usize, decimals: usize, sure: usize) -> (Digits, usize) {
    let value = value * 10_f64.powi(i32::try_from(shift).unwrap_or(i32::MAX));
    let length = format!("{:.0}", value.abs()).len();
    let decimals = decimals.min(sure.saturating_sub(length));
    let text = format!("{:.*}", decimals, value.abs());
    let digits = Digits {
        negative: value < 0.0,
        text,
    };
    (digits, decimals)
}

/// Rounds half away from zero, after moving the point `shift` places to the right.
fn round_text(text: &str, shift: usize, decimals: usize) -> Digits {
    let negative = text.starts_with('-');
    let (whole, fraction) = match text.trim_start_matches('-').split_once('.') {
        Some((whole, fraction)) => (whole, fraction),
        None => (text.trim_start_matches('-'), ""),
    };
    let mut fraction = fraction.as_bytes().to_vec();
    let mut digits = whole.as_bytes().to_vec();
    fraction.resize(fraction.len().max(shift + decimals + 1), b'0');
    digits.extend_from_slice(&fraction[..shift + decimals]);
    if fraction[shift + decimals] >= b'5' {
        increment(&mut digits);
    }
    let point = digits.len() - decimals;
    let leading = digits[..point.saturating_sub(1)]
        .iter()
        .take_while(|d| **d == b'0')
        .count();
    let zero = digits.iter().all(|d| *d == b'0');
    let whole: String = digits[leading..point]
        .iter()
        .map(|d| char::from(*d))
        .collect();
    let fraction: String = digits[point..].iter().map(|d| char::from(*d)).collect();
    let text = if decimals == 0 {
        whole
    } else {
        format!("{whole}.{fraction}")
    };
    Digits {
        negative: negative && !zero,
        text,
    }
}

fn increment(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
    digits.insert(0, b'1');
}

fn scientific(template: &Template, number: &Number) -> String {
    let hashes = || {
        let whole = "#".repeat(template.whole);
        format!(" {whole}.{}", "#".repeat(template.decimals + 4))
    };
    let text = match number {
        Number::Exact(text) => exact_scientific(text, template.decimals),
        Number::Float8(value) if !value.is_finite() => hashes(),
        Number::Float4(value) if !value.is_finite() => hashes(),
        Number::Float8(value) => with_exponent(&format!("{value:.*e}", template.decimals)),
        Number::Float4(value) => with_exponent(&format!("{value:.*e}", template.decimals)),
    };
    if text.starts_with(['-', ' ']) {
        text
    } else {
        format!(" {text}")
    }
}

/// `1.5e3` is written `1.5e+03`.
fn with_exponent(text: &str) -> String {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{exponent:0>2}")
}

fn exact_scientific(text: &str, decimals: usize) -> String {
    let sign = if text.starts_with('-') { "-" } else { "" };
    let digits = text.trim_start_matches('-');
    let point = digits.find('.').unwrap_or(digits.len());
    let plain: String = digits.chars().filter(|c| *c != '.').collect();
    let Some(first) = plain.find(|c| c != '0') else {
        return with_exponent(&format!("{:.*e}", decimals, 0.0));
    };
    let mut exponent = i64::try_from(point).unwrap_or(0) - i64::try_from(first).unwrap_or(0) - 1;
    let mantissa = format!("{}.{}", &plain[first..=first], &plain[first + 1..]);
    let mut mantissa = round_text(&mantissa, 0, decimals).text;
    if mantissa.starts_with("10") {
        mantissa = round_text("1", 0, decimals).text;
        exponent += 1;
    }
    with_exponent(&format!("{sign}{mantissa}e{exponent}"))
}

fn roman_digits(number: &Number) -> Digits {
    let text = match number {
        Number::Exact(text) => text.clone(),
        Number::Float8(value) => format!("{value:.0}"),
        Number::Float4(value) => format!("{value:.0}"),
    };
    let rounded = round_text(&text, 0, 0);
    let value = rounded.text.parse::<u32>().ok();
    let value = value.filter(|v| (1..4000).contains(v) && !rounded.negative);
    Digits {
        negative: false,
        text: value.map_or_else(|| "#".repeat(15), roman),
    }
}

/// Roman numerals of 1 to 3999.
fn roman(mut value: u32) -> String {
    const NUMERALS: [(u32, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let mut text = String::new();
    for (worth, numeral) in NUMERALS {
        while value >= worth {
            text.push_str(numeral);
            value -= worth;
        }
    }
    text
}

/// Goes through a template place by place. The rules are PostgreSQL's, also where they are odd.
struct Writer<'a> {
    template: &'a Template,
    number: Vec<u8>,
    negative: bool,
    out: String,
    /// The next digit.
    next: usize,
    /// Places written so far.
    place: usize,
    /// Places before the number's first digit.
    padding: usize,
    /// The last decimal that is not a redundant zero, or the point (`FM` only).
    last_relevant: Option<usize>,
    sign_written: bool,
    brackets: bool,
    anchor: Option<Anchor>,
    last_place: usize,
    in_number: bool,
}

impl<'a> Writer<'a> {
    fn new(template: &'a Template, digits: Digits, padding: usize) -> Self {
        let number = digits.text.into_bytes();
        let negative = digits.negative;
        let mut brackets = template.brackets;
        let mut anchor = template.signed;
        let sign_written = if template.plus || template.minus {
            !template.plus || template.minus
        } else {
            if !negative && template.fill {
                brackets = false;
            }
            if anchor == Some(Anchor::Before) && template.whole == template.digits_before_sign {
                anchor = Some(Anchor::After);
            }
            !negative && template.fill && template.signed.is_none()
        };
        let last_relevant = (template.fill && template.has_point)
            .then(|| last_relevant(&number, template.last_zero, padding))
            .flatten();
        let mut count = (template.decimals + template.whole).saturating_sub(1);
        if !sign_written && padding == 0 {
            count += 1;
        }
        let last_place = count + usize::from(padding > 0) + usize::from(template.has_point);
        Self {
            template,
            number,
            negative,
            out: String::new(),
            next: 0,
            place: 0,
            padding,
            last_relevant,
            sign_written,
            brackets,
            anchor,
            last_place,
            in_number: false,
        }
    }

    fn run(mut self) -> String {
        for item in &self.template.items {
            match item {
                Item::Place(place) => {
                    if !self.template.roman {
                        self.place(*place);
                    }
                }
                Item::Group => self.unless_filled(self.in_number, ','),
                Item::Currency => self.out.push(' '),
                Item::Minus => self.unless_filled(self.negative, '-'),
                Item::Plus => self.unless_filled(!self.negative, '+'),
                Item::Sign => self.out.push(self.sign()),
                Item::Roman(lower) => self.roman(*lower),
                Item::Ordinal(lower) => self.ordinal(*lower),
                Item::Mode => {}
                Item::Text(c) => self.out.push(*c),
            }
        }
        self.out
    }

    fn sign(&self) -> char {
        if self.negative { '-' } else { '+' }
    }

    /// A sign where it applies, else a space, or with `FM` nothing.
    fn unless_filled(&mut self, applies: bool, sign: char) {
        if applies {
            self.out.push(sign);
        } else if !self.template.fill {
            self.out.push(' ');
        }
    }

    fn roman(&mut self, lower: bool) {
        let text = String::from_utf8_lossy(&self.number).into_owned();
        let text = if lower { text.to_lowercase() } else { text };
        if self.template.fill {
            self.out.push_str(&text);
        } else {
            self.out.push_str(&format!("{text:>15}"));
        }
    }

    fn ordinal(&mut self, lower: bool) {
        let fits = !self.template.roman && self.number.first() != Some(&b'#');
        if !fits || self.negative || self.template.has_point {
            return;
        }
        let digits = String::from_utf8_lossy(&self.number);
        self.out.push_str(super::ordinal_suffix(&digits, lower));
    }

    /// Whether `0` is written as nothing because decimals follow (`9.9` makes ` .5` of 0.5).
    fn is_bare_zero(&self) -> bool {
        self.template.first_zero.is_none()
            && self.next == 0
            && self.number.first() == Some(&b'0')
            && self.template.decimals != 0
    }

    fn point_is_last(&self) -> bool {
        self.last_relevant
            .is_some_and(|at| self.number.get(at) == Some(&b'.'))
    }

    fn zero_begins_by(&self, place: usize) -> bool {
        self.template.first_zero.is_some_and(|zero| zero <= place)
    }

    fn place(&mut self, place: Place) {
        self.in_number = false;
        let at_zero = self.template.first_zero == Some(self.place);
        if !self.sign_written
            && (self.place >= self.padding || at_zero)
            && (!self.is_bare_zero() || self.point_is_last())
        {
            self.leading_sign();
        }
        if self.place < self.padding && !self.zero_begins_by(self.place) {
            if !self.template.fill {
                self.out.push(' ');
            }
        } else if self.place < self.padding {
            self.out.push('0');
            self.in_number = true;
        } else {
            self.digit(place);
        }
        let end = if self.last_relevant == Some(self.next) {
            self.place
        } else {
            self.last_place
        };
        if self.place + 1 == end {
            self.trailing_sign();
        }
        self.place += 1;
    }

    fn leading_sign(&mut self) {
        if let Some(anchor) = self.anchor {
            if anchor == Anchor::Before {
                self.out.push(self.sign());
                self.sign_written = true;
            }
        } else if self.brackets {
            self.out.push(if self.negative { '<' } else { ' ' });
            self.sign_written = true;
        } else {
            if self.negative {
                self.out.push('-');
            } else if !self.template.fill {
                self.out.push(' ');
            }
            self.sign_written = true;
        }
    }

    fn digit(&mut self, place: Place) {
        match self.number.get(self.next) {
            Some(b'.') => {
                if !self.point_is_last() || self.template.fill {
                    self.out.push('.');
                }
            }
            digit => {
                let redundant = self.last_relevant.is_some_and(|at| self.next > at);
                if redundant && place != Place::Zero {
                    // Left out.
                } else if self.is_bare_zero() {
                    if !self.template.fill {
                        self.out.push(' ');
                    } else if self.point_is_last() {
                        self.out.push('0');
                    }
                } else if let Some(digit) = digit {
                    self.out.push(char::from(*digit));
                    self.in_number = true;
                }
            }
        }
        if self.next < self.number.len() {
            self.next += 1;
        }
    }

    fn trailing_sign(&mut self) {
        if self.sign_written && self.brackets {
            self.out.push(if self.negative { '>' } else { ' ' });
        } else if self.anchor == Some(Anchor::After) {
            self.out.push(self.sign());
        }
    }
}

fn last_relevant(number: &[u8], last_zero: usize, padding: usize) -> Option<usize> {
    let point = number.iter().position(|c| *c == b'.')?;
    let last = number.iter().rposition(|c| *c != b'0').unwrap_or(point);
    let last = last.max(point);
    // Decimals that a `0` asks for stay.
    let wanted = last_zero.saturating_sub(padding);
    Some(if last_zero > padding {
        last.max(wanted.min(number.len() - 1))
    } else {
        last
    })
}
