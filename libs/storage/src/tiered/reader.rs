//! Reading over both tiers.

use super::chunk::{self, Chunk};
use super::{Tiers, corrupt, log_error};
use crate::log::{LogError, LogKey, Record};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

/// Chunks looked at to find an index. More than one only where chunks overlap.
const PAGE: usize = 16;
/// How often a read starts again because records moved meanwhile.
const TRIES: u32 = 8;

impl Tiers {
    /// Up to `max` records from `from` on, over both tiers.
    pub(super) async fn read(
        &self,
        key: &LogKey,
        from: u64,
        max: usize,
    ) -> Result<Vec<Record>, LogError> {
        let from = from.max(1);
        for _ in 0..TRIES {
            let recent = self.primary.read(key, from, max).await?;
            let found = recent.first().map(|record| record.index);
            if max == 0 || found == Some(from) {
                return Ok(recent);
            }
            let Some(head) = self.primary.head(key).await? else { return Ok(recent) };
            // Of what the primary does not have, the archive has everything before `end`.
            let end = found.unwrap_or_else(|| head.last.saturating_add(1));
            let base = chunk::base(key, head.sequence);
            let start = from.max(self.floor(key, &base).await?.saturating_add(1));
            if start > head.last {
                return Ok(Vec::new());
            }
            if start < end {
                if let Some(records) = self.archived(key, &base, start, end, max).await? {
                    return Ok(join(records, recent, max));
                }
            } else if found.is_none_or(|found| found >= start) {
                return Ok(recent);
            }
            // Appended, moved or trimmed since the primary was read: look again.
            if self.primary.read(key, start, 1).await?.first().is_some_and(|r| r.index == start) {
                return self.primary.read(key, start, max).await;
            }
        }
        Err(corrupt(key, from, "records are in neither tier"))
    }

    /// Records `start..end` from chunks, at most `max`. `None`: some are not there.
    async fn archived(
        &self,
        key: &LogKey,
        base: &str,
        start: u64,
        end: u64,
        max: usize,
    ) -> Result<Option<Vec<Record>>, LogError> {
        let mut records = Vec::new();
        let mut next = start;
        while next < end && records.len() < max {
            let Some(chunk) = self.chunk(key, base, next).await? else { return Ok(None) };
            let skip = usize::try_from(next - chunk.first).unwrap_or(usize::MAX);
            for data in chunk.records.iter().skip(skip) {
                if next < end && records.len() < max {
                    records.push(Record { index: next, data: data.clone() });
                    next = next.saturating_add(1);
                }
            }
        }
        Ok(Some(records))
    }

    /// A chunk that holds an index.
    async fn chunk(
        &self,
        key: &LogKey,
        base: &str,
        index: u64,
    ) -> Result<Option<Arc<Chunk>>, LogError> {
        if let Some(chunk) = self.cache.find(base, index) {
            return Ok(Some(chunk));
        }
        let mut after = chunk::before(base, index);
        loop {
            let page = self.blobs.list(base, Some(&after), PAGE).await.map_err(log_error)?;
            let holds = |(first, last): (u64, u64)| first <= index && index <= last;
            let name = page.iter().find(|(name, _)| chunk::range_of(base, name).is_some_and(holds));
            match (name, page.last()) {
                (Some((name, _)), _) => return self.fetch(key, base, name, index).await,
                (None, Some((last, _))) => after.clone_from(last),
                (None, None) => return Ok(None),
            }
        }
    }

    async fn fetch(
        &self,
        key: &LogKey,
        base: &str,
        name: &str,
        index: u64,
    ) -> Result<Option<Arc<Chunk>>, LogError> {
        let Some(stored) = self.blobs.get(name).await.map_err(log_error)? else { return Ok(None) };
        let chunk = Chunk::decode(name, stored).map_err(|reason| corrupt(key, index, reason))?;
        if chunk::range_of(base, name) != Some((chunk.first, chunk.last())) {
            return Err(corrupt(key, index, "a chunk does not hold what its name says"));
        }
        let chunk = Arc::new(chunk);
        self.cache.keep(base, chunk.clone());
        Ok(Some(chunk))
    }

    /// Through which record a log was trimmed.
    pub(super) async fn floor(&self, key: &LogKey, base: &str) -> Result<u64, LogError> {
        let name = chunk::floor_name(base);
        match self.blobs.get(&name).await.map_err(log_error)? {
            None => Ok(0),
            Some(stored) => {
                chunk::decode_floor(&name, stored).map_err(|reason| corrupt(key, 0, reason))
            }
        }
    }
}

/// Archived records, and those of the primary that follow them.
fn join(mut records: Vec<Record>, recent: Vec<Record>, max: usize) -> Vec<Record> {
    let next = records.last().map_or(0, |record| record.index.saturating_add(1));
    if recent.first().is_some_and(|record| record.index == next) {
        let room = max.saturating_sub(records.len());
        records.extend(recent.into_iter().take(room));
    }
    records
}

/// Chunks that were read lately: a replay asks for one page after the other.
pub(super) struct Cache {
    limit: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    bytes: usize,
    chunks: VecDeque<(String, Arc<Chunk>, usize)>,
}

impl Cache {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, held: Mutex::default() }
    }

    fn find(&self, base: &str, index: u64) -> Option<Arc<Chunk>> {
        let held = self.held.lock();
        let holds = |chunk: &Chunk| chunk.first <= index && index <= chunk.last();
        let found = held.chunks.iter().find(|(of, chunk, _)| of == base && holds(chunk));
        found.map(|(_, chunk, _)| chunk.clone())
    }

    /// Keeps a chunk, and lets go of the oldest ones until all fit.
    fn keep(&self, base: &str, chunk: Arc<Chunk>) {
        let bytes = chunk.records.iter().map(|record| record.len().saturating_add(64)).sum();
        let mut held = self.held.lock();
        held.bytes = held.bytes.saturating_add(bytes);
        held.chunks.push_back((base.to_owned(), chunk, bytes));
        while held.bytes > self.limit
            && let Some((_, _, bytes)) = held.chunks.pop_front()
        {
            held.bytes = held.bytes.saturating_sub(bytes);
        }
    }
}
