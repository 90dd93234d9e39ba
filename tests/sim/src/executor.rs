//! An executor of the simulation: what it holds, for how long it may be sure of that, and the log
//! that its worker writes in every shard.

use bytes::Bytes;
use emet_shard_map::{Epoch, ExecutorId, Held, ShardId};
use emet_storage::memory::MemoryLog;
use emet_storage::{Append, LogError, LogKey, LogStore};
use futures::executor::block_on;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// How long the outcome of an append may be unknown before the log is read, in milliseconds.
const PATIENCE: u64 = 400;

/// A simulated executor.
pub struct Executor {
    /// Identity of this run.
    pub id: ExecutorId,
    /// What it holds.
    pub held: BTreeMap<ShardId, Own>,
    /// When its lease ends, by its own clock.
    pub lease_end: f64,
    /// How fast its clock runs.
    pub speed: f64,
    /// Until when it is stopped; its messages and timers wait.
    pub stopped_until: u64,
    /// Newest assignment it knows.
    pub version: u64,
}

/// A shard that an executor holds, and what it knows of the worker there.
pub struct Own {
    /// Under which epoch.
    pub epoch: Epoch,
    /// The index that its worker writes next.
    next: u64,
    /// Calls in its log.
    calls: Calls,
    /// The append whose outcome is not known yet.
    pending: Option<Pending>,
}

/// The calls in a log: how many, and the number of the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) count: u64,
    last: u64,
}

/// An append that is under way to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pending {
    pub(crate) epoch: Epoch,
    pub(crate) expected: u64,
    pub(crate) call: u64,
    sent: u64,
}

/// What an executor does with a call.
pub(crate) enum Reaction {
    /// Its worker is another's, or may be.
    Refuse,
    /// It is in the log already: so many are.
    Answer(u64),
    /// It is recorded first.
    Append(Pending),
    /// It is being recorded.
    Wait,
}

/// The logs of the one worker of each shard.
static LOGS: OnceLock<Vec<LogKey>> = OnceLock::new();

/// The log of the one worker of a shard. Its name is chosen so that it hashes there.
fn log_of(shard: ShardId, total: u32) -> LogKey {
    let find = |shard| {
        let names = (0u32..).map(|n| format!("worker-{n}"));
        let keys = names.map(|name| LogKey { group: [0; 16], name });
        let mut fitting = keys.filter(|key| key.shard(total) == shard);
        fitting.next().unwrap_or(LogKey { group: [0; 16], name: String::new() })
    };
    let logs = LOGS.get_or_init(|| (0..total).map(find).collect());
    logs.get(shard as usize).cloned().unwrap_or_else(|| find(shard))
}

/// A record: the epoch under which it was written, and the number of a call or 0.
fn record(epoch: Epoch, call: u64) -> Bytes {
    Bytes::from([epoch.to_be_bytes(), call.to_be_bytes()].concat())
}

/// Epochs and calls of the records of a log, in order.
pub(crate) fn records(log: &MemoryLog, shard: ShardId, total: u32) -> Vec<(u64, u64)> {
    let number = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let records = block_on(log.read(&log_of(shard, total), 1, usize::MAX)).unwrap_or_default();
    let parse = |data: &[u8]| (number(data.first_chunk()), number(data.last_chunk()));
    records.iter().map(|record| parse(&record.data)).collect()
}

/// Carries an append out, as it arrives at the store.
pub(crate) fn append(
    log: &MemoryLog,
    shard: ShardId,
    total: u32,
    what: Pending,
) -> Result<(), LogError> {
    block_on(log.append(Append {
        key: log_of(shard, total),
        epoch: what.epoch,
        expected: what.expected,
        records: vec![record(what.epoch, what.call)],
        unfinished: None,
        summary: None,
    }))
}

impl Own {
    /// The worker as its log says.
    fn read(epoch: Epoch, shard: ShardId, log: &MemoryLog, total: u32) -> Self {
        let records = records(log, shard, total);
        let numbers = || records.iter().map(|(_, call)| *call).filter(|call| *call > 0);
        let calls =
            Calls { count: numbers().count() as u64, last: numbers().max().unwrap_or_default() };
        Self { epoch, next: records.len() as u64 + 1, calls, pending: None }
    }
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
            if self.held.get(&held.shard).is_some_and(|own| own.epoch == held.epoch) {
                continue;
            }
            if block_on(log.fence_shard(held.shard, total, held.epoch)).is_err() {
                continue;
            }
            self.held.insert(held.shard, Own::read(held.epoch, held.shard, log, total));
        }
    }

    /// Its worker in a shard writes an entry by itself. A refusal means that the shard is another's:
    /// it is let go.
    pub fn write(&mut self, shard: ShardId, log: &MemoryLog, total: u32) -> Result<(), LogError> {
        let Some(own) = self.held.get_mut(&shard).filter(|own| own.pending.is_none()) else {
            return Ok(());
        };
        let entry = Pending { epoch: own.epoch, expected: own.next, call: 0, sent: 0 };
        let written = append(log, shard, total, entry);
        match &written {
            Ok(()) => own.next += 1,
            Err(_) => drop(self.held.remove(&shard)),
        }
        written
    }

    /// A call has arrived. One that is in the log already is answered from there (law L6).
    pub(crate) fn call(&mut self, shard: ShardId, call: u64, now: u64) -> Reaction {
        if !self.is_sure(now) {
            return Reaction::Refuse;
        }
        match self.held.get_mut(&shard) {
            None => Reaction::Refuse,
            Some(own) if call <= own.calls.last => Reaction::Answer(own.calls.count),
            Some(Own { pending: Some(_), .. }) => Reaction::Wait,
            Some(own) => {
                let pending = Pending { epoch: own.epoch, expected: own.next, call, sent: now };
                own.pending = Some(pending);
                Reaction::Append(pending)
            }
        }
    }

    /// The store's word on an append has arrived: how many calls the log has, if it was waited for.
    /// After a refusal the log says whether it was an earlier try that took the place.
    pub(crate) fn appended(
        &mut self,
        shard: ShardId,
        what: Pending,
        accepted: bool,
        log: &MemoryLog,
        total: u32,
    ) -> Option<Result<u64, ()>> {
        let own = self.held.get_mut(&shard)?;
        let waited =
            |p: Pending| (p.epoch, p.expected, p.call) == (what.epoch, what.expected, what.call);
        own.pending.filter(|pending| waited(*pending))?;
        own.pending = None;
        let own_try = || {
            let place = usize::try_from(what.expected).ok()?.checked_sub(1)?;
            records(log, shard, total).get(place).copied()
        };
        if accepted || own_try() == Some((what.epoch, what.call)) {
            own.next += 1;
            own.calls = Calls { count: own.calls.count + 1, last: what.call };
            return Some(Ok(own.calls.count));
        }
        self.held.remove(&shard);
        Some(Err(()))
    }

    /// Appends whose outcome has been unknown for long: they are sent again.
    pub(crate) fn overdue(&mut self, now: u64) -> Vec<(ShardId, Pending)> {
        let pending = self.held.iter_mut().filter_map(|(shard, own)| {
            let pending = own.pending.as_mut().filter(|p| p.sent + PATIENCE < now)?;
            pending.sent = now;
            Some((*shard, *pending))
        });
        pending.collect()
    }
}
