//! [`Router`]: from the slot of a key to its server, and how often a command is tried.

use super::failure::Failure;
use super::node::Node;
use super::topology::Topology;
use redis::{Cmd, Value};
use std::time::Duration;
use tokio::time::Instant;

/// First pause before a command is tried again; each further one is twice as long ...
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// ... up to this.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Whether a command may be sent again after its connection broke without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Carrying it out twice is the same as once, or it notices.
    Always,
    /// Only if it is certain that it was not carried out.
    IfNotDone,
}

/// Which connection of a node a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Write,
    Read,
}

/// A result, and whether an earlier try may have been carried out.
pub(super) struct Answer {
    pub(super) value: Value,
    pub(super) repeated: bool,
}

/// Sends commands to the servers that hold their keys.
pub(super) struct Router {
    topology: Topology,
    /// How long a command is tried again.
    retry_for: Duration,
}

impl Router {
    pub(super) fn new(topology: Topology, retry_for: Duration) -> Self {
        Self { topology, retry_for }
    }

    /// Sends a write, made anew for each try.
    pub(super) async fn write(
        &self,
        slot: u16,
        repeat: Repeat,
        command: impl Fn() -> Cmd + Send + Sync,
    ) -> Result<Answer, Failure> {
        self.run(Kind::Write, slot, repeat, command).await
    }

    pub(super) async fn read(
        &self,
        slot: u16,
        command: impl Fn() -> Cmd + Send + Sync,
    ) -> Result<Value, Failure> {
        self.run(Kind::Read, slot, Repeat::Always, command).await.map(|answer| answer.value)
    }

    async fn run(
        &self,
        kind: Kind,
        slot: u16,
        repeat: Repeat,
        command: impl Fn() -> Cmd + Send + Sync,
    ) -> Result<Answer, Failure> {
        let end = Instant::now() + self.retry_for;
        let mut pause = FIRST_PAUSE;
        let mut repeated = false;
        let mut ask = None;
        loop {
            let failure = match self.once(kind, slot, ask.take(), command()).await {
                Ok(value) => return Ok(Answer { value, repeated }),
                Err(failure) => failure,
            };
            match &failure {
                Failure::Ask(node) => ask = Some(node.clone()),
                Failure::Moved(_) | Failure::Unready(_) => self.topology.refresh().await,
                Failure::Unknown(_) if repeat == Repeat::Always => {
                    repeated = true;
                    self.topology.refresh().await;
                }
                Failure::Stale(_) => {}
                Failure::Unknown(_) | Failure::Full(_) | Failure::Refused(_) => {
                    return Err(failure);
                }
            }
            if Instant::now() + pause > end {
                let unknown = repeated && !matches!(failure, Failure::Unknown(_));
                return Err(if unknown {
                    Failure::Unknown(failure.text().to_owned())
                } else {
                    failure
                });
            }
            if !matches!(failure, Failure::Ask(_)) {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    async fn once(
        &self,
        kind: Kind,
        slot: u16,
        ask: Option<String>,
        command: Cmd,
    ) -> Result<Value, Failure> {
        let asking = ask.is_some();
        let node = match ask {
            Some(address) => self.topology.node(&address)?,
            None => self.topology.node_of(slot)?,
        };
        let node: &Node = &node;
        match kind {
            Kind::Write => node.write(slot, command, asking).await,
            Kind::Read => node.read(command, asking).await,
        }
    }
}
