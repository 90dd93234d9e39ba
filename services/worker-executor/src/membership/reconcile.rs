//! Brings what this executor holds to what it was told to hold.

use crate::executor::Executor;
use emet_shard_map::{Assignment, Held, ShardId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Outlives sessions: what was begun under one leader is reported to the next.
pub(super) struct Reconciler {
    executor: Arc<Executor>,
    /// The newest assignment.
    wanted: Assignment,
    /// Shards whose workers are being stopped.
    stopping: BTreeSet<ShardId>,
    /// Shards whose earlier owners are being fenced off.
    fencing: BTreeSet<ShardId>,
    done: mpsc::UnboundedReceiver<Done>,
    tell: mpsc::UnboundedSender<Done>,
    /// Whether the executor wants to go.
    pub(super) leaving: bool,
    free: watch::Sender<bool>,
}

/// What was done in the background.
enum Done {
    Stopped(Vec<Held>),
    /// Of the shards that were to be fenced off, those that are.
    Fenced {
        asked: Vec<Held>,
        ready: Vec<Held>,
    },
}

/// Pause before a store that did not answer is asked again.
const FENCE_AGAIN: Duration = Duration::from_millis(200);

impl Reconciler {
    pub(super) fn new(executor: Arc<Executor>, free: watch::Sender<bool>) -> Self {
        let (tell, done) = mpsc::unbounded_channel();
        Self {
            executor,
            wanted: Assignment::default(),
            stopping: BTreeSet::new(),
            fencing: BTreeSet::new(),
            done,
            tell,
            leaving: false,
            free,
        }
    }

    /// A new assignment. One that is older than what is known is news from a leader that is none.
    pub(super) fn assign(&mut self, assignment: Assignment) {
        if assignment.version < self.wanted.version {
            return;
        }
        self.wanted = assignment;
        self.reconcile();
    }

    /// The lease goes on.
    pub(super) fn extend(&mut self, until: Instant) {
        let ownership = &self.executor.shared.ownership;
        let was_sure = ownership.is_sure();
        ownership.extend(until);
        if !was_sure {
            self.reconcile();
        }
    }

    /// The leader knows nothing of this executor any more.
    pub(super) fn forgotten(&mut self) {
        self.wanted.hold.clear();
        self.wanted.release.clear();
        self.reconcile();
    }

    /// Waits for shards to be reported as handed over.
    pub(super) async fn handed_over(&mut self) -> Vec<Held> {
        loop {
            let Some(done) = self.done.recv().await else { return std::future::pending().await };
            let stopped = match done {
                Done::Stopped(stopped) => stopped,
                Done::Fenced { asked, ready } => {
                    self.fenced(&asked, ready);
                    Vec::new()
                }
            };
            for held in &stopped {
                self.stopping.remove(&held.shard);
            }
            // What is to be held again can be taken now.
            self.reconcile();
            let release = &self.wanted.release;
            let asked: Vec<Held> =
                stopped.into_iter().filter(|held| release.contains(held)).collect();
            if !asked.is_empty() {
                return asked;
            }
        }
    }

    /// Begins to run the workers of shards whose earlier owners are fenced off, if they are still
    /// to be held.
    fn fenced(&mut self, asked: &[Held], mut ready: Vec<Held>) {
        for held in asked {
            self.fencing.remove(&held.shard);
        }
        let sure = self.executor.shared.ownership.is_sure();
        ready.retain(|held| {
            sure && self.wanted.hold.contains(held) && !self.stopping.contains(&held.shard)
        });
        self.executor.begin(&ready);
    }

    fn reconcile(&mut self) {
        let held = self.executor.shared.ownership.held();
        let hold: BTreeSet<Held> = self.wanted.hold.iter().copied().collect();
        let release: BTreeSet<Held> = self.wanted.release.iter().copied().collect();
        // What is neither to be held nor to be handed over was lost; its workers stop likewise.
        let surplus: Vec<Held> = held.iter().filter(|h| !hold.contains(h)).copied().collect();
        if !surplus.is_empty() {
            self.let_go(surplus.clone());
        }
        // Asked for again, although it is not held: the word that it was let go did not arrive.
        let known: BTreeSet<ShardId> =
            surplus.iter().map(|h| h.shard).chain(self.stopping.iter().copied()).collect();
        let again: Vec<Held> = release.into_iter().filter(|h| !known.contains(&h.shard)).collect();
        if !again.is_empty() {
            // The receiver is this struct's own.
            drop(self.tell.send(Done::Stopped(again)));
        }
        // Without a lease there is no telling whose they are.
        if self.executor.shared.ownership.is_sure() {
            let busy =
                |h: &Held| self.stopping.contains(&h.shard) || self.fencing.contains(&h.shard);
            let fresh = hold.into_iter().filter(|h| !held.contains(h) && !busy(h)).collect();
            self.fence_off(fresh);
        }
        // Whoever wants to go and is to hand nothing over has nobody to hand it to.
        let free = self.leaving && self.wanted.release.is_empty() && self.stopping.is_empty();
        self.free.send_if_modified(|known| std::mem::replace(known, free) != free);
    }

    /// Fences earlier owners of shards off, in the background.
    fn fence_off(&mut self, asked: Vec<Held>) {
        if asked.is_empty() {
            return;
        }
        self.fencing.extend(asked.iter().map(|held| held.shard));
        let (executor, tell) = (self.executor.clone(), self.tell.clone());
        tokio::spawn(async move {
            let ready = executor.fence_off(&asked).await;
            if ready.len() < asked.len() {
                tokio::time::sleep(FENCE_AGAIN).await;
            }
            drop(tell.send(Done::Fenced { asked, ready }));
        });
    }

    /// Stops the workers of shards in the background.
    fn let_go(&mut self, shards: Vec<Held>) {
        let numbers: Vec<ShardId> = shards.iter().map(|held| held.shard).collect();
        tracing::info!(shards = numbers.len(), "letting shards go");
        self.stopping.extend(&numbers);
        // Refused from this moment on, also by requests that arrive before the task runs.
        self.executor.shared.ownership.let_go(&numbers);
        let (executor, tell) = (self.executor.clone(), self.tell.clone());
        tokio::spawn(async move {
            executor.release(&numbers).await;
            drop(tell.send(Done::Stopped(shards)));
        });
    }
}
