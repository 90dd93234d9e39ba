//! Decides requests against the current state and stages what they change. No waiting, no I/O
//! but point reads: the committer makes the staged changes durable.

use super::cache::Cache;
use super::committer::LogCommand;
use super::layout::{self, HeadRow};
use super::read::{self, store_error};
use super::segment;
use super::tables::{Staging, Table, Tables};
use crate::kv::{Batch, KvError, KvOp};
use crate::log::{self, Append, LogError, LogKey, Trim};
use crate::shards::Fences;
use bytes::Bytes;

/// Logs whose state is kept at hand; twice as many at most. More than a group can hold.
const CACHED_LOGS: usize = 16 * 1024;
/// Sequence numbers are reserved in blocks, so that most creations need no extra row.
const SEQUENCE_BLOCK: u64 = 1024;

#[derive(Clone, Copy)]
struct LogState {
    row: HeadRow,
    last: u64,
}

/// The state that requests are decided on: what is stored, and what is staged on top.
pub(super) struct State {
    tables: Tables,
    pub(super) staged: Staging,
    /// `None`: known to be missing.
    logs: Cache<LogKey, Option<LogState>>,
    fences: Fences,
    /// Last sequence number given out, and the one through which numbers are reserved.
    sequence: u64,
    reserved: u64,
}

impl State {
    pub(super) fn open(tables: Tables) -> Result<Self, String> {
        let row = tables.heads.get(layout::SEQUENCE_KEY).map_err(|error| error.to_string())?;
        let sequence = match row {
            None => 0,
            Some(row) => u64::from_le_bytes(
                row.as_ref().try_into().map_err(|_| "the sequence row is malformed".to_owned())?,
            ),
        };
        let logs = Cache::new(CACHED_LOGS);
        let fences = load_fences(&tables)?;
        Ok(Self { tables, staged: Staging::default(), logs, fences, sequence, reserved: sequence })
    }

    /// Deleting and trimming look for rows in the database, so records of the same log must not
    /// be staged any more.
    pub(super) fn must_be_first(&mut self, change: &LogCommand) -> bool {
        let (LogCommand::Delete(key, _) | LogCommand::Trim(Trim { key, .. })) = change else {
            return false;
        };
        let log = self.logs.get(key).flatten();
        log.is_some_and(|log| self.staged.has_records(log.row.sequence))
    }

    pub(super) fn log(&mut self, change: LogCommand) -> Result<(), LogError> {
        match change {
            LogCommand::Append(append) => self.append(append),
            LogCommand::Fence(key, epoch) => self.fence(&key, epoch),
            LogCommand::FenceShard(shard, total, epoch) => self.fence_shard(shard, total, epoch),
            LogCommand::Delete(key, epoch) => self.delete(&key, epoch),
            LogCommand::Trim(trim) => self.trim(&trim),
        }
    }

    fn append(&mut self, append: Append) -> Result<(), LogError> {
        let key = &append.key;
        let found = self.load(key)?;
        let (epoch, last) = found.map_or((0, 0), |log| (log.row.epoch, log.last));
        log::admit(epoch.max(self.fences.of(key)), last, &append)?;
        let mut log = found.unwrap_or_else(|| self.create(key));
        let before = found.map(|log| log.row);

        for packed in segment::pack(log.row.sequence, append.expected, &append.records) {
            self.staged.put(Table::Records, packed.key.to_vec(), packed.value);
        }
        log.last = log.last.saturating_add(append.records.len() as u64);
        log.row.epoch = append.epoch;
        if let Some(summary) = &append.summary {
            log.row.summary = true;
            let row = layout::encode_summary(summary);
            self.staged.put(Table::Heads, layout::summary_key(log.row.sequence), row);
        }
        if let Some(unfinished) = append.unfinished {
            self.mark(key, &mut log.row, unfinished);
        }
        self.store(key, before, log);
        Ok(())
    }

    fn fence(&mut self, key: &LogKey, epoch: u64) -> Result<(), LogError> {
        log::check_epoch(epoch, self.fences.of(key))?;
        let found = self.load(key)?;
        let mut log = found.unwrap_or_else(|| self.create(key));
        log::check_epoch(epoch, log.row.epoch)?;
        log.row.epoch = epoch;
        self.store(key, found.map(|log| log.row), log);
        Ok(())
    }

    fn fence_shard(&mut self, shard: u32, total: u32, epoch: u64) -> Result<(), LogError> {
        self.fences.raise(shard, total, epoch)?;
        let row = Bytes::copy_from_slice(&epoch.to_le_bytes());
        self.staged.put(Table::Heads, layout::fence_key(shard, total), row);
        Ok(())
    }

    fn delete(&mut self, key: &LogKey, epoch: u64) -> Result<(), LogError> {
        let Some(row) = self.load_row(key)? else { return Ok(()) };
        log::check_epoch(epoch, row.epoch.max(self.fences.of(key)))?;
        for record in read::record_keys(&self.tables, key, row.sequence)? {
            self.staged.remove(Table::Records, record);
        }
        self.staged.remove(Table::Heads, layout::head_key(key));
        self.staged.remove(Table::Heads, layout::order_key(&key.group, row.sequence));
        if row.unfinished {
            self.staged.remove(Table::Heads, layout::unfinished_key(key));
        }
        if row.summary {
            self.staged.remove(Table::Heads, layout::summary_key(row.sequence));
        }
        self.logs.insert(key, None);
        Ok(())
    }

