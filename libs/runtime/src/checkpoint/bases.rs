//! Bases: states that stand for entries which were dropped from a log (docs/checkpoints.md).
//!
//! A base is an object `bases/<component>/<SHA-256 of the name>/<index>`. A log that begins at an
//! index beyond the first goes on from the base at just that index; other bases are of no use to it.
//! Unlike a checkpoint a base is no cache: what it holds is nowhere else.

use super::format::Checkpoint;
use super::store::{entry_hash, failed, name_hash};
use crate::log::log_key;
use bytes::Bytes;
use emet_model::{OplogIndex, WorkerError, WorkerId};
use emet_storage::{BlobStore, LogStore};
use std::sync::Arc;

/// Objects listed at a time.
const PAGE: usize = 64;

/// What the state of a base depends on beside the component, for [`super::Binding::engine`]: how the
/// component was rewritten, but not which engine runs it.
pub fn rewriting_tag() -> String {
    format!("rewriting {}", emet_checkpoint::VERSION)
}

/// The bases of workers.
#[derive(Clone)]
pub struct Bases {
    blobs: Arc<dyn BlobStore>,
    log: Arc<dyn LogStore>,
}

/// Everything of a worker is below this.
fn prefix(worker: &WorkerId) -> String {
    format!("bases/{}/{}/", worker.component_id, name_hash(worker))
}

fn object_key(worker: &WorkerId, index: OplogIndex) -> String {
    format!("{}{index:020}", prefix(worker))
}

impl Bases {
    /// Bases in a blob store, of logs in a log store.
    pub fn new(blobs: Arc<dyn BlobStore>, log: Arc<dyn LogStore>) -> Self {
        Self { blobs, log }
    }

    /// The base that a worker's log goes on from, which begins at this index; the error says why
    /// there is none that can be used.
    pub async fn at(&self, worker: &WorkerId, index: OplogIndex) -> Result<Checkpoint, String> {
        let key = object_key(worker, index);
        let read = self.blobs.get(&key).await.map_err(|e| format!("{key} cannot be read: {e}"))?;
        let bytes = read.ok_or_else(|| format!("{key} is missing"))?;
        let base = Checkpoint::open_base(&bytes).map_err(|reason| format!("{key}: {reason}"))?;
        if !base.binding.is_of(worker) || base.binding.index != index {
            return Err(format!("{key}: it is of another worker or index"));
        }
        let records = self.log.read(&log_key(worker), index, 1).await.map_err(|e| e.to_string())?;
        let entry = records.first().filter(|record| record.index == index);
        if entry.map(|record| entry_hash(&record.data)).as_ref() != Some(&base.binding.entry) {
            return Err(format!("{key}: it is of another log"));
        }
        Ok(base)
    }

    /// Stores a base, and makes sure that what was stored can be read.
    pub async fn write(
        &self,
        worker: &WorkerId,
        index: OplogIndex,
        base: Bytes,
    ) -> Result<(), WorkerError> {
        let key = object_key(worker, index);
        self.blobs.put(&key, base.clone()).await.map_err(failed)?;
        let stored = self.blobs.get(&key).await.map_err(failed)?;
        if stored.as_ref() != Some(&base) {
            return Err(failed(format!("{key} was stored, but is not what is read")));
        }
        self.at(worker, index).await.map(drop).map_err(failed)
    }

    /// Removes the bases of a worker before an index, which its log begins at.
    pub async fn remove_before(
        &self,
        worker: &WorkerId,
        index: OplogIndex,
    ) -> Result<(), WorkerError> {
        let kept = object_key(worker, index);
        loop {
            let listed =
                self.blobs.list(&prefix(worker), None, PAGE).await.map_err(failed)?.into_iter();
            let old: Vec<String> = listed.map(|(key, _)| key).filter(|key| *key < kept).collect();
            for key in &old {
                self.blobs.delete(key).await.map_err(failed)?;
            }
            if old.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// Removes the bases of a worker whose log is gone.
    pub async fn delete(&self, worker: &WorkerId) -> Result<(), WorkerError> {
        self.blobs.delete_prefix(&prefix(worker)).await.map_err(failed)
    }
}
