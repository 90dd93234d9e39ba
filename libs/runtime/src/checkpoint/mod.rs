//! Checkpoints: the state of an idle worker, so that recovery need not replay its whole log
//! (docs/checkpoints.md). The log stays the truth: a checkpoint that does not fit in any respect is
//! left aside and the log replayed.
//!
//! * [`Instance::capture`] reads the state of an idle instance, [`Instance::restore`] makes an
//!   instance from it; both work on components that `emet-checkpoint` has rewritten
//! * [`Checkpoint`] is the stored form (docs/format/checkpoint.md), bound to what it depends on
//! * [`CheckpointStore`] keeps them beside the worker's other objects, and results beside them
//! * [`Bases`] keeps those that stand for dropped entries, which are not disposable

mod access;
mod bases;
mod capture;
mod differences;
mod files;
mod format;
mod fresh;
mod handles;
mod host;
mod image;
mod kept;
mod restore;
mod store;
mod written;

pub use bases::{Bases, rewriting_tag};
pub use capture::{Capture, Captured};
pub use format::{Binding, Checkpoint};
pub use kept::KeptResult;
pub use store::{CheckpointStore, ResultsPlace, entry_hash};

#[cfg(test)]
pub(crate) use format::{BASE, Body, seal};
pub(crate) use fresh::Fresh;
pub(crate) use host::{HostState, REMADE};

use std::str::FromStr;

/// When checkpoints are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckpointMode {
    /// Never; components are compiled as they were uploaded.
    Off,
    /// After many entries, and before a worker leaves memory.
    #[default]
    On,
    /// After every invocation, and the worker leaves memory, so that the next one starts from the
    /// checkpoint: for tests.
    Always,
}

impl FromStr for CheckpointMode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "on" => Ok(Self::On),
            "always" => Ok(Self::Always),
            other => {
                Err(format!("not a mode of checkpoints: {other}; it is one of off, on, always"))
            }
        }
    }
}
