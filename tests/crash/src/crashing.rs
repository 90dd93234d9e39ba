//! A log store that dies at a chosen append.

use async_trait::async_trait;
use emet_storage::{Append, Head, LogError, LogKey, LogStore, Record, Shards, Trim};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::{Notify, RwLock};

/// Where the death falls, relative to the append it falls on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nothing of the append is written.
    Before,
    /// It is written, and its writer never learns that it was.
    After,
}

/// Passes calls on until the chosen append; from then on every call fails, as those of a process
/// that is dead reach nobody.
pub struct CrashingLog {
    inner: Arc<dyn LogStore>,
    at: Option<(u64, Moment)>,
    appends: AtomicU64,
    dead: AtomicBool,
    died: Notify,
    /// Held for reading by every change under way.
    changes: RwLock<()>,
}

impl CrashingLog {
    /// A store that dies at the given append (counted from 1), or never.
    pub fn new(inner: Arc<dyn LogStore>, at: Option<(u64, Moment)>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            at,
            appends: AtomicU64::new(0),
            dead: AtomicBool::new(false),
            died: Notify::new(),
            changes: RwLock::default(),
        })
    }

    /// Appends seen so far.
    pub fn appends(&self) -> u64 {
        self.appends.load(Ordering::SeqCst)
    }

    /// Whether it has died.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Waits for its death.
    pub async fn died(&self) {
        let died = self.died.notified();
        if !self.is_dead() {
            died.await;
        }
    }

    /// Waits, after its death, until the changes under way then are made: a dead process makes none
    /// later, when the next one has begun.
    pub async fn settled(&self) {
        drop(self.changes.write().await);
    }

    fn die(&self) -> LogError {
        self.dead.store(true, Ordering::SeqCst);
        self.died.notify_waiters();
        dead()
    }

    fn alive(&self) -> Result<(), LogError> {
        if self.is_dead() { Err(dead()) } else { Ok(()) }
    }
}

fn dead() -> LogError {
    LogError::Poisoned("the node is dead".into())
}

#[async_trait]
impl LogStore for CrashingLog {
    async fn append(&self, append: Append) -> Result<(), LogError> {
        let _change = self.changes.read().await;
        self.alive()?;
        let count = self.appends.fetch_add(1, Ordering::SeqCst) + 1;
        match self.at {
            Some((at, Moment::Before)) if at == count => Err(self.die()),
            Some((at, Moment::After)) if at == count => {
                self.inner.append(append).await?;
                Err(self.die())
            }
            _ => self.inner.append(append).await,
        }
    }

    async fn read(&self, key: &LogKey, from: u64, max: usize) -> Result<Vec<Record>, LogError> {
        self.alive()?;
        self.inner.read(key, from, max).await
    }

    async fn head(&self, key: &LogKey) -> Result<Option<Head>, LogError> {
        self.alive()?;
        self.inner.head(key).await
    }

    async fn fence(&self, key: &LogKey, epoch: u64) -> Result<(), LogError> {
        let _change = self.changes.read().await;
        self.alive()?;
        self.inner.fence(key, epoch).await
    }

    async fn fence_shard(&self, shard: u32, total: u32, epoch: u64) -> Result<(), LogError> {
        let _change = self.changes.read().await;
        self.alive()?;
        self.inner.fence_shard(shard, total, epoch).await
    }

    async fn delete(&self, key: &LogKey, epoch: u64) -> Result<(), LogError> {
        let _change = self.changes.read().await;
        self.alive()?;
        self.inner.delete(key, epoch).await
    }

    async fn list(
        &self,
        group: [u8; 16],
        after: u64,
        limit: usize,
    ) -> Result<Vec<(LogKey, Head)>, LogError> {
        self.alive()?;
        self.inner.list(group, after, limit).await
    }

    async fn unfinished(&self, shards: &Shards) -> Result<Vec<LogKey>, LogError> {
        self.alive()?;
        self.inner.unfinished(shards).await
    }

    async fn trim(&self, trim: Trim) -> Result<(), LogError> {
        let _change = self.changes.read().await;
        self.alive()?;
        self.inner.trim(trim).await
    }
}
