//! The cached form of a folded log (law L5). It carries the index it was folded to, so that only
//! newer entries need be folded, and can be thrown away at any time.

use crate::codec::{self, CodecError, wire};
use crate::state::*;
use crate::{Invocation, Payload, Regions};
use bytes::Bytes;
use emet_model::{
    IdempotencyKey, IndexedResource, OplogIndex, OwnedResource, Timestamp, UpdateRecord,
};
use prost::Message;
use std::collections::HashMap;

/// First byte of a summary. To be raised when the fold of any entry changes, or the form: summaries
/// of other versions are ignored; but those in bases stand for entries that are no more, so this version
/// has to be read for good (docs/adr/0041-bases-outlive-releases.md).
const VERSION: u8 = 1;
/// Most results in a summary; a state with more is cached without them.
const MAX_RESULTS: usize = 1000;
/// Largest summary with everything in it, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// A cached state.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// What the entries up to its index add up to.
    pub state: WorkerState,
    /// Whether it is all of it. Otherwise results and parameters are left out: enough to show the
    /// worker, but not to run it.
    pub whole: bool,
}

/// Encodes a state: all of it where that is small, else what it takes to show the worker.
pub fn encode(state: &WorkerState) -> Bytes {
    if state.results.len() <= MAX_RESULTS {
        let whole = framed(&to_wire(state, true, true));
        if whole.len() <= MAX_BYTES {
            return whole;
        }
    }
    framed(&to_wire(state, false, false))
}

/// Encodes all of a state but its results, which are kept apart up to this index: so it stays small
/// however long the log is.
pub fn encode_without_results(state: &WorkerState, results_stored: OplogIndex) -> Bytes {
    framed(&wire::WorkerState { results_stored, ..to_wire(state, true, false) })
}

fn framed(state: &wire::WorkerState) -> Bytes {
    let mut out = Vec::with_capacity(1 + state.encoded_len());
    out.push(VERSION);
    out.extend(state.encode_to_vec());
    out.into()
}

/// Decodes a summary; none for one of another version.
pub fn decode(bytes: &Bytes) -> Result<Option<Summary>, CodecError> {
    if bytes.first() != Some(&VERSION) {
        return Ok(None);
    }
    let wire = wire::WorkerState::decode(bytes.slice(1..))
        .map_err(|e| CodecError::Malformed(e.to_string()))?;
    from_wire(wire).map(Some)
}

/// All fields are named here and in [`from_wire`], so that none can be forgotten.
fn to_wire(state: &WorkerState, whole: bool, with_results: bool) -> wire::WorkerState {
    let WorkerState {
        index,
        create,
        created_at,
        version,
        component_size,
        memory,
        pending,
        pending_updates,
        finished_updates,
        results,
        results_stored,
        current,
        last_key,
        retry_policy,
        persistence,
        resources,
        next_resource,
        last_error,
        snapshot,
        open_regions,
        open_writes,
        last_effect,
        skipped,
        deleted,
        phase,
    } = state;
    let results: Vec<_> =
        if with_results { results.iter().map(result_to_wire).collect() } else { Vec::new() };
    wire::WorkerState {
        index: *index,
        whole,
        create: create.as_deref().map(codec::create_to_wire),
        created_at_ms: created_at.0,
        version: *version,
        component_size: *component_size,
        memory: *memory,
        pending: pending.iter().map(|p| pending_to_wire(p, whole)).collect(),
        pending_updates: pending_updates.iter().map(|u| update_to_wire(u, whole)).collect(),
        finished_updates: finished_updates.iter().map(finished_to_wire).collect(),
        results,
        results_stored: *results_stored,
        current: current.as_ref().map(|c| wire::CurrentState {
            idempotency_key: c.key.0.clone(),
            index: c.index,
            function: c.function.clone(),
        }),
        last_key: last_key.as_ref().map(|k| k.0.clone()),
        retry_policy: retry_policy.as_ref().map(codec::policy_to_wire),
        persistence: codec::level_number(*persistence),
        resources: resources.iter().map(|(id, r)| resource_to_wire(*id, r)).collect(),
        next_resource: *next_resource,
        last_error: last_error.as_ref().map(|e| wire::LastErrorState {
            index: e.index,
            failure: Some(codec::failure_to_wire(&e.failure)),
        }),
        snapshot: snapshot.as_ref().filter(|_| whole).map(|s| wire::SnapshotState {
            index: s.index,
            payload: Some(codec::payload_to_wire(&s.payload)),
        }),
        open_regions: open_regions.clone(),
        open_writes: open_writes.iter().map(|w| w.begin).collect(),
        last_effect: *last_effect,
        skipped: regions_to_wire(skipped),
        deleted: regions_to_wire(deleted),
        phase: phase_number(*phase),
    }
}

