//! `emet promise`.

use crate::context::Context;
use crate::failure::Failure;
use clap::Subcommand;

const EXAMPLES: &str = "Examples:
  emet promise complete shop:cart/cart-7 42
  emet promise complete shop:cart/cart-7 42 --data approved
  emet promise complete shop:cart/cart-7 42 --file answer.bin";

/// What can be done with promises.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Complete a promise, so that the worker that awaits it goes on.
    #[command(after_help = EXAMPLES)]
    Complete {
        /// The worker that made the promise: COMPONENT/WORKER.
        worker: String,
        /// The oplog index of the promise, part of its id.
        oplog_index: u64,
        /// The result, as text.
        #[arg(long, conflicts_with = "file")]
        data: Option<String>,
        /// The result, from a file.
        #[arg(long)]
        file: Option<std::path::PathBuf>,
    },
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let Command::Complete { worker, oplog_index, data, file } = command;
    let worker = context.worker_id(&[worker]).await?;
    let data = match (data, file) {
        (Some(text), _) => text.into_bytes(),
        (None, Some(path)) => std::fs::read(&path)
            .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))?,
        (None, None) => Vec::new(),
    };
    let completed = context.client.complete_promise(&worker, oplog_index, data).await?;
    let text = if completed { "completed" } else { "it was completed before; nothing changed" };
    context.out.done(&completed, text)
}
