//! Redis over TLS, with certificates that are made by `libs/config/tests/certs/make.sh`.

use crate::{kv_laws, log_laws};
use emet_storage::redis::{ConnectError, Redis, RedisOptions, RedisTls};
use emet_test_servers::{Host, RedisServer};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/tests/certs").join(name)
}

fn identity(authority: &str) -> Option<(PathBuf, PathBuf)> {
    let [cert, key] = ["pem", "key"].map(|kind| file(&format!("{authority}-localhost.{kind}")));
    Some((cert, key))
}

/// A server that takes clients with certificates of `ours`, and how such a client reaches it.
fn start() -> (RedisServer, RedisOptions) {
    let port = Host::loopback().free_port();
    let text = |path: PathBuf| path.display().to_string();
    let (cert, key) = identity("ours").unwrap();
    let server = RedisServer::start_with(&[
        ("tls-port", &port.to_string()),
        ("tls-cert-file", &text(cert)),
        ("tls-key-file", &text(key)),
        ("tls-ca-cert-file", &text(file("ours.pem"))),
    ]);
    let options = RedisOptions {
        servers: vec![format!("rediss://localhost:{port}")],
        tls: RedisTls { ca: Some(file("ours.pem")), identity: identity("ours") },
        retry_for: Duration::ZERO,
        ..RedisOptions::default()
    };
    (server, options)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_law_holds_over_tls() {
    let (_server, options) = start();
    let connect = async |law: &str| {
        Redis::connect(RedisOptions { prefix: law.into(), ..options.clone() }).await.unwrap()
    };
    log_laws::all(async |law| connect(law).await.log()).await;
    kv_laws::all(async |law| connect(law).await.kv()).await;
}

async fn refusal(options: RedisOptions) -> ConnectError {
    match Redis::connect(options).await {
        Err(error) => error,
        Ok(_) => panic!("it connected"),
    }
}

#[tokio::test]
async fn strangers_are_refused_by_either_side() {
    let (_server, options) = start();
    let with = |tls| RedisOptions { tls, ..options.clone() };
    let ca = options.tls.ca.clone();
    // The server is not from an authority that the client knows ...
    for ca in [None, Some(file("theirs.pem"))] {
        let error = refusal(with(RedisTls { ca, identity: identity("ours") })).await;
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    // ... and the client not from one that the server knows.
    for identity in [None, identity("theirs")] {
        let error = refusal(with(RedisTls { ca: ca.clone(), identity })).await;
        assert!(matches!(error, ConnectError::Unreachable(_)), "{error}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_said() {
    let (_server, options) = start();
    let missing = RedisTls { ca: Some(file("nobody.pem")), identity: None };
    let error = refusal(RedisOptions { tls: missing, ..options.clone() }).await;
    assert!(error.to_string().contains("nobody.pem"), "{error}");
    let no_key = RedisTls { ca: None, identity: Some((file("ours.pem"), file("ours.pem"))) };
    let error = refusal(RedisOptions { tls: no_key, ..options }).await;
    assert!(matches!(error, ConnectError::Options(_)), "{error}");
}
