//! Every command that failures lead to keeps the invariants S1 to S6 of the map; the world checks
//! each step itself.

use emet_test_sim::{Faults, World, for_every_seed};

#[test]
fn every_step_keeps_the_invariants() -> Result<(), String> {
    for_every_seed(|seed| {
        let mut world = World::new(seed, 4, Faults { loss: 0.3, ..Faults::many() });
        world.run(30_000, |_| Ok(()))?;
        if world.map.version() < 3 { Err("nothing happened".into()) } else { Ok(()) }
    })
}
