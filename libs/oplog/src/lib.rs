//! The oplog of a worker: its entries, their stored form, what they add up to, and their replay.
//!
//! No I/O and no runtime: everything here is a function of the entries given (law L5).
//!
//! * [`Entry`] and [`codec`]: what is recorded, and its bytes (docs/format/oplog.md)
//! * [`Regions`]: parts of the log that replay leaves out
//! * [`WorkerState`]: the fold of a log into status, queue, results, version
//! * [`summary`]: its cached form, so that only newer entries need be folded
//! * [`ReplayCursor`]: hands the recorded entries to a guest that runs again (law L4)

mod cursor;
mod entry;
mod regions;
mod state;

pub mod codec;
pub mod summary;

pub use cursor::{ReplayCursor, Step};
pub use entry::*;
pub use regions::Regions;
pub use state::{
    Current, Finished, Fold, LastError, OpenWrite, Outcome, Pending, PendingUpdate, QueuedWork,
    Snapshot, WorkerState,
};
