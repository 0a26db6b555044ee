//! Texts: patterns of `LIKE` and `SIMILAR TO`, and functions that take values of any type.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{ScalarUDF, Volatility};

use super::keywords::is_keyword;
use super::udf::{Definition, Guard, is_text};
use crate::EngineError;

/// From a pattern of `LIKE … ESCAPE` to one with backslashes.
pub(crate) const LIKE_ESCAPE: &str = "like_escape";

/// From a pattern of `SIMILAR TO` to a regular expression.
pub(crate) const SIMILAR_TO_ESCAPE: &str = "similar_to_escape";

pub(super) fn all() -> Vec<ScalarUDF> {
    let variadic = |name, body| Definition {
        name,
        coerce: printable,
        returns: |_| DataType::Utf8,
        body,
        volatility: Volatility::Stable,
    };
    let pattern = |name, body| Definition {
        name,
        coerce: |types| {
            let texts = types.iter().all(is_text) && matches!(types.len(), 1 | 2);
            texts.then(|| vec![DataType::Utf8; types.len()])
        },
        returns: |_| DataType::Utf8,
        body,
        volatility: Volatility::Immutable,
    };
    vec![
        variadic("concat", |args, _| Ok(concat(args))).into_udf(),
        Definition {
            coerce: |types| {
                let separator = types.first().is_some_and(is_text);
                separator.then(|| printable(types)).flatten()
            },
            ..variadic("concat_ws", |args, _| Ok(concat_ws(args)))
        }
        .into_udf(),
        Definition {
            coerce: |types| {
                let template = types.first().is_some_and(is_text);
                template.then(|| printable(types)).flatten()
            },
            ..variadic("format", |args, _| format(args))
        }
        .into_udf(),
        pattern(LIKE_ESCAPE, |args, _| by_row(args, like_escape)).into_udf(),
        pattern(SIMILAR_TO_ESCAPE, |args, _| by_row(args, similar_to_escape)).into_udf(),
    ]
}

/// Everything can be printed: as a cast to text does, except for truth values, which are `t` and
/// `f` here.
fn printable(types: &[DataType]) -> Option<Vec<DataType>> {
    let printed = |t: &DataType| match t {
        DataType::Boolean => DataType::Boolean,
        _ => DataType::Utf8,
    };
    (!types.is_empty()).then(|| types.iter().map(printed).collect())
}

/// The texts of one argument of a function that prints.
enum Printed<'a> {
    Texts(&'a StringArray),
    Truths(&'a datafusion::arrow::array::BooleanArray),
}

impl<'a> Printed<'a> {
    fn of(array: &'a ArrayRef) -> Self {
        match array.data_type() {
            DataType::Boolean => Self::Truths(array.as_boolean()),
            _ => Self::Texts(array.as_string::<i32>()),
        }
    }

    fn get(&self, row: usize) -> Option<&'a str> {
        match self {
            Self::Texts(texts) => texts.is_valid(row).then(|| texts.value(row)),
            Self::Truths(truths) => truths
                .is_valid(row)
                .then(|| if truths.value(row) { "t" } else { "f" }),
        }
    }
}

fn concat(args: &[ArrayRef]) -> ArrayRef {
    let columns: Vec<Printed> = args.iter().map(Printed::of).collect();
    let rows = 0..args[0].len();
    let joined = rows.map(|row| {
        Some(
            columns
                .iter()
                .filter_map(|c| c.get(row))
                .collect::<String>(),
        )
    });
    Arc::new(joined.collect::<StringArray>())
}

fn concat_ws(args: &[ArrayRef]) -> ArrayRef {
    let columns: Vec<Printed> = args.iter().map(Printed::of).collect();
    let joined = (0..args[0].len()).map(|row| {
        let separator = columns[0].get(row)?;
        let parts: Vec<&str> = columns[1..].iter().filter_map(|c| c.get(row)).collect();
        Some(parts.join(separator))
    });
    Arc::new(joined.collect::<StringArray>())
}

fn format(args: &[ArrayRef]) -> Result<ArrayRef> {
    let columns: Vec<Printed> = args.iter().map(Printed::of).collect();
    let filled = (0..args[0].len()).map(|row| {
        let values: Vec<Option<&str>> = columns[1..].iter().map(|c| c.get(row)).collect();
        columns[0].get(row).map(|t| fill(t, &values)).transpose()
    });
    Ok(Arc::new(filled.collect::<Result<StringArray>>()?))
}

/// One `%[position$][-][width]type` of `format`'s template.
#[derive(Default)]
struct Specifier {
    position: Option<usize>,
    left: bool,
    width: Width,
    kind: char,
}

#[derive(Default)]
enum Width {
    #[default]
    None,
    Fixed(i64),
    /// `*` or `*n$`: the width is an argument.
    Argument(Option<usize>),
}

/// Longer results are refused, as a text of PostgreSQL's cannot be longer.
const MAX_WIDTH: i64 = 1 << 30;

