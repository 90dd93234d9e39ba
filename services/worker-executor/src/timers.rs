//! Durable timers: wake-ups and scheduled invocations. Each is a record with its own id; due ones
//! survive any outage, and equal ones do not collapse (W8).
//!
//! The timers of a shard live in a space of their own and move with it. Of every shard held, only
//! the time of its next timer is in memory.

use bytes::Bytes;
use emet_model::{Timestamp, WorkerError, WorkerId};
use emet_runtime::log::now;
use emet_shard_map::ShardId;
use emet_storage::{Batch, KvStore};
use emet_telemetry::metrics::list::{TIMER_LAG_SECONDS, TIMERS_FIRED};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use uuid::Uuid;

/// Due timers taken at a time.
const PAGE: usize = 256;
/// Longest wait before the clock is read again, so that a change of it is noticed.
const STEP: Duration = Duration::from_secs(5);
/// Pause before the stores of all shards are looked at again: a timer that the previous owner was
/// still writing when the shard moved is found then.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Pause before a timer that could not be carried out is tried again.
const POSTPONED: u64 = 500;

/// Timers of a shard: keys are the due time and an id, so the first key is due first. The braces
/// keep everything of a shard together in a store that spreads keys.
fn space(shard: ShardId) -> String {
    format!("{{s{shard}}}timers")
}

/// The timers of single workers of a shard: a worker, then the key of its timer.
fn owned_space(shard: ShardId) -> String {
    format!("{{s{shard}}}worker-timers")
}

/// What the keys of a worker's timers start with.
fn owner_prefix(worker: &WorkerId) -> Vec<u8> {
    let name = worker.worker_name.as_bytes();
    let length = u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes();
    [worker.component_id.0.as_bytes(), length.as_slice(), name].concat()
}

fn new_key(at: Timestamp, number: Uuid) -> Vec<u8> {
    [at.0.to_be_bytes().as_slice(), number.as_bytes()].concat()
}

/// The timers of the shards held. Clones share them.
#[derive(Clone)]
pub(crate) struct Timers {
    kv: Arc<dyn KvStore>,
    /// When the first timer of a shard is due, as far as is known: perhaps earlier, never later.
    next: Arc<Mutex<BTreeMap<ShardId, Timestamp>>>,
    changed: Arc<Notify>,
}

/// A timer that is due.
pub(crate) struct Due {
    shard: ShardId,
    key: Vec<u8>,
    pub(crate) action: Bytes,
}

impl Due {
    /// Counts an attempt to carry it out.
    pub(crate) fn count(&self, outcome: &Result<(), WorkerError>) {
        let outcome = match outcome {
            Ok(()) => "done",
            Err(WorkerError::Unknown { .. }) => "again",
            Err(_) => "refused",
        };
        TIMERS_FIRED.with([outcome]).inc();
        TIMER_LAG_SECONDS
            .record(Duration::from_millis(now().0.saturating_sub(due_at(&self.key).0)));
    }
}

fn failed(error: impl std::fmt::Display) -> WorkerError {
    WorkerError::unknown(format!("timers: {error}"))
}

fn due_at(key: &[u8]) -> Timestamp {
    Timestamp(key.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)))
}

fn write_id(shard: ShardId, key: &[u8]) -> String {
    let digits: String = key.iter().map(|b| format!("{b:02x}")).collect();
    format!("{shard}-{digits}")
}

fn parse_id(id: &str) -> Option<(ShardId, Vec<u8>)> {
    let (shard, digits) = id.split_once('-')?;
    let bytes = digits
        .as_bytes()
        .chunks(2)
        .map(|d| std::str::from_utf8(d).ok().and_then(|d| u8::from_str_radix(d, 16).ok()));
    Some((shard.parse().ok()?, bytes.collect::<Option<_>>()?))
}

impl Timers {
    pub(crate) fn new(kv: Arc<dyn KvStore>) -> Self {
        Self { kv, next: Arc::default(), changed: Arc::default() }
    }

    /// Starts to carry out the timers of shards.
    pub(crate) fn watch(&self, shards: &BTreeSet<ShardId>) {
        self.next.lock().extend(shards.iter().map(|shard| (*shard, Timestamp(0))));
        self.changed.notify_one();
    }

    /// Leaves the timers of shards to others.
    pub(crate) fn unwatch(&self, shards: &BTreeSet<ShardId>) {
        self.next.lock().retain(|shard, _| !shards.contains(shard));
    }

    /// Adds a timer; it is durable when this returns. One with the same time and number is the
    /// same. The id can remove it.
    pub(crate) async fn add(
        &self,
        shard: ShardId,
        at: Timestamp,
        number: Uuid,
        action: Bytes,
    ) -> Result<String, WorkerError> {
        let key = new_key(at, number);
        let id = write_id(shard, &key);
        self.kv.apply(Batch::new().put(space(shard), key, action)).await.map_err(failed)?;
        self.expect(shard, at);
        Ok(id)
    }

