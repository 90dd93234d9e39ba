//! How a guest steers its own durability: markers, jumps, policies, keys.

use crate::WorkerCtx;
use crate::log::{HostFn, HostFnInfo};
use crate::stop::Stop;
use emet_model::{IdempotencyKey, OplogIndex, RetryPolicy, form_encode};
use emet_oplog::EntryKind;
use uuid::Uuid;

const KEY: HostFn<(), (u64, u64)> = HostFn::write_remote("golem api::generate_idempotency_key");

pub(super) const FUNCTIONS: &[&dyn HostFnInfo] = &[&KEY];

impl WorkerCtx {
    pub(super) async fn oplog_index(&mut self) -> wasmtime::Result<u64> {
        self.journal.marker(EntryKind::NoOp).await
    }

    /// Forgets everything after an index and starts again from there (guest spec 4.2).
    pub(super) async fn jump(&mut self, index: u64) -> wasmtime::Result<()> {
        if !self.journal.is_live() {
            return Ok(());
        }
        let writer = self.journal.writer.clone();
        let source = writer.last_index() + 1;
        let target = index.saturating_add(1);
        wasmtime::ensure!(
            target <= source,
            "Attempted to jump forward in the oplog: from {source} to {target}"
        );
        let deleted = writer.with_state(|s| s.skipped.contains(target));
        wasmtime::ensure!(
            !deleted,
            "Attempted to jump into a deleted region of the oplog: index {target}"
        );
        wasmtime::ensure!(target > 1, "Attempted to jump before the creation of the worker");
        let first = writer.first_index().await.map_err(Stop::from)?;
        wasmtime::ensure!(
            target > first,
            "Attempted to jump to index {target} of the oplog: the history before entry {first} was dropped"
        );
        self.journal.add(EntryKind::Jump { start: target, end: source });
        self.journal.commit().await?;
        writer.refold().await.map_err(Stop::from)?;
        Err(Stop::Restart.into())
    }

    pub(super) async fn end_region(&mut self, begin: u64) -> wasmtime::Result<()> {
        self.journal.marker(EntryKind::EndAtomicRegion { begin }).await.map(drop)
    }

    pub(super) fn retry_policy(&self) -> RetryPolicy {
        self.journal.retry_policy.clone().unwrap_or_else(|| self.node.retry_policy.clone())
    }

    pub(super) async fn set_retry_policy(&mut self, policy: RetryPolicy) -> wasmtime::Result<()> {
        self.journal.marker(EntryKind::ChangeRetryPolicy(policy.clone())).await?;
        self.journal.retry_policy = Some(policy);
        Ok(())
    }

    /// A key derived from the invocation's key and the place in the log (guest spec 4.7).
    pub(crate) fn derive_key(&self) -> Uuid {
        self.key_of(self.journal.position())
    }

    /// As [`Self::derive_key`], for a place in the log.
    pub(crate) fn key_of(&self, index: OplogIndex) -> Uuid {
        let base = self.journal.current_key.clone().unwrap_or_else(IdempotencyKey::random);
        base.derive(index)
    }

    pub(super) async fn generate_idempotency_key(&mut self) -> wasmtime::Result<Uuid> {
        let begin = self.journal.before_remote_write().await?;
        let key = match self.journal.replay(&KEY).await? {
            Some((high, low)) => Uuid::from_u64_pair(high, low),
            None => {
                let key = self.derive_key();
                self.journal.record(&KEY, (), &key.as_u64_pair()).await?;
                key
            }
        };
        self.journal.after_remote_write(begin).await?;
        Ok(key)
    }

    pub(super) fn self_uri(&self, function: &str) -> String {
        format!("{}/{}", self.worker.urn(), form_encode(function))
    }
}
