//! What a log adds up to: status, queue, results, version (law L5; guest spec 3.3).

use crate::{Create, Entry, EntryKind, Failure, Invocation, Payload, PersistenceLevel, Regions};
use emet_model::{
    ComponentVersion, IdempotencyKey, IndexedResource, OplogIndex, OwnedResource, RetryPolicy,
    Timestamp, UpdateRecord, WorkerStatus,
};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Where the result of an invocation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The entry at this index holds it.
    Completed(OplogIndex),
    /// The failure is at this index.
    Failed(OplogIndex),
    /// The guest exited at this index.
    Exited(OplogIndex),
}

impl Outcome {
    /// Index of the entry that holds it.
    pub fn index(self) -> OplogIndex {
        let (Self::Completed(index) | Self::Failed(index) | Self::Exited(index)) = self;
        index
    }
}

/// What became of a finished invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Index of its start, which tells the function.
    pub start: OplogIndex,
    /// Its result.
    pub outcome: Outcome,
}

/// The invocation that was started and has not returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// Its key.
    pub key: IdempotencyKey,
    /// Index of its start.
    pub index: OplogIndex,
    /// The function.
    pub function: String,
}

/// Work that waits for its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueuedWork {
    /// An invocation.
    Invocation(Invocation),
    /// A manual update to this version.
    ManualUpdate(ComponentVersion),
}

/// An element of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Index of the entry that accepted it.
    pub index: OplogIndex,
    /// When it was accepted.
    pub timestamp: Timestamp,
    /// What it is.
    pub work: QueuedWork,
}

/// An update that the next load applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingUpdate {
    /// Index of its entry.
    pub index: OplogIndex,
    /// When it was requested.
    pub timestamp: Timestamp,
    /// The version asked for.
    pub target: ComponentVersion,
    /// State saved by the old version; automatic updates have none.
    pub snapshot: Option<Payload>,
}

/// The snapshot that a worker's present state starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Index of the update entry; the history up to it is skipped.
    pub index: OplogIndex,
    /// The state.
    pub payload: Payload,
}

/// The failure that has not been overcome yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastError {
    /// Index of its entry.
    pub index: OplogIndex,
    /// The failure.
    pub failure: Failure,
}

/// A remote write that was announced and has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenWrite {
    /// Index of its announcement.
    pub begin: OplogIndex,
}

/// Everything that is derived from a worker's log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkerState {
    /// Index folded to.
    pub index: OplogIndex,
    /// How the worker came to be, and when; none for an empty log.
    pub create: Option<Box<Create>>,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Current component version.
    pub version: ComponentVersion,
    /// Size of its binary in bytes.
    pub component_size: u64,
    /// Linear memory in bytes.
    pub memory: u64,
    /// Queue, in order.
    pub pending: VecDeque<Pending>,
    /// Updates for the next loads, in order.
    pub pending_updates: VecDeque<PendingUpdate>,
    /// Updates applied or given up, in order.
    pub finished_updates: Vec<UpdateRecord>,
    /// Results by key; those at indexes up to `results_stored` may be missing.
    pub results: HashMap<IdempotencyKey, Finished>,
    /// Results up to this index are kept apart (docs/checkpoints.md), so that the state stays small.
    pub results_stored: OplogIndex,
    /// The invocation being executed.
    pub current: Option<Current>,
    /// Key of the latest started invocation.
    pub last_key: Option<IdempotencyKey>,
    /// Policy set by the guest.
    pub retry_policy: Option<RetryPolicy>,
    /// Level set by the guest.
    pub persistence: PersistenceLevel,
    /// Guest resources handed out.
    pub resources: BTreeMap<u64, OwnedResource>,
    /// Number of resources ever handed out, so the next id.
    pub next_resource: u64,
    /// The failure not overcome yet.
    pub last_error: Option<LastError>,
    /// Where the present state starts from.
    pub snapshot: Option<Snapshot>,
    /// Atomic regions that have not ended, outermost first.
    pub open_regions: Vec<OplogIndex>,
    /// Remote writes that have not ended.
    pub open_writes: Vec<OpenWrite>,
    /// Index of the last entry that is no hint and not skipped, or of a jump after it.
    pub last_effect: OplogIndex,
    /// What replay leaves out.
    pub skipped: Regions,
    /// The part of it that was taken back from outside.
    pub deleted: Regions,
    pub(crate) phase: Phase,
}

