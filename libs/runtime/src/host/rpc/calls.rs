//! The calls. What they depend on, their keys above all, is durable before they leave (law L2). They
//! are not announced where idempotence is off, as other remote writes are: whoever is called knows
//! the key, so a call that is made again, after a crash or a suspension, has its effect once.

use super::cycles;
use super::types::{RecordedError, RpcError};
use super::under_way::Call;
use crate::WorkerCtx;
use crate::log::{HostFn, HostFnInfo};
use crate::node::Node;
use crate::stop::Stop;
use emet_api::{Awaited, Caller, Invocation, InvokeParameters, Target, Workers};
use emet_model::{ComponentId, IdempotencyKey, Timestamp, WorkerError, WorkerId};
use emet_values::{Value, binary};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use uuid::Uuid;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::Pollable;
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;

/// Encoded result.
pub(super) type Recorded = Result<Vec<u8>, RecordedError>;
/// The results of a call as one tuple or record.
pub(in crate::host) type Answer = Result<Value, RpcError>;

const UNIQUE_NAME: HostFn<(), String> =
    HostFn::read_local("golem::rpc::wasm-rpc::generate_unique_local_worker_id");
const KEY: HostFn<(), String> =
    HostFn::read_local("golem::rpc::wasm-rpc::invoke-and-await idempotency key");
const CALL: HostFn<(String, String), Recorded> =
    HostFn::write_once("golem::rpc::wasm-rpc::invoke-and-await result");
const SEND: HostFn<(String, String), Result<(), RecordedError>> =
    HostFn::write_once("golem::rpc::wasm-rpc::invoke");
const GET: HostFn<(), Option<Recorded>> =
    HostFn::write_once("golem::rpc::future-invoke-result::get");
const SCHEDULE: HostFn<(String, String), String> =
    HostFn::write_once("golem::rpc::wasm-rpc::schedule_invocation");
const CANCEL: HostFn<String, ()> = HostFn::write_remote("golem::rpc::cancellation-token::cancel");

pub(in crate::host) const FUNCTIONS: &[&dyn HostFnInfo] =
    &[&UNIQUE_NAME, &KEY, &CALL, &SEND, &GET, &SCHEDULE, &CANCEL];

/// A worker to be called. Nothing is asked of it before the first call.
#[derive(Clone)]
pub(crate) struct Rpc(Target);

impl Rpc {
    pub(super) fn new(component_id: ComponentId, worker_name: String) -> Self {
        Self(Target { component_id, worker_name: Some(worker_name) })
    }

    /// The worker that owns a handle.
    pub(super) fn of_urn(urn: &str) -> Option<Self> {
        let (component, name) = WorkerId::parse_urn(urn)?;
        Some(Self::new(component, name?))
    }
}

/// For checkpoints: a handle is nothing but the name of its worker.
impl WorkerCtx {
    /// Component and name of the worker that a handle stands for.
    pub(crate) fn rpc_target(&self, rep: u32) -> Option<(String, Option<String>)> {
        let rpc = self.table.get(&Resource::<Rpc>::new_borrow(rep)).ok()?;
        Some((rpc.0.component_id.to_string(), rpc.0.worker_name.clone()))
    }

    /// Makes a handle for a worker; gives its place in the table.
    pub(crate) fn rpc_again(
        &mut self,
        component: &str,
        name: Option<String>,
    ) -> wasmtime::Result<u32> {
        let component_id = component
            .parse()
            .map_err(|e| wasmtime::format_err!("{component} is no component: {e}"))?;
        Ok(self.table.push(Rpc(Target { component_id, worker_name: name }))?.rep())
    }
}

/// A scheduled invocation that can be cancelled.
pub(crate) struct CancellationToken(pub(super) String);

/// A call in the background.
pub(crate) enum FutureInvoke {
    /// Not sent by this instance: the log may hold its result.
    Dormant(Box<Prepared>),
    Running(Call),
    Consumed,
}

/// Everything a call needs.
#[derive(Clone)]
pub(crate) struct Prepared {
    node: Arc<Node>,
    workers: Arc<dyn Workers>,
    target: Target,
    invocation: Invocation,
}

impl Prepared {
    /// The worker that is called, and the key.
    fn awaited(&self) -> Awaited {
        let worker_name = self.target.worker_name.clone().unwrap_or_default();
        let key = self.invocation.idempotency_key.clone().unwrap_or_else(IdempotencyKey::random);
        Awaited { worker: WorkerId::new(self.target.component_id, worker_name), key }
    }

