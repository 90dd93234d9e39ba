//! The entries of an oplog (guest spec 2.2).

use bytes::Bytes;
use emet_model::{ComponentVersion, IdempotencyKey, OplogIndex, RetryPolicy, Timestamp, WorkerId};
use std::borrow::Cow;

/// Payloads up to this size are part of their entry; larger ones are objects of the blob store.
pub const MAX_INLINE_PAYLOAD: usize = 64 * 1024;

/// An encoded value (docs/format/values.md), in the entry or beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The bytes.
    Inline(Bytes),
    /// An object of the blob store with this content.
    External {
        /// SHA-256 of the content.
        sha256: [u8; 32],
        /// Its size in bytes.
        size: u64,
    },
}

impl Payload {
    /// Nothing.
    pub fn empty() -> Self {
        Self::Inline(Bytes::new())
    }
}

/// What a host call does to the world (guest spec 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// Reads local state: clock, random numbers, environment.
    ReadLocal,
    /// Changes local state.
    WriteLocal,
    /// Reads external state.
    ReadRemote,
    /// Changes external state.
    WriteRemote,
    /// One call of several that together change external state.
    WriteRemoteBatched,
}

/// One finished host call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCall {
    /// The recorded name, part of the format: `interface::function` in most cases.
    pub function: Cow<'static, str>,
    /// What it does.
    pub kind: CallKind,
    /// The call's id: index of the entry that announced it.
    pub begin: Option<OplogIndex>,
    /// Encoded input.
    pub request: Payload,
    /// Encoded output.
    pub response: Payload,
}

/// A call of an exported function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Its key.
    pub key: IdempotencyKey,
    /// Full name of the function.
    pub function: String,
    /// Encoded tuple of the parameters.
    pub parameters: Payload,
    /// Trace context of the caller.
    pub trace: Vec<(String, String)>,
}

/// How a worker came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create {
    /// Its identity.
    pub worker_id: WorkerId,
    /// Its first component version.
    pub component_version: ComponentVersion,
    /// Command line arguments.
    pub args: Vec<String>,
    /// Environment without the variables that the host adds.
    pub env: Vec<(String, String)>,
    /// The worker that created it.
    pub parent: Option<WorkerId>,
    /// Size of the component binary in bytes.
    pub component_size: u64,
    /// Initial linear memory in bytes.
    pub initial_memory: u64,
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// A trap or a host error.
    Unknown,
    /// A request that makes no sense.
    InvalidRequest,
    /// The guest's stack is exhausted: never retried.
    StackOverflow,
    /// No memory for the worker: always retried.
    OutOfMemory,
    /// Replay found something other than what was recorded.
    Diverged,
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Class of the failure.
    pub kind: FailureKind,
    /// What happened, with what was written to stderr.
    pub message: String,
    /// Number of the attempt at this place, from 1.
    pub attempt: u32,
    /// The place: attempts count while it stays the same.
    pub retry_from: OplogIndex,
    /// Whether another attempt follows.
    pub retriable: bool,
}

/// How much is recorded (guest spec 2.11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PersistenceLevel {
    /// Host calls are executed live every time.
    Nothing,
    /// Only calls that concern the outside are recorded.
    RemoteSideEffects,
    /// Everything is recorded.
    #[default]
    Smart,
}

/// Where a log line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the levels of wasi:logging and the two streams")]
pub enum LogLevel {
    Stdout,
    Stderr,
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
}

