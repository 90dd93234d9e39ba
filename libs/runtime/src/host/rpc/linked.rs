//! Client interfaces of other components, linked without generated code (guest spec 5.4): what a
//! component's `dynamicLinking` names is defined here by calls through the same mechanism as
//! `golem:rpc`.
//!
//! | Resource of the interface | Stands for |
//! |---|---|
//! | named like the exported interface, or without a target | its functions; or those of the world |
//! | with `subscribe` and `get` only | the result of a call under way |
//! | any other | the exported resource of that name |

use super::calls::{CancellationToken, FutureInvoke, Rpc};
use super::types::RpcError;
use crate::WorkerCtx;
use crate::vals::{self, Handles};
use emet_model::{Component as Metadata, ComponentId, DynamicLinkedInstance};
use emet_values::{Type, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;
use wasmtime::component::types::{ComponentFunc, ComponentInstance, ComponentItem};
use wasmtime::component::{Component, Linker, Resource, ResourceAny, ResourceType, Val};
use wasmtime::{AsContextMut, Engine, StoreContextMut};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;

/// A worker as the guest holds it; or one of its resources.
struct Stub {
    rpc: Rpc,
    /// Of a resource: the worker's URN and the number.
    handle: Option<(String, u64)>,
    /// Called when a resource is dropped.
    on_drop: Option<Arc<str>>,
}

/// The functions of one resource of a client interface.
type Members = BTreeMap<String, BTreeSet<String>>;

/// What a function of the interface does.
#[derive(Clone)]
enum Member {
    /// Connects to a worker.
    Connect,
    /// Connects, and makes a resource there.
    Construct { constructor: String, on_drop: Arc<str> },
    /// Calls a function.
    Call { function: String, kind: Kind },
    /// Of the result of a call.
    Subscribe,
    /// Of the result of a call.
    Get,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Waits for the result.
    Blocking,
    /// Gives a future of the result; nothing where there is none.
    Later,
    /// At a time, which is the last parameter.
    Scheduled,
}

/// Defines everything that the metadata of a component links to other components.
pub(in crate::host) fn link(
    linker: &mut Linker<WorkerCtx>,
    component: &Component,
    metadata: &Metadata,
) -> wasmtime::Result<()> {
    let ty = component.component_type();
    for (interface, DynamicLinkedInstance::WasmRpc { target_interface_name }) in
        &metadata.metadata.dynamic_linking
    {
        let Some((_, import)) = ty.imports(component.engine()).find(|(name, _)| name == interface)
        else {
            // Metadata may name more than the component uses.
            continue;
        };
        let ComponentItem::ComponentInstance(instance) = import.ty else {
            wasmtime::bail!("{interface} is linked to another component, but it is no interface");
        };
        define(linker, component.engine(), interface, &instance, target_interface_name)?;
    }
    Ok(())
}

fn define(
    linker: &mut Linker<WorkerCtx>,
    engine: &Engine,
    interface: &str,
    instance: &ComponentInstance,
    targets: &BTreeMap<String, String>,
) -> wasmtime::Result<()> {
    let members = members(instance.exports(engine).map(|(name, _)| name));
    let mut defined = linker.instance(interface)?;
    for (name, item) in instance.exports(engine) {
        match item.ty {
            // Types that the interface uses from elsewhere are resources, too.
            ComponentItem::Resource(_) if members.get(name).is_some_and(is_future) => {
                defined.resource(
                    name,
                    ResourceType::host::<FutureInvoke>(),
                    |mut store, rep| store.data_mut().rpc_forget(rep),
                )?;
            }
            ComponentItem::Resource(_) if members.contains_key(name) => {
                defined.resource_async(name, ResourceType::host::<Stub>(), |store, rep| {
                    Box::new(drop_stub(store, rep))
                })?;
            }
            ComponentItem::ComponentFunc(_) => {
                let member = member(name, &members, targets)
                    .map_err(|e| wasmtime::format_err!("{interface}: {e}"))?;
                let member = Arc::new(member);
                defined.func_new_async(name, move |store, ty, params, results| {
                    let member = member.clone();
                    Box::new(async move { call(store, &ty, params, results, &member).await })
                })?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Resource and function of an export name; the function of a constructor is empty.
fn split(name: &str) -> Option<(&str, &str)> {
    if let Some(resource) = name.strip_prefix("[constructor]") {
        return Some((resource, ""));
    }
    name.strip_prefix("[method]").or_else(|| name.strip_prefix("[static]"))?.split_once('.')
}

fn members<'a>(names: impl Iterator<Item = &'a str>) -> Members {
    let mut members = Members::new();
    for (resource, function) in names.filter_map(split) {
        members.entry(resource.to_owned()).or_default().insert(function.to_owned());
    }
    members
}

/// A component imports only those functions of an interface that it uses.
fn is_future(functions: &BTreeSet<String>) -> bool {
    functions.iter().all(|f| ["get", "subscribe"].contains(&f.as_str()))
}

/// What is called remotely for the functions of a stub.
fn target_of<'a>(resource: &str, targets: &'a BTreeMap<String, String>) -> (Option<&'a str>, bool) {
    let target = targets.get(resource).map(String::as_str).filter(|t| t.contains('/'));
    let last = target.and_then(|t| t.rsplit('/').next()).map(|t| t.split('@').next().unwrap_or(t));
    (target, last.is_some_and(|last| last != resource))
}

fn member(
    name: &str,
    members: &Members,
    targets: &BTreeMap<String, String>,
) -> Result<Member, String> {
    let (resource, function) =
        split(name).ok_or_else(|| format!("{name} is no function of a client interface"))?;
    let known = members.get(resource).ok_or_else(|| format!("{resource} is unknown"))?;
    if is_future(known) {
        return Ok(if function == "get" { Member::Get } else { Member::Subscribe });
    }
    let (target, is_resource) = target_of(resource, targets);
    let remote = |function: &str| match (target, is_resource) {
        (Some(interface), true) => format!("{interface}.{{[method]{resource}.{function}}}"),
        (Some(interface), false) => format!("{interface}.{{{function}}}"),
        (None, _) => function.to_owned(),
    };
    if function.is_empty() {
        let interface = target.unwrap_or_default();
        return Ok(match is_resource {
            false => Member::Connect,
            true => Member::Construct {
                constructor: format!("{interface}.{{[constructor]{resource}}}"),
                on_drop: format!("{interface}.{{[drop]{resource}}}").into(),
            },
        });
    }
    // The plain form of a function need not be imported; a function whose own name has the prefix is
    // told by its other form, which has it twice.
    let prefixed = |prefix: &str| {
        function.strip_prefix(prefix).filter(|_| !known.contains(&format!("{prefix}{function}")))
    };
    let (function, kind) = match (prefixed("blocking-"), prefixed("schedule-")) {
        (Some(plain), _) => (plain, Kind::Blocking),
        (None, Some(plain)) => (plain, Kind::Scheduled),
        (None, None) => (function, Kind::Later),
    };
    Ok(Member::Call { function: remote(function), kind })
}

/// Handles between the guest, which holds stubs, and the workers that own the resources.
struct StubHandles<'a> {
    store: StoreContextMut<'a, WorkerCtx>,
    failed: Option<String>,
}

impl StubHandles<'_> {
    fn handle_of(&mut self, resource: ResourceAny) -> wasmtime::Result<(String, u64)> {
        let owned = resource.owned();
        let stub = Resource::<Stub>::try_from_resource_any(resource, &mut self.store)?;
        let table = &mut self.store.data_mut().table;
        // An owned resource goes over to the callee: it is not dropped here.
        let handle =
            if owned { table.delete(stub)?.handle } else { table.get(&stub)?.handle.clone() };
        handle.ok_or_else(|| {
            wasmtime::format_err!("only resources of other workers can be passed to them")
        })
    }
}

impl Handles for StubHandles<'_> {
    fn lower(&mut self, uri: &str, id: u64, _owned: bool) -> Result<ResourceAny, String> {
        let rpc = Rpc::of_urn(uri).ok_or_else(|| format!("{uri} is no worker"))?;
        let stub = Stub { rpc, handle: Some((uri.to_owned(), id)), on_drop: None };
        let stub = self.store.data_mut().table.push(stub).map_err(|e| e.to_string())?;
        stub.try_into_resource_any(&mut self.store).map_err(|e| format!("{e:#}"))
    }

    fn lift(&mut self, resource: ResourceAny) -> Value {
        match self.handle_of(resource) {
            Ok((uri, resource_id)) => Value::Handle { uri, resource_id },
            Err(error) => {
                self.failed = Some(format!("{error:#}"));
                Value::Tuple(Vec::new())
            }
        }
    }
}

