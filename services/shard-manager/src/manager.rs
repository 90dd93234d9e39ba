//! One member of the group of shard managers.

use crate::leader::{self, Leadership};
use crate::log_store::LogStore;
use crate::network::{Network, RaftService};
use crate::service::ShardsService;
use crate::state_machine::StateMachine;
use crate::types::Raft;
use emet_api::cluster::{ClusterStatus, ExecutorStatus, ManagerStatus};
use emet_api::grpc::proto::shards as wire;
use emet_api::grpc::{ChannelOptions, Refusals, channel};
use emet_shard_map::{Answer, Command, ExecutorState, ShardMap};
use openraft::error::{ClientWriteError, RaftError};
use openraft::{BasicNode, Config, SnapshotPolicy};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tonic::transport::Endpoint;

/// Entries between snapshots, and entries kept behind one.
const SNAPSHOT_EVERY: u64 = 500;
/// Longest time that a command may take to be agreed on.
const COMMIT: Duration = Duration::from_secs(5);
/// Pause between attempts to found the group.
const FOUND_AGAIN: Duration = Duration::from_millis(200);

/// A member, written `id=address` or `id=host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its number, from 1.
    pub id: u64,
    /// Where the others reach it: an `http://` URI.
    pub address: String,
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("not a member: {text}; write id=host:port, such as 1=10.0.0.1:9002");
        let (id, address) = text.split_once('=').ok_or_else(wrong)?;
        let id = id.parse().ok().filter(|id| *id > 0).ok_or_else(wrong)?;
        let address =
            if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        Endpoint::from_shared(address.clone()).map_err(|_| wrong())?;
        Ok(Self { id, address })
    }
}

/// Options of a member.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of this member.
    pub id: u64,
    /// The members that found the group; this one among them. Ignored once there is a group.
    pub peers: Vec<Peer>,
    /// Directory of log, vote and snapshot.
    pub data_dir: PathBuf,
    /// How many shards a new group has.
    pub shards: u32,
    /// How long an executor may go on without being heard of.
    pub lease: Duration,
}

