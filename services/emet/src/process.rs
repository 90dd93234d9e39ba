//! What every process of Emet does alike: credentials, logs, traces, signals.

use anyhow::{Context, Result};
use emet_config::{PeerOptions, PeerSecurity, Release};

/// Runs a role until it ends.
pub(crate) fn run(
    name: &str,
    telemetry: &emet_telemetry::Options,
    role: impl Future<Output = Result<()>>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        // Dropped last, so that the spans of the end are sent as well.
        let version = Release::current().to_string();
        let _sent_at_the_end = emet_telemetry::init(name, &version, telemetry)?;
        if name != "server" && !emet_api::grpc::security().is_on() {
            tracing::warn!(
                "calls between services are neither authenticated nor encrypted: see --peer-secret-file"
            );
        }
        role.await
    })
}

/// Sets the credentials between this process and the others of a cluster. Before it listens or
/// connects.
pub(crate) fn secure(peers: &PeerOptions) -> Result<()> {
    emet_api::grpc::secure(PeerSecurity::load(peers)?);
    Ok(())
}

/// Resolves when the process is told to end.
pub(crate) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupted = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminated) => {
            tokio::select! {
                _ = interrupted => {}
                _ = terminated.recv() => {}
            }
        }
        Err(_) => drop(interrupted.await),
    }
}
