//! The stores that all processes of a cluster share.

use anyhow::{Context, Result};
use emet_storage::redis::{Redis, RedisOptions, RedisTls};
use emet_storage::s3::{S3Blob, S3Credentials, S3Options};
use emet_storage::tiered::TieredOptions;
use emet_storage::{BlobStore, Tiered};
use emet_telemetry::health::Health;
use emet_worker_executor::Stores;
use std::path::PathBuf;
use std::sync::Arc;

/// Where logs and keys are.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RedisArgs {
    /// Redis servers: redis://[user:password@]host:port[/database], or rediss:// for TLS. Of a Redis Cluster some
    /// nodes.
    #[arg(
        long,
        env = "EMET_REDIS",
        value_delimiter = ',',
        default_value = "redis://127.0.0.1:6379"
    )]
    redis: Vec<String>,
    /// Authorities that certificates of Redis servers are from (PEM), instead of the system's.
    #[arg(long, env = "EMET_REDIS_CA_FILE", value_name = "FILE")]
    redis_ca_file: Option<PathBuf>,
    /// Certificate to show to Redis servers (PEM).
    #[arg(long, env = "EMET_REDIS_CERT_FILE", value_name = "FILE", requires = "redis_key_file")]
    redis_cert_file: Option<PathBuf>,
    /// Key of that certificate (PEM).
    #[arg(long, env = "EMET_REDIS_KEY_FILE", value_name = "FILE", requires = "redis_cert_file")]
    redis_key_file: Option<PathBuf>,
    /// What every key in Redis starts with: installations with different prefixes share a server.
    #[arg(long, env = "EMET_REDIS_PREFIX", default_value = "emet")]
    redis_prefix: String,
    /// Replicas of Redis that must have a write before it counts.
    #[arg(long, env = "EMET_REDIS_REPLICAS", default_value_t = 0)]
    redis_replicas: u32,
    /// Refuse a Redis whose settings can lose acknowledged writes.
    #[arg(long, env = "EMET_REQUIRE_DURABLE")]
    require_durable: bool,
}

/// Where the shared stores are.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StoreArgs {
    #[command(flatten)]
    redis: RedisArgs,
    /// Bucket of components, compiled artefacts and large payloads.
    #[arg(long, env = "EMET_S3_BUCKET", default_value = "emet")]
    s3_bucket: String,
    /// An S3 server other than Amazon's, such as http://minio:9000.
    #[arg(long, env = "EMET_S3_ENDPOINT")]
    s3_endpoint: Option<String>,
    /// Region of the bucket.
    #[arg(long, env = "EMET_S3_REGION", default_value = "us-east-1")]
    s3_region: String,
    /// Name the bucket in the path: servers other than Amazon's mostly want it.
    #[arg(long, env = "EMET_S3_PATH_STYLE")]
    s3_path_style: bool,
}

impl RedisArgs {
    /// Connects to Redis.
    pub(crate) async fn connect(&self) -> Result<Redis> {
        let options = RedisOptions {
            servers: self.redis.clone(),
            tls: RedisTls {
                ca: self.redis_ca_file.clone(),
                identity: self.redis_cert_file.clone().zip(self.redis_key_file.clone()),
            },
            prefix: self.redis_prefix.clone(),
            require_durable: self.require_durable,
            replicas: self.redis_replicas,
            ..RedisOptions::default()
        };
        Redis::connect(options).await.context("cannot use Redis; see --redis")
    }
}

impl StoreArgs {
    /// Connects to the stores; `health` hears of their troubles.
    pub(crate) async fn open(&self, health: &Health) -> Result<Stores> {
        let redis = self.redis.connect().await?;
        let options = S3Options {
            bucket: self.s3_bucket.clone(),
            region: self.s3_region.clone(),
            endpoint: self.s3_endpoint.clone(),
            path_style: self.s3_path_style,
            // AWS_ACCESS_KEY_ID and its like, or the role of the machine.
            credentials: S3Credentials::Environment,
            ..S3Options::default()
        };
        let blobs = S3Blob::open(options).await;
        let blobs = blobs.context("cannot use the bucket; see --s3-bucket and --s3-endpoint")?;
        let blobs: Arc<dyn BlobStore> = Arc::new(blobs);
        let log = Tiered::new(redis.log(), blobs.clone(), TieredOptions::default());
        Ok(Stores { log: Arc::new(log), kv: redis.kv(), blobs }.measured(health))
    }
}
