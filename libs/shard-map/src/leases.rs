//! The lease clock of the leader.
//!
//! It is memory of the leader only. A new leader does not know when its predecessor heard of an
//! executor last, so it gives every member a full lease before it takes anybody for dead.

use crate::ExecutorId;
use std::collections::BTreeMap;
use std::time::Duration;

/// When the lease of every executor ends, by a monotonic clock that the caller reads.
#[derive(Clone, Debug)]
pub struct Leases {
    lease: Duration,
    ends: BTreeMap<ExecutorId, Duration>,
}

impl Leases {
    /// The clock of a leader that has just been elected.
    ///
    /// `lease` is the time an executor may go on after it *sent* a heartbeat; here a tenth is added,
    /// because the two clocks need not run equally fast. The predecessor may have granted leases
    /// until [`Self::quorum_age`] after this leader was elected, so that is added once.
    pub fn elected(
        lease: Duration,
        members: impl IntoIterator<Item = ExecutorId>,
        now: Duration,
    ) -> Self {
        let first = now + lease + lease / 10 + Self::quorum_age(lease);
        Self {
            lease: lease + lease / 10,
            ends: members.into_iter().map(|id| (id, first)).collect(),
        }
    }

    /// A leader grants leases only if a quorum confirmed it within this time.
    pub fn quorum_age(lease: Duration) -> Duration {
        lease / 2
    }

    /// An executor was heard of. False: its lease has ended (or it is not known), and only a new
    /// registration gives it another one.
    pub fn renew(&mut self, executor: ExecutorId, now: Duration) -> bool {
        match self.ends.get_mut(&executor) {
            Some(end) if *end > now => {
                *end = (now + self.lease).max(*end);
                true
            }
            _ => false,
        }
    }

    /// An executor is no member any more.
    pub fn forget(&mut self, executor: ExecutorId) {
        self.ends.remove(&executor);
    }

    /// A member that the clock has not met yet gets a full lease.
    pub fn meet(&mut self, executor: ExecutorId, now: Duration) {
        let end = now + self.lease;
        self.ends.entry(executor).or_insert(end);
    }

    /// Executors whose lease has ended.
    pub fn ended(&self, now: Duration) -> Vec<ExecutorId> {
        self.ends.iter().filter(|(_, end)| **end <= now).map(|(id, _)| *id).collect()
    }

    /// When the next lease ends.
    pub fn next_end(&self) -> Option<Duration> {
        self.ends.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const LEASE: Duration = Duration::from_secs(10);

    fn id(n: u128) -> ExecutorId {
        ExecutorId(Uuid::from_u128(n))
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_new_leader_gives_everybody_a_full_lease() {
        let leases = Leases::elected(LEASE, [id(1), id(2)], at(100));
        assert_eq!(leases.ended(at(115)), []);
        assert_eq!(leases.ended(at(116)), [id(1), id(2)]);
    }

    #[test]
    fn a_heartbeat_renews_one_lease() {
        let mut leases = Leases::elected(LEASE, [id(1), id(2)], at(0));
        assert!(leases.renew(id(1), at(6)));
        assert_eq!(leases.ended(at(15)), []);
        assert_eq!(leases.ended(at(16)), [id(2)]);
        leases.forget(id(2));
        assert_eq!(leases.ended(at(16)), []);
        assert_eq!(leases.next_end(), Some(at(17)));
    }

    #[test]
    fn a_lease_that_has_ended_is_not_renewed() {
        let mut leases = Leases::elected(LEASE, [id(1)], at(0));
        assert!(!leases.renew(id(1), at(16)));
        assert!(!leases.renew(id(9), at(0)), "nor is one that was never given");
        leases.forget(id(1));
        leases.meet(id(1), at(20));
        assert!(leases.renew(id(1), at(21)));
    }

    #[test]
    fn meeting_a_member_again_renews_nothing() {
        let mut leases = Leases::elected(LEASE, [id(1)], at(0));
        leases.meet(id(1), at(10));
        assert_eq!(leases.ended(at(16)), [id(1)]);
    }
}
