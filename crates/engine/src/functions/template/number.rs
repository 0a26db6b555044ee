//! Templates of numbers: `9990.00`, `FM999MI`, `RN`, ….

use crate::EngineError;

/// One thing in a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    /// `9`, `0`, `.` or `D`: a place of the number itself.
    Place(Place),
    /// `,` or `G`.
    Group,
    /// `L`, the currency symbol.
    Currency,
    /// `MI`.
    Minus,
    /// `PL`.
    Plus,
    /// `SG`.
    Sign,
    /// `RN`, in lower case or not.
    Roman(bool),
    /// `TH`, in lower case or not.
    Ordinal(bool),
    /// What changes the whole: `FM`, `S`, `PR`, `B`, `V`, `EEEE`.
    Mode,
    /// Anything else stands for itself.
    Text(char),
}

/// A place of the number itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Nine,
    Zero,
    Point,
}

/// Where `S` puts the sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Before,
    After,
}

/// A template, read.
#[derive(Debug, Clone, Default)]
pub(super) struct Template {
    pub items: Vec<Item>,
    /// Digits before the point.
    pub whole: usize,
    /// Digits after it.
    pub decimals: usize,
    /// Place of the first `0` before the point, from 0.
    pub first_zero: Option<usize>,
    /// Places up to the last `0`.
    pub last_zero: usize,
    pub has_point: bool,
    /// `FM`: no padding.
    pub fill: bool,
    /// `S`.
    pub signed: Option<Anchor>,
    /// Digits before `S`.
    pub digits_before_sign: usize,
    /// `PR`.
    pub brackets: bool,
    pub minus: bool,
    pub plus: bool,
    pub roman: bool,
    /// `B`.
    pub blank: bool,
    /// Digits after `V`: the number is multiplied by as many tens.
    pub shift: Option<usize>,
    pub scientific: bool,
}

const KEYWORDS: [(&str, Keyword); 20] = [
    (",", Keyword::Item(Item::Group)),
    (".", Keyword::Point),
    ("0", Keyword::Zero),
    ("9", Keyword::Nine),
    ("B", Keyword::Blank),
    ("D", Keyword::Point),
    ("EEEE", Keyword::Scientific),
    ("FM", Keyword::Fill),
    ("G", Keyword::Item(Item::Group)),
    ("L", Keyword::Item(Item::Currency)),
    ("MI", Keyword::Minus),
    ("PL", Keyword::Plus),
    ("PR", Keyword::Brackets),
    ("RN", Keyword::Item(Item::Roman(false))),
    ("rn", Keyword::Item(Item::Roman(true))),
    ("SG", Keyword::Sign),
    ("S", Keyword::Signed),
    ("TH", Keyword::Item(Item::Ordinal(false))),
    ("th", Keyword::Item(Item::Ordinal(true))),
    ("V", Keyword::Shift),
];

#[derive(Debug, Clone, PartialEq)]
enum Keyword {
    Item(Item),
    Nine,
    Zero,
    Point,
    Blank,
    Scientific,
    Fill,
    Minus,
    Plus,
    Brackets,
    Sign,
    Signed,
    Shift,
}

