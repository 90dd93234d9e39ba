//! ports
#![allow(missing_docs)]
use async_trait::async_trait; use bytes::Bytes; use std::path::PathBuf;
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogKey { pub group: [u8; 16], pub name: String }
pub struct Record { pub index: u64, pub data: Bytes }
#[derive(Clone, Debug)]
pub struct Head { pub last: u64, pub epoch: u64, pub unfinished: bool, pub sequence: u64, pub summary: Option<Summary> }
#[derive(Clone, Debug)] pub struct Summary { pub index: u64, pub data: Bytes }
pub struct Append { pub key: LogKey, pub epoch: u64, pub expected: u64, pub records: Vec<Bytes>, pub unfinished: Option<bool>, pub summary: Option<Summary> }
#[async_trait] pub trait LogStore: Send + Sync + 'static {
    async fn append(&self, append: Append) -> Result<(), LogError>;
    async fn read(&self, key: &LogKey, from: u64, max: usize) -> Result<Vec<Record>, LogError>;
    async fn head(&self, key: &LogKey) -> Result<Option<Head>, LogError>;
    async fn fence(&self, key: &LogKey, epoch: u64) -> Result<(), LogError>;
    async fn delete(&self, key: &LogKey) -> Result<(), LogError>;
    async fn list(&self, group: [u8;16], after: u64, limit: usize) -> Result<Vec<(LogKey, Head)>, LogError>;
    async fn unfinished(&self) -> Result<Vec<LogKey>, LogError>;
    async fn trim(&self, key: &LogKey, through: u64) -> Result<(), LogError>;
}
#[derive(Debug, thiserror::Error)] pub enum LogError { #[error("x")] Conflict { expected: u64, found: u64 }, #[error("x")] Io(String) }
#[derive(Debug, thiserror::Error)] pub enum KvError { #[error("x")] Io(String) }
#[derive(Debug, thiserror::Error)] pub enum BlobError { #[error("x")] Io(String) }
#[derive(Default)] pub struct Batch {}
impl Batch { pub fn new() -> Self { Self::default() }
 pub fn put(self, _: &str, _: impl Into<Vec<u8>>, _: impl Into<Bytes>) -> Self { self }
 pub fn delete(self, _: &str, _: impl Into<Vec<u8>>) -> Self { self }
 pub fn if_absent(self, _: &str, _: impl Into<Vec<u8>>) -> Self { self }
 pub fn if_equal(self, _: &str, _: impl Into<Vec<u8>>, _: impl Into<Bytes>) -> Self { self } }
#[async_trait] pub trait KvStore: Send+Sync+'static {
    async fn get(&self, space: &str, key: &[u8]) -> Result<Option<Bytes>, KvError>;
    async fn get_many(&self, space: &str, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, KvError>;
    async fn apply(&self, batch: Batch) -> Result<bool, KvError>;
    async fn scan(&self, space: &str, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, Bytes)>, KvError>;
}
#[derive(Clone, Debug)] pub struct BlobInfo { pub size: u64, pub modified_ms: u64 }
#[async_trait] pub trait BlobStore: Send+Sync+'static {
    async fn put(&self, key: &str, data: Bytes) -> Result<(), BlobError>;
    async fn put_if_absent(&self, key: &str, data: Bytes) -> Result<bool, BlobError>;
    async fn get(&self, key: &str) -> Result<Option<Bytes>, BlobError>;
    async fn get_range(&self, key: &str, start: u64, end: u64) -> Result<Option<Bytes>, BlobError>;
    async fn head(&self, key: &str) -> Result<Option<BlobInfo>, BlobError>;
    async fn delete(&self, key: &str) -> Result<(), BlobError>;
    async fn delete_prefix(&self, prefix: &str) -> Result<(), BlobError>;
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<(String, BlobInfo)>, BlobError>;
    async fn copy(&self, from: &str, to: &str) -> Result<bool, BlobError>;
    fn local_path(&self, key: &str) -> Option<PathBuf>;
}
