//! The stored form of entries: protobuf, as `proto/emet/oplog/v1/oplog.proto` says.
//!
//! The only place where entries and their stored form meet.

use crate::entry::*;
use bytes::Bytes;
use emet_model::{ComponentId, IdempotencyKey, RetryPolicy, Timestamp, WorkerId};
use prost::Message;
use std::borrow::Cow;
use std::time::Duration;
use uuid::Uuid;
use wire::entry::Kind as W;

/// Generated from the protobuf text.
#[allow(missing_docs, clippy::all, unreachable_pub, reason = "generated code")]
pub(crate) mod wire {
    include!(concat!(env!("OUT_DIR"), "/emet.oplog.v1.rs"));
}

/// Why bytes are not an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Not protobuf of this message.
    #[error("not an oplog entry: {0}")]
    Malformed(String),
    /// Written by a newer version, or damaged.
    #[error("oplog entry lacks a known {0}")]
    Missing(&'static str),
}

/// Encodes an entry.
pub fn encode(entry: &Entry) -> Bytes {
    let wire = wire::Entry { timestamp_ms: entry.timestamp.0, kind: Some(to_wire(&entry.kind)) };
    Bytes::from(wire.encode_to_vec())
}

/// Decodes an entry; the entry shares the given bytes where it can.
pub fn decode(bytes: Bytes) -> Result<Entry, CodecError> {
    let wire = wire::Entry::decode(bytes).map_err(|e| CodecError::Malformed(e.to_string()))?;
    let kind = from_wire(wire.kind.ok_or(CodecError::Missing("kind"))?)?;
    Ok(Entry { timestamp: Timestamp(wire.timestamp_ms), kind })
}

fn to_wire(kind: &EntryKind) -> W {
    let empty = wire::Empty {};
    match kind {
        EntryKind::Create(c) => W::Create(create_to_wire(c)),
        EntryKind::HostCall(c) => W::HostCall(wire::HostCall {
            function: c.function.to_string(),
            kind: call_kind_to_wire(c.kind).into(),
            begin: c.begin.unwrap_or(0),
            request: Some(payload_to_wire(&c.request)),
            response: Some(payload_to_wire(&c.response)),
        }),
        EntryKind::Invoked(i) => {
            W::Invoked(wire::Invoked { invocation: Some(invocation_to_wire(i)) })
        }
        EntryKind::Completed { response, consumed_fuel } => W::Completed(wire::Completed {
            response: Some(payload_to_wire(response)),
            consumed_fuel: *consumed_fuel,
        }),
        EntryKind::Suspend { calls } => W::Suspend(wire::Suspend { calls: *calls }),
        EntryKind::Error(f) => W::Error(failure_to_wire(f)),
        EntryKind::NoOp => W::NoOp(empty),
        EntryKind::Jump { start, end } => W::Jump(wire::Region { start: *start, end: *end }),
        EntryKind::Interrupted => W::Interrupted(empty),
        EntryKind::Exited => W::Exited(empty),
        EntryKind::ChangeRetryPolicy(p) => W::ChangeRetryPolicy(policy_to_wire(p)),
        EntryKind::ChangePersistenceLevel(l) => W::ChangePersistenceLevel(level_number(*l)),
        EntryKind::BeginAtomicRegion => W::BeginAtomicRegion(empty),
        EntryKind::EndAtomicRegion { begin } => W::EndAtomicRegion(wire::Index { index: *begin }),
        EntryKind::BeginRemoteWrite => W::BeginRemoteWrite(empty),
        EntryKind::EndRemoteWrite { begin } => W::EndRemoteWrite(wire::Index { index: *begin }),
        EntryKind::PendingInvocation(i) => W::PendingInvocation(invocation_to_wire(i)),
        EntryKind::PendingManualUpdate { target } => W::PendingManualUpdate(*target),
        EntryKind::PendingUpdate { target, snapshot } => W::PendingUpdate(wire::PendingUpdate {
            target_version: *target,
            snapshot: snapshot.as_ref().map(payload_to_wire),
        }),
        EntryKind::SuccessfulUpdate { target, component_size, initial_memory } => {
            W::SuccessfulUpdate(wire::SuccessfulUpdate {
                target_version: *target,
                component_size: *component_size,
                initial_memory: *initial_memory,
            })
        }
        EntryKind::FailedUpdate { target, details } => W::FailedUpdate(wire::FailedUpdate {
            target_version: *target,
            details: details.clone(),
        }),
        EntryKind::GrowMemory(delta) => W::GrowMemory(*delta),
        EntryKind::CreateResource(id) => W::CreateResource(*id),
        EntryKind::DropResource(id) => W::DropResource(*id),
        EntryKind::DescribeResource { id, name, parameters } => {
            W::DescribeResource(wire::DescribeResource {
                id: *id,
                name: name.clone(),
                parameters: parameters.clone(),
            })
        }
        EntryKind::Log { level, context, message } => W::Log(wire::Log {
            level: log_level_number(*level),
            context: context.clone(),
            message: message.clone(),
        }),
        EntryKind::Restart => W::Restart(empty),
        EntryKind::Revert { start, end } => W::Revert(wire::Region { start: *start, end: *end }),
        EntryKind::CancelInvocation(key) => W::CancelInvocation(key.0.clone()),
        EntryKind::Resume => W::Resume(empty),
        EntryKind::StartSpan { span_id, parent, attributes } => W::StartSpan(wire::StartSpan {
            span_id: span_id.clone(),
            parent: parent.clone(),
            attributes: variables_to_wire(attributes),
        }),
        EntryKind::FinishSpan { span_id } => W::FinishSpan(span_id.clone()),
        EntryKind::SetSpanAttribute { span_id, key, value } => {
            W::SetSpanAttribute(wire::SetSpanAttribute {
                span_id: span_id.clone(),
                key: key.clone(),
                value: value.clone(),
            })
        }
    }
}

