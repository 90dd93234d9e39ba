//! The roles of a command line, and the file underneath their flags.

use crate::ConfigError;
use crate::file::{Entry, File};
use clap::builder::OsStr;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::ffi::OsString;
use std::path::PathBuf;

/// Id, flag and environment variable of the option that names the file.
const FILE: &str = "config";
const FILE_ENV: &str = "EMET_CONFIG";

/// A command line some of whose subcommands are roles, which take options from a file.
pub struct Roles {
    command: Command,
    names: Vec<&'static str>,
}

impl Roles {
    /// The roles of these names. Each gets the option `--config FILE`.
    pub fn new(command: Command, names: &[&'static str]) -> Self {
        let command = command.mut_subcommands(|sub| {
            if names.contains(&sub.get_name()) { sub.arg(file_argument()) } else { sub }
        });
        Self { command, names: names.to_vec() }
    }

    /// The whole command line.
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// Parses arguments (with the program's name first). Where they name a file, its values are
    /// the defaults of the role's flags.
    pub fn parse<I, T>(&self, arguments: I) -> Result<ArgMatches, ConfigError>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString>,
    {
        let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
        self.parse_with_file(&arguments).map(|(matches, _)| matches)
    }

    pub(crate) fn parse_with_file(
        &self,
        arguments: &[OsString],
    ) -> Result<(ArgMatches, Option<File>), ConfigError> {
        let Some((role, path)) = self.named_file(arguments) else {
            return Ok((self.command.clone().try_get_matches_from(arguments)?, None));
        };
        let file = File::read(&path)?;
        self.check(&file)?;
        let command = over(self.command.clone(), &role, &file);
        match command.try_get_matches_from(arguments) {
            Ok(matches) => Ok((matches, Some(file))),
            Err(error) => Err(explain(&file, &role, error)),
        }
    }

    /// The role of a command line and the file that it, or the environment, names.
    fn named_file(&self, arguments: &[OsString]) -> Option<(String, PathBuf)> {
        // What is missing or wrong is told when the file has been read: it may give it.
        let lenient = self.command.clone().ignore_errors(true);
        let matches = lenient.try_get_matches_from(arguments).ok()?;
        let (role, matches) = matches.subcommand()?;
        if !self.names.contains(&role) {
            return None;
        }
        let path = matches.get_one::<PathBuf>(FILE)?;
        Some((role.to_owned(), path.clone()))
    }

    pub(crate) fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// The options of a role that a file can set.
    pub fn options(&self, role: &str) -> impl Iterator<Item = &Arg> {
        let command = self.command.find_subcommand(role);
        command.into_iter().flat_map(Command::get_arguments).filter(|argument| {
            let name = argument.get_long();
            name.is_some_and(|name| !["help", "version", FILE].contains(&name))
        })
    }

    fn find(&self, role: &str, key: &str) -> Option<&Arg> {
        self.options(role).find(|option| option.get_long() == Some(key))
    }

    /// Refuses what no role (or not the role of the table) knows, and arrays for single values.
    fn check(&self, file: &File) -> Result<(), ConfigError> {
        for entry in &file.entries {
            let roles: Vec<&str> = match &entry.role {
                None => self.names.clone(),
                Some(role) if self.names.contains(&role.as_str()) => vec![role],
                Some(table) => {
                    let known = self.names.iter().copied();
                    let reason = format!("[{table}] is not a role{}", suggestion(table, known));
                    return Err(file.invalid(entry, reason));
                }
            };
            let Some(option) = roles.iter().find_map(|role| self.find(role, &entry.key)) else {
                let known = roles.iter().flat_map(|role| self.options(role));
                let hint = suggestion(&entry.key, known.filter_map(Arg::get_long));
                return Err(file.invalid(entry, format!("unknown key '{}'{hint}", entry.key)));
            };
            if entry.values.len() != 1 && !takes_several(option) {
                return Err(file.invalid(entry, format!("{} takes one value", entry.key)));
            }
        }
        Ok(())
    }
}

fn file_argument() -> Arg {
    Arg::new(FILE)
        .long(FILE)
        .env(FILE_ENV)
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help(
            "TOML file whose keys are the names of these flags; environment and flags override it",
        )
}

/// Whether an option can be given more than once.
pub(crate) fn takes_several(option: &Arg) -> bool {
    matches!(option.get_action(), ArgAction::Append)
        || option.get_value_delimiter().is_some()
        || option.get_num_args().is_some_and(|range| range.max_values() > 1)
}

/// The command with the file's values as defaults of a role's flags.
fn over(command: Command, role: &str, file: &File) -> Command {
    command.mut_subcommands(|sub| {
        if sub.get_name() != role {
            return sub;
        }
        sub.mut_args(|argument| {
            let entry = argument.get_long().and_then(|key| file.get(role, key));
            match entry {
                // A default and "required" exclude each other.
                Some(entry) => argument.default_values(kept(entry)).required(false),
                None => argument,
            }
        })
    })
}

/// The values for as long as the process lives: clap holds defaults as static text, and a process
/// reads its configuration once.
fn kept(entry: &Entry) -> Vec<OsStr> {
    let keep = |value: &String| OsStr::from(&*Box::leak(value.clone().into_boxed_str()));
    entry.values.iter().map(keep).collect()
}

fn suggestion<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let scored = known.map(|name| (strsim::jaro_winkler(word, name), name));
    match scored.max_by(|(a, _), (b, _)| a.total_cmp(b)) {
        Some((score, name)) if score > 0.75 => format!("; did you mean '{name}'?"),
        _ => "; 'emet config schema' lists the known ones".to_owned(),
    }
}

/// Errors of values that came from the file name it and the line.
fn explain(file: &File, role: &str, error: clap::Error) -> ConfigError {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let flag = text(ContextKind::InvalidArg).unwrap_or_default();
    let key = flag.trim_start_matches('-').split([' ', '=']).next().unwrap_or_default();
    let value = text(ContextKind::InvalidValue).unwrap_or_default().to_owned();
    let from_file = file.get(role, key).filter(|entry| entry.values.contains(&value));
    let Some(entry) = from_file else { return error.into() };
    let reason = std::error::Error::source(&error).map(ToString::to_string);
    let possible = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) => format!("possible: {}", values.join(", ")),
        _ => "invalid value".to_owned(),
    };
    file.invalid(entry, format!("{key} = {value:?}: {}", reason.unwrap_or(possible)))
}
