//! The workers of another process.

use super::convert::{self, invocation, json, pairs, parse_failure, parse_json, worker_to_wire};
use super::proto::workers as wire;
use super::status::{malformed, worker_error};
use super::{CHUNK, Channel, LONG, MAX_MESSAGE, SHORT};
use crate::{
    Awaited, Cursor, FileContent, FileNode, Invocation, OplogPage, OplogPosition, RevertTarget,
    Target, Verification, WorkerEvent, WorkerEvents, WorkerPage, Workers,
};
use async_trait::async_trait;
use bytes::Bytes;
use emet_model::{
    ComponentId, ComponentVersion, IdempotencyKey, OplogIndex, PromiseId, Timestamp, UpdateMode,
    WorkerError, WorkerFilter, WorkerId, WorkerMetadata,
};
use emet_values::TypedValue;
use futures::StreamExt;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::time::Duration;
use tonic::{Request, Response, Status};

type Inner = wire::workers_client::WorkersClient<Channel>;

/// Implements [`Workers`] over a channel to one executor. Calls that did not get through fail with
/// [`WorkerError::Unavailable`], those of unknown outcome with [`WorkerError::ConnectionLost`];
/// where to send them then is decided by whoever routes them.
#[derive(Clone)]
pub struct WorkersClient {
    inner: Inner,
}

/// A reply that may be a failure.
trait Fallible {
    fn failure(&self) -> Option<&wire::Failure>;
}

macro_rules! fallible {
    ($($reply:ty),*) => {$(
        impl Fallible for $reply {
            fn failure(&self) -> Option<&wire::Failure> {
                self.failure.as_ref()
            }
        }
    )*};
}
fallible!(
    wire::Reply,
    wire::FlagReply,
    wire::JsonReply,
    wire::CreateReply,
    wire::InvokeAndAwaitReply,
    wire::ScheduleReply,
    wire::FileReply,
    wire::FileChunk,
    wire::Event
);

/// The reply, or why there is none.
fn checked<T: Fallible>(result: Result<Response<T>, Status>) -> Result<T, WorkerError> {
    checked_message(result.map(Response::into_inner))
}

fn checked_message<T: Fallible>(result: Result<T, Status>) -> Result<T, WorkerError> {
    let reply = result.map_err(|status| worker_error(&status))?;
    match reply.failure() {
        Some(failure) => Err(parse_failure(failure)),
        None => Ok(reply),
    }
}

fn parsed<T: DeserializeOwned>(reply: &wire::JsonReply) -> Result<T, WorkerError> {
    parse_json(&reply.json).map_err(|status| worker_error(&status))
}

fn within<T>(message: T, deadline: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    request
}

fn status(status: Status) -> WorkerError {
    worker_error(&status)
}

fn of_worker(worker: &WorkerId, deadline: Duration) -> Request<wire::WorkerRequest> {
    within(wire::WorkerRequest { worker: Some(worker_to_wire(worker)) }, deadline)
}

impl WorkersClient {
    /// The workers at the other end of a channel.
    pub fn new(channel: Channel) -> Self {
        let inner = Inner::new(channel)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        Self { inner }
    }

    fn inner(&self) -> Inner {
        self.inner.clone()
    }

    async fn page(&self, request: wire::OplogRequest) -> Result<OplogPage, WorkerError> {
        parsed(&checked(self.inner().oplog(within(request, SHORT)).await)?)
    }
}

fn oplog_request(
    worker: &WorkerId,
    from: OplogPosition,
    count: u64,
    query: Option<&str>,
) -> wire::OplogRequest {
    wire::OplogRequest {
        worker: Some(worker_to_wire(worker)),
        next_index: from.next_oplog_index,
        component_version: from.current_component_version,
        count,
        query: query.map(str::to_owned),
    }
}

#[async_trait]
impl Workers for WorkersClient {
    async fn create(
        &self,
        worker: WorkerId,
        args: Vec<String>,
        env: BTreeMap<String, String>,
    ) -> Result<ComponentVersion, WorkerError> {
        let request =
            wire::CreateRequest { worker: Some(worker_to_wire(&worker)), args, env: pairs(&env) };
        Ok(checked(self.inner().create(within(request, LONG)).await)?.component_version)
    }

