//! What is done with a worker's instance: load and replay it, call it, take a snapshot.
//!
//! A job owns the instance while it runs. It can be dropped at any point: what the guest did is in
//! the log writer, and the log is what the worker is rebuilt from.

use crate::actor::Reply;
use crate::executor::Shared;
use crate::observe;
use crate::rebase::NewBase;
use emet_api::Verification;
use emet_engine::{Load, load_plan};
use emet_model::{IdempotencyKey, OplogIndex, VersionedComponentId, WorkerError};
use emet_oplog::{Entry, EntryKind, FailureKind, Invocation, ReplayCursor};
use emet_runtime::checkpoint::Checkpoint;
use emet_runtime::files::WorkerFiles;
use emet_runtime::log::{Journal, OplogWriter};
use emet_runtime::{Instance, MemoryAccount, Prepared, Stop, UnderWay, Waiting, WorkerCtx};
use emet_values::Value;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument;
use wasmtime::PoolConcurrencyLimitError;

/// Components of many modules fill the instance pool before all places are taken: how long a worker
/// waits until idle ones have left, and how often it looks.
pub(crate) const ROOM_PATIENCE: Duration = Duration::from_secs(10);
const ROOM_PAUSE: Duration = Duration::from_millis(5);

/// A worker in memory, and its place among those that may be.
pub(crate) struct Loaded {
    pub(crate) instance: Instance,
    _place: OwnedSemaphorePermit,
}

/// What a job is to do.
pub(crate) enum Job {
    /// Load the worker and replay its log, going on with what it was executing.
    Load,
    /// Start an invocation on the loaded instance.
    Call(Invocation),
    /// Save the state for a manual update.
    Snapshot,
    /// Compare the instance with a replay of the log.
    Verify(Reply<Verification>),
    /// Make a base of the instance, so that older entries can be dropped.
    Rebase,
}

/// How a job ended.
pub(crate) enum Ended {
    /// The worker is in memory and executes nothing.
    Ready,
    /// Snapshot of the state.
    Snapshot(Result<Vec<u8>, String>),
    /// The comparison was answered.
    Verified,
    /// What can stand for the history, if it was found to be the same.
    Rebased(Option<NewBase>),
    /// The worker cannot be made ready; its log is as it was.
    NotLoaded(WorkerError),
    /// The instance waits for a time, a promise or calls, and was given up.
    Suspended(Option<SystemTime>, Option<Waiting>),
    /// The worker is to be rebuilt at once.
    Restart,
    /// The guest called exit.
    Exited,
    /// An attempt failed.
    Failed(FailureKind, String),
    /// The log cannot be written or read.
    LogFailed(WorkerError),
}

/// The result of an invocation, which is durable.
pub(crate) struct Answer {
    pub(crate) key: IdempotencyKey,
    pub(crate) function: String,
    pub(crate) value: Value,
}

/// Where answers go while a job runs.
pub(crate) type Answers = tokio::sync::mpsc::UnboundedSender<Answer>;

/// What a job works on.
pub(crate) struct Scene {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: Arc<OplogWriter>,
    /// Whether the instance starts from its initial state, without replay.
    pub(crate) ephemeral: bool,
    pub(crate) answers: Answers,
    /// The newest checkpoint, for a load.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// The worker's calls that are under way, for a load.
    pub(crate) calls: UnderWay,
}

impl Scene {
    /// Runs a job. The instance comes back if it can be used again.
    pub(crate) async fn run(mut self, loaded: Option<Loaded>, job: Job) -> (Option<Loaded>, Ended) {
        let mut loaded = loaded;
        let ended = match job {
            Job::Load => self.load(&mut loaded).await,
            Job::Call(invocation) => self.start(&mut loaded, invocation).await,
            Job::Snapshot => self.snapshot(&mut loaded).await,
            Job::Verify(reply) => self.verify(&mut loaded, reply).await,
            Job::Rebase => self.rebase(&mut loaded).await,
        };
        match ended {
            Ok(
                ended @ (Ended::Ready
                | Ended::Snapshot(Ok(_))
                | Ended::Verified
                | Ended::Rebased(_)),
            ) => (loaded, ended),
            Ok(ended) => (None, ended),
            Err(error) => {
                let waiting = loaded.as_mut().and_then(|l| l.instance.take_waiting());
                (None, self.classify(&error, waiting))
            }
        }
    }

