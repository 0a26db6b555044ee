//! Printing what came of it.

use std::fmt;

use super::resolve::{Effective, Origin};
use super::table::{SETTINGS, Setting};

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = SETTINGS.iter().zip(&self.sources).map(line).collect();
        let width = lines
            .iter()
            .map(|(left, _)| left.chars().count())
            .max()
            .unwrap_or(0);
        lines
            .iter()
            .try_for_each(|(left, origin)| writeln!(f, "{left:width$}  # {origin}"))
    }
}

fn line<'a>((setting, source): (&Setting, &'a (Vec<String>, Origin))) -> (String, &'a Origin) {
    let (values, origin) = source;
    let left = match values.as_slice() {
        _ if setting.positional => format!("{} = [{}]", setting.key(), toml_list(values)),
        // A comment, because TOML has no way to write that there is no value.
        [] => format!("# {} is not set", setting.key()),
        values => format!("{} = {}", setting.key(), toml_list(values)),
    };
    (left, origin)
}

fn toml_list(values: &[String]) -> String {
    let literals: Vec<_> = values.iter().map(|value| toml_literal(value)).collect();
    literals.join(", ")
}

/// Whole numbers bare, everything else as a string.
fn toml_literal(value: &str) -> String {
    match value.parse::<i64>() {
        Ok(number) => number.to_string(),
        Err(_) => toml::Value::String(value.to_owned()).to_string(),
    }
}
