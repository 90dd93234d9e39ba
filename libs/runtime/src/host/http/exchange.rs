//! A request and its response, as far as replay is concerned.
//!
//! A request whose end is recorded is not sent again: everything that the guest asks of it is in
//! the log. A request that had not ended when the worker was lost is *dormant* while the log is
//! replayed; the first question that the log cannot answer sends it again, and what the guest had
//! read of the response before is skipped.

use super::HttpClient;
use bytes::Bytes;
use emet_model::OplogIndex;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, StreamBody};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;
use wasmtime_wasi_http::p2::types::HostFutureIncomingResponse;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// The header of an idempotency key.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// One request and its response.
pub(crate) struct Exchange {
    /// Its announcement; 0 where nothing is recorded.
    pub(super) begin: OplogIndex,
    /// Set when the request may be sent.
    awake: AtomicBool,
    wake: Notify,
    /// Whether the request was announced by an earlier life of the worker.
    pub(super) is_resumed: bool,
    /// Bytes of the response that the guest has read.
    consumed: AtomicU64,
    /// Its end was in the log when the worker was loaded: nothing is sent, all answers are there.
    pub(super) is_replayed: bool,
    /// Set when its end is in the log.
    pub(super) ended: AtomicBool,
    /// Why the network policy refused the request.
    refusal: Mutex<Option<String>>,
}

impl Exchange {
    pub(super) fn new(begin: OplogIndex, awake: bool, is_replayed: bool) -> Arc<Self> {
        Arc::new(Self {
            begin,
            awake: AtomicBool::new(awake),
            wake: Notify::new(),
            is_resumed: !awake,
            consumed: AtomicU64::new(0),
            is_replayed,
            ended: AtomicBool::new(false),
            refusal: Mutex::new(None),
        })
    }

    /// Why the network policy refused the request; told once.
    pub(super) fn take_refusal(&self) -> Option<String> {
        self.refusal.lock().take()
    }

    /// Lets a dormant request be sent.
    pub(super) fn resume(&self) {
        self.awake.store(true, Ordering::Release);
        self.wake.notify_waiters();
    }

    pub(super) fn note_consumed(&self, bytes: u64) {
        self.consumed.fetch_add(bytes, Ordering::AcqRel);
    }

    async fn awoken(&self) {
        loop {
            let notified = self.wake.notified();
            if self.awake.load(Ordering::Acquire) {
                return;
            }
            notified.await;
        }
    }
}

/// What becomes of the next request.
pub(crate) enum Plan {
    /// It is sent when the exchange is awake.
    Send(Arc<Exchange>),
    /// It ended before: its body is read, nothing is sent.
    Drain,
}

/// Exchanges by the place of the resource that holds them: future, response, body, stream or
/// trailers.
#[derive(Default)]
pub(crate) struct Exchanges {
    pub(super) futures: HashMap<u32, Arc<Exchange>>,
    pub(super) responses: HashMap<u32, Arc<Exchange>>,
    pub(super) bodies: HashMap<u32, Arc<Exchange>>,
    pub(super) streams: HashMap<u32, Arc<Exchange>>,
    pub(super) trailers: HashMap<u32, Arc<Exchange>>,
}

impl Exchanges {
    /// Whether none is under way.
    pub(crate) fn is_empty(&self) -> bool {
        [&self.futures, &self.responses, &self.bodies, &self.streams, &self.trailers]
            .into_iter()
            .all(HashMap::is_empty)
    }

    /// How many are under way. Streams are of bodies that are counted.
    pub(super) fn count(&self) -> usize {
        [&self.futures, &self.responses, &self.bodies, &self.trailers]
            .into_iter()
            .map(HashMap::len)
            .sum()
    }

    pub(super) fn resume_all(&self) {
        let all = [&self.futures, &self.responses, &self.bodies, &self.streams, &self.trailers];
        all.into_iter().flat_map(HashMap::values).for_each(|e| e.resume());
    }
}

/// How the stock implementation of `wasi:http` sends requests.
pub(crate) struct Hooks {
    pub(super) client: HttpClient,
    /// For the request that is handled now.
    pub(super) plan: Plan,
    /// Its trace context, where the guest has not set one.
    pub(super) trace: Vec<(String, String)>,
    /// Its idempotency key, if the guest asks for one.
    pub(super) key: Option<Uuid>,
}

impl Hooks {
    pub(crate) fn new(client: HttpClient) -> Self {
        Self { client, plan: Plan::Drain, trace: Vec::new(), key: None }
    }
}

/// A guest asks for the idempotency header by sending it empty: whoever serves the request can tell
/// that it is sent again after a crash, and not anew.
pub(super) fn asks_for_key(headers: &HeaderMap) -> bool {
    headers.get(&IDEMPOTENCY_KEY).is_some_and(HeaderValue::is_empty)
}

