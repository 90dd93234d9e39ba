//! The gRPC service of executors and callers.

use crate::manager::{Manager, ManagerError, Peer};
use crate::session;
use emet_api::grpc::proto::shards as wire;
use emet_api::grpc::shards::{LEADER, routing};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status, Streaming};

/// The service of one member.
pub(crate) struct ShardsService {
    manager: Manager,
}

impl ShardsService {
    pub(crate) fn new(manager: Manager) -> Self {
        Self { manager }
    }
}

/// A failure as others see it. Only the leader's address is for programs.
pub(crate) fn status(error: &ManagerError) -> Status {
    let text = error.to_string();
    match error {
        ManagerError::NotLeader { leader } => {
            let mut status = Status::failed_precondition(text);
            if let Some(address) = leader.as_ref().and_then(|address| address.parse().ok()) {
                status.metadata_mut().insert(LEADER, address);
            }
            status
        }
        ManagerError::Options(_) => Status::invalid_argument(text),
        ManagerError::NoQuorum | ManagerError::Stopped(_) => Status::unavailable(text),
        ManagerError::Refused(_) => Status::aborted(text),
        ManagerError::Files { .. } => Status::internal(text),
    }
}

impl Manager {
    /// Refuses what only the leader may do.
    pub(crate) fn lead(&self) -> Result<(), Status> {
        if self.leads() {
            Ok(())
        } else {
            Err(status(&ManagerError::NotLeader { leader: self.leader_address() }))
        }
    }
}

#[tonic::async_trait]
impl wire::shards_server::Shards for ShardsService {
    type ServeStream = BoxStream<'static, Result<wire::ManagerMessage, Status>>;

    async fn serve(
        &self,
        request: Request<Streaming<wire::ExecutorMessage>>,
    ) -> Result<Response<Self::ServeStream>, Status> {
        self.manager.lead()?;
        let messages = session::open(self.manager.clone(), request.into_inner()).await?;
        Ok(Response::new(messages.boxed()))
    }

    type WatchRoutingStream = BoxStream<'static, Result<wire::RoutingTable, Status>>;

    /// Any member answers: a table that is behind is corrected by the executors it leads to.
    async fn watch_routing(
        &self,
        _request: Request<wire::WatchRoutingRequest>,
    ) -> Result<Response<Self::WatchRoutingStream>, Status> {
        if !self.manager.is_ready() {
            return Err(Status::unavailable(
                "this shard manager knows no leader, or has not caught up with it",
            ));
        }
        let manager = self.manager.clone();
        let tables =
            WatchStream::new(self.manager.map.clone()).map(|map| Ok(routing(&map.routing())));
        // A member that is cut off from the others would only tell old news.
        Ok(Response::new(tables.take_until(async move { manager.leaderless().await }).boxed()))
    }

    async fn status(
        &self,
        _request: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusReply>, Status> {
        let initialized = self
            .manager
            .raft
            .is_initialized()
            .await
            .map_err(|e| Status::unavailable(e.to_string()))?;
        let json = serde_json::to_vec(&self.manager.status())
            .map_err(|e| Status::internal(e.to_string()))?;
        Ok(Response::new(wire::StatusReply { status_json: json.into(), initialized }))
    }

    async fn change_membership(
        &self,
        request: Request<wire::ChangeMembershipRequest>,
    ) -> Result<Response<wire::ChangeMembershipReply>, Status> {
        let members = request.into_inner().members;
        let members: Vec<Peer> =
            members.into_iter().map(|m| Peer { id: m.id, address: m.address }).collect();
        // Even numbers are steps on the way: a member is replaced by taking it out first.
        if !(1..=5).contains(&members.len()) {
            return Err(Status::invalid_argument("a group has 1, 3 or 5 members"));
        }
        self.manager.change_membership(members).await.map_err(|e| status(&e))?;
        Ok(Response::new(wire::ChangeMembershipReply {}))
    }
}
