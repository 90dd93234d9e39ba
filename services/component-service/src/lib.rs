//! Stores versions of components: metadata in the key-value store, binaries and initial files in
//! the blob store (services spec 6).

mod analysis;
mod archive;
mod service;
mod types;

pub use service::{ComponentService, Uploaded};
