//! Where checkpoints are kept, and the results that a folded state leaves out.
//!
//! A checkpoint is an object `checkpoints/<component>/<SHA-256 of the name>/<index>`. Which ones a worker
//! has is a key-value record: to list objects takes longer than to read one. Results are key-value
//! records, so that one is found without reading the others: the state of a worker with a million
//! results stays small. They are stored before the checkpoint that relies on them.

use super::format::Checkpoint;
use super::kept::KEPT;
use crate::log::{OplogWriter, log_failure, log_key};
use bytes::{BufMut, Bytes};
use emet_model::{IdempotencyKey, OplogIndex, Timestamp, WorkerError, WorkerId};
use emet_oplog::{Finished, Outcome, Regions, WorkerState};
use emet_storage::{Batch, BlobStore, KvStore, LogStore};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Space of the results.
const RESULTS: &str = "checkpoint-results";
/// Checkpoints of a worker that are kept.
const KEEP: usize = 2;
/// Results written or removed at a time.
pub(super) const BATCH: usize = 1000;

/// The checkpoints of a node's workers.
#[derive(Clone)]
pub struct CheckpointStore {
    blobs: Arc<dyn BlobStore>,
    pub(super) kv: Arc<dyn KvStore>,
    log: Arc<dyn LogStore>,
}

pub(super) fn failed(error: impl std::fmt::Display) -> WorkerError {
    WorkerError::unknown(format!("checkpoints: {error}"))
}

