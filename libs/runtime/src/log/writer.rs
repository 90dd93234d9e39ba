//! Appends to the oplog of one worker.

use super::logs::{Logs, decode, read_entries};
use super::{EventHub, Payloads, observe};
use bytes::Bytes;
use emet_api::WorkerEvent;
use emet_model::{IdempotencyKey, OplogIndex, Timestamp, WorkerError, WorkerId};
use emet_oplog::{Entry, EntryKind, Finished, Fold, LogLevel, WorkerState, codec, summary};
use emet_storage::{Append, Head, LogError, LogKey, Summary};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::OwnedMutexGuard;
use tracing::Instrument;

/// Entries after which the cached state is stored anew, with the next append: so many, and what
/// one append adds, are folded at most to show a worker (docs/enumeration.md).
const SUMMARY_EVERY: u64 = 512;

/// The only writer of one worker's log: it gives out the indexes, keeps the fold up to date, and
/// makes entries durable in the order of their indexes (law L3). Shared by the worker's actor,
/// which accepts requests, and its guest, which records effects.
pub struct OplogWriter {
    /// The worker.
    pub worker: WorkerId,
    /// Where its large payloads are.
    pub payloads: Payloads,
    /// Those who watch it.
    pub events: EventHub,
    logs: Logs,
    key: LogKey,
    epoch: u64,
    inner: Mutex<Inner>,
    /// Held by the one append that is under way.
    appending: Arc<tokio::sync::Mutex<()>>,
}

struct Inner {
    fold: Fold,
    /// Encoded entries that were not handed to the store yet; the last one has index `state.index`.
    buffer: Vec<Bytes>,
    /// Last index handed to the store.
    submitted: OplogIndex,
    /// Last index that the store has said it holds.
    durable: OplogIndex,
    /// What the store's mark says, or will say after the append under way.
    marked_unfinished: bool,
    /// Index that the stored cached state includes, or will include after the append under way.
    summarised: OplogIndex,
    /// Set by the first failed append: nothing is written after it (law L8).
    failed: Option<WorkerError>,
}

/// The name of a worker's log in the store.
pub fn log_key(worker: &WorkerId) -> LogKey {
    LogKey { group: *worker.component_id.0.as_bytes(), name: worker.worker_name.clone() }
}

/// The present, in milliseconds since the epoch.
pub fn now() -> Timestamp {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

/// A log failure as the worker's callers see it.
pub fn log_failure(error: &LogError) -> WorkerError {
    match error {
        // Another executor writes this log. Nothing was written here: the caller is sent there.
        LogError::Fenced { .. } | LogError::Conflict { .. } => WorkerError::ShardingNotReady,
        _ => WorkerError::unknown(format!("oplog: {error}")),
    }
}

/// Does in a task of its own what waits for the turn to append, or has it. A job is not polled while
/// its worker's actor handles a command: it would keep the turn from that very command. And a caller
/// who is interrupted cannot leave an append of unknown outcome behind.
async fn apart<T: Send + 'static>(
    work: impl Future<Output = Result<T, WorkerError>> + Send + 'static,
) -> Result<T, WorkerError> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|e| Err(WorkerError::unknown(format!("oplog: {e}"))))
}

impl Inner {
    /// The state to be cached with the next append, if it is time for that.
    fn due_summary(&mut self, leaving: bool) -> Option<Summary> {
        let state = self.fold.state();
        let behind = state.index.saturating_sub(self.summarised);
        let due = if leaving { behind > 0 } else { behind >= SUMMARY_EVERY };
        // A region that was just met has not taken effect in the fold.
        if !due || !self.fold.is_complete() {
            return None;
        }
        let summary = Summary { index: state.index, data: summary::encode(state) };
        self.summarised = summary.index;
        Some(summary)
    }
}

impl OplogWriter {
    /// A writer of a log whose stored entries fold to `state`.
    pub fn new(
        worker: WorkerId,
        logs: Logs,
        payloads: Payloads,
        epoch: u64,
        state: WorkerState,
        head: Option<&Head>,
    ) -> Self {
        let submitted = state.index;
        Self {
            key: log_key(&worker),
            worker,
            payloads,
            events: EventHub::default(),
            logs,
            epoch,
            inner: Mutex::new(Inner {
                fold: Fold::from_state(state),
                buffer: Vec::new(),
                submitted,
                durable: submitted,
                marked_unfinished: head.is_some_and(|h| h.unfinished),
                summarised: head.and_then(|h| h.summary.as_ref()).map_or(0, |s| s.index),
                failed: None,
            }),
            appending: Arc::new(tokio::sync::Mutex::new(())),
        }
    }

