//! Where workers live: the hash, the assignment of shards, leases and epochs, as a state machine without I/O.

mod hash;

pub use hash::{DEFAULT_SHARDS, shard_of};
