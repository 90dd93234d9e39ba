//! Stores in memory, for tests, with faults.

use crate::{
    Append, Batch, BlobError, BlobInfo, BlobStore, Head, KvError, KvOp, KvStore, LogError, LogKey, LogStore, Record,
};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// What goes wrong at an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written and the caller is told.
    Fail,
    /// The first records are written, then the store is dead.
    Tear(usize),
    /// Everything is written, then the store is dead.
    Crash,
}

#[derive(Clone, Debug)]
struct Stored {
    head: Head,
    first: u64,
    records: Vec<Bytes>,
}

#[derive(Default)]
struct Inner {
    logs: BTreeMap<LogKey, Stored>,
    next_sequence: u64,
    /// Appends until a fault, and the fault.
    fault: Option<(u64, Fault)>,
    dead: bool,
    appends: u64,
}

/// Logs in memory.
#[derive(Clone, Default)]
pub struct MemoryLog {
    inner: Arc<Mutex<Inner>>,
}

impl MemoryLog {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// After so many more appends, something goes wrong.
    pub fn inject(&self, after: u64, fault: Fault) {
        self.inner.lock().fault = Some((after, fault));
    }

    /// Appends so far.
    pub fn appends(&self) -> u64 {
        self.inner.lock().appends
    }

    /// A healthy store over what survived.
    #[must_use]
    pub fn reopen(&self) -> Self {
        let inner = self.inner.lock();
        let (logs, next_sequence) = (inner.logs.clone(), inner.next_sequence);
        Self { inner: Arc::new(Mutex::new(Inner { logs, next_sequence, ..Inner::default() })) }
    }

    /// Keeps the first records of a log; it counts as unfinished, as after a crash.
    pub fn truncate(&self, key: &LogKey, last: u64) {
        if let Some(stored) = self.inner.lock().logs.get_mut(key) {
            stored.records.truncate(usize::try_from(last).unwrap_or(usize::MAX));
            stored.head.last = stored.head.last.min(last);
            stored.head.unfinished = true;
            stored.head.summary = None;
        }
    }
}

const DEAD: &str = "the store crashed";

#[async_trait]
impl LogStore for MemoryLog {
    async fn append(&self, append: Append) -> Result<(), LogError> {
        let mut inner = self.inner.lock();
        if inner.dead {
            return Err(LogError::Poisoned(DEAD.into()));
        }
        let known = inner.logs.get(&append.key);
        let (last, epoch) = known.map_or((0, 0), |s| (s.head.last, s.head.epoch));
        if append.epoch < epoch {
            return Err(LogError::Fenced { key: append.key, epoch: append.epoch, current: epoch });
        }
        if append.expected != last + 1 {
            return Err(LogError::Conflict { key: append.key, expected: append.expected, found: last + 1 });
        }
        let fault = match &mut inner.fault {
            Some((0, fault)) => Some(*fault),
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        };
        if fault == Some(Fault::Fail) {
            inner.fault = None;
            return Err(LogError::Io("injected failure".into()));
        }
        inner.appends += 1;
        let sequence = inner.next_sequence + 1;
        if known_is_new(&inner.logs, &append.key) {
            inner.next_sequence = sequence;
        }
        let stored = inner.logs.entry(append.key).or_insert_with(|| Stored {
            head: Head { last: 0, epoch: 0, unfinished: false, sequence, summary: None },
            first: 1,
            records: Vec::new(),
        });
        let kept = match fault {
            Some(Fault::Tear(kept)) => kept.min(append.records.len()),
            _ => append.records.len(),
        };
        stored.records.extend(append.records.into_iter().take(kept));
        stored.head.last += kept as u64;
        stored.head.epoch = append.epoch;
        stored.head.unfinished = append.unfinished.unwrap_or(stored.head.unfinished);
        stored.head.summary = append.summary.or_else(|| stored.head.summary.take());
        if fault.is_some() {
            inner.dead = true;
            return Err(LogError::Poisoned(DEAD.into()));
        }
        Ok(())
    }

    async fn read(&self, key: &LogKey, from: u64, max: usize) -> Result<Vec<Record>, LogError> {
        let inner = self.inner.lock();
        let Some(stored) = inner.logs.get(key) else { return Ok(Vec::new()) };
        let from = from.max(stored.first);
        let skip = usize::try_from(from - stored.first).unwrap_or(usize::MAX);
        let records = stored.records.iter().skip(skip).take(max);
        Ok((from..).zip(records).map(|(index, data)| Record { index, data: data.clone() }).collect())
    }

    async fn head(&self, key: &LogKey) -> Result<Option<Head>, LogError> {
        Ok(self.inner.lock().logs.get(key).map(|s| s.head.clone()))
    }

    async fn fence(&self, key: &LogKey, epoch: u64) -> Result<(), LogError> {
        let mut inner = self.inner.lock();
        match inner.logs.get_mut(key) {
            Some(s) if epoch < s.head.epoch => Err(LogError::Fenced { key: key.clone(), epoch, current: s.head.epoch }),
            Some(s) => {
                s.head.epoch = epoch;
                Ok(())
            }
            None => Ok(()),
        }
    }

    async fn delete(&self, key: &LogKey) -> Result<(), LogError> {
        self.inner.lock().logs.remove(key);
        Ok(())
    }

