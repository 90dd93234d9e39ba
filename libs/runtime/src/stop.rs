//! Why a guest stops in the middle of a call without having failed.

use emet_model::{OplogIndex, WorkerError};
use std::time::SystemTime;

/// Raised as a trap by host functions; found again under the trap by [`Stop::find`].
#[derive(Clone, Debug, thiserror::Error)]
pub enum Stop {
    /// The worker waits: its instance is given up until the time, until a promise is completed, or
    /// until a call of another worker has ended (`Instance::take_waiting`).
    #[error("suspended")]
    Suspend {
        /// When to go on by itself.
        until: Option<SystemTime>,
    },
    /// The worker is to be rebuilt from its log at once.
    #[error("restarting")]
    Restart,
    /// The guest called exit.
    #[error("exited")]
    Exit,
    /// Replay found something other than what was recorded (law L4).
    #[error("Unexpected oplog entry: expected {expected}, got {got} at index {index}")]
    Diverged {
        /// What the guest did.
        expected: String,
        /// What the log holds.
        got: String,
        /// Where.
        index: OplogIndex,
    },
    /// Memory could not be granted.
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// The node failed, not the guest: the log cannot be written or read.
    #[error("{0}")]
    Node(WorkerError),
}

impl Stop {
    /// The reason under a trap, if the trap was raised for one.
    pub fn find(error: &wasmtime::Error) -> Option<&Self> {
        error.downcast_ref::<Self>()
    }
}

impl From<WorkerError> for Stop {
    fn from(error: WorkerError) -> Self {
        Self::Node(error)
    }
}
