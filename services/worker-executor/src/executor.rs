//! The executor: what it is made of, and what it does with a worker through its actor.

use crate::actor::{Arrival, Command, Done, Reply, ReplyTo, SHUTDOWN};
use crate::actors::{Handle, Making, Slot};
use crate::calls;
use crate::ownership::Ownership;
use crate::retention::Retention;
use crate::timers::Timers;
use emet_api::{Awaited, Components, Invocation as ApiInvocation, Target, Workers};
use emet_engine::Cause;
use emet_model::{
    Component, ComponentId, IdempotencyKey, VersionedComponentId, WorkerError, WorkerId,
    WorkerMetadata,
};
use emet_runtime::checkpoint::{Bases, CheckpointMode, CheckpointStore, ResultsPlace};
use emet_runtime::log::{Logs, Payloads, log_failure, log_key};
use emet_runtime::{ComponentCache, Node, Promises};
use emet_shard_map::DEFAULT_SHARDS;
use emet_storage::measured::{Measured, probe};
use emet_storage::{BlobStore, KvStore, LogStore};
use emet_telemetry::health::Health;
use emet_values::TypedValue;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use uuid::Uuid;

/// Where workers keep their data.
#[derive(Clone)]
pub struct Stores {
    /// Oplogs.
    pub log: Arc<dyn LogStore>,
    /// Keys: promises, timers, key-value data.
    pub kv: Arc<dyn KvStore>,
    /// Objects: payloads, files, artefacts.
    pub blobs: Arc<dyn BlobStore>,
}

impl Stores {
    /// The same stores, measured and probed: what is wrong with them is told to `health`.
    pub fn measured(self, health: &Health) -> Self {
        let stores = Self {
            log: Measured::new(self.log, health, "log"),
            kv: Measured::new(self.kv, health, "kv"),
            blobs: Measured::new(self.blobs, health, "blob"),
        };
        probe(health, stores.log.clone(), stores.kv.clone(), stores.blobs.clone());
        stores
    }
}

/// Limits of an executor.
#[derive(Clone, Debug)]
pub struct ExecutorOptions {
    /// Workers in memory at the same time.
    pub max_loaded: usize,
    /// Unfinished workers loaded at the same time after a start.
    pub recovery_parallelism: usize,
    /// When checkpoints are taken.
    pub checkpoints: CheckpointMode,
    /// How often a worker is compared with a replay of its history.
    pub verify_every: Option<Duration>,
    /// Which workers' old entries are dropped.
    pub retention: Retention,
}

impl Default for ExecutorOptions {
    fn default() -> Self {
        Self {
            max_loaded: 4096,
            recovery_parallelism: 16,
            checkpoints: CheckpointMode::default(),
            verify_every: None,
            retention: Retention::default(),
        }
    }
}

/// The executor. Clones share it.
#[derive(Clone)]
pub struct Executor {
    pub(crate) shared: Arc<Shared>,
    /// What goes on without being asked; it ends with the executor.
    _background: Arc<JoinSet<()>>,
}

/// What actors and requests share.
pub(crate) struct Shared {
    pub(crate) node: Arc<Node>,
    pub(crate) log: Arc<dyn LogStore>,
    pub(crate) logs: Logs,
    pub(crate) cache: ComponentCache,
    pub(crate) checkpoints: CheckpointStore,
    pub(crate) mode: CheckpointMode,
    pub(crate) retention: Retention,
    components: Arc<dyn Components>,
    known: Mutex<HashMap<VersionedComponentId, Arc<Component>>>,
    pub(crate) actors: Mutex<HashMap<WorkerId, Slot>>,
    pub(crate) timers: Timers,
    pub(crate) ownership: Arc<Ownership>,
    pub(crate) recovery_parallelism: usize,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) max_loaded: usize,
    pub(crate) ticks: AtomicU64,
    pub(crate) this: Weak<Shared>,
}

impl Executor {
    /// Makes the executor of a single node, which runs all workers, and lets unfinished ones go on.
    pub fn start(
        node: Arc<Node>,
        stores: Stores,
        cache: ComponentCache,
        options: ExecutorOptions,
    ) -> Arc<Self> {
        let ownership = Arc::new(Ownership::all(DEFAULT_SHARDS));
        Self::start_owning(node, stores, cache, ownership, options)
    }

