//! The replicated shard map and its snapshots.

use crate::disk;
use crate::log_store::blocking;
use crate::types::{Entry, LogId, StorageError, TypeConfig};
use emet_shard_map::{Answer, ShardMap};
use openraft::storage::RaftStateMachine;
use openraft::{
    BasicNode, EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot, SnapshotMeta,
    StorageIOError, StoredMembership,
};
use serde::{Deserialize, Serialize};
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

type Membership = StoredMembership<u64, BasicNode>;
type Meta = SnapshotMeta<u64, BasicNode>;

/// A snapshot as it is stored: what it covers, and the map.
#[derive(Serialize, Deserialize)]
struct Stored {
    meta: Meta,
    map: ShardMap,
}

/// The state machine. The map is shared with everybody who watches it.
pub(crate) struct StateMachine {
    applied: Option<LogId>,
    membership: Membership,
    map: watch::Sender<Arc<ShardMap>>,
    path: PathBuf,
}

/// Takes a snapshot of the state at one moment.
pub(crate) struct Builder {
    stored: Stored,
    path: PathBuf,
}

fn read_stored(path: &Path) -> io::Result<Option<Stored>> {
    let Some(bytes) = disk::read_one(path)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other)
}

/// What travels to other members is the map alone; the library sends what it covers beside it.
fn snapshot(stored: &Stored) -> io::Result<Snapshot<TypeConfig>> {
    let bytes = serde_json::to_vec(&stored.map)?;
    Ok(Snapshot { meta: stored.meta.clone(), snapshot: Box::new(Cursor::new(bytes)) })
}

async fn save(path: PathBuf, stored: &Stored) -> Result<(), StorageError> {
    let failed = |e: io::Error| StorageError::from(StorageIOError::write_snapshot(None, &e));
    let bytes = serde_json::to_vec(stored).map_err(|e| failed(io::Error::other(e)))?;
    blocking(move || disk::replace(&path, &[bytes])).await.map_err(failed)
}

impl StateMachine {
    /// The state of the newest snapshot in a directory, or an empty map of `shards`.
    ///
    /// # Errors
    /// The snapshot cannot be read, or was made for another number of shards.
    pub(crate) fn open(
        directory: &Path,
        shards: u32,
    ) -> io::Result<(Self, watch::Receiver<Arc<ShardMap>>)> {
        let path = directory.join("snapshot");
        let (applied, membership, map) = match read_stored(&path)? {
            None => (None, Membership::default(), ShardMap::new(shards)),
            Some(stored) => (stored.meta.last_log_id, stored.meta.last_membership, stored.map),
        };
        if map.shard_count() != shards {
            let reason = format!(
                "the group has {} shards, not {shards}: their number cannot be changed",
                map.shard_count()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let (sender, watched) = watch::channel(Arc::new(map));
        Ok((Self { applied, membership, map: sender, path }, watched))
    }

    fn apply_one(&mut self, entry: Entry) -> Answer {
        self.applied = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Blank => Answer::Applied { changed: false },
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
                Answer::Applied { changed: true }
            }
            EntryPayload::Normal(command) => {
                let mut map = ShardMap::clone(&self.map.borrow());
                let answer = map.apply(&command);
                if answer == (Answer::Applied { changed: true }) {
                    self.map.send_replace(Arc::new(map));
                }
                answer
            }
        }
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError> {
        save(self.path.clone(), &self.stored).await?;
        snapshot(&self.stored).map_err(|e| StorageIOError::read_snapshot(None, &e).into())
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), StorageError> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Answer>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        Ok(entries.into_iter().map(|entry| self.apply_one(entry)).collect())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let map = self.map.borrow().clone();
        let last = self.applied;
        let snapshot_id =
            last.map_or_else(|| "empty".to_owned(), |id| format!("{}-{}", id.leader_id, id.index));
        let meta =
            Meta { last_log_id: last, last_membership: self.membership.clone(), snapshot_id };
        Builder { stored: Stored { meta, map: ShardMap::clone(&map) }, path: self.path.clone() }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::new(Cursor::new(Vec::new())))
    }

    async fn install_snapshot(
        &mut self,
        meta: &Meta,
        data: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let map: ShardMap = serde_json::from_slice(data.get_ref()).map_err(|e| {
            StorageError::from(StorageIOError::read_snapshot(Some(meta.signature()), &e))
        })?;
        let stored = Stored { meta: meta.clone(), map };
        save(self.path.clone(), &stored).await?;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.map.send_replace(Arc::new(stored.map));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError> {
        let failed = |e: io::Error| StorageError::from(StorageIOError::read_snapshot(None, &e));
        let stored = read_stored(&self.path).map_err(failed)?;
        stored.as_ref().map(snapshot).transpose().map_err(failed)
    }
}
