//! Dropping a worker's history (docs/checkpoints.md). What a replay gives is compared with what the
//! worker is, and with what the stored form restores; only then old entries go:
//!
//! ```text
//! 1  results whose entries will go are stored apart
//! 2  the base is written, and read again
//! 3  the folded state is stored with the log's head: few ever need the base to show the worker
//! 4  the log is trimmed up to the base's index      refused by epoch and creation
//! 5  older bases are removed
//! ```
//!
//! Until 4 the log is whole and nobody looks at what 1 and 2 wrote; from 4 on it begins with the base.

use crate::executor::Shared;
use crate::job::{Ended, Loaded, Scene};
use crate::verify::count;
use bytes::Bytes;
use emet_api::Verification;
use emet_engine::load_plan;
use emet_model::{IdempotencyKey, OplogIndex, VersionedComponentId, WorkerError};
use emet_oplog::{EntryKind, Finished, WorkerState, codec, summary};
use emet_runtime::checkpoint::{
    Capture, Captured, Checkpoint, KeptResult, entry_hash, rewriting_tag,
};
use emet_runtime::log::OplogWriter;
use emet_runtime::{Instance, Stop};
use emet_storage::Trim;
use emet_telemetry::metrics::list::DROPPED_ENTRIES;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Entries read at a time.
const CHUNK: usize = 1024;
/// Most entries of an initialisation that is repeated where the log has them no more.
const MAX_INITIAL: usize = 4096;
/// Results that are stored at a time.
const RESULTS: usize = 256;

/// A state that can stand for the entries before its index.
pub(crate) struct NewBase {
    index: OplogIndex,
    stored: Bytes,
}

impl NewBase {
    /// Index of the last entry that is part of it.
    pub(crate) fn index(&self) -> OplogIndex {
        self.index
    }
}

impl Scene {
    /// Makes a base of the worker as it is now, if a replay agrees; nothing is written.
    pub(crate) async fn rebase(&mut self, loaded: &mut Option<Loaded>) -> wasmtime::Result<Ended> {
        let Some(loaded) = loaded else { return Ok(Ended::Restart) };
        match self.new_base(&mut loaded.instance).await {
            Ok(base) => Ok(Ended::Rebased(base)),
            Err(error) => {
                tracing::warn!(worker = %self.writer.worker, error = %format!("{error:#}"), "a worker could not be compared with its history, which stays");
                Ok(Ended::Restart)
            }
        }
    }

    async fn new_base(&mut self, present: &mut Instance) -> wasmtime::Result<Option<NewBase>> {
        // Requests may be added from here on; the instance knows nothing of them.
        let (index, state) =
            self.writer.with_state(|s| (s.index, summary::encode_without_results(s, s.index)));
        let (found, capture) = self.compare(present, index).await?;
        count(&found);
        let Some(capture) = capture else {
            self.tell(&found);
            return Ok(None);
        };
        let record = self.shared.checkpoints.record(&self.writer, index).await;
        let mut binding =
            capture.binding(&self.writer.worker, present.metadata(), rewriting_tag(), index);
        binding.entry = entry_hash(&record.map_err(Stop::from)?);
        let initial = match binding.own_fresh {
            true => self.initial_entries().await.map_err(Stop::from)?,
            false => Vec::new(),
        };
        let sealed = tokio::task::spawn_blocking(move || {
            capture.seal_base(binding, state, initial).map(|stored| (stored, capture))
        });
        let (stored, capture) = sealed.await?.map_err(wasmtime::Error::msg)?;
        let restored = self.restored_from(&stored).await?;
        let differences = capture.differences(&restored);
        if !differences.is_empty() {
            let differences = differences.join("; ");
            tracing::error!(worker = %self.writer.worker, index, %differences, "a worker's stored state differs from the worker; its history stays");
            return Ok(None);
        }
        Ok(Some(NewBase { index, stored }))
    }

    /// The entries that repeat the initialisation: those before the first invocation, and that.
    async fn initial_entries(&self) -> Result<Vec<Bytes>, WorkerError> {
        let first = self.writer.first_index().await?;
        if first > 1 {
            return Ok(self.shared.logs.base_at(&self.writer.worker, first).await?.initial);
        }
        let mut initial = Vec::new();
        for (_, entry) in self.writer.read(2, MAX_INITIAL).await? {
            let begins = matches!(entry.kind, EntryKind::Invoked(_));
            initial.push(codec::encode(&entry));
            if begins {
                return Ok(initial);
            }
        }
        Err(WorkerError::unknown(
            "the history does not begin with an initialisation of some length",
        ))
    }

    fn tell(&self, found: &Verification) {
        let (worker, index) = (&self.writer.worker, found.last_oplog_index);
        match &found.not_compared {
            Some(reason) => tracing::debug!(%worker, index, reason, "a worker's history stays"),
            None => {
                let differences = found.differences.join("; ");
                tracing::error!(%worker, index, %differences, "a worker differs from what a replay of its history gives; the history stays");
            }
        }
    }

