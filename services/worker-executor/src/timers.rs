//! Durable timers: wake-ups and scheduled invocations. Each is a record with its own id; due ones
//! survive any outage, and equal ones do not collapse (W8).

use bytes::Bytes;
use emet_model::{Timestamp, WorkerError, WorkerId};
use emet_runtime::log::now;
use emet_storage::{Batch, KvStore};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use uuid::Uuid;

const SPACE: &str = "timers";
/// The timers of single workers: a worker, then the key of its timer.
const OWNED: &str = "worker-timers";
/// Due timers taken at a time.
const PAGE: usize = 256;

/// What the keys of a worker's timers start with.
fn owner_prefix(worker: &WorkerId) -> Vec<u8> {
    let name = worker.worker_name.as_bytes();
    let length = u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes();
    [worker.component_id.0.as_bytes(), length.as_slice(), name].concat()
}

fn new_key(at: Timestamp) -> Vec<u8> {
    [at.0.to_be_bytes().as_slice(), Uuid::new_v4().as_bytes()].concat()
}

/// The timers of a node: keys are the due time and an id, so the first key is due first.
#[derive(Clone)]
pub(crate) struct Timers {
    kv: Arc<dyn KvStore>,
    added: Arc<Notify>,
}

/// A timer that is due.
pub(crate) struct Due {
    key: Vec<u8>,
    pub(crate) action: Bytes,
}

fn failed(error: impl std::fmt::Display) -> WorkerError {
    WorkerError::unknown(format!("timers: {error}"))
}

fn due_at(key: &[u8]) -> Timestamp {
    Timestamp(key.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)))
}

impl Timers {
    pub(crate) fn new(kv: Arc<dyn KvStore>) -> Self {
        Self { kv, added: Arc::new(Notify::new()) }
    }

    /// Adds a timer; it is durable when this returns. The id can remove it.
    pub(crate) async fn add(&self, at: Timestamp, action: Bytes) -> Result<String, WorkerError> {
        let key = new_key(at);
        let id = key.iter().map(|b| format!("{b:02x}")).collect();
        self.kv.apply(Batch::new().put(SPACE, key, action)).await.map_err(failed)?;
        self.added.notify_one();
        Ok(id)
    }

    /// Adds a timer that belongs to a worker and goes with it.
    pub(crate) async fn add_of(
        &self,
        worker: &WorkerId,
        at: Timestamp,
        action: Bytes,
    ) -> Result<(), WorkerError> {
        let key = new_key(at);
        let owned = [owner_prefix(worker), key.clone()].concat();
        let batch = Batch::new().put(SPACE, key, action).put(OWNED, owned, Bytes::new());
        self.kv.apply(batch).await.map_err(failed)?;
        self.added.notify_one();
        Ok(())
    }

    /// Removes all timers of a worker.
    pub(crate) async fn remove_of(&self, worker: &WorkerId) -> Result<(), WorkerError> {
        let prefix = owner_prefix(worker);
        loop {
            let owned = self.kv.scan(OWNED, &prefix, None, PAGE).await.map_err(failed)?;
            if owned.is_empty() {
                return Ok(());
            }
            let batch = owned.into_iter().fold(Batch::new(), |batch, (owned, _)| {
                let key = owned.get(prefix.len()..).unwrap_or_default().to_vec();
                batch.delete(SPACE, key).delete(OWNED, owned)
            });
            self.kv.apply(batch).await.map_err(failed)?;
        }
    }

    /// Removes a timer by its id; one that has fired is no error.
    pub(crate) async fn remove(&self, id: &str) -> Result<(), WorkerError> {
        let digits = id.as_bytes().chunks(2).map(|d| std::str::from_utf8(d).ok().and_then(|d| u8::from_str_radix(d, 16).ok()));
        let key: Option<Vec<u8>> = digits.collect();
        let key = key.ok_or_else(|| WorkerError::invalid(format!("not the id of a scheduled invocation: {id}")))?;
        self.kv.apply(Batch::new().delete(SPACE, key)).await.map_err(failed).map(drop)
    }

    /// Waits for the next due timers. They stay stored until [`Self::done`].
    pub(crate) async fn next_due(&self) -> Result<Vec<Due>, WorkerError> {
        loop {
            let first = self.kv.scan(SPACE, &[], None, PAGE).await.map_err(failed)?;
            let present = now();
            let next = first.first().map(|(key, _)| due_at(key));
            let due: Vec<Due> =
                first.into_iter().take_while(|(key, _)| due_at(key) <= present).map(|(key, action)| Due { key, action }).collect();
            if !due.is_empty() {
                return Ok(due);
            }
            let wait = next.map_or(Duration::from_secs(3600), |at| Duration::from_millis(at.0.saturating_sub(present.0)));
            // In steps, so that a change of the system clock is noticed.
            drop(tokio::time::timeout(wait.min(Duration::from_secs(5)), self.added.notified()).await);
        }
    }

    /// Forgets a timer whose action was carried out; `owner` is the worker that it belonged to.
    pub(crate) async fn done(
        &self,
        due: &Due,
        owner: Option<&WorkerId>,
    ) -> Result<(), WorkerError> {
        let mut batch = Batch::new().delete(SPACE, due.key.clone());
        if let Some(worker) = owner {
            batch = batch.delete(OWNED, [owner_prefix(worker), due.key.clone()].concat());
        }
        self.kv.apply(batch).await.map_err(failed).map(drop)
    }
}
