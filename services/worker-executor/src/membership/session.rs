//! One stream to the leader.

use super::Wish;
use super::reconcile::Reconciler;
use emet_api::grpc::proto::shards as wire;
use emet_api::grpc::shards::{held, leader_of, parse_assignment};
use emet_api::grpc::{ChannelOptions, channel};
use emet_shard_map::Held;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use wire::executor_message::Kind as To;
use wire::manager_message::Kind as From;

/// Time between heartbeats before the length of a lease is known.
const FIRST_BEAT: Duration = Duration::from_millis(100);
/// Heartbeats in the time of one lease.
const BEATS: u32 = 5;
/// Longest time that opening a stream may take.
const OPEN: Duration = Duration::from_secs(1);
/// Heartbeats in a row that may stay without a lease before another leader is looked for: this one
/// may hang, and the lease runs.
const UNANSWERED: u32 = 3;

/// How a session ended.
pub(super) enum End {
    /// Another manager leads.
    Leader(String),
    /// The manager cannot be talked to, or does not lead.
    Lost(Status),
    /// The executor has left.
    Over,
}

/// What a session needs to know of the member.
pub(super) struct Session<'a> {
    pub(super) id: &'a str,
    pub(super) address: &'a str,
    pub(super) wishes: watch::Receiver<Wish>,
    pub(super) leases: &'a watch::Sender<Instant>,
}

/// Heartbeats that were sent, by number.
struct Beats {
    sent: BTreeMap<u64, Instant>,
    next: u64,
    pause: Duration,
    due: Instant,
    /// When a lease came last.
    answered: Instant,
}

impl Beats {
    fn beat(&mut self) -> wire::Heartbeat {
        let (now, sequence) = (Instant::now(), self.next);
        self.sent.insert(sequence, now);
        self.next += 1;
        self.due = now + self.pause;
        wire::Heartbeat { sequence }
    }

    /// When the leader counts as lost.
    fn given_up(&self) -> Instant {
        self.answered + (self.pause * UNANSWERED).max(OPEN / 2)
    }

    /// When the lease that a heartbeat brought ends.
    fn lease_end(&mut self, lease: &wire::Lease) -> Option<Instant> {
        let duration = Duration::from_millis(lease.duration_ms);
        self.pause = duration / BEATS;
        self.answered = Instant::now();
        self.due = self.due.min(self.answered + self.pause);
        let sent = self.sent.get(&lease.sequence).copied()?;
        self.sent.retain(|sequence, _| *sequence > lease.sequence);
        Some(sent + duration)
    }
}

fn lost(status: &Status) -> End {
    match leader_of(status.metadata()) {
        Some(leader) => End::Leader(leader),
        None => End::Lost(status.clone()),
    }
}

fn closed() -> Status {
    Status::unavailable("the stream is closed")
}

impl Session<'_> {
    /// Serves until the stream ends.
    pub(super) async fn run(mut self, manager: &str, reconciler: &mut Reconciler) -> End {
        let (outgoing, messages) = mpsc::channel(64);
        let join = wire::Join { executor_id: self.id.to_owned(), address: self.address.to_owned() };
        let mut incoming = match open(manager, messages, join, &outgoing).await {
            Ok(incoming) => incoming,
            Err(end) => return end,
        };
        tracing::info!(manager, "joined the cluster");
        let mut told = Wish::Stay;
        let now = Instant::now();
        let mut beats =
            Beats { sent: BTreeMap::new(), next: 1, pause: FIRST_BEAT, due: now, answered: now };
        loop {
            let wish = *self.wishes.borrow_and_update();
            if wish > told {
                told = wish;
                reconciler.leaving = true;
                let message = if wish == Wish::Gone {
                    To::Gone(wire::Gone {})
                } else {
                    To::Leave(wire::Leave {})
                };
                if !say(&outgoing, message).await {
                    return End::Lost(closed());
                }
            }
            let next = tokio::select! {
                message = incoming.message() => Next::Heard(message),
                () = tokio::time::sleep_until(beats.due) => Next::Say(To::Heartbeat(beats.beat())),
                () = tokio::time::sleep_until(beats.given_up()) => Next::GiveUp,
                handed = reconciler.handed_over() => Next::Say(handed_over(&handed)),
                _ = self.wishes.changed() => Next::Look,
            };
            match next {
                Next::Look => {}
                Next::GiveUp => {
                    return End::Lost(Status::deadline_exceeded("heartbeats are not answered"));
                }
                Next::Say(message) => {
                    if !say(&outgoing, message).await {
                        return End::Lost(closed());
                    }
                }
                Next::Heard(Ok(Some(wire::ManagerMessage { kind: Some(kind) }))) => {
                    self.hear(kind, &mut beats, reconciler);
                }
                Next::Heard(Ok(Some(_))) => {}
                Next::Heard(_) if told == Wish::Gone => return End::Over,
                Next::Heard(Ok(None)) => {
                    return End::Lost(Status::unavailable("the shard manager ended the stream"));
                }
                // A member that has handed everything over is forgotten by the leader.
                Next::Heard(Err(status))
                    if told == Wish::Leave && status.code() == tonic::Code::Aborted =>
                {
                    reconciler.forgotten();
                    return End::Over;
                }
                Next::Heard(Err(status)) => return lost(&status),
            }
        }
    }

    fn hear(&self, kind: From, beats: &mut Beats, reconciler: &mut Reconciler) {
        match kind {
            From::Lease(lease) => {
                if let Some(end) = beats.lease_end(&lease)
                    && end > Instant::now()
                {
                    reconciler.extend(end);
                    self.leases.send_replace(end);
                }
            }
            From::Assignment(assignment) => reconciler.assign(parse_assignment(&assignment)),
        }
    }
}

enum Next {
    Heard(Result<Option<wire::ManagerMessage>, Status>),
    Say(To),
    Look,
    GiveUp,
}

fn handed_over(shards: &[Held]) -> To {
    To::HandedOver(wire::HandedOver { shards: held(shards) })
}

async fn say(outgoing: &mpsc::Sender<wire::ExecutorMessage>, kind: To) -> bool {
    outgoing.send(wire::ExecutorMessage { kind: Some(kind) }).await.is_ok()
}

async fn open(
    manager: &str,
    messages: mpsc::Receiver<wire::ExecutorMessage>,
    join: wire::Join,
    outgoing: &mpsc::Sender<wire::ExecutorMessage>,
) -> Result<Streaming<wire::ManagerMessage>, End> {
    let options = ChannelOptions { connect: OPEN / 3, ..ChannelOptions::default() };
    let channel = channel(manager, options)
        .map_err(|e| End::Lost(Status::invalid_argument(e.to_string())))?;
    let mut client = wire::shards_client::ShardsClient::new(channel);
    say(outgoing, To::Join(join)).await;
    let opened = tokio::time::timeout(OPEN, client.serve(ReceiverStream::new(messages))).await;
    match opened {
        Err(_) => Err(End::Lost(Status::deadline_exceeded("no answer"))),
        Ok(Err(status)) => Err(lost(&status)),
        Ok(Ok(response)) => Ok(response.into_inner()),
    }
}
