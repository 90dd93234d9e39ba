//! The operations of the trait `Workers`: each is handed to the actor of its worker, or answered
//! from the store.

use crate::actor::{Command, ReplyTo};
use crate::actors::Making;
use crate::executor::Executor;
use crate::files::{FileAnswer, FileRequest};
use crate::firing::Scheduled;
use crate::search::Query;
use crate::{listing, metadata, public};
use async_trait::async_trait;
use bytes::Bytes;
use emet_api::{
    Awaited, Cursor, FileContent, FileNode, Invocation as ApiInvocation, InvokeParameters,
    OplogPage, OplogPosition, RevertTarget, Target, Verification, WorkerEvent, WorkerEvents,
    WorkerPage, Workers,
};
use emet_model::{
    ComponentId, ComponentVersion, IdempotencyKey, OplogIndex, PromiseId, Timestamp, UpdateMode,
    WorkerError, WorkerFilter, WorkerId, WorkerMetadata,
};
use emet_runtime::log::{log_failure, log_key};
use emet_values::{TypedValue, Value};
use futures::StreamExt;
use std::collections::BTreeMap;
use tokio::sync::broadcast;

#[async_trait]
impl Workers for Executor {
    async fn create(
        &self,
        worker: WorkerId,
        args: Vec<String>,
        env: BTreeMap<String, String>,
    ) -> Result<ComponentVersion, WorkerError> {
        self.shared.ownership.epoch(&worker)?;
        let head = self.shared.log.head(&log_key(&worker)).await.map_err(|e| log_failure(&e))?;
        if head.is_some_and(|h| h.last > 0) || self.shared.live_metadata(&worker).is_some() {
            return Err(WorkerError::WorkerAlreadyExists { worker_id: worker });
        }
        let making = Making { args, env: env.into_iter().collect(), parent: None };
        self.shared
            .ask_once(
                &worker,
                || Some(making.clone()),
                |reply| Command::Create(making.clone(), reply),
            )
            .await
    }

    async fn invoke_and_await(
        &self,
        target: Target,
        invocation: ApiInvocation,
    ) -> Result<TypedValue, WorkerError> {
        let (done, worker) = self.arrive(&target, invocation, ReplyTo::Result).await?;
        self.typed(&worker, done).await
    }

    async fn invoke(&self, target: Target, invocation: ApiInvocation) -> Result<(), WorkerError> {
        self.arrive(&target, invocation, ReplyTo::Accepted).await.map(|((), _)| ())
    }

    async fn metadata(&self, worker: WorkerId) -> Result<WorkerMetadata, WorkerError> {
        self.shared.ownership.epoch(&worker)?;
        if let Some(live) = self.shared.durable_metadata(&worker).await {
            return Ok(live);
        }
        let head = self.shared.log.head(&log_key(&worker)).await.map_err(|e| log_failure(&e))?;
        let Some(head) = head.filter(|h| h.last > 0) else {
            return Err(WorkerError::WorkerNotFound { worker_id: worker });
        };
        let state = self.shared.logs.shown(&worker, &head).await?;
        Ok(metadata::metadata(&worker, &state))
    }

    async fn list(
        &self,
        component: ComponentId,
        filter: Option<WorkerFilter>,
        cursor: Option<Cursor>,
        count: u64,
        precise: bool,
    ) -> Result<WorkerPage, WorkerError> {
        listing::list(&self.shared, component, filter, cursor, count, precise).await
    }

    async fn live(
        &self,
        component: ComponentId,
        names: Vec<String>,
    ) -> Result<Vec<WorkerMetadata>, WorkerError> {
        let workers = names.into_iter().map(|name| WorkerId::new(component, name));
        Ok(workers.filter_map(|worker| self.shared.live_metadata(&worker)).collect())
    }

    async fn awaited(
        &self,
        worker: WorkerId,
        key: IdempotencyKey,
    ) -> Result<Vec<Awaited>, WorkerError> {
        self.shared.awaited(&worker, &key).await
    }

    async fn delete(&self, worker: WorkerId) -> Result<(), WorkerError> {
        match self.shared.ask(&worker, || None, Command::Delete).await {
            Err(WorkerError::WorkerNotFound { .. }) => Ok(()),
            // Its log cannot be read, so it has no actor; what there is of it can go.
            Err(WorkerError::FailedToResumeWorker { .. }) => {
                self.shared.delete_stored(&worker).await
            }
            other => other,
        }
    }

    async fn interrupt(
        &self,
        worker: WorkerId,
        recover_immediately: bool,
    ) -> Result<(), WorkerError> {
        let command = |reply| Command::Interrupt { recover_immediately, reply };
        match self.shared.ask(&worker, || None, command).await {
            Err(WorkerError::WorkerNotFound { .. }) => Ok(()),
            other => other,
        }
    }

    async fn resume(&self, worker: WorkerId) -> Result<(), WorkerError> {
        self.shared.ask(&worker, || None, Command::Resume).await
    }

    async fn update(
        &self,
        worker: WorkerId,
        mode: UpdateMode,
        target: ComponentVersion,
    ) -> Result<(), WorkerError> {
        self.shared
            .ask_once(&worker, || None, |reply| Command::Update { mode, target, reply })
            .await
    }

