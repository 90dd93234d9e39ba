//! Spans and metrics of commits and host calls.

use emet_oplog::CallKind;
use emet_storage::Append;
use emet_telemetry::metrics::Timer;
use emet_telemetry::metrics::list::{COMMIT_ENTRIES, COMMIT_SECONDS, COMMITS, HOST_CALLS};
use emet_telemetry::span;
use tracing::Span;

/// Counts an append; its time is measured until the answer is dropped.
pub(super) fn commit(append: &Append) -> (Span, Timer<'static>) {
    COMMITS.inc();
    COMMIT_ENTRIES.observe_count(append.records.len());
    (span!("commit", entries = append.records.len()), COMMIT_SECONDS.start())
}

/// Counts a host call that is executed. Calls that reach out of the worker have a span; the others
/// are too many and too short.
pub(super) fn live_call(name: &'static str, kind: CallKind) -> Span {
    HOST_CALLS.inc(index(kind));
    match kind {
        CallKind::ReadLocal | CallKind::WriteLocal => Span::none(),
        CallKind::ReadRemote | CallKind::WriteRemote | CallKind::WriteRemoteBatched => {
            span!("host_call", otel.name = name)
        }
    }
}

/// Counts a host call whose answer is in the log.
pub(super) fn replayed_call(kind: CallKind) {
    HOST_CALLS.inc(index(kind) + 1);
}

/// Where a kind stands in the list of the metric's members: live, and replayed behind it.
fn index(kind: CallKind) -> usize {
    match kind {
        CallKind::ReadLocal => 0,
        CallKind::WriteLocal => 2,
        CallKind::ReadRemote => 4,
        CallKind::WriteRemote => 6,
        CallKind::WriteRemoteBatched => 8,
    }
}
