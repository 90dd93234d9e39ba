//! [`Node`]: one server. A few tasks send its writes: each takes what waits for it at that moment and
//! sends it in one round trip, which so carries the commits of many workers. Reads have a
//! connection of their own, so that none waits for a disk.

use super::failure::Failure;
use super::link::{Link, Patience};
use emet_telemetry::metrics::list::COMMIT_GROUP;
use redis::{Cmd, ConnectionInfo, Value};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// A round trip carries at most this many writes ...
const MAX_GROUP: usize = 512;
/// ... or this many bytes of them.
const MAX_GROUP_BYTES: usize = 4 * 1024 * 1024;
/// Tasks, each with a connection. With `appendfsync always` a server syncs after it has read once
/// from every connection, some 16 KiB each: several connections let more commits share a sync.
const WRITERS: usize = 8;
/// Writes that may wait for their turn before callers have to wait to be queued, per task.
const QUEUE: usize = 4096;

/// Replicas that must have a write before it counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replicas {
    pub(super) count: u32,
    pub(super) within: Duration,
}

struct Write {
    command: Cmd,
    /// Whether the node only has it because another one said to ask here.
    asking: bool,
    reply: oneshot::Sender<Result<Value, Failure>>,
}

/// Handle of one server.
pub(super) struct Node {
    writers: Vec<mpsc::Sender<Write>>,
    reads: Link,
}

impl Node {
    /// Starts the tasks that send the writes; they end with the handle.
    pub(super) fn start(
        servers: Vec<ConnectionInfo>,
        patience: Patience,
        replicas: Replicas,
    ) -> Self {
        let start = |_| {
            let (writes, queue) = mpsc::channel(QUEUE);
            let link = Link::new(servers.clone(), patience);
            tokio::spawn(Writer { link, queue, replicas }.run());
            writes
        };
        let writers = (0..WRITERS).map(start).collect();
        Self { writers, reads: Link::new(servers, patience) }
    }

    /// Writes of one slot are sent in the order of these calls.
    pub(super) async fn write(
        &self,
        slot: u16,
        command: Cmd,
        asking: bool,
    ) -> Result<Value, Failure> {
        let (reply, answer) = oneshot::channel();
        let gone = || Failure::Unknown("the connection to Redis is shut down".into());
        let writer = self.writers.get(usize::from(slot) % WRITERS).ok_or_else(gone)?;
        writer.send(Write { command, asking, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    pub(super) async fn read(&self, command: Cmd, asking: bool) -> Result<Value, Failure> {
        let mut commands = vec![command];
        if asking {
            commands.insert(0, redis::cmd("ASKING"));
        }
        let mut results = self.reads.send(commands).await?;
        results.pop().unwrap_or_else(|| Err(Failure::Unknown("no answer".into())))
    }
}

struct Writer {
    link: Link,
    queue: mpsc::Receiver<Write>,
    replicas: Replicas,
}

impl Writer {
    async fn run(mut self) {
        while let Some(first) = self.queue.recv().await {
            let mut bytes = size(&first);
            let mut group = vec![first];
            while group.len() < MAX_GROUP && bytes < MAX_GROUP_BYTES {
                let Ok(next) = self.queue.try_recv() else { break };
                bytes = bytes.saturating_add(size(&next));
                group.push(next);
            }
            COMMIT_GROUP.observe_count(group.len());
            self.commit(group).await;
        }
    }

    /// Sends a group and answers everybody in it.
    async fn commit(&self, group: Vec<Write>) {
        let mut commands = Vec::with_capacity(group.len().saturating_add(1));
        let mut replies = Vec::with_capacity(group.len());
        for write in group {
            if write.asking {
                commands.push(redis::cmd("ASKING"));
            }
            commands.push(write.command);
            replies.push((write.asking, write.reply));
        }
        if self.replicas.count > 0 {
            commands.push(self.wait());
        }
        let mut results = match self.link.send(commands).await {
            Ok(results) => results,
            Err(failure) => return refuse(replies, &failure),
        };
        let lacking = if self.replicas.count > 0 { self.lacking(results.pop()) } else { None };
        let mut results = results.into_iter();
        for (asking, reply) in replies {
            if asking {
                results.next();
            }
            let result =
                results.next().unwrap_or_else(|| Err(Failure::Unknown("no answer".into())));
            let result = match &lacking {
                Some(failure) => result.and_then(|_| Err(failure.clone())),
                None => result,
            };
            // A caller that no longer listens is no error.
            let _ = reply.send(result);
        }
    }

    /// Asks to be answered when the replicas have everything that this connection wrote.
    fn wait(&self) -> Cmd {
        let mut wait = redis::cmd("WAIT");
        wait.arg(self.replicas.count)
            .arg(u64::try_from(self.replicas.within.as_millis()).unwrap_or(u64::MAX));
        wait
    }

    /// What the writes of a group fail with if too few replicas have them.
    fn lacking(&self, answer: Option<Result<Value, Failure>>) -> Option<Failure> {
        match answer {
            Some(Ok(Value::Int(count))) if count >= i64::from(self.replicas.count) => None,
            Some(Ok(Value::Int(count))) => Some(Failure::Unknown(format!(
                "{count} of {} replicas have the write",
                self.replicas.count
            ))),
            other => {
                Some(Failure::Unknown(format!("the server does not wait for replicas: {other:?}")))
            }
        }
    }
}

fn refuse(replies: Vec<(bool, oneshot::Sender<Result<Value, Failure>>)>, failure: &Failure) {
    for (_, reply) in replies {
        let _ = reply.send(Err(failure.clone()));
    }
}

/// About how many bytes a write takes on the wire.
fn size(write: &Write) -> usize {
    write.command.args_iter().fold(64, |sum, arg| match arg {
        redis::Arg::Simple(bytes) => bytes.len().saturating_add(sum),
        _ => sum,
    })
}
