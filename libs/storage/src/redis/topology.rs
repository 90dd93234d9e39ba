//! [`Topology`]: which server holds which slots. Of a single server: all of them.

use super::failure::Failure;
use super::link::{Link, Patience};
use super::node::{Node, Replicas};
use super::tls;
use parking_lot::RwLock;
use redis::{ConnectionAddr, ConnectionInfo, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// The map of a cluster is read again at most this often.
const REFRESH_EVERY: Duration = Duration::from_millis(100);

/// How to reach servers.
#[derive(Clone)]
pub(super) struct Access {
    /// Servers of the configuration.
    pub(super) seeds: Vec<ConnectionInfo>,
    pub(super) patience: Patience,
    pub(super) replicas: Replicas,
}

impl Access {
    /// Another server, with the credentials of the configured ones.
    fn server(&self, address: &str) -> Result<ConnectionInfo, Failure> {
        let parsed = address.rsplit_once(':').and_then(|(host, port)| {
            Some((host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?))
        });
        match (parsed, self.seeds.first()) {
            (Some((host, port)), Some(seed)) => {
                Ok(seed.clone().set_addr(tls::at(seed.addr(), host, port)))
            }
            _ => Err(Failure::Refused(format!("not the address of a Redis node: {address:?}"))),
        }
    }
}

/// A range of slots and the address of its master.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
    address: String,
}

/// The servers in use.
pub(super) enum Topology {
    /// One master, at one of the configured addresses.
    Single(Arc<Node>),
    /// A Redis Cluster.
    Cluster(Cluster),
}

/// What is known of a cluster.
pub(super) struct Cluster {
    access: Access,
    ranges: RwLock<Vec<Range>>,
    nodes: RwLock<BTreeMap<String, Arc<Node>>>,
    refreshed: Mutex<Option<Instant>>,
}

impl Topology {
    pub(super) fn single(access: &Access) -> Self {
        let node = Node::start(access.seeds.clone(), access.patience, access.replicas);
        Self::Single(Arc::new(node))
    }

    /// Reads the map of a cluster.
    pub(super) async fn cluster(access: Access) -> Result<Self, Failure> {
        let cluster = Cluster {
            access,
            ranges: RwLock::default(),
            nodes: RwLock::default(),
            refreshed: Mutex::default(),
        };
        cluster.read_map().await?;
        Ok(Self::Cluster(cluster))
    }

    /// One node for every master.
    pub(super) fn masters(&self) -> Vec<Arc<Node>> {
        match self {
            Self::Single(node) => vec![node.clone()],
            Self::Cluster(cluster) => cluster.nodes.read().values().cloned().collect(),
        }
    }

    pub(super) fn node_of(&self, slot: u16) -> Result<Arc<Node>, Failure> {
        match self {
            Self::Single(node) => Ok(node.clone()),
            Self::Cluster(cluster) => {
                let address = cluster.holder(slot);
                cluster.node(
                    &address
                        .ok_or_else(|| Failure::Unready(format!("no node holds slot {slot}")))?,
                )
            }
        }
    }

    /// The node at an address that a server named.
    pub(super) fn node(&self, address: &str) -> Result<Arc<Node>, Failure> {
        match self {
            Self::Single(node) => Ok(node.clone()),
            Self::Cluster(cluster) => cluster.node(address),
        }
    }

    /// Reads the map again, unless that was just done. If it cannot be read the old one stays.
    pub(super) async fn refresh(&self) {
        let Self::Cluster(cluster) = self else { return };
        let mut refreshed = cluster.refreshed.lock().await;
        if refreshed.is_some_and(|at| at.elapsed() < REFRESH_EVERY) {
            return;
        }
        if let Err(failure) = cluster.read_map().await {
            tracing::warn!(reason = failure.text(), "cannot read the map of the Redis Cluster");
        }
        *refreshed = Some(Instant::now());
    }
}

impl Cluster {
    fn holder(&self, slot: u16) -> Option<String> {
        let ranges = self.ranges.read();
        let range = ranges.iter().find(|range| range.first <= slot && slot <= range.last);
        range.map(|range| range.address.clone())
    }

    fn node(&self, address: &str) -> Result<Arc<Node>, Failure> {
        if let Some(node) = self.nodes.read().get(address) {
            return Ok(node.clone());
        }
        let server = self.access.server(address)?;
        let mut nodes = self.nodes.write();
        let node = nodes.entry(address.to_owned()).or_insert_with(|| {
            Arc::new(Node::start(vec![server], self.access.patience, self.access.replicas))
        });
        Ok(node.clone())
    }

    /// Asks the known nodes, then the configured ones, until one has a map.
    async fn read_map(&self) -> Result<(), Failure> {
        let mut asked: Vec<ConnectionInfo> = self.access.seeds.clone();
        let known: Vec<String> = self.nodes.read().keys().cloned().collect();
        asked.extend(known.iter().filter_map(|address| self.access.server(address).ok()));
        let mut failure = Failure::Unready("no node of the Redis Cluster is configured".into());
        for server in asked {
            match read_ranges(&server, self.access.patience).await {
                Ok(ranges) if !ranges.is_empty() => {
                    self.adopt(ranges)?;
                    return Ok(());
                }
                Ok(_) => failure = Failure::Unready("no node holds a slot".into()),
                Err(other) => failure = other,
            }
        }
        Err(failure)
    }

    /// Uses a new map, and forgets nodes that are in it no more.
    fn adopt(&self, ranges: Vec<Range>) -> Result<(), Failure> {
        for range in &ranges {
            self.node(&range.address)?;
        }
        self.nodes
            .write()
            .retain(|address, _| ranges.iter().any(|range| &range.address == address));
        *self.ranges.write() = ranges;
        Ok(())
    }
}

/// The map as one node sees it. Any node has it, replicas too.
async fn read_ranges(server: &ConnectionInfo, patience: Patience) -> Result<Vec<Range>, Failure> {
    let link = Link::to_any(vec![server.clone()], patience);
    let mut results = link.send(vec![redis::cmd("CLUSTER").arg("SLOTS").take()]).await?;
    let Some(Ok(Value::Array(rows))) = results.pop() else {
        return Err(Failure::Unready("the node does not tell the map of its cluster".into()));
    };
    let host = match server.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.clone(),
        other => other.to_string(),
    };
    Ok(rows.iter().filter_map(|row| parse_range(row, &host)).collect())
}

/// `[first, last, [host, port, ...], replicas...]`; a node that does not know its own address
/// leaves the host out.
fn parse_range(row: &Value, asked: &str) -> Option<Range> {
    let Value::Array(row) = row else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = row.as_slice() else {
        return None;
    };
    let [host, Value::Int(port), ..] = master.as_slice() else { return None };
    let host = match host {
        Value::BulkString(host) if !host.is_empty() => String::from_utf8_lossy(host).into_owned(),
        _ => asked.to_owned(),
    };
    let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
    Some(Range { first, last, address: format!("{host}:{port}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_map_is_understood() {
        let row = |host: &str| {
            let node = vec![Value::BulkString(host.into()), Value::Int(7001)];
            Value::Array(vec![Value::Int(5461), Value::Int(10922), Value::Array(node)])
        };
        let range = |address: &str| Range { first: 5461, last: 10922, address: address.into() };
        assert_eq!(parse_range(&row("10.0.0.2"), "x"), Some(range("10.0.0.2:7001")));
        assert_eq!(parse_range(&row(""), "seed"), Some(range("seed:7001")));
        assert_eq!(parse_range(&Value::Array(vec![Value::Int(1)]), "x"), None);
    }
}
