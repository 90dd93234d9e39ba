//! The log port: one append-only, fenced sequence of records per worker.

use crate::shards::Shards;
use async_trait::async_trait;
use bytes::Bytes;

/// Longest accepted [`LogKey::name`], in bytes.
pub const MAX_NAME_BYTES: usize = 32 * 1024;
/// Longest accepted record, and summary, in bytes.
pub const MAX_RECORD_BYTES: usize = 256 * 1024 * 1024;

/// Identity of one worker's log: a group (the component id) and a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogKey {
    /// The component the worker belongs to.
    pub group: [u8; 16],
    /// The worker's name: any characters, at most [`MAX_NAME_BYTES`].
    pub name: String,
}

/// One record as stored: opaque bytes at an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Position in the log, dense from 1.
    pub index: u64,
    /// What was appended, byte for byte.
    pub data: Bytes,
}

/// Opaque cached state and the index it was folded to. It can always be thrown away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Index of the last record the state includes.
    pub index: u64,
    /// The folded state, in the caller's encoding.
    pub data: Bytes,
}

/// What the store knows about a log without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Index of the last record; 0 while the log is empty. Trimming does not lower it.
    pub last: u64,
    /// Owner epoch: appends under a lower one are refused.
    pub epoch: u64,
    /// The durable "has unfinished work" mark.
    pub unfinished: bool,
    /// Creation order: unique in the group and rising, with gaps.
    pub sequence: u64,
    /// Cached state, if some append carried one.
    pub summary: Option<Summary>,
}

/// One atomic extension of one log.
#[derive(Clone, Debug)]
pub struct Append {
    /// Which log. It is created by its first append.
    pub key: LogKey,
    /// The epoch the writer owns the log under. Higher than the stored one raises it.
    pub epoch: u64,
    /// Index the first record will get: the last index plus one.
    pub expected: u64,
    /// The records, in order. May be empty: then only the fields below and the epoch change.
    pub records: Vec<Bytes>,
    /// `Some` changes the durable "has unfinished work" mark in the same atomic write.
    pub unfinished: Option<bool>,
    /// `Some` replaces the cached summary in the same atomic write.
    pub summary: Option<Summary>,
}

/// Removal of the oldest records of one log.
#[derive(Clone, Debug)]
pub struct Trim {
    /// Which log.
    pub key: LogKey,
    /// Its [`Head::sequence`]: which creation of the log is meant, as a deleted one may have been
    /// created anew.
    pub sequence: u64,
    /// The epoch the log is owned under.
    pub epoch: u64,
    /// Records `1..=through` go, at most all there are; reads then start at `through + 1`.
    pub through: u64,
}

/// Worker logs. Every method that writes is atomic, and durable when it returns `Ok`.
#[async_trait]
pub trait LogStore: Send + Sync + 'static {
    /// Extends a log.
    ///
    /// Refused as a whole, with nothing written, by [`LogError::Fenced`] if the epoch is lower
    /// than the stored one, else by [`LogError::Conflict`] if `expected` is not the next index.
    /// After any other error whether it was written is unknown until the log is read again.
    async fn append(&self, append: Append) -> Result<(), LogError>;

    /// Up to `max` records from index `from` on; fewer only at the end of the log.
    /// Starts behind what was trimmed. A missing log reads as empty.
    async fn read(&self, key: &LogKey, from: u64, max: usize) -> Result<Vec<Record>, LogError>;

    /// The head of a log; `None` if there is no such log.
    async fn head(&self, key: &LogKey) -> Result<Option<Head>, LogError>;

    /// Raises the owner epoch, so that appends of an older owner are refused. A missing log is
    /// created empty. An epoch below the stored one is refused with [`LogError::Fenced`].
    async fn fence(&self, key: &LogKey, epoch: u64) -> Result<(), LogError>;

    /// Raises the epoch of shard `shard` of `total` as a whole, for a new owner: what is then done
    /// under a lower one to any of its logs, existing or not, is refused with
    /// [`LogError::Fenced`], and so is a call with a lower one.
    async fn fence_shard(&self, shard: u32, total: u32, epoch: u64) -> Result<(), LogError>;

    /// Removes a log and its head, including its epoch. A missing log is no error. An epoch below
    /// the stored one is refused with [`LogError::Fenced`].
    async fn delete(&self, key: &LogKey, epoch: u64) -> Result<(), LogError>;

    /// Logs of a group in creation order with a sequence above `after`, at most `limit`.
    async fn list(
        &self,
        group: [u8; 16],
        after: u64,
        limit: usize,
    ) -> Result<Vec<(LogKey, Head)>, LogError>;

    /// The logs marked unfinished in some shards, ordered by key.
    async fn unfinished(&self, shards: &Shards) -> Result<Vec<LogKey>, LogError>;

    /// Drops records from the front of a log.
    ///
    /// An epoch below the stored one is refused with [`LogError::Fenced`]. A missing log is no
    /// error, nor is one of another creation: both are left as they are.
    async fn trim(&self, trim: Trim) -> Result<(), LogError>;
}