    /// The state of an instance that was restored from a base.
    async fn restored_from(&mut self, stored: &Bytes) -> wasmtime::Result<Capture> {
        let base = Checkpoint::open_base(stored).map_err(wasmtime::Error::msg)?;
        let plan = self.writer.with_state(load_plan);
        let component_id = self.writer.worker.component_id;
        let id = VersionedComponentId { component_id, version: plan.version };
        let prepared = self.shared.cache.rewritten(id).await.map_err(Stop::from)?;
        let target = base.binding.index;
        let mut instance = self.restored(&prepared, &plan, target, &base).await?;
        match instance.capture().await? {
            Captured::Taken(capture) => Ok(*capture),
            Captured::NotNow(reason) => Err(wasmtime::Error::msg(reason)),
        }
    }
}

impl Shared {
    /// Drops the entries before a base. The worker must do nothing meanwhile, so that nobody relies
    /// on them. After an error the log is as it was, or begins with the base.
    pub(crate) async fn drop_history(
        &self,
        writer: &Arc<OplogWriter>,
        base: NewBase,
    ) -> Result<(), WorkerError> {
        let (worker, index) = (&writer.worker, base.index);
        let key = emet_runtime::log::log_key(worker);
        let failure = |e| emet_runtime::log::log_failure(&e);
        let Some(head) = self.log.head(&key).await.map_err(failure)? else { return Ok(()) };
        let first = writer.first_index().await?;
        let state = self.logs.state_until(worker, index).await?;
        self.keep_results(writer, &state).await?;
        self.logs.bases().write(worker, index, base.stored).await?;
        writer.put_results_aside(index);
        writer.commit_with_summary().await?;
        let through = index.saturating_sub(1);
        let trim = Trim { key, sequence: head.sequence, epoch: writer.epoch(), through };
        self.log.trim(trim).await.map_err(failure)?;
        DROPPED_ENTRIES.add(index.saturating_sub(first));
        self.logs.bases().remove_before(worker, index).await
    }

    /// Stores what the entries of a state's results hold, and where they were.
    async fn keep_results(
        &self,
        writer: &OplogWriter,
        state: &WorkerState,
    ) -> Result<(), WorkerError> {
        let places: Vec<(IdempotencyKey, Finished)> =
            state.results.iter().map(|(key, finished)| (key.clone(), *finished)).collect();
        let mut keeping = Keeping::new(&places);
        let mut next = keeping.first;
        while next <= state.index && keeping.remain() {
            let entries = writer.read(next, CHUNK).await?;
            let Some((last, _)) = entries.last() else { break };
            next = last + 1;
            for (index, entry) in entries {
                keeping.look_at(index, entry);
                if keeping.found.len() >= RESULTS {
                    self.store_results(writer, state, &mut keeping).await?;
                }
            }
        }
        self.store_results(writer, state, &mut keeping).await?;
        if keeping.remain() {
            return Err(WorkerError::unknown("results of the history could not be found in it"));
        }
        let created_at = state.created_at;
        self.checkpoints.save_results(&writer.worker, created_at, &places).await
    }

    async fn store_results(
        &self,
        writer: &OplogWriter,
        state: &WorkerState,
        keeping: &mut Keeping,
    ) -> Result<(), WorkerError> {
        let found = std::mem::take(&mut keeping.found);
        self.checkpoints.keep_results(&writer.worker, state.created_at, found).await
    }
}

/// Results that are looked for in a log, from front to back.
struct Keeping {
    /// Index of the first entry that one of them needs.
    first: OplogIndex,
    /// Starts of the invocations.
    starts: HashSet<OplogIndex>,
    /// The functions of those whose result is still to come.
    functions: HashMap<OplogIndex, String>,
    /// By the index of the result.
    wanted: HashMap<OplogIndex, (IdempotencyKey, OplogIndex)>,
    found: Vec<(IdempotencyKey, KeptResult)>,
}

impl Keeping {
    fn new(places: &[(IdempotencyKey, Finished)]) -> Self {
        let starts: HashSet<OplogIndex> = places.iter().map(|(_, f)| f.start).collect();
        let wanted = places.iter().map(|(key, f)| (f.outcome.index(), (key.clone(), f.start)));
        Self {
            first: starts.iter().copied().min().unwrap_or(1),
            wanted: wanted.collect(),
            starts,
            functions: HashMap::new(),
            found: Vec::new(),
        }
    }

    fn remain(&self) -> bool {
        !self.wanted.is_empty()
    }

    fn look_at(&mut self, index: OplogIndex, entry: emet_oplog::Entry) {
        if self.starts.contains(&index) {
            if let EntryKind::Invoked(invocation) = entry.kind {
                self.functions.insert(index, invocation.function);
            }
            return;
        }
        let Some((key, start)) = self.wanted.remove(&index) else { return };
        match self.functions.remove(&start) {
            Some(function) => self.found.push((key, KeptResult { function, index, entry })),
            // It remains, and nothing is dropped.
            None => drop(self.wanted.insert(index, (key, start))),
        }
    }
}
