//! Stores that measure what is asked of them, and know when they take no more writes.
//!
//! A decorator around any backend: latencies and failures of every operation go to the metrics,
//! and a write that fails in the system below makes the store unwell until one succeeds again.

use crate::blob::{BlobError, BlobInfo, BlobStore};
use crate::kv::{Batch, KvError, KvStore};
use crate::log::{Append, Head, LogError, LogKey, LogStore, Record, Trim};
use crate::shards::Shards;
use async_trait::async_trait;
use bytes::Bytes;
use emet_telemetry::health::Health;
use emet_telemetry::metrics::list::{STORE_FAILURES, STORE_SECONDS};
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// A measured log, key-value or blob store.
pub struct Measured<S: ?Sized> {
    inner: Arc<S>,
    writes: Writes,
}

impl<S: ?Sized> Measured<S> {
    /// Measures a store; failing writes are told to `health`, under the name of the store.
    pub fn new(inner: Arc<S>, health: &Health, store: &'static str) -> Arc<Self> {
        let writes = Writes { store, health: health.clone(), failing: Mutex::new(false) };
        Arc::new(Self { inner, writes })
    }
}

/// Whether the last write of a store got through.
struct Writes {
    store: &'static str,
    health: Health,
    failing: Mutex<bool>,
}

impl Writes {
    fn after(&self, trouble: Option<String>) {
        let mut failing = self.failing.lock();
        if trouble.is_some() || *failing {
            *failing = trouble.is_some();
            self.health.set(&format!("writes to the {} store", self.store), trouble);
        }
    }
}

/// Errors of a store that say something about the store itself.
trait Trouble: std::fmt::Display {
    /// Whether the system below failed, rather than the request.
    fn is_trouble(&self) -> bool;
}

impl Trouble for LogError {
    fn is_trouble(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Poisoned(_) | Self::Io(_))
    }
}

impl Trouble for KvError {
    fn is_trouble(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Poisoned(_) | Self::Io(_))
    }
}

impl Trouble for BlobError {
    fn is_trouble(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Io(_))
    }
}

/// Measures an operation.
async fn measured<T, E>(
    store: &str,
    operation: &str,
    call: impl Future<Output = Result<T, E>> + Send,
) -> Result<T, E> {
    let started = Instant::now();
    let result = call.await;
    STORE_SECONDS.with([store, operation]).record(started.elapsed());
    if result.is_err() {
        STORE_FAILURES.with([store, operation]).inc();
    }
    result
}

impl Writes {
    /// Measures an operation that writes.
    async fn measured<T: Send, E: Trouble + Send>(
        &self,
        operation: &str,
        call: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        let result = measured(self.store, operation, call).await;
        match &result {
            Err(error) if error.is_trouble() => self.after(Some(error.to_string())),
            _ => self.after(None),
        }
        result
    }
}

#[async_trait]
impl LogStore for Measured<dyn LogStore> {
    async fn append(&self, append: Append) -> Result<(), LogError> {
        self.writes.measured("append", self.inner.append(append)).await
    }

    async fn read(&self, key: &LogKey, from: u64, max: usize) -> Result<Vec<Record>, LogError> {
        measured("log", "read", self.inner.read(key, from, max)).await
    }

    async fn head(&self, key: &LogKey) -> Result<Option<Head>, LogError> {
        measured("log", "head", self.inner.head(key)).await
    }

    async fn fence(&self, key: &LogKey, epoch: u64) -> Result<(), LogError> {
        self.writes.measured("fence", self.inner.fence(key, epoch)).await
    }

    async fn fence_shard(&self, shard: u32, total: u32, epoch: u64) -> Result<(), LogError> {
        self.writes.measured("fence_shard", self.inner.fence_shard(shard, total, epoch)).await
    }

    async fn delete(&self, key: &LogKey, epoch: u64) -> Result<(), LogError> {
        self.writes.measured("delete", self.inner.delete(key, epoch)).await
    }

    async fn list(
        &self,
        group: [u8; 16],
        after: u64,
        limit: usize,
    ) -> Result<Vec<(LogKey, Head)>, LogError> {
        measured("log", "list", self.inner.list(group, after, limit)).await
    }

    async fn unfinished(&self, shards: &Shards) -> Result<Vec<LogKey>, LogError> {
        measured("log", "unfinished", self.inner.unfinished(shards)).await
    }

    async fn trim(&self, trim: Trim) -> Result<(), LogError> {
        self.writes.measured("trim", self.inner.trim(trim)).await
    }
}

#[async_trait]
impl KvStore for Measured<dyn KvStore> {
    async fn get(&self, space: &str, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        measured("kv", "get", self.inner.get(space, key)).await
    }

    async fn get_many(&self, space: &str, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, KvError> {
        measured("kv", "get_many", self.inner.get_many(space, keys)).await
    }

    async fn apply(&self, batch: Batch) -> Result<bool, KvError> {
        self.writes.measured("apply", self.inner.apply(batch)).await
    }

    async fn scan(
        &self,
        space: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Bytes)>, KvError> {
        measured("kv", "scan", self.inner.scan(space, prefix, after, limit)).await
    }
}

#[async_trait]
impl BlobStore for Measured<dyn BlobStore> {
    async fn put(&self, key: &str, data: Bytes) -> Result<(), BlobError> {
        self.writes.measured("put", self.inner.put(key, data)).await
    }

    async fn put_if_absent(&self, key: &str, data: Bytes) -> Result<bool, BlobError> {
        self.writes.measured("put_if_absent", self.inner.put_if_absent(key, data)).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, BlobError> {
        measured("blob", "get", self.inner.get(key)).await
    }

    async fn get_range(&self, key: &str, start: u64, end: u64) -> Result<Option<Bytes>, BlobError> {
        measured("blob", "get_range", self.inner.get_range(key, start, end)).await
    }

    async fn head(&self, key: &str) -> Result<Option<BlobInfo>, BlobError> {
        measured("blob", "head", self.inner.head(key)).await
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        self.writes.measured("delete", self.inner.delete(key)).await
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<(), BlobError> {
        self.writes.measured("delete_prefix", self.inner.delete_prefix(prefix)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, BlobInfo)>, BlobError> {
        measured("blob", "list", self.inner.list(prefix, after, limit)).await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<bool, BlobError> {
        self.writes.measured("copy", self.inner.copy(from, to)).await
    }

    fn local_path(&self, key: &str) -> Option<PathBuf> {
        self.inner.local_path(key)
    }
}

/// Probes the stores of a process from now on, so that `health` tells what cannot be read.
pub fn probe(
    health: &Health,
    log: Arc<dyn LogStore>,
    kv: Arc<dyn KvStore>,
    blobs: Arc<dyn BlobStore>,
) {
    // Nothing needs to be there: an answer is enough.
    let key = LogKey { group: [0; 16], name: "health-probe".to_owned() };
    health.watch("log store", move || {
        let (log, key) = (log.clone(), key.clone());
        async move { log.head(&key).await.map(drop) }
    });
    health.watch("key-value store", move || {
        let kv = kv.clone();
        async move { kv.get("health", b"probe").await.map(drop) }
    });
    health.watch("blob store", move || {
        let blobs = blobs.clone();
        async move { blobs.head("health/probe").await.map(drop) }
    });
}