fn lift_all(
    mut store: StoreContextMut<'_, WorkerCtx>,
    types: &[Type],
    vals: &[Val],
) -> wasmtime::Result<Vec<Value>> {
    let mut handles = StubHandles { store: store.as_context_mut(), failed: None };
    let values: Result<Vec<Value>, String> =
        types.iter().zip(vals).map(|(ty, val)| vals::lift(ty, val.clone(), &mut handles)).collect();
    match handles.failed {
        Some(error) => Err(wasmtime::Error::msg(error)),
        None => values.map_err(wasmtime::Error::msg),
    }
}

/// The one result of a call, in the type that the guest declares.
fn lower_result(
    mut store: StoreContextMut<'_, WorkerCtx>,
    ty: &Type,
    value: Value,
) -> wasmtime::Result<Val> {
    let mismatches = emet_values::check(ty, &value);
    wasmtime::ensure!(
        mismatches.is_empty(),
        "the result of the call is of another type: {}",
        mismatches.join("; ")
    );
    let mut handles = StubHandles { store: store.as_context_mut(), failed: None };
    vals::lower(ty, value, &mut handles).map_err(wasmtime::Error::msg)
}

/// Results come as one tuple (or record): the interface declares at most one.
fn only_result(value: Value) -> Option<Value> {
    match value {
        Value::Tuple(items) | Value::Record(items) => items.into_iter().next(),
        other => Some(other),
    }
}