/// PostgreSQL's `format(template, values…)`.
fn fill(template: &str, values: &[Option<&str>]) -> Result<String> {
    let mut out = String::with_capacity(template.len());
    let mut chars = template.chars().peekable();
    let mut next = 0;
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if chars.next_if_eq(&'%').is_some() {
            out.push('%');
            continue;
        }
        let specifier = Specifier::read(&mut chars)?;
        let mut take = |position: Option<usize>| -> Result<Option<&str>> {
            let index = position.unwrap_or(next);
            next = index + 1;
            let value = values.get(index).copied();
            value.ok_or_else(|| EngineError::new("22023", "too few arguments for format()").into())
        };
        let (mut left, mut width) = (specifier.left, 0);
        match specifier.width {
            Width::None => {}
            Width::Fixed(fixed) => width = fixed,
            Width::Argument(position) => {
                let text = take(position)?.unwrap_or("0");
                width = text.trim().parse().map_err(|_| {
                    let message = format!("invalid input syntax for type integer: \"{text}\"");
                    EngineError::new("22P02", message)
                })?;
            }
        }
        if width < 0 {
            left = true;
            width = -width;
        }
        if width > MAX_WIDTH {
            return Err(EngineError::new("22003", "number is out of range").into());
        }
        let value = take(specifier.position)?;
        let text = match specifier.kind {
            's' => value.unwrap_or_default().to_owned(),
            'I' => match value {
                Some(name) => quote_identifier(name),
                None => {
                    let message = "null values cannot be formatted as an SQL identifier";
                    return Err(EngineError::new("22004", message).into());
                }
            },
            _ => value.map_or_else(|| "NULL".to_owned(), quote_literal),
        };
        pad(&mut out, &text, usize::try_from(width).unwrap_or(0), left);
    }
    Ok(out)
}

impl Specifier {
    fn read(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Self> {
        let mut specifier = Self::default();
        let mut number = read_number(chars)?;
        if number.is_some() && chars.next_if_eq(&'$').is_some() {
            specifier.position = Some(argument_index(number.unwrap_or(0))?);
            number = None;
        }
        if number.is_none() {
            while chars.next_if_eq(&'-').is_some() {
                specifier.left = true;
            }
            if chars.next_if_eq(&'*').is_some() {
                let position = read_number(chars)?;
                let position = match position {
                    Some(position) if chars.next_if_eq(&'$').is_some() => {
                        Some(argument_index(position)?)
                    }
                    Some(_) => {
                        let message = "width argument position must be ended by \"$\"";
                        return Err(EngineError::new("22023", message).into());
                    }
                    None => None,
                };
                specifier.width = Width::Argument(position);
            } else {
                number = read_number(chars)?;
            }
        }
        if let Some(width) = number {
            specifier.width = Width::Fixed(width);
        }
        specifier.kind = match chars.next() {
            Some(kind @ ('s' | 'I' | 'L')) => kind,
            Some(other) => {
                let message = format!("unrecognized format() type specifier \"{other}\"");
                let error = EngineError::new("22023", message);
                return Err(error.with_hint("For a single \"%\" use \"%%\".").into());
            }
            None => {
                let error = EngineError::new("22023", "unterminated format() type specifier");
                return Err(error.with_hint("For a single \"%\" use \"%%\".").into());
            }
        };
        Ok(specifier)
    }
}

fn read_number(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Option<i64>> {
    let mut number = None;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        chars.next();
        let next = number.unwrap_or(0_i64) * 10 + i64::from(digit);
        if next > i64::from(i32::MAX) {
            return Err(EngineError::new("22003", "number is out of range").into());
        }
        number = Some(next);
    }
    Ok(number)
}

/// Arguments are counted from 1; 0 would be the template.
fn argument_index(position: i64) -> Result<usize> {
    let index = usize::try_from(position - 1);
    index.map_err(|_| {
        let message = "format specifies argument 0, but arguments are numbered from 1";
        EngineError::new("22023", message).into()
    })
}

fn pad(out: &mut String, text: &str, width: usize, left: bool) {
    let missing = width.saturating_sub(text.chars().count());
    let spaces = std::iter::repeat_n(' ', missing);
    if left {
        out.push_str(text);
        out.extend(spaces);
    } else {
        out.extend(spaces);
        out.push_str(text);
    }
}

/// A name as it must be written to mean itself: quoted unless it is plain and no keyword.
fn quote_identifier(name: &str) -> String {
    let mut chars = name.chars();
    let plain = chars
        .next()
        .is_some_and(|c| c.is_ascii_lowercase() || c == '_')
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain && !is_keyword(name) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        return format!("E'{}'", quoted.replace('\\', "\\\\"));
    }
    format!("'{quoted}'")
}

