//! `emet worker`.

mod connect;
mod control;
mod files;
mod history;
mod invoke;
mod list;
mod update;

use crate::context::Context;
use crate::failure::Failure;
use crate::watch::Watch;
use clap::{Args, Subcommand};

const ADD_EXAMPLES: &str = "Examples:
  emet worker add shop:cart/cart-7
  emet worker add shop:cart/cart-7 --env REGION=eu --arg --verbose

Workers need not be created: the first invocation creates them.";

/// What can be done with workers.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Create a worker.
    #[command(visible_alias = "create", after_help = ADD_EXAMPLES)]
    Add {
        #[command(flatten)]
        worker: Name,
        /// A command line argument of the worker; repeat it for more.
        #[arg(long = "arg", allow_hyphen_values = true, value_name = "TEXT")]
        args: Vec<String>,
        /// A variable of its environment; repeat it for more.
        #[arg(long, value_name = "KEY=VALUE", value_parser = variable)]
        env: Vec<(String, String)>,
    },
    /// Invoke a function and print its result.
    #[command(after_help = invoke::EXAMPLES)]
    InvokeAndAwait(invoke::Args),
    /// Invoke a function without waiting for it.
    #[command(after_help = invoke::EXAMPLES)]
    Invoke(invoke::Args),
    /// Show what is known of a worker.
    Get {
        #[command(flatten)]
        worker: Name,
        #[command(flatten)]
        watch: Watch,
    },
    /// List the workers of a component.
    #[command(after_help = list::EXAMPLES)]
    List(list::Args),
    /// Find workers by a filter tree.
    #[command(after_help = list::FIND_EXAMPLES)]
    Find(list::FindArgs),
    /// Delete a worker and everything that belongs to it.
    Delete {
        #[command(flatten)]
        worker: Name,
    },
    /// Follow the output and the invocations of a worker.
    Connect {
        #[command(flatten)]
        worker: Name,
    },
    /// Stop what a worker is executing, until it is resumed.
    Interrupt {
        #[command(flatten)]
        worker: Name,
    },
    /// Let an interrupted or suspended worker go on.
    Resume {
        #[command(flatten)]
        worker: Name,
    },
    /// Crash a worker; it recovers at once.
    SimulatedCrash {
        #[command(flatten)]
        worker: Name,
    },
    /// Request the update of a worker to another component version.
    #[command(after_help = update::EXAMPLES)]
    Update(update::Args),
    /// Request the update of all workers with an older version.
    #[command(after_help = update::MANY_EXAMPLES)]
    UpdateMany(update::ManyArgs),
    /// Forget the end of a worker's history.
    #[command(after_help = history::REVERT_EXAMPLES)]
    Revert(history::RevertArgs),
    /// Cancel an invocation that is still queued.
    Cancel {
        #[command(flatten)]
        worker: Name,
        /// Its idempotency key.
        #[arg(long, short = 'k')]
        idempotency_key: String,
    },
    /// Read or search the oplog of a worker.
    #[command(after_help = history::OPLOG_EXAMPLES)]
    Oplog(history::OplogArgs),
    /// Look into the file system of a worker.
    #[command(subcommand)]
    Files(files::Command),
    /// Make a new worker from the beginning of another one's history.
    Fork(history::ForkArgs),
    /// Replay the history of a worker and compare the state with the present one, and with
    /// that of its newest checkpoint.
    Verify {
        #[command(flatten)]
        worker: Name,
    },
}

/// A worker: one word or two.
#[derive(Clone, Debug, Args)]
pub struct Name {
    /// COMPONENT/WORKER, or the two apart; the component by name or id.
    #[arg(required = true, num_args = 1..=2, value_name = "COMPONENT/WORKER")]
    words: Vec<String>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Add { worker, args, env } => control::add(context, &worker, args, env).await,
        Command::InvokeAndAwait(args) => invoke::invoke_and_await(context, args).await,
        Command::Invoke(args) => invoke::invoke(context, args).await,
        Command::Get { worker, watch } => {
            watch.run(context, async || control::get(context, &worker).await).await
        }
        Command::List(args) => list::list(context, args).await,
        Command::Find(args) => list::find(context, args).await,
        Command::Delete { worker } => control::delete(context, &worker).await,
        Command::Connect { worker } => connect::connect(context, &worker).await,
        Command::Interrupt { worker } => control::interrupt(context, &worker, false).await,
        Command::SimulatedCrash { worker } => control::interrupt(context, &worker, true).await,
        Command::Resume { worker } => control::resume(context, &worker).await,
        Command::Update(args) => update::update(context, args).await,
        Command::UpdateMany(args) => update::update_many(context, args).await,
        Command::Revert(args) => history::revert(context, args).await,
        Command::Cancel { worker, idempotency_key } => {
            history::cancel(context, &worker, idempotency_key).await
        }
        Command::Oplog(args) => history::oplog(context, args).await,
        Command::Files(command) => files::run(context, command).await,
        Command::Fork(args) => history::fork(context, args).await,
        Command::Verify { worker } => history::verify(context, &worker).await,
    }
}
