//! A worker in memory: its instance, and calls of its exports.

use crate::checkpoint::Fresh;
use crate::component::Prepared;
use crate::ctx::WorkerCtx;
use crate::host::rpc::Waiting;
use crate::resources::{GuestResources, IndexKey};
use crate::vals;
use emet_model::{WorkerError, incoming_http};
use emet_oplog::EntryKind;
use emet_values::{FunctionName, FunctionRef, FunctionType, ResolvedFunction, Value, Wit, wave};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::component::{Func, Instance as WasmInstance, Val};
use wasmtime::{Store, UpdateDeadline};

/// Most resource handles that a guest may hold (docs/limits.md).
const MAX_HANDLES: usize = 100_000;
/// Most bytes that one call from the guest may lift (docs/limits.md).
const MAX_LIFTED: usize = 256 << 20;

/// A worker in memory.
pub struct Instance {
    pub(crate) store: Store<WorkerCtx>,
    pub(crate) instance: WasmInstance,
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) resources: GuestResources,
    /// What its state is told against; or why it cannot be saved.
    pub(crate) fresh: Result<Arc<Fresh>, String>,
    functions: HashMap<String, Arc<Export>>,
    ran: Duration,
}

/// An exported function that was looked up.
struct Export {
    name: FunctionName,
    resolved: ResolvedFunction,
    func: Option<Func>,
}