    /// Makes an executor that runs the workers of some shards, and lets unfinished ones go on.
    pub fn start_owning(
        node: Arc<Node>,
        stores: Stores,
        cache: ComponentCache,
        ownership: Arc<Ownership>,
        options: ExecutorOptions,
    ) -> Arc<Self> {
        let bases = Bases::new(stores.blobs.clone(), stores.log.clone());
        let shared = Arc::new_cyclic(|this| Shared {
            components: node.components.clone(),
            timers: Timers::new(stores.kv.clone()),
            checkpoints: CheckpointStore::new(stores.blobs, stores.kv, stores.log.clone()),
            mode: options.checkpoints,
            retention: options.retention,
            logs: Logs::new(stores.log.clone(), bases),
            log: stores.log,
            cache,
            known: Mutex::new(HashMap::new()),
            actors: Mutex::new(HashMap::new()),
            places: Arc::new(Semaphore::new(options.max_loaded)),
            max_loaded: options.max_loaded,
            ticks: AtomicU64::new(0),
            ownership: ownership.clone(),
            recovery_parallelism: options.recovery_parallelism,
            this: this.clone(),
            node: node.clone(),
        });
        let mut background = JoinSet::new();
        background.spawn(Shared::run_timers(Arc::downgrade(&shared)));
        background.spawn(Shared::make_room(Arc::downgrade(&shared)));
        if let Some(every) = options.verify_every {
            background.spawn(Shared::verify_some(Arc::downgrade(&shared), every));
        }
        let executor = Arc::new(Self { shared, _background: Arc::new(background) });
        let workers: Arc<dyn Workers> = executor.clone();
        // The node outlives no executor: it holds it weakly. In a cluster it was given a way to
        // all workers before, and keeps that.
        drop(node.workers.set(Arc::downgrade(&workers)));
        executor.begin(&ownership.held());
        executor
    }

    /// Stops all workers; what they did is durable when this returns.
    pub async fn shutdown(&self) {
        self.shared.node.stopping.store(true, Ordering::SeqCst);
        let stopped = self.handles().into_iter().map(|handle| async move {
            let (done, stopped) = oneshot::channel();
            if handle.send(Command::Shutdown(done)) {
                drop(tokio::time::timeout(SHUTDOWN, stopped).await);
            }
        });
        futures::future::join_all(stopped).await;
    }

    /// The actors that there are now.
    pub(crate) fn handles(&self) -> Vec<Handle> {
        self.shared.actors.lock().values().filter_map(|slot| slot.get().cloned()).collect()
    }

    /// Compiles an uploaded component version, so that its first worker need not wait.
    pub async fn prepare(&self, id: VersionedComponentId) -> Result<(), WorkerError> {
        self.shared.cache.get(id).await.map(drop)
    }
}

impl Shared {
    /// Metadata of a component version; versions never change.
    pub(crate) async fn component(
        &self,
        id: VersionedComponentId,
    ) -> Result<Arc<Component>, WorkerError> {
        if let Some(component) = self.known.lock().get(&id) {
            return Ok(component.clone());
        }
        let found = self.components.get(id.component_id, Some(id.version)).await;
        let failed = |e: emet_api::ComponentError| WorkerError::ComponentDownloadFailed {
            component_id: id,
            reason: e.to_string(),
        };
        let component = Arc::new(found.map_err(failed)?);
        self.known.lock().insert(id, component.clone());
        Ok(component)
    }

    pub(crate) async fn latest(&self, component_id: ComponentId) -> Result<Component, WorkerError> {
        self.components.get(component_id, None).await.map_err(|e| {
            let reason = match e {
                emet_api::ComponentError::NotFound(_) => {
                    "Could not find any component with the given id".to_owned()
                }
                // Whether there is such a component is unknown.
                emet_api::ComponentError::Internal(details) => {
                    return WorkerError::Unavailable { details };
                }
                other => other.to_string(),
            };
            WorkerError::GetLatestVersionOfComponentFailed { component_id, reason }
        })
    }

    pub(crate) fn live_metadata(&self, worker: &WorkerId) -> Option<WorkerMetadata> {
        let handle = self.actors.lock().get(worker)?.get()?.clone();
        Some(handle.metadata())
    }

    /// As [`Self::live_metadata`], but what it tells is durable (law L1): a crash does not take a
    /// status back that somebody has seen. None also where that cannot be had; the log tells then.
    pub(crate) async fn durable_metadata(&self, worker: &WorkerId) -> Option<WorkerMetadata> {
        let handle = self.actors.lock().get(worker)?.get()?.clone();
        let metadata = handle.metadata();
        let durable = handle.writer.is_durable() || handle.writer.commit().await.is_ok();
        durable.then_some(metadata)
    }

