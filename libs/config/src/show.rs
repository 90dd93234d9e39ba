//! The options a role would run with, and where each of them comes from.

use crate::roles::Roles;
use crate::schema::{Kind, kind, typed};
use crate::{ConfigError, file::File};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};
use serde_json::{Map, Value, json};
use std::ffi::OsString;
use std::fmt::Write;

/// How options are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// As a file that gives the same options, with their sources as comments.
    Toml,
    /// As JSON.
    Json,
}

/// What stands in the place of a secret.
const HIDDEN: &str = "(hidden)";

/// One option.
struct Shown<'a> {
    option: &'a Arg,
    name: &'a str,
    values: Vec<String>,
    source: String,
}

impl Roles {
    /// The options that `emet ROLE ARGUMENTS` would run with. Secrets are not among them.
    pub fn show(
        &self,
        role: &str,
        arguments: &[OsString],
        format: Format,
    ) -> Result<String, ConfigError> {
        let line = [OsString::from(self.command().get_name()), OsString::from(role)];
        let line: Vec<OsString> = line.into_iter().chain(arguments.iter().cloned()).collect();
        let (matches, file) = self.parse_with_file(&line)?;
        let Some((_, matches)) = matches.subcommand() else {
            return Err(ConfigError::Options(format!("'{role}' is not a role")));
        };
        let shown = self.options(role).filter_map(|option| {
            let (name, id) = (option.get_long()?, option.get_id().as_str());
            let raw = matches.get_raw(id).into_iter().flatten();
            let values = raw.map(|value| masked(name, &value.to_string_lossy())).collect();
            Some(Shown { option, name, values, source: source(matches, option, role, &file) })
        });
        let shown: Vec<Shown<'_>> = shown.collect();
        let path = file.as_ref().map(|file| file.path.display().to_string());
        Ok(match format {
            Format::Toml => toml(role, path.as_deref(), &shown),
            Format::Json => json_text(role, path.as_deref(), &shown),
        })
    }
}

fn source(matches: &ArgMatches, option: &Arg, role: &str, file: &Option<File>) -> String {
    let name = option.get_long().unwrap_or_default();
    match matches.value_source(option.get_id().as_str()) {
        Some(ValueSource::CommandLine) => format!("flag --{name}"),
        Some(ValueSource::EnvVariable) => {
            format!("environment {}", option.get_env().unwrap_or_default().to_string_lossy())
        }
        Some(_) => match file.as_ref().and_then(|f| Some((f, f.get(role, name)?))) {
            Some((file, entry)) => format!("file {}:{}", file.path.display(), entry.line),
            None => "default".to_owned(),
        },
        None => "not set".to_owned(),
    }
}

/// Secrets come from files, so no option should hold one; what looks like one is hidden anyway,
/// and so are the credentials in a URL.
fn masked(name: &str, value: &str) -> String {
    const SECRET: [&str; 5] = ["-token", "-password", "-secret", "-secret-key", "-credentials"];
    if SECRET.iter().any(|end| name.ends_with(end) || name == end.trim_start_matches('-')) {
        return HIDDEN.to_owned();
    }
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(authority);
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{HIDDEN}@{host}{tail}"),
        None => value.to_owned(),
    }
}

fn toml(role: &str, path: Option<&str>, shown: &[Shown<'_>]) -> String {
    let from = path.map_or_else(|| "no file".to_owned(), |path| format!("file {path}"));
    let mut out = format!("# emet {role}: built-in defaults, {from}, environment, flags\n");
    let width = shown.iter().map(|s| s.name.len()).max().unwrap_or_default();
    for option in shown {
        let values: Vec<String> = option.values.iter().map(|v| toml_value(option, v)).collect();
        let Shown { name, source, .. } = option;
        // Writing to a string cannot fail.
        let _ = match values.as_slice() {
            [] => writeln!(out, "# {name:<width$}   # {source}"),
            [one] => writeln!(out, "{name:<width$} = {one}   # {source}"),
            several => writeln!(out, "{name:<width$} = [{}]   # {source}", several.join(", ")),
        };
    }
    out
}

/// TOML strings with these escapes are JSON strings.
fn toml_value(option: &Shown<'_>, value: &str) -> String {
    match kind(option.option) {
        Kind::Text => Value::from(value).to_string(),
        _ => value.to_owned(),
    }
}

fn json_text(role: &str, path: Option<&str>, shown: &[Shown<'_>]) -> String {
    let options: Map<String, Value> = shown
        .iter()
        .map(|option| {
            let values: Vec<Value> =
                option.values.iter().map(|v| typed(option.option, v)).collect();
            let value = match values.as_slice() {
                [] => Value::Null,
                [one] => one.clone(),
                _ => Value::from(values),
            };
            (option.name.to_owned(), json!({"value": value, "source": option.source}))
        })
        .collect();
    let tree = json!({"role": role, "file": path, "options": options});
    format!("{tree:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_hidden() {
        assert_eq!(
            masked("redis", "redis://user:pass@host:6379/0"),
            "redis://(hidden)@host:6379/0"
        );
        assert_eq!(masked("redis", "redis://host:6379/a@b"), "redis://host:6379/a@b");
        assert_eq!(masked("s3-secret-key", "abc"), HIDDEN);
        assert_eq!(masked("token", "abc"), HIDDEN);
        assert_eq!(masked("token-file", "/run/token"), "/run/token");
    }
}
