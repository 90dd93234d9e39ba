//! How our own processes trust each other: a shared secret, mutual TLS, or both.
//!
//! Both sides are made from the same [`PeerOptions`]. The health service stays open, so that an
//! orchestrator's probes need no secret; with mutual TLS they need a certificate as everybody.

use crate::{ConfigError, Secret};
use http::{HeaderValue, Request, Response, header};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{
    Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig,
};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

/// What may be called without a secret.
const OPEN: &str = "/grpc.health.v1.Health/";

/// Credentials between the processes of a cluster.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Between services")]
pub struct PeerOptions {
    /// File with the secret that all services share; calls without it are refused.
    #[arg(long, env = "EMET_PEER_SECRET_FILE", value_name = "FILE")]
    pub peer_secret_file: Option<PathBuf>,
    /// File with this process's certificate chain (PEM), for mutual TLS.
    #[arg(long, env = "EMET_PEER_CERT_FILE", value_name = "FILE")]
    pub peer_cert_file: Option<PathBuf>,
    /// File with the private key of that certificate (PEM).
    #[arg(long, env = "EMET_PEER_KEY_FILE", value_name = "FILE")]
    pub peer_key_file: Option<PathBuf>,
    /// File with the authority that signs the certificates of all services (PEM).
    #[arg(long, env = "EMET_PEER_CA_FILE", value_name = "FILE")]
    pub peer_ca_file: Option<PathBuf>,
    /// Name in the certificates of the services, where it is not the host they are called by.
    #[arg(long, env = "EMET_PEER_TLS_NAME", value_name = "NAME")]
    pub peer_tls_name: Option<String>,
}

/// Credentials, read and checked. Clones share them; the default is none.
#[derive(Clone, Debug, Default)]
pub struct PeerSecurity {
    secret: Option<Arc<Secret>>,
    tls: Option<Arc<Tls>>,
}

struct Tls {
    identity: Identity,
    authority: Certificate,
    name: Option<String>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A channel whose calls carry the secret.
pub type PeerChannel = InterceptedService<Channel, PeerAuth>;

impl PeerSecurity {
    /// Reads the files that the options name.
    ///
    /// # Errors
    /// A file is missing or unusable, or only a part of what mutual TLS needs is there.
    pub fn load(options: &PeerOptions) -> Result<Self, ConfigError> {
        let secret = options.peer_secret_file.as_deref().map(Secret::read).transpose()?;
        let files = (&options.peer_cert_file, &options.peer_key_file, &options.peer_ca_file);
        let tls = match files {
            (Some(cert), Some(key), Some(authority)) => Some(Arc::new(Tls {
                identity: Identity::from_pem(read(cert)?, read(key)?),
                authority: Certificate::from_pem(read(authority)?),
                name: options.peer_tls_name.clone(),
            })),
            (None, None, None) => None,
            _ => {
                let all = "--peer-cert-file, --peer-key-file and --peer-ca-file";
                return Err(ConfigError::Options(format!("mutual TLS needs all of {all}")));
            }
        };
        Ok(Self { secret: secret.map(Arc::new), tls })
    }

    /// Whether callers have to prove anything.
    pub fn is_on(&self) -> bool {
        self.secret.is_some() || self.tls.is_some()
    }

    /// `https` where mutual TLS is on.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Adds mutual TLS to a server. Put [`Self::guard`] as a layer on it, too.
    ///
    /// # Errors
    /// The certificate or key is not usable.
    pub fn server(&self, server: Server) -> Result<Server, ConfigError> {
        let Some(tls) = &self.tls else { return Ok(server) };
        let config = ServerTlsConfig::new()
            .identity(tls.identity.clone())
            .client_ca_root(tls.authority.clone());
        server.tls_config(config).map_err(|error| unusable(&error))
    }

    /// The layer of a server that refuses calls without the secret.
    pub fn guard(&self) -> PeerGuard {
        PeerGuard { secret: self.secret.clone() }
    }

    /// Adds mutual TLS to an endpoint.
    ///
    /// # Errors
    /// The certificate or key is not usable.
    pub fn endpoint(&self, endpoint: Endpoint) -> Result<Endpoint, ConfigError> {
        let Some(tls) = &self.tls else { return Ok(endpoint) };
        let config = ClientTlsConfig::new()
            .identity(tls.identity.clone())
            .ca_certificate(tls.authority.clone());
        let config = match &tls.name {
            Some(name) => config.domain_name(name.clone()),
            None => config,
        };
        endpoint.tls_config(config).map_err(|error| unusable(&error))
    }

    /// Adds the secret to all calls of a channel.
    pub fn channel(&self, channel: Channel) -> PeerChannel {
        InterceptedService::new(channel, self.auth())
    }

    /// What adds the secret to a call.
    pub fn auth(&self) -> PeerAuth {
        let bearer = self.secret.as_ref().map(|secret| {
            // Secrets are printable ASCII, which is all that a header may hold.
            let value = MetadataValue::try_from(format!("Bearer {}", secret.expose()));
            value.unwrap_or_else(|_| MetadataValue::from_static(""))
        });
        PeerAuth { bearer }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

fn unusable(error: &tonic::transport::Error) -> ConfigError {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    ConfigError::Options(format!(
        "the certificate, key or authority of --peer-…-file is not usable: {cause}"
    ))
}

/// Adds the secret to calls.
#[derive(Clone, Debug)]
pub struct PeerAuth {
    bearer: Option<MetadataValue<Ascii>>,
}

impl Interceptor for PeerAuth {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        if let Some(bearer) = &self.bearer {
            let mut bearer = bearer.clone();
            bearer.set_sensitive(true);
            request.metadata_mut().insert("authorization", bearer);
        }
        Ok(request)
    }
}

/// Refuses calls without the secret. A layer rather than an interceptor, because only a layer sees
/// which service is called, and the health service is to stay open.
#[derive(Clone, Debug)]
pub struct PeerGuard {
    secret: Option<Arc<Secret>>,
}

impl<S> Layer<S> for PeerGuard {
    type Service = PeerGuardService<S>;

    fn layer(&self, inner: S) -> PeerGuardService<S> {
        PeerGuardService { inner, secret: self.secret.clone() }
    }
}

/// A guarded service.
#[derive(Clone, Debug)]
pub struct PeerGuardService<S> {
    inner: S,
    secret: Option<Arc<Secret>>,
}

type Answer<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S, B> Service<Request<B>> for PeerGuardService<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer<Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Some(secret) = &self.secret else { return Box::pin(self.inner.call(request)) };
        let given = request.headers().get(header::AUTHORIZATION);
        if request.uri().path().starts_with(OPEN)
            || given.is_some_and(|value| proves(secret, value))
        {
            return Box::pin(self.inner.call(request));
        }
        let reason = match given {
            None => "this service needs the shared secret: set --peer-secret-file on the caller",
            Some(_) => "wrong shared secret: --peer-secret-file differs between caller and service",
        };
        Box::pin(std::future::ready(Ok(Status::unauthenticated(reason).into_http())))
    }
}

fn proves(secret: &Secret, value: &HeaderValue) -> bool {
    let token = value.to_str().ok().and_then(|text| text.strip_prefix("Bearer "));
    token.is_some_and(|token| secret.is(token))
}
