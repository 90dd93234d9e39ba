//! Connections to executors, and how much each is asked at a time.

use emet_api::Workers;
use emet_api::grpc::{ChannelOptions, WorkersClient, channel};
use emet_model::WorkerError;
use emet_shard_map::{ExecutorId, Member, RoutingTable};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The executors that were talked to.
pub(crate) struct Peers {
    channels: ChannelOptions,
    /// Calls that may be under way to one executor.
    limit: usize,
    remote: Mutex<Remote>,
    /// The executor of this process.
    local: OnceLock<(ExecutorId, Weak<dyn Workers>)>,
}

#[derive(Default)]
struct Remote {
    /// Version of the newest table that was looked at.
    version: u64,
    peers: HashMap<ExecutorId, Peer>,
}

#[derive(Clone)]
struct Peer {
    client: Arc<dyn Workers>,
    places: Arc<Semaphore>,
}

/// An executor that may be asked now.
pub(crate) struct Open {
    pub(crate) workers: Arc<dyn Workers>,
    /// Whether it is this process.
    pub(crate) local: bool,
    _place: Option<OwnedSemaphorePermit>,
}

impl Peers {
    pub(crate) fn new(channels: ChannelOptions, limit: usize) -> Self {
        Self { channels, limit, remote: Mutex::default(), local: OnceLock::new() }
    }

    pub(crate) fn set_local(&self, id: ExecutorId, workers: Weak<dyn Workers>) {
        drop(self.local.set((id, workers)));
    }

    /// The way to an executor.
    ///
    /// # Errors
    /// So many calls are under way to it that another would only wait; or its address is no URI.
    pub(crate) fn open(&self, member: &Member, table: &RoutingTable) -> Result<Open, WorkerError> {
        if let Some((id, workers)) = self.local.get()
            && *id == member.executor
            && let Some(workers) = workers.upgrade()
        {
            return Ok(Open { workers, local: true, _place: None });
        }
        let peer = self.remote(member, table)?;
        let busy = |_| WorkerError::Unavailable {
            details: format!("{} calls to executor {} are under way", self.limit, member.executor),
        };
        let place = peer.places.try_acquire_owned().map_err(busy)?;
        Ok(Open { workers: peer.client, local: false, _place: Some(place) })
    }

    fn remote(&self, member: &Member, table: &RoutingTable) -> Result<Peer, WorkerError> {
        let mut remote = self.remote.lock();
        if table.version > remote.version {
            // Those that have gone are forgotten at once: one that comes back was cut off, and so
            // are the connections to it, which would only notice later.
            remote.version = table.version;
            remote.peers.retain(|id, _| table.members.iter().any(|m| m.executor == *id));
        }
        if let Some(peer) = remote.peers.get(&member.executor) {
            return Ok(peer.clone());
        }
        let channel = channel(&member.address, self.channels);
        let channel = channel.map_err(|e| {
            WorkerError::unknown(format!("the address of an executor is no URI: {e}"))
        })?;
        let peer = Peer {
            client: Arc::new(WorkersClient::new(channel)),
            places: Arc::new(Semaphore::new(self.limit)),
        };
        remote.peers.insert(member.executor, peer.clone());
        Ok(peer)
    }
}