    /// Loads the worker and replays its log up to the end, and beyond it if it ends in the middle
    /// of an invocation.
    async fn load(&mut self, slot: &mut Option<Loaded>) -> wasmtime::Result<Ended> {
        if self.ephemeral
            && let Some(ended) = self.start_afresh()
        {
            return Ok(ended);
        }
        let (plan, target) = self.plan().await?;
        let id = VersionedComponentId {
            component_id: self.writer.worker.component_id,
            version: plan.version,
        };
        let prepared = match self.shared.cache.get(id).await {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Ended::NotLoaded(self.creation_failed(error))),
        };
        let mut place = self.shared.place().await.map_err(Stop::from)?;
        if let Some((instance, _)) = self.restore(&prepared, &plan, target).await {
            let loaded = slot.insert(Loaded { instance, _place: place });
            match self.traced_replay(&mut loaded.instance).await {
                Err(error) if matches!(Stop::find(&error), Some(Stop::Diverged { .. })) => {
                    tracing::warn!(worker = %self.writer.worker, %error, "the replay after a checkpoint diverged; all of the log is replayed");
                }
                ended => return ended,
            }
            *slot = None;
            place = self.shared.place().await.map_err(Stop::from)?;
        }
        let instance = match self.beginning(prepared, &plan, target).await? {
            Ok(instance) => instance,
            Err(ended) => return Ok(ended),
        };
        let loaded = slot.insert(Loaded { instance, _place: place });
        self.traced_replay(&mut loaded.instance).await
    }

    async fn traced_replay(&self, instance: &mut Instance) -> wasmtime::Result<Ended> {
        self.replay(instance).instrument(emet_telemetry::span!("replay", emet.replay = true)).await
    }

    /// An instance at the start of the log, of which this is the last index to be replayed.
    pub(crate) async fn fresh(
        &self,
        prepared: Arc<Prepared>,
        plan: &Load,
        target: OplogIndex,
    ) -> wasmtime::Result<Result<Instance, Ended>> {
        let patience = Instant::now() + ROOM_PATIENCE;
        let mut instance = loop {
            let ctx = match self.context(&prepared, plan, target, None).await {
                Ok(ctx) => ctx,
                Err(error) => return Ok(Err(Ended::NotLoaded(error))),
            };
            match Instance::new(prepared.clone(), ctx).await {
                Ok(instance) => break instance,
                Err(error) if self.waits_for_room(&error, patience).await => {}
                Err(error) => return self.not_instantiated(error).map(Err),
            }
        };
        if plan.snapshot.is_some() {
            self.load_snapshot(&mut instance, plan).await?;
        }
        Ok(Ok(instance))
    }

    /// Whether an instance cannot be made for lack of room now, but perhaps after this.
    pub(crate) async fn waits_for_room(&self, error: &wasmtime::Error, patience: Instant) -> bool {
        if !error.is::<PoolConcurrencyLimitError>() || Instant::now() >= patience {
            return false;
        }
        let _want = self.shared.node.memory.pressure.want();
        tokio::time::sleep(ROOM_PAUSE).await;
        true
    }

    /// What to load, and the last index that replay has to read. Everything up to it is in the
    /// store; requests that arrive from now on are none of the replay's business. Of a worker that
    /// was just made nothing is read: its first invocation is stored together with its creation.
    async fn plan(&self) -> wasmtime::Result<(Load, OplogIndex)> {
        let made_now = self.writer.with_state(|s| (s.index == 1).then(|| (load_plan(s), s.index)));
        if let Some(plan) = made_now {
            return Ok(plan);
        }
        loop {
            self.writer.commit().await.map_err(Stop::from)?;
            if let Some(plan) = self.writer.with_durable_state(|s| (load_plan(s), s.index)) {
                return Ok(plan);
            }
        }
    }

    /// An ephemeral worker forgets its history at every load (guest spec 3.10). An invocation that
    /// was cut off is lost: what it did cannot be told, so it must not be done again (law L6).
    fn start_afresh(&self) -> Option<Ended> {
        let (cut_off, begun) = self.writer.with_state(|s| (s.current.is_some(), s.last_effect > 1));
        if cut_off {
            let reason = "the invocation was cut off; ephemeral workers are not replayed, so it cannot go on";
            return Some(Ended::Failed(FailureKind::Unknown, reason.to_owned()));
        }
        if begun {
            self.writer.add(EntryKind::Restart);
        }
        None
    }

    /// A component version that cannot be linked: what it imports is not offered.
    fn creation_failed(&self, error: WorkerError) -> WorkerError {
        match error {
            WorkerError::ComponentParseFailed { reason, .. } => {
                let details = format!("Failed to pre-instantiate component: {reason}");
                WorkerError::WorkerCreationFailed { worker_id: self.writer.worker.clone(), details }
            }
            other => other,
        }
    }

    /// The component's initialisers failed. Trying again would fail again.
    fn not_instantiated(&self, error: wasmtime::Error) -> wasmtime::Result<Ended> {
        if Stop::find(&error).is_some() {
            return Err(error);
        }
        let details = format!("Failed to instantiate component: {}", self.describe(&error));
        Ok(Ended::NotLoaded(WorkerError::WorkerCreationFailed {
            worker_id: self.writer.worker.clone(),
            details,
        }))
    }

    /// The context of an instance. It has the initial files, unless a checkpoint has files and the
    /// initialisation, which deals with nothing, does not look at the initial ones.
    pub(crate) async fn context(
        &self,
        prepared: &Prepared,
        plan: &Load,
        target: OplogIndex,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<WorkerCtx, WorkerError> {
        let node = self.shared.node.clone();
        let files = WorkerFiles::new(&node.work_dir);
        let (initial, blobs) = (&prepared.metadata.files, node.blobs.as_ref());
        let read_only = match checkpoint {
            Some(checkpoint) if !checkpoint.binding.own_fresh => HashSet::new(),
            _ => files.place(initial, blobs).await.map_err(|(path, reason)| {
                WorkerError::InitialComponentFileDownloadFailed { path, reason }
            })?,
        };
        let (create, memory) = self.writer.with_state(|s| (s.create.clone(), s.memory));
        let create = create.ok_or_else(|| {
            WorkerError::unknown("the oplog does not start with the creation of the worker")
        })?;
        let first = if self.ephemeral { target + 1 } else { 2 };
        let mut journal = Journal::new(
            self.writer.clone(),
            ReplayCursor::new(first, target, plan.skipped.clone()),
        );
        if let Some(update) = &plan.update {
            journal.at_end(EntryKind::SuccessfulUpdate {
                target: update.target,
                component_size: prepared.metadata.component_size,
                initial_memory: prepared.metadata.initial_memory(),
            });
        }
        // What happens before a snapshot is loaded is not part of the log.
        journal.set_recording(plan.snapshot.is_none());
        let recorded = memory.max(prepared.metadata.initial_memory());
        let account = MemoryAccount::new(node.memory.clone(), self.writer.clone(), recorded);
        let mut ctx =
            WorkerCtx::new(node, &create, &prepared.metadata, journal, files, read_only, account)
                .map_err(|e| WorkerError::unknown(format!("{e:#}")))?;
        ctx.continue_calls(self.calls.clone());
        Ok(ctx)
    }

    /// Loads the state that replaces the history before it (guest spec 6.3, W3).
    async fn load_snapshot(&self, instance: &mut Instance, plan: &Load) -> wasmtime::Result<()> {
        let Some(snapshot) = &plan.snapshot else { return Ok(()) };
        let bytes = self.writer.payloads.load_bytes(&snapshot.payload).await.map_err(Stop::from)?;
        let Some(function) = find_snapshot_function(instance, "load") else {
            wasmtime::bail!("Failed to find exported load-snapshot function");
        };
        let loaded = match instance.call(&function, vec![Value::Bytes(bytes.to_vec())]).await {
            Err(trap) if Stop::find(&trap).is_none() => {
                wasmtime::bail!("Manual update failed to load snapshot: {trap:#}")
            }
            other => other?,
        };
        let loaded = loaded
            .map_err(|e| wasmtime::format_err!("Manual update failed to load snapshot: {e}"))?;
        if let Some(reason) = snapshot_error(&loaded) {
            wasmtime::bail!("Manual update failed to load snapshot: {reason}");
        }
        instance.ctx().journal.set_recording(true);
        Ok(())
    }

    pub(crate) async fn replay(&self, instance: &mut Instance) -> wasmtime::Result<Ended> {
        loop {
            let Some((index, entry)) = instance.ctx().journal.next().await? else {
                return Ok(Ended::Ready);
            };
            match entry.kind {
                EntryKind::Invoked(invocation) => {
                    let span = observe::invocation(&self.writer, &invocation, true);
                    if let Some(ended) = self.execute(instance, invocation).instrument(span).await?
                    {
                        return Ok(ended);
                    }
                }
                _ => return Err(diverged("ExportedFunctionInvoked", &entry, index)),
            }
        }
    }

    /// Starts an invocation on an instance that executes nothing.
    async fn start(
        &self,
        loaded: &mut Option<Loaded>,
        invocation: Invocation,
    ) -> wasmtime::Result<Ended> {
        let Some(loaded) = loaded else { return Ok(Ended::Restart) };
        self.writer.add(EntryKind::Invoked(invocation.clone()));
        let span = observe::invocation(&self.writer, &invocation, false);
        match self.execute(&mut loaded.instance, invocation).instrument(span).await? {
            None => Ok(Ended::Ready),
            Some(ended) => Ok(ended),
        }
    }

    /// Calls the guest for an invocation whose start is in the log, and records or compares its
    /// result. Some: the call did not complete.
    async fn execute(
        &self,
        instance: &mut Instance,
        invocation: Invocation,
    ) -> wasmtime::Result<Option<Ended>> {
        let parameters =
            self.writer.payloads.load(&invocation.parameters).await.map_err(Stop::from)?;
        let parameters = match parameters {
            Value::Tuple(values) => values,
            other => vec![other],
        };
        instance.ctx().journal.current_key = Some(invocation.key.clone());
        instance.ctx().journal.current_trace = emet_telemetry::trace::current(invocation.trace);
        let result = match instance.call(&invocation.function, parameters).await? {
            Ok(result) => result,
            Err(error) => {
                return Ok(Some(Ended::Failed(FailureKind::InvalidRequest, error.to_string())));
            }
        };
        let journal = &mut instance.ctx().journal;
        let response = self.writer.payloads.store(&result).await.map_err(Stop::from)?;
        match journal.next().await? {
            None => {
                self.writer.add(EntryKind::Completed { response, consumed_fuel: 0 });
                self.writer.commit().await.map_err(Stop::from)?;
                drop(self.answers.send(Answer {
                    key: invocation.key,
                    function: invocation.function,
                    value: result,
                }));
                Ok(None)
            }
            Some((_, Entry { kind: EntryKind::Completed { response: recorded, .. }, .. }))
                if recorded == response =>
            {
                Ok(None)
            }
            Some((index, Entry { kind: EntryKind::Completed { response: recorded, .. }, .. })) => {
                let recorded = self.writer.payloads.load(&recorded).await.map_err(Stop::from)?;
                Err(Stop::Diverged {
                    expected: format!("result {result:?}"),
                    got: format!("result {recorded:?}"),
                    index,
                }
                .into())
            }
            Some((index, entry)) => Err(diverged("ExportedFunctionCompleted", &entry, index)),
        }
    }

    async fn snapshot(&self, loaded: &mut Option<Loaded>) -> wasmtime::Result<Ended> {
        let Some(loaded) = loaded else { return Ok(Ended::Restart) };
        let instance = &mut loaded.instance;
        let Some(function) = find_snapshot_function(instance, "save") else {
            return Ok(Ended::Snapshot(Err("the component does not export save-snapshot".into())));
        };
        instance.ctx().journal.set_recording(false);
        let saved = instance.call(&function, Vec::new()).await;
        instance.ctx().journal.set_recording(true);
        Ok(Ended::Snapshot(match saved {
            Err(trap) => Err(format!("{trap:#}")),
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(value)) => snapshot_bytes(value)
                .ok_or_else(|| "save-snapshot did not return a list of bytes".to_owned()),
        }))
    }

    /// What an error of the guest's call stands for.
    fn classify(&self, error: &wasmtime::Error, waiting: Option<Waiting>) -> Ended {
        match Stop::find(error) {
            Some(Stop::Suspend { until }) => return Ended::Suspended(*until, waiting),
            Some(Stop::Restart) => return Ended::Restart,
            Some(Stop::Exit) => return Ended::Exited,
            Some(Stop::Diverged { .. }) => {
                return Ended::Failed(FailureKind::Diverged, self.describe(error));
            }
            Some(Stop::OutOfMemory(_)) => {
                return Ended::Failed(FailureKind::OutOfMemory, self.describe(error));
            }
            Some(Stop::Node(failure)) => return Ended::LogFailed(failure.clone()),
            None => {}
        }
        match error.downcast_ref::<wasmtime::Trap>() {
            Some(wasmtime::Trap::StackOverflow) => Ended::Failed(
                FailureKind::StackOverflow,
                format!("Stack overflow{}", self.stderr()),
            ),
            _ => Ended::Failed(FailureKind::Unknown, self.describe(error)),
        }
    }

    fn describe(&self, error: &wasmtime::Error) -> String {
        format!("{error:#}{}", self.stderr())
    }

    fn stderr(&self) -> String {
        let stderr = self.writer.events.recent_stderr();
        if stderr.is_empty() { String::new() } else { format!("\n\n{stderr}") }
    }
}

