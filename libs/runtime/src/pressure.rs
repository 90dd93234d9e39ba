//! Too many workers want to be in memory: who gives up its instance.
//!
//! An idle worker is evicted. Where none is idle, a worker that does nothing but wait for another
//! one is suspended; otherwise the one that it waits for might never find a place.

use std::time::Duration;
use tokio::sync::Notify;

/// The want of room among the workers in memory.
#[derive(Debug, Default)]
pub struct Pressure {
    wanted: Notify,
    give_up: Notify,
}

impl Pressure {
    /// Asks for room. One idle worker is evicted, and one that waits for another is suspended.
    pub fn want(&self) {
        self.wanted.notify_one();
        self.give_up.notify_one();
    }

    /// Waits until room is wanted: for whoever evicts idle workers.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Waits until an instance that only waits for other workers is to be given up: because room
    /// is wanted, or because it has waited for so long.
    pub async fn give_up(&self, patience: Duration) {
        drop(tokio::time::timeout(patience, self.give_up.notified()).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_waiting_worker_gives_up_for_each_request() {
        let pressure = Pressure::default();
        let long = Duration::from_secs(3600);
        let mut waiting = [Box::pin(pressure.give_up(long)), Box::pin(pressure.give_up(long))];
        for one in &mut waiting {
            assert!(futures::poll!(one).is_pending());
        }
        pressure.want();
        let gone = [
            futures::poll!(&mut waiting[0]).is_ready(),
            futures::poll!(&mut waiting[1]).is_ready(),
        ];
        assert_eq!(gone.iter().filter(|g| **g).count(), 1);
        pressure.wanted().await;
    }

    #[tokio::test]
    async fn patience_ends() {
        Pressure::default().give_up(Duration::from_millis(1)).await;
    }
}
