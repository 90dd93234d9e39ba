//! Backends in memory, for tests. The log can be made to fail, tear and crash: see [`Faults`].

mod blob;
mod faults;
mod kv;
mod log;

pub use blob::MemoryBlob;
pub use faults::Faults;
pub use kv::MemoryKv;
pub use log::MemoryLog;