    async fn invoke_and_await(
        &self,
        target: Target,
        call: Invocation,
    ) -> Result<TypedValue, WorkerError> {
        // No deadline: an invocation may take as long as it likes. Keep-alive notices lost peers.
        let request = invocation(&target, &call).map_err(status)?;
        let reply = checked(self.inner().invoke_and_await(request).await)?;
        let result = convert::required(reply.result, "result")
            .and_then(|wire| convert::parse_typed_value(&wire));
        result.map_err(status)
    }

    async fn invoke(&self, target: Target, call: Invocation) -> Result<(), WorkerError> {
        let request = invocation(&target, &call).map_err(status)?;
        checked(self.inner().invoke(within(request, SHORT)).await).map(drop)
    }

    async fn metadata(&self, worker: WorkerId) -> Result<WorkerMetadata, WorkerError> {
        parsed(&checked(self.inner().metadata(of_worker(&worker, SHORT)).await)?)
    }

    async fn list(
        &self,
        component: ComponentId,
        filter: Option<WorkerFilter>,
        cursor: Option<Cursor>,
        count: u64,
        precise: bool,
    ) -> Result<WorkerPage, WorkerError> {
        let filter_json = match &filter {
            None => Bytes::new(),
            Some(filter) => json(filter).map_err(status)?,
        };
        let request = wire::ListRequest {
            component_id: component.to_string(),
            filter_json,
            cursor: cursor.map(|c| c.cursor),
            count,
            precise,
        };
        parsed(&checked(self.inner().list(within(request, SHORT)).await)?)
    }

    async fn live(
        &self,
        component: ComponentId,
        names: Vec<String>,
    ) -> Result<Vec<WorkerMetadata>, WorkerError> {
        let request = wire::LiveRequest { component_id: component.to_string(), names };
        parsed(&checked(self.inner().live(within(request, SHORT)).await)?)
    }

    async fn awaited(
        &self,
        worker: WorkerId,
        key: IdempotencyKey,
    ) -> Result<Vec<Awaited>, WorkerError> {
        let request =
            wire::CallRequest { worker: Some(worker_to_wire(&worker)), idempotency_key: key.0 };
        parsed(&checked(self.inner().awaited(within(request, SHORT)).await)?)
    }

    async fn delete(&self, worker: WorkerId) -> Result<(), WorkerError> {
        checked(self.inner().delete(of_worker(&worker, SHORT)).await).map(drop)
    }

    async fn interrupt(
        &self,
        worker: WorkerId,
        recover_immediately: bool,
    ) -> Result<(), WorkerError> {
        let request =
            wire::InterruptRequest { worker: Some(worker_to_wire(&worker)), recover_immediately };
        checked(self.inner().interrupt(within(request, SHORT)).await).map(drop)
    }

    async fn resume(&self, worker: WorkerId) -> Result<(), WorkerError> {
        checked(self.inner().resume(of_worker(&worker, SHORT)).await).map(drop)
    }

    async fn update(
        &self,
        worker: WorkerId,
        mode: UpdateMode,
        target: ComponentVersion,
    ) -> Result<(), WorkerError> {
        let manual = matches!(mode, UpdateMode::Manual);
        let request = wire::UpdateRequest {
            worker: Some(worker_to_wire(&worker)),
            manual,
            target_version: target,
        };
        checked(self.inner().update(within(request, SHORT)).await).map(drop)
    }

    async fn schedule(
        &self,
        target: Target,
        call: Invocation,
        at: Timestamp,
    ) -> Result<String, WorkerError> {
        let invocation = Some(invocation(&target, &call).map_err(status)?);
        let request = wire::ScheduleRequest { invocation, at_ms: at.0 };
        Ok(checked(self.inner().schedule(within(request, SHORT)).await)?.id)
    }

    async fn cancel_scheduled(&self, id: &str) -> Result<(), WorkerError> {
        let request = wire::CancelScheduledRequest { id: id.to_owned() };
        checked(self.inner().cancel_scheduled(within(request, SHORT)).await).map(drop)
    }

    async fn complete_promise(&self, promise: PromiseId, data: Bytes) -> Result<bool, WorkerError> {
        let request = wire::CompletePromiseRequest {
            worker: Some(worker_to_wire(&promise.worker_id)),
            oplog_index: promise.oplog_idx,
            data,
        };
        Ok(checked(self.inner().complete_promise(within(request, SHORT)).await)?.flag)
    }

