//! Reading stored logs: entries, and what they add up to (law L5).
//!
//! A log that begins beyond index 1 has a base (`crate::checkpoint::Bases`) that holds the folded
//! state up to there, so what comes out is the same as if all entries had been read.

use super::writer::{log_failure, log_key};
use crate::checkpoint::{Bases, Checkpoint};
use bytes::Bytes;
use emet_model::{OplogIndex, WorkerError, WorkerId};
use emet_oplog::{Entry, Fold, WorkerState, codec, summary};
use emet_storage::{Head, LogStore};
use std::sync::Arc;

/// Entries read from the store at a time.
const READ_CHUNK: usize = 2048;

/// The logs of workers.
#[derive(Clone)]
pub struct Logs {
    store: Arc<dyn LogStore>,
    bases: Bases,
}

/// Where a pass over a log ended.
enum Pass {
    /// At the last entry that was asked for.
    Through(Fold),
    /// Before entries that were dropped; the log begins at this index.
    Hole(OplogIndex),
}

/// Reads entries from an index on; from the first one there is, if that was dropped.
pub async fn read_entries(
    store: &dyn LogStore,
    worker: &WorkerId,
    from: OplogIndex,
    count: usize,
) -> Result<Vec<(OplogIndex, Entry)>, WorkerError> {
    let records = store.read(&log_key(worker), from, count).await.map_err(|e| log_failure(&e))?;
    records.into_iter().map(|r| Ok((r.index, decode(r.index, r.data)?))).collect()
}

pub(super) fn decode(index: OplogIndex, data: Bytes) -> Result<Entry, WorkerError> {
    codec::decode(data)
        .map_err(|e| WorkerError::unknown(format!("oplog entry {index} is damaged: {e}")))
}

/// The cached state of a head, if it can be used (law L5).
fn cached_state(head: &Head) -> Option<summary::Summary> {
    let stored = head.summary.as_ref()?;
    let cached = summary::decode(&stored.data).unwrap_or_else(|error| {
        tracing::warn!(%error, "a cached state cannot be read; the log is folded again");
        None
    })?;
    (cached.state.index == stored.index && stored.index <= head.last).then_some(cached)
}

impl Logs {
    /// Logs in a store, which begin with these bases where entries were dropped.
    pub fn new(store: Arc<dyn LogStore>, bases: Bases) -> Self {
        Self { store, bases }
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn LogStore> {
        &self.store
    }

    /// The bases.
    pub fn bases(&self) -> &Bases {
        &self.bases
    }

    /// What a log adds up to; a worker without entries has an empty state.
    pub async fn state(&self, worker: &WorkerId) -> Result<WorkerState, WorkerError> {
        let head = self.store.head(&log_key(worker)).await.map_err(|e| log_failure(&e))?;
        self.state_at(worker, head.as_ref()).await
    }

    /// As [`Self::state`], for a caller who knows the head.
    pub async fn state_at(
        &self,
        worker: &WorkerId,
        head: Option<&Head>,
    ) -> Result<WorkerState, WorkerError> {
        let cached = head.and_then(cached_state).filter(|cached| cached.whole);
        let fold = cached.map_or_else(Fold::new, |cached| Fold::from_base(cached.state));
        self.fold(worker, fold, OplogIndex::MAX).await
    }

    /// What the entries up to an index add up to, without the help of caches: the results of all of
    /// them that were not dropped are among it.
    pub async fn state_until(
        &self,
        worker: &WorkerId,
        last: OplogIndex,
    ) -> Result<WorkerState, WorkerError> {
        self.fold(worker, Fold::new(), last).await
    }

    /// What there is to show of a worker. In the common case its head has it, and nothing is read.
    pub async fn shown(&self, worker: &WorkerId, head: &Head) -> Result<WorkerState, WorkerError> {
        let cached = cached_state(head);
        let fold = cached.map_or_else(Fold::new, |cached| Fold::from_state(cached.state));
        if fold.state().index == head.last {
            return Ok(fold.state().clone());
        }
        self.fold(worker, fold, OplogIndex::MAX).await
    }

    /// Index of the first entry of a log; 1 if it has none.
    pub async fn first(&self, worker: &WorkerId) -> Result<OplogIndex, WorkerError> {
        let read = self.store.read(&log_key(worker), 1, 1).await.map_err(|e| log_failure(&e))?;
        Ok(read.first().map_or(1, |record| record.index))
    }

    /// Folds what is newer than a fold; all again, if the newer entries take older ones back.
    async fn fold(
        &self,
        worker: &WorkerId,
        mut fold: Fold,
        last: OplogIndex,
    ) -> Result<WorkerState, WorkerError> {
        let mut base_used = None;
        loop {
            fold = match self.pass(worker, fold, last).await? {
                Pass::Through(fold) => match fold.finish() {
                    Ok(state) => return Ok(state),
                    Err(again) => again,
                },
                // A second hole in the same place: something before the base was taken back.
                Pass::Hole(first) if base_used == Some(first) => {
                    return Err(unusable(worker, first, "dropped entries were taken back"));
                }
                Pass::Hole(first) => {
                    let base = self.base(worker, first).await?;
                    base_used = Some(base.binding.index);
                    Fold::from_base(base.state)
                }
            };
        }
    }

    /// The base of a log, which began at this index a moment ago.
    async fn base(
        &self,
        worker: &WorkerId,
        mut first: OplogIndex,
    ) -> Result<Checkpoint, WorkerError> {
        loop {
            let reason = match self.bases.at(worker, first).await {
                Ok(base) => return Ok(base),
                Err(reason) => reason,
            };
            // Its owner may have dropped more meanwhile, and with that this base.
            match self.first(worker).await? {
                now if now > first => first = now,
                _ => return Err(unusable(worker, first, &reason)),
            }
        }
    }

    async fn pass(
        &self,
        worker: &WorkerId,
        mut fold: Fold,
        last: OplogIndex,
    ) -> Result<Pass, WorkerError> {
        let key = log_key(worker);
        loop {
            let next = fold.state().index + 1;
            let read = self.store.read(&key, next, READ_CHUNK).await;
            let records = read.map_err(|e| log_failure(&e))?;
            match records.first() {
                // Entries may be dropped while they are read.
                Some(first) if first.index > next => return Ok(Pass::Hole(first.index)),
                _ => {}
            }
            let ends = records.len() < READ_CHUNK;
            for record in records.into_iter().take_while(|record| record.index <= last) {
                fold.apply(record.index, &decode(record.index, record.data)?);
            }
            if ends || fold.state().index >= last {
                return Ok(Pass::Through(fold));
            }
        }
    }
}

/// Why a log that begins at an index cannot be used.
pub fn base_failure(first: OplogIndex, reason: &str) -> WorkerError {
    WorkerError::unknown(format!(
        "the history before oplog entry {first} was dropped, and the base that stands for it cannot be used: {reason}; nothing was changed (emet explain history-dropped)"
    ))
}

fn unusable(worker: &WorkerId, first: OplogIndex, reason: &str) -> WorkerError {
    let reason = Box::new(base_failure(first, reason));
    WorkerError::FailedToResumeWorker { worker_id: worker.clone(), reason }
}
