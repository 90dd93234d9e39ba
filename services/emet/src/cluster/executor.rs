//! `emet worker-executor`: runs the workers of some shards.

use super::serving::{self, AdminArgs, Stopping};
use super::stores::StoreArgs;
use super::{Managers, advertised, uri};
use crate::node::NodeArgs;
use crate::process;
use anyhow::{Context, Result};
use emet_api::Workers;
use emet_api::grpc::{ChannelOptions, ComponentsClient, WorkersServer, channel};
use emet_config::HumanDuration;
use emet_routing::{RoutedWorkers, RoutingOptions, watch_routing};
use emet_runtime::network::NetworkPolicy;
use emet_shard_map::DEFAULT_SHARDS;
use emet_telemetry::health::Health;
use emet_telemetry::metrics::list::SHARDS_HELD;
use emet_worker_executor::{Executor, Member, MembershipOptions, Ownership};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

/// Shown below the help of the command.
pub(crate) const EXAMPLES: &str = "Example:
  emet worker-executor --listen 10.0.0.4:9000 --shard-manager 10.0.0.1:9002 --component-service 10.0.0.7:9090 \\
      --redis redis://10.0.0.9:6379 --s3-bucket emet";

/// Options of an executor.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Address of the gRPC API.
    #[arg(long, env = "EMET_LISTEN", default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// Where the others reach this executor, host:port [default: the address it listens on].
    #[arg(long, env = "EMET_ADVERTISE")]
    advertise: Option<String>,
    #[command(flatten)]
    managers: Managers,
    /// Address of the component service, host:port.
    #[arg(long, env = "EMET_COMPONENT_SERVICE")]
    component_service: String,
    /// Directory of the workers' files; emptied at the start.
    #[arg(long, env = "EMET_WORK_DIR", default_value = ".emet-work")]
    work_dir: PathBuf,
    /// How long handing shards over may take when the process stops.
    #[arg(long, env = "EMET_LEAVE_WITHIN", default_value = "30s", value_name = "DURATION")]
    leave_within: HumanDuration,
    /// Let guests reach loopback, link-local and private networks.
    #[arg(long, env = "EMET_NETWORK_PRIVATE")]
    network_private: bool,
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    stores: StoreArgs,
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
    process::run("worker-executor", &args.telemetry, serve(args))
}

async fn serve(args: &Args) -> Result<()> {
    let listener = serving::listen(args.listen, "--listen").await?;
    let address = advertised(args.advertise.as_deref(), listener.local_addr()?)?;
    let health = Health::default();
    let stores = args.stores.open(&health).await?;
    let component_service = channel(&uri(&args.component_service), ChannelOptions::default())
        .context("--component-service")?;
    let components = Arc::new(ComponentsClient::new(component_service));
    let policy =
        if args.network_private { NetworkPolicy::open() } else { NetworkPolicy::public_only() };
    let new = args.node.build(&args.work_dir, &stores, components, policy)?;
    let routed = Arc::new(RoutedWorkers::new(
        watch_routing(args.managers.uris()),
        RoutingOptions::default(),
    ));
    let everywhere: Weak<dyn Workers> = Arc::<RoutedWorkers>::downgrade(&routed);
    new.route_by(everywhere);
    let ownership = Arc::new(Ownership::none(DEFAULT_SHARDS));
    let executor = Executor::start_owning(
        new.node,
        stores,
        new.cache,
        ownership.clone(),
        args.node.executor_options(),
    );
    let stopping = Stopping::new();
    let (owned, shown, figures) = (ownership.clone(), executor.clone(), ownership);
    let readiness: serving::Readiness = Arc::new(move || {
        let mut missing = health.troubles();
        if !owned.is_sure() {
            missing.push("no lease: the shard managers do not answer".to_owned());
        } else if owned.held().is_empty() {
            // Until it has its share, its predecessor's shards are still on their way.
            missing.push("no shards: this executor has not taken its share yet".to_owned());
        }
        missing
    });
    let metrics = move || {
        shown.observe();
        SHARDS_HELD.set(figures.held().len() as u64);
        emet_telemetry::metrics::render()
    };
    let admin =
        serving::admin(&args.admin, readiness.clone(), Arc::new(metrics), &stopping).await?;
    let routes = tonic::service::Routes::new(WorkersServer::service(executor.clone()));
    let served = tokio::spawn(serving::grpc(listener, routes, readiness, stopping.clone()));
    let member = Member::start(
        executor.clone(),
        MembershipOptions { managers: args.managers.uris(), address: address.clone() },
    );
    let here: Weak<dyn Workers> = Arc::<Executor>::downgrade(&executor);
    routed.set_local(member.id, here);
    tracing::info!(
        "executor {} is reached at {address} (gRPC), {admin} (health, metrics)",
        member.id
    );
    process::stop_signal().await;
    tracing::info!("stopping: the shards are handed over first");
    member.leave(args.leave_within.0).await;
    executor.shutdown().await;
    stopping.stop();
    served.await?
}
