//! Promises: values that a worker waits for and somebody delivers (guest spec 4.1).

use bytes::Bytes;
use emet_model::{PromiseId, WorkerError, WorkerId};
use emet_storage::{Batch, KvStore};
use std::sync::Arc;

const SPACE: &str = "promises";
/// First byte of a stored promise.
const PENDING: u8 = 0;
const COMPLETE: u8 = 1;

/// State of a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromiseState {
    /// Nobody completed it.
    Pending,
    /// Its value.
    Complete(Bytes),
}

/// The promises of a node. A record is a tag byte and the value.
#[derive(Clone)]
pub struct Promises {
    kv: Arc<dyn KvStore>,
}

fn prefix(worker: &WorkerId) -> Vec<u8> {
    let name = worker.worker_name.as_bytes();
    let mut key = worker.component_id.0.as_bytes().to_vec();
    key.extend(u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes());
    key.extend(name);
    key
}

fn key(id: &PromiseId) -> Vec<u8> {
    let mut key = prefix(&id.worker_id);
    key.extend(id.oplog_idx.to_be_bytes());
    key
}

fn failed(error: impl std::fmt::Display) -> WorkerError {
    WorkerError::unknown(format!("promises: {error}"))
}

impl Promises {
    /// Promises in a store.
    pub fn new(kv: Arc<dyn KvStore>) -> Self {
        Self { kv }
    }

    /// Makes a promise, unless it exists.
    pub async fn create(&self, id: &PromiseId) -> Result<(), WorkerError> {
        let key = key(id);
        let batch = Batch::new().if_absent(SPACE, key.clone()).put(SPACE, key, Bytes::from_static(&[PENDING]));
        self.kv.apply(batch).await.map_err(failed).map(drop)
    }

    /// The state; none if there is no such promise.
    pub async fn get(&self, id: &PromiseId) -> Result<Option<PromiseState>, WorkerError> {
        let found = self.kv.get(SPACE, &key(id)).await.map_err(failed)?;
        Ok(found.map(|record| match record.first() {
            Some(&COMPLETE) => PromiseState::Complete(record.slice(1..)),
            _ => PromiseState::Pending,
        }))
    }

    /// Completes a promise: the first one wins. False if it was complete before.
    pub async fn complete(&self, id: &PromiseId, data: &[u8]) -> Result<bool, WorkerError> {
        let key = key(id);
        let record: Bytes = [&[COMPLETE], data].concat().into();
        let pending = Bytes::from_static(&[PENDING]);
        let batch = Batch::new().if_equal(SPACE, key.clone(), pending).put(SPACE, key, record);
        if self.kv.apply(batch).await.map_err(failed)? {
            return Ok(true);
        }
        match self.get(id).await? {
            Some(_) => Ok(false),
            None => Err(WorkerError::PromiseNotFound { promise_id: id.clone() }),
        }
    }

    /// Removes a promise.
    pub async fn delete(&self, id: &PromiseId) -> Result<(), WorkerError> {
        self.kv.apply(Batch::new().delete(SPACE, key(id))).await.map_err(failed).map(drop)
    }

    /// Removes all promises of a worker.
    pub async fn delete_all(&self, worker: &WorkerId) -> Result<(), WorkerError> {
        let prefix = prefix(worker);
        loop {
            let found = self.kv.scan(SPACE, &prefix, None, 1000).await.map_err(failed)?;
            if found.is_empty() {
                return Ok(());
            }
            let batch = found.into_iter().fold(Batch::new(), |batch, (key, _)| batch.delete(SPACE, key));
            self.kv.apply(batch).await.map_err(failed)?;
        }
    }
}