fn diverged(expected: &str, entry: &Entry, index: OplogIndex) -> wasmtime::Error {
    Stop::Diverged { expected: expected.to_owned(), got: entry.name().to_owned(), index }.into()
}

/// `save` or `load` of the newest snapshot interface that the component exports.
fn find_snapshot_function(instance: &mut Instance, function: &str) -> Option<String> {
    let names = ["1.1.5", "1.1.4", "1.1.3", "1.1.2", "1.1.1", "1.1.0", "0.2.2", "0.2.1", "0.2.0"];
    let names =
        names.map(|version| format!("golem:api/{function}-snapshot@{version}.{{{function}}}"));
    names.into_iter().find(|name| instance.has_export(name))
}

fn snapshot_bytes(value: Value) -> Option<Vec<u8>> {
    let Value::Tuple(mut items) = value else { return None };
    items.pop().and_then(|v| v.into_bytes().ok())
}

/// The reason in an `err` of `load-snapshot`.
fn snapshot_error(value: &Value) -> Option<String> {
    let Value::Tuple(items) = value else { return None };
    match items.first() {
        Some(Value::Result(Err(Some(reason)))) => match reason.as_ref() {
            Value::String(text) => Some(text.clone()),
            other => Some(format!("{other:?}")),
        },
        Some(Value::Result(Err(None))) => Some("no reason given".into()),
        _ => None,
    }
}
