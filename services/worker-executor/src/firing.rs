//! What durable timers do: wake workers, and invoke them.

use crate::actor::{Arrival, Command, ReplyTo};
use crate::actors::Making;
use crate::executor::Shared;
use crate::timers::Due;
use emet_api::{Caller, InvokeParameters};
use emet_engine::Cause;
use emet_model::{IdempotencyKey, Timestamp, WorkerError, WorkerId};
use emet_values::Value;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use std::sync::Weak;
use std::time::Duration;

/// Due timers carried out at the same time.
const AT_ONCE: usize = 64;

/// What a due timer does.
#[derive(Serialize, Deserialize)]
enum Action {
    Wake(WorkerId),
    Invoke(Box<Scheduled>),
}

/// An invocation that waits for its time.
#[derive(Serialize, Deserialize)]
pub(crate) struct Scheduled {
    pub(crate) worker: WorkerId,
    pub(crate) function: String,
    /// A tuple in the stored form of values.
    pub(crate) parameters: Vec<u8>,
    pub(crate) key: IdempotencyKey,
    pub(crate) trace: Vec<(String, String)>,
    /// What a target that is made then inherits: from whom, arguments, environment.
    pub(crate) caller: Option<(WorkerId, Vec<String>, Vec<(String, String)>)>,
}

fn encode(action: &Action) -> Result<bytes::Bytes, WorkerError> {
    serde_json::to_vec(action).map(Into::into).map_err(|e| WorkerError::unknown(e.to_string()))
}

impl Shared {
    /// Wakes a worker at a time.
    pub(crate) async fn schedule_wake(
        &self,
        worker: &WorkerId,
        at: Timestamp,
    ) -> Result<(), WorkerError> {
        let action = encode(&Action::Wake(worker.clone()))?;
        self.timers.add_of(self.ownership.shard(worker), worker, at, action).await
    }

    /// Invokes a worker at a time. Sent again by a caller that was not answered, it is the same
    /// timer.
    pub(crate) async fn schedule(
        &self,
        scheduled: Scheduled,
        at: Timestamp,
    ) -> Result<String, WorkerError> {
        let shard = self.ownership.shard(&scheduled.worker);
        let number = scheduled.key.derive(at.0);
        let action = encode(&Action::Invoke(Box::new(scheduled)))?;
        self.timers.add(shard, at, number, action).await
    }

    /// Carries timers out for as long as the executor lives.
    pub(crate) async fn run_timers(this: Weak<Self>) {
        let Some(timers) = this.upgrade().map(|s| s.timers.clone()) else { return };
        loop {
            let due = timers.next_due().await;
            let Some(shared) = this.upgrade() else { return };
            match due {
                Ok(due) => {
                    futures::stream::iter(&due)
                        .for_each_concurrent(AT_ONCE, |timer| shared.fire(timer))
                        .await;
                }
                Err(error) => {
                    tracing::error!(%error, "timers cannot be read");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// Carries a timer's action out. One that fails is kept and tried again, unless it cannot ever
    /// succeed.
    async fn fire(&self, due: &Due) {
        let mut owner = None;
        let outcome = match serde_json::from_slice(&due.action) {
            Ok(Action::Wake(worker)) => {
                let woken =
                    self.ask(&worker, || None, |reply| Command::Wake(Cause::Timer, reply)).await;
                owner = Some(worker);
                woken
            }
            Ok(Action::Invoke(scheduled)) => self.fire_invocation(*scheduled).await,
            Err(error) => Err(WorkerError::invalid(error.to_string())),
        };
        due.count(&outcome);
        match &outcome {
            // The shard has moved: its new owner carries the timer out.
            Err(WorkerError::InvalidShardId { .. } | WorkerError::ShardingNotReady) => {
                return self.timers.postpone(due);
            }
            Err(error @ WorkerError::Unknown { .. }) => {
                tracing::warn!(%error, "a timer could not be carried out; it is tried again");
                return self.timers.postpone(due);
            }
            _ => {}
        }
        if let Err(error) = self.timers.done(due, owner.as_ref()).await {
            tracing::error!(%error, "a timer that was carried out cannot be removed");
        }
    }

    async fn fire_invocation(&self, scheduled: Scheduled) -> Result<(), WorkerError> {
        let Scheduled { worker, function, parameters, key, trace, caller } = scheduled;
        let values = emet_values::binary::decode(&parameters)
            .map_err(|e| WorkerError::invalid(e.to_string()))?;
        let values = match values {
            Value::Tuple(values) => values,
            other => vec![other],
        };
        let caller = caller.map(|(worker_id, args, env)| Caller { worker_id, args, env });
        let arrival = move |reply| {
            Command::Invoke(Arrival {
                key,
                key_is_new: false,
                function,
                parameters: InvokeParameters::Values(values),
                trace,
                caller: None,
                reply: ReplyTo::Accepted(reply),
            })
        };
        self.ask(&worker, || Some(Making::by(caller.as_ref())), arrival).await
    }
}
