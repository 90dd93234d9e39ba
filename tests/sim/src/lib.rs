//! The cluster in one thread, under simulated time, network and failures.
//!
//! Real: the shard map, the lease clock, and the log store with its epochs. Simulated: the group of
//! shard managers (as what consensus promises: one agreed map, and leaders that change), executors
//! (the protocol of `services/worker-executor/src/membership`), clients that call by an old routing
//! table and repeat, messages that are slow or lost, to the store too, clocks that run unequally
//! fast, processes that are stopped and killed. Every choice comes from
//! one seed, so a run that fails can be had again.
//!
//! One file of `tests/` per invariant.

mod clients;
mod executor;
mod world;

pub use executor::{Executor, Own};
pub use world::{Faults, World};

use rayon::prelude::*;
use std::time::Instant;

/// Seeds of a run: `EMET_SIM_SEED` alone, or the first `EMET_SIM_SEEDS` (200).
pub fn seeds() -> Vec<u64> {
    let read = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match read("EMET_SIM_SEED") {
        Some(seed) => vec![seed],
        None => (0..read("EMET_SIM_SEEDS").unwrap_or(200)).collect(),
    }
}

/// Runs a check for every seed, several at the same time, and names the first that fails.
#[allow(clippy::print_stdout, reason = "it is called by tests")]
pub fn for_every_seed(
    check: impl Fn(u64) -> Result<(), String> + Send + Sync,
) -> Result<(), String> {
    let (seeds, started) = (seeds(), Instant::now());
    seeds.par_iter().find_map_first(|seed| check(*seed).err().map(|why| (*seed, why))).map_or_else(
        || {
            println!("{} seeds in {:.1?}", seeds.len(), started.elapsed());
            Ok(())
        },
        |(seed, why)| Err(format!("EMET_SIM_SEED={seed}: {why}")),
    )
}
