//! The port of objects.

use async_trait::async_trait;
use bytes::Bytes;
use std::path::PathBuf;

/// What is known of an object without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// Size in bytes.
    pub size: u64,
    /// When it was written, in milliseconds since the epoch.
    pub modified_ms: u64,
}

/// Why objects could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// Reading or writing failed.
    #[error("object {key}: {reason}")]
    Io {
        /// The object.
        key: String,
        /// Why.
        reason: String,
    },
}

/// Objects by key. Keys are segments separated by `/`; a segment may hold any character.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Creates or replaces an object, atomically and durably.
    async fn put(&self, key: &str, data: Bytes) -> Result<(), BlobError>;
    /// Creates an object; false if it exists.
    async fn put_if_absent(&self, key: &str, data: Bytes) -> Result<bool, BlobError>;
    /// The content of an object.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, BlobError>;
    /// The bytes from `start` up to but excluding `end`, as far as there are any.
    async fn get_range(&self, key: &str, start: u64, end: u64) -> Result<Option<Bytes>, BlobError>;
    /// What is known of an object.
    async fn head(&self, key: &str) -> Result<Option<BlobInfo>, BlobError>;
    /// Removes an object; a missing one is no error.
    async fn delete(&self, key: &str) -> Result<(), BlobError>;
    /// Removes everything below a prefix, which ends in `/`.
    async fn delete_prefix(&self, prefix: &str) -> Result<(), BlobError>;
    /// Objects below a prefix, which ends in `/`, ordered by key, after a key.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<(String, BlobInfo)>, BlobError>;
    /// Copies an object; false if there is none.
    async fn copy(&self, from: &str, to: &str) -> Result<bool, BlobError>;
    /// The local file of an object, where the backend has one.
    fn local_path(&self, key: &str) -> Option<PathBuf>;
}
