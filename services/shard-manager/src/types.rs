//! The types the consensus library is instantiated with.

use emet_shard_map::{Answer, Command};
use openraft::BasicNode;
use std::io::Cursor;

openraft::declare_raft_types!(
    /// A group that replicates commands of the shard map.
    pub TypeConfig:
        D = Command,
        R = Answer,
        NodeId = u64,
        Node = BasicNode,
        SnapshotData = Cursor<Vec<u8>>,
);

pub(crate) type Entry = openraft::Entry<TypeConfig>;
pub(crate) type LogId = openraft::LogId<u64>;
pub(crate) type Raft = openraft::Raft<TypeConfig>;
pub(crate) type StorageError = openraft::StorageError<u64>;
pub(crate) type Vote = openraft::Vote<u64>;
