//! Promises: values that a worker waits for and somebody delivers (guest spec 4.1).

use bytes::Bytes;
use emet_model::{ComponentId, PromiseId, WorkerError, WorkerId};
use emet_shard_map::{DEFAULT_SHARDS, shard_of};
use emet_storage::{Batch, KvStore};
use emet_telemetry::metrics::list::PROMISES;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use uuid::Uuid;

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
    /// Tells those who wait in memory that some promise of this node was completed.
    completed: Arc<Notify>,
}

fn prefix(worker: &WorkerId) -> Vec<u8> {
    let name = worker.worker_name.as_bytes();
    let mut key = worker.component_id.0.as_bytes().to_vec();
    key.extend(u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes());
    key.extend(name);
    key
}

/// The inverse of [`prefix`].
fn worker_of(key: &[u8]) -> Option<WorkerId> {
    let (component, rest) = key.split_at_checked(16)?;
    let name = std::str::from_utf8(rest.get(4..)?).ok()?;
    Some(WorkerId::new(ComponentId(Uuid::from_slice(component).ok()?), name))
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
        Self { kv, completed: Arc::new(Notify::new()) }
    }

    /// A space of the shard of a worker: promises move with the worker that made them. The braces
    /// keep everything of a shard together in a store that spreads keys.
    fn shard_space(worker: &WorkerId, name: &str) -> String {
        let shard = shard_of(worker.component_id.0, &worker.worker_name, DEFAULT_SHARDS);
        format!("{{s{shard}}}{name}")
    }

    /// Where the promises of a worker are.
    fn space(worker: &WorkerId) -> String {
        Self::shard_space(worker, "promises")
    }

    /// Where it is noted who waits for them.
    fn waiters_space(worker: &WorkerId) -> String {
        Self::shard_space(worker, "promise-waiters")
    }

    /// Makes a promise, unless it exists.
    pub async fn create(&self, id: &PromiseId) -> Result<(), WorkerError> {
        let space = Self::space(&id.worker_id);
        let key = key(id);
        let batch = Batch::new().if_absent(space.clone(), key.clone()).put(
            space,
            key,
            Bytes::from_static(&[PENDING]),
        );
        PROMISES.with(["created"]).inc();
        self.kv.apply(batch).await.map_err(failed).map(drop)
    }

    /// The state; none if there is no such promise.
    pub async fn get(&self, id: &PromiseId) -> Result<Option<PromiseState>, WorkerError> {
        let space = Self::space(&id.worker_id);
        let found = self.kv.get(&space, &key(id)).await.map_err(failed)?;
        Ok(found.map(|record| match record.first() {
            Some(&COMPLETE) => PromiseState::Complete(record.slice(1..)),
            _ => PromiseState::Pending,
        }))
    }

    /// Completes a promise: the first one wins. False if it was complete before.
    pub async fn complete(&self, id: &PromiseId, data: &[u8]) -> Result<bool, WorkerError> {
        let space = Self::space(&id.worker_id);
        let key = key(id);
        let record: Bytes = [&[COMPLETE], data].concat().into();
        let pending = Bytes::from_static(&[PENDING]);
        let batch =
            Batch::new().if_equal(space.clone(), key.clone(), pending).put(space, key, record);
        if self.kv.apply(batch).await.map_err(failed)? {
            PROMISES.with(["completed"]).inc();
            return Ok(true);
        }
        match self.get(id).await? {
            Some(_) => Ok(false),
            None => Err(WorkerError::PromiseNotFound { promise_id: id.clone() }),
        }
    }

    /// Notes that a worker waits for a promise. To be called before looking at its state, so that
    /// whoever completes it either sees the waiter or is seen by it.
    pub async fn add_waiter(&self, id: &PromiseId, waiter: &WorkerId) -> Result<(), WorkerError> {
        let space = Self::waiters_space(&id.worker_id);
        let key = [key(id), prefix(waiter)].concat();
        self.kv.apply(Batch::new().put(space, key, Bytes::new())).await.map_err(failed).map(drop)
    }

    /// The workers that wait for a promise. They stay noted until [`Self::forget_waiters`], so
    /// that one who could not be woken is found by the next attempt.
    pub async fn waiters(&self, id: &PromiseId) -> Result<Vec<WorkerId>, WorkerError> {
        let (space, prefix) = (Self::waiters_space(&id.worker_id), key(id));
        let found = self.kv.scan(&space, &prefix, None, usize::MAX).await.map_err(failed)?;
        self.completed.notify_waiters();
        Ok(found.iter().filter_map(|(key, _)| worker_of(key.get(prefix.len()..)?)).collect())
    }

    /// Forgets workers that waited for a promise and were woken.
    pub async fn forget_waiters(
        &self,
        id: &PromiseId,
        woken: &[WorkerId],
    ) -> Result<(), WorkerError> {
        let keys = woken.iter().map(|worker| [key(id), prefix(worker)].concat());
        let space = Self::waiters_space(&id.worker_id);
        let batch = keys.fold(Batch::new(), |batch, key| batch.delete(space.clone(), key));
        self.kv.apply(batch).await.map_err(failed).map(drop)
    }

    /// Waits until some promise of this node may have been completed.
    pub async fn changed(&self) {
        let notified = self.completed.notified();
        // The completion may happen on another node: look again from time to time.
        drop(tokio::time::timeout(Duration::from_secs(1), notified).await);
    }

    /// Removes a promise.
    pub async fn delete(&self, id: &PromiseId) -> Result<(), WorkerError> {
        let space = Self::space(&id.worker_id);
        self.kv.apply(Batch::new().delete(space, key(id))).await.map_err(failed).map(drop)
    }

    /// Removes all promises of a worker, and who waits for them.
    pub async fn delete_all(&self, worker: &WorkerId) -> Result<(), WorkerError> {
        let prefix = prefix(worker);
        for space in [Self::waiters_space(worker), Self::space(worker)] {
            loop {
                let found = self.kv.scan(&space, &prefix, None, 1000).await.map_err(failed)?;
                if found.is_empty() {
                    break;
                }
                let batch = found
                    .into_iter()
                    .fold(Batch::new(), |batch, (key, _)| batch.delete(space.clone(), key));
                self.kv.apply(batch).await.map_err(failed)?;
            }
        }
        Ok(())
    }
}
