//! [`RedisCluster`].

use crate::process::free_port;
use crate::redis::RedisServer;
use std::time::{Duration, Instant};

const SLOTS: usize = 16384;
/// How long the masters may take to agree.
const FORMATION: Duration = Duration::from_secs(30);

/// A Redis Cluster of masters on loopback.
#[derive(Debug)]
pub struct RedisCluster {
    /// Its masters. Each holds an equal part of the slots, in this order.
    pub masters: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts masters and joins them.
    ///
    /// # Panics
    /// When they cannot be started or do not agree.
    #[must_use]
    pub fn start(masters: usize) -> Self {
        let masters: Vec<_> = (0..masters)
            .map(|_| {
                let bus = free_port().to_string();
                RedisServer::start_with(&[
                    ("cluster-enabled", "yes"),
                    ("cluster-port", &bus),
                    ("cluster-node-timeout", "2000"),
                ])
            })
            .collect();
        for (n, master) in masters.iter().enumerate() {
            let (from, to) = (SLOTS * n / masters.len(), SLOTS * (n + 1) / masters.len() - 1);
            assert_eq!(master.command(&format!("CLUSTER ADDSLOTSRANGE {from} {to}")), "+OK");
            let epoch = master.command(&format!("CLUSTER SET-CONFIG-EPOCH {}", n + 1));
            assert_eq!(epoch, "+OK");
        }
        let cluster = Self { masters };
        cluster.meet();
        cluster.wait();
        cluster
    }

    /// Addresses of all masters.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.masters.iter().map(RedisServer::url).collect()
    }

    fn meet(&self) {
        let Some((first, others)) = self.masters.split_first() else { return };
        for other in others {
            let meet = format!("CLUSTER MEET 127.0.0.1 {} {}", other.port(), other.bus_port());
            assert_eq!(first.command(&meet), "+OK");
        }
    }

    /// Waits until every master knows all slots and all masters.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn wait(&self) {
        let end = Instant::now() + FORMATION;
        let known = format!("cluster_known_nodes:{}", self.masters.len());
        let agreed = |master: &RedisServer| {
            let info = master.command("CLUSTER INFO");
            info.contains("cluster_state:ok") && info.contains(&known)
        };
        while !self.masters.iter().all(agreed) {
            assert!(Instant::now() < end, "the masters do not agree after {FORMATION:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
