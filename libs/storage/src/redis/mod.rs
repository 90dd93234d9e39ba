//! Logs and keys in a Redis server or a Redis Cluster, shared by many processes.
//!
//! Law L3 is one script per append: it compares the epoch and the index, adds the records, and
//! changes the unfinished mark and the summary. Keys are drawn in `docs/format/redis.md`, and what
//! operators should know is in `docs/operations/redis.md`.
//!
//! A command that found no server, or no answer, is tried again for a limited time. An append
//! carries a token, so that it is never carried out twice; a conditional batch of keys is sent
//! again only if it certainly was not carried out.
//!
//! Absent on purpose: caches. Another process may own a log at any moment.

mod durability;
mod failure;
mod kv;
mod layout;
mod link;
mod log;
mod node;
mod reply;
mod router;
mod scripts;
mod slot;
mod tls;
mod topology;

pub use durability::{Durability, Flushing};
pub use kv::RedisKv;
pub use log::RedisLog;
pub use tls::RedisTls;

use failure::Failure;
use layout::Layout;
use link::{Link, Patience};
use node::Replicas;
use router::{Repeat, Router};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use topology::{Access, Topology};

/// How to reach a Redis server or cluster, and what to expect of it.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// Addresses: `redis://[user:password@]host:port[/database]`. Of a cluster some of its nodes; otherwise where
    /// the one master may be. With `rediss` they are reached over TLS.
    pub servers: Vec<String>,
    /// Certificates for TLS.
    pub tls: RedisTls,
    /// What every key starts with; no braces. Installations with different prefixes share a server.
    pub prefix: String,
    /// Number of shards, fixed for the life of the data.
    pub shards: u32,
    /// Refuse a server whose settings can lose acknowledged writes.
    pub require_durable: bool,
    /// Replicas that must have a write before it counts; 0 waits for none.
    pub replicas: u32,
    /// How long replicas may take.
    pub replicas_within: Duration,
    /// How long a server may take to accept a connection.
    pub connect_within: Duration,
    /// How long a server may take to answer.
    pub answer_within: Duration,
    /// How long a command is tried again while servers restart or fail over.
    pub retry_for: Duration,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            servers: vec!["redis://127.0.0.1:6379".into()],
            tls: RedisTls::default(),
            prefix: "emet".into(),
            shards: emet_shard_map::DEFAULT_SHARDS,
            require_durable: false,
            replicas: 0,
            replicas_within: Duration::from_secs(1),
            connect_within: Duration::from_secs(1),
            answer_within: Duration::from_secs(5),
            retry_for: Duration::from_secs(15),
        }
    }
}

/// A connection to the stores in Redis. Clones share it.
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
    durability: Durability,
}

/// What the ports have in common.
struct Shared {
    layout: Layout,
    router: Router,
}

impl Redis {
    /// Connects, waiting up to [`RedisOptions::retry_for`] for the servers, and logs what their
    /// settings mean for acknowledged writes.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(options: RedisOptions) -> Result<Self, ConnectError> {
        let access = access(&options)?;
        let (topology, durability) = discover(&access, options.retry_for).await?;
        if durability.is_durable() {
            tracing::info!("Redis: {durability}");
        } else if options.require_durable {
            return Err(ConnectError::NotDurable(durability));
        } else {
            tracing::warn!("Redis: {durability}");
        }
        let layout = Layout { prefix: options.prefix, shards: options.shards };
        let shared = Shared { layout, router: Router::new(topology, options.retry_for) };
        shared.check_format().await?;
        Ok(Self { shared: Arc::new(shared), durability })
    }

    /// What acknowledged writes survive, by the settings when the connection was made.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// The log port.
    #[must_use]
    pub fn log(&self) -> Arc<RedisLog> {
        Arc::new(RedisLog::new(self.shared.clone()))
    }

    /// The key-value port.
    #[must_use]
    pub fn kv(&self) -> Arc<RedisKv> {
        Arc::new(RedisKv::new(self.shared.clone()))
    }
}

impl Shared {
    /// Every log is found by its shard, so their number is part of the data, as is the layout.
    async fn check_format(&self) -> Result<(), ConnectError> {
        let stored = self.fixed(&self.layout.version(), layout::FORMAT).await?;
        if stored != layout::FORMAT.to_string() {
            return Err(ConnectError::Format { stored, known: layout::FORMAT });
        }
        let wanted = self.layout.shards;
        let stored = self.fixed(&self.layout.shard_count(), wanted).await?;
        if stored != wanted.to_string() {
            return Err(ConnectError::Shards { stored, wanted });
        }
        Ok(())
    }

