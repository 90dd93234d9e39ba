//! Objects in a bucket of S3 or of a server that speaks its protocol.
//!
//! The names that keys get in the bucket are drawn in `docs/format/s3.md`; what a server must
//! offer is in `docs/operations/s3.md`.

mod failure;
mod name;
mod upload;

use crate::blob::{self, BlobError, BlobInfo, BlobStore};
use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::types::{Delete, Object, ObjectIdentifier};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use bytes::Bytes;
use failure::{Meaning, blob_error, meaning};
use std::path::PathBuf;
use std::time::Duration;

/// Objects that S3 lists, or deletes, with one request.
const PAGE: usize = 1000;
/// Smallest part of an upload that S3 takes, in bytes.
const MIN_PART: usize = 5 * 1024 * 1024;
/// How often an object is asked for whose bytes stop coming.
const READ_TRIES: u32 = 3;

/// How to reach a bucket.
#[derive(Clone, Debug)]
pub struct S3Options {
    /// The bucket. It must exist.
    pub bucket: String,
    /// What the name of every object starts with, such as `emet/`; may be empty.
    pub prefix: String,
    /// The region of the bucket; servers other than Amazon's mostly do not care.
    pub region: String,
    /// Another server than Amazon's, such as `http://127.0.0.1:9000`.
    pub endpoint: Option<String>,
    /// Name the bucket in the path instead of the host. Servers other than Amazon's mostly want it.
    pub path_style: bool,
    /// Who asks.
    pub credentials: S3Credentials,
    /// Larger objects are sent in parts of this many bytes; at least 5 MiB.
    pub part_bytes: usize,
    /// How often a request is tried.
    pub attempts: u32,
    /// How long one try may take.
    pub attempt_within: Duration,
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            bucket: "emet".into(),
            prefix: String::new(),
            region: "us-east-1".into(),
            endpoint: None,
            path_style: false,
            credentials: S3Credentials::Environment,
            part_bytes: 8 * 1024 * 1024,
            attempts: 5,
            attempt_within: Duration::from_secs(60),
        }
    }
}

/// Where credentials come from.
#[derive(Clone)]
pub enum S3Credentials {
    /// The usual chain: environment, profile, web identity, container, instance.
    Environment,
    /// These.
    Static {
        /// Id of the key.
        access_key: String,
        /// The key.
        secret_key: String,
    },
}

/// Without the secret.
impl std::fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Environment => f.write_str("Environment"),
            Self::Static { access_key, .. } => write!(f, "Static({access_key})"),
        }
    }
}

/// Objects in a bucket. Clones share the connections.
#[derive(Clone)]
pub struct S3Blob {
    client: Client,
    bucket: String,
    prefix: String,
    part_bytes: usize,
}

impl S3Blob {
    /// Opens a bucket.
    ///
    /// # Errors
    /// When the bucket is missing or cannot be reached with these options.
    pub async fn open(options: S3Options) -> Result<Self, BlobError> {
        let client = client(&options).await;
        client.head_bucket().bucket(&options.bucket).send().await.map_err(|error| {
            let reason = blob_error(error);
            BlobError::Io(format!("the bucket {:?} cannot be used: {reason}", options.bucket))
        })?;
        let part_bytes = options.part_bytes.max(MIN_PART);
        Ok(Self { client, bucket: options.bucket, prefix: options.prefix, part_bytes })
    }

    fn name(&self, key: &str) -> Result<String, BlobError> {
        name::object(&self.prefix, key)
    }

    /// The bytes of an object, all or a range of them as HTTP writes it. Asked for again if they
    /// stop coming.
    async fn fetch(&self, key: &str, range: Option<String>) -> Result<Option<Bytes>, BlobError> {
        let name = self.name(key)?;
        let mut failure = BlobError::Io("not asked".into());
        for _ in 0..READ_TRIES {
            let request = self.client.get_object().bucket(&self.bucket).key(&name);
            let answer = match request.set_range(range.clone()).send().await {
                Ok(answer) => answer,
                Err(error) => match meaning(&error) {
                    Meaning::Missing => return Ok(None),
                    Meaning::Behind => return Ok(Some(Bytes::new())),
                    _ => return Err(blob_error(error)),
                },
            };
            match answer.body.collect().await {
                Ok(body) => return Ok(Some(body.into_bytes())),
                Err(error) => {
                    failure = BlobError::Io(format!("{key:?} could not be read: {error}"))
                }
            }
        }
        Err(failure)
    }

    /// One page of names with their properties, and whether there are more.
    async fn page(
        &self,
        start: &str,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<Object>, bool), BlobError> {
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(start);
        let count = i32::try_from(limit.min(PAGE)).unwrap_or(i32::MAX);
        let answer = request.set_start_after(after).max_keys(count).send().await;
        let answer = answer.map_err(blob_error)?;
        let more = answer.is_truncated.unwrap_or(false);
        Ok((answer.contents.unwrap_or_default(), more))
    }
}