fn from_wire(kind: W) -> Result<EntryKind, CodecError> {
    Ok(match kind {
        W::Create(c) => EntryKind::Create(Box::new(create_from_wire(c)?)),
        W::HostCall(c) => EntryKind::HostCall(HostCall {
            kind: call_kind_from_wire(c.kind())?,
            function: Cow::Owned(c.function),
            begin: (c.begin != 0).then_some(c.begin),
            request: payload_from_wire(c.request)?,
            response: payload_from_wire(c.response)?,
        }),
        W::Invoked(i) => EntryKind::Invoked(invocation_from_wire(
            i.invocation.ok_or(CodecError::Missing("invocation"))?,
        )?),
        W::Completed(c) => EntryKind::Completed {
            response: payload_from_wire(c.response)?,
            consumed_fuel: c.consumed_fuel,
        },
        W::Suspend(s) => EntryKind::Suspend { calls: s.calls },
        W::Error(f) => EntryKind::Error(failure_from_wire(f)),
        W::NoOp(_) => EntryKind::NoOp,
        W::Jump(r) => EntryKind::Jump { start: r.start, end: r.end },
        W::Interrupted(_) => EntryKind::Interrupted,
        W::Exited(_) => EntryKind::Exited,
        W::ChangeRetryPolicy(p) => EntryKind::ChangeRetryPolicy(policy_from_wire(p)),
        W::ChangePersistenceLevel(n) => EntryKind::ChangePersistenceLevel(
            level_from_number(n).ok_or(CodecError::Missing("persistence level"))?,
        ),
        W::BeginAtomicRegion(_) => EntryKind::BeginAtomicRegion,
        W::EndAtomicRegion(i) => EntryKind::EndAtomicRegion { begin: i.index },
        W::BeginRemoteWrite(_) => EntryKind::BeginRemoteWrite,
        W::EndRemoteWrite(i) => EntryKind::EndRemoteWrite { begin: i.index },
        W::PendingInvocation(i) => EntryKind::PendingInvocation(invocation_from_wire(i)?),
        W::PendingManualUpdate(target) => EntryKind::PendingManualUpdate { target },
        W::PendingUpdate(u) => EntryKind::PendingUpdate {
            target: u.target_version,
            snapshot: u.snapshot.map(|p| payload_from_wire(Some(p))).transpose()?,
        },
        W::SuccessfulUpdate(u) => EntryKind::SuccessfulUpdate {
            target: u.target_version,
            component_size: u.component_size,
            initial_memory: u.initial_memory,
        },
        W::FailedUpdate(u) => {
            EntryKind::FailedUpdate { target: u.target_version, details: u.details }
        }
        W::GrowMemory(delta) => EntryKind::GrowMemory(delta),
        W::CreateResource(id) => EntryKind::CreateResource(id),
        W::DropResource(id) => EntryKind::DropResource(id),
        W::DescribeResource(d) => {
            EntryKind::DescribeResource { id: d.id, name: d.name, parameters: d.parameters }
        }
        W::Log(l) => EntryKind::Log {
            level: log_level_from_number(l.level).ok_or(CodecError::Missing("log level"))?,
            context: l.context,
            message: l.message,
        },
        W::Restart(_) => EntryKind::Restart,
        W::Revert(r) => EntryKind::Revert { start: r.start, end: r.end },
        W::CancelInvocation(key) => EntryKind::CancelInvocation(IdempotencyKey(key)),
        W::Resume(_) => EntryKind::Resume,
        W::StartSpan(s) => EntryKind::StartSpan {
            span_id: s.span_id,
            parent: s.parent,
            attributes: variables_from_wire(s.attributes),
        },
        W::FinishSpan(span_id) => EntryKind::FinishSpan { span_id },
        W::SetSpanAttribute(s) => {
            EntryKind::SetSpanAttribute { span_id: s.span_id, key: s.key, value: s.value }
        }
    })
}

