//! Taking back what a worker did, or was to do.

use super::Actor;
use crate::retention::dropped;
use emet_api::RevertTarget;
use emet_model::{IdempotencyKey, OplogIndex, WorkerError};
use emet_oplog::{EntryKind, QueuedWork, Regions, WorkerState};
use std::collections::HashMap;

/// Entries read at a time.
const CHUNK: usize = 2048;

/// Up to where a worker is taken back.
struct Cut {
    /// The last index that is kept.
    last: OplogIndex,
    /// Invocations that would be in the queue again, though they are the ones to be forgotten.
    forgotten: Vec<IdempotencyKey>,
}

/// Whether a worker's history cannot end at this index: it lies within what was reverted or jumped
/// over before. What only a snapshot made superfluous comes back when the update is taken back.
fn is_gone(state: &WorkerState, last: OplogIndex) -> bool {
    let within = |regions: &Regions| regions.contains(last) && regions.contains(last + 1);
    let before_snapshot = state.snapshot.as_ref().is_some_and(|snapshot| last < snapshot.index);
    within(&state.deleted) || within(&state.skipped) && !before_snapshot
}

impl Actor {
    pub(super) async fn revert(&mut self, target: RevertTarget) -> Result<(), WorkerError> {
        // What is taken back must be in the store: the fold starts over from there.
        self.writer.commit().await?;
        let Cut { last, forgotten } = match target {
            RevertTarget::RevertToOplogIndex { last_oplog_index } => {
                Cut { last: last_oplog_index, forgotten: Vec::new() }
            }
            RevertTarget::RevertLastInvocations { number_of_invocations } => {
                self.before_last(number_of_invocations).await?
            }
        };
        let end = self.writer.last_index();
        if last == 0 || last >= end {
            let reason = format!("cannot revert to index {last}: the oplog has {end} entries");
            return Err(WorkerError::invalid(reason));
        }
        let first = self.writer.first_index().await?;
        if last < first {
            let reason = format!("cannot revert to index {last}: {}", dropped(first));
            return Err(WorkerError::invalid(reason));
        }
        if self.writer.with_state(|s| is_gone(s, last)) {
            let reason = format!("cannot revert to index {last}: it lies in a deleted region");
            return Err(WorkerError::invalid(reason));
        }
        self.retry_at = None;
        self.answer_all(&WorkerError::invalid("the worker was reverted"));
        self.writer.add(EntryKind::Revert { start: last + 1, end });
        for key in forgotten {
            self.writer.add(EntryKind::CancelInvocation(key));
        }
        self.writer.commit().await?;
        self.writer.refold().await
    }

    /// The cut before the n-th last invocation that has not been taken back.
    async fn before_last(&mut self, count: u64) -> Result<Cut, WorkerError> {
        let skipped = self.writer.with_state(|s| s.skipped.clone());
        let first = self.writer.first_index().await?;
        let mut queued = self.queued_before(first).await?;
        let (mut started, mut from) = (Vec::new(), first);
        loop {
            let entries = self.writer.read(from, CHUNK).await?;
            let Some((last, _)) = entries.last() else { break };
            from = last + 1;
            for (index, entry) in entries {
                match entry.kind {
                    EntryKind::Invoked(i) if !skipped.contains(index) => {
                        started.push((index, i.key))
                    }
                    EntryKind::PendingInvocation(i) => drop(queued.insert(i.key, index)),
                    _ => {}
                }
            }
        }
        let at = usize::try_from(count).ok().and_then(|n| started.len().checked_sub(n));
        let taken = at.filter(|_| count > 0).map(|at| started.split_off(at)).unwrap_or_default();
        let Some((begun, _)) = taken.first() else {
            let mut reason = format!("Could not find {count} invocations to revert");
            if first > 1 {
                reason.push_str(&format!(": {}", dropped(first)));
            }
            return Err(WorkerError::invalid(reason));
        };
        let last = begun - 1;
        let again = |key: &IdempotencyKey| queued.get(key).is_some_and(|index| *index <= last);
        let forgotten = taken.into_iter().map(|(_, key)| key).filter(again).collect();
        Ok(Cut { last, forgotten })
    }

    /// Invocations that were in the queue at the beginning of a log whose older entries were dropped.
    async fn queued_before(
        &mut self,
        first: OplogIndex,
    ) -> Result<HashMap<IdempotencyKey, OplogIndex>, WorkerError> {
        if first == 1 {
            return Ok(HashMap::new());
        }
        let base = self.shared.logs.base_at(&self.writer.worker, first).await?;
        let pending = base.state.pending.into_iter().filter_map(|pending| match pending.work {
            QueuedWork::Invocation(invocation) => Some((invocation.key, pending.index)),
            QueuedWork::ManualUpdate(_) => None,
        });
        Ok(pending.collect())
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