pub(super) fn name_hash(worker: &WorkerId) -> String {
    Sha256::digest(worker.worker_name.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

/// Everything of a worker is below this.
fn prefix(worker: &WorkerId) -> String {
    format!("checkpoints/{}/{}/", worker.component_id, name_hash(worker))
}

fn object_key(worker: &WorkerId, index: OplogIndex) -> String {
    format!("{}{index:020}", prefix(worker))
}

/// SHA-256 of a stored entry: binds a checkpoint to the log that it was taken of.
pub fn entry_hash(record: &[u8]) -> Vec<u8> {
    Sha256::digest(record).to_vec()
}

/// All results of a worker start with this; the record of its checkpoints has just this for a key.
fn results_prefix(worker: &WorkerId) -> Vec<u8> {
    [
        worker.component_id.0.as_bytes().as_slice(),
        Sha256::digest(worker.worker_name.as_bytes()).as_slice(),
    ]
    .concat()
}

/// The keys of a worker's results. One that was deleted and made again has other results: the time of
/// its creation is part of them.
pub(super) struct ResultKeys(Vec<u8>);

impl ResultKeys {
    pub(super) fn new(worker: &WorkerId, created_at: Timestamp) -> Self {
        Self([results_prefix(worker).as_slice(), &created_at.0.to_be_bytes()].concat())
    }

    pub(super) fn of(&self, key: &IdempotencyKey) -> Vec<u8> {
        [self.0.as_slice(), Sha256::digest(key.0.as_bytes()).as_slice()].concat()
    }
}

fn encode(finished: Finished) -> Bytes {
    let (tag, index) = match finished.outcome {
        Outcome::Completed(index) => (0u8, index),
        Outcome::Failed(index) => (1, index),
        Outcome::Exited(index) => (2, index),
    };
    let mut record = Vec::with_capacity(17);
    record.put_u8(tag);
    record.put_u64(index);
    record.put_u64(finished.start);
    record.into()
}

fn decode(record: &[u8]) -> Option<Finished> {
    let (tag, rest) = record.split_first()?;
    let (index, start) = rest.split_first_chunk::<8>()?;
    let (index, start) =
        (OplogIndex::from_be_bytes(*index), OplogIndex::from_be_bytes(start.try_into().ok()?));
    let outcome = match tag {
        0 => Outcome::Completed(index),
        1 => Outcome::Failed(index),
        2 => Outcome::Exited(index),
        _ => return None,
    };
    Some(Finished { start, outcome })
}

impl CheckpointStore {
    /// Checkpoints in these stores.
    pub fn new(blobs: Arc<dyn BlobStore>, kv: Arc<dyn KvStore>, log: Arc<dyn LogStore>) -> Self {
        Self { blobs, kv, log }
    }

    /// The newest checkpoint, up to an index, that can be read and was taken of this log. Whatever
    /// is wrong with one, another or none is used.
    pub async fn newest(&self, worker: &WorkerId, up_to: OplogIndex) -> Option<Checkpoint> {
        let held = self.held(worker).await.unwrap_or_default();
        for index in held.into_iter().filter(|index| *index <= up_to) {
            match self.read(worker, index).await {
                Ok(checkpoint) => return Some(checkpoint),
                Err(reason) => {
                    tracing::info!(%worker, index, %reason, "a checkpoint is left aside")
                }
            }
        }
        None
    }

    /// Indexes of the checkpoints that a worker may have, the last one written first.
    async fn held(&self, worker: &WorkerId) -> Result<Vec<OplogIndex>, WorkerError> {
        let record = self.kv.get(RESULTS, &results_prefix(worker)).await.map_err(failed)?;
        let (indexes, _) = record.as_deref().unwrap_or_default().as_chunks();
        Ok(indexes.iter().map(|index| OplogIndex::from_be_bytes(*index)).collect())
    }

    async fn read(&self, worker: &WorkerId, index: OplogIndex) -> Result<Checkpoint, String> {
        let object = self.blobs.get(&object_key(worker, index)).await;
        let bytes = object.map_err(|e| e.to_string())?.ok_or("it is gone")?;
        let checkpoint = Checkpoint::open(&bytes)?;
        let binding = &checkpoint.binding;
        if !binding.is_of(worker) || binding.index != index {
            return Err("it is of another worker or index".into());
        }
        let entry =
            self.log.read(&log_key(worker), binding.index, 1).await.map_err(|e| e.to_string())?;
        let known = entry
            .first()
            .filter(|record| record.index == binding.index)
            .map(|record| entry_hash(&record.data));
        if known.as_ref() == Some(&binding.entry) {
            Ok(checkpoint)
        } else {
            Err("it is of another log".into())
        }
    }

    /// Keeps a checkpoint and removes older ones but for the last few. The record has all that there
    /// are at any moment, so that a crash leaves none that nobody removes.
    pub async fn save(
        &self,
        worker: &WorkerId,
        index: OplogIndex,
        checkpoint: Bytes,
    ) -> Result<(), WorkerError> {
        let mut held = self.held(worker).await?;
        held.retain(|other| *other != index);
        for old in held.iter().skip(KEEP - 1) {
            self.blobs.delete(&object_key(worker, *old)).await.map_err(failed)?;
        }
        let indexes = std::iter::once(&index).chain(held.iter().take(KEEP - 1));
        let record: Vec<u8> = indexes.flat_map(|index| index.to_be_bytes()).collect();
        let batch = Batch::new().put(RESULTS, results_prefix(worker), record);
        self.kv.apply(batch).await.map_err(failed)?;
        self.blobs.put(&object_key(worker, index), checkpoint).await.map_err(failed)
    }

    /// Stores results; to be durable before a checkpoint that relies on them.
    pub async fn save_results(
        &self,
        worker: &WorkerId,
        created_at: Timestamp,
        results: &[(IdempotencyKey, Finished)],
    ) -> Result<(), WorkerError> {
        let keys = ResultKeys::new(worker, created_at);
        for chunk in results.chunks(BATCH) {
            let batch = chunk.iter().fold(Batch::new(), |batch, (key, finished)| {
                batch.put(RESULTS, keys.of(key), encode(*finished))
            });
            self.kv.apply(batch).await.map_err(failed)?;
        }
        Ok(())
    }

    /// A result that the folded state has left out: it counts up to the index that the state says,
    /// and unless it was taken back.
    pub async fn result(
        &self,
        worker: &WorkerId,
        state: &ResultsPlace,
        key: &IdempotencyKey,
    ) -> Result<Option<Finished>, WorkerError> {
        if state.stored == 0 {
            return Ok(None);
        }
        let at = ResultKeys::new(worker, state.created_at).of(key);
        let found = self.kv.get(RESULTS, &at).await.map_err(failed)?;
        let finished = found.and_then(|record| decode(&record));
        let counts = |index| index <= state.stored && !state.deleted.contains(index);
        Ok(finished.filter(|finished| counts(finished.outcome.index())))
    }

    /// Removes the checkpoints of a worker; their record goes with the results.
    pub async fn delete(&self, worker: &WorkerId) -> Result<(), WorkerError> {
        self.blobs.delete_prefix(&prefix(worker)).await.map_err(failed)
    }

    /// Removes the results, and the record of the checkpoints, of a worker whose log is gone.
    pub async fn delete_results(&self, worker: &WorkerId) -> Result<(), WorkerError> {
        self.delete_in(RESULTS, worker).await?;
        self.delete_in(KEPT, worker).await
    }

    async fn delete_in(&self, space: &str, worker: &WorkerId) -> Result<(), WorkerError> {
        loop {
            let found =
                self.kv.scan(space, &results_prefix(worker), None, BATCH).await.map_err(failed)?;
            if found.is_empty() {
                return Ok(());
            }
            let batch =
                found.into_iter().fold(Batch::new(), |batch, (key, _)| batch.delete(space, key));
            self.kv.apply(batch).await.map_err(failed)?;
        }
    }

    /// The stored form of an entry; it must be durable.
    pub async fn record(
        &self,
        writer: &OplogWriter,
        index: OplogIndex,
    ) -> Result<Bytes, WorkerError> {
        let records =
            self.log.read(&log_key(&writer.worker), index, 1).await.map_err(|e| log_failure(&e))?;
        let record = records.into_iter().find(|record| record.index == index);
        record.map(|record| record.data).ok_or_else(|| failed(format!("entry {index} is missing")))
    }
}

/// Where results are that a folded state has left out.
#[derive(Clone, Debug)]
pub struct ResultsPlace {
    /// Time of the worker's creation.
    pub created_at: Timestamp,
    /// Results up to this index may have been left out.
    pub stored: OplogIndex,
    /// Results in these regions were taken back.
    pub deleted: Regions,
}

impl From<&WorkerState> for ResultsPlace {
    fn from(state: &WorkerState) -> Self {
        Self {
            created_at: state.created_at,
            stored: state.results_stored,
            deleted: state.deleted.clone(),
        }
    }
}
