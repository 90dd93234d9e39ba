//! [`EmbeddedLog`]: the log port of the embedded store.

use super::Shared;
use super::committer::{Command, LogCommand};
use super::read;
use super::tables::Tables;
use crate::log::{Append, Head, LogError, LogKey, LogStore, Record, Trim};
use crate::shards::Shards;
use async_trait::async_trait;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Reads of so many records are mostly answered from memory: not worth a change of thread.
const FEW: usize = 4;

/// Logs in an [`super::Embedded`] store.
pub struct EmbeddedLog {
    shared: Arc<Shared>,
}

impl EmbeddedLog {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    async fn write(&self, change: LogCommand) -> Result<(), LogError> {
        let (reply, answer) = oneshot::channel();
        self.shared.send(Command::Log(change, reply));
        answer.await.unwrap_or_else(|_| Err(LogError::Poisoned("the committer is gone".into())))
    }

    /// Runs a read that may wait for the disk outside the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Tables) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || read(&shared.tables))
            .await
            .unwrap_or_else(|error| Err(LogError::Io(error.to_string())))
    }
}

#[async_trait]
impl LogStore for EmbeddedLog {
    async fn append(&self, append: Append) -> Result<(), LogError> {
        self.write(LogCommand::Append(append)).await
    }

    async fn read(&self, key: &LogKey, from: u64, max: usize) -> Result<Vec<Record>, LogError> {
        if max <= FEW {
            return read::records(&self.shared.tables, key, from, max);
        }
        let key = key.clone();
        self.blocking(move |tables| read::records(tables, &key, from, max)).await
    }

    /// Two or three point reads, mostly from memory: not worth a change of thread.
    async fn head(&self, key: &LogKey) -> Result<Option<Head>, LogError> {
        let tables = &self.shared.tables;
        read::head(&tables.db.snapshot(), tables, key)
    }

    async fn fence(&self, key: &LogKey, epoch: u64) -> Result<(), LogError> {
        self.write(LogCommand::Fence(key.clone(), epoch)).await
    }

    async fn fence_shard(&self, shard: u32, total: u32, epoch: u64) -> Result<(), LogError> {
        self.write(LogCommand::FenceShard(shard, total, epoch)).await
    }

    async fn delete(&self, key: &LogKey, epoch: u64) -> Result<(), LogError> {
        self.write(LogCommand::Delete(key.clone(), epoch)).await
    }

    async fn list(
        &self,
        group: [u8; 16],
        after: u64,
        limit: usize,
    ) -> Result<Vec<(LogKey, Head)>, LogError> {
        self.blocking(move |tables| read::list(tables, group, after, limit)).await
    }

    async fn unfinished(&self, shards: &Shards) -> Result<Vec<LogKey>, LogError> {
        let mut found = self.blocking(read::unfinished).await?;
        found.retain(|key| shards.contains(key));
        Ok(found)
    }

    async fn trim(&self, trim: Trim) -> Result<(), LogError> {
        self.write(LogCommand::Trim(trim)).await
    }
}
