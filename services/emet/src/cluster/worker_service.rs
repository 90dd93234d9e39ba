//! `emet worker-service`: the REST API of a cluster.

use super::probe::Dependencies;
use super::serving::{self, Stopping};
use super::{Managers, uri};
use crate::process;
use anyhow::{Context, Result};
use emet_api::grpc::{ChannelOptions, ComponentsClient, channel};
use emet_routing::{RoutedWorkers, RoutingOptions, watch_routing};
use emet_worker_service::{AppState, Limits, router};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Options of a worker service.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Address of the REST API.
    #[arg(long, env = "EMET_LISTEN", default_value = "127.0.0.1:9881")]
    listen: SocketAddr,
    #[command(flatten)]
    managers: Managers,
    /// Address of the component service, host:port.
    #[arg(long, env = "EMET_COMPONENT_SERVICE")]
    component_service: String,
    /// How long a call waits for an executor that takes it, in seconds.
    #[arg(long, env = "EMET_PATIENCE", default_value_t = 30.0)]
    patience: f64,
    /// Calls that may be under way to one executor; more are refused with 503.
    #[arg(long, env = "EMET_EXECUTOR_CALLS", default_value_t = 4096)]
    executor_calls: usize,
}

/// Runs until it is told to stop.
pub(crate) fn run(args: &Args) -> Result<()> {
    process::run(serve(args))
}

async fn serve(args: &Args) -> Result<()> {
    let patience =
        Duration::try_from_secs_f64(args.patience).context("--patience is not a duration")?;
    let listener = serving::listen(args.listen, "--listen").await?;
    let component_service = channel(&uri(&args.component_service), ChannelOptions::default())
        .context("--component-service")?;
    let options =
        RoutingOptions { patience, limit: args.executor_calls, ..RoutingOptions::default() };
    let table = watch_routing(args.managers.uris());
    let workers = Arc::new(RoutedWorkers::new(table, options));
    let missing = Dependencies {
        component_service: Some(component_service.clone()),
        ..Dependencies::default()
    }
    .watch();
    let (routing, shown) = (workers.clone(), workers.clone());
    let readiness = move || {
        let mut missing = missing.get();
        if routing.table().members.is_empty() {
            missing.push(
                "no executor is known: the shard managers do not answer, or none has joined"
                    .to_owned(),
            );
        }
        missing
    };
    let state = AppState {
        components: Arc::new(ComponentsClient::new(component_service)),
        workers,
        readiness: Arc::new(readiness),
        metrics: Arc::new(move || metrics(&shown)),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        limits: Limits::default(),
    };
    let address = listener.local_addr()?;
    tracing::info!(
        "worker service is ready: http://{address} (API), http://{address}/docs (documentation)"
    );
    let stopping = Stopping::new();
    let served = tokio::spawn(serving::http(listener, router(state), stopping.clone()));
    process::stop_signal().await;
    tracing::info!("stopping");
    stopping.stop();
    served.await?
}

fn metrics(workers: &RoutedWorkers) -> String {
    let table = workers.table();
    let unowned = table.owners.iter().filter(|owner| owner.is_none()).count();
    process::exposition(&[
        ("emet_routing_version", "Version of the routing table", table.version),
        ("emet_executors", "Executors in the routing table", table.members.len() as u64),
        ("emet_shards_unowned", "Shards that no executor owns", unowned as u64),
    ])
}