/// A typed call has no place for an error of the call itself: it fails the caller.
fn failed(function: &str, error: RpcError) -> wasmtime::Error {
    let (kind, text) = match error {
        RpcError::Protocol(text) => ("protocol-error", text),
        RpcError::Denied(text) => ("denied", text),
        RpcError::NotFound(text) => ("not-found", text),
        RpcError::RemoteInternal(text) => ("remote-internal-error", text),
    };
    wasmtime::format_err!("the call of {function} failed with {kind}: {text}")
}

async fn call(
    mut store: StoreContextMut<'_, WorkerCtx>,
    ty: &ComponentFunc,
    params: &[Val],
    results: &mut [Val],
    member: &Member,
) -> wasmtime::Result<()> {
    let result = match member {
        Member::Connect => {
            let rpc = connect(&mut store, params).await?;
            Some(push(&mut store, Stub { rpc, handle: None, on_drop: None })?)
        }
        Member::Construct { constructor, on_drop } => {
            Some(construct(&mut store, ty, params, constructor, on_drop).await?)
        }
        Member::Subscribe => {
            let future = this::<FutureInvoke>(&mut store, params)?;
            let pollable = store.data_mut().rpc_subscribe(future)?;
            Some(Val::Resource(pollable.try_into_resource_any(&mut store)?))
        }
        Member::Get => Some(get(&mut store, ty, params).await?),
        Member::Call { function, kind } => remote(&mut store, ty, params, function, *kind).await?,
    };
    if let (Some(slot), Some(result)) = (results.first_mut(), result) {
        *slot = result;
    }
    Ok(())
}

fn push<T: Send + 'static>(
    store: &mut StoreContextMut<'_, WorkerCtx>,
    value: T,
) -> wasmtime::Result<Val> {
    let resource = store.data_mut().table.push(value)?;
    Ok(Val::Resource(resource.try_into_resource_any(&mut *store)?))
}

fn this<T: 'static>(
    store: &mut StoreContextMut<'_, WorkerCtx>,
    params: &[Val],
) -> wasmtime::Result<Resource<T>> {
    match params.first() {
        Some(Val::Resource(resource)) => {
            Resource::<T>::try_from_resource_any(*resource, &mut *store)
        }
        _ => wasmtime::bail!("the function needs its resource"),
    }
}

