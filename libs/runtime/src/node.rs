//! What the workers of a node share.

use crate::host::rpc::Waits;
use crate::memory::MemoryBudget;
use crate::network::GuestNetwork;
use crate::promises::Promises;
use emet_api::{Components, Workers};
use emet_model::RetryPolicy;
use emet_storage::{BlobStore, KvStore};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// The services that host functions use, and the settings they obey.
pub struct Node {
    /// Key-value data.
    pub kv: Arc<dyn KvStore>,
    /// Objects.
    pub blobs: Arc<dyn BlobStore>,
    /// Promises.
    pub promises: Promises,
    /// Component versions.
    pub components: Arc<dyn Components>,
    /// Workers, this node's and others; set once the executor exists, which owns this.
    pub workers: OnceLock<Weak<dyn Workers>>,
    /// Set when the node begins to stop: workers that are asked then do not answer any more, which
    /// tells nothing about what they were asked.
    pub stopping: AtomicBool,
    /// Which workers wait for calls.
    pub waits: Arc<Waits>,
    /// Memory that workers may use together.
    pub memory: Arc<MemoryBudget>,
    /// Waiting for a time that is further away gives the instance up.
    pub suspend_after: Duration,
    /// The network as guests may reach it.
    pub network: GuestNetwork,
    /// Policy of workers that set none.
    pub retry_policy: RetryPolicy,
    /// Where the directories of loaded workers are.
    pub work_dir: PathBuf,
}

impl Node {
    /// The workers.
    pub fn workers(&self) -> wasmtime::Result<Arc<dyn Workers>> {
        self.workers
            .get()
            .and_then(Weak::upgrade)
            .ok_or_else(|| wasmtime::format_err!("the node is shutting down"))
    }
}
