//! The stored form of a folded state: part of a checkpoint, so that a long log need not be folded
//! from its start. Results are not part of it: they are kept beside it, to be read one by one.

use crate::codec::{
    CodecError, create_from_wire, create_to_wire, failure_from_wire, failure_to_wire, invocation_from_wire, invocation_to_wire,
    level_from_number, level_number, payload_from_wire, payload_to_wire, policy_from_wire, policy_to_wire, wire,
};
use crate::state::Phase;
use crate::{Current, LastError, OpenWrite, Pending, PendingUpdate, QueuedWork, Regions, Snapshot, WorkerState};
use bytes::Bytes;
use emet_model::{IdempotencyKey, IndexedResource, OplogIndex, OwnedResource, Timestamp, UpdateRecord};
use prost::Message;
use std::collections::HashMap;

const PHASES: [Phase; 6] = [Phase::Active, Phase::Suspended, Phase::Interrupted, Phase::Retrying, Phase::Failed, Phase::Exited];

/// Encodes a state without its results, which are kept beside it up to this index.
pub fn encode_state(state: &WorkerState, results_stored: OplogIndex) -> Vec<u8> {
    // Named one by one, so that a new field cannot be forgotten.
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
        results: _,
        results_stored: _,
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
    wire::WorkerState {
        index: *index,
        create: create.as_deref().map(create_to_wire),
        created_at_ms: created_at.0,
        version: *version,
        component_size: *component_size,
        memory: *memory,
        pending: pending.iter().map(pending_to_wire).collect(),
        pending_updates: pending_updates.iter().map(update_to_wire).collect(),
        finished_updates: finished_updates.iter().map(finished_to_wire).collect(),
        results_stored,
        current: current.as_ref().map(|c| wire::Current { key: c.key.0.clone(), index: c.index, function: c.function.clone() }),
        last_key: last_key.as_ref().map(|key| key.0.clone()),
        retry_policy: retry_policy.as_ref().map(policy_to_wire),
        persistence: level_number(*persistence),
        resources: resources.iter().map(|(id, resource)| resource_to_wire(*id, resource)).collect(),
        next_resource: *next_resource,
        last_error_index: last_error.as_ref().map_or(0, |e| e.index),
        last_error: last_error.as_ref().map(|e| failure_to_wire(&e.failure)),
        snapshot_index: snapshot.as_ref().map_or(0, |s| s.index),
        snapshot: snapshot.as_ref().map(|s| payload_to_wire(&s.payload)),
        open_regions: open_regions.clone(),
        open_writes: open_writes.iter().map(|write| write.begin).collect(),
        last_effect: *last_effect,
        skipped: regions_to_wire(skipped),
        deleted: regions_to_wire(deleted),
        phase: (0..).zip(PHASES).find(|(_, p)| p == phase).map_or(0, |(number, _)| number),
    }
    .encode_to_vec()
}

/// Decodes a state; it has no results.
pub fn decode_state(bytes: Bytes) -> Result<WorkerState, CodecError> {
    let w = wire::WorkerState::decode(bytes).map_err(|e| CodecError::Malformed(e.to_string()))?;
    let phase = usize::try_from(w.phase).ok().and_then(|number| PHASES.get(number)).copied();
    let snapshot = w.snapshot.map(|payload| payload_from_wire(Some(payload))).transpose()?;
    Ok(WorkerState {
        index: w.index,
        create: w.create.map(create_from_wire).transpose()?.map(Box::new),
        created_at: Timestamp(w.created_at_ms),
        version: w.version,
        component_size: w.component_size,
        memory: w.memory,
        pending: w.pending.into_iter().map(pending_from_wire).collect::<Result<_, _>>()?,
        pending_updates: w.pending_updates.into_iter().map(update_from_wire).collect::<Result<_, _>>()?,
        finished_updates: w.finished_updates.into_iter().map(finished_from_wire).collect(),
        results: HashMap::new(),
        results_stored: w.results_stored,
        current: w.current.map(|c| Current { key: IdempotencyKey(c.key), index: c.index, function: c.function }),
        last_key: w.last_key.map(IdempotencyKey),
        retry_policy: w.retry_policy.map(policy_from_wire),
        persistence: level_from_number(w.persistence).ok_or(CodecError::Missing("persistence level"))?,
        resources: w.resources.into_iter().map(resource_from_wire).collect(),
        next_resource: w.next_resource,
        last_error: w.last_error.map(|failure| LastError { index: w.last_error_index, failure: failure_from_wire(failure) }),
        snapshot: snapshot.map(|payload| Snapshot { index: w.snapshot_index, payload }),
        open_regions: w.open_regions,
        open_writes: w.open_writes.into_iter().map(|begin| OpenWrite { begin }).collect(),
        last_effect: w.last_effect,
        skipped: regions_from_wire(&w.skipped),
        deleted: regions_from_wire(&w.deleted),
        phase: phase.ok_or(CodecError::Missing("phase"))?,
    })
}

