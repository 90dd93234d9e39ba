//! Options of every command.

use clap::{Args, ValueEnum};
use std::io::IsTerminal;
use std::path::PathBuf;

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The server.
    #[arg(long, env = "EMET_URL", default_value = "http://localhost:9881", global = true)]
    pub url: String,
    /// File with the token to send, where the server asks for one. Without the option, the
    /// environment variable EMET_TOKEN may hold the token itself.
    #[arg(long, env = "EMET_TOKEN_FILE", value_name = "FILE", global = true)]
    pub token_file: Option<PathBuf>,
    /// How results are printed: a table or text for people, or everything as JSON or YAML.
    #[arg(long, short = 'o', value_enum, default_value_t = Format::Table, global = true)]
    pub format: Format,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people: tables, and values in WAVE.
    Table,
    /// Everything, as JSON.
    Json,
    /// Everything, as YAML.
    Yaml,
}

/// Whether a stream takes colours: it is a terminal and nobody objects (no-color.org).
pub(crate) fn colours(stream: &impl IsTerminal) -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !unwanted
}
