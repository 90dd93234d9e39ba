//! Which shards this executor runs the workers of, and for how long it may be sure of that.

use emet_model::{ShardIdValue, WorkerError, WorkerId};
use emet_shard_map::{Epoch, Held, ShardId, shard_of};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// The shards of an executor. In a cluster they are its own only while its lease lasts; every
/// request looks here first, so an executor that was asleep beyond its lease answers nothing.
pub struct Ownership {
    shards: u32,
    state: RwLock<State>,
}

struct State {
    /// Epochs of the shards held.
    held: BTreeMap<ShardId, Epoch>,
    lease: Lease,
}

#[derive(Clone, Copy)]
enum Lease {
    /// There is no other executor that could take over.
    Forever,
    Until(Instant),
    Ended,
}

impl Lease {
    fn lasts(self) -> bool {
        match self {
            Self::Forever => true,
            Self::Until(end) => Instant::now() < end,
            Self::Ended => false,
        }
    }
}

impl Ownership {
    /// Every shard under epoch 1, for good: a single node.
    pub fn all(shards: u32) -> Self {
        let held = (0..shards).map(|shard| (shard, 1)).collect();
        Self { shards, state: RwLock::new(State { held, lease: Lease::Forever }) }
    }

    /// No shard, until some are taken: a member of a cluster.
    pub fn none(shards: u32) -> Self {
        Self { shards, state: RwLock::new(State { held: BTreeMap::new(), lease: Lease::Ended }) }
    }

    /// How many shards there are.
    pub fn shard_count(&self) -> u32 {
        self.shards
    }

    /// The shard of a worker.
    pub fn shard(&self, worker: &WorkerId) -> ShardId {
        shard_of(worker.component_id.0, &worker.worker_name, self.shards)
    }

    /// The epoch under which the worker is run here.
    ///
    /// # Errors
    /// It is another executor's, or this one may not be sure that it is its own.
    pub fn epoch(&self, worker: &WorkerId) -> Result<Epoch, WorkerError> {
        let state = self.state.read();
        if !state.lease.lasts() {
            return Err(WorkerError::ShardingNotReady);
        }
        let shard = self.shard(worker);
        let value = |shard: &ShardId| ShardIdValue { value: i64::from(*shard) };
        let foreign = || WorkerError::InvalidShardId {
            shard_id: value(&shard),
            shard_ids: state.held.keys().map(value).collect(),
        };
        state.held.get(&shard).copied().ok_or_else(foreign)
    }

    /// Whether the worker is run here under just this epoch.
    pub(crate) fn is_under(&self, worker: &WorkerId, epoch: Epoch) -> bool {
        self.state.read().held.get(&self.shard(worker)) == Some(&epoch)
    }

    /// The shards held.
    pub fn held(&self) -> Vec<Held> {
        self.state
            .read()
            .held
            .iter()
            .map(|(shard, epoch)| Held { shard: *shard, epoch: *epoch })
            .collect()
    }

    /// Whether the lease lasts.
    pub fn is_sure(&self) -> bool {
        self.state.read().lease.lasts()
    }

    pub(crate) fn take(&self, shards: &[Held]) {
        self.state.write().held.extend(shards.iter().map(|held| (held.shard, held.epoch)));
    }

    pub(crate) fn let_go(&self, shards: &[ShardId]) {
        let mut state = self.state.write();
        for shard in shards {
            state.held.remove(shard);
        }
    }

    /// Lets the lease last until a time.
    pub fn extend(&self, until: Instant) {
        self.state.write().lease = Lease::Until(until);
    }

    /// Ends the lease.
    pub(crate) fn end(&self) {
        self.state.write().lease = Lease::Ended;
    }
}
