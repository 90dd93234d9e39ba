//! Crashes at every place: nodes in this process run a scenario, die at a chosen append to an
//! oplog, are started again on what was durable, and have to arrive where a node arrives that
//! never died.

mod crashing;
mod dying;
mod effects;
mod node;
mod scenario;

pub use crashing::{CrashingLog, Moment};
pub use dying::{Death, at_every_write};
pub use effects::World;
pub use node::{Backend, Disk, Limits, Node};
pub use scenario::{Outcome, Scenario, Step};

/// What went wrong, with what is known of it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
