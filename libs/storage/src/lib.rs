//! Where Emet keeps things: the ports, and a module per backend.
//!
//! * [`LogStore`]: append-only, fenced logs, one per worker
//! * [`KvStore`]: ordered keys with atomic batches
//! * [`BlobStore`]: objects
//!
//! Backends: [`embedded`] (logs and keys of one machine), [`fs`] (objects as files) and [`memory`]
//! (tests, with faults).

mod blob;
mod kv;
mod log;

pub mod embedded;
pub mod fs;
pub mod memory;

pub use blob::{BlobError, BlobInfo, BlobStore};
pub use kv::{Batch, Condition, KvError, KvOp, KvStore};
pub use log::{Append, Head, LogError, LogKey, LogStore, Record, Summary};
