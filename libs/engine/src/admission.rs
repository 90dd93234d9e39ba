//! What to do with an invocation that arrives (guest spec 3.7, law L6).

use emet_model::{IdempotencyKey, WorkerError, WorkerStatus};
use emet_oplog::{Outcome, QueuedWork, WorkerState};

/// What to do with an invocation that arrives.
#[derive(Clone, Debug, PartialEq)]
pub enum Admission {
    /// It was done before: answer with what is recorded there.
    Answer(Outcome),
    /// It is being executed or waits in the queue: wait for the same result.
    Join,
    /// It is new: start or queue it.
    Enqueue,
    /// The worker takes no invocations.
    Refuse(WorkerError),
}

/// Decides by the key whether an invocation is new. A key that is being executed counts as known,
/// also after a restart, so that an invocation takes effect once.
pub fn admit(state: &WorkerState, key: &IdempotencyKey) -> Admission {
    if let Some(outcome) = state.results.get(key) {
        let healed = matches!(outcome, Outcome::Failed(_)) && is_current(state, key) && state.status() != WorkerStatus::Failed;
        return if healed { Admission::Join } else { Admission::Answer(*outcome) };
    }
    match state.status() {
        WorkerStatus::Failed => {
            let details = state.last_error.as_ref().map(|e| e.failure.message.clone()).unwrap_or_default();
            Admission::Refuse(WorkerError::PreviousInvocationFailed { details })
        }
        WorkerStatus::Exited => Admission::Refuse(WorkerError::PreviousInvocationExited),
        _ if is_current(state, key) || is_queued(state, key) => Admission::Join,
        _ => Admission::Enqueue,
    }
}

fn is_current(state: &WorkerState, key: &IdempotencyKey) -> bool {
    state.current.as_ref().is_some_and(|c| c.key == *key)
}

fn is_queued(state: &WorkerState, key: &IdempotencyKey) -> bool {
    state.pending.iter().any(|p| matches!(&p.work, QueuedWork::Invocation(i) if i.key == *key))
}
