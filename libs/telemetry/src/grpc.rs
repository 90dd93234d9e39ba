//! Counting what a gRPC server answers.

use crate::metrics::list::{GRPC_REQUESTS, GRPC_SECONDS};
use http::{Request, Response};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;
use tower::{Layer, Service};

/// A layer of a server: `Server::builder().layer(emet_telemetry::grpc::Counted)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted;

/// A counted service.
#[derive(Clone, Debug)]
pub struct CountedService<S>(S);

impl<S> Layer<S> for Counted {
    type Service = CountedService<S>;

    fn layer(&self, inner: S) -> CountedService<S> {
        CountedService(inner)
    }
}

type Answer<R, E> = Pin<Box<dyn Future<Output = Result<R, E>> + Send>>;

impl<S, A, B> Service<Request<A>> for CountedService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Answer<Response<B>, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let (started, path) = (Instant::now(), request.uri().path().to_owned());
        let answer = self.0.call(request);
        Box::pin(async move {
            let response = answer.await?;
            // A status in the head is that of a refusal; one in the trailers comes after a message.
            let code = response.headers().get("grpc-status").and_then(|code| code.to_str().ok());
            let method = path.trim_start_matches('/');
            // Whatever a stranger asks for is no series of its own.
            let method = if code == Some(UNIMPLEMENTED) { "unimplemented" } else { method };
            GRPC_REQUESTS.with([method, code.unwrap_or("0")]).inc();
            GRPC_SECONDS.with([method]).record(started.elapsed());
            Ok(response)
        })
    }
}

/// The code of methods that do not exist.
const UNIMPLEMENTED: &str = "12";
