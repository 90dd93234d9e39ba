//! What to do with an invocation that arrives (guest spec 3.7, law L6).

use emet_model::{IdempotencyKey, WorkerError, WorkerStatus};
use emet_oplog::{Finished, Outcome, QueuedWork, WorkerState};

/// What to do with an invocation that arrives.
#[derive(Clone, Debug, PartialEq)]
pub enum Admission {
    /// It was done before: answer with what is recorded there.
    Answer(Finished),
    /// It is being executed or waits in the queue: wait for the same result.
    Join,
    /// It is new: start or queue it.
    Enqueue,
    /// The worker takes no invocations.
    Refuse(WorkerError),
}

/// Decides by the key whether an invocation is new. A key that is being executed counts as known,
/// also after a restart, so that an invocation takes effect once.
///
/// An ephemeral worker has no state that a failure could have spoiled, so it takes invocations
/// after one.
pub fn admit(state: &WorkerState, key: &IdempotencyKey, ephemeral: bool) -> Admission {
    if let Some(finished) = state.results.get(key) {
        let failed = matches!(finished.outcome, Outcome::Failed(_));
        let healed = failed && is_current(state, key) && state.status() != WorkerStatus::Failed;
        return if healed { Admission::Join } else { Admission::Answer(*finished) };
    }
    let known = is_current(state, key) || is_queued(state, key);
    match state.status() {
        WorkerStatus::Failed | WorkerStatus::Exited if ephemeral => Admission::Enqueue,
        WorkerStatus::Failed => {
            let details =
                state.last_error.as_ref().map(|e| e.failure.message.clone()).unwrap_or_default();
            Admission::Refuse(WorkerError::PreviousInvocationFailed { details })
        }
        WorkerStatus::Exited => Admission::Refuse(WorkerError::PreviousInvocationExited),
        // Nothing goes on until somebody resumes it, so there is nothing to wait for (law L10).
        WorkerStatus::Interrupted if known => {
            Admission::Refuse(WorkerError::Interrupted { recover_immediately: false })
        }
        _ if known => Admission::Join,
        _ => Admission::Enqueue,
    }
}

fn is_current(state: &WorkerState, key: &IdempotencyKey) -> bool {
    state.current.as_ref().is_some_and(|c| c.key == *key)
}

fn is_queued(state: &WorkerState, key: &IdempotencyKey) -> bool {
    state.pending.iter().any(|p| matches!(&p.work, QueuedWork::Invocation(i) if i.key == *key))
}
