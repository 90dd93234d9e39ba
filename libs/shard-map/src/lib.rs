//! Where workers live: the hash, the assignment of shards, leases and epochs, as a state machine
//! without I/O.
//!
//! [`ShardMap`] is what the shard managers replicate: a deterministic function from commands to
//! states. [`Leases`] is the clock of the leader, which decides when an executor has to be taken
//! for dead. Neither knows of time, threads or networks, so the same code runs in the service and
//! in the simulator. [`invariants`] names what must hold of every state and every step.

mod assign;
mod hash;
pub mod invariants;
mod leases;
mod map;
mod routing;

pub use hash::{DEFAULT_SHARDS, shard_of};
pub use leases::Leases;
pub use map::{Answer, Command, Executor, ExecutorId, ExecutorState, Refusal, Shard, ShardMap};
pub use routing::{Assignment, Held, Member, RoutingTable};

/// A shard: `0..number of shards`.
pub type ShardId = u32;
/// Owner epoch of a shard: rises with every change of owner. The first owner has epoch 1.
pub type Epoch = u64;
