//! While leases are kept, no two executors hold the same shard: one that may be sure of its shards,
//! and is not stopped, is alone.

use emet_test_sim::{Faults, World, for_every_seed};
use std::collections::BTreeMap;

fn check(world: &World) -> Result<(), String> {
    let mut holders = BTreeMap::new();
    let awake = world.executors.iter().filter(|e| e.stopped_until <= world.now);
    for executor in awake.filter(|e| e.is_sure(world.now)) {
        for shard in executor.held.keys() {
            if let Some(other) = holders.insert(*shard, executor.id) {
                return Err(format!("shard {shard} is held by {other} and {}", executor.id));
            }
        }
    }
    Ok(())
}

#[test]
fn a_shard_is_held_by_one() -> Result<(), String> {
    for_every_seed(|seed| World::new(seed, 3, Faults::many()).run(30_000, check))
}
