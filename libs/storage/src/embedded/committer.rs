//! The one thread that writes: take what waits, decide, commit together, answer.

use super::apply::State;
use super::space::SpaceGuard;
use super::tables::Tables;
use crate::kv::{Batch, KvError, KvOp};
use crate::log::{Append, LogError, LogKey, Trim};
use emet_telemetry::metrics::list::COMMIT_GROUP;
use std::sync::mpsc::Receiver;
use tokio::sync::oneshot;

/// A group is closed when it holds this many requests ...
const MAX_GROUP: usize = 1024;
/// ... or this many bytes of data.
const MAX_GROUP_BYTES: u64 = 4 * 1024 * 1024;
/// What a request costs on the disk beside its data: keys, head row, framing; generously.
const OVERHEAD_BYTES: u64 = 512;

type LogReply = oneshot::Sender<Result<(), LogError>>;
type KvReply = oneshot::Sender<Result<bool, KvError>>;

/// One request to write.
pub(super) enum Command {
    Log(LogCommand, LogReply),
    Kv(Batch, KvReply),
}

/// A request to change a log.
pub(super) enum LogCommand {
    Append(Append),
    Fence(LogKey, u64),
    /// Shard, number of shards, epoch.
    FenceShard(u32, u32, u64),
    Delete(LogKey, u64),
    Trim(Trim),
}

impl Command {
    /// About how much it will write.
    fn bytes(&self) -> u64 {
        let data = match self {
            Self::Log(LogCommand::Append(append), _) => {
                let summary = append.summary.as_ref().map_or(0, |summary| summary.data.len());
                append.records.iter().map(|r| r.len() + 8).sum::<usize>() + summary
            }
            Self::Log(..) => 0,
            Self::Kv(batch, _) => batch.ops.iter().map(op_bytes).sum(),
        };
        OVERHEAD_BYTES.saturating_add(data as u64)
    }

    /// Whether it only frees space.
    fn relieves(&self) -> bool {
        match self {
            Self::Log(LogCommand::Delete(..) | LogCommand::Trim(_), _) => true,
            Self::Log(..) => false,
            Self::Kv(batch, _) => batch.ops.iter().all(|op| matches!(op, KvOp::Delete { .. })),
        }
    }
}

fn op_bytes(op: &KvOp) -> usize {
    match op {
        KvOp::Put { key, value, .. } => key.len() + value.len() + 16,
        KvOp::Delete { key, .. } => key.len() + 16,
    }
}

/// A request that was decided, and is answered when its group is durable. Refusals wait too: what
/// they were refused for may be in the same group.
enum Decided {
    Log(Result<(), LogError>, LogReply),
    Kv(Result<bool, KvError>, KvReply),
}

impl Decided {
    /// Answers. A caller that no longer listens is no error.
    fn answer(self, poisoned: Option<&str>) {
        match self {
            Self::Log(result, reply) => {
                let result = poisoned.map_or(result, |r| Err(LogError::Poisoned(r.to_owned())));
                let _ = reply.send(result);
            }
            Self::Kv(result, reply) => {
                let result = poisoned.map_or(result, |r| Err(KvError::Poisoned(r.to_owned())));
                let _ = reply.send(result);
            }
        }
    }

    /// Only ever answered as poisoned.
    fn undecided(command: Command) -> Self {
        match command {
            Command::Log(_, reply) => Self::Log(Ok(()), reply),
            Command::Kv(_, reply) => Self::Kv(Ok(false), reply),
        }
    }

    fn refuse_full(command: Command, reason: String) -> Self {
        match command {
            Command::Log(_, reply) => Self::Log(Err(LogError::Full(reason)), reply),
            Command::Kv(_, reply) => Self::Kv(Err(KvError::Full(reason)), reply),
        }
    }
}

pub(super) struct Committer {
    tables: Tables,
    state: State,
    space: SpaceGuard,
    decided: Vec<Decided>,
    /// Why the store takes no more writes.
    poisoned: Option<String>,
}

impl Committer {
    pub(super) fn new(tables: Tables, space: SpaceGuard) -> Result<Self, String> {
        let state = State::open(tables.clone())?;
        Ok(Self { tables, state, space, decided: Vec::new(), poisoned: None })
    }

    /// Works until every sender is gone.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        while let Ok(first) = commands.recv() {
            let mut bytes = first.bytes();
            self.decide(first);
            while self.decided.len() < MAX_GROUP
                && bytes < MAX_GROUP_BYTES
                && let Ok(next) = commands.try_recv()
            {
                bytes = bytes.saturating_add(next.bytes());
                self.decide(next);
            }
            self.commit();
        }
    }

    fn decide(&mut self, command: Command) {
        if let Some(reason) = &self.poisoned {
            Decided::undecided(command).answer(Some(reason));
            return;
        }
        let buffered = self.tables.db.write_buffer_size();
        if let Err(reason) = self.space.admit(command.bytes(), buffered, command.relieves()) {
            self.decided.push(Decided::refuse_full(command, reason));
            return;
        }
        if let Command::Log(change, _) = &command
            && self.state.must_be_first(change)
        {
            self.commit();
        }
        let decided = match command {
            Command::Log(change, reply) => Decided::Log(self.state.log(change), reply),
            Command::Kv(batch, reply) => Decided::Kv(self.state.kv(batch), reply),
        };
        self.decided.push(decided);
    }

    /// Makes the group durable and answers it. After a failure nothing is written any more: what
    /// reached the disk is unknown until the store is opened again.
    fn commit(&mut self) {
        if self.poisoned.is_none()
            && let Err(error) = self.state.staged.commit(&self.tables)
        {
            tracing::error!(%error, "a commit failed: the store takes no more writes");
            self.poisoned = Some(error.to_string());
        }
        COMMIT_GROUP.observe_count(self.decided.len());
        for decided in self.decided.drain(..) {
            decided.answer(self.poisoned.as_deref());
        }
    }
}
