//! The calls.

use super::types::{RecordedError, RpcError};
use super::waiting::until_answered;
use crate::WorkerCtx;
use crate::log::{HostFn, HostFnInfo};
use crate::stop::Stop;
use emet_api::{Caller, Invocation, InvokeParameters, Target, Workers};
use emet_model::{ComponentId, IdempotencyKey, Timestamp, WorkerError, WorkerId};
use emet_values::{Value, binary};
use std::sync::Arc;
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
    HostFn::write_remote("golem::rpc::wasm-rpc::invoke-and-await result");
const SEND: HostFn<(String, String), Result<(), RecordedError>> =
    HostFn::write_remote("golem::rpc::wasm-rpc::invoke");
const GET: HostFn<(), Option<Recorded>> =
    HostFn::write_remote("golem::rpc::future-invoke-result::get");
const SCHEDULE: HostFn<(String, String), String> =
    HostFn::write_remote("golem::rpc::wasm-rpc::schedule_invocation");
const CANCEL: HostFn<String, ()> = HostFn::write_remote("golem::rpc::cancellation-token::cancel");

pub(in crate::host) const FUNCTIONS: &[&dyn HostFnInfo] =
    &[&UNIQUE_NAME, &KEY, &CALL, &SEND, &GET, &SCHEDULE, &CANCEL];

/// Names the workers that wait for this call, from the first to the caller; passed with the call,
/// so that a call into one of them is refused rather than never answered.
const CHAIN: &str = "emet-waiting";

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
    Running(tokio::task::JoinHandle<Recorded>),
    Done(Recorded),
    Consumed,
}

/// Everything a call needs.
#[derive(Clone)]
pub(crate) struct Prepared {
    workers: Arc<dyn Workers>,
    target: Target,
    invocation: Invocation,
}

impl Prepared {
    async fn call(self) -> Recorded {
        match self.workers.invoke_and_await(self.target, self.invocation).await {
            Ok(typed) => Ok(binary::encode(&typed.value)),
            Err(error) => Err(RpcError::from(error).into()),
        }
    }
}

