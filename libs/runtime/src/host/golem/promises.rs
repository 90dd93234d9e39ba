//! Promises (guest spec 4.1).

use crate::WorkerCtx;
use crate::log::{HostFn, HostFnInfo};
use crate::promises::PromiseState;
use crate::stop::Stop;
use emet_model::{PromiseId, WorkerError};
use emet_oplog::EntryKind;

const AWAIT: HostFn<String, Vec<u8>> = HostFn::read_remote("golem::api::await_promise");
const POLL: HostFn<String, Option<Vec<u8>>> = HostFn::read_remote("golem::api::poll_promise");
const COMPLETE: HostFn<String, bool> = HostFn::write_local("golem_complete_promise");
const DELETE: HostFn<String, ()> = HostFn::write_local("golem_delete_promise");

pub(super) const FUNCTIONS: &[&dyn HostFnInfo] = &[&AWAIT, &POLL, &COMPLETE, &DELETE];

fn not_found(promise_id: PromiseId) -> wasmtime::Error {
    wasmtime::Error::msg(WorkerError::PromiseNotFound { promise_id }.to_string())
}

impl WorkerCtx {
    pub(super) async fn create_promise(&mut self) -> wasmtime::Result<PromiseId> {
        let live = self.journal.is_live();
        let oplog_idx = self.journal.marker(EntryKind::NoOp).await?;
        let id = PromiseId { worker_id: self.worker.clone(), oplog_idx };
        if live || self.journal.is_live() {
            // The id must not be known outside before the entry that it is named after is durable.
            self.journal.flush().await?;
            self.node.promises.create(&id).await.map_err(Stop::from)?;
        }
        Ok(id)
    }

    pub(super) async fn await_promise(&mut self, id: PromiseId) -> wasmtime::Result<Vec<u8>> {
        if let Some(value) = self.journal.replay(&AWAIT).await? {
            return Ok(value);
        }
        let promises = self.node.promises.clone();
        loop {
            self.before_waiting().await?;
            promises.add_waiter(&id, &self.worker).await.map_err(Stop::from)?;
            match promises.get(&id).await.map_err(Stop::from)? {
                None => return Err(not_found(id)),
                Some(PromiseState::Complete(value)) => {
                    let value = value.to_vec();
                    self.journal.record(&AWAIT, id.to_string(), &value).await?;
                    return Ok(value);
                }
                // Whoever completes it sees the waiter and wakes this worker.
                Some(PromiseState::Pending) if self.can_suspend() => {
                    return Err(Stop::Suspend { until: None }.into());
                }
                Some(PromiseState::Pending) => promises.changed().await,
            }
        }
    }

    pub(super) async fn poll_promise(
        &mut self,
        id: PromiseId,
    ) -> wasmtime::Result<Option<Vec<u8>>> {
        if let Some(value) = self.journal.replay(&POLL).await? {
            return Ok(value);
        }
        let value = match self.node.promises.get(&id).await.map_err(Stop::from)? {
            None => return Err(not_found(id)),
            Some(PromiseState::Complete(value)) => Some(value.to_vec()),
            Some(PromiseState::Pending) => None,
        };
        self.journal.record(&POLL, id.to_string(), &value).await?;
        Ok(value)
    }

    pub(super) async fn complete_promise(
        &mut self,
        id: PromiseId,
        data: Vec<u8>,
    ) -> wasmtime::Result<bool> {
        if let Some(done) = self.journal.replay(&COMPLETE).await? {
            return Ok(done);
        }
        self.journal.flush().await?;
        let workers = self.node.workers()?;
        let done = match workers.complete_promise(id.clone(), data.into()).await {
            Ok(done) => done,
            Err(WorkerError::PromiseNotFound { promise_id }) => return Err(not_found(promise_id)),
            Err(error) => return Err(Stop::from(error).into()),
        };
        self.journal.record(&COMPLETE, id.to_string(), &done).await?;
        self.journal.flush().await?;
        Ok(done)
    }

    pub(super) async fn delete_promise(&mut self, id: PromiseId) -> wasmtime::Result<()> {
        if self.journal.replay(&DELETE).await?.is_some() {
            return Ok(());
        }
        self.journal.flush().await?;
        self.node.promises.delete(&id).await.map_err(Stop::from)?;
        self.journal.record(&DELETE, id.to_string(), &()).await
    }
}
