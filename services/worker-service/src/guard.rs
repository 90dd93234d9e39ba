//! The one layer around every request: its span, its metrics, and a last resort against panics.
//!
//! A panic in a handler is a defect of this process, but the other requests are none of its
//! business: it becomes an answer and a log line.

use crate::errors::{ApiError, Json};
use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use emet_api::rest::ErrorBody;
use emet_model::WorkerError;
use emet_telemetry::metrics::Held;
use emet_telemetry::metrics::list::{HTTP_IN_FLIGHT, HTTP_REQUESTS, HTTP_SECONDS};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll};
use std::time::Instant;
use tower::{Layer, Service};
use tracing::Instrument;

/// Wraps a service.
#[derive(Clone, Copy)]
pub(crate) struct Guard;

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded(inner)
    }
}

/// A wrapped service.
#[derive(Clone)]
pub(crate) struct Guarded<S>(S);

impl<S> Service<Request> for Guarded<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let span = tracing::info_span!(
            target: emet_telemetry::trace::REQUESTS,
            "api_request",
            method = %request.method(),
            path = request.uri().path(),
            status = tracing::field::Empty,
            trace_id = tracing::field::Empty,
        );
        emet_telemetry::trace::adopt_headers(&span, request.headers());
        if let Some(id) = emet_telemetry::trace::id(&span) {
            span.record("trace_id", id);
        }
        let measured = Measured::start(&request);
        let of_worker = concerns_worker(request.uri().path());
        let future = AssertUnwindSafe(self.0.call(request)).catch_unwind();
        let record = span.clone();
        let answer = async move {
            let response = match future.await {
                Ok(Ok(response)) => response,
                Ok(Err(never)) => match never {},
                Err(panic) => after_panic(panic.as_ref(), of_worker),
            };
            record.record("status", response.status().as_u16());
            measured.end(&response);
            Ok(response)
        };
        Box::pin(answer.instrument(span))
    }
}

/// A request that is counted when it has been answered.
struct Measured {
    started: Instant,
    method: Method,
    /// None: no endpoint.
    route: Option<MatchedPath>,
    _in_flight: Held,
}

impl Measured {
    fn start(request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>().cloned();
        let method = request.method().clone();
        Self { started: Instant::now(), method, route, _in_flight: HTTP_IN_FLIGHT.hold() }
    }

    fn end(&self, response: &Response) {
        let route = self.route.as_ref().map_or("none", MatchedPath::as_str);
        HTTP_REQUESTS.with([self.method.as_str(), route, response.status().as_str()]).inc();
        HTTP_SECONDS.with([route]).record(self.started.elapsed());
    }
}

/// Whether a path has the error bodies of the worker endpoints.
fn concerns_worker(path: &str) -> bool {
    path.contains("/workers") || path.contains("/invoke")
}

fn after_panic(panic: &(dyn std::any::Any + Send), of_worker: bool) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    tracing::error!(panic = text, "a request handler panicked");
    let reason = "Internal error: the request handler failed; the server's log has the details";
    if of_worker {
        let golem_error = WorkerError::unknown(reason);
        let body = ErrorBody::Worker { golem_error, message: Some(reason.to_owned()) };
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response();
    }
    ApiError::plain(StatusCode::INTERNAL_SERVER_ERROR, reason).into_response()
}
