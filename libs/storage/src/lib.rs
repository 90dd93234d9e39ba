//! The storage ports of Emet and their backends.
//!
//! Three ports cover everything that outlives a process:
//!
//! * [`LogStore`]: one append-only, fenced log per worker. The truth about a worker.
//! * [`KvStore`]: ordered keys with atomic conditional batches: metadata, timers, indexes.
//! * [`BlobStore`]: whole objects under '/'-separated keys: components, files, artefacts.
//!
//! Backends: [`memory`] for tests, with fault injection; [`embedded`] for a single node (logs and
//! keys in one database behind one group-committing thread); [`fs`] for objects in a directory;
//! [`redis`] and [`s3`] for what many nodes share. [`tiered`] moves the old part of long logs to a
//! blob store, [`measured`] wraps any of them.
//!
//! Absent on purpose: any meaning of the bytes. This crate never decodes a record.

pub mod blob;
pub mod embedded;
pub mod fs;
pub mod kv;
pub mod log;
pub mod measured;
pub mod memory;
pub mod redis;
pub mod s3;
mod shards;
pub mod tiered;

pub use blob::{BlobError, BlobInfo, BlobStore};
pub use embedded::Embedded;
pub use fs::FsBlob;
pub use kv::{Batch, Condition, KvError, KvOp, KvStore};
pub use log::{Append, Head, LogError, LogKey, LogStore, Record, Summary, Trim};
pub use redis::Redis;
pub use s3::S3Blob;
pub use shards::Shards;
pub use tiered::Tiered;
