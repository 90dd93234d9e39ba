//! What follows a job, and how a worker is stopped.

use super::{Actor, Stopped};
use crate::job::Ended;
use crate::rebase::NewBase;
use emet_engine::after_failure;
use emet_model::{Timestamp, WorkerError, WorkerId};
use emet_oplog::{EntryKind, Failure, FailureKind, QueuedWork};
use emet_runtime::{UnderWay, Waiting};
use emet_telemetry::metrics::list::{RETRIES, SUSPENSIONS};
use futures::future::BoxFuture;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

impl Actor {
    /// Acts on how a job ended.
    pub(super) async fn after(&mut self, ended: Ended, saving: bool) {
        match ended {
            Ended::Ready | Ended::Verified | Ended::Rebased(None) => {}
            Ended::Rebased(Some(base)) => self.drop_history(base).await,
            Ended::Snapshot(result) => self.after_snapshot(result).await,
            Ended::NotLoaded(error) => self.after_refusal(error).await,
            Ended::LogFailed(error) => self.give_up(&error),
            Ended::Suspended(..) | Ended::Exited | Ended::Restart if saving => {
                self.after_snapshot(Err("save-snapshot did not return".into())).await;
            }
            Ended::Failed(_, message) if saving => self.after_snapshot(Err(message)).await,
            Ended::Restart => {}
            Ended::Suspended(until, waiting) => self.suspend(until, waiting).await,
            Ended::Exited => self.exit().await,
            Ended::Failed(kind, message) => self.fail(kind, message).await,
        }
    }

    /// Stops the worker, whatever it does. No job runs any more.
    pub(super) async fn stop(&mut self, stopped: Stopped) {
        if matches!(stopped, Stopped::Leave(_)) {
            self.checkpoint(true).await;
        }
        self.unload();
        self.forget_calls();
        match stopped {
            Stopped::Restart => {}
            Stopped::Interrupt(reply) => {
                self.retry_at = None;
                self.writer.add(EntryKind::Interrupted);
                let committed = self.writer.commit().await;
                match &committed {
                    Ok(()) => {
                        self.answer_all(&WorkerError::Interrupted { recover_immediately: false })
                    }
                    Err(error) => self.give_up(error),
                }
                self.writer.events.close();
                drop(reply.send(committed));
            }
            Stopped::Delete(reply) => {
                let missing = WorkerError::WorkerNotFound { worker_id: self.writer.worker.clone() };
                self.writer.seal(missing.clone()).await;
                self.checkpoints.settle().await;
                let deleted = self.shared.delete_stored(&self.writer.worker).await;
                self.answer_all(&missing);
                self.refuse_loading(&missing, &missing);
                self.writer.events.close();
                self.finished = true;
                // Whoever asks after the answer must not find this actor any more.
                self.shared.forget(&self.writer);
                drop(reply.send(deleted));
            }
            Stopped::Leave(done) => {
                match self.writer.commit_with_summary().await {
                    // It exists; loaded it is where it goes.
                    Ok(()) => self.tell_creators(),
                    Err(error) => self.give_up(&error),
                }
                self.writer.events.close();
                (self.finished, self.last) = (true, true);
                if let Some(done) = done {
                    // Whoever waited for this may have lost patience.
                    let _ = done.send(());
                }
            }
        }
    }

    /// An update that the failed load was to apply, if it did not get through.
    async fn update_failed(&mut self, reason: &str) -> bool {
        let pending = self
            .writer
            .with_state(|s| s.pending_updates.front().map(|u| (u.target, u.snapshot.is_some())));
        let Some((target, manual)) = pending else { return false };
        let details =
            if manual { reason.to_owned() } else { format!("Automatic update failed: {reason}") };
        self.unload();
        self.writer.add(EntryKind::FailedUpdate { target, details: Some(details) });
        self.commit().await;
        true
    }