    fn trim(&mut self, trim: &Trim) -> Result<(), LogError> {
        let key = &trim.key;
        let found = self.load(key)?.filter(|log| log.row.sequence == trim.sequence);
        let Some(found) = found else { return Ok(()) };
        log::check_epoch(trim.epoch, found.row.epoch.max(self.fences.of(key)))?;
        let mut log = found;
        log.row.floor = trim.through.clamp(log.row.floor, log.last);
        let keys = read::record_keys(&self.tables, key, log.row.sequence)?;
        // A run ends where the next one starts; one that reaches beyond `through` stays whole.
        let ends = keys.iter().skip(1).filter_map(|next| layout::first_index(next));
        let ends = ends.chain([log.last.saturating_add(1)]);
        for (record, next) in keys.iter().zip(ends) {
            if next <= log.row.floor.saturating_add(1) {
                self.staged.remove(Table::Records, record.clone());
            }
        }
        self.store(key, Some(found.row), log);
        Ok(())
    }

    /// Stages the unfinished mark, if it changes.
    fn mark(&mut self, key: &LogKey, row: &mut HeadRow, unfinished: bool) {
        if row.unfinished == unfinished {
            return;
        }
        row.unfinished = unfinished;
        let mark = layout::unfinished_key(key);
        match unfinished {
            true => self.staged.put(Table::Heads, mark, Bytes::new()),
            false => self.staged.remove(Table::Heads, mark),
        }
    }

    /// A new log with the next sequence number, in its place in the order of its group.
    fn create(&mut self, key: &LogKey) -> LogState {
        self.sequence = self.sequence.saturating_add(1);
        let sequence = self.sequence;
        if sequence > self.reserved {
            self.reserved = sequence.saturating_add(SEQUENCE_BLOCK - 1);
            let row = Bytes::copy_from_slice(&self.reserved.to_le_bytes());
            self.staged.put(Table::Heads, layout::SEQUENCE_KEY.to_vec(), row);
        }
        let name = Bytes::copy_from_slice(key.name.as_bytes());
        self.staged.put(Table::Heads, layout::order_key(&key.group, sequence), name);
        let row = HeadRow { sequence, epoch: 0, floor: 0, unfinished: false, summary: false };
        LogState { row, last: 0 }
    }

    /// Remembers a log, and stages its head row if that changed.
    fn store(&mut self, key: &LogKey, before: Option<HeadRow>, log: LogState) {
        if before != Some(log.row) {
            self.staged.put(Table::Heads, layout::head_key(key), log.row.encode());
        }
        self.logs.insert(key, Some(log));
    }

    /// The state of a log, from memory or from the database.
    fn load(&mut self, key: &LogKey) -> Result<Option<LogState>, LogError> {
        if let Some(known) = self.logs.get(key) {
            return Ok(known);
        }
        log::check_name(key)?;
        let log = match self.load_row(key)? {
            None => None,
            Some(row) => {
                let last = read::last_index(&self.tables.db.snapshot(), &self.tables, key, &row)?;
                Some(LogState { row, last })
            }
        };
        self.logs.insert(key, log);
        Ok(log)
    }

    /// The head row alone: enough to delete a log whose records are damaged.
    fn load_row(&mut self, key: &LogKey) -> Result<Option<HeadRow>, LogError> {
        if let Some(known) = self.logs.get(key) {
            return Ok(known.map(|log| log.row));
        }
        let row = self.staged.get(&self.tables, Table::Heads, layout::head_key(key));
        read::decode_head(key, row.map_err(|error| store_error(key, 0, &error))?)
    }

    pub(super) fn kv(&mut self, batch: Batch) -> Result<bool, KvError> {
        for condition in batch.conditions {
            let at = layout::kv_key(&condition.space, &condition.key);
            let found = self.staged.get(&self.tables, Table::Kv, at);
            if found.map_err(|error| KvError::Io(error.to_string()))? != condition.expect {
                return Ok(false);
            }
        }
        for op in batch.ops {
            match op {
                KvOp::Put { space, key, value } => {
                    self.staged.put(Table::Kv, layout::kv_key(&space, &key), value);
                }
                KvOp::Delete { space, key } => {
                    self.staged.remove(Table::Kv, layout::kv_key(&space, &key));
                }
            }
        }
        Ok(true)
    }
}

/// The epochs of shards as stored.
fn load_fences(tables: &Tables) -> Result<Fences, String> {
    let mut fences = Fences::default();
    for guard in tables.heads.prefix(layout::FENCE_PREFIX) {
        let (key, row) = guard.into_inner().map_err(|error| error.to_string())?;
        let (shard, total, epoch) = layout::parse_fence(&key, &row)
            .ok_or_else(|| "an epoch of a shard is malformed".to_owned())?;
        fences.raise(shard, total, epoch).map_err(|error| error.to_string())?;
    }
    Ok(fences)
}
