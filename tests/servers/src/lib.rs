//! Real servers for tests: Redis, a Redis Cluster, an S3 server. Each has a free port and a
//! directory of its own, can be killed and started again, and ends with its handle. They run on
//! loopback, or on hosts of a network whose links can be cut.
//!
//! `make setup-stores` installs them; without it a test fails and says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "for tests only: a server that does not start shall stop the test and say why"
)]

mod cluster;
mod host;
mod network;
mod ports;
mod process;
mod redis;
mod s3;

pub use cluster::RedisCluster;
pub use host::Host;
pub use network::{Network, isolated};
pub use ports::free_port;
pub use redis::RedisServer;
pub use s3::S3Server;
