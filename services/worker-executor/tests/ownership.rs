//! What an executor may do with a worker depends on the shard it holds: two executors over the same
//! stores, one of which is late.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use emet_api::{Components, Invocation, InvokeParameters, NewComponent, Target, Workers};
use emet_component_service::ComponentService;
use emet_model::{ComponentId, IdempotencyKey, RetryPolicy, WorkerError, WorkerId};
use emet_runtime::network::{GuestNetwork, NetworkPolicy};
use emet_runtime::{ComponentCache, MemoryBudget, Promises, engine};
use emet_shard_map::{DEFAULT_SHARDS, Epoch, Held};
use emet_storage::memory::{MemoryBlob, MemoryKv, MemoryLog};
use emet_values::Value;
use emet_worker_executor::{Executor, ExecutorOptions, Ownership, Stores};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;

const ADD: &str = "test:counter/api.{add}";
const SLOW_ADD: &str = "test:counter/api.{slow-add}";

/// One executor of several.
struct Member {
    executor: Arc<Executor>,
    ownership: Arc<Ownership>,
    _work_dir: tempfile::TempDir,
}

struct Shared {
    stores: Stores,
    components: Arc<ComponentService>,
}

fn shared() -> Shared {
    let kv = Arc::new(MemoryKv::default());
    let blobs = Arc::new(MemoryBlob::default());
    let (components, _uploads) = ComponentService::new(kv.clone(), blobs.clone());
    Shared { stores: Stores { log: Arc::new(MemoryLog::default()), kv, blobs }, components }
}

impl Shared {
    fn member(&self) -> Member {
        let work_dir = tempfile::tempdir().unwrap();
        let stores = self.stores.clone();
        let engine = engine::engine(engine::EngineLimits { instances: 16 }).unwrap();
        let cache =
            ComponentCache::new(engine, stores.blobs.clone(), self.components.clone()).unwrap();
        let node = emet_runtime::Node {
            kv: stores.kv.clone(),
            blobs: stores.blobs.clone(),
            promises: Promises::new(stores.kv.clone()),
            components: self.components.clone(),
            workers: OnceLock::new(),
            stopping: Default::default(),
            waits: Arc::default(),
            memory: MemoryBudget::new(1 << 30),
            suspend_after: Duration::from_secs(1000),
            network: GuestNetwork::new(NetworkPolicy::default()),
            retry_policy: RetryPolicy::default(),
            work_dir: work_dir.path().to_owned(),
        };
        let ownership = Arc::new(Ownership::none(DEFAULT_SHARDS));
        let options = ExecutorOptions::default();
        let executor =
            Executor::start_owning(Arc::new(node), stores, cache, ownership.clone(), options);
        Member { executor, ownership, _work_dir: work_dir }
    }

    async fn counter(&self) -> ComponentId {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests/prebuilt/counter.wasm");
        let upload = NewComponent {
            wasm: Bytes::from(std::fs::read(path).unwrap()),
            ..NewComponent::default()
        };
        let component = self.components.create("counter".into(), upload).await.unwrap();
        component.versioned_component_id.component_id
    }
}

impl Member {
    /// Holds the worker's shard, with a lease that lasts.
    async fn take(&self, worker: &WorkerId, epoch: Epoch) {
        self.ownership.extend(Instant::now() + Duration::from_secs(1000));
        self.executor.take(&[Held { shard: self.ownership.shard(worker), epoch }]).await;
    }

    async fn call(
        &self,
        worker: &WorkerId,
        function: &str,
        values: Vec<Value>,
        key: &str,
    ) -> Result<u64, WorkerError> {
        let target = Target {
            component_id: worker.component_id,
            worker_name: Some(worker.worker_name.clone()),
        };
        let invocation = Invocation {
            function: function.into(),
            parameters: InvokeParameters::Values(values),
            idempotency_key: Some(IdempotencyKey(key.into())),
            key_is_new: false,
            trace: Vec::new(),
            caller: None,
        };
        let typed = self.executor.invoke_and_await(target, invocation).await?;
        match typed.value {
            Value::Tuple(items) => match items.first() {
                Some(Value::U64(sum)) => Ok(*sum),
                other => panic!("not a sum: {other:?}"),
            },
            other => panic!("not a tuple: {other:?}"),
        }
    }

