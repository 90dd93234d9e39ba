//! The worker service.

use async_trait::async_trait;
use bytes::Bytes;
use emet_model::{
    ComponentId, ComponentVersion, FilePermissions, IdempotencyKey, OplogIndex, PromiseId,
    Timestamp, UpdateMode, WorkerError, WorkerFilter, WorkerId, WorkerMetadata,
};
use emet_values::TypedValue;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Who is invoked: a named worker, or a fresh one of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The component.
    pub component_id: ComponentId,
    /// The worker; without a name a new worker is made for this invocation.
    pub worker_name: Option<String>,
}

/// Parameters of an invocation as a caller gives them.
#[derive(Clone, Debug, PartialEq)]
pub enum InvokeParameters {
    /// Each with the type that the caller believes it has.
    Typed(Vec<TypedValue>),
    /// Plain JSON, to be typed by the component's metadata.
    Json(Vec<serde_json::Value>),
    /// Values, to be checked against the component's metadata.
    Values(Vec<emet_values::Value>),
}

/// The worker that makes a call; a worker made by the call inherits from it (guest spec 5.5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// Its identity.
    pub worker_id: WorkerId,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment.
    pub env: Vec<(String, String)>,
}

/// A call that a worker waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Awaited {
    /// The worker that is to answer.
    pub worker: WorkerId,
    /// The key of the call.
    pub key: IdempotencyKey,
}

/// A call of an exported function.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    /// Name of the function in the syntax of guest spec 8.2.
    pub function: String,
    /// Its parameters.
    pub parameters: InvokeParameters,
    /// Key of the invocation; a random one where the caller gave none.
    pub idempotency_key: Option<IdempotencyKey>,
    /// Whether that key was made for this attempt, so that nothing can have been done with it yet.
    pub key_is_new: bool,
    /// `traceparent` and `tracestate` of the caller.
    pub trace: Vec<(String, String)>,
    /// Set for calls by workers.
    pub caller: Option<Caller>,
}

/// Where an enumeration goes on: the sequence number after which it continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Position.
    pub cursor: u64,
    /// Always 0: there is one layer.
    pub layer: u64,
}

/// A page of an enumeration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerPage {
    /// The workers.
    pub workers: Vec<WorkerMetadata>,
    /// Where to go on; none at the end.
    pub cursor: Option<Cursor>,
}

/// How far a worker is reverted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum RevertTarget {
    /// Keep everything up to this index.
    RevertToOplogIndex {
        /// The last index kept.
        last_oplog_index: OplogIndex,
    },
    /// Forget the last invocations.
    RevertLastInvocations {
        /// How many.
        number_of_invocations: u64,
    },
}

/// An oplog entry in the JSON of the API: an object with `type`, `timestamp` and snake_case fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublicOplogEntry {
    /// Its index.
    pub oplog_index: OplogIndex,
    /// The entry.
    pub entry: serde_json::Value,
}

/// Where reading an oplog goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OplogPosition {
    /// The next index to read.
    pub next_oplog_index: OplogIndex,
    /// The component version at that index.
    pub current_component_version: ComponentVersion,
}

/// A page of an oplog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OplogPage {
    /// The entries.
    pub entries: Vec<PublicOplogEntry>,
    /// Where to go on; none after the empty page at the end.
    pub next: Option<OplogPosition>,
    /// Index of the first entry looked at.
    pub first_index_in_chunk: OplogIndex,
    /// Index of the last entry of the whole oplog.
    pub last_index: OplogIndex,
}

/// Directory or file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FileKind {
    /// A directory.
    Directory,
    /// A file.
    File,
}

/// An entry of a directory of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileNode {
    /// Its name.
    pub name: String,
    /// Seconds since the Unix epoch.
    pub last_modified: u64,
    /// Directory or file.
    pub kind: FileKind,
    /// Of a file.
    pub permissions: Option<FilePermissions>,
    /// Of a file, in bytes.
    pub size: Option<u64>,
}

/// What was found at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileContent<T> {
    /// It.
    Found(T),
    /// Nothing.
    NotFound,
    /// Something of the other kind: a directory where a file was asked for, or the reverse.
    WrongKind,
}

/// What a worker does, as it happens. The serde form is the websocket frame (services spec 1.9).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum WorkerEvent {
    /// Written to standard output.
    StdOut {
        /// When.
        timestamp: Timestamp,
        /// What.
        bytes: Vec<u8>,
    },
    /// Written to standard error.
    StdErr {
        /// When.
        timestamp: Timestamp,
        /// What.
        bytes: Vec<u8>,
    },
    /// Logged.
    Log {
        /// When.
        timestamp: Timestamp,
        /// `Trace`, `Debug`, `Info`, `Warn`, `Error` or `Critical`.
        level: String,
        /// Context given by the guest.
        context: String,
        /// Message given by the guest.
        message: String,
    },
    /// An invocation starts.
    InvocationStart {
        /// When.
        timestamp: Timestamp,
        /// The function.
        function: String,
        /// Key of the invocation.
        idempotency_key: IdempotencyKey,
    },
    /// An invocation ended.
    InvocationFinished {
        /// When.
        timestamp: Timestamp,
        /// The function.
        function: String,
        /// Key of the invocation.
        idempotency_key: IdempotencyKey,
    },
    /// The reader was too slow: this many events are missing here.
    Gap {
        /// How many.
        missed: u64,
    },
    /// The worker was unloaded; nothing follows.
    Close,
}

