//! An executor of the simulation: what it holds, for how long it may be sure of that, and the log
//! that its worker writes in every shard.

use bytes::Bytes;
use emet_shard_map::{Epoch, ExecutorId, Held, ShardId};
use emet_storage::memory::MemoryLog;
use emet_storage::{Append, LogError, LogKey, LogStore};
use futures::executor::block_on;
use std::collections::BTreeMap;

/// A simulated executor.
pub struct Executor {
    /// Identity of this run.
    pub id: ExecutorId,
    /// Shards and epochs it holds, and the index its worker there writes next.
    pub held: BTreeMap<ShardId, (Epoch, u64)>,
    /// When its lease ends, by its own clock.
    pub lease_end: f64,
    /// How fast its clock runs.
    pub speed: f64,
    /// Until when it is stopped; its messages and timers wait.
    pub stopped_until: u64,
    /// Newest assignment it knows.
    pub version: u64,
}

/// The log of the one worker of a shard. Its name is chosen so that it hashes there.
pub(crate) fn log_of(shard: ShardId, total: u32) -> LogKey {
    let names = (0u32..).map(|n| format!("worker-{n}"));
    let keys = names.map(|name| LogKey { group: [0; 16], name });
    let mut fitting = keys.filter(|key| key.shard(total) == shard);
    fitting.next().unwrap_or(LogKey { group: [0; 16], name: String::new() })
}

impl Executor {
    /// One that has just started.
    pub fn new(id: ExecutorId, speed: f64) -> Self {
        Self { id, held: BTreeMap::new(), lease_end: 0.0, speed, stopped_until: 0, version: 0 }
    }

    /// Its own clock.
    pub fn clock(&self, now: u64) -> f64 {
        now as f64 * self.speed
    }

    /// Whether it may believe that its shards are its own.
    pub fn is_sure(&self, now: u64) -> bool {
        self.clock(now) < self.lease_end
    }

    /// Takes shards over, as the real one does: earlier owners are fenced off, then the log is read.
    pub fn take(&mut self, shards: &[Held], log: &MemoryLog, total: u32) {
        for held in shards {
            if self.held.get(&held.shard).is_some_and(|(epoch, _)| *epoch == held.epoch) {
                continue;
            }
            if block_on(log.fence_shard(held.shard, total, held.epoch)).is_err() {
                continue;
            }
            let head = block_on(log.head(&log_of(held.shard, total))).ok().flatten();
            let next = head.map_or(0, |head| head.last) + 1;
            self.held.insert(held.shard, (held.epoch, next));
        }
    }

    /// Its worker in a shard writes an entry, which says under which epoch. A refusal means that the
    /// shard is another's: it is let go.
    pub fn write(&mut self, shard: ShardId, log: &MemoryLog, total: u32) -> Result<(), LogError> {
        let Some((epoch, next)) = self.held.get(&shard).copied() else { return Ok(()) };
        let append = Append {
            key: log_of(shard, total),
            epoch,
            expected: next,
            records: vec![Bytes::copy_from_slice(&epoch.to_be_bytes())],
            unfinished: None,
            summary: None,
        };
        let written = block_on(log.append(append));
        if written.is_ok() {
            self.held.insert(shard, (epoch, next + 1));
        } else {
            self.held.remove(&shard);
        }
        written
    }
}
