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

#[cfg(test)]
mod tests {
    use super::*;
    use emet_oplog::{Entry, EntryKind, Failure, FailureKind, Fold, Invocation, Payload};

    fn state(kinds: &[EntryKind]) -> WorkerState {
        let mut fold = Fold::new();
        for (kind, index) in kinds.iter().zip(1..) {
            fold.apply(index, &Entry { timestamp: emet_model::Timestamp(0), kind: kind.clone() });
        }
        fold.finish().unwrap()
    }

    fn invocation(key: &str) -> Invocation {
        let (function, parameters) = ("f".to_owned(), Payload::empty());
        Invocation { key: IdempotencyKey(key.into()), function, parameters, trace: Vec::new() }
    }

    fn admitted(kinds: &[EntryKind], key: &str, ephemeral: bool) -> Admission {
        admit(&state(kinds), &IdempotencyKey(key.into()), ephemeral)
    }

    fn done() -> EntryKind {
        EntryKind::Completed { response: Payload::empty(), consumed_fuel: 0 }
    }

    fn failed(retriable: bool) -> EntryKind {
        let (kind, message) = (FailureKind::Unknown, "m".to_owned());
        EntryKind::Error(Failure { kind, message, attempt: 1, retry_from: 1, retriable })
    }

    /// Law L6: queued, executing, waiting for its next attempt, or done, a key is known.
    #[test]
    fn a_known_key_never_starts_anything() {
        let (a, b) =
            (EntryKind::Invoked(invocation("a")), EntryKind::PendingInvocation(invocation("b")));
        for more in [
            &[][..],
            &[EntryKind::Suspend { calls: false }],
            &[failed(true)],
            &[EntryKind::Log {
                level: emet_oplog::LogLevel::Stdout,
                context: String::new(),
                message: String::new(),
            }],
        ] {
            let log = [&[a.clone(), b.clone()], more].concat();
            assert_eq!(admitted(&log, "a", false), Admission::Join);
            assert_eq!(admitted(&log, "b", false), Admission::Join);
            assert_eq!(admitted(&log, "c", false), Admission::Enqueue, "W17: it queues");
        }
        let finished = Finished { start: 1, outcome: Outcome::Completed(2) };
        assert_eq!(admitted(&[a.clone(), done()], "a", false), Admission::Answer(finished));
        let finished = Finished { start: 1, outcome: Outcome::Failed(2) };
        assert_eq!(admitted(&[a, failed(false)], "a", false), Admission::Answer(finished));
    }

    #[test]
    fn a_worker_that_does_nothing_any_more_says_so() {
        let a = EntryKind::Invoked(invocation("a"));
        let interrupted =
            Admission::Refuse(WorkerError::Interrupted { recover_immediately: false });
        assert_eq!(admitted(&[a.clone(), EntryKind::Interrupted], "a", false), interrupted);
        assert_eq!(admitted(&[a.clone(), EntryKind::Interrupted], "b", false), Admission::Enqueue);
        let failed = [a.clone(), failed(false)];
        let details = "m".to_owned();
        let refused = Admission::Refuse(WorkerError::PreviousInvocationFailed { details });
        assert_eq!(admitted(&failed, "b", false), refused);
        assert_eq!(admitted(&failed, "b", true), Admission::Enqueue, "nothing is spoilt");
        let refused = Admission::Refuse(WorkerError::PreviousInvocationExited);
        assert_eq!(admitted(&[a, EntryKind::Exited], "b", false), refused);
    }
}
