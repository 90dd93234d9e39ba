//! Offers workers to other processes.

use super::convert::{
    component_id, failure, found, json, parse_invocation, parse_json, parse_pairs, required,
    typed_value, worker,
};
use super::proto::workers as wire;
use super::{CHUNK, MAX_MESSAGE};
use crate::{Cursor, FileContent, OplogPosition, RevertTarget, Workers};
use emet_model::{IdempotencyKey, PromiseId, Timestamp, UpdateMode, WorkerError};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde::Serialize;
use std::sync::Arc;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};

/// The gRPC service over any [`Workers`].
pub struct WorkersServer {
    workers: Arc<dyn Workers>,
}

type Generated = wire::workers_server::WorkersServer<WorkersServer>;
type Answered<T> = Result<Response<T>, Status>;

impl WorkersServer {
    /// A service that hands every call to `workers`.
    pub fn service(workers: Arc<dyn Workers>) -> Generated {
        Generated::new(Self { workers })
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
            .accept_compressed(CompressionEncoding::Gzip)
    }
}

fn done(result: Result<(), WorkerError>) -> Answered<wire::Reply> {
    Ok(Response::new(wire::Reply { failure: result.err().as_ref().map(failure) }))
}

fn flag(result: Result<bool, WorkerError>) -> Answered<wire::FlagReply> {
    Ok(Response::new(match result {
        Ok(flag) => wire::FlagReply { failure: None, flag },
        Err(error) => wire::FlagReply { failure: Some(failure(&error)), flag: false },
    }))
}

fn in_json<T: Serialize>(result: Result<T, WorkerError>) -> Answered<wire::JsonReply> {
    Ok(Response::new(match result {
        Ok(value) => wire::JsonReply { failure: None, json: json(&value)? },
        Err(error) => wire::JsonReply { failure: Some(failure(&error)), json: bytes::Bytes::new() },
    }))
}

/// A file in pieces; the first says whether there is one.
fn file_chunks(result: Result<FileContent<bytes::Bytes>, WorkerError>) -> Vec<wire::FileChunk> {
    let content = match result {
        Ok(content) => content,
        Err(error) => {
            return vec![wire::FileChunk { failure: Some(failure(&error)), ..Default::default() }];
        }
    };
    let first = wire::FileChunk { found: found(&content).into(), ..Default::default() };
    let mut chunks = vec![first];
    if let FileContent::Found(mut data) = content {
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(CHUNK));
            chunks.push(wire::FileChunk { data: piece, ..Default::default() });
        }
    }
    chunks
}

#[tonic::async_trait]
impl wire::workers_server::Workers for WorkersServer {
    async fn create(&self, request: Request<wire::CreateRequest>) -> Answered<wire::CreateReply> {
        let request = request.into_inner();
        let env = parse_pairs(request.env).into_iter().collect();
        let created = self.workers.create(worker(request.worker)?, request.args, env).await;
        Ok(Response::new(match created {
            Ok(component_version) => wire::CreateReply { failure: None, component_version },
            Err(error) => {
                wire::CreateReply { failure: Some(failure(&error)), component_version: 0 }
            }
        }))
    }

    async fn invoke_and_await(
        &self,
        request: Request<wire::InvokeRequest>,
    ) -> Answered<wire::InvokeAndAwaitReply> {
        let (target, invocation) = parse_invocation(request.into_inner())?;
        let result = self.workers.invoke_and_await(target, invocation).await;
        Ok(Response::new(match result {
            Ok(typed) => {
                wire::InvokeAndAwaitReply { failure: None, result: Some(typed_value(&typed)) }
            }
            Err(error) => {
                wire::InvokeAndAwaitReply { failure: Some(failure(&error)), result: None }
            }
        }))
    }

    async fn invoke(&self, request: Request<wire::InvokeRequest>) -> Answered<wire::Reply> {
        let (target, invocation) = parse_invocation(request.into_inner())?;
        done(self.workers.invoke(target, invocation).await)
    }

    async fn metadata(&self, request: Request<wire::WorkerRequest>) -> Answered<wire::JsonReply> {
        in_json(self.workers.metadata(worker(request.into_inner().worker)?).await)
    }

    async fn list(&self, request: Request<wire::ListRequest>) -> Answered<wire::JsonReply> {
        let request = request.into_inner();
        let filter = match request.filter_json.is_empty() {
            true => None,
            false => Some(parse_json(&request.filter_json)?),
        };
        let cursor = request.cursor.map(|cursor| Cursor { cursor, layer: 0 });
        let component = component_id(&request.component_id)?;
        in_json(self.workers.list(component, filter, cursor, request.count, request.precise).await)
    }

    async fn live(&self, request: Request<wire::LiveRequest>) -> Answered<wire::JsonReply> {
        let request = request.into_inner();
        in_json(self.workers.live(component_id(&request.component_id)?, request.names).await)
    }

    async fn awaited(&self, request: Request<wire::CallRequest>) -> Answered<wire::JsonReply> {
        let request = request.into_inner();
        let key = IdempotencyKey(request.idempotency_key);
        in_json(self.workers.awaited(worker(request.worker)?, key).await)
    }

    async fn delete(&self, request: Request<wire::WorkerRequest>) -> Answered<wire::Reply> {
        done(self.workers.delete(worker(request.into_inner().worker)?).await)
    }

    async fn interrupt(&self, request: Request<wire::InterruptRequest>) -> Answered<wire::Reply> {
        let request = request.into_inner();
        done(self.workers.interrupt(worker(request.worker)?, request.recover_immediately).await)
    }

