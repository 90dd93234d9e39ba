//! [`RedisTls`]: connections to servers whose addresses start with `rediss://`.

use super::ConnectError;
use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, TlsCertificates};
use std::path::{Path, PathBuf};

/// Files for TLS, all PEM. They are read once, when the connection is set up.
#[derive(Clone, Debug, Default)]
pub struct RedisTls {
    /// Authorities that the servers' certificates are from; without it those of the system.
    pub ca: Option<PathBuf>,
    /// Certificate and key that this client shows.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl RedisTls {
    /// How to reach the server of a URL.
    pub(super) fn server(&self, url: &str) -> Result<ConnectionInfo, ConnectError> {
        // The address may hold a password: it is not repeated.
        let options = |error: redis::RedisError| ConnectError::Options(error.to_string());
        let client = Client::open(url).map_err(options)?;
        let plain = client.get_connection_info();
        if !matches!(plain.addr(), ConnectionAddr::TcpTls { .. }) {
            return Ok(plain.clone());
        }
        let client = Client::build_with_tls(url, self.certificates()?).map_err(options)?;
        Ok(client.get_connection_info().clone())
    }

    fn certificates(&self) -> Result<TlsCertificates, ConnectError> {
        let client_tls = match &self.identity {
            Some((cert, key)) => {
                Some(ClientTlsConfig { client_cert: read(cert)?, client_key: read(key)? })
            }
            None => None,
        };
        let root_cert = self.ca.as_deref().map(read).transpose()?;
        Ok(TlsCertificates { client_tls, root_cert })
    }
}

fn read(file: &Path) -> Result<Vec<u8>, ConnectError> {
    std::fs::read(file)
        .map_err(|error| ConnectError::Options(format!("{}: {error}", file.display())))
}

/// Another node of a cluster, reached as `like` is.
pub(super) fn at(like: &ConnectionAddr, host: String, port: u16) -> ConnectionAddr {
    match like {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    }
}
