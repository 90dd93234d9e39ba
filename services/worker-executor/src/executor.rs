//! The executor: finds or makes the actor of a worker, and hands requests to it.

use crate::actor::{Actor, Arrival, Command, Done, Reply, ReplyTo, SHUTDOWN, Visible};
use crate::calls;
use crate::checkpoints::Checkpoints;
use crate::files::{FileAnswer, FileRequest};
use crate::search::Query;
use crate::timers::{Due, Timers};
use crate::{listing, metadata, public};
use async_trait::async_trait;
use bytes::Bytes;
use emet_api::{
    Caller, Components, Cursor, FileContent, FileNode, Invocation as ApiInvocation, InvokeParameters, OplogPage, OplogPosition,
    RevertTarget, Target, Verification, WorkerEvent, WorkerEvents, WorkerPage, Workers,
};
use emet_engine::Cause;
use emet_model::{
    Component, ComponentId, ComponentVersion, IdempotencyKey, OplogIndex, PromiseId, Timestamp, UpdateMode,
    VersionedComponentId, WorkerError, WorkerFilter, WorkerId, WorkerMetadata, WorkerStatus,
};
use emet_oplog::{Create, EntryKind, WorkerState};
use emet_runtime::checkpoint::{CheckpointMode, CheckpointStore};
use emet_runtime::log::{OplogWriter, Payloads, log_failure, log_key, read_shown, read_state_at};
use emet_runtime::{ComponentCache, Node, Promises};
use emet_storage::{BlobStore, KvStore, LogStore};
use emet_values::{TypedValue, Value};
use futures::StreamExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore, broadcast, mpsc, oneshot};
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

/// Limits of an executor.
#[derive(Clone, Copy, Debug)]
pub struct ExecutorOptions {
    /// Workers in memory at the same time.
    pub max_loaded: usize,
    /// Unfinished workers loaded at the same time after a start.
    pub recovery_parallelism: usize,
    /// When checkpoints are taken.
    pub checkpoints: CheckpointMode,
}

impl Default for ExecutorOptions {
    fn default() -> Self {
        Self { max_loaded: 1000, recovery_parallelism: 16, checkpoints: CheckpointMode::default() }
    }
}

/// The executor. Clones share it.
#[derive(Clone)]
pub struct Executor {
    shared: Arc<Shared>,
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
    actors: Mutex<HashMap<WorkerId, Slot>>,
    timers: Timers,
    places: Arc<Semaphore>,
    ticks: AtomicU64,
    epoch: u64,
    this: Weak<Shared>,
}

type Slot = Arc<OnceCell<Handle>>;

/// The way to an actor.
#[derive(Clone)]
pub(crate) struct Handle {
    sender: mpsc::UnboundedSender<Command>,
    writer: Arc<OplogWriter>,
    visible: Arc<Visible>,
    /// When it was used last, in ticks of the executor.
    used: Arc<AtomicU64>,
}

/// What a due timer does.
#[derive(Serialize, Deserialize)]
enum Action {
    Wake(WorkerId),
    Invoke { component: ComponentId, name: Option<String>, function: String, parameters: Vec<u8>, key: String },
}

/// What a missing worker is made with.
#[derive(Clone, Default)]
pub(crate) struct Making {
    args: Vec<String>,
    env: Vec<(String, String)>,
    parent: Option<WorkerId>,
}

