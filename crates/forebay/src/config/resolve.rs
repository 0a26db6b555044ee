//! Finding the value of each setting: flag, environment, file, default.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::Config;
use super::file::{FileValues, read_file};
use super::flags::{CONFIG_FILE_KEY, Flags};
use super::table::{SETTINGS, Setting, variable};

/// A configuration with the story of each value. Its `Display` is what `forebay config` prints.
#[derive(Debug)]
pub struct Effective {
    /// The values.
    pub config: Config,
    /// For each row of the table: what was written, and where. In the table's order.
    pub(super) sources: Vec<(Vec<String>, Origin)>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Flag(String),
    Variable(String),
    File(PathBuf),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(flag) => write!(f, "from {flag}"),
            Origin::Variable(name) => write!(f, "from {name}"),
            Origin::File(file) => write!(f, "from {}", file.display()),
            Origin::Default => f.write_str("default"),
        }
    }
}

impl Effective {
    /// Every setting with its value and the origin of it, for the web pages.
    #[must_use]
    pub fn settings(&self) -> Vec<forebay_web::Setting> {
        let settings = SETTINGS.iter().zip(&self.sources);
        settings
            .map(|(setting, (values, origin))| forebay_web::Setting {
                name: setting.key(),
                value: (!values.is_empty()).then(|| values.join(", ")),
                origin: origin.to_string(),
                help: setting.help,
            })
            .collect()
    }
}

/// The effective configuration of these flags, this process's environment, and the file that either
/// of them names.
///
/// # Errors
///
/// A file that cannot be read or is no TOML, a key that is no setting, a value that is not allowed.
pub fn load(flags: &Flags) -> Result<Effective> {
    resolve(flags, &|name| std::env::var_os(name))
}

/// Gives the variables of an environment.
type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// As [`load`], in another environment.
pub(super) fn resolve(flags: &Flags, environment: Environment) -> Result<Effective> {
    let file = match config_file(flags, environment) {
        Some(path) => {
            let values = read_file(&path)?;
            Some((path, values))
        }
        None => None,
    };
    let mut config = Config::blank();
    let mut sources = Vec::with_capacity(SETTINGS.len());
    for setting in SETTINGS {
        let (values, origin) = look_up(setting, flags, environment, file.as_ref())?;
        if origin != Origin::Default || !values.is_empty() {
            apply(setting, &mut config, &values, &origin)?;
        }
        sources.push((values, origin));
    }
    Ok(Effective { config, sources })
}

fn config_file(flags: &Flags, environment: Environment) -> Option<PathBuf> {
    let from_environment = || non_empty(environment(&variable(CONFIG_FILE_KEY))).map(PathBuf::from);
    flags.file.clone().or_else(from_environment)
}

/// An empty variable is as good as none.
fn non_empty(value: Option<OsString>) -> Option<OsString> {
    value.filter(|value| !value.is_empty())
}

/// The first place that has a value: flag, environment, file, default.
fn look_up(
    setting: &Setting,
    flags: &Flags,
    environment: Environment,
    file: Option<&(PathBuf, FileValues)>,
) -> Result<(Vec<String>, Origin)> {
    if let Some(values) = flags.values.get(setting.name) {
        return Ok((values.clone(), Origin::Flag(setting.flag())));
    }
    let variable = setting.variable();
    if let Some(value) = non_empty(environment(&variable)) {
        let values = split_variable(setting, value, &variable)?;
        return Ok((values, Origin::Variable(variable)));
    }
    if let Some((path, values)) = file
        && let Some(values) = values.get(setting.name)
    {
        return Ok((values.clone(), Origin::File(path.clone())));
    }
    let default = (!setting.default.is_empty()).then(|| setting.default.to_owned());
    Ok((default.into_iter().collect(), Origin::Default))
}

/// A list of paths is written in a variable as `PATH` is.
fn split_variable(setting: &Setting, value: OsString, name: &str) -> Result<Vec<String>> {
    let text = |value: OsString| match value.into_string() {
        Ok(text) => Ok(text),
        Err(value) => bail!("{name} is not valid UTF-8: {value:?}"),
    };
    match setting.positional {
        true => std::env::split_paths(&value)
            .map(|path| text(path.into_os_string()))
            .collect(),
        false => Ok(vec![text(value)?]),
    }
}

fn apply(setting: &Setting, config: &mut Config, values: &[String], origin: &Origin) -> Result<()> {
    if (setting.set)(config, values) {
        return Ok(());
    }
    let (key, allowed) = (setting.key(), setting.allowed);
    let value = values.join(", ");
    bail!("invalid value \"{value}\" for {key} ({origin}): it must be {allowed}")
}