fn from_wire(wire: wire::WorkerState) -> Result<Summary, CodecError> {
    let state = WorkerState {
        index: wire.index,
        create: wire.create.map(codec::create_from_wire).transpose()?.map(Box::new),
        created_at: Timestamp(wire.created_at_ms),
        version: wire.version,
        component_size: wire.component_size,
        memory: wire.memory,
        pending: wire.pending.into_iter().map(pending_from_wire).collect::<Result<_, _>>()?,
        pending_updates: wire
            .pending_updates
            .into_iter()
            .map(update_from_wire)
            .collect::<Result<_, _>>()?,
        finished_updates: wire.finished_updates.into_iter().map(finished_from_wire).collect(),
        results: wire
            .results
            .into_iter()
            .map(result_from_wire)
            .collect::<Result<HashMap<_, _>, _>>()?,
        results_stored: wire.results_stored,
        current: wire.current.map(|c| Current {
            key: IdempotencyKey(c.idempotency_key),
            index: c.index,
            function: c.function,
        }),
        last_key: wire.last_key.map(IdempotencyKey),
        retry_policy: wire.retry_policy.map(codec::policy_from_wire),
        persistence: codec::level_from_number(wire.persistence)
            .ok_or(CodecError::Missing("persistence level"))?,
        resources: wire.resources.into_iter().map(resource_from_wire).collect(),
        next_resource: wire.next_resource,
        last_error: wire.last_error.map(last_error_from_wire).transpose()?,
        snapshot: wire.snapshot.map(snapshot_from_wire).transpose()?,
        open_regions: wire.open_regions,
        open_writes: wire.open_writes.into_iter().map(|begin| OpenWrite { begin }).collect(),
        last_effect: wire.last_effect,
        skipped: regions_from_wire(wire.skipped),
        deleted: regions_from_wire(wire.deleted),
        phase: phase_from_number(wire.phase)?,
    };
    Ok(Summary { state, whole: wire.whole })
}

fn pending_to_wire(pending: &Pending, whole: bool) -> wire::QueuedState {
    use wire::queued_state::Work;
    let work = match &pending.work {
        QueuedWork::Invocation(invocation) if whole => {
            Work::Invocation(codec::invocation_to_wire(invocation))
        }
        QueuedWork::Invocation(invocation) => {
            Work::Invocation(codec::invocation_to_wire(&Invocation {
                parameters: Payload::empty(),
                ..invocation.clone()
            }))
        }
        QueuedWork::ManualUpdate(target) => Work::ManualUpdate(*target),
    };
    wire::QueuedState { index: pending.index, timestamp_ms: pending.timestamp.0, work: Some(work) }
}

fn pending_from_wire(pending: wire::QueuedState) -> Result<Pending, CodecError> {
    use wire::queued_state::Work;
    let work = match pending.work.ok_or(CodecError::Missing("queued work"))? {
        Work::Invocation(invocation) => {
            QueuedWork::Invocation(codec::invocation_from_wire(invocation)?)
        }
        Work::ManualUpdate(target) => QueuedWork::ManualUpdate(target),
    };
    Ok(Pending { index: pending.index, timestamp: Timestamp(pending.timestamp_ms), work })
}

fn update_to_wire(update: &PendingUpdate, whole: bool) -> wire::UpdateState {
    wire::UpdateState {
        index: update.index,
        timestamp_ms: update.timestamp.0,
        target_version: update.target,
        snapshot: update.snapshot.as_ref().filter(|_| whole).map(codec::payload_to_wire),
    }
}

fn update_from_wire(update: wire::UpdateState) -> Result<PendingUpdate, CodecError> {
    Ok(PendingUpdate {
        index: update.index,
        timestamp: Timestamp(update.timestamp_ms),
        target: update.target_version,
        snapshot: update.snapshot.map(|p| codec::payload_from_wire(Some(p))).transpose()?,
    })
}

