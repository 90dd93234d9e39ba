//! [`EmbeddedKv`]: the key-value port of the embedded store.

use super::committer::Command;
use super::tables::Tables;
use super::{Shared, layout};
use crate::kv::{self, Batch, KvError, KvStore};
use async_trait::async_trait;
use bytes::Bytes;
use fjall::Readable;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Keys in an [`super::Embedded`] store.
pub struct EmbeddedKv {
    shared: Arc<Shared>,
}

impl EmbeddedKv {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

fn io(error: fjall::Error) -> KvError {
    KvError::Io(error.to_string())
}

#[async_trait]
impl KvStore for EmbeddedKv {
    async fn get(&self, space: &str, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        kv::check_key(space, key)?;
        let row = self.shared.tables.kv.get(layout::kv_key(space, key));
        Ok(row.map_err(io)?.map(Bytes::from))
    }

    async fn get_many(&self, space: &str, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, KvError> {
        let tables = &self.shared.tables;
        let at = tables.db.snapshot();
        let get = |key: &Vec<u8>| {
            kv::check_key(space, key)?;
            let row = at.get(&tables.kv, layout::kv_key(space, key));
            Ok(row.map_err(io)?.map(Bytes::from))
        };
        keys.iter().map(get).collect()
    }

    async fn apply(&self, batch: Batch) -> Result<bool, KvError> {
        kv::check_batch(&batch)?;
        let (reply, answer) = oneshot::channel();
        self.shared.send(Command::Kv(batch, reply));
        answer.await.unwrap_or_else(|_| Err(KvError::Poisoned("the committer is gone".into())))
    }

    async fn scan(
        &self,
        space: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Bytes)>, KvError> {
        kv::check_key(space, prefix)?;
        let start = after.map_or(prefix, |after| after.max(prefix));
        let scan = Scan {
            start: layout::kv_key(space, start),
            prefix: layout::kv_key(space, prefix),
            exclude: after.map(|after| layout::kv_key(space, after)),
            key_at: space.len() + 1,
            limit,
        };
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || scan.run(&shared.tables))
            .await
            .unwrap_or_else(|error| Err(KvError::Io(error.to_string())))
    }
}

/// One page of keys; all keys with their space in front.
struct Scan {
    start: Vec<u8>,
    prefix: Vec<u8>,
    exclude: Option<Vec<u8>>,
    /// Length of what stands before the key.
    key_at: usize,
    limit: usize,
}

impl Scan {
    fn run(self, tables: &Tables) -> Result<Vec<(Vec<u8>, Bytes)>, KvError> {
        let mut page = Vec::new();
        for guard in tables.kv.range(self.start.clone()..) {
            if page.len() >= self.limit {
                break;
            }
            let (row, value) = guard.into_inner().map_err(io)?;
            if !row.starts_with(&self.prefix) {
                break;
            }
            if self.exclude.as_deref() == Some(&*row) {
                continue;
            }
            let key = row.get(self.key_at..).unwrap_or_default().to_vec();
            page.push((key, value.into()));
        }
        Ok(page)
    }
}
