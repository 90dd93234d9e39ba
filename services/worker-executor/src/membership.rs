//! This executor as a member of a cluster: it keeps a lease with the leader of the shard managers,
//! and takes and lets go the shards it is told to.
//!
//! The lease is counted from the moment a heartbeat was *sent*, so it ends here before it ends at
//! the leader, which counts from when it arrived. When it ends, everything is stopped at once.

mod reconcile;
mod session;

use crate::executor::Executor;
use emet_api::grpc::Refusals;
use emet_shard_map::ExecutorId;
use reconcile::Reconciler;
use session::{End, Session};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

/// Pause before another shard manager is tried.
const NEXT_MANAGER: Duration = Duration::from_millis(100);
/// Longest time that telling the leader of the end may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// Options of a member.
#[derive(Clone, Debug)]
pub struct MembershipOptions {
    /// The shard managers: `http://` URIs, in any order.
    pub managers: Vec<String>,
    /// Where the others reach this executor: an `http://` URI.
    pub address: String,
}

/// What the member wants, as its session sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    Stay,
    /// Hand everything over, then go.
    Leave,
    /// Everything is stopped.
    Gone,
}

/// A member of a cluster. It takes part until [`Member::leave`].
pub struct Member {
    /// Identity of this run.
    pub id: ExecutorId,
    executor: Arc<Executor>,
    wish: watch::Sender<Wish>,
    /// Whether there is nothing left to hand over.
    free: watch::Receiver<bool>,
    ended: watch::Receiver<bool>,
}

impl Member {
    /// Lets an executor take part.
    pub fn start(executor: Arc<Executor>, options: MembershipOptions) -> Self {
        let id = ExecutorId(Uuid::new_v4());
        let (wish, wishes) = watch::channel(Wish::Stay);
        let (frees, free) = watch::channel(false);
        let (ends, ended) = watch::channel(false);
        let (leases, lease_end) = watch::channel(Instant::now());
        tokio::spawn(fence_in_time(executor.clone(), lease_end));
        let reconciler = Reconciler::new(executor.clone(), frees);
        let run = Run { options, wishes, leases, reconciler };
        tokio::spawn(async move {
            run.run(&id.to_string()).await;
            ends.send_replace(true);
        });
        Self { id, executor, wish, free, ended }
    }

    /// Hands all shards over and leaves the cluster. What nobody takes within `patience` is stopped
    /// all the same, and its lease given back.
    pub async fn leave(&self, patience: Duration) {
        self.wish.send_replace(Wish::Leave);
        let ownership = &self.executor.shared.ownership;
        let mut free = self.free.clone();
        // One that holds nothing need not wait for a leader to tell it so: there may be none.
        if !ownership.held().is_empty()
            && tokio::time::timeout(patience, free.wait_for(|free| *free)).await.is_err()
        {
            tracing::warn!("not all shards were handed over in time");
        }
        let held: Vec<_> = ownership.held().iter().map(|held| held.shard).collect();
        self.executor.release(&held).await;
        self.wish.send_replace(Wish::Gone);
        let mut ended = self.ended.clone();
        // Without the leader's ear the lease ends by itself.
        drop(tokio::time::timeout(FAREWELL, ended.wait_for(|ended| *ended)).await);
    }
}

struct Run {
    options: MembershipOptions,
    wishes: watch::Receiver<Wish>,
    leases: watch::Sender<Instant>,
    reconciler: Reconciler,
}

impl Run {
    /// One session after the other, with whoever leads.
    async fn run(mut self, id: &str) {
        let mut managers = self.options.managers.clone().into_iter().cycle();
        let mut leader: Option<String> = None;
        let mut refusals = Refusals::default();
        loop {
            let Some(manager) = leader.take().or_else(|| managers.next()) else { return };
            let wishes = self.wishes.clone();
            let session =
                Session { id, address: &self.options.address, wishes, leases: &self.leases };
            match session.run(&manager, &mut self.reconciler).await {
                End::Leader(address) => leader = Some(address),
                End::Over => return,
                End::Lost(status) => {
                    refusals.note(&manager, &status);
                    tracing::debug!(manager, %status, "no session with this shard manager");
                    if *self.wishes.borrow() == Wish::Gone {
                        return;
                    }
                    tokio::time::sleep(NEXT_MANAGER).await;
                }
            }
        }
    }
}

/// Stops everything whenever a lease ends that was not renewed.
async fn fence_in_time(executor: Arc<Executor>, mut lease_end: watch::Receiver<Instant>) {
    loop {
        // The first lease, or the next one after an end.
        if lease_end.changed().await.is_err() {
            return;
        }
        loop {
            let end = *lease_end.borrow_and_update();
            tokio::time::sleep_until(end).await;
            if *lease_end.borrow() == end {
                break;
            }
        }
        executor.fence();
    }
}
