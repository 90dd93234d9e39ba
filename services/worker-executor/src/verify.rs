//! Compares a worker with a replay of its log, from its start or from the base that it begins with, and
//! with its newest checkpoint.

use crate::actor::Reply;
use crate::job::{Ended, Loaded, Scene};
use emet_api::Verification;
use emet_engine::{Load, load_plan};
use emet_model::{OplogIndex, WorkerError};
use emet_oplog::{EntryKind, PersistenceLevel};
use emet_runtime::checkpoint::{Capture, Captured};
use emet_runtime::{Instance, Stop};
use emet_telemetry::metrics::list::VERIFICATIONS;

/// Entries read at a time.
const CHUNK: usize = 2048;

impl Scene {
    /// Answers with the comparison; the instance stays as it was.
    pub(crate) async fn verify(
        &mut self,
        loaded: &mut Option<Loaded>,
        reply: Reply<Verification>,
    ) -> wasmtime::Result<Ended> {
        let Some(loaded) = loaded else { return Ok(Ended::Restart) };
        let last = self.writer.last_index();
        let (answer, kept) = match self.compare(&mut loaded.instance, last).await {
            Ok((verification, _)) => {
                count(&verification);
                (Ok(verification), Ok(Ended::Verified))
            }
            Err(error) => (
                Err(WorkerError::unknown(format!("the comparison failed: {error:#}"))),
                Ok(Ended::Restart),
            ),
        };
        drop(reply.send(answer));
        kept
    }

    /// Compares an idle instance with what the entries up to an index give; its state, if that is the
    /// same.
    pub(crate) async fn compare(
        &mut self,
        present: &mut Instance,
        last: OplogIndex,
    ) -> wasmtime::Result<(Verification, Option<Box<Capture>>)> {
        self.writer.commit().await.map_err(Stop::from)?;
        let present = match present.capture().await? {
            Captured::Taken(capture) => capture,
            Captured::NotNow(reason) => return Ok((not_compared(last, reason), None)),
        };
        if self.records_nothing_somewhere(last).await.map_err(Stop::from)? {
            let reason = "the worker has switched recording off, so a replay would act again";
            return Ok((not_compared(last, reason.into()), None));
        }
        let found = self.compare_captured(&present, last).await?;
        let same = found.equal;
        Ok((found, same.then_some(present)))
    }

    async fn compare_captured(
        &mut self,
        present: &Capture,
        last: OplogIndex,
    ) -> wasmtime::Result<Verification> {
        let plan = self.writer.with_state(load_plan);
        let replayed = match self.replayed(&plan, last, false).await? {
            Some((capture, _)) => capture,
            None => {
                return Ok(not_compared(last, "the log could not be replayed to its end".into()));
            }
        };
        let mut differences = present.differences(&replayed);
        let restored = self.replayed(&plan, last, true).await?;
        if let Some((capture, _)) = &restored {
            let found = capture.differences(&replayed);
            differences.extend(
                found.into_iter().map(|difference| format!("after the checkpoint: {difference}")),
            );
        }
        if differences.is_empty() && present.hash() != replayed.hash() {
            differences.push("the hashes of the states differ".into());
        }
        let checkpoint = restored.map(|(_, index)| index);
        Ok(Verification {
            last_oplog_index: last,
            checkpoint,
            equal: differences.is_empty(),
            differences,
            not_compared: None,
        })
    }

    /// Whether the worker has ever executed something without recording it. A base is made only of one
    /// that has not, so entries that were dropped need not be looked at.
    async fn records_nothing_somewhere(&self, last: OplogIndex) -> Result<bool, WorkerError> {
        let mut from = 1;
        while from <= last {
            let entries = self.writer.read(from, CHUNK).await?;
            let Some((end, _)) = entries.last() else { break };
            from = end + 1;
            if entries.iter().any(|(_, entry)| {
                entry.kind == EntryKind::ChangePersistenceLevel(PersistenceLevel::Nothing)
            }) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The state after a replay to the end, of the log or of what follows the newest checkpoint, and
    /// that checkpoint's index.
    async fn replayed(
        &mut self,
        plan: &Load,
        end: OplogIndex,
        from_checkpoint: bool,
    ) -> wasmtime::Result<Option<(Box<Capture>, OplogIndex)>> {
        let id = emet_model::VersionedComponentId {
            component_id: self.writer.worker.component_id,
            version: plan.version,
        };
        let prepared = self.shared.cache.get(id).await.map_err(Stop::from)?;
        let (mut instance, index) = if from_checkpoint {
            self.checkpoint =
                self.shared.checkpoints.newest(&self.writer.worker, OplogIndex::MAX).await;
            let Some(restored) = self.restore(&prepared, plan, end).await else { return Ok(None) };
            restored
        } else {
            match self.beginning(prepared, plan, end).await? {
                Ok(instance) => (instance, 0),
                Err(Ended::NotLoaded(error)) => return Err(Stop::from(error).into()),
                Err(_) => return Ok(None),
            }
        };
        if !matches!(self.replay(&mut instance).await?, Ended::Ready) {
            return Ok(None);
        }
        Ok(match instance.capture().await? {
            Captured::Taken(capture) => Some((capture, index)),
            Captured::NotNow(_) => None,
        })
    }
}

pub(crate) fn count(verification: &Verification) {
    let outcome = match verification {
        Verification { not_compared: Some(_), .. } => "not-compared",
        Verification { equal: true, .. } => "equal",
        _ => "different",
    };
    VERIFICATIONS.with([outcome]).inc();
}

fn not_compared(last: OplogIndex, reason: String) -> Verification {
    Verification {
        last_oplog_index: last,
        checkpoint: None,
        equal: false,
        differences: Vec::new(),
        not_compared: Some(reason),
    }
}