    async fn after_snapshot(&mut self, result: Result<Vec<u8>, String>) {
        let target = self.writer.with_state(|s| match s.pending.front().map(|p| &p.work) {
            Some(QueuedWork::ManualUpdate(target)) => Some(*target),
            _ => None,
        });
        let Some(target) = target else { return };
        let stored = match result {
            Ok(bytes) => {
                self.writer.payloads.store_bytes(bytes.into()).await.map_err(|e| e.to_string())
            }
            Err(reason) => Err(reason),
        };
        let entry = match stored {
            Ok(payload) => EntryKind::PendingUpdate { target, snapshot: Some(payload) },
            Err(reason) => {
                let details = Some(format!("failed to get a snapshot for manual update: {reason}"));
                EntryKind::FailedUpdate { target, details }
            }
        };
        self.unload();
        self.writer.add(entry);
        self.commit().await;
    }

    /// The worker cannot be made ready. Everybody who waits is told; the queue stays in the log.
    async fn after_refusal(&mut self, error: WorkerError) {
        if self.update_failed(&error.to_string()).await {
            return;
        }
        // A worker that has done something cannot go on; one that has not cannot begin.
        let begun = self.writer.with_state(|s| s.last_effect > 1);
        let access = match begun {
            true => WorkerError::FailedToResumeWorker {
                worker_id: self.writer.worker.clone(),
                reason: Box::new(error.clone()),
            },
            false => error.clone(),
        };
        // The worker stays if the request made it.
        self.commit().await;
        self.refuse_loading(&error, &access);
        self.answer_all(&access);
        self.finished = true;
    }

    /// Drops the entries that a base stands for. No request is looked at meanwhile: one that needs old
    /// entries, as a revert does, finds them or is refused.
    async fn drop_history(&mut self, base: NewBase) {
        let (worker, index) = (&self.writer.worker, base.index());
        match self.shared.drop_history(&self.writer, base).await {
            Ok(()) => {
                tracing::debug!(%worker, index, "the history up to here was dropped");
                self.history.iter_mut().for_each(|history| history.begins_at(index));
            }
            Err(error) => {
                tracing::warn!(%worker, index, %error, "the history could not be dropped")
            }
        }
        if self.checkpoints.unloads() {
            self.unload();
        }
    }

    async fn suspend(&mut self, until: Option<SystemTime>, waiting: Option<Waiting>) {
        if self.update_failed("the guest waits before it has replayed its history").await {
            return;
        }
        self.unload();
        // The timer comes first: a crash between the two must not leave a worker that nobody wakes.
        if let Some(until) = until {
            let at = until.duration_since(UNIX_EPOCH).unwrap_or_default();
            let at = Timestamp(u64::try_from(at.as_millis()).unwrap_or(u64::MAX).saturating_add(1));
            if let Err(error) = self.shared.schedule_wake(&self.writer.worker, at).await {
                return self.give_up(&error);
            }
        }
        self.writer.add(EntryKind::Suspend { calls: waiting.is_some() });
        SUSPENSIONS.inc();
        if self.woken {
            self.writer.add(EntryKind::Resume);
        }
        if let (true, Some(waiting)) = (self.commit().await, waiting) {
            self.calls = waiting.calls;
            self.watch(waiting.ended);
        }
    }