async fn client(options: &S3Options) -> Client {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .operation_attempt_timeout(options.attempt_within)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .region(Region::new(options.region.clone()))
        .retry_config(RetryConfig::standard().with_max_attempts(options.attempts))
        .timeout_config(timeouts);
    if let S3Credentials::Static { access_key, secret_key } = &options.credentials {
        loader = loader
            .credentials_provider(Credentials::new(access_key, secret_key, None, None, "options"));
    }
    let shared = loader.load().await;
    let mut config =
        aws_sdk_s3::config::Builder::from(&shared).force_path_style(options.path_style);
    config.set_endpoint_url(options.endpoint.clone());
    Client::from_conf(config.build())
}

fn info(size: Option<i64>, modified: Option<&aws_smithy_types::DateTime>) -> BlobInfo {
    let modified = modified.and_then(|at| at.to_millis().ok());
    BlobInfo {
        size: size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        modified_ms: modified.and_then(|at| u64::try_from(at).ok()).unwrap_or_default(),
    }
}

/// As a header wants it.
fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

#[async_trait]
impl BlobStore for S3Blob {
    async fn put(&self, key: &str, data: Bytes) -> Result<(), BlobError> {
        blob::check_key(key)?;
        self.write(&self.name(key)?, data).await
    }

    async fn put_if_absent(&self, key: &str, data: Bytes) -> Result<bool, BlobError> {
        blob::check_key(key)?;
        self.write_new(&self.name(key)?, data).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, BlobError> {
        self.fetch(key, None).await
    }

    async fn get_range(&self, key: &str, start: u64, end: u64) -> Result<Option<Bytes>, BlobError> {
        match end.checked_sub(1).filter(|last| *last >= start) {
            Some(last) => self.fetch(key, Some(format!("bytes={start}-{last}"))).await,
            // An empty range cannot be asked for.
            None => Ok(self.head(key).await?.map(|_| Bytes::new())),
        }
    }

    async fn head(&self, key: &str) -> Result<Option<BlobInfo>, BlobError> {
        let name = self.name(key)?;
        match self.client.head_object().bucket(&self.bucket).key(name).send().await {
            Ok(head) => Ok(Some(info(head.content_length(), head.last_modified()))),
            Err(error) if meaning(&error) == Meaning::Missing => Ok(None),
            Err(error) => Err(blob_error(error)),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        let name = self.name(key)?;
        match self.client.delete_object().bucket(&self.bucket).key(name).send().await {
            Err(error) if meaning(&error) != Meaning::Missing => Err(blob_error(error)),
            _ => Ok(()),
        }
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<(), BlobError> {
        blob::check_prefix(prefix)?;
        let start = name::start(&self.prefix, prefix);
        loop {
            let (page, _) = self.page(&start, None, PAGE).await?;
            let names = page.into_iter().filter_map(|object| object.key);
            let ids = names.filter_map(|name| ObjectIdentifier::builder().key(name).build().ok());
            let ids: Vec<_> = ids.collect();
            if ids.is_empty() {
                return Ok(());
            }
            let batch = Delete::builder().set_objects(Some(ids)).quiet(true).build();
            let batch = batch.map_err(|error| BlobError::Io(error.to_string()))?;
            let answer =
                self.client.delete_objects().bucket(&self.bucket).delete(batch).send().await;
            if let Some(error) = answer.map_err(blob_error)?.errors().first() {
                return Err(BlobError::Io(format!("an object could not be deleted: {error:?}")));
            }
        }
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, BlobInfo)>, BlobError> {
        let start = name::start(&self.prefix, prefix);
        let mut after = after.map(|after| name::start(&self.prefix, after) + "!");
        let mut found = Vec::new();
        while found.len() < limit {
            let (page, more) = self.page(&start, after.take(), limit - found.len()).await?;
            after = page.last().and_then(|object| object.key.clone());
            found.extend(page.into_iter().filter_map(|object| {
                let key = name::parse(&self.prefix, object.key()?)?;
                Some((key, info(object.size(), object.last_modified())))
            }));
            if !more {
                break;
            }
        }
        Ok(found)
    }

    async fn copy(&self, from: &str, to: &str) -> Result<bool, BlobError> {
        blob::check_key(to)?;
        if from == to {
            // S3 refuses to copy an object to itself.
            return Ok(self.head(from).await?.is_some());
        }
        let source = percent_encode(&format!("{}/{}", self.bucket, self.name(from)?));
        let request = self.client.copy_object().bucket(&self.bucket).key(self.name(to)?);
        match request.copy_source(source).send().await {
            Ok(_) => Ok(true),
            Err(error) if meaning(&error) == Meaning::Missing => Ok(false),
            Err(error) => Err(blob_error(error)),
        }
    }

    fn local_path(&self, _key: &str) -> Option<PathBuf> {
        None
    }
}
