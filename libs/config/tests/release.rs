//! Real servers and clients of different releases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use emet_config::{Announce, REFUSED_BY, Release, ReleaseGuard, is_skew};
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Endpoint, Server};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthService;

async fn serve(release: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (reporter, _) = tonic_health::server::health_reporter();
    let health = HealthServer::new(HealthService::from_health_reporter(reporter));
    let mut server = Server::builder().layer(ReleaseGuard::new(&release.parse().unwrap()));
    let router = server.add_service(health);
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

async fn call(release: Option<&str>, address: SocketAddr) -> Result<(), Status> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let checked = match release {
        None => HealthClient::new(channel).check(HealthCheckRequest::default()).await,
        Some(release) => {
            let release: Release = release.parse().unwrap();
            let channel = InterceptedService::new(channel, Announce::new(&release));
            HealthClient::new(channel).check(HealthCheckRequest::default()).await
        }
    };
    checked.map(drop)
}

#[tokio::test]
async fn callers_are_served_or_refused_by_their_release() {
    let address = serve("0.4.1").await;
    for near in ["0.4.1", "0.4.7", "0.3.0", "0.5.0"] {
        call(Some(near), address).await.unwrap();
    }
    call(None, address).await.unwrap();
    for far in ["0.2.9", "0.6.0", "1.4.1"] {
        let refused = call(Some(far), address).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(is_skew(&refused));
        let text = refused.message();
        assert!(text.starts_with("VersionSkew: ") && text.contains(far), "{text}");
        assert!(text.contains("0.4.1") && text.contains("version-skew"), "{text}");
        assert_eq!(refused.metadata().get(REFUSED_BY).unwrap(), "0.4.1");
    }
}
