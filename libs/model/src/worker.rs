//! What is known of a worker (services spec 1.5).

use crate::{ComponentVersion, Timestamp, WorkerId, WorkerStatus};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a worker is brought to another component version (guest spec 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum UpdateMode {
    /// Replay the history on the new version.
    Automatic,
    /// Save a snapshot on the old version, load it on the new one.
    Manual,
}

/// One update of a worker, in whatever state it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum UpdateRecord {
    /// Requested, not yet applied.
    PendingUpdate {
        /// When it was requested.
        timestamp: Timestamp,
        /// The version asked for.
        target_version: ComponentVersion,
    },
    /// Applied.
    SuccessfulUpdate {
        /// When it was applied.
        timestamp: Timestamp,
        /// The version reached.
        target_version: ComponentVersion,
    },
    /// Given up; the worker went on with its old version.
    FailedUpdate {
        /// When it failed.
        timestamp: Timestamp,
        /// The version asked for.
        target_version: ComponentVersion,
        /// Why it failed.
        details: Option<String>,
    },
}

impl UpdateRecord {
    /// When the record was made.
    pub fn timestamp(&self) -> Timestamp {
        match self {
            Self::PendingUpdate { timestamp, .. }
            | Self::SuccessfulUpdate { timestamp, .. }
            | Self::FailedUpdate { timestamp, .. } => *timestamp,
        }
    }
}

/// How an indexed resource is addressed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexedResource {
    /// Full name of the resource.
    pub resource_name: String,
    /// Constructor arguments as canonical WAVE text.
    pub resource_params: Vec<String>,
}

/// A guest resource that the worker handed out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnedResource {
    /// When it was handed out.
    pub created_at: Timestamp,
    /// Set when it is addressed by constructor arguments.
    pub indexed: Option<IndexedResource>,
}

/// Everything the API shows of a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerMetadata {
    /// Its identity.
    pub worker_id: WorkerId,
    /// Command line arguments.
    pub args: Vec<String>,
    /// Environment given at creation (without the variables that the host adds).
    pub env: BTreeMap<String, String>,
    /// What it is doing.
    pub status: WorkerStatus,
    /// Current version of its component.
    pub component_version: ComponentVersion,
    /// Consecutive failures so far.
    pub retry_count: u64,
    /// Length of its queue, manual updates included.
    pub pending_invocation_count: u64,
    /// Updates in order of time.
    pub updates: Vec<UpdateRecord>,
    /// When it was created.
    pub created_at: Timestamp,
    /// The last failure with what the invocation wrote to stderr.
    pub last_error: Option<String>,
    /// Size of the component binary in bytes.
    pub component_size: u64,
    /// Linear memory in bytes.
    pub total_linear_memory_size: u64,
    /// Resources handed out, by id.
    pub owned_resources: BTreeMap<String, OwnedResource>,
    /// Always empty: plugins are not offered.
    pub active_plugins: Vec<uuid::Uuid>,
}