impl Executor {
    /// Makes an executor and lets unfinished workers go on.
    pub fn start(node: Arc<Node>, stores: Stores, cache: ComponentCache, options: ExecutorOptions) -> Arc<Self> {
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
            ticks: AtomicU64::new(0),
            epoch: 1,
            this: this.clone(),
            node: node.clone(),
        });
        let executor = Arc::new(Self { shared: shared.clone() });
        let workers: Arc<dyn Workers> = executor.clone();
        // The node outlives no executor: it holds it weakly.
        drop(node.workers.set(Arc::downgrade(&workers)));
        tokio::spawn(Shared::run_timers(Arc::downgrade(&shared)));
        tokio::spawn(recover(executor.clone(), options.recovery_parallelism));
        executor
    }

    /// Stops all workers; what they did is durable when this returns.
    pub async fn shutdown(&self) {
        let handles: Vec<Handle> = self.shared.actors.lock().values().filter_map(|slot| slot.get().cloned()).collect();
        let stopped = handles.into_iter().map(|handle| async move {
            let (done, stopped) = oneshot::channel();
            if handle.sender.send(Command::Shutdown(done)).is_ok() {
                drop(tokio::time::timeout(SHUTDOWN, stopped).await);
            }
        });
        futures::future::join_all(stopped).await;
    }

    /// Workers with an actor, and those in memory.
    pub fn counts(&self) -> (usize, usize) {
        let actors = self.shared.actors.lock();
        let loaded = actors.values().filter_map(|s| s.get()).filter(|h| h.visible.loaded.load(Ordering::Acquire));
        (actors.len(), loaded.count())
    }

    /// Compiles an uploaded component version, so that its first worker need not wait.
    pub async fn prepare(&self, id: VersionedComponentId) -> Result<(), WorkerError> {
        self.shared.cache.get(id).await.map(drop)
    }
}

/// Loads workers that have something to do by themselves.
async fn recover(executor: Arc<Executor>, parallelism: usize) {
    let unfinished = match executor.shared.log.unfinished().await {
        Ok(unfinished) => unfinished,
        Err(error) => {
            tracing::error!(%error, "cannot find unfinished workers");
            return;
        }
    };
    futures::stream::iter(unfinished)
        .for_each_concurrent(parallelism.max(1), |key| {
            let shared = executor.shared.clone();
            async move {
                let worker = WorkerId::new(ComponentId(Uuid::from_bytes(key.group)), key.name);
                // Making the actor is enough: it does what its log says.
                if let Err(error) = shared.find(&worker).await {
                    tracing::error!(%worker, %error, "cannot recover an unfinished worker");
                }
            }
        })
        .await;
}

fn gone() -> WorkerError {
    WorkerError::unknown("the worker stopped before it answered; try again with the same idempotency key")
}

impl Shared {
    /// Metadata of a component version; versions never change.
    pub(crate) async fn component(&self, id: VersionedComponentId) -> Result<Arc<Component>, WorkerError> {
        if let Some(component) = self.known.lock().get(&id) {
            return Ok(component.clone());
        }
        let found = self.components.get(id.component_id, Some(id.version)).await;
        let failed = |e: emet_api::ComponentError| WorkerError::ComponentDownloadFailed { component_id: id, reason: e.to_string() };
        let component = Arc::new(found.map_err(failed)?);
        self.known.lock().insert(id, component.clone());
        Ok(component)
    }

    async fn latest(&self, component_id: ComponentId) -> Result<Component, WorkerError> {
        self.components.get(component_id, None).await.map_err(|e| {
            let reason = match e {
                emet_api::ComponentError::NotFound(_) => "Could not find any component with the given id".to_owned(),
                other => other.to_string(),
            };
            WorkerError::GetLatestVersionOfComponentFailed { component_id, reason }
        })
    }

