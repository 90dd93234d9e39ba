//! Interrupt, resume, wake, update, connect, and leaving memory.

use super::{Actor, Reply, Stopped, Subscription, Then};
use emet_engine::{Cause, OnInterrupt, check_update, on_interrupt, updates_in_vain, wakes};
use emet_model::{ComponentVersion, UpdateMode, VersionedComponentId, WorkerError, WorkerStatus};
use emet_oplog::EntryKind;

impl Actor {
    /// A time or a promise has come that the worker may wait for.
    pub(super) async fn wake(&mut self, cause: Cause, running: bool) -> Result<(), WorkerError> {
        // The job may have looked already, and be about to wait.
        self.woken |= running;
        if wakes(self.writer.with_state(|s| s.status()), cause) {
            self.writer.add(EntryKind::Resume);
            self.writer.commit().await?;
        }
        Ok(())
    }

    pub(super) fn interrupt(&mut self, recover_immediately: bool, reply: Reply<()>) -> Then {
        match on_interrupt(self.writer.with_state(|s| s.status()), recover_immediately) {
            OnInterrupt::Stop => return Then::Stop(Stopped::Interrupt(reply)),
            OnInterrupt::Restart => {
                drop(reply.send(Ok(())));
                return Then::Stop(Stopped::Restart);
            }
            OnInterrupt::Ignore => drop(reply.send(Ok(()))),
        }
        Then::GoOn
    }

    pub(super) async fn resume(&mut self) -> Result<(), WorkerError> {
        match self.writer.with_state(|s| s.status()) {
            WorkerStatus::Suspended | WorkerStatus::Interrupted => {
                self.writer.add(EntryKind::Resume);
                self.writer.commit().await
            }
            WorkerStatus::Idle => Ok(()),
            WorkerStatus::Failed | WorkerStatus::Exited => Err(self.refusal()),
            other => Err(WorkerError::invalid(format!(
                "Worker {} is not suspended, interrupted or idle: it is {other}",
                self.writer.worker
            ))),
        }
    }

    pub(super) async fn update(
        &mut self,
        mode: UpdateMode,
        target: ComponentVersion,
        running: bool,
    ) -> (Result<(), WorkerError>, Then) {
        if let Err(error) = self.check_update(mode, target).await {
            return (Err(error), Then::GoOn);
        }
        if self.writer.with_state(updates_in_vain) {
            tracing::warn!(worker = %self.writer.worker, "an update of an exited worker is ignored");
            return (Ok(()), Then::GoOn);
        }
        match mode {
            UpdateMode::Automatic => {
                self.writer.add(EntryKind::PendingUpdate { target, snapshot: None });
                self.retry_at = None;
                // The other version may make other calls in their places.
                self.forget_calls();
                let committed = self.writer.commit().await;
                if !running {
                    self.unload();
                }
                (committed, if running { Then::Stop(Stopped::Restart) } else { Then::GoOn })
            }
            UpdateMode::Manual => {
                self.writer.add(EntryKind::PendingManualUpdate { target });
                (self.writer.commit().await, Then::GoOn)
            }
        }
    }

    async fn check_update(
        &mut self,
        mode: UpdateMode,
        target: ComponentVersion,
    ) -> Result<(), WorkerError> {
        let component_type = self.component_type().await;
        self.writer.with_state(|s| check_update(s, mode, target, component_type))?;
        let id =
            VersionedComponentId { component_id: self.writer.worker.component_id, version: target };
        let known = self.shared.component(id).await;
        let component = known.map_err(|_| {
            WorkerError::invalid(format!("there is no version {target} of the component"))
        })?;
        self.writer.with_state(|s| check_update(s, mode, target, component.component_type))
    }

    /// The worker's events. One that is stopped for good, or until somebody resumes it, has none to
    /// come: whoever asks is told why instead of waiting (law L10).
    pub(super) fn connect(&self) -> Result<Subscription, WorkerError> {
        match self.writer.with_state(|s| s.status()) {
            WorkerStatus::Interrupted | WorkerStatus::Failed | WorkerStatus::Exited => {
                Err(self.refusal())
            }
            _ => Ok(self.writer.events.subscribe()),
        }
    }

    /// Gives the memory up.
    pub(super) async fn evict(&mut self) {
        let used = self.direct.is_some()
            || !self.files.is_empty()
            || !self.creations.is_empty()
            || !self.verifications.is_empty();
        if used || self.writer.with_state(|s| s.is_unfinished()) {
            return;
        }
        self.checkpoint(true).await;
        self.unload();
        self.leave().await;
    }

    /// Ends the actor of a worker that is not in memory and has nothing to do, leaving a summary
    /// that shows the worker without reading its log.
    pub(super) async fn leave(&mut self) {
        // Callers that have gone wait for nothing.
        self.waiters.retain(|_, replies| {
            replies.retain(|reply| !reply.is_closed());
            !replies.is_empty()
        });
        let needed = !self.served
            || self.loaded.is_some()
            || self.direct.is_some()
            || self.retry_at.is_some()
            || !self.waiters.is_empty()
            || !self.files.is_empty()
            || !self.creations.is_empty()
            || !self.verifications.is_empty()
            || self.writer.events.is_watched();
        if needed || self.writer.with_state(|s| s.is_unfinished()) {
            return;
        }
        if let Err(error) = self.writer.commit_with_summary().await {
            return self.give_up(&error);
        }
        // Commands that arrived meanwhile are served: only an empty mailbox ends the actor.
        self.finished = self.shared.forget_if_empty(&self.writer, &self.mailbox);
    }
}