/// What the latest entries say about the execution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Active,
    Suspended,
    /// Suspended, and waiting for calls of other workers.
    Calling,
    Interrupted,
    Retrying,
    Failed,
    Exited,
}

impl WorkerState {
    /// The status that the log shows.
    pub fn status(&self) -> WorkerStatus {
        match self.phase {
            Phase::Suspended | Phase::Calling => WorkerStatus::Suspended,
            Phase::Interrupted => WorkerStatus::Interrupted,
            Phase::Retrying => WorkerStatus::Retrying,
            Phase::Failed => WorkerStatus::Failed,
            Phase::Exited => WorkerStatus::Exited,
            Phase::Active if self.current.is_some() => WorkerStatus::Running,
            Phase::Active => WorkerStatus::Idle,
        }
    }

    /// Whether the worker has something to do by itself, so that a restarted node must load it.
    pub fn is_unfinished(&self) -> bool {
        if !self.pending_updates.is_empty() && self.phase != Phase::Exited {
            return true;
        }
        match self.phase {
            Phase::Active => self.current.is_some() || !self.pending.is_empty(),
            Phase::Retrying | Phase::Calling => true,
            Phase::Suspended | Phase::Interrupted | Phase::Failed | Phase::Exited => false,
        }
    }

    /// Whether the worker is suspended and waits for calls of other workers.
    pub fn awaits_calls(&self) -> bool {
        self.phase == Phase::Calling
    }

    /// Forgets results up to an index, which are kept apart from now on.
    pub fn put_results_aside(&mut self, until: OplogIndex) {
        self.results.retain(|_, finished| finished.outcome.index() > until);
        self.results_stored = self.results_stored.max(until);
    }

    /// All updates in order of time, as the API shows them.
    pub fn updates(&self) -> Vec<UpdateRecord> {
        let queued = self.pending.iter().filter_map(|p| match p.work {
            QueuedWork::ManualUpdate(target) => Some((p.timestamp, target)),
            QueuedWork::Invocation(_) => None,
        });
        let pending = self.pending_updates.iter().map(|u| (u.timestamp, u.target)).chain(queued);
        let mut all = self.finished_updates.clone();
        all.extend(pending.map(|(timestamp, target_version)| UpdateRecord::PendingUpdate {
            timestamp,
            target_version,
        }));
        all.sort_by_key(UpdateRecord::timestamp);
        all
    }

    /// The place that attempts are counted by: the start of what a retry repeats.
    pub fn retry_from(&self) -> OplogIndex {
        let region = self.open_regions.first().copied();
        let write = self.open_writes.first().map(|w| w.begin);
        region.into_iter().chain(write).min().unwrap_or(self.last_effect)
    }

    /// Failures so far at the place where the worker is now.
    pub fn failures_here(&self) -> u32 {
        let here = self.retry_from();
        self.last_error
            .as_ref()
            .filter(|e| e.failure.retry_from == here)
            .map_or(0, |e| e.failure.attempt)
    }

    /// Folds one more entry. Entries come in order of their indexes, without gaps.
    fn apply(&mut self, index: OplogIndex, entry: &Entry) {
        assert_eq!(index, self.index + 1, "entries are folded in order");
        self.index = index;
        if !self.deleted.contains(index) {
            self.apply_queue(index, entry);
            // What is derived from the place in the log is different after each jump.
            if matches!(entry.kind, EntryKind::Jump { .. }) {
                self.last_effect = index;
            }
        }
        if !self.skipped.contains(index) {
            self.apply_execution(index, entry);
        }
    }

