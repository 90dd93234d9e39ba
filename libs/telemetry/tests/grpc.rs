//! Calls of a gRPC server are counted by method and status.

use emet_telemetry::grpc::Counted;
use emet_telemetry::metrics::list::{GRPC_REQUESTS, GRPC_SECONDS};
use http::{Request, Response};
use std::convert::Infallible;
use tower::{Layer, Service};

/// Answers every call with the same status.
async fn call(path: &str, status: Option<&'static str>) {
    let inner = tower::service_fn(move |_: Request<()>| async move {
        let mut response = Response::new(());
        if let Some(status) = status {
            response.headers_mut().insert("grpc-status", http::HeaderValue::from_static(status));
        }
        Ok::<_, Infallible>(response)
    });
    let request = Request::builder().uri(format!("http://host{path}")).body(());
    let answered = Counted.layer(inner).call(request.unwrap_or_default()).await;
    assert!(answered.is_ok());
}

#[tokio::test]
async fn calls_are_counted_by_method_and_status() {
    let count = |method: &str, code: &str| GRPC_REQUESTS.with([method, code]).get();
    call("/emet.workers.v1.Workers/Invoke", None).await;
    call("/emet.workers.v1.Workers/Invoke", None).await;
    call("/emet.workers.v1.Workers/Invoke", Some("16")).await;
    assert_eq!(count("emet.workers.v1.Workers/Invoke", "0"), 2);
    assert_eq!(count("emet.workers.v1.Workers/Invoke", "16"), 1);
    assert_eq!(GRPC_SECONDS.with(["emet.workers.v1.Workers/Invoke"]).count(), 3);
    // Whatever a stranger asks for is counted together.
    call("/any/thing", Some("12")).await;
    call("/other/thing", Some("12")).await;
    assert_eq!(count("unimplemented", "12"), 2);
}
