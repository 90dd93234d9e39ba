//! [`RedisCluster`].

use crate::ports::free_port;
use crate::redis::RedisServer;
use std::time::{Duration, Instant};

const SLOTS: usize = 16384;
/// How long the nodes may take to agree.
const FORMATION: Duration = Duration::from_secs(30);

/// A Redis Cluster on loopback.
#[derive(Debug)]
pub struct RedisCluster {
    /// Its masters. Each holds an equal part of the slots, in this order.
    pub masters: Vec<RedisServer>,
    /// One replica of each master, if there are any.
    pub replicas: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts masters and joins them.
    ///
    /// # Panics
    /// When they cannot be started or do not agree.
    #[must_use]
    pub fn start(masters: usize) -> Self {
        let masters: Vec<_> = (0..masters).map(|_| node()).collect();
        for (n, master) in masters.iter().enumerate() {
            let (from, to) = (SLOTS * n / masters.len(), SLOTS * (n + 1) / masters.len() - 1);
            assert_eq!(master.command(&format!("CLUSTER ADDSLOTSRANGE {from} {to}")), "+OK");
            let epoch = master.command(&format!("CLUSTER SET-CONFIG-EPOCH {}", n + 1));
            assert_eq!(epoch, "+OK");
        }
        let cluster = Self { masters, replicas: Vec::new() };
        cluster.meet();
        cluster.wait();
        cluster
    }

    /// Starts masters and a replica of each, which takes over when its master is killed.
    ///
    /// # Panics
    /// When they cannot be started or do not agree.
    #[must_use]
    pub fn start_replicated(masters: usize) -> Self {
        let mut cluster = Self::start(masters);
        cluster.replicas = (0..masters).map(|_| node()).collect();
        cluster.meet();
        cluster.wait();
        for (master, replica) in cluster.masters.iter().zip(&cluster.replicas) {
            let id = master.command("CLUSTER MYID");
            wait(|| replica.command(&format!("CLUSTER REPLICATE {id}")) == "+OK");
            wait(|| replica.command("INFO replication").contains("master_link_status:up"));
        }
        cluster
    }

    /// Addresses of all masters.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.masters.iter().map(RedisServer::url).collect()
    }

    fn nodes(&self) -> impl Iterator<Item = &RedisServer> {
        self.masters.iter().chain(&self.replicas)
    }

    fn meet(&self) {
        let Some(first) = self.masters.first() else { return };
        for other in self.nodes().skip(1) {
            let meet = format!("CLUSTER MEET 127.0.0.1 {} {}", other.port(), other.bus_port());
            assert_eq!(first.command(&meet), "+OK");
        }
    }

    /// Waits until every node knows all slots and all nodes.
    fn wait(&self) {
        let known = format!("cluster_known_nodes:{}", self.nodes().count());
        let agreed = |node: &RedisServer| {
            let info = node.command("CLUSTER INFO");
            info.contains("cluster_state:ok") && info.contains(&known)
        };
        wait(|| self.nodes().all(agreed));
    }
}

fn node() -> RedisServer {
    let bus = free_port().to_string();
    RedisServer::start_with(&[
        ("cluster-enabled", "yes"),
        ("cluster-port", &bus),
        ("cluster-node-timeout", "2000"),
        ("repl-diskless-sync-delay", "0"),
    ])
}

/// Nodes tell of changes by gossip: there is nothing to wait for but their opinion.
fn wait(done: impl Fn() -> bool) {
    let end = Instant::now() + FORMATION;
    while !done() {
        assert!(Instant::now() < end, "the nodes do not agree after {FORMATION:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
