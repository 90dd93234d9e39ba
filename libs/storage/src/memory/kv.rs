//! [`MemoryKv`]: the key-value port over one ordered map.

use crate::kv::{self, Batch, KvError, KvOp, KvStore};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

type Map = BTreeMap<(String, Vec<u8>), Bytes>;

/// Keys in memory. Clones share the data.
#[derive(Clone, Debug, Default)]
pub struct MemoryKv(Arc<Mutex<Map>>);

impl MemoryKv {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl KvStore for MemoryKv {
    async fn get(&self, space: &str, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        kv::check_key(space, key)?;
        Ok(self.0.lock().get(&(space.to_owned(), key.to_vec())).cloned())
    }

    async fn get_many(&self, space: &str, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, KvError> {
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            values.push(self.get(space, key).await?);
        }
        Ok(values)
    }

    async fn apply(&self, batch: Batch) -> Result<bool, KvError> {
        kv::check_batch(&batch)?;
        let mut map = self.0.lock();
        for condition in batch.conditions {
            if map.get(&(condition.space, condition.key)) != condition.expect.as_ref() {
                return Ok(false);
            }
        }
        for op in batch.ops {
            match op {
                KvOp::Put { space, key, value } => map.insert((space, key), value),
                KvOp::Delete { space, key } => map.remove(&(space, key)),
            };
        }
        Ok(true)
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
        let map = self.0.lock();
        let found = map
            .range((space.to_owned(), start.to_vec())..)
            .take_while(|((s, key), _)| s == space && key.starts_with(prefix))
            .filter(|((_, key), _)| after.is_none_or(|after| key.as_slice() > after))
            .take(limit);
        Ok(found.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }
}
