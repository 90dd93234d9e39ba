//! What the map says to others: to executors what they hold, to callers where a shard is.

use crate::{Epoch, ExecutorId, ShardId};
use serde::{Deserialize, Serialize};

/// A shard under an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Held {
    /// The shard.
    pub shard: ShardId,
    /// The epoch.
    pub epoch: Epoch,
}

/// Everything an executor is to hold. What it holds beyond this it has lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Version of the map it is taken from.
    pub version: u64,
    /// Shards whose workers it runs.
    pub hold: Vec<Held>,
    /// Shards that it holds, is to stop the workers of, and to hand over.
    pub release: Vec<Held>,
}

/// An executor as callers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub executor: ExecutorId,
    /// Where it is reached.
    pub address: String,
}

/// Where every shard is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoutingTable {
    /// Version of the map it is taken from; 0 is the empty table.
    pub version: u64,
    /// The executors.
    pub members: Vec<Member>,
    /// By shard: place in `members` and epoch.
    pub owners: Vec<Option<(u32, Epoch)>>,
}

impl RoutingTable {
    /// Who runs the workers of a shard.
    pub fn owner(&self, shard: ShardId) -> Option<&Member> {
        let (place, _) = (*self.owners.get(shard as usize)?)?;
        self.members.get(place as usize)
    }

    /// Under which epoch a shard is owned.
    pub fn epoch(&self, shard: ShardId) -> Option<Epoch> {
        self.owners.get(shard as usize).copied().flatten().map(|(_, epoch)| epoch)
    }
}
