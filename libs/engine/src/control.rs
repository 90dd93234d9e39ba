//! What requests from outside do to a worker in each status (guest spec 3.9).

use emet_model::WorkerStatus;

/// What an interrupt does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInterrupt {
    /// Nothing: there is nothing to interrupt.
    Ignore,
    /// The worker stops until it is resumed.
    Stop,
    /// The worker is rebuilt at once, as after a crash.
    Restart,
}

/// Decides what an interrupt does. A worker that waits is stopped whether or not it was to recover
/// immediately: it has nothing in memory that could crash.
pub fn on_interrupt(status: WorkerStatus, recover_immediately: bool) -> OnInterrupt {
    match status {
        WorkerStatus::Running if recover_immediately => OnInterrupt::Restart,
        WorkerStatus::Running | WorkerStatus::Suspended | WorkerStatus::Retrying => {
            OnInterrupt::Stop
        }
        WorkerStatus::Idle
        | WorkerStatus::Interrupted
        | WorkerStatus::Failed
        | WorkerStatus::Exited => OnInterrupt::Ignore,
    }
}

/// What a worker is woken by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The time that it waited for has come.
    Timer,
    /// A promise was completed, which somebody did on purpose.
    Promise,
    /// A call that it waited for has ended.
    Call,
}

/// Whether a worker goes on when it is woken. One that a user interrupted stays so when its time
/// comes (W6); a promise that is completed resumes it.
pub fn wakes(status: WorkerStatus, cause: Cause) -> bool {
    match status {
        WorkerStatus::Suspended => true,
        WorkerStatus::Interrupted => cause == Cause::Promise,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_executes_or_waits_is_interrupted() {
        use OnInterrupt::*;
        use WorkerStatus::*;
        for (status, plain, crash) in [
            (Running, Stop, Restart),
            (Suspended, Stop, Stop),
            (Retrying, Stop, Stop),
            (Idle, Ignore, Ignore),
            (Interrupted, Ignore, Ignore),
            (Failed, Ignore, Ignore),
            (Exited, Ignore, Ignore),
        ] {
            assert_eq!(
                (on_interrupt(status, false), on_interrupt(status, true)),
                (plain, crash),
                "{status}"
            );
        }
    }

    #[test]
    fn a_timer_does_not_undo_an_interrupt() {
        assert!(!wakes(WorkerStatus::Interrupted, Cause::Timer));
        assert!(wakes(WorkerStatus::Interrupted, Cause::Promise));
        assert!(wakes(WorkerStatus::Suspended, Cause::Timer));
        assert!(!wakes(WorkerStatus::Failed, Cause::Promise));
    }
}
