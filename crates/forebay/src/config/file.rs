//! Reading settings from a TOML file.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::table::{SETTINGS, Setting};

/// What a file says, by the setting's name.
pub(super) type FileValues = BTreeMap<&'static str, Vec<String>>;

/// Reads a file. Values are not looked at yet.
pub(super) fn read_file(path: &Path) -> Result<FileValues> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
    let table: toml::Table =
        toml::from_str(&text).with_context(|| format!("{} is not valid TOML", path.display()))?;
    let mut values = FileValues::new();
    for (key, value) in table {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.is_named(&key)) else {
            let known: Vec<_> = SETTINGS.iter().map(Setting::key).collect();
            bail!(
                "unknown key \"{key}\" in {}; known are {}",
                path.display(),
                known.join(", ")
            );
        };
        let Some(written) = written_values(&value) else {
            let (path, allowed) = (path.display(), setting.allowed);
            bail!("invalid value {value} for {key} (from {path}): it must be {allowed}");
        };
        if values.insert(setting.name, written).is_some() {
            bail!("{} is set twice in {}", setting.key(), path.display());
        }
    }
    Ok(values)
}

/// A TOML value as it would be written on the command line; nothing for tables and dates.
fn written_values(value: &toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::Array(list) => list.iter().map(written_value).collect(),
        value => Some(vec![written_value(value)?]),
    }
}

fn written_value(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(value) => Some(value.to_string()),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}
