//! Keys and values of the database, byte by byte.

use crate::{Head, LogError, LogKey, Summary};
use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use std::path::Path;

/// The keyspaces.
#[derive(Clone)]
pub(super) struct Spaces {
    pub(super) db: Database,
    /// (log, first index) -> records of one append.
    pub(super) records: Keyspace,
    /// (group, name) -> head.
    pub(super) heads: Keyspace,
    /// (group, sequence) -> name.
    pub(super) sequence: Keyspace,
    /// (group, name) -> nothing.
    pub(super) unfinished: Keyspace,
    /// (space, key) -> value.
    pub(super) kv: Keyspace,
}

/// Blocks of tables kept in memory.
const CACHE_BYTES: u64 = 32 << 20;

pub(super) fn failed(error: impl std::fmt::Display) -> LogError {
    LogError::Io(error.to_string())
}

impl Spaces {
    pub(super) fn open(path: &Path) -> Result<Self, LogError> {
        let opened = Database::builder(path).cache_size(CACHE_BYTES).worker_threads(1).open();
        let db = opened.map_err(|e| match e {
            fjall::Error::Locked => LogError::Io(format!("data directory {} is in use by another process", path.display())),
            other => failed(other),
        })?;
        let space = |name: &str| db.keyspace(name, KeyspaceCreateOptions::default).map_err(failed);
        Ok(Self {
            records: space("records")?,
            heads: space("heads")?,
            sequence: space("sequence")?,
            unfinished: space("unfinished")?,
            kv: space("kv")?,
            db,
        })
    }
}

pub(super) fn log_key(key: &LogKey) -> Vec<u8> {
    [key.group.as_slice(), key.name.as_bytes()].concat()
}

pub(super) fn parse_log_key(bytes: &[u8]) -> Option<LogKey> {
    let (group, name) = bytes.split_at_checked(16)?;
    Some(LogKey { group: group.try_into().ok()?, name: String::from_utf8(name.to_vec()).ok()? })
}

pub(super) fn record_key(sequence: u64, first: u64) -> Vec<u8> {
    [sequence.to_be_bytes(), first.to_be_bytes()].concat()
}

/// First index of a row of `records`.
pub(super) fn row_index(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(8..16)?.try_into().ok()?))
}

pub(super) fn sequence_key(group: [u8; 16], sequence: u64) -> Vec<u8> {
    [group.as_slice(), &sequence.to_be_bytes()].concat()
}

pub(super) fn kv_key(space: &str, key: &[u8]) -> Vec<u8> {
    [space.as_bytes(), &[0], key].concat()
}

/// crc32 of the rest, then each record with its length in front.
pub(super) fn pack(records: &[Bytes]) -> Vec<u8> {
    let size = records.iter().map(|r| r.len() + 4).sum::<usize>() + 4;
    let mut out = Vec::with_capacity(size);
    out.extend([0; 4]);
    for record in records {
        out.extend(u32::try_from(record.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(record);
    }
    let crc = crc32fast::hash(out.get(4..).unwrap_or_default()).to_le_bytes();
    out.iter_mut().zip(crc).for_each(|(to, from)| *to = from);
    out
}

/// The inverse of [`pack`].
pub(super) fn unpack(row: &Bytes) -> Result<Vec<Bytes>, String> {
    let stored = row.get(..4).ok_or("too short")?;
    let mut rest = row.slice(4..);
    if crc32fast::hash(&rest).to_le_bytes() != stored {
        return Err("wrong checksum".into());
    }
    let mut records = Vec::new();
    while !rest.is_empty() {
        let length = rest.get(..4).and_then(|l| l.try_into().ok()).map(u32::from_le_bytes).ok_or("cut off")?;
        let end = usize::try_from(length).ok().and_then(|l| l.checked_add(4)).filter(|end| *end <= rest.len()).ok_or("cut off")?;
        records.push(rest.slice(4..end));
        rest = rest.slice(end..);
    }
    Ok(records)
}

/// sequence, epoch, first index, unfinished, then the summary's index and bytes.
pub(super) fn encode_head(head: &Head, first: u64) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(head.sequence.to_be_bytes());
    out.extend(head.epoch.to_be_bytes());
    out.extend(first.to_be_bytes());
    out.push(u8::from(head.unfinished));
    if let Some(summary) = &head.summary {
        out.extend(summary.index.to_be_bytes());
        out.extend_from_slice(&summary.data);
    }
    out
}

/// The inverse of [`encode_head`]; the last index is not part of it.
pub(super) fn decode_head(bytes: &Bytes) -> Option<(Head, u64)> {
    let number = |at: usize| Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let summary = match bytes.len() > 25 {
        true => Some(Summary { index: number(25)?, data: bytes.slice(33..) }),
        false => None,
    };
    let head = Head { last: 0, epoch: number(8)?, unfinished: *bytes.get(24)? == 1, sequence: number(0)?, summary };
    Some((head, number(16)?))
}
