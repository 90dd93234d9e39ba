//! The epochs under which a log was written never fall (law L3): what a late executor tries is
//! refused. And late ones do try: the check is not empty.

use emet_test_sim::{Faults, World, for_every_seed};
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn epochs_in_a_log_never_fall() -> Result<(), String> {
    let refused = AtomicU64::new(0);
    for_every_seed(|seed| {
        let mut world = World::new(seed, 3, Faults::many());
        world.run(30_000, |_| Ok(()))?;
        refused.fetch_add(world.refused, Ordering::Relaxed);
        for shard in 0..world.map.shard_count() {
            let epochs = world.epochs_in_log(shard);
            if !epochs.is_sorted() {
                return Err(format!("the log of shard {shard} was written under {epochs:?}"));
            }
        }
        Ok(())
    })?;
    assert!(refused.into_inner() > 0, "no late executor ever tried to write");
    Ok(())
}
