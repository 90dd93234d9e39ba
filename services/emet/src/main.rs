//! The `emet` binary: the server, and the command line client.

mod server;

use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

/// Runs WebAssembly components as durable workers.
#[derive(Parser)]
#[command(name = "emet", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    options: emet_cli::Options,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything on this machine: the API and all workers, on embedded stores.
    #[command(after_help = server::EXAMPLES)]
    Server(server::Args),
    #[command(flatten)]
    Client(emet_cli::Command),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Client(command) => emet_cli::execute(command, &cli.options, Cli::command()),
        Command::Server(args) => match server::run(&args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!("{error:#}");
                ExitCode::FAILURE
            }
        },
    }
}
