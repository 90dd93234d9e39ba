//! `emet server`: every role in one process, on embedded stores.

use crate::node::{self, NodeArgs};
use crate::process;
use anyhow::{Context, Result};
use emet_component_service::ComponentService;
use emet_runtime::MemoryBudget;
use emet_runtime::network::NetworkPolicy;
use emet_storage::{Embedded, FsBlob};
use emet_worker_executor::{Executor, Stores};
use emet_worker_service::{AppState, Limits, router};
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Shown below the help of the command.
pub(crate) const EXAMPLES: &str = "Examples:
  emet server                                  listen on 127.0.0.1:9881, keep data in .emet
  emet server --data-dir /var/lib/emet --listen 0.0.0.0:9881
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
}

/// Runs the server until it is told to stop.
pub(crate) fn run(args: &Args) -> Result<()> {
    process::run(serve(args))
}

async fn serve(args: &Args) -> Result<()> {
    let data = &args.data_dir;
    std::fs::create_dir_all(data)
        .with_context(|| format!("cannot make the data directory {}", data.display()))?;
    let listener = tokio::net::TcpListener::bind(args.listen).await.with_context(|| {
        format!("cannot listen on {}; choose another address with --listen", args.listen)
    })?;
    let store = Embedded::open(&data.join("store"))
        .map_err(|e| anyhow::anyhow!("cannot open the store: {e}"))?;
    let blobs = FsBlob::open(data.join("blobs")).context("cannot open the object store")?;
    let stores = Stores { log: store.log(), kv: store.kv(), blobs: Arc::new(blobs) };
    let executor = start(args, stores).await?;
    let address = listener.local_addr()?;
    tracing::info!(
        "emet {} is ready: http://{address} (API), http://{address}/docs (documentation)",
        env!("CARGO_PKG_VERSION")
    );
    let app = router(executor.state);
    axum::serve(listener, app).with_graceful_shutdown(process::stop_signal()).await?;
    tracing::info!("stopping");
    executor.executor.shutdown().await;
    Ok(())
}

struct Running {
    executor: Arc<Executor>,
    state: AppState,
}

async fn start(args: &Args, stores: Stores) -> Result<Running> {
    let (components, mut uploads) = ComponentService::new(stores.kv.clone(), stores.blobs.clone());
    let node = args.node.build(
        &args.data_dir.join("work"),
        &stores,
        components.clone(),
        NetworkPolicy::open(),
    )?;
    let executor =
        Executor::start(node.node.clone(), stores, node.cache, args.node.executor_options());
    let node = node.node;
    let compiling = Arc::new(Mutex::new(0usize));
    let (compiler, counter) = (executor.clone(), compiling.clone());
    tokio::spawn(async move {
        while let Some(id) = uploads.recv().await {
            *counter.lock() += 1;
            let started = std::time::Instant::now();
            match compiler.prepare(id).await {
                Ok(()) => tracing::info!(component = %id, elapsed = ?started.elapsed(), "compiled"),
                Err(error) => {
                    tracing::warn!(component = %id, %error, "the component cannot be run")
                }
            }
            *counter.lock() -= 1;
        }
    });
    let shown = executor.clone();
    let metrics = move || metrics(&shown, &node.memory, *compiling.lock());
    let state = AppState {
        components,
        workers: executor.clone(),
        readiness: Arc::new(Vec::new),
        metrics: Arc::new(metrics),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        limits: Limits::default(),
    };
    Ok(Running { executor, state })
}

fn metrics(executor: &Executor, memory: &MemoryBudget, compiling: usize) -> String {
    let mut gauges = node::gauges(executor, memory);
    gauges.push(("emet_compiling", "Component versions being compiled", compiling as u64));
    process::exposition(&gauges)
}
