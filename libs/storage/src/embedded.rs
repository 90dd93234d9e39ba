//! Logs and keys of one machine, in one fjall database (docs/format/embedded-store.md).
//!
//! Everything that waits to be written at one moment, whatever worker it belongs to, is written by
//! one thread as one batch with one sync.

mod committer;
mod layout;
mod reader;

use committer::{Committer, Job};
use layout::Spaces;
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use tokio::sync::oneshot;

use crate::{Append, Batch, Head, KvError, KvStore, LogError, LogKey, LogStore, Record};
use async_trait::async_trait;
use bytes::Bytes;

/// Heads kept in memory, at most.
const MAX_HEADS: usize = 100_000;

/// A log as the store holds it in memory.
#[derive(Clone, Debug)]
struct Known {
    head: Head,
    /// First index that was not trimmed.
    first: u64,
}

/// The store. Clones share it; the last one closes it.
#[derive(Clone)]
pub struct Embedded {
    shared: Arc<Shared>,
}

struct Shared {
    spaces: Spaces,
    heads: RwLock<HashMap<LogKey, Known>>,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.jobs.lock().take();
        if let Some(thread) = self.thread.lock().take() {
            drop(thread.join());
        }
    }
}

impl Embedded {
    /// Opens a store, making it if it is missing. A directory is used by one process at a time.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let spaces = Spaces::open(path)?;
        let (sender, receiver) = mpsc::channel();
        let shared = Arc::new(Shared {
            spaces,
            heads: RwLock::new(HashMap::new()),
            jobs: Mutex::new(Some(sender)),
            thread: Mutex::new(None),
        });
        let committer = Committer::new(Arc::downgrade(&shared), shared.spaces.clone(), path.to_owned())?;
        let thread = std::thread::Builder::new()
            .name("committer".into())
            .spawn(move || committer.run(&receiver))
            .map_err(|e| LogError::Io(e.to_string()))?;
        *shared.thread.lock() = Some(thread);
        Ok(Self { shared })
    }

    fn send(&self, job: Job) {
        // A closed channel drops the reply's sender, which the waiting caller meets as an error.
        if let Some(jobs) = self.shared.jobs.lock().as_ref() {
            drop(jobs.send(job));
        }
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<Result<T, LogError>>) -> Job) -> Result<T, LogError> {
        let (reply, answer) = oneshot::channel();
        self.send(job(reply));
        answer.await.unwrap_or_else(|_| Err(LogError::Poisoned("the committer has ended".into())))
    }
}

impl Shared {
    fn known(&self, key: &LogKey) -> Result<Option<Known>, LogError> {
        if let Some(known) = self.heads.read().get(key) {
            return Ok(Some(known.clone()));
        }
        reader::load_known(&self.spaces, key)
    }

    /// Takes over what is durable now.
    fn publish(&self, changes: HashMap<LogKey, Option<Known>>) {
        let mut heads = self.heads.write();
        if heads.len() + changes.len() > MAX_HEADS {
            heads.clear();
        }
        for (key, known) in changes {
            match known {
                Some(known) => drop(heads.insert(key, known)),
                None => drop(heads.remove(&key)),
            }
        }
    }
}

#[async_trait]
impl LogStore for Embedded {
    async fn append(&self, append: Append) -> Result<(), LogError> {
        self.ask(|reply| Job::Append(append, reply)).await
    }

    async fn read(&self, key: &LogKey, from: u64, max: usize) -> Result<Vec<Record>, LogError> {
        match self.shared.known(key)? {
            Some(known) => reader::read(&self.shared.spaces, key, &known, from, max),
            None => Ok(Vec::new()),
        }
    }

    async fn head(&self, key: &LogKey) -> Result<Option<Head>, LogError> {
        Ok(self.shared.known(key)?.map(|k| k.head))
    }

    async fn fence(&self, key: &LogKey, epoch: u64) -> Result<(), LogError> {
        self.ask(|reply| Job::Fence(key.clone(), epoch, reply)).await
    }

    async fn delete(&self, key: &LogKey) -> Result<(), LogError> {
        self.ask(|reply| Job::Delete(key.clone(), reply)).await
    }

    async fn list(&self, group: [u8; 16], after: u64, limit: usize) -> Result<Vec<(LogKey, Head)>, LogError> {
        let keys = reader::list(&self.shared.spaces, group, after, limit)?;
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(known) = self.shared.known(&key)? {
                found.push((key, known.head));
            }
        }
        Ok(found)
    }

    async fn unfinished(&self) -> Result<Vec<LogKey>, LogError> {
        reader::unfinished(&self.shared.spaces)
    }

    async fn trim(&self, key: &LogKey, through: u64) -> Result<(), LogError> {
        self.ask(|reply| Job::Trim(key.clone(), through, reply)).await
    }
}

fn kv_error(error: LogError) -> KvError {
    match error {
        LogError::Full(reason) => KvError::Full(reason),
        LogError::Poisoned(reason) => KvError::Poisoned(reason),
        other => KvError::Io(other.to_string()),
    }
}

#[async_trait]
impl KvStore for Embedded {
    async fn get(&self, space: &str, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        reader::get(&self.shared.spaces, space, key).map_err(kv_error)
    }

    async fn get_many(&self, space: &str, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, KvError> {
        keys.iter().map(|key| reader::get(&self.shared.spaces, space, key).map_err(kv_error)).collect()
    }

    async fn apply(&self, batch: Batch) -> Result<bool, KvError> {
        self.ask(|reply| Job::Apply(batch, reply)).await.map_err(kv_error)
    }

    async fn scan(&self, space: &str, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, Bytes)>, KvError> {
        reader::scan(&self.shared.spaces, space, prefix, after, limit).map_err(kv_error)
    }
}
