//! `golem:durability` (guest spec 4.12): libraries of guests make operations of their own durable,
//! by the same mechanism that host functions use.

use super::super::functions;
use super::super::rpc::ValueAndType;
use super::types::WitLevel;
use crate::WorkerCtx;
use emet_oplog::{CallKind, Entry, EntryKind, HostCall, PersistenceLevel};
use emet_values::{Value, binary};
use std::borrow::Cow;
use wasmtime::component::{ComponentType, Lift, Linker, Lower};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;

const DURABILITY: &str = "golem:durability/durability@1.2.0";

#[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
#[component(variant)]
enum FunctionType {
    #[component(name = "read-local")]
    ReadLocal,
    #[component(name = "write-local")]
    WriteLocal,
    #[component(name = "read-remote")]
    ReadRemote,
    #[component(name = "write-remote")]
    WriteRemote,
    #[component(name = "write-remote-batched")]
    WriteRemoteBatched(Option<u64>),
}

impl FunctionType {
    fn kind(self) -> CallKind {
        match self {
            Self::ReadLocal => CallKind::ReadLocal,
            Self::WriteLocal => CallKind::WriteLocal,
            Self::ReadRemote => CallKind::ReadRemote,
            Self::WriteRemote => CallKind::WriteRemote,
            Self::WriteRemoteBatched(_) => CallKind::WriteRemoteBatched,
        }
    }

    /// The batch that a call belongs to.
    fn begin(self) -> Option<u64> {
        if let Self::WriteRemoteBatched(begin) = self { begin } else { None }
    }

    /// Whether the operation is announced before it acts (guest spec 2.10).
    fn is_announced(self, idempotent: bool) -> bool {
        match self {
            Self::WriteRemote => !idempotent,
            Self::WriteRemoteBatched(begin) => begin.is_none(),
            _ => false,
        }
    }
}

fn function_type(call: &HostCall) -> FunctionType {
    match call.kind {
        CallKind::ReadLocal => FunctionType::ReadLocal,
        CallKind::WriteLocal => FunctionType::WriteLocal,
        CallKind::ReadRemote => FunctionType::ReadRemote,
        CallKind::WriteRemote => FunctionType::WriteRemote,
        CallKind::WriteRemoteBatched => FunctionType::WriteRemoteBatched(call.begin),
    }
}

#[derive(Clone, Copy, Debug, ComponentType, Lower)]
#[component(record)]
struct ExecutionState {
    #[component(name = "is-live")]
    is_live: bool,
    #[component(name = "persistence-level")]
    persistence_level: WitLevel,
}

#[derive(Clone, Copy, Debug, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "the first format is not written any more")]
enum EntryVersion {
    #[component(name = "v1")]
    V1,
    #[component(name = "v2")]
    V2,
}

#[derive(Clone, Debug, ComponentType, Lower)]
#[component(record)]
struct Persisted {
    timestamp: Datetime,
    #[component(name = "function-name")]
    function_name: String,
    response: Vec<u8>,
    #[component(name = "function-type")]
    function_type: FunctionType,
    #[component(name = "entry-version")]
    entry_version: EntryVersion,
}

impl WorkerCtx {
    async fn begin_durable(&mut self, function_type: FunctionType) -> wasmtime::Result<u64> {
        if function_type.is_announced(self.journal.idempotent) {
            return self.journal.announce().await;
        }
        if function_type.kind() == CallKind::WriteRemote {
            self.journal.flush().await?;
        }
        Ok(self.journal.position())
    }

    async fn end_durable(
        &mut self,
        function_type: FunctionType,
        begin: u64,
        commit: bool,
    ) -> wasmtime::Result<()> {
        if function_type.is_announced(self.journal.idempotent) {
            self.journal.end_write(begin).await?;
        }
        if commit { self.journal.flush().await } else { Ok(()) }
    }

    async fn execution_state(&mut self) -> wasmtime::Result<ExecutionState> {
        self.journal.settle().await?;
        let level = self.journal.level();
        // With nothing persisted there is nothing to read back either.
        let is_live = self.journal.is_live() || level == PersistenceLevel::Nothing;
        Ok(ExecutionState { is_live, persistence_level: level.into() })
    }

    async fn persist(
        &mut self,
        name: String,
        request: Value,
        response: Value,
        function_type: FunctionType,
    ) -> wasmtime::Result<()> {
        if !self.journal.is_persisting() {
            return Ok(());
        }
        wasmtime::ensure!(
            self.journal.is_live(),
            "{name} cannot be recorded: the worker is being recovered and its outcome is to be read back"
        );
        self.journal
            .record_call(
                Cow::Owned(name),
                function_type.kind(),
                function_type.begin(),
                &request,
                &response,
            )
            .await
    }

    async fn read_persisted(&mut self) -> wasmtime::Result<Persisted> {
        match self.journal.next().await? {
            Some((_, Entry { timestamp, kind: EntryKind::HostCall(call) })) => {
                let response = self
                    .journal
                    .writer
                    .payloads
                    .load(&call.response)
                    .await
                    .map_err(crate::Stop::from)?;
                Ok(Persisted {
                    timestamp: Datetime {
                        seconds: timestamp.0 / 1000,
                        nanoseconds: u32::try_from(timestamp.0 % 1000 * 1_000_000)
                            .unwrap_or_default(),
                    },
                    response: response_bytes(response),
                    function_type: function_type(&call),
                    function_name: call.function.into_owned(),
                    entry_version: EntryVersion::V2,
                })
            }
            Some((index, entry)) => {
                Err(self.journal.diverged("ImportedFunctionInvoked", entry.name(), index))
            }
            None => wasmtime::bail!("there is no recorded operation to read: the worker is live"),
        }
    }
}

/// Recorded bytes as they are; a typed value in the encoding of docs/format/values.md.
fn response_bytes(response: Value) -> Vec<u8> {
    response.into_bytes().unwrap_or_else(|typed| binary::encode(&typed))
}

fn typed(what: &str, given: &ValueAndType) -> wasmtime::Result<Value> {
    given.value.to_value().map_err(|e| wasmtime::format_err!("the {what} is malformed: {e}"))
}

pub(super) fn add(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, DURABILITY, {
        "observe-function-call" => |ctx, interface: String, function: String| {
            tracing::trace!(worker = %ctx.worker, %interface, %function, "call of a guest's library");
            Ok::<(), wasmtime::Error>(())
        };
        "begin-durable-function" => |ctx, function_type: FunctionType| Ok((ctx.begin_durable(function_type).await?,));
        "end-durable-function" => |ctx, function_type: FunctionType, begin: u64, commit: bool| {
            ctx.end_durable(function_type, begin, commit).await
        };
        "current-durable-execution-state" => |ctx| Ok((ctx.execution_state().await?,));
        "persist-durable-function-invocation" => |ctx, name: String, request: Vec<u8>, response: Vec<u8>, function_type: FunctionType| {
            ctx.persist(name, Value::Bytes(request), Value::Bytes(response), function_type).await
        };
        "persist-typed-durable-function-invocation" => |ctx, name: String, request: ValueAndType, response: ValueAndType, function_type: FunctionType| {
            let (request, response) = (typed("request", &request)?, typed("response", &response)?);
            ctx.persist(name, request, response, function_type).await
        };
        "read-persisted-durable-function-invocation" => |ctx| Ok((ctx.read_persisted().await?,));
    });
    Ok(())
}
