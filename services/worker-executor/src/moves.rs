//! Taking shards over, and letting them go.

use crate::actor::{Command, SHUTDOWN};
use crate::actors::Handle;
use crate::executor::{Executor, Shared};
use emet_model::{ComponentId, WorkerId};
use emet_shard_map::{Held, ShardId};
use emet_storage::Shards;
use futures::StreamExt;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::oneshot;
use uuid::Uuid;

/// Shards fenced off at the same time.
const FENCES_AT_ONCE: usize = 64;

impl Executor {
    /// Takes shards over: fences earlier owners off, then runs their workers.
    pub async fn take(&self, shards: &[Held]) {
        let ready = self.fence_off(shards).await;
        self.begin(&ready);
    }

    /// Lets the store refuse whatever earlier owners of shards still try. Answers the shards of
    /// which that is certain now.
    pub(crate) async fn fence_off(&self, shards: &[Held]) -> Vec<Held> {
        let (log, total) = (&self.shared.log, self.shared.ownership.shard_count());
        let fenced = futures::stream::iter(shards.iter().copied()).map(|held| async move {
            match log.fence_shard(held.shard, total, held.epoch).await {
                Ok(()) => Some(held),
                Err(error) => {
                    tracing::warn!(shard = held.shard, %error, "a shard cannot be taken over yet");
                    None
                }
            }
        });
        fenced.buffer_unordered(FENCES_AT_ONCE).filter_map(std::future::ready).collect().await
    }

    /// Runs the workers of shards from now on. Those that have something to do by themselves are
    /// woken in the background.
    pub(crate) fn begin(&self, shards: &[Held]) {
        if shards.is_empty() {
            return;
        }
        self.shared.ownership.take(shards);
        let numbers: BTreeSet<ShardId> = shards.iter().map(|held| held.shard).collect();
        self.shared.timers.watch(&numbers);
        tokio::spawn(recover(self.shared.clone(), numbers));
    }

    /// Lets shards go: refuses their requests from now on, stops their workers, and returns when
    /// all that these did is durable. Whoever waited for an answer is told to look elsewhere.
    pub async fn release(&self, shards: &[ShardId]) {
        let handles = self.let_go(shards);
        let stopped = handles.into_iter().map(|handle| async move {
            let (done, stopped) = oneshot::channel();
            // A worker whose log does not answer is left behind: its epoch is fenced off.
            if handle.send(Command::Shutdown(done)) && tokio::time::timeout(SHUTDOWN, stopped).await.is_err() {
                tracing::warn!(worker = %handle.worker(), "a worker did not stop in time; its shard moves all the same");
            }
        });
        futures::future::join_all(stopped).await;
    }

    /// Stops everything at once, because others may take over: the lease has ended.
    pub fn fence(&self) {
        self.shared.ownership.end();
        let shards: Vec<ShardId> =
            self.shared.ownership.held().iter().map(|held| held.shard).collect();
        let handles = self.let_go(&shards);
        tracing::error!(
            shards = shards.len(),
            workers = handles.len(),
            "the lease has ended: all workers are stopped"
        );
        for handle in handles {
            let (done, _) = oneshot::channel();
            handle.send(Command::Shutdown(done));
        }
    }

    /// Forgets shards and the actors of their workers.
    fn let_go(&self, shards: &[ShardId]) -> Vec<Handle> {
        let shared = &self.shared;
        shared.ownership.let_go(shards);
        let shards: BTreeSet<ShardId> = shards.iter().copied().collect();
        shared.timers.unwatch(&shards);
        shared.take_actors(|worker| shards.contains(&shared.ownership.shard(worker)))
    }
}

/// Makes the actors of unfinished workers, some at a time: an actor does by itself what its log
/// says. Requests do not wait for this; they make the actors that they need.
pub(crate) async fn recover(shared: Arc<Shared>, shards: BTreeSet<ShardId>) {
    let of = Shards::Of { total: shared.ownership.shard_count(), numbers: shards };
    let unfinished = match shared.log.unfinished(&of).await {
        Ok(unfinished) => unfinished,
        Err(error) => {
            tracing::error!(%error, "cannot find unfinished workers");
            return;
        }
    };
    let workers = unfinished
        .into_iter()
        .map(|key| WorkerId::new(ComponentId(Uuid::from_bytes(key.group)), key.name));
    futures::stream::iter(workers)
        .for_each_concurrent(shared.recovery_parallelism.max(1), |worker| {
            let shared = shared.clone();
            async move {
                // A shard that was let go again is somebody else's to recover.
                if shared.ownership.epoch(&worker).is_err() {
                    return;
                }
                match shared.find(&worker).await {
                    Ok(handle) => handle.settled().await,
                    Err(error) => {
                        tracing::error!(%worker, %error, "cannot recover an unfinished worker")
                    }
                }
            }
        })
        .await;
}
