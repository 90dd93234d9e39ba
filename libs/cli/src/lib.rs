//! The command line client.
//!
//! [`Command`] and [`Options`] are embedded by the `emet` binary beside its server roles;
//! [`execute`] runs one command. [`run`] is the client alone.
//!
//! Results go to stdout, in the format asked for; everything else (progress, hints, errors)
//! goes to stderr. The exit code is 0 for success, 1 for a failure, 2 for wrong usage.

mod component;
mod context;
mod doctor;
mod explain;
mod failure;
mod functions;
mod options;
mod output;
mod progress;
mod promise;
mod resolve;
mod rpc;
mod suggest;
mod token;
mod watch;
mod wit;
mod worker;

pub use explain::PAGES;
pub use options::{Format, Options};

use clap::{CommandFactory, Parser, Subcommand};
use context::Context;
use failure::Failure;
use std::ffi::OsString;
use std::process::ExitCode;

/// What the client can do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Upload, list and download components.
    #[command(subcommand)]
    Component(component::Command),
    /// Create, invoke, watch and control workers.
    #[command(subcommand)]
    Worker(Box<worker::Command>),
    /// Complete promises that workers wait for.
    #[command(subcommand)]
    Promise(promise::Command),
    /// Make, list and revoke tokens for the API.
    #[command(subcommand)]
    Token(token::Command),
    /// Call one component from another.
    #[command(subcommand)]
    Rpc(rpc::Command),
    /// The interfaces that components can import.
    #[command(subcommand)]
    Wit(wit::Command),
    /// Check that the server can be reached and is ready.
    Doctor,
    /// Explain an error: what it means and what to do.
    #[command(after_help = explain::EXAMPLES)]
    Explain(explain::Args),
    /// Print a completion script for a shell.
    #[command(after_help = "Example:\n  emet completions bash > /etc/bash_completion.d/emet")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// The client alone.
#[derive(Parser)]
#[command(name = "emet", version, about = "Runs WebAssembly components as durable workers")]
struct Standalone {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    options: Options,
}

/// Parses arguments (with the program's name first) and runs the command.
pub fn run<I, T>(args: I) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    match Standalone::try_parse_from(args) {
        Ok(parsed) => execute(parsed.command, &parsed.options, Standalone::command()),
        Err(error) => {
            // Nothing can be done about a terminal that is gone.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}

/// Runs one command. `root` is the whole command line, for completion scripts.
pub fn execute(command: Command, options: &Options, root: clap::Command) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return Failure::new(format!("cannot start the client: {error}")).report(options);
        }
    };
    match runtime.block_on(dispatch(command, options, root)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(options),
    }
}

async fn dispatch(command: Command, options: &Options, root: clap::Command) -> Result<(), Failure> {
    let context = || Context::new(options);
    match command {
        Command::Component(command) => component::run(&context()?, command).await,
        Command::Worker(command) => worker::run(&context()?, *command).await,
        Command::Promise(command) => promise::run(&context()?, command).await,
        Command::Token(command) => token::run(&context()?, command).await,
        Command::Rpc(command) => rpc::run(&context()?, command).await,
        Command::Wit(command) => wit::run(&context()?, command),
        Command::Doctor => doctor::run(&context()?).await,
        Command::Explain(args) => explain::run(&context()?, &args),
        Command::Completions { shell } => {
            let mut root = root;
            let name = root.get_name().to_owned();
            clap_complete::generate(shell, &mut root, name, &mut std::io::stdout());
            Ok(())
        }
    }
}