/// Why a log operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The append does not continue the log. Nothing was written.
    #[error("append expects index {expected}, but the next index of the log is {found}")]
    Conflict {
        /// The index the append named.
        expected: u64,
        /// The index an append would have to name now.
        found: u64,
    },
    /// The writer lost the ownership of the log. Nothing was written.
    #[error("epoch {epoch} is fenced off: the log is owned under epoch {current}")]
    Fenced {
        /// The epoch of the refused call.
        epoch: u64,
        /// The stored epoch.
        current: u64,
    },
    /// Stored bytes of this log are not what was written. Other logs are not affected.
    #[error("log {:?} is corrupt at index {index}: {reason}", key.name)]
    Corrupt {
        /// The damaged log.
        key: LogKey,
        /// First index that cannot be trusted; 0 for the head.
        index: u64,
        /// What was found.
        reason: String,
    },
    /// No space is left. Nothing was written; the call can be repeated once there is space.
    #[error("the store is full: {0}")]
    Full(String),
    /// An earlier write failed, so the state of the disk is unknown. No write is accepted until
    /// the store is opened again.
    #[error("the store takes no more writes: {0}")]
    Poisoned(String),
    /// The operation failed in the system below.
    #[error("storage I/O failed: {0}")]
    Io(String),
    /// The request breaks a limit of the store. Nothing was written.
    #[error("invalid request: {0}")]
    Invalid(String),
}

/// Limits and law L3, in one place for every backend that decides by itself: may a log with this epoch and
/// last index be extended by `append`?
pub(crate) fn admit(epoch: u64, last: u64, append: &Append) -> Result<(), LogError> {
    check_sizes(append)?;
    check_epoch(append.epoch, epoch)?;
    let found = last.saturating_add(1);
    if append.expected != found {
        return Err(LogError::Conflict { expected: append.expected, found });
    }
    Ok(())
}

/// Checks the lengths of what is appended.
pub(crate) fn check_sizes(append: &Append) -> Result<(), LogError> {
    let summary = append.summary.as_ref().map(|summary| &summary.data);
    if let Some(large) =
        append.records.iter().chain(summary).find(|data| data.len() > MAX_RECORD_BYTES)
    {
        return Err(LogError::Invalid(format!(
            "a record has {} bytes, the limit is {MAX_RECORD_BYTES}",
            large.len()
        )));
    }
    Ok(())
}

/// Refuses what is done under a lower epoch than the stored one.
pub(crate) fn check_epoch(epoch: u64, current: u64) -> Result<(), LogError> {
    if epoch < current {
        return Err(LogError::Fenced { epoch, current });
    }
    Ok(())
}

/// Checks the limits of a key.
pub(crate) fn check_name(key: &LogKey) -> Result<(), LogError> {
    if key.name.len() > MAX_NAME_BYTES {
        return Err(LogError::Invalid(format!(
            "a log name has {} bytes, the limit is {MAX_NAME_BYTES}",
            key.name.len()
        )));
    }
    Ok(())
}