    /// What holds even if the entry lies in a jumped-over region: requests and their answers.
    fn apply_queue(&mut self, index: OplogIndex, entry: &Entry) {
        match &entry.kind {
            EntryKind::PendingInvocation(invocation) => {
                self.enqueue(index, entry.timestamp, QueuedWork::Invocation(invocation.clone()));
            }
            EntryKind::PendingManualUpdate { target } => {
                self.enqueue(index, entry.timestamp, QueuedWork::ManualUpdate(*target));
            }
            EntryKind::Invoked(i) => self.dequeue_invocation(&i.key),
            EntryKind::CancelInvocation(key) => self.dequeue_invocation(key),
            EntryKind::Completed { .. } => self.answer(Outcome::Completed(index)),
            EntryKind::Error(failure) => {
                // Attempts count also where a repeated region takes the failed one back.
                self.last_error = Some(LastError { index, failure: failure.clone() });
                if !failure.retriable {
                    self.answer(Outcome::Failed(index));
                }
            }
            EntryKind::Exited => self.answer(Outcome::Exited(index)),
            EntryKind::PendingUpdate { target, snapshot } => {
                self.request_update(index, entry.timestamp, *target, snapshot)
            }
            EntryKind::SuccessfulUpdate { target, component_size, initial_memory } => {
                self.finish_update(entry.timestamp, *target, *component_size, *initial_memory);
            }
            EntryKind::FailedUpdate { target, details } => {
                self.drop_update(*target);
                self.stay_failed();
                self.finished_updates.push(UpdateRecord::FailedUpdate {
                    timestamp: entry.timestamp,
                    target_version: *target,
                    details: details.clone(),
                });
            }
            _ => {}
        }
    }

    fn enqueue(&mut self, index: OplogIndex, timestamp: Timestamp, work: QueuedWork) {
        self.pending.push_back(Pending { index, timestamp, work });
    }

    fn dequeue_invocation(&mut self, key: &IdempotencyKey) {
        self.pending.retain(|p| !matches!(&p.work, QueuedWork::Invocation(i) if i.key == *key));
    }

    fn answer(&mut self, outcome: Outcome) {
        if let Some(current) = &self.current {
            self.results.insert(current.key.clone(), Finished { start: current.index, outcome });
        }
    }

    fn request_update(
        &mut self,
        index: OplogIndex,
        timestamp: Timestamp,
        target: ComponentVersion,
        snapshot: &Option<Payload>,
    ) {
        if snapshot.is_some() {
            self.drop_queued_update(target);
        }
        self.pending_updates.push_back(PendingUpdate {
            index,
            timestamp,
            target,
            snapshot: snapshot.clone(),
        });
        if self.phase == Phase::Failed {
            self.phase = Phase::Retrying;
        }
    }

    /// An update that was to heal a failed worker and did not: nothing is tried again.
    fn stay_failed(&mut self) {
        let final_error = self.last_error.as_ref().is_some_and(|e| !e.failure.retriable);
        if self.phase == Phase::Retrying && final_error {
            self.phase = Phase::Failed;
        }
    }

    fn drop_queued_update(&mut self, target: ComponentVersion) {
        let at = self.pending.iter().position(|p| p.work == QueuedWork::ManualUpdate(target));
        if let Some(at) = at {
            self.pending.remove(at);
        }
    }

    /// An update that failed was the first one to apply, or one still in the queue (no snapshot).
    fn drop_update(&mut self, target: ComponentVersion) {
        match self.pending_updates.iter().position(|u| u.target == target) {
            Some(at) => drop(self.pending_updates.remove(at)),
            None => self.drop_queued_update(target),
        }
    }

