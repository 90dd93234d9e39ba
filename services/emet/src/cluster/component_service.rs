//! `emet component-service`: stores versions of components, and compiles them when they arrive.

use super::serving::{self, AdminArgs, DrainArgs};
use super::stores::StoreArgs;
use crate::{node, process};
use anyhow::Result;
use emet_api::grpc::ComponentsServer;
use emet_component_service::{ComponentService, Uploaded};
use emet_runtime::ComponentCache;
use emet_telemetry::health::Health;
use emet_telemetry::metrics::list::{COMPILATIONS, COMPILE_SECONDS, COMPILING};
use emet_worker_service::Limits;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// Options of a component service.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Address of the gRPC API.
    #[arg(long, env = "EMET_LISTEN", default_value = "127.0.0.1:9090")]
    listen: SocketAddr,
    #[command(flatten)]
    stores: StoreArgs,
    #[command(flatten)]
    drain: DrainArgs,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    security: emet_config::PeerOptions,
    #[command(flatten)]
    telemetry: emet_telemetry::Options,
}

/// Runs until it is told to stop.
pub(crate) fn run(args: &Args) -> Result<()> {
    process::secure(&args.security)?;
    process::run("component-service", &args.telemetry, serve(args))
}

async fn serve(args: &Args) -> Result<()> {
    let listener = serving::listen(args.listen, "--listen").await?;
    let health = Health::default();
    let stores = args.stores.open(&health).await?;
    let (components, uploads) = ComponentService::new(stores.kv.clone(), stores.blobs.clone());
    // It makes no instances: it compiles for those who do.
    let cache = node::component_cache(1, &stores, components.clone())?;
    tokio::spawn(compile(cache, uploads));
    let readiness: serving::Readiness = Arc::new(move || health.troubles());
    let stopping = args.drain.stopping();
    let admin = serving::admin(
        &args.admin,
        readiness.clone(),
        Arc::new(emet_telemetry::metrics::render),
        &stopping,
    )
    .await?;
    tracing::info!(
        "component service listens on {} (gRPC) and {admin} (health, metrics)",
        listener.local_addr()?
    );
    let routes = tonic::service::Routes::new(ComponentsServer::service(
        components,
        Limits::default().component_bytes,
    ));
    let served = tokio::spawn(serving::grpc(listener, routes, readiness, stopping.clone()));
    process::stop_signal().await;
    tracing::info!("stopping");
    stopping.stop();
    served.await?
}

/// Compiles uploads one after the other; what it makes is found in the blob store by everybody.
async fn compile(cache: ComponentCache, mut uploads: mpsc::UnboundedReceiver<Uploaded>) {
    while let Some(id) = uploads.recv().await {
        let (_compiling, started) = (COMPILING.hold(), Instant::now());
        let outcome = match cache.get(id).await {
            Ok(_) => {
                tracing::info!(component = %id, elapsed = ?started.elapsed(), "compiled");
                "done"
            }
            Err(error) => {
                tracing::warn!(component = %id, %error, "the component cannot be run");
                "failed"
            }
        };
        COMPILATIONS.with([outcome]).inc();
        COMPILE_SECONDS.record(started.elapsed());
    }
}
