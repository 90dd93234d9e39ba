//! Worker metadata from a folded log.

use emet_model::{WorkerId, WorkerMetadata, WorkerStatus};
use emet_oplog::WorkerState;

/// What the API shows of a worker, from its log alone.
pub(crate) fn metadata(worker: &WorkerId, state: &WorkerState) -> WorkerMetadata {
    let create = state.create.as_deref();
    WorkerMetadata {
        worker_id: worker.clone(),
        args: create.map(|c| c.args.clone()).unwrap_or_default(),
        env: create.map(|c| c.env.iter().cloned().collect()).unwrap_or_default(),
        status: state.status(),
        component_version: state.version,
        retry_count: retry_count(state),
        pending_invocation_count: state.pending.len() as u64,
        updates: state.updates(),
        created_at: state.created_at,
        last_error: state.last_error.as_ref().map(|e| e.failure.message.clone()),
        component_size: state.component_size,
        total_linear_memory_size: state.memory,
        owned_resources: state
            .resources
            .iter()
            .map(|(id, r)| (id.to_string(), r.clone()))
            .collect(),
        active_plugins: Vec::new(),
    }
}

fn retry_count(state: &WorkerState) -> u64 {
    match state.status() {
        WorkerStatus::Retrying | WorkerStatus::Failed | WorkerStatus::Running => {
            state.last_error.as_ref().map_or(0, |e| u64::from(e.failure.attempt))
        }
        _ => 0,
    }
}
