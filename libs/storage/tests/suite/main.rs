//! Tests of the ports: every backend must pass the same suite of laws.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failed test shall stop at once and say where"
)]

mod blob_laws;
mod crash;
mod damage;
mod embedded;
mod faults;
mod figures;
mod full_disk;
mod kv_laws;
mod kv_model;
mod log_laws;
mod measured;
mod model;
mod redis;
mod redis_tls;
mod s3;
mod servers;
mod tiered;

use bytes::Bytes;
use emet_storage::{Append, Embedded, LogError, LogKey, LogStore, Trim, embedded::Options};

/// A key of a log in group `[group; 16]`.
fn key(group: u8, name: &str) -> LogKey {
    LogKey { group: [group; 16], name: name.into() }
}

/// An append of the given records, without marks.
fn append(key: &LogKey, epoch: u64, expected: u64, records: &[&str]) -> Append {
    let records = records.iter().map(|r| Bytes::copy_from_slice(r.as_bytes())).collect();
    Append { key: key.clone(), epoch, expected, records, unfinished: None, summary: None }
}

/// Trims a log as its present owner.
async fn trim(log: &dyn LogStore, key: &LogKey, through: u64) -> Result<(), LogError> {
    let (sequence, epoch) = log.head(key).await?.map_or((0, 0), |head| (head.sequence, head.epoch));
    log.trim(Trim { key: key.clone(), sequence, epoch, through }).await
}

/// Opens a store that accepts writes on small disks too.
fn open(path: &std::path::Path) -> Embedded {
    let options = Options { free_margin: 1 << 20, ..Options::default() };
    Embedded::open_with(path, options).unwrap()
}
