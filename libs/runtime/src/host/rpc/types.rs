//! Types of `golem:rpc/types`, the same in all versions.

use crate::host::golem::WitUri;
use emet_model::WorkerError;
use emet_values::Value;
use emet_values::tree::{WitNode, WitValueTree};
use wasmtime::component::{ComponentType, Lift, Lower};

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum Node {
    #[component(name = "record-value")]
    Record(Vec<i32>),
    #[component(name = "variant-value")]
    Variant((u32, Option<i32>)),
    #[component(name = "enum-value")]
    Enum(u32),
    #[component(name = "flags-value")]
    Flags(Vec<bool>),
    #[component(name = "tuple-value")]
    Tuple(Vec<i32>),
    #[component(name = "list-value")]
    List(Vec<i32>),
    #[component(name = "option-value")]
    Option(Option<i32>),
    #[component(name = "result-value")]
    Result(Result<Option<i32>, Option<i32>>),
    #[component(name = "prim-u8")]
    U8(u8),
    #[component(name = "prim-u16")]
    U16(u16),
    #[component(name = "prim-u32")]
    U32(u32),
    #[component(name = "prim-u64")]
    U64(u64),
    #[component(name = "prim-s8")]
    S8(i8),
    #[component(name = "prim-s16")]
    S16(i16),
    #[component(name = "prim-s32")]
    S32(i32),
    #[component(name = "prim-s64")]
    S64(i64),
    #[component(name = "prim-float32")]
    F32(f32),
    #[component(name = "prim-float64")]
    F64(f64),
    #[component(name = "prim-char")]
    Char(char),
    #[component(name = "prim-bool")]
    Bool(bool),
    #[component(name = "prim-string")]
    String(String),
    #[component(name = "handle")]
    Handle((WitUri, u64)),
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct WitValue {
    nodes: Vec<Node>,
}

impl WitValue {
    /// The value; the reason why it is none.
    pub(crate) fn to_value(&self) -> Result<Value, String> {
        let nodes = self.nodes.iter().cloned().map(WitNode::from).collect();
        WitValueTree(nodes).to_value().map_err(|e| e.to_string())
    }

    pub(crate) fn from_value(value: &Value) -> Result<Self, String> {
        let tree = WitValueTree::from_value(value).map_err(|e| e.to_string())?;
        Ok(Self { nodes: tree.0.into_iter().map(Node::from).collect() })
    }
}

impl From<Node> for WitNode {
    fn from(node: Node) -> Self {
        match node {
            Node::Record(items) => Self::Record(items),
            Node::Variant((case, value)) => Self::Variant(case, value),
            Node::Enum(case) => Self::Enum(case),
            Node::Flags(set) => Self::Flags(set),
            Node::Tuple(items) => Self::Tuple(items),
            Node::List(items) => Self::List(items),
            Node::Option(value) => Self::Option(value),
            Node::Result(value) => Self::Result(value),
            Node::U8(v) => Self::U8(v),
            Node::U16(v) => Self::U16(v),
            Node::U32(v) => Self::U32(v),
            Node::U64(v) => Self::U64(v),
            Node::S8(v) => Self::S8(v),
            Node::S16(v) => Self::S16(v),
            Node::S32(v) => Self::S32(v),
            Node::S64(v) => Self::S64(v),
            Node::F32(v) => Self::F32(v),
            Node::F64(v) => Self::F64(v),
            Node::Char(v) => Self::Char(v),
            Node::Bool(v) => Self::Bool(v),
            Node::String(v) => Self::String(v),
            Node::Handle((uri, id)) => Self::Handle(uri.value, id),
        }
    }
}

impl From<WitNode> for Node {
    fn from(node: WitNode) -> Self {
        match node {
            WitNode::Record(items) => Self::Record(items),
            WitNode::Variant(case, value) => Self::Variant((case, value)),
            WitNode::Enum(case) => Self::Enum(case),
            WitNode::Flags(set) => Self::Flags(set),
            WitNode::Tuple(items) => Self::Tuple(items),
            WitNode::List(items) => Self::List(items),
            WitNode::Option(value) => Self::Option(value),
            WitNode::Result(value) => Self::Result(value),
            WitNode::U8(v) => Self::U8(v),
            WitNode::U16(v) => Self::U16(v),
            WitNode::U32(v) => Self::U32(v),
            WitNode::U64(v) => Self::U64(v),
            WitNode::S8(v) => Self::S8(v),
            WitNode::S16(v) => Self::S16(v),
            WitNode::S32(v) => Self::S32(v),
            WitNode::S64(v) => Self::S64(v),
            WitNode::F32(v) => Self::F32(v),
            WitNode::F64(v) => Self::F64(v),
            WitNode::Char(v) => Self::Char(v),
            WitNode::Bool(v) => Self::Bool(v),
            WitNode::String(v) => Self::String(v),
            WitNode::Handle(uri, id) => Self::Handle((WitUri { value: uri }, id)),
        }
    }
}

#[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "values are made by lifting from the guest")]
pub(crate) enum Mode {
    #[component(name = "owned")]
    Owned,
    #[component(name = "borrowed")]
    Borrowed,
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum TypeNode {
    #[component(name = "record-type")]
    Record(Vec<(String, i32)>),
    #[component(name = "variant-type")]
    Variant(Vec<(String, Option<i32>)>),
    #[component(name = "enum-type")]
    Enum(Vec<String>),
    #[component(name = "flags-type")]
    Flags(Vec<String>),
    #[component(name = "tuple-type")]
    Tuple(Vec<i32>),
    #[component(name = "list-type")]
    List(i32),
    #[component(name = "option-type")]
    Option(i32),
    #[component(name = "result-type")]
    Result((Option<i32>, Option<i32>)),
    #[component(name = "prim-u8-type")]
    U8,
    #[component(name = "prim-u16-type")]
    U16,
    #[component(name = "prim-u32-type")]
    U32,
    #[component(name = "prim-u64-type")]
    U64,
    #[component(name = "prim-s8-type")]
    S8,
    #[component(name = "prim-s16-type")]
    S16,
    #[component(name = "prim-s32-type")]
    S32,
    #[component(name = "prim-s64-type")]
    S64,
    #[component(name = "prim-f32-type")]
    F32,
    #[component(name = "prim-f64-type")]
    F64,
    #[component(name = "prim-char-type")]
    Char,
    #[component(name = "prim-bool-type")]
    Bool,
    #[component(name = "prim-string-type")]
    String,
    #[component(name = "handle-type")]
    Handle((u64, Mode)),
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct WitType {
    nodes: Vec<TypeNode>,
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct ValueAndType {
    pub(crate) value: WitValue,
    pub(super) typ: WitType,
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum RpcError {
    #[component(name = "protocol-error")]
    Protocol(String),
    #[component(name = "denied")]
    Denied(String),
    #[component(name = "not-found")]
    NotFound(String),
    #[component(name = "remote-internal-error")]
    RemoteInternal(String),
}

/// An error as it is recorded: number of the case and text.
pub(super) type RecordedError = (u8, String);

/// Guest spec 5.6. Written out, so that a new error has to be thought of here.
impl From<WorkerError> for RpcError {
    fn from(error: WorkerError) -> Self {
        use WorkerError as E;
        let text = error.to_string();
        match error {
            // The call did not get to the worker, or its answer did not get back.
            E::NoValueInMessage
            | E::Unavailable { .. }
            | E::ConnectionLost { .. }
            | E::InvalidShardId { .. }
            | E::ShardingNotReady => Self::Protocol(text),
            E::WorkerAlreadyExists { .. } | E::InvalidAccount => Self::Denied(text),
            E::WorkerNotFound { .. } | E::GetLatestVersionOfComponentFailed { .. } => {
                Self::NotFound(text)
            }
            // What the target says to a call that reached it, and what happened in it.
            E::InvalidRequest { .. }
            | E::ParamTypeMismatch { .. }
            | E::ValueMismatch { .. }
            | E::WorkerCreationFailed { .. }
            | E::FailedToResumeWorker { .. }
            | E::ComponentDownloadFailed { .. }
            | E::ComponentParseFailed { .. }
            | E::InitialComponentFileDownloadFailed { .. }
            | E::FileSystemError { .. }
            | E::PromiseNotFound { .. }
            | E::PromiseDropped { .. }
            | E::PromiseAlreadyCompleted { .. }
            | E::Interrupted { .. }
            | E::UnexpectedOplogEntry { .. }
            | E::RuntimeError { .. }
            | E::PreviousInvocationFailed { .. }
            | E::PreviousInvocationExited
            | E::Unknown { .. } => Self::RemoteInternal(text),
        }
    }
}

impl From<RpcError> for RecordedError {
    fn from(error: RpcError) -> Self {
        match error {
            RpcError::Protocol(text) => (0, text),
            RpcError::Denied(text) => (1, text),
            RpcError::NotFound(text) => (2, text),
            RpcError::RemoteInternal(text) => (3, text),
        }
    }
}

impl From<RecordedError> for RpcError {
    fn from((case, text): RecordedError) -> Self {
        match case {
            0 => Self::Protocol(text),
            1 => Self::Denied(text),
            2 => Self::NotFound(text),
            _ => Self::RemoteInternal(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emet_model::{ComponentId, PromiseId, VersionedComponentId, WorkerId};

    /// Guest spec 5.6, by the number of the case.
    #[test]
    fn every_error_is_of_the_kind_that_the_specification_gives_it() {
        use WorkerError as E;
        let component_id = ComponentId(uuid::Uuid::from_u128(1));
        let worker_id = || WorkerId::new(component_id, "w");
        let version = || VersionedComponentId { component_id, version: 0 };
        let promise_id = || PromiseId { worker_id: worker_id(), oplog_idx: 1 };
        let text = || "why".to_owned();
        for (error, kind) in [
            (E::NoValueInMessage, 0),
            (E::Unavailable { details: text() }, 0),
            (E::ConnectionLost { details: text() }, 0),
            (E::ShardingNotReady, 0),
            (E::WorkerAlreadyExists { worker_id: worker_id() }, 1),
            (E::InvalidAccount, 1),
            (E::WorkerNotFound { worker_id: worker_id() }, 2),
            (E::GetLatestVersionOfComponentFailed { component_id, reason: text() }, 2),
            (E::invalid("why"), 3),
            (E::ParamTypeMismatch { details: text() }, 3),
            (E::ValueMismatch { details: text() }, 3),
            (E::WorkerCreationFailed { worker_id: worker_id(), details: text() }, 3),
            (
                E::FailedToResumeWorker {
                    worker_id: worker_id(),
                    reason: Box::new(E::InvalidAccount),
                },
                3,
            ),
            (E::ComponentDownloadFailed { component_id: version(), reason: text() }, 3),
            (E::ComponentParseFailed { component_id: version(), reason: text() }, 3),
            (E::InitialComponentFileDownloadFailed { path: text(), reason: text() }, 3),
            (E::FileSystemError { path: text(), reason: text() }, 3),
            (E::PromiseNotFound { promise_id: promise_id() }, 3),
            (E::PromiseDropped { promise_id: promise_id() }, 3),
            (E::PromiseAlreadyCompleted { promise_id: promise_id() }, 3),
            (E::Interrupted { recover_immediately: false }, 3),
            (E::UnexpectedOplogEntry { expected: text(), got: text() }, 3),
            (E::runtime("why"), 3),
            (E::PreviousInvocationFailed { details: text() }, 3),
            (E::PreviousInvocationExited, 3),
            (E::unknown("why"), 3),
        ] {
            let text = error.to_string();
            let recorded = RecordedError::from(RpcError::from(error));
            assert_eq!(recorded, (kind, text));
            assert_eq!(
                RecordedError::from(RpcError::from(recorded.clone())),
                recorded,
                "it is replayed as it was"
            );
        }
    }
}
