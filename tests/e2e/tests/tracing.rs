//! Traces, as a collector gets them by OTLP.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use emet_e2e::{Failure, Server};
use emet_model::WorkerId;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// Longest time until spans arrive: they are sent every five seconds.
const ARRIVAL: Duration = Duration::from_secs(60);

/// A collector, and everything it has got.
#[derive(Clone)]
struct Collector {
    spans: Arc<watch::Sender<Vec<Span>>>,
    url: String,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let scopes = request.into_inner().resource_spans.into_iter().flat_map(|resource| {
            let attributes = resource.resource.unwrap_or_default().attributes;
            // On a cluster each role has its own.
            let text = |value: &Value| {
                matches!(value, Value::StringValue(name) if name.starts_with("emet-"))
            };
            let named = attributes.iter().any(|a| {
                a.key == "service.name"
                    && a.value.as_ref().and_then(|v| v.value.as_ref()).is_some_and(text)
            });
            assert!(named, "spans carry the name of the service");
            resource.scope_spans
        });
        let spans: Vec<Span> = scopes.flat_map(|scope| scope.spans).collect();
        self.spans.send_modify(|all| all.extend(spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start() -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let collector = Self { spans: Arc::new(watch::Sender::new(Vec::new())), url };
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(collector.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Ok(collector)
    }

    /// The spans of a trace, as soon as they fulfil a condition.
    async fn trace(&self, id: &str, complete: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let of_trace = |all: &[Span]| -> Vec<Span> {
            all.iter().filter(|s| hex(&s.trace_id) == id).cloned().collect()
        };
        let mut receiver = self.spans.subscribe();
        let arrived = receiver.wait_for(|all| complete(&of_trace(all)));
        match tokio::time::timeout(ARRIVAL, arrived).await {
            Ok(Ok(all)) => of_trace(&all),
            _ => {
                let all = self.spans.borrow();
                let seen: Vec<String> = all
                    .iter()
                    .map(|s| format!("{} {} {}", hex(&s.trace_id), s.name, attribute(s, "worker")))
                    .collect();
                panic!("trace {id} is not complete; there is\n{}", seen.join("\n"));
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|a| a.key == key).and_then(|a| a.value.clone()?.value);
    match found {
        Some(Value::StringValue(text)) => text,
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(value)) => value.to_string(),
        other => format!("{other:?}"),
    }
}

fn find<'a>(spans: &'a [Span], name: &str, worker: &str) -> Option<&'a Span> {
    spans.iter().find(|s| {
        s.name.contains(name) && (worker.is_empty() || attribute(s, "worker").ends_with(worker))
    })
}

/// Whether a span is below another one.
fn below(spans: &[Span], span: &Span, ancestor: &Span) -> bool {
    let mut at = span;
    loop {
        if at.parent_span_id == ancestor.span_id {
            return true;
        }
        match spans.iter().find(|s| s.span_id == at.parent_span_id) {
            Some(parent) => at = parent,
            None => return false,
        }
    }
}

/// Invokes with a trace context.
async fn call(
    server: &Server,
    worker: &WorkerId,
    function: &str,
    params: serde_json::Value,
    traceparent: &str,
) -> Result<serde_json::Value, Failure> {
    let url = format!(
        "{}/v1/components/{}/workers/{}/invoke-and-await?function={function}",
        server.client.base_url(),
        worker.component_id,
        worker.worker_name
    );
    let request = reqwest::Client::new()
        .post(url)
        .header("traceparent", traceparent)
        .header("content-type", "application/json");
    let response = request.body(params.to_string()).send().await?;
    let (status, body) = (response.status(), response.text().await?);
    assert_eq!(status, 200, "{body}");
    Ok(serde_json::from_str(&body)?)
}

const CALLER: &str = "00f067aa0ba902b7";

#[tokio::test]
async fn one_trace_leads_from_the_request_over_a_host_call_to_the_other_worker()
-> Result<(), Failure> {
    let collector = Collector::start().await?;
    let mut server = Server::start_with(&["--otlp-endpoint", &collector.url]).await?;
    let counter = server.upload("counter").await?;
    let caller = WorkerId::new(server.upload("rpc-caller").await?, "caller");
    let uri = format!("urn:worker:{counter}/target");
    let params = serde_json::json!({"params": [{"value": uri}, {"value": 5}]});

    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traceparent = format!("00-{id}-{CALLER}-01");
    call(&server, &caller, "test:rpc-caller/api.%7Badd%7D", params.clone(), &traceparent).await?;
    let complete = |spans: &[Span]| {
        let names = [
            ("api_request", ""),
            ("load", "/caller"),
            ("invoke", "/caller"),
            ("load", "/target"),
            ("invoke", "/target"),
        ];
        names.iter().all(|(name, worker)| find(spans, name, worker).is_some())
    };
    let spans = collector.trace(id, complete).await;
    let request = find(&spans, "api_request", "").unwrap();
    assert_eq!(hex(&request.parent_span_id), CALLER, "the request belongs to its caller's span");
    let invoke = find(&spans, "invoke", "/caller").unwrap();
    assert!(below(&spans, invoke, request));
    assert!(below(&spans, find(&spans, "load", "/caller").unwrap(), request));
    assert_eq!(attribute(invoke, "emet.replay"), "false");
    let host_call = spans
        .iter()
        .find(|s| s.parent_span_id == invoke.span_id && s.name.contains("invoke-and-await"));
    assert!(host_call.is_some(), "{:?}", spans.iter().map(|s| &s.name).collect::<Vec<_>>());
    assert!(
        below(&spans, find(&spans, "invoke", "/target").unwrap(), invoke),
        "a call passes the context on"
    );
    let commits = spans.iter().filter(|s| s.name == "commit");
    assert!(commits.clone().count() > 0 && commits.clone().all(|s| below(&spans, s, request)));

    // After a crash the next call has the replay in its trace.
    server.crash().await?;
    let id = "0af7651916cd43dd8448eb211c80319c";
    call(
        &server,
        &caller,
        "test:rpc-caller/api.%7Badd%7D",
        params,
        &format!("00-{id}-{CALLER}-01"),
    )
    .await?;
    let spans =
        collector.trace(id, |spans| complete(spans) && find(spans, "replay", "").is_some()).await;
    let loads: Vec<&Span> = spans.iter().filter(|s| s.name == "load").collect();
    let replays: Vec<&Span> = spans.iter().filter(|s| s.name == "replay").collect();
    assert!(!replays.is_empty());
    for replay in replays {
        assert_eq!(attribute(replay, "emet.replay"), "true");
        assert!(loads.iter().any(|load| replay.parent_span_id == load.span_id));
    }
    Ok(())
}

#[tokio::test]
async fn an_invocation_that_goes_on_after_a_crash_stays_in_its_trace() -> Result<(), Failure> {
    let collector = Collector::start().await?;
    let mut server =
        Server::start_with(&["--otlp-endpoint", &collector.url, "--suspend-after", "60s"]).await?;
    let worker = WorkerId::new(server.upload("counter").await?, "slow");
    let id = "5bf92f3577b34da6a3ce929d0e0e4737";
    let traceparent = format!("00-{id}-{CALLER}-01");
    let url = format!(
        "{}/v1/components/{}/workers/slow/invoke?function=test:counter/api.%7Bslow-add%7D",
        server.client.base_url(),
        worker.component_id
    );
    let body = serde_json::json!({"params": [{"value": 1}, {"value": 3000}]}).to_string();
    let request = reqwest::Client::new()
        .post(url)
        .header("traceparent", &traceparent)
        .header("content-type", "application/json");
    assert_eq!(request.body(body).send().await?.status(), 200);
    while server.client.worker(&worker).await?.status != emet_model::WorkerStatus::Running {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.crash().await?;
    let spans = collector.trace(id, |spans| find(spans, "invoke", "/slow").is_some()).await;
    let invoke = find(&spans, "invoke", "/slow").unwrap();
    assert_eq!(attribute(invoke, "emet.replay"), "true", "its beginning was replayed");
    Ok(())
}
