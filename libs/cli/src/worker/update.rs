//! `emet worker update` and `update-many`.

use super::Name;
use super::list::all_workers;
use crate::context::Context;
use crate::failure::Failure;
use clap::ValueEnum;
use emet_model::{ComponentId, ComponentVersion, UpdateMode};
use serde_json::json;
use std::str::FromStr;

pub(super) const EXAMPLES: &str = "Examples:
  emet worker update shop:cart/cart-7 --to latest
  emet worker update shop:cart/cart-7 --to 3 --mode manual

Automatic updates replay the history on the new version; manual ones carry a snapshot over.
An update happens when the worker gets to it: 'emet worker get' shows the outcome.";

pub(super) const MANY_EXAMPLES: &str = "Examples:
  emet worker update-many shop:cart --to latest
  emet worker update-many shop:cart --to 3 --filter 'env.REGION = eu'";

/// How a worker is brought to another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Replay the history.
    #[value(alias = "auto")]
    Automatic,
    /// Save and load a snapshot.
    Manual,
}

/// A version, or the newest one.
#[derive(Clone, Copy, Debug)]
enum Version {
    Latest,
    Number(ComponentVersion),
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "latest" => Ok(Self::Latest),
            number => number.parse().map(Self::Number).map_err(|_| "use a number or latest".into()),
        }
    }
}

/// Options of both.
#[derive(Clone, Debug, clap::Args)]
struct Common {
    /// The version: a number or latest.
    #[arg(long, short = 't', alias = "target-version", value_name = "VERSION")]
    to: Version,
    /// How.
    #[arg(long, short = 'm', value_enum, default_value_t = Mode::Automatic)]
    mode: Mode,
}

impl Common {
    fn mode(&self) -> UpdateMode {
        match self.mode {
            Mode::Automatic => UpdateMode::Automatic,
            Mode::Manual => UpdateMode::Manual,
        }
    }

    /// The version as a number, checked for existence: the server takes any.
    async fn version(
        &self,
        context: &Context,
        component: ComponentId,
    ) -> Result<ComponentVersion, Failure> {
        let wanted = match self.to {
            Version::Latest => None,
            Version::Number(number) => Some(number),
        };
        let found = context.client.component(component, wanted).await?;
        Ok(found.versioned_component_id.version)
    }
}

/// An update.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    worker: Name,
    #[command(flatten)]
    common: Common,
}

/// Updates of many workers.
#[derive(Clone, Debug, clap::Args)]
pub struct ManyArgs {
    /// Name or id of the component.
    component: String,
    #[command(flatten)]
    common: Common,
    /// Only workers for which this holds; repeat it for more conditions.
    #[arg(long, short = 'f')]
    filter: Vec<String>,
}

pub(super) async fn update(context: &Context, args: Args) -> Result<(), Failure> {
    let id = context.worker_id(&args.worker.words).await?;
    let version = args.common.version(context, id.component_id).await?;
    context.client.update_worker(&id, args.common.mode(), version).await?;
    context.out.done(&json!({"targetVersion": version}), &format!("requested version {version}"))
}

pub(super) async fn update_many(context: &Context, args: ManyArgs) -> Result<(), Failure> {
    let component = context.component_id(&args.component).await?;
    let version = args.common.version(context, component).await?;
    let workers = all_workers(context, component, &args.filter, None, true).await?;
    let older = workers.into_iter().filter(|worker| worker.component_version < version);
    let (mut requested, mut failed) = (Vec::new(), Vec::new());
    for worker in older {
        let id = worker.worker_id;
        match context.client.update_worker(&id, args.common.mode(), version).await {
            Ok(()) => requested.push(id.worker_name),
            Err(error) => failed.push((id.worker_name, error.to_string())),
        }
    }
    let summary = json!({"targetVersion": version, "requested": requested, "failed": failed});
    let text = format!("requested version {version} for {} workers", requested.len());
    context.out.done(&summary, &text)?;
    if failed.is_empty() {
        return Ok(());
    }
    let failures = failed.iter().map(|(name, error)| format!("{name}: {error}"));
    Err(Failure::new(format!(
        "{} workers refused:\n{}",
        failed.len(),
        failures.collect::<Vec<_>>().join("\n")
    )))
}
