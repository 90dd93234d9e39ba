//! What is measured, in groups that need one server each.

mod calls;
mod checkpoints;
mod cluster;
mod listing;
mod memory;
mod recovery;
mod rpc;
mod start;
mod steps;

use crate::report::Figure;
use crate::server::invocation;
use anyhow::Result;
use clap::ValueEnum;
use emet_model::{ComponentId, WorkerId};
use std::path::PathBuf;
use std::time::Duration;

/// Figures that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// Invocations: one after the other, many workers at once, new workers.
    Calls,
    /// Durable steps within an invocation.
    Steps,
    /// Calls between workers.
    Rpc,
    /// Replay speed, and recovery by length of history.
    Recovery,
    /// Checkpoints: their cost, and a lost node.
    Checkpoints,
    /// Memory of workers.
    Memory,
    /// Starting a server.
    Start,
    /// Enumeration of many workers.
    Listing,
    /// A cluster of processes; only if asked for, since it needs a Redis and an S3 server.
    Cluster,
}

/// Where and how much to measure.
pub(crate) struct Scene {
    /// Directory for data.
    pub(crate) work: PathBuf,
    /// A tenth of the work.
    pub(crate) quick: bool,
}

impl Scene {
    /// So many, or a tenth of it.
    pub(crate) fn count(&self, full: usize) -> usize {
        if self.quick { (full / 10).max(1) } else { full }
    }

    /// So long, or a tenth of it.
    pub(crate) fn time(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64(if self.quick { seconds / 10.0 } else { seconds })
    }
}

impl Group {
    /// What is measured unless groups are named, in the order of measuring.
    pub(crate) const ALL: [Self; 8] = [
        Self::Calls,
        Self::Steps,
        Self::Rpc,
        Self::Recovery,
        Self::Checkpoints,
        Self::Memory,
        Self::Start,
        Self::Listing,
    ];

    /// Measures the figures of the group.
    pub(crate) async fn measure(self, scene: &Scene) -> Result<Vec<Figure>> {
        match self {
            Self::Calls => calls::measure(scene).await,
            Self::Steps => steps::measure(scene).await,
            Self::Rpc => rpc::measure(scene).await,
            Self::Recovery => recovery::measure(scene).await,
            Self::Checkpoints => checkpoints::measure(scene).await,
            Self::Memory => memory::measure(scene).await,
            Self::Start => start::measure(scene).await,
            Self::Listing => listing::measure(scene).await,
            Self::Cluster => cluster::measure(scene).await,
        }
    }
}

/// Paths of invocations that add, one for each of so many workers.
fn adds(id: ComponentId, prefix: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|n| invocation(&WorkerId::new(id, format!("{prefix}-{n}")), ADD)).collect()
}

/// The function that most cases call.
pub(crate) const ADD: &str = "test:counter/api.{add}";
/// Its parameters.
pub(crate) const ONE: &str = r#"{"params":[{"value":1}]}"#;