    async fn add(&self, worker: &WorkerId, n: u64, key: &str) -> Result<u64, WorkerError> {
        self.call(worker, ADD, vec![Value::U64(n)], key).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_a_foreign_shard_is_refused() {
    let shared = shared();
    let worker = WorkerId::new(shared.counter().await, "w");
    let member = shared.member();
    assert_eq!(
        member.add(&worker, 1, "a").await,
        Err(WorkerError::ShardingNotReady),
        "without a lease nothing is sure"
    );
    let other = WorkerId::new(worker.component_id, "another");
    assert_ne!(member.ownership.shard(&other), member.ownership.shard(&worker));
    member.take(&other, 1).await;
    let refused = member.add(&worker, 1, "a").await;
    assert!(matches!(refused, Err(WorkerError::InvalidShardId { .. })), "{refused:?}");
    member.take(&worker, 1).await;
    assert_eq!(member.add(&worker, 1, "a").await, Ok(1));
}

/// Law L3: an executor that does not know that its shard has a new owner cannot write.
#[tokio::test(flavor = "multi_thread")]
async fn the_append_of_a_late_executor_is_refused() {
    let shared = shared();
    let worker = WorkerId::new(shared.counter().await, "w");
    let (late, new) = (shared.member(), shared.member());
    late.take(&worker, 1).await;
    assert_eq!(late.add(&worker, 1, "a").await, Ok(1));
    // The late one is not told.
    new.take(&worker, 2).await;
    assert_eq!(new.add(&worker, 10, "b").await, Ok(11));
    assert_eq!(
        late.add(&worker, 100, "c").await,
        Err(WorkerError::ShardingNotReady),
        "its log is fenced off"
    );
    assert_eq!(
        late.add(&worker, 100, "c").await,
        Err(WorkerError::ShardingNotReady),
        "nor can it open it again"
    );
    assert_eq!(new.add(&worker, 1000, "d").await, Ok(1011), "nothing of the late one took effect");
    assert_eq!(new.add(&worker, 1, "a").await, Ok(1), "what it did in time did");
}

/// Whoever waits is sent elsewhere, and finds the call there.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_on_where_its_shard_goes() {
    let shared = shared();
    let worker = WorkerId::new(shared.counter().await, "w");
    let (old, new) = (shared.member(), shared.member());
    old.take(&worker, 1).await;
    assert_eq!(old.add(&worker, 1, "a").await, Ok(1));
    let slow = vec![Value::U64(5), Value::U64(600)];
    let (executor, of) = (
        Member {
            executor: old.executor.clone(),
            ownership: old.ownership.clone(),
            _work_dir: tempfile::tempdir().unwrap(),
        },
        worker.clone(),
    );
    let values = slow.clone();
    let waiting = tokio::spawn(async move { executor.call(&of, SLOW_ADD, values, "slow").await });
    while old
        .executor
        .live(worker.component_id, vec!["w".into()])
        .await
        .unwrap()
        .iter()
        .all(|w| w.status != emet_model::WorkerStatus::Running)
    {
        tokio::task::yield_now().await;
    }
    old.executor.release(&[old.ownership.shard(&worker)]).await;
    let answered = waiting.await.unwrap();
    assert!(matches!(answered, Err(WorkerError::InvalidShardId { .. })), "{answered:?}");
    new.take(&worker, 2).await;
    assert_eq!(new.call(&worker, SLOW_ADD, slow, "slow").await, Ok(6));
    assert_eq!(new.add(&worker, 1, "b").await, Ok(7));
}

/// Whoever makes a worker that moves before it is loaded is told what became of it: a refusal means
/// that there is none, so that it can be made elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_made_or_refused_while_its_shard_moves() {
    let shared = shared();
    let component = shared.counter().await;
    let (old, new) = (shared.member(), shared.member());
    for n in 0..5 {
        let worker = WorkerId::new(component, format!("w{n}"));
        old.take(&worker, 1).await;
        let (executor, made) = (old.executor.clone(), worker.clone());
        let making =
            tokio::spawn(async move { executor.create(made, Vec::new(), BTreeMap::new()).await });
        // It is asked for, or has even begun.
        for _ in 0..n * 20 {
            tokio::task::yield_now().await;
        }
        old.executor.release(&[old.ownership.shard(&worker)]).await;
        let answer = making.await.unwrap();
        new.take(&worker, 2).await;
        let there = new.executor.metadata(worker).await.is_ok();
        match answer {
            Ok(_) => assert!(there, "it was made"),
            Err(WorkerError::InvalidShardId { .. } | WorkerError::ShardingNotReady) => {
                assert!(!there, "it was refused");
            }
            Err(WorkerError::ConnectionLost { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// An executor whose lease has ended answers nothing, even before it is told to stop.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_has_ended_ends_everything() {
    let shared = shared();
    let worker = WorkerId::new(shared.counter().await, "w");
    let member = shared.member();
    member.take(&worker, 1).await;
    assert_eq!(member.add(&worker, 1, "a").await, Ok(1));
    member.ownership.extend(Instant::now());
    assert_eq!(member.add(&worker, 1, "b").await, Err(WorkerError::ShardingNotReady));
    member.executor.fence();
    let live = member.executor.live(worker.component_id, vec!["w".into()]).await.unwrap();
    assert!(live.is_empty(), "no worker is left");
    assert_eq!(member.ownership.held(), []);
    member.take(&worker, 3).await;
    assert_eq!(member.add(&worker, 1, "b").await, Ok(2));
}
