//! Every operation, routed.

use crate::route::{Repeat, RoutedWorkers};
use async_trait::async_trait;
use bytes::Bytes;
use emet_api::{
    Awaited, Cursor, FileContent, FileNode, Invocation, OplogPage, OplogPosition, RevertTarget,
    Target, Verification, WorkerEvents, WorkerPage, Workers,
};
use emet_model::{
    ComponentId, ComponentVersion, IdempotencyKey, OplogIndex, PromiseId, Timestamp, UpdateMode,
    WorkerError, WorkerFilter, WorkerId, WorkerMetadata,
};
use emet_values::TypedValue;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use uuid::Uuid;

/// Longest time that an executor may take to say what it has in memory, for an enumeration.
const LIVE: Duration = Duration::from_secs(2);

/// An invocation with its worker's name and its key, so that every attempt means the same.
struct Attempts {
    worker: WorkerId,
    target: Target,
    invocation: Invocation,
    /// Whether the next attempt is the first one of a key that was made here.
    key_is_new: AtomicBool,
}

impl Attempts {
    fn new(mut target: Target, mut invocation: Invocation) -> Self {
        let name = target.worker_name.get_or_insert_with(|| Uuid::new_v4().to_string());
        let worker = WorkerId::new(target.component_id, name.clone());
        let key_is_new = AtomicBool::new(invocation.idempotency_key.is_none());
        invocation.idempotency_key.get_or_insert_with(IdempotencyKey::random);
        Self { worker, target, invocation, key_is_new }
    }

    fn next(&self) -> (Target, Invocation) {
        let mut invocation = self.invocation.clone();
        invocation.key_is_new = self.key_is_new.swap(false, Ordering::Relaxed);
        (self.target.clone(), invocation)
    }
}

#[async_trait]
impl Workers for RoutedWorkers {
    async fn create(
        &self,
        worker: WorkerId,
        args: Vec<String>,
        env: BTreeMap<String, String>,
    ) -> Result<ComponentVersion, WorkerError> {
        self.route(&worker, Repeat::No, |w| {
            let (worker, args, env) = (worker.clone(), args.clone(), env.clone());
            async move { w.create(worker, args, env).await }
        })
        .await
    }

    async fn invoke_and_await(
        &self,
        target: Target,
        invocation: Invocation,
    ) -> Result<TypedValue, WorkerError> {
        let attempts = Attempts::new(target, invocation);
        self.route(&attempts.worker, Repeat::Yes, |w| {
            let (target, invocation) = attempts.next();
            async move { w.invoke_and_await(target, invocation).await }
        })
        .await
    }

    async fn invoke(&self, target: Target, invocation: Invocation) -> Result<(), WorkerError> {
        let attempts = Attempts::new(target, invocation);
        self.route(&attempts.worker, Repeat::Yes, |w| {
            let (target, invocation) = attempts.next();
            async move { w.invoke(target, invocation).await }
        })
        .await
    }

    async fn metadata(&self, worker: WorkerId) -> Result<WorkerMetadata, WorkerError> {
        self.route(&worker, Repeat::Yes, |w| {
            let worker = worker.clone();
            async move { w.metadata(worker).await }
        })
        .await
    }

    /// Any executor answers from the shared store; asked to be precise, it asks the others.
    async fn list(
        &self,
        component: ComponentId,
        filter: Option<WorkerFilter>,
        cursor: Option<Cursor>,
        count: u64,
        precise: bool,
    ) -> Result<WorkerPage, WorkerError> {
        self.route_any(|w| {
            let filter = filter.clone();
            async move { w.list(component, filter, cursor, count, precise).await }
        })
        .await
    }

