//! `emet worker files`.

use crate::context::Context;
use crate::failure::Failure;
use crate::output::Table;
use crate::progress::size;
use clap::Subcommand;
use emet_api::FileKind;

/// What can be done with the files of a worker.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// List a directory.
    Ls {
        /// COMPONENT/WORKER.
        worker: String,
        /// The directory.
        #[arg(default_value = "/")]
        path: String,
    },
    /// Print a file.
    #[command(after_help = "Example:\n  emet worker files cat shop:cart/cart-7 /data/log.txt")]
    Cat {
        /// COMPONENT/WORKER.
        worker: String,
        /// The file.
        path: String,
    },
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Ls { worker, path } => list(context, worker, &path).await,
        Command::Cat { worker, path } => {
            let worker = context.worker_id(&[worker]).await?;
            context.out.bytes(&context.client.read_file(&worker, &path).await?)
        }
    }
}

async fn list(context: &Context, worker: String, path: &str) -> Result<(), Failure> {
    let worker = context.worker_id(&[worker]).await?;
    let nodes = context.client.list_files(&worker, path).await?;
    context.out.show_table(&nodes, || {
        let mut table = Table::new(&["NAME", "SIZE", "PERMISSIONS"]);
        for node in &nodes {
            let slash = if node.kind == FileKind::Directory { "/" } else { "" };
            let permissions = node.permissions.map(|permissions| match permissions {
                emet_model::FilePermissions::ReadOnly => "read-only",
                emet_model::FilePermissions::ReadWrite => "read-write",
            });
            table.row(vec![
                format!("{}{slash}", node.name),
                node.size.map(size).unwrap_or_default(),
                permissions.unwrap_or_default().to_owned(),
            ]);
        }
        table
    })
}
