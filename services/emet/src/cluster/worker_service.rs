//! `emet worker-service`: the REST API of a cluster.

use super::probe;
use super::serving::{self, DrainArgs};
use super::stores::RedisArgs;
use super::{Managers, uri};
use crate::access::AccessArgs;
use crate::process;
use anyhow::{Context, Result};
use emet_api::grpc::{ChannelOptions, ComponentsClient, channel};
use emet_config::{HumanDuration, Release};
use emet_routing::{RoutedWorkers, RoutingOptions, watch_routing};
use emet_telemetry::metrics::list::{EXECUTORS, SHARD_MAP_VERSION, SHARDS_UNOWNED};
use emet_worker_service::{AppState, Limits, router};
use std::net::SocketAddr;
use std::sync::Arc;

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
    /// How long a call waits for an executor that takes it.
    #[arg(long, env = "EMET_PATIENCE", default_value = "30s", value_name = "DURATION")]
    patience: HumanDuration,
    /// Calls that may be under way to one executor; more are refused with 503.
    #[arg(long, env = "EMET_EXECUTOR_CALLS", default_value_t = 4096)]
    executor_calls: usize,
    #[command(flatten)]
    drain: DrainArgs,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    security: emet_config::PeerOptions,
    #[command(flatten)]
    telemetry: emet_telemetry::Options,
}

/// Runs until it is told to stop.
pub(crate) fn run(args: &Args) -> Result<()> {
    process::secure(&args.security)?;
    process::run("worker-service", &args.telemetry, serve(args))
}

async fn serve(args: &Args) -> Result<()> {
    let listener = serving::listen(args.listen, "--listen").await?;
    let component_service = channel(&uri(&args.component_service), ChannelOptions::default())
        .context("--component-service")?;
    let (patience, limit) = (args.patience.0, args.executor_calls);
    let options = RoutingOptions { patience, limit, ..RoutingOptions::default() };
    let table = watch_routing(args.managers.uris());
    let workers = Arc::new(RoutedWorkers::new(table, options));
    let missing = probe::component_service(component_service.clone());
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
    let address = listener.local_addr()?;
    // Nothing but the tokens of the API is read from it.
    let redis = args.redis.connect().await?;
    let metrics: serving::Metrics = Arc::new(move || metrics(&shown));
    let state = AppState {
        components: Arc::new(ComponentsClient::new(component_service)),
        workers,
        readiness: Arc::new(readiness),
        metrics: metrics.clone(),
        auth: args.access.auth(address, redis.kv())?,
        version: Release::current().to_string(),
        limits: Limits::default(),
    };
    tracing::info!(
        "worker service is ready: http://{address} (API), http://{address}/docs (documentation)"
    );
    args.access.serve_metrics(metrics).await?;
    let stopping = args.drain.stopping().among_others();
    let served = tokio::spawn(serving::http(listener, router(state), stopping.clone()));
    process::stop_signal().await;
    tracing::info!("stopping");
    stopping.stop();
    served.await?
}

fn metrics(workers: &RoutedWorkers) -> String {
    let table = workers.table();
    let unowned = table.owners.iter().filter(|owner| owner.is_none()).count();
    SHARD_MAP_VERSION.set(table.version);
    EXECUTORS.set(table.members.len() as u64);
    SHARDS_UNOWNED.set(unowned as u64);
    emet_telemetry::metrics::render()
}
