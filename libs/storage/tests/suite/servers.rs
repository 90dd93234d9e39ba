//! Stores on real servers.

use emet_storage::redis::{Redis, RedisOptions};
use emet_storage::s3::{S3Blob, S3Credentials, S3Options};
use emet_test_servers::{RedisServer, S3Server};

pub(crate) fn redis_options(server: &RedisServer) -> RedisOptions {
    RedisOptions { servers: vec![server.url()], require_durable: true, ..RedisOptions::default() }
}

/// A connection of its own to a server.
pub(crate) async fn redis(server: &RedisServer) -> Redis {
    Redis::connect(redis_options(server)).await.unwrap()
}

pub(crate) fn s3_options(server: &S3Server) -> S3Options {
    S3Options {
        bucket: S3Server::BUCKET.into(),
        prefix: "some/where/".into(),
        region: S3Server::REGION.into(),
        endpoint: Some(server.endpoint()),
        path_style: true,
        credentials: S3Credentials::Static {
            access_key: S3Server::ACCESS_KEY.into(),
            secret_key: S3Server::SECRET_KEY.into(),
        },
        ..S3Options::default()
    }
}

pub(crate) async fn s3(server: &S3Server) -> S3Blob {
    S3Blob::open(s3_options(server)).await.unwrap()
}
