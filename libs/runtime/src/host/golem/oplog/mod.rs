//! `golem:api/oplog` (guest spec 4.11): a guest reads the oplog of a worker, its own or another.
//!
//! Later versions of the interface have more kinds of entries, so `get-next` is defined without
//! static types: each guest gets the kinds that its version knows, and `no-op` for the others.
//! What is recorded of a page is where it ends. The entries before that do not change any more, so
//! a replay reads them again.

mod shape;

use super::super::functions;
use super::super::values::define_resource;
use super::WitWorkerId;
use crate::WorkerCtx;
use crate::log::{HostFn, HostFnInfo};
use crate::stop::Stop;
use crate::vals::{self, NoHandles};
use emet_api::{OplogPage, OplogPosition, PublicOplogEntry};
use emet_model::{WorkerError, WorkerId};
use emet_values::{Type, Value, json};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, Val, types};

/// Where a page ends: the next index, the component version there, and the number of entries.
type PageEnd = Option<(u64, u64, u64)>;
/// Worker, and the index where the page begins.
type Page = (String, u64);

const GET_NEXT: HostFn<Page, PageEnd> = HostFn::read_remote("golem::api::get_oplog::get_next");
const SEARCH_NEXT: HostFn<Page, PageEnd> =
    HostFn::read_remote("golem::api::search_oplog::get_next");

pub(super) const FUNCTIONS: &[&dyn HostFnInfo] = &[&GET_NEXT, &SEARCH_NEXT];

const OPLOG: &str = "golem:api/oplog@1.1.5";

/// Entries of one page (guest spec 4.11).
const PAGE: u64 = 100;

/// A reading under way.
struct Reading {
    worker: WorkerId,
    /// What the entries must fit.
    query: Option<String>,
    /// None: the end was reached.
    next: Option<OplogPosition>,
}

impl Reading {
    fn new(worker: WorkerId, start: u64, query: Option<String>) -> Self {
        Self {
            worker,
            query,
            next: Some(OplogPosition {
                next_oplog_index: start.max(1),
                current_component_version: 0,
            }),
        }
    }
}

/// The resource `get-oplog`.
struct GetOplog(Reading);
/// The resource `search-oplog`.
struct SearchOplog(Reading);

impl WorkerCtx {
    /// The next entries; none at the end.
    async fn next_entries(
        &mut self,
        function: &HostFn<Page, PageEnd>,
        worker: &WorkerId,
        query: Option<&str>,
        position: OplogPosition,
    ) -> wasmtime::Result<Option<OplogPage>> {
        let workers = self.node.workers()?;
        let recorded = self.journal.replay(function).await?;
        let count = match &recorded {
            Some(None) => return Ok(None),
            Some(Some((_, _, count))) => *count,
            None => PAGE,
        };
        let read = match query {
            None => workers.oplog(worker.clone(), position, count).await,
            Some(query) => workers.search_oplog(worker.clone(), query, position, count).await,
        };
        let mut page = read.map_err(refusal)?;
        match recorded.flatten() {
            Some((next_oplog_index, current_component_version, _)) => {
                page.next = Some(OplogPosition { next_oplog_index, current_component_version });
            }
            None => {
                let end = page.next.map(|n| {
                    (n.next_oplog_index, n.current_component_version, page.entries.len() as u64)
                });
                let end = end.filter(|_| !page.entries.is_empty());
                self.journal
                    .record(function, (worker.to_string(), position.next_oplog_index), &end)
                    .await?;
            }
        }
        Ok((!page.entries.is_empty()).then_some(page))
    }
}

/// A request that makes no sense fails the guest; anything else is the node's failure.
fn refusal(error: WorkerError) -> wasmtime::Error {
    match error {
        WorkerError::Unknown { .. } => Stop::from(error).into(),
        other => wasmtime::Error::msg(other.to_string()),
    }
}

/// What a `get-next` returns, in the type that the guest declares for it.
fn answer(
    ty: &types::ComponentFunc,
    page: Option<OplogPage>,
    with_index: bool,
) -> Result<Val, String> {
    let declared = ty.results().next().ok_or("get-next has no result")?;
    let declared = vals::type_of(&declared)?;
    let Type::Option(list) = &declared else {
        return Err("get-next does not return an option".into());
    };
    let Type::List(item) = list.as_ref() else {
        return Err("get-next does not return a list".into());
    };
    let entry_type = match (item.as_ref(), with_index) {
        (Type::Tuple(items), true) => items.get(1).ok_or("get-next returns no entries")?,
        (entry, _) => entry,
    };
    let value = match page {
        None => Value::none(),
        Some(page) => {
            let entries =
                page.entries.iter().map(|entry| entry_value(entry_type, entry, with_index));
            Value::some(Value::List(entries.collect::<Result<_, _>>()?))
        }
    };
    vals::lower(&declared, value, &mut NoHandles)
}

fn entry_value(ty: &Type, entry: &PublicOplogEntry, with_index: bool) -> Result<Value, String> {
    let shaped = shape::entry(&entry.entry, ty);
    let value = json::decode(ty, &shaped)
        .map_err(|e| format!("oplog entry {}: {}", entry.oplog_index, e.join("; ")))?;
    Ok(if with_index { Value::Tuple(vec![Value::U64(entry.oplog_index), value]) } else { value })
}

async fn get_next<T: Send + Sync + 'static>(
    mut store: StoreContextMut<'_, WorkerCtx>,
    ty: types::ComponentFunc,
    params: &[Val],
    results: &mut [Val],
    function: &HostFn<Page, PageEnd>,
    reading: fn(&mut T) -> &mut Reading,
) -> wasmtime::Result<()> {
    let Some(Val::Resource(handle)) = params.first() else {
        wasmtime::bail!("get-next needs its resource")
    };
    let handle = Resource::<T>::try_from_resource_any(*handle, &mut store)?;
    let ctx = store.data_mut();
    let found = reading(ctx.table.get_mut(&handle)?);
    let (worker, query, next) = (found.worker.clone(), found.query.clone(), found.next);
    let page = match next {
        None => None,
        Some(position) => ctx.next_entries(function, &worker, query.as_deref(), position).await?,
    };
    reading(ctx.table.get_mut(&handle)?).next = page.as_ref().and_then(|p| p.next);
    let answer = answer(&ty, page, query.is_some()).map_err(wasmtime::Error::msg)?;
    if let Some(result) = results.first_mut() {
        *result = answer;
    }
    Ok(())
}

pub(super) fn add(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, OPLOG, {
        "[constructor]get-oplog" => |ctx, worker: WitWorkerId, start: u64| {
            Ok((ctx.table.push(GetOplog(Reading::new(worker.into(), start, None)))?,))
        };
        "[constructor]search-oplog" => |ctx, worker: WitWorkerId, text: String| {
            Ok((ctx.table.push(SearchOplog(Reading::new(worker.into(), 1, Some(text))))?,))
        };
    });
    let mut interface = linker.instance(OPLOG)?;
    interface.func_new_async("[method]get-oplog.get-next", |store, ty, params, results| {
        Box::new(get_next::<GetOplog>(store, ty, params, results, &GET_NEXT, |r| &mut r.0))
    })?;
    interface.func_new_async("[method]search-oplog.get-next", |store, ty, params, results| {
        Box::new(get_next::<SearchOplog>(store, ty, params, results, &SEARCH_NEXT, |r| &mut r.0))
    })?;
    define_resource::<GetOplog>(&mut interface, "get-oplog")?;
    define_resource::<SearchOplog>(&mut interface, "search-oplog")
}
