//! Oplog entries as the API shows them (services spec 1.10).

use emet_api::{OplogPage, OplogPosition, PublicOplogEntry};
use emet_model::{
    ComponentVersion, OplogIndex, RetryPolicy, UpdateRecord, VersionedComponentId, WorkerError,
    WorkerId,
};
use emet_oplog::{CallKind, Entry, EntryKind, HostCall, Invocation, Payload};
use emet_runtime::host::describe;
use emet_runtime::log::{Payloads, log_failure, log_key, read_entries};
use emet_storage::Head;
use emet_values::{Type, TypedValue, Value};
use serde_json::{Value as Json, json};
use std::time::Duration;

use crate::calls::resolve;
use crate::executor::Shared;
use crate::search::Query;

/// Entries of one page, at most.
const MAX_PAGE: u64 = 100;
/// Entries read at a time where something before a page is looked for.
const LOOK_BACK: usize = 1024;

/// A page of a worker's oplog, or of the entries of it that fit a query.
pub(crate) async fn page(
    shared: &Shared,
    worker: &WorkerId,
    from: OplogPosition,
    count: u64,
    query: Option<&Query>,
) -> Result<OplogPage, WorkerError> {
    let head = shared.log.head(&log_key(worker)).await.map_err(|e| log_failure(&e))?;
    let head = head
        .filter(|h| h.last > 0)
        .ok_or_else(|| WorkerError::WorkerNotFound { worker_id: worker.clone() })?;
    let count = usize::try_from(count.clamp(1, MAX_PAGE)).unwrap_or(100);
    let payloads = Payloads::new(shared.node.blobs.clone(), worker);
    let (first, version) = start_of(shared, worker, &head, from).await?;
    let mut next = first;
    let mut shower = Shower { shared, payloads: &payloads, worker, version, function: None };
    let mut entries = Vec::new();
    while entries.len() < count {
        let wanted = if query.is_some() { 256 } else { count - entries.len() };
        let read = read_entries(shared.log.as_ref(), worker, next, wanted).await?;
        if read.is_empty() {
            break;
        }
        for (index, entry) in read {
            if entries.len() == count {
                break;
            }
            next = index + 1;
            let shown = shower.show(index, &entry).await?;
            if query.is_none_or(|q| q.matches(&shown)) {
                entries.push(PublicOplogEntry { oplog_index: index, entry: shown });
            }
        }
    }
    let next = (!entries.is_empty()).then_some(OplogPosition {
        next_oplog_index: next,
        current_component_version: shower.version,
    });
    Ok(OplogPage { entries, next, first_index_in_chunk: first, last_index: head.last })
}

/// The first index of a page, and the component version there. Cursors carry it; a reading that
/// starts in the middle of the log of an updated worker has to look at what comes before.
async fn start_of(
    shared: &Shared,
    worker: &WorkerId,
    head: &Head,
    from: OplogPosition,
) -> Result<(OplogIndex, ComponentVersion), WorkerError> {
    if from.current_component_version != 0 {
        return Ok((from.next_oplog_index.max(1), from.current_component_version));
    }
    let first = shared.logs.first(worker).await?;
    let start = from.next_oplog_index.max(first);
    if start == 1 {
        return Ok((start, from.current_component_version));
    }
    let (mut version, updated) = version_before(shared, worker, head, first).await?;
    let mut next = first;
    while updated && next < start {
        let read = read_entries(shared.log.as_ref(), worker, next, LOOK_BACK).await?;
        let Some((last, _)) = read.last() else { break };
        next = last + 1;
        let before = read.iter().take_while(|(index, _)| *index < start);
        version = before.fold(version, |version, (_, entry)| version_after(entry, version));
    }
    Ok((start, version))
}

/// The component version before the first entry of a log, and whether there may be another one later.
async fn version_before(
    shared: &Shared,
    worker: &WorkerId,
    head: &Head,
    first: OplogIndex,
) -> Result<(ComponentVersion, bool), WorkerError> {
    if first > 1 {
        // Entries can be looked at although the base is of no use; some lack the names of their types.
        let base = shared.logs.bases().at(worker, first).await;
        return Ok((base.map_or(0, |base| base.state.version), true));
    }
    let state = shared.logs.shown(worker, head).await?;
    let updated =
        state.finished_updates.iter().any(|u| matches!(u, UpdateRecord::SuccessfulUpdate { .. }));
    Ok((state.create.map_or(0, |c| c.component_version), updated))
}