    /// Removes everything that belongs to a worker.
    pub(crate) async fn delete_stored(&self, worker: &WorkerId) -> Result<(), WorkerError> {
        let epoch = self.ownership.epoch(worker)?;
        self.checkpoints.delete(worker).await?;
        self.log.delete(&log_key(worker), epoch).await.map_err(|e| log_failure(&e))?;
        // What the log relies on goes after it: its base, and results that were kept apart.
        self.logs.bases().delete(worker).await?;
        self.checkpoints.delete_results(worker).await?;
        let prefix = Payloads::new(self.node.blobs.clone(), worker).prefix().to_owned();
        self.node
            .blobs
            .delete_prefix(&prefix)
            .await
            .map_err(|e| WorkerError::unknown(e.to_string()))?;
        self.timers.remove_of(self.ownership.shard(worker), worker).await?;
        self.node.promises.delete_all(worker).await
    }

    /// Lets a worker look whether what it waits for has come; it may be another executor's.
    pub(crate) async fn wake(&self, worker: &WorkerId) -> Result<(), WorkerError> {
        if self.ownership.epoch(worker).is_ok() {
            return self.ask(worker, || None, |reply| Command::Wake(Cause::Promise, reply)).await;
        }
        let workers = self.node.workers().map_err(|e| WorkerError::unknown(format!("{e:#}")))?;
        match workers.resume(worker.clone()).await {
            // It does not wait any more.
            Err(
                WorkerError::InvalidRequest { .. }
                | WorkerError::PreviousInvocationFailed { .. }
                | WorkerError::PreviousInvocationExited,
            ) => Ok(()),
            other => other,
        }
    }

    /// Lets a worker go on because a call that it waited for has ended. Where that fails for now, a
    /// durable timer does it.
    pub(crate) async fn wake_caller(&self, worker: &WorkerId) {
        let woken = self.ask(worker, || None, |reply| Command::Wake(Cause::Call, reply)).await;
        let Err(error) = woken else { return };
        // Whoever took the shard over lets it go on, and one that was deleted has nowhere to go.
        let elsewhere =
            self.ownership.epoch(worker).is_err() || self.node.stopping.load(Ordering::SeqCst);
        if elsewhere || matches!(error, WorkerError::WorkerNotFound { .. }) {
            return;
        }
        if let Err(error) = self.schedule_wake(worker, emet_runtime::log::now()).await {
            tracing::error!(%worker, %error, "a worker whose call has ended cannot be woken; it goes on after a restart");
        }
    }

    /// The calls that a worker waits for, unless it has answered the call with this key.
    pub(crate) async fn awaited(
        &self,
        worker: &WorkerId,
        key: &IdempotencyKey,
    ) -> Result<Vec<Awaited>, WorkerError> {
        self.ownership.epoch(worker)?;
        let handle = self.actors.lock().get(worker).and_then(|slot| slot.get()).cloned();
        let Some(handle) = handle else { return Ok(Vec::new()) };
        let awaited = self.node.waits.of(worker);
        if awaited.is_empty() {
            return Ok(awaited);
        }
        // What it had answered before it began to wait tells nothing about the call.
        let (known, place) =
            handle.writer.with_state(|s| (s.results.contains_key(key), ResultsPlace::from(s)));
        let answered = known || self.checkpoints.result(worker, &place, key).await?.is_some();
        Ok(if answered { Vec::new() } else { awaited })
    }

    pub(crate) fn promises(&self) -> &Promises {
        &self.node.promises
    }
}

impl Executor {
    pub(crate) fn worker(target: &Target) -> WorkerId {
        let name = target.worker_name.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
        WorkerId::new(target.component_id, name)
    }

    pub(crate) async fn arrive<T>(
        &self,
        target: &Target,
        invocation: ApiInvocation,
        reply_to: impl FnOnce(Reply<T>) -> ReplyTo,
    ) -> Result<(T, WorkerId), WorkerError> {
        let worker = Self::worker(target);
        let key_is_new = invocation.key_is_new || invocation.idempotency_key.is_none();
        let key = invocation.idempotency_key.unwrap_or_else(IdempotencyKey::random);
        let caller = invocation.caller;
        let (function, parameters, trace) =
            (invocation.function, invocation.parameters, invocation.trace);
        let making = Making::by(caller.as_ref());
        let arrival = |reply| {
            Command::Invoke(Arrival {
                key,
                key_is_new,
                function,
                parameters,
                trace,
                caller,
                reply: reply_to(reply),
            })
        };
        let answer = self.shared.ask(&worker, || Some(making.clone()), arrival).await?;
        Ok((answer, worker))
    }

    /// A result with its type, by the version that gave it.
    pub(crate) async fn typed(
        &self,
        worker: &WorkerId,
        done: Done,
    ) -> Result<TypedValue, WorkerError> {
        let id = VersionedComponentId { component_id: worker.component_id, version: done.version };
        let component = self.shared.component(id).await?;
        let typ = calls::resolve(&component, &done.function)?.typ.result_type();
        Ok(TypedValue { typ, value: done.value })
    }
}
