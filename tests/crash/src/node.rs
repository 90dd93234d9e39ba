//! A node in this process: component service and executor over given stores.

use crate::Failure;
use crate::crashing::{CrashingLog, Moment};
use emet_api::{
    Components, Invocation, InvokeParameters, NewComponent, OplogPosition, Target, Workers,
};
use emet_component_service::ComponentService;
use emet_model::{ComponentId, IdempotencyKey, RetryPolicy, WorkerError, WorkerId};
use emet_runtime::checkpoint::CheckpointMode;
use emet_runtime::engine::{self, EngineLimits};
use emet_runtime::network::{GuestNetwork, NetworkPolicy};
use emet_runtime::{ComponentCache, MemoryBudget, Node as Services, Promises};
use emet_storage::memory::{MemoryBlob, MemoryKv, MemoryLog};
use emet_storage::{BlobStore, Embedded, KvStore, LogStore};
use emet_worker_executor::{Executor, ExecutorOptions, Retention, Stores};
use serde_json::Value;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use wasmtime::Engine;

/// Compiling is the dearest part of a test, so all nodes of a process share one engine.
static ENGINE: OnceLock<Engine> = OnceLock::new();

/// The mode of checkpoints that the tests run in: what a node does is the same in all of them.
fn checkpoint_mode() -> Result<CheckpointMode, Failure> {
    match std::env::var("EMET_CHECKPOINTS") {
        Ok(mode) => Ok(mode.parse::<CheckpointMode>()?),
        Err(_) => Ok(CheckpointMode::default()),
    }
}

fn shared_engine() -> Result<Engine, Failure> {
    if let Some(engine) = ENGINE.get() {
        return Ok(engine.clone());
    }
    let made = engine::engine(EngineLimits { instances: 64 }).map_err(|e| format!("{e:#}"))?;
    Ok(ENGINE.get_or_init(|| made).clone())
}

/// What outlives a node.
#[derive(Clone)]
pub struct Disk {
    log: Arc<dyn LogStore>,
    kv: Arc<dyn KvStore>,
    blobs: Arc<dyn BlobStore>,
    work: Arc<tempfile::TempDir>,
}

/// Which store a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Maps in memory.
    Memory,
    /// The embedded database.
    Embedded,
}

impl Disk {
    /// Empty stores.
    pub fn new(backend: Backend) -> Result<Self, Failure> {
        let work = Arc::new(tempfile::tempdir()?);
        let blobs: Arc<dyn BlobStore> = Arc::new(MemoryBlob::new());
        let (log, kv): (Arc<dyn LogStore>, Arc<dyn KvStore>) = match backend {
            Backend::Memory => (Arc::new(MemoryLog::new()), Arc::new(MemoryKv::new())),
            Backend::Embedded => {
                let store = Embedded::open(work.path().join("store")).map_err(|e| e.to_string())?;
                (store.log(), store.kv())
            }
        };
        Ok(Self { log, kv, blobs, work })
    }

    /// Empty stores that share the objects of this one, and with them what was compiled. Workers
    /// of different disks belong to different components, so nothing else is shared.
    pub fn fresh(&self, backend: Backend) -> Result<Self, Failure> {
        Ok(Self { blobs: self.blobs.clone(), ..Self::new(backend)? })
    }

    /// The same keys and objects with another log.
    pub fn with_log(&self, log: Arc<dyn LogStore>) -> Self {
        Self { log, ..self.clone() }
    }

    /// The same log with other keys and objects.
    pub fn with_keys_and_objects(&self, kv: Arc<dyn KvStore>, blobs: Arc<dyn BlobStore>) -> Self {
        Self { kv, blobs, ..self.clone() }
    }

    /// The stores of keys and objects.
    pub fn keys_and_objects(&self) -> (Arc<dyn KvStore>, Arc<dyn BlobStore>) {
        (self.kv.clone(), self.blobs.clone())
    }

    /// The log store.
    pub fn log(&self) -> &Arc<dyn LogStore> {
        &self.log
    }
}

/// Room in memory, and patience.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Workers in memory at the same time.
    pub max_loaded: usize,
    /// A worker that waits for longer gives its instance up.
    pub suspend_after: Duration,
    /// Entries after which older ones are dropped, of all workers; none are if not set.
    pub drop_history_after: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_loaded: 32, suspend_after: Duration::from_secs(1), drop_history_after: None }
    }
}

/// A running node.
pub struct Node {
    log: Arc<CrashingLog>,
    executor: Arc<Executor>,
    components: Arc<ComponentService>,
}

impl Node {
    /// Starts a node on the stores, to die at an append, or never.
    pub fn start(
        disk: &Disk,
        limits: Limits,
        crash: Option<(u64, Moment)>,
    ) -> Result<Self, Failure> {
        Self::start_with(disk, limits, crash, checkpoint_mode()?)
    }

    /// As [`Self::start`], with checkpoints in a mode of its own.
    pub fn start_with(
        disk: &Disk,
        limits: Limits,
        crash: Option<(u64, Moment)>,
        checkpoints: CheckpointMode,
    ) -> Result<Self, Failure> {
        let log = CrashingLog::new(disk.log.clone(), crash);
        let (components, _uploads) = ComponentService::new(disk.kv.clone(), disk.blobs.clone());
        let cache = ComponentCache::new(shared_engine()?, disk.blobs.clone(), components.clone())
            .map_err(|e| format!("{e:#}"))?;
        let off = checkpoints == CheckpointMode::Off;
        let cache = if off { cache.without_checkpoints() } else { cache };
        let services = Arc::new(services(disk, limits, components.clone()));
        let stores = Stores { log: log.clone(), kv: disk.kv.clone(), blobs: disk.blobs.clone() };
        let retention = limits
            .drop_history_after
            .map(|entries| Retention { components: vec!["all".to_owned()], entries });
        let options = ExecutorOptions {
            max_loaded: limits.max_loaded,
            checkpoints,
            retention: retention.unwrap_or_default(),
            ..ExecutorOptions::default()
        };
        let executor = Executor::start(services, stores, cache, options);
        Ok(Self { log, executor, components })
    }

