//! Taking back what a worker did, or was to do.

use super::Actor;
use emet_api::RevertTarget;
use emet_model::{IdempotencyKey, WorkerError};
use emet_oplog::{EntryKind, QueuedWork};

/// Entries read at a time.
const CHUNK: usize = 2048;

impl Actor {
    pub(super) async fn revert(&mut self, target: RevertTarget) -> Result<(), WorkerError> {
        // What is taken back must be in the store: the fold starts over from there.
        self.writer.commit().await?;
        let last = match target {
            RevertTarget::RevertToOplogIndex { last_oplog_index } => last_oplog_index,
            RevertTarget::RevertLastInvocations { number_of_invocations } => {
                self.before_last(number_of_invocations).await?
            }
        };
        let end = self.writer.last_index();
        if last == 0 || last >= end {
            return Err(WorkerError::invalid(format!(
                "cannot revert to index {last}: the oplog has {end} entries"
            )));
        }
        if self.writer.with_state(|s| s.skipped.contains(last + 1) && s.skipped.contains(last)) {
            return Err(WorkerError::invalid(format!(
                "cannot revert to index {last}: it lies in a deleted region"
            )));
        }
        self.retry_at = None;
        self.answer_all(&WorkerError::invalid("the worker was reverted"));
        self.writer.add(EntryKind::Revert { start: last + 1, end });
        self.writer.commit().await?;
        self.writer.refold().await
    }

    /// The index before the n-th last invocation that has not been taken back.
    async fn before_last(&mut self, count: u64) -> Result<u64, WorkerError> {
        let not_found =
            || WorkerError::invalid(format!("Could not find {count} invocations to revert"));
        let skipped = self.writer.with_state(|s| s.skipped.clone());
        let (mut starts, mut from) = (Vec::new(), 1);
        loop {
            let entries = self.writer.read(from, CHUNK).await?;
            let Some((last, _)) = entries.last() else { break };
            from = last + 1;
            let invoked = entries
                .iter()
                .filter(|(i, e)| matches!(e.kind, EntryKind::Invoked(_)) && !skipped.contains(*i));
            starts.extend(invoked.map(|(index, _)| *index));
        }
        let at = usize::try_from(count)
            .ok()
            .and_then(|n| starts.len().checked_sub(n))
            .filter(|_| count > 0);
        at.and_then(|at| starts.get(at)).map(|index| index - 1).ok_or_else(not_found)
    }

    pub(super) async fn cancel(&mut self, key: &IdempotencyKey) -> Result<bool, WorkerError> {
        self.checkpoints.recall(&self.writer, key).await?;
        let (queued, done) = self.writer.with_state(|s| {
            let queued = s
                .pending
                .iter()
                .any(|p| matches!(&p.work, QueuedWork::Invocation(i) if i.key == *key));
            (queued, s.results.contains_key(key))
        });
        if queued {
            self.writer.add(EntryKind::CancelInvocation(key.clone()));
            self.writer.commit().await?;
            self.answer_with(key, &Err(WorkerError::invalid("the invocation was cancelled")));
            return Ok(true);
        }
        if done { Ok(false) } else { Err(WorkerError::invalid("Invocation not found")) }
    }
}
