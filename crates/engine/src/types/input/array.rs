//! Arrays: `{a,"b c",NULL}`.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, ListArray, StringArray};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::Result;

use crate::EngineError;
use crate::types::casts::strict;

/// The arrays that `texts` stand for, of elements `element`.
pub(super) fn lists(texts: &StringArray, element: &FieldRef) -> Result<ArrayRef> {
    let mut elements: Vec<Option<String>> = Vec::new();
    let mut lengths = Vec::with_capacity(texts.len());
    for text in texts {
        let before = elements.len();
        if let Some(text) = text {
            elements.extend(Literal::new(text).elements()?);
        }
        lengths.push(elements.len() - before);
    }
    let nulls: Option<NullBuffer> = texts.nulls().cloned();
    let values: ArrayRef = Arc::new(StringArray::from(elements));
    let values = match element.data_type() {
        text if text.is_string() => strict(&values, text)?,
        other => super::read(&values, other)?,
    };
    let offsets = OffsetBuffer::from_lengths(lengths);
    let lists = ListArray::try_new(Arc::clone(element), offsets, values, nulls)?;
    Ok(Arc::new(lists))
}

/// One array's text while it is read.
struct Literal<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Literal<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            rest: text.trim(),
        }
    }

    fn malformed(&self, detail: &str) -> EngineError {
        let message = format!("malformed array literal: \"{}\"", self.text);
        EngineError::new("22P02", message).with_detail(detail)
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// The elements; `None` is NULL.
    fn elements(mut self) -> Result<Vec<Option<String>>, EngineError> {
        if self.rest.starts_with('[') {
            let message = "arrays with bounds of their own are not supported";
            return Err(EngineError::new("0A000", message));
        }
        if !self.eat('{') {
            let detail = "Array value must start with \"{\" or dimension information.";
            return Err(self.malformed(detail));
        }
        let mut elements = Vec::new();
        if !self.eat('}') {
            loop {
                elements.push(self.element()?);
                if self.eat('}') {
                    break;
                }
                if !self.eat(',') {
                    return Err(self.malformed("Unexpected end of input."));
                }
            }
        }
        if self.rest.trim().is_empty() {
            Ok(elements)
        } else {
            Err(self.malformed("Junk after closing right brace."))
        }
    }

    fn element(&mut self) -> Result<Option<String>, EngineError> {
        self.rest = self.rest.trim_start();
        if self.rest.starts_with('{') {
            let message = "arrays with more than one dimension are not supported";
            return Err(EngineError::new("0A000", message));
        }
        if self.eat('"') {
            return self.quoted().map(Some);
        }
        let mut value = String::new();
        let mut escaped = false;
        // White space at the end does not count, unless it is escaped.
        let mut end = 0;
        let mut chars = self.rest.char_indices();
        let length = loop {
            match chars.next() {
                None => return Err(self.malformed("Unexpected end of input.")),
                Some((at, ',' | '}')) => break at,
                Some((_, c @ ('{' | '"'))) => {
                    return Err(self.malformed(&format!("Unexpected \"{c}\" character.")));
                }
                Some((_, '\\')) => {
                    let Some((_, c)) = chars.next() else {
                        return Err(self.malformed("Unexpected end of input."));
                    };
                    escaped = true;
                    value.push(c);
                    end = value.len();
                }
                Some((_, c)) => {
                    value.push(c);
                    if !c.is_whitespace() {
                        end = value.len();
                    }
                }
            }
        };
        self.rest = &self.rest[length..];
        value.truncate(end);
        if value.is_empty() {
            return Err(self.malformed("Unexpected \",\" or \"}\" character."));
        }
        let is_null = !escaped && value.eq_ignore_ascii_case("null");
        Ok((!is_null).then_some(value))
    }

    fn quoted(&mut self) -> Result<String, EngineError> {
        let mut value = String::new();
        let mut chars = self.rest.char_indices();
        loop {
            match chars.next() {
                None => return Err(self.malformed("Unexpected end of input.")),
                Some((at, '"')) => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(value);
                }
                Some((_, '\\')) => match chars.next() {
                    Some((_, c)) => value.push(c),
                    None => return Err(self.malformed("Unexpected end of input.")),
                },
                Some((_, c)) => value.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_told_apart() {
        let read = |text| Literal::new(text).elements().map_err(|e| e.sqlstate);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(read(" { } "), Ok(vec![]));
        assert_eq!(
            read("{a, b c ,NULL}"),
            Ok(vec![some("a"), some("b c"), None])
        );
        assert_eq!(
            read(r#"{"", "null", "a\"b\\,}", x\ }"#),
            Ok(vec![some(""), some("null"), some("a\"b\\,}"), some("x ")])
        );
        for text in [
            "", "a", "{a", "{a,}", "{,a}", "{a}b", "{\"a\"b}", "{a\"b\"}",
        ] {
            assert_eq!(read(text), Err("22P02"), "{text}");
        }
        assert_eq!(read("{{1},{2}}"), Err("0A000"));
    }
}