    fn finish_update(
        &mut self,
        timestamp: Timestamp,
        target: ComponentVersion,
        component_size: u64,
        initial_memory: u64,
    ) {
        let update = self.pending_updates.pop_front();
        if let Some((index, payload)) =
            update.and_then(|u| u.snapshot.map(|payload| (u.index, payload)))
        {
            self.skipped.add(2, index);
            self.snapshot = Some(Snapshot { index, payload });
            self.memory = initial_memory;
            self.retry_policy = None;
            self.persistence = PersistenceLevel::Smart;
            self.resources.clear();
            self.next_resource = 0;
            self.open_regions.clear();
            self.open_writes.clear();
            self.current = None;
        }
        self.last_error = None;
        self.phase = Phase::Active;
        self.version = target;
        self.component_size = component_size;
        self.finished_updates
            .push(UpdateRecord::SuccessfulUpdate { timestamp, target_version: target });
    }

    /// What a jumped-over region takes back: the course of the execution.
    fn apply_execution(&mut self, index: OplogIndex, entry: &Entry) {
        if !entry.is_hint() {
            self.last_effect = index;
            self.activate();
        }
        match &entry.kind {
            EntryKind::Create(create) => self.apply_create(entry.timestamp, create),
            EntryKind::Invoked(i) => self.start(index, i),
            EntryKind::Completed { .. } => self.complete(),
            EntryKind::Suspend { calls: false } => self.phase = Phase::Suspended,
            EntryKind::Suspend { calls: true } => self.phase = Phase::Calling,
            EntryKind::Interrupted => self.phase = Phase::Interrupted,
            EntryKind::Exited => self.phase = Phase::Exited,
            EntryKind::Resume => self.activate(),
            EntryKind::Restart => self.restart(),
            EntryKind::Error(failure) => {
                self.phase = if failure.retriable { Phase::Retrying } else { Phase::Failed };
            }
            EntryKind::ChangeRetryPolicy(policy) => self.retry_policy = Some(policy.clone()),
            EntryKind::ChangePersistenceLevel(level) => self.persistence = *level,
            EntryKind::BeginAtomicRegion => self.open_regions.push(index),
            EntryKind::EndAtomicRegion { begin } => self.open_regions.retain(|b| b < begin),
            EntryKind::BeginRemoteWrite => {
                self.open_writes.push(OpenWrite { begin: index });
            }
            EntryKind::EndRemoteWrite { begin } => self.open_writes.retain(|w| w.begin != *begin),
            EntryKind::GrowMemory(delta) => self.memory = self.memory.saturating_add(*delta),
            EntryKind::CreateResource(id) => self.create_resource(*id, entry.timestamp),
            EntryKind::DropResource(id) => drop(self.resources.remove(id)),
            EntryKind::DescribeResource { id, name, parameters } => {
                self.describe_resource(*id, name, parameters)
            }
            _ => {}
        }
    }

    fn apply_create(&mut self, timestamp: Timestamp, create: &Create) {
        self.created_at = timestamp;
        self.version = create.component_version;
        self.component_size = create.component_size;
        self.memory = create.initial_memory;
        self.create = Some(Box::new(create.clone()));
    }

    fn start(&mut self, index: OplogIndex, invocation: &Invocation) {
        self.last_key = Some(invocation.key.clone());
        self.current = Some(Current {
            key: invocation.key.clone(),
            index,
            function: invocation.function.clone(),
        });
    }

    fn complete(&mut self) {
        self.current = None;
        self.last_error = None;
    }

    fn activate(&mut self) {
        self.phase = Phase::Active;
    }

    fn restart(&mut self) {
        self.current = None;
        self.resources.clear();
        self.next_resource = 0;
        self.open_regions.clear();
        self.open_writes.clear();
        self.activate();
    }

    fn create_resource(&mut self, id: u64, created_at: Timestamp) {
        self.next_resource = self.next_resource.max(id.saturating_add(1));
        self.resources.insert(id, OwnedResource { created_at, indexed: None });
    }