/// What happened. *Hints* (see [`Entry::is_hint`]) are skipped by replay.
#[derive(Clone, Debug, PartialEq)]
pub enum EntryKind {
    /// Index 1, and only there.
    Create(Box<Create>),
    /// A host call finished.
    HostCall(HostCall),
    /// An invocation starts.
    Invoked(Invocation),
    /// It returned.
    Completed {
        /// Encoded result.
        response: Payload,
        /// Fuel used.
        consumed_fuel: i64,
    },
    /// The instance was given up while waiting.
    Suspend {
        /// Whether it waits for calls of other workers, which are under way at the node where it
        /// ran: whoever takes the worker over has to let it go on, so that it makes them again.
        calls: bool,
    },
    /// An attempt failed.
    Error(Failure),
    /// A marker.
    NoOp,
    /// Replay leaves out the region (inclusive), which contains this entry.
    Jump {
        /// First index.
        start: OplogIndex,
        /// Last index.
        end: OplogIndex,
    },
    /// A user interrupted the worker.
    Interrupted,
    /// The guest called exit.
    Exited,
    /// The guest set a retry policy.
    ChangeRetryPolicy(RetryPolicy),
    /// The guest set a persistence level. A hint: replay takes the level from the guest, which may
    /// set none where it only reads back what a library of it recorded.
    ChangePersistenceLevel(PersistenceLevel),
    /// An atomic region starts; its index names it.
    BeginAtomicRegion,
    /// It ended.
    EndAtomicRegion {
        /// Its name.
        begin: OplogIndex,
    },
    /// A remote write is about to start; its index names it.
    BeginRemoteWrite,
    /// It ended.
    EndRemoteWrite {
        /// Its name.
        begin: OplogIndex,
    },
    /// An invocation was accepted while the worker could not start it.
    PendingInvocation(Invocation),
    /// A manual update was accepted; it takes its turn in the queue.
    PendingManualUpdate {
        /// The version asked for.
        target: ComponentVersion,
    },
    /// An update to apply at the next load.
    PendingUpdate {
        /// The version asked for.
        target: ComponentVersion,
        /// The state saved by the old version; automatic updates have none.
        snapshot: Option<Payload>,
    },
    /// The first pending update was applied.
    SuccessfulUpdate {
        /// The version reached.
        target: ComponentVersion,
        /// Size of its binary in bytes.
        component_size: u64,
        /// Its initial linear memory in bytes.
        initial_memory: u64,
    },
    /// The first pending update was given up.
    FailedUpdate {
        /// The version asked for.
        target: ComponentVersion,
        /// Why.
        details: Option<String>,
    },
    /// Linear memory grew by so many bytes.
    GrowMemory(u64),
    /// A guest resource was handed out.
    CreateResource(u64),
    /// A guest resource was taken back.
    DropResource(u64),
    /// A guest resource can be addressed by its constructor's arguments.
    DescribeResource {
        /// Its id.
        id: u64,
        /// Full name of the resource.
        name: String,
        /// Canonical texts of the arguments.
        parameters: Vec<String>,
    },
    /// Output of the guest.
    Log {
        /// Where it comes from.
        level: LogLevel,
        /// Context given by the guest.
        context: String,
        /// The message.
        message: String,
    },
    /// An ephemeral worker was loaded again: history is forgotten.
    Restart,
    /// The region (inclusive) was taken back from outside.
    Revert {
        /// First index.
        start: OplogIndex,
        /// Last index.
        end: OplogIndex,
    },
    /// A queued invocation was cancelled.
    CancelInvocation(IdempotencyKey),
    /// An interrupted or suspended worker goes on.
    Resume,
    /// A span starts.
    StartSpan {
        /// Its id.
        span_id: String,
        /// The span around it.
        parent: String,
        /// Attributes.
        attributes: Vec<(String, String)>,
    },
    /// A span ended.
    FinishSpan {
        /// Its id.
        span_id: String,
    },
    /// An attribute of a span.
    SetSpanAttribute {
        /// Its id.
        span_id: String,
        /// Name.
        key: String,
        /// Value.
        value: String,
    },
}

/// One entry: what happened, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When it was added.
    pub timestamp: Timestamp,
    /// What happened.
    pub kind: EntryKind,
}

impl Entry {
    /// Whether replay skips the entry.
    pub fn is_hint(&self) -> bool {
        !matches!(
            self.kind,
            EntryKind::Create(_)
                | EntryKind::HostCall(_)
                | EntryKind::Invoked(_)
                | EntryKind::Completed { .. }
                | EntryKind::NoOp
                | EntryKind::Jump { .. }
                | EntryKind::ChangeRetryPolicy(_)
                | EntryKind::BeginAtomicRegion
                | EntryKind::EndAtomicRegion { .. }
                | EntryKind::BeginRemoteWrite
                | EntryKind::EndRemoteWrite { .. }
                | EntryKind::StartSpan { .. }
                | EntryKind::FinishSpan { .. }
                | EntryKind::SetSpanAttribute { .. }
        )
    }

    /// Name of the kind, as the public API spells it.
    pub fn name(&self) -> &'static str {
        match &self.kind {
            EntryKind::Create(_) => "Create",
            EntryKind::HostCall(_) => "ImportedFunctionInvoked",
            EntryKind::Invoked(_) => "ExportedFunctionInvoked",
            EntryKind::Completed { .. } => "ExportedFunctionCompleted",
            EntryKind::Suspend { .. } => "Suspend",
            EntryKind::Error(_) => "Error",
            EntryKind::NoOp => "NoOp",
            EntryKind::Jump { .. } => "Jump",
            EntryKind::Interrupted => "Interrupted",
            EntryKind::Exited => "Exited",
            EntryKind::ChangeRetryPolicy(_) => "ChangeRetryPolicy",
            EntryKind::ChangePersistenceLevel(_) => "ChangePersistenceLevel",
            EntryKind::BeginAtomicRegion => "BeginAtomicRegion",
            EntryKind::EndAtomicRegion { .. } => "EndAtomicRegion",
            EntryKind::BeginRemoteWrite => "BeginRemoteWrite",
            EntryKind::EndRemoteWrite { .. } => "EndRemoteWrite",
            EntryKind::PendingInvocation(_) | EntryKind::PendingManualUpdate { .. } => {
                "PendingWorkerInvocation"
            }
            EntryKind::PendingUpdate { .. } => "PendingUpdate",
            EntryKind::SuccessfulUpdate { .. } => "SuccessfulUpdate",
            EntryKind::FailedUpdate { .. } => "FailedUpdate",
            EntryKind::GrowMemory(_) => "GrowMemory",
            EntryKind::CreateResource(_) => "CreateResource",
            EntryKind::DropResource(_) => "DropResource",
            EntryKind::DescribeResource { .. } => "DescribeResource",
            EntryKind::Log { .. } => "Log",
            EntryKind::Restart => "Restart",
            EntryKind::Revert { .. } => "Revert",
            EntryKind::CancelInvocation(_) => "CancelInvocation",
            EntryKind::Resume => "Resume",
            EntryKind::StartSpan { .. } => "StartSpan",
            EntryKind::FinishSpan { .. } => "FinishSpan",
            EntryKind::SetSpanAttribute { .. } => "SetSpanAttribute",
        }
    }
}
