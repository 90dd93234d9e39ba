//! The leader's side of one executor: it hears heartbeats and acknowledgements, and tells leases
//! and assignments. An assignment always is the whole truth, so that it can be sent again at any
//! time, and a lost one is made good by the next.

use crate::manager::Manager;
use crate::service::status;
use emet_api::grpc::proto::shards as wire;
use emet_api::grpc::shards::{assignment, executor_id, parse_held};
use emet_shard_map::{Assignment, Command, ExecutorId};
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use wire::executor_message::Kind as From;
use wire::manager_message::Kind as To;

type Outgoing = mpsc::Sender<Result<wire::ManagerMessage, Status>>;

/// Registers the executor that the first message names, and serves it until it or the leadership
/// ends.
pub(crate) async fn open(
    manager: Manager,
    mut incoming: Streaming<wire::ExecutorMessage>,
) -> Result<impl Stream<Item = Result<wire::ManagerMessage, Status>> + Send, Status> {
    let first = incoming.message().await?.and_then(|message| message.kind);
    let Some(From::Join(join)) = first else {
        return Err(Status::invalid_argument(
            "the first message of an executor has to be its join",
        ));
    };
    let executor = executor_id(&join.executor_id)?;
    let register = Command::Register { executor, address: join.address };
    manager.execute(register).await.map_err(|e| status(&e))?;
    manager.leadership.meet(executor);
    let (outgoing, messages) = mpsc::channel(16);
    tokio::spawn(async move {
        let session = Session { manager, executor, outgoing: outgoing.clone(), told: None };
        if let Err(end) = session.run(incoming).await {
            tracing::info!(%executor, reason = end.message(), "the stream of an executor ends");
            // Nobody listening is fine: the stream has ended already.
            drop(outgoing.send(Err(end)).await);
        }
    });
    Ok(ReceiverStream::new(messages))
}

struct Session {
    manager: Manager,
    executor: ExecutorId,
    outgoing: Outgoing,
    /// What the executor was told last.
    told: Option<Assignment>,
}

impl Session {
    async fn run(mut self, mut incoming: Streaming<wire::ExecutorMessage>) -> Result<(), Status> {
        let mut map = self.manager.map.clone();
        let manager = self.manager.clone();
        let not_leading = manager.not_leading();
        tokio::pin!(not_leading);
        loop {
            self.tell_assignment().await?;
            tokio::select! {
                message = incoming.next() => match message {
                    Some(Ok(wire::ExecutorMessage { kind: Some(kind) })) => self.hear(kind).await?,
                    Some(Ok(_)) => {}
                    // The lease runs on: the executor comes back, or it ends.
                    Some(Err(error)) => return Err(error),
                    None => return Ok(()),
                },
                changed = map.changed() => changed.map_err(|_| Status::unavailable("the shard manager stops"))?,
                () = &mut not_leading => return manager.lead(),
            }
        }
    }

    /// Tells what the executor is to hold, if that has changed. Before every lease: one that registers
    /// again after its lease had ended must not take the new lease for what it held before.
    async fn tell_assignment(&mut self) -> Result<(), Status> {
        let map = self.manager.map.borrow().clone();
        let wanted = map.assignment(self.executor);
        let wanted = wanted.ok_or_else(|| {
            Status::aborted("the executor is no member: its lease has ended or it has left")
        })?;
        let known = self
            .told
            .as_ref()
            .is_some_and(|told| told.hold == wanted.hold && told.release == wanted.release);
        if !known {
            self.send(To::Assignment(assignment(&wanted, map.shard_count()))).await?;
            self.told = Some(wanted);
        }
        Ok(())
    }

    async fn hear(&mut self, kind: From) -> Result<(), Status> {
        let executor = self.executor;
        let command = match kind {
            From::Join(_) => {
                return Err(Status::invalid_argument("an executor joins once per stream"));
            }
            From::Heartbeat(heartbeat) => return self.renew(heartbeat.sequence).await,
            From::HandedOver(handed) => {
                Command::HandedOver { executor, shards: parse_held(&handed.shards) }
            }
            From::Leave(_) => {
                // Told again even if nothing changes: then nobody takes its shards.
                self.told = None;
                Command::Leave { executor }
            }
            From::Gone(_) => Command::LeaseEnded { executor },
        };
        self.manager.execute(command).await.map_err(|e| status(&e))
    }

    async fn renew(&mut self, sequence: u64) -> Result<(), Status> {
        if self.manager.leadership.renew(self.executor) {
            let lease = self.manager.leadership.lease();
            let duration_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
            self.send(To::Lease(wire::Lease { sequence, duration_ms })).await?;
        }
        Ok(())
    }

    async fn send(&self, kind: To) -> Result<(), Status> {
        let message = wire::ManagerMessage { kind: Some(kind) };
        self.outgoing
            .send(Ok(message))
            .await
            .map_err(|_| Status::cancelled("the executor has gone"))
    }
}
