//! [`MemoryBlob`]: the object port over one ordered map.

use crate::blob::{self, BlobError, BlobInfo, BlobStore};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Clone, Debug)]
struct Object {
    data: Bytes,
    modified_ms: u64,
}

impl Object {
    fn new(data: Bytes) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { data, modified_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX) }
    }

    fn info(&self) -> BlobInfo {
        BlobInfo { size: self.data.len() as u64, modified_ms: self.modified_ms }
    }
}

/// Objects in memory. Clones share the data.
#[derive(Clone, Debug, Default)]
pub struct MemoryBlob(Arc<Mutex<BTreeMap<String, Object>>>);

impl MemoryBlob {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl BlobStore for MemoryBlob {
    async fn put(&self, key: &str, data: Bytes) -> Result<(), BlobError> {
        blob::check_key(key)?;
        self.0.lock().insert(key.to_owned(), Object::new(data));
        Ok(())
    }

    async fn put_if_absent(&self, key: &str, data: Bytes) -> Result<bool, BlobError> {
        blob::check_key(key)?;
        let mut map = self.0.lock();
        let absent = !map.contains_key(key);
        if absent {
            map.insert(key.to_owned(), Object::new(data));
        }
        Ok(absent)
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, BlobError> {
        Ok(self.0.lock().get(key).map(|object| object.data.clone()))
    }

    async fn get_range(&self, key: &str, start: u64, end: u64) -> Result<Option<Bytes>, BlobError> {
        Ok(self.0.lock().get(key).map(|object| {
            let len = object.data.len();
            let end = usize::try_from(end).unwrap_or(len).min(len);
            let start = usize::try_from(start).unwrap_or(len).min(end);
            object.data.slice(start..end)
        }))
    }

    async fn head(&self, key: &str) -> Result<Option<BlobInfo>, BlobError> {
        Ok(self.0.lock().get(key).map(Object::info))
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        self.0.lock().remove(key);
        Ok(())
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<(), BlobError> {
        blob::check_prefix(prefix)?;
        self.0.lock().retain(|key, _| !key.starts_with(prefix));
        Ok(())
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, BlobInfo)>, BlobError> {
        let start = after.map_or(prefix, |after| after.max(prefix));
        let map = self.0.lock();
        let found = map
            .range(start.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(key, _)| after.is_none_or(|after| key.as_str() > after))
            .take(limit);
        Ok(found.map(|(key, object)| (key.clone(), object.info())).collect())
    }

    async fn copy(&self, from: &str, to: &str) -> Result<bool, BlobError> {
        blob::check_key(to)?;
        let mut map = self.0.lock();
        let Some(data) = map.get(from).map(|object| object.data.clone()) else {
            return Ok(false);
        };
        map.insert(to.to_owned(), Object::new(data));
        Ok(true)
    }

    fn local_path(&self, _key: &str) -> Option<PathBuf> {
        None
    }
}