/// Events in order, ending after [`WorkerEvent::Close`].
pub type WorkerEvents = BoxStream<'static, WorkerEvent>;

/// What the comparison of a worker with a replay of its log has shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// Index of the last entry that was replayed.
    pub last_oplog_index: OplogIndex,
    /// Index of the checkpoint that was compared too; absent if there was none that fits.
    pub checkpoint: Option<OplogIndex>,
    /// Whether all of them have the same memories, globals, handles and files.
    pub equal: bool,
    /// In what they differ.
    pub differences: Vec<String>,
    /// Why they could not be compared; nothing was then.
    pub not_compared: Option<String>,
}

/// Runs workers.
#[async_trait]
pub trait Workers: Send + Sync + 'static {
    /// Creates a worker of the latest version and loads it.
    async fn create(
        &self,
        worker: WorkerId,
        args: Vec<String>,
        env: BTreeMap<String, String>,
    ) -> Result<ComponentVersion, WorkerError>;
    /// Invokes and waits for the result: a tuple (or record) of the function's results.
    async fn invoke_and_await(
        &self,
        target: Target,
        invocation: Invocation,
    ) -> Result<TypedValue, WorkerError>;
    /// Invokes; Ok when the invocation is durable.
    async fn invoke(&self, target: Target, invocation: Invocation) -> Result<(), WorkerError>;
    /// Everything known of a worker.
    async fn metadata(&self, worker: WorkerId) -> Result<WorkerMetadata, WorkerError>;
    /// A page of the workers of a component, in order of creation.
    async fn list(
        &self,
        component: ComponentId,
        filter: Option<WorkerFilter>,
        cursor: Option<Cursor>,
        count: u64,
        precise: bool,
    ) -> Result<WorkerPage, WorkerError>;
    /// Of the named workers, those that are in memory at their owner, as they are right now: that
    /// one is executing may not be in its log yet. An enumeration that has to be precise asks.
    async fn live(
        &self,
        component: ComponentId,
        names: Vec<String>,
    ) -> Result<Vec<WorkerMetadata>, WorkerError> {
        let _ = (component, names);
        Ok(Vec::new())
    }
    /// The calls that a worker waits for before it can answer the call with this key: it goes on
    /// when any of them is answered. None if it waits for no call, or has answered.
    async fn awaited(
        &self,
        worker: WorkerId,
        key: IdempotencyKey,
    ) -> Result<Vec<Awaited>, WorkerError> {
        let _ = (worker, key);
        Ok(Vec::new())
    }
    /// Deletes a worker and everything that belongs to it; a missing one is no error.
    async fn delete(&self, worker: WorkerId) -> Result<(), WorkerError>;
    /// Stops what the worker is executing, or restarts it at once.
    async fn interrupt(
        &self,
        worker: WorkerId,
        recover_immediately: bool,
    ) -> Result<(), WorkerError>;
    /// Lets an interrupted or suspended worker go on.
    async fn resume(&self, worker: WorkerId) -> Result<(), WorkerError>;
    /// Requests an update.
    async fn update(
        &self,
        worker: WorkerId,
        mode: UpdateMode,
        target: ComponentVersion,
    ) -> Result<(), WorkerError>;
    /// Invokes at a time; the returned id can cancel it.
    async fn schedule(
        &self,
        target: Target,
        invocation: Invocation,
        at: Timestamp,
    ) -> Result<String, WorkerError>;
    /// Cancels a scheduled invocation that has not started; otherwise nothing happens.
    async fn cancel_scheduled(&self, id: &str) -> Result<(), WorkerError>;
    /// Completes a promise; false if it was completed before.
    async fn complete_promise(&self, promise: PromiseId, data: Bytes) -> Result<bool, WorkerError>;
    /// Forgets the end of a worker's history.
    async fn revert(&self, worker: WorkerId, target: RevertTarget) -> Result<(), WorkerError>;
    /// Compares a worker, and its newest checkpoint, with a replay of its log.
    async fn verify(&self, worker: WorkerId) -> Result<Verification, WorkerError> {
        Err(WorkerError::invalid(format!("{worker} cannot be verified here")))
    }
    /// Cancels a queued invocation; false if it has completed.
    async fn cancel(&self, worker: WorkerId, key: IdempotencyKey) -> Result<bool, WorkerError>;
    /// Makes a new worker from the beginning of another one's history.
    async fn fork(
        &self,
        source: WorkerId,
        target: WorkerId,
        cut_off: OplogIndex,
    ) -> Result<(), WorkerError>;
    /// A page of the oplog.
    async fn oplog(
        &self,
        worker: WorkerId,
        from: OplogPosition,
        count: u64,
    ) -> Result<OplogPage, WorkerError>;
    /// A page of the entries that fit a query (services spec 1.10).
    async fn search_oplog(
        &self,
        worker: WorkerId,
        query: &str,
        from: OplogPosition,
        count: u64,
    ) -> Result<OplogPage, WorkerError>;
    /// Lists a directory of a worker's file system, creating the worker if missing.
    async fn list_directory(
        &self,
        target: WorkerId,
        path: &str,
    ) -> Result<FileContent<Vec<FileNode>>, WorkerError>;
    /// Reads a file of a worker's file system, creating the worker if missing.
    async fn read_file(
        &self,
        target: WorkerId,
        path: &str,
    ) -> Result<FileContent<Bytes>, WorkerError>;
    /// Past and live events of a worker.
    async fn connect(&self, worker: WorkerId) -> Result<WorkerEvents, WorkerError>;
}
