//! Objects as files below one directory.
//!
//! A write goes to a temporary file, which is synced and then renamed to its place, and the
//! directory is synced: after a crash there is the old object or the new one, never a part.

mod name;
mod ops;
mod walk;

use crate::blob::{self, BlobError, BlobInfo, BlobStore};
use async_trait::async_trait;
use bytes::Bytes;
use ops::Files;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Objects in a directory. Clones share it.
#[derive(Clone)]
pub struct FsBlob {
    files: Arc<Files>,
}

impl FsBlob {
    /// Opens the store in `root`, creating it if it is missing, and removes what interrupted
    /// writes left behind. One process at a time may do so.
    ///
    /// # Errors
    /// When the directory cannot be created or read.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, BlobError> {
        Ok(Self { files: Arc::new(Files::open(root.as_ref())?) })
    }

    /// Runs file operations outside the async threads.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> Result<T, BlobError> + Send + 'static,
    ) -> Result<T, BlobError> {
        let files = self.files.clone();
        tokio::task::spawn_blocking(move || work(&files))
            .await
            .unwrap_or_else(|error| Err(BlobError::Io(error.to_string())))
    }

    fn path(&self, key: &str) -> Result<PathBuf, BlobError> {
        name::object_path(self.files.root(), key)
    }
}

#[async_trait]
impl BlobStore for FsBlob {
    async fn put(&self, key: &str, data: Bytes) -> Result<(), BlobError> {
        let path = self.path(key)?;
        self.run(move |files| files.put(&path, &data)).await
    }

    async fn put_if_absent(&self, key: &str, data: Bytes) -> Result<bool, BlobError> {
        let path = self.path(key)?;
        self.run(move |files| files.put_if_absent(&path, &data)).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, BlobError> {
        let path = self.path(key)?;
        self.run(move |_| ops::read(&path, 0, u64::MAX)).await
    }

    async fn get_range(&self, key: &str, start: u64, end: u64) -> Result<Option<Bytes>, BlobError> {
        let path = self.path(key)?;
        self.run(move |_| ops::read(&path, start, end)).await
    }

    async fn head(&self, key: &str) -> Result<Option<BlobInfo>, BlobError> {
        let path = self.path(key)?;
        self.run(move |_| ops::info(&path)).await
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        let path = self.path(key)?;
        self.run(move |files| files.delete(&path)).await
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<(), BlobError> {
        blob::check_prefix(prefix)?;
        let key = prefix.strip_suffix('/').unwrap_or(prefix);
        let path = name::directory_path(self.files.root(), key)?;
        self.run(move |files| files.delete_tree(&path)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, BlobInfo)>, BlobError> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.run(move |files| walk::list(files.root(), &prefix, after.as_deref(), limit)).await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<bool, BlobError> {
        let (from, to) = (self.path(from)?, self.path(to)?);
        self.run(move |files| files.copy(&from, &to)).await
    }

    fn local_path(&self, key: &str) -> Option<PathBuf> {
        self.path(key).ok()
    }
}
