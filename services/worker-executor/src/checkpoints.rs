//! When checkpoints of a worker are taken, and from which one it is loaded (docs/checkpoints.md).

use crate::executor::Shared;
use crate::job::Loaded;
use bytes::Bytes;
use emet_engine::{Load, fits};
use emet_model::{
    IdempotencyKey, OplogIndex, Timestamp, VersionedComponentId, WorkerError, WorkerStatus,
};
use emet_oplog::{Finished, summary};
use emet_runtime::Prepared;
use emet_runtime::checkpoint::{
    Binding, Capture, Captured, Checkpoint, CheckpointMode, CheckpointStore, KeptResult,
    ResultsPlace, entry_hash,
};
use emet_runtime::log::OplogWriter;
use emet_telemetry::metrics::list::{CHECKPOINT_BYTES, CHECKPOINT_SECONDS, CHECKPOINTS};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Entries after which the next checkpoint is taken: some milliseconds of replay.
const ENTRIES: OplogIndex = 1024;
/// Time of execution of the guest after which the next checkpoint is taken.
const RUN: Duration = Duration::from_millis(500);
/// As [`ENTRIES`], of a worker that leaves memory.
const LEAVING_ENTRIES: OplogIndex = 32;
/// As [`RUN`], of a worker that leaves memory.
const LEAVING_RUN: Duration = Duration::from_millis(50);
/// Checkpoints take at most one part in so many of the processor time that a worker takes.
const SHARE: u32 = 100;
/// Processor time of an invocation beside the guest's: at least this, wherever its log is.
const INVOCATION: Duration = Duration::from_micros(100);
/// Processor time of storing a checkpoint, which is not measured, as a part of it is spent elsewhere.
const STORING: Duration = Duration::from_micros(500);
/// Entries after which it is tried again where a worker could not be saved.
const PAUSE: OplogIndex = 16;

/// The checkpoints of one worker.
pub(crate) struct Checkpoints {
    mode: CheckpointMode,
    store: CheckpointStore,
    /// The one that is being written.
    saving: Option<JoinHandle<()>>,
    /// Index of the last one that was taken or loaded.
    last: OplogIndex,
    /// Not to be tried before this index.
    not_before: OplogIndex,
    /// What the last one has cost; the next one waits in proportion, unless the worker leaves memory.
    cost: Option<Cost>,
    /// Jobs done since then.
    jobs: u32,
}

/// Processor time of one checkpoint, or of the attempt to take it.
struct Cost {
    /// How long the guest had run then, as counted by the instance.
    ran: Duration,
    reading: Duration,
    /// In microseconds, once it is known.
    compressing: Arc<AtomicU64>,
}

impl Cost {
    /// Whether the worker has done enough since: the guest has run for so long, in so many jobs.
    fn is_paid_off(&self, ran: Duration, jobs: u32) -> bool {
        let compressing = Duration::from_micros(self.compressing.load(Ordering::Relaxed));
        let worked = ran.saturating_sub(self.ran) + INVOCATION * jobs;
        worked >= (self.reading + compressing + STORING) * SHARE
    }
}

/// A checkpoint that was taken and is to be written.
struct Taken {
    writer: Arc<OplogWriter>,
    store: CheckpointStore,
    binding: Binding,
    capture: Box<Capture>,
    state: Bytes,
    created_at: Timestamp,
    results: Vec<(IdempotencyKey, Finished)>,
    compressing: Arc<AtomicU64>,
}

impl Checkpoints {
    pub(crate) fn new(mode: CheckpointMode, store: CheckpointStore) -> Self {
        Self { mode, store, saving: None, last: 0, not_before: 0, cost: None, jobs: 0 }
    }

    /// Counts a job that was done.
    pub(crate) fn worked(&mut self) {
        self.jobs = self.jobs.saturating_add(1);
    }

    /// Whether the worker leaves memory after each checkpoint.
    pub(crate) fn unloads(&self) -> bool {
        self.mode == CheckpointMode::Always
    }

