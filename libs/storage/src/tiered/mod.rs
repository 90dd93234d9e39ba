//! Logs in two tiers: the newest records in a primary log store, older ones in compressed chunks in
//! a blob store.
//!
//! The order of every change is drawn in `docs/format/archive.md`: a chunk is durable before the
//! primary lets go of its records, and the primary refuses to let go under a lost epoch.

mod archiver;
mod chunk;
mod reader;

use crate::blob::{BlobError, BlobStore};
use crate::log::{Append, Head, LogError, LogKey, LogStore, Record, Trim};
use crate::shards::Shards;
use archiver::{Archiver, Job};
use async_trait::async_trait;
use reader::Cache;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Logs that may wait for being archived.
const QUEUE: usize = 1024;

/// How long logs may become in the primary store.
#[derive(Clone, Copy, Debug)]
pub struct TieredOptions {
    /// Records of one log that the primary store holds before older ones move; about half of
    /// them stay. At least 2.
    pub primary_records: u64,
    /// Memory for decoded chunks, in bytes.
    pub cache_bytes: usize,
}

impl Default for TieredOptions {
    fn default() -> Self {
        Self { primary_records: 8192, cache_bytes: 32 * 1024 * 1024 }
    }
}

/// A log store over a primary log store and a blob store. Clones share it.
#[derive(Clone)]
pub struct Tiered {
    tiers: Arc<Tiers>,
    queue: mpsc::Sender<Job>,
    /// Older records move when the log grew by this many.
    step: u64,
}

/// The two stores.
struct Tiers {
    primary: Arc<dyn LogStore>,
    blobs: Arc<dyn BlobStore>,
    cache: Cache,
}

impl Tiered {
    /// A store over two others. Starts the task that moves records; it ends with the store.
    #[must_use]
    pub fn new(
        primary: Arc<dyn LogStore>,
        blobs: Arc<dyn BlobStore>,
        options: TieredOptions,
    ) -> Self {
        let tiers = Arc::new(Tiers { primary, blobs, cache: Cache::new(options.cache_bytes) });
        let step = (options.primary_records / 2).max(1);
        let (queue, jobs) = mpsc::channel(QUEUE);
        tokio::spawn(Archiver { tiers: tiers.clone(), keep: step }.run(jobs));
        Self { tiers, queue, step }
    }

    /// Moves all records of a log but the newest `keep` to the archive; gives how many moved.
    ///
    /// # Errors
    /// [`LogError::Fenced`] under an epoch below the stored one; a failure of either store.
    pub async fn archive(&self, key: &LogKey, epoch: u64, keep: u64) -> Result<u64, LogError> {
        self.tiers.archive(key, epoch, keep).await
    }

    /// Waits until the moves that appends have caused so far are done.
    pub async fn idle(&self) {
        let (reply, done) = oneshot::channel();
        if self.queue.send(Job::Tell(reply)).await.is_ok() {
            // An error means that the task has ended: nothing is under way.
            let _ = done.await;
        }
    }

    /// Has older records moved if an append made a log long.
    fn grown(&self, key: LogKey, epoch: u64, before: u64, after: u64) {
        if before / self.step == after / self.step {
            return;
        }
        // A full queue is no harm: the log is looked at again when it has grown further.
        if self.queue.try_send(Job::Archive { key, epoch }).is_err() {
            tracing::warn!("the archive falls behind");
        }
    }
}

#[async_trait]
impl LogStore for Tiered {
    async fn append(&self, append: Append) -> Result<(), LogError> {
        let (key, epoch) = (append.key.clone(), append.epoch);
        let before = append.expected.saturating_sub(1);
        let after = before.saturating_add(append.records.len() as u64);
        self.tiers.primary.append(append).await?;
        self.grown(key, epoch, before, after);
        Ok(())
    }

    async fn read(&self, key: &LogKey, from: u64, max: usize) -> Result<Vec<Record>, LogError> {
        self.tiers.read(key, from, max).await
    }

    async fn head(&self, key: &LogKey) -> Result<Option<Head>, LogError> {
        self.tiers.primary.head(key).await
    }

    async fn fence(&self, key: &LogKey, epoch: u64) -> Result<(), LogError> {
        self.tiers.primary.fence(key, epoch).await
    }

    async fn fence_shard(&self, shard: u32, total: u32, epoch: u64) -> Result<(), LogError> {
        self.tiers.primary.fence_shard(shard, total, epoch).await
    }

    /// Fails if chunks may be left; it can be repeated then.
    async fn delete(&self, key: &LogKey, epoch: u64) -> Result<(), LogError> {
        self.tiers.primary.delete(key, epoch).await?;
        self.tiers.sweep(key).await
    }

    async fn list(
        &self,
        group: [u8; 16],
        after: u64,
        limit: usize,
    ) -> Result<Vec<(LogKey, Head)>, LogError> {
        self.tiers.primary.list(group, after, limit).await
    }

    async fn unfinished(&self, shards: &Shards) -> Result<Vec<LogKey>, LogError> {
        self.tiers.primary.unfinished(shards).await
    }

    async fn trim(&self, trim: Trim) -> Result<(), LogError> {
        self.tiers.trim(trim).await
    }
}

/// A failure of the archive, as one of a log.
fn log_error(error: BlobError) -> LogError {
    match error {
        BlobError::Full(reason) => LogError::Full(reason),
        BlobError::Io(reason) => LogError::Io(reason),
        BlobError::Invalid(reason) => LogError::Invalid(reason),
    }
}

fn corrupt(key: &LogKey, index: u64, reason: impl Into<String>) -> LogError {
    LogError::Corrupt { key: key.clone(), index, reason: reason.into() }
}
