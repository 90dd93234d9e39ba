//! What a guest can ask of workers, itself included (guest spec 4.6, 4.8 to 4.10).

use super::types::{RecordedMetadata, WitRevertTarget};
use crate::WorkerCtx;
use crate::log::{HostFn, HostFnInfo};
use crate::stop::Stop;
use emet_api::{Cursor, RevertTarget};
use emet_model::{ComponentId, ComponentVersion, UpdateMode, WorkerError, WorkerFilter, WorkerId};
use emet_oplog::EntryKind;
use uuid::Uuid;
use wasmtime::component::Resource;

const SELF: HostFn<(), RecordedMetadata> = HostFn::read_local("golem::api::get_self_metadata");
const METADATA: HostFn<String, Option<RecordedMetadata>> =
    HostFn::read_remote("golem::api::get_worker_metadata");
/// The page, and where the next one begins.
const LIST: HostFn<String, (Option<Vec<RecordedMetadata>>, Option<u64>)> =
    HostFn::read_remote("golem::api::get_workers::get_next");
const UPDATE: HostFn<(String, u64), Result<(), String>> =
    HostFn::write_remote("golem::api::update-worker");
const FORK: HostFn<(String, String, u64), Result<(), String>> =
    HostFn::write_remote("golem::api::fork_worker");
const REVERT: HostFn<(String, u64), Result<(), String>> =
    HostFn::write_remote("golem::api::revert_worker");
const RESOLVE: HostFn<String, Option<(u64, u64)>> =
    HostFn::read_remote("golem::api::resolve_component_id");
const RESOLVE_STRICT: HostFn<(String, String), Option<(u64, u64)>> =
    HostFn::read_remote("golem::api::resolve_worker_id_strict");

pub(super) const FUNCTIONS: &[&dyn HostFnInfo] =
    &[&SELF, &METADATA, &LIST, &UPDATE, &FORK, &REVERT, &RESOLVE, &RESOLVE_STRICT];

/// Workers of one page.
const PAGE: u64 = 50;

/// An enumeration under way.
pub(crate) struct GetWorkers {
    component: ComponentId,
    filter: Option<WorkerFilter>,
    precise: bool,
    position: Position,
}

#[derive(Clone, Copy)]
enum Position {
    At(Option<Cursor>),
    End,
}

impl Position {
    /// One layer is all that there is.
    fn after(next: Option<u64>) -> Self {
        next.map_or(Self::End, |cursor| Self::At(Some(Cursor { cursor, layer: 0 })))
    }
}

impl GetWorkers {
    pub(super) fn new(component: ComponentId, filter: Option<WorkerFilter>, precise: bool) -> Self {
        Self { component, filter, precise, position: Position::At(None) }
    }
}

impl WorkerCtx {
    pub(super) async fn self_metadata(&mut self) -> wasmtime::Result<RecordedMetadata> {
        if let Some(metadata) = self.journal.replay(&SELF).await? {
            return Ok(metadata);
        }
        let (component_high, component_low) = self.worker.component_id.0.as_u64_pair();
        let metadata = RecordedMetadata {
            component_high,
            component_low,
            worker_name: self.worker.worker_name.clone(),
            args: self.args.clone(),
            env: self.env.clone(),
            status: emet_model::WorkerStatus::Running.number(),
            component_version: self.component_version,
            retry_count: self.journal.writer.with_state(|s| u64::from(s.failures_here())),
        };
        self.journal.record(&SELF, (), &metadata).await?;
        Ok(metadata)
    }

    pub(super) async fn worker_metadata(
        &mut self,
        worker: WorkerId,
    ) -> wasmtime::Result<Option<RecordedMetadata>> {
        if let Some(metadata) = self.journal.replay(&METADATA).await? {
            return Ok(metadata);
        }
        let metadata = self.find_metadata(worker.clone()).await?;
        self.journal.record(&METADATA, worker.to_string(), &metadata).await?;
        Ok(metadata)
    }

    async fn find_metadata(
        &mut self,
        worker: WorkerId,
    ) -> wasmtime::Result<Option<RecordedMetadata>> {
        match self.node.workers()?.metadata(worker).await {
            Ok(metadata) => Ok(Some(metadata.into())),
            Err(WorkerError::WorkerNotFound { .. }) => Ok(None),
            Err(error) => Err(Stop::from(error).into()),
        }
    }

    pub(super) async fn next_workers(
        &mut self,
        listing: &Resource<GetWorkers>,
    ) -> wasmtime::Result<Option<Vec<RecordedMetadata>>> {
        if let Some((page, next)) = self.journal.replay(&LIST).await? {
            self.table.get_mut(listing)?.position =
                Position::after(next.filter(|_| page.is_some()));
            return Ok(page);
        }
        let workers = self.node.workers()?;
        let found = self.table.get_mut(listing)?;
        let (page, next) = match found.position {
            Position::End => (None, None),
            Position::At(cursor) => {
                let listed = workers
                    .list(found.component, found.filter.clone(), cursor, PAGE, found.precise)
                    .await
                    .map_err(Stop::from)?;
                let page = listed.workers.into_iter().map(RecordedMetadata::from).collect();
                (Some(page), listed.cursor.map(|c| c.cursor))
            }
        };
        found.position = Position::after(next);
        let answer = (page, next);
        let component = found.component.to_string();
        self.journal.record(&LIST, component, &answer).await?;
        Ok(answer.0)
    }

    pub(super) async fn update_worker(
        &mut self,
        worker: WorkerId,
        target: ComponentVersion,
        mode: UpdateMode,
    ) -> wasmtime::Result<()> {
        if worker == self.worker {
            return self.update_self(target, mode).await;
        }
        let request = (worker.to_string(), target);
        let workers = self.node.workers()?;
        self.remote_write(
            &UPDATE,
            request,
            async move { workers.update(worker, mode, target).await },
        )
        .await
    }

