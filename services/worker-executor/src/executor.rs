//! The executor: finds or makes the actor of a worker, and hands requests to it.

use crate::actor::{Actor, Arrival, Command, Done, Reply, ReplyTo, SHUTDOWN, Visible};
use crate::checkpoints::Checkpoints;
use crate::ownership::Ownership;
use crate::timers::Timers;
use crate::{calls, metadata};
use emet_api::{Awaited, Caller, Components, Invocation as ApiInvocation, Target, Workers};
use emet_engine::Cause;
use emet_model::{
    Component, ComponentId, IdempotencyKey, VersionedComponentId, WorkerError, WorkerId,
    WorkerMetadata, WorkerStatus,
};
use emet_oplog::{Create, EntryKind, WorkerState};
use emet_runtime::checkpoint::{CheckpointMode, CheckpointStore, ResultsPlace};
use emet_runtime::log::{OplogWriter, Payloads, log_failure, log_key, read_state_at};
use emet_runtime::{ComponentCache, Node, Promises};
use emet_shard_map::{DEFAULT_SHARDS, Epoch};
use emet_storage::measured::{Measured, probe};
use emet_storage::{BlobStore, KvStore, LogStore};
use emet_telemetry::health::Health;
use emet_values::TypedValue;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore, mpsc, oneshot};
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
#[derive(Clone, Copy, Debug)]
pub struct ExecutorOptions {
    /// Workers in memory at the same time.
    pub max_loaded: usize,
    /// Unfinished workers loaded at the same time after a start.
    pub recovery_parallelism: usize,
    /// When checkpoints are taken.
    pub checkpoints: CheckpointMode,
    /// How often a worker is compared with a replay of its history.
    pub verify_every: Option<Duration>,
}

