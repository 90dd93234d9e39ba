//! Whether a failed attempt is followed by another one (guest spec 3.6).

use emet_model::RetryPolicy;
use emet_oplog::{Failure, FailureKind, WorkerState};
use std::time::Duration;

/// What follows a failed attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct AfterFailure {
    /// The failure as it is recorded.
    pub failure: Failure,
    /// Delay before the next attempt; none: the worker is Failed.
    pub retry_in: Option<Duration>,
}

/// Decides by the policy. Attempts count at one place of the log: an attempt that got further
/// than the one before starts counting anew, one that repeated an unfinished region does not.
pub fn after_failure(
    state: &WorkerState,
    kind: FailureKind,
    message: String,
    default: &RetryPolicy,
    random: f64,
) -> AfterFailure {
    let out_of_memory = RetryPolicy::out_of_memory();
    let policy = match kind {
        FailureKind::OutOfMemory => &out_of_memory,
        _ => state.retry_policy.as_ref().unwrap_or(default),
    };
    let failures = state.failures_here();
    let retriable = match kind {
        FailureKind::StackOverflow | FailureKind::InvalidRequest => false,
        FailureKind::OutOfMemory => true,
        FailureKind::Unknown | FailureKind::Diverged => failures < policy.max_attempts,
    };
    let attempt = failures.saturating_add(1);
    AfterFailure {
        failure: Failure { kind, message, attempt, retry_from: state.retry_from(), retriable },
        retry_in: retriable.then(|| policy.delay(attempt, random)),
    }
}
