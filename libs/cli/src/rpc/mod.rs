//! `emet rpc`: what a component needs to call another one.

mod client;

use crate::context::Context;
use crate::failure::Failure;
use clap::Subcommand;
use client::Client;
use emet_model::ComponentId;
use emet_values::Export;
use serde_json::json;
use std::path::{Path, PathBuf};

const WIT_EXAMPLES: &str = "Examples:
  emet rpc wit shop:cart                     # shows the interface
  emet rpc wit shop:cart --out wit/deps      # writes it, for a caller to import
  emet component add shop:till till.wasm --dynamic-linking \"$(emet rpc wit shop:cart --linking)\"";

/// What a component needs to call another one.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Write the client interface that a caller of a component imports; the host links it.
    #[command(after_help = WIT_EXAMPLES)]
    Wit {
        /// Name or id of the component that is called.
        component: String,
        /// The version; the latest one if not given.
        #[arg(long, short = 'V')]
        version: Option<u64>,
        /// A WIT `deps` folder to write to.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Show the `dynamicLinking` of the caller's upload instead.
        #[arg(long, conflicts_with = "out")]
        linking: bool,
    },
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let Command::Wit { component, version, out, linking } = command;
    let id = context.component_id(&component).await?;
    let wasm = context.client.download_component(id, version).await?;
    let exports = exports(context, id, version).await?;
    let client = client::client(&wasm, &exports, &component)
        .map_err(|reason| Failure::new(format!("{component} cannot be called: {reason}")))?;
    if linking {
        return context.out.line(&linking_of(&client).to_string());
    }
    match out {
        None => context.out.line(client.text.trim_end()),
        Some(dir) => {
            write(&dir, &client)?;
            context.out.done(
                &linking_of(&client),
                &format!("wrote {} to {}", client.interface, dir.display()),
            )
        }
    }
}

fn linking_of(client: &Client) -> serde_json::Value {
    json!({ client.interface.clone(): { "type": "WasmRpc", "targetInterfaceName": client.targets } })
}

/// Names of what a component exports.
async fn exports(
    context: &Context,
    id: ComponentId,
    version: Option<u64>,
) -> Result<Vec<String>, Failure> {
    let versions = context.client.component_versions(id).await?;
    let found = versions
        .into_iter()
        .filter(|c| version.is_none_or(|v| c.versioned_component_id.version == v));
    let found = found.max_by_key(|c| c.versioned_component_id.version);
    let component =
        found.ok_or_else(|| Failure::new("there is no such version of the component"))?;
    let name = |export: &Export| match export {
        Export::Function(function) => function.name.clone(),
        Export::Instance { name, .. } => name.clone(),
    };
    Ok(component.metadata.exports.iter().map(name).collect())
}

fn write(dir: &Path, client: &Client) -> Result<(), Failure> {
    let folder = dir.join(client.package.replace(':', "-"));
    let file = folder.join("package.wit");
    let written =
        std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, &client.text));
    written.map_err(|error| Failure::new(format!("cannot write {}: {error}", file.display())))
}
