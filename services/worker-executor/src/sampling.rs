//! Comparing a sample of the workers in memory with a replay of their histories, so that whatever
//! departs from them is found before it matters (docs/checkpoints.md).

use crate::actor::Command;
use crate::executor::Shared;
use emet_model::{OplogIndex, WorkerId};
use rand::seq::IteratorRandom;
use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// Longest history that is replayed without being asked for: a worker answers nobody meanwhile.
const MAX_ENTRIES: OplogIndex = 10_000;
/// Least time between two comparisons.
const SHORTEST: Duration = Duration::from_millis(1);

impl Shared {
    /// Compares one worker after the other, with this time between two of them.
    pub(crate) async fn verify_some(this: Weak<Self>, every: Duration) {
        let mut times = tokio::time::interval(every.max(SHORTEST));
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first is at once.
        times.tick().await;
        loop {
            times.tick().await;
            let Some(shared) = this.upgrade() else { return };
            if let Some(worker) = shared.any_idle() {
                shared.verify_one(&worker).await;
            }
        }
    }

    /// Any worker in memory that does nothing.
    fn any_idle(&self) -> Option<WorkerId> {
        let actors = self.actors.lock();
        let idle = actors.values().filter_map(|slot| slot.get()).filter(|handle| {
            handle.visible.loaded.load(Ordering::Acquire)
                && !handle.visible.busy.load(Ordering::Acquire)
                && handle.writer.last_index() <= MAX_ENTRIES
        });
        idle.choose(&mut rand::rng()).map(|handle| handle.worker().clone())
    }

    async fn verify_one(&self, worker: &WorkerId) {
        match self.ask(worker, || None, Command::Verify).await {
            Ok(found) if found.not_compared.is_none() && !found.equal => {
                let (index, differences) = (found.last_oplog_index, found.differences.join("; "));
                tracing::error!(%worker, index, %differences, "a worker differs from what a replay of its history gives");
            }
            Ok(found) => {
                let reason = found.not_compared.as_deref().unwrap_or("equal");
                tracing::debug!(%worker, index = found.last_oplog_index, reason, "a worker was compared with a replay");
            }
            Err(error) => tracing::debug!(%worker, %error, "a worker could not be compared"),
        }
    }
}
