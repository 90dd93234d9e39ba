//! Enumeration of workers (docs/enumeration.md): the store lists logs by component in order of
//! creation; what is shown of a worker comes from memory, from its cached state, or from the log
//! entries that are newer than that. A page costs in proportion to the workers looked at.

use crate::executor::Shared;
use crate::metadata::metadata;
use emet_api::{Cursor, WorkerPage};
use emet_model::{ComponentId, WorkerError, WorkerFilter, WorkerId, WorkerMetadata};
use emet_runtime::log::log_failure;
use emet_storage::{Head, LogKey};
use std::collections::HashMap;

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
    precise: bool,
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
        let elsewhere = match precise {
            true => live_elsewhere(shared, component, &logs).await,
            false => HashMap::new(),
        };
        for (key, head) in logs {
            if workers.len() == count {
                return Ok(WorkerPage {
                    workers,
                    cursor: Some(Cursor { cursor: after, layer: 0 }),
                });
            }
            after = head.sequence;
            let found = match elsewhere.get(&key.name) {
                Some(live) => Some(live.clone()),
                None => show(shared, component, key, &head).await?,
            };
            workers.extend(found.filter(|w| filter.as_ref().is_none_or(|f| f.matches(w))));
        }
        if read < step {
            return Ok(WorkerPage { workers, cursor: None });
        }
        step = step.saturating_mul(2).min(MAX_STEP);
    }
}

/// Asks the owners of workers that are not this executor's what they have in memory: that one is
/// executing right now may not be in its log yet. One call per other executor and step.
async fn live_elsewhere(
    shared: &Shared,
    component: ComponentId,
    logs: &[(LogKey, Head)],
) -> HashMap<String, WorkerMetadata> {
    let own = |name: &str| shared.ownership.epoch(&WorkerId::new(component, name)).is_ok();
    let names = logs.iter().map(|(key, _)| key.name.clone()).filter(|name| !own(name));
    let names: Vec<String> = names.collect();
    if names.is_empty() {
        return HashMap::new();
    }
    let live = match shared.node.workers() {
        Ok(workers) => workers.live(component, names).await,
        Err(_) => Ok(Vec::new()),
    };
    // What cannot be asked is shown as its log says.
    let live = live
        .inspect_err(|error| tracing::warn!(%error, "an enumeration cannot ask all executors"))
        .unwrap_or_default();
    live.into_iter().map(|metadata| (metadata.worker_id.worker_name.clone(), metadata)).collect()
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
    let state = match shared.logs.shown(&worker, head).await {
        // One worker whose log cannot be used must not hide the others (law L8).
        Err(error @ WorkerError::FailedToResumeWorker { .. }) => {
            tracing::error!(%worker, %error, "a worker cannot be shown");
            return Ok(None);
        }
        state => state?,
    };
    // A log may be empty: fenced before its worker was made, or deleted meanwhile.
    Ok(state.create.is_some().then(|| metadata(&worker, &state)))
}