    /// What is stored under a key, which is written only once.
    async fn fixed(&self, key: &str, first: u32) -> Result<String, ConnectError> {
        let slot = slot::slot(key.as_bytes());
        let set = || ::redis::cmd("SET").arg(key).arg(first).arg("NX").take();
        self.router.write(slot, Repeat::Always, set).await?;
        let get = || ::redis::cmd("GET").arg(key).take();
        let stored = reply::bytes(self.router.read(slot, get).await?).unwrap_or_default();
        Ok(String::from_utf8_lossy(&stored).into_owned())
    }
}

fn access(options: &RedisOptions) -> Result<Access, ConnectError> {
    if options.prefix.contains(['{', '}']) {
        return Err(ConnectError::Options("the prefix of keys must have no braces".into()));
    }
    if options.shards == 0 {
        return Err(ConnectError::Options("there must be at least one shard".into()));
    }
    let seeds = options.servers.iter().map(|url| options.tls.server(url));
    Ok(Access {
        seeds: seeds.collect::<Result<_, _>>()?,
        patience: Patience { connect: options.connect_within, answer: options.answer_within },
        replicas: Replicas { count: options.replicas, within: options.replicas_within },
    })
}

/// Finds out what the servers are, waiting for a while until they are there and have loaded.
async fn discover(access: &Access, wait: Duration) -> Result<(Topology, Durability), ConnectError> {
    let end = Instant::now() + wait;
    loop {
        match try_discover(access).await {
            Err(ConnectError::Unreachable(reason)) if Instant::now() < end => {
                tracing::warn!(reason, "waiting for Redis");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            result => return result,
        }
    }
}

async fn try_discover(access: &Access) -> Result<(Topology, Durability), ConnectError> {
    let link = Link::to_any(access.seeds.clone(), access.patience);
    let sections = redis_info(&link).await?;
    let field = |name: &str| {
        sections.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let version = field("redis_version").unwrap_or_default();
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < 7) {
        return Err(ConnectError::Version(version.to_owned()));
    }
    let topology = match field("cluster_enabled") {
        Some("1") => Topology::cluster(access.clone()).await?,
        _ => Topology::single(access),
    };
    let durability = durability(&topology).await?;
    Ok((topology, durability))
}

async fn redis_info(link: &Link) -> Result<String, Failure> {
    let mut results = link.send(vec![::redis::cmd("INFO")]).await?;
    let info = results.pop().unwrap_or_else(|| Err(Failure::Unknown("no answer".into())))?;
    Ok(String::from_utf8_lossy(&reply::bytes(info).unwrap_or_default()).into_owned())
}

/// The settings of all masters.
async fn durability(topology: &Topology) -> Result<Durability, ConnectError> {
    let mut worst: Option<Durability> = None;
    for node in topology.masters() {
        let mut command = ::redis::cmd("CONFIG");
        command.arg("GET").arg(&["appendonly", "appendfsync", "save", "maxmemory-policy"]);
        let config = match node.read(command, false).await {
            Ok(config) => Some(config),
            Err(Failure::Refused(_)) => None,
            Err(failure) => return Err(failure.into()),
        };
        let durability = Durability::from_config(config.as_ref());
        worst = Some(worst.map_or(durability, |worst| worst.worst(durability)));
    }
    worst.ok_or_else(|| ConnectError::Unreachable("the cluster has no master".into()))
}

/// Why the stores in Redis cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The options contradict themselves.
    #[error("options of Redis: {0}")]
    Options(String),
    /// No server answers.
    #[error("Redis cannot be reached: {0}")]
    Unreachable(String),
    /// The server is too old.
    #[error("Redis 7.0 or newer is needed, the server is {0:?}")]
    Version(String),
    /// The data is laid out in another way than this release knows.
    #[error("the data in Redis has format {stored}, this release knows format {known}")]
    Format {
        /// As stored.
        stored: String,
        /// As known.
        known: u32,
    },
    /// The data is divided into another number of shards.
    #[error("the data in Redis has {stored} shards, {wanted} are configured")]
    Shards {
        /// As stored.
        stored: String,
        /// As configured.
        wanted: u32,
    },
    /// Acknowledged writes may be lost, which the options forbid.
    #[error("Redis is not durable, which `require_durable` demands: {0}")]
    NotDurable(Durability),
}

impl From<Failure> for ConnectError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(text) | Failure::Full(text) => Self::Options(text),
            other => Self::Unreachable(other.text().to_owned()),
        }
    }
}