    async fn schedule(
        &self,
        target: Target,
        invocation: ApiInvocation,
        at: Timestamp,
    ) -> Result<String, WorkerError> {
        let InvokeParameters::Values(values) = invocation.parameters else {
            return Err(WorkerError::invalid("a scheduled invocation needs plain values"));
        };
        let worker = Self::worker(&target);
        self.shared.ownership.epoch(&worker)?;
        let key = invocation.idempotency_key.unwrap_or_else(IdempotencyKey::random);
        let parameters = emet_values::binary::encode(&Value::Tuple(values));
        let scheduled = Scheduled {
            worker,
            function: invocation.function,
            parameters,
            key,
            trace: invocation.trace,
            caller: invocation.caller.map(|c| (c.worker_id, c.args, c.env)),
        };
        self.shared.schedule(scheduled, at).await
    }

    async fn cancel_scheduled(&self, id: &str) -> Result<(), WorkerError> {
        self.shared.timers.remove(id).await
    }

    async fn complete_promise(&self, promise: PromiseId, data: Bytes) -> Result<bool, WorkerError> {
        self.shared.ownership.epoch(&promise.worker_id)?;
        let completed = self.shared.promises().complete(&promise, &data).await?;
        // Waking is repeated for a promise that was completed before: whoever did it may have been
        // lost before it could wake anybody.
        let mut waiters = self.shared.promises().waiters(&promise).await?;
        if !waiters.contains(&promise.worker_id) {
            waiters.push(promise.worker_id.clone());
        }
        let (mut woken, mut failed) = (Vec::new(), None);
        for worker in waiters {
            match self.shared.wake(&worker).await {
                Ok(()) | Err(WorkerError::WorkerNotFound { .. }) => woken.push(worker),
                Err(error) => failed = Some(error),
            }
        }
        self.shared.promises().forget_waiters(&promise, &woken).await?;
        // Whoever is told that it failed completes the promise again, which wakes the rest.
        failed.map_or(Ok(completed), Err)
    }

    async fn verify(&self, worker: WorkerId) -> Result<Verification, WorkerError> {
        self.shared.ask(&worker, || None, Command::Verify).await
    }

    async fn revert(&self, worker: WorkerId, target: RevertTarget) -> Result<(), WorkerError> {
        self.shared.ask_once(&worker, || None, |reply| Command::Revert(target, reply)).await
    }

    async fn cancel(&self, worker: WorkerId, key: IdempotencyKey) -> Result<bool, WorkerError> {
        self.shared.ask(&worker, || None, |reply| Command::Cancel(key, reply)).await
    }

    async fn fork(
        &self,
        source: WorkerId,
        target: WorkerId,
        cut_off: OplogIndex,
    ) -> Result<(), WorkerError> {
        crate::fork::fork(&self.shared, source, target.clone(), cut_off).await?;
        // Making the actor lets the fork go on with what it inherited.
        self.shared.find(&target).await.map(drop)
    }

    async fn oplog(
        &self,
        worker: WorkerId,
        from: OplogPosition,
        count: u64,
    ) -> Result<OplogPage, WorkerError> {
        self.shared.ownership.epoch(&worker)?;
        public::page(&self.shared, &worker, from, count, None).await
    }

    async fn search_oplog(
        &self,
        worker: WorkerId,
        query: &str,
        from: OplogPosition,
        count: u64,
    ) -> Result<OplogPage, WorkerError> {
        self.shared.ownership.epoch(&worker)?;
        let query = Query::parse(query)?;
        public::page(&self.shared, &worker, from, count, Some(&query)).await
    }

    async fn list_directory(
        &self,
        target: WorkerId,
        path: &str,
    ) -> Result<FileContent<Vec<FileNode>>, WorkerError> {
        let request = FileRequest::List(path.to_owned());
        match self
            .shared
            .ask(&target, || Some(Making::plain()), |reply| Command::Files(request, reply))
            .await?
        {
            FileAnswer::Nodes(nodes) => Ok(nodes),
            FileAnswer::Content(_) => Ok(FileContent::WrongKind),
        }
    }

    async fn read_file(
        &self,
        target: WorkerId,
        path: &str,
    ) -> Result<FileContent<Bytes>, WorkerError> {
        let request = FileRequest::Read(path.to_owned());
        match self
            .shared
            .ask(&target, || Some(Making::plain()), |reply| Command::Files(request, reply))
            .await?
        {
            FileAnswer::Content(content) => Ok(content),
            FileAnswer::Nodes(_) => Ok(FileContent::WrongKind),
        }
    }

    async fn connect(&self, worker: WorkerId) -> Result<WorkerEvents, WorkerError> {
        let (past, live) = self.shared.ask(&worker, || None, Command::Connect).await?;
        let live = futures::stream::unfold(Some(live), |receiver| async move {
            let mut receiver = receiver?;
            match receiver.recv().await {
                Ok(WorkerEvent::Close) | Err(broadcast::error::RecvError::Closed) => {
                    Some((WorkerEvent::Close, None))
                }
                Ok(event) => Some((event, Some(receiver))),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    Some((WorkerEvent::Gap { missed }, Some(receiver)))
                }
            }
        });
        Ok(futures::stream::iter(past).chain(live).boxed())
    }
}
