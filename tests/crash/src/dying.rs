//! Stores that die at a chosen write of keys or objects, or trim of a log.

use crate::{Disk, Failure, Moment};
use async_trait::async_trait;
use bytes::Bytes;
use emet_storage::{
    Append, Batch, BlobError, BlobInfo, BlobStore, Head, KvError, KvStore, LogError, LogKey,
    LogStore, Record, Shards, Trim,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// When the stores of a disk die together: from the chosen write on every call fails.
pub struct Death {
    at: (u64, Moment),
    writes: AtomicU64,
    dead: AtomicBool,
}

/// What becomes of a write.
enum Fate {
    Done,
    DoneUnnoticed,
    Lost,
}

impl Death {
    /// Stores over those of a disk that die at the given write, counted from 1. Appends to logs are
    /// not counted: [`crate::CrashingLog`] dies at those.
    pub fn over(disk: &Disk, at: (u64, Moment)) -> (Arc<Self>, Disk) {
        let death = Arc::new(Self { at, writes: AtomicU64::new(0), dead: AtomicBool::new(false) });
        let (kv, blobs) = disk.keys_and_objects();
        let kv = Arc::new(DyingKv { inner: kv, death: death.clone() });
        let blobs = Arc::new(DyingBlobs { inner: blobs, death: death.clone() });
        let log = Arc::new(DyingLog { inner: disk.log().clone(), death: death.clone() });
        (death, disk.with_keys_and_objects(kv, blobs).with_log(log))
    }

    /// Whether they have died.
    pub fn has_come(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    fn fate(&self) -> Fate {
        if self.has_come() {
            return Fate::Lost;
        }
        let count = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        let (at, moment) = self.at;
        if count < at {
            return Fate::Done;
        }
        self.dead.store(true, Ordering::SeqCst);
        match moment {
            Moment::After if count == at => Fate::DoneUnnoticed,
            _ => Fate::Lost,
        }
    }

    /// Carries a write out, or not; an error if whoever asked for it must not learn that it was.
    async fn write<T, E>(
        &self,
        write: impl Future<Output = Result<T, E>>,
        dead: impl Fn() -> E,
    ) -> Result<T, E> {
        match self.fate() {
            Fate::Done => write.await,
            Fate::DoneUnnoticed => write.await.and_then(|_| Err(dead())),
            Fate::Lost => Err(dead()),
        }
    }

    fn read<E>(&self, dead: impl Fn() -> E) -> Result<(), E> {
        if self.has_come() { Err(dead()) } else { Ok(()) }
    }
}

/// More writes than a scenario can give.
const MOST: u64 = 200;

/// Runs a scenario that dies at each write in turn, before and after it, until one gets by without;
/// the scenario says whether it died. It must give more than `least` writes.
pub async fn at_every_write(
    least: u64,
    run: impl AsyncFn((u64, Moment)) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    for at in 1..MOST {
        let mut died = false;
        for moment in [Moment::Before, Moment::After] {
            died |= run((at, moment)).await?;
        }
        if !died {
            assert!(at > least, "{} writes", at - 1);
            return Ok(());
        }
    }
    Err("the writes do not end".into())
}

struct DyingKv {
    inner: Arc<dyn KvStore>,
    death: Arc<Death>,
}

fn dead_kv() -> KvError {
    KvError::Io("the node is dead".into())
}

#[async_trait]
impl KvStore for DyingKv {
    async fn get(&self, space: &str, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.death.read(dead_kv)?;
        self.inner.get(space, key).await
    }

    async fn get_many(&self, space: &str, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, KvError> {
        self.death.read(dead_kv)?;
        self.inner.get_many(space, keys).await
    }

    async fn apply(&self, batch: Batch) -> Result<bool, KvError> {
        self.death.write(self.inner.apply(batch), dead_kv).await
    }

    async fn scan(
        &self,
        space: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Bytes)>, KvError> {
        self.death.read(dead_kv)?;
        self.inner.scan(space, prefix, after, limit).await
    }
}

struct DyingBlobs {
    inner: Arc<dyn BlobStore>,
    death: Arc<Death>,
}

fn dead_blobs() -> BlobError {
    BlobError::Io("the node is dead".into())
}

#[async_trait]
impl BlobStore for DyingBlobs {
    async fn put(&self, key: &str, data: Bytes) -> Result<(), BlobError> {
        self.death.write(self.inner.put(key, data), dead_blobs).await
    }

    async fn put_if_absent(&self, key: &str, data: Bytes) -> Result<bool, BlobError> {
        self.death.write(self.inner.put_if_absent(key, data), dead_blobs).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, BlobError> {
        self.death.read(dead_blobs)?;
        self.inner.get(key).await
    }

    async fn get_range(&self, key: &str, start: u64, end: u64) -> Result<Option<Bytes>, BlobError> {
        self.death.read(dead_blobs)?;
        self.inner.get_range(key, start, end).await
    }

    async fn head(&self, key: &str) -> Result<Option<BlobInfo>, BlobError> {
        self.death.read(dead_blobs)?;
        self.inner.head(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        self.death.write(self.inner.delete(key), dead_blobs).await
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<(), BlobError> {
        self.death.write(self.inner.delete_prefix(prefix), dead_blobs).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, BlobInfo)>, BlobError> {
        self.death.read(dead_blobs)?;
        self.inner.list(prefix, after, limit).await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<bool, BlobError> {
        self.death.write(self.inner.copy(from, to), dead_blobs).await
    }

    fn local_path(&self, key: &str) -> Option<PathBuf> {
        self.inner.local_path(key)
    }
}

struct DyingLog {
    inner: Arc<dyn LogStore>,
    death: Arc<Death>,
}

fn dead_log() -> LogError {
    LogError::Poisoned("the node is dead".into())
}

#[async_trait]
impl LogStore for DyingLog {
    async fn append(&self, append: Append) -> Result<(), LogError> {
        self.death.read(dead_log)?;
        self.inner.append(append).await
    }

    async fn read(&self, key: &LogKey, from: u64, max: usize) -> Result<Vec<Record>, LogError> {
        self.death.read(dead_log)?;
        self.inner.read(key, from, max).await
    }

    async fn head(&self, key: &LogKey) -> Result<Option<Head>, LogError> {
        self.death.read(dead_log)?;
        self.inner.head(key).await
    }

    async fn fence(&self, key: &LogKey, epoch: u64) -> Result<(), LogError> {
        self.death.read(dead_log)?;
        self.inner.fence(key, epoch).await
    }

    async fn fence_shard(&self, shard: u32, total: u32, epoch: u64) -> Result<(), LogError> {
        self.death.read(dead_log)?;
        self.inner.fence_shard(shard, total, epoch).await
    }

    async fn delete(&self, key: &LogKey, epoch: u64) -> Result<(), LogError> {
        self.death.read(dead_log)?;
        self.inner.delete(key, epoch).await
    }

    async fn list(
        &self,
        group: [u8; 16],
        after: u64,
        limit: usize,
    ) -> Result<Vec<(LogKey, Head)>, LogError> {
        self.death.read(dead_log)?;
        self.inner.list(group, after, limit).await
    }

    async fn unfinished(&self, shards: &Shards) -> Result<Vec<LogKey>, LogError> {
        self.death.read(dead_log)?;
        self.inner.unfinished(shards).await
    }

    async fn trim(&self, trim: Trim) -> Result<(), LogError> {
        self.death.write(self.inner.trim(trim), dead_log).await
    }
}
