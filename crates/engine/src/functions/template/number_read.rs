//! `to_number`.

use super::number::{Anchor, Item, Place, Template};

/// The digits that `text` has at the places of the template, with a sign: `-1234.5`; what is
/// empty or has no digits is no number.
pub(super) fn read(template: &Template, text: &str) -> String {
    let mut reader = Reader {
        template,
        text: text.chars().collect(),
        at: 0,
        negative: None,
        number: String::new(),
        whole: 0,
        decimals: 0,
        point: false,
    };
    for item in &template.items {
        if reader.at >= reader.text.len() {
            break;
        }
        reader.item(item);
    }
    let sign = if reader.negative == Some(true) {
        "-"
    } else {
        ""
    };
    format!("{sign}{}", reader.number.trim_end_matches('.'))
}

/// Goes through template and text together. The rules are PostgreSQL's, also where they are odd.
struct Reader<'a> {
    template: &'a Template,
    text: Vec<char>,
    at: usize,
    negative: Option<bool>,
    number: String,
    whole: usize,
    decimals: usize,
    point: bool,
}

impl Reader<'_> {
    fn here(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Place(place) => {
                self.place(*place);
                self.at += 1;
            }
            Item::Group => {
                if self.here() == Some(',') && !(self.template.fill) {
                    self.at += 1;
                }
            }
            Item::Minus => self.own_sign(&['-']),
            Item::Plus => self.own_sign(&['+']),
            Item::Sign => self.own_sign(&['-', '+']),
            Item::Currency => self.skip_other(1),
            Item::Ordinal(_) => self.skip_other(2),
            Item::Text(_) => self.at += 1,
            Item::Mode | Item::Roman(_) => {}
        }
    }

    fn own_sign(&mut self, signs: &[char]) {
        match self.here() {
            Some(c) if signs.contains(&c) => {
                self.negative = Some(c == '-');
                self.at += 1;
            }
            _ => self.skip_other(1),
        }
    }

    /// Skips up to so many characters that are no part of a number.
    fn skip_other(&mut self, count: usize) {
        for _ in 0..count {
            match self.here() {
                Some(c) if !"0123456789.,+-".contains(c) => self.at += 1,
                _ => return,
            }
        }
    }

    fn place(&mut self, place: Place) {
        if self.here() == Some(' ') {
            self.at += 1;
        }
        if self.negative.is_none() && place != Place::Point && self.number.is_empty() {
            self.leading_sign();
        }
        let Some(c) = self.here() else {
            return;
        };
        let mut read = false;
        if c.is_ascii_digit() {
            if self.point && self.decimals == self.template.decimals {
                return;
            }
            self.number.push(c);
            if self.point {
                self.decimals += 1;
            } else {
                self.whole += 1;
            }
            read = true;
        } else if c == '.' && self.template.has_point && !self.point {
            self.number.push('.');
            self.point = true;
            read = true;
        }
        if self.negative.is_none() && self.whole + self.decimals > 0 {
            self.trailing_sign(read);
        }
    }

    fn leading_sign(&mut self) {
        let anchored = matches!(self.template.signed, Some(Anchor::After));
        let sign = match self.here() {
            Some('-') if !anchored || self.template.signed.is_some() => Some(true),
            Some('<') if self.template.brackets => Some(true),
            Some('+') => Some(false),
            _ => None,
        };
        if sign.is_some() {
            self.negative = sign;
            self.at += 1;
        }
    }

    /// The sign behind the number: of `S` directly behind a digit, else where no digit was.
    fn trailing_sign(&mut self, read: bool) {
        let sign_at = |at: usize| match self.text.get(at) {
            Some('-') => Some(true),
            Some('+') => Some(false),
            _ => None,
        };
        if self.template.signed.is_some() && read {
            if let Some(negative) = sign_at(self.at + 1) {
                self.negative = Some(negative);
                self.at += 1;
            }
        } else if !read
            && self.template.signed.is_none()
            && let Some(negative) = sign_at(self.at)
        {
            self.negative = Some(negative);
        }
    }
}
