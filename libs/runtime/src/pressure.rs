//! Too many workers want to be in memory: who gives up its instance.
//!
//! An idle worker is evicted. Where none is idle, a worker that does nothing but wait for another
//! one is suspended; otherwise the one that it waits for might never find a place. While somebody
//! wants room, whoever becomes idle or begins to wait goes by itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// A call to a worker in memory is answered sooner than its caller could be rebuilt.
const GRACE: Duration = Duration::from_millis(10);

/// The part of the word below that counts who wants room.
const WANTING: u64 = PERIOD - 1;
/// The least part of the word that counts periods.
const PERIOD: u64 = 1 << 32;

/// The want of room among the workers in memory.
#[derive(Debug, Default)]
pub struct Pressure {
    /// How many want room, and in the upper half how often it came to pass that nobody did any more:
    /// in one word, since no want may be taken for one of the time before it.
    wanting: AtomicU64,
    wanted: Notify,
    give_up: Notify,
}

/// For as long as somebody wants room.
#[derive(Debug)]
pub struct Want<'a>(&'a Pressure);

impl Drop for Want<'_> {
    fn drop(&mut self) {
        let less = |now: u64| match now & WANTING {
            1 => now.wrapping_add(PERIOD - 1),
            _ => now - 1,
        };
        self.0.wanting.update(Ordering::SeqCst, Ordering::SeqCst, less);
    }
}

impl Pressure {
    /// Asks for room, for as long as the answer is held.
    #[must_use = "room is wanted for as long as this lives"]
    pub fn want(&self) -> Want<'_> {
        self.wanting.fetch_add(1, Ordering::SeqCst);
        self.wanted.notify_one();
        Want(self)
    }

    /// How many want room.
    pub fn wanting(&self) -> usize {
        self.now().1
    }

    /// The period, which tells times apart between which nobody wanted room, and how many want room
    /// in it. Within one period, whoever becomes idle or begins to wait goes by itself.
    pub fn now(&self) -> (u64, usize) {
        let now = self.wanting.load(Ordering::SeqCst);
        (now / PERIOD, (now & WANTING) as usize)
    }

    /// Waits until room is wanted by somebody more: for whoever makes it.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Lets a worker that waits for others give up its instance, if room is wanted still.
    pub fn ask_one(&self) {
        self.give_up.notify_one();
    }

    /// Waits until an instance that only waits for other workers is to be given up: because room
    /// is wanted, or because it has waited for so long.
    pub async fn give_up(&self, patience: Duration) {
        let asked = async {
            tokio::time::sleep(GRACE).await;
            // Who was asked may have been answered by its call instead, and have left this behind.
            while self.wanting() == 0 {
                self.give_up.notified().await;
            }
        };
        drop(tokio::time::timeout(patience, asked).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_goes_when_it_is_asked_while_room_is_wanted() {
        let pressure = Pressure::default();
        let mut waiting = Box::pin(pressure.give_up(LONG));
        assert!(futures::poll!(&mut waiting).is_pending());
        tokio::time::advance(GRACE).await;
        pressure.ask_one();
        assert!(futures::poll!(&mut waiting).is_pending(), "nobody wants room any more");
        let want = pressure.want();
        pressure.wanted().await;
        pressure.ask_one();
        waiting.await;
        let (period, _) = pressure.now();
        drop(want);
        assert_eq!(pressure.now(), (period + 1, 0), "who waits from now on has to be asked");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_begins_to_wait_while_room_is_wanted_goes_by_itself() {
        let pressure = Pressure::default();
        let _want = pressure.want();
        let started = tokio::time::Instant::now();
        pressure.give_up(LONG).await;
        assert_eq!(started.elapsed(), GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends() {
        Pressure::default().give_up(Duration::from_millis(1)).await;
    }
}