    async fn resume(&self, request: Request<wire::WorkerRequest>) -> Answered<wire::Reply> {
        done(self.workers.resume(worker(request.into_inner().worker)?).await)
    }

    async fn update(&self, request: Request<wire::UpdateRequest>) -> Answered<wire::Reply> {
        let request = request.into_inner();
        let mode = if request.manual { UpdateMode::Manual } else { UpdateMode::Automatic };
        done(self.workers.update(worker(request.worker)?, mode, request.target_version).await)
    }

    async fn schedule(
        &self,
        request: Request<wire::ScheduleRequest>,
    ) -> Answered<wire::ScheduleReply> {
        let request = request.into_inner();
        let (target, invocation) = parse_invocation(required(request.invocation, "invocation")?)?;
        let scheduled = self.workers.schedule(target, invocation, Timestamp(request.at_ms)).await;
        Ok(Response::new(match scheduled {
            Ok(id) => wire::ScheduleReply { failure: None, id },
            Err(error) => wire::ScheduleReply { failure: Some(failure(&error)), id: String::new() },
        }))
    }

    async fn cancel_scheduled(
        &self,
        request: Request<wire::CancelScheduledRequest>,
    ) -> Answered<wire::Reply> {
        done(self.workers.cancel_scheduled(&request.into_inner().id).await)
    }

    async fn complete_promise(
        &self,
        request: Request<wire::CompletePromiseRequest>,
    ) -> Answered<wire::FlagReply> {
        let request = request.into_inner();
        let promise =
            PromiseId { worker_id: worker(request.worker)?, oplog_idx: request.oplog_index };
        flag(self.workers.complete_promise(promise, request.data).await)
    }

    async fn revert(&self, request: Request<wire::RevertRequest>) -> Answered<wire::Reply> {
        use wire::revert_request::Target as To;
        let request = request.into_inner();
        let target = match required(request.target, "target")? {
            To::LastOplogIndex(last_oplog_index) => {
                RevertTarget::RevertToOplogIndex { last_oplog_index }
            }
            To::NumberOfInvocations(number_of_invocations) => {
                RevertTarget::RevertLastInvocations { number_of_invocations }
            }
        };
        done(self.workers.revert(worker(request.worker)?, target).await)
    }

    async fn verify(&self, request: Request<wire::WorkerRequest>) -> Answered<wire::JsonReply> {
        in_json(self.workers.verify(worker(request.into_inner().worker)?).await)
    }

    async fn cancel(&self, request: Request<wire::CancelRequest>) -> Answered<wire::FlagReply> {
        let request = request.into_inner();
        flag(
            self.workers
                .cancel(worker(request.worker)?, IdempotencyKey(request.idempotency_key))
                .await,
        )
    }

    async fn fork(&self, request: Request<wire::ForkRequest>) -> Answered<wire::Reply> {
        let request = request.into_inner();
        done(
            self.workers
                .fork(worker(request.source)?, worker(request.target)?, request.cut_off)
                .await,
        )
    }

    async fn oplog(&self, request: Request<wire::OplogRequest>) -> Answered<wire::JsonReply> {
        let request = request.into_inner();
        let worker = worker(request.worker)?;
        let from = OplogPosition {
            next_oplog_index: request.next_index,
            current_component_version: request.component_version,
        };
        in_json(match request.query {
            None => self.workers.oplog(worker, from, request.count).await,
            Some(query) => self.workers.search_oplog(worker, &query, from, request.count).await,
        })
    }

    async fn list_directory(
        &self,
        request: Request<wire::PathRequest>,
    ) -> Answered<wire::FileReply> {
        let request = request.into_inner();
        let listed = self.workers.list_directory(worker(request.worker)?, &request.path).await;
        Ok(Response::new(match listed {
            Err(error) => wire::FileReply { failure: Some(failure(&error)), ..Default::default() },
            Ok(content) => {
                let found = found(&content).into();
                let nodes_json = match &content {
                    FileContent::Found(nodes) => json(nodes)?,
                    FileContent::NotFound | FileContent::WrongKind => bytes::Bytes::new(),
                };
                wire::FileReply { failure: None, found, nodes_json }
            }
        }))
    }

    type ReadFileStream = BoxStream<'static, Result<wire::FileChunk, Status>>;

    async fn read_file(
        &self,
        request: Request<wire::PathRequest>,
    ) -> Answered<Self::ReadFileStream> {
        let request = request.into_inner();
        let read = self.workers.read_file(worker(request.worker)?, &request.path).await;
        Ok(Response::new(stream::iter(file_chunks(read).into_iter().map(Ok)).boxed()))
    }

    type ConnectStream = BoxStream<'static, Result<wire::Event, Status>>;

    async fn connect(
        &self,
        request: Request<wire::WorkerRequest>,
    ) -> Answered<Self::ConnectStream> {
        let opened = self.workers.connect(worker(request.into_inner().worker)?).await;
        Ok(Response::new(match opened {
            Err(error) => {
                let event = wire::Event { failure: Some(failure(&error)), ..Default::default() };
                stream::iter([Ok(event)]).boxed()
            }
            Ok(events) => {
                let open = stream::iter([Ok(wire::Event::default())]);
                let events = events
                    .map(|event| Ok(wire::Event { failure: None, event_json: json(&event)? }));
                open.chain(events).boxed()
            }
        }))
    }
}