fn pending_to_wire(pending: &Pending) -> wire::Pending {
    let work = match &pending.work {
        QueuedWork::Invocation(invocation) => wire::pending::Work::Invocation(invocation_to_wire(invocation)),
        QueuedWork::ManualUpdate(target) => wire::pending::Work::ManualUpdate(*target),
    };
    wire::Pending { index: pending.index, timestamp_ms: pending.timestamp.0, work: Some(work) }
}

fn pending_from_wire(pending: wire::Pending) -> Result<Pending, CodecError> {
    let work = match pending.work.ok_or(CodecError::Missing("queued work"))? {
        wire::pending::Work::Invocation(invocation) => QueuedWork::Invocation(invocation_from_wire(invocation)?),
        wire::pending::Work::ManualUpdate(target) => QueuedWork::ManualUpdate(target),
    };
    Ok(Pending { index: pending.index, timestamp: Timestamp(pending.timestamp_ms), work })
}

fn update_to_wire(update: &PendingUpdate) -> wire::RequestedUpdate {
    wire::RequestedUpdate {
        index: update.index,
        timestamp_ms: update.timestamp.0,
        target: update.target,
        snapshot: update.snapshot.as_ref().map(payload_to_wire),
    }
}

fn update_from_wire(update: wire::RequestedUpdate) -> Result<PendingUpdate, CodecError> {
    let snapshot = update.snapshot.map(|payload| payload_from_wire(Some(payload))).transpose()?;
    Ok(PendingUpdate { index: update.index, timestamp: Timestamp(update.timestamp_ms), target: update.target, snapshot })
}

fn finished_to_wire(record: &UpdateRecord) -> wire::FinishedUpdate {
    let (timestamp, target, failed, details) = match record {
        UpdateRecord::FailedUpdate { timestamp, target_version, details } => (timestamp, target_version, true, details.clone()),
        UpdateRecord::SuccessfulUpdate { timestamp, target_version }
        | UpdateRecord::PendingUpdate { timestamp, target_version } => (timestamp, target_version, false, None),
    };
    wire::FinishedUpdate { timestamp_ms: timestamp.0, target: *target, failed, details }
}

fn finished_from_wire(update: wire::FinishedUpdate) -> UpdateRecord {
    let (timestamp, target_version) = (Timestamp(update.timestamp_ms), update.target);
    match update.failed {
        true => UpdateRecord::FailedUpdate { timestamp, target_version, details: update.details },
        false => UpdateRecord::SuccessfulUpdate { timestamp, target_version },
    }
}

fn resource_to_wire(id: u64, resource: &OwnedResource) -> wire::Resource {
    let indexed = resource.indexed.as_ref();
    wire::Resource {
        id,
        created_at_ms: resource.created_at.0,
        name: indexed.map(|i| i.resource_name.clone()),
        parameters: indexed.map(|i| i.resource_params.clone()).unwrap_or_default(),
    }
}

fn resource_from_wire(resource: wire::Resource) -> (u64, OwnedResource) {
    let parameters = resource.parameters;
    let indexed = resource.name.map(|resource_name| IndexedResource { resource_name, resource_params: parameters });
    (resource.id, OwnedResource { created_at: Timestamp(resource.created_at_ms), indexed })
}

fn regions_to_wire(regions: &Regions) -> Vec<wire::Region> {
    regions.iter().map(|(start, end)| wire::Region { start, end }).collect()
}

fn regions_from_wire(wire: &[wire::Region]) -> Regions {
    let mut regions = Regions::default();
    wire.iter().for_each(|region| regions.add(region.start, region.end));
    regions
}
