//! The watched copy of the routing table.

use emet_api::grpc::proto::shards as wire;
use emet_api::grpc::shards::parse_routing;
use emet_api::grpc::{ChannelOptions, Refusals, channel};
use emet_shard_map::RoutingTable;
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tonic::Status;

/// Pause before another shard manager is asked.
const NEXT_MANAGER: Duration = Duration::from_millis(100);
/// Longest time that a shard manager may take to send its first table.
const FIRST: Duration = Duration::from_secs(3);

/// How connections for the table behave. A shard manager that hangs is given up sooner than others
/// are: without news of moves every call to a worker that moved would wait for it, and asking the next
/// one costs nothing.
const CHANNEL: ChannelOptions = ChannelOptions {
    connect: Duration::from_secs(1),
    keep_alive: Duration::from_millis(500),
    keep_alive_timeout: Duration::from_secs(1),
};

/// Keeps a copy of the routing table up to date, from whichever shard manager answers. The table
/// is empty, with version 0, until the first one has. Ends when nobody holds the receiver.
pub fn watch_routing(managers: Vec<String>) -> watch::Receiver<Arc<RoutingTable>> {
    let (sender, receiver) = watch::channel(Arc::default());
    tokio::spawn(async move {
        let mut refusals = Refusals::default();
        for manager in managers.iter().cycle() {
            tokio::select! {
                () = sender.closed() => return,
                result = follow(manager, &sender) => {
                    let status = result.err().unwrap_or_else(|| Status::unavailable("the stream ended"));
                    refusals.note(manager, &status);
                    let reason = status.message();
                    tracing::debug!(manager, reason, "the routing table is asked of the next shard manager");
                }
            }
            tokio::time::sleep(NEXT_MANAGER).await;
        }
    });
    receiver
}

/// A table that does not change.
pub fn fixed(table: RoutingTable) -> watch::Receiver<Arc<RoutingTable>> {
    watch::channel(Arc::new(table)).1
}

async fn follow(manager: &str, sender: &watch::Sender<Arc<RoutingTable>>) -> Result<(), Status> {
    let channel = channel(manager, CHANNEL).map_err(|e| Status::invalid_argument(e.to_string()))?;
    let mut client = wire::shards_client::ShardsClient::new(channel);
    let late = |_| Status::deadline_exceeded("no answer");
    let opened =
        tokio::time::timeout(FIRST, client.watch_routing(wire::WatchRoutingRequest {})).await;
    let mut tables = opened.map_err(late)??.into_inner();
    while let Some(table) = tables.next().await {
        let table = parse_routing(table?)?;
        // Another manager may have told newer news before.
        sender.send_if_modified(|known| {
            let newer = table.version > known.version;
            if newer {
                *known = Arc::new(table);
            }
            newer
        });
    }
    Ok(())
}
