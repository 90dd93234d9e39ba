//! The only writer of the database.

use super::layout::{Spaces, encode_head, failed, kv_key, log_key, pack, record_key, sequence_key};
use super::{Known, Shared, reader};
use crate::{Append, Batch, Head, KvOp, LogError, LogKey};
use bytes::Bytes;
use fjall::{OwnedWriteBatch, PersistMode};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Weak, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

type Reply<T> = oneshot::Sender<Result<T, LogError>>;

/// Something to write.
pub(super) enum Job {
    Append(Append, Reply<()>),
    Fence(LogKey, u64, Reply<()>),
    Delete(LogKey, Reply<()>),
    Trim(LogKey, u64, Reply<()>),
    Apply(Batch, Reply<bool>),
}

/// Jobs written together, at most.
const MAX_BATCH: usize = 1024;
/// Writing stops while there is less free space than this, so that a full disk is met by a
/// refusal and not by half a write.
const MIN_FREE_BYTES: u64 = 16 << 20;
/// Free space is looked at no more often than this.
const SPACE_CHECK: Duration = Duration::from_millis(100);

pub(super) struct Committer {
    shared: Weak<Shared>,
    spaces: Spaces,
    path: PathBuf,
    next_sequence: u64,
    poisoned: Option<String>,
    checked: Option<(Instant, bool)>,
}

/// What the jobs of one batch have changed so far.
#[derive(Default)]
struct Changes {
    heads: HashMap<LogKey, Option<Known>>,
    kv: HashMap<Vec<u8>, Option<Bytes>>,
    answers: Vec<Box<dyn FnOnce(Result<(), LogError>) + Send>>,
}

impl Committer {
    pub(super) fn new(shared: Weak<Shared>, spaces: Spaces, path: PathBuf) -> Result<Self, LogError> {
        let next_sequence = match reader::get(&spaces, "", b"next-sequence")? {
            Some(bytes) => bytes.as_ref().try_into().map(u64::from_be_bytes).map_err(failed)?,
            None => 1,
        };
        Ok(Self { shared, spaces, path, next_sequence, poisoned: None, checked: None })
    }

