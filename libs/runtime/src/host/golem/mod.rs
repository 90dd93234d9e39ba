//! `golem:api/host`, at 0.2.x and 1.1.x (guest spec 4). Where the two versions agree, one
//! implementation is defined under both names. Beside it the interfaces that only 1.1.x has.

mod context;
mod control;
mod durable;
mod oplog;
mod promises;
mod types;
mod workers;

use super::functions;
use super::values::add_resource;
use crate::WorkerCtx;
use crate::log::HostFnInfo;
use types::*;
use wasmtime::component::{Linker, Resource};
use workers::GetWorkers;

pub(crate) use context::Spans;
pub(crate) use types::{WitComponentId, WitUri, WitUuid, WitWorkerId};

/// The versions that are defined; each serves the lower compatible ones.
const HOST_02: &str = "golem:api/host@0.2.2";
const HOST_11: &str = "golem:api/host@1.1.5";

pub(super) fn recorded() -> impl Iterator<Item = &'static &'static dyn HostFnInfo> {
    control::FUNCTIONS
        .iter()
        .chain(promises::FUNCTIONS)
        .chain(workers::FUNCTIONS)
        .chain(oplog::FUNCTIONS)
}

pub(super) fn add(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    for version in [HOST_02, HOST_11] {
        add_common(linker, version)?;
        add_get_workers(linker, version)?;
    }
    functions!(linker, HOST_02, {
        "get-self-uri" => |ctx, function: String| Ok((WitUri { value: ctx.self_uri(&function) },));
        "get-retry-policy" => |ctx| Ok((RetryPolicy02::from(ctx.retry_policy()),));
        "set-retry-policy" => |ctx, policy: RetryPolicy02| ctx.set_retry_policy(policy.into()).await;
    });
    functions!(linker, HOST_11, {
        "get-retry-policy" => |ctx| Ok((RetryPolicy11::from(ctx.retry_policy()),));
        "set-retry-policy" => |ctx, policy: RetryPolicy11| ctx.set_retry_policy(policy.into()).await;
        "poll-promise" => |ctx, id: WitPromiseId| Ok((ctx.poll_promise(id.into()).await?,));
        "fork-worker" => |ctx, source: WitWorkerId, target: WitWorkerId, cut_off: u64| ctx.fork_worker(source.into(), target.into(), cut_off).await;
        "revert-worker" => |ctx, worker: WitWorkerId, target: WitRevertTarget| ctx.revert_worker(worker.into(), target).await;
        "resolve-component-id" => |ctx, reference: String| Ok((ctx.resolve_component(reference).await?.map(WitComponentId::from),));
        "resolve-worker-id" => |ctx, reference: String, name: String| Ok((ctx.resolve_worker(reference, name).await?.map(WitWorkerId::from),));
        "resolve-worker-id-strict" => |ctx, reference: String, name: String| {
            Ok((ctx.resolve_worker_strict(reference, name).await?.map(WitWorkerId::from),))
        };
        "worker-uri" => |_ctx, worker: WitWorkerId| Ok((WitUri { value: emet_model::WorkerId::from(worker).urn() },));
    });
    oplog::add(linker)?;
    context::add(linker)?;
    durable::add(linker)
}

fn add_common(linker: &mut Linker<WorkerCtx>, version: &str) -> wasmtime::Result<()> {
    functions!(linker, version, {
        "create-promise" => |ctx| Ok((WitPromiseId::from(ctx.create_promise().await?),));
        "await-promise" => |ctx, id: WitPromiseId| Ok((ctx.await_promise(id.into()).await?,));
        "complete-promise" => |ctx, id: WitPromiseId, data: Vec<u8>| Ok((ctx.complete_promise(id.into(), data).await?,));
        "delete-promise" => |ctx, id: WitPromiseId| ctx.delete_promise(id.into()).await;
        "get-oplog-index" => |ctx| Ok((ctx.oplog_index().await?,));
        "set-oplog-index" => |ctx, index: u64| ctx.jump(index).await;
        "oplog-commit" => |ctx, _replicas: u8| ctx.journal.flush().await;
        "mark-begin-operation" => |ctx| Ok((ctx.journal.begin_region().await?,));
        "mark-end-operation" => |ctx, begin: u64| ctx.end_region(begin).await;
        "get-oplog-persistence-level" => |ctx| Ok((WitLevel::from(ctx.journal.level()),));
        "set-oplog-persistence-level" => |ctx, level: WitLevel| ctx.journal.set_level(level.into()).await;
        "get-idempotence-mode" => |ctx| Ok((ctx.journal.idempotent,));
        "set-idempotence-mode" => |ctx, on: bool| {
            ctx.journal.idempotent = on;
            Ok(())
        };
        "generate-idempotency-key" => |ctx| Ok((WitUuid::from(ctx.generate_idempotency_key().await?),));
        "update-worker" => |ctx, worker: WitWorkerId, target: u64, mode: WitUpdateMode| {
            ctx.update_worker(worker.into(), target, mode.into()).await
        };
        "get-self-metadata" => |ctx| Ok((WitWorkerMetadata::from(ctx.self_metadata().await?),));
        "get-worker-metadata" => |ctx, worker: WitWorkerId| Ok((ctx.worker_metadata(worker.into()).await?.map(WitWorkerMetadata::from),));
    });
    Ok(())
}

fn add_get_workers(linker: &mut Linker<WorkerCtx>, version: &str) -> wasmtime::Result<()> {
    functions!(linker, version, {
        "[constructor]get-workers" => |ctx, component: WitComponentId, filter: Option<AnyFilter>, precise: bool| {
            let listing = GetWorkers::new(component.into(), filter.map(Into::into), precise);
            Ok((ctx.table.push(listing)?,))
        };
        "[method]get-workers.get-next" => |ctx, listing: Resource<GetWorkers>| {
            let page = ctx.next_workers(&listing).await?;
            Ok((page.map(|page| page.into_iter().map(WitWorkerMetadata::from).collect::<Vec<_>>()),))
        };
    });
    add_resource::<GetWorkers>(linker, version, "get-workers")
}
