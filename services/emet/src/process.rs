//! What every process of Emet does alike: logs, traces, signals.

use anyhow::{Context, Result};

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
        let _sent_at_the_end = emet_telemetry::init(name, telemetry)?;
        role.await
    })
}

/// Gauges in the text format of Prometheus: name, help, value.
pub(crate) fn exposition(gauges: &[(&str, &str, u64)]) -> String {
    let lines = gauges.iter().map(|(name, help, value)| {
        format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n")
    });
    lines.collect()
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
