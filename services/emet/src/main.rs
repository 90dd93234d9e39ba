//! The `emet` binary: the server, the roles of a cluster, and the command line client.

mod cluster;
mod node;
mod process;
mod server;

use clap::{CommandFactory, Parser, Subcommand};
use std::io::Write;
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
    /// Run one member of the group that says where workers live.
    #[command(after_help = cluster::manager::EXAMPLES)]
    ShardManager(cluster::manager::Args),
    /// Run the workers of some shards.
    #[command(after_help = cluster::executor::EXAMPLES)]
    WorkerExecutor(Box<cluster::executor::Args>),
    /// Store and compile versions of components.
    ComponentService(cluster::component_service::Args),
    /// Serve the REST API of a cluster.
    WorkerService(cluster::worker_service::Args),
    /// Look at a cluster, and change its shard managers.
    #[command(subcommand)]
    Cluster(cluster::status::Command),
    #[command(flatten)]
    Client(emet_cli::Command),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = match cli.command {
        Command::Client(command) => {
            return emet_cli::execute(command, &cli.options, Cli::command());
        }
        Command::Cluster(command) => return show(cluster::status::run(&command)),
        Command::Server(args) => server::run(&args),
        Command::ShardManager(args) => cluster::manager::run(&args),
        Command::WorkerExecutor(args) => cluster::executor::run(&args),
        Command::ComponentService(args) => cluster::component_service::run(&args),
        Command::WorkerService(args) => cluster::worker_service::run(&args),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the output of a command that is not a role.
fn show(output: anyhow::Result<String>) -> ExitCode {
    let (mut out, text, code) = match output {
        Ok(text) => (Box::new(std::io::stdout()) as Box<dyn Write>, text, ExitCode::SUCCESS),
        Err(error) => (
            Box::new(std::io::stderr()) as Box<dyn Write>,
            format!("error: {error:#}\n"),
            ExitCode::FAILURE,
        ),
    };
    match out.write_all(text.as_bytes()) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}