/// A function of a pattern and an escape character; without the second, it is the backslash.
fn by_row(args: &[ArrayRef], f: fn(&str, Option<char>) -> Result<String>) -> Result<ArrayRef> {
    let patterns = args[0].as_string::<i32>();
    let escapes = args.get(1).map(|e| e.as_string::<i32>());
    let made = (0..patterns.len()).map(|row| {
        if patterns.is_null(row) || escapes.is_some_and(|e| e.is_null(row)) {
            return Ok(None);
        }
        let escape = match escapes {
            None => Some('\\'),
            Some(escapes) => escape_character(escapes.value(row))?,
        };
        f(patterns.value(row), escape).map(Some)
    });
    Ok(Arc::new(made.collect::<Result<StringArray>>()?))
}

/// One character, or none: then nothing escapes.
fn escape_character(text: &str) -> Result<Option<char>> {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (first, None) => Ok(first),
        _ => Err(EngineError::new("22025", "invalid escape string")
            .with_hint("Escape string must be empty or one character.")
            .into()),
    }
}

/// The same pattern with the backslash as its escape character.
fn like_escape(pattern: &str, escape: Option<char>) -> Result<String> {
    let mut out = String::with_capacity(pattern.len() + 4);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            let Some(escaped) = chars.next() else {
                let message = "LIKE pattern must not end with escape character";
                return Err(EngineError::new("22025", message).into());
            };
            out.push('\\');
            out.push(escaped);
        } else {
            if c == '\\' {
                out.push('\\');
            }
            out.push(c);
        }
    }
    Ok(out)
}

/// SQL's regular expression as one that matches the whole text: `%` and `_` are wildcards, `|`,
/// `*`, `+`, `?`, `{}`, `()` and `[]` mean what they always do, everything else is itself.
fn similar_to_escape(pattern: &str, escape: Option<char>) -> Result<String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    out.push_str("(?s)^(?:");
    let mut chars = pattern.chars().peekable();
    let mut in_brackets = false;
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            if let Some(escaped) = chars.next() {
                push_escaped(&mut out, escaped);
            }
            continue;
        }
        if in_brackets {
            in_brackets = c != ']';
            // A regular expression here has more signs in brackets than SQL's.
            if matches!(c, '\\' | '[' | '&' | '~') {
                out.push('\\');
            }
            out.push(c);
            continue;
        }
        match c {
            '[' => {
                in_brackets = true;
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                if chars.next_if_eq(&']').is_some() {
                    out.push_str("\\]");
                }
            }
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '(' => out.push_str("(?:"),
            '\\' | '.' | '^' | '$' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out.push_str(")$");
    Ok(out)
}

/// An escaped letter is one of the classes (`\d`), anything else is itself.
fn push_escaped(out: &mut String, c: char) {
    if !c.is_alphanumeric() || matches!(c, 'd' | 'w' | 's' | 'D' | 'W' | 'S') {
        out.push('\\');
    }
    out.push(c);
}

/// Arguments that PostgreSQL refuses, by function.
pub(super) const GUARDS: &[(&str, Guard)] = &[("chr", code_point)];

fn code_point(args: &[ArrayRef]) -> Result<()> {
    let codes = cast(&args[0], &DataType::Int64)?;
    for code in codes.as_primitive::<Int64Type>().iter().flatten() {
        if code == 0 {
            return Err(EngineError::new("54000", "null character not permitted").into());
        }
        if code < 0 {
            return Err(EngineError::new("22023", "character number must be positive").into());
        }
        if u32::try_from(code).ok().and_then(char::from_u32).is_none() {
            let message = format!("requested character too large for encoding: {code}");
            return Err(EngineError::new("54000", message).into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_similar_to_are_regular_expressions_for_the_whole_text() {
        for (pattern, expression) in [
            ("(a|b)%", "(?s)^(?:(?:a|b).*)$"),
            ("a_c.", "(?s)^(?:a.c\\.)$"),
            ("[^]%_]+", "(?s)^(?:[^\\]%_]+)$"),
            ("\\%", "(?s)^(?:\\%)$"),
        ] {
            let made = similar_to_escape(pattern, Some('\\')).unwrap();
            assert_eq!(made, expression, "{pattern}");
        }
    }

    #[test]
    fn templates_are_filled_as_in_postgresql() {
        let values = [Some("a b"), None, Some("-5")];
        for (template, filled) in [
            ("%s|%s|%s", "a b||-5"),
            ("%L %I", "'a b' error 22004"),
            ("%3$s%1$10s|%1$-10s|", "-5       a b|a b       |"),
            ("%1$I %2$L", "\"a b\" NULL"),
            ("%%%s", "%a b"),
            ("%*3$s|", "error 22023"),
            ("%1$*3$s|", "a b  |"),
        ] {
            let found = fill(template, &values)
                .unwrap_or_else(|e| format!("error {}", EngineError::from(e).sqlstate));
            let expected = filled
                .split(' ')
                .next_back()
                .filter(|_| filled.contains("error"));
            match expected {
                Some(code) => assert!(found.ends_with(code), "{template}: {found}"),
                None => assert_eq!(found, filled, "{template}"),
            }
        }
    }
}
