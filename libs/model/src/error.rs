//! The error union of the worker API (services spec 1.2).

use crate::{OplogIndex, PromiseId, VersionedComponentId, WorkerId};
use serde::{Deserialize, Serialize};

/// Why a request to a worker failed. The serde form is the `golemError` object of the API.
#[derive(Clone, Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum WorkerError {
    /// The request makes no sense for this worker.
    #[error("Invalid request: {details}")]
    InvalidRequest {
        /// What is wrong with it.
        details: String,
    },
    /// Explicit creation of a worker that exists.
    #[error("Worker already exists: {worker_id}")]
    WorkerAlreadyExists {
        /// The worker.
        worker_id: WorkerId,
    },
    /// No such worker, and the request does not create one.
    #[error("Worker not found: {worker_id}")]
    WorkerNotFound {
        /// The worker.
        worker_id: WorkerId,
    },
    /// The worker could not be created.
    #[error("Failed to create worker {worker_id}: {details}")]
    WorkerCreationFailed {
        /// The worker.
        worker_id: WorkerId,
        /// Why.
        details: String,
    },
    /// The worker could not be rebuilt from its oplog.
    #[error("Failed to resume worker {worker_id}: {reason}")]
    FailedToResumeWorker {
        /// The worker.
        worker_id: WorkerId,
        /// Why.
        reason: Box<WorkerError>,
    },
    /// The binary of a component could not be read.
    #[error("Failed to download component {component_id}: {reason}")]
    ComponentDownloadFailed {
        /// The component version.
        component_id: VersionedComponentId,
        /// Why.
        reason: String,
    },
    /// The binary of a component could not be compiled or linked.
    #[error("Failed to parse component {component_id}: {reason}")]
    ComponentParseFailed {
        /// The component version.
        component_id: VersionedComponentId,
        /// Why.
        reason: String,
    },
    /// There is no such component.
    #[error("Couldn't retrieve the component {component_id}: {reason}")]
    GetLatestVersionOfComponentFailed {
        /// The component.
        component_id: crate::ComponentId,
        /// Why.
        reason: String,
    },
    /// An initial file could not be placed.
    #[error("Failed to download initial component file {path}: {reason}")]
    InitialComponentFileDownloadFailed {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The worker's file system refused something.
    #[error("File system error at {path}: {reason}")]
    FileSystemError {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// There is no such promise.
    #[error("Promise not found: {promise_id}")]
    PromiseNotFound {
        /// The promise.
        promise_id: PromiseId,
    },
    /// The promise was deleted.
    #[error("Promise dropped: {promise_id}")]
    PromiseDropped {
        /// The promise.
        promise_id: PromiseId,
    },
    /// The promise has a result already.
    #[error("Promise already completed: {promise_id}")]
    PromiseAlreadyCompleted {
        /// The promise.
        promise_id: PromiseId,
    },
    /// A user interrupted the worker.
    #[error("Interrupted via the Golem API")]
    Interrupted {
        /// Whether it goes on by itself.
        recover_immediately: bool,
    },
    /// Parameters of the wrong type.
    #[error("Parameter type mismatch: {details}")]
    ParamTypeMismatch {
        /// Every mismatch with its path.
        details: String,
    },
    /// A value was expected and none was given.
    #[error("No value in message")]
    NoValueInMessage,
    /// A value does not fit its type.
    #[error("Value mismatch: {details}")]
    ValueMismatch {
        /// Every mismatch with its path.
        details: String,
    },
    /// Replay found something other than what was recorded (law L4).
    #[error("Unexpected oplog entry: expected {expected}, got {got}")]
    UnexpectedOplogEntry {
        /// What the guest did.
        expected: String,
        /// What the oplog holds.
        got: String,
    },
    /// The guest failed.
    #[error("Runtime error: {details}")]
    RuntimeError {
        /// The failure with its backtrace and what was written to stderr.
        details: String,
    },
    /// The executor does not own the worker's shard.
    #[error("Shard {shard_id:?} is not assigned here")]
    InvalidShardId {
        /// The shard of the worker.
        shard_id: ShardIdValue,
        /// The shards assigned here.
        shard_ids: Vec<ShardIdValue>,
    },
    /// The account does not exist.
    #[error("Invalid account")]
    InvalidAccount,
    /// The worker failed before and refuses invocations.
    #[error("Previous invocation failed: {details}")]
    PreviousInvocationFailed {
        /// The earlier failure.
        details: String,
    },
    /// The worker exited and refuses invocations.
    #[error("Previous invocation exited")]
    PreviousInvocationExited,
    /// Something else, with what is known of it.
    #[error("Unknown error: {details}")]
    Unknown {
        /// What is known.
        details: String,
    },
    /// The request was not executed: the part of the cluster that it needs cannot take it now.
    #[error("Unavailable: {details}")]
    Unavailable {
        /// What is missing.
        details: String,
    },
    /// The connection broke before the answer came: whether the request was executed is unknown.
    /// Whoever routes calls repeats it under its key; it is not shown by the API.
    #[error("Connection lost: {details}")]
    ConnectionLost {
        /// What is known.
        details: String,
    },
    /// The executor has no shards yet.
    #[error("Sharding is not ready")]
    ShardingNotReady,
}

/// A shard number in the error union.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardIdValue {
    /// The number.
    pub value: i64,
}

impl WorkerError {
    /// An invalid request with its reason.
    pub fn invalid(details: impl Into<String>) -> Self {
        Self::InvalidRequest { details: details.into() }
    }

    /// A failure of the node rather than of the request.
    pub fn unknown(details: impl Into<String>) -> Self {
        Self::Unknown { details: details.into() }
    }

    /// A failure of the guest.
    pub fn runtime(details: impl Into<String>) -> Self {
        Self::RuntimeError { details: details.into() }
    }

    /// A divergence found by replay.
    pub fn unexpected_entry(
        expected: impl Into<String>,
        got: impl Into<String>,
        at: OplogIndex,
    ) -> Self {
        Self::UnexpectedOplogEntry {
            expected: expected.into(),
            got: format!("{} at index {at}", got.into()),
        }
    }
}
