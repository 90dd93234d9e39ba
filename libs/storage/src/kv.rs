//! The port of key-value data.

use async_trait::async_trait;
use bytes::Bytes;

/// A change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvOp {
    /// Sets a key.
    Put {
        /// Name space.
        space: String,
        /// Key.
        key: Vec<u8>,
        /// Value.
        value: Bytes,
    },
    /// Removes a key.
    Delete {
        /// Name space.
        space: String,
        /// Key.
        key: Vec<u8>,
    },
}

/// What must hold for a batch to be applied: a key has this value, or is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Name space.
    pub space: String,
    /// Key.
    pub key: Vec<u8>,
    /// Value; none for absent.
    pub value: Option<Bytes>,
}

/// Changes that happen together, if all conditions hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Conditions.
    pub conditions: Vec<Condition>,
    /// Changes.
    pub ops: Vec<KvOp>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key.
    #[must_use]
    pub fn put(mut self, space: &str, key: impl Into<Vec<u8>>, value: impl Into<Bytes>) -> Self {
        self.ops.push(KvOp::Put { space: space.to_owned(), key: key.into(), value: value.into() });
        self
    }

    /// Removes a key.
    #[must_use]
    pub fn delete(mut self, space: &str, key: impl Into<Vec<u8>>) -> Self {
        self.ops.push(KvOp::Delete { space: space.to_owned(), key: key.into() });
        self
    }

    /// Only if a key is absent.
    #[must_use]
    pub fn if_absent(mut self, space: &str, key: impl Into<Vec<u8>>) -> Self {
        self.conditions.push(Condition { space: space.to_owned(), key: key.into(), value: None });
        self
    }

    /// Only if a key has this value.
    #[must_use]
    pub fn if_equal(mut self, space: &str, key: impl Into<Vec<u8>>, value: impl Into<Bytes>) -> Self {
        self.conditions.push(Condition { space: space.to_owned(), key: key.into(), value: Some(value.into()) });
        self
    }
}

/// Why key-value data could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// There is no space left; nothing was written.
    #[error("no space left: {0}")]
    Full(String),
    /// An earlier write failed: restart (law L8).
    #[error("the store stopped after a failed write: {0}")]
    Poisoned(String),
    /// Reading or writing failed.
    #[error("{0}")]
    Io(String),
}

/// Ordered keys in name spaces.
#[async_trait]
pub trait KvStore: Send + Sync + 'static {
    /// The value of a key.
    async fn get(&self, space: &str, key: &[u8]) -> Result<Option<Bytes>, KvError>;
    /// The values of keys, in the order of the keys.
    async fn get_many(&self, space: &str, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, KvError>;
    /// Applies a batch atomically and durably; false if a condition failed, then nothing changed.
    async fn apply(&self, batch: Batch) -> Result<bool, KvError>;
    /// Keys with a prefix in order, strictly after a key.
    async fn scan(&self, space: &str, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, Bytes)>, KvError>;
}
