//! [`Shards`]: which part of the logs a question is about.

use crate::log::LogKey;
use std::collections::BTreeSet;
use uuid::Uuid;

/// A choice of shards. The shard of a log is [`emet_shard_map::shard_of`] its group and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shards {
    /// Every shard.
    All,
    /// Some of `total` shards.
    Of {
        /// How many shards there are.
        total: u32,
        /// Those that are meant, each below `total`.
        numbers: BTreeSet<u32>,
    },
}

impl Shards {
    /// Whether a log is in one of the shards.
    #[must_use]
    pub fn contains(&self, key: &LogKey) -> bool {
        match self {
            Self::All => true,
            Self::Of { total, numbers } => numbers.contains(&key.shard(*total)),
        }
    }
}

impl LogKey {
    /// The shard this log belongs to, of `total`.
    #[must_use]
    pub fn shard(&self, total: u32) -> u32 {
        emet_shard_map::shard_of(Uuid::from_bytes(self.group), &self.name, total)
    }
}
