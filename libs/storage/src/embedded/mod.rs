//! One database in a directory that holds all logs and keys of a node.
//!
//! Every write goes to **one committer thread**. It takes whatever waits at that moment, decides
//! each request against the state (so the checks of law L3 are atomic), writes all that was
//! accepted as one batch with one `fdatasync`, and then answers everybody. Reads go past it,
//! straight to snapshots of the database.
//!
//! fjall was chosen over SQLite for its rate (twice the appends per second at a third of the p99
//! in this pattern); both stay behind the same ports.

mod apply;
mod cache;
mod committer;
mod kv;
mod layout;
mod log;
mod read;
mod segment;
mod space;
mod tables;

pub use kv::EmbeddedKv;
pub use log::EmbeddedLog;

use committer::{Command, Committer};
use parking_lot::Mutex;
use space::SpaceGuard;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use tables::Tables;

/// Sizes of an embedded store.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Memory for cached blocks, in bytes.
    pub cache_bytes: u64,
    /// Free disk space under which writes are refused as full, in bytes. What is buffered in
    /// memory and has yet to reach its final place on the disk is added to it.
    pub free_margin: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { cache_bytes: 16 * 1024 * 1024, free_margin: 64 * 1024 * 1024 }
    }
}

/// An open data directory. Clones share it; it is closed when the last clone and the last of its
/// ports are gone.
#[derive(Clone)]
pub struct Embedded {
    shared: Arc<Shared>,
}

impl Embedded {
    /// Opens the store in `path`, creating it if it is missing.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with(path, Options::default())
    }

    /// Opens the store with other sizes.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_with(path: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let io = |error: std::io::Error| OpenError::Io {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        std::fs::create_dir_all(path).map_err(io)?;
        let tables = Tables::open(path, options.cache_bytes)?;
        let space = SpaceGuard::new(path.to_owned(), options.free_margin);
        let committer = Committer::new(tables.clone(), space)
            .map_err(|reason| OpenError::Corrupt { path: path.to_owned(), reason })?;
        let (sender, commands) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("store-committer".into())
            .spawn(move || committer.run(&commands))
            .map_err(io)?;
        let shared = Shared { sender: Some(sender), thread: Mutex::new(Some(thread)), tables };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The log port of this store.
    #[must_use]
    pub fn log(&self) -> Arc<EmbeddedLog> {
        Arc::new(EmbeddedLog::new(self.shared.clone()))
    }

    /// The key-value port of this store.
    #[must_use]
    pub fn kv(&self) -> Arc<EmbeddedKv> {
        Arc::new(EmbeddedKv::new(self.shared.clone()))
    }
}

/// What the handles of one open store have in common.
struct Shared {
    /// `None` only while the store closes.
    sender: Option<mpsc::Sender<Command>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    tables: Tables,
}

impl Shared {
    /// Hands a command to the committer. A command that cannot be delivered is dropped, which
    /// its caller sees as a closed reply channel.
    fn send(&self, command: Command) {
        if let Some(sender) = &self.sender
            && sender.send(command).is_err()
        {
            tracing::error!("the committer of the store is gone");
        }
    }
}

impl Drop for Shared {
    /// Waits for the committer, so that the directory can be opened again afterwards.
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the committer of the store panicked");
        }
    }
}

/// Why a data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Some process, maybe this one, has it open.
    #[error("data directory {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// It was written by another version.
    #[error("data directory {} has format {found}, this version knows {known}", path.display())]
    Format {
        /// The directory.
        path: PathBuf,
        /// The stored version.
        found: String,
        /// The version this code reads and writes.
        known: u32,
    },
    /// Its contents are damaged.
    #[error("data directory {} is damaged: {reason}", path.display())]
    Corrupt {
        /// The directory.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The file system refused.
    #[error("data directory {}: {reason}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

impl OpenError {
    fn from_fjall(path: &Path, error: &fjall::Error) -> Self {
        let path = path.to_owned();
        match error {
            fjall::Error::Locked => Self::InUse(path),
            fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
                Self::Io { path, reason: error.to_string() }
            }
            other => Self::Corrupt { path, reason: other.to_string() },
        }
    }
}
