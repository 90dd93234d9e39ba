//! When failures end, every shard is held by the executor that the map names, soon, and every client
//! gets its answers.

use emet_test_sim::{Faults, World, for_every_seed};

/// Longest time until all is well: stopped executors wake, leases end, shards move.
const SOON: u64 = 12_000;
/// Time in which every client gets an answer then.
const CALLS: u64 = 1_000;

fn settled(world: &World) -> Result<(), String> {
    for (shard, state) in world.map.shards() {
        let owner = state.owner.ok_or_else(|| format!("shard {shard} has no owner"))?;
        let holder = world.executors.iter().find(|e| e.id == owner);
        let held = holder.and_then(|e| e.held.get(&shard)).map(|own| own.epoch);
        if held != Some(state.epoch) || state.target.is_some() {
            return Err(format!("shard {shard} is {state:?}, and held under {held:?}"));
        }
    }
    Ok(())
}

#[test]
fn the_cluster_heals() -> Result<(), String> {
    for_every_seed(|seed| {
        let mut world = World::new(seed, 3, Faults::many());
        world.run(20_000, |_| Ok(()))?;
        world.faults = Faults::none();
        world.run(20_000 + SOON, |_| Ok(()))?;
        settled(&world)?;
        let answered = |world: &World| -> Vec<u64> {
            (0..world.map.shard_count()).map(|shard| world.answered(shard)).collect()
        };
        let before = answered(&world);
        world.run(20_000 + SOON + CALLS, |_| Ok(()))?;
        let stuck =
            before.iter().zip(answered(&world)).position(|(before, after)| after <= *before);
        stuck.map_or(Ok(()), |shard| Err(format!("the client of shard {shard} gets no answer")))
    })
}
