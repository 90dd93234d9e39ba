//! The object port: whole objects under '/'-separated keys.

use async_trait::async_trait;
use bytes::Bytes;
use std::path::PathBuf;

/// What is known of an object without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// Length in bytes.
    pub size: u64,
    /// Time of the last write, in milliseconds since the Unix epoch.
    pub modified_ms: u64,
}

/// Objects. A key is not empty; its segments, between '/', may hold any characters.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Writes an object, replacing it atomically; durable when it returns.
    async fn put(&self, key: &str, data: Bytes) -> Result<(), BlobError>;

    /// Writes an object unless there is one; `false` if there was. Durable when it returns.
    async fn put_if_absent(&self, key: &str, data: Bytes) -> Result<bool, BlobError>;

    /// The whole object.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, BlobError>;

    /// Bytes `start..end` of the object, clamped to its length.
    async fn get_range(&self, key: &str, start: u64, end: u64) -> Result<Option<Bytes>, BlobError>;

    /// Size and time of the object.
    async fn head(&self, key: &str) -> Result<Option<BlobInfo>, BlobError>;

    /// Removes an object; a missing one is no error.
    async fn delete(&self, key: &str) -> Result<(), BlobError>;

    /// Removes every object under a prefix, which ends in '/'.
    async fn delete_prefix(&self, prefix: &str) -> Result<(), BlobError>;

    /// Objects whose key starts with `prefix`, ordered by key (bytewise), strictly after the key
    /// `after`, at most `limit`.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, BlobInfo)>, BlobError>;

    /// Copies an object, replacing the target atomically; `false` if the source is missing.
    async fn copy(&self, from: &str, to: &str) -> Result<bool, BlobError>;

    /// Local path of the object, where the backend has one (for artefacts that are mapped into
    /// memory). The file must only be read; it may be missing.
    fn local_path(&self, key: &str) -> Option<PathBuf>;
}

/// Why an object operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// No space is left. The object is as it was.
    #[error("the object store is full: {0}")]
    Full(String),
    /// The operation failed in the system below.
    #[error("object I/O failed: {0}")]
    Io(String),
    /// The key or prefix is not acceptable.
    #[error("invalid object key: {0}")]
    Invalid(String),
}

/// Checks a prefix given to [`BlobStore::delete_prefix`].
pub(crate) fn check_prefix(prefix: &str) -> Result<(), BlobError> {
    if prefix.len() < 2 || !prefix.ends_with('/') {
        return Err(BlobError::Invalid(format!("a prefix to delete must end in '/': {prefix:?}")));
    }
    Ok(())
}

/// Checks a key.
pub(crate) fn check_key(key: &str) -> Result<(), BlobError> {
    if key.is_empty() {
        return Err(BlobError::Invalid("a key is empty".into()));
    }
    Ok(())
}