    async fn call(self) -> Recorded {
        match self.workers.invoke_and_await(self.target, self.invocation).await {
            Ok(typed) => Ok(binary::encode(&typed.value)),
            Err(error) => Err(answered(&self.node, error).await),
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for FutureInvoke {
    async fn ready(&mut self) {
        // Before anything waits, dormant calls are sent (`rpc_send_dormant`).
        if let Self::Running(call) = self {
            call.ended().await;
        }
    }
}

/// An error as the answer to a call. One of a node that is stopping is none: nothing is recorded,
/// and the call is made again where the caller goes on.
async fn answered(node: &Node, error: WorkerError) -> RecordedError {
    if node.stopping.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    RpcError::from(error).into()
}

fn answer(recorded: Recorded) -> wasmtime::Result<Answer> {
    match recorded {
        Ok(bytes) => {
            Ok(Ok(binary::decode(&bytes).map_err(|e| wasmtime::Error::msg(e.to_string()))?))
        }
        Err(error) => Ok(Err(error.into())),
    }
}

impl WorkerCtx {
    pub(super) async fn rpc_by_uri(&mut self, uri: &str) -> wasmtime::Result<Rpc> {
        match WorkerId::parse_urn(uri) {
            Some((component, Some(name))) => Ok(Rpc::new(component, name)),
            Some((component, None)) => self.rpc_unnamed(component).await,
            None => {
                wasmtime::bail!("Invalid URI: {uri}. Must be urn:worker:component-id/worker-name")
            }
        }
    }

    /// A fresh worker for every resource. The name is derived, so that it is the same again where
    /// local reads are not recorded.
    pub(super) async fn rpc_unnamed(&mut self, component: ComponentId) -> wasmtime::Result<Rpc> {
        let name = match self.journal.replay(&UNIQUE_NAME).await? {
            Some(name) => name,
            None => {
                let place = self.journal.position();
                let name =
                    Uuid::new_v5(&component.0, format!("{}/{place}", self.worker.urn()).as_bytes())
                        .to_string();
                self.journal.record(&UNIQUE_NAME, (), &name).await?;
                name
            }
        };
        Ok(Rpc::new(component, name))
    }

    /// What every call starts with: what a new target inherits, and the key.
    async fn rpc_prepare(
        &mut self,
        rpc: &Rpc,
        function: String,
        params: Vec<Value>,
    ) -> wasmtime::Result<Prepared> {
        let target = rpc.0.clone();
        let key = match self.journal.replay(&KEY).await? {
            Some(key) => key,
            None => {
                let key = self.rpc_key().to_string();
                self.journal.record(&KEY, (), &key).await?;
                key
            }
        };
        // Neither changes while the worker lives, so nothing of them needs to be recorded.
        let (args, env) = (self.args.clone(), self.full_environment());
        let env = env.into_iter().filter(|(name, _)| !name.starts_with("GOLEM_")).collect();
        let invocation = Invocation {
            function,
            parameters: InvokeParameters::Values(params),
            idempotency_key: Some(IdempotencyKey(key)),
            key_is_new: false,
            trace: emet_telemetry::trace::current(self.trace_headers()),
            caller: Some(Caller { worker_id: self.worker.clone(), args, env }),
        };
        Ok(Prepared { node: self.node.clone(), workers: self.node.workers()?, target, invocation })
    }

    /// The key of a call: derived as guests derive theirs (guest spec 4.7), and from the caller's
    /// identity. Without it two workers that were invoked with the same key, as a client may well
    /// do, would make calls with the same keys, and the second would get the answer of the first.
    fn rpc_key(&mut self) -> Uuid {
        let key = self.derive_key();
        Uuid::new_v5(&key, self.worker.urn().as_bytes())
    }

    /// Sends a call, unless it is under way already.
    fn rpc_under_way(&mut self, prepared: Prepared) -> Call {
        let of = prepared.awaited();
        match self.under_way.find(&of.key) {
            Some(call) => call,
            None => self.under_way.insert(Call::start(of, prepared.call())),
        }
    }

    /// Calls, and waits for the answer. Nobody answers a call to oneself while one waits for it.
    async fn rpc_answer(&mut self, prepared: Prepared) -> wasmtime::Result<Recorded> {
        if prepared.awaited().worker == self.worker {
            return Ok(Err((3, cycles::describe(&[self.worker.clone(), self.worker.clone()]))));
        }
        self.before_waiting().await?;
        let call = self.rpc_under_way(prepared);
        self.until_ended(&call).await?;
        self.under_way.remove(&call);
        call.answer().ok_or_else(|| wasmtime::format_err!("a call that has ended has no answer"))
    }

    pub(super) async fn rpc_call(
        &mut self,
        rpc: &Rpc,
        function: String,
        params: Vec<Value>,
    ) -> wasmtime::Result<Answer> {
        let prepared = self.rpc_prepare(rpc, function.clone(), params).await?;
        self.journal.flush().await?;
        let recorded = match self.journal.replay(&CALL).await? {
            Some(recorded) => recorded,
            None => {
                let target = target_urn(&prepared.target);
                let recorded = self.rpc_answer(prepared).await?;
                self.journal.record(&CALL, (target, function), &recorded).await?;
                recorded
            }
        };
        answer(recorded)
    }

    pub(super) async fn rpc_send(
        &mut self,
        rpc: &Rpc,
        function: String,
        params: Vec<Value>,
    ) -> wasmtime::Result<Result<(), RpcError>> {
        let prepared = self.rpc_prepare(rpc, function.clone(), params).await?;
        self.journal.flush().await?;
        let recorded = match self.journal.replay(&SEND).await? {
            Some(recorded) => recorded,
            None => {
                let target = target_urn(&prepared.target);
                self.before_waiting().await?;
                let sent = prepared.workers.invoke(prepared.target, prepared.invocation).await;
                let recorded = match sent {
                    Ok(()) => Ok(()),
                    Err(error) => Err(answered(&self.node, error).await),
                };
                self.journal.record(&SEND, (target, function), &recorded).await?;
                recorded
            }
        };
        Ok(recorded.map_err(RpcError::from))
    }

    pub(super) async fn rpc_start(
        &mut self,
        rpc: &Rpc,
        function: String,
        params: Vec<Value>,
    ) -> wasmtime::Result<Resource<FutureInvoke>> {
        let prepared = self.rpc_prepare(rpc, function, params).await?;
        let future = if self.journal.is_live() {
            self.journal.flush().await?;
            FutureInvoke::Running(self.rpc_under_way(prepared))
        } else {
            match self.under_way.find(&prepared.awaited().key) {
                Some(call) => FutureInvoke::Running(call),
                None => FutureInvoke::Dormant(Box::new(prepared)),
            }
        };
        let dormant = matches!(future, FutureInvoke::Dormant(_));
        let future = self.table.push(future)?;
        if dormant {
            self.dormant.push(future.rep());
        }
        Ok(future)
    }

    /// Sends the calls that were begun before the replay ended, and whose results it did not find.
    /// They were under way at the same time, and are again.
    pub(in crate::host) fn rpc_send_dormant(&mut self) {
        for rep in std::mem::take(&mut self.dormant) {
            let future = Resource::<FutureInvoke>::new_borrow(rep);
            // Some were dropped, or their results taken, in the replay.
            let prepared = match self.table.get(&future) {
                Ok(FutureInvoke::Dormant(prepared)) => (**prepared).clone(),
                _ => continue,
            };
            let call = self.rpc_under_way(prepared);
            if let Ok(state) = self.table.get_mut(&future) {
                *state = FutureInvoke::Running(call);
            }
        }
    }

    /// Nobody is going to ask for the result of a call.
    pub(super) fn rpc_forget(&mut self, rep: u32) -> wasmtime::Result<()> {
        if let FutureInvoke::Running(call) =
            self.table.delete(Resource::<FutureInvoke>::new_own(rep))?
        {
            self.under_way.remove(&call);
        }
        Ok(())
    }

    pub(super) async fn rpc_get(
        &mut self,
        future: &Resource<FutureInvoke>,
    ) -> wasmtime::Result<Option<Answer>> {
        if matches!(self.table.get(future)?, FutureInvoke::Consumed) {
            wasmtime::bail!("future-invoke-result already consumed");
        }
        let recorded = match self.journal.replay(&GET).await? {
            Some(recorded) => recorded,
            None => {
                self.rpc_send_dormant();
                let recorded = match self.table.get(future)? {
                    FutureInvoke::Running(call) => call.answer(),
                    _ => None,
                };
                self.journal.record(&GET, (), &recorded).await?;
                recorded
            }
        };
        match recorded {
            None => Ok(None),
            Some(recorded) => {
                let taken = std::mem::replace(self.table.get_mut(future)?, FutureInvoke::Consumed);
                if let FutureInvoke::Running(call) = taken {
                    self.under_way.remove(&call);
                }
                answer(recorded).map(Some)
            }
        }
    }

    pub(super) async fn rpc_schedule(
        &mut self,
        rpc: &Rpc,
        at: Datetime,
        function: String,
        params: Vec<Value>,
    ) -> wasmtime::Result<String> {
        let prepared = self.rpc_prepare(rpc, function.clone(), params).await?;
        self.journal.flush().await?;
        let id = match self.journal.replay(&SCHEDULE).await? {
            Some(id) => id,
            None => {
                let target = target_urn(&prepared.target);
                let at = Timestamp(
                    at.seconds
                        .saturating_mul(1000)
                        .saturating_add(u64::from(at.nanoseconds / 1_000_000)),
                );
                let id = prepared
                    .workers
                    .schedule(prepared.target, prepared.invocation, at)
                    .await
                    .map_err(node)?;
                self.journal.record(&SCHEDULE, (target, function), &id).await?;
                id
            }
        };
        Ok(id)
    }

    pub(super) async fn rpc_cancel(
        &mut self,
        token: &Resource<CancellationToken>,
    ) -> wasmtime::Result<()> {
        let id = self.table.get(token)?.0.clone();
        self.journal.flush().await?;
        if self.journal.replay(&CANCEL).await?.is_none() {
            self.node.workers()?.cancel_scheduled(&id).await.map_err(node)?;
            self.journal.record(&CANCEL, id, &()).await?;
        }
        Ok(())
    }
}

fn node(error: WorkerError) -> wasmtime::Error {
    Stop::Node(error).into()
}

fn target_urn(target: &Target) -> String {
    WorkerId::new(target.component_id, target.worker_name.clone().unwrap_or_default()).urn()
}