pub(crate) fn payload_to_wire(payload: &Payload) -> wire::Payload {
    let place = match payload {
        Payload::Inline(bytes) => wire::payload::Place::Inline(bytes.clone()),
        Payload::External { sha256, size } => wire::payload::Place::External(wire::External {
            sha256: Bytes::copy_from_slice(sha256),
            size: *size,
        }),
    };
    wire::Payload { place: Some(place) }
}

pub(crate) fn payload_from_wire(payload: Option<wire::Payload>) -> Result<Payload, CodecError> {
    match payload.and_then(|p| p.place) {
        None => Ok(Payload::empty()),
        Some(wire::payload::Place::Inline(bytes)) => Ok(Payload::Inline(bytes)),
        Some(wire::payload::Place::External(e)) => {
            let sha256 =
                e.sha256.as_ref().try_into().map_err(|_| CodecError::Missing("payload hash"))?;
            Ok(Payload::External { sha256, size: e.size })
        }
    }
}

fn worker_to_wire(worker: &WorkerId) -> wire::WorkerId {
    wire::WorkerId {
        component: Bytes::copy_from_slice(worker.component_id.0.as_bytes()),
        name: worker.worker_name.clone(),
    }
}

fn worker_from_wire(worker: wire::WorkerId) -> Result<WorkerId, CodecError> {
    let uuid =
        Uuid::from_slice(&worker.component).map_err(|_| CodecError::Missing("component id"))?;
    Ok(WorkerId::new(ComponentId(uuid), worker.name))
}

fn variables_to_wire(pairs: &[(String, String)]) -> Vec<wire::Variable> {
    pairs
        .iter()
        .map(|(name, value)| wire::Variable { name: name.clone(), value: value.clone() })
        .collect()
}

fn variables_from_wire(variables: Vec<wire::Variable>) -> Vec<(String, String)> {
    variables.into_iter().map(|v| (v.name, v.value)).collect()
}

pub(crate) fn create_to_wire(create: &Create) -> wire::Create {
    wire::Create {
        worker: Some(worker_to_wire(&create.worker_id)),
        component_version: create.component_version,
        args: create.args.clone(),
        env: variables_to_wire(&create.env),
        parent: create.parent.as_ref().map(worker_to_wire),
        component_size: create.component_size,
        initial_memory: create.initial_memory,
    }
}

pub(crate) fn create_from_wire(create: wire::Create) -> Result<Create, CodecError> {
    Ok(Create {
        worker_id: worker_from_wire(create.worker.ok_or(CodecError::Missing("worker id"))?)?,
        component_version: create.component_version,
        args: create.args,
        env: variables_from_wire(create.env),
        parent: create.parent.map(worker_from_wire).transpose()?,
        component_size: create.component_size,
        initial_memory: create.initial_memory,
    })
}

pub(crate) fn invocation_to_wire(invocation: &Invocation) -> wire::Invocation {
    wire::Invocation {
        idempotency_key: invocation.key.0.clone(),
        function: invocation.function.clone(),
        parameters: Some(payload_to_wire(&invocation.parameters)),
        trace: variables_to_wire(&invocation.trace),
    }
}

pub(crate) fn invocation_from_wire(invocation: wire::Invocation) -> Result<Invocation, CodecError> {
    Ok(Invocation {
        key: IdempotencyKey(invocation.idempotency_key),
        function: invocation.function,
        parameters: payload_from_wire(invocation.parameters)?,
        trace: variables_from_wire(invocation.trace),
    })
}

