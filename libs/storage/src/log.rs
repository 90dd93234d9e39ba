//! The port of worker logs.

use async_trait::async_trait;
use bytes::Bytes;

/// Identity of one worker's log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogKey {
    /// The component id.
    pub group: [u8; 16],
    /// The worker's name.
    pub name: String,
}

impl std::fmt::Display for LogKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", uuid::Uuid::from_bytes(self.group), self.name)
    }
}

/// One record as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Index, dense from 1.
    pub index: u64,
    /// Opaque bytes.
    pub data: Bytes,
}

/// Opaque cached state with the index it was folded to (law L5: it can be thrown away).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Index it was folded to.
    pub index: u64,
    /// Opaque bytes.
    pub data: Bytes,
}

/// What the store knows of a log without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Index of the last record.
    pub last: u64,
    /// Owner epoch of the last append.
    pub epoch: u64,
    /// Whether the log is marked as having unfinished work.
    pub unfinished: bool,
    /// Order of creation: unique in the store, rising.
    pub sequence: u64,
    /// Cached state.
    pub summary: Option<Summary>,
}

/// Records to append, and what changes with them in the same atomic write.
#[derive(Clone, Debug)]
pub struct Append {
    /// The log; made by its first append.
    pub key: LogKey,
    /// Epoch of the owner: at least the stored one, which it raises.
    pub epoch: u64,
    /// Index of the first record: one after the last.
    pub expected: u64,
    /// The records; none changes only the rest.
    pub records: Vec<Bytes>,
    /// Sets or clears the mark of unfinished work.
    pub unfinished: Option<bool>,
    /// Replaces the cached state.
    pub summary: Option<Summary>,
}

/// Why a log could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The append expects another last index: somebody else has appended (law L3).
    #[error("append to {key} at index {expected} refused: the next index is {found}")]
    Conflict {
        /// The log.
        key: LogKey,
        /// Index the append expected.
        expected: u64,
        /// Index that comes next.
        found: u64,
    },
    /// A newer owner has taken over (law L3).
    #[error("append to {key} under epoch {epoch} refused: the owner's epoch is {current}")]
    Fenced {
        /// The log.
        key: LogKey,
        /// Epoch of the append.
        epoch: u64,
        /// Epoch of the owner.
        current: u64,
    },
    /// A record is damaged.
    #[error("log {key} is damaged at index {index}: {reason}")]
    Corrupt {
        /// The log.
        key: LogKey,
        /// Where.
        index: u64,
        /// What is wrong.
        reason: String,
    },
    /// There is no space left; nothing was written, and writing goes on when there is.
    #[error("no space left: {0}")]
    Full(String),
    /// An earlier write failed, so the state on disk is unknown: restart (law L8).
    #[error("the store stopped after a failed write: {0}")]
    Poisoned(String),
    /// Reading or writing failed.
    #[error("{0}")]
    Io(String),
}

/// Append-only logs. An append is durable when it returns, and refused atomically if its index or
/// epoch is wrong.
#[async_trait]
pub trait LogStore: Send + Sync + 'static {
    /// Appends records.
    async fn append(&self, append: Append) -> Result<(), LogError>;
    /// Up to `max` records from an index on; fewer only at the end of the log.
    async fn read(&self, key: &LogKey, from: u64, max: usize) -> Result<Vec<Record>, LogError>;
    /// What is known of a log; none if there is none.
    async fn head(&self, key: &LogKey) -> Result<Option<Head>, LogError>;
    /// Raises the owner epoch, so that appends of an older owner are refused.
    async fn fence(&self, key: &LogKey, epoch: u64) -> Result<(), LogError>;
    /// Removes a log; a missing one is no error.
    async fn delete(&self, key: &LogKey) -> Result<(), LogError>;
    /// Logs of a group in order of creation, after a sequence number.
    async fn list(&self, group: [u8; 16], after: u64, limit: usize) -> Result<Vec<(LogKey, Head)>, LogError>;
    /// Logs marked as having unfinished work.
    async fn unfinished(&self) -> Result<Vec<LogKey>, LogError>;
    /// Drops the records up to an index, as far as whole batches allow.
    async fn trim(&self, key: &LogKey, through: u64) -> Result<(), LogError>;
}