    /// Adds an entry and gives its index. It is durable after the next [`Self::commit`].
    pub fn add(&self, kind: EntryKind) -> OplogIndex {
        self.add_at(now(), kind)
    }

    /// As [`Self::add`], for an entry whose time is known already.
    pub fn add_at(&self, timestamp: Timestamp, kind: EntryKind) -> OplogIndex {
        let entry = Entry { timestamp, kind };
        self.publish(&entry);
        let bytes = codec::encode(&entry);
        let mut inner = self.inner.lock();
        let index = inner.fold.state().index + 1;
        inner.fold.apply(index, &entry);
        inner.buffer.push(bytes);
        index
    }

    /// Forgets results up to an index, which are kept apart from now on.
    pub fn put_results_aside(&self, until: OplogIndex) {
        self.inner.lock().fold.put_results_aside(until);
    }

    /// Takes a result in again that was kept apart.
    pub fn recall(&self, key: IdempotencyKey, finished: Finished) {
        self.inner.lock().fold.recall(key, finished);
    }

    /// Index of the last added entry.
    pub fn last_index(&self) -> OplogIndex {
        self.inner.lock().fold.state().index
    }

    /// Entries that wait for a commit.
    pub fn buffered(&self) -> usize {
        self.inner.lock().buffer.len()
    }

    /// Whether everything added is durable. An append that is under way, or that has failed, may
    /// have emptied the buffer: nothing may rely on that.
    pub fn is_durable(&self) -> bool {
        self.with_durable_state(|_| ()).is_some()
    }

    /// Looks at the folded state if all of it is durable.
    pub fn with_durable_state<R>(&self, look: impl FnOnce(&WorkerState) -> R) -> Option<R> {
        let inner = self.inner.lock();
        let state = inner.fold.state();
        (inner.durable == state.index).then(|| look(state))
    }

    /// Looks at the folded state, the entries not yet durable included.
    pub fn with_state<R>(&self, look: impl FnOnce(&WorkerState) -> R) -> R {
        look(self.inner.lock().fold.state())
    }

    /// Makes everything added so far durable. Survives being dropped half-way: the append goes on.
    pub async fn commit(self: &Arc<Self>) -> Result<(), WorkerError> {
        self.append(false).await
    }

    /// As [`Self::commit`], and stores the folded state unless it is stored: the worker is about to
    /// leave memory.
    pub async fn commit_with_summary(self: &Arc<Self>) -> Result<(), WorkerError> {
        self.append(true).await
    }

    async fn append(self: &Arc<Self>, leaving: bool) -> Result<(), WorkerError> {
        if let Ok(turn) = self.appending.clone().try_lock_owned() {
            return self.append_in(turn, leaving).await;
        }
        let this = self.clone();
        apart(async move {
            let turn = this.appending.clone().lock_owned().await;
            this.append_in(turn, leaving).await
        })
        .await
    }

    async fn append_in(
        self: &Arc<Self>,
        turn: OwnedMutexGuard<()>,
        leaving: bool,
    ) -> Result<(), WorkerError> {
        let Some(append) = self.take_buffer(leaving)? else { return Ok(()) };
        let (span, _measured) = observe::commit(&append);
        let last = append.expected + append.records.len() as u64 - 1;
        let this = self.clone();
        let appended = apart(async move {
            let result = this.logs.store().append(append).await.map_err(|error| {
                if matches!(error, LogError::Fenced { .. } | LogError::Conflict { .. }) {
                    tracing::warn!(worker = %this.worker, %error, "an append was refused: another executor has taken the worker over");
                }
                log_failure(&error)
            });
            match &result {
                Ok(()) => this.inner.lock().durable = last,
                Err(error) => this.inner.lock().failed = Some(error.clone()),
            }
            drop(turn);
            result
        });
        appended.instrument(span).await
    }