impl Template {
    pub(super) fn read(text: &str) -> Result<Self, EngineError> {
        let mut template = Self::default();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if let Some((word, keyword)) = keyword_at(rest) {
                rest = &rest[word.len()..];
                template.take(keyword)?;
            } else if c == '"' {
                rest = template.quoted(&rest[1..]);
            } else {
                // A backslash only keeps a quote from being one.
                let escaped = rest.strip_prefix('\\').filter(|r| r.starts_with('"'));
                let literal = escaped.unwrap_or(rest);
                let c = literal.chars().next().unwrap_or(c);
                template.items.push(Item::Text(c));
                rest = &literal[c.len_utf8()..];
            }
        }
        Ok(template)
    }

    fn quoted<'a>(&mut self, text: &'a str) -> &'a str {
        let mut chars = text.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => return &text[at + 1..],
                '\\' => {
                    if let Some((_, escaped)) = chars.next() {
                        self.items.push(Item::Text(escaped));
                    }
                }
                c => self.items.push(Item::Text(c)),
            }
        }
        ""
    }

    fn take(&mut self, keyword: Keyword) -> Result<(), EngineError> {
        if self.scientific && keyword != Keyword::Scientific {
            return Err(wrong("\"EEEE\" must be the last pattern used"));
        }
        let item = match keyword {
            Keyword::Item(item) => {
                self.roman |= matches!(item, Item::Roman(_));
                item
            }
            Keyword::Nine => self.nine()?,
            Keyword::Zero => self.zero()?,
            Keyword::Point => self.point()?,
            Keyword::Blank => {
                self.blank |= self.whole == 0 && self.decimals == 0 && self.first_zero.is_none();
                Item::Mode
            }
            Keyword::Fill => {
                self.fill = true;
                Item::Mode
            }
            Keyword::Signed => self.sign_anchor()?,
            Keyword::Minus | Keyword::Plus | Keyword::Sign => self.own_sign(&keyword)?,
            Keyword::Brackets => {
                if self.signed.is_some() || self.plus || self.minus {
                    return Err(wrong(
                        "cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together",
                    ));
                }
                self.brackets = true;
                Item::Mode
            }
            Keyword::Shift => {
                if self.has_point {
                    return Err(wrong("cannot use \"V\" and decimal point together"));
                }
                self.shift = Some(0);
                Item::Mode
            }
            Keyword::Scientific => self.exponent()?,
        };
        self.items.push(item);
        Ok(())
    }

    fn nine(&mut self) -> Result<Item, EngineError> {
        if self.brackets {
            return Err(wrong("\"9\" must be ahead of \"PR\""));
        }
        if let Some(shift) = &mut self.shift {
            *shift += 1;
        } else if self.has_point {
            self.decimals += 1;
        } else {
            self.whole += 1;
        }
        Ok(Item::Place(Place::Nine))
    }

    fn zero(&mut self) -> Result<Item, EngineError> {
        if self.brackets {
            return Err(wrong("\"0\" must be ahead of \"PR\""));
        }
        if self.has_point {
            self.decimals += 1;
        } else {
            self.first_zero.get_or_insert(self.whole);
            self.whole += 1;
        }
        self.last_zero = self.whole + self.decimals;
        Ok(Item::Place(Place::Zero))
    }

    fn point(&mut self) -> Result<Item, EngineError> {
        if self.has_point {
            return Err(wrong("multiple decimal points"));
        }
        if self.shift.is_some() {
            return Err(wrong("cannot use \"V\" and decimal point together"));
        }
        self.has_point = true;
        Ok(Item::Place(Place::Point))
    }

    fn sign_anchor(&mut self) -> Result<Item, EngineError> {
        if self.signed.is_some() {
            return Err(wrong("cannot use \"S\" twice"));
        }
        if self.plus || self.minus || self.brackets {
            return Err(wrong(
                "cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together",
            ));
        }
        if self.has_point {
            self.signed = Some(Anchor::After);
        } else {
            self.signed = Some(Anchor::Before);
            self.digits_before_sign = self.whole;
        }
        Ok(Item::Mode)
    }

    fn own_sign(&mut self, keyword: &Keyword) -> Result<Item, EngineError> {
        let (name, item) = match keyword {
            Keyword::Minus => ("MI", Item::Minus),
            Keyword::Plus => ("PL", Item::Plus),
            _ => ("SG", Item::Sign),
        };
        if self.signed.is_some() {
            return Err(wrong(format!("cannot use \"S\" and \"{name}\" together")));
        }
        self.minus |= *keyword != Keyword::Plus;
        self.plus |= *keyword != Keyword::Minus;
        Ok(item)
    }

    fn exponent(&mut self) -> Result<Item, EngineError> {
        if self.scientific {
            return Err(wrong("cannot use \"EEEE\" twice"));
        }
        let others = self.blank
            || self.fill
            || self.signed.is_some()
            || self.brackets
            || self.minus
            || self.plus
            || self.roman
            || self.shift.is_some();
        if others {
            let error = wrong("\"EEEE\" is incompatible with other formats");
            return Err(error.with_detail(
                "\"EEEE\" may only be used together with digit and decimal point patterns.",
            ));
        }
        self.scientific = true;
        Ok(Item::Mode)
    }
}

/// The longest keyword that the text begins with. Lower case is upper case, but `Rn` is nothing.
fn keyword_at(text: &str) -> Option<(&'static str, Keyword)> {
    let begins = |word: &str, lower: bool| {
        text.get(..word.len()).is_some_and(|head| {
            if lower {
                head == word.to_ascii_lowercase()
            } else {
                head == word
            }
        })
    };
    KEYWORDS
        .iter()
        .find(|(word, keyword)| {
            let own_lower = matches!(keyword, Keyword::Item(Item::Roman(_) | Item::Ordinal(_)));
            begins(word, false) || (!own_lower && begins(word, true))
        })
        .map(|(word, keyword)| (*word, keyword.clone()))
}

fn wrong(message: impl Into<String>) -> EngineError {
    EngineError::new("42601", message)
}
