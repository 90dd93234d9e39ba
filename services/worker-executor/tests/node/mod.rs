//! An executor over memory stores, which can be dropped at any moment and started again.

use bytes::Bytes;
use emet_api::{Components, NewComponent};
use emet_component_service::ComponentService;
use emet_model::{ComponentId, RetryPolicy};
use emet_runtime::network::{GuestNetwork, NetworkPolicy};
use emet_runtime::{ComponentCache, MemoryBudget, Promises, engine};
use emet_storage::memory::{MemoryBlob, MemoryKv, MemoryLog};
use emet_worker_executor::{Executor, ExecutorOptions};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::Runtime;

/// What outlives a node.
#[derive(Clone, Default)]
pub(crate) struct Stores {
    pub(crate) log: Arc<MemoryLog>,
    kv: Arc<MemoryKv>,
    blobs: Arc<MemoryBlob>,
}

/// A node with a runtime of its own: when that goes, everything under way goes with it.
pub(crate) struct Node {
    runtime: Runtime,
    pub(crate) executor: Arc<Executor>,
    components: Arc<ComponentService>,
    _work_dir: tempfile::TempDir,
}

impl Node {
    /// Starts a node on what is stored. `suspends`: whether waiting gives memory up at once.
    pub(crate) fn start(stores: &Stores, suspends: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let work_dir = tempfile::tempdir().unwrap();
        let guard = runtime.enter();
        let (components, _uploads) = ComponentService::new(stores.kv.clone(), stores.blobs.clone());
        let engine = engine::engine(engine::EngineLimits { instances: 16 }).unwrap();
        let cache = ComponentCache::new(engine, stores.blobs.clone(), components.clone()).unwrap();
        let node = emet_runtime::Node {
            kv: stores.kv.clone(),
            blobs: stores.blobs.clone(),
            promises: Promises::new(stores.kv.clone()),
            components: components.clone(),
            workers: OnceLock::new(),
            stopping: Default::default(),
            waits: Arc::default(),
            memory: MemoryBudget::new(1 << 30),
            suspend_after: if suspends {
                Duration::from_millis(1)
            } else {
                Duration::from_secs(1_000_000)
            },
            network: GuestNetwork::new(NetworkPolicy::default()),
            retry_policy: RetryPolicy {
                min_delay: Duration::from_millis(1),
                max_delay: Duration::from_millis(2),
                ..RetryPolicy::default()
            },
            work_dir: work_dir.path().to_owned(),
        };
        // Fewer places than workers, so that workers are evicted all the time; but those that are
        // busy for good must not fill them.
        let options = ExecutorOptions {
            max_loaded: if suspends { 1 } else { 3 },
            ..ExecutorOptions::default()
        };
        let stores = emet_worker_executor::Stores {
            log: stores.log.clone(),
            kv: stores.kv.clone(),
            blobs: stores.blobs.clone(),
        };
        let executor = Executor::start(Arc::new(node), stores, cache, options);
        drop(guard);
        Self { runtime, executor, components, _work_dir: work_dir }
    }

    /// Runs a request to its end.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Uploads a prebuilt test component several times.
    pub(crate) fn upload(&self, name: &str, versions: u64) -> ComponentId {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("../../tests/guests/prebuilt/{name}.wasm"));
        let upload = NewComponent {
            wasm: Bytes::from(std::fs::read(path).unwrap()),
            ..NewComponent::default()
        };
        self.block_on(async {
            let id = self
                .components
                .create(name.to_owned(), upload.clone())
                .await
                .unwrap()
                .versioned_component_id
                .component_id;
            for _ in 1..versions {
                self.components.update(id, upload.clone()).await.unwrap();
            }
            id
        })
    }

    /// Ends the node: by the rules, or as a crash does.
    pub(crate) fn stop(self, graceful: bool) {
        if graceful {
            self.runtime.block_on(self.executor.shutdown());
        }
        drop(self.executor);
        // Returns when no task runs any more: nothing of this node must write after the next starts.
        self.runtime.shutdown_timeout(Duration::from_secs(30));
    }
}
