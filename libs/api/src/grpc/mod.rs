//! The services over gRPC: generated messages, and the only place of their conversions.
//!
//! For every service there is a client that implements its trait over a channel, and a server that
//! offers any implementation of the trait. A domain failure is part of a reply; a gRPC status
//! means that the call did not get through, or that its outcome is unknown.

mod components_client;
mod components_convert;
mod components_server;
mod convert;
mod refusals;
pub mod shards;
mod status;
mod workers_client;
mod workers_server;

pub use components_client::ComponentsClient;
pub use components_server::ComponentsServer;
pub use refusals::{Refusals, is_refusal};
pub use workers_client::WorkersClient;
pub use workers_server::WorkersServer;

use emet_config::{Announce, ConfigError, PeerChannel, PeerSecurity, Release};
use std::sync::OnceLock;
use std::time::Duration;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Endpoint;

/// Generated from `proto/`.
#[allow(missing_docs, unreachable_pub, reason = "generated code")]
#[allow(clippy::all, clippy::indexing_slicing, clippy::unwrap_used, reason = "generated code")]
#[allow(clippy::allow_attributes_without_reason, reason = "generated code")]
pub mod proto {
    /// Package `emet.components.v1`.
    pub mod components {
        tonic::include_proto!("emet.components.v1");
    }
    /// Package `emet.shards.v1`.
    pub mod shards {
        tonic::include_proto!("emet.shards.v1");
    }
    /// Package `emet.workers.v1`.
    pub mod workers {
        tonic::include_proto!("emet.workers.v1");
    }
}

/// The descriptions of all services, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Largest message, in bytes (docs/limits.md): the largest JSON body of the REST API, with room
/// for what typing and encoding it may add. Binaries travel in chunks of [`CHUNK`].
pub const MAX_MESSAGE: usize = 64 << 20;
/// Bytes in one message of a stream.
pub const CHUNK: usize = 1 << 20;
/// Deadline of calls that only record or read something.
pub const SHORT: Duration = Duration::from_secs(60);
/// Deadline of calls that may have to load and replay a worker.
pub const LONG: Duration = Duration::from_secs(600);

/// How connections between services behave.
#[derive(Clone, Copy, Debug)]
pub struct ChannelOptions {
    /// Longest time that connecting may take.
    pub connect: Duration,
    /// Silence after which the other side is asked for a sign of life.
    pub keep_alive: Duration,
    /// Longest time that this sign may take; then the connection is given up.
    pub keep_alive_timeout: Duration,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            keep_alive: Duration::from_secs(2),
            keep_alive_timeout: Duration::from_secs(3),
        }
    }
}

/// A connection whose calls carry the credentials and the release of this process.
pub type Channel = InterceptedService<PeerChannel, Announce>;

/// A process has one identity, as it has one address: it is set once, before anything is connected
/// or served, rather than handed to everything that may connect some day.
static SECURITY: OnceLock<PeerSecurity> = OnceLock::new();

/// Sets the credentials between this process and the others. Later calls change nothing.
pub fn secure(security: PeerSecurity) {
    drop(SECURITY.set(security));
}

/// The credentials between this process and the others; none where none were set.
pub fn security() -> PeerSecurity {
    SECURITY.get().cloned().unwrap_or_default()
}

/// A connection to a service that is made when it is first used, and again when it breaks.
///
/// # Errors
/// The address is not an `http://` URI, or the credentials of this process cannot be used.
pub fn channel(address: &str, options: ChannelOptions) -> Result<Channel, ConfigError> {
    let security = security();
    // Others tell their addresses without knowing how they are reached.
    let address = match address.strip_prefix("http://") {
        Some(rest) => format!("{}://{rest}", security.scheme()),
        None => address.to_owned(),
    };
    let endpoint = Endpoint::from_shared(address.clone())
        .map_err(|error| ConfigError::Options(format!("{address} is no URI: {error}")))?;
    let channel = security
        .endpoint(endpoint)?
        .connect_timeout(options.connect)
        .http2_keep_alive_interval(options.keep_alive)
        .keep_alive_timeout(options.keep_alive_timeout)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .initial_stream_window_size(Some(4 << 20))
        .initial_connection_window_size(Some(16 << 20))
        .connect_lazy();
    Ok(InterceptedService::new(security.channel(channel), Announce::new(Release::current())))
}
