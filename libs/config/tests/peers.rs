//! Real servers and clients with right, wrong and missing credentials.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use emet_config::{ConfigError, PeerChannel, PeerOptions, PeerSecurity};
use std::net::SocketAddr;
use std::path::Path;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Endpoint, Server};
use tonic::{Code, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_health::server::HealthService;

/// The health service under a name that is not exempt from the guard.
mod guarded {
    #[derive(Clone)]
    pub(crate) struct Renamed<S>(pub(crate) S);

    impl<S: tonic::server::NamedService> tonic::server::NamedService for Renamed<S> {
        const NAME: &'static str = "emet.test.Guarded";
    }

    impl<S, B> tower::Service<http::Request<B>> for Renamed<S>
    where
        S: tower::Service<http::Request<B>>,
    {
        type Response = S::Response;
        type Error = S::Error;
        type Future = S::Future;

        fn poll_ready(
            &mut self,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), S::Error>> {
            self.0.poll_ready(cx)
        }

        fn call(&mut self, mut request: http::Request<B>) -> S::Future {
            let path = request.uri().path().replace("emet.test.Guarded", "grpc.health.v1.Health");
            *request.uri_mut() = path.parse().unwrap();
            self.0.call(request)
        }
    }
}

async fn serve(security: &PeerSecurity) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (reporter, _) = tonic_health::server::health_reporter();
    let health = HealthServer::new(HealthService::from_health_reporter(reporter));
    let mut server = security.server(Server::builder()).unwrap().layer(security.guard());
    let router = server.add_service(health.clone()).add_service(guarded::Renamed(health));
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

async fn connect(
    security: &PeerSecurity,
    address: SocketAddr,
) -> Result<PeerChannel, tonic::transport::Error> {
    let endpoint =
        Endpoint::from_shared(format!("{}://localhost:{}", security.scheme(), address.port()))?;
    Ok(security.channel(security.endpoint(endpoint).unwrap().connect().await?))
}

/// Calls the guarded service.
async fn call(security: &PeerSecurity, address: SocketAddr) -> Result<(), Status> {
    let channel =
        connect(security, address).await.map_err(|e| Status::unavailable(e.to_string()))?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|e| Status::unavailable(e.to_string()))?;
    let codec = tonic_prost::ProstCodec::default();
    let path = http::uri::PathAndQuery::from_static("/emet.test.Guarded/Check");
    let request = tonic::Request::new(HealthCheckRequest::default());
    client.unary::<_, HealthCheckResponse, _>(request, path, codec).await.map(drop)
}

async fn health(security: &PeerSecurity, address: SocketAddr) -> Result<(), Status> {
    let channel =
        connect(security, address).await.map_err(|e| Status::unavailable(e.to_string()))?;
    HealthClient::new(channel).check(HealthCheckRequest::default()).await.map(drop)
}

fn with_secret(directory: &Path, name: &str, secret: &str) -> PeerSecurity {
    let path = directory.join(name);
    std::fs::write(&path, format!("{secret}\n")).unwrap();
    PeerSecurity::load(&PeerOptions { peer_secret_file: Some(path), ..PeerOptions::default() })
        .unwrap()
}

#[tokio::test]
async fn calls_need_the_shared_secret_and_probes_do_not() {
    let directory = tempfile::tempdir().unwrap();
    let right = with_secret(directory.path(), "right", &"a".repeat(64));
    let wrong = with_secret(directory.path(), "wrong", &"b".repeat(64));
    let prefix = with_secret(directory.path(), "prefix", &"a".repeat(63));
    let none = PeerSecurity::default();
    let address = serve(&right).await;
    call(&right, address).await.unwrap();
    for (who, expected) in [
        (&wrong, "wrong shared secret"),
        (&prefix, "wrong shared secret"),
        (&none, "needs the shared secret"),
    ] {
        let refused = call(who, address).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert!(refused.message().contains(expected), "{refused}");
        health(who, address).await.unwrap();
    }
    // A server without a secret does not mind one.
    let open = serve(&none).await;
    call(&right, open).await.unwrap();
    call(&none, open).await.unwrap();
}

/// Options of a process with a certificate of an authority, which trusts another one. The files
/// are made by `certs/make.sh`.
fn process(authority: &str, host: &str, trusted: &str) -> PeerOptions {
    let file =
        |name: String| Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certs").join(name));
    PeerOptions {
        peer_cert_file: file(format!("{authority}-{host}.pem")),
        peer_key_file: file(format!("{authority}-{host}.key")),
        peer_ca_file: file(format!("{trusted}.pem")),
        ..PeerOptions::default()
    }
}

#[tokio::test]
async fn mutual_tls_lets_only_certificates_of_the_authority_in() {
    let member = PeerSecurity::load(&process("ours", "localhost", "ours")).unwrap();
    let address = serve(&member).await;
    assert_eq!(member.scheme(), "https");
    call(&member, address).await.unwrap();
    // A certificate of somebody else, though it trusts our server.
    let stranger = PeerSecurity::load(&process("theirs", "localhost", "ours")).unwrap();
    call(&stranger, address).await.unwrap_err();
    health(&stranger, address).await.unwrap_err();
    // A client that does not trust the server.
    let doubter = PeerSecurity::load(&process("ours", "localhost", "theirs")).unwrap();
    call(&doubter, address).await.unwrap_err();
    // No TLS at all.
    call(&PeerSecurity::default(), address).await.unwrap_err();
    // A server under another name than it is called by, and the option for that.
    let other = process("ours", "emet.internal", "ours");
    let elsewhere = serve(&PeerSecurity::load(&other).unwrap()).await;
    call(&member, elsewhere).await.unwrap_err();
    let named = PeerOptions { peer_tls_name: Some("emet.internal".into()), ..other };
    call(&PeerSecurity::load(&named).unwrap(), elsewhere).await.unwrap();
}

#[test]
fn unusable_credentials_are_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    let secret = |text: &str| {
        std::fs::write(&path, text).unwrap();
        PeerSecurity::load(&PeerOptions {
            peer_secret_file: Some(path.clone()),
            ..PeerOptions::default()
        })
    };
    let short = secret("hunter2").unwrap_err();
    assert!(
        matches!(short, ConfigError::Secret { .. }) && short.to_string().contains("at least 32"),
        "{short}"
    );
    assert!(secret(&"two words ".repeat(10)).is_err());
    let good = secret(&"x".repeat(32)).unwrap();
    assert!(good.is_on() && !format!("{good:?}").contains("xxx"));
    let partial = PeerOptions { peer_cert_file: Some(path.clone()), ..PeerOptions::default() };
    assert!(
        PeerSecurity::load(&partial).unwrap_err().to_string().contains("mutual TLS needs all of")
    );
    let rubbish = PeerOptions {
        peer_cert_file: Some(path.clone()),
        peer_key_file: Some(path.clone()),
        peer_ca_file: Some(path),
        ..PeerOptions::default()
    };
    let security = PeerSecurity::load(&rubbish).unwrap();
    assert!(security.server(Server::builder()).is_err());
}
