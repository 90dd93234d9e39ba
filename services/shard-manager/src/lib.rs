//! The shard manager: a replicated state machine that says which executor owns which shard.
//!
//! What is decided is in `emet-shard-map`; here it is replicated, kept on disk and told to others:
//!
//! * [`manager`]: one member of the group; founding it and changing its members.
//! * `leader`: what only the leader does: leases, and the commands that follow from them.
//! * `service`: the gRPC service of executors and callers.
//! * `log_store`, `state_machine`, `network`, `disk`: what the consensus library needs.
//!
//! The files are described in docs/format/cluster-state.md.

mod disk;
mod leader;
mod log_store;
mod manager;
mod network;
mod service;
mod session;
mod state_machine;
mod types;

pub use manager::{Manager, ManagerError, Options, Peer};
