//! Enumeration of workers: the store lists logs by component in order of creation; what is shown
//! of a worker comes from memory, from its cached summary, or from its log where the summary is
//! behind. A page costs in proportion to the page.

use crate::executor::Shared;
use crate::metadata::metadata;
use emet_api::{Cursor, WorkerPage};
use emet_model::{ComponentId, WorkerError, WorkerFilter, WorkerId, WorkerMetadata};
use emet_runtime::log::log_failure;
use emet_storage::{Head, LogKey};

/// Logs looked at per step.
const STEP: usize = 256;
/// Most workers of one page (docs/limits.md).
const MAX_PAGE: u64 = 10_000;

/// A page of the workers of a component that fit a filter.
pub(crate) async fn list(
    shared: &Shared,
    component: ComponentId,
    filter: Option<WorkerFilter>,
    cursor: Option<Cursor>,
    count: u64,
) -> Result<WorkerPage, WorkerError> {
    let count = usize::try_from(count.clamp(1, MAX_PAGE)).unwrap_or(usize::MAX);
    let mut after = cursor.map_or(0, |c| c.cursor);
    let mut workers = Vec::new();
    loop {
        let logs = shared.log.list(*component.0.as_bytes(), after, STEP).await.map_err(|e| log_failure(&e))?;
        let read = logs.len();
        for (key, head) in logs {
            if workers.len() == count {
                return Ok(WorkerPage { workers, cursor: Some(Cursor { cursor: after, layer: 0 }) });
            }
            after = head.sequence;
            let found = show(shared, component, key, &head).await?;
            workers.extend(found.filter(|w| filter.as_ref().is_none_or(|f| f.matches(w))));
        }
        if read < STEP {
            return Ok(WorkerPage { workers, cursor: None });
        }
    }
}

async fn show(shared: &Shared, component: ComponentId, key: LogKey, head: &Head) -> Result<Option<WorkerMetadata>, WorkerError> {
    let worker = WorkerId::new(component, key.name);
    if let Some(live) = shared.live_metadata(&worker) {
        return Ok(Some(live));
    }
    let cached = head.summary.as_ref().filter(|s| s.index == head.last);
    if let Some(metadata) = cached.and_then(|s| serde_json::from_slice(&s.data).ok()) {
        return Ok(Some(metadata));
    }
    let (state, _) = shared.state(&worker).await?;
    Ok(state.create.is_some().then(|| metadata(&worker, &state)))
}
