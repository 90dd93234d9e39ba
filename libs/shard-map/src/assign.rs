//! Which executor should own which shard.
//!
//! The assignment is even (no executor has two shards more than another) and moves as few shards
//! as evenness allows: what a leaving executor had goes to others, a joining one takes its share,
//! and nothing else moves. Where there is a choice, rendezvous hashing makes it: every executor
//! has a fixed preference for every shard, so who comes back tends to get what it had.
//! Why this and not a ring: docs/adr/0010-shard-assignment.md.

use crate::{ExecutorId, ShardId};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The owner every shard should have, given where each is (or is on its way to).
///
/// Without executors there is no owner. Owners that are not among the executors do not count.
pub(crate) fn plan(
    executors: &[ExecutorId],
    present: &[Option<ExecutorId>],
) -> Vec<Option<ExecutorId>> {
    if executors.is_empty() {
        return vec![None; present.len()];
    }
    let mut shares = Shares::new(executors, present);
    let kept = shares.keep(present);
    shares.spread(kept)
}

/// The shards of every executor while a plan is made.
struct Shares {
    by_executor: BTreeMap<ExecutorId, Vec<ShardId>>,
    /// How many each should have.
    sizes: BTreeMap<ExecutorId, usize>,
}

impl Shares {
    fn new(executors: &[ExecutorId], present: &[Option<ExecutorId>]) -> Self {
        let mut by_executor: BTreeMap<_, Vec<ShardId>> =
            executors.iter().map(|id| (*id, Vec::new())).collect();
        for (shard, owner) in (0..).zip(present) {
            if let Some(shards) = owner.and_then(|owner| by_executor.get_mut(&owner)) {
                shards.push(shard);
            }
        }
        let sizes = sizes(&by_executor, present.len());
        Self { by_executor, sizes }
    }

    fn size(&self, executor: ExecutorId) -> usize {
        self.sizes.get(&executor).copied().unwrap_or_default()
    }

    /// Takes from every executor what it has beyond its share, the least preferred first.
    fn keep(&mut self, present: &[Option<ExecutorId>]) -> Vec<Option<ExecutorId>> {
        for (id, shards) in &mut self.by_executor {
            shards.sort_unstable_by_key(|shard| (Reverse(preference(*id, *shard)), *shard));
            shards.truncate(self.sizes.get(id).copied().unwrap_or_default());
        }
        let mut kept = vec![None; present.len()];
        for (id, shards) in &self.by_executor {
            for shard in shards {
                if let Some(slot) = kept.get_mut(*shard as usize) {
                    *slot = Some(*id);
                }
            }
        }
        kept
    }

    /// Gives every shard that nobody keeps to the executor with room that prefers it most.
    fn spread(self, mut kept: Vec<Option<ExecutorId>>) -> Vec<Option<ExecutorId>> {
        let mut room: BTreeMap<ExecutorId, usize> = self
            .by_executor
            .iter()
            .map(|(id, shards)| (*id, self.size(*id).saturating_sub(shards.len())))
            .collect();
        for (shard, slot) in (0..).zip(&mut kept) {
            if slot.is_some() {
                continue;
            }
            let open = room.iter_mut().filter(|(_, left)| **left > 0);
            if let Some((id, left)) = open.max_by_key(|(id, _)| preference(**id, shard)) {
                *left -= 1;
                *slot = Some(*id);
            }
        }
        kept
    }
}

/// Even sizes that add up to all shards. Those that have most now are the larger ones, so that
/// they need not give one away.
fn sizes(
    by_executor: &BTreeMap<ExecutorId, Vec<ShardId>>,
    shards: usize,
) -> BTreeMap<ExecutorId, usize> {
    let (least, larger) = (shards / by_executor.len(), shards % by_executor.len());
    let mut by_load: Vec<(Reverse<usize>, ExecutorId)> =
        by_executor.iter().map(|(id, shards)| (Reverse(shards.len()), *id)).collect();
    by_load.sort_unstable();
    by_load
        .into_iter()
        .enumerate()
        .map(|(place, (_, id))| (id, least + usize::from(place < larger)))
        .collect()
}

/// How much an executor prefers a shard: any fixed function that looks random. Replicas must agree
/// on it, so it depends on nothing of the machine (SplitMix64's finaliser over the parts).
fn preference(executor: ExecutorId, shard: ShardId) -> u64 {
    let (high, low) = executor.0.as_u64_pair();
    [low, u64::from(shard)].iter().fold(mix(high), |hash, part| mix(hash ^ part))
}

fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}
