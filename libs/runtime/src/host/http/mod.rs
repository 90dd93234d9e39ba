//! `wasi:http`, outgoing. Requests, fields and bodies are those of wasmtime-wasi-http; here is
//! what makes an exchange durable (guest spec 7.6): it is announced before it is sent, its
//! response, every chunk of the body and the trailers are recorded, and its end is.

mod client;
mod codes;
mod exchange;
pub(crate) mod incoming;

use super::{functions, wasi};
use crate::WorkerCtx;
use crate::log::{HostFn, HostFnInfo};
use codes::{code_from_text, text_of_code};
use emet_engine::AfterAnnouncement;
use emet_oplog::LogLevel;
use exchange::{Exchange, Plan, ResumedBody, asks_for_key};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::BodyExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::p2::Pollable;
use wasmtime_wasi::p2::bindings::io::streams::HostInputStream as _;
use wasmtime_wasi::p2::{DynInputStream, StreamError};
use wasmtime_wasi_http::p2::bindings::http::types::{
    self, ErrorCode, HostIncomingBody as _, HostIncomingResponse as _,
};
use wasmtime_wasi_http::p2::bindings::http::{outgoing_handler, types::RequestOptions};
use wasmtime_wasi_http::p2::body::{HostFutureTrailers, HostIncomingBody};
use wasmtime_wasi_http::p2::types::{
    HostFutureIncomingResponse, HostIncomingResponse, HostOutgoingRequest,
};
use wasmtime_wasi_http::{FieldMap, WasiHttpView};

pub(crate) use client::HttpClient;
pub(crate) use exchange::{Exchanges, Hooks};

type Headers = Vec<(String, Vec<u8>)>;
type Head = (u16, Headers);
/// None: nothing yet. Inner errors are names of error codes.
type Answer = Option<Result<Head, String>>;
/// An error without text: the end of the stream.
type Chunk<T> = Result<T, Option<String>>;
type Trailers = Option<Result<Option<Headers>, String>>;

const GET: HostFn<(), Answer> = HostFn::batched("http::types::future_incoming_response::get");
const READ: HostFn<u64, Chunk<Vec<u8>>> =
    HostFn::batched("http::types::incoming_body_stream::read");
const BLOCKING_READ: HostFn<u64, Chunk<Vec<u8>>> =
    HostFn::batched("http::types::incoming_body_stream::blocking_read");
const SKIP: HostFn<u64, Chunk<u64>> = HostFn::batched("http::types::incoming_body_stream::skip");
const BLOCKING_SKIP: HostFn<u64, Chunk<u64>> =
    HostFn::batched("http::types::incoming_body_stream::blocking_skip");
const TRAILERS: HostFn<(), Trailers> = HostFn::batched("golem http::types::future_trailers::get");

pub(super) const FUNCTIONS: &[&dyn HostFnInfo] =
    &[&GET, &READ, &BLOCKING_READ, &SKIP, &BLOCKING_SKIP, &TRAILERS];

type Handled = Result<Resource<HostFutureIncomingResponse>, ErrorCode>;
type Got = Option<Result<Result<Resource<HostIncomingResponse>, ErrorCode>, ()>>;
type GotTrailers = Option<Result<Result<Option<Resource<FieldMap>>, ErrorCode>, ()>>;

/// Most requests of a worker that are under way, so that it cannot use up the descriptors of the
/// process (docs/limits.md).
const MAX_EXCHANGES: usize = 256;

