//! What every process that runs workers has in common: the options of a node, and its making.

use anyhow::{Context, Result};
use emet_api::{Components, Workers};
use emet_config::HumanDuration;
use emet_model::RetryPolicy;
use emet_runtime::checkpoint::CheckpointMode;
use emet_runtime::network::{GuestNetwork, NetworkPolicy, Rule};
use emet_runtime::{ComponentCache, MemoryBudget, Node, Promises, engine};
use emet_worker_executor::{ExecutorOptions, Retention, Stores};
use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};

/// Options of a node.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct NodeArgs {
    /// Workers in memory at the same time.
    #[arg(long, env = "EMET_MAX_LOADED", default_value_t = 4096)]
    max_loaded: u32,
    /// Linear memory of all loaded workers together, in MiB [default: 60 % of the machine's].
    #[arg(long, env = "EMET_MEMORY_MIB")]
    memory_mib: Option<u64>,
    /// Waiting for a time that is further away than this gives a worker's memory up.
    #[arg(long, env = "EMET_SUSPEND_AFTER", default_value = "10s", value_name = "DURATION")]
    suspend_after: HumanDuration,
    /// When checkpoints are taken: off, on, or always (after every invocation, for tests).
    #[arg(long, env = "EMET_CHECKPOINTS", default_value = "on")]
    checkpoints: CheckpointMode,
    /// How often an idle worker, any of those in memory, is compared with a replay of its history; a
    /// difference is logged and counted [default: never].
    #[arg(long, env = "EMET_VERIFY_EVERY", value_name = "DURATION")]
    verify_every: Option<HumanDuration>,
    /// Component, by name or id, whose workers drop their history, or `all`; repeatable. What it costs is
    /// in docs/checkpoints.md.
    #[arg(long, env = "EMET_DROP_HISTORY", value_delimiter = ',', value_name = "COMPONENT")]
    drop_history: Vec<String>,
    /// Entries of a worker after which those before are dropped.
    #[arg(
        long,
        env = "EMET_DROP_HISTORY_AFTER",
        default_value_t = Retention::default().entries,
        value_name = "ENTRIES",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    drop_history_after: u64,
    /// Networks that guests may not reach, such as 10.0.0.0/8, or shop=10.0.0.0/8 for the component
    /// shop alone; repeatable.
    #[arg(
        long,
        env = "EMET_NETWORK_DENY",
        value_delimiter = ',',
        value_name = "[COMPONENT=]NETWORK"
    )]
    network_deny: Vec<Rule>,
    /// Networks that guests may reach although a wider one is denied. Rules of a component come
    /// before those for all; repeatable.
    #[arg(
        long,
        env = "EMET_NETWORK_ALLOW",
        value_delimiter = ',',
        value_name = "[COMPONENT=]NETWORK"
    )]
    network_allow: Vec<Rule>,
}

/// A node before it runs workers.
pub(crate) struct NewNode {
    pub(crate) node: Arc<Node>,
    pub(crate) cache: ComponentCache,
}

/// The compiled components of a process.
pub(crate) fn component_cache(
    instances: u32,
    stores: &Stores,
    components: Arc<dyn Components>,
) -> Result<ComponentCache> {
    let engine = engine::engine(engine::EngineLimits { instances: instances.saturating_add(16) })
        .map_err(|e| anyhow::anyhow!("cannot make the engine: {e:#}"))?;
    ComponentCache::new(engine, stores.blobs.clone(), components)
        .map_err(|e| anyhow::anyhow!("cannot make the linker: {e:#}"))
}

impl NodeArgs {
    /// Makes a node whose workers keep their files in a directory, which is emptied. `policy` is
    /// what guests may reach where the options say nothing.
    pub(crate) fn build(
        &self,
        work_dir: &Path,
        stores: &Stores,
        components: Arc<dyn Components>,
        policy: NetworkPolicy,
    ) -> Result<NewNode> {
        let cache = component_cache(self.max_loaded, stores, components.clone())?;
        let off = self.checkpoints == CheckpointMode::Off;
        let cache = if off { cache.without_checkpoints() } else { cache };
        // What an earlier process left behind is of no use: workers rebuild their directories.
        drop(std::fs::remove_dir_all(work_dir));
        std::fs::create_dir_all(work_dir)
            .context("cannot make the directory of the workers' files")?;
        let node = Arc::new(Node {
            kv: stores.kv.clone(),
            blobs: stores.blobs.clone(),
            promises: Promises::new(stores.kv.clone()),
            components,
            workers: OnceLock::new(),
            stopping: Default::default(),
            waits: Arc::default(),
            memory: MemoryBudget::new(self.memory_mib.map_or_else(default_memory, |mib| mib << 20)),
            suspend_after: self.suspend_after.0,
            network: GuestNetwork::new(self.network(policy)),
            retry_policy: RetryPolicy::default(),
            work_dir: work_dir.to_owned(),
        });
        Ok(NewNode { node, cache })
    }

    fn network(&self, mut policy: NetworkPolicy) -> NetworkPolicy {
        policy.allow.extend_from_slice(&self.network_allow);
        policy.deny.extend_from_slice(&self.network_deny);
        policy
    }

    pub(crate) fn executor_options(&self) -> ExecutorOptions {
        ExecutorOptions {
            max_loaded: self.max_loaded as usize,
            checkpoints: self.checkpoints,
            verify_every: self.verify_every.as_ref().map(|every| every.0),
            retention: Retention {
                components: self.drop_history.clone(),
                entries: self.drop_history_after,
            },
            ..ExecutorOptions::default()
        }
    }
}

impl NewNode {
    /// Gives the node its way to the workers of other executors.
    pub(crate) fn route_by(&self, workers: Weak<dyn Workers>) {
        // A node that is being made has no other way yet.
        drop(self.node.workers.set(workers));
    }
}

/// A share of the machine's memory; where it cannot be told, of a small machine's.
fn default_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    total.unwrap_or(2 << 20).saturating_mul(1024) / 10 * 6
}
