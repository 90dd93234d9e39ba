//! Moving records to the archive, and removing what is there.

use super::chunk::{self, Chunk};
use super::{Tiers, corrupt, log_error};
use crate::log::{LogError, LogKey, Record, Trim, check_epoch};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Names of chunks listed at a time.
const PAGE: usize = 1000;

/// What the task of the archive is told.
pub(super) enum Job {
    /// A log has grown long.
    Archive {
        /// Which.
        key: LogKey,
        /// The epoch of the append that made it long.
        epoch: u64,
    },
    /// Answer when everything before is done.
    Tell(oneshot::Sender<()>),
}

/// The task that moves records, one log after the other: it shall not compete with the workers.
pub(super) struct Archiver {
    pub(super) tiers: Arc<Tiers>,
    /// Records that stay in the primary.
    pub(super) keep: u64,
}

impl Archiver {
    pub(super) async fn run(self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.recv().await {
            match job {
                Job::Archive { key, epoch } => self.archive(&key, epoch).await,
                Job::Tell(reply) => drop(reply.send(())),
            }
        }
    }

    async fn archive(&self, key: &LogKey, epoch: u64) {
        match self.tiers.archive(key, epoch, self.keep).await {
            Ok(moved) => tracing::debug!(log = %key.name, moved, "records moved to the archive"),
            Err(LogError::Fenced { current, .. }) => {
                tracing::info!(log = %key.name, current, "another owner archives the log");
            }
            Err(error) => tracing::warn!(log = %key.name, %error, "a log could not be archived"),
        }
    }
}

impl Tiers {
    /// Moves all records of a log but the newest `keep`; gives how many moved.
    pub(super) async fn archive(
        &self,
        key: &LogKey,
        epoch: u64,
        keep: u64,
    ) -> Result<u64, LogError> {
        let Some(head) = self.primary.head(key).await? else { return Ok(0) };
        check_epoch(epoch, head.epoch)?;
        self.sweep(key).await?;
        let base = chunk::base(key, head.sequence);
        let through = head.last.saturating_sub(keep);
        let mut moved = 0u64;
        let mut from = 1;
        while from <= through {
            let records = self.primary.read(key, from, chunk::MAX_RECORDS).await?;
            let Some(chunk) = cut(records, through) else { break };
            let name = chunk.name(&base);
            let stored = chunk.encode(&name).map_err(|reason| corrupt(key, from, reason))?;
            self.blobs.put(&name, stored).await.map_err(log_error)?;
            let trim =
                Trim { key: key.clone(), sequence: head.sequence, epoch, through: chunk.last() };
            self.primary.trim(trim).await?;
            moved = moved.saturating_add(chunk.records.len() as u64);
            from = chunk.last().saturating_add(1);
        }
        Ok(moved)
    }

    /// Removes what is archived of creations of a log that are no more. Sequences rise, so these
    /// are listed before those of the present one.
    pub(super) async fn sweep(&self, key: &LogKey) -> Result<(), LogError> {
        let prefix = chunk::log_prefix(key);
        loop {
            let first = self.blobs.list(&prefix, None, 1).await.map_err(log_error)?;
            let Some((name, _)) = first.first() else { return Ok(()) };
            let Some(found) = chunk::sequence_of(&prefix, name) else {
                return Err(LogError::Io(format!("not an object of the archive: {name}")));
            };
            // Asked after the listing: whoever writes a chunk has a head before.
            let present = self.primary.head(key).await?.map(|head| head.sequence);
            if present == Some(found) {
                return Ok(());
            }
            self.blobs.delete_prefix(&chunk::base(key, found)).await.map_err(log_error)?;
        }
    }

    /// Trims both tiers. A read in between sees the records or does not, but no gap.
    pub(super) async fn trim(&self, trim: Trim) -> Result<(), LogError> {
        let Some(head) = self.primary.head(&trim.key).await? else { return Ok(()) };
        if head.sequence != trim.sequence {
            return Ok(());
        }
        check_epoch(trim.epoch, head.epoch)?;
        let base = chunk::base(&trim.key, trim.sequence);
        let through = trim.through.min(head.last);
        if self.floor(&trim.key, &base).await? < through {
            let name = chunk::floor_name(&base);
            let stored = chunk::encode_floor(&name, through);
            self.blobs.put(&name, stored).await.map_err(log_error)?;
        }
        self.primary.trim(trim).await?;
        self.drop_chunks(&base, through).await
    }

    /// Removes chunks that hold nothing behind `through`.
    async fn drop_chunks(&self, base: &str, through: u64) -> Result<(), LogError> {
        loop {
            let page = self.blobs.list(base, None, PAGE).await.map_err(log_error)?;
            let ranges = page.iter().map(|(name, _)| (name, chunk::range_of(base, name)));
            let trimmed: Vec<_> = ranges
                .take_while(|(_, range)| range.is_some_and(|(_, last)| last <= through))
                .collect();
            for (name, _) in &trimmed {
                self.blobs.delete(name).await.map_err(log_error)?;
            }
            if trimmed.len() < PAGE {
                return Ok(());
            }
        }
    }
}

/// The first chunk of some records, through an index at most.
fn cut(records: Vec<Record>, through: u64) -> Option<Chunk> {
    let first = records.first().filter(|record| record.index <= through)?.index;
    let mut bytes = 0usize;
    let mut chunk = Chunk { first, records: Vec::new() };
    for record in records {
        if record.index > through || bytes >= chunk::MAX_BYTES {
            break;
        }
        bytes = bytes.saturating_add(record.data.len());
        chunk.records.push(record.data);
    }
    Some(chunk)
}