/// The worker that the first parameter of a constructor names: by a URI, or by component and name.
async fn connect(
    store: &mut StoreContextMut<'_, WorkerCtx>,
    params: &[Val],
) -> wasmtime::Result<Rpc> {
    let Some(Val::Record(fields)) = params.first() else {
        wasmtime::bail!("the first parameter of a constructor names the worker")
    };
    let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value);
    match (field("value"), field("component-id"), field("worker-name")) {
        (Some(Val::String(uri)), _, _) => store.data_mut().rpc_by_uri(uri).await,
        (_, Some(component), Some(Val::String(name))) => {
            let component = component_id(component)
                .ok_or_else(|| wasmtime::format_err!("the worker's component is malformed"))?;
            Ok(Rpc::new(component, name.clone()))
        }
        _ => wasmtime::bail!("the first parameter of a constructor names the worker"),
    }
}

fn component_id(component: &Val) -> Option<ComponentId> {
    let inner = |val: &Val| if let Val::Record(fields) = val { Some(fields.clone()) } else { None };
    let (_, uuid) = inner(component)?.into_iter().next()?;
    match inner(&uuid)?.as_slice() {
        [(_, Val::U64(high)), (_, Val::U64(low))] => {
            Some(ComponentId(Uuid::from_u64_pair(*high, *low)))
        }
        _ => None,
    }
}

/// The declared types of all parameters but the first `skip`.
fn parameter_types(ty: &ComponentFunc, skip: usize) -> wasmtime::Result<Vec<Type>> {
    ty.params().skip(skip).map(|(_, ty)| vals::type_of(&ty).map_err(wasmtime::Error::msg)).collect()
}

async fn construct(
    store: &mut StoreContextMut<'_, WorkerCtx>,
    ty: &ComponentFunc,
    params: &[Val],
    constructor: &str,
    on_drop: &Arc<str>,
) -> wasmtime::Result<Val> {
    let rpc = connect(store, params).await?;
    let values = lift_all(
        store.as_context_mut(),
        &parameter_types(ty, 1)?,
        params.get(1..).unwrap_or_default(),
    )?;
    let made = store.data_mut().rpc_call(&rpc, constructor.to_owned(), values).await?;
    match made.map(only_result).map_err(|e| failed(constructor, e))? {
        Some(Value::Handle { uri, resource_id }) => push(
            store,
            Stub { rpc, handle: Some((uri, resource_id)), on_drop: Some(on_drop.clone()) },
        ),
        _ => wasmtime::bail!("{constructor} did not return a resource"),
    }
}

async fn get(
    store: &mut StoreContextMut<'_, WorkerCtx>,
    ty: &ComponentFunc,
    params: &[Val],
) -> wasmtime::Result<Val> {
    let future = this::<FutureInvoke>(store, params)?;
    let Some(answer) = store.data_mut().rpc_get(&future).await? else {
        return Ok(Val::Option(None));
    };
    let value = answer.map_err(|e| failed("a function of another worker", e))?;
    let declared =
        ty.results().next().ok_or_else(|| wasmtime::format_err!("get returns nothing"))?;
    let declared = vals::type_of(&declared).map_err(wasmtime::Error::msg)?;
    lower_result(store.as_context_mut(), &declared, Value::Option(only_result(value).map(Box::new)))
}

async fn remote(
    store: &mut StoreContextMut<'_, WorkerCtx>,
    ty: &ComponentFunc,
    params: &[Val],
    function: &str,
    kind: Kind,
) -> wasmtime::Result<Option<Val>> {
    let stub = this::<Stub>(store, params)?;
    let Stub { rpc, handle, .. } = store.data_mut().table.get(&stub)?;
    let (rpc, handle) =
        (rpc.clone(), handle.clone().map(|(uri, resource_id)| Value::Handle { uri, resource_id }));
    let mut given = params.get(1..).unwrap_or_default();
    let at = match (kind, given.split_last()) {
        (Kind::Scheduled, Some((at, rest))) => {
            given = rest;
            Some(
                datetime(at)
                    .ok_or_else(|| wasmtime::format_err!("the last parameter is no time"))?,
            )
        }
        _ => None,
    };
    let values = lift_all(store.as_context_mut(), &parameter_types(ty, 1)?, given)?;
    let values = handle.into_iter().chain(values).collect();
    let (ctx, function, has_result) =
        (store.data_mut(), function.to_owned(), ty.results().len() > 0);
    match (kind, at) {
        (Kind::Scheduled, Some(at)) => {
            let id = ctx.rpc_schedule(&rpc, at, function, values).await?;
            has_result.then(|| push(store, CancellationToken(id))).transpose()
        }
        (Kind::Later, _) if !has_result => {
            let sent = ctx.rpc_send(&rpc, function.clone(), values).await?;
            sent.map(|()| None).map_err(|e| failed(&function, e))
        }
        (Kind::Later, _) => {
            let future = ctx.rpc_start(&rpc, function, values).await?;
            Ok(Some(Val::Resource(future.try_into_resource_any(&mut *store)?)))
        }
        _ => {
            let answer = ctx.rpc_call(&rpc, function.clone(), values).await?;
            let value = answer.map_err(|e| failed(&function, e))?;
            let Some(declared) = ty.results().next() else { return Ok(None) };
            let declared = vals::type_of(&declared).map_err(wasmtime::Error::msg)?;
            let value = only_result(value)
                .ok_or_else(|| wasmtime::format_err!("{function} returned nothing"))?;
            lower_result(store.as_context_mut(), &declared, value).map(Some)
        }
    }
}