fn finished_to_wire(update: &UpdateRecord) -> wire::FinishedUpdateState {
    let (timestamp, target_version, failed, details) = match update {
        UpdateRecord::FailedUpdate { timestamp, target_version, details } => {
            (timestamp, target_version, true, details.clone())
        }
        UpdateRecord::SuccessfulUpdate { timestamp, target_version }
        | UpdateRecord::PendingUpdate { timestamp, target_version } => {
            (timestamp, target_version, false, None)
        }
    };
    wire::FinishedUpdateState {
        timestamp_ms: timestamp.0,
        target_version: *target_version,
        failed,
        details,
    }
}

fn finished_from_wire(update: wire::FinishedUpdateState) -> UpdateRecord {
    let (timestamp, target_version) = (Timestamp(update.timestamp_ms), update.target_version);
    match update.failed {
        true => UpdateRecord::FailedUpdate { timestamp, target_version, details: update.details },
        false => UpdateRecord::SuccessfulUpdate { timestamp, target_version },
    }
}

fn result_to_wire((key, finished): (&IdempotencyKey, &Finished)) -> wire::ResultState {
    let (outcome, index) = match finished.outcome {
        Outcome::Completed(index) => (0, index),
        Outcome::Failed(index) => (1, index),
        Outcome::Exited(index) => (2, index),
    };
    wire::ResultState { idempotency_key: key.0.clone(), start: finished.start, outcome, index }
}

fn result_from_wire(result: wire::ResultState) -> Result<(IdempotencyKey, Finished), CodecError> {
    let outcome = match result.outcome {
        0 => Outcome::Completed(result.index),
        1 => Outcome::Failed(result.index),
        2 => Outcome::Exited(result.index),
        _ => return Err(CodecError::Missing("outcome")),
    };
    Ok((IdempotencyKey(result.idempotency_key), Finished { start: result.start, outcome }))
}

fn resource_to_wire(id: u64, resource: &OwnedResource) -> wire::ResourceState {
    let indexed = resource.indexed.as_ref();
    wire::ResourceState {
        id,
        created_at_ms: resource.created_at.0,
        indexed: indexed.is_some(),
        name: indexed.map(|i| i.resource_name.clone()).unwrap_or_default(),
        parameters: indexed.map(|i| i.resource_params.clone()).unwrap_or_default(),
    }
}

fn resource_from_wire(resource: wire::ResourceState) -> (u64, OwnedResource) {
    let indexed =
        IndexedResource { resource_name: resource.name, resource_params: resource.parameters };
    let created_at = Timestamp(resource.created_at_ms);
    (resource.id, OwnedResource { created_at, indexed: resource.indexed.then_some(indexed) })
}

fn last_error_from_wire(error: wire::LastErrorState) -> Result<LastError, CodecError> {
    let failure = error.failure.ok_or(CodecError::Missing("failure"))?;
    Ok(LastError { index: error.index, failure: codec::failure_from_wire(failure) })
}

fn snapshot_from_wire(snapshot: wire::SnapshotState) -> Result<Snapshot, CodecError> {
    Ok(Snapshot { index: snapshot.index, payload: codec::payload_from_wire(snapshot.payload)? })
}

fn regions_to_wire(regions: &Regions) -> Vec<wire::Region> {
    regions.iter().map(|(start, end)| wire::Region { start, end }).collect()
}

fn regions_from_wire(regions: Vec<wire::Region>) -> Regions {
    let mut out = Regions::default();
    regions.into_iter().for_each(|r| out.add(r.start, r.end));
    out
}

const PHASES: [Phase; 7] = [
    Phase::Active,
    Phase::Suspended,
    Phase::Interrupted,
    Phase::Retrying,
    Phase::Failed,
    Phase::Exited,
    Phase::Calling,
];

fn phase_number(phase: Phase) -> u32 {
    PHASES.iter().zip(0..).find(|(p, _)| **p == phase).map_or(0, |(_, n)| n)
}

fn phase_from_number(number: u32) -> Result<Phase, CodecError> {
    let phase = usize::try_from(number).ok().and_then(|n| PHASES.get(n));
    phase.copied().ok_or(CodecError::Missing("phase"))
}