    /// The request and its acceptance are one commit of the worker's own log: an automatic update
    /// stops the call that asks for it, and that call must find itself accepted when it runs again.
    async fn update_self(
        &mut self,
        target: ComponentVersion,
        mode: UpdateMode,
    ) -> wasmtime::Result<()> {
        let begin = self.journal.before_remote_write().await?;
        let recorded = self.journal.replay(&UPDATE).await?;
        let restart = recorded.is_none() && mode == UpdateMode::Automatic;
        let done = match recorded {
            Some(done) => done,
            None => {
                let done = self.check_self_update(target, mode).await.map_err(|e| e.to_string());
                if done.is_ok() {
                    self.journal.add(match mode {
                        UpdateMode::Automatic => {
                            EntryKind::PendingUpdate { target, snapshot: None }
                        }
                        UpdateMode::Manual => EntryKind::PendingManualUpdate { target },
                    });
                }
                self.journal.record(&UPDATE, (self.worker.to_string(), target), &done).await?;
                self.journal.commit().await?;
                done
            }
        };
        self.journal.after_remote_write(begin).await?;
        done.map_err(wasmtime::Error::msg)?;
        if restart { Err(Stop::Restart.into()) } else { Ok(()) }
    }

    async fn check_self_update(
        &mut self,
        target: ComponentVersion,
        mode: UpdateMode,
    ) -> Result<(), WorkerError> {
        let found = self.node.components.get(self.worker.component_id, Some(target)).await;
        let component = found.map_err(|_| {
            WorkerError::invalid(format!("there is no version {target} of the component"))
        })?;
        self.journal
            .writer
            .with_state(|s| emet_engine::check_update(s, mode, target, component.component_type))
    }

    pub(super) async fn fork_worker(
        &mut self,
        source: WorkerId,
        target: WorkerId,
        cut_off: u64,
    ) -> wasmtime::Result<()> {
        let request = (source.to_string(), target.to_string(), cut_off);
        let workers = self.node.workers()?;
        self.remote_write(
            &FORK,
            request,
            async move { workers.fork(source, target, cut_off).await },
        )
        .await
    }

    pub(super) async fn revert_worker(
        &mut self,
        worker: WorkerId,
        target: WitRevertTarget,
    ) -> wasmtime::Result<()> {
        let (target, number) = match target {
            WitRevertTarget::ToOplogIndex(n) => {
                (RevertTarget::RevertToOplogIndex { last_oplog_index: n }, n)
            }
            WitRevertTarget::LastInvocations(n) => {
                (RevertTarget::RevertLastInvocations { number_of_invocations: n }, n)
            }
        };
        let request = (worker.to_string(), number);
        let workers = self.node.workers()?;
        self.remote_write(&REVERT, request, async move { workers.revert(worker, target).await })
            .await
    }

    /// A request to another worker; a refusal is recorded and traps, live and on replay.
    async fn remote_write<Req: emet_values::Wit + Send>(
        &mut self,
        function: &HostFn<Req, Result<(), String>>,
        request: Req,
        act: impl Future<Output = Result<(), WorkerError>> + Send,
    ) -> wasmtime::Result<()> {
        let begin = self.journal.before_remote_write().await?;
        let done = match self.journal.replay(function).await? {
            Some(done) => done,
            None => {
                let done = act.await.map_err(|e| e.to_string());
                self.journal.record(function, request, &done).await?;
                done
            }
        };
        self.journal.after_remote_write(begin).await?;
        done.map_err(wasmtime::Error::msg)
    }

    pub(super) async fn resolve_component(
        &mut self,
        reference: String,
    ) -> wasmtime::Result<Option<ComponentId>> {
        let found = match self.journal.replay(&RESOLVE).await? {
            Some(found) => found,
            None => {
                let listed = self.node.components.list(Some(&reference)).await;
                let listed = listed.map_err(|e| Stop::from(WorkerError::unknown(e.to_string())))?;
                let found =
                    listed.first().map(|c| c.versioned_component_id.component_id.0.as_u64_pair());
                self.journal.record(&RESOLVE, reference, &found).await?;
                found
            }
        };
        Ok(found.map(|(high, low)| ComponentId(Uuid::from_u64_pair(high, low))))
    }

    pub(super) async fn resolve_worker(
        &mut self,
        reference: String,
        name: String,
    ) -> wasmtime::Result<Option<WorkerId>> {
        Ok(self.resolve_component(reference).await?.map(|component| WorkerId::new(component, name)))
    }

    pub(super) async fn resolve_worker_strict(
        &mut self,
        reference: String,
        name: String,
    ) -> wasmtime::Result<Option<WorkerId>> {
        if let Some(found) = self.journal.replay(&RESOLVE_STRICT).await? {
            return Ok(found.map(|(high, low)| {
                WorkerId::new(ComponentId(Uuid::from_u64_pair(high, low)), name)
            }));
        }
        let listed = self.node.components.list(Some(&reference)).await;
        let listed = listed.map_err(|e| Stop::from(WorkerError::unknown(e.to_string())))?;
        let worker = listed
            .first()
            .map(|c| WorkerId::new(c.versioned_component_id.component_id, name.clone()));
        let worker = match worker {
            Some(worker) if self.find_metadata(worker.clone()).await?.is_some() => Some(worker),
            _ => None,
        };
        let recorded = worker.as_ref().map(|w| w.component_id.0.as_u64_pair());
        self.journal.record(&RESOLVE_STRICT, (reference, name), &recorded).await?;
        Ok(worker)
    }
}
