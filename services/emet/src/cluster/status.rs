//! `emet cluster status`: what the shard managers know.

use super::Managers;
use crate::process;
use anyhow::{Context, Result, bail};
use clap::{Subcommand, ValueEnum};
use emet_api::cluster::ClusterStatus;
use emet_api::grpc::proto::shards as wire;
use emet_api::grpc::{ChannelOptions, channel};
use emet_config::PeerOptions;
use std::fmt::Write;
use std::time::{Duration, Instant};
use tonic::{Code, Status};

/// Longest time that a shard manager may take to answer.
const WITHIN: Duration = Duration::from_secs(5);
/// Longest time until a shard manager leads that takes a change, and pause between looks.
const LED_WITHIN: Duration = Duration::from_secs(15);
const AGAIN: Duration = Duration::from_millis(200);

/// Operations on a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shard managers, executors and shards.
    Status(StatusArgs),
    /// Replace the members of the group of shard managers; new ones have to run already.
    SetManagers(MembersArgs),
}

/// Options of `status`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    managers: Managers,
    #[command(flatten)]
    security: PeerOptions,
    /// Form of the output.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// Options of `set-managers`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct MembersArgs {
    #[command(flatten)]
    managers: Managers,
    #[command(flatten)]
    security: PeerOptions,
    /// All members of the group from now on, id=host:port; 1, 3 or 5, or one less as a step.
    #[arg(long, value_delimiter = ',', required = true)]
    members: Vec<emet_shard_manager::Peer>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Carries the command out; what comes back is for standard output.
pub(crate) fn run(command: &Command) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Status(args) => {
                process::secure(&args.security)?;
                let status = ask(&args.managers).await?;
                match args.output {
                    Format::Json => Ok(serde_json::to_string_pretty(&status)? + "\n"),
                    Format::Table => Ok(table(&status)),
                }
            }
            Command::SetManagers(args) => {
                process::secure(&args.security)?;
                set_managers(args).await
            }
        }
    })
}

/// The status from the first manager that answers.
async fn ask(managers: &Managers) -> Result<ClusterStatus> {
    let mut failures = String::new();
    for manager in managers.uris() {
        match ask_one(&manager).await {
            Ok(status) => return Ok(status),
            Err(error) => write!(failures, "\n  {manager}: {error:#}")?,
        }
    }
    bail!("no shard manager answers:{failures}")
}

async fn ask_one(manager: &str) -> Result<ClusterStatus> {
    let mut client =
        wire::shards_client::ShardsClient::new(channel(manager, ChannelOptions::default())?);
    let reply = tokio::time::timeout(WITHIN, client.status(wire::StatusRequest {}))
        .await
        .context("no answer")?;
    Ok(serde_json::from_slice(&reply?.into_inner().status_json)?)
}

/// Changes the group, also if the leader changes in between: saying again who belongs to the group
/// changes nothing more.
async fn set_managers(args: &MembersArgs) -> Result<String> {
    let until = Instant::now() + LED_WITHIN;
    loop {
        match try_set_managers(args).await {
            Err(error) if leads_nowhere(&error) && Instant::now() < until => {
                tokio::time::sleep(AGAIN).await;
            }
            other => return other,
        }
    }
}

fn leads_nowhere(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<Status>().map(Status::code);
    matches!(code, Some(Code::FailedPrecondition | Code::Unavailable))
}

async fn try_set_managers(args: &MembersArgs) -> Result<String> {
    let status = ask(&args.managers).await?;
    let leader = status
        .managers
        .iter()
        .find(|m| m.leader)
        .ok_or_else(|| Status::unavailable("the group of shard managers has no leader"))?;
    let mut client = wire::shards_client::ShardsClient::new(channel(
        &leader.address,
        ChannelOptions::default(),
    )?);
    let members = args
        .members
        .iter()
        .map(|m| wire::ManagerNode { id: m.id, address: m.address.clone() })
        .collect();
    client.change_membership(wire::ChangeMembershipRequest { members }).await?;
    let count = args.members.len();
    let step = match count % 2 {
        0 => {
            format!(": {count} survive no more failures than {}, so this is only a step", count - 1)
        }
        _ => String::new(),
    };
    Ok(format!("the members of the group are changed{step}\n"))
}

fn table(status: &ClusterStatus) -> String {
    let mut lines = vec![format!("{:<10}{:<32}ROLE", "MANAGER", "ADDRESS")];
    for manager in &status.managers {
        let role = match (manager.leader, manager.voter) {
            (true, _) => "leader",
            (false, true) => "follower",
            (false, false) => "learner",
        };
        lines.push(format!("{:<10}{:<32}{role}", manager.id, manager.address));
    }
    lines.push(String::new());
    lines.push(format!(
        "{:<38}{:<32}{:>7}{:>10}  STATE",
        "EXECUTOR", "ADDRESS", "SHARDS", "RELEASING"
    ));
    for executor in &status.executors {
        let state = if executor.leaving { "leaving" } else { "active" };
        lines.push(format!(
            "{:<38}{:<32}{:>7}{:>10}  {state}",
            executor.id, executor.address, executor.shards, executor.releasing
        ));
    }
    lines.push(String::new());
    let unowned = format!("{} without an owner, {} moving", status.unowned, status.moving);
    lines.push(format!("{} shards: {unowned}; map version {}", status.shards, status.version));
    lines.join("\n") + "\n"
}