/// Why a member cannot run, or a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// The options contradict each other.
    #[error("{0}")]
    Options(String),
    /// The files cannot be used.
    #[error("the state of the shard manager in {path} cannot be used: {source}")]
    Files {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The consensus library failed: this member does not take part any more.
    #[error("this shard manager has stopped: {0}")]
    Stopped(String),
    /// Another member leads.
    #[error("this shard manager does not lead")]
    NotLeader {
        /// Its address, if it is known.
        leader: Option<String>,
    },
    /// No quorum agreed in time. The command may still be carried out.
    #[error("the shard managers did not agree within {COMMIT:?}: too few of them are reachable")]
    NoQuorum,
    /// The command was agreed on and refused.
    #[error("{0}")]
    Refused(#[from] emet_shard_map::Refusal),
}

/// A running member. Clones share it.
#[derive(Clone)]
pub struct Manager {
    pub(crate) raft: Raft,
    pub(crate) map: watch::Receiver<Arc<ShardMap>>,
    pub(crate) leadership: Arc<Leadership>,
    id: u64,
}

impl Manager {
    /// Starts a member on its files. It founds the group if it has the lowest number of `peers`
    /// and none of them belongs to a group.
    ///
    /// # Errors
    /// The options make no sense, or the files cannot be used.
    pub async fn start(options: Options) -> Result<Self, ManagerError> {
        check(&options)?;
        let files = |source| ManagerError::Files { path: options.data_dir.clone(), source };
        std::fs::create_dir_all(&options.data_dir).map_err(files)?;
        let log = LogStore::open(&options.data_dir).map_err(files)?;
        let (state, map) = StateMachine::open(&options.data_dir, options.shards).map_err(files)?;
        let config = config().validate().map_err(|e| ManagerError::Options(e.to_string()))?;
        let raft = Raft::new(options.id, Arc::new(config), Network, log, state)
            .await
            .map_err(|e| ManagerError::Stopped(e.to_string()))?;
        let leadership = Arc::new(Leadership::new(options.lease));
        let manager = Self { raft, map, leadership, id: options.id };
        tokio::spawn(leader::run(manager.clone()));
        tokio::spawn(found(manager.clone(), options.peers));
        Ok(manager)
    }

    /// The gRPC services of this member.
    pub fn routes(&self) -> tonic::service::Routes {
        let shards = wire::shards_server::ShardsServer::new(ShardsService::new(self.clone()));
        let raft = wire::raft_server::RaftServer::new(RaftService(self.raft.clone()))
            .max_decoding_message_size(emet_api::grpc::MAX_MESSAGE)
            .max_encoding_message_size(emet_api::grpc::MAX_MESSAGE);
        tonic::service::Routes::new(shards).add_service(raft)
    }

    /// Whether this member leads.
    pub fn leads(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        metrics.running_state.is_ok() && metrics.current_leader == Some(self.id)
    }

    /// Resolves, with the reason, when this member cannot take part any more: its files cannot be
    /// written, or the consensus library failed. It may be started again.
    pub async fn failed(&self) -> String {
        let mut metrics = self.raft.metrics();
        let failed = metrics.wait_for(|m| m.running_state.is_err()).await;
        let reason = failed.ok().and_then(|m| m.running_state.clone().err());
        reason.map_or_else(|| "the consensus library has ended".to_owned(), |r| r.to_string())
    }

    /// Whether this member belongs to a group that has a leader, and has applied everything that
    /// was agreed on before that leader was elected: every leader's first entry comes after it.
    pub fn is_ready(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let term = metrics.last_applied.map(|applied| applied.leader_id.term);
        metrics.running_state.is_ok()
            && metrics.current_leader.is_some()
            && term == Some(metrics.current_term)
    }

    /// The term of the group, which rises with every election.
    pub fn term(&self) -> u64 {
        self.raft.metrics().borrow().current_term
    }

    /// Agrees on a command with the others and applies it. Only the leader can.
    ///
    /// # Errors
    /// This member does not lead, no quorum agreed in time, or the command was refused.
    pub async fn execute(&self, command: Command) -> Result<(), ManagerError> {
        let written = tokio::time::timeout(COMMIT, self.raft.client_write(command)).await;
        match written.map_err(|_| ManagerError::NoQuorum)? {
            Ok(response) => match response.data {
                Answer::Applied { .. } => Ok(()),
                Answer::Refused(refusal) => Err(refusal.into()),
            },
            Err(error) => Err(write_error(error)),
        }
    }

    /// Replaces the members of the group. New ones first receive the state, then votes change.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub async fn change_membership(&self, members: Vec<Peer>) -> Result<(), ManagerError> {
        let known: BTreeSet<u64> = self
            .raft
            .metrics()
            .borrow()
            .membership_config
            .membership()
            .nodes()
            .map(|(id, _)| *id)
            .collect();
        for member in members.iter().filter(|m| !known.contains(&m.id)) {
            let node = BasicNode::new(&member.address);
            self.raft.add_learner(member.id, node, true).await.map_err(write_error)?;
        }
        let voters: BTreeSet<u64> = members.iter().map(|m| m.id).collect();
        self.raft.change_membership(voters, false).await.map_err(write_error)?;
        Ok(())
    }

    /// Stops taking part.
    pub async fn shutdown(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "the shard manager did not stop cleanly");
        }
    }

    /// Where the leader is, if it is known.
    pub fn leader_address(&self) -> Option<String> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let leader = metrics.current_leader?;
        metrics.membership_config.membership().get_node(&leader).map(|node| node.addr.clone())
    }

    /// Resolves when this member may not be the leader any more.
    pub(crate) async fn not_leading(&self) {
        let mut metrics = self.raft.metrics();
        let id = self.id;
        // An error means that the member has stopped.
        drop(metrics.wait_for(|m| m.current_leader != Some(id)).await);
    }

    /// Resolves when this member knows no leader any more.
    pub(crate) async fn leaderless(&self) {
        let mut metrics = self.raft.metrics();
        drop(metrics.wait_for(|m| m.current_leader.is_none()).await);
    }

    /// What `emet cluster status` shows.
    pub fn status(&self) -> ClusterStatus {
        let map = self.map.borrow().clone();
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let managers = membership.nodes().map(|(id, node)| ManagerStatus {
            id: *id,
            address: node.addr.clone(),
            leader: metrics.current_leader == Some(*id),
            voter: voters.contains(id),
        });
        ClusterStatus {
            version: map.version(),
            managers: managers.collect(),
            executors: executors(&map),
            shards: map.shard_count(),
            unowned: count(map.shards().filter(|(_, s)| s.owner.is_none()).count()),
            moving: count(map.moves()),
        }
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn executors(map: &ShardMap) -> Vec<ExecutorStatus> {
    let mut found: BTreeMap<_, ExecutorStatus> = map
        .executors()
        .iter()
        .map(|(id, executor)| {
            let leaving = executor.state == ExecutorState::Leaving;
            let (id_text, address) = (id.to_string(), executor.address.clone());
            (*id, ExecutorStatus { id: id_text, address, leaving, shards: 0, releasing: 0 })
        })
        .collect();
    for (_, shard) in map.shards() {
        if let Some(executor) = shard.owner.and_then(|owner| found.get_mut(&owner)) {
            executor.shards += 1;
            executor.releasing += u32::from(shard.target.is_some());
        }
    }
    found.into_values().collect()
}

fn check(options: &Options) -> Result<(), ManagerError> {
    let ids: BTreeSet<u64> = options.peers.iter().map(|p| p.id).collect();
    if ids.len() != options.peers.len() {
        return Err(ManagerError::Options("two of the peers have the same number".into()));
    }
    if !ids.contains(&options.id) {
        return Err(ManagerError::Options(format!(
            "this shard manager has the number {}, which is not among the peers",
            options.id
        )));
    }
    if ids.len().is_multiple_of(2) {
        return Err(ManagerError::Options(format!(
            "{} shard managers tolerate no more failures than {}: use 1, 3 or 5",
            ids.len(),
            ids.len() - 1
        )));
    }
    if options.shards == 0 || options.lease.is_zero() {
        return Err(ManagerError::Options("shards and lease must not be zero".into()));
    }
    Ok(())
}

/// Times in milliseconds. The library gives a follower as long as a heartbeat to have entries on its
/// disk, and as long as the shortest election for its vote: a disk that is slower than that stops the
/// group.
fn config() -> Config {
    Config {
        cluster_name: "emet".into(),
        heartbeat_interval: 200,
        election_timeout_min: 1000,
        election_timeout_max: 2000,
        install_snapshot_timeout: 2000,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_EVERY),
        max_in_snapshot_log_to_keep: SNAPSHOT_EVERY / 5,
        ..Config::default()
    }
}