fn version_after(entry: &Entry, version: ComponentVersion) -> ComponentVersion {
    match &entry.kind {
        EntryKind::Create(create) => create.component_version,
        EntryKind::SuccessfulUpdate { target, .. } => *target,
        _ => version,
    }
}

struct Shower<'a> {
    shared: &'a Shared,
    payloads: &'a Payloads,
    worker: &'a WorkerId,
    /// The version at the present entry.
    version: ComponentVersion,
    /// The function that was started last, which the type of its result depends on.
    function: Option<String>,
}

impl Shower<'_> {
    async fn show(&mut self, index: OplogIndex, entry: &Entry) -> Result<Json, WorkerError> {
        self.version = version_after(entry, self.version);
        match &entry.kind {
            EntryKind::Invoked(invocation) => self.function = Some(invocation.function.clone()),
            EntryKind::Completed { .. } if self.function.is_none() => {
                self.function = self.started_before(index).await?
            }
            _ => {}
        }
        let mut fields = self.fields(&entry.kind).await?;
        if let Some(object) = fields.as_object_mut() {
            object.entry("type").or_insert_with(|| json!(entry.name()));
            object.insert("timestamp".into(), json!(entry.timestamp));
        }
        Ok(fields)
    }

    /// The function of the invocation that was under way at an index.
    async fn started_before(&self, index: OplogIndex) -> Result<Option<String>, WorkerError> {
        let mut end = index;
        while end > 1 {
            let start = end.saturating_sub(LOOK_BACK as u64).max(1);
            let count = usize::try_from(end - start).unwrap_or(LOOK_BACK);
            let read = read_entries(self.shared.log.as_ref(), self.worker, start, count).await?;
            let dropped = read.first().is_none_or(|(first, _)| *first > start);
            let before = read.into_iter().filter(|(at, _)| *at < end);
            let found = before.rev().find_map(|(_, entry)| match entry.kind {
                EntryKind::Invoked(invocation) => Some(invocation.function),
                _ => None,
            });
            if found.is_some() || dropped {
                return Ok(found);
            }
            end = start;
        }
        Ok(None)
    }

    async fn fields(&self, kind: &EntryKind) -> Result<Json, WorkerError> {
        Ok(match kind {
            EntryKind::Create(create) => json!({
                "worker_id": create.worker_id,
                "component_version": create.component_version,
                "args": create.args,
                "env": create.env.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
                "account_id": "-1",
                "parent": create.parent,
                "component_size": create.component_size,
                "initial_total_linear_memory_size": create.initial_memory,
                "initial_active_plugins": [],
            }),
            EntryKind::HostCall(call) => self.host_call(call).await?,
            EntryKind::Invoked(invocation) => json!({
                "function_name": invocation.function,
                "request": self.parameters(invocation).await?,
                "idempotency_key": invocation.key,
                "trace_id": trace_id(invocation),
                "trace_states": header(invocation, "tracestate").into_iter().collect::<Vec<_>>(),
                "invocation_context": [],
            }),
            EntryKind::Completed { response, consumed_fuel } => json!({
                "response": self.response(response).await?,
                "consumed_fuel": consumed_fuel,
            }),
            EntryKind::Error(failure) => json!({ "error": failure.message }),
            EntryKind::Jump { start, end } => json!({ "jump": { "start": start, "end": end } }),
            EntryKind::ChangeRetryPolicy(policy) => json!({ "new_policy": policy_json(policy) }),
            EntryKind::EndAtomicRegion { begin } | EntryKind::EndRemoteWrite { begin } => {
                json!({ "begin_index": begin })
            }
            EntryKind::PendingInvocation(invocation) => json!({ "invocation": {
                "type": "ExportedFunction",
                "idempotency_key": invocation.key,
                "full_function_name": invocation.function,
                "function_input": self.parameters(invocation).await?,
            }}),
            EntryKind::PendingManualUpdate { target } => {
                json!({ "invocation": { "type": "ManualUpdate", "target_version": target } })
            }
            EntryKind::PendingUpdate { target, snapshot } => json!({
                "target_version": target,
                "description": match snapshot {
                    None => json!({ "type": "Automatic" }),
                    Some(payload) => json!({ "type": "SnapshotBased", "payload": self.payloads.load_bytes(payload).await?.to_vec() }),
                },
            }),
            EntryKind::SuccessfulUpdate { target, component_size, .. } => json!({
                "target_version": target, "new_component_size": component_size, "new_active_plugins": [],
            }),
            EntryKind::FailedUpdate { target, details } => {
                json!({ "target_version": target, "details": details })
            }
            EntryKind::GrowMemory(delta) => json!({ "delta": delta }),
            EntryKind::CreateResource(id) | EntryKind::DropResource(id) => {
                json!({ "id": id, "resource_id": id })
            }
            EntryKind::DescribeResource { id, name, parameters } => json!({
                "id": id, "resource_id": id, "resource_name": name,
                "resource_params": parameters.iter().map(|p| typed_json(&Type::String, &Value::String(p.clone()))).collect::<Vec<_>>(),
            }),
            EntryKind::Log { level, context, message } => json!({
                "level": format!("{level:?}"), "context": context, "message": message,
            }),
            EntryKind::Revert { start, end } => {
                json!({ "dropped_region": { "start": start, "end": end } })
            }
            EntryKind::CancelInvocation(key) => json!({ "idempotency_key": key }),
            EntryKind::StartSpan { span_id, parent, attributes } => json!({
                "span_id": span_id, "parent_id": parent, "linked_context": null, "attributes": attributes,
            }),
            EntryKind::FinishSpan { span_id } => json!({ "span_id": span_id }),
            EntryKind::SetSpanAttribute { span_id, key, value } => {
                json!({ "span_id": span_id, "key": key, "value": value })
            }
            // No client knows these kinds: they are shown as the marker that all of them know.
            EntryKind::ChangePersistenceLevel(level) => {
                json!({ "type": "NoOp", "kind": "ChangePersistenceLevel", "persistence_level": format!("{level:?}") })
            }
            EntryKind::Resume => json!({ "type": "NoOp", "kind": "Resume" }),
            EntryKind::Suspend { .. }
            | EntryKind::NoOp
            | EntryKind::Interrupted
            | EntryKind::Exited
            | EntryKind::BeginAtomicRegion
            | EntryKind::BeginRemoteWrite
            | EntryKind::Restart => json!({}),
        })
    }

    async fn host_call(&self, call: &HostCall) -> Result<Json, WorkerError> {
        let described = describe(&call.function);
        let request = self.payloads.load(&call.request).await?;
        let response = self.payloads.load(&call.response).await?;
        let show = |ty: Option<Type>, value: &Value| match ty {
            Some(ty) => typed_json(&ty, value),
            None => inferred(value),
        };
        Ok(json!({
            "function_name": call.function,
            "request": show(described.map(|d| d.request()), &request),
            "response": show(described.map(|d| d.response()), &response),
            "wrapped_function_type": match call.kind {
                CallKind::ReadLocal => json!({ "type": "ReadLocal" }),
                CallKind::WriteLocal => json!({ "type": "WriteLocal" }),
                CallKind::ReadRemote => json!({ "type": "ReadRemote" }),
                CallKind::WriteRemote => json!({ "type": "WriteRemote" }),
                CallKind::WriteRemoteBatched => json!({ "type": "WriteRemoteBatched", "index": call.begin }),
            },
        }))
    }

    /// The parameters of an invocation, typed by the component version that was current.
    async fn parameters(&self, invocation: &Invocation) -> Result<Vec<Json>, WorkerError> {
        let values = match self.payloads.load(&invocation.parameters).await? {
            Value::Tuple(values) => values,
            other => vec![other],
        };
        let id =
            VersionedComponentId { component_id: self.worker.component_id, version: self.version };
        let component = self.shared.component(id).await;
        let resolved = component.and_then(|c| resolve(&c, &invocation.function)).ok();
        let skip = resolved.as_ref().map_or(0, |r| r.typ.params.len().saturating_sub(values.len()));
        let types = resolved
            .iter()
            .flat_map(|r| r.typ.params.iter().skip(skip))
            .map(|(_, ty)| Some(ty))
            .chain(std::iter::repeat(None));
        Ok(values
            .iter()
            .zip(types)
            .map(|(value, ty)| ty.map_or_else(|| inferred(value), |ty| typed_json(ty, value)))
            .collect())
    }

    /// The result of the function that was started last.
    async fn response(&self, payload: &Payload) -> Result<Json, WorkerError> {
        let value = self.payloads.load(payload).await?;
        let id =
            VersionedComponentId { component_id: self.worker.component_id, version: self.version };
        let resolved = match (&self.function, self.shared.component(id).await) {
            (Some(function), Ok(component)) => resolve(&component, function).ok(),
            _ => None,
        };
        Ok(resolved.map_or_else(|| inferred(&value), |r| typed_json(&r.typ.result_type(), &value)))
    }
}