fn headers_of(map: &FieldMap) -> Headers {
    map.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

fn header_map(headers: &Headers) -> HeaderMap {
    let parsed = headers.iter().filter_map(|(n, v)| {
        Some((HeaderName::try_from(n).ok()?, HeaderValue::from_bytes(v).ok()?))
    });
    parsed.collect()
}

impl WorkerCtx {
    /// Lets requests be sent that were dormant: called when the guest waits for something live.
    pub(crate) fn resume_exchanges(&mut self) {
        self.exchanges.resume_all();
    }

    async fn handle(
        &mut self,
        request: Resource<HostOutgoingRequest>,
        options: Option<Resource<RequestOptions>>,
    ) -> wasmtime::Result<Handled> {
        // A replay counts the same, so that this is not recorded.
        if self.exchanges.count() >= MAX_EXCHANGES {
            self.table.delete(request)?;
            options.map(|options| self.table.delete(options)).transpose()?;
            return Ok(Err(ErrorCode::ConnectionLimitReached));
        }
        let begin = self.journal.announce().await?;
        // Where nothing is recorded (begin is 0) the request is sent each time.
        let live = self.journal.is_live() || begin == 0;
        let ended = !live && self.journal.open_write(begin) == AfterAnnouncement::Replay;
        let exchange = Exchange::new(begin, live, ended);
        self.http_hooks.trace = self.request_trace_headers();
        let asks = asks_for_key(&self.table.get(&request)?.headers);
        self.http_hooks.key = asks.then(|| self.key_of(begin));
        self.http_hooks.plan = if ended { Plan::Drain } else { Plan::Send(exchange.clone()) };
        let spent = options.as_ref().map(Resource::rep);
        let handled = outgoing_handler::Host::handle(&mut self.http(), request, options);
        if let Some(rep) = spent {
            // Given away by the guest, and not taken out of the table by the handler.
            drop(self.table.delete(Resource::<RequestOptions>::new_own(rep)));
        }
        match handled {
            Ok(future) => {
                self.exchanges.futures.insert(future.rep(), exchange);
                Ok(Ok(future))
            }
            Err(error) => {
                self.journal.end_write(begin).await?;
                Ok(Err(error.downcast()?))
            }
        }
    }

    async fn get_response(
        &mut self,
        future: Resource<HostFutureIncomingResponse>,
    ) -> wasmtime::Result<Got> {
        let Some(exchange) = self.exchanges.futures.get(&future.rep()).cloned() else {
            return types::HostFutureIncomingResponse::get(&mut self.http(), future);
        };
        if let Some(answer) = self.journal.replay(&GET).await? {
            return self.replayed_response(future, exchange, answer);
        }
        exchange.resume();
        if exchange.is_resumed {
            // The guest may know from a recorded poll that the response is there.
            self.table.get_mut(&future)?.ready().await;
        }
        let rep = future.rep();
        let got = types::HostFutureIncomingResponse::get(&mut self.http(), future)?;
        let (answer, got) = match got {
            None => (None, None),
            Some(Err(())) => return Ok(Some(Err(()))),
            Some(Ok(Ok(response))) => {
                let found = self.table.get(&response)?;
                let head = (found.status, headers_of(&found.headers));
                (Some(Ok(head)), Some(Ok(Ok(response))))
            }
            Some(Ok(Err(code))) => {
                let text = text_of_code(&code);
                let code = code_from_text(&text);
                (Some(Err(text)), Some(Ok(Err(code))))
            }
        };
        if let Some(refusal) = exchange.take_refusal() {
            self.log(LogLevel::Warn, "network", &refusal).await?;
        }
        self.journal.record_in(&GET, Some(exchange.begin), (), &answer).await?;
        if let Some(Ok(Ok(response))) = &got {
            self.exchanges.futures.remove(&rep);
            self.exchanges.responses.insert(response.rep(), exchange);
        }
        Ok(got)
    }

    fn replayed_response(
        &mut self,
        future: Resource<HostFutureIncomingResponse>,
        exchange: Arc<Exchange>,
        answer: Answer,
    ) -> wasmtime::Result<Got> {
        let (status, headers) = match answer {
            None => return Ok(None),
            Some(Err(text)) => return Ok(Some(Ok(Err(code_from_text(&text))))),
            Some(Ok(head)) => head,
        };
        let rep = future.rep();
        let pending =
            std::mem::replace(self.table.get_mut(&future)?, HostFutureIncomingResponse::Consumed);
        let body = ResumedBody::new(exchange.clone(), pending).boxed_unsync();
        let headers = FieldMap::new_immutable(&mut self.http_hooks, header_map(&headers));
        let response =
            HostIncomingResponse { status, headers, body: Some(HostIncomingBody::new(body)) };
        let response = self.table.push(response)?;
        self.exchanges.futures.remove(&rep);
        self.exchanges.responses.insert(response.rep(), exchange);
        Ok(Some(Ok(Ok(response))))
    }

    fn consume(
        &mut self,
        response: Resource<HostIncomingResponse>,
    ) -> wasmtime::Result<Result<Resource<HostIncomingBody>, ()>> {
        let rep = response.rep();
        let body = self.http().consume(response)?;
        if let (Ok(body), Some(exchange)) = (&body, self.exchanges.responses.remove(&rep)) {
            self.exchanges.bodies.insert(body.rep(), exchange);
        }
        Ok(body)
    }

    fn body_stream(
        &mut self,
        body: Resource<HostIncomingBody>,
    ) -> wasmtime::Result<Result<Resource<DynInputStream>, ()>> {
        let rep = body.rep();
        let stream = self.http().stream(body)?;
        if let (Ok(stream), Some(exchange)) = (&stream, self.exchanges.bodies.get(&rep)) {
            self.exchanges.streams.insert(stream.rep(), exchange.clone());
        }
        Ok(stream)
    }

    async fn finish(
        &mut self,
        body: Resource<HostIncomingBody>,
    ) -> wasmtime::Result<Resource<HostFutureTrailers>> {
        let exchange = self.exchanges.bodies.remove(&body.rep());
        let trailers = self.http().finish(body)?;
        if let Some(exchange) = exchange {
            self.exchanges.trailers.insert(trailers.rep(), exchange);
        }
        Ok(trailers)
    }

    /// Whether a stream is the body of a response.
    pub(super) fn is_body(&self, stream: &Resource<DynInputStream>) -> bool {
        self.exchanges.streams.contains_key(&stream.rep())
    }

    fn body_exchange(
        &self,
        stream: &Resource<DynInputStream>,
    ) -> Result<Arc<Exchange>, StreamError> {
        self.exchanges.streams.get(&stream.rep()).cloned().ok_or(StreamError::Closed)
    }

    /// Reads a chunk of the body of a response.
    pub(super) async fn read_body(
        &mut self,
        stream: Resource<DynInputStream>,
        length: u64,
        blocking: bool,
    ) -> Result<Vec<u8>, StreamError> {
        let exchange = self.body_exchange(&stream)?;
        let function = if blocking { &BLOCKING_READ } else { &READ };
        let chunk = match self.journal.replay(function).await.map_err(StreamError::Trap)? {
            Some(chunk) => chunk,
            None if exchange.is_replayed => return Err(StreamError::Closed),
            None => {
                self.resume_exchanges();
                let read = match blocking {
                    true => self.table.blocking_read(stream, length).await,
                    false => self.table.read(stream, length),
                };
                let chunk = recordable(read)?;
                let recorded =
                    self.journal.record_in(function, Some(exchange.begin), length, &chunk).await;
                recorded.map_err(StreamError::Trap)?;
                chunk
            }
        };
        exchange.note_consumed(chunk.as_ref().map_or(0, |c| c.len() as u64));
        self.settle_chunk(&exchange, chunk).await
    }

    /// Skips a part of the body of a response.
    pub(super) async fn skip_body(
        &mut self,
        stream: Resource<DynInputStream>,
        length: u64,
        blocking: bool,
    ) -> Result<u64, StreamError> {
        let exchange = self.body_exchange(&stream)?;
        let function = if blocking { &BLOCKING_SKIP } else { &SKIP };
        let skipped = match self.journal.replay(function).await.map_err(StreamError::Trap)? {
            Some(skipped) => skipped,
            None if exchange.is_replayed => return Err(StreamError::Closed),
            None => {
                self.resume_exchanges();
                let skip = match blocking {
                    true => self.table.blocking_skip(stream, length).await,
                    false => self.table.skip(stream, length),
                };
                let skipped = recordable(skip)?;
                let recorded =
                    self.journal.record_in(function, Some(exchange.begin), length, &skipped).await;
                recorded.map_err(StreamError::Trap)?;
                skipped
            }
        };
        exchange.note_consumed(*skipped.as_ref().unwrap_or(&0));
        self.settle_chunk(&exchange, skipped).await
    }

    async fn settle_chunk<T>(
        &mut self,
        exchange: &Exchange,
        chunk: Chunk<T>,
    ) -> Result<T, StreamError> {
        match chunk {
            Ok(chunk) => Ok(chunk),
            Err(text) => {
                self.end(exchange).await.map_err(StreamError::Trap)?;
                Err(text.map_or(StreamError::Closed, |t| {
                    StreamError::LastOperationFailed(code_from_text(&t).into())
                }))
            }
        }
    }

    async fn get_trailers(
        &mut self,
        trailers: Resource<HostFutureTrailers>,
    ) -> wasmtime::Result<GotTrailers> {
        let Some(exchange) = self.exchanges.trailers.get(&trailers.rep()).cloned() else {
            return types::HostFutureTrailers::get(&mut self.http(), trailers);
        };
        let recorded = self.journal.replay(&TRAILERS).await?;
        let (live, got) = match recorded {
            Some(recorded) => {
                *self.table.get_mut(&trailers)? = HostFutureTrailers::Consumed;
                return self.replayed_trailers(recorded);
            }
            // The exchange ended and the trailers were not asked for: they are gone with it.
            None if exchange.is_replayed => (Some(Ok(None)), Some(Ok(Ok(None)))),
            None => {
                self.resume_exchanges();
                let got = types::HostFutureTrailers::get(&mut self.http(), trailers)?;
                match got {
                    None => (None, None),
                    Some(Err(())) => return Ok(Some(Err(()))),
                    Some(Ok(Ok(None))) => (Some(Ok(None)), Some(Ok(Ok(None)))),
                    Some(Ok(Ok(Some(fields)))) => {
                        let headers = headers_of(self.table.get(&fields)?);
                        (Some(Ok(Some(headers))), Some(Ok(Ok(Some(fields)))))
                    }
                    Some(Ok(Err(code))) => {
                        let text = text_of_code(&code);
                        let code = code_from_text(&text);
                        (Some(Err(text)), Some(Ok(Err(code))))
                    }
                }
            }
        };
        self.journal.record_in(&TRAILERS, Some(exchange.begin), (), &live).await?;
        Ok(got)
    }

    fn replayed_trailers(&mut self, recorded: Trailers) -> wasmtime::Result<GotTrailers> {
        Ok(match recorded {
            None => None,
            Some(Err(text)) => Some(Ok(Err(code_from_text(&text)))),
            Some(Ok(None)) => Some(Ok(Ok(None))),
            Some(Ok(Some(headers))) => {
                let fields = FieldMap::new_immutable(&mut self.http_hooks, header_map(&headers));
                Some(Ok(Ok(Some(self.table.push(fields)?))))
            }
        })
    }

    /// The guest is done with an exchange: its end goes to the log, once.
    async fn end(&mut self, exchange: &Exchange) -> wasmtime::Result<()> {
        if exchange.ended.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.journal.end_write(exchange.begin).await
    }

    async fn end_if_some(&mut self, exchange: Option<Arc<Exchange>>) -> wasmtime::Result<()> {
        match exchange {
            Some(exchange) => self.end(&exchange).await,
            None => Ok(()),
        }
    }

    /// A stream was dropped; if it was the body of a response, the exchange ends.
    pub(super) async fn body_stream_dropped(&mut self, rep: u32) -> wasmtime::Result<()> {
        let exchange = self.exchanges.streams.remove(&rep);
        self.end_if_some(exchange).await
    }
}

fn recordable<T>(read: Result<T, StreamError>) -> Result<Chunk<T>, StreamError> {
    match read {
        Ok(value) => Ok(Ok(value)),
        Err(StreamError::Closed) => Ok(Err(None)),
        Err(StreamError::LastOperationFailed(error)) => {
            let code = error.downcast_ref::<ErrorCode>().map(text_of_code);
            Ok(Err(Some(code.unwrap_or_else(|| format!("{error:#}")))))
        }
        Err(trap) => Err(trap),
    }
}

pub(super) fn add(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    functions!(linker, &wasi("http/outgoing-handler"), {
        "handle" => |ctx, request: Resource<HostOutgoingRequest>, options: Option<Resource<RequestOptions>>| {
            Ok((ctx.handle(request, options).await?,))
        };
    });
    functions!(linker, &wasi("http/types"), {
        "[method]future-incoming-response.get" => |ctx, future: Resource<HostFutureIncomingResponse>| Ok((ctx.get_response(future).await?,));
        "[method]incoming-response.consume" => |ctx, response: Resource<HostIncomingResponse>| Ok((ctx.consume(response)?,));
        "[method]incoming-body.stream" => |ctx, body: Resource<HostIncomingBody>| Ok((ctx.body_stream(body)?,));
        "[static]incoming-body.finish" => |ctx, body: Resource<HostIncomingBody>| Ok((ctx.finish(body).await?,));
        "[method]future-trailers.get" => |ctx, trailers: Resource<HostFutureTrailers>| Ok((ctx.get_trailers(trailers).await?,));
    });
    add_drops(linker)
}

/// The resources whose end is the end of an exchange.
fn add_drops(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    let mut types = linker.instance(&wasi("http/types"))?;
    types.resource_async(
        "future-incoming-response",
        ResourceType::host::<HostFutureIncomingResponse>(),
        |mut store, rep| {
            Box::new(async move {
                let ctx = store.data_mut();
                let exchange = ctx.exchanges.futures.remove(&rep);
                ctx.end_if_some(exchange).await?;
                types::HostFutureIncomingResponse::drop(&mut ctx.http(), Resource::new_own(rep))
            })
        },
    )?;
    types.resource_async(
        "incoming-response",
        ResourceType::host::<HostIncomingResponse>(),
        |mut store, rep| {
            Box::new(async move {
                let ctx = store.data_mut();
                let exchange = ctx.exchanges.responses.remove(&rep);
                ctx.end_if_some(exchange).await?;
                types::HostIncomingResponse::drop(&mut ctx.http(), Resource::new_own(rep))
            })
        },
    )?;
    types.resource_async(
        "incoming-body",
        ResourceType::host::<HostIncomingBody>(),
        |mut store, rep| {
            Box::new(async move {
                let ctx = store.data_mut();
                let exchange = ctx.exchanges.bodies.remove(&rep);
                ctx.end_if_some(exchange).await?;
                types::HostIncomingBody::drop(&mut ctx.http(), Resource::new_own(rep))
            })
        },
    )?;
    types.resource_async(
        "future-trailers",
        ResourceType::host::<HostFutureTrailers>(),
        |mut store, rep| {
            Box::new(async move {
                let ctx = store.data_mut();
                let exchange = ctx.exchanges.trailers.remove(&rep);
                ctx.end_if_some(exchange).await?;
                types::HostFutureTrailers::drop(&mut ctx.http(), Resource::new_own(rep))
            })
        },
    )
}
