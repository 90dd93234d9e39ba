//! The roles of a cluster: each is one process of the same binary (docs/operations/cluster.md).

pub(crate) mod component_service;
pub(crate) mod executor;
pub(crate) mod manager;
mod probe;
pub(crate) mod serving;
pub(crate) mod status;
mod stores;
pub(crate) mod worker_service;

use anyhow::{Result, bail};

/// Writes an address as a URI; `host:port` is one without its scheme.
fn uri(address: &str) -> String {
    if address.contains("://") { address.to_owned() } else { format!("http://{address}") }
}

/// The addresses of the shard managers.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Managers {
    /// Addresses of the shard managers, host:port; repeatable, in any order.
    #[arg(
        long = "shard-manager",
        env = "EMET_SHARD_MANAGERS",
        value_delimiter = ',',
        required = true
    )]
    shard_managers: Vec<String>,
}

impl Managers {
    fn uris(&self) -> Vec<String> {
        self.shard_managers.iter().map(|address| uri(address)).collect()
    }
}

/// The address that others are told: as given, or the one listened on if that is a certain one.
fn advertised(given: Option<&str>, listening: std::net::SocketAddr) -> Result<String> {
    match given {
        Some(address) => Ok(uri(address)),
        None if listening.ip().is_unspecified() => {
            bail!(
                "listening on every address ({listening}): say with --advertise under which one the others reach this process"
            )
        }
        None => Ok(format!("http://{listening}")),
    }
}