impl Instance {
    /// Instantiates a component version. Initialisers of the component run here.
    pub async fn new(prepared: Arc<Prepared>, ctx: WorkerCtx) -> wasmtime::Result<Self> {
        let uri = ctx.worker.urn();
        let mut store = Store::new(prepared.pre.engine(), ctx);
        store.limiter_async(|ctx| &mut ctx.memory);
        store.set_max_component_handles(MAX_HANDLES);
        store.set_hostcall_fuel(MAX_LIFTED);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|store| Ok(on_epoch(store.data())));
        let instance = prepared.pre.instantiate_async(&mut store).await?;
        let mut this = Self {
            store,
            instance,
            prepared,
            resources: GuestResources::new(uri),
            fresh: Err("it is not known what it started from".into()),
            functions: HashMap::new(),
            ran: Duration::ZERO,
        };
        this.fresh = this.read_fresh().await?;
        Ok(this)
    }

    /// The component version.
    pub fn metadata(&self) -> &emet_model::Component {
        &self.prepared.metadata
    }

    /// How long calls have executed, without what they waited; replay included.
    pub fn ran(&self) -> Duration {
        self.ran
    }

    /// Starts [`Self::ran`] over.
    pub fn reset_ran(&mut self) {
        self.ran = Duration::ZERO;
    }

    /// The calls that the worker waits for, after it was stopped because it waits.
    pub fn take_waiting(&mut self) -> Option<Waiting> {
        self.ctx().take_waiting()
    }

    /// State of the host functions.
    pub fn ctx(&mut self) -> &mut WorkerCtx {
        self.store.data_mut()
    }

    /// State of the host functions.
    pub fn ctx_ref(&self) -> &WorkerCtx {
        self.store.data()
    }

    /// Calls an exported function. The outer error is a trap; the inner one a request that makes
    /// no sense for this version of the component.
    pub async fn call(
        &mut self,
        function: &str,
        params: Vec<Value>,
    ) -> wasmtime::Result<Result<Value, WorkerError>> {
        // Epochs that passed while the worker was idle are none of the call's.
        self.store.set_epoch_deadline(1);
        let mut ran = Duration::ZERO;
        let result = timed(self.execute(function, params), &mut ran).await;
        self.ran += ran;
        result
    }

    async fn execute(
        &mut self,
        function: &str,
        params: Vec<Value>,
    ) -> wasmtime::Result<Result<Value, WorkerError>> {
        let export = match self.export(function) {
            Ok(export) => export,
            Err(reason) => return Ok(Err(WorkerError::invalid(reason))),
        };
        if export.resolved.interface.as_deref() == Some(incoming_http::INTERFACE) {
            return self.call_handler(params).await;
        }
        let called = match &export.name.function {
            FunctionRef::Drop(_) => return self.drop_resource(&params).await,
            FunctionRef::IndexedDrop { .. } => return self.drop_indexed(&export).await,
            FunctionRef::IndexedConstructor { .. } => {
                let id = self.indexed_resource(&export).await?;
                return Ok(id.map(|id| Value::Tuple(vec![self.resources.handle(id)])));
            }
            FunctionRef::IndexedMethod { .. } | FunctionRef::IndexedStatic { .. } => {
                let id = match self.indexed_resource(&export).await? {
                    Ok(id) => id,
                    Err(error) => return Ok(Err(error)),
                };
                let handle = self.resources.handle(id);
                let is_method = export.resolved.name.starts_with("[method]");
                let params = if is_method {
                    std::iter::once(handle).chain(params).collect()
                } else {
                    params
                };
                self.call_export(&export, params).await?
            }
            _ => self.call_export(&export, params).await?,
        };
        Ok(called)
    }

    /// Whether the component exports a function.
    pub fn has_export(&mut self, function: &str) -> bool {
        self.export(function).is_ok_and(|e| e.func.is_some())
    }

    fn export(&mut self, function: &str) -> Result<Arc<Export>, String> {
        if let Some(export) = self.functions.get(function) {
            return Ok(export.clone());
        }
        let name = FunctionName::parse(function)?;
        let resolved = name.resolve(&self.prepared.metadata.metadata.exports)?;
        let func = self.find(resolved.interface.as_deref(), &resolved.name);
        let export = Arc::new(Export { name, resolved, func });
        self.functions.insert(function.to_owned(), export.clone());
        Ok(export)
    }

    fn find(&mut self, interface: Option<&str>, function: &str) -> Option<Func> {
        let parent = match interface {
            Some(interface) => {
                Some(self.instance.get_export_index(&mut self.store, None, interface)?)
            }
            None => None,
        };
        let index = self.instance.get_export_index(&mut self.store, parent.as_ref(), function)?;
        self.instance.get_func(&mut self.store, index)
    }

    async fn call_export(
        &mut self,
        export: &Export,
        params: Vec<Value>,
    ) -> wasmtime::Result<Result<Value, WorkerError>> {
        let Some(func) = export.func else {
            return Ok(Err(WorkerError::invalid(format!(
                "could not load function {}",
                export.resolved.name
            ))));
        };
        let signature = &export.resolved.typ;
        let lowered: Result<Vec<Val>, String> = signature
            .params
            .iter()
            .zip(params)
            .map(|((_, ty), value)| vals::lower(ty, value, &mut self.resources))
            .collect();
        let lowered = match lowered {
            Ok(lowered) => lowered,
            Err(details) => return Ok(Err(WorkerError::ValueMismatch { details })),
        };
        let mut results = vec![Val::Bool(false); signature.results.len()];
        func.call_async(&mut self.store, &lowered, &mut results).await?;
        let lifted: Result<Vec<Value>, String> = signature
            .results
            .iter()
            .zip(results)
            .map(|((_, ty), val)| vals::lift(ty, val, &mut self.resources))
            .collect();
        self.note_resources();
        let values = lifted.map_err(wasmtime::Error::msg)?;
        Ok(Ok(result_value(signature, values)))
    }

    /// An incoming HTTP request (guest spec 8.6).
    async fn call_handler(
        &mut self,
        params: Vec<Value>,
    ) -> wasmtime::Result<Result<Value, WorkerError>> {
        let handler =
            incoming_http::handler(&self.prepared.metadata.metadata.exports).map(str::to_owned);
        let Some(handler) =
            handler.and_then(|interface| self.find(Some(&interface), incoming_http::HANDLE))
        else {
            return Ok(Err(WorkerError::invalid(
                "the component does not export wasi:http/incoming-handler",
            )));
        };
        let request = params.into_iter().next().ok_or_else(|| "no request".to_owned());
        let request = request
            .and_then(|value| incoming_http::Request::from_value(value).map_err(|e| e.to_string()));
        let request = match request {
            Ok(request) => request,
            Err(details) => return Ok(Err(WorkerError::ValueMismatch { details })),
        };
        let response =
            crate::host::http::incoming::handle(&mut self.store, handler, request).await?;
        Ok(response
            .map(|response| Value::Tuple(vec![response.into_value()]))
            .map_err(WorkerError::invalid))
    }

    fn note_resources(&mut self) {
        let (created, dropped) = self.resources.take_changes();
        let journal = &mut self.store.data_mut().journal;
        if journal.is_live() {
            for id in created {
                journal.add(EntryKind::CreateResource(id));
            }
            for id in dropped {
                journal.add(EntryKind::DropResource(id));
            }
        }
    }

    /// The resource that inline arguments name, constructed on first use within this invocation.
    async fn indexed_resource(
        &mut self,
        export: &Export,
    ) -> wasmtime::Result<Result<u64, WorkerError>> {
        let (Some(constructor_name), Some(texts)) =
            (export.name.index_constructor(), export.name.function.index())
        else {
            return Ok(Err(WorkerError::invalid("the function name has no constructor arguments")));
        };
        let resource = export.name.function.resource().unwrap_or_default();
        let constructor = match self.export(&constructor_name.to_string()) {
            Ok(constructor) => constructor,
            Err(reason) => return Ok(Err(WorkerError::invalid(reason))),
        };
        let signature = &constructor.resolved.typ;
        let params = match emet_values::indexed_params(texts, signature) {
            Ok(params) => params,
            Err(errors) => {
                return Ok(Err(WorkerError::ParamTypeMismatch { details: errors.join("; ") }));
            }
        };
        let key = IndexKey {
            resource: format!(
                "{}/{resource}",
                constructor.resolved.interface.as_deref().unwrap_or("")
            ),
            parameters: signature
                .params
                .iter()
                .zip(&params)
                .map(|((_, ty), value)| wave::print(ty, value))
                .collect(),
        };
        if let Some(id) = self.resources.find(&key) {
            return Ok(Ok(id));
        }
        let made = match self.call_export(&constructor, params).await? {
            Ok(made) => made,
            Err(error) => return Ok(Err(error)),
        };
        let Some(id) = only_handle(&made) else {
            return Ok(Err(WorkerError::invalid("the constructor did not return a resource")));
        };
        self.resources.index(key.clone(), id);
        let journal = &mut self.store.data_mut().journal;
        if journal.is_live() {
            journal.add(EntryKind::DescribeResource {
                id,
                name: resource.to_owned(),
                parameters: key.parameters,
            });
        }
        Ok(Ok(id))
    }

    async fn drop_resource(
        &mut self,
        params: &[Value],
    ) -> wasmtime::Result<Result<Value, WorkerError>> {
        let [Value::Handle { uri, resource_id }] = params else {
            return Ok(Err(WorkerError::ParamTypeMismatch {
                details: format!("expected 1, got {} parameters", params.len()),
            }));
        };
        match self.resources.id_of(uri, *resource_id) {
            Ok(id) => self.drop_by_id(id).await.map(Ok),
            Err(details) => Ok(Err(WorkerError::ValueMismatch { details })),
        }
    }

    async fn drop_indexed(
        &mut self,
        export: &Export,
    ) -> wasmtime::Result<Result<Value, WorkerError>> {
        match self.indexed_resource(export).await? {
            Ok(id) => self.drop_by_id(id).await.map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Dropping what is unknown succeeds.
    async fn drop_by_id(&mut self, id: u64) -> wasmtime::Result<Value> {
        if let Some(resource) = self.resources.remove(id) {
            resource.resource_drop_async(&mut self.store).await?;
        }
        self.note_resources();
        Ok(Value::Tuple(vec![]))
    }
}

/// The result as callers see it: a tuple, or a record where results are named.
fn result_value(signature: &FunctionType, values: Vec<Value>) -> Value {
    match signature.results.iter().any(|(name, _)| name.is_some()) {
        true => Value::Record(values),
        false => Value::Tuple(values),
    }
}

fn only_handle(result: &Value) -> Option<u64> {
    match result {
        Value::Tuple(items) | Value::Record(items) => match items.as_slice() {
            [Value::Handle { resource_id, .. }] => Some(*resource_id),
            _ => None,
        },
        _ => None,
    }
}

/// Adds the time in which a future executes, and not waits.
async fn timed<T>(future: impl Future<Output = T>, ran: &mut Duration) -> T {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        let begun = Instant::now();
        let polled = future.as_mut().poll(cx);
        *ran += begun.elapsed();
        polled
    })
    .await
}

/// A running guest is looked at each epoch: others get their turn, and what it did is committed,
/// so that a crash loses no more than an epoch's work.
fn on_epoch(ctx: &WorkerCtx) -> UpdateDeadline {
    let writer = (ctx.journal.is_live() && ctx.journal.writer.buffered() > 0)
        .then(|| ctx.journal.writer.clone());
    UpdateDeadline::YieldCustom(
        1,
        Box::pin(async move {
            match writer {
                // A failure is kept by the writer and met by the next entry that must be durable.
                Some(writer) => drop(writer.commit().await),
                None => tokio::task::yield_now().await,
            }
        }),
    )
}
