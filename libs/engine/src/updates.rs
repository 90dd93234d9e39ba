//! Whether a requested update is accepted (guest spec 6.1).

use emet_model::{ComponentType, ComponentVersion, UpdateMode, WorkerError, WorkerStatus};
use emet_oplog::{QueuedWork, WorkerState};

/// Refuses updates that make no sense; the reason is what the caller sees. `component_type` is that
/// of the worker's present version.
pub fn check_update(
    state: &WorkerState,
    mode: UpdateMode,
    target: ComponentVersion,
    component_type: ComponentType,
) -> Result<(), WorkerError> {
    if component_type == ComponentType::Ephemeral {
        return Err(WorkerError::invalid("Ephemeral workers cannot be updated"));
    }
    if state.version == target {
        return Err(WorkerError::invalid("Worker is already at the target version"));
    }
    let same = match mode {
        UpdateMode::Automatic => {
            state.pending_updates.iter().any(|u| u.target == target && u.snapshot.is_none())
        }
        UpdateMode::Manual => {
            state.pending.iter().any(|p| p.work == QueuedWork::ManualUpdate(target))
        }
    };
    if same {
        return Err(WorkerError::invalid("The same update is already in progress"));
    }
    if mode == UpdateMode::Manual && state.status() == WorkerStatus::Failed {
        let details =
            state.last_error.as_ref().map(|e| e.failure.message.clone()).unwrap_or_default();
        return Err(WorkerError::PreviousInvocationFailed { details });
    }
    Ok(())
}

/// Whether an accepted update has no effect: a worker that has exited never runs again.
pub fn updates_in_vain(state: &WorkerState) -> bool {
    state.status() == WorkerStatus::Exited
}
