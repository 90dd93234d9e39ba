//! The key-value port: ordered keys in named spaces, atomic conditional batches.

use async_trait::async_trait;
use bytes::Bytes;

/// Longest accepted space name and key together, in bytes.
pub const MAX_KEY_BYTES: usize = 32 * 1024;
/// Longest accepted value, in bytes.
pub const MAX_VALUE_BYTES: usize = 256 * 1024 * 1024;

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvOp {
    /// Sets the key, whatever it held.
    Put {
        /// Space of the key.
        space: String,
        /// The key.
        key: Vec<u8>,
        /// The new value.
        value: Bytes,
    },
    /// Removes the key; a missing one is no error.
    Delete {
        /// Space of the key.
        space: String,
        /// The key.
        key: Vec<u8>,
    },
}

/// What must hold of one key for a batch to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Space of the key.
    pub space: String,
    /// The key.
    pub key: Vec<u8>,
    /// `None`: the key must be absent. `Some`: it must hold exactly these bytes.
    pub expect: Option<Bytes>,
}

/// Changes that are applied together or not at all.
///
/// Conditions are tested against the state before the batch. Of several changes of one key the
/// last counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// All of them must hold.
    pub conditions: Vec<Condition>,
    /// The changes, in order.
    pub ops: Vec<KvOp>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds: set `key` to `value`.
    #[must_use]
    pub fn put(
        mut self,
        space: impl Into<String>,
        key: impl Into<Vec<u8>>,
        value: impl Into<Bytes>,
    ) -> Self {
        self.ops.push(KvOp::Put { space: space.into(), key: key.into(), value: value.into() });
        self
    }

    /// Adds: remove `key`.
    #[must_use]
    pub fn delete(mut self, space: impl Into<String>, key: impl Into<Vec<u8>>) -> Self {
        self.ops.push(KvOp::Delete { space: space.into(), key: key.into() });
        self
    }

    /// Requires that `key` is absent.
    #[must_use]
    pub fn if_absent(mut self, space: impl Into<String>, key: impl Into<Vec<u8>>) -> Self {
        self.conditions.push(Condition { space: space.into(), key: key.into(), expect: None });
        self
    }

    /// Requires that `key` holds exactly `value`.
    #[must_use]
    pub fn if_equal(
        mut self,
        space: impl Into<String>,
        key: impl Into<Vec<u8>>,
        value: impl Into<Bytes>,
    ) -> Self {
        let expect = Some(value.into());
        self.conditions.push(Condition { space: space.into(), key: key.into(), expect });
        self
    }
}

/// Ordered keys. Keys are ordered by (space, key), bytewise.
#[async_trait]
pub trait KvStore: Send + Sync + 'static {
    /// The value of a key.
    async fn get(&self, space: &str, key: &[u8]) -> Result<Option<Bytes>, KvError>;

    /// The values of several keys, in the order asked.
    async fn get_many(&self, space: &str, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, KvError>;

    /// Applies a batch atomically; durable when it returns. `false`: a condition did not hold,
    /// and nothing was written.
    ///
    /// All spaces of a batch should have one tag: what stands in braces in their name, else the
    /// whole name. A store whose keys lie on several servers refuses others as
    /// [`KvError::Invalid`], as it could not apply them atomically.
    async fn apply(&self, batch: Batch) -> Result<bool, KvError>;

    /// Keys that start with `prefix`, in order, strictly after the whole key `after`, at most
    /// `limit`. Keys are returned whole, with the prefix.
    async fn scan(
        &self,
        space: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Bytes)>, KvError>;
}

/// Why a key-value operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// No space is left. Nothing was written; the call can be repeated once there is space.
    #[error("the store is full: {0}")]
    Full(String),
    /// An earlier write failed. No write is accepted until the store is opened again.
    #[error("the store takes no more writes: {0}")]
    Poisoned(String),
    /// The operation failed in the system below.
    #[error("storage I/O failed: {0}")]
    Io(String),
    /// The request breaks a limit of the store. Nothing was written.
    #[error("invalid request: {0}")]
    Invalid(String),
}

/// Checks the limits of a key: its length, and no NUL in the space (it separates space and key).
pub(crate) fn check_key(space: &str, key: &[u8]) -> Result<(), KvError> {
    if space.contains('\0') {
        return Err(KvError::Invalid("the name of a space contains a NUL".into()));
    }
    let len = space.len().saturating_add(key.len());
    if len > MAX_KEY_BYTES {
        return Err(KvError::Invalid(format!("a key has {len} bytes, limit {MAX_KEY_BYTES}")));
    }
    Ok(())
}

/// Checks every key a batch names.
pub(crate) fn check_batch(batch: &Batch) -> Result<(), KvError> {
    for condition in &batch.conditions {
        check_key(&condition.space, &condition.key)?;
    }
    for op in &batch.ops {
        let (space, key, length) = match op {
            KvOp::Put { space, key, value } => (space, key, value.len()),
            KvOp::Delete { space, key } => (space, key, 0),
        };
        check_key(space, key)?;
        if length > MAX_VALUE_BYTES {
            return Err(KvError::Invalid(format!(
                "a value has {length} bytes, limit {MAX_VALUE_BYTES}"
            )));
        }
    }
    Ok(())
}
