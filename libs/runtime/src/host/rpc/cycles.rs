//! Calls that can never be answered, because the worker that is called waits, perhaps over others,
//! for the caller.
//!
//! Whoever begins to wait says so first ([`Waits`]), and then follows what the workers wait for that
//! it waits for. So whoever closes a circle sees it. A worker that waits for one of several calls
//! goes on if any of them is answered: the wait is in vain only if all ways lead back.

use super::under_way::Call;
use crate::node::Node;
use emet_api::{Awaited, Workers};
use emet_model::{WorkerError, WorkerId};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A call that is answered by then is not looked into: following others costs more than most calls.
const PATIENCE: Duration = Duration::from_millis(10);
/// Pause after a worker could not be asked.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The calls that each worker of this node waits for, in memory or suspended.
#[derive(Default)]
pub struct Waits {
    waiting: Mutex<HashMap<WorkerId, (u64, Vec<Awaited>)>>,
    next: AtomicU64,
}

impl Waits {
    /// The calls that a worker waits for, any of which would let it go on; none if it does not wait.
    pub fn of(&self, worker: &WorkerId) -> Vec<Awaited> {
        self.waiting.lock().get(worker).map(|(_, calls)| calls.clone()).unwrap_or_default()
    }

    fn begin(self: &Arc<Self>, worker: &WorkerId, calls: &[Call]) -> Waiting {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let calls = calls.iter().map(|call| call.of().clone()).collect();
        self.waiting.lock().insert(worker.clone(), (number, calls));
        Waiting { waits: self.clone(), worker: worker.clone(), number }
    }
}

/// For as long as a worker waits.
struct Waiting {
    waits: Arc<Waits>,
    worker: WorkerId,
    number: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = self.waits.waiting.lock();
        // The next instance may have begun to wait before this one was told to stop.
        if waiting.get(&self.worker).is_some_and(|(number, _)| *number == self.number) {
            waiting.remove(&self.worker);
        }
    }
}

/// Waits until one of the calls has ended; ends them all with an error if none of them can be
/// answered.
pub(super) async fn ended(node: Arc<Node>, caller: WorkerId, calls: Vec<Call>) {
    let _waiting = node.waits.begin(&caller, &calls);
    tokio::select! {
        biased;
        () = any_ended(&calls) => {}
        path = in_vain(&node, &caller, &calls) => {
            let text = describe(&path);
            calls.iter().for_each(|call| call.refuse(text.clone()));
        }
    }
}

/// Waits until one of the calls has ended.
pub(super) async fn any_ended(calls: &[Call]) {
    if !calls.is_empty() {
        futures::future::select_all(calls.iter().map(|call| Box::pin(call.ended()))).await;
    }
}

/// Resolves with the circle if there is one.
async fn in_vain(node: &Node, caller: &WorkerId, calls: &[Call]) -> Vec<WorkerId> {
    tokio::time::sleep(PATIENCE).await;
    let calls: Vec<Awaited> = calls.iter().map(|call| call.of().clone()).collect();
    loop {
        let Ok(workers) = node.workers() else { return std::future::pending().await };
        match find(workers.as_ref(), caller, &calls).await {
            Ok(Some(path)) => return path,
            // Whoever closes a circle later finds it.
            Ok(None) => return std::future::pending().await,
            Err(error) => {
                tracing::debug!(%caller, %error, "cannot find out whether calls can be answered");
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
    }
}

/// The way from the caller back to it, if whatever it waits for waits for it.
async fn find(
    workers: &dyn Workers,
    caller: &WorkerId,
    calls: &[Awaited],
) -> Result<Option<Vec<WorkerId>>, WorkerError> {
    let mut waiter_of: HashMap<WorkerId, WorkerId> = HashMap::new();
    let mut asked: HashSet<Awaited> = HashSet::new();
    let mut next: VecDeque<(WorkerId, Awaited)> =
        calls.iter().map(|call| (caller.clone(), call.clone())).collect();
    let mut last = None;
    while let Some((waiter, call)) = next.pop_front() {
        if call.worker == *caller {
            last.get_or_insert(waiter);
            continue;
        }
        if !asked.insert(call.clone()) {
            continue;
        }
        let awaited = workers.awaited(call.worker.clone(), call.key).await?;
        if awaited.is_empty() {
            return Ok(None);
        }
        waiter_of.entry(call.worker.clone()).or_insert(waiter);
        next.extend(awaited.into_iter().map(|a| (call.worker.clone(), a)));
    }
    let Some(last) = last else { return Ok(None) };
    let mut path = vec![caller.clone()];
    let mut at = last;
    while at != *caller {
        path.push(at.clone());
        match waiter_of.get(&at) {
            Some(waiter) => at = waiter.clone(),
            None => break,
        }
    }
    path.push(caller.clone());
    path.reverse();
    Ok(Some(path))
}

/// The error of a call that cannot be answered.
pub(super) fn describe(path: &[WorkerId]) -> String {
    let names: Vec<String> = path.iter().map(WorkerId::urn).collect();
    format!(
        "the call can never be answered, because the worker called waits for the caller: {}",
        names.join(" -> ")
    )
}