impl Default for ExecutorOptions {
    fn default() -> Self {
        Self {
            max_loaded: 4096,
            recovery_parallelism: 16,
            checkpoints: CheckpointMode::default(),
            verify_every: None,
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
    pub(crate) cache: ComponentCache,
    pub(crate) checkpoints: CheckpointStore,
    mode: CheckpointMode,
    components: Arc<dyn Components>,
    known: Mutex<HashMap<VersionedComponentId, Arc<Component>>>,
    pub(crate) actors: Mutex<HashMap<WorkerId, Slot>>,
    pub(crate) timers: Timers,
    pub(crate) ownership: Arc<Ownership>,
    pub(crate) recovery_parallelism: usize,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) max_loaded: usize,
    pub(crate) ticks: AtomicU64,
    this: Weak<Shared>,
}

pub(crate) type Slot = Arc<OnceCell<Handle>>;

/// The way to an actor.
#[derive(Clone)]
pub(crate) struct Handle {
    sender: mpsc::UnboundedSender<Command>,
    pub(crate) writer: Arc<OplogWriter>,
    pub(crate) visible: Arc<Visible>,
    /// When it was used last, in ticks of the executor.
    pub(crate) used: Arc<AtomicU64>,
}

/// How long a recovery waits for one worker before it turns to the next.
const SETTLE_STEPS: u32 = 400;
const SETTLE_STEP: Duration = Duration::from_millis(5);

/// What a missing worker is made with.
#[derive(Clone, Default)]
pub(crate) struct Making {
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) parent: Option<WorkerId>,
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
        let shared = Arc::new_cyclic(|this| Shared {
            components: node.components.clone(),
            timers: Timers::new(stores.kv.clone()),
            checkpoints: CheckpointStore::new(stores.blobs, stores.kv, stores.log.clone()),
            mode: options.checkpoints,
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
            if handle.sender.send(Command::Shutdown(done)).is_ok() {
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

pub(crate) fn gone() -> WorkerError {
    WorkerError::unknown(
        "the worker stopped before it answered; try again with the same idempotency key",
    )
}

impl Handle {
    /// Sends a command; false: the actor has ended.
    pub(crate) fn send(&self, command: Command) -> bool {
        self.sender.send(command).is_ok()
    }

    /// The worker.
    pub(crate) fn worker(&self) -> &WorkerId {
        &self.writer.worker
    }

    /// Waits until the worker is in memory, has turned out not to need it, or has had its time:
    /// this only spreads the work of a recovery.
    pub(crate) async fn settled(&self) {
        for _ in 0..SETTLE_STEPS {
            if self.sender.is_closed() || self.visible.loaded.load(Ordering::SeqCst) {
                return;
            }
            tokio::time::sleep(SETTLE_STEP).await;
        }
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

    async fn latest(&self, component_id: ComponentId) -> Result<Component, WorkerError> {
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

    /// Removes an actor that has ended.
    pub(crate) fn forget(&self, writer: &Arc<OplogWriter>) {
        let mut actors = self.actors.lock();
        let mine = actors
            .get(&writer.worker)
            .and_then(|s| s.get())
            .is_some_and(|h| Arc::ptr_eq(&h.writer, writer));
        if mine {
            actors.remove(&writer.worker);
        }
    }

    /// Removes an actor, if nobody has asked it anything.
    pub(crate) fn forget_if_empty(
        &self,
        writer: &Arc<OplogWriter>,
        mailbox: &mpsc::UnboundedReceiver<Command>,
    ) -> bool {
        let mut actors = self.actors.lock();
        let empty = mailbox.is_empty();
        let mine = actors
            .get(&writer.worker)
            .and_then(|s| s.get())
            .is_some_and(|h| Arc::ptr_eq(&h.writer, writer));
        if empty && mine {
            actors.remove(&writer.worker);
        }
        empty
    }

    /// Forgets the actors of some workers.
    pub(crate) fn take_actors(&self, which: impl Fn(&WorkerId) -> bool) -> Vec<Handle> {
        let taken: Vec<_> = self.actors.lock().extract_if(|worker, _| which(worker)).collect();
        taken.into_iter().filter_map(|(_, slot)| slot.get().cloned()).collect()
    }

    /// Why a worker's actor did not answer.
    fn no_answer(&self, worker: &WorkerId) -> WorkerError {
        self.ownership.epoch(worker).err().unwrap_or_else(gone)
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

    fn arc(&self) -> Result<Arc<Self>, WorkerError> {
        self.this.upgrade().ok_or_else(gone)
    }

    /// The actor of an existing worker.
    pub(crate) async fn find(&self, worker: &WorkerId) -> Result<Handle, WorkerError> {
        self.open(worker, None)
            .await?
            .ok_or_else(|| WorkerError::WorkerNotFound { worker_id: worker.clone() })
    }

    /// The actor of a worker, which is made if it is missing and `making` says how.
    async fn open(
        &self,
        worker: &WorkerId,
        making: Option<Making>,
    ) -> Result<Option<Handle>, WorkerError> {
        let epoch = self.ownership.epoch(worker)?;
        let slot = self.actors.lock().entry(worker.clone()).or_default().clone();
        let opened = slot.get_or_try_init(|| self.make(worker, epoch, making)).await;
        match opened {
            // The shard was let go while the actor was made, and nobody has seen it yet; or the node
            // stops, and nobody waits for an actor that is made late.
            Ok(handle)
                if !self.ownership.is_under(worker, epoch)
                    || self.node.stopping.load(Ordering::SeqCst) =>
            {
                let (done, _) = oneshot::channel();
                handle.send(Command::Shutdown(done));
                Err(self.no_answer(worker))
            }
            Ok(handle) => {
                handle.used.store(self.ticks.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
                Ok(Some(handle.clone()))
            }
            Err(error) => {
                let mut actors = self.actors.lock();
                if actors.get(worker).is_some_and(|s| s.get().is_none() && Arc::ptr_eq(s, &slot)) {
                    actors.remove(worker);
                }
                match error {
                    WorkerError::WorkerNotFound { .. } => Ok(None),
                    other => Err(other),
                }
            }
        }
    }

    async fn make(
        &self,
        worker: &WorkerId,
        epoch: Epoch,
        making: Option<Making>,
    ) -> Result<Handle, WorkerError> {
        // Earlier owners were fenced off when the shard was taken, so what is read is all there is.
        let head = self.log.head(&log_key(worker)).await.map_err(|e| log_failure(&e))?;
        let state = match &head {
            Some(_) => read_state_at(self.log.as_ref(), worker, head.as_ref()).await?,
            None => WorkerState::default(),
        };
        let exists = head.as_ref().is_some_and(|h| h.last > 0);
        let making = match (exists, making) {
            (true, _) => None,
            (false, Some(making)) => Some(making),
            (false, None) => return Err(WorkerError::WorkerNotFound { worker_id: worker.clone() }),
        };
        let component = match &making {
            Some(_) => Some(self.latest(worker.component_id).await?),
            None => None,
        };
        let payloads = Payloads::new(self.node.blobs.clone(), worker);
        let writer = Arc::new(OplogWriter::new(
            worker.clone(),
            self.log.clone(),
            payloads,
            epoch,
            state,
            head.as_ref(),
        ));
        let fresh = making.is_some();
        if let (Some(making), Some(component)) = (making, component) {
            writer.add(EntryKind::Create(Box::new(Create {
                worker_id: worker.clone(),
                component_version: component.versioned_component_id.version,
                args: making.args,
                env: making.env,
                parent: making.parent,
                component_size: component.component_size,
                initial_memory: component.initial_memory(),
            })));
        }
        let (sender, mailbox) = mpsc::unbounded_channel();
        let visible = Arc::new(Visible::default());
        let checkpoints = Checkpoints::new(self.mode, self.checkpoints.clone());
        let actor =
            Actor::new(self.arc()?, writer.clone(), visible.clone(), mailbox, checkpoints, fresh);
        tokio::spawn(actor.run());
        Ok(Handle { sender, writer, visible, used: Arc::default() })
    }

    /// Asks the actor of a worker; one that ends at that moment is made again.
    pub(crate) async fn ask<T>(
        &self,
        worker: &WorkerId,
        making: impl Fn() -> Option<Making>,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, WorkerError> {
        let (reply, answer) = oneshot::channel();
        match self.tell(worker, making, command(reply)).await {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(self.no_answer(worker))),
            Err((error, _)) => Err(error),
        }
    }

    /// As [`Self::ask`], for what must not be repeated: where the worker moved after its actor had begun,
    /// whether it was done is unknown, and not refused.
    pub(crate) async fn ask_once<T>(
        &self,
        worker: &WorkerId,
        making: impl Fn() -> Option<Making>,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, WorkerError> {
        let (reply, answer) = oneshot::channel();
        if let Err((error, _)) = self.tell(worker, making, command(reply)).await {
            return Err(error);
        }
        answer.await.unwrap_or_else(|_| match self.no_answer(worker) {
            WorkerError::InvalidShardId { .. } | WorkerError::ShardingNotReady => {
                let details = format!("{worker} moved before it answered");
                Err(WorkerError::ConnectionLost { details })
            }
            other => Err(other),
        })
    }

    /// Hands a command to the actor of a worker; gives it back where there is none.
    async fn tell(
        &self,
        worker: &WorkerId,
        making: impl Fn() -> Option<Making>,
        mut command: Command,
    ) -> Result<(), (WorkerError, Command)> {
        loop {
            let handle = match self.open(worker, making()).await {
                Ok(Some(handle)) => handle,
                Ok(None) => {
                    return Err((
                        WorkerError::WorkerNotFound { worker_id: worker.clone() },
                        command,
                    ));
                }
                Err(error) => return Err((error, command)),
            };
            // Under the lock an actor cannot leave between being found and being asked.
            let sent = {
                let actors = self.actors.lock();
                let present = actors
                    .get(worker)
                    .and_then(|s| s.get())
                    .is_some_and(|h| Arc::ptr_eq(&h.writer, &handle.writer));
                if present {
                    handle.sender.send(command)
                } else {
                    Err(mpsc::error::SendError(command))
                }
            };
            match sent {
                Ok(()) => return Ok(()),
                Err(mpsc::error::SendError(back)) => command = back,
            }
            tokio::task::yield_now().await;
        }
    }

    /// Hands over a command that an actor was sent while it ended: it was not carried out, so the
    /// worker's next actor does it (law L10).
    pub(crate) fn again(&self, worker: &WorkerId, command: Command) {
        let Ok(this) = self.arc() else { return command.refuse(gone()) };
        let worker = worker.clone();
        // Boxed, since actors are made by what they call here.
        let told: BoxFuture<'static, ()> = Box::pin(async move {
            let making = command.making();
            if let Err((error, command)) = this.tell(&worker, || making.clone(), command).await {
                command.refuse(error);
            }
        });
        tokio::spawn(told);
    }

    /// Removes everything that belongs to a worker.
    pub(crate) async fn delete_stored(&self, worker: &WorkerId) -> Result<(), WorkerError> {
        let epoch = self.ownership.epoch(worker)?;
        self.checkpoints.delete(worker).await?;
        self.log.delete(&log_key(worker), epoch).await.map_err(|e| log_failure(&e))?;
        // Results that were kept apart go after the log, which relies on them.
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

impl Making {
    pub(crate) fn plain() -> Self {
        Self::default()
    }

    pub(crate) fn by(caller: Option<&Caller>) -> Self {
        match caller {
            None => Self::plain(),
            Some(c) => {
                Self { args: c.args.clone(), env: c.env.clone(), parent: Some(c.worker_id.clone()) }
            }
        }
    }
}

impl Handle {
    /// The log's view, with what it cannot show yet: a job that runs.
    fn metadata(&self) -> WorkerMetadata {
        let busy = self.visible.busy.load(Ordering::SeqCst);
        let mut metadata = self.writer.with_state(|s| metadata::metadata(&self.writer.worker, s));
        if busy
            && matches!(
                metadata.status,
                WorkerStatus::Suspended | WorkerStatus::Interrupted | WorkerStatus::Retrying
            )
        {
            metadata.status = WorkerStatus::Running;
        }
        metadata
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
        let key = invocation.idempotency_key.unwrap_or_else(IdempotencyKey::random);
        let caller = invocation.caller;
        let (function, parameters, trace) =
            (invocation.function, invocation.parameters, invocation.trace);
        let making = Making::by(caller.as_ref());
        let arrival = |reply| {
            Command::Invoke(Arrival {
                key,
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