    /// Uploads a prebuilt test component.
    pub async fn upload(&self, guest: &str) -> Result<ComponentId, Failure> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../guests/prebuilt")
            .join(format!("{guest}.wasm"));
        let wasm = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let upload = NewComponent { wasm: wasm.into(), ..NewComponent::default() };
        Ok(self
            .components
            .create(guest.to_owned(), upload)
            .await?
            .versioned_component_id
            .component_id)
    }

    /// Uploads a prebuilt test component as the next version of another one.
    pub async fn update(&self, id: ComponentId, guest: &str) -> Result<u64, Failure> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../guests/prebuilt")
            .join(format!("{guest}.wasm"));
        let upload = NewComponent { wasm: std::fs::read(path)?.into(), ..NewComponent::default() };
        Ok(self.components.update(id, upload).await?.versioned_component_id.version)
    }

    /// Ends the node; what it has in memory is gone.
    pub async fn end(self) {
        self.executor.shutdown().await;
    }

    /// The workers of the node.
    pub fn workers(&self) -> &Executor {
        &self.executor
    }

    /// The store it dies with.
    pub fn log(&self) -> &Arc<CrashingLog> {
        &self.log
    }

    /// The answer to a request; none: the node died before it answered. An error that a dead node
    /// gives is none that its client sees.
    pub async fn alive<T>(
        &self,
        request: impl Future<Output = Result<T, WorkerError>>,
    ) -> Option<Result<T, WorkerError>> {
        let answer = tokio::select! {
            biased;
            answer = request => answer,
            () = self.log.died() => return None,
        };
        if answer.is_err() && self.log.is_dead() { None } else { Some(answer) }
    }

    /// Invokes with a key; the plain JSON of the result. None: the node died before it answered.
    pub async fn call(
        &self,
        worker: &WorkerId,
        function: &str,
        parameters: &[Value],
        key: &str,
    ) -> Option<Result<Value, WorkerError>> {
        let answer = self
            .alive(
                self.executor
                    .invoke_and_await(target(worker), invocation(function, parameters, key)),
            )
            .await?;
        Some(answer.map(|typed| {
            let json = serde_json::to_value(&typed).unwrap_or_default();
            json.pointer("/value/0").cloned().unwrap_or(Value::Null)
        }))
    }

    /// Adds a number to a counter, with a key that is the number's; the sum.
    pub async fn add(&self, worker: &WorkerId, n: u64) -> Result<u64, Failure> {
        let answer = self
            .call(worker, "test:counter/api.{add}", &[n.into()], &format!("key-{n}"))
            .await
            .ok_or("the node died")??;
        answer.as_u64().ok_or_else(|| format!("{answer} is no number").into())
    }

    /// How many invocations of a worker have completed, by its oplog; none if there is no worker.
    pub async fn completed(&self, worker: &WorkerId) -> Option<Result<usize, WorkerError>> {
        const MOST: u64 = 1000;
        let query = "exportedfunctioncompleted";
        let start = OplogPosition { next_oplog_index: 1, current_component_version: 0 };
        let page = self.executor.search_oplog(worker.clone(), query, start, MOST);
        Some(match self.alive(page).await? {
            Err(WorkerError::WorkerNotFound { .. }) => Ok(0),
            page => page.map(|page| page.entries.len()),
        })
    }

    /// Invokes with a key, without waiting for the result.
    pub async fn send(
        &self,
        worker: &WorkerId,
        function: &str,
        parameters: &[Value],
        key: &str,
    ) -> Option<Result<(), WorkerError>> {
        self.alive(self.executor.invoke(target(worker), invocation(function, parameters, key)))
            .await
    }
}

fn target(worker: &WorkerId) -> Target {
    Target { component_id: worker.component_id, worker_name: Some(worker.worker_name.clone()) }
}

fn invocation(function: &str, parameters: &[Value], key: &str) -> Invocation {
    Invocation {
        function: function.to_owned(),
        parameters: InvokeParameters::Json(parameters.to_vec()),
        idempotency_key: Some(IdempotencyKey(key.to_owned())),
        key_is_new: false,
        trace: Vec::new(),
        caller: None,
    }
}

/// Quick retries, so that a test of a thousand crashes is one of seconds.
fn services(disk: &Disk, limits: Limits, components: Arc<ComponentService>) -> Services {
    Services {
        kv: disk.kv.clone(),
        blobs: disk.blobs.clone(),
        promises: Promises::new(disk.kv.clone()),
        components,
        workers: OnceLock::new(),
        stopping: Default::default(),
        waits: Arc::default(),
        memory: MemoryBudget::new(4 << 30),
        suspend_after: limits.suspend_after,
        network: GuestNetwork::new(NetworkPolicy::open()),
        retry_policy: RetryPolicy {
            min_delay: Duration::from_millis(1),
            max_delay: Duration::from_millis(5),
            ..RetryPolicy::default()
        },
        work_dir: disk.work.path().to_owned(),
    }
}
