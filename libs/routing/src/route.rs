//! Finding the owner of a worker and following it.

use crate::peers::Peers;
use emet_api::Workers;
use emet_api::grpc::ChannelOptions;
use emet_model::{WorkerError, WorkerId};
use emet_shard_map::{ExecutorId, Member, RoutingTable, ShardId, shard_of};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Pauses before an owner that refuses is asked again, if no newer table comes.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// An attempt that lasted this long had found its worker.
const ATTACHED: Duration = Duration::from_secs(1);

/// Options of routing.
#[derive(Clone, Copy, Debug)]
pub struct RoutingOptions {
    /// How long a call waits for an owner that takes it before it fails.
    pub patience: Duration,
    /// Calls that may be under way to one executor; more are refused.
    pub limit: usize,
    /// How connections behave.
    pub channels: ChannelOptions,
}

impl Default for RoutingOptions {
    fn default() -> Self {
        Self { patience: Duration::from_secs(30), limit: 4096, channels: ChannelOptions::default() }
    }
}

/// Whether a call may be sent again when it may have been executed already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Executing it twice is executing it once.
    Yes,
    /// It would change something once more.
    No,
}

/// The workers of a cluster.
pub struct RoutedWorkers {
    table: watch::Receiver<Arc<RoutingTable>>,
    peers: Peers,
    options: RoutingOptions,
}

/// What an attempt came to.
enum Attempt<T> {
    Done(Result<T, WorkerError>),
    /// It was not executed, for this reason.
    Refused(WorkerError),
    /// It may have been executed.
    Lost(WorkerError),
    /// The worker moved while it was under way.
    Moved,
}

/// A time by which a call must have found somebody who takes it.
struct Patience {
    until: Instant,
    pause: Duration,
}

impl RoutedWorkers {
    /// Workers found by a table.
    pub fn new(table: watch::Receiver<Arc<RoutingTable>>, options: RoutingOptions) -> Self {
        Self { table, peers: Peers::new(options.channels, options.limit), options }
    }

    /// Names the executor of this process, whose workers are called directly.
    pub fn set_local(&self, id: ExecutorId, workers: Weak<dyn Workers>) {
        self.peers.set_local(id, workers);
    }

    /// The present table.
    pub fn table(&self) -> Arc<RoutingTable> {
        self.table.borrow().clone()
    }

    /// Asks the owner of a worker, following the worker when it moves.
    ///
    /// # Errors
    /// What the owner answers; [`WorkerError::Unavailable`] if nobody takes the call in time.
    pub(crate) async fn route<T, F>(
        &self,
        worker: &WorkerId,
        repeat: Repeat,
        call: impl Fn(Arc<dyn Workers>) -> F,
    ) -> Result<T, WorkerError>
    where
        F: Future<Output = Result<T, WorkerError>>,
    {
        let mut patience = self.patience();
        loop {
            let table = self.table();
            let shard = self.shard(worker, &table);
            let Some(owner) = table.owner(shard).cloned() else {
                self.wait(&table, &mut patience, "the worker's shard has no owner").await?;
                continue;
            };
            let started = Instant::now();
            let attempt = self.attempt(&owner, &table, shard, repeat, &call).await;
            if started.elapsed() > ATTACHED {
                patience = self.patience();
            }
            match attempt {
                Attempt::Done(result) => return result,
                Attempt::Moved => tracing::debug!(%worker, "the worker moved; the call follows it"),
                Attempt::Lost(error) if repeat == Repeat::No => {
                    return Err(WorkerError::unknown(format!(
                        "whether this was done is unknown, because the executor was lost: look before you repeat it ({error})"
                    )));
                }
                Attempt::Refused(error) | Attempt::Lost(error) => {
                    self.wait(&table, &mut patience, &error.to_string()).await?;
                }
            }
        }
    }

    fn shard(&self, worker: &WorkerId, table: &RoutingTable) -> ShardId {
        let shards = u32::try_from(table.owners.len()).unwrap_or(u32::MAX);
        shard_of(worker.component_id.0, &worker.worker_name, shards)
    }

