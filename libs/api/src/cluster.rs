//! The state of the cluster as the shard managers show it.

use serde::{Deserialize, Serialize};

/// What `emet cluster status` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// Version of the shard map at the manager that answered.
    pub version: u64,
    /// The shard managers.
    pub managers: Vec<ManagerStatus>,
    /// The executors.
    pub executors: Vec<ExecutorStatus>,
    /// How many shards there are.
    pub shards: u32,
    /// How many of them nobody owns.
    pub unowned: u32,
    /// How many wait to be handed over.
    pub moving: u32,
}

/// A shard manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagerStatus {
    /// Its number.
    pub id: u64,
    /// Where it is reached.
    pub address: String,
    /// Whether it leads, as far as the manager that answered knows.
    pub leader: bool,
    /// Whether it has a vote.
    pub voter: bool,
}

/// An executor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutorStatus {
    /// Identity of this run of it.
    pub id: String,
    /// Where it is reached.
    pub address: String,
    /// Whether it hands its shards on and goes.
    pub leaving: bool,
    /// Shards it owns.
    pub shards: u32,
    /// Those of them that it is to hand over.
    pub releasing: u32,
}