    pub(super) fn run(mut self, jobs: &mpsc::Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let more = std::iter::from_fn(|| jobs.try_recv().ok()).take(MAX_BATCH);
            let batch: Vec<Job> = std::iter::once(first).chain(more).collect();
            self.write(batch);
        }
    }

    fn write(&mut self, jobs: Vec<Job>) {
        if let Some(refusal) = self.refusal() {
            jobs.into_iter().for_each(|job| job.refuse(refusal.clone()));
            return;
        }
        let mut batch = self.spaces.db.batch().durability(Some(PersistMode::SyncData));
        let mut changes = Changes::default();
        let sequence = self.next_sequence;
        for job in jobs {
            self.stage(job, &mut batch, &mut changes);
        }
        if self.next_sequence != sequence {
            batch.insert(&self.spaces.kv, kv_key("", b"next-sequence"), self.next_sequence.to_be_bytes());
        }
        let result = if batch.is_empty() { Ok(()) } else { batch.commit().map_err(|e| self.poison(&e)) };
        if let (Ok(()), Some(shared)) = (&result, self.shared.upgrade()) {
            shared.publish(changes.heads);
        }
        changes.answers.into_iter().for_each(|answer| answer(result.clone()));
    }

    fn poison(&mut self, error: &fjall::Error) -> LogError {
        let reason = error.to_string();
        tracing::error!(%reason, "a write failed; the store takes no more writes until restart");
        self.poisoned = Some(reason.clone());
        LogError::Poisoned(reason)
    }

    fn refusal(&mut self) -> Option<LogError> {
        if let Some(reason) = &self.poisoned {
            return Some(LogError::Poisoned(reason.clone()));
        }
        let fresh = self.checked.filter(|(at, _)| at.elapsed() < SPACE_CHECK).map(|(_, enough)| enough);
        let enough = fresh.unwrap_or_else(|| {
            let free = rustix::fs::statvfs(&self.path).map(|s| s.f_bavail.saturating_mul(s.f_frsize));
            let enough = free.is_ok_and(|free| free >= MIN_FREE_BYTES);
            self.checked = Some((Instant::now(), enough));
            enough
        });
        (!enough).then(|| LogError::Full(format!("less than {} MiB are free at {}", MIN_FREE_BYTES >> 20, self.path.display())))
    }

    /// Adds a job to the batch, or answers why not.
    fn stage(&mut self, job: Job, batch: &mut OwnedWriteBatch, changes: &mut Changes) {
        match job {
            Job::Append(append, reply) => {
                let staged = self.stage_append(append, batch, changes);
                changes.answer(reply, staged);
            }
            Job::Fence(key, epoch, reply) => {
                let staged = self.stage_fence(&key, epoch, batch, changes);
                changes.answer(reply, staged);
            }
            Job::Delete(key, reply) => {
                let staged = self.stage_delete(&key, batch, changes);
                changes.answer(reply, staged);
            }
            Job::Trim(key, through, reply) => {
                let staged = self.stage_trim(&key, through, batch, changes);
                changes.answer(reply, staged);
            }
            Job::Apply(kv, reply) => {
                let staged = self.stage_kv(kv, batch, changes);
                changes.answer(reply, staged);
            }
        }
    }

    fn known(&self, key: &LogKey, changes: &Changes) -> Result<Option<Known>, LogError> {
        if let Some(known) = changes.heads.get(key) {
            return Ok(known.clone());
        }
        match self.shared.upgrade() {
            Some(shared) => shared.known(key),
            None => reader::load_known(&self.spaces, key),
        }
    }

    fn stage_append(&mut self, append: Append, batch: &mut OwnedWriteBatch, changes: &mut Changes) -> Result<(), LogError> {
        let known = self.known(&append.key, changes)?;
        let created = known.is_none();
        let mut known = known.unwrap_or_else(|| Known {
            head: Head { last: 0, epoch: append.epoch, unfinished: false, sequence: self.next_sequence, summary: None },
            first: 1,
        });
        let found = known.head.last + 1;
        if append.epoch < known.head.epoch {
            return Err(LogError::Fenced { key: append.key, epoch: append.epoch, current: known.head.epoch });
        }
        if append.expected != found {
            return Err(LogError::Conflict { key: append.key, expected: append.expected, found });
        }
        if created {
            self.next_sequence += 1;
            batch.insert(&self.spaces.sequence, sequence_key(append.key.group, known.head.sequence), append.key.name.as_bytes());
        }
        let head_changed = created || append.epoch != known.head.epoch || append.summary.is_some() || append.unfinished.is_some();
        known.head.epoch = append.epoch;
        known.head.last += append.records.len() as u64;
        if let Some(unfinished) = append.unfinished {
            known.head.unfinished = unfinished;
            match unfinished {
                true => batch.insert(&self.spaces.unfinished, log_key(&append.key), b"".as_slice()),
                false => batch.remove(&self.spaces.unfinished, log_key(&append.key)),
            }
        }
        if append.summary.is_some() {
            known.head.summary = append.summary;
        }
        if !append.records.is_empty() {
            batch.insert(&self.spaces.records, record_key(known.head.sequence, found), pack(&append.records));
        }
        if head_changed {
            batch.insert(&self.spaces.heads, log_key(&append.key), encode_head(&known.head, known.first));
        }
        changes.heads.insert(append.key, Some(known));
        Ok(())
    }

    fn stage_fence(&self, key: &LogKey, epoch: u64, batch: &mut OwnedWriteBatch, changes: &mut Changes) -> Result<(), LogError> {
        let Some(mut known) = self.known(key, changes)? else { return Ok(()) };
        if epoch < known.head.epoch {
            return Err(LogError::Fenced { key: key.clone(), epoch, current: known.head.epoch });
        }
        known.head.epoch = epoch;
        batch.insert(&self.spaces.heads, log_key(key), encode_head(&known.head, known.first));
        changes.heads.insert(key.clone(), Some(known));
        Ok(())
    }

    fn stage_delete(&self, key: &LogKey, batch: &mut OwnedWriteBatch, changes: &mut Changes) -> Result<(), LogError> {
        let Some(known) = self.known(key, changes)? else { return Ok(()) };
        let sequence = known.head.sequence;
        self.remove_rows(sequence, u64::MAX, batch)?;
        batch.remove(&self.spaces.heads, log_key(key));
        batch.remove(&self.spaces.unfinished, log_key(key));
        batch.remove(&self.spaces.sequence, sequence_key(key.group, sequence));
        // Rows staged in this very batch are removed by a later start: their log id is not reused.
        changes.heads.insert(key.clone(), None);
        Ok(())
    }

    fn remove_rows(&self, sequence: u64, through: u64, batch: &mut OwnedWriteBatch) -> Result<(), LogError> {
        for guard in self.spaces.records.range(record_key(sequence, 0)..=record_key(sequence, through)) {
            let key = guard.key().map_err(failed)?;
            batch.remove(&self.spaces.records, key);
        }
        Ok(())
    }

    /// Removes whole rows, as far as they end at or before the index.
    fn stage_trim(&self, key: &LogKey, through: u64, batch: &mut OwnedWriteBatch, changes: &mut Changes) -> Result<(), LogError> {
        let Some(mut known) = self.known(key, changes)? else { return Ok(()) };
        let sequence = known.head.sequence;
        let rows = self.spaces.records.range(record_key(sequence, 0)..=record_key(sequence, through.saturating_add(1)));
        let starts: Vec<u64> = rows
            .map(|guard| guard.key().map(|k| super::layout::row_index(&k).unwrap_or(0)).map_err(failed))
            .collect::<Result<_, _>>()?;
        // The row that starts last holds the index after `through`: it stays.
        let first = starts.last().copied().unwrap_or(known.first);
        if first > known.first {
            self.remove_rows(sequence, first - 1, batch)?;
            known.first = first;
            batch.insert(&self.spaces.heads, log_key(key), encode_head(&known.head, known.first));
            changes.heads.insert(key.clone(), Some(known));
        }
        Ok(())
    }

    fn stage_kv(&self, kv: Batch, batch: &mut OwnedWriteBatch, changes: &mut Changes) -> Result<bool, LogError> {
        for condition in &kv.conditions {
            let key = kv_key(&condition.space, &condition.key);
            let found = match changes.kv.get(&key) {
                Some(staged) => staged.clone(),
                None => reader::get(&self.spaces, &condition.space, &condition.key)?,
            };
            if found != condition.value {
                return Ok(false);
            }
        }
        for op in kv.ops {
            match op {
                KvOp::Put { space, key, value } => {
                    let key = kv_key(&space, &key);
                    batch.insert(&self.spaces.kv, key.clone(), value.as_ref());
                    changes.kv.insert(key, Some(value));
                }
                KvOp::Delete { space, key } => {
                    let key = kv_key(&space, &key);
                    batch.remove(&self.spaces.kv, key.clone());
                    changes.kv.insert(key, None);
                }
            }
        }
        Ok(true)
    }
}

impl Changes {
    /// Answers a refusal at once, and success when the batch is durable.
    fn answer<T: Send + 'static>(&mut self, reply: Reply<T>, staged: Result<T, LogError>) {
        match staged {
            Ok(value) => self.answers.push(Box::new(move |written| drop(reply.send(written.map(|()| value))))),
            Err(refusal) => drop(reply.send(Err(refusal))),
        }
    }
}

impl Job {
    fn refuse(self, error: LogError) {
        match self {
            Self::Append(_, reply) | Self::Fence(_, _, reply) | Self::Delete(_, reply) | Self::Trim(_, _, reply) => {
                drop(reply.send(Err(error)));
            }
            Self::Apply(_, reply) => drop(reply.send(Err(error))),
        }
    }
}