fn datetime(val: &Val) -> Option<Datetime> {
    let Val::Record(fields) = val else { return None };
    match fields.as_slice() {
        [(_, Val::U64(seconds)), (_, Val::U32(nanoseconds))] => {
            Some(Datetime { seconds: *seconds, nanoseconds: *nanoseconds })
        }
        _ => None,
    }
}

/// The resource behind a stub is dropped with it.
async fn drop_stub(mut store: StoreContextMut<'_, WorkerCtx>, rep: u32) -> wasmtime::Result<()> {
    let ctx = store.data_mut();
    let stub = ctx.table.delete(Resource::<Stub>::new_own(rep))?;
    let (Some((uri, resource_id)), Some(function)) = (stub.handle, stub.on_drop) else {
        return Ok(());
    };
    let dropped = ctx
        .rpc_call(&stub.rpc, function.to_string(), vec![Value::Handle { uri, resource_id }])
        .await?;
    dropped.map(drop).map_err(|e| failed(&function, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> (Members, BTreeMap<String, String>) {
        let names = [
            "[constructor]api",
            "[method]api.add",
            "[method]api.blocking-add",
            "[method]api.schedule-add",
            "[method]api.blocking-plan",
            "[method]api.blocking-blocking-plan",
            "[method]shop.blocking-only",
            "[constructor]cart",
            "[method]cart.total",
            "[method]cart.blocking-total",
            "[constructor]shop",
            "[method]shop.run",
            "[method]future-add-result.subscribe",
            "[method]future-add-result.get",
        ];
        let targets = [("api", "shop:cart/api@1.0.0"), ("cart", "shop:cart/api@1.0.0")];
        (members(names.into_iter()), targets.map(|(k, v)| (k.to_owned(), v.to_owned())).into())
    }

    #[test]
    fn functions_are_called_by_their_full_names() {
        let (members, targets) = shop();
        for (name, function, kind) in [
            ("[method]api.add", "shop:cart/api@1.0.0.{add}", Kind::Later),
            ("[method]api.blocking-add", "shop:cart/api@1.0.0.{add}", Kind::Blocking),
            ("[method]api.schedule-add", "shop:cart/api@1.0.0.{add}", Kind::Scheduled),
            ("[method]api.blocking-plan", "shop:cart/api@1.0.0.{blocking-plan}", Kind::Later),
            (
                "[method]cart.blocking-total",
                "shop:cart/api@1.0.0.{[method]cart.total}",
                Kind::Blocking,
            ),
            ("[method]shop.run", "run", Kind::Later),
            ("[method]shop.blocking-only", "only", Kind::Blocking),
        ] {
            match member(name, &members, &targets) {
                Ok(Member::Call { function: f, kind: k }) => {
                    assert_eq!((f.as_str(), k), (function, kind), "{name}")
                }
                _ => panic!("{name} is no call"),
            }
        }
    }

    #[test]
    fn resources_are_told_apart() {
        let (members, targets) = shop();
        assert!(matches!(member("[constructor]api", &members, &targets), Ok(Member::Connect)));
        assert!(matches!(member("[constructor]shop", &members, &targets), Ok(Member::Connect)));
        assert!(matches!(
            member("[constructor]cart", &members, &targets),
            Ok(Member::Construct { .. })
        ));
        assert!(matches!(
            member("[method]future-add-result.get", &members, &targets),
            Ok(Member::Get)
        ));
        assert!(member("plain", &members, &targets).is_err());
    }
}
