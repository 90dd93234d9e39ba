//! `emet server`: every role in one process, on embedded stores.

use crate::access::AccessArgs;
use crate::cluster::serving::{self, DrainArgs};
use crate::node::NodeArgs;
use crate::process;
use anyhow::{Context, Result};
use emet_component_service::ComponentService;
use emet_config::Release;
use emet_model::VersionedComponentId;
use emet_runtime::network::NetworkPolicy;
use emet_storage::{Embedded, FsBlob};
use emet_telemetry::health::Health;
use emet_telemetry::metrics::list::{COMPILATIONS, COMPILE_SECONDS, COMPILING};
use emet_worker_executor::{Executor, Stores};
use emet_worker_service::{AppState, Auth, Limits, router};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Shown below the help of the command.
pub(crate) const EXAMPLES: &str = "Examples:
  emet server                                  listen on 127.0.0.1:9881, keep data in .emet
  emet server --data-dir /var/lib/emet --listen 0.0.0.0:9881
  emet server --config emet.toml               options from a file (emet config schema)
  RUST_LOG=debug emet server                   log more";

/// Options of the server.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory of everything that is kept; made if it is missing.
    #[arg(long, env = "EMET_DATA_DIR", default_value = ".emet")]
    data_dir: PathBuf,
    /// Address of the REST API.
    #[arg(long, env = "EMET_LISTEN", default_value = "127.0.0.1:9881")]
    listen: SocketAddr,
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    drain: DrainArgs,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    telemetry: emet_telemetry::Options,
}

/// Runs the server until it is told to stop.
pub(crate) fn run(args: &Args) -> Result<()> {
    process::run("server", &args.telemetry, serve(args))
}

async fn serve(args: &Args) -> Result<()> {
    let data = &args.data_dir;
    std::fs::create_dir_all(data)
        .with_context(|| format!("cannot make the data directory {}", data.display()))?;
    let listener = tokio::net::TcpListener::bind(args.listen).await.with_context(|| {
        format!("cannot listen on {}; choose another address with --listen", args.listen)
    })?;
    let store = Embedded::open(data.join("store"))
        .map_err(|e| anyhow::anyhow!("cannot open the store: {e}"))?;
    let blobs = FsBlob::open(data.join("blobs")).context("cannot open the object store")?;
    let address = listener.local_addr()?;
    let health = Health::default();
    let stores =
        Stores { log: store.log(), kv: store.kv(), blobs: Arc::new(blobs) }.measured(&health);
    let auth = args.access.auth(address, stores.kv.clone())?;
    let executor = start(args, stores, auth, health).await?;
    args.access.serve_metrics(executor.state.metrics.clone()).await?;
    tracing::info!(
        "emet {} is ready: http://{address} (API), http://{address}/docs (documentation)",
        Release::current()
    );
    let stopping = args.drain.stopping();
    let served = tokio::spawn(serving::http(listener, router(executor.state), stopping.clone()));
    process::stop_signal().await;
    tracing::info!("stopping");
    stopping.stop();
    let served = served.await?;
    executor.executor.shutdown().await;
    served
}

struct Running {
    executor: Arc<Executor>,
    state: AppState,
}

async fn start(args: &Args, stores: Stores, auth: Auth, health: Health) -> Result<Running> {
    let (components, mut uploads) = ComponentService::new(stores.kv.clone(), stores.blobs.clone());
    let work_dir = args.data_dir.join("work");
    let new = args.node.build(&work_dir, &stores, components.clone(), NetworkPolicy::open())?;
    let executor = Executor::start(new.node, stores, new.cache, args.node.executor_options());
    let compiler = executor.clone();
    tokio::spawn(async move {
        while let Some(id) = uploads.recv().await {
            compile(&compiler, id).await;
        }
    });
    let shown = executor.clone();
    let metrics = move || {
        shown.observe();
        emet_telemetry::metrics::render()
    };
    let state = AppState {
        components,
        workers: executor.clone(),
        readiness: Arc::new(move || health.troubles()),
        metrics: Arc::new(metrics),
        auth,
        version: Release::current().to_string(),
        limits: Limits::default(),
    };
    Ok(Running { executor, state })
}

/// Prepares a component version after its upload, so that its first worker need not wait.
async fn compile(executor: &Executor, id: VersionedComponentId) {
    let (_compiling, started) = (COMPILING.hold(), Instant::now());
    let outcome = match executor.prepare(id).await {
        Ok(()) => {
            tracing::info!(component = %id, elapsed = ?started.elapsed(), "compiled");
            "done"
        }
        Err(error) => {
            tracing::warn!(component = %id, %error, "the component cannot be run");
            "failed"
        }
    };
    COMPILATIONS.with([outcome]).inc();
    COMPILE_SECONDS.record(started.elapsed());
}