    async fn attempt<T, F>(
        &self,
        owner: &Member,
        table: &RoutingTable,
        shard: ShardId,
        repeat: Repeat,
        call: &impl Fn(Arc<dyn Workers>) -> F,
    ) -> Attempt<T>
    where
        F: Future<Output = Result<T, WorkerError>>,
    {
        let open = match self.peers.open(owner, table) {
            Ok(open) => open,
            Err(error) => return Attempt::Done(Err(error)),
        };
        let result = tokio::select! {
            biased;
            result = call(open.workers.clone()) => result,
            // An owner that hangs or is cut off need not answer any more.
            () = self.moved(shard, owner.executor), if repeat == Repeat::Yes && !open.local => return Attempt::Moved,
        };
        match result {
            Err(error @ (WorkerError::InvalidShardId { .. } | WorkerError::ShardingNotReady)) => {
                Attempt::Refused(error)
            }
            Err(error @ WorkerError::Unavailable { .. }) if !open.local => Attempt::Refused(error),
            Err(error @ WorkerError::ConnectionLost { .. }) => Attempt::Lost(error),
            other => Attempt::Done(other),
        }
    }

    /// Resolves when a shard has another owner.
    async fn moved(&self, shard: ShardId, owner: ExecutorId) {
        let mut table = self.table.clone();
        let moved = table.wait_for(|t| t.owner(shard).is_some_and(|m| m.executor != owner));
        if moved.await.is_err() {
            // Nobody tells of changes any more.
            std::future::pending::<()>().await;
        }
    }

    fn patience(&self) -> Patience {
        Patience { until: Instant::now() + self.options.patience, pause: FIRST_PAUSE }
    }

    /// Waits for a newer table, or a little.
    async fn wait(
        &self,
        table: &RoutingTable,
        patience: &mut Patience,
        reason: &str,
    ) -> Result<(), WorkerError> {
        if Instant::now() >= patience.until {
            return Err(WorkerError::Unavailable {
                details: format!("no executor took the call in time: {reason}"),
            });
        }
        let mut newer = self.table.clone();
        let version = table.version;
        // Half of it by chance, so that many callers do not come back at once.
        let pause = patience.pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        drop(tokio::time::timeout(pause, newer.wait_for(|t| t.version > version)).await);
        patience.pause = (patience.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }

    /// Asks any executor, and another one if that cannot be reached.
    pub(crate) async fn route_any<T, F>(
        &self,
        call: impl Fn(Arc<dyn Workers>) -> F,
    ) -> Result<T, WorkerError>
    where
        F: Future<Output = Result<T, WorkerError>>,
    {
        let mut patience = self.patience();
        let mut turn = rand::random_range(0..usize::MAX / 2);
        loop {
            let table = self.table();
            let chosen =
                turn.checked_rem(table.members.len()).and_then(|place| table.members.get(place));
            turn += 1;
            let reason = match chosen {
                None => "there is no executor".to_owned(),
                Some(member) => {
                    match call(self.peers.open(member, &table)?.workers.clone()).await {
                        Err(
                            error @ (WorkerError::Unavailable { .. }
                            | WorkerError::ConnectionLost { .. }
                            | WorkerError::ShardingNotReady
                            | WorkerError::InvalidShardId { .. }),
                        ) => error.to_string(),
                        other => return other,
                    }
                }
            };
            self.wait(&table, &mut patience, &reason).await?;
        }
    }

    /// The owners of some workers of a component, each with the names of its workers. This process
    /// and workers without an owner are left out.
    pub(crate) fn owners(
        &self,
        component: emet_model::ComponentId,
        names: Vec<String>,
    ) -> Vec<(Arc<dyn Workers>, Vec<String>)> {
        let table = self.table();
        let mut by_owner: std::collections::HashMap<ExecutorId, (Member, Vec<String>)> =
            std::collections::HashMap::new();
        for name in names {
            let shard = self.shard(&WorkerId::new(component, name.clone()), &table);
            if let Some(owner) = table.owner(shard) {
                by_owner
                    .entry(owner.executor)
                    .or_insert_with(|| (owner.clone(), Vec::new()))
                    .1
                    .push(name);
            }
        }
        let open = by_owner
            .into_values()
            .filter_map(|(member, names)| Some((self.peers.open(&member, &table).ok()?, names)));
        open.filter(|(open, _)| !open.local)
            .map(|(open, names)| (open.workers.clone(), names))
            .collect()
    }
}
