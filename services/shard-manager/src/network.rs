//! The traffic between members, over gRPC.

use crate::types::{Raft, TypeConfig};
use emet_api::grpc::proto::shards as wire;
use emet_api::grpc::{Channel, ChannelOptions, Refusals, channel};
use openraft::BasicNode;
use openraft::error::{
    InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable,
};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::{Duration, Instant};
use tonic::{Code, Request, Response, Status};

type Client = wire::raft_client::RaftClient<Channel>;
type RpcError<E> = RPCError<u64, BasicNode, RaftError<u64, E>>;

/// A connection without an answer for this long is made anew, from the name of the member on: it
/// may have started again at another address.
const RENEW: Duration = Duration::from_secs(5);

/// Makes connections to the other members.
pub(crate) struct Network;

/// The connection to one member.
pub(crate) struct Peer {
    id: u64,
    address: String,
    /// None: its address is no URI.
    client: Option<Client>,
    /// Since when calls have stayed without an answer. The library gives calls up by dropping them,
    /// so this is noted before each.
    unanswered: Option<Instant>,
    refusals: Refusals,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, id: u64, node: &BasicNode) -> Peer {
        let (address, refusals) = (node.addr.clone(), Refusals::default());
        Peer { id, client: connect(id, &address), address, unanswered: None, refusals }
    }
}

/// Elections are faster than the keep-alive of other connections: every call has its own deadline,
/// so a dead connection is noticed by it.
fn connect(id: u64, address: &str) -> Option<Client> {
    let client = channel(address, ChannelOptions::default());
    if let Err(error) = &client {
        tracing::error!(id, address, %error, "the address of a shard manager is no URI");
    }
    client.ok().map(Client::new)
}

impl Peer {
    /// For one call.
    fn client(&mut self) -> Option<Client> {
        let since = *self.unanswered.get_or_insert_with(Instant::now);
        if since.elapsed() > RENEW {
            self.client = connect(self.id, &self.address);
            self.unanswered = Some(Instant::now());
        }
        self.client.clone()
    }
}

/// The answer of a member: JSON of `Result<reply, error>`.
#[allow(clippy::result_large_err, reason = "the type of the error is openraft's")]
fn decode<T: DeserializeOwned, E: DeserializeOwned + std::error::Error>(
    id: u64,
    bytes: &[u8],
) -> Result<T, RpcError<E>> {
    let result: Result<T, RaftError<u64, E>> =
        serde_json::from_slice(bytes).map_err(|e| RPCError::Network(NetworkError::new(&e)))?;
    result.map_err(|e| RPCError::RemoteError(RemoteError::new(id, e)))
}

fn failed<E: std::error::Error>(status: &Status) -> RpcError<E> {
    match status.code() {
        Code::Unavailable => RPCError::Unreachable(Unreachable::new(status)),
        _ => RPCError::Network(NetworkError::new(status)),
    }
}

fn request<T: Serialize>(
    message: &T,
    deadline: Duration,
) -> Result<Request<wire::RaftMessage>, serde_json::Error> {
    let mut request = Request::new(wire::RaftMessage { json: serde_json::to_vec(message)?.into() });
    request.set_timeout(deadline);
    Ok(request)
}

macro_rules! send {
    ($peer:expr, $method:ident, $message:expr, $option:expr) => {{
        let request = request(&$message, $option.hard_ttl())
            .map_err(|e| RPCError::Network(NetworkError::new(&e)))?;
        let Some(mut client) = $peer.client() else {
            return Err(RPCError::Unreachable(Unreachable::new(&std::io::Error::other(
                "the address is no URI",
            ))));
        };
        let reply = client.$method(request).await.map_err(|status| {
            $peer.refusals.note(&$peer.address, &status);
            failed(&status)
        })?;
        $peer.unanswered = None;
        decode($peer.id, &reply.into_inner().json)
    }};
}

impl RaftNetwork<TypeConfig> for Peer {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        send!(self, append_entries, rpc, option)
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<
        InstallSnapshotResponse<u64>,
        RPCError<u64, BasicNode, RaftError<u64, InstallSnapshotError>>,
    > {
        send!(self, install_snapshot, rpc, option)
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        send!(self, vote, rpc, option)
    }
}

/// What a member offers to the others.
pub(crate) struct RaftService(pub(crate) Raft);

fn parse<T: DeserializeOwned>(request: Request<wire::RaftMessage>) -> Result<T, Status> {
    serde_json::from_slice(&request.into_inner().json)
        .map_err(|e| Status::invalid_argument(e.to_string()))
}

fn reply<T: Serialize>(result: &T) -> Result<Response<wire::RaftMessage>, Status> {
    let json = serde_json::to_vec(result).map_err(|e| Status::internal(e.to_string()))?;
    Ok(Response::new(wire::RaftMessage { json: json.into() }))
}

#[tonic::async_trait]
impl wire::raft_server::Raft for RaftService {
    async fn append_entries(
        &self,
        request: Request<wire::RaftMessage>,
    ) -> Result<Response<wire::RaftMessage>, Status> {
        reply(&self.0.append_entries(parse(request)?).await)
    }

    async fn vote(
        &self,
        request: Request<wire::RaftMessage>,
    ) -> Result<Response<wire::RaftMessage>, Status> {
        reply(&self.0.vote(parse(request)?).await)
    }

    async fn install_snapshot(
        &self,
        request: Request<wire::RaftMessage>,
    ) -> Result<Response<wire::RaftMessage>, Status> {
        reply(&self.0.install_snapshot(parse(request)?).await)
    }
}