    fn describe_resource(&mut self, id: u64, name: &str, parameters: &[String]) {
        if let Some(resource) = self.resources.get_mut(&id) {
            resource.indexed = Some(IndexedResource {
                resource_name: name.to_owned(),
                resource_params: parameters.to_vec(),
            });
        }
    }
}

/// Folds a log. Regions take back what was folded before them, so a log with regions is folded
/// again with the regions known: the common log needs one pass, any other two.
#[derive(Clone, Debug, Default)]
pub struct Fold {
    state: WorkerState,
    /// The state that the fold started from, if that was not an empty log.
    base: Option<Box<WorkerState>>,
    /// Regions known from the pass before.
    known: Regions,
    found_skipped: Regions,
    found_deleted: Regions,
    /// Whether it goes on from a state whose regions are known only all together.
    resumed: bool,
}

impl Fold {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on from a state that was folded before.
    pub fn from_state(state: WorkerState) -> Self {
        let known = state.skipped.clone();
        Self {
            found_skipped: known.clone(),
            found_deleted: state.deleted.clone(),
            known,
            state,
            resumed: true,
            base: None,
        }
    }

    /// As [`Self::from_state`]; if the fold has to be run again, it starts from this state, unless
    /// entries up to it are taken back.
    pub fn from_base(base: WorkerState) -> Self {
        Self { base: Some(Box::new(base.clone())), ..Self::from_state(base) }
    }

    /// Forgets results up to an index, which are kept apart from now on.
    pub fn put_results_aside(&mut self, until: OplogIndex) {
        self.state.put_results_aside(until);
    }

    /// Takes a result in again that was kept apart.
    pub fn recall(&mut self, key: IdempotencyKey, finished: Finished) {
        self.state.results.entry(key).or_insert(finished);
    }

    /// Folds one more entry.
    pub fn apply(&mut self, index: OplogIndex, entry: &Entry) {
        match entry.kind {
            EntryKind::Jump { start, end } if !self.found_deleted.contains(index) => {
                self.found_skipped.add(start, end)
            }
            EntryKind::Revert { start, end } => {
                self.found_skipped.add(start, end);
                self.found_deleted.add(start, end);
            }
            _ => {}
        }
        self.state.apply(index, entry);
    }

    /// The state folded so far. A region met in this pass has not taken effect in it.
    pub fn state(&self) -> &WorkerState {
        &self.state
    }

    /// Whether this pass knew all regions that it met, so that they have taken effect.
    pub fn is_complete(&self) -> bool {
        self.found_skipped.iter().all(|(s, e)| self.known.covers(s, e))
            && self.found_deleted.iter().all(|(s, e)| self.state.deleted.covers(s, e))
    }

    /// The state, if this pass knew all regions that it met; otherwise the fold to run again, over
    /// the entries after its state.
    #[allow(clippy::result_large_err, reason = "a fold is little more than the state")]
    pub fn finish(self) -> Result<WorkerState, Fold> {
        if self.is_complete() {
            return Ok(self.state);
        }
        let base = self.base.filter(|base| {
            self.found_skipped.until(base.index) == base.skipped.until(base.index)
                && self.found_deleted.until(base.index) == base.deleted.until(base.index)
        });
        if self.resumed && base.is_none() {
            // What the state leaves out because of a snapshot must not be left out from the start.
            return Err(Fold::new());
        }
        let start = base.as_ref().map_or_else(WorkerState::default, |base| (**base).clone());
        let state = WorkerState {
            skipped: self.found_skipped.clone(),
            deleted: self.found_deleted.clone(),
            ..start
        };
        Err(Fold {
            state,
            resumed: base.is_some(),
            base,
            known: self.found_skipped.clone(),
            found_skipped: self.found_skipped,
            found_deleted: self.found_deleted,
        })
    }
}
