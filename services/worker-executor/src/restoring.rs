//! Instances that start from a stored state: from a checkpoint, or from the base that a log begins with
//! (docs/checkpoints.md).

use crate::checkpoints::fitting;
use crate::job::{Ended, ROOM_PATIENCE, Scene};
use crate::retention::dropped;
use bytes::Bytes;
use emet_engine::{Load, fits};
use emet_model::{OplogIndex, VersionedComponentId, WorkerError};
use emet_oplog::{Entry, codec};
use emet_runtime::checkpoint::{Checkpoint, rewriting_tag};
use emet_runtime::log::base_failure;
use emet_runtime::{Instance, Prepared, Stop};
use emet_telemetry::metrics::list::CHECKPOINT_LOADS;
use std::sync::Arc;
use std::time::Instant;

impl Scene {
    /// An instance at the beginning of the history that there is, of which this is the last index to be
    /// replayed: at the start of the log, or as the base left it that stands for dropped entries.
    pub(crate) async fn beginning(
        &mut self,
        prepared: Arc<Prepared>,
        plan: &Load,
        target: OplogIndex,
    ) -> wasmtime::Result<Result<Instance, Ended>> {
        // A worker that was just made has nothing in the store yet, and an ephemeral one reads nothing.
        let first = match self.ephemeral || target <= 1 {
            true => 1,
            false => self.writer.first_index().await.map_err(Stop::from)?,
        };
        // What is dropped does not matter where a snapshot replaces it.
        if plan.skipped.covers(2, first.saturating_sub(1)) {
            return self.fresh(prepared, plan, target).await;
        }
        match self.on_base(plan, first, target).await {
            Ok(instance) => Ok(Ok(instance)),
            Err(error) => Ok(Err(Ended::NotLoaded(error))),
        }
    }

    /// An instance with the state of the base that a log begins with.
    async fn on_base(
        &self,
        plan: &Load,
        first: OplogIndex,
        target: OplogIndex,
    ) -> Result<Instance, WorkerError> {
        if plan.update.is_some() {
            let reason = format!(
                "an automatic update replays the whole history, and {}; use a manual update, which takes a snapshot",
                dropped(first)
            );
            return Err(WorkerError::invalid(reason));
        }
        let unusable = |reason: &str| base_failure(first, reason);
        let base = self.shared.logs.base_at(&self.writer.worker, first).await?;
        let (tag, binding) = (rewriting_tag(), &base.binding);
        if binding.engine != tag {
            let needed = &binding.engine;
            return Err(unusable(&format!("it needs {needed}, and this release has {tag}")));
        }
        let id = VersionedComponentId {
            component_id: self.writer.worker.component_id,
            version: plan.version,
        };
        let prepared = self.shared.cache.rewritten(id).await?;
        let same_code =
            binding.version == id.version && binding.digest == prepared.metadata.wasm_digest;
        if !same_code || !self.writer.with_state(|s| fits(s, plan, &base.state)) {
            return Err(unusable("it is of another component version or history"));
        }
        let restored = self.restored(&prepared, plan, target, &base).await;
        restored.map_err(|error| unusable(&format!("{error:#}")))
    }

    /// An instance with the state of the newest checkpoint that fits, and its index; none if there
    /// is none.
    pub(crate) async fn restore(
        &mut self,
        prepared: &Arc<Prepared>,
        plan: &Load,
        target: OplogIndex,
    ) -> Option<(Instance, OplogIndex)> {
        let (store, tag) = (&self.shared.checkpoints, self.shared.cache.tag());
        let found = self.checkpoint.take()?;
        let Some(checkpoint) = fitting(store, &self.writer, found, plan, prepared, tag).await
        else {
            CHECKPOINT_LOADS.with(["log"]).inc();
            return None;
        };
        let index = checkpoint.binding.index;
        let restored = self.restored(prepared, plan, target, &checkpoint).await;
        CHECKPOINT_LOADS.with([if restored.is_ok() { "checkpoint" } else { "log" }]).inc();
        match restored {
            Ok(instance) => Some((instance, index)),
            Err(error) => {
                let reason = format!("{error:#}");
                tracing::warn!(worker = %self.writer.worker, index, %reason, "a checkpoint cannot be used; the log is replayed");
                None
            }
        }
    }

    /// An instance with the state of a checkpoint or base, which fits.
    pub(crate) async fn restored(
        &self,
        prepared: &Arc<Prepared>,
        plan: &Load,
        target: OplogIndex,
        checkpoint: &Checkpoint,
    ) -> wasmtime::Result<Instance> {
        let beginning = self.dropped_beginning(checkpoint).await.map_err(Stop::from)?;
        let patience = Instant::now() + ROOM_PATIENCE;
        loop {
            let ctx = self.context(prepared, plan, target, Some(checkpoint)).await;
            let mut ctx = ctx.map_err(|error| wasmtime::Error::msg(error.to_string()))?;
            ctx.journal.begin_with(beginning.clone());
            match Instance::restore(prepared.clone(), ctx, checkpoint).await {
                Err(error) if self.waits_for_room(&error, patience).await => {}
                restored => return restored,
            }
        }
    }

    /// The entries that repeat the initialisation, if it has to be and the log has them no more.
    async fn dropped_beginning(&self, checkpoint: &Checkpoint) -> Result<Vec<Entry>, WorkerError> {
        let decoded = |initial: Vec<Bytes>| {
            let entries = initial.into_iter().map(codec::decode).collect::<Result<_, _>>();
            entries.map_err(|e| WorkerError::unknown(format!("the base is damaged: {e}")))
        };
        if !checkpoint.binding.own_fresh || !checkpoint.initial.is_empty() {
            return decoded(checkpoint.initial.clone());
        }
        let first = self.writer.first_index().await?;
        if first == 1 {
            return Ok(Vec::new());
        }
        decoded(self.shared.logs.base_at(&self.writer.worker, first).await?.initial)
    }
}
