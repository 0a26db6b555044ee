//! The command line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, FromArgMatches};

use super::table::{SETTINGS, Setting, variable};

/// The name of the setting that names the file itself. It is no row of the table, because a file
/// cannot name itself.
pub(super) const CONFIG_FILE_KEY: &str = "config";

/// The settings that were given on the command line, not looked at yet.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// The value of `--config`.
    pub(super) file: Option<PathBuf>,
    /// Values by the setting's name.
    pub(super) values: BTreeMap<&'static str, Vec<String>>,
}

impl clap::Args for Flags {
    fn augment_args(command: clap::Command) -> clap::Command {
        let command = command.arg(
            Arg::new(CONFIG_FILE_KEY)
                .long(CONFIG_FILE_KEY)
                .value_name("FILE")
                .value_parser(clap::value_parser!(PathBuf))
                .help(format!(
                    "Read settings from this TOML file [env: {}]",
                    variable(CONFIG_FILE_KEY)
                )),
        );
        SETTINGS
            .iter()
            .fold(command, |command, setting| command.arg(argument(setting)))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

fn argument(setting: &Setting) -> Arg {
    let mut help = format!("{} [env: {}]", setting.help, setting.variable());
    if !setting.default.is_empty() {
        help += &format!(" [default: {}]", setting.default);
    }
    let argument = Arg::new(setting.name)
        .value_name(setting.value_name)
        .help(help);
    match setting.positional {
        true => argument.num_args(0..),
        false => argument.long(setting.name).action(ArgAction::Set),
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Flags::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.file = matches.get_one::<PathBuf>(CONFIG_FILE_KEY).cloned();
        for setting in SETTINGS {
            if let Some(values) = matches.get_many::<String>(setting.name) {
                self.values.insert(setting.name, values.cloned().collect());
            }
        }
        Ok(())
    }
}
