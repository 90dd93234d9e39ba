//! The status of a worker.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a worker is doing, as folded from its oplog (guest spec 3.2). Ordered by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum WorkerStatus {
    /// Executing an invocation.
    Running = 0,
    /// Nothing to do.
    Idle = 1,
    /// In the middle of an invocation, waiting for a time or a promise, not in memory.
    Suspended = 2,
    /// Stopped by a user.
    Interrupted = 3,
    /// The last attempt failed, another one is scheduled.
    Retrying = 4,
    /// Retries are used up: refuses invocations.
    Failed = 5,
    /// The guest called exit: refuses invocations.
    Exited = 6,
}

impl WorkerStatus {
    /// Every status, in numeric order.
    pub const ALL: [Self; 7] = [
        Self::Running,
        Self::Idle,
        Self::Suspended,
        Self::Interrupted,
        Self::Retrying,
        Self::Failed,
        Self::Exited,
    ];

    /// The number used in comparisons and on the wire.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The inverse of [`Self::number`].
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.number() == number)
    }
}

impl fmt::Display for WorkerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl FromStr for WorkerStatus {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|s| s.to_string().eq_ignore_ascii_case(text))
            .ok_or_else(|| format!("Unknown worker status: {text}"))
    }
}
