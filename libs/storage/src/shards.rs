//! [`Shards`]: which part of the logs a question is about.

use crate::log::{LogError, LogKey, check_epoch};
use std::collections::{BTreeMap, BTreeSet};
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

/// Epochs of whole shards, for backends that decide by themselves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fences {
    /// For each number of shards that was used, which is one: the epochs of shards.
    totals: BTreeMap<u32, BTreeMap<u32, u64>>,
}

impl Fences {
    /// The lowest epoch that may change a log.
    pub(crate) fn of(&self, key: &LogKey) -> u64 {
        let fence =
            |(total, shards): (&u32, &BTreeMap<u32, u64>)| shards.get(&key.shard(*total)).copied();
        self.totals.iter().filter_map(fence).max().unwrap_or(0)
    }

    /// Raises the epoch of a shard, unless it is higher.
    pub(crate) fn raise(&mut self, shard: u32, total: u32, epoch: u64) -> Result<(), LogError> {
        if shard >= total {
            return Err(LogError::Invalid(format!("there is no shard {shard} of {total}")));
        }
        let stored = self.totals.entry(total).or_default().entry(shard).or_default();
        check_epoch(epoch, *stored)?;
        *stored = epoch;
        Ok(())
    }
}
