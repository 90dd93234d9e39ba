//! Log and vote of one member, on disk. The log is short, because snapshots cut it, so all of it is
//! in memory too.

use crate::disk::{self, RecordFile};
use crate::types::{Entry, LogId, StorageError, TypeConfig, Vote};
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader, StorageIOError};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A record of the log file.
#[derive(Serialize, Deserialize)]
enum Record {
    /// Everything up to here was cut off.
    Purged(LogId),
    Entry(Entry),
}

struct Inner {
    file: RecordFile,
    entries: BTreeMap<u64, Entry>,
    purged: Option<LogId>,
}

/// The log of a member. Clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    inner: Arc<Mutex<Inner>>,
    vote: PathBuf,
}

fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(io::Error::other)
}

/// Runs file operations where they may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

impl Inner {
    fn rewrite(&mut self) -> io::Result<()> {
        let purged = self.purged.map(Record::Purged);
        let mut records = purged.iter().map(encode).collect::<io::Result<Vec<_>>>()?;
        for entry in self.entries.values() {
            records.push(encode(&Record::Entry(entry.clone()))?);
        }
        self.file.rewrite(&records)
    }
}

impl LogStore {
    /// Opens the log in a directory.
    ///
    /// # Errors
    /// The files cannot be read, or are damaged other than by a crash.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let (file, records) = RecordFile::open(directory.join("log"))?;
        let (mut entries, mut purged) = (BTreeMap::new(), None);
        for record in records {
            match serde_json::from_slice(&record).map_err(io::Error::other)? {
                Record::Purged(id) => purged = Some(id),
                Record::Entry(entry) => {
                    entries.insert(entry.log_id.index, entry);
                }
            }
        }
        Ok(Self {
            inner: Arc::new(Mutex::new(Inner { file, entries, purged })),
            vote: directory.join("vote"),
        })
    }

    async fn change(
        &self,
        change: impl FnOnce(&mut Inner) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let inner = self.inner.clone();
        blocking(move || change(&mut inner.lock())).await
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        Ok(self.inner.lock().entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let inner = self.inner.lock();
        let last = inner.entries.values().next_back().map(|entry| entry.log_id);
        Ok(LogState { last_purged_log_id: inner.purged, last_log_id: last.or(inner.purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let (path, vote) = (self.vote.clone(), *vote);
        let saved = blocking(move || disk::replace(&path, &[encode(&vote)?])).await;
        saved.map_err(|e| StorageIOError::write_vote(&e).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        let failed = |e: io::Error| StorageError::from(StorageIOError::read_vote(&e));
        let Some(bytes) = disk::read_one(&self.vote).map_err(failed)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|e| failed(io::Error::other(e)))
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let appended = self
            .change(move |inner| {
                let records = entries
                    .iter()
                    .map(|entry| encode(&Record::Entry(entry.clone())))
                    .collect::<io::Result<Vec<_>>>()?;
                inner.file.append(&records)?;
                inner.entries.extend(entries.into_iter().map(|entry| (entry.log_id.index, entry)));
                Ok(())
            })
            .await;
        match appended {
            Ok(()) => {
                callback.log_io_completed(Ok(()));
                Ok(())
            }
            // An append of unknown outcome: this member stops, and reads its log anew when it
            // starts again (law L8).
            Err(error) => {
                let reported = StorageIOError::write_logs(&error).into();
                callback.log_io_completed(Err(error));
                Err(reported)
            }
        }
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let truncated = self.change(move |inner| {
            inner.entries.split_off(&log_id.index);
            inner.rewrite()
        });
        truncated.await.map_err(|e| StorageIOError::write_logs(&e).into())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let purged = self.change(move |inner| {
            inner.entries = inner.entries.split_off(&(log_id.index + 1));
            inner.purged = Some(log_id);
            inner.rewrite()
        });
        purged.await.map_err(|e| StorageIOError::write_logs(&e).into())
    }
}
