//! Every call takes effect once (law L6), and what was answered is in the log (law L1), whatever was
//! lost, late, stopped or killed. The clients check their answers themselves: call n is answered n.

use emet_test_sim::{Faults, World, for_every_seed};

#[test]
fn every_call_takes_effect_once() -> Result<(), String> {
    for_every_seed(|seed| {
        let mut world = World::new(seed, 3, Faults::many());
        world.run(30_000, |_| Ok(()))?;
        let mut all = 0;
        for shard in 0..world.map.shard_count() {
            let (calls, answered) = (world.calls_in_log(shard), world.answered(shard));
            // The last one may be under way.
            let known = calls.len() as u64 == answered || calls.len() as u64 == answered + 1;
            if !known || !calls.iter().copied().eq(1..=calls.len() as u64) {
                return Err(format!(
                    "{answered} calls of shard {shard} were answered, its log has {calls:?}"
                ));
            }
            all += answered;
        }
        if all < 100 { Err(format!("only {all} calls were answered")) } else { Ok(()) }
    })
}