    /// Lets the worker go on when what it waits for has ended. That is told to it as everything is,
    /// after its suspension is in the log: it cannot come too early.
    fn watch(&mut self, ended: BoxFuture<'static, ()>) {
        let (shared, worker) = (self.shared.clone(), self.writer.worker.clone());
        // Boxed, since actors are made by what they call here.
        let wake: BoxFuture<'static, ()> = Box::pin(async move {
            ended.await;
            shared.wake_caller(&worker).await;
        });
        self.watch = Some(tokio::spawn(wake).abort_handle());
    }

    /// The calls under way are not the next instance's.
    pub(super) fn forget_calls(&mut self) {
        self.stop_watching();
        self.calls = UnderWay::default();
    }

    /// The worker goes on, or is stopped by somebody else.
    pub(super) fn stop_watching(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.abort();
        }
    }

    async fn exit(&mut self) {
        if self.update_failed("the guest exits before it has replayed its history").await {
            return;
        }
        self.writer.add(EntryKind::Exited);
        if self.commit().await {
            let error = WorkerError::runtime("Process exited");
            self.refuse_loading(&error, &error);
            self.answer_all(&error);
            self.writer.events.close();
        }
    }

    async fn fail(&mut self, kind: FailureKind, message: String) {
        // Lack of memory is the node's trouble, not the new version's: the update is tried again.
        if kind != FailureKind::OutOfMemory && self.update_failed(&message).await {
            return;
        }
        let random = rand::random::<f64>();
        let mut decision = self.writer.with_state(|s| {
            after_failure(s, kind, message, &self.shared.node.retry_policy, random)
        });
        if self.ephemeral {
            // Without replay there is no place to go on from, and doing it all again is not a retry.
            decision.failure.retriable = false;
            decision.retry_in = None;
        }
        self.unload();
        let failure = decision.failure.clone();
        self.writer.add(EntryKind::Error(decision.failure));
        if !self.commit().await {
            return;
        }
        match decision.retry_in {
            Some(delay) => {
                RETRIES.inc();
                self.retry_at = Some(Instant::now() + delay);
            }
            None => {
                let error = failure_error(&self.writer.worker, &failure);
                self.refuse_loading(&error, &error);
                self.answer_all(&error);
                self.writer.events.close();
            }
        }
    }

    /// The log failed: this actor cannot go on, and the next request reads the log anew (law L8).
    pub(super) fn give_up(&mut self, error: &WorkerError) {
        tracing::error!(worker = %self.writer.worker, %error, "the worker stops: its oplog failed");
        self.unload();
        self.refuse_loading(error, error);
        self.answer_all(error);
        self.writer.events.close();
        self.finished = true;
    }
}

/// A recorded failure as the callers of a worker see it.
pub(super) fn failure_error(worker: &WorkerId, failure: &Failure) -> WorkerError {
    match failure.kind {
        FailureKind::InvalidRequest => WorkerError::invalid(failure.message.clone()),
        FailureKind::Diverged => {
            let reason = Box::new(divergence(&failure.message));
            WorkerError::FailedToResumeWorker { worker_id: worker.clone(), reason }
        }
        FailureKind::Unknown | FailureKind::StackOverflow | FailureKind::OutOfMemory => {
            WorkerError::runtime(failure.message.clone())
        }
    }
}

/// Both sides of a divergence, from the text of `Stop::Diverged` in a recorded failure: the trap's
/// backtrace is before it, and what the guest wrote to stderr below it.
fn divergence(message: &str) -> WorkerError {
    let sides = message.split_once("Unexpected oplog entry: expected ").and_then(|(_, rest)| {
        let line = rest.lines().next()?;
        line.split_once(", got ")
    });
    match sides {
        Some((expected, got)) => {
            WorkerError::UnexpectedOplogEntry { expected: expected.to_owned(), got: got.to_owned() }
        }
        None => WorkerError::runtime(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emet_runtime::Stop;

    #[test]
    fn a_divergence_is_reported_with_both_sides() {
        let (expected, got) = ("wall-clock::now".to_owned(), "random::get_random_u64".to_owned());
        let stop = Stop::Diverged { expected: expected.clone(), got, index: 7 };
        let got = "random::get_random_u64 at index 7".to_owned();
        let message = format!("error while executing at wasm backtrace:\n  0: f: {stop}\n\nstderr");
        assert_eq!(divergence(&message), WorkerError::UnexpectedOplogEntry { expected, got });
        assert_eq!(divergence("something else"), WorkerError::runtime("something else"));
    }
}
