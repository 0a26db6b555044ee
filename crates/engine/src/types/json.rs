//! `json` and `jsonb`: text that is checked when it is read.
//!
//! `json` stays as it was written. `jsonb` is written anew, as PostgreSQL does it: one space behind
//! `:` and `,`, keys by length and then by their bytes, of equal keys the last.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::casts::strict;
use super::dates::scalar_or_array;
use super::input::invalid;

/// Values inside values; deeper ones are refused.
const MAX_DEPTH: usize = 1000;

/// `json_in` and `jsonb_in`, which casts to the types become.
pub(super) fn functions() -> [ScalarUDF; 2] {
    [("json_in", false), ("jsonb_in", true)].map(|(name, normalised)| {
        ScalarUDF::new_from_impl(JsonInput {
            name,
            normalised,
            signature: Signature::any(1, Volatility::Immutable),
        })
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonInput {
    name: &'static str,
    normalised: bool,
    signature: Signature,
}

impl ScalarUDFImpl for JsonInput {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [texts] = arrays.as_slice() else {
            return exec_err!("{} takes one text", self.name);
        };
        let texts = strict(texts, &DataType::Utf8)?;
        let read = |text: &str| -> Result<String> {
            let value = Reader::new(text).whole();
            let value = value.ok_or_else(|| invalid("22P02", "json", text))?;
            Ok(if self.normalised {
                value
            } else {
                text.to_owned()
            })
        };
        let values: StringArray = texts
            .as_string::<i32>()
            .iter()
            .map(|text| text.map(read).transpose())
            .collect::<Result<_>>()?;
        let values: ArrayRef = Arc::new(values);
        scalar_or_array(&args.args, values)
    }
}

/// One text while it is read; each part gives its normal form.
struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            depth: 0,
        }
    }

    fn whole(mut self) -> Option<String> {
        let value = self.value()?;
        self.skip_space();
        self.rest.is_empty().then_some(value)
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self) -> Option<String> {
        self.skip_space();
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let value = match self.rest.chars().next()? {
            '{' => self.object(),
            '[' => self.array(),
            '"' => self.text().map(|text| quoted(&text)),
            '-' | '0'..='9' => self.number(),
            _ => self.word(),
        };
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Option<String> {
        self.eat('{');
        let mut members: BTreeMap<(usize, String), String> = BTreeMap::new();
        if !self.eat('}') {
            loop {
                self.skip_space();
                let key = self.text()?;
                if !self.eat(':') {
                    return None;
                }
                members.insert((key.len(), key), self.value()?);
                if self.eat('}') {
                    break;
                }
                if !self.eat(',') {
                    return None;
                }
            }
        }
        let members = members
            .into_iter()
            .map(|((_, key), value)| format!("{}: {value}", quoted(&key)));
        Some(format!("{{{}}}", members.collect::<Vec<_>>().join(", ")))
    }

    fn array(&mut self) -> Option<String> {
        self.eat('[');
        let mut values = Vec::new();
        if !self.eat(']') {
            loop {
                values.push(self.value()?);
                if self.eat(']') {
                    break;
                }
                if !self.eat(',') {
                    return None;
                }
            }
        }
        Some(format!("[{}]", values.join(", ")))
    }

    /// A text without its quotes and escapes.
    fn text(&mut self) -> Option<String> {
        let body = self.rest.strip_prefix('"')?;
        let mut text = String::new();
        let mut chars = body.char_indices();
        loop {
            match chars.next()? {
                (at, '"') => {
                    self.rest = &body[at + 1..];
                    return Some(text);
                }
                (_, '\\') => match chars.next()?.1 {
                    'b' => text.push('\u{8}'),
                    'f' => text.push('\u{c}'),
                    'n' => text.push('\n'),
                    'r' => text.push('\r'),
                    't' => text.push('\t'),
                    c @ ('"' | '\\' | '/') => text.push(c),
                    'u' => {
                        let mut unit = || {
                            let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                            (digits.len() == 4).then(|| u16::from_str_radix(&digits, 16).ok())?
                        };
                        let first = unit()?;
                        let mut units = vec![first];
                        if (0xd800..0xdc00).contains(&first) {
                            // The second half of a pair must follow.
                            if chars.next()?.1 != '\\' || chars.next()?.1 != 'u' {
                                return None;
                            }
                            let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                            units.push(u16::from_str_radix(&digits, 16).ok()?);
                        }
                        text.push_str(&String::from_utf16(&units).ok()?);
                    }
                    _ => return None,
                },
                (_, c) if u32::from(c) < 0x20 => return None,
                (_, c) => text.push(c),
            }
        }
    }

    fn number(&mut self) -> Option<String> {
        let end = self
            .rest
            .find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'));
        let (number, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        let unsigned = number.strip_prefix('-').unwrap_or(number);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (unsigned, None),
        };
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        let exponent = exponent.map(|e| e.strip_prefix(['+', '-']).unwrap_or(e));
        let valid = digits(whole)
            && !leading_zero
            && fraction.is_none_or(digits)
            && exponent.is_none_or(digits);
        self.rest = rest;
        valid.then(|| number.to_owned())
    }

    fn word(&mut self) -> Option<String> {
        let word = ["true", "false", "null"]
            .into_iter()
            .find(|w| self.rest.starts_with(w))?;
        self.rest = &self.rest[word.len()..];
        Some(word.to_owned())
    }
}

/// A text with its quotes and the escapes that PostgreSQL writes.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_checked_and_normalised() {
        let cases = [
            (
                " {\"b\" :1,\"aa\":[ ] , \"b\":2} ",
                Some("{\"b\": 2, \"aa\": []}"),
            ),
            (
                "[1,-0.5e+3,true,null,\"a\\u0041\\n\"]",
                Some("[1, -0.5e+3, true, null, \"aA\\n\"]"),
            ),
            ("\"\\ud83d\\ude00\"", Some("\"😀\"")),
            ("1 2", None),
            ("{a:1}", None),
            ("{\"a\"}", None),
            ("[1,]", None),
            ("01", None),
            ("1.", None),
            ("\"\\ud83d\"", None),
            ("\"\n\"", None),
            ("truee", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Reader::new(text).whole().as_deref(), expected, "{text}");
        }
        let deep = "[".repeat(5000) + &"]".repeat(5000);
        assert_eq!(Reader::new(&deep).whole(), None);
    }
}