    /// All owners are asked at the same time; one that does not answer is left out.
    async fn live(
        &self,
        component: ComponentId,
        names: Vec<String>,
    ) -> Result<Vec<WorkerMetadata>, WorkerError> {
        let asked = self.owners(component, names).into_iter().map(|(workers, names)| async move {
            match tokio::time::timeout(LIVE, workers.live(component, names)).await {
                Ok(Ok(live)) => live,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "an executor did not say what it has in memory");
                    Vec::new()
                }
                Err(_) => Vec::new(),
            }
        });
        Ok(futures::future::join_all(asked).await.into_iter().flatten().collect())
    }

    async fn awaited(
        &self,
        worker: WorkerId,
        key: IdempotencyKey,
    ) -> Result<Vec<Awaited>, WorkerError> {
        self.route(&worker, Repeat::Yes, |w| {
            let (worker, key) = (worker.clone(), key.clone());
            async move { w.awaited(worker, key).await }
        })
        .await
    }

    async fn delete(&self, worker: WorkerId) -> Result<(), WorkerError> {
        self.route(&worker, Repeat::Yes, |w| {
            let worker = worker.clone();
            async move { w.delete(worker).await }
        })
        .await
    }

    async fn interrupt(
        &self,
        worker: WorkerId,
        recover_immediately: bool,
    ) -> Result<(), WorkerError> {
        self.route(&worker, Repeat::Yes, |w| {
            let worker = worker.clone();
            async move { w.interrupt(worker, recover_immediately).await }
        })
        .await
    }

    async fn resume(&self, worker: WorkerId) -> Result<(), WorkerError> {
        self.route(&worker, Repeat::Yes, |w| {
            let worker = worker.clone();
            async move { w.resume(worker).await }
        })
        .await
    }

    async fn update(
        &self,
        worker: WorkerId,
        mode: UpdateMode,
        target: ComponentVersion,
    ) -> Result<(), WorkerError> {
        self.route(&worker, Repeat::No, |w| {
            let worker = worker.clone();
            async move { w.update(worker, mode, target).await }
        })
        .await
    }

    /// Repeatable: the timer's number is derived from the invocation's key.
    async fn schedule(
        &self,
        target: Target,
        invocation: Invocation,
        at: Timestamp,
    ) -> Result<String, WorkerError> {
        let attempts = Attempts::new(target, invocation);
        self.route(&attempts.worker, Repeat::Yes, |w| {
            let (target, invocation) = attempts.next();
            async move { w.schedule(target, invocation, at).await }
        })
        .await
    }

    /// The timer is in the shared store: any executor can remove it.
    async fn cancel_scheduled(&self, id: &str) -> Result<(), WorkerError> {
        self.route_any(|w| async move { w.cancel_scheduled(id).await }).await
    }

    /// Repeated after a lost connection it may answer false although it was this call that
    /// completed the promise; the promise holds the value all the same.
    async fn complete_promise(&self, promise: PromiseId, data: Bytes) -> Result<bool, WorkerError> {
        self.route(&promise.worker_id, Repeat::Yes, |w| {
            let (promise, data) = (promise.clone(), data.clone());
            async move { w.complete_promise(promise, data).await }
        })
        .await
    }

    async fn revert(&self, worker: WorkerId, target: RevertTarget) -> Result<(), WorkerError> {
        self.route(&worker, Repeat::No, |w| {
            let worker = worker.clone();
            async move { w.revert(worker, target).await }
        })
        .await
    }

    async fn verify(&self, worker: WorkerId) -> Result<Verification, WorkerError> {
        self.route(&worker, Repeat::Yes, |w| {
            let worker = worker.clone();
            async move { w.verify(worker).await }
        })
        .await
    }

    async fn cancel(&self, worker: WorkerId, key: IdempotencyKey) -> Result<bool, WorkerError> {
        self.route(&worker, Repeat::Yes, |w| {
            let (worker, key) = (worker.clone(), key.clone());
            async move { w.cancel(worker, key).await }
        })
        .await
    }

    /// Made by the owner of the new worker: the history is read from the shared store.
    async fn fork(
        &self,
        source: WorkerId,
        target: WorkerId,
        cut_off: OplogIndex,
    ) -> Result<(), WorkerError> {
        self.route(&target, Repeat::No, |w| {
            let (source, target) = (source.clone(), target.clone());
            async move { w.fork(source, target, cut_off).await }
        })
        .await
    }

    async fn oplog(
        &self,
        worker: WorkerId,
        from: OplogPosition,
        count: u64,
    ) -> Result<OplogPage, WorkerError> {
        self.route(&worker, Repeat::Yes, |w| {
            let worker = worker.clone();
            async move { w.oplog(worker, from, count).await }
        })
        .await
    }

    async fn search_oplog(
        &self,
        worker: WorkerId,
        query: &str,
        from: OplogPosition,
        count: u64,
    ) -> Result<OplogPage, WorkerError> {
        self.route(&worker, Repeat::Yes, |w| {
            let worker = worker.clone();
            async move { w.search_oplog(worker, query, from, count).await }
        })
        .await
    }

    async fn list_directory(
        &self,
        target: WorkerId,
        path: &str,
    ) -> Result<FileContent<Vec<FileNode>>, WorkerError> {
        self.route(&target, Repeat::Yes, |w| {
            let target = target.clone();
            async move { w.list_directory(target, path).await }
        })
        .await
    }

    async fn read_file(
        &self,
        target: WorkerId,
        path: &str,
    ) -> Result<FileContent<Bytes>, WorkerError> {
        self.route(&target, Repeat::Yes, |w| {
            let target = target.clone();
            async move { w.read_file(target, path).await }
        })
        .await
    }

    /// The stream ends when the worker leaves its executor; whoever watches connects again.
    async fn connect(&self, worker: WorkerId) -> Result<WorkerEvents, WorkerError> {
        self.route(&worker, Repeat::Yes, |w| {
            let worker = worker.clone();
            async move { w.connect(worker).await }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emet_api::InvokeParameters;

    fn attempts(key: Option<&str>) -> Attempts {
        let target = Target { component_id: ComponentId(Uuid::from_u128(1)), worker_name: None };
        let invocation = Invocation {
            function: "f".into(),
            parameters: InvokeParameters::Values(Vec::new()),
            idempotency_key: key.map(|key| IdempotencyKey(key.into())),
            key_is_new: false,
            trace: Vec::new(),
            caller: None,
        };
        Attempts::new(target, invocation)
    }

    #[test]
    fn attempts_have_one_key_which_is_new_to_the_first_if_it_was_made_here() {
        let made = attempts(None);
        let (first, second) = (made.next(), made.next());
        assert_eq!((first.1.key_is_new, second.1.key_is_new), (true, false));
        assert!(first.1.idempotency_key.is_some());
        assert_eq!(first.1.idempotency_key, second.1.idempotency_key);
        assert_eq!(first.0, second.0);
        assert!(!attempts(Some("k")).next().1.key_is_new);
    }
}