fn header<'a>(invocation: &'a Invocation, name: &str) -> Option<&'a str> {
    let named = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
    invocation.trace.iter().find(named).map(|(_, value)| value.as_str())
}

/// The trace that the caller's `traceparent` names; all zeros stand for none.
fn trace_id(invocation: &Invocation) -> &str {
    let named = header(invocation, "traceparent").and_then(|parent| parent.split('-').nth(1));
    named.unwrap_or("00000000000000000000000000000000")
}

fn typed_json(ty: &Type, value: &Value) -> Json {
    serde_json::to_value(TypedValue { typ: ty.clone(), value: value.clone() })
        .unwrap_or_else(|_| inferred(value))
}

/// A value whose type is not known any more, with the type that its parts show.
fn inferred(value: &Value) -> Json {
    let ty = infer(value);
    serde_json::to_value(TypedValue { typ: ty, value: value.clone() }).unwrap_or(Json::Null)
}

fn infer(value: &Value) -> Type {
    let boxed = |v: &Option<Box<Value>>| v.as_ref().map(|v| Box::new(infer(v)));
    match value {
        Value::Bool(_) => Type::Bool,
        Value::S8(_) => Type::S8,
        Value::U8(_) => Type::U8,
        Value::S16(_) => Type::S16,
        Value::U16(_) => Type::U16,
        Value::S32(_) => Type::S32,
        Value::U32(_) => Type::U32,
        Value::S64(_) => Type::S64,
        Value::U64(_) => Type::U64,
        Value::F32(_) => Type::F32,
        Value::F64(_) => Type::F64,
        Value::Char(_) => Type::Char,
        Value::String(_) => Type::String,
        Value::Bytes(_) => Type::List(Box::new(Type::U8)),
        Value::List(items) => Type::List(Box::new(items.first().map_or(Type::Bool, infer))),
        Value::Tuple(items) => Type::Tuple(items.iter().map(infer).collect()),
        Value::Record(items) => Type::Record(
            items.iter().enumerate().map(|(i, v)| (format!("field{i}"), infer(v))).collect(),
        ),
        Value::Variant { case, value } => {
            let names = (0..=*case).map(|i| (format!("case{i}"), None));
            let mut cases: Vec<(String, Option<Type>)> = names.collect();
            if let Some(last) = cases.last_mut() {
                last.1 = value.as_ref().map(|v| infer(v));
            }
            Type::Variant(cases)
        }
        Value::Enum(case) => Type::Enum((0..=*case).map(|i| format!("case{i}")).collect()),
        Value::Flags(set) => Type::Flags((0..set.len()).map(|i| format!("flag{i}")).collect()),
        Value::Option(value) => Type::Option(boxed(value).unwrap_or_else(|| Box::new(Type::Bool))),
        Value::Result(Ok(value)) => Type::Result { ok: boxed(value), err: None },
        Value::Result(Err(value)) => Type::Result { ok: None, err: boxed(value) },
        Value::Handle { resource_id, .. } => {
            Type::Handle { resource_id: *resource_id, mode: emet_values::ResourceMode::Owned }
        }
    }
}

fn policy_json(policy: &RetryPolicy) -> Json {
    json!({
        "max_attempts": policy.max_attempts,
        "min_delay": human_time(policy.min_delay),
        "max_delay": human_time(policy.max_delay),
        "multiplier": policy.multiplier,
        "max_jitter_factor": policy.max_jitter_factor,
    })
}

/// A duration as `1s 500ms`.
fn human_time(duration: Duration) -> String {
    let parts = [
        (duration.as_secs(), "s"),
        (u64::from(duration.subsec_millis()), "ms"),
        (u64::from(duration.subsec_micros() % 1000), "us"),
        (u64::from(duration.subsec_nanos() % 1000), "ns"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if parts.is_empty() { "0s".into() } else { parts.join(" ") }
}
