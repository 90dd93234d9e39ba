//! What must hold of every map and every step, each under an id that tests, the simulator and the
//! documentation use (docs/format/cluster-state.md).

use crate::{Command, ExecutorState, ShardMap};
use std::collections::BTreeMap;

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{id}: {details}")]
pub struct Broken {
    /// Which.
    pub id: &'static str,
    /// How.
    pub details: String,
}

fn broken(id: &'static str, details: String) -> Result<(), Broken> {
    Err(Broken { id, details })
}

/// S1: every shard has at most one owner, and owner and target are members.
pub fn owners_are_members(map: &ShardMap) -> Result<(), Broken> {
    for (id, shard) in map.shards() {
        for executor in shard.owner.iter().chain(&shard.target) {
            if !map.executors().contains_key(executor) {
                return broken("S1", format!("shard {id} names {executor}, which is no member"));
            }
        }
        if shard.owner.is_none() && shard.target.is_some() {
            return broken("S1", format!("shard {id} waits for nobody to hand it over"));
        }
    }
    Ok(())
}

/// S2: the epoch of a shard never falls, and rises whenever its owner changes.
pub fn epochs_rise(before: &ShardMap, after: &ShardMap) -> Result<(), Broken> {
    for ((id, old), (_, new)) in before.shards().zip(after.shards()) {
        let taken = new.owner.is_some() && new.owner != old.owner;
        if new.epoch < old.epoch || (taken && new.epoch == old.epoch) {
            return broken("S2", format!("shard {id} went from {old:?} to {new:?}"));
        }
    }
    Ok(())
}

/// S3: a shard leaves a living owner only by that owner's word.
pub fn owners_let_go_first(
    before: &ShardMap,
    command: &Command,
    after: &ShardMap,
) -> Result<(), Broken> {
    for ((id, old), (_, new)) in before.shards().zip(after.shards()) {
        let Some(owner) = old.owner.filter(|owner| new.owner != Some(*owner)) else { continue };
        let let_go = match command {
            Command::LeaseEnded { executor } => *executor == owner,
            Command::HandedOver { executor, shards } => {
                *executor == owner && shards.iter().any(|h| h.shard == id && h.epoch == old.epoch)
            }
            _ => false,
        };
        if !let_go {
            return broken("S3", format!("shard {id} was taken from {owner} by {command:?}"));
        }
    }
    Ok(())
}

/// S4: after a rebalance no active executor is to have two shards more than another.
pub fn shares_are_even(map: &ShardMap) -> Result<(), Broken> {
    let active = map.executors().iter().filter(|(_, e)| e.state == ExecutorState::Active);
    let mut shares: BTreeMap<_, usize> = active.map(|(id, _)| (*id, 0)).collect();
    for (_, shard) in map.shards() {
        if let Some(share) = shard.target.or(shard.owner).and_then(|id| shares.get_mut(&id)) {
            *share += 1;
        }
    }
    let (most, least) = (shares.values().max(), shares.values().min());
    match (most, least) {
        (Some(most), Some(least)) if most - least > 1 => {
            broken("S4", format!("shares from {least} to {most}"))
        }
        _ => Ok(()),
    }
}

/// S5: with an active executor every shard has an owner after a rebalance.
pub fn every_shard_is_owned(map: &ShardMap) -> Result<(), Broken> {
    let active = map.executors().values().any(|e| e.state == ExecutorState::Active);
    match map.shards().find(|(_, s)| s.owner.is_none()) {
        Some((id, _)) if active => broken("S5", format!("shard {id} has no owner")),
        _ => Ok(()),
    }
}

/// S6: the version rises with every change, and only then.
pub fn versions_rise(before: &ShardMap, after: &ShardMap) -> Result<(), Broken> {
    let same = before.executors() == after.executors() && before.shards().eq(after.shards());
    let expected = before.version() + u64::from(!same);
    if after.version() == expected {
        return Ok(());
    }
    broken(
        "S6",
        format!("version {} after {}, changed: {}", after.version(), before.version(), !same),
    )
}

/// Whether a command spreads the shards anew.
fn rebalances(command: &Command) -> bool {
    matches!(command, Command::Rebalance | Command::Leave { .. } | Command::LeaseEnded { .. })
}

/// All of them, for one step.
pub fn check_step(before: &ShardMap, command: &Command, after: &ShardMap) -> Result<(), Broken> {
    owners_are_members(after)?;
    epochs_rise(before, after)?;
    owners_let_go_first(before, command, after)?;
    versions_rise(before, after)?;
    if rebalances(command) && before.version() != after.version() {
        shares_are_even(after)?;
        every_shard_is_owned(after)?;
    }
    Ok(())
}