impl FutureInvoke {
    /// The call under way, for somebody else to wait for: the instance is being given up.
    pub(super) fn take_task(&mut self) -> Option<tokio::task::JoinHandle<Recorded>> {
        // In its place stays one that has ended: this is dropped with the instance.
        match self {
            Self::Running(task) => {
                Some(std::mem::replace(task, tokio::spawn(std::future::ready(Ok(Vec::new())))))
            }
            _ => None,
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for FutureInvoke {
    async fn ready(&mut self) {
        self.start();
        if let Self::Running(task) = self {
            let lost = |e: tokio::task::JoinError| Err((3, format!("the call was lost: {e}")));
            *self = Self::Done(task.await.unwrap_or_else(lost));
        }
    }
}

impl FutureInvoke {
    fn start(&mut self) {
        if let Self::Dormant(prepared) = self {
            *self = Self::Running(tokio::spawn((**prepared).clone().call()));
        }
    }
}

impl Drop for FutureInvoke {
    fn drop(&mut self) {
        if let Self::Running(task) = self {
            task.abort();
        }
    }
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
        let args = self.get_arguments().await?;
        let env = self.get_environment().await?;
        let key = match self.journal.replay(&KEY).await? {
            Some(key) => key,
            None => {
                let key = self.derive_key().to_string();
                self.journal.record(&KEY, (), &key).await?;
                key
            }
        };
        let env = env.into_iter().filter(|(name, _)| !name.starts_with("GOLEM_")).collect();
        let invocation = Invocation {
            function,
            parameters: InvokeParameters::Values(params),
            idempotency_key: Some(IdempotencyKey(key)),
            trace: emet_telemetry::trace::current(self.trace_headers()),
            caller: Some(Caller { worker_id: self.worker.clone(), args, env }),
        };
        Ok(Prepared { workers: self.node.workers()?, target, invocation })
    }

    /// The workers that wait for this one, and this one.
    fn rpc_chain(&self) -> String {
        let before = self
            .journal
            .current_trace
            .iter()
            .find(|(name, _)| name == CHAIN)
            .map_or("", |(_, chain)| chain);
        if before.is_empty() {
            self.worker.urn()
        } else {
            format!("{before} {}", self.worker.urn())
        }
    }

    pub(super) async fn rpc_call(
        &mut self,
        rpc: &Rpc,
        function: String,
        params: Vec<Value>,
    ) -> wasmtime::Result<Answer> {
        let mut prepared = self.rpc_prepare(rpc, function.clone(), params).await?;
        let begin = self.journal.before_remote_write().await?;
        let recorded = match self.journal.replay(&CALL).await? {
            Some(recorded) => recorded,
            None => {
                let target = target_urn(&prepared.target);
                let chain = self.rpc_chain();
                let recorded = if chain.split(' ').any(|waiting| waiting == target) {
                    let text = format!(
                        "the call can never be answered: {target} waits for it ({} -> {target})",
                        chain.replace(' ', " -> ")
                    );
                    Err((3, text))
                } else {
                    prepared.invocation.trace.push((CHAIN.to_owned(), chain));
                    self.before_waiting().await?;
                    until_answered(self, tokio::spawn(prepared.call())).await?
                };
                self.journal.record(&CALL, (target, function), &recorded).await?;
                recorded
            }
        };
        self.journal.after_remote_write(begin).await?;
        answer(recorded)
    }

    pub(super) async fn rpc_send(
        &mut self,
        rpc: &Rpc,
        function: String,
        params: Vec<Value>,
    ) -> wasmtime::Result<Result<(), RpcError>> {
        let prepared = self.rpc_prepare(rpc, function.clone(), params).await?;
        let begin = self.journal.before_remote_write().await?;
        let recorded = match self.journal.replay(&SEND).await? {
            Some(recorded) => recorded,
            None => {
                let target = target_urn(&prepared.target);
                self.before_waiting().await?;
                let sent = prepared.workers.invoke(prepared.target, prepared.invocation).await;
                let recorded = sent.map_err(|e| RecordedError::from(RpcError::from(e)));
                self.journal.record(&SEND, (target, function), &recorded).await?;
                recorded
            }
        };
        self.journal.after_remote_write(begin).await?;
        Ok(recorded.map_err(RpcError::from))
    }

    pub(super) async fn rpc_start(
        &mut self,
        rpc: &Rpc,
        function: String,
        params: Vec<Value>,
    ) -> wasmtime::Result<Resource<FutureInvoke>> {
        let prepared = self.rpc_prepare(rpc, function, params).await?;
        let mut future = FutureInvoke::Dormant(Box::new(prepared));
        if self.journal.is_live() {
            self.journal.flush().await?;
            future.start();
        }
        Ok(self.table.push(future)?)
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
                let state = self.table.get_mut(future)?;
                state.start();
                if matches!(state, FutureInvoke::Running(task) if task.is_finished()) {
                    state.ready().await;
                }
                let recorded = match state {
                    FutureInvoke::Done(recorded) => Some(recorded.clone()),
                    _ => None,
                };
                self.journal.record(&GET, (), &recorded).await?;
                recorded
            }
        };
        match recorded {
            None => Ok(None),
            Some(recorded) => {
                *self.table.get_mut(future)? = FutureInvoke::Consumed;
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
        let begin = self.journal.before_remote_write().await?;
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
        self.journal.after_remote_write(begin).await?;
        Ok(id)
    }

    pub(super) async fn rpc_cancel(
        &mut self,
        token: &Resource<CancellationToken>,
    ) -> wasmtime::Result<()> {
        let id = self.table.get(token)?.0.clone();
        let begin = self.journal.before_remote_write().await?;
        if self.journal.replay(&CANCEL).await?.is_none() {
            self.node.workers()?.cancel_scheduled(&id).await.map_err(node)?;
            self.journal.record(&CANCEL, id, &()).await?;
        }
        self.journal.after_remote_write(begin).await
    }
}

fn node(error: WorkerError) -> wasmtime::Error {
    Stop::Node(error).into()
}

fn target_urn(target: &Target) -> String {
    WorkerId::new(target.component_id, target.worker_name.clone().unwrap_or_default()).urn()
}