    async fn list(&self, group: [u8; 16], after: u64, limit: usize) -> Result<Vec<(LogKey, Head)>, LogError> {
        let inner = self.inner.lock();
        let matching = inner.logs.iter().filter(|(k, s)| k.group == group && s.head.sequence > after);
        let mut found: Vec<_> = matching.map(|(k, s)| (k.clone(), s.head.clone())).collect();
        found.sort_by_key(|(_, head)| head.sequence);
        found.truncate(limit);
        Ok(found)
    }

    async fn unfinished(&self) -> Result<Vec<LogKey>, LogError> {
        let inner = self.inner.lock();
        Ok(inner.logs.iter().filter(|(_, s)| s.head.unfinished).map(|(k, _)| k.clone()).collect())
    }

    async fn trim(&self, key: &LogKey, through: u64) -> Result<(), LogError> {
        if let Some(stored) = self.inner.lock().logs.get_mut(key) {
            let through = through.min(stored.head.last);
            let count = usize::try_from((through + 1).saturating_sub(stored.first)).unwrap_or(0);
            stored.records.drain(..count.min(stored.records.len()));
            stored.first = stored.first.max(through + 1);
        }
        Ok(())
    }
}

fn known_is_new(logs: &BTreeMap<LogKey, Stored>, key: &LogKey) -> bool {
    !logs.contains_key(key)
}

/// Keys in memory.
#[derive(Clone, Default)]
pub struct MemoryKv {
    map: Arc<Mutex<BTreeMap<(String, Vec<u8>), Bytes>>>,
}

#[async_trait]
impl KvStore for MemoryKv {
    async fn get(&self, space: &str, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        Ok(self.map.lock().get(&(space.to_owned(), key.to_vec())).cloned())
    }

    async fn get_many(&self, space: &str, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, KvError> {
        let map = self.map.lock();
        Ok(keys.iter().map(|key| map.get(&(space.to_owned(), key.clone())).cloned()).collect())
    }

    async fn apply(&self, batch: Batch) -> Result<bool, KvError> {
        let mut map = self.map.lock();
        let holds = batch.conditions.iter().all(|c| map.get(&(c.space.clone(), c.key.clone())) == c.value.as_ref());
        if holds {
            for op in batch.ops {
                match op {
                    KvOp::Put { space, key, value } => drop(map.insert((space, key), value)),
                    KvOp::Delete { space, key } => drop(map.remove(&(space, key))),
                }
            }
        }
        Ok(holds)
    }

    async fn scan(&self, space: &str, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, Bytes)>, KvError> {
        let map = self.map.lock();
        let from = (space.to_owned(), prefix.to_vec());
        let matching = map.range(from..).take_while(|((s, k), _)| s == space && k.starts_with(prefix));
        let rest = matching.filter(|((_, k), _)| after.is_none_or(|after| k.as_slice() > after));
        Ok(rest.take(limit).map(|((_, k), v)| (k.clone(), v.clone())).collect())
    }
}

/// Objects in memory.
#[derive(Clone, Default)]
pub struct MemoryBlob {
    map: Arc<Mutex<BTreeMap<String, Bytes>>>,
}

fn info(data: &Bytes) -> BlobInfo {
    BlobInfo { size: data.len() as u64, modified_ms: 0 }
}

#[async_trait]
impl BlobStore for MemoryBlob {
    async fn put(&self, key: &str, data: Bytes) -> Result<(), BlobError> {
        self.map.lock().insert(key.to_owned(), data);
        Ok(())
    }

    async fn put_if_absent(&self, key: &str, data: Bytes) -> Result<bool, BlobError> {
        let mut map = self.map.lock();
        let absent = !map.contains_key(key);
        if absent {
            map.insert(key.to_owned(), data);
        }
        Ok(absent)
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, BlobError> {
        Ok(self.map.lock().get(key).cloned())
    }

    async fn get_range(&self, key: &str, start: u64, end: u64) -> Result<Option<Bytes>, BlobError> {
        let clamp = |n: u64, len: usize| usize::try_from(n).unwrap_or(usize::MAX).min(len);
        Ok(self.map.lock().get(key).map(|data| {
            let start = clamp(start, data.len());
            data.slice(start..clamp(end, data.len()).max(start))
        }))
    }

    async fn head(&self, key: &str) -> Result<Option<BlobInfo>, BlobError> {
        Ok(self.map.lock().get(key).map(info))
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        self.map.lock().remove(key);
        Ok(())
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<(), BlobError> {
        self.map.lock().retain(|key, _| !key.starts_with(prefix));
        Ok(())
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<(String, BlobInfo)>, BlobError> {
        let map = self.map.lock();
        let matching = map.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        let rest = matching.filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        Ok(rest.take(limit).map(|(key, data)| (key.clone(), info(data))).collect())
    }

    async fn copy(&self, from: &str, to: &str) -> Result<bool, BlobError> {
        let mut map = self.map.lock();
        let Some(data) = map.get(from).cloned() else { return Ok(false) };
        map.insert(to.to_owned(), data);
        Ok(true)
    }

    fn local_path(&self, _key: &str) -> Option<PathBuf> {
        None
    }
}
