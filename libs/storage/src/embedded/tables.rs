//! The database, its keyspaces, and changes that are staged on top of them.

use super::OpenError;
use super::layout;
use bytes::Bytes;
use fjall::compaction::Leveled;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const MIB: u64 = 1024 * 1024;

/// Which keyspace a row is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    /// Runs of records.
    Records,
    /// Heads, summaries, order, unfinished marks, and the store's own counters.
    Heads,
    /// Keys of the key-value port.
    Kv,
}

/// Open handles. Clones are cheap.
#[derive(Clone)]
pub(super) struct Tables {
    pub(super) db: Database,
    pub(super) records: Keyspace,
    pub(super) heads: Keyspace,
    pub(super) kv: Keyspace,
}

impl Tables {
    /// Sized for a small resident footprint: a process that does nothing holds almost nothing,
    /// and a busy one some 100 MiB.
    pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<Self, OpenError> {
        let db = Database::builder(path)
            .cache_size(cache_bytes)
            .max_journaling_size(64 * MIB)
            // With more than one, the first of them spins while another compacts.
            .worker_threads(1)
            .open()
            .map_err(|error| OpenError::from_fjall(path, &error))?;
        let open = |name: &str, memtable: u64| {
            db.keyspace(name, || {
                KeyspaceCreateOptions::default().max_memtable_size(memtable).compaction_strategy(
                    Arc::new(Leveled::default().with_table_target_size(16 * MIB)),
                )
            })
            .map_err(|error| OpenError::from_fjall(path, &error))
        };
        let tables = Self {
            records: open("records", 16 * MIB)?,
            heads: open("heads", 8 * MIB)?,
            kv: open("kv", 16 * MIB)?,
            db: db.clone(),
        };
        tables.check_format(path)?;
        Ok(tables)
    }

    fn check_format(&self, path: &Path) -> Result<(), OpenError> {
        let wanted = layout::FORMAT.to_le_bytes();
        let fail = |error: fjall::Error| OpenError::from_fjall(path, &error);
        match self.heads.get(layout::FORMAT_KEY).map_err(fail)? {
            Some(found) if *found == wanted => Ok(()),
            Some(found) => Err(OpenError::Format {
                path: path.to_owned(),
                found: format!("{:?}", found.as_ref()),
                known: layout::FORMAT,
            }),
            None => {
                self.heads.insert(layout::FORMAT_KEY, wanted).map_err(fail)?;
                self.db.persist(PersistMode::SyncAll).map_err(fail)
            }
        }
    }

    pub(super) fn keyspace(&self, table: Table) -> &Keyspace {
        match table {
            Table::Records => &self.records,
            Table::Heads => &self.heads,
            Table::Kv => &self.kv,
        }
    }
}

/// Changes waiting to be committed together, readable as if they had been.
///
/// Every key is in the database batch at most once: within one batch the order of two changes of
/// one key would not be defined.
#[derive(Default)]
pub(super) struct Staging {
    rows: BTreeMap<(Table, Vec<u8>), Option<Bytes>>,
}

impl Staging {
    pub(super) fn put(&mut self, table: Table, key: Vec<u8>, value: Bytes) {
        self.rows.insert((table, key), Some(value));
    }

    pub(super) fn remove(&mut self, table: Table, key: Vec<u8>) {
        self.rows.insert((table, key), None);
    }

    /// The value of a key with the staged changes applied.
    pub(super) fn get(
        &self,
        tables: &Tables,
        table: Table,
        key: Vec<u8>,
    ) -> fjall::Result<Option<Bytes>> {
        let at = (table, key);
        match self.rows.get(&at) {
            Some(staged) => Ok(staged.clone()),
            None => Ok(tables.keyspace(table).get(&at.1)?.map(Bytes::from)),
        }
    }

    /// Whether records of this log are staged.
    pub(super) fn has_records(&self, sequence: u64) -> bool {
        let from = (Table::Records, layout::record_key(sequence, 0).to_vec());
        let to = (Table::Records, layout::record_key(sequence, u64::MAX).to_vec());
        self.rows.range(from..=to).next().is_some()
    }

    /// Writes everything as one durable batch.
    pub(super) fn commit(&mut self, tables: &Tables) -> fjall::Result<()> {
        let mut batch = tables.db.batch().durability(Some(PersistMode::SyncData));
        for ((table, key), value) in std::mem::take(&mut self.rows) {
            let keyspace = tables.keyspace(table);
            match value {
                Some(value) => batch.insert(keyspace, key, value),
                None => batch.remove(keyspace, key),
            }
        }
        batch.commit()
    }
}