    async fn revert(&self, worker: WorkerId, target: RevertTarget) -> Result<(), WorkerError> {
        use wire::revert_request::Target as To;
        let target = match target {
            RevertTarget::RevertToOplogIndex { last_oplog_index } => {
                To::LastOplogIndex(last_oplog_index)
            }
            RevertTarget::RevertLastInvocations { number_of_invocations } => {
                To::NumberOfInvocations(number_of_invocations)
            }
        };
        let request =
            wire::RevertRequest { worker: Some(worker_to_wire(&worker)), target: Some(target) };
        checked(self.inner().revert(within(request, SHORT)).await).map(drop)
    }

    async fn verify(&self, worker: WorkerId) -> Result<Verification, WorkerError> {
        parsed(&checked(self.inner().verify(of_worker(&worker, LONG)).await)?)
    }

    async fn cancel(&self, worker: WorkerId, key: IdempotencyKey) -> Result<bool, WorkerError> {
        let request =
            wire::CancelRequest { worker: Some(worker_to_wire(&worker)), idempotency_key: key.0 };
        Ok(checked(self.inner().cancel(within(request, SHORT)).await)?.flag)
    }

    async fn fork(
        &self,
        source: WorkerId,
        target: WorkerId,
        cut_off: OplogIndex,
    ) -> Result<(), WorkerError> {
        let request = wire::ForkRequest {
            source: Some(worker_to_wire(&source)),
            target: Some(worker_to_wire(&target)),
            cut_off,
        };
        checked(self.inner().fork(within(request, LONG)).await).map(drop)
    }

    async fn oplog(
        &self,
        worker: WorkerId,
        from: OplogPosition,
        count: u64,
    ) -> Result<OplogPage, WorkerError> {
        self.page(oplog_request(&worker, from, count, None)).await
    }

    async fn search_oplog(
        &self,
        worker: WorkerId,
        query: &str,
        from: OplogPosition,
        count: u64,
    ) -> Result<OplogPage, WorkerError> {
        self.page(oplog_request(&worker, from, count, Some(query))).await
    }

    async fn list_directory(
        &self,
        target: WorkerId,
        path: &str,
    ) -> Result<FileContent<Vec<FileNode>>, WorkerError> {
        let request =
            wire::PathRequest { worker: Some(worker_to_wire(&target)), path: path.to_owned() };
        let reply = checked(self.inner().list_directory(within(request, LONG)).await)?;
        match reply.found() {
            wire::Found::Yes => {
                Ok(FileContent::Found(parse_json(&reply.nodes_json).map_err(status)?))
            }
            wire::Found::No => Ok(FileContent::NotFound),
            wire::Found::WrongKind => Ok(FileContent::WrongKind),
            wire::Found::Unspecified => {
                Err(status(malformed("a directory neither found nor missing")))
            }
        }
    }

    async fn read_file(
        &self,
        target: WorkerId,
        path: &str,
    ) -> Result<FileContent<Bytes>, WorkerError> {
        let request =
            wire::PathRequest { worker: Some(worker_to_wire(&target)), path: path.to_owned() };
        let chunks = self.inner().read_file(within(request, LONG)).await.map_err(status)?;
        let mut chunks = chunks.into_inner();
        let mut content = Vec::with_capacity(CHUNK);
        let mut found = wire::Found::Unspecified;
        while let Some(chunk) = chunks.next().await {
            let chunk = checked_message(chunk)?;
            match chunk.found() {
                wire::Found::No => return Ok(FileContent::NotFound),
                wire::Found::WrongKind => return Ok(FileContent::WrongKind),
                wire::Found::Yes => found = wire::Found::Yes,
                wire::Found::Unspecified => {}
            }
            content.extend_from_slice(&chunk.data);
        }
        match found {
            wire::Found::Yes => Ok(FileContent::Found(content.into())),
            _ => Err(status(malformed("a file neither found nor missing"))),
        }
    }

    async fn connect(&self, worker: WorkerId) -> Result<WorkerEvents, WorkerError> {
        let request = wire::WorkerRequest { worker: Some(worker_to_wire(&worker)) };
        let mut events = self.inner().connect(request).await.map_err(status)?.into_inner();
        // The first message only says that the worker was found.
        match events.next().await {
            None => return Err(status(malformed("an empty stream of events"))),
            Some(first) => drop(checked_message(first)?),
        }
        let events = events.map(|event| match event {
            Ok(event) => serde_json::from_slice(&event.event_json).unwrap_or(WorkerEvent::Close),
            // Whoever watches is told that the stream has ended, as when a worker is unloaded.
            Err(_) => WorkerEvent::Close,
        });
        Ok(events.boxed())
    }
}