    /// Whether none are ever taken.
    pub(crate) fn are_off(&self) -> bool {
        self.mode == CheckpointMode::Off
    }

    /// Whether a checkpoint is to be taken of a worker that executes nothing, and whose guest has run
    /// for so long since the last one.
    pub(crate) fn is_due(&self, writer: &OplogWriter, ran: Duration, leaving: bool) -> bool {
        let index = writer.last_index();
        let since = index.saturating_sub(self.last);
        let wanted = match self.mode {
            CheckpointMode::Off => false,
            CheckpointMode::Always => true,
            CheckpointMode::On if leaving => since >= LEAVING_ENTRIES || ran >= LEAVING_RUN,
            CheckpointMode::On => (since >= ENTRIES || ran >= RUN) && self.is_affordable(ran),
        };
        wanted
            && since > 0
            && index >= self.not_before
            && writer.with_state(|s| {
                s.status() == WorkerStatus::Idle
                    && s.current.is_none()
                    && s.pending_updates.is_empty()
                    && s.create.is_some()
            })
    }

    /// Whether the last one is written, and worked off.
    fn is_affordable(&self, ran: Duration) -> bool {
        let busy = self.saving.as_ref().is_some_and(|saving| !saving.is_finished());
        !busy && self.cost.as_ref().is_none_or(|cost| cost.is_paid_off(ran, self.jobs))
    }

    /// Takes a checkpoint; it is written in the background. False: none could be taken now. An
    /// error means that the instance must not be used any more.
    pub(crate) async fn take(
        &mut self,
        shared: &Shared,
        writer: &Arc<OplogWriter>,
        loaded: &mut Loaded,
    ) -> wasmtime::Result<bool> {
        self.settle().await;
        let (begun, on_processor) = (Instant::now(), thread_time());
        let captured = loaded.instance.capture().await?;
        let held_up = begun.elapsed();
        CHECKPOINT_SECONDS.record(held_up);
        // On a busy machine it takes longer than it computes; where it changed threads, the former counts.
        let reading = thread_time().saturating_sub(on_processor).min(held_up);
        let compressing = Arc::new(AtomicU64::new(0));
        if matches!(captured, Captured::Taken(_)) {
            loaded.instance.reset_ran();
        }
        let ran = loaded.instance.ran();
        (self.cost, self.jobs) = (Some(Cost { ran, reading, compressing: compressing.clone() }), 0);
        let capture = match captured {
            Captured::Taken(capture) => capture,
            Captured::NotNow(reason) => {
                CHECKPOINTS.with(["put-off"]).inc();
                tracing::debug!(worker = %writer.worker, %reason, "no checkpoint can be taken now");
                self.not_before = writer.last_index() + PAUSE;
                return Ok(false);
            }
        };
        let (metadata, engine) = (loaded.instance.metadata(), shared.cache.tag().to_owned());
        let binding = capture.binding(&writer.worker, metadata, engine, writer.last_index());
        let (state, created_at, results) = writer.with_state(|s| {
            let unsaved = s
                .results
                .iter()
                .filter(|(_, finished)| finished.outcome.index() > s.results_stored);
            let results = unsaved.map(|(key, finished)| (key.clone(), *finished)).collect();
            (summary::encode_without_results(s, binding.index), s.created_at, results)
        });
        // One that cannot be written is not tried over and over.
        (self.last, self.not_before) = (binding.index, binding.index + 1);
        let taken = Taken {
            writer: writer.clone(),
            store: self.store.clone(),
            binding,
            capture,
            state,
            created_at,
            results,
            compressing,
        };
        self.saving = Some(tokio::spawn(async move {
            let (worker, index) = (taken.writer.worker.clone(), taken.binding.index);
            match taken.save().await {
                Ok(bytes) => {
                    CHECKPOINTS.with(["written"]).inc();
                    CHECKPOINT_BYTES.add(bytes as u64);
                    tracing::debug!(%worker, index, bytes, "checkpoint");
                }
                Err(error) => {
                    CHECKPOINTS.with(["failed"]).inc();
                    tracing::warn!(%worker, index, %error, "a checkpoint cannot be written")
                }
            }
        }));
        Ok(true)
    }

