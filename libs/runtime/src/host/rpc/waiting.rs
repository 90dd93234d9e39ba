//! Waiting for other workers. A worker that waits for long, or that keeps others out of memory,
//! gives its instance up; the call goes on without it. It is woken when the call ends, and sends
//! it again with the same key, which gets the result that is recorded there.

use super::calls::{FutureInvoke, Recorded};
use crate::WorkerCtx;
use crate::stop::Stop;
use emet_api::Workers;
use emet_model::{WorkerId, WorkerStatus};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::task::{JoinError, JoinHandle};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynPollable, subscribe};

/// A suspended caller looks by itself whether its call has ended: whoever was to wake it may have
/// been lost with its node.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Between two attempts to wake a caller that is just being suspended.
const WAKE_STEP: Duration = Duration::from_millis(20);
/// Attempts to wake a caller.
const WAKE_ATTEMPTS: usize = 250;

/// Aborts the task when dropped: nobody waits for the call any more.
struct Call(JoinHandle<Recorded>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn lost(error: &JoinError) -> Recorded {
    Err((3, format!("the call was lost: {error}")))
}

/// The answer to a call, unless the worker is suspended meanwhile.
pub(super) async fn until_answered(
    ctx: &mut WorkerCtx,
    call: JoinHandle<Recorded>,
) -> wasmtime::Result<Recorded> {
    let mut call = Call(call);
    if !ctx.can_suspend() {
        return Ok((&mut call.0).await.unwrap_or_else(|e| lost(&e)));
    }
    let (memory, patience) = (ctx.node.memory.clone(), ctx.node.suspend_after);
    tokio::select! {
        biased;
        answer = &mut call.0 => return Ok(answer.unwrap_or_else(|e| lost(&e))),
        () = memory.pressure.give_up(patience) => {}
    }
    let workers = ctx.node.workers()?;
    tokio::spawn(wake(workers, ctx.worker.clone(), async move { drop((&mut call.0).await) }));
    Err(Stop::Suspend { until: Some(SystemTime::now() + LOOK_AGAIN) }.into())
}

/// Wakes a suspended worker when what it waits for has ended. It may be just about to be suspended;
/// a worker that is in another state has been woken or stopped by somebody else.
async fn wake(workers: Arc<dyn Workers>, worker: WorkerId, ended: impl Future<Output = ()>) {
    ended.await;
    for _ in 0..WAKE_ATTEMPTS {
        match workers.metadata(worker.clone()).await.map(|m| m.status) {
            Ok(WorkerStatus::Suspended) => {
                // A failure leaves the caller to its timer.
                drop(workers.resume(worker).await);
                return;
            }
            Ok(WorkerStatus::Running) => tokio::time::sleep(WAKE_STEP).await,
            _ => return,
        }
    }
}

impl WorkerCtx {
    pub(super) fn rpc_subscribe(
        &mut self,
        future: Resource<FutureInvoke>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        let rep = future.rep();
        let pollable = subscribe(&mut self.table, future)?;
        self.calls.insert(pollable.rep(), rep);
        Ok(pollable)
    }

    /// Gives the instance up in a poll: the calls among the pollables go on without it.
    pub(in crate::host) fn suspend_for_calls(
        &mut self,
        pollables: &[u32],
        deadline: Option<SystemTime>,
    ) -> wasmtime::Result<Stop> {
        let futures: Vec<u32> =
            pollables.iter().filter_map(|p| self.calls.get(p).copied()).collect();
        let mut tasks = Vec::new();
        for future in futures {
            let future = Resource::<FutureInvoke>::new_borrow(future);
            tasks.extend(self.table.get_mut(&future)?.take_task().map(Call));
        }
        if !tasks.is_empty() {
            let first = async move {
                drop(futures::future::select_all(tasks.iter_mut().map(|t| &mut t.0)).await)
            };
            tokio::spawn(wake(self.node.workers()?, self.worker.clone(), first));
        }
        let look_again = SystemTime::now() + LOOK_AGAIN;
        Ok(Stop::Suspend { until: Some(deadline.map_or(look_again, |d| d.min(look_again))) })
    }
}