fn write_error(error: RaftError<u64, ClientWriteError<u64, BasicNode>>) -> ManagerError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            ManagerError::NotLeader { leader: forward.leader_node.map(|node| node.addr) }
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => {
            ManagerError::Options(error.to_string())
        }
        RaftError::Fatal(fatal) => ManagerError::Stopped(fatal.to_string()),
    }
}

/// Founds the group, once: safe to run again at any time, and on every member.
///
/// Only the member with the lowest number does, and only after every other one has said that it
/// belongs to no group: a member that lost its files must not found a second group.
async fn found(manager: Manager, peers: Vec<Peer>) {
    if peers.iter().map(|p| p.id).min() != Some(manager.id) {
        return;
    }
    let mut refusals = Refusals::default();
    loop {
        match manager.raft.is_initialized().await {
            Ok(false) => {}
            Ok(true) | Err(_) => return,
        }
        match all_unfounded(&manager, &peers, &mut refusals).await {
            Ok(true) => break,
            Ok(false) => {
                tracing::warn!(
                    "the other shard managers belong to a group already: waiting for its leader"
                );
                return;
            }
            Err(missing) => {
                tracing::debug!(missing, "waiting for a shard manager before the group is founded")
            }
        }
        tokio::time::sleep(FOUND_AGAIN).await;
    }
    let members: BTreeMap<u64, BasicNode> =
        peers.into_iter().map(|p| (p.id, BasicNode::new(p.address))).collect();
    match manager.raft.initialize(members).await {
        Ok(()) => tracing::info!("the group of shard managers is founded"),
        Err(error) => tracing::warn!(%error, "the group of shard managers was not founded"),
    }
}

/// Whether no other member belongs to a group; the error names one that did not answer.
async fn all_unfounded(
    manager: &Manager,
    peers: &[Peer],
    refusals: &mut Refusals,
) -> Result<bool, u64> {
    for peer in peers.iter().filter(|p| p.id != manager.id) {
        let channel = channel(&peer.address, ChannelOptions::default()).map_err(|_| peer.id)?;
        let mut client = wire::shards_client::ShardsClient::new(channel);
        let mut request = tonic::Request::new(wire::StatusRequest {});
        request.set_timeout(Duration::from_secs(2));
        let reply = client.status(request).await.map_err(|status| {
            refusals.note(&peer.address, &status);
            peer.id
        })?;
        if reply.into_inner().initialized {
            return Ok(false);
        }
    }
    Ok(true)
}