    /// A place among the workers in memory, taking one from the worker that was idle longest.
    pub(crate) async fn place(&self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(place) = self.places.clone().try_acquire_owned() {
                return place;
            }
            self.evict_one();
            let soon = tokio::time::timeout(Duration::from_millis(50), self.places.clone().acquire_owned());
            if let Ok(Ok(place)) = soon.await {
                return place;
            }
        }
    }

    fn evict_one(&self) {
        let actors = self.actors.lock();
        let idle = actors.values().filter_map(|slot| slot.get()).filter(|h| {
            h.visible.loaded.load(Ordering::Acquire) && !h.visible.busy.load(Ordering::Acquire)
        });
        if let Some(oldest) = idle.min_by_key(|h| h.used.load(Ordering::Relaxed)) {
            oldest.used.store(self.ticks.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
            drop(oldest.sender.send(Command::Evict));
        }
    }

    /// Removes an actor that has ended.
    pub(crate) fn forget(&self, writer: &Arc<OplogWriter>) {
        let mut actors = self.actors.lock();
        let mine = actors.get(&writer.worker).and_then(|s| s.get()).is_some_and(|h| Arc::ptr_eq(&h.writer, writer));
        if mine {
            actors.remove(&writer.worker);
        }
    }

    /// Removes an actor, if nobody has asked it anything.
    pub(crate) fn forget_if_empty(&self, writer: &Arc<OplogWriter>, mailbox: &mpsc::UnboundedReceiver<Command>) -> bool {
        let mut actors = self.actors.lock();
        let empty = mailbox.is_empty();
        if empty {
            actors.remove(&writer.worker);
        }
        empty
    }

    pub(crate) fn live_metadata(&self, worker: &WorkerId) -> Option<WorkerMetadata> {
        let handle = self.actors.lock().get(worker)?.get()?.clone();
        Some(handle.metadata())
    }

    fn arc(&self) -> Result<Arc<Self>, WorkerError> {
        self.this.upgrade().ok_or_else(gone)
    }

    /// The actor of an existing worker.
    async fn find(&self, worker: &WorkerId) -> Result<Handle, WorkerError> {
        self.open(worker, None).await?.ok_or_else(|| WorkerError::WorkerNotFound { worker_id: worker.clone() })
    }

    /// The actor of a worker, which is made if it is missing and `making` says how.
    async fn open(&self, worker: &WorkerId, making: Option<Making>) -> Result<Option<Handle>, WorkerError> {
        let slot = self.actors.lock().entry(worker.clone()).or_default().clone();
        let opened = slot.get_or_try_init(|| self.make(worker, making)).await;
        match opened {
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

    async fn make(&self, worker: &WorkerId, making: Option<Making>) -> Result<Handle, WorkerError> {
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
            self.epoch,
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
        let actor = Actor::new(self.arc()?, writer.clone(), visible.clone(), mailbox, checkpoints, fresh);
        tokio::spawn(actor.run());
        Ok(Handle { sender, writer, visible, used: Arc::default() })
    }

    /// Asks the actor of a worker; one that ends at that moment is made again.
    async fn ask<T>(
        &self,
        worker: &WorkerId,
        making: impl Fn() -> Option<Making>,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, WorkerError> {
        let (reply, answer) = oneshot::channel();
        match self.tell(worker, making, command(reply)).await {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(gone())),
            Err((error, _)) => Err(error),
        }
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
                let present = actors.get(worker).and_then(|s| s.get()).is_some_and(|h| Arc::ptr_eq(&h.writer, &handle.writer));
                if present { handle.sender.send(command) } else { Err(mpsc::error::SendError(command)) }
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

    pub(crate) async fn schedule_wake(
        &self,
        worker: &WorkerId,
        at: Timestamp,
    ) -> Result<(), WorkerError> {
        let action = serde_json::to_vec(&Action::Wake(worker.clone()))
            .map_err(|e| WorkerError::unknown(e.to_string()))?;
        self.timers.add_of(worker, at, action.into()).await
    }

    async fn run_timers(this: Weak<Self>) {
        let Some(timers) = this.upgrade().map(|s| s.timers.clone()) else { return };
        loop {
            let due = timers.next_due().await;
            let Some(shared) = this.upgrade() else { return };
            match due {
                Ok(due) => {
                    for timer in due {
                        shared.fire(&timer).await;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "timers cannot be read");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// Carries a timer's action out. One that fails is kept and tried again, unless it cannot ever
    /// succeed.
    async fn fire(&self, due: &Due) {
        let mut owner = None;
        let outcome = match serde_json::from_slice(&due.action) {
            Ok(Action::Wake(worker)) => {
                let woken =
                    self.ask(&worker, || None, |reply| Command::Wake(Cause::Timer, reply)).await;
                owner = Some(worker);
                woken
            }
            Ok(Action::Invoke { component, name, function, parameters, key }) => {
                self.fire_invocation(component, name, function, &parameters, key).await
            }
            Err(error) => Err(WorkerError::invalid(error.to_string())),
        };
        if let Err(error @ WorkerError::Unknown { .. }) = &outcome {
            tracing::warn!(%error, "a timer could not be carried out; it is tried again");
            tokio::time::sleep(Duration::from_millis(500)).await;
            return;
        }
        if let Err(error) = self.timers.done(due, owner.as_ref()).await {
            tracing::error!(%error, "a timer that was carried out cannot be removed");
        }
    }

    async fn fire_invocation(
        &self,
        component: ComponentId,
        name: Option<String>,
        function: String,
        parameters: &[u8],
        key: String,
    ) -> Result<(), WorkerError> {
        let values = emet_values::binary::decode(parameters).map_err(|e| WorkerError::invalid(e.to_string()))?;
        let values = match values {
            Value::Tuple(values) => values,
            other => vec![other],
        };
        let worker = WorkerId::new(component, name.unwrap_or_else(|| Uuid::new_v4().to_string()));
        let arrival = move |reply| {
            Command::Invoke(Arrival {
                key: IdempotencyKey(key),
                function,
                parameters: InvokeParameters::Values(values),
                trace: Vec::new(),
                caller: None,
                reply: ReplyTo::Accepted(reply),
            })
        };
        self.ask(&worker, || Some(Making::plain()), arrival).await
    }

    /// Removes everything that belongs to a worker.
    pub(crate) async fn delete_stored(&self, worker: &WorkerId) -> Result<(), WorkerError> {
        self.checkpoints.delete(worker).await?;
        self.log.delete(&log_key(worker)).await.map_err(|e| log_failure(&e))?;
        // Results that were kept apart go after the log, which relies on them.
        self.checkpoints.delete_results(worker).await?;
        let prefix = Payloads::new(self.node.blobs.clone(), worker).prefix().to_owned();
        self.node
            .blobs
            .delete_prefix(&prefix)
            .await
            .map_err(|e| WorkerError::unknown(e.to_string()))?;
        self.timers.remove_of(worker).await?;
        self.node.promises.delete_all(worker).await
    }

    fn promises(&self) -> &Promises {
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
            Some(c) => Self { args: c.args.clone(), env: c.env.clone(), parent: Some(c.worker_id.clone()) },
        }
    }
}

impl Handle {
    /// The log's view, with what it cannot show yet: a job that runs.
    fn metadata(&self) -> WorkerMetadata {
        let busy = self.visible.busy.load(Ordering::Acquire);
        let mut metadata = self.writer.with_state(|s| metadata::metadata(&self.writer.worker, s));
        if busy && matches!(metadata.status, WorkerStatus::Suspended | WorkerStatus::Interrupted | WorkerStatus::Retrying) {
            metadata.status = WorkerStatus::Running;
        }
        metadata
    }
}

impl Executor {
    fn worker(target: &Target) -> WorkerId {
        let name = target.worker_name.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
        WorkerId::new(target.component_id, name)
    }

    async fn arrive<T>(
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
    async fn typed(&self, worker: &WorkerId, done: Done) -> Result<TypedValue, WorkerError> {
        let id = VersionedComponentId { component_id: worker.component_id, version: done.version };
        let component = self.shared.component(id).await?;
        let typ = calls::resolve(&component, &done.function)?.typ.result_type();
        Ok(TypedValue { typ, value: done.value })
    }
}

#[async_trait]
impl Workers for Executor {
    async fn create(
        &self,
        worker: WorkerId,
        args: Vec<String>,
        env: BTreeMap<String, String>,
    ) -> Result<ComponentVersion, WorkerError> {
        let head = self.shared.log.head(&log_key(&worker)).await.map_err(|e| log_failure(&e))?;
        if head.is_some_and(|h| h.last > 0) || self.shared.live_metadata(&worker).is_some() {
            return Err(WorkerError::WorkerAlreadyExists { worker_id: worker });
        }
        let making = Making { args, env: env.into_iter().collect(), parent: None };
        self.shared
            .ask(&worker, || Some(making.clone()), |reply| Command::Create(making.clone(), reply))
            .await
    }

    async fn invoke_and_await(
        &self,
        target: Target,
        invocation: ApiInvocation,
    ) -> Result<TypedValue, WorkerError> {
        let (done, worker) = self.arrive(&target, invocation, ReplyTo::Result).await?;
        self.typed(&worker, done).await
    }

    async fn invoke(&self, target: Target, invocation: ApiInvocation) -> Result<(), WorkerError> {
        self.arrive(&target, invocation, ReplyTo::Accepted).await.map(|((), _)| ())
    }

    async fn metadata(&self, worker: WorkerId) -> Result<WorkerMetadata, WorkerError> {
        if let Some(live) = self.shared.live_metadata(&worker) {
            return Ok(live);
        }
        let head = self.shared.log.head(&log_key(&worker)).await.map_err(|e| log_failure(&e))?;
        let Some(head) = head.filter(|h| h.last > 0) else {
            return Err(WorkerError::WorkerNotFound { worker_id: worker });
        };
        let state = read_shown(self.shared.log.as_ref(), &worker, &head).await?;
        Ok(metadata::metadata(&worker, &state))
    }

    async fn list(
        &self,
        component: ComponentId,
        filter: Option<WorkerFilter>,
        cursor: Option<Cursor>,
        count: u64,
        _precise: bool,
    ) -> Result<WorkerPage, WorkerError> {
        listing::list(&self.shared, component, filter, cursor, count).await
    }

    async fn delete(&self, worker: WorkerId) -> Result<(), WorkerError> {
        match self.shared.ask(&worker, || None, Command::Delete).await {
            Err(WorkerError::WorkerNotFound { .. }) => Ok(()),
            other => other,
        }
    }

    async fn interrupt(&self, worker: WorkerId, recover_immediately: bool) -> Result<(), WorkerError> {
        let command = |reply| Command::Interrupt { recover_immediately, reply };
        match self.shared.ask(&worker, || None, command).await {
            Err(WorkerError::WorkerNotFound { .. }) => Ok(()),
            other => other,
        }
    }

    async fn resume(&self, worker: WorkerId) -> Result<(), WorkerError> {
        self.shared.ask(&worker, || None, Command::Resume).await
    }

    async fn update(&self, worker: WorkerId, mode: UpdateMode, target: ComponentVersion) -> Result<(), WorkerError> {
        self.shared.ask(&worker, || None, |reply| Command::Update { mode, target, reply }).await
    }

    async fn schedule(&self, target: Target, invocation: ApiInvocation, at: Timestamp) -> Result<String, WorkerError> {
        let InvokeParameters::Values(values) = invocation.parameters else {
            return Err(WorkerError::invalid("a scheduled invocation needs plain values"));
        };
        let action = Action::Invoke {
            component: target.component_id,
            name: target.worker_name,
            function: invocation.function,
            parameters: emet_values::binary::encode(&Value::Tuple(values)),
            key: invocation.idempotency_key.unwrap_or_else(IdempotencyKey::random).0,
        };
        let action = serde_json::to_vec(&action).map_err(|e| WorkerError::unknown(e.to_string()))?;
        self.shared.timers.add(at, action.into()).await
    }

    async fn cancel_scheduled(&self, id: &str) -> Result<(), WorkerError> {
        self.shared.timers.remove(id).await
    }

    async fn complete_promise(&self, promise: PromiseId, data: Bytes) -> Result<bool, WorkerError> {
        let completed = self.shared.promises().complete(&promise, &data).await?;
        // Waking is repeated for a promise that was completed before: whoever did it may have been
        // lost before it could wake anybody.
        let mut waiters = self.shared.promises().waiters(&promise).await?;
        if !waiters.contains(&promise.worker_id) {
            waiters.push(promise.worker_id.clone());
        }
        let (mut woken, mut failed) = (Vec::new(), None);
        for worker in waiters {
            let wake = |reply| Command::Wake(Cause::Promise, reply);
            match self.shared.ask(&worker, || None, wake).await {
                Ok(()) | Err(WorkerError::WorkerNotFound { .. }) => woken.push(worker),
                Err(error) => failed = Some(error),
            }
        }
        self.shared.promises().forget_waiters(&promise, &woken).await?;
        // Whoever is told that it failed completes the promise again, which wakes the rest.
        failed.map_or(Ok(completed), Err)
    }

    async fn verify(&self, worker: WorkerId) -> Result<Verification, WorkerError> {
        self.shared.ask(&worker, || None, Command::Verify).await
    }

    async fn revert(&self, worker: WorkerId, target: RevertTarget) -> Result<(), WorkerError> {
        self.shared.ask(&worker, || None, |reply| Command::Revert(target, reply)).await
    }

    async fn cancel(&self, worker: WorkerId, key: IdempotencyKey) -> Result<bool, WorkerError> {
        self.shared.ask(&worker, || None, |reply| Command::Cancel(key, reply)).await
    }

    async fn fork(&self, source: WorkerId, target: WorkerId, cut_off: OplogIndex) -> Result<(), WorkerError> {
        crate::fork::fork(&self.shared, source, target.clone(), cut_off).await?;
        // Making the actor lets the fork go on with what it inherited.
        self.shared.find(&target).await.map(drop)
    }

    async fn oplog(&self, worker: WorkerId, from: OplogPosition, count: u64) -> Result<OplogPage, WorkerError> {
        public::page(&self.shared, &worker, from, count, None).await
    }

    async fn search_oplog(&self, worker: WorkerId, query: &str, from: OplogPosition, count: u64) -> Result<OplogPage, WorkerError> {
        let query = Query::parse(query)?;
        public::page(&self.shared, &worker, from, count, Some(&query)).await
    }

    async fn list_directory(&self, target: WorkerId, path: &str) -> Result<FileContent<Vec<FileNode>>, WorkerError> {
        let request = FileRequest::List(path.to_owned());
        match self.shared.ask(&target, || Some(Making::plain()), |reply| Command::Files(request, reply)).await? {
            FileAnswer::Nodes(nodes) => Ok(nodes),
            FileAnswer::Content(_) => Ok(FileContent::WrongKind),
        }
    }

    async fn read_file(&self, target: WorkerId, path: &str) -> Result<FileContent<Bytes>, WorkerError> {
        let request = FileRequest::Read(path.to_owned());
        match self.shared.ask(&target, || Some(Making::plain()), |reply| Command::Files(request, reply)).await? {
            FileAnswer::Content(content) => Ok(content),
            FileAnswer::Nodes(_) => Ok(FileContent::WrongKind),
        }
    }

    async fn connect(&self, worker: WorkerId) -> Result<WorkerEvents, WorkerError> {
        let (past, live) = self.shared.ask(&worker, || None, Command::Connect).await?;
        let live = futures::stream::unfold(Some(live), |receiver| async move {
            let mut receiver = receiver?;
            match receiver.recv().await {
                Ok(WorkerEvent::Close) | Err(broadcast::error::RecvError::Closed) => {
                    Some((WorkerEvent::Close, None))
                }
                Ok(event) => Some((event, Some(receiver))),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    Some((WorkerEvent::Gap { missed }, Some(receiver)))
                }
            }
        });
        Ok(futures::stream::iter(past).chain(live).boxed())
    }
}
