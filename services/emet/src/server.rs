//! `emet server`: every role in one process, on embedded stores.

use anyhow::{Context, Result};
use emet_component_service::ComponentService;
use emet_runtime::checkpoint::CheckpointMode;
use emet_runtime::network::{Network, NetworkPolicy};
use emet_runtime::{ComponentCache, HttpClient, MemoryBudget, Node, Promises, engine};
use emet_storage::{Embedded, FsBlob};
use emet_worker_executor::{Executor, ExecutorOptions, Stores};
use emet_worker_service::{AppState, Limits, router};
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tracing_subscriber::EnvFilter;

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
    /// Workers in memory at the same time.
    #[arg(long, env = "EMET_MAX_LOADED", default_value_t = 1000)]
    max_loaded: u32,
    /// Linear memory of all loaded workers together, in MiB [default: 60 % of the machine's].
    #[arg(long, env = "EMET_MEMORY_MIB")]
    memory_mib: Option<u64>,
    /// Waiting for a time that is further away than this gives a worker's memory up, in seconds.
    #[arg(long, env = "EMET_SUSPEND_AFTER", default_value_t = 10.0)]
    suspend_after: f64,
    /// When checkpoints are taken: off, on, or always (after every invocation, for tests).
    #[arg(long, env = "EMET_CHECKPOINTS", default_value = "on")]
    checkpoints: CheckpointMode,
    /// Networks that guests may not reach, such as 10.0.0.0/8; repeatable.
    #[arg(long, env = "EMET_NETWORK_DENY", value_delimiter = ',')]
    network_deny: Vec<Network>,
    /// Networks that guests may reach although a wider one is denied; repeatable.
    #[arg(long, env = "EMET_NETWORK_ALLOW", value_delimiter = ',')]
    network_allow: Vec<Network>,
}

/// Runs the server until it is told to stop.
pub(crate) fn run(args: &Args) -> Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(serve(args))
}

async fn serve(args: &Args) -> Result<()> {
    let data = &args.data_dir;
    std::fs::create_dir_all(data).with_context(|| format!("cannot make the data directory {}", data.display()))?;
    let listener = tokio::net::TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}; choose another address with --listen", args.listen))?;
    let store = Embedded::open(&data.join("store")).map_err(|e| anyhow::anyhow!("cannot open the store: {e}"))?;
    let blobs = FsBlob::open(data.join("blobs")).context("cannot open the object store")?;
    let stores = Stores { log: store.log(), kv: store.kv(), blobs: Arc::new(blobs) };
    let executor = start(args, stores).await?;
    let address = listener.local_addr()?;
    tracing::info!("emet {} is ready: http://{address} (API), http://{address}/docs (documentation)", env!("CARGO_PKG_VERSION"));
    let app = router(executor.state);
    axum::serve(listener, app).with_graceful_shutdown(stop_signal()).await?;
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
    let engine = engine::engine(engine::EngineLimits { instances: args.max_loaded.saturating_add(16) })
        .map_err(|e| anyhow::anyhow!("cannot make the engine: {e:#}"))?;
    let cache = ComponentCache::new(engine, stores.blobs.clone(), components.clone())
        .map_err(|e| anyhow::anyhow!("cannot make the linker: {e:#}"))?;
    let cache = if args.checkpoints == CheckpointMode::Off { cache.without_checkpoints() } else { cache };
    let work_dir = args.data_dir.join("work");
    // What an earlier process left behind is of no use: workers rebuild their directories.
    drop(std::fs::remove_dir_all(&work_dir));
    std::fs::create_dir_all(&work_dir).context("cannot make the directory of the workers' files")?;
    let network = NetworkPolicy { allow: args.network_allow.clone(), deny: args.network_deny.clone() };
    let node = Arc::new(Node {
        kv: stores.kv.clone(),
        blobs: stores.blobs.clone(),
        promises: Promises::new(stores.kv.clone()),
        components: components.clone(),
        workers: OnceLock::new(),
        memory: MemoryBudget::new(args.memory_mib.map_or_else(default_memory, |mib| mib << 20)),
        suspend_after: Duration::try_from_secs_f64(args.suspend_after).context("--suspend-after is not a duration")?,
        http: HttpClient::new(network.clone()),
        network,
        retry_policy: emet_model::RetryPolicy::default(),
        work_dir,
    });
    let options = ExecutorOptions {
        max_loaded: args.max_loaded as usize,
        checkpoints: args.checkpoints,
        ..ExecutorOptions::default()
    };
    let executor = Executor::start(node.clone(), stores, cache, options);
    let compiling = Arc::new(Mutex::new(0usize));
    let (compiler, counter) = (executor.clone(), compiling.clone());
    tokio::spawn(async move {
        while let Some(id) = uploads.recv().await {
            *counter.lock() += 1;
            let started = std::time::Instant::now();
            match compiler.prepare(id).await {
                Ok(()) => tracing::info!(component = %id, elapsed = ?started.elapsed(), "compiled"),
                Err(error) => tracing::warn!(component = %id, %error, "the component cannot be run"),
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
    let (actors, loaded) = executor.counts();
    let gauges = [
        ("emet_workers_active", "Workers with an actor", actors as u64),
        ("emet_workers_loaded", "Workers in memory", loaded as u64),
        ("emet_memory_used_bytes", "Linear memory of loaded workers", memory.used()),
        ("emet_memory_limit_bytes", "Linear memory that workers may use together", memory.limit()),
        ("emet_compiling", "Component versions being compiled", compiling as u64),
    ];
    gauges.iter().map(|(name, help, value)| format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n")).collect()
}

/// A share of the machine's memory; where it cannot be told, of a small machine's.
fn default_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    total.unwrap_or(2 << 20).saturating_mul(1024) / 10 * 6
}

async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupted = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminated) => {
            tokio::select! {
                _ = interrupted => {}
                _ = terminated.recv() => {}
            }
        }
        Err(_) => drop(interrupted.await),
    }
}
