//! `emet config`: the options of a role, and what a file of them may hold.

use clap::{Args, Subcommand};
use emet_config::{ConfigError, Format, Roles};
use std::ffi::OsString;
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  emet config show                                  what 'emet server' would run with
  emet config show server --config emet.toml -- --max-loaded 10
  emet config schema > emet.schema.json";

/// What can be asked about options.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the options that a role would run with, and where each comes from.
    #[command(after_help = EXAMPLES)]
    Show(ShowArgs),
    /// Print the JSON schema of the configuration file.
    Schema,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The role.
    #[arg(default_value = "server")]
    role: String,
    /// The configuration file.
    #[arg(long, env = "EMET_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// How they are shown.
    #[arg(long = "as", value_enum, default_value = "toml", value_name = "FORMAT")]
    shown_as: Format,
    /// Flags of the role.
    #[arg(last = true)]
    flags: Vec<OsString>,
}

/// What the command prints.
pub(crate) fn run(roles: &Roles, command: &Command) -> Result<String, ConfigError> {
    match command {
        Command::Schema => Ok(format!("{:#}\n", roles.schema())),
        Command::Show(args) => {
            let file =
                args.config.iter().flat_map(|path| [OsString::from("--config"), path.into()]);
            let flags: Vec<OsString> = file.chain(args.flags.iter().cloned()).collect();
            roles.show(&args.role, &flags, args.shown_as)
        }
    }
}