    /// Waits until no checkpoint is being written.
    pub(crate) async fn settle(&mut self) {
        if let Some(saving) = self.saving.take() {
            drop(saving.await);
        }
    }

    /// Which checkpoint to load from; to be asked once for each load.
    pub(crate) async fn for_load(&mut self, writer: &OplogWriter) -> Option<Checkpoint> {
        self.settle().await;
        if self.mode == CheckpointMode::Off {
            return None;
        }
        let found = self.store.newest(&writer.worker, OplogIndex::MAX).await;
        self.last = found.as_ref().map_or(0, |checkpoint| checkpoint.binding.index);
        found
    }

    /// Takes the result of a key in again, if it was put aside.
    pub(crate) async fn recall(
        &self,
        writer: &OplogWriter,
        key: &IdempotencyKey,
    ) -> Result<(), WorkerError> {
        let place =
            writer.with_state(|s| (!s.results.contains_key(key)).then(|| ResultsPlace::from(s)));
        let Some(place) = place else { return Ok(()) };
        if let Some(finished) = self.store.result(&writer.worker, &place, key).await? {
            writer.recall(key.clone(), finished);
        }
        Ok(())
    }

    /// The result of a key whose entries were dropped.
    pub(crate) async fn kept(
        &self,
        writer: &OplogWriter,
        key: &IdempotencyKey,
    ) -> Result<Option<KeptResult>, WorkerError> {
        let created_at = writer.with_state(|s| s.created_at);
        self.store.kept_result(&writer.worker, created_at, key).await
    }
}

/// Processor time that this thread has taken.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

impl Taken {
    async fn save(mut self) -> Result<usize, WorkerError> {
        let (worker, index) = (self.writer.worker.clone(), self.binding.index);
        self.writer.commit().await?;
        self.store.save_results(&worker, self.created_at, &self.results).await?;
        self.binding.entry = entry_hash(&self.store.record(&self.writer, index).await?);
        let (binding, capture, state) = (self.binding, self.capture, self.state);
        let sealed = tokio::task::spawn_blocking(move || {
            let begun = thread_time();
            let sealed = capture.seal(binding, state);
            let compressing = thread_time().saturating_sub(begun);
            let micros = u64::try_from(compressing.as_micros()).unwrap_or(u64::MAX);
            self.compressing.store(micros, Ordering::Relaxed);
            sealed
        });
        let sealed = sealed.await;
        let sealed = sealed
            .map_err(|e| WorkerError::unknown(e.to_string()))?
            .map_err(WorkerError::unknown)?;
        let bytes = sealed.len();
        self.store.save(&worker, index, sealed).await?;
        self.writer.put_results_aside(index);
        Ok(bytes)
    }
}

/// The newest checkpoint, from the given one on, that a load can start from.
pub(crate) async fn fitting(
    store: &CheckpointStore,
    writer: &OplogWriter,
    newest: Checkpoint,
    plan: &Load,
    prepared: &Prepared,
    tag: &str,
) -> Option<Checkpoint> {
    let mut candidate = Some(newest);
    while let Some(checkpoint) = candidate {
        let binding = &checkpoint.binding;
        let id = VersionedComponentId {
            component_id: writer.worker.component_id,
            version: binding.version,
        };
        let same_code = id == prepared.metadata.versioned_component_id
            && binding.digest == prepared.metadata.wasm_digest
            && binding.engine == tag;
        if same_code
            && prepared.supports_checkpoints()
            && writer.with_state(|s| fits(s, plan, &checkpoint.state))
        {
            return Some(checkpoint);
        }
        let before = binding.index.checked_sub(1)?;
        candidate = store.newest(&writer.worker, before).await;
    }
    None
}