    /// Adds a timer that belongs to a worker and goes with it.
    pub(crate) async fn add_of(
        &self,
        shard: ShardId,
        worker: &WorkerId,
        at: Timestamp,
        action: Bytes,
    ) -> Result<(), WorkerError> {
        let key = new_key(at, Uuid::new_v4());
        let owned = [owner_prefix(worker), key.clone()].concat();
        let batch = Batch::new().put(space(shard), key, action).put(
            owned_space(shard),
            owned,
            Bytes::new(),
        );
        self.kv.apply(batch).await.map_err(failed)?;
        self.expect(shard, at);
        Ok(())
    }

    /// Removes all timers of a worker.
    pub(crate) async fn remove_of(
        &self,
        shard: ShardId,
        worker: &WorkerId,
    ) -> Result<(), WorkerError> {
        let (prefix, owned_space) = (owner_prefix(worker), owned_space(shard));
        loop {
            let owned = self.kv.scan(&owned_space, &prefix, None, PAGE).await.map_err(failed)?;
            if owned.is_empty() {
                return Ok(());
            }
            let batch = owned.into_iter().fold(Batch::new(), |batch, (owned, _)| {
                let key = owned.get(prefix.len()..).unwrap_or_default().to_vec();
                batch.delete(space(shard), key).delete(owned_space.clone(), owned)
            });
            self.kv.apply(batch).await.map_err(failed)?;
        }
    }

    /// Notes that a timer of a shard is due at a time.
    fn expect(&self, shard: ShardId, at: Timestamp) {
        if let Some(next) = self.next.lock().get_mut(&shard) {
            *next = at.min(*next);
        }
        self.changed.notify_one();
    }

    /// Removes a timer by its id; one that has fired is no error.
    pub(crate) async fn remove(&self, id: &str) -> Result<(), WorkerError> {
        let parsed = parse_id(id).ok_or_else(|| {
            WorkerError::invalid(format!("not the id of a scheduled invocation: {id}"))
        })?;
        let (shard, key) = parsed;
        self.kv.apply(Batch::new().delete(space(shard), key)).await.map_err(failed).map(drop)
    }

    /// Waits for the next due timers, of one shard. They stay stored until [`Self::done`].
    pub(crate) async fn next_due(&self) -> Result<Vec<Due>, WorkerError> {
        let mut looked = Instant::now();
        loop {
            if looked.elapsed() > LOOK_AGAIN {
                self.next.lock().values_mut().for_each(|next| *next = Timestamp(0));
                looked = Instant::now();
            }
            let first = self.next.lock().iter().map(|(shard, next)| (*next, *shard)).min();
            let present = now();
            match first {
                Some((at, shard)) if at <= present => {
                    let due = self.due_of(shard, present).await?;
                    if !due.is_empty() {
                        return Ok(due);
                    }
                }
                _ => {
                    let wait = first.map_or(STEP, |(at, _)| {
                        Duration::from_millis(at.0.saturating_sub(present.0))
                    });
                    drop(tokio::time::timeout(wait.min(STEP), self.changed.notified()).await);
                }
            }
        }
    }

    /// The timers of a shard that are due, and a note of when the next one is.
    async fn due_of(&self, shard: ShardId, present: Timestamp) -> Result<Vec<Due>, WorkerError> {
        // Set before reading: a timer added meanwhile lowers it again.
        if let Some(next) = self.next.lock().get_mut(&shard) {
            *next = Timestamp(u64::MAX);
        }
        let found = self.kv.scan(&space(shard), &[], None, PAGE).await;
        let found = found
            .inspect_err(|_| self.expect(shard, Timestamp(present.0 + POSTPONED)))
            .map_err(failed)?;
        let waiting = found.iter().map(|(key, _)| due_at(key)).find(|at| *at > present);
        let due = found.into_iter().take_while(|(key, _)| due_at(key) <= present);
        let due: Vec<Due> = due.map(|(key, action)| Due { shard, key, action }).collect();
        let next = match (due.is_empty(), waiting) {
            // What is due is carried out first; then the shard is looked at again.
            (false, _) => Some(present),
            (true, waiting) => waiting,
        };
        if let Some(next) = next {
            self.expect(shard, next);
        }
        Ok(due)
    }

    /// Tries the timers of a shard again after a pause.
    pub(crate) fn postpone(&self, due: &Due) {
        if let Some(next) = self.next.lock().get_mut(&due.shard) {
            *next = Timestamp(now().0 + POSTPONED);
        }
    }

    /// Forgets a timer whose action was carried out; `owner` is the worker that it belonged to.
    pub(crate) async fn done(
        &self,
        due: &Due,
        owner: Option<&WorkerId>,
    ) -> Result<(), WorkerError> {
        let mut batch = Batch::new().delete(space(due.shard), due.key.clone());
        if let Some(worker) = owner {
            let owned = [owner_prefix(worker), due.key.clone()].concat();
            batch = batch.delete(owned_space(due.shard), owned);
        }
        self.kv.apply(batch).await.map_err(failed).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_shard_and_key() {
        let key = vec![0, 255, 16];
        assert_eq!(parse_id(&write_id(17, &key)), Some((17, key)));
        for wrong in ["", "17", "x-00", "17-0g", "-"] {
            assert_eq!(parse_id(wrong), None, "{wrong}");
        }
    }
}