    fn take_buffer(&self, leaving: bool) -> Result<Option<Append>, WorkerError> {
        let mut inner = self.inner.lock();
        if let Some(error) = &inner.failed {
            return Err(error.clone());
        }
        let index = inner.fold.state().index;
        let summary = inner.due_summary(leaving);
        if inner.buffer.is_empty() && summary.is_none() {
            return Ok(None);
        }
        let unfinished = inner.fold.state().is_unfinished();
        let mark = (unfinished != inner.marked_unfinished).then_some(unfinished);
        inner.marked_unfinished = unfinished;
        let expected = inner.submitted + 1;
        let records = std::mem::take(&mut inner.buffer);
        assert_eq!(
            expected + records.len() as u64,
            index + 1,
            "buffered entries end at the last index"
        );
        inner.submitted = index;
        Ok(Some(Append {
            key: self.key.clone(),
            epoch: self.epoch,
            expected,
            records,
            unfinished: mark,
            summary,
        }))
    }

    /// Ends all writing: nothing is appended after this returns, whoever asks. For a worker that is
    /// deleted; without it an append under way could make its log anew.
    pub async fn seal(&self, reason: WorkerError) {
        let _turn = self.appending.lock().await;
        let mut inner = self.inner.lock();
        inner.failed.get_or_insert(reason);
        inner.buffer.clear();
    }

    /// Folds the whole log again, after an entry that takes others back. What is not committed yet
    /// is folded on top.
    pub async fn refold(self: &Arc<Self>) -> Result<(), WorkerError> {
        let this = self.clone();
        apart(async move {
            // No append may end between reading the store and taking the buffer over.
            let _turn = this.appending.lock().await;
            let mut fold = Fold::from_state(this.logs.state(&this.worker).await?);
            let mut inner = this.inner.lock();
            for bytes in &inner.buffer {
                let index = fold.state().index + 1;
                fold.apply(index, &decode(index, bytes.clone())?);
            }
            assert_eq!(
                fold.state().index,
                inner.fold.state().index,
                "store and buffer hold every entry"
            );
            inner.fold = fold;
            Ok(())
        })
        .await
    }

    /// Stored entries from an index on; what is not committed is not among them.
    pub async fn read(
        &self,
        from: OplogIndex,
        count: usize,
    ) -> Result<Vec<(OplogIndex, Entry)>, WorkerError> {
        read_entries(self.logs.store().as_ref(), &self.worker, from, count).await
    }

    /// Index of the first stored entry: beyond 1 where entries before it were dropped.
    pub async fn first_index(&self) -> Result<OplogIndex, WorkerError> {
        self.logs.first(&self.worker).await
    }

    /// The epoch that the log is written under.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// One stored entry.
    pub async fn read_one(&self, index: OplogIndex) -> Result<Entry, WorkerError> {
        let found = self.read(index, 1).await?.pop();
        match found {
            Some((at, entry)) if at == index => Ok(entry),
            _ => Err(WorkerError::unknown(format!("oplog entry {index} is missing"))),
        }
    }

    fn publish(&self, entry: &Entry) {
        let timestamp = entry.timestamp;
        let event = match &entry.kind {
            EntryKind::Log { level: LogLevel::Stdout, message, .. } => {
                WorkerEvent::StdOut { timestamp, bytes: message.as_bytes().to_vec() }
            }
            EntryKind::Log { level: LogLevel::Stderr, message, .. } => {
                WorkerEvent::StdErr { timestamp, bytes: message.as_bytes().to_vec() }
            }
            EntryKind::Log { level, context, message } => WorkerEvent::Log {
                timestamp,
                level: format!("{level:?}"),
                context: context.clone(),
                message: message.clone(),
            },
            EntryKind::Invoked(i) => WorkerEvent::InvocationStart {
                timestamp,
                function: i.function.clone(),
                idempotency_key: i.key.clone(),
            },
            EntryKind::Completed { .. } => match self.with_state(|s| s.current.clone()) {
                Some(current) => WorkerEvent::InvocationFinished {
                    timestamp,
                    function: current.function,
                    idempotency_key: current.key,
                },
                None => return,
            },
            _ => return,
        };
        self.events.publish(event);
    }
}
