//! Measures `emet server` beside what the machine can do, in one run: every figure is printed with
//! its yardstick, the ratio of both, and the target, and kept in `target/bench.json`.
//!
//! Absolute values move with the machine and what else it does; the ratios are what counts.

mod cases;
mod cpu;
mod guest;
mod http;
mod load;
mod redis;
mod report;
mod samples;
mod server;
mod yardsticks;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};

/// Measures the server beside what the machine can do.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Only these groups; repeatable.
    #[arg(long, value_enum)]
    only: Vec<cases::Group>,
    /// A tenth of the work: for trying out, not for figures.
    #[arg(long)]
    quick: bool,
    /// Where the servers keep their data: a directory on the disk to be measured.
    #[arg(long, default_value = "target")]
    work: PathBuf,
    /// Where the figures are kept.
    #[arg(long, default_value = "target/bench.json")]
    output: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// The yardstick: a server that says hello.
    Hello {
        /// Its port.
        port: u16,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    if let Some(Command::Hello { port }) = cli.command {
        return yardsticks::serve(port).await;
    }
    measure(&cli.work, &cli.output, &cli.only, cli.quick).await
}

async fn measure(work: &Path, output: &Path, only: &[cases::Group], quick: bool) -> Result<()> {
    let work = tempfile::tempdir_in(work)?;
    report::heading();
    let mut figures = Vec::new();
    let groups = if only.is_empty() { cases::Group::ALL.as_slice() } else { only };
    for group in groups {
        let measured = group.measure(&cases::Scene { work: work.path().to_owned(), quick }).await?;
        measured.iter().for_each(report::print);
        figures.extend(measured);
    }
    report::write(output, &figures)
}
