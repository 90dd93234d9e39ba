//! Incoming HTTP requests (guest spec 8.6): an invocation of `golem:http/incoming-handler.{handle}`
//! calls the component's `wasi:http/incoming-handler` with a whole request and answers with the
//! whole response.

use crate::WorkerCtx;
use bytes::Bytes;
use emet_model::incoming_http::{BodyAndTrailers, Fields, Request, Response, Scheme};
use http::Uri;
use http::uri::PathAndQuery;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime::component::{Func, Resource, Val};
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme as WitScheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::p2::types::HostIncomingRequest;
use wasmtime_wasi_http::{WasiBody, WasiHttpView};

use super::header_map;

/// How long the body of a response may stay open after the handler has returned.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest body of a response, in bytes (docs/limits.md).
const MAX_BODY: usize = 64 << 20;

type Answer = Result<http::Response<HyperOutgoingBody>, ErrorCode>;

/// Calls the handler. The outer error is a trap; the inner one says what is wrong with the request.
pub(crate) async fn handle(
    store: &mut Store<WorkerCtx>,
    handler: Func,
    request: Request,
) -> wasmtime::Result<Result<Response, String>> {
    let request = match incoming(store.data_mut(), request)? {
        Ok(request) => request.try_into_resource_any(&mut *store)?,
        Err(reason) => return Ok(Err(reason)),
    };
    let (sender, answered) = oneshot::channel();
    let out = store
        .data_mut()
        .http()
        .new_response_outparam(sender)?
        .try_into_resource_any(&mut *store)?;
    let (returned, has_returned) = oneshot::channel();
    // The body is read while the guest writes it, or the guest would wait for ever.
    let response = tokio::spawn(respond(answered, has_returned));
    let called = handler
        .call_async(&mut *store, &[Val::Resource(request), Val::Resource(out)], &mut [])
        .await;
    if let Err(trap) = called {
        response.abort();
        return Err(trap);
    }
    // Nobody listens if the answer was there before.
    let _ = returned.send(());
    let response = tokio::time::timeout(BODY_TIMEOUT, response).await;
    let response = response.map_err(|_| {
        wasmtime::format_err!("the handler returned without finishing the body of its response")
    })?;
    response?.map(Ok).map_err(wasmtime::Error::msg)
}

/// The request as the guest gets it. The outer error is a trap; the inner one says what is wrong with it.
fn incoming(
    ctx: &mut WorkerCtx,
    request: Request,
) -> wasmtime::Result<Result<Resource<HostIncomingRequest>, String>> {
    let (scheme, request) = match http_request(request) {
        Ok(request) => request,
        Err(reason) => return Ok(Err(reason)),
    };
    ctx.http().new_incoming_request(scheme, request).map(Ok)
}

fn http_request(request: Request) -> Result<(WitScheme, http::Request<WasiBody>), String> {
    let method =
        http::Method::from_bytes(request.method.as_str().as_bytes()).map_err(|e| e.to_string())?;
    let path = PathAndQuery::try_from(request.path_and_query.as_str())
        .map_err(|e| format!("{}: {e}", request.path_and_query))?;
    let (scheme, name) = match request.scheme {
        Scheme::Http => (WitScheme::Http, "http".to_owned()),
        Scheme::Https => (WitScheme::Https, "https".to_owned()),
        Scheme::Custom(name) => (WitScheme::Other(name.clone()), name),
    };
    let uri = Uri::builder()
        .scheme(name.as_str())
        .authority(request.authority.as_str())
        .path_and_query(path);
    let uri = uri.build().map_err(|e| format!("{name}://{}: {e}", request.authority))?;
    let (bytes, trailers) =
        request.body_and_trailers.map_or_else(|| (Vec::new(), None), |b| (b.body, b.trailers));
    let frames =
        [Some(Frame::data(Bytes::from(bytes))), trailers.map(|t| Frame::trailers(header_map(&t)))];
    let frames = frames.into_iter().flatten().map(Ok::<_, Infallible>);
    let body = StreamBody::new(futures::stream::iter(frames))
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut request_with_body = http::Request::new(body);
    *request_with_body.method_mut() = method;
    *request_with_body.uri_mut() = uri;
    *request_with_body.headers_mut() = header_map(&request.headers);
    Ok((scheme, request_with_body))
}

/// Waits for the answer and reads its body. A handler that has returned gives none any more.
async fn respond(
    mut answered: oneshot::Receiver<Answer>,
    has_returned: oneshot::Receiver<()>,
) -> Result<Response, String> {
    let silent = "the handler returned without setting a response";
    let answer = tokio::select! {
        biased;
        answer = &mut answered => answer.map_err(|_| silent)?,
        _ = has_returned => answered.try_recv().map_err(|_| silent)?,
    };
    let response =
        answer.map_err(|code| format!("the handler answered with an error: {code:?}"))?;
    let (parts, body) = response.into_parts();
    let limited = http_body_util::Limited::new(body, MAX_BODY);
    let body =
        limited.collect().await.map_err(|e| format!("the body of the response failed: {e}"))?;
    let trailers = body.trailers().map(fields);
    let body = body.to_bytes().to_vec();
    let body =
        (!body.is_empty() || trailers.is_some()).then_some(BodyAndTrailers { body, trailers });
    Ok(Response { status: parts.status.as_u16(), headers: fields(&parts.headers), body })
}

fn fields(map: &http::HeaderMap) -> Fields {
    map.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}
