//! Serving: gRPC with health and reflection, and the health check and metrics over HTTP.

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, Version, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use emet_api::grpc::DESCRIPTORS;
use emet_config::{HumanDuration, Release, ReleaseGuard};
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;

/// Calls on one connection at a time: executors are called by few processes, with many calls each.
const STREAMS: u32 = 16_384;
/// Silence after which a client is asked for a sign of life, and how long that may take.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Longest time that calls under way may take to end when the process stops, where no option says
/// it: streams between services never end by themselves.
const DRAIN: Duration = Duration::from_secs(5);
/// How long the processes behind a load balancer ask their callers to connect anew before they close
/// connections: a request that is on its way when its idle connection is closed would be lost.
const FAREWELL: Duration = Duration::from_secs(2);

/// Names what is not ready; nothing when all is well.
pub(crate) type Readiness = Arc<dyn Fn() -> Vec<String> + Send + Sync>;
/// The metrics in the Prometheus text format.
pub(crate) type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// Addresses that a role listens on.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct AdminArgs {
    /// Address of the health check and the metrics, over HTTP.
    #[arg(long, env = "EMET_ADMIN_LISTEN", default_value = "127.0.0.1:0")]
    admin_listen: SocketAddr,
}

/// How long a process that stops goes on for the sake of its callers.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct DrainArgs {
    /// How long requests under way may take to end when the process stops.
    #[arg(long, env = "EMET_DRAIN_WITHIN", default_value = "30s", value_name = "DURATION")]
    drain_within: HumanDuration,
}

impl DrainArgs {
    pub(crate) fn stopping(self) -> Stopping {
        Stopping { drain: self.drain_within.0, ..Stopping::new() }
    }
}

/// Listens on an address.
pub(crate) async fn listen(address: SocketAddr, flag: &str) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; choose another address with {flag}"))
}

/// A process that stops when it is told to, in order.
#[derive(Clone)]
pub(crate) struct Stopping {
    stop: watch::Sender<bool>,
    drain: Duration,
    farewell: Duration,
}

impl Stopping {
    pub(crate) fn new() -> Self {
        Self { stop: watch::channel(false).0, drain: DRAIN, farewell: Duration::ZERO }
    }

    /// Others go on answering: callers are sent to them first.
    pub(crate) fn among_others(self) -> Self {
        Self { farewell: FAREWELL, ..self }
    }

    /// Tells the servers to take no new connections, and to end.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.subscribe();
        async move {
            // An error: nobody can tell any more.
            drop(stop.wait_for(|stop| *stop).await);
        }
    }

    /// A future that is given up some time after the stop.
    async fn bounded<T>(&self, served: impl Future<Output = T>) -> Option<T> {
        let (stopped, drain) = (self.stopped(), self.drain);
        let late = async {
            stopped.await;
            tokio::time::sleep(drain).await;
        };
        tokio::select! {
            served = served => Some(served),
            () = late => None,
        }
    }
}

/// Serves gRPC until the stop, then lets calls under way end.
pub(crate) async fn grpc(
    listener: TcpListener,
    routes: Routes,
    readiness: Readiness,
    stopping: Stopping,
) -> Result<()> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let stopped = stopping.stopped();
    let reporting = tokio::spawn(async move {
        loop {
            let status = if readiness().is_empty() {
                ServingStatus::Serving
            } else {
                ServingStatus::NotServing
            };
            reporter.set_service_status("", status).await;
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    });
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .build_v1()
        .context("the descriptions of the services cannot be read")?;
    let security = emet_api::grpc::security();
    let server = security
        .server(Server::builder())?
        .tcp_nodelay(true)
        .max_concurrent_streams(Some(STREAMS))
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .initial_stream_window_size(Some(4 << 20))
        .initial_connection_window_size(Some(16 << 20))
        .layer(emet_telemetry::grpc::Counted)
        .layer(security.guard())
        .layer(ReleaseGuard::new(Release::current()))
        .add_routes(routes)
        .add_service(health)
        .add_service(reflection)
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            stopped,
        );
    let served = stopping.bounded(server).await;
    reporting.abort();
    served.transpose().context("the gRPC server failed").map(|_| ())
}

/// Serves the health check and the metrics until the stop.
pub(crate) async fn admin(
    args: &AdminArgs,
    readiness: Readiness,
    metrics: Metrics,
    stopping: &Stopping,
) -> Result<SocketAddr> {
    let listener = listen(args.admin_listen, "--admin-listen").await?;
    let address = listener.local_addr()?;
    let app = Router::new()
        .route("/healthcheck", get(move || std::future::ready(health(&readiness()))))
        .route("/metrics", get(move || std::future::ready(exposition(metrics()))));
    let (stopped, stopping) = (stopping.stopped(), stopping.clone());
    tokio::spawn(async move {
        stopping
            .bounded(axum::serve(listener, app).with_graceful_shutdown(stopped).into_future())
            .await
    });
    Ok(address)
}

/// Serves the REST API until the stop, then lets requests under way end.
pub(crate) async fn http(listener: TcpListener, app: Router, stopping: Stopping) -> Result<()> {
    let app = app.layer(middleware::from_fn_with_state(stopping.clone(), say_farewell));
    let (stopped, farewell) = (stopping.stopped(), stopping.farewell);
    let closing = async move {
        stopped.await;
        tokio::time::sleep(farewell).await;
    };
    let serve = axum::serve(listener, app).with_graceful_shutdown(closing);
    let served = stopping.bounded(serve.into_future()).await;
    served.transpose().context("the HTTP server failed").map(|_| ())
}

/// After the stop, answers end their connections.
async fn say_farewell(State(stopping): State<Stopping>, request: Request, next: Next) -> Response {
    let version = request.version();
    let mut response = next.run(request).await;
    // HTTP/2 has frames for it, which the server sends by itself.
    if version <= Version::HTTP_11 && *stopping.stop.borrow() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn health(missing: &[String]) -> Response {
    let (status, body) = match missing.is_empty() {
        true => (StatusCode::OK, serde_json::json!({})),
        false => {
            let error = format!("Not ready: {}", missing.join(", "));
            (
                StatusCode::SERVICE_UNAVAILABLE,
                serde_json::json!({"error": error, "notReady": missing}),
            )
        }
    };
    (status, [(header::CONTENT_TYPE, "application/json; charset=utf-8")], body.to_string())
        .into_response()
}

fn exposition(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// What is not ready, kept by whoever finds out, for checks that must not wait.
#[derive(Clone, Default)]
pub(crate) struct Missing(Arc<Mutex<Vec<String>>>);

impl Missing {
    pub(crate) fn set(&self, missing: Vec<String>) {
        *self.0.lock() = missing;
    }

    pub(crate) fn get(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}
