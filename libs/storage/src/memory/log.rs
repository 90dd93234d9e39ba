//! [`MemoryLog`]: the log port over a map, with injected faults.

use super::faults::{Fault, Faults};
use crate::log::{self, Append, Head, LogError, LogKey, LogStore, Record, Summary, Trim};
use crate::shards::{Fences, Shards};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug)]
struct Log {
    /// Records after `floor`.
    records: Vec<Bytes>,
    /// Index through which records were trimmed.
    floor: u64,
    epoch: u64,
    unfinished: bool,
    sequence: u64,
    summary: Option<Summary>,
}

impl Log {
    fn last(&self) -> u64 {
        self.floor.saturating_add(self.records.len() as u64)
    }

    fn head(&self) -> Head {
        Head {
            last: self.last(),
            epoch: self.epoch,
            unfinished: self.unfinished,
            sequence: self.sequence,
            summary: self.summary.clone(),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct State {
    logs: BTreeMap<LogKey, Log>,
    sequence: u64,
    fences: Fences,
    crashed: bool,
}

impl State {
    fn create(&mut self, key: &LogKey, epoch: u64) -> &mut Log {
        let sequence = &mut self.sequence;
        self.logs.entry(key.clone()).or_insert_with(|| {
            *sequence = sequence.saturating_add(1);
            Log {
                records: Vec::new(),
                floor: 0,
                epoch,
                unfinished: false,
                sequence: *sequence,
                summary: None,
            }
        })
    }

    fn admit(&self, append: &Append) -> Result<(), LogError> {
        log::check_name(&append.key)?;
        let (epoch, last) = self.logs.get(&append.key).map_or((0, 0), |l| (l.epoch, l.last()));
        log::admit(epoch.max(self.fences.of(&append.key)), last, append)
    }

    fn write(&mut self, append: Append) {
        let log = self.create(&append.key, append.epoch);
        log.epoch = append.epoch;
        log.records.extend(append.records);
        log.unfinished = append.unfinished.unwrap_or(log.unfinished);
        log.summary = append.summary.or(log.summary.take());
    }
}

/// Logs in memory. Clones share the data.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    state: Arc<Mutex<State>>,
    faults: Faults,
}

impl MemoryLog {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The handle to plan faults of this store.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// From now on every call fails, as after a crash, until [`MemoryLog::reopen`].
    pub fn crash(&self) {
        self.state.lock().crashed = true;
    }

    /// A fresh, healthy store over the surviving data, without planned faults. The old handle
    /// behaves as crashed, like the owner of a database that another process opened.
    #[must_use]
    pub fn reopen(&self) -> Self {
        let mut old = self.state.lock();
        let mut state = old.clone();
        state.crashed = false;
        old.crashed = true;
        Self { state: Arc::new(Mutex::new(state)), faults: Faults::default() }
    }

    /// A healthy copy of the data as it is now; later changes of either do not show in the other.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let mut state = self.state.lock().clone();
        state.crashed = false;
        Self { state: Arc::new(Mutex::new(state)), faults: Faults::default() }
    }

    /// Keeps records through `last` only, as if the process had died before later appends. A
    /// summary that includes a lost record is dropped.
    pub fn truncate(&self, key: &LogKey, last: u64) {
        let mut state = self.state.lock();
        let Some(log) = state.logs.get_mut(key) else { return };
        let keep = usize::try_from(last.saturating_sub(log.floor)).unwrap_or(usize::MAX);
        log.records.truncate(keep);
        let last = log.last();
        log.summary = log.summary.take().filter(|summary| summary.index <= last);
    }

    fn healthy(&self) -> Result<MutexGuard<'_, State>, LogError> {
        let state = self.state.lock();
        if state.crashed {
            return Err(LogError::Poisoned("injected crash".into()));
        }
        Ok(state)
    }
}

#[async_trait]
impl LogStore for MemoryLog {
    async fn append(&self, mut append: Append) -> Result<(), LogError> {
        let mut state = self.healthy()?;
        let fault = self.faults.next();
        if fault == Some(Fault::Fail) {
            return Err(LogError::Io("injected failure".into()));
        }
        state.admit(&append)?;
        if let Some(Fault::Tear { keep }) = fault {
            append.records.truncate(keep);
            append.unfinished = None;
            append.summary = None;
        }
        state.write(append);
        if fault.is_some() {
            state.crashed = true;
            return Err(LogError::Poisoned("injected crash".into()));
        }
        Ok(())
    }

    async fn read(&self, key: &LogKey, from: u64, max: usize) -> Result<Vec<Record>, LogError> {
        let state = self.healthy()?;
        let Some(log) = state.logs.get(key) else { return Ok(Vec::new()) };
        let from = from.max(log.floor.saturating_add(1));
        let skip = usize::try_from(from - log.floor - 1).unwrap_or(usize::MAX);
        let records = log.records.iter().skip(skip).take(max);
        Ok((from..)
            .zip(records)
            .map(|(index, data)| Record { index, data: data.clone() })
            .collect())
    }

    async fn head(&self, key: &LogKey) -> Result<Option<Head>, LogError> {
        Ok(self.healthy()?.logs.get(key).map(Log::head))
    }

    async fn fence(&self, key: &LogKey, epoch: u64) -> Result<(), LogError> {
        log::check_name(key)?;
        let mut state = self.healthy()?;
        log::check_epoch(epoch, state.fences.of(key))?;
        let log = state.create(key, epoch);
        log::check_epoch(epoch, log.epoch)?;
        log.epoch = epoch;
        Ok(())
    }

    async fn fence_shard(&self, shard: u32, total: u32, epoch: u64) -> Result<(), LogError> {
        self.healthy()?.fences.raise(shard, total, epoch)
    }

    async fn delete(&self, key: &LogKey, epoch: u64) -> Result<(), LogError> {
        let mut state = self.healthy()?;
        let Some(log) = state.logs.get(key) else { return Ok(()) };
        log::check_epoch(epoch, log.epoch.max(state.fences.of(key)))?;
        state.logs.remove(key);
        Ok(())
    }

    async fn list(
        &self,
        group: [u8; 16],
        after: u64,
        limit: usize,
    ) -> Result<Vec<(LogKey, Head)>, LogError> {
        let state = self.healthy()?;
        let found = state.logs.iter().filter(|(k, log)| k.group == group && log.sequence > after);
        let mut page: Vec<_> = found.map(|(key, log)| (key.clone(), log.head())).collect();
        page.sort_by_key(|(_, head)| head.sequence);
        page.truncate(limit);
        Ok(page)
    }

    async fn unfinished(&self, shards: &Shards) -> Result<Vec<LogKey>, LogError> {
        let state = self.healthy()?;
        let found = state.logs.iter().filter(|(key, log)| log.unfinished && shards.contains(key));
        Ok(found.map(|(key, _)| key.clone()).collect())
    }

    async fn trim(&self, trim: Trim) -> Result<(), LogError> {
        let mut state = self.healthy()?;
        let fence = state.fences.of(&trim.key);
        let found = state.logs.get_mut(&trim.key).filter(|log| log.sequence == trim.sequence);
        let Some(log) = found else { return Ok(()) };
        log::check_epoch(trim.epoch, log.epoch.max(fence))?;
        let through = trim.through.clamp(log.floor, log.last());
        let drop = usize::try_from(through - log.floor).unwrap_or(usize::MAX);
        log.records.drain(..drop);
        log.floor = through;
        Ok(())
    }
}