fn add_trace(headers: &mut HeaderMap, trace: Vec<(String, String)>) {
    for (name, value) in trace {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
            && !headers.contains_key(&name)
        {
            headers.insert(name, value);
        }
    }
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(http::Response<WasiBody>, Io), Error>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        mut request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Io,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        emet_telemetry::trace::inject(request.headers_mut());
        let plan = std::mem::replace(&mut self.plan, Plan::Drain);
        let client = self.client.clone();
        let trace = std::mem::take(&mut self.trace);
        if let Some(key) = self.key.take()
            && let Ok(value) = HeaderValue::try_from(key.to_string())
        {
            request.headers_mut().insert(IDEMPOTENCY_KEY, value);
        }
        Box::new(async move {
            let (mut parts, body) = request.into_parts();
            add_trace(&mut parts.headers, trace);
            match plan {
                Plan::Drain => {
                    drain(body).await;
                    std::future::pending().await
                }
                Plan::Send(exchange) => {
                    let body = pump(body, exchange.clone());
                    exchange.awoken().await;
                    let sent = client.send(http::Request::from_parts(parts, body), options).await;
                    let response = sent.map_err(|failure| {
                        *exchange.refusal.lock() = failure.refusal;
                        failure.error
                    })?;
                    Ok((response, Box::new(async { Ok(()) }) as Io))
                }
            }
        })
    }
}

/// Reads a body as fast as it is written, so that a guest which writes is not kept waiting by a
/// request that is not sent. A dormant request whose body is larger than what is kept is sent.
fn pump(mut body: WasiBody, exchange: Arc<Exchange>) -> WasiBody {
    let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>, Error>>(PUMPED_FRAMES);
    tokio::spawn(async move {
        while let Some(frame) = body.frame().await {
            let full = match sender.try_send(frame) {
                Ok(()) => continue,
                Err(mpsc::error::TrySendError::Full(frame)) => frame,
                Err(mpsc::error::TrySendError::Closed(_)) => return,
            };
            exchange.resume();
            if sender.send(full).await.is_err() {
                return;
            }
        }
    });
    StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(receiver)).boxed_unsync()
}

/// Frames of a request body that are kept until the request is sent.
const PUMPED_FRAMES: usize = 1024;

async fn drain(mut body: WasiBody) {
    while let Some(Ok(_)) = body.frame().await {}
}

/// The body of a response whose head was replayed: asked for the first time, it sends the request
/// and skips what the guest has read before.
pub(super) struct ResumedBody {
    exchange: Arc<Exchange>,
    state: Resuming,
}

enum Resuming {
    Dormant(Option<HostFutureIncomingResponse>),
    Opening(Pin<Box<dyn Future<Output = Result<WasiBody, Error>> + Send>>),
    Open(WasiBody),
}

impl ResumedBody {
    pub(super) fn new(exchange: Arc<Exchange>, response: HostFutureIncomingResponse) -> Self {
        Self { exchange, state: Resuming::Dormant(Some(response)) }
    }
}

async fn open(
    exchange: Arc<Exchange>,
    response: HostFutureIncomingResponse,
) -> Result<WasiBody, Error> {
    exchange.resume();
    let (response, _io) = match response {
        HostFutureIncomingResponse::Pending(task) => task.await?,
        HostFutureIncomingResponse::Ready(ready) => ready?,
        HostFutureIncomingResponse::Consumed => return Err(Error::ConnectionTerminated),
    };
    let mut skip = exchange.consumed.load(Ordering::Acquire);
    let mut body = response.into_body();
    while skip > 0 {
        let frame = body.frame().await.ok_or(Error::HttpResponseIncomplete)??;
        let Ok(mut data) = frame.into_data() else { continue };
        let cut = usize::try_from(skip).unwrap_or(usize::MAX).min(data.len());
        let rest = data.split_off(cut);
        skip -= cut as u64;
        if !rest.is_empty() {
            let first = futures::stream::iter([Ok(Frame::data(rest))]);
            let rest = http_body_util::BodyStream::new(body);
            return Ok(StreamBody::new(futures::StreamExt::chain(first, rest)).boxed_unsync());
        }
    }
    Ok(body)
}

impl Body for ResumedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            match &mut self.state {
                Resuming::Dormant(response) => {
                    let Some(response) = response.take() else { return Poll::Ready(None) };
                    let opening = open(self.exchange.clone(), response);
                    self.state = Resuming::Opening(Box::pin(opening));
                }
                Resuming::Opening(opening) => match opening.as_mut().poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(body)) => self.state = Resuming::Open(body),
                    Poll::Ready(Err(error)) => {
                        self.state = Resuming::Dormant(None);
                        return Poll::Ready(Some(Err(error)));
                    }
                },
                Resuming::Open(body) => return Pin::new(body).poll_frame(cx),
            }
        }
    }
}
