//! Waiting for other workers. A worker that waits for long, or that keeps others out of memory,
//! gives its instance up; its calls go on without it (`under_way.rs`). Its actor wakes it when one
//! that it waits for has ended, and hands the calls to the next instance. When the node is lost with
//! them, whoever takes the worker over wakes it, and it sends them again with the same keys.

use super::calls::FutureInvoke;
use super::cycles;
use super::under_way::{Call, UnderWay};
use crate::WorkerCtx;
use crate::stop::Stop;
use futures::future::BoxFuture;
use std::time::{Duration, SystemTime};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynPollable, subscribe};

/// What a suspended worker waits for.
pub struct Waiting {
    /// Its calls, for the next instance.
    pub calls: UnderWay,
    /// Resolves when the worker is to go on.
    pub ended: BoxFuture<'static, ()>,
}

impl WorkerCtx {
    /// Takes over the calls of the instance before this one.
    pub fn continue_calls(&mut self, calls: UnderWay) {
        self.under_way = calls;
    }

    /// What the worker waits for, after it was stopped by [`Stop::Suspend`]; none if it waits for
    /// no calls.
    pub(crate) fn take_waiting(&mut self) -> Option<Waiting> {
        let ended = self.waiting.lock().take()?;
        Some(Waiting { calls: std::mem::take(&mut self.under_way), ended })
    }

    /// Waits until a call has ended, unless the worker is suspended meanwhile.
    pub(super) async fn until_ended(&mut self, call: &Call) -> wasmtime::Result<()> {
        self.until_any_ended(vec![call.clone()], None).await
    }

    /// Waits until one of the calls has ended or the time has come, unless the worker is suspended
    /// meanwhile. An ephemeral one could not be rebuilt: it waits in memory.
    pub(in crate::host) async fn until_any_ended(
        &mut self,
        calls: Vec<Call>,
        deadline: Option<SystemTime>,
    ) -> wasmtime::Result<()> {
        let mut ended: BoxFuture<'static, ()> = match deadline {
            None => Box::pin(cycles::ended(self.node.clone(), self.worker.clone(), calls)),
            // It goes on by itself, so nobody waits for it in vain.
            Some(_) => Box::pin(async move { cycles::any_ended(&calls).await }),
        };
        let left = deadline.map(|d| d.duration_since(SystemTime::now()).unwrap_or_default());
        let (memory, patience) = (self.node.memory.clone(), self.node.suspend_after);
        tokio::select! {
            biased;
            () = &mut ended => return Ok(()),
            () = tokio::time::sleep(left.unwrap_or(Duration::ZERO)), if left.is_some() => return Ok(()),
            () = memory.pressure.give_up(patience), if self.can_suspend() => {}
        }
        *self.waiting.lock() = Some(ended);
        Err(Stop::Suspend { until: deadline }.into())
    }

    pub(super) fn rpc_subscribe(
        &mut self,
        future: Resource<FutureInvoke>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        let rep = future.rep();
        let pollable = subscribe(&mut self.table, future)?;
        self.calls.insert(pollable.rep(), rep);
        Ok(pollable)
    }

    /// The calls among the pollables; none if one of them needs no waiting.
    pub(in crate::host) fn calls_of(
        &self,
        pollables: &[u32],
    ) -> wasmtime::Result<Option<Vec<Call>>> {
        let mut calls = Vec::new();
        for future in pollables.iter().filter_map(|p| self.calls.get(p).copied()) {
            match self.table.get(&Resource::<FutureInvoke>::new_borrow(future))? {
                FutureInvoke::Running(call) => calls.push(call.clone()),
                FutureInvoke::Dormant(_) | FutureInvoke::Consumed => return Ok(None),
            }
        }
        Ok(Some(calls))
    }
}
