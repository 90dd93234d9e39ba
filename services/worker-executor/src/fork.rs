//! Making a worker from the beginning of another one's history (guest spec 4.10).

use crate::executor::Shared;
use crate::retention::dropped;
use emet_model::{IdempotencyKey, OplogIndex, WorkerError, WorkerId};
use emet_oplog::{Entry, EntryKind, Fold, Payload, QueuedWork, WorkerState, codec};
use emet_runtime::log::{Payloads, log_failure, log_key, now, read_entries};
use emet_shard_map::Epoch;
use emet_storage::Append;

/// Entries copied at a time.
const CHUNK: usize = 1024;

/// Copies the entries up to the cut-off, and the payloads that they refer to.
pub(crate) async fn fork(
    shared: &Shared,
    source: WorkerId,
    target: WorkerId,
    cut_off: OplogIndex,
) -> Result<(), WorkerError> {
    if cut_off < 2 {
        return Err(WorkerError::invalid("oplog_index_cut_off must be at least 2"));
    }
    let epoch = shared.ownership.epoch(&target)?;
    let exists = shared
        .log
        .head(&log_key(&target))
        .await
        .map_err(|e| log_failure(&e))?
        .is_some_and(|h| h.last > 0);
    if exists || shared.live_metadata(&target).is_some() {
        return Err(WorkerError::WorkerAlreadyExists { worker_id: target });
    }
    let head = shared.log.head(&log_key(&source)).await.map_err(|e| log_failure(&e))?;
    let last = head.ok_or_else(|| WorkerError::WorkerNotFound { worker_id: source.clone() })?.last;
    if cut_off > last {
        return Err(WorkerError::invalid(format!(
            "cannot fork at index {cut_off}: the oplog has {last} entries"
        )));
    }
    let mut entries = Vec::new();
    let mut next = 1;
    while next <= cut_off {
        let count = usize::try_from(cut_off - next + 1).unwrap_or(CHUNK).min(CHUNK);
        let read = read_entries(shared.log.as_ref(), &source, next, count).await?;
        // They may be dropped while they are read.
        if let Some((first, _)) = read.first().filter(|(first, _)| *first > next) {
            return Err(WorkerError::invalid(format!(
                "cannot fork {source}: a fork has the whole history, and {}",
                dropped(*first)
            )));
        }
        next = read.last().map_or(cut_off + 1, |(index, _)| index + 1);
        entries.extend(read);
    }
    store(shared, &source, target, epoch, entries).await
}

async fn store(
    shared: &Shared,
    source: &WorkerId,
    target: WorkerId,
    epoch: Epoch,
    entries: Vec<(OplogIndex, Entry)>,
) -> Result<(), WorkerError> {
    let from = Payloads::new(shared.node.blobs.clone(), source);
    let to = Payloads::new(shared.node.blobs.clone(), &target);
    let mut fold = Fold::new();
    let mut records = Vec::with_capacity(entries.len());
    for (index, mut entry) in entries {
        if let EntryKind::Create(create) = &mut entry.kind {
            create.worker_id = target.clone();
            create.parent = None;
        }
        for payload in payloads(&entry.kind) {
            to.store_bytes(from.load_bytes(payload).await?).await?;
        }
        fold.apply(index, &entry);
        records.push(codec::encode(&entry));
    }
    // What waits in the source's queue is the source's to do.
    for key in queued(fold.state()) {
        let entry = Entry { timestamp: now(), kind: EntryKind::CancelInvocation(key) };
        fold.apply(fold.state().index + 1, &entry);
        records.push(codec::encode(&entry));
    }
    let unfinished = fold.state().is_unfinished();
    let append = Append {
        key: log_key(&target),
        epoch,
        expected: 1,
        records,
        unfinished: Some(unfinished),
        summary: None,
    };
    shared.log.append(append).await.map_err(|e| log_failure(&e))
}

/// Keys of the invocations that were accepted and not started.
fn queued(state: &WorkerState) -> Vec<IdempotencyKey> {
    let invocations = state.pending.iter().filter_map(|pending| match &pending.work {
        QueuedWork::Invocation(invocation) => Some(invocation.key.clone()),
        QueuedWork::ManualUpdate(_) => None,
    });
    invocations.collect()
}

fn payloads(kind: &EntryKind) -> Vec<&Payload> {
    match kind {
        EntryKind::HostCall(call) => vec![&call.request, &call.response],
        EntryKind::Invoked(i) | EntryKind::PendingInvocation(i) => vec![&i.parameters],
        EntryKind::Completed { response, .. } => vec![response],
        EntryKind::PendingUpdate { snapshot, .. } => snapshot.iter().collect(),
        _ => Vec::new(),
    }
}
