//! `emet shard-manager`: one member of the group that says where workers live.

use super::serving::{self, AdminArgs, Stopping};
use crate::process;
use anyhow::{Result, anyhow};
use emet_config::HumanDuration;
use emet_shard_manager::{Manager, Options, Peer};
use emet_shard_map::DEFAULT_SHARDS;
use emet_telemetry::metrics::list::{
    EXECUTORS, MANAGER_LEADS, MANAGER_TERM, SHARD_MAP_VERSION, SHARDS_MOVING, SHARDS_UNOWNED,
};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Shown below the help of the command.
pub(crate) const EXAMPLES: &str = "Example, one of three:
  emet shard-manager --id 1 --listen 10.0.0.1:9002 --peers 1=10.0.0.1:9002,2=10.0.0.2:9002,3=10.0.0.3:9002";

/// Options of a shard manager.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of this member.
    #[arg(long, env = "EMET_MANAGER_ID", default_value_t = 1)]
    id: u64,
    /// The members that found the group, id=host:port; 1, 3 or 5 of them, this one included.
    #[arg(long, env = "EMET_MANAGER_PEERS", value_delimiter = ',', required = true)]
    peers: Vec<Peer>,
    /// Address of the gRPC API.
    #[arg(long, env = "EMET_LISTEN", default_value = "127.0.0.1:9002")]
    listen: SocketAddr,
    /// Directory of log, vote and snapshot; made if it is missing.
    #[arg(long, env = "EMET_DATA_DIR", default_value = ".emet-manager")]
    data_dir: PathBuf,
    /// How long an executor may go on without being heard of.
    #[arg(long, env = "EMET_LEASE", default_value = "5s", value_name = "DURATION")]
    lease: HumanDuration,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    security: emet_config::PeerOptions,
    #[command(flatten)]
    telemetry: emet_telemetry::Options,
}

/// Runs until it is told to stop.
pub(crate) fn run(args: &Args) -> Result<()> {
    process::secure(&args.security)?;
    process::run("shard-manager", &args.telemetry, serve(args))
}

async fn serve(args: &Args) -> Result<()> {
    let listener = serving::listen(args.listen, "--listen").await?;
    let options = Options {
        id: args.id,
        peers: args.peers.clone(),
        data_dir: args.data_dir.clone(),
        shards: DEFAULT_SHARDS,
        lease: args.lease.0,
    };
    let manager = Manager::start(options).await?;
    let stopping = Stopping::new();
    let (ready, shown) = (manager.clone(), manager.clone());
    let readiness: serving::Readiness = Arc::new(move || {
        if ready.is_ready() {
            Vec::new()
        } else {
            vec!["the group of shard managers has no leader, or this one has not caught up".into()]
        }
    });
    let admin = serving::admin(
        &args.admin,
        readiness.clone(),
        Arc::new(move || metrics(&shown)),
        &stopping,
    )
    .await?;
    tracing::info!(
        "shard manager {} listens on {} (gRPC) and {admin} (health, metrics)",
        args.id,
        listener.local_addr()?
    );
    let served =
        tokio::spawn(serving::grpc(listener, manager.routes(), readiness, stopping.clone()));
    let outcome = tokio::select! {
        () = process::stop_signal() => Ok(()),
        // A member without a working log votes for nobody and remembers nothing.
        reason = manager.failed() => Err(anyhow!("this shard manager cannot go on: {reason}")),
    };
    tracing::info!("stopping");
    // First the group: the others elect a leader while this one still tells where it is.
    manager.shutdown().await;
    stopping.stop();
    served.await??;
    outcome
}

fn metrics(manager: &Manager) -> String {
    let status = manager.status();
    MANAGER_LEADS.set(u64::from(manager.leads()));
    MANAGER_TERM.set(manager.term());
    SHARD_MAP_VERSION.set(status.version);
    EXECUTORS.set(status.executors.len() as u64);
    SHARDS_UNOWNED.set(status.unowned.into());
    SHARDS_MOVING.set(status.moving.into());
    emet_telemetry::metrics::render()
}
