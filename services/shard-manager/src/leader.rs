//! What only the leader does: it keeps the lease clock, and proposes the commands that follow from
//! it. Nothing here is replicated; a new leader starts with full leases for everybody.

use crate::manager::{Manager, ManagerError};
use emet_shard_map::{Command, ExecutorId, Leases};
use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// Time without a new executor after which shards are spread anew: executors that start together
/// cause one move.
const SETTLE: Duration = Duration::from_millis(300);
/// Longest pause between two looks at the clock.
const TICK: Duration = Duration::from_millis(50);

/// The leader's memory.
pub(crate) struct Leadership {
    lease: Duration,
    started: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Set while this member leads.
    leases: Option<Leases>,
    /// When a quorum confirmed this leader last.
    confirmed: Option<Instant>,
}

impl Leadership {
    pub(crate) fn new(lease: Duration) -> Self {
        Self { lease, started: Instant::now(), state: Mutex::default() }
    }

    /// How long a lease is.
    pub(crate) fn lease(&self) -> Duration {
        self.lease
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Renews the lease of an executor. False: this member may not grant it, because it does not
    /// lead, or a quorum has not confirmed that lately, or the lease has ended already.
    pub(crate) fn renew(&self, executor: ExecutorId) -> bool {
        let mut state = self.state.lock();
        let fresh =
            state.confirmed.is_some_and(|at| at.elapsed() <= Leases::quorum_age(self.lease));
        match (&mut state.leases, fresh) {
            (Some(leases), true) => leases.renew(executor, self.now()),
            _ => false,
        }
    }

    /// An executor has registered.
    pub(crate) fn meet(&self, executor: ExecutorId) {
        if let Some(leases) = &mut self.state.lock().leases {
            leases.meet(executor, self.now());
        }
    }

    /// Takes over what the consensus library says of leadership.
    fn observe(
        &self,
        leads: bool,
        confirmed: Option<Instant>,
        members: impl Iterator<Item = ExecutorId>,
    ) {
        let mut state = self.state.lock();
        if !leads {
            *state = State::default();
            return;
        }
        state.confirmed = confirmed.max(state.confirmed);
        let now = self.now();
        match &mut state.leases {
            None => state.leases = Some(Leases::elected(self.lease, members, now)),
            Some(leases) => members.for_each(|id| leases.meet(id, now)),
        }
    }

    fn ended(&self) -> Vec<ExecutorId> {
        self.state.lock().leases.as_ref().map(|leases| leases.ended(self.now())).unwrap_or_default()
    }

    fn forget(&self, executor: ExecutorId) {
        if let Some(leases) = &mut self.state.lock().leases {
            leases.forget(executor);
        }
    }
}

/// Runs until the member stops.
pub(crate) async fn run(manager: Manager) {
    let mut metrics = manager.raft.metrics();
    let mut uneven = Uneven::default();
    loop {
        let changed = tokio::time::timeout(TICK, metrics.changed()).await;
        if matches!(changed, Ok(Err(_))) {
            return;
        }
        let leads = manager.leads();
        let confirmed =
            metrics.borrow_and_update().millis_since_quorum_ack.map(Duration::from_millis);
        let confirmed = match changed {
            // The figure is as old as the last change.
            Ok(_) => confirmed.and_then(|age| Instant::now().checked_sub(age)),
            Err(_) => None,
        };
        let map = manager.map.borrow().clone();
        manager.leadership.observe(leads, confirmed, map.executors().keys().copied());
        if leads {
            end_leases(&manager).await;
            if uneven.is_due(&map) {
                report(manager.execute(Command::Rebalance).await, "spread the shards");
            }
        }
    }
}

async fn end_leases(manager: &Manager) {
    for executor in manager.leadership.ended() {
        if !manager.map.borrow().executors().contains_key(&executor) {
            manager.leadership.forget(executor);
            continue;
        }
        tracing::warn!(%executor, "the lease of an executor has ended: its shards are given to others");
        let ended = manager.execute(Command::LeaseEnded { executor }).await;
        if ended.is_ok() {
            manager.leadership.forget(executor);
        }
        report(ended, "end a lease");
    }
}

fn report(result: Result<(), ManagerError>, what: &str) {
    match result {
        Ok(()) | Err(ManagerError::NotLeader { .. }) => {}
        Err(error) => tracing::warn!(%error, "cannot {what}; trying again"),
    }
}

/// Notices that shards should be spread anew, some time after it became so.
#[derive(Default)]
struct Uneven {
    /// The map looked at last, and whether its shards should be spread.
    version: Option<u64>,
    since: Option<Instant>,
}

impl Uneven {
    fn is_due(&mut self, map: &emet_shard_map::ShardMap) -> bool {
        if self.version != Some(map.version()) {
            self.version = Some(map.version());
            self.since = map.is_uneven().then(Instant::now);
        }
        match self.since {
            Some(since) if since.elapsed() >= SETTLE => {
                // Looked at anew after the attempt, whether it succeeded or not.
                self.version = None;
                true
            }
            _ => false,
        }
    }
}
