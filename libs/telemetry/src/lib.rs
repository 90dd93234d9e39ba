//! Logs, traces and metrics of every process (docs/operations).
//!
//! * **Logs** go through `tracing` to standard error, as text or JSON.
//! * **Traces** are `tracing` spans made with [`span!`]. Without an OTLP endpoint their call sites
//!   are disabled for good when they are first met, so each costs one relaxed load. Contexts
//!   travel as W3C headers ([`trace`]), also through the oplog.
//! * **Metrics** are the statics of [`metrics::list`], read by `GET /metrics`.
//! * [`health`] keeps the outcome of probes, for `GET /healthcheck`.

pub mod grpc;
pub mod health;
mod init;
pub mod metrics;
pub mod trace;

pub use init::{Guard, LogFormat, Options, TelemetryError, init};
#[doc(hidden)]
pub use tracing;

/// A span of the trace of a request: `span!("load", worker = %id)`. A child of the current one.
#[macro_export]
macro_rules! span {
    ($name:expr $(, $($fields:tt)*)?) => {
        $crate::tracing::trace_span!(target: "emet_trace", $name $(, $($fields)*)?)
    };
}
