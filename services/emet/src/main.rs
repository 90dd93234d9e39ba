//! The `emet` binary: the server, the roles of a cluster, and the command line client.

mod access;
mod cluster;
mod node;
mod process;
mod server;
mod settings;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use emet_config::{ConfigError, Release, Roles};
use std::io::Write;
use std::process::ExitCode;

/// What this build calls itself. The variable is for builds that are not the release of their
/// sources, such as that of the next version in the test of upgrades (docs/operations/kubernetes.md).
const VERSION: &str = match option_env!("EMET_RELEASE") {
    Some(given) => given,
    None => env!("CARGO_PKG_VERSION"),
};

/// Runs WebAssembly components as durable workers.
#[derive(Parser)]
#[command(name = "emet", version = VERSION, about)]
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
    Server(Box<server::Args>),
    /// Run one member of the group that says where workers live.
    #[command(after_help = cluster::manager::EXAMPLES)]
    ShardManager(Box<cluster::manager::Args>),
    /// Run the workers of some shards.
    #[command(after_help = cluster::executor::EXAMPLES)]
    WorkerExecutor(Box<cluster::executor::Args>),
    /// Store and compile versions of components.
    ComponentService(Box<cluster::component_service::Args>),
    /// Serve the REST API of a cluster.
    WorkerService(Box<cluster::worker_service::Args>),
    /// Look at a cluster, and change its shard managers.
    #[command(subcommand)]
    Cluster(cluster::status::Command),
    /// Show the options of a server, and what its configuration file may hold.
    #[command(subcommand)]
    Config(settings::Command),
    #[command(flatten)]
    Client(emet_cli::Command),
}

/// The subcommands that take their options from a file, too.
const ROLES: [&str; 5] =
    ["server", "shard-manager", "worker-executor", "component-service", "worker-service"];

fn main() -> ExitCode {
    match VERSION.parse::<Release>() {
        Ok(release) => release.make_current(),
        Err(error) => {
            report(&format!("this build is called wrongly: {error}"));
            return ExitCode::FAILURE;
        }
    }
    let roles = Roles::new(Cli::command(), &ROLES);
    let parsed = roles.parse(std::env::args_os());
    let cli = match parsed.and_then(|matches| Ok(Cli::from_arg_matches(&matches)?)) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let ended = match cli.command {
        Command::Client(command) => {
            return emet_cli::execute(command, &cli.options, Cli::command());
        }
        Command::Config(command) => return show(settings::run(&roles, &command)),
        Command::Cluster(command) => return print(cluster::status::run(&command)),
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
            if !tracing::dispatcher::has_been_set() {
                report(&format!("{error:#}"));
            }
            ExitCode::FAILURE
        }
    }
}

/// Nothing can be done about a terminal that is gone.
fn report(text: &str) {
    let _ = writeln!(std::io::stderr(), "error: {text}");
}

/// Options that cannot be used; or help, which comes the same way.
fn refuse(error: &ConfigError) -> ExitCode {
    match error {
        ConfigError::Usage(usage) => {
            let _ = usage.print();
            ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2))
        }
        other => {
            report(&other.to_string());
            ExitCode::from(2)
        }
    }
}

/// The output of a command that is not a role.
fn print(output: anyhow::Result<String>) -> ExitCode {
    match output {
        Ok(text) => show(Ok(text)),
        Err(error) => {
            report(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn show(output: Result<String, ConfigError>) -> ExitCode {
    match output {
        Err(error) => refuse(&error),
        Ok(text) => match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn page(name: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations").join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Roles::new(Cli::command(), &ROLES).command().clone().debug_assert();
    }

    #[test]
    fn every_option_of_a_role_is_in_the_docs() {
        let (roles, text) = (Roles::new(Cli::command(), &ROLES), page("configuration.md"));
        for role in ROLES {
            for option in roles.options(role) {
                let name = option.get_long().unwrap_or_default();
                assert!(
                    text.contains(&format!("| `{name}` |")),
                    "{name} of emet {role} has no row in the table"
                );
            }
        }
    }

    #[test]
    fn the_docs_list_exactly_the_metrics_that_are_printed() {
        let text = page("metrics.md");
        let mut missing: Vec<String> = Vec::new();
        let mut rows = 0;
        for metric in emet_telemetry::metrics::all() {
            let labels: Vec<String> =
                metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let row = format!(
                "| `{}` | {} | {} | {} |",
                metric.name,
                metric.kind,
                labels.join(", "),
                metric.help
            );
            rows += 1;
            if !text.contains(&row) {
                missing.push(row);
            }
        }
        assert!(missing.is_empty(), "rows to put in:\n{}", missing.join("\n"));
        let listed = text.lines().filter(|line| line.starts_with("| `emet_")).count();
        assert_eq!(listed, rows, "the table lists metrics that do not exist");
    }
}
