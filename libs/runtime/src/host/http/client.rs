//! The client for outgoing requests: one per node, connections are reused.

use crate::network::NetworkPolicy;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

/// Timeouts where the guest sets none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// Sends requests, as far as the network policy allows it.
#[derive(Clone)]
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector<Resolver>>, WasiBody>,
    policy: Arc<NetworkPolicy>,
}

/// Resolves names to addresses that the policy permits.
#[derive(Clone)]
struct Resolver(Arc<NetworkPolicy>);

#[derive(Debug, thiserror::Error)]
#[error("the network policy refuses {address}: rule {rule}")]
struct Prohibited {
    address: IpAddr,
    rule: String,
}

/// Why a request was not answered.
pub struct SendFailure {
    /// The error that the guest gets.
    pub error: Error,
    /// Set when the network policy refused it: which rule did.
    pub refusal: Option<String>,
}

impl From<Error> for SendFailure {
    fn from(error: Error) -> Self {
        Self { error, refusal: None }
    }
}

impl From<&Prohibited> for SendFailure {
    fn from(prohibited: &Prohibited) -> Self {
        tracing::warn!(address = %prohibited.address, rule = %prohibited.rule, "the network policy refused a request of a guest");
        Self { error: Error::DestinationIpProhibited, refusal: Some(prohibited.to_string()) }
    }
}

impl tower::Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let policy = self.0.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let refusal =
                found.iter().find_map(|a| policy.refuses(a.ip()).map(|rule| (a.ip(), rule)));
            let permitted: Vec<SocketAddr> =
                found.into_iter().filter(|a| policy.refuses(a.ip()).is_none()).collect();
            match refusal {
                Some((address, rule)) if permitted.is_empty() => {
                    Err(std::io::Error::other(Prohibited { address, rule: rule.to_string() }))
                }
                _ => Ok(permitted.into_iter()),
            }
        })
    }
}

impl HttpClient {
    /// A client under a policy.
    pub fn new(policy: NetworkPolicy) -> Self {
        let policy = Arc::new(policy);
        let mut connector = HttpConnector::new_with_resolver(Resolver(policy.clone()));
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(connector);
        Self { client: Client::builder(TokioExecutor::new()).build(connector), policy }
    }

    /// Sends a request; the body of the response obeys the timeout between bytes.
    pub async fn send(
        &self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<Response<WasiBody>, SendFailure> {
        self.check_literal(&request)?;
        let timeout = |t: Option<Duration>| t.unwrap_or(DEFAULT_TIMEOUT);
        let (connect, first, between) = options.map_or((None, None, None), |o| {
            (o.connect_timeout, o.first_byte_timeout, o.between_bytes_timeout)
        });
        let limit = timeout(connect).saturating_add(timeout(first));
        let limit = if connect.is_none() && first.is_none() { DEFAULT_TIMEOUT } else { limit };
        let response = match tokio::time::timeout(limit, self.client.request(request)).await {
            Ok(response) => response.map_err(|e| error_of(&e))?,
            Err(_) => return Err(Error::HttpResponseTimeout.into()),
        };
        let between = timeout(between);
        Ok(response.map(|body| timed(body, between)))
    }

    /// Addresses written in the URI are not resolved, so they are checked here.
    fn check_literal(&self, request: &Request<WasiBody>) -> Result<(), SendFailure> {
        let host = request.uri().host().ok_or(Error::HttpRequestUriInvalid)?;
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match literal
            .ok()
            .and_then(|address| self.policy.refuses(address).map(|rule| (address, rule)))
        {
            None => Ok(()),
            Some((address, rule)) => Err((&Prohibited { address, rule: rule.to_string() }).into()),
        }
    }
}

fn timed(body: hyper::body::Incoming, between: Duration) -> WasiBody {
    use futures::StreamExt;
    let body = Box::pin(http_body_util::BodyStream::new(body.map_err(Error::from)));
    let frames = futures::stream::unfold(body, move |mut body| async move {
        let next = tokio::time::timeout(between, body.next()).await;
        let frame = next.unwrap_or(Some(Err(Error::ConnectionReadTimeout)))?;
        Some((frame, body))
    });
    http_body_util::StreamBody::new(frames).boxed_unsync()
}

/// The error of the interface for an error of the client.
fn error_of(error: &ClientError) -> SendFailure {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            if let Some(prohibited) = io.get_ref().and_then(|e| e.downcast_ref::<Prohibited>()) {
                return prohibited.into();
            }
            return error_of_io(io).into();
        }
        if let Some(hyper) = cause.downcast_ref::<hyper::Error>()
            && hyper.is_incomplete_message()
        {
            return Error::HttpResponseIncomplete.into();
        }
        source = cause.source();
    }
    if error.is_connect() {
        Error::DestinationUnavailable.into()
    } else {
        Error::HttpProtocolError.into()
    }
}

fn error_of_io(error: &std::io::Error) -> Error {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        ErrorKind::TimedOut => Error::ConnectionTimeout,
        ErrorKind::ConnectionReset
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof
        | ErrorKind::ConnectionAborted => Error::ConnectionTerminated,
        ErrorKind::InvalidData => Error::TlsProtocolError,
        ErrorKind::AddrNotAvailable
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable => Error::DestinationIpUnroutable,
        _ => Error::DnsError { rcode: Some(error.to_string()), info_code: Some(0) },
    }
}
