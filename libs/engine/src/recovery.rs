//! How a worker is rebuilt from its log, and what it does next.

use emet_model::{ComponentVersion, OplogIndex, WorkerStatus};
use emet_oplog::{OpenWrite, PendingUpdate, QueuedWork, Regions, Snapshot, WorkerState};

/// What to do with a worker whose instance is ready and whose log is replayed.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Start the first element of the queue.
    Start(QueuedWork),
    /// Wait for a request.
    Wait,
}

/// Decides what a worker does that executes nothing.
pub fn next(state: &WorkerState) -> Next {
    match state.status() {
        WorkerStatus::Failed | WorkerStatus::Exited | WorkerStatus::Interrupted => Next::Wait,
        _ => state.pending.front().map_or(Next::Wait, |p| Next::Start(p.work.clone())),
    }
}

/// How to rebuild a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Component version to instantiate.
    pub version: ComponentVersion,
    /// The update that this load applies.
    pub update: Option<PendingUpdate>,
    /// State to load into the instance before anything is replayed.
    pub snapshot: Option<Snapshot>,
    /// What replay leaves out.
    pub skipped: Regions,
}

/// Plans a load: the first pending update decides the version; a snapshot, whether of that update
/// or of the latest successful one, replaces the history before it (guest spec 6.2, 6.3).
pub fn load_plan(state: &WorkerState) -> Load {
    let update = state.pending_updates.front().cloned();
    let mut skipped = state.skipped.clone();
    let mut snapshot = state.snapshot.clone();
    if let Some(PendingUpdate { index, snapshot: Some(payload), .. }) = &update {
        skipped.add(2, *index);
        snapshot = Some(Snapshot { index: *index, payload: payload.clone() });
    }
    Load { version: update.as_ref().map_or(state.version, |u| u.target), update, snapshot, skipped }
}

/// Whether a load can start from a checkpoint that was taken when the log added up to `then`, and
/// replay only what follows: nothing up to it has been taken back since, it starts from the same
/// snapshot, and nothing that has not ended yet began before it.
pub fn fits(state: &WorkerState, plan: &Load, then: &WorkerState) -> bool {
    let last = then.index;
    let same_history = state.skipped.until(last) == then.skipped.until(last)
        && state.deleted.until(last) == then.deleted.until(last);
    let open = state
        .open_regions
        .iter()
        .copied()
        .chain(state.open_writes.iter().map(|write| write.begin))
        .min();
    plan.update.is_none()
        && plan.version == then.version
        && plan.snapshot == then.snapshot
        && last <= state.index
        && same_history
        && open.is_none_or(|begin| begin > last)
}

/// What to do at the recorded announcement of a remote write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterAnnouncement {
    /// It ended: replay what was recorded.
    Replay,
    /// It did not end and may be repeated: replay what was recorded of it, then do it again.
    Resume,
    /// It did not end and must not be repeated.
    Refuse,
}

/// The look-ahead rule of guest spec 2.10 (in its repaired form): an announced write whose end is
/// recorded is replayed, whatever else was recorded in between. One that did not end is resumed
/// where it stopped, so what was recorded beside it need not be taken back.
pub fn after_announcement(
    open: &[OpenWrite],
    begin: OplogIndex,
    idempotent: bool,
) -> AfterAnnouncement {
    match open.iter().any(|w| w.begin == begin) {
        false => AfterAnnouncement::Replay,
        true if idempotent => AfterAnnouncement::Resume,
        true => AfterAnnouncement::Refuse,
    }
}