pub(crate) fn failure_to_wire(failure: &Failure) -> wire::Failure {
    let kind = match failure.kind {
        FailureKind::Unknown => wire::FailureKind::Unknown,
        FailureKind::InvalidRequest => wire::FailureKind::InvalidRequest,
        FailureKind::StackOverflow => wire::FailureKind::StackOverflow,
        FailureKind::OutOfMemory => wire::FailureKind::OutOfMemory,
        FailureKind::Diverged => wire::FailureKind::Diverged,
    };
    wire::Failure {
        kind: kind.into(),
        message: failure.message.clone(),
        attempt: failure.attempt,
        retry_from: failure.retry_from,
        retriable: failure.retriable,
    }
}

pub(crate) fn failure_from_wire(failure: wire::Failure) -> Failure {
    let kind = match failure.kind() {
        wire::FailureKind::Unknown => FailureKind::Unknown,
        wire::FailureKind::InvalidRequest => FailureKind::InvalidRequest,
        wire::FailureKind::StackOverflow => FailureKind::StackOverflow,
        wire::FailureKind::OutOfMemory => FailureKind::OutOfMemory,
        wire::FailureKind::Diverged => FailureKind::Diverged,
    };
    Failure {
        kind,
        message: failure.message,
        attempt: failure.attempt,
        retry_from: failure.retry_from,
        retriable: failure.retriable,
    }
}

pub(crate) fn policy_to_wire(policy: &RetryPolicy) -> wire::RetryPolicy {
    let nanos = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
    wire::RetryPolicy {
        max_attempts: policy.max_attempts,
        min_delay_ns: nanos(policy.min_delay),
        max_delay_ns: nanos(policy.max_delay),
        multiplier: policy.multiplier,
        max_jitter_factor: policy.max_jitter_factor,
    }
}

pub(crate) fn policy_from_wire(policy: wire::RetryPolicy) -> RetryPolicy {
    RetryPolicy {
        max_attempts: policy.max_attempts,
        min_delay: Duration::from_nanos(policy.min_delay_ns),
        max_delay: Duration::from_nanos(policy.max_delay_ns),
        multiplier: policy.multiplier,
        max_jitter_factor: policy.max_jitter_factor,
    }
}

fn call_kind_to_wire(kind: CallKind) -> wire::CallKind {
    match kind {
        CallKind::ReadLocal => wire::CallKind::ReadLocal,
        CallKind::WriteLocal => wire::CallKind::WriteLocal,
        CallKind::ReadRemote => wire::CallKind::ReadRemote,
        CallKind::WriteRemote => wire::CallKind::WriteRemote,
        CallKind::WriteRemoteBatched => wire::CallKind::WriteRemoteBatched,
    }
}

fn call_kind_from_wire(kind: wire::CallKind) -> Result<CallKind, CodecError> {
    Ok(match kind {
        wire::CallKind::ReadLocal => CallKind::ReadLocal,
        wire::CallKind::WriteLocal => CallKind::WriteLocal,
        wire::CallKind::ReadRemote => CallKind::ReadRemote,
        wire::CallKind::WriteRemote => CallKind::WriteRemote,
        wire::CallKind::WriteRemoteBatched => CallKind::WriteRemoteBatched,
    })
}

pub(crate) fn level_number(level: PersistenceLevel) -> u32 {
    match level {
        PersistenceLevel::Nothing => 0,
        PersistenceLevel::RemoteSideEffects => 1,
        PersistenceLevel::Smart => 2,
    }
}

pub(crate) fn level_from_number(number: u32) -> Option<PersistenceLevel> {
    Some(match number {
        0 => PersistenceLevel::Nothing,
        1 => PersistenceLevel::RemoteSideEffects,
        2 => PersistenceLevel::Smart,
        _ => return None,
    })
}

const LOG_LEVELS: [LogLevel; 8] = [
    LogLevel::Stdout,
    LogLevel::Stderr,
    LogLevel::Trace,
    LogLevel::Debug,
    LogLevel::Info,
    LogLevel::Warn,
    LogLevel::Error,
    LogLevel::Critical,
];

fn log_level_number(level: LogLevel) -> u32 {
    LOG_LEVELS.iter().zip(0..).find(|(l, _)| **l == level).map_or(0, |(_, n)| n)
}

fn log_level_from_number(number: u32) -> Option<LogLevel> {
    LOG_LEVELS.get(usize::try_from(number).ok()?).copied()
}
