//! `golem:rpc/types` at 0.1.x and 0.2.x: calls to other workers, with exactly-once effect (guest
//! spec 5). The key of a call is derived and durable before the call leaves, the callee knows it
//! again, and the result is recorded.

mod calls;
mod cycles;
mod linked;
mod types;
mod under_way;
mod waiting;

use super::functions;
use super::golem::{WitUri, WitUuid, WitWorkerId};
use super::values::add_resource;
use crate::WorkerCtx;
pub(crate) use calls::Rpc;
use calls::{Answer, CancellationToken, FutureInvoke};
pub use cycles::Waits;
use emet_model::{ComponentId, WorkerId};
use emet_values::Value;
use types::{RpcError, WitType, WitValue};
pub use under_way::UnderWay;
use uuid::Uuid;
pub use waiting::Waiting;

pub(super) use types::ValueAndType;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;

pub(super) use calls::FUNCTIONS;
pub(super) use linked::link;

const RPC_01: &str = "golem:rpc/types@0.1.3";
const RPC_02: &str = "golem:rpc/types@0.2.0";

pub(super) fn add(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    for version in [RPC_01, RPC_02] {
        add_calls(linker, version)?;
        add_drops(linker, version)?;
    }
    functions!(linker, RPC_01, {
        "[constructor]wasm-rpc" => |ctx, location: WitUri| {
            let rpc = ctx.rpc_by_uri(&location.value).await?;
            Ok((ctx.table.push(rpc)?,))
        };
        "extract-value" => |_ctx, both: ValueAndType| Ok::<(WitValue,), wasmtime::Error>((both.value,));
        "extract-type" => |_ctx, both: ValueAndType| Ok::<(WitType,), wasmtime::Error>((both.typ,));
    });
    functions!(linker, RPC_02, {
        "[constructor]wasm-rpc" => |ctx, worker: WitWorkerId| {
            let worker = WorkerId::from(worker);
            Ok((ctx.table.push(Rpc::new(worker.component_id, worker.worker_name))?,))
        };
        "[static]wasm-rpc.ephemeral" => |ctx, component: super::golem::WitComponentId| {
            let rpc = ctx.rpc_unnamed(ComponentId::from(component)).await?;
            Ok((ctx.table.push(rpc)?,))
        };
        "parse-uuid" => |_ctx, text: String| {
            let parsed = Uuid::parse_str(&text).map(WitUuid::from).map_err(|e| e.to_string());
            Ok::<(Result<WitUuid, String>,), wasmtime::Error>((parsed,))
        };
        "uuid-to-string" => |_ctx, uuid: WitUuid| Ok::<(String,), wasmtime::Error>((Uuid::from(uuid).to_string(),));
        "extract-value" => |_ctx, both: ValueAndType| Ok::<(WitValue,), wasmtime::Error>((both.value,));
        "extract-type" => |_ctx, both: ValueAndType| Ok::<(WitType,), wasmtime::Error>((both.typ,));
    });
    Ok(())
}

/// The parameters of a call as values.
fn values(function: &str, params: &[WitValue]) -> wasmtime::Result<Vec<Value>> {
    let values: Result<Vec<Value>, String> = params.iter().map(WitValue::to_value).collect();
    values.map_err(|e| wasmtime::format_err!("a parameter of {function} is malformed: {e}"))
}

/// The answer to a call as nodes.
fn nodes(answer: Answer) -> wasmtime::Result<Result<WitValue, RpcError>> {
    match answer {
        Ok(value) => Ok(Ok(WitValue::from_value(&value).map_err(wasmtime::Error::msg)?)),
        Err(error) => Ok(Err(error)),
    }
}

fn add_calls(linker: &mut Linker<WorkerCtx>, version: &str) -> wasmtime::Result<()> {
    functions!(linker, version, {
        "[method]wasm-rpc.invoke-and-await" => |ctx, rpc: Resource<Rpc>, function: String, params: Vec<WitValue>| {
            let (rpc, params) = (ctx.table.get(&rpc)?.clone(), values(&function, &params)?);
            Ok((nodes(ctx.rpc_call(&rpc, function, params).await?)?,))
        };
        "[method]wasm-rpc.invoke" => |ctx, rpc: Resource<Rpc>, function: String, params: Vec<WitValue>| {
            let (rpc, params) = (ctx.table.get(&rpc)?.clone(), values(&function, &params)?);
            Ok((ctx.rpc_send(&rpc, function, params).await?,))
        };
        "[method]wasm-rpc.async-invoke-and-await" => |ctx, rpc: Resource<Rpc>, function: String, params: Vec<WitValue>| {
            let (rpc, params) = (ctx.table.get(&rpc)?.clone(), values(&function, &params)?);
            Ok((ctx.rpc_start(&rpc, function, params).await?,))
        };
        "[method]wasm-rpc.schedule-invocation" => |ctx, rpc: Resource<Rpc>, at: Datetime, function: String, params: Vec<WitValue>| {
            let (rpc, params) = (ctx.table.get(&rpc)?.clone(), values(&function, &params)?);
            ctx.rpc_schedule(&rpc, at, function, params).await.map(|_| ())
        };
        "[method]wasm-rpc.schedule-cancelable-invocation" => |ctx, rpc: Resource<Rpc>, at: Datetime, function: String, params: Vec<WitValue>| {
            let (rpc, params) = (ctx.table.get(&rpc)?.clone(), values(&function, &params)?);
            let id = ctx.rpc_schedule(&rpc, at, function, params).await?;
            Ok((ctx.table.push(CancellationToken(id))?,))
        };
        "[method]future-invoke-result.subscribe" => |ctx, future: Resource<FutureInvoke>| Ok((ctx.rpc_subscribe(future)?,));
        "[method]future-invoke-result.get" => |ctx, future: Resource<FutureInvoke>| {
            Ok((ctx.rpc_get(&future).await?.map(nodes).transpose()?,))
        };
        "[method]cancellation-token.cancel" => |ctx, token: Resource<CancellationToken>| ctx.rpc_cancel(&token).await;
    });
    Ok(())
}

fn add_drops(linker: &mut Linker<WorkerCtx>, version: &str) -> wasmtime::Result<()> {
    add_resource::<Rpc>(linker, version, "wasm-rpc")?;
    linker.instance(version)?.resource(
        "future-invoke-result",
        ResourceType::host::<FutureInvoke>(),
        |mut store, rep| store.data_mut().rpc_forget(rep),
    )?;
    add_resource::<CancellationToken>(linker, version, "cancellation-token")
}
