//! Room among the workers in memory: who gets a place, and who leaves for it.

use crate::actor::Command;
use crate::executor::Shared;
use emet_telemetry::metrics::list::EVICTIONS;
use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Of so many workers in memory one more leaves it when room is wanted.
const EVICTED_SHARE: usize = 64;

impl Shared {
    /// A place among the workers in memory, taking one from the worker that was idle longest.
    pub(crate) async fn place(&self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(place) = self.places.clone().try_acquire_owned() {
                return place;
            }
            self.node.memory.pressure.want();
            let soon = tokio::time::timeout(
                Duration::from_millis(50),
                self.places.clone().acquire_owned(),
            );
            if let Ok(Ok(place)) = soon.await {
                return place;
            }
        }
    }

    /// Makes room among the workers in memory whenever it is wanted.
    pub(crate) async fn make_room(this: Weak<Self>) {
        let Some(node) = this.upgrade().map(|s| s.node.clone()) else { return };
        loop {
            node.memory.pressure.wanted().await;
            let Some(shared) = this.upgrade() else { return };
            shared.evict_some();
        }
    }

    /// Asks the workers that were idle longest to leave memory. Some at a time: finding them means
    /// looking at all.
    fn evict_some(&self) {
        let actors = self.actors.lock();
        let loaded = actors
            .values()
            .filter_map(|slot| slot.get())
            .filter(|h| h.visible.loaded.load(Ordering::Acquire));
        let mut count = 0;
        let mut idle: Vec<_> = loaded
            .inspect(|_| count += 1)
            .filter(|h| !h.visible.busy.load(Ordering::Acquire))
            .map(|h| (h.used.load(Ordering::Relaxed), h))
            .collect();
        let some = idle.len().min(count / EVICTED_SHARE + 1);
        if some < idle.len() {
            idle.select_nth_unstable_by_key(some, |(used, _)| *used);
        }
        for (_, oldest) in idle.into_iter().take(some) {
            oldest.used.store(self.ticks.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
            EVICTIONS.inc();
            oldest.send(Command::Evict);
        }
    }
}
