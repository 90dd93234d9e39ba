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
#[allow(
    clippy::large_enum_variant,
    reason = "there is one at a time, and it is taken apart at once"
)]
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

    /// The base of a log, for its owner, who knows that it begins at this index.
    pub async fn base_at(
        &self,
        worker: &WorkerId,
        first: OplogIndex,
    ) -> Result<Checkpoint, WorkerError> {
        self.bases.at(worker, first).await.map_err(|reason| base_failure(first, &reason))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{BASE, Binding, Body, entry_hash, seal};
    use emet_model::{ComponentId, IdempotencyKey, Timestamp};
    use emet_oplog::{Create, EntryKind, Invocation, Payload};
    use emet_storage::memory::{MemoryBlob, MemoryLog};
    use emet_storage::{Append, Summary, Trim};
    use uuid::Uuid;

    fn worker() -> WorkerId {
        WorkerId::new(ComponentId(Uuid::nil()), "w")
    }

    fn invocation(key: &str) -> Invocation {
        let (key, function) = (IdempotencyKey(key.into()), "f".to_owned());
        Invocation { key, function, parameters: Payload::empty(), trace: Vec::new() }
    }

    /// A log with everything that takes back or replaces what was before it.
    fn log() -> Vec<Entry> {
        let begin = |key| EntryKind::Invoked(invocation(key));
        let done = || EntryKind::Completed { response: Payload::empty(), consumed_fuel: 0 };
        let snapshot = Some(Payload::Inline(Bytes::from_static(b"state")));
        let kinds = vec![
            EntryKind::Create(Box::new(Create {
                worker_id: worker(),
                component_version: 3,
                args: Vec::new(),
                env: Vec::new(),
                parent: None,
                component_size: 10,
                initial_memory: 65536,
            })),
            begin("a"),
            done(), // 3
            EntryKind::PendingInvocation(invocation("b")),
            EntryKind::CreateResource(0),
            begin("b"),
            EntryKind::PendingInvocation(invocation("q")),
            done(), // 8: idle, with one in the queue
            begin("c"),
            EntryKind::NoOp,
            EntryKind::Jump { start: 10, end: 11 },
            EntryKind::GrowMemory(65536),
            done(), // 13
            begin("q"),
            done(), // 15
            begin("e"),
            done(),
            EntryKind::Revert { start: 16, end: 17 }, // 18
            EntryKind::PendingManualUpdate { target: 4 },
            EntryKind::PendingUpdate { target: 4, snapshot },
            EntryKind::SuccessfulUpdate { target: 4, component_size: 5, initial_memory: 6 }, // 21
            begin("g"),
            done(), // 23
            begin("h"),
            done(),
            EntryKind::Revert { start: 24, end: 25 }, // 26
            begin("i"),
            done(), // 28
        ];
        let timed = kinds.into_iter().zip(1000..);
        timed.map(|(kind, time)| Entry { timestamp: Timestamp(time), kind }).collect()
    }

    /// Places at which the worker is idle, and that nothing behind them takes back.
    const CUTS: [u64; 8] = [3, 8, 13, 15, 18, 21, 23, 28];

    fn folded(log: &[Entry]) -> WorkerState {
        let mut fold = Fold::new();
        loop {
            let from = usize::try_from(fold.state().index).unwrap();
            for (entry, index) in log.iter().zip(1..).skip(from) {
                fold.apply(index, entry);
            }
            match fold.finish() {
                Ok(state) => return state,
                Err(again) => fold = again,
            }
        }
    }

    /// The log in a store, with the state up to an index cached in its head.
    async fn stored(cached: Option<(u64, Bytes)>) -> Logs {
        let (store, blobs) = (Arc::new(MemoryLog::new()), Arc::new(MemoryBlob::new()));
        let records: Vec<Bytes> = log().iter().map(codec::encode).collect();
        let at = cached.as_ref().map_or(0, |(index, _)| usize::try_from(*index).unwrap());
        let (before, after) = records.split_at(at);
        let summary = cached.map(|(index, data)| Summary { index, data });
        for (records, summary) in [(before, summary), (after, None)] {
            let expected = store.head(&log_key(&worker())).await.unwrap().map_or(0, |h| h.last) + 1;
            let (key, records) = (log_key(&worker()), records.to_vec());
            let append = Append { key, epoch: 1, expected, records, unfinished: None, summary };
            store.append(append).await.unwrap();
        }
        Logs::new(store.clone(), Bases::new(blobs, store))
    }

    fn base(entry: &Entry, index: u64, state: &WorkerState) -> Bytes {
        let binding = Binding {
            component: worker().component_id.to_string(),
            worker: worker().worker_name,
            index,
            entry: entry_hash(&codec::encode(entry)),
            ..Binding::default()
        };
        let state = summary::encode_without_results(state, index);
        seal(BASE, binding, state, Vec::new(), &Body::default()).unwrap()
    }

    async fn trim(logs: &Logs, index: u64) {
        let key = log_key(&worker());
        let sequence = logs.store.head(&key).await.unwrap().unwrap().sequence;
        let trim = Trim { key, sequence, epoch: 1, through: index - 1 };
        logs.store.trim(trim).await.unwrap();
    }

    /// Law L5 holds of what is left: wherever the log was cut, and whatever is cached, it adds up to
    /// what the whole log adds up to, but for the results that are kept apart.
    #[tokio::test]
    async fn a_log_without_its_beginning_adds_up_to_the_same() {
        let log = log();
        let last = log.len() as u64;
        for cut in CUTS {
            let state = folded(&log[..usize::try_from(cut).unwrap()]);
            let mut expected = folded(&log);
            expected.put_results_aside(cut);
            for cached_at in 0..=last {
                let cached = (cached_at > 0).then(|| {
                    let state = folded(&log[..usize::try_from(cached_at).unwrap()]);
                    (cached_at, summary::encode(&state))
                });
                let logs = stored(cached).await;
                let stored = base(&log[usize::try_from(cut).unwrap() - 1], cut, &state);
                logs.bases.write(&worker(), cut, stored).await.unwrap();
                trim(&logs, cut).await;
                assert_eq!(logs.first(&worker()).await.unwrap(), cut);
                let head = logs.store.head(&log_key(&worker())).await.unwrap().unwrap();
                for mut found in [
                    logs.state(&worker()).await.unwrap(),
                    logs.shown(&worker(), &head).await.unwrap(),
                    logs.state_until(&worker(), last).await.unwrap(),
                ] {
                    found.put_results_aside(cut);
                    assert_eq!(found, expected, "cut at {cut}, cached at {cached_at}");
                }
            }
        }
    }

    /// A log that begins late is never taken for a whole one.
    #[tokio::test]
    async fn without_its_base_it_is_an_error() {
        let log = log();
        for what in ["none", "damaged", "of another log", "taken back"] {
            let logs = stored(None).await;
            let cut = if what == "taken back" { 17 } else { 15 };
            let at = usize::try_from(cut).unwrap();
            let state = folded(&log[..at]);
            let entry = if what == "of another log" { &log[0] } else { &log[at - 1] };
            let mut stored = base(entry, cut, &state).to_vec();
            if what == "damaged" {
                stored[20] ^= 1;
            }
            if what != "none" {
                let written = logs.bases.write(&worker(), cut, stored.into()).await;
                assert_eq!(written.is_ok(), what == "taken back", "{what}");
            }
            trim(&logs, cut).await;
            let error = logs.state(&worker()).await.unwrap_err();
            assert!(matches!(error, WorkerError::FailedToResumeWorker { .. }), "{what}: {error}");
        }
    }
}
