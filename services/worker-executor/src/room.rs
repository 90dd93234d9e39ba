//! Room among the workers in memory: who gets a place, and who leaves for it.

use crate::actor::Command;
use crate::actors::gone;
use crate::executor::Shared;
use emet_model::WorkerError;
use emet_telemetry::metrics::list::EVICTIONS;
use std::sync::Weak;
use std::sync::atomic::Ordering;
use tokio::sync::OwnedSemaphorePermit;

/// Of so many workers in memory one more leaves it when room is wanted.
const EVICTED_SHARE: usize = 64;

impl Shared {
    /// A place among the workers in memory. Whoever waits gets the next one in turn, which is taken
    /// from the worker that was idle longest.
    pub(crate) async fn place(&self) -> Result<OwnedSemaphorePermit, WorkerError> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let _want = self.node.memory.pressure.want();
        self.places.clone().acquire_owned().await.map_err(|_| gone())
    }

    /// Whether somebody waits for room among the workers in memory.
    pub(crate) fn is_room_wanted(&self) -> bool {
        self.node.memory.pressure.wanting() > 0
    }

    /// Makes room among the workers in memory whenever it is wanted: by idle workers, and by those
    /// that wait for others. Where there are none, the next to become so goes by itself.
    pub(crate) async fn make_room(this: Weak<Self>) {
        let Some(node) = this.upgrade().map(|s| s.node.clone()) else { return };
        let pressure = &node.memory.pressure;
        let mut all_asked_in = None;
        loop {
            pressure.wanted().await;
            let Some(shared) = this.upgrade() else { return };
            let (period, wanting) = pressure.now();
            // As many as can be in memory were asked already, and room was wanted ever since.
            if all_asked_in == Some(period) {
                continue;
            }
            all_asked_in = (wanting >= shared.max_loaded).then_some(period);
            let wanting = wanting.min(shared.max_loaded);
            let evicted = shared.evict(wanting);
            (evicted..wanting).for_each(|_| pressure.ask_one());
        }
    }

    /// Asks idle workers to leave memory, those first that were idle longest; how many there were.
    /// A share of all goes at least: finding them means looking at all.
    fn evict(&self, count: usize) -> usize {
        let actors = self.actors.lock();
        let loaded = actors
            .values()
            .filter_map(|slot| slot.get())
            .filter(|h| h.visible.loaded.load(Ordering::SeqCst));
        let mut share = 0;
        let mut idle: Vec<_> = loaded
            .inspect(|_| share += 1)
            .filter(|h| !h.visible.busy.load(Ordering::SeqCst))
            .map(|h| (h.used.load(Ordering::Relaxed), h))
            .collect();
        let count = count.max(share / EVICTED_SHARE).min(idle.len());
        if count < idle.len() {
            idle.select_nth_unstable_by_key(count, |(used, _)| *used);
        }
        for (_, oldest) in idle.iter().take(count) {
            oldest.used.store(self.ticks.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
            EVICTIONS.inc();
            oldest.send(Command::Evict);
        }
        count
    }
}
