//! Enumeration of workers (docs/enumeration.md): the store lists logs by component in order of
//! creation; what is shown of a worker comes from memory, from its cached state, or from the log
//! entries that are newer than that. A page costs in proportion to the workers looked at.

use crate::executor::Shared;
use crate::metadata::metadata;
use emet_api::{Cursor, WorkerPage};
use emet_model::{ComponentId, WorkerError, WorkerFilter, WorkerId, WorkerMetadata};
use emet_runtime::log::{log_failure, read_shown};
use emet_storage::{Head, LogKey};

/// Logs looked at per step, at most and at least.
const MAX_STEP: usize = 256;
const MIN_STEP: usize = 16;
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
    // One more than asked for tells whether there is a further page. A step that finds little is
    // followed by a larger one: the filter is a rare one then.
    let mut step = count.saturating_add(1).clamp(MIN_STEP, MAX_STEP);
    loop {
        let logs = shared
            .log
            .list(*component.0.as_bytes(), after, step)
            .await
            .map_err(|e| log_failure(&e))?;
        let read = logs.len();
        for (key, head) in logs {
            if workers.len() == count {
                return Ok(WorkerPage {
                    workers,
                    cursor: Some(Cursor { cursor: after, layer: 0 }),
                });
            }
            after = head.sequence;
            let found = show(shared, component, key, &head).await?;
            workers.extend(found.filter(|w| filter.as_ref().is_none_or(|f| f.matches(w))));
        }
        if read < step {
            return Ok(WorkerPage { workers, cursor: None });
        }
        step = step.saturating_mul(2).min(MAX_STEP);
    }
}

async fn show(
    shared: &Shared,
    component: ComponentId,
    key: LogKey,
    head: &Head,
) -> Result<Option<WorkerMetadata>, WorkerError> {
    let worker = WorkerId::new(component, key.name);
    if let Some(live) = shared.live_metadata(&worker) {
        return Ok(Some(live));
    }
    let state = read_shown(shared.log.as_ref(), &worker, head).await?;
    // A log may be empty: fenced before its worker was made, or deleted meanwhile.
    Ok(state.create.is_some().then(|| metadata(&worker, &state)))
}
